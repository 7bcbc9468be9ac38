//! ABI values inside JSON: as hex, so that no reader loses digits of a number.

use alloy_primitives::hex;
use alloy_sol_types::SolValue;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Most bytes of one ABI value.
const MAX_BYTES: usize = 64 * 1024;

pub(crate) fn serialize<T: SolValue, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode_prefixed(value.abi_encode()))
}

pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: SolValue + From<<T::SolType as alloy_sol_types::SolType>::RustType>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    if text.len() > MAX_BYTES * 2 {
        return Err(D::Error::custom("value longer than 64 KiB"));
    }
    let bytes = hex::decode(&text).map_err(D::Error::custom)?;
    T::abi_decode_validate(&bytes).map_err(D::Error::custom)
}
