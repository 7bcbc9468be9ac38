//! Blocks as bytes, and the ladder of what is known about them.

use std::sync::Arc;

use alloy_primitives::Log;
use pouw_consensus::{
    BlockId, BodyError, DecodeError, Header, Lane, MAX_BODY_BYTES, MAX_CERTIFICATE_BYTES,
    MAX_HEADER_BYTES, Reader, Standing, tx_root,
};
use pouw_ledger::{Transaction, TxReceipt};
use pouw_types::Network;

use crate::error::ImportError;

/// The most bytes of an encoded block.
pub const MAX_BLOCK_BYTES: usize = MAX_HEADER_BYTES + MAX_CERTIFICATE_BYTES + 2 * MAX_BODY_BYTES;

/// The most transactions of a block: no more of the least gas fit the gas of a block (C-11), so that
/// a body of tiny ones costs whoever reads it next to nothing.
const MAX_TRANSACTIONS: u64 = Network::mainnet().block_gas / 21_000;

/// The most bytes of a transaction beside its call data and access list: type, lengths, chain id,
/// nonce, fees, limit, recipient, value, signature.
const ENVELOPE_BYTES: u64 = 320;

/// A block: a header, the certificate of a lane-1 header, and the bytes of its transactions.
///
/// # Layout
/// Length of the header u16, header; where its lane is 1, length of the certificate u32 (0 where it
/// was pruned) and certificate; number of transactions u32, then each as length u32 and bytes;
/// little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// What opens the ticket of a header of lane 1; it is no part of the block's name. A node that
    /// no longer keeps it has none.
    pub certificate: Option<Vec<u8>>,
    /// The transactions as they were sent.
    pub transactions: Vec<Vec<u8>>,
}

impl Block {
    /// The block's name.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.header.id()
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let header = self.header.encode();
        let mut out = Vec::with_capacity(header.len() + self.body_bytes() + 64);
        out.extend_from_slice(&u16::try_from(header.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(&header);
        if self.header.core.lane == Lane::Matmul {
            let certificate = self.certificate.as_deref().unwrap_or_default();
            out.extend_from_slice(&count(certificate.len()));
            out.extend_from_slice(certificate);
        }
        out.extend_from_slice(&encode_body(&self.transactions));
        out
    }

    /// Reads canonical bytes and nothing else.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(DecodeError::TooLong { what: "block", limit: MAX_BLOCK_BYTES });
        }
        let mut reader = Reader::new(bytes);
        let length = usize::from(reader.u16("header length")?);
        let header = Header::decode(reader.take(length, "header")?)?;
        let certificate = match header.core.lane {
            Lane::Matmul => read_certificate(&mut reader)?,
            Lane::Hash | Lane::Credit => None,
        };
        let transactions = read_body(&mut reader)?;
        reader.finish()?;
        Ok(Self { header, certificate, transactions })
    }

    /// A block from a header, its certificate and the bytes of its transactions, as they travel apart. Nothing is
    /// copied of a body that is another header's.
    ///
    /// # Errors
    /// [`ImportError::Decode`], [`ImportError::Body`]: the body is not this header's (C-10).
    pub fn from_parts(
        header: Header,
        certificate: Option<Vec<u8>>,
        body: &[u8],
    ) -> Result<Self, ImportError> {
        let mut reader = Reader::new(body);
        let transactions = read_slices(&mut reader)?;
        reader.finish()?;
        // Before megabytes are hashed: so much costs more gas than the header's block used.
        let (used, least) = (header.core.gas_used, least_gas(&transactions));
        if least > used {
            return Err(BodyError::GasUsed { header: used, body: least }.into());
        }
        let (expected, found) = (header.core.tx_root, tx_root(&transactions));
        if found != expected {
            let what = "transaction root";
            return Err(BodyError::Root { what, header: expected, body: found }.into());
        }
        let transactions = transactions.into_iter().map(<[u8]>::to_vec).collect();
        Ok(Self { header, certificate, transactions })
    }

    /// Bytes of the transactions together.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.transactions.iter().map(Vec::len).sum()
    }

    pub(crate) fn tx_root(&self) -> alloy_primitives::B256 {
        tx_root(&self.transactions)
    }
}

/// What transactions of these sizes use at least, by the schedule of gas: each its 21,000, and four
/// for each byte of call data. What else is in a transaction takes fewer than [`ENVELOPE_BYTES`], or,
/// in an access list, more than four a byte.
fn least_gas(transactions: &[&[u8]]) -> u64 {
    transactions.iter().fold(0, |sum, raw| {
        let data = u64::try_from(raw.len()).unwrap_or(u64::MAX).saturating_sub(ENVELOPE_BYTES);
        sum.saturating_add(21_000).saturating_add(data.saturating_mul(4))
    })
}

fn read_certificate(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
    let size = length(reader, "certificate length")?;
    if size > MAX_CERTIFICATE_BYTES {
        return Err(DecodeError::TooLong { what: "certificate", limit: MAX_CERTIFICATE_BYTES });
    }
    let bytes = reader.take(size, "certificate")?;
    Ok((size > 0).then(|| bytes.to_vec()))
}

pub(crate) fn encode_body(transactions: &[Vec<u8>]) -> Vec<u8> {
    let mut out = count(transactions.len()).to_vec();
    for transaction in transactions {
        out.extend_from_slice(&count(transaction.len()));
        out.extend_from_slice(transaction);
    }
    out
}

pub(crate) fn decode_body(bytes: &[u8]) -> Result<Vec<Vec<u8>>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let transactions = read_body(&mut reader)?;
    reader.finish()?;
    Ok(transactions)
}

fn read_body(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, DecodeError> {
    Ok(read_slices(reader)?.into_iter().map(<[u8]>::to_vec).collect())
}

fn read_slices<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, DecodeError> {
    let number = length(reader, "number of transactions")?;
    if u64::try_from(number).is_ok_and(|number| number > MAX_TRANSACTIONS) {
        return Err(DecodeError::TooLong { what: "list of transactions", limit: MAX_BODY_BYTES });
    }
    let mut transactions = Vec::with_capacity(number);
    for _ in 0..number {
        let length = length(reader, "transaction length")?;
        transactions.push(reader.take(length, "transaction")?);
    }
    Ok(transactions)
}

fn count(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

fn length(reader: &mut Reader<'_>, what: &'static str) -> Result<usize, DecodeError> {
    let length = reader.u32(what)?;
    usize::try_from(length).map_err(|_| DecodeError::Canonical(what))
}

/// First rung: bytes were a block, and its transactions fit its header's root.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) block: Block,
    pub(crate) id: BlockId,
}

/// Second rung: the header follows its parent by the rules, and every transaction decodes.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) block: Block,
    /// What the rules remember after the block.
    pub(crate) standing: Standing,
    /// The base fee that follows from its parent.
    pub(crate) base_fee: u64,
    pub(crate) transactions: Vec<Arc<Transaction>>,
    /// Whether its claim was judged; one of lane 2 may have to wait until its branch is followed.
    pub(crate) judged: bool,
}

/// Third rung: executed, and everything the header says about the outcome holds.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) checked: Checked,
    pub(crate) receipts: Vec<TxReceipt>,
}

/// What of a receipt the receipts root covers: status u8, gas u64, cumulative gas u64, price
/// u128, number of logs u32, each as address, number of topics u8, topics, length of data u32,
/// data. The reason of a refusal is for people and not covered.
pub(crate) fn encode_receipt(receipt: &TxReceipt) -> Vec<u8> {
    let mut out = vec![u8::from(receipt.success())];
    out.extend_from_slice(&receipt.gas_used.to_le_bytes());
    out.extend_from_slice(&receipt.cumulative_gas_used.to_le_bytes());
    out.extend_from_slice(&receipt.effective_gas_price.to_le_bytes());
    out.extend_from_slice(&count(receipt.logs.len()));
    for log in &receipt.logs {
        out.extend_from_slice(log.address.as_slice());
        out.push(u8::try_from(log.topics().len()).unwrap_or(u8::MAX));
        for topic in log.topics() {
            out.extend_from_slice(topic.as_slice());
        }
        out.extend_from_slice(&count(log.data.data.len()));
        out.extend_from_slice(&log.data.data);
    }
    out
}

/// A block's receipts as the store keeps them, reasons included.
pub(crate) fn encode_receipts(receipts: &[TxReceipt]) -> Vec<u8> {
    let mut out = count(receipts.len()).to_vec();
    for receipt in receipts {
        out.extend_from_slice(&encode_receipt(receipt));
        let reason = receipt.revert.as_deref().unwrap_or_default();
        out.extend_from_slice(&count(reason.len()));
        out.extend_from_slice(reason.as_bytes());
    }
    out
}

pub(crate) fn decode_receipts(bytes: &[u8]) -> Result<Vec<TxReceipt>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let number = length(&mut reader, "number of receipts")?;
    let mut receipts = Vec::with_capacity(number.min(4_096));
    for _ in 0..number {
        receipts.push(read_receipt(&mut reader)?);
    }
    reader.finish()?;
    Ok(receipts)
}

fn read_receipt(reader: &mut Reader<'_>) -> Result<TxReceipt, DecodeError> {
    let success = reader.u8("status")? == 1;
    let gas_used = reader.u64("gas")?;
    let cumulative_gas_used = reader.u64("cumulative gas")?;
    let effective_gas_price = u128::from_le_bytes(reader.array("price")?);
    let mut logs = Vec::new();
    for _ in 0..reader.u32("number of logs")? {
        let address = reader.array::<20>("log address")?.into();
        let topics = (0..reader.u8("number of topics")?)
            .map(|_| reader.hash("topic"))
            .collect::<Result<Vec<_>, _>>()?;
        let size = length(reader, "log length")?;
        let data = reader.take(size, "log data")?.to_vec();
        let log = Log::new(address, topics, data.into());
        logs.push(log.ok_or(DecodeError::Canonical("number of topics"))?);
    }
    let size = length(reader, "reason length")?;
    let reason = String::from_utf8_lossy(reader.take(size, "reason")?).into_owned();
    Ok(TxReceipt {
        revert: (!success).then_some(reason),
        gas_used,
        cumulative_gas_used,
        effective_gas_price,
        logs,
    })
}
