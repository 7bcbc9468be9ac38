//! The Python package, built by maturin into an environment of its own, passes its tests with real numpy and
//! torch.

use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_package_passes_its_tests_with_numpy_and_torch() {
    let program = std::env::current_exe().expect("a test has a program");
    // The test runs from `<target>/<profile>/deps`.
    let target = program.ancestors().nth(3).expect("cargo's target directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/test");
    let run = Command::new(script)
        .env("CARGO_TARGET_DIR", target.join("python"))
        .stdin(Stdio::null())
        .output()
        .expect("python/test is a program");
    let (said, complained) =
        (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}\n{complained}");
    assert!(said.contains(" passed") && !said.contains("skipped"), "{said}\n{complained}");
}
