//! The node's role: a chain with its doors, its offers board and its signer.

mod backend;
mod desk;
mod lanes;
mod peers;
mod power;
mod views;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::Address;
use alloy_sol_types::SolCall;
use anyhow::Context;
use async_trait::async_trait;
use pouw_api::backend::{BlockRef, CallError, CallRequest};
use pouw_api::{Backend, Board, Config};
use pouw_api::{Doors, serve};
use pouw_chain::{Chain, LaneKey, Mine, Miner, MinerOptions, MinerReporter, Options};
use pouw_net::{Contact, Net, PeerView};
use pouw_types::contracts::{IRentals, Quote, RENTALS};
use pouw_types::{Network, RentalId};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::backend::ChainBackend;
pub use self::peers::{PeerChain, PeerOptions};
use crate::cli::GuestArgs;
use crate::signer::{RentalReader, Signer};

/// What a node is started with.
#[derive(Debug)]
pub struct NodeOptions<'a> {
    /// Which network.
    pub network: &'static Network,
    /// Where chain and signer are kept.
    pub folder: &'a Path,
    /// Where HTTP and JSON-RPC answer.
    pub listener: std::net::TcpListener,
    /// Who is paid for mined blocks; `None` mines nothing.
    pub mine_to: Option<Address>,
    /// On which lanes.
    pub mine: Mine,
    /// Least time between two blocks of this miner, milliseconds.
    pub min_spacing_ms: u64,
    /// Whether the tasks that ask for work of lane 1 run on this machine: the miner leaves it to them.
    pub shares_machine: bool,
    /// Who may knock, beside addresses and `localhost`.
    pub guests: GuestArgs,
    /// Where other nodes are; `None` is a node alone.
    pub peers: Option<PeerOptions>,
}

/// What the doors show of the node's miner.
#[derive(Debug)]
pub(crate) struct Mining {
    mine: Mine,
    payout: Address,
    reporter: MinerReporter,
    meter: power::Meter,
}

/// A running node; [`Node::stop`] ends it in order.
#[derive(Debug)]
pub struct Node {
    /// The chain.
    pub chain: Chain,
    /// Where HTTP and JSON-RPC answer.
    pub address: SocketAddr,
    net: Option<Net>,
    news: Option<JoinHandle<()>>,
    miner: Option<Miner>,
    doors: JoinHandle<()>,
    relay: JoinHandle<Result<(), Arc<str>>>,
    stop: CancellationToken,
}

impl Node {
    /// Opens the chain, the doors, the signer, and starts to mine if asked.
    ///
    /// # Errors
    /// What couldn't be opened.
    pub async fn start(options: NodeOptions<'_>) -> anyhow::Result<Self> {
        let folder = options.folder.join("chain");
        let network = options.network;
        let chain =
            tokio::task::spawn_blocking(move || Chain::open(&folder, Options::new(network)))
                .await?
                .context("cannot open the chain")?;
        let backend = Arc::new(ChainBackend::new(chain.clone()));
        let reader = Arc::new(ChainReader(Arc::clone(&backend)));
        let signer = Signer::open(&options.folder.join("signer"), network.chain_id, reader)?;
        options.listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(options.listener)?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let doors = Doors {
            backend: Arc::clone(&backend) as Arc<dyn Backend>,
            board: Arc::new(Board::new(network.chain_id, Board::CAPACITY)),
            signer: Arc::new(signer),
        };
        let stopped = stop.clone().cancelled_owned();
        let GuestArgs { hosts, origins } = options.guests;
        let config = Config { hosts, origins, ..Config::default() };
        let doors = tokio::spawn(serve(listener, doors, config, stopped));
        let (net, news) = match options.peers {
            Some(peers) => {
                let net = self::peers::start(chain.clone(), options.folder, peers).await?;
                backend.join(net.handle());
                let news = tokio::spawn(self::peers::relay(chain.clone(), net.handle()));
                (Some(net), Some(news))
            }
            None => (None, None),
        };
        let relaying = Arc::clone(&backend);
        let relay = tokio::spawn(async move { relaying.relay().await });
        let shares_machine = options.shares_machine;
        let miner = options.mine_to.map(|payout| {
            let spacing = options.min_spacing_ms;
            let mine = options.mine;
            let gentle = MinerOptions::gentle(payout);
            let options = MinerOptions { min_spacing_ms: spacing, mine, ..gentle };
            let miner = Miner::start(chain.clone(), options)?;
            if shares_machine {
                backend.yields(miner.yields());
            }
            let meter = power::Meter::open();
            tokio::spawn(meter.clone().follow(stop.clone()));
            backend.mines(Mining { mine, payout, reporter: miner.reporter(), meter });
            Ok::<_, pouw_chain::MinerError>(miner)
        });
        let miner = miner.transpose().context("cannot mine")?;
        Ok(Self { chain, address, net, news, miner, doors, relay, stop })
    }

    /// Where clients reach it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How other nodes call it, if it talks to any.
    #[must_use]
    pub fn contact(&self) -> Option<&Contact> {
        self.net.as_ref().map(Net::contact)
    }

    /// The peers as they were a moment ago; none of a node alone.
    #[must_use]
    pub fn peers(&self) -> Arc<[PeerView]> {
        self.net.as_ref().map_or_else(|| Arc::from([]), |net| net.handle().peers())
    }

    /// Returns when the chain can't go on, with the reason: the process has to end.
    pub async fn failed(&mut self) -> String {
        match (&mut self.relay).await {
            Ok(Err(why)) => why.to_string(),
            Ok(Ok(())) => "the chain's events ended".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// Draws the slots of lane 2 for these machines from now on, if this node mines lane 2.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn draw(&mut self, keys: Vec<LaneKey>) -> anyhow::Result<()> {
        if let Some(miner) = &mut self.miner {
            miner.draw(keys).context("cannot mine lane 2")?;
        }
        Ok(())
    }

    /// Ends mining, leaves the peers, then shuts the doors.
    pub async fn stop(self) {
        let Self { net, news, miner, doors, relay, stop, chain, .. } = self;
        if let Some(miner) = miner {
            // Stopping waits for the solver's current try.
            let _ended = tokio::task::spawn_blocking(move || miner.stop()).await;
        }
        if let Some(news) = news {
            news.abort();
            // What it held of the chain is gone only now.
            let _ended = news.await;
        }
        if let Some(net) = net {
            net.stop().await;
        }
        stop.cancel();
        let _ended = doors.await;
        // A node whose chain failed has heard its end already.
        if !relay.is_finished() {
            relay.abort();
            let _ended = relay.await;
        }
        drop(chain);
    }
}

/// The signer's view of rentals.
struct ChainReader(Arc<ChainBackend>);

impl ChainReader {
    async fn view<C: SolCall>(&self, call: C) -> Result<C::Return, CallError> {
        let data = call.abi_encode().into();
        let request = CallRequest { to: Some(RENTALS), data, ..CallRequest::default() };
        let answer = self.0.call(request, BlockRef::Latest).await?;
        C::abi_decode_returns(&answer).map_err(|error| CallError::Unsupported(error.to_string()))
    }
}

#[async_trait]
impl RentalReader for ChainReader {
    async fn rental(&self, id: RentalId) -> Result<Option<(Quote, IRentals::Rental)>, String> {
        let call = IRentals::rentalOfCall { rental: id.get() };
        let rental = self.view(call).await.map_err(|error| error.to_string())?;
        if rental.phase == IRentals::Phase::None {
            return Ok(None);
        }
        let call = IRentals::quoteOfCall { rental: id.get() };
        let quote = self.view(call).await.map_err(|error| error.to_string())?;
        Ok(Some((quote, rental)))
    }
}
