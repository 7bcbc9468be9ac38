//! The verifiable random function of lane 2: ECVRF-EDWARDS25519-SHA512-TAI of RFC 9381.
//!
//! A key and an input have exactly one output; whoever holds the key can compute it and prove it,
//! and nobody else can tell it from random bits. So a host's slots are fixed as soon as the beacon
//! is, and it can neither try again nor win twice.
//!
//! Curve arithmetic is `curve25519-dalek`'s; the vectors are those of the RFC, appendix B.3.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};

/// Bytes of a proof: a point, half a hash, a scalar.
pub const PROOF_BYTES: usize = 80;
/// ECVRF-EDWARDS25519-SHA512-TAI.
const SUITE: u8 = 3;

/// A proof does not show an output of this key for this input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VrfError {
    /// The key is not a point, or one of the few whose outputs are not unique.
    #[error("the lane key is not a usable Ed25519 key")]
    Key,
    /// The proof is not a point and two scalars in their canonical form.
    #[error("the proof is not in its canonical form")]
    Form,
    /// It is one, of something else.
    #[error("the proof is not of this key and input")]
    Proof,
}

/// An output: 64 bytes that nobody but the key's holder could foresee.
pub type Output = [u8; 64];

/// Proves the output of a key for an input.
///
/// # Errors
/// [`VrfError::Key`] where no counter gives a point, which happens once in 2^256 inputs.
pub fn prove(secret: &[u8; 32], input: &[u8]) -> Result<[u8; PROOF_BYTES], VrfError> {
    let expanded: [u8; 64] = Sha512::digest(secret).into();
    let (low, high) = expanded.split_at(32);
    let scalar = low.first_chunk().copied().unwrap_or_default();
    let scalar = Scalar::from_bytes_mod_order(clamp_integer(scalar));
    let key = EdwardsPoint::mul_base(&scalar);
    let key_bytes = key.compress();
    let hashed = encode_to_curve(key_bytes.as_bytes(), input).ok_or(VrfError::Key)?;
    let hashed_bytes = hashed.compress();
    let gamma = hashed * scalar;
    let nonce = Sha512::new().chain_update(high).chain_update(hashed_bytes.as_bytes()).finalize();
    let nonce = Scalar::from_bytes_mod_order_wide(&nonce.into());
    let (u, v) = (EdwardsPoint::mul_base(&nonce), hashed * nonce);
    let challenge = challenge(key_bytes.as_bytes(), [hashed, gamma, u, v]);
    let response = nonce + scalar_of(challenge) * scalar;

    let mut proof = [0; PROOF_BYTES];
    let fields =
        gamma.compress().to_bytes().into_iter().chain(challenge).chain(response.to_bytes());
    for (to, from) in proof.iter_mut().zip(fields) {
        *to = from;
    }
    Ok(proof)
}

/// Verifies a proof; gives back the output.
///
/// # Errors
/// [`VrfError`].
pub fn verify(key: &[u8; 32], input: &[u8], proof: &[u8; PROOF_BYTES]) -> Result<Output, VrfError> {
    let point = decode(key).filter(|point| !point.is_small_order()).ok_or(VrfError::Key)?;
    let (gamma, rest) = proof.split_first_chunk::<32>().ok_or(VrfError::Form)?;
    let (claimed, rest) = rest.split_first_chunk::<16>().ok_or(VrfError::Form)?;
    let response = *rest.first_chunk::<32>().ok_or(VrfError::Form)?;
    let gamma = decode(gamma).ok_or(VrfError::Form)?;
    let response: Option<Scalar> = Scalar::from_canonical_bytes(response).into();
    let response = response.ok_or(VrfError::Form)?;
    let hashed = encode_to_curve(key, input).ok_or(VrfError::Proof)?;
    let negative = -scalar_of(*claimed);
    let u = EdwardsPoint::vartime_double_scalar_mul_basepoint(&negative, &point, &response);
    let v = hashed * response + gamma * negative;
    if challenge(key, [hashed, gamma, u, v]) == *claimed {
        Ok(output(gamma))
    } else {
        Err(VrfError::Proof)
    }
}

fn output(gamma: EdwardsPoint) -> Output {
    Sha512::new()
        .chain_update([SUITE, 3])
        .chain_update(gamma.mul_by_cofactor().compress().as_bytes())
        .chain_update([0])
        .finalize()
        .into()
}

/// Try and increment: the first counter whose hash is a point; times the cofactor.
fn encode_to_curve(key: &[u8; 32], input: &[u8]) -> Option<EdwardsPoint> {
    (0..=u8::MAX).find_map(|counter| {
        let hash: [u8; 64] = Sha512::new()
            .chain_update([SUITE, 1])
            .chain_update(key)
            .chain_update(input)
            .chain_update([counter, 0])
            .finalize()
            .into();
        let point = decode(hash.first_chunk()?)?.mul_by_cofactor();
        (!point.is_identity()).then_some(point)
    })
}

fn challenge(key: &[u8; 32], points: [EdwardsPoint; 4]) -> [u8; 16] {
    let mut hash = Sha512::new().chain_update([SUITE, 2]).chain_update(key);
    for point in points {
        hash.update(point.compress().as_bytes());
    }
    let hash: [u8; 64] = hash.chain_update([0]).finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

fn scalar_of(challenge: [u8; 16]) -> Scalar {
    Scalar::from(u128::from_le_bytes(challenge))
}

/// A point in its only encoding (RFC 8032): the library also takes others.
fn decode(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    let point = CompressedEdwardsY(*bytes).decompress()?;
    (point.compress().as_bytes() == bytes).then_some(point)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    use super::*;

    /// RFC 9381, examples 16 to 18: secret key, public key, input, proof, output.
    const VECTORS: [[&str; 5]; 3] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d9727d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805",
            "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a465301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02",
            "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf8096bb474e53895c362d8628ee9f9ea3c0e52c7a5c691b6c18c9979866568add7a2d41b00b05081ed0f58ee5e31b3a970e",
            "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c452118fec1219202a0edcf038bb6373241578be7217ba85a2687f7a0310b2df19f",
        ],
    ];

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_vectors_of_the_rfc_hold() {
        for [secret, key, input, proof, output] in VECTORS {
            let input = hex::decode(input).unwrap();
            let made = prove(&bytes(secret), &input).unwrap();
            assert_eq!(hex::encode(made), proof);
            assert_eq!(hex::encode(verify(&bytes(key), &input, &made).unwrap()), output);
        }
    }

    #[test]
    fn a_proof_is_of_one_key_and_one_input() {
        let [secret, key, ..] = VECTORS[0];
        let proof = prove(&bytes(secret), b"slot").unwrap();
        assert!(verify(&bytes(key), b"slot", &proof).is_ok());
        assert_eq!(verify(&bytes(key), b"slots", &proof), Err(VrfError::Proof));
        assert_eq!(verify(&bytes(VECTORS[1][1]), b"slot", &proof), Err(VrfError::Proof));
        for place in 0..PROOF_BYTES {
            let mut other = proof;
            other[place] ^= 1;
            assert!(verify(&bytes(key), b"slot", &other).is_err(), "byte {place}");
        }
    }

    #[test]
    fn keys_of_small_order_and_other_encodings_are_refused() {
        let proof = prove(&bytes(VECTORS[0][0]), b"slot").unwrap();
        // The identity, and y = p + 1, which is another way to write it.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut unreduced = [0xff; 32];
        (unreduced[0], unreduced[31]) = (0xee, 0x7f);
        for key in [identity, unreduced, [0; 32]] {
            assert_eq!(verify(&key, b"slot", &proof), Err(VrfError::Key));
        }
        // s + q is the same scalar in another form.
        let mut other = proof;
        other[48..].copy_from_slice(&[0xff; 32]);
        assert_eq!(verify(&bytes(VECTORS[0][1]), b"slot", &other), Err(VrfError::Form));
    }
}
