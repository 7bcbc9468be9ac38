//! A keystore from anywhere: bounded before anything is derived from it.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pouw_vault::Keystore;

/// In memory where the machine has such a folder.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("pouw-fuzz-keystore-{}", std::process::id()))
});

fuzz_target!(|json: &[u8]| {
    std::fs::write(&*FILE, json).expect("the folder is writable");
    match Keystore::read(&FILE) {
        // Not unlocked: that may rightly take half a second and half a gigabyte.
        Ok(keystore) => drop(keystore.address()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
