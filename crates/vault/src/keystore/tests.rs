//! Vectors, the exchange with another implementation, and hostile files.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The pbkdf2 and scrypt vectors of the format's definition: one key, password `testpassword`.
const SECRET: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";

fn vectors() -> [Value; 2] {
    let pbkdf2 = json!({
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": "6087dab2f9fdbbfaddc31a909735c1e6" },
            "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
            "kdf": "pbkdf2",
            "kdfparams": {
                "c": 262144, "dklen": 32, "prf": "hmac-sha256",
                "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"
            },
            "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"
        },
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version": 3
    });
    let scrypt = json!({
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": "83dbcc02d8ccb40e466191a123791e0e" },
            "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": 32, "n": 262144, "p": 8, "r": 1,
                "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"
            },
            "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"
        },
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version": 3
    });
    [pbkdf2, scrypt]
}

fn written(value: &Value) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), value.to_string()).unwrap();
    file
}

fn read(value: &Value) -> Result<Keystore, KeystoreError> {
    Keystore::read(written(value).path())
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

#[test]
fn the_published_vector_opens_with_its_password_only() {
    let [pbkdf2, scrypt] = vectors();
    let keystore = read(&pbkdf2).unwrap();
    let key = keystore.unlock(&password("testpassword")).unwrap();
    assert_eq!(hex::encode(key.to_bytes()), SECRET);
    let wrong = keystore.unlock(&password("testpasswore"));
    assert!(matches!(wrong, Err(KeystoreError::Password)));
    // The published scrypt vector has N = 2^18 with r = 1, which RFC 7914 §2 forbids.
    assert!(read(&scrypt).unwrap_err().to_string().contains("below 2^(16·r)"));
}

#[test]
fn what_we_write_another_implementation_reads_and_the_other_way_round() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    let key = PrivateKeySigner::random();
    Keystore::lock(&key, &password("päss"), ScryptCost::LIGHT).unwrap().write(&path).unwrap();
    let theirs = eth_keystore::decrypt_key(&path, "päss").unwrap();
    assert_eq!(theirs, key.to_bytes().0);

    let mut rng = rand08::rngs::OsRng;
    let name = eth_keystore::encrypt_key(folder.path(), &mut rng, key.to_bytes(), "x", Some("y"));
    assert!(name.is_ok());
    let ours = Keystore::read(&folder.path().join("y")).unwrap().unlock(&password("x")).unwrap();
    assert_eq!(ours.address(), key.address());
}

#[test]
fn hostile_files_are_refused_before_any_work() {
    let check = |change: &dyn Fn(&mut Value), expected: &str| {
        let [_, mut vector] = vectors();
        vector["crypto"]["kdfparams"]["r"] = json!(2);
        change(&mut vector);
        let error = read(&vector).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, expected {expected}");
    };
    let kdf = |name: &'static str, value: Value| {
        move |file: &mut Value| file["crypto"]["kdfparams"][name] = value.clone()
    };
    check(&kdf("n", json!(1u64 << 40)), "512 MiB");
    check(&kdf("n", json!(262_143)), "power of two");
    check(&kdf("n", json!(0)), "power of two");
    check(&kdf("r", json!(u32::MAX)), "512 MiB");
    check(&kdf("r", json!(0)), "below 2^(16·r)");
    check(&kdf("p", json!(1_000_000)), "p from 1 to 16");
    check(&kdf("dklen", json!(0)), "dklen is 0");
    check(&kdf("dklen", json!(4_000_000_000u32)), "dklen is 4000000000");
    check(&kdf("salt", json!("zz")), "salt");
    check(&kdf("salt", json!("00".repeat(257))), "salt");
    check(&|file| file["crypto"]["cipherparams"]["iv"] = json!("00"), "iv is 2 characters");
    check(&|file| file["crypto"]["ciphertext"] = json!("00".repeat(33)), "ciphertext");
    check(&|file| file["crypto"]["mac"] = json!(""), "mac");
    check(&|file| file["crypto"]["cipher"] = json!("aes-256-cbc"), "aes-128-ctr");
    check(&|file| file["version"] = json!(4), "version is 4");
    check(&|file| file["address"] = json!("nobody"), "address");
    check(&|file| file["crypto"]["kdf"] = json!("argon2"), "not a Web3 keystore");
    check(&|file| *file = json!([]), "not a Web3 keystore");
}

#[test]
fn a_keystore_of_another_address_than_it_says_is_refused() {
    let key = PrivateKeySigner::random();
    let mut keystore = Keystore::lock(&key, &password(""), ScryptCost::LIGHT).unwrap();
    keystore.address = Some("11".repeat(20));
    let error = keystore.unlock(&password("")).unwrap_err();
    assert!(matches!(error, KeystoreError::Content { .. }), "{error}");
    assert!(!format!("{keystore:?}").contains(&hex::encode(key.to_bytes())));
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused_without_a_panic(content in any::<Vec<u8>>()) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        prop_assert!(Keystore::read(file.path()).is_err());
    }
}
