//! Bounded reading of a message's bytes.

use core::net::{IpAddr, SocketAddr};

use alloy_primitives::B256;
use bytes::Bytes;

/// Bytes are no message of this protocol (N-2 … N-4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("the message ends inside {0}")]
    Short(&'static str),
    /// Bytes are left over.
    #[error("{0} bytes follow the message's end")]
    Trailing(usize),
    /// More than allowed.
    #[error("{what}: {found}, at most {limit} are allowed")]
    TooMany {
        /// Which part.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many may be there.
        limit: usize,
    },
    /// A kind that does not exist.
    #[error("no message has the kind {0}")]
    Kind(u8),
    /// A field that has another form.
    #[error("{0} is not in its canonical form")]
    Canonical(&'static str),
    /// An answer that nobody asked for.
    #[error("an answer of kind {0} that nobody asked for")]
    Unasked(u8),
}

/// Reads fields from the front of a message, without copying.
#[derive(Debug)]
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    pub(super) fn take(&mut self, count: usize, what: &'static str) -> Result<Bytes, WireError> {
        if self.0.len() < count {
            return Err(WireError::Short(what));
        }
        Ok(self.0.split_to(count))
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], WireError> {
        self.take(N, what)?.as_ref().try_into().map_err(|_| WireError::Short(what))
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        self.array(what).map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(super) fn hash(&mut self, what: &'static str) -> Result<B256, WireError> {
        self.array(what).map(B256::new)
    }

    /// A length or number of things, within its limit.
    pub(super) fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, WireError> {
        let found = u32::from_le_bytes(self.array(what)?);
        let found = usize::try_from(found).unwrap_or(usize::MAX);
        if found > limit {
            return Err(WireError::TooMany { what, found, limit });
        }
        Ok(found)
    }

    /// Bytes behind their length.
    pub(super) fn blob(&mut self, what: &'static str, limit: usize) -> Result<Bytes, WireError> {
        let count = self.count(what, limit)?;
        self.take(count, what)
    }

    /// A list behind its number; room is made as its items turn up.
    pub(super) fn list<T>(
        &mut self,
        what: &'static str,
        limit: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = self.count(what, limit)?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(item(self)?);
        }
        Ok(list)
    }

    pub(super) fn address(&mut self) -> Result<SocketAddr, WireError> {
        let ip = match self.u8("kind of address")? {
            4 => IpAddr::from(self.array::<4>("IPv4 address")?),
            6 => IpAddr::from(self.array::<16>("IPv6 address")?),
            _ => return Err(WireError::Canonical("kind of address")),
        };
        let port = self.u16("port")?;
        if port == 0 {
            return Err(WireError::Canonical("port"));
        }
        Ok(SocketAddr::new(ip, port))
    }

    pub(super) fn finish(self) -> Result<(), WireError> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(WireError::Trailing(left)),
        }
    }
}

/// Appends fields in the form that [`Reader`] reads.
pub(super) trait Write {
    fn count(&mut self, number: usize);
    fn blob(&mut self, bytes: &[u8]);
    fn list<T>(&mut self, items: &[T], item: impl FnMut(&mut Self, &T));
    fn address(&mut self, address: &SocketAddr);
}

impl Write for Vec<u8> {
    fn count(&mut self, number: usize) {
        self.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn blob(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.extend_from_slice(bytes);
    }

    fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.count(items.len());
        for one in items {
            item(self, one);
        }
    }

    fn address(&mut self, address: &SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) => {
                self.push(4);
                self.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.push(6);
                self.extend_from_slice(&ip.octets());
            }
        }
        self.extend_from_slice(&address.port().to_le_bytes());
    }
}
