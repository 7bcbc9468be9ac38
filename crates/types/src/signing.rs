//! What machines, signers and operators sign: EIP-712 digests, signatures, and how they travel.

use alloy_consensus::crypto::secp256k1::recover_signer;
use alloy_primitives::{Address, B256, Bytes, Signature, hex};
use alloy_sol_types::{Eip712Domain, SolStruct, SolValue, eip712_domain};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::contracts::{Extension, Quote, RENTALS, Receipt, Registration, Stop};
use crate::{MachineId, RentalId};

/// What can be signed in pouw.
///
/// The digest binds the chain (EIP-712 domain: name `pouw`, version `1`, chain id, the address of
/// the rentals contract) and every field.
pub trait Signable: SolStruct {
    /// The 32 bytes that get signed.
    fn digest(&self, chain_id: u64) -> B256 {
        self.eip712_signing_hash(&domain(chain_id))
    }
}

impl Signable for Quote {}
impl Signable for Receipt {}
impl Signable for Stop {}
impl Signable for Extension {}
impl Signable for Registration {}

/// The EIP-712 domain of a network.
#[must_use]
pub const fn domain(chain_id: u64) -> Eip712Domain {
    eip712_domain! {
        name: "pouw",
        version: "1",
        chain_id: chain_id,
        verifying_contract: RENTALS,
    }
}

/// A signature of the wrong length, with a high `s`, or from which no key can be recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid signature: 65 bytes r, s, v with the lower s are expected")]
pub struct BadSignature;

/// The address whose key made `signature` over `digest`.
///
/// # Errors
/// [`BadSignature`], also for the higher `s` (EIP-2), so that a signature has one form.
pub fn recover(digest: B256, signature: &[u8]) -> Result<Address, BadSignature> {
    let bytes: &[u8; 65] = signature.try_into().map_err(|_| BadSignature)?;
    let signature = Signature::from_raw_array(bytes).map_err(|_| BadSignature)?;
    // `recover_signer` refuses the higher s.
    recover_signer(&signature, digest).map_err(|_| BadSignature)
}

/// Something signed, as it travels outside the chain: ABI bytes with the signature beside them.
///
/// As JSON both are hex strings, so that no reader loses digits of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    /// What was signed.
    pub value: T,
    /// 65 bytes r, s, v.
    pub signature: Bytes,
}

/// A quote with its machine's signature.
pub type SignedQuote = Signed<Quote>;

impl<T: Signable> Signed<T> {
    /// Who signed.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn signer(&self, chain_id: u64) -> Result<Address, BadSignature> {
        recover(self.value.digest(chain_id), &self.signature)
    }
}

impl SignedQuote {
    /// The rental that this quote opens.
    #[must_use]
    pub fn rental(&self, chain_id: u64) -> RentalId {
        RentalId::new(self.value.digest(chain_id))
    }

    /// Checks that the machine named in the quote signed it.
    ///
    /// # Errors
    /// [`BadSignature`], also when somebody else signed.
    pub fn verify(&self, chain_id: u64) -> Result<MachineId, BadSignature> {
        match self.signer(chain_id)? {
            signer if signer == self.value.machine => Ok(MachineId::new(signer)),
            _ => Err(BadSignature),
        }
    }
}

/// Reads ABI bytes as they were written and nothing else.
const MAX_SIGNED_BYTES: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    value: String,
    signature: Bytes,
}

impl<T: SolValue> Serialize for Signed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = hex::encode_prefixed(self.value.abi_encode());
        Wire { value, signature: self.signature.clone() }.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Signed<T>
where
    T: SolValue + From<<T::SolType as alloy_sol_types::SolType>::RustType>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let wire = Wire::deserialize(deserializer)?;
        if wire.value.len() > MAX_SIGNED_BYTES.saturating_mul(2) {
            return Err(D::Error::custom("signed value longer than 64 KiB"));
        }
        let bytes = hex::decode(&wire.value).map_err(D::Error::custom)?;
        let value = T::abi_decode_validate(&bytes).map_err(D::Error::custom)?;
        Ok(Self { value, signature: wire.signature })
    }
}

#[cfg(test)]
mod tests {
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;

    use super::*;
    use crate::contracts::Factor;

    fn quote(machine: Address) -> Quote {
        Quote {
            machine,
            factors: vec![Factor { name: "reputation".to_owned(), ppm: 1_000_000 }],
            ..Quote::default()
        }
    }

    #[test]
    fn a_signed_quote_survives_json_and_names_its_machine() {
        let key = PrivateKeySigner::random();
        let value = quote(key.address());
        let signature = key.sign_hash_sync(&value.digest(1)).unwrap().as_bytes().to_vec().into();
        let signed = Signed { value, signature };
        let json = serde_json::to_string(&signed).unwrap();
        let back: SignedQuote = serde_json::from_str(&json).unwrap();
        assert_eq!(back, signed);
        assert_eq!(back.verify(1), Ok(MachineId::new(key.address())));
        assert_eq!(back.verify(2), Err(BadSignature), "another chain");
        let mut altered = back;
        altered.value.rates.activeSecond = 1;
        assert_eq!(altered.verify(1), Err(BadSignature), "another price");
    }

    #[test]
    fn signatures_have_one_form() {
        let key = PrivateKeySigner::random();
        let digest = B256::repeat_byte(7);
        let signature = key.sign_hash_sync(&digest).unwrap();
        assert_eq!(recover(digest, &signature.as_bytes()), Ok(key.address()));
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let order = alloy_primitives::U256::from_str_radix(order, 16).unwrap();
        let high = Signature::new(signature.r(), order - signature.s(), !signature.v());
        assert_eq!(recover(digest, &high.as_bytes()), Err(BadSignature));
        for length in [0, 1, 64, 66] {
            assert_eq!(recover(digest, &vec![1; length]), Err(BadSignature));
        }
    }
}
