//! A task's ports through the door, over loopback, in real time.

use alloy_signer_local::PrivateKeySigner;
use pouw_spec::Task;
use pouw_types::RentalId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::world::{World, task};
use crate::door::{
    Client, ClientError, NONCE_HEADER, PortName, SIGNATURE_HEADER, TIME_HEADER, UPGRADE, datagram,
    message, sign,
};
use crate::step::{End, Step};

fn client(world: &World, key: &PrivateKeySigner) -> Client {
    Client::new(&format!("http://{}", world.agent().address()), Some(key.clone())).unwrap()
}

fn refusal<T>(result: Result<T, ClientError>) -> String {
    match result.err().unwrap() {
        ClientError::Refused { body, .. } => body.code,
        other => panic!("{other}"),
    }
}

fn listening(ports: &str, traffic: &str) -> Task {
    task(&format!("network: egress\nports: [{ports}]\nlimits:\n  time: 1h\n  traffic: {traffic}\n"))
}

async fn running(task: &Task) -> (World, RentalId, Client) {
    let world = World::real().await;
    world.engine.set_address([127, 0, 0, 1].into());
    let ready = || world.agent().health().ready;
    world.wait("the agent is ready", ready).await;
    let id = world.open(task, None, |_| ());
    world.hand_over(id, task).await;
    world.running(id).await;
    world.wait("it is noted", || world.status(id).step == Step::Run).await;
    let door = client(&world, &world.client);
    (world, id, door)
}

/// A server that says back what it hears.
async fn echo() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                // A connection that breaks is the test's own doing.
                drop(tokio::io::copy(&mut from, &mut to).await);
            });
        }
    });
    port
}

fn tcp(port: u16) -> PortName {
    port.to_string().parse().unwrap()
}

async fn answered(tunnel: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) -> Vec<u8> {
    tunnel.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    tunnel.read_exact(&mut back).await.unwrap();
    back
}

/// streams and datagrams come through whole, an end is an end, and all of it is traffic.
#[tokio::test]
async fn a_client_reaches_the_ports_of_its_task_and_what_passes_is_traffic() {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let (port, udp) = (echo().await, socket.local_addr().unwrap().port());
    tokio::spawn(async move {
        let mut buffer = [0; 2_000];
        while let Ok((got, from)) = socket.recv_from(&mut buffer).await {
            socket.send_to(&buffer[..got], from).await.unwrap();
        }
    });
    let ports = format!("{port}, {{port: {udp}, protocol: udp}}");
    let (world, id, door) = running(&listening(&ports, "1MiB")).await;
    assert_eq!(door.status(id).await.unwrap().ports.len(), 2);
    let mut tunnel = door.tunnel(id, tcp(port)).await.unwrap();
    let bytes = vec![5; 40_000];
    assert_eq!(answered(&mut tunnel, &bytes).await, bytes);
    tunnel.shutdown().await.unwrap();
    assert_eq!(tunnel.read(&mut [0]).await.unwrap(), 0, "the echo ended its side too");
    world.wait("it is counted", || world.status(id).meter.traffic_bytes == 80_000).await;
    let mut tunnel = door.tunnel(id, format!("{udp}/udp").parse().unwrap()).await.unwrap();
    for text in ["one", "", "three"] {
        datagram::write(&mut tunnel, text.as_bytes()).await.unwrap();
        let mut back = Vec::new();
        datagram::read(&mut tunnel, &mut back).await.unwrap();
        assert_eq!(back, text.as_bytes());
    }
    world.wait("it is counted", || world.status(id).meter.traffic_bytes == 80_016).await;
}

/// nobody else, no other port, and nothing but a running task.
#[tokio::test]
async fn strangers_other_ports_and_tasks_that_do_not_run_are_refused_by_name() {
    let (port, beside) = (echo().await, echo().await);
    let (world, id, door) = running(&listening(&port.to_string(), "1MiB")).await;
    let stranger = client(&world, &PrivateKeySigner::random());
    assert_eq!(refusal(stranger.tunnel(id, tcp(port)).await), "not-the-client");
    assert_eq!(refusal(door.tunnel(id, tcp(beside)).await), "unknown-port");
    let udp = format!("{port}/udp").parse().unwrap();
    assert_eq!(refusal(door.tunnel(id, udp).await), "unknown-port");
    world.finish(0, false);
    world.wait("it ended", || world.status(id).step > Step::Run).await;
    assert_eq!(refusal(door.tunnel(id, tcp(port)).await), "not-running");
}

#[tokio::test]
async fn a_port_on_which_nobody_listens_is_told_as_such() {
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let (_world, id, door) = running(&listening(&port.to_string(), "1MiB")).await;
    assert_eq!(refusal(door.tunnel(id, tcp(port)).await), "nobody-listens");
}

/// beyond 64 connections there is none, until one ends.
#[tokio::test]
async fn a_flood_of_connections_is_refused_beyond_its_bound() {
    let port = echo().await;
    let (world, id, door) = running(&listening(&port.to_string(), "1MiB")).await;
    let mut open = Vec::new();
    for _ in 0..crate::tunnel::MAX_OPEN {
        open.push(door.tunnel(id, tcp(port)).await.unwrap());
    }
    assert_eq!(refusal(door.tunnel(id, tcp(port)).await), "too-many-connections");
    drop(open.pop());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        match door.tunnel(id, tcp(port)).await {
            Ok(mut tunnel) => break assert_eq!(answered(&mut tunnel, b"again").await, b"again"),
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    }
    drop(world);
}

/// who reads along opens nothing with what he read.
#[tokio::test]
async fn a_request_that_was_sent_before_opens_nothing() {
    let port = echo().await;
    let (world, id, _) = running(&listening(&port.to_string(), "1MiB")).await;
    let path = format!("/v1/rentals/{id}/ports/{port}/tcp");
    let (nonce, now) = ([7; 16], crate::clock::Clock::unix_s(&world.clock));
    let signature = sign(&world.client, &message("GET", &path, id, &nonce, now)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {UPGRADE}\r\n\
         {NONCE_HEADER}: {}\r\n{TIME_HEADER}: {now}\r\n{SIGNATURE_HEADER}: {signature}\r\n\r\n",
        hex::encode(nonce)
    );
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(world.agent().address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        answers.push(String::from_utf8_lossy(&answer).into_owned());
    }
    assert_eq!(answers, ["HTTP/1.1 101", "HTTP/1.1 401"]);
}

/// the traffic that was sold ends a connection, and the rental.
#[tokio::test]
async fn a_connection_that_uses_up_the_traffic_ends_with_the_rental() {
    let port = echo().await;
    let (world, id, door) = running(&listening(&port.to_string(), "100KiB")).await;
    let mut tunnel = door.tunnel(id, tcp(port)).await.unwrap();
    let mut passed = 0;
    while tunnel.write_all(&[1; 10_000]).await.is_ok() {
        match tunnel.read_exact(&mut [0; 10_000]).await {
            Ok(got) => passed += got,
            Err(_) => break,
        }
    }
    assert!(passed <= 51_200, "{passed}");
    world.wait("it ends", || world.status(id).end == Some(End::TrafficLimit)).await;
}
