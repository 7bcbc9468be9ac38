//! The chain as peers see it, and what the chain tells them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;
use anyhow::Context;
use bytes::Bytes;
use pouw_chain::{Block, Chain, Event, HeaderAhead, ImportError, SubmitError};
use pouw_consensus::{BlockId, BodyError, Header, HeaderError, Lane, MatmulClaimError};
use pouw_net::chain::{Block as Parts, CheckedHeader, HeaderFault, ImportFault, SubmitFault};
use pouw_net::wire::{MAX_LOCATOR, Part, Tip};
use pouw_net::{Broken, Contact, Net, NetHandle, NetOptions, new_key};
use tokio::sync::broadcast::error::RecvError;

/// How many others a node calls, beside those that it was told to.
const OUTBOUND: usize = 8;

/// What a node is told about its peers.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// Where to listen for peers, UDP.
    pub listen: SocketAddr,
    /// Peers that are always called.
    pub named: Vec<Contact>,
    /// Relays of one's own.
    pub relays: Vec<String>,
}

/// Starts to talk to peers: the key and the address book are kept in the folder.
///
/// # Errors
/// What couldn't be read or opened.
pub(super) async fn start(
    chain: Chain,
    folder: &Path,
    options: PeerOptions,
) -> anyhow::Result<Net> {
    let PeerOptions { listen, named, relays } = options;
    let key = load_or_create(&folder.join("net.key"))?;
    let book = Some(folder.join("peers.json"));
    let options = NetOptions { key, listen, relays, named, outbound: OUTBOUND, book };
    Ok(Net::start(Arc::new(PeerChain(chain)), options).await?)
}

/// The endpoint's key in hex, made once.
fn load_or_create(path: &Path) -> anyhow::Result<[u8; 32]> {
    if !path.exists() {
        pouw_vault::write_private(path, hex::encode(new_key()).as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key).with_context(|| {
        format!("{} is no key: 64 hex digits; delete it for a new one", path.display())
    })?;
    Ok(key)
}

/// Passes the chain's events on to the peers, until the chain ends.
pub(super) async fn relay(chain: Chain, net: NetHandle) {
    let mut events = chain.subscribe();
    loop {
        match events.recv().await {
            Ok(Event::NewPending(hash)) => net.waiting(hash).await,
            // Whatever was missed, the head is what counts.
            Ok(Event::NewHead(_) | Event::Reorg { .. }) | Err(RecvError::Lagged(_)) => {
                net.head_moved().await;
            }
            Ok(Event::Failed(_)) | Err(RecvError::Closed) => return,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct PeerChain(Chain);

fn broken(error: &dyn std::error::Error) -> Broken {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        why = format!("{why}: {error}");
        source = error.source();
    }
    Broken(why)
}

fn invalid(error: &dyn std::error::Error) -> String {
    broken(error).0
}

impl pouw_net::Chain for PeerChain {
    type Standing = HeaderAhead;

    fn chain_id(&self) -> u64 {
        self.0.network().chain_id
    }

    fn genesis(&self) -> BlockId {
        // A chain that is open has a genesis block, checked when it was opened.
        self.0.id_at(0).ok().flatten().unwrap_or_default()
    }

    fn tip(&self) -> Tip {
        let head = self.0.head();
        Tip { id: head.id, height: head.height(), weight: head.standing.total_weight }
    }

    fn locator(&self) -> Result<Vec<BlockId>, Broken> {
        let mut ids = Vec::new();
        let (mut height, mut step) = (self.0.head().height(), 1);
        loop {
            ids.extend(self.0.id_at(height).map_err(|error| broken(&error))?);
            if height == 0 || ids.len() + 2 >= MAX_LOCATOR {
                break;
            }
            if ids.len() >= 10 {
                step = u64::saturating_mul(step, 2);
            }
            height = height.saturating_sub(step);
        }
        Ok(ids)
    }

    fn headers_after(&self, locator: &[BlockId], limit: usize) -> Result<Vec<Bytes>, Broken> {
        let mut from = 0;
        for id in locator {
            let Some((standing, _)) = self.0.header(*id).map_err(|error| broken(&error))? else {
                continue;
            };
            let best = self.0.id_at(standing.height).map_err(|error| broken(&error))?;
            if best == Some(*id) {
                from = standing.height;
                break;
            }
        }
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let headers = self.0.headers_above(from, limit).map_err(|error| broken(&error))?;
        Ok(headers.iter().map(|header| header.encode().into()).collect())
    }

    fn header(&self, id: BlockId) -> Result<Option<Bytes>, Broken> {
        let known = self.0.header(id).map_err(|error| broken(&error))?;
        Ok(known.map(|(_, header)| header.encode().into()))
    }

    fn part(&self, part: Part) -> Result<Option<Bytes>, Broken> {
        match part {
            Part::Body(id) => {
                let body = self.0.body(id).map_err(|error| broken(&error))?;
                Ok(body.map(Bytes::from))
            }
            Part::Certificate(id) => {
                let known = self.0.block(id).map_err(|error| broken(&error))?;
                Ok(known.and_then(|known| known.block.certificate).map(Bytes::from))
            }
        }
    }

    fn parent(&self, header: &[u8]) -> Option<BlockId> {
        Header::decode(header).ok().map(|header| header.core.parent)
    }

    fn check_header(
        &self,
        header: &[u8],
        above: Option<&HeaderAhead>,
    ) -> Result<CheckedHeader<HeaderAhead>, HeaderFault> {
        let header =
            Header::decode(header).map_err(|error| HeaderFault::Invalid(invalid(&error)))?;
        let standing = self.0.check_ahead(&header, above).map_err(|error| match error {
            ImportError::UnknownParent(_) => HeaderFault::Orphan,
            ImportError::ReorgTooDeep { .. } => HeaderFault::TooDeep,
            ImportError::Header(error) if error.is_transient() => HeaderFault::Early,
            error if error.is_fatal() => broken(&error).into(),
            error => HeaderFault::Invalid(invalid(&error)),
        })?;
        Ok(CheckedHeader {
            id: standing.id(),
            parent: header.core.parent,
            height: standing.height(),
            needs_certificate: header.core.lane == Lane::Matmul,
            standing,
        })
    }

    fn weighs(&self, header: &[u8]) -> bool {
        Header::decode(header).is_ok_and(|header| header.core.lane != Lane::Credit)
    }

    fn import(&self, block: &Parts) -> Result<(), ImportFault> {
        let header =
            Header::decode(&block.header).map_err(|error| ImportFault::Invalid(invalid(&error)))?;
        // The header stands for itself: bytes that are no body are somebody else's.
        let certificate = (header.core.lane == Lane::Matmul).then(|| block.certificate.to_vec());
        let block = Block::from_parts(header, certificate, &block.body)
            .map_err(|_| ImportFault::ForeignBody)?;
        match self.0.import_block(block) {
            Ok(_) => Ok(()),
            Err(error) if error.is_fatal() => Err(broken(&error).into()),
            Err(ImportError::UnknownParent(_)) => Err(ImportFault::Orphan),
            Err(ImportError::ReorgTooDeep { .. }) => Err(ImportFault::TooDeep),
            Err(ImportError::Header(error)) if error.is_transient() => Err(ImportFault::Early),
            // The claim was no certificate's word; the certificate is its sender's.
            Err(ImportError::Header(HeaderError::MatmulClaim(
                MatmulClaimError::Certificate(_) | MatmulClaimError::OtherTicket,
            ))) => Err(ImportFault::ForeignCertificate),
            Err(ImportError::Body(BodyError::Bytes { .. })) => Err(ImportFault::ForeignBody),
            Err(ImportError::Body(BodyError::Root { what: "transaction root", .. })) => {
                Err(ImportFault::ForeignBody)
            }
            Err(error) => Err(ImportFault::Invalid(invalid(&error))),
        }
    }

    fn waiting(&self, limit: usize) -> Vec<B256> {
        self.0.waiting(limit)
    }

    fn transaction(&self, hash: B256) -> Option<Bytes> {
        self.0.pending(hash).map(|tx| tx.raw().into())
    }

    fn submit(&self, raw: &[u8]) -> Result<(), SubmitFault> {
        match self.0.submit(raw) {
            Ok(_) => Ok(()),
            Err(SubmitError::Decode(error)) => Err(SubmitFault::Invalid(invalid(&error))),
            Err(error @ (SubmitError::State(_) | SubmitError::Store(_))) => {
                Err(broken(&error).into())
            }
            Err(error) => Err(SubmitFault::Refused(error.to_string())),
        }
    }
}
