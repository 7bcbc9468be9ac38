//! The machine's key, and what it signs: offers, quotes, receipts, its registration.

use alloy_primitives::{Address, Bytes};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use pouw_types::contracts::Registration;
use pouw_types::signing::{Signable, Signed};
use pouw_types::{MachineId, Offer};

/// The key does not sign, which a key in memory never does.
#[derive(Debug, thiserror::Error)]
#[error("the machine key does not sign")]
pub struct KeyError(#[source] alloy_signer::Error);

/// A machine that can sign.
#[derive(Clone, Debug)]
pub struct Machine {
    key: PrivateKeySigner,
    chain_id: u64,
}

impl Machine {
    /// With this key, on this chain.
    #[must_use]
    pub const fn new(key: PrivateKeySigner, chain_id: u64) -> Self {
        Self { key, chain_id }
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> MachineId {
        MachineId::new(self.key.address())
    }

    /// The chain that its signatures are for.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Signs a quote, a receipt, ….
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn sign<T: Signable>(&self, value: T) -> Result<Signed<T>, KeyError> {
        let signature = self.key.sign_hash_sync(&value.digest(self.chain_id)).map_err(KeyError)?;
        Ok(Signed { value, signature: signature.as_bytes().to_vec().into() })
    }

    /// Signs an offer.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn sign_offer(&self, offer: Offer) -> Result<Offer, KeyError> {
        let signature = self.key.sign_hash_sync(&offer.hash()).map_err(KeyError)?;
        Ok(Offer { signature: signature.as_bytes().to_vec().into(), ..offer })
    }

    /// Consents to being registered by an operator.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn consent(&self, operator: Address) -> Result<Bytes, KeyError> {
        let consent = Registration { machine: self.id().get(), operator };
        self.sign(consent).map(|signed| signed.signature)
    }
}
