//! The signer of a node: co-signs the receipts of its clients' rentals.
//!
//! One key a rental, kept in a file of its own beside a record of what was signed last. A record
//! is on the disk before its signature leaves, so that a crash can never make the signer forget
//! how far it went.

mod policy;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, Bytes};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use async_trait::async_trait;
use pouw_api::signer::{EndRental, SignerDoor, SignerError};
use pouw_types::RentalId;
use pouw_types::contracts::{IRentals, Quote, Receipt, Stop};
use pouw_types::signing::{Signable, Signed};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use self::policy::Known;

/// Most rentals that one node signs for.
const CAPACITY: usize = 10_000;

/// What the signer needs to know of a rental.
#[async_trait]
pub trait RentalReader: Send + Sync + 'static {
    /// Terms and state of a rental at the head; `None` if it isn't on the best chain.
    async fn rental(&self, id: RentalId) -> Result<Option<(Quote, IRentals::Rental)>, String>;
}

/// Keys and records of all rentals that this node signs for.
pub struct Signer {
    chain_id: u64,
    folder: PathBuf,
    reader: Arc<dyn RentalReader>,
    held: Mutex<BTreeMap<Address, Arc<Mutex<Held>>>>,
}

struct Held {
    key: PrivateKeySigner,
    record: Record,
}

/// What is kept of one rental.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    client: Address,
    rental: RentalId,
    /// The last receipt with our signature, and when it was made (Unix seconds).
    last: Option<(Signed<Receipt>, u64)>,
    stopped_at: Option<u64>,
}

impl core::fmt::Debug for Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Signer").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The signer's folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file can't be read.
    #[error("cannot read the signer's records in {}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// A record is damaged.
    #[error("the signer's record {} is damaged", .0.display())]
    Record(PathBuf, #[source] serde_json::Error),
    /// A key is damaged.
    #[error(transparent)]
    Key(#[from] pouw_vault::KeyFileError),
}

impl Signer {
    /// Takes up what a folder holds.
    ///
    /// # Errors
    /// [`OpenError`]: a damaged record stops the node, since signing without it could pay twice.
    pub fn open(
        folder: &Path,
        chain_id: u64,
        reader: Arc<dyn RentalReader>,
    ) -> Result<Self, OpenError> {
        let failed = |error| OpenError::File(folder.to_owned(), error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut held = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text =
                std::fs::read(&path).map_err(|error| OpenError::File(path.clone(), error))?;
            let record: Record = serde_json::from_slice(&text)
                .map_err(|error| OpenError::Record(path.clone(), error))?;
            let key = pouw_vault::load_or_create(&path.with_extension("key"))?;
            held.insert(key.address(), Arc::new(Mutex::new(Held { key, record })));
        }
        Ok(Self { chain_id, folder: folder.to_owned(), reader, held: Mutex::new(held) })
    }

    fn path(&self, rental: RentalId) -> PathBuf {
        self.folder.join(format!("{rental}.json"))
    }

    /// Puts a record on the disk before anything that relies on it leaves.
    async fn store(&self, record: &Record) -> Result<(), SignerError> {
        let unavailable = |text: String| SignerError::Unavailable(text);
        let json = serde_json::to_vec(record).map_err(|error| unavailable(error.to_string()))?;
        let path = self.path(record.rental);
        tokio::task::spawn_blocking(move || pouw_vault::write_private(&path, &json))
            .await
            .map_err(|error| unavailable(error.to_string()))?
            .map_err(|error| unavailable(format!("cannot store the record: {error}")))
    }

    async fn find(&self, signer: Address) -> Result<Arc<Mutex<Held>>, SignerError> {
        self.held.lock().await.get(&signer).cloned().ok_or(SignerError::Unknown(signer))
    }

    async fn drop_closed(&self, held: &mut BTreeMap<Address, Arc<Mutex<Held>>>) {
        let mut closed = Vec::new();
        for (address, one) in held.iter() {
            let rental = one.lock().await.record.rental;
            if let Ok(Some((_, view))) = self.reader.rental(rental).await
                && view.phase == IRentals::Phase::Closed
            {
                closed.push((*address, rental));
            }
        }
        for (address, rental) in closed {
            let path = self.path(rental);
            // What can't be removed is found again at the next start: no harm.
            let _left = std::fs::remove_file(path.with_extension("key"));
            let _left = std::fs::remove_file(path);
            held.remove(&address);
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn sign(key: &PrivateKeySigner, digest: alloy_primitives::B256) -> Result<Bytes, SignerError> {
    let signature =
        key.sign_hash_sync(&digest).map_err(|error| SignerError::Unavailable(error.to_string()))?;
    Ok(signature.as_bytes().to_vec().into())
}

#[async_trait]
impl SignerDoor for Signer {
    async fn create(&self, client: Address, rental: RentalId) -> Result<Address, SignerError> {
        let mut held = self.held.lock().await;
        for (address, one) in held.iter() {
            let record = &one.lock().await.record;
            if record.rental == rental {
                let same = record.client == client;
                let foreign = SignerError::Foreign { signer: *address, what: "client" };
                return if same { Ok(*address) } else { Err(foreign) };
            }
        }
        if held.len() >= CAPACITY {
            self.drop_closed(&mut held).await;
        }
        if held.len() >= CAPACITY {
            return Err(SignerError::Full(CAPACITY));
        }
        let record = Record { client, rental, last: None, stopped_at: None };
        let key = pouw_vault::load_or_create(&self.path(rental).with_extension("key"))
            .map_err(|error| SignerError::Unavailable(error.to_string()))?;
        self.store(&record).await?;
        let address = key.address();
        held.insert(address, Arc::new(Mutex::new(Held { key, record })));
        Ok(address)
    }

    async fn cosign(
        &self,
        signer: Address,
        receipt: Signed<Receipt>,
    ) -> Result<Bytes, SignerError> {
        let held = self.find(signer).await?;
        let mut held = held.lock().await;
        let id = held.record.rental;
        if receipt.value.rental != id.get() {
            return Err(SignerError::Foreign { signer, what: "rental" });
        }
        let (quote, rental) = self
            .reader
            .rental(id)
            .await
            .map_err(SignerError::Unavailable)?
            .ok_or_else(|| SignerError::Refused(policy::Refusal::NotOpen.to_string()))?;
        if rental.signer != signer {
            return Err(SignerError::Foreign { signer, what: "rental" });
        }
        let known = Known {
            chain_id: self.chain_id,
            quote: &quote,
            rental: &rental,
            last: held.record.last.as_ref().map(|(last, at)| (&last.value, *at)),
            stopped_at: held.record.stopped_at,
        };
        let now = now_s();
        policy::check(&known, &receipt, now)
            .map_err(|refusal| SignerError::Refused(refusal.to_string()))?;
        let signature = sign(&held.key, receipt.value.digest(self.chain_id))?;
        // A copy of the same receipt must not move the time from which growth is counted.
        if held.record.last.as_ref().is_none_or(|(last, _)| last.value != receipt.value) {
            let mut record = held.record.clone();
            record.last = Some((receipt, now));
            self.store(&record).await?;
            held.record = record;
        }
        Ok(signature)
    }

    async fn stop(&self, order: EndRental) -> Result<Signed<Stop>, SignerError> {
        let held = self.find(order.signer).await?;
        let mut held = held.lock().await;
        if held.record.client != order.client {
            return Err(SignerError::Foreign { signer: order.signer, what: "client" });
        }
        if held.record.rental.get() != order.rental {
            return Err(SignerError::Foreign { signer: order.signer, what: "rental" });
        }
        let at = held.record.stopped_at.unwrap_or_else(now_s);
        let mut record = held.record.clone();
        record.stopped_at = Some(at);
        self.store(&record).await?;
        held.record = record;
        let value = Stop { rental: order.rental, at, keepS: order.keepS };
        let signature = sign(&held.key, value.digest(self.chain_id))?;
        Ok(Signed { value, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct OneRental(Quote, IRentals::Rental);

    #[async_trait]
    impl RentalReader for OneRental {
        async fn rental(&self, id: RentalId) -> Result<Option<(Quote, IRentals::Rental)>, String> {
            let known = id.get() == self.0.digest(CHAIN);
            Ok(known.then(|| (self.0.clone(), self.1.clone())))
        }
    }

    const CHAIN: u64 = 768_902;

    #[tokio::test]
    async fn a_receipt_is_signed_once_a_crash_forgets_nothing_and_a_stop_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let machine = PrivateKeySigner::random();
        let client = Address::repeat_byte(1);
        let now = now_s();
        let quote = Quote {
            machine: machine.address(),
            client,
            issuedAt: now - 100,
            caps: pouw_types::contracts::Caps { activeS: 1000, ..Default::default() },
            ..Quote::default()
        };
        let id = RentalId::new(quote.digest(CHAIN));
        let folder = folder.path();
        let key = pouw_vault::load_or_create(&folder.join(format!("{id}.key"))).unwrap();
        let rental = IRentals::Rental {
            phase: IRentals::Phase::Open,
            signer: key.address(),
            times: IRentals::Times { openedAt: now - 100, ..Default::default() },
            ..policy::unopened()
        };
        let reader = Arc::new(OneRental(quote, rental));
        let open = || Signer::open(folder, CHAIN, reader.clone()).unwrap();
        let receipt = |seq, active_s| {
            let value =
                Receipt { rental: id.get(), seq, at: now, activeS: active_s, ..Default::default() };
            let signature = sign(&machine, value.digest(CHAIN)).unwrap();
            Signed { value, signature }
        };

        let signer = open();
        let address = signer.create(client, id).await.unwrap();
        assert_eq!(signer.create(client, id).await, Ok(address), "asked twice, made once");
        let stranger = signer.create(Address::repeat_byte(2), id).await;
        assert!(matches!(stranger, Err(SignerError::Foreign { what: "client", .. })));
        let first = receipt(1, 50);
        let signature = signer.cosign(address, first.clone()).await.unwrap();
        let by = pouw_types::signing::recover(first.value.digest(CHAIN), &signature);
        assert_eq!(by, Ok(address));

        let signer = open();
        assert_eq!(signer.cosign(address, first.clone()).await.unwrap(), signature);
        let back = signer.cosign(address, receipt(2, 49)).await;
        assert!(matches!(back, Err(SignerError::Refused(_))), "{back:?}");
        let ahead = signer.cosign(address, receipt(2, 90)).await;
        assert!(matches!(ahead, Err(SignerError::Refused(_))), "{ahead:?}");

        let order = EndRental { client, rental: id.get(), signer: address, keepS: 0, at: now };
        let stop = signer.stop(order.clone()).await.unwrap();
        assert_eq!(stop.signer(CHAIN), Ok(address));
        assert_eq!(open().stop(order).await.unwrap(), stop, "a stop keeps its time");
        let nobody = open().cosign(Address::repeat_byte(9), first).await;
        assert_eq!(nobody, Err(SignerError::Unknown(Address::repeat_byte(9))));
    }
}
