//! A whole network in one process: node, S3 store, and one host agent for this machine.

pub mod folder;

use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use anyhow::Context;
use pouw_chain::LaneKey;
use pouw_data::S3Credentials;
use pouw_data::store::{self, Store};
use pouw_net::Contact;
use pouw_types::Network;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::folder::Folder;
use crate::cli::{DevnetArgs, GuestArgs};
use crate::config::{AccountSource, Profile, S3Profile};
use crate::host::{Host, Setup};
use crate::node::{Node, NodeOptions, PeerOptions};
use crate::session::devnet_key;

/// The bucket that a devnet makes for its client.
pub const BUCKET: &str = "pouw";
/// How long the host may take to be registered and on the board.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Whoever runs a devnet has other work on the machine: it lists half of what it measured.
const LISTED_PERCENT: u32 = 50;
const REGION: &str = "us-east-1";
/// The devnet's accounts by their part: client, miner, host's operator.
const CLIENT: u32 = 0;
const MINER: u32 = 8;
const OPERATOR: u32 = 9;

/// A running devnet.
#[derive(Debug)]
pub struct Devnet {
    /// The node that the rest of the devnet uses.
    pub node: Node,
    /// The others, each with a folder of its own.
    pub others: Vec<Node>,
    /// Where the store answers.
    pub s3: String,
    /// The host agent, unless it was left out or this machine can't be offered.
    pub host: Option<Host>,
    /// Why this machine isn't offered.
    pub no_host: Option<String>,
    /// Where the host is paid.
    pub payout: Address,
    /// The profile that leads clients here.
    pub profile: Profile,
    /// Its data folder.
    pub folder: Folder,
    /// Held, so that nobody else uses them.
    _folders: Vec<Folder>,
    store: JoinHandle<()>,
    stop: CancellationToken,
}

impl Devnet {
    /// Starts all parts.
    ///
    /// # Errors
    /// What couldn't be started; a machine that can't be offered is no error but is told.
    pub async fn start(root: &Path, args: &DevnetArgs) -> anyhow::Result<Self> {
        for address in [args.listen, args.s3_listen, args.host_listen] {
            anyhow::ensure!(
                address.ip().is_loopback(),
                "a devnet's accounts are everybody's: it listens on loopback only, not on {address}"
            );
        }
        let folder = Folder::open(root)?;
        let stop = CancellationToken::new();
        let others = args.nodes > 1;
        let mut node = Node::start(NodeOptions {
            network: Network::devnet(),
            folder: folder.path(),
            listener: folder.listen("node", args.listen)?,
            mine_to: Some(devnet_key(MINER)?.address()),
            mine: args.mine.into(),
            min_spacing_ms: args.block_time,
            shares_machine: true,
            guests: args.guests.clone(),
            peers: others.then(|| peer_options(&folder, Vec::new())).transpose()?,
        })
        .await?;
        let (others, folders) = start_others(&folder, args, &node).await?;
        let (s3, store, credentials_file) = start_store(&folder, args.s3_listen, &stop).await?;
        let profile = Profile {
            rpc: node.url(),
            s3: Some(S3Profile {
                endpoint: s3.clone(),
                region: REGION.to_owned(),
                bucket: BUCKET.to_owned(),
                credentials_file,
            }),
            account: AccountSource::Devnet(CLIENT),
            images: args.images.clone(),
        };
        profile.write(&folder.join("profile.toml"))?;
        let payout = pouw_vault::load_or_create(&folder.join("payout.key"))?.address();
        let (host, no_host) = if args.no_host {
            (None, Some("left out by --no-host".to_owned()))
        } else {
            match start_host(&folder, args.host_listen, &node.url(), payout).await {
                Ok((host, lane_key)) => {
                    node.draw(vec![lane_key])?;
                    if let Err(hindrance) = host.ready(READY_LIMIT).await {
                        tracing::warn!(hindrance, "the host is not ready yet");
                    }
                    (Some(host), None)
                }
                Err(error) => (None, Some(format!("{error:#}"))),
            }
        };
        Ok(Self {
            node,
            others,
            s3,
            host,
            no_host,
            payout,
            profile,
            folder,
            _folders: folders,
            store,
            stop,
        })
    }

    /// Where the profile is that leads clients here.
    #[must_use]
    pub fn profile_file(&self) -> PathBuf {
        self.folder.join("profile.toml")
    }

    /// Ends all parts; rentals that run go on when it is started again.
    pub async fn stop(self) {
        if let Some(host) = self.host {
            host.stop().await;
        }
        self.stop.cancel();
        let _ended = self.store.await;
        for node in self.others {
            node.stop().await;
        }
        self.node.stop().await;
    }

    /// Returns when the chain of one of the nodes can't go on, with the reason.
    pub async fn failed(&mut self) -> String {
        let nodes = core::iter::once(&mut self.node).chain(&mut self.others);
        let all = nodes.map(|node| Box::pin(node.failed()));
        futures::future::select_all(all).await.0
    }
}

/// Peers on loopback, on a port that the folder keeps.
fn peer_options(folder: &Folder, named: Vec<Contact>) -> anyhow::Result<PeerOptions> {
    let listen = folder.peer_address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(PeerOptions { listen, named, relays: Vec::new(), trust: None })
}

/// The nodes after the first: each is told of the first, and hears of the rest from it.
async fn start_others(
    folder: &Folder,
    args: &DevnetArgs,
    first: &Node,
) -> anyhow::Result<(Vec<Node>, Vec<Folder>)> {
    let named: Vec<Contact> = first.contact().into_iter().cloned().collect();
    let (mut others, mut folders) = (Vec::new(), Vec::new());
    for number in 2..=args.nodes {
        let own = Folder::open(&folder.join("nodes").join(number.to_string()))?;
        let mine_to = args.mine_all.then(|| devnet_key(MINER)).transpose()?;
        let node = Node::start(NodeOptions {
            network: Network::devnet(),
            folder: own.path(),
            listener: own.listen("node", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?,
            mine_to: mine_to.map(|key| key.address()),
            mine: args.mine.into(),
            min_spacing_ms: args.block_time,
            shares_machine: false,
            guests: GuestArgs::default(),
            peers: Some(peer_options(&own, named.clone())?),
        })
        .await?;
        others.push(node);
        folders.push(own);
    }
    Ok((others, folders))
}

async fn start_store(
    folder: &Folder,
    asked: SocketAddr,
    stop: &CancellationToken,
) -> anyhow::Result<(String, JoinHandle<()>, PathBuf)> {
    let credentials_file = folder.credentials()?;
    let credentials = S3Credentials::from_profile(&credentials_file, "default")?;
    let path = folder.join("store");
    let store = tokio::task::spawn_blocking(move || -> anyhow::Result<Store> {
        let store = Store::open(&path, vec![credentials])?;
        store.ensure_bucket(BUCKET)?;
        Ok(store)
    })
    .await?
    .context("cannot open the store")?;
    let listener = TcpListener::from_std(folder.listen("s3", asked)?)?;
    let url = format!("http://{}", listener.local_addr()?);
    let stopped = stop.clone().cancelled_owned();
    let task = tokio::spawn(async move {
        if let Err(error) = store::serve(listener, store, stopped).await {
            tracing::error!(%error, "the store ended");
        }
    });
    Ok((url, task, credentials_file))
}

async fn start_host(
    folder: &Folder,
    asked: SocketAddr,
    node: &str,
    payout: Address,
) -> anyhow::Result<(Host, LaneKey)> {
    let setup = Setup::open(&folder.join("host"))?;
    // The port is chosen and kept here; the agent binds it again at once.
    let listen = folder.listen("host", asked)?.local_addr()?;
    let mut config = setup.proposal(&setup.describe().await?, listen, payout)?;
    config.tuning.listed_percent = LISTED_PERCENT;
    // The node's miner is the host's: products that it wins blocks with vest by the host's rentals.
    config.miner = devnet_key(MINER)?.address();
    let host = setup.start(config, Network::devnet(), node, devnet_key(OPERATOR)?).await?;
    Ok((host, setup.lane_key()))
}
