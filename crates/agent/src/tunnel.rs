//! Carries clients' connections to the ports of their tasks: bounded in number, counted as traffic.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use pouw_spec::{Port, Protocol};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::agent::Shared;
use crate::door::datagram;
use crate::rental::Rental;

/// Most connections of one rental at once.
pub(crate) const MAX_OPEN: usize = 64;
/// Most connections of one rental within the time in which a signed request stands.
pub(crate) const MAX_REMEMBERED: usize = 16_384;
/// How long a task may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long nothing may pass before a TCP connection is taken for forgotten, milliseconds.
const TCP_IDLE_MS: u64 = 3_600_000;
/// The same for UDP, which has no end of its own, milliseconds.
const UDP_IDLE_MS: u64 = 120_000;
/// Between two looks whether the task still runs.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes that are carried at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Why a rental takes no further connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The nonce was used before.
    Replayed,
    /// Too many are open.
    Open,
    /// Too many were opened of late.
    Often,
}

/// A rental's connections.
#[derive(Debug)]
pub(crate) struct Tunnels {
    open: Arc<Semaphore>,
    /// Nonces that were used, with the second until which their requests stand.
    nonces: Mutex<BTreeMap<[u8; 16], u64>>,
}

impl Default for Tunnels {
    fn default() -> Self {
        Self { open: Arc::new(Semaphore::new(MAX_OPEN)), nonces: Mutex::default() }
    }
}

impl Tunnels {
    /// A place for one more connection, under a nonce that stands until `until_s`.
    pub(crate) fn enter(
        &self,
        nonce: [u8; 16],
        now_s: u64,
        until_s: u64,
    ) -> Result<OwnedSemaphorePermit, Full> {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.contains_key(&nonce) {
            return Err(Full::Replayed);
        }
        if nonces.len() >= MAX_REMEMBERED {
            nonces.retain(|_, until| *until >= now_s);
        }
        if nonces.len() >= MAX_REMEMBERED {
            return Err(Full::Often);
        }
        let place = Arc::clone(&self.open).try_acquire_owned().map_err(|_| Full::Open)?;
        nonces.insert(nonce, until_s);
        Ok(place)
    }
}

/// A task's end of a connection.
#[derive(Debug)]
pub(crate) enum Inner {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

/// Connects to a task's port.
///
/// # Errors
/// What the system says; `TimedOut` where nobody accepts.
pub(crate) async fn connect(address: IpAddr, port: Port) -> std::io::Result<Inner> {
    let target = SocketAddr::new(address, port.port);
    match port.protocol {
        Protocol::Tcp => {
            let timeout = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
            let stream = tokio::time::timeout(CONNECT, TcpStream::connect(target));
            let stream = stream.await.map_err(timeout)??;
            stream.set_nodelay(true)?;
            Ok(Inner::Tcp(stream))
        }
        Protocol::Udp => {
            let any: IpAddr = match address {
                IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind((any, 0)).await?;
            socket.connect(target).await?;
            Ok(Inner::Udp(socket))
        }
    }
}

/// Counts what a connection carries.
struct Count {
    rental: Arc<Rental>,
    shared: Weak<Shared>,
    last_ms: AtomicU64,
}

impl Count {
    fn now_ms(&self) -> Option<u64> {
        Some(self.shared.upgrade()?.context.clock.monotonic_ms())
    }

    /// Counts bytes as traffic; the sold traffic's end is the connection's.
    fn passed(&self, bytes: usize) -> std::io::Result<()> {
        let ended = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let now = self.now_ms().ok_or_else(ended)?;
        self.last_ms.store(now, Ordering::Relaxed);
        let moved = u64::try_from(bytes).unwrap_or(u64::MAX);
        let total = self.rental.meter(|meter| {
            meter.moved(moved);
            meter.read(now).traffic_bytes
        });
        if total >= self.rental.traffic_cap() {
            self.rental.wake();
            return Err(ended());
        }
        Ok(())
    }

    /// Returns when the task no longer runs, the agent ends, or nothing has passed for too long.
    async fn over(&self, idle_ms: u64) {
        loop {
            crate::time::sleep(LOOK).await;
            let Some(now) = self.now_ms() else { return };
            let idle = now.saturating_sub(self.last_ms.load(Ordering::Relaxed));
            if idle > idle_ms || !self.rental.is_running() {
                return;
            }
        }
    }
}

/// Carries a connection until either side ends it, or the task does.
pub(crate) async fn carry<S: AsyncRead + AsyncWrite>(
    shared: Weak<Shared>,
    rental: Arc<Rental>,
    place: OwnedSemaphorePermit,
    outer: S,
    inner: Inner,
) {
    let count = Count { rental, shared, last_ms: AtomicU64::new(0) };
    count.last_ms.store(count.now_ms().unwrap_or(0), Ordering::Relaxed);
    let (read, write) = tokio::io::split(outer);
    let (carried, idle_ms) = match &inner {
        Inner::Tcp(_) => ("TCP", TCP_IDLE_MS),
        Inner::Udp(_) => ("UDP", UDP_IDLE_MS),
    };
    let carrying = async {
        match inner {
            Inner::Tcp(stream) => {
                let (from, to) = stream.into_split();
                tokio::try_join!(pump(read, to, &count), pump(from, write, &count)).map(drop)
            }
            Inner::Udp(socket) => {
                let into = datagrams_in(read, &socket, &count);
                tokio::select! {
                    ended = into => ended,
                    ended = datagrams_out(&socket, write, &count) => ended,
                }
            }
        }
    };
    tokio::select! {
        ended = carrying => if let Err(error) = ended {
            tracing::debug!(%error, carried, "a connection to a task broke");
        },
        () = count.over(idle_ms) => {}
    }
    drop(place);
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &Count,
) -> std::io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let got = from.read(&mut buffer).await?;
        if got == 0 {
            return to.shutdown().await;
        }
        count.passed(got)?;
        to.write_all(&buffer[..got]).await?;
        to.flush().await?;
    }
}

async fn datagrams_in(
    mut from: impl AsyncRead + Unpin,
    socket: &UdpSocket,
    count: &Count,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(got) = datagram::read(&mut from, &mut buffer).await? {
        count.passed(got)?;
        // One that can't be delivered is lost, as datagrams are.
        drop(socket.send(&buffer).await);
    }
    Ok(())
}

async fn datagrams_out(
    socket: &UdpSocket,
    mut to: impl AsyncWrite + Unpin,
    count: &Count,
) -> std::io::Result<()> {
    let mut buffer = vec![0; datagram::MAX_BYTES];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(got) => {
                count.passed(got)?;
                datagram::write(&mut to, &buffer[..got]).await?;
            }
            // Nobody listens on the port, or not yet.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(number: u32) -> [u8; 16] {
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&number.to_be_bytes());
        nonce
    }

    /// a flood is bounded by how many are open, and by how many were opened of late.
    #[test]
    fn a_flood_of_connections_is_bounded_and_a_nonce_counts_once() {
        let tunnels = Tunnels::default();
        let mut open = Vec::new();
        for number in 0..64 {
            open.push(tunnels.enter(nonce(number), 0, 600).unwrap());
        }
        assert_eq!(tunnels.enter(nonce(99), 0, 600).unwrap_err(), Full::Open);
        assert_eq!(tunnels.enter(nonce(1), 0, 600).unwrap_err(), Full::Replayed);
        open.pop();
        drop(tunnels.enter(nonce(99), 0, 600).unwrap());
        assert_eq!(tunnels.enter(nonce(99), 0, 600).unwrap_err(), Full::Replayed);
        for number in 100..100 + 16_384 - 65 {
            drop(tunnels.enter(nonce(number), 0, 600).unwrap());
        }
        assert_eq!(tunnels.enter(nonce(77), 600, 1_200).unwrap_err(), Full::Often);
        drop(tunnels.enter(nonce(77), 601, 1_200).unwrap());
    }
}
