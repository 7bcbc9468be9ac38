//! Positional parameters.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::RpcError;

/// The parameters of a request that were not taken yet.
#[derive(Debug)]
pub(super) struct Params {
    values: std::vec::IntoIter<Value>,
    taken: usize,
}

impl Params {
    /// From the `params` member.
    pub(super) fn read(params: Option<Value>) -> Result<Self, RpcError> {
        let values = match params {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) => values,
            Some(_) => return Err(RpcError::params("`params` is a list, by position")),
        };
        Ok(Self { values: values.into_iter(), taken: 0 })
    }

    /// The next one, which must be there.
    pub(super) fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, RpcError> {
        self.optional(name)?.ok_or_else(|| {
            RpcError::params(format!("missing value for required argument {}, {name}", self.taken))
        })
    }

    /// The next one, if there is one that is not null.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, RpcError> {
        let value = self.values.next();
        self.taken = self.taken.saturating_add(1);
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(&value).map(Some).map_err(|error| {
                RpcError::params(format!("argument {}, {name}: {error}", self.taken))
            }),
        }
    }

    /// Nothing may be left.
    pub(super) fn end(mut self) -> Result<(), RpcError> {
        match self.values.next() {
            None => Ok(()),
            Some(_) => {
                Err(RpcError::params(format!("too many arguments, want at most {}", self.taken)))
            }
        }
    }
}

/// A number as Ethereum writes it (`0x…`) or as JSON does.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Quantity(#[serde(deserialize_with = "quantity")] pub(super) u64);

fn quantity<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    use serde::de::Error as _;
    let expected = || D::Error::custom("a number such as 0x1f is expected, below 2^64");
    match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64().ok_or_else(expected),
        Value::String(text) => {
            let digits = text.strip_prefix("0x").ok_or_else(expected)?;
            u64::from_str_radix(digits, 16).map_err(|_| expected())
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(expected()),
    }
}
