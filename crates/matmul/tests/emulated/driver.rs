// Builds the emulated driver, `driver.cpp`, by g++.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The driver's library, with tensor cores or without, beside the running test. Libraries of different names share no state.
pub(crate) fn build(name: &str, tensor: bool) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let kind = if tensor { "tensor" } else { "dot" };
    let library = beside.join(format!("libcuda-emulated-{name}-{kind}.so"));
    let own = library.with_extension(std::process::id().to_string());
    let kernels = root.join("src/kernel/cuda/mx8.cu");
    let run = Command::new("g++")
        .args(["-std=c++17", "-O2", "-fwrapv", "-Wall", "-Wextra", "-Werror"])
        .args(["-Wno-unknown-pragmas", "-U_FORTIFY_SOURCE", "-shared", "-fPIC"])
        .arg(format!("-DTENSOR={}", u8::from(tensor)))
        .arg(format!("-DKERNELS=\"{}\"", kernels.display()))
        .arg(root.join("tests/emulated/driver.cpp"))
        .arg("-o")
        .arg(&own)
        .output()
        .expect("g++ is needed: scripts/setup test installs it");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    // Whole or not at all: tests of other processes may build it as well.
    std::fs::rename(&own, &library).unwrap();
    library
}
