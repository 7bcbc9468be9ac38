//! Ports of a task on this computer: listens here, and carries what comes through the host's door.

use core::fmt;
use core::str::FromStr;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use core::time::Duration;
use pouw_agent::door::{Client, PortName, datagram};
use pouw_spec::Protocol;
use pouw_types::RentalId;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::exit::WrongInput;
use crate::output::Output;

/// How long a sender of datagrams may be silent before its tunnel is given up.
const UDP_IDLE: Duration = Duration::from_secs(120);
/// Most senders of datagrams of one port.
const MAX_SENDERS: usize = 64;
/// Datagrams that wait for a tunnel; more are lost, as datagrams are.
const WAITING: usize = 64;

/// A port of the task and where it is on this computer: `8080`, `8080:18080`, `53:5353/udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The task's port.
    pub port: PortName,
    /// The port on this computer; 0 takes a free one.
    pub local: u16,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (port, local) = match numbers.split_once(':') {
            Some((port, local)) => (port, Some(local)),
            None => (numbers, None),
        };
        let port: PortName = format!("{port}/{protocol}")
            .parse()
            .map_err(|error| format!("{error}; PORT[:LOCAL][/udp], such as 8080:18080"))?;
        let local = match local {
            None => port.0.port,
            Some(local) => local
                .parse()
                .map_err(|_| format!("`{local}` is no port of this computer: write 0 to 65535"))?,
        };
        Ok(Self { port, local })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.port.protocol();
        write!(f, "{}:{}/{protocol}", self.port.0.port, self.local)
    }
}

/// A forward that listens.
#[derive(Debug)]
pub(crate) struct Listening {
    port: PortName,
    local: SocketAddr,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// What is told of a forward that listens.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    port: u16,
    protocol: &'static str,
    local: SocketAddr,
}

impl Listening {
    /// What is told of it.
    pub(crate) fn told(&self) -> Told {
        let (port, protocol) = (self.port.0.port, self.port.protocol());
        Told { port, protocol, local: self.local }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is port {}/{} of the task", self.local, self.port, self.protocol)
    }
}

/// Listens on this computer's own address, where nobody else reaches.
///
/// # Errors
/// [`WrongInput`] for a port that is taken.
pub(crate) async fn listen(forwards: &[Forward]) -> Result<Vec<Listening>, WrongInput> {
    let mut all = Vec::new();
    for forward in forwards {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, forward.local));
        let taken = |error: std::io::Error| {
            WrongInput(format!("cannot listen on {at}: {error}; name another as PORT:LOCAL"))
        };
        let (socket, local) = match forward.port.0.protocol {
            Protocol::Tcp => {
                let socket = TcpListener::bind(at).await.map_err(taken)?;
                let local = socket.local_addr().map_err(taken)?;
                (Socket::Tcp(socket), local)
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind(at).await.map_err(taken)?;
                let local = socket.local_addr().map_err(taken)?;
                (Socket::Udp(socket), local)
            }
        };
        all.push(Listening { port: forward.port, local, socket });
    }
    Ok(all)
}

/// Where tunnels lead.
#[derive(Clone)]
struct Way {
    door: Client,
    rental: RentalId,
    port: PortName,
    output: Output,
}

/// Carries connections until it is dropped.
pub(crate) async fn carry(
    listening: Vec<Listening>,
    door: Client,
    rental: RentalId,
    output: Output,
) {
    let mut all = JoinSet::new();
    for Listening { port, socket, .. } in listening {
        let way = Way { door: door.clone(), rental, port, output };
        match socket {
            Socket::Tcp(listener) => drop(all.spawn(streams(listener, way))),
            Socket::Udp(socket) => drop(all.spawn(datagrams(socket, way))),
        }
    }
    while all.join_next().await.is_some() {}
    // Without any forward there is nothing to end.
    std::future::pending::<()>().await;
}

async fn streams(listener: TcpListener, way: Way) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(open.spawn(stream_through(stream, way.clone()))),
                Err(error) => way.output.note(format!("a connection is not taken: {error}")),
            },
            Some(_) = open.join_next() => {}
        }
    }
}

async fn stream_through(mut stream: TcpStream, way: Way) {
    drop(stream.set_nodelay(true));
    match way.door.tunnel(way.rental, way.port).await {
        // A connection that breaks is what its program sees too.
        Ok(mut tunnel) => drop(tokio::io::copy_bidirectional(&mut stream, &mut tunnel).await),
        Err(error) => way.output.note(format!("port {}: {error}", way.port)),
    }
}

/// One tunnel for each sender, as each has to hear its own answers.
async fn datagrams(socket: UdpSocket, way: Way) {
    let socket = Arc::new(socket);
    let mut senders: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut open = JoinSet::new();
    let mut buffer = vec![0; datagram::MAX_BYTES];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let Ok((got, sender)) = received else { continue };
                senders.retain(|_, queue| !queue.is_closed());
                if !senders.contains_key(&sender) && senders.len() >= MAX_SENDERS {
                    continue;
                }
                let queue = senders.entry(sender).or_insert_with(|| {
                    let (queue, waiting) = mpsc::channel(WAITING);
                    open.spawn(datagrams_of(Arc::clone(&socket), sender, waiting, way.clone()));
                    queue
                });
                drop(queue.try_send(buffer[..got].to_vec()));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

async fn datagrams_of(
    socket: Arc<UdpSocket>,
    sender: SocketAddr,
    mut waiting: mpsc::Receiver<Vec<u8>>,
    way: Way,
) {
    let tunnel = match way.door.tunnel(way.rental, way.port).await {
        Ok(tunnel) => tunnel,
        Err(error) => return way.output.note(format!("port {}: {error}", way.port)),
    };
    let (mut from, mut to) = tokio::io::split(tunnel);
    let out = async {
        while let Ok(Some(bytes)) = tokio::time::timeout(UDP_IDLE, waiting.recv()).await {
            datagram::write(&mut to, &bytes).await?;
        }
        to.shutdown().await
    };
    let back = async {
        let mut buffer = Vec::new();
        while datagram::read(&mut from, &mut buffer).await?.is_some() {
            drop(socket.send_to(&buffer, sender).await);
        }
        std::io::Result::Ok(())
    };
    tokio::select! {
        _ = out => {}
        _ = back => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_names_the_tasks_port_first() {
        for (text, expected) in [
            ("8080", "8080:8080/tcp"),
            ("8080:18080", "8080:18080/tcp"),
            ("8080:0", "8080:0/tcp"),
            ("53:5353/udp", "53:5353/udp"),
        ] {
            assert_eq!(
                text.parse::<Forward>().map(|forward| forward.to_string()),
                Ok(expected.into())
            );
        }
        for wrong in ["", "http", "0", "8080:", "8080:x", "8080/icmp", "1:2:3", "70000"] {
            assert!(wrong.parse::<Forward>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_told_with_what_mends_it() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let local = taken.local_addr().unwrap().port();
        let port = "80".parse().unwrap();
        let error = listen(&[Forward { port, local }]).await.unwrap_err();
        assert!(error.0.contains("PORT:LOCAL"), "{}", error.0);
    }
}
