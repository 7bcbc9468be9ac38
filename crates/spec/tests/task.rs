//! From typed to validated to hashed, and back.

use std::collections::BTreeMap;

use pouw_spec::{Location, Task, TaskError};
use pouw_types::{Amount, Network, Resources, UseCase};
use proptest::prelude::*;

const FULL: &str = r"
version: 1
name: everything
use_case: ai
image: registry.example/train:2@sha256:abababababababababababababababababababababababababababababababab
resources: {cpu: 1.5, memory: 2GiB, disk: 10GiB, gpus: 1}
setup: [make all, [pip, install, .]]
run: {command: [train, --epochs, 3], workdir: ./src/}
env: {B: 2, A: 'yes'}
secrets: {TOKEN: secrets/token.txt}
inputs:
  - {from: 's3://data/set/', to: data, mode: read-only, max_size: 4GiB}
  - {from: 'https://example.org/m.bin?v=1', mode: read-write, max_size: 1GiB}
outputs:
  - {path: model/, to: 's3://models/run/', mode: on-success, max_size: 2GiB}
parts: {path: 'epochs/{part:02}.json', range: 0-2, max_size: 1MiB, to: results/}
checkpoint: {path: ckpt/, interval: 5m, max_size: 1GiB}
refund_window: 0
limits: {time: 1h30m, cost: 12.5 FLUX, traffic: 20GiB, grace: 30s}
pricing: {model: pay-as-you-go, max_price: 0.001/s}
scope: {countries: [DE, FR], exclude_countries: [US], machines: ['0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266']}
network: egress
ports: [8080, {port: 9000, protocol: udp}]
isolation: gvisor
mineable: none
";

fn task(text: &str) -> Task {
    Task::from_yaml("task.yaml", text).unwrap_or_else(|problems| panic!("{problems}")).task
}

#[test]
fn every_field_is_read_in_its_unit() {
    let valid = Task::from_yaml("task.yaml", FULL).unwrap_or_else(|problems| panic!("{problems}"));
    let task = valid.task;
    assert_eq!(task.use_case, UseCase::Ai);
    let resources =
        Resources { cpu_millis: 1_500, memory_bytes: 2 << 30, disk_bytes: 10 << 30, gpus: 1 };
    assert_eq!(task.resources, resources);
    assert_eq!(task.setup, [vec!["/bin/sh", "-c", "make all"], vec!["pip", "install", "."]]);
    assert_eq!(task.run.command, ["train", "--epochs", "3"]);
    assert_eq!(task.workdir(), "/task/src");
    assert_eq!(task.env["B"], "2");
    assert_eq!(task.secrets, ["TOKEN"]);
    assert_eq!(valid.secret_files["TOKEN"], "secrets/token.txt");
    assert_eq!(task.inputs[1].to.as_str(), "m.bin");
    assert!(matches!(&task.inputs[0].from, Location::S3 { bucket, .. } if bucket == "data"));
    assert!(task.outputs[0].directory);
    let parts: Vec<String> = task.parts.iter().flat_map(|parts| parts.files()).collect();
    assert_eq!(parts, ["epochs/00.json", "epochs/01.json", "epochs/02.json"]);
    assert_eq!(task.limits.time_s, 5_400);
    assert_eq!(task.limits.cost, "12.5".parse().ok());
    assert_eq!(task.pricing.max_hour, "3.6".parse().ok());
    assert!(task.pricing.allows("0.001".parse().expect("an amount")));
    assert!(!task.pricing.allows("0.0011".parse().expect("an amount")));
    assert!(!task.pricing.allows(Amount::MAX));
}

/// Neither paths nor contents of secrets may reach what a host sees.
#[test]
fn secrets_are_known_by_name_only() {
    let json = String::from_utf8(task(FULL).canonical()).expect("JSON is text");
    assert!(json.contains("TOKEN") && !json.contains("token.txt"), "{json}");
    let moved = FULL.replace("secrets/token.txt", "/elsewhere");
    assert_eq!(task(&moved).hash(), task(FULL).hash());
}

/// R-2: W is 3,600 s with declared checkpoints, 600 s without, less only by the client's spec.
#[test]
fn the_refund_window_is_the_networks_or_less_by_the_spec() {
    let rules = &Network::devnet().rental;
    let check = |lines: &str, expected: u32| {
        let text = format!("version: 1\nname: t\nimage: hello\nlimits: {{time: 1h}}\n{lines}\n");
        assert_eq!(task(&text).refund_window_s(rules), expected, "{lines}");
    };
    check("", 600);
    check("checkpoint: {path: c}", 3_600);
    check("refund_window: 0", 0);
    check("refund_window: 5m", 300);
    check("checkpoint: {path: c}\nrefund_window: 30m", 1_800);
}

#[test]
fn the_hash_is_pinned() {
    let text = "version: 1\nname: t\nimage: hello\nlimits: {time: 1h}\n";
    let canonical = String::from_utf8(task(text).canonical()).expect("JSON is text");
    insta::assert_snapshot!(canonical);
    insta::assert_snapshot!(task(text).hash());
    insta::assert_snapshot!(task(FULL).hash());
}

#[test]
fn formatting_order_and_units_do_not_change_the_hash() {
    let hash = task(FULL).hash();
    let mut lines: Vec<String> = Vec::new();
    for line in FULL.lines().filter(|line| !line.is_empty()) {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => *last = format!("{last}\n{line}"),
            _ => lines.push(line.to_owned()),
        }
    }
    lines.reverse();
    let reordered = lines.join("\n\n# a comment\n");
    assert_eq!(task(&reordered).hash(), hash);
    let units = FULL.replace("cpu: 1.5", "cpu: \"1500m\"").replace("2GiB, disk", "2048MiB, disk");
    assert_eq!(task(&units).hash(), hash);
    assert_ne!(task(&FULL.replace("grace: 30s", "grace: 31s")).hash(), hash);
}

#[test]
fn a_task_from_outside_is_checked_again() {
    let valid = task(FULL);
    let bytes = valid.canonical();
    assert_eq!(Task::from_json(&bytes), Ok(valid.clone()));
    let spaced = serde_json::to_vec_pretty(&valid).expect("a task serializes");
    let read = Task::from_json(&spaced).expect("spaces don't matter");
    assert_eq!(read.canonical(), bytes);
    let json: serde_json::Value = serde_json::from_slice(&bytes).expect("canonical is JSON");
    let refuse = |change: fn(&mut serde_json::Value), part: &str| {
        let mut json = json.clone();
        change(&mut json);
        let error = Task::from_json(json.to_string().as_bytes()).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
    };
    refuse(|json| json["extra"] = 1.into(), "unknown field `extra`");
    refuse(|json| json["run"]["extra"] = 1.into(), "unknown field `extra`");
    refuse(|json| json["outputs"][0]["path"] = "../x".into(), "leaves the task's directory");
    refuse(|json| json["parts"]["path"] = "/{part}".into(), "absolute");
    refuse(|json| json["parts"]["count"] = 0.into(), "parts.count");
    refuse(|json| json["resources"]["cpu_millis"] = 0.into(), "resources.cpu");
    refuse(|json| json["refund_window_s"] = 3_601.into(), "refund_window");
    refuse(|json| json["version"] = 2.into(), "version");
    refuse(|json| json["run"]["command"][0] = "a\0".into(), "NUL");
    refuse(|json| json["secrets"][0] = "../x".into(), "secrets");
    refuse(|json| json["ports"][0]["port"] = 0.into(), "ports[0]");
    refuse(|json| json["isolation"] = "none".into(), "gvisor");
    refuse(|json| drop(json.as_object_mut().and_then(|all| all.remove("limits"))), "limits");
    let long = vec![b' '; Task::MAX_CANONICAL_BYTES + 1];
    assert_eq!(Task::from_json(&long), Err(TaskError::Long(long.len())));
    assert!(Task::from_json(&b"[".repeat(100_000)).is_err());
}

/// S-11: what is saved again and again is moved again and again.
#[test]
fn the_default_traffic_holds_every_save_of_a_checkpoint() {
    let traffic = |more: &str| {
        let text = format!("version: 1\nname: a\nimage: hello\nlimits: {{time: 1h}}\n{more}");
        Task::from_yaml("t", &text).unwrap().task.limits.traffic_bytes
    };
    let mib = 1 << 20;
    assert_eq!(traffic("outputs: [{path: a, max_size: 3MiB}]"), 3 * mib);
    let saved = "checkpoint: {path: state, interval: 10m, max_size: 1MiB}";
    assert_eq!(traffic(saved), 8 * mib, "six while it runs, the last, and one that is fetched");
}

fn yaml() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "version", "name", "image", "limits", "time", "run", "command", "inputs", "from", "parts",
        ": ", ":", "\n", "\n  ", "\n    ", "- ", "[", "]", "{", "}", ",", "\"", "'", "|", ">",
        "&a", "*a", "!", "?", "#", "%", "@", "---", "...", "\t", "1h", "../x", "~", "\\", "é",
        "\u{feff}",
    ]);
    prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text: String) {
        prop_assert!(Task::from_yaml("t", &text).is_err());
    }

    #[test]
    fn no_yaml_makes_the_reader_panic(text in yaml()) {
        if let Err(problems) = Task::from_yaml("t", &text) {
            prop_assert!(!problems.problems.is_empty());
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn no_damage_makes_the_reader_panic(at in 0usize..1_400, byte in 32u8..127, cut in any::<bool>()) {
        let mut bytes = FULL.as_bytes().to_vec();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let text = String::from_utf8(bytes).unwrap();
        if let Ok(valid) = Task::from_yaml("t", &text) {
            prop_assert_eq!(Task::from_json(&valid.task.canonical()), Ok(valid.task));
        }
    }

    #[test]
    fn no_bytes_make_the_host_panic(bytes: Vec<u8>) {
        prop_assert!(Task::from_json(&bytes).is_err());
    }

    #[test]
    fn tasks_round_trip_and_hash_by_content(
        cpu_millis in 10u64..=1_024_000,
        memory in 1u64..1_000,
        time_s in 1u64..1_000_000,
        count in 1u32..1_000,
        env in prop::collection::btree_map("[A-Z][A-Z0-9_]{0,5}", "[ -~]{0,12}", 0..5),
        quoted in any::<bool>(),
    ) {
        let env: BTreeMap<_, _> = env.into_iter().filter(|(k, _)| !k.starts_with("POUW_")).collect();
        let env = serde_json::to_string(&env).unwrap();
        let quote = if quoted { "\"" } else { "" };
        let lines = [
            "version: 1".to_owned(),
            "name: t".to_owned(),
            "image: hello".to_owned(),
            format!("resources: {{cpu: {quote}{cpu_millis}m{quote}, memory: {memory}GiB}}"),
            format!("limits: {{time: {quote}{time_s}s{quote}}}"),
            format!("parts: {{path: 'o/{{part}}', count: {count}}}"),
            format!("env: {env}"),
        ];
        let forwards = lines.join("\n");
        let backwards: Vec<&str> = lines.iter().rev().map(String::as_str).collect();
        let task = Task::from_yaml("t", &forwards).unwrap().task;
        prop_assert_eq!(task.hash(), Task::from_yaml("t", &backwards.join("\n\n")).unwrap().task.hash());
        prop_assert_eq!(task.resources.cpu_millis, cpu_millis);
        prop_assert_eq!(Task::from_json(&task.canonical()), Ok(task));
    }
}
