//! How records become bytes: fields in order, big-endian, of fixed width; a list is its length in
//! one byte, then its entries. One value has one encoding.

use alloy_primitives::{Address, B256};
use pouw_types::Amount;

/// Appends fields.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

/// Takes fields off; `None` where bytes are missing or can't be the field.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

/// A field with one encoding.
pub(crate) trait Field: Sized {
    fn write(&self, to: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn put(&mut self, field: &impl Field) -> &mut Self {
        field.write(self);
        self
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take<T: Field>(&mut self) -> Option<T> {
        T::read(self)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn write(&self, to: &mut Writer) {
                to.bytes(&self.to_be_bytes());
            }
            fn read(from: &mut Reader<'_>) -> Option<Self> {
                from.array().map(Self::from_be_bytes)
            }
        }
    )*};
}

integers!(u8, u32, u64, u128);

impl Field for bool {
    fn write(&self, to: &mut Writer) {
        u8::from(*self).write(to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        match u8::read(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Field for Address {
    fn write(&self, to: &mut Writer) {
        to.bytes(self.as_slice());
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.array().map(Self::new)
    }
}

impl Field for B256 {
    fn write(&self, to: &mut Writer) {
        to.bytes(self.as_slice());
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.array().map(Self::new)
    }
}

impl Field for Amount {
    fn write(&self, to: &mut Writer) {
        self.atto().write(to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        u128::read(from).map(Self::from_atto)
    }
}

/// Text of at most 255 bytes.
impl Field for String {
    fn write(&self, to: &mut Writer) {
        let length = u8::try_from(self.len()).unwrap_or(u8::MAX);
        length.write(to);
        to.bytes(self.as_bytes().get(..usize::from(length)).unwrap_or_default());
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let length = u8::read(from)?;
        let bytes = from.bytes(usize::from(length))?;
        Self::from_utf8(bytes.to_vec()).ok()
    }
}

/// A list of at most 255 entries.
impl<T: Field> Field for Vec<T> {
    fn write(&self, to: &mut Writer) {
        let length = u8::try_from(self.len()).unwrap_or(u8::MAX);
        length.write(to);
        for entry in self.iter().take(usize::from(length)) {
            entry.write(to);
        }
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let length = u8::read(from)?;
        (0..length).map(|_| T::read(from)).collect()
    }
}

/// Implements [`Field`] for a structure, field by field in the order given.
macro_rules! fields {
    ($type:ty { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Field for $type {
            fn write(&self, to: &mut $crate::codec::Writer) {
                $(to.put(&self.$field);)*
            }
            fn read(from: &mut $crate::codec::Reader<'_>) -> Option<Self> {
                // A structure expression is evaluated in the order in which it is written.
                Some(Self { $($field: from.take()?),* })
            }
        }
    };
}
pub(crate) use fields;
