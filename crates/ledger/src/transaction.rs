//! Transactions as users send them: Ethereum's envelopes, decoded once and checked.

use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{EthereumTxEnvelope, Transaction as _, TxEip4844, TxType};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use pouw_types::Amount;

use crate::gas::intrinsic_gas;

/// The longest transaction, in bytes.
pub const MAX_TRANSACTION_BYTES: usize = 128 * 1024;

/// Ethereum's envelope: legacy, EIP-2930 or EIP-1559 (others are refused when decoding).
pub type Envelope = EthereumTxEnvelope<TxEip4844>;

/// A decoded transaction: signed for this chain, of a known kind, with amounts that fit.
///
/// Only [`decode_transaction`] makes one, so whoever holds it needs no further check of its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    envelope: Envelope,
    hash: B256,
    sender: Address,
    to: Address,
    value: Amount,
    intrinsic_gas: u64,
    length_bytes: usize,
}

/// Why bytes are no transaction of this chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`MAX_TRANSACTION_BYTES`].
    #[error("transaction of {0} bytes, at most {MAX_TRANSACTION_BYTES} are accepted")]
    TooLong(usize),
    /// Nothing.
    #[error("empty transaction")]
    Empty,
    /// EIP-4844, EIP-7702 or a number that means nothing.
    #[error("transaction type {0} isn't supported: send a legacy, EIP-2930 or EIP-1559 one")]
    Type(u8),
    /// Not the RLP of a transaction, or bytes after it.
    #[error("malformed transaction: {0}")]
    Malformed(String),
    /// Decodes, but isn't what encoding gives.
    #[error("transaction isn't in its canonical encoding")]
    NotCanonical,
    /// Signed without a chain id.
    #[error("legacy transaction without replay protection: sign it for chain {0} (EIP-155)")]
    Unprotected(u64),
    /// Signed for another chain.
    #[error("transaction for chain {got}, this is chain {expected}")]
    Chain {
        /// Of this network.
        expected: u64,
        /// Of the transaction.
        got: u64,
    },
    /// A value above u128.
    #[error("value {0} is above 2^128 - 1 atto, more than can exist")]
    Value(U256),
    /// The priority fee is above the maximum fee.
    #[error("priority fee {tip} above the maximum fee {max}")]
    TipAboveFee {
        /// Maximum priority fee a gas.
        tip: u128,
        /// Maximum fee a gas.
        max: u128,
    },
    /// Gas times price, plus value, above u128.
    #[error("gas limit times price plus value is above 2^128 - 1 atto, more than can exist")]
    Cost,
    /// No recipient.
    #[error("contracts can't be created: this chain has system contracts only")]
    Creation,
    /// No key made this signature.
    #[error("invalid transaction signature")]
    Signature,
}

impl Transaction {
    /// Ethereum's envelope.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Keccak-256 of the raw bytes.
    #[must_use]
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// Who signed.
    #[must_use]
    pub const fn sender(&self) -> Address {
        self.sender
    }

    /// Who receives or is called.
    #[must_use]
    pub const fn to(&self) -> Address {
        self.to
    }

    /// What is sent along.
    #[must_use]
    pub const fn value(&self) -> Amount {
        self.value
    }

    /// How many transactions of the sender come before.
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.envelope.nonce()
    }

    /// Call data.
    #[must_use]
    pub fn input(&self) -> &Bytes {
        self.envelope.input()
    }

    /// Most gas it may use.
    #[must_use]
    pub fn gas_limit(&self) -> u64 {
        self.envelope.gas_limit()
    }

    /// Gas that it uses before it does anything.
    #[must_use]
    pub const fn intrinsic_gas(&self) -> u64 {
        self.intrinsic_gas
    }

    /// The most it pays, atto-FLUX a gas.
    #[must_use]
    pub fn max_fee_per_gas(&self) -> u128 {
        self.envelope.max_fee_per_gas()
    }

    /// What a gas costs it at this base fee, atto-FLUX; `None` where the base fee is above what it
    /// pays at most.
    #[must_use]
    pub fn effective_gas_price(&self, base_fee: u64) -> Option<u128> {
        let max = self.max_fee_per_gas();
        let base = u128::from(base_fee);
        // A legacy transaction's price is both its maximum and its tip.
        let tip = self.envelope.max_priority_fee_per_gas().unwrap_or(max);
        (max >= base).then(|| base.saturating_add(tip).min(max))
    }

    /// What a gas brings the miner at this base fee, atto-FLUX; `None` as above.
    #[must_use]
    pub fn effective_tip(&self, base_fee: u64) -> Option<u128> {
        self.effective_gas_price(base_fee).and_then(|price| price.checked_sub(base_fee.into()))
    }

    /// The most it can take from its sender: gas limit times maximum fee, and the value.
    #[must_use]
    pub fn max_cost(&self) -> Amount {
        max_cost(&self.envelope, self.value).unwrap_or(Amount::MAX)
    }

    /// Length of [`Transaction::raw`].
    #[must_use]
    pub const fn length_bytes(&self) -> usize {
        self.length_bytes
    }

    /// The bytes it was decoded from.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        self.envelope.encoded_2718()
    }
}

fn max_cost(envelope: &Envelope, value: Amount) -> Option<Amount> {
    let gas = u128::from(envelope.gas_limit()).checked_mul(envelope.max_fee_per_gas())?;
    Amount::from_atto(gas).checked_add(value).ok()
}

/// Reads a transaction and recovers its sender.
///
/// # Errors
/// [`DecodeError`] names what is wrong with it.
pub fn decode_transaction(raw: &[u8], chain_id: u64) -> Result<Transaction, DecodeError> {
    let envelope = decode_envelope(raw)?;
    match envelope.chain_id() {
        None => return Err(DecodeError::Unprotected(chain_id)),
        Some(got) if got != chain_id => {
            return Err(DecodeError::Chain { expected: chain_id, got });
        }
        Some(_) => {}
    }
    let TxKind::Call(to) = envelope.kind() else { return Err(DecodeError::Creation) };
    let value = envelope.value();
    let value = Amount::from_u256(value).map_err(|_| DecodeError::Value(value))?;
    let max = envelope.max_fee_per_gas();
    match envelope.max_priority_fee_per_gas() {
        Some(tip) if tip > max => return Err(DecodeError::TipAboveFee { tip, max }),
        Some(_) | None => {}
    }
    max_cost(&envelope, value).ok_or(DecodeError::Cost)?;
    let intrinsic_gas = intrinsic_gas(envelope.input(), envelope.access_list());
    // Last, because it costs the most by far.
    let sender = envelope.recover_signer().map_err(|_| DecodeError::Signature)?;
    Ok(Transaction {
        hash: keccak256(raw),
        sender,
        to,
        value,
        intrinsic_gas,
        length_bytes: raw.len(),
        envelope,
    })
}

/// An access list's addresses and storage keys.
pub(crate) fn access_list_counts(list: Option<&AccessList>) -> (usize, usize) {
    list.map_or((0, 0), |list| {
        let keys = list.0.iter().map(|item| item.storage_keys.len());
        (list.0.len(), keys.fold(0, usize::saturating_add))
    })
}

fn decode_envelope(raw: &[u8]) -> Result<Envelope, DecodeError> {
    if raw.len() > MAX_TRANSACTION_BYTES {
        return Err(DecodeError::TooLong(raw.len()));
    }
    // EIP-2718: a first byte up to 0x7f is a type, from 0xc0 on it starts a legacy list.
    let known = [TxType::Eip2930, TxType::Eip1559].map(u8::from);
    match raw.first() {
        None => return Err(DecodeError::Empty),
        Some(first) if *first < 0x80 && !known.contains(first) => {
            return Err(DecodeError::Type(*first));
        }
        Some(_) => {}
    }
    let envelope = Envelope::decode_2718_exact(raw)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    // A second encoding of the same content would be a second hash of the same transaction.
    if envelope.encoded_2718() != raw {
        return Err(DecodeError::NotCanonical);
    }
    Ok(envelope)
}
