//! The signer's door: a client asks a node to co-sign its rental's receipts.
//!
//! The client proves who it is by EIP-712 signatures over orders that name the rental and the
//! time; [`verify_order`] checks them before a [`SignerDoor`] sees a request. What the door holds
//! (keys, last receipts, limits) is the implementer's.

use alloy_primitives::{Address, Bytes};
use alloy_sol_types::{SolValue, sol};
use async_trait::async_trait;
use pouw_types::RentalId;
use pouw_types::contracts::{Receipt, Stop};
use pouw_types::signing::{BadSignature, Signable, Signed};

pub use self::orders::{EndRental, NewSigner};

mod orders {
    use super::sol;
    sol! {
        #![sol(all_derives)]

        /// A client's order to make a signer for one rental.
        struct NewSigner {
            address client;
            bytes32 rental;
            uint64 at;
        }

        /// A client's order to its signer: end the rental (R-10, by its client), keep as in R-13.
        struct EndRental {
            address client;
            bytes32 rental;
            address signer;
            uint64 keepS;
            uint64 at;
        }
    }
}

impl Signable for NewSigner {}
impl Signable for EndRental {}

/// How far an order's `at` may be from the node's clock, seconds.
pub const ORDER_WINDOW_S: u64 = 300;

/// An order is not its client's, or not of now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Signed by nobody or somebody else.
    #[error("the order is not signed by client {0} for this chain")]
    Signature(Address),
    /// Signed too long ago, or in the future.
    #[error("the order was signed at {at}, this node's clock says {now}: sign it again")]
    Stale {
        /// Unix seconds, in the order.
        at: u64,
        /// Unix seconds, here.
        now: u64,
    },
}

/// What orders have in common.
pub trait Order: Signable + SolValue {
    /// Who orders.
    fn client(&self) -> Address;
    /// When it was signed, Unix seconds.
    fn at(&self) -> u64;
}

impl Order for NewSigner {
    fn client(&self) -> Address {
        self.client
    }
    fn at(&self) -> u64 {
        self.at
    }
}

impl Order for EndRental {
    fn client(&self) -> Address {
        self.client
    }
    fn at(&self) -> u64 {
        self.at
    }
}

/// Checks that the named client signed an order within [`ORDER_WINDOW_S`] of `now_s`.
///
/// # Errors
/// [`OrderError`].
pub fn verify_order<T: Order>(
    order: &Signed<T>,
    chain_id: u64,
    now_s: u64,
) -> Result<(), OrderError> {
    let (client, at) = (order.value.client(), order.value.at());
    match order.signer(chain_id) {
        Ok(signer) if signer == client => {}
        Ok(_) | Err(BadSignature) => return Err(OrderError::Signature(client)),
    }
    if at.abs_diff(now_s) > ORDER_WINDOW_S {
        return Err(OrderError::Stale { at, now: now_s });
    }
    Ok(())
}

/// A signer did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// This node makes no signers.
    #[error("this node runs no signer")]
    Disabled,
    /// No signer has this address.
    #[error("this node has no signer {0}")]
    Unknown(Address),
    /// The signer serves another rental or client.
    #[error("signer {signer} does not serve this {what}")]
    Foreign {
        /// Which signer.
        signer: Address,
        /// `rental` or `client`.
        what: &'static str,
    },
    /// The receipt breaks a rule.
    #[error("the receipt is refused: {0}")]
    Refused(String),
    /// As many signers as this node holds.
    #[error("this node holds {0} signers, which is its limit")]
    Full(usize),
    /// The node is in trouble.
    #[error("the signer cannot answer: {0}")]
    Unavailable(String),
}

/// Co-signs receipts and signs stops for clients that ordered it.
#[async_trait]
pub trait SignerDoor: Send + Sync + 'static {
    /// Makes a signer for a rental, or returns the one made before for the same client and rental.
    ///
    /// # Errors
    /// [`SignerError`].
    async fn create(&self, client: Address, rental: RentalId) -> Result<Address, SignerError>;

    /// Signs a receipt that its machine signed, if it is one that the client owes: 65 bytes.
    ///
    /// # Errors
    /// [`SignerError`].
    async fn cosign(&self, signer: Address, receipt: Signed<Receipt>)
    -> Result<Bytes, SignerError>;

    /// Signs the end of a rental at its client's order, which was checked.
    ///
    /// # Errors
    /// [`SignerError`].
    async fn stop(&self, order: EndRental) -> Result<Signed<Stop>, SignerError>;
}

/// The door of a node without a signer.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSigner;

#[async_trait]
impl SignerDoor for NoSigner {
    async fn create(&self, _client: Address, _rental: RentalId) -> Result<Address, SignerError> {
        Err(SignerError::Disabled)
    }

    async fn cosign(
        &self,
        _signer: Address,
        _receipt: Signed<Receipt>,
    ) -> Result<Bytes, SignerError> {
        Err(SignerError::Disabled)
    }

    async fn stop(&self, _order: EndRental) -> Result<Signed<Stop>, SignerError> {
        Err(SignerError::Disabled)
    }
}
