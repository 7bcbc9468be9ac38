//! What people see when a file is wrong, and what files may not do to us.

use insta::assert_snapshot;
use pouw_spec::{Problems, Task};

/// A valid task with one line put in.
fn with(line: &str) -> String {
    format!("version: 1\nname: t\nimage: hello\nlimits: {{time: 1h}}\n{line}\n")
}

fn problems(text: &str) -> Problems {
    match Task::from_yaml("task.yaml", text) {
        Ok(valid) => panic!("this is a valid task: {valid:?}\n{text}"),
        Err(problems) => problems,
    }
}

fn shown(text: &str) -> String {
    problems(text).to_string()
}

#[test]
fn all_problems_are_shown_at_once_where_they_are() {
    let text = "\
version: 1
name: My Task
imgae: hello
resources:
  cpu: -1
  memory: 2GB
  disk: 99999999999TiB
  gpu: 1
run:
  comand: [sh]
  env: {A: b}
outputs:
  - path: ../../etc/passwd
  - path: /etc/shadow
network: open
limits:
  time: .nan
  cost: 1e9
";
    assert_snapshot!(shown(text));
}

#[test]
fn rules_between_fields_name_the_field() {
    let text = "\
version: 2
name: Upper
image: hello
resources: {memory: 1MiB, disk: 1GiB}
inputs:
  - {from: a, to: data}
  - {from: b, to: data/b, max_size: 2GiB}
outputs:
  - path: frames/
parts: {path: 'frames/{part:04}.png', count: 12}
refund_window: 1h
pricing: {model: spot}
scope: {countries: [DE, de], exclude_countries: [DE]}
ports: [80]
limits: {time: 0, cost: 0}
env: {POUW_X: a, 1A: b}
";
    assert_snapshot!(shown(text));
}

#[test]
fn an_empty_file_says_what_to_write() {
    assert_snapshot!(shown(""));
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    assert_snapshot!(shown("name: t\n"));
}

#[test]
fn a_list_instead_of_a_task() {
    assert_snapshot!(shown("- a\n- b\n"));
}

#[test]
fn a_field_that_is_there_twice() {
    assert_snapshot!(shown(&with("name: other")));
}

#[test]
fn text_that_is_no_yaml() {
    assert_snapshot!(shown("version: 1\nname: [unclosed\n"));
}

#[test]
fn secrets_in_addresses_are_refused() {
    assert_snapshot!(shown(&with(
        "inputs:\n  - from: https://me:pw@example.org/a\n  - from: https://b.example.org/k?X-Amz-Signature=ab"
    )));
}

#[test]
fn a_secret_is_in_no_message() {
    let found = problems(&with("inputs: [{from: 'https://me:hunter2@example.org/a'}]"));
    let json = serde_json::to_string(&found).expect("problems serialize");
    assert!(!format!("{found}{json}{found:?}").contains("hunter2"), "{found:?}");
}

#[test]
fn parts_need_one_number() {
    assert_snapshot!(shown(&with("parts: {path: 'frames/{frame}.png', range: 12-1, count: 3}")));
}

#[test]
fn terminal_controls_are_not_passed_on() {
    let shown = shown(&with("env: {A: \"x\"}\nnetwork: \"\\e[2Jegress\""));
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    assert!(shown.contains("network"), "{shown}");
}

#[test]
fn yaml_bombs_end_within_the_budgets() {
    let laughs = |levels: usize| {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..levels {
            let below = level - 1;
            let many = vec![format!("*a{below}"); 9].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{many}]\n"));
        }
        text
    };
    let check = |text: &str, expected: &str| {
        let shown = shown(text);
        assert!(shown.contains(expected), "expected {expected}: {shown}");
    };
    check(&laughs(9), "values, aliases counted in full");
    check(&laughs(30), "values, aliases counted in full");
    let many = vec!["*a"; 100].join(", ");
    check(&format!("a: &a x\nb: [{many}]\n"), "more than 64 aliases");
    check("a: &a [*a]\n", "isn't complete yet");
    check(&"[".repeat(100), "deeper than 16");
    check("a:\n", "unknown");
    let nested: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    check(&nested, "deeper than 16");
    check(&format!("a: [{}]\n", "x,".repeat(30_000)), "more than 20000 values");
    check(&"x".repeat((1 << 20) + 1), "at most 1 MiB");
    check("a: b\0c", "NUL");
    check("a: !!binary aGk=\n", "tags are not used");
    check("a: 1\n---\nb: 2\n", "second document");
    check("? [a]\n: b\n", "as a field's name");
    check("a: *nothing\n", "error");
    let unknown: String = (0..5_000).map(|n| format!("field{n}: 1\n")).collect();
    assert_eq!(problems(&unknown).problems.len(), Problems::MAX);
}

#[test]
fn problems_are_json_too() {
    let json = serde_json::to_value(problems(&with("netwrok: none"))).expect("problems serialize");
    let expected = serde_json::json!({
        "file": "task.yaml",
        "problems": [{
            "line": 5, "column": 1, "end_column": 8, "field": "netwrok", "value": null,
            "message": json["problems"][0]["message"], "nearest": "network",
        }],
    });
    assert_eq!(json, expected);
}

#[test]
fn each_bad_value_is_refused_by_name() {
    let check = |line: &str, field: &str, part: &str| {
        let found = problems(&with(line));
        let one = found.problems.iter().find(|one| one.field == field);
        let one = one.unwrap_or_else(|| panic!("{line}: no problem at {field}: {found}"));
        let nearest = one.nearest.clone().unwrap_or_default();
        let all = format!("{} {nearest}", one.message);
        assert!(all.contains(part), "{line}: {all}");
    };
    check("use_case: render", "use_case", "rendering");
    check("isolation: kata", "isolation", "runc or gvisor");
    check("mineable: matmul", "mineable", "write none or opening");
    check("isolation: gvisor\nmineable: opening", "mineable", "needs isolation runc");
    check("resources: {cpu: 1m}", "resources.cpu", "10m to 1024");
    check("resources: {gpus: -1}", "resources.gpus", "0 to 64");
    check("resources: {gpus: 65}", "resources.gpus", "0 to 64");
    check("resources: {gpus: 99999999999}", "resources.gpus", "0 to 64");
    check("resources: []", "resources", "no mapping");
    check("setup: make", "setup", "no list");
    check("setup: [[]]", "setup[0]", "is empty");
    check("run: ['']", "run.command", "empty word");
    check("run: {workdir: ../x}", "run.workdir", "leaves the task's directory");
    check("run: {workdir: /etc}", "run.workdir", "absolute");
    check("run: {env: {A: b}}", "run.env", "a field of the task itself");
    check("env: {A: [b]}", "env.A", "is a list");
    check("secrets: {A-B: file}", "secrets.A-B", "don't start with a digit");
    check("inputs: [{from: 's3://bucket'}]", "inputs[0].to", "has no name");
    check("inputs: [{from: a, max_size: 0}]", "inputs[0].max_size", "at least 1B");
    check("inputs: [{from: a/, blake3: zz}]", "inputs[0].blake3", "");
    check("inputs: [{to: a}]", "inputs[0].from", "is missing");
    check("outputs: [{path: a, to: 'https://x.org/a'}]", "outputs[0].to", "cannot go to an http");
    check("outputs: [{path: a/, to: b}]", "outputs[0].to", "end it with /");
    check("outputs: [{path: \"a\\0b\"}]", "outputs[0].path", "control character");
    check("parts: {path: '{part}', count: 0}", "parts.count", "1 to 100000");
    check("parts: {path: '{part}', count: 100001}", "parts.count", "1 to 100000");
    check("parts: {path: '{part}', first: 4294967295, count: 2}", "parts.first", "too large");
    check("parts: {path: '../{part}', count: 2}", "parts.path", "leaves the task's directory");
    check("checkpoint: {path: c, interval: 1s}", "checkpoint.interval", "10s to 366d");
    check("refund_window: 11m", "refund_window", "0 to 10m");
    check("checkpoint: {path: c}\nrefund_window: 2h", "refund_window", "0 to 1h");
    check("pricing: {max_price: 0.5}", "pricing.max_price", "0.5/h");
    check("pricing: {max_price: -1/h}", "pricing.max_price", "negative");
    check("scope: {machines: [12]}", "scope.machines[0]", "");
    check("network: egress\nports: [0]", "ports[0]", "1 to 65535");
    check("network: egress\nports: [99999]", "ports[0]", "1 to 65535");
    check("network: egress\nports: [80, {port: 80, protocol: tcp}]", "ports[1]", "there twice");
}
