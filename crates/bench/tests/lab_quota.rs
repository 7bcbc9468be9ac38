//! A real quota of half a processor. Needs root and a writable control group file system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pouw_bench::{GATE_RUNS, LISTED_RUNS, Reference, Verdict, judge, listed, run_cpu_probe, score};

const CHILD: &str = "POUW_QUOTA_CHILD";
const NAME: &str = "a_halved_quota_fails_the_gate";

/// A control group that is removed when it goes out of scope.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).expect("an empty control group can be removed");
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| {
        panic!("missing: root's right to write {text:?} to {}: {error}", path.display())
    });
}

/// A group with half a processor. Beside other load it may not even get that half.
fn half() -> Group {
    let root = Path::new("/sys/fs/cgroup");
    let unified = root.join("cgroup.controllers").exists();
    let parent = if unified { root.to_path_buf() } else { root.join("cpu") };
    if unified {
        write(&parent.join("cgroup.subtree_control"), "+cpu");
    }
    let path = parent.join(format!("pouw-lab-{}", std::process::id()));
    fs::create_dir(&path).unwrap_or_else(|error| {
        panic!("missing: the right to make a control group in {}: {error}", parent.display())
    });
    let group = Group(path);
    if unified {
        write(&group.0.join("cpu.max"), "50000 100000");
    } else {
        write(&group.0.join("cpu.cfs_quota_us"), "50000");
    }
    group
}

fn run() -> u32 {
    score(run_cpu_probe(1).work_per_s(), Reference::GENERAL_THREAD)
}

#[test]
fn a_halved_quota_fails_the_gate() {
    if std::env::var_os(CHILD).is_some() {
        let runs = [0; GATE_RUNS].map(|_| run());
        println!("runs {} {} {} end", runs[0], runs[1], runs[2]);
        return;
    }
    let before = listed([0; LISTED_RUNS].map(|_| run()));
    let group = half();
    let program = std::env::current_exe().expect("the test knows itself");
    let output = Command::new("sh")
        .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""])
        .arg(&group.0)
        .arg(program)
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("sh runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let runs = text.split_once("runs ").and_then(|(_, rest)| rest.split_once(" end"));
    let runs = runs.unwrap_or_else(|| panic!("no runs in {text}")).0;
    let runs: Vec<u32> = runs.split(' ').map(|run| run.parse().expect("a score")).collect();
    // The machine may have been slower while it listed than it was in the gate; not before and after.
    let listed = before.max(listed([0; LISTED_RUNS].map(|_| run())));
    let verdict = judge(listed, &runs);
    assert!(matches!(verdict, Verdict::Failed { .. }), "listed {listed}, {runs:?}: {verdict:?}");
}
