//! `serving-loss`, measured by `python/serving_loss.py` on the package as maturin builds it for release.
#![expect(clippy::print_stdout, reason = "a figure goes to standard output")]

use std::path::Path;
use std::process::{Command, Stdio};

fn main() {
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if !asked.is_empty() && asked.iter().all(|name| name != "serving-loss") {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python");
    let output = |command: &mut Command| {
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.expect("the command is there");
        assert!(output.status.success(), "{command:?} failed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let python = output(Command::new(folder.join("build")).arg("release"));
    print!("{}", output(Command::new(python.trim()).arg(folder.join("serving_loss.py"))));
}
