//! A block that the operator trusts: how a new node joins a chain whose old certificates are gone.

use core::fmt;
use core::str::FromStr;

use crate::wire::BlockId;

/// A block and its height; as text `BLOCKID@HEIGHT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Its name.
    pub id: BlockId,
    /// Blocks since genesis, at least 1.
    pub height: u64,
}

/// A text names no block to trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no block to trust: BLOCKID@HEIGHT, as `pouw chain block` shows them on a node that one trusts"
)]
pub struct TrustError(String);

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.height)
    }
}

impl FromStr for Trust {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || TrustError(text.to_owned());
        let (id, height) = text.split_once('@').ok_or_else(wrong)?;
        let id = id.parse().map_err(|_| wrong())?;
        let height = height.parse().ok().filter(|height| *height > 0).ok_or_else(wrong)?;
        Ok(Self { id, height })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_block_is_read_as_it_is_written() {
        let text = format!("0x{}@2880", "ab".repeat(32));
        let trust: Trust = text.parse().unwrap();
        assert_eq!(trust.to_string(), text);
        let id = text.split('@').next().unwrap();
        for wrong in ["", "7", "0x12@7", id, &format!("{id}@0"), &format!("{id}@-1")] {
            assert!(wrong.parse::<Trust>().is_err(), "{wrong}");
        }
    }
}
