//! `pouw wallet` as a person uses it, without a node.
#![cfg(test)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn pouw(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pouw"))
        .args(arguments)
        .env("POUW_CONFIG", folder.join("config.toml"))
        .env("POUW_DATA", folder.join("data"))
        .env_remove("POUW_PROFILE")
        .env_remove("POUW_RPC")
        .env_remove("POUW_PASSWORD_FILE")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}\n{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// Account 0 of the well-known test mnemonic: everybody knows its key.
const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const ADDRESS: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";

#[test]
fn an_account_is_taken_in_once_kept_private_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (key, password) = (folder.join("key.hex"), folder.join("password"));
    std::fs::write(&key, format!("{KEY}\n")).unwrap();
    std::fs::write(&password, "correct horse\n").unwrap();
    let (key, password) = (key.to_str().unwrap(), password.to_str().unwrap());
    let import = ["--json", "wallet", "import", key, "--password-file", password];
    let output = pouw(folder, &import);
    assert!(output.status.success(), "{}", told(&output));
    let kept: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(kept["address"], ADDRESS);
    let path = Path::new(kept["keystore"].as_str().unwrap());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains(KEY) && text.contains("scrypt"), "{text}");

    let again = pouw(folder, &import);
    assert!(!again.status.success() && told(&again).contains("already in the wallet"));
    let listed = pouw(folder, &["--json", "wallet", "address"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed[0]["address"], ADDRESS);
}

#[test]
fn without_terminal_and_password_file_it_says_what_would_help() {
    let folder = tempfile::tempdir().unwrap();
    let output = pouw(folder.path(), &["wallet", "new"]);
    assert!(!output.status.success());
    assert!(told(&output).contains("--password-file"), "{}", told(&output));
}

#[test]
fn a_hostile_keystore_is_refused_by_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.json");
    let hostile = serde_json::json!({
        "version": 3, "id": "", "crypto": {
            "cipher": "aes-128-ctr", "cipherparams": { "iv": "00".repeat(16) },
            "ciphertext": "00".repeat(32), "mac": "00".repeat(32), "kdf": "scrypt",
            "kdfparams": { "n": 1u64 << 50, "r": 8, "p": 1, "dklen": 32, "salt": "00" }
        }
    });
    std::fs::write(&path, hostile.to_string()).unwrap();
    let output = pouw(folder.path(), &["wallet", "import", path.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(told(&output).contains("512 MiB"), "{}", told(&output));
}

#[test]
fn completions_and_help_come_without_any_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = pouw(folder.path(), &["completions", shell]);
        assert!(output.status.success(), "{}", told(&output));
        assert!(told(&output).contains("devnet"), "{shell}");
    }
    for command in ["devnet", "run", "host", "wallet", "chain", "logs"] {
        let output = pouw(folder.path(), &[command, "--help"]);
        assert!(output.status.success() && told(&output).contains("Usage"), "{command}");
    }
}
