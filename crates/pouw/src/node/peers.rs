//! The chain as peers see it, and what the chain tells them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use alloy_primitives::B256;
use anyhow::Context;
use bytes::Bytes;
use pouw_chain::{Block, Chain, Event, HeaderAhead, ImportError, SubmitError};
use pouw_consensus::{BlockId, BodyError, Header, HeaderError, Lane, MatmulClaimError};
use pouw_net::chain::{Block as Parts, CheckedHeader, HeaderFault, ImportFault, SubmitFault};
use pouw_net::wire::{MAX_LOCATOR, Part, Tip};
use pouw_net::{Broken, Contact, Net, NetHandle, NetOptions, Trust, new_key};
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
    /// A block that the operator trusts: up to it no certificates are needed.
    pub trust: Option<Trust>,
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
    let PeerOptions { listen, named, relays, trust } = options;
    let key = load_or_create(&folder.join("net.key"))?;
    let book = Some(folder.join("peers.json"));
    let options = NetOptions { key, listen, relays, named, outbound: OUTBOUND, book, trust };
    Ok(Net::start(Arc::new(PeerChain::new(chain)), options).await?)
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

/// A chain as its peers see it.
#[derive(Clone, Debug)]
pub struct PeerChain {
    chain: Chain,
    /// Blocks that lead to one that the operator trusts, from height 1 on.
    vouched: Arc<RwLock<Vec<BlockId>>>,
}

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

impl PeerChain {
    /// Shows a chain to peers.
    #[must_use]
    pub fn new(chain: Chain) -> Self {
        Self { chain, vouched: Arc::default() }
    }

    /// The only block that may be at a height, as it leads to the trusted one; none above that.
    fn vouched_at(&self, height: u64) -> Option<BlockId> {
        let place = usize::try_from(height.checked_sub(1)?).ok()?;
        self.vouched.read().unwrap_or_else(PoisonError::into_inner).get(place).copied()
    }
}

impl pouw_net::Chain for PeerChain {
    type Standing = HeaderAhead;

    fn chain_id(&self) -> u64 {
        self.chain.network().chain_id
    }

    fn genesis(&self) -> BlockId {
        // A chain that is open has a genesis block, checked when it was opened.
        self.chain.id_at(0).ok().flatten().unwrap_or_default()
    }

    fn tip(&self) -> Tip {
        let head = self.chain.head();
        Tip { id: head.id, height: head.height(), weight: head.standing.total_weight }
    }

    fn locator(&self) -> Result<Vec<BlockId>, Broken> {
        let mut ids = Vec::new();
        let (mut height, mut step) = (self.chain.head().height(), 1);
        loop {
            ids.extend(self.chain.id_at(height).map_err(|error| broken(&error))?);
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
            let Some((standing, _)) = self.chain.header(*id).map_err(|error| broken(&error))?
            else {
                continue;
            };
            let best = self.chain.id_at(standing.height).map_err(|error| broken(&error))?;
            if best == Some(*id) {
                from = standing.height;
                break;
            }
        }
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let headers = self.chain.headers_above(from, limit).map_err(|error| broken(&error))?;
        Ok(headers.iter().map(|header| header.encode().into()).collect())
    }

    fn header(&self, id: BlockId) -> Result<Option<Bytes>, Broken> {
        let known = self.chain.header(id).map_err(|error| broken(&error))?;
        Ok(known.map(|(_, header)| header.encode().into()))
    }

    fn part(&self, part: Part) -> Result<Option<Bytes>, Broken> {
        match part {
            Part::Body(id) => {
                let body = self.chain.body(id).map_err(|error| broken(&error))?;
                Ok(body.map(Bytes::from))
            }
            Part::Certificate(id) => {
                let known = self.chain.block(id).map_err(|error| broken(&error))?;
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
        let standing = self.chain.check_ahead(&header, above).map_err(|error| match error {
            ImportError::UnknownParent(_) => HeaderFault::Orphan,
            ImportError::ReorgTooDeep { .. } => HeaderFault::TooDeep,
            ImportError::Header(error) if error.is_transient() => HeaderFault::Early,
            error if error.is_fatal() => broken(&error).into(),
            error => HeaderFault::Invalid(invalid(&error)),
        })?;
        let vouched = self.vouched_at(standing.height());
        if vouched.is_some_and(|vouched| vouched != standing.id()) {
            let why = "another block of its height leads to the trusted one".to_owned();
            return Err(HeaderFault::Invalid(why));
        }
        Ok(CheckedHeader {
            id: standing.id(),
            parent: header.core.parent,
            height: standing.height(),
            needs_certificate: header.core.lane == Lane::Matmul && vouched.is_none(),
            standing,
        })
    }

    fn weighs(&self, header: &[u8]) -> bool {
        Header::decode(header).is_ok_and(|header| header.core.lane != Lane::Credit)
    }

    fn certificates_kept(&self) -> u64 {
        self.chain.network().kept_states
    }

    fn vouch(&self, path: &[BlockId]) -> Result<(), Broken> {
        *self.vouched.write().unwrap_or_else(PoisonError::into_inner) = path.to_vec();
        Ok(())
    }

    fn import(&self, block: &Parts) -> Result<(), ImportFault> {
        let header =
            Header::decode(&block.header).map_err(|error| ImportFault::Invalid(invalid(&error)))?;
        // The header stands for itself: bytes that are no body are somebody else's.
        let vouched = self.vouched_at(header.core.height) == Some(header.id());
        let needs_certificate = header.core.lane == Lane::Matmul && !vouched;
        let certificate = needs_certificate.then(|| block.certificate.to_vec());
        let block = Block::from_parts(header, certificate, &block.body)
            .map_err(|_| ImportFault::ForeignBody)?;
        let imported =
            if vouched { self.chain.import_vouched(block) } else { self.chain.import_block(block) };
        match imported {
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
        self.chain.waiting(limit)
    }

    fn transaction(&self, hash: B256) -> Option<Bytes> {
        self.chain.pending(hash).map(|tx| tx.raw().into())
    }

    fn submit(&self, raw: &[u8]) -> Result<(), SubmitFault> {
        match self.chain.submit(raw) {
            Ok(_) => Ok(()),
            Err(SubmitError::Decode(error)) => Err(SubmitFault::Invalid(invalid(&error))),
            Err(error @ (SubmitError::State(_) | SubmitError::Store(_))) => {
                Err(broken(&error).into())
            }
            Err(error) => Err(SubmitFault::Refused(error.to_string())),
        }
    }
}
