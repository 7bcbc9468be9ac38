//! Password-protected keys: Web3 Secret Storage, version 3.
//!
//! # Source
//! The format is the Ethereum wiki's "Web3 Secret Storage Definition"; its vectors are in the
//! tests. scrypt costs are bounded at 512 MiB of memory before any is spent: a hostile file can
//! ask for more than any machine has.

use std::io;
use std::path::{Path, PathBuf};

use aes::cipher::{KeyIvInit, StreamCipher};
use alloy_primitives::{Address, B256, keccak256};
use alloy_signer_local::PrivateKeySigner;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::file::{read_bounded, write_private};
use crate::password::Password;

/// A keystore file, read and checked, still locked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keystore {
    /// Whose key it is, if the file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    #[serde(default)]
    id: String,
    version: u32,
}

/// How much work a guess at the password costs, as log2 of scrypt's N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScryptCost(u8);

impl ScryptCost {
    /// 2^17: about half a second and 128 MiB.
    pub const STANDARD: Self = Self(17);
    /// 2^12: for tests and throw-away keys.
    pub const LIGHT: Self = Self(12);
}

/// A keystore can't be read, opened or written.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The file can't be read or written.
    #[error("cannot use the keystore {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The file is not a keystore.
    #[error("{} is not a Web3 keystore", .0.display())]
    Json(PathBuf, #[source] serde_json::Error),
    /// A field is out of bounds or of a kind that isn't known.
    #[error("the keystore's {field} is {got}, expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What the file says.
        got: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The password doesn't open it.
    #[error("wrong password, or the keystore is damaged")]
    Password,
    /// It opens, but holds no key or another one than it says.
    #[error("the keystore holds {got}, it says {expected}")]
    Content {
        /// What was found.
        got: String,
        /// What the file promises.
        expected: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt { n: u64, r: u32, p: u32, dklen: u32, salt: String },
    Pbkdf2 { c: u32, prf: String, dklen: u32, salt: String },
}

type Aes128Ctr = ctr::Ctr128BE<aes::Aes128>;

const MAX_FILE_BYTES: u64 = 64 * 1024;
const MAX_SCRYPT_MEMORY_BYTES: u64 = 512 * 1024 * 1024;
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;
const KEY_BYTES: u32 = 32;

impl Keystore {
    /// Reads a keystore and checks every length and cost it asks for.
    ///
    /// # Errors
    /// [`KeystoreError`]; nothing is decrypted.
    pub fn read(path: &Path) -> Result<Self, KeystoreError> {
        let content = read_bounded(path, MAX_FILE_BYTES)
            .map_err(|error| KeystoreError::File(path.to_owned(), error))?;
        let keystore: Self = serde_json::from_slice(&content)
            .map_err(|error| KeystoreError::Json(path.to_owned(), error))?;
        keystore.check()?;
        Ok(keystore)
    }

    /// Locks a key.
    ///
    /// # Errors
    /// [`KeystoreError::Field`] never in practice: the parameters are our own.
    pub fn lock(
        key: &PrivateKeySigner,
        password: &Password,
        cost: ScryptCost,
    ) -> Result<Self, KeystoreError> {
        let mut random = [0; 64];
        rand::rng().fill_bytes(&mut random);
        let (salt, rest) = random.split_at(32);
        let (iv, id) = rest.split_at(16);
        let kdf =
            Kdf::Scrypt { n: 1 << cost.0, r: 8, p: 1, dklen: KEY_BYTES, salt: hex::encode(salt) };
        let derived = kdf.derive(password)?;
        let mut secret = Zeroizing::new(key.to_bytes().0);
        apply_cipher(&derived, iv, secret.as_mut_slice())?;
        let crypto = Crypto {
            cipher: "aes-128-ctr".to_owned(),
            cipherparams: CipherParams { iv: hex::encode(iv) },
            ciphertext: hex::encode(secret.as_slice()),
            kdf,
            mac: hex::encode(mac(&derived, secret.as_slice())),
        };
        let address = Some(hex::encode(key.address()));
        Ok(Self { address, crypto, id: uuid_v4(id), version: 3 })
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`KeystoreError::Password`], or [`KeystoreError::Content`] where the key isn't the one
    /// the file names.
    pub fn unlock(&self, password: &Password) -> Result<PrivateKeySigner, KeystoreError> {
        self.check()?;
        let derived = self.crypto.kdf.derive(password)?;
        let mut secret = Zeroizing::new(bytes::<32>("ciphertext", &self.crypto.ciphertext)?);
        let expected = bytes::<32>("mac", &self.crypto.mac)?;
        // A constant-time comparison would gain nothing: both sides are on this machine.
        if mac(&derived, secret.as_slice()) != B256::from(expected) {
            return Err(KeystoreError::Password);
        }
        let iv = bytes::<16>("iv", &self.crypto.cipherparams.iv)?;
        apply_cipher(&derived, &iv, secret.as_mut_slice())?;
        let said = self.address.clone().unwrap_or_else(|| "a key".to_owned());
        let content = |got: String| KeystoreError::Content { got, expected: said.clone() };
        let key = PrivateKeySigner::from_bytes(&B256::from(*secret))
            .map_err(|_| content("no valid key".to_owned()))?;
        match self.address() {
            Some(address) if address != key.address() => Err(content(hex::encode(key.address()))),
            Some(_) | None => Ok(key),
        }
    }

    /// Writes it whole or not at all, readable by its owner alone.
    ///
    /// # Errors
    /// [`KeystoreError::File`].
    pub fn write(&self, path: &Path) -> Result<(), KeystoreError> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| KeystoreError::Json(path.to_owned(), error))?;
        write_private(path, &json).map_err(|error| KeystoreError::File(path.to_owned(), error))
    }

    /// Whose key it is, if the file says so.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        self.address.as_deref().and_then(|text| text.parse().ok())
    }

    fn check(&self) -> Result<(), KeystoreError> {
        if self.version != 3 {
            return field("version", self.version.to_string(), "3");
        }
        if self.crypto.cipher != "aes-128-ctr" {
            return field("cipher", self.crypto.cipher.clone(), "aes-128-ctr");
        }
        if self.address.is_some() && self.address().is_none() {
            return field("address", self.address.clone().unwrap_or_default(), "40 hex digits");
        }
        bytes::<16>("iv", &self.crypto.cipherparams.iv)?;
        bytes::<32>("ciphertext", &self.crypto.ciphertext)?;
        bytes::<32>("mac", &self.crypto.mac)?;
        self.crypto.kdf.check()
    }
}

impl Kdf {
    fn check(&self) -> Result<(), KeystoreError> {
        let (dklen, salt) = match self {
            Self::Scrypt { n, r, p, dklen, salt } => {
                let memory = n.saturating_mul(u64::from(*r)).saturating_mul(128);
                if !n.is_power_of_two() || *n < 2 || memory > MAX_SCRYPT_MEMORY_BYTES {
                    let expected = "a power of two, with n·r·128 at most 512 MiB";
                    return field("scrypt n", n.to_string(), expected);
                }
                // RFC 7914 §2.
                if n.trailing_zeros() >= r.saturating_mul(16) {
                    return field("scrypt n", n.to_string(), "below 2^(16·r)");
                }
                if *p == 0 || *p > 16 {
                    return field("scrypt p", p.to_string(), "p from 1 to 16");
                }
                (dklen, salt)
            }
            Self::Pbkdf2 { c, prf, dklen, salt } => {
                if prf != "hmac-sha256" {
                    return field("prf", prf.clone(), "hmac-sha256");
                }
                if *c == 0 || *c > MAX_PBKDF2_ROUNDS {
                    return field("pbkdf2 c", c.to_string(), "1 to 10,000,000");
                }
                (dklen, salt)
            }
        };
        if *dklen != KEY_BYTES {
            return field("dklen", dklen.to_string(), "32");
        }
        salt_bytes(salt).map(|_| ())
    }

    fn derive(&self, password: &Password) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let password = password.expose().as_bytes();
        let mut derived = Zeroizing::new([0; 32]);
        match self {
            Self::Scrypt { n, r, p, salt, .. } => {
                let log_n = u8::try_from(n.trailing_zeros()).unwrap_or(u8::MAX);
                let refused = |_| KeystoreError::Field {
                    field: "scrypt parameters",
                    got: format!("n {n}, r {r}, p {p}"),
                    expected: "a combination that scrypt allows",
                };
                let params = scrypt::Params::new(log_n, *r, *p, 32).map_err(refused)?;
                let output = derived.as_mut_slice();
                scrypt::scrypt(password, &salt_bytes(salt)?, &params, output).map_err(|_| {
                    KeystoreError::Field { field: "dklen", got: "32".into(), expected: "32" }
                })?;
            }
            Self::Pbkdf2 { c, salt, .. } => {
                let salt = salt_bytes(salt)?;
                pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password, &salt, *c, derived.as_mut_slice());
            }
        }
        Ok(derived)
    }
}

fn field<T>(field: &'static str, got: String, expected: &'static str) -> Result<T, KeystoreError> {
    Err(KeystoreError::Field { field, got, expected })
}

fn bytes<const N: usize>(name: &'static str, text: &str) -> Result<[u8; N], KeystoreError> {
    let mut out = [0; N];
    let text = text.strip_prefix("0x").unwrap_or(text);
    match hex::decode_to_slice(text, &mut out) {
        Ok(()) => Ok(out),
        Err(_) => {
            let expected = if N == 16 { "32 hex digits" } else { "64 hex digits" };
            field(name, format!("{} characters", text.len()), expected)
        }
    }
}

fn salt_bytes(text: &str) -> Result<Vec<u8>, KeystoreError> {
    match hex::decode(text.strip_prefix("0x").unwrap_or(text)) {
        Ok(salt) if salt.len() <= 256 => Ok(salt),
        Ok(_) | Err(_) => {
            field("salt", format!("{} characters", text.len()), "at most 256 bytes in hex")
        }
    }
}

fn apply_cipher(derived: &[u8; 32], iv: &[u8], data: &mut [u8]) -> Result<(), KeystoreError> {
    let (key, _) = derived.split_at(16);
    let mut cipher = Aes128Ctr::new_from_slices(key, iv).map_err(|_| KeystoreError::Field {
        field: "iv",
        got: format!("{} bytes", iv.len()),
        expected: "16 bytes",
    })?;
    cipher.apply_keystream(data);
    Ok(())
}

fn mac(derived: &[u8; 32], ciphertext: &[u8]) -> B256 {
    let (_, key) = derived.split_at(16);
    keccak256([key, ciphertext].concat())
}

/// A random UUID as RFC 9562 writes version 4.
fn uuid_v4(random: &[u8]) -> String {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(random) {
        *to = *from;
    }
    let number = u128::from_be_bytes(bytes);
    let number = (number & !(0xf << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62);
    let hex = format!("{number:032x}");
    let cut = |range| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", cut(0..8), cut(8..12), cut(12..16), cut(16..20), cut(20..32))
}

#[cfg(test)]
#[path = "keystore/tests.rs"]
mod tests;
