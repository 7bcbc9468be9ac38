//! Who a peer is and where it may be reached.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

/// The most addresses of one peer.
pub const MAX_ADDRESSES: usize = 8;

/// A peer's name: the public Ed25519 key of its endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// From the key's bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl FromStr for PeerId {
    type Err = ContactError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ContactError::Peer(text.to_owned()))?;
        Ok(Self(bytes))
    }
}

impl serde::Serialize for PeerId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PeerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A text is no contact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    /// The part before the `@`.
    #[error("`{0}` is no peer: 64 hex digits, as the other node prints them")]
    Peer(String),
    /// The part after it.
    #[error("`{0}` is no address: IP:PORT, such as 203.0.113.7:7373 or [2001:db8::7]:7373")]
    Address(String),
    /// No `@`.
    #[error("`{0}` is no contact: PEER@IP:PORT, with the 64 hex digits that the other node prints")]
    Form(String),
}

/// A peer and where it may be reached. As text `PEER@IP:PORT`, with more addresses behind commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub peer: PeerId,
    /// Where.
    pub addresses: Vec<SocketAddr>,
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.peer)?;
        for (index, address) in self.addresses.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

impl FromStr for Contact {
    type Err = ContactError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (peer, addresses) =
            text.split_once('@').ok_or_else(|| ContactError::Form(text.to_owned()))?;
        let address = |text: &str| {
            let parsed = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
            parsed.ok_or_else(|| ContactError::Address(text.to_owned()))
        };
        let addresses = addresses.split(',').map(address).collect::<Result<Vec<_>, _>>()?;
        if addresses.len() > MAX_ADDRESSES {
            return Err(ContactError::Address(text.to_owned()));
        }
        Ok(Self { peer: peer.parse()?, addresses })
    }
}

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Machine,
    Site,
    World,
}

/// Whether a peer at `from` may tell of `address` (N-13): nobody can send us to places that are
/// nearer to us than it is itself, such as services of our own machine or site.
#[must_use]
pub fn may_tell(from: IpAddr, address: IpAddr) -> bool {
    scope(address).is_some_and(|told| scope(from).is_some_and(|near| told >= near))
}

/// `None` for what is no single machine's address.
fn scope(ip: IpAddr) -> Option<Scope> {
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() {
        return None;
    }
    if ip.is_loopback() {
        return Some(Scope::Machine);
    }
    let site = match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            if ip.is_broadcast() || a == 0 || a >= 240 {
                return None;
            }
            ip.is_private() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    Some(if site { Scope::Site } else { Scope::World })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_read_as_it_is_written() {
        let text = format!("{}@127.0.0.1:7373,[::1]:7373", "ab".repeat(32));
        let contact: Contact = text.parse().unwrap();
        assert_eq!(contact.addresses.len(), 2);
        assert_eq!(contact.to_string(), text);
        for wrong in ["", "abc", "ab@127.0.0.1:1", &text[..64], &format!("{}@host:1", &text[..64])]
        {
            assert!(wrong.parse::<Contact>().is_err(), "{wrong}");
        }
        let many = format!("{}@{}", &text[..64], ["1.1.1.1:1"; 9].join(","));
        assert!(many.parse::<Contact>().is_err());
    }

    #[test]
    fn nobody_sends_us_nearer_than_it_is_itself() {
        let check = |from: &str, told: &str, expected: bool| {
            let (from, told) = (from.parse().unwrap(), told.parse().unwrap());
            assert_eq!(may_tell(from, told), expected, "{from} tells of {told}");
        };
        check("127.0.0.1", "127.0.0.1", true);
        check("10.0.0.1", "127.0.0.1", false);
        check("10.0.0.1", "192.168.1.1", true);
        check("8.8.8.8", "192.168.1.1", false);
        check("8.8.8.8", "169.254.169.254", false);
        check("8.8.8.8", "::ffff:127.0.0.1", false);
        check("2600::1", "fd00::1", false);
        check("8.8.8.8", "1.1.1.1", true);
        check("127.0.0.1", "0.0.0.0", false);
        check("127.0.0.1", "224.0.0.1", false);
    }
}
