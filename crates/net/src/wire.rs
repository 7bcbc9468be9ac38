//! What peers say to each other: kinds of messages, their bytes, their limits.
//!
//! A frame is the payload's length (u32), its kind (u8), the payload; integers are little-endian.
//! Both are judged by [`Frame::read`] before anything of the payload is read, so a peer can make
//! nobody allocate more than its kind's limit, and nothing at all for an answer to no question.

mod reader;
#[cfg(test)]
mod tests;

use alloy_primitives::{B256, U256};
use bytes::Bytes;

pub use self::reader::WireError;
use self::reader::{Reader, Write};
use crate::contact::{Contact, MAX_ADDRESSES, PeerId};

/// Version of this protocol; another is not talked to.
pub const PROTOCOL: u16 = 1;
/// The name under which endpoints of this protocol find each other (ALPN).
pub const ALPN: &[u8] = b"pouw/1";
/// The most bytes of a header.
pub const MAX_HEADER_BYTES: usize = 350;
/// The most headers of one answer.
pub const MAX_HEADERS: usize = 512;
/// The most ids of a locator.
pub const MAX_LOCATOR: usize = 64;
/// The most parts of blocks that one message asks for.
pub const MAX_PARTS: usize = 32;
/// The most bytes of a block's body: 4 MiB of transactions, and their lengths.
pub const MAX_BODY_BYTES: usize = (4 * 1024 + 256) * 1024;
/// The most bytes of a certificate.
pub const MAX_CERTIFICATE_BYTES: usize = 34_816;
/// The most hashes of transactions in one message.
pub const MAX_HASHES: usize = 512;
/// The most bytes of transactions in one message.
pub const MAX_TRANSACTIONS_BYTES: usize = 1024 * 1024;
/// The most contacts in one message.
pub const MAX_CONTACTS: usize = 64;

/// A block's name.
pub type BlockId = B256;

/// The best block that a peer claims to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its name.
    pub id: BlockId,
    /// Blocks since genesis.
    pub height: u64,
    /// Σw, the sum of the weights of its chain.
    pub weight: U256,
}

/// The first message of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u16,
    /// EIP-155 id of the network.
    pub chain_id: u64,
    /// The network's first block.
    pub genesis: BlockId,
    /// The best block.
    pub tip: Tip,
    /// Where others may reach the sender, if it knows.
    pub addresses: Vec<core::net::SocketAddr>,
}

/// A part of a block that travels on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its transactions.
    Body(BlockId),
    /// The certificate of a block of lane 1.
    Certificate(BlockId),
}

impl Part {
    /// Which block's.
    #[must_use]
    pub const fn block(self) -> BlockId {
        match self {
            Self::Body(id) | Self::Certificate(id) => id,
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Body(_) => 0,
            Self::Certificate(_) => 1,
        });
        out.extend_from_slice(self.block().as_slice());
    }

    fn read(reader: &mut Reader) -> Result<Self, WireError> {
        match reader.u8("kind of part")? {
            0 => reader.hash("block id").map(Self::Body),
            1 => reader.hash("block id").map(Self::Certificate),
            _ => Err(WireError::Canonical("kind of part")),
        }
    }
}

/// Everything that is said between peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who one is; first, and once.
    Hello(Hello),
    /// A new best block.
    Announce {
        /// The block, whose id the header has.
        tip: Tip,
        /// Its header.
        header: Bytes,
    },
    /// Asks for the headers after the first of these that is on the other's best chain.
    GetHeaders(Vec<BlockId>),
    /// The answer, the lowest first; empty at the end of the chain.
    Headers(Vec<Bytes>),
    /// Asks for parts of blocks, each answered on its own.
    GetParts(Vec<Part>),
    /// A part.
    Part(Part, Bytes),
    /// A part that one does not have.
    Missing(Part),
    /// Transactions that wait.
    Waiting(Vec<B256>),
    /// Asks for them.
    GetTransactions(Vec<B256>),
    /// Those that still wait, of one question.
    Transactions(Vec<Bytes>),
    /// Asks whom the other knows.
    GetContacts,
    /// Whom one knows.
    Contacts(Vec<Contact>),
}

/// A kind of message: its byte, the most its payload may have, and whether it answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    byte: u8,
    limit: usize,
    answer: bool,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self { byte: 0, limit: 512, answer: false },
        Self { byte: 1, limit: 72 + 4 + MAX_HEADER_BYTES, answer: false },
        Self { byte: 2, limit: 4 + 32 * MAX_LOCATOR, answer: false },
        Self { byte: 3, limit: 4 + (4 + MAX_HEADER_BYTES) * MAX_HEADERS, answer: true },
        Self { byte: 4, limit: 4 + 33 * MAX_PARTS, answer: false },
        Self { byte: 5, limit: 33 + MAX_BODY_BYTES, answer: true },
        Self { byte: 6, limit: 33, answer: true },
        Self { byte: 7, limit: 4 + 32 * MAX_HASHES, answer: false },
        Self { byte: 8, limit: 4 + 32 * MAX_HASHES, answer: false },
        Self { byte: 9, limit: 4 + 4 * MAX_HASHES + MAX_TRANSACTIONS_BYTES, answer: true },
        Self { byte: 10, limit: 0, answer: false },
        Self { byte: 11, limit: 4 + (36 + 19 * MAX_ADDRESSES) * MAX_CONTACTS, answer: true },
    ];

    /// Whether it is an answer: sent only to whoever asked.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        self.answer
    }

    /// Its number.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self.byte
    }
}

/// What is known of a message before its payload is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which kind.
    pub kind: Kind,
    /// Bytes of the payload.
    pub length: usize,
}

impl Frame {
    /// Bytes before the payload.
    pub const BYTES: usize = 5;

    /// Judges a frame by its first bytes (N-2).
    ///
    /// # Errors
    /// [`WireError::Kind`], [`WireError::TooMany`].
    pub fn read(bytes: [u8; Self::BYTES]) -> Result<Self, WireError> {
        let [a, b, c, d, byte] = bytes;
        let kind = Kind::ALL.into_iter().find(|kind| kind.byte == byte);
        let kind = kind.ok_or(WireError::Kind(byte))?;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > kind.limit {
            let what = "bytes of a message";
            return Err(WireError::TooMany { what, found: length, limit: kind.limit });
        }
        Ok(Self { kind, length })
    }
}

impl Message {
    const fn byte(&self) -> u8 {
        match self {
            Self::Hello(_) => 0,
            Self::Announce { .. } => 1,
            Self::GetHeaders(_) => 2,
            Self::Headers(_) => 3,
            Self::GetParts(_) => 4,
            Self::Part(..) => 5,
            Self::Missing(_) => 6,
            Self::Waiting(_) => 7,
            Self::GetTransactions(_) => 8,
            Self::Transactions(_) => 9,
            Self::GetContacts => 10,
            Self::Contacts(_) => 11,
        }
    }

    /// How many answers it asks for.
    #[must_use]
    pub const fn asks(&self) -> usize {
        match self {
            Self::GetHeaders(_) | Self::GetTransactions(_) | Self::GetContacts => 1,
            Self::GetParts(parts) => parts.len(),
            _ => 0,
        }
    }

    /// The frame and payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 0, self.byte()];
        self.write(&mut out);
        let length = u32::try_from(out.len().saturating_sub(Frame::BYTES)).unwrap_or(u32::MAX);
        if let Some(place) = out.first_chunk_mut() {
            *place = length.to_le_bytes();
        }
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        let hash = |out: &mut Vec<u8>, hash: &B256| out.extend_from_slice(hash.as_slice());
        match self {
            Self::Hello(hello) => write_hello(hello, out),
            Self::Announce { tip, header } => {
                write_tip(tip, out);
                out.blob(header);
            }
            Self::GetHeaders(ids) => out.list(ids, hash),
            Self::Headers(headers) => out.list(headers, |out, header| out.blob(header)),
            Self::GetParts(parts) => out.list(parts, |out, part| part.write(out)),
            Self::Part(part, bytes) => {
                part.write(out);
                out.extend_from_slice(bytes);
            }
            Self::Missing(part) => part.write(out),
            Self::Waiting(hashes) | Self::GetTransactions(hashes) => out.list(hashes, hash),
            Self::Transactions(raw) => out.list(raw, |out, raw| out.blob(raw)),
            Self::GetContacts => {}
            Self::Contacts(contacts) => out.list(contacts, |out, contact| {
                out.extend_from_slice(contact.peer.as_bytes());
                out.list(&contact.addresses, Write::address);
            }),
        }
    }

    /// Reads a payload of a kind, and nothing but its one encoding (N-3).
    ///
    /// # Errors
    /// [`WireError`] with the first field that is wrong.
    pub fn decode(kind: Kind, payload: Bytes) -> Result<Self, WireError> {
        if payload.len() > kind.limit {
            let (found, limit) = (payload.len(), kind.limit);
            return Err(WireError::TooMany { what: "bytes of a message", found, limit });
        }
        let mut reader = Reader(payload);
        let message = Self::read(kind.byte, &mut reader)?;
        reader.finish()?;
        Ok(message)
    }

    fn read(byte: u8, reader: &mut Reader) -> Result<Self, WireError> {
        let hash = |reader: &mut Reader| reader.hash("hash");
        Ok(match byte {
            0 => Self::Hello(read_hello(reader)?),
            1 => Self::Announce {
                tip: read_tip(reader)?,
                header: reader.blob("header", MAX_HEADER_BYTES)?,
            },
            2 => Self::GetHeaders(reader.list("locator", MAX_LOCATOR, hash)?),
            3 => {
                Self::Headers(reader.list("headers", MAX_HEADERS, |reader| {
                    reader.blob("header", MAX_HEADER_BYTES)
                })?)
            }
            4 => Self::GetParts(reader.list("parts", MAX_PARTS, Part::read)?),
            5 => read_part(reader)?,
            6 => Self::Missing(Part::read(reader)?),
            7 => Self::Waiting(reader.list("hashes", MAX_HASHES, hash)?),
            8 => Self::GetTransactions(reader.list("hashes", MAX_HASHES, hash)?),
            9 => Self::Transactions(reader.list("transactions", MAX_HASHES, |reader| {
                reader.blob("transaction", MAX_TRANSACTIONS_BYTES)
            })?),
            10 => Self::GetContacts,
            11 => Self::Contacts(reader.list("contacts", MAX_CONTACTS, |reader| {
                let peer = PeerId::new(reader.array("peer")?);
                let addresses = reader.list("addresses", MAX_ADDRESSES, Reader::address)?;
                Ok(Contact { peer, addresses })
            })?),
            other => return Err(WireError::Kind(other)),
        })
    }
}

fn write_tip(tip: &Tip, out: &mut Vec<u8>) {
    out.extend_from_slice(tip.id.as_slice());
    out.extend_from_slice(&tip.height.to_le_bytes());
    out.extend_from_slice(&tip.weight.to_le_bytes::<32>());
}

fn read_tip(reader: &mut Reader) -> Result<Tip, WireError> {
    Ok(Tip {
        id: reader.hash("block id")?,
        height: reader.u64("height")?,
        weight: U256::from_le_bytes(reader.array::<32>("weight")?),
    })
}

fn write_hello(hello: &Hello, out: &mut Vec<u8>) {
    out.extend_from_slice(&hello.protocol.to_le_bytes());
    out.extend_from_slice(&hello.chain_id.to_le_bytes());
    out.extend_from_slice(hello.genesis.as_slice());
    write_tip(&hello.tip, out);
    out.list(&hello.addresses, Write::address);
}

fn read_hello(reader: &mut Reader) -> Result<Hello, WireError> {
    Ok(Hello {
        protocol: reader.u16("protocol")?,
        chain_id: reader.u64("chain id")?,
        genesis: reader.hash("genesis")?,
        tip: read_tip(reader)?,
        addresses: reader.list("addresses", MAX_ADDRESSES, Reader::address)?,
    })
}

fn read_part(reader: &mut Reader) -> Result<Message, WireError> {
    let part = Part::read(reader)?;
    let (what, limit) = match part {
        Part::Body(_) => ("bytes of a body", MAX_BODY_BYTES),
        Part::Certificate(_) => ("bytes of a certificate", MAX_CERTIFICATE_BYTES),
    };
    let found = reader.0.len();
    if found > limit {
        return Err(WireError::TooMany { what, found, limit });
    }
    Ok(Message::Part(part, reader.take(found, what)?))
}
