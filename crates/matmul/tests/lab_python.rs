//! The second verifier, in Python, agrees with the vectors that the reference made.

use std::path::Path;
use std::process::Command;

#[test]
fn a_second_verifier_in_python_agrees_with_the_vectors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = Command::new("python3")
        .arg(root.join("../../python/verify_mx8.py"))
        .arg(root.join("vectors/mx8.json"))
        .output()
        .expect("python3 is needed: scripts/setup test installs it");
    let (said, complained) =
        (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}{complained}");
    assert_eq!(said.lines().filter(|line| line.ends_with("agrees")).count(), 4, "{said}");
}
