//! The shell around the machine: one endpoint, one thread, one file. Here are the sockets, the
//! clock and the address book's file; every decision is the [`Engine`]'s.

mod link;
mod worker;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::B256;
use iroh::endpoint::{Incoming, IncomingAddr, presets};
use iroh::{Endpoint, EndpointAddr, RelayMode, RelayUrl, SecretKey, TransportAddr};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::worker::{Event, Worker};
use crate::book::Book;
use crate::chain::{Broken, Chain};
use crate::contact::{Contact, PeerId};
use crate::engine::{Engine, Input, Link, PeerView, Settings};
use crate::origin::Origin;
use crate::trust::Trust;
use crate::wire::ALPN;

/// Events that wait for the machine; readers wait when there are more.
const EVENTS: usize = 64;
/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Connections that are being made by callers at once.
const ENTERING: usize = 16;
/// How often the machine is told that time passed.
const TICK: Duration = Duration::from_millis(250);

/// What a node chooses for its peers.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// Secret Ed25519 key; the public one is the node's name.
    pub key: [u8; 32],
    /// Where to listen, UDP; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Relays of one's own, for nodes behind a NAT: URLs. None is used but these.
    pub relays: Vec<String>,
    /// Peers that are always called.
    pub named: Vec<Contact>,
    /// How many others to call.
    pub outbound: usize,
    /// Where the address book is kept.
    pub book: Option<PathBuf>,
    /// A block that the operator trusts: up to it no certificates are needed.
    pub trust: Option<Trust>,
}

/// A node can't talk to peers.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The port is taken, or the address isn't this machine's.
    #[error("cannot listen on {0} (UDP) for peers: {1}")]
    Listen(SocketAddr, String),
    /// A relay's URL.
    #[error("`{0}` is no relay: a URL such as https://relay.example")]
    Relay(String),
    /// The address book.
    #[error("the address book {} can't be read: mend or delete it", .0.display())]
    Book(PathBuf, #[source] std::io::Error),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] Broken),
    /// The thread.
    #[error("cannot start a thread for peers")]
    Thread(#[source] std::io::Error),
}

/// A running set of peers. Dropped without [`Net::stop`], it ends in no order.
#[derive(Debug)]
pub struct Net {
    contact: Contact,
    endpoint: Endpoint,
    events: mpsc::Sender<Event>,
    peers: watch::Receiver<Arc<[PeerView]>>,
    thread: Option<JoinHandle<()>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What talks to the machine from elsewhere; cheap to clone.
#[derive(Clone, Debug)]
pub struct NetHandle {
    contact: Contact,
    events: mpsc::Sender<Event>,
    peers: watch::Receiver<Arc<[PeerView]>>,
}

/// What the shell's tasks share.
#[derive(Clone, Debug)]
struct Shell {
    endpoint: Endpoint,
    relays: Arc<[RelayUrl]>,
    events: mpsc::Sender<Event>,
    /// Addresses with which no handshake is made.
    banned: watch::Sender<Arc<BTreeSet<Origin>>>,
    next_link: Arc<AtomicU64>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Unix milliseconds.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A new secret key for [`NetOptions::key`].
#[must_use]
pub fn new_key() -> [u8; 32] {
    SecretKey::generate().to_bytes()
}

impl Net {
    /// Opens the endpoint, reads the address book, and begins to call and to answer.
    ///
    /// # Errors
    /// [`NetError`].
    pub async fn start<C: Chain>(chain: Arc<C>, options: NetOptions) -> Result<Self, NetError> {
        let NetOptions { key, listen, relays, named, outbound, book: path, trust } = options;
        let relays = relays
            .into_iter()
            .map(|url| url.parse::<RelayUrl>().map_err(|_| NetError::Relay(url)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut book = match &path {
            Some(path) => worker::read_book(path)?,
            None => Book::default(),
        };
        for contact in named {
            book.name(contact);
        }
        let endpoint = bind(key, listen, &relays).await?;
        let me = PeerId::new(*endpoint.id().as_bytes());
        let addresses: Vec<SocketAddr> = endpoint
            .bound_sockets()
            .into_iter()
            .filter(|address| !address.ip().is_unspecified())
            .collect();
        let settings =
            Settings { addresses: addresses.clone(), outbound, trust, ..Settings::new(me) };
        let bound = endpoint.bound_sockets();
        let contact =
            Contact { peer: me, addresses: if addresses.is_empty() { bound } else { addresses } };
        let (events, inbox) = mpsc::channel(EVENTS);
        let (told, peers) = watch::channel(Arc::from([]));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let shell = Shell {
            endpoint: endpoint.clone(),
            relays: relays.into(),
            events: events.clone(),
            banned: watch::Sender::new(Arc::default()),
            next_link: Arc::new(AtomicU64::new(1)),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        tasks.spawn(shell.clone().accept());
        tasks.spawn(shell.clone().tick());
        let engine = Engine::new(Arc::clone(&chain), settings, book)?;
        let runtime = tokio::runtime::Handle::current();
        let worker = Worker::new(engine, chain, shell, runtime, told, path);
        let thread = std::thread::Builder::new()
            .name("pouw-net".to_owned())
            .spawn(move || worker.run(inbox))
            .map_err(NetError::Thread)?;
        Ok(Self { contact, endpoint, events, peers, thread: Some(thread), tasks, stop })
    }

    /// How others reach this node.
    #[must_use]
    pub const fn contact(&self) -> &Contact {
        &self.contact
    }

    /// What talks to it from elsewhere.
    #[must_use]
    pub fn handle(&self) -> NetHandle {
        NetHandle {
            contact: self.contact.clone(),
            events: self.events.clone(),
            peers: self.peers.clone(),
        }
    }

    /// Says goodbye to everybody, keeps the address book, and ends.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _gone = self.events.send(Event::Stop).await;
        if let Some(thread) = self.thread.take() {
            let _ended = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.endpoint.close().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl NetHandle {
    /// How others reach this node.
    #[must_use]
    pub const fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Tells that the chain's head moved.
    pub async fn head_moved(&self) {
        // A set of peers that has ended needs no news.
        let _gone = self.events.send(Event::Input(Input::HeadMoved)).await;
    }

    /// Tells that a transaction waits.
    pub async fn waiting(&self, hash: B256) {
        let _gone = self.events.send(Event::Input(Input::Waiting(hash))).await;
    }

    /// The peers as they were a moment ago.
    #[must_use]
    pub fn peers(&self) -> Arc<[PeerView]> {
        Arc::clone(&self.peers.borrow())
    }
}

/// An endpoint without anybody's services: no relay but these, no lookup of addresses.
async fn bind(
    key: [u8; 32],
    listen: SocketAddr,
    relays: &[RelayUrl],
) -> Result<Endpoint, NetError> {
    let refused = |error: &dyn core::fmt::Display| NetError::Listen(listen, error.to_string());
    let relay_mode = if relays.is_empty() {
        RelayMode::Disabled
    } else {
        RelayMode::custom(relays.iter().cloned())
    };
    Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&key))
        .alpns(vec![ALPN.to_vec()])
        .relay_mode(relay_mode)
        .clear_address_lookup()
        .clear_ip_transports()
        .bind_addr(listen)
        .map_err(|error| refused(&error))?
        .bind()
        .await
        .map_err(|error| refused(&error))
}

impl Shell {
    fn link(&self) -> Link {
        Link(self.next_link.fetch_add(1, Ordering::Relaxed))
    }

    async fn tick(self) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = interval.tick() => {}
            }
            if self.events.send(Event::Input(Input::Tick)).await.is_err() {
                return;
            }
        }
    }

    async fn accept(self) {
        let entering = Arc::new(Semaphore::new(ENTERING));
        loop {
            let incoming = tokio::select! {
                () = self.stop.cancelled() => return,
                incoming = self.endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { return };
            if let IncomingAddr::Ip(address) = incoming.remote_addr()
                && Origin::of(address.ip()).is_some_and(|one| self.banned.borrow().contains(&one))
            {
                incoming.refuse();
                continue;
            }
            let Ok(permit) = Arc::clone(&entering).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let shell = self.clone();
            self.tasks.spawn(async move {
                let entered = tokio::time::timeout(CONNECT_LIMIT, shell.enter(incoming)).await;
                drop(permit);
                if let Ok(Some(made)) = entered {
                    shell.talk(made).await;
                }
            });
        }
    }

    /// A caller's connection and its one stream.
    async fn enter(&self, incoming: Incoming) -> Option<link::Made> {
        let address = match incoming.remote_addr() {
            IncomingAddr::Ip(address) => Some(address),
            _ => None,
        };
        let connection = incoming.accept().ok()?.await.ok()?;
        let (send, receive) = connection.accept_bi().await.ok()?;
        Some(link::Made { connection, send, receive, called: false, address })
    }

    /// Calls a peer; a call that fails is told to the machine.
    fn call(&self, contact: Contact) {
        let shell = self.clone();
        self.tasks.spawn(async move {
            let peer = contact.peer;
            let made = tokio::select! {
                () = shell.stop.cancelled() => return,
                made = tokio::time::timeout(CONNECT_LIMIT, shell.reach(contact)) => made,
            };
            match made {
                Ok(Some(made)) => shell.talk(made).await,
                Ok(None) | Err(_) => {
                    let failed = Event::Input(Input::CallFailed(peer));
                    let _gone = shell.events.send(failed).await;
                }
            }
        });
    }

    async fn reach(&self, contact: Contact) -> Option<link::Made> {
        let id = iroh::EndpointId::from_bytes(contact.peer.as_bytes()).ok()?;
        let direct = contact.addresses.into_iter().map(TransportAddr::Ip);
        let relays = self.relays.iter().cloned().map(TransportAddr::Relay);
        let address = EndpointAddr::from_parts(id, direct.chain(relays));
        let connection = match self.endpoint.connect(address, ALPN).await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(peer = %contact.peer, %error, "not reached");
                return None;
            }
        };
        let (send, receive) = connection.open_bi().await.ok()?;
        let seen = connection.paths().iter().find_map(|path| match path.remote_addr() {
            TransportAddr::Ip(address) => Some(*address),
            _ => None,
        });
        Some(link::Made { connection, send, receive, called: true, address: seen })
    }

    /// Hands a connection to the machine and reads it until it ends.
    async fn talk(&self, made: link::Made) {
        let link = self.link();
        let (opened, reader) = made.open(link, self);
        if self.events.send(opened).await.is_err() {
            return;
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = reader.run() => {}
        }
    }
}
