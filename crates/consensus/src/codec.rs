//! Bounded reading of canonical bytes.

use alloy_primitives::B256;

/// Bytes are not the canonical form of anything (C-1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("the bytes end inside {0}")]
    Short(&'static str),
    /// Bytes are left over.
    #[error("{0} bytes follow the end")]
    Trailing(usize),
    /// More bytes than allowed.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// How many bytes it may have.
        limit: usize,
    },
    /// A version that this program does not know.
    #[error("header version {0}, this program knows version 1")]
    Version(u8),
    /// A lane that does not exist.
    #[error("lane {0}, lanes 0 (hash), 1 (matmul) and 2 (credit) exist")]
    Lane(u8),
    /// A field that has another form.
    #[error("{0} is not in its canonical form")]
    Canonical(&'static str),
}

/// Reads fields from the front of a slice.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Over these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(DecodeError::Short(what))?;
        self.0 = tail;
        Ok(head)
    }

    /// The next bytes, as an array.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        self.take(N, what)?.try_into().map_err(|_| DecodeError::Short(what))
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array(what).map(u8::from_le_bytes)
    }

    /// The next two bytes, little-endian.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// The next four bytes, little-endian.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// The next eight bytes, little-endian.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// The next eight bytes, little-endian, signed.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.array(what).map(i64::from_le_bytes)
    }

    /// The next 32 bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn hash(&mut self, what: &'static str) -> Result<B256, DecodeError> {
        self.array(what).map(B256::new)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] where bytes are left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}
