//! What the agent needs of a rental's signer.

use alloy_primitives::{Address, Bytes};
use async_trait::async_trait;
use pouw_types::RentalId;
use pouw_types::contracts::Receipt;
use pouw_types::signing::Signed;

/// A signer did not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// It can't be reached: the same receipt may be signed later.
    #[error("the signer does not answer: {0}")]
    Unreachable(String),
    /// It disagrees with the receipt, and says why.
    #[error("the signer refuses the receipt: {0}")]
    Refused(String),
}

/// Gets the client's side to sign receipts; by default the signer is a part of the node.
#[async_trait]
pub trait Signer: Send + Sync + 'static {
    /// The signature of `signer` over the receipt that the machine signed.
    ///
    /// The agent checks that the signature is `signer`'s; an implementation only has to carry it.
    ///
    /// # Errors
    /// [`SignerError`].
    async fn cosign(
        &self,
        rental: RentalId,
        signer: Address,
        receipt: Signed<Receipt>,
    ) -> Result<Bytes, SignerError>;
}
