//! Tasks with a network, with real money: their bytes are in the invoice, their firewall comes back,
//! and their client reaches their ports.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pouw_agent::door::{Client, ClientError};
use serde_json::Value;

use crate::devnet::{Devnet, block_on, check_invoice, told, wait_until};
use crate::tasks::Script;

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect(program);
    assert!(output.status.success(), "{program} {}: {}", arguments.join(" "), told(&output));
}

/// A computer beyond this one, which says four MiB to whoever comes.
struct Beyond {
    name: String,
    near: String,
    address: String,
    server: Option<Child>,
}

impl Beyond {
    const BYTES: u64 = 4 << 20;

    fn new() -> Self {
        let mark = std::process::id() % 60;
        let (name, near) = (format!("lab-beyond-{mark}"), format!("labbeyond{mark}"));
        let far = format!("{near}f");
        let (here, there) =
            (format!("198.51.100.{}", mark * 4 + 1), format!("198.51.100.{}", mark * 4 + 2));
        let mut beyond = Self { name, near, address: there.clone(), server: None };
        run("ip", &["netns", "add", &beyond.name]);
        let (near, name) = (beyond.near.clone(), beyond.name.clone());
        run("ip", &["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", &name]);
        run("ip", &["addr", "add", &format!("{here}/30"), "dev", &near]);
        run("ip", &["link", "set", &near, "up"]);
        run("ip", &["-n", &name, "addr", "add", &format!("{there}/30"), "dev", &far]);
        run("ip", &["-n", &name, "link", "set", &far, "up"]);
        run("ip", &["-n", &name, "route", "add", "default", "via", &here]);
        let says = "dd if=/dev/zero bs=64k count=64 2>/dev/null";
        let server = Command::new("ip")
            .args(["netns", "exec", &name, "busybox", "nc", "-ll", "-p", "8081", "-e"])
            .args(["/bin/sh", "-c", says])
            .stdin(Stdio::null())
            .spawn();
        beyond.server = Some(server.expect("busybox; install busybox-static"));
        beyond
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.kill());
            drop(server.wait());
        }
        drop(Command::new("ip").args(["link", "del", &self.near]).output());
        drop(Command::new("ip").args(["netns", "del", &self.name]).output());
    }
}

/// When connections to a server of this computer came.
fn visits() -> (u16, Arc<Mutex<Vec<Instant>>>) {
    let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().take(10_000).flatten() {
            noted.lock().unwrap().push(Instant::now());
            drop(stream);
        }
    });
    (port, seen)
}

/// what the task moved is in its invoice, with the headers of its packets.
fn a_tasks_own_traffic_is_in_its_invoice(devnet: &Devnet, beyond: &Beyond) {
    let lines = format!("nc {} 8081 </dev/null | wc -c; sleep 1", beyond.address);
    let script = Script {
        more: "network: egress",
        ..Script::new("traffic", Box::leak(lines.into_boxed_str()))
    };
    let task = script.write(devnet.folder.path());
    let before = devnet.balance(&devnet.doors["payout"]);
    let rental = devnet.detached(&task);
    let all = devnet.closed(&rental);
    let logs = devnet.pouw().args(["logs", &rental]).output().unwrap();
    assert!(told(&logs).contains(&Beyond::BYTES.to_string()), "{}", told(&logs));
    let traffic = devnet.on_chain(&rental).best.trafficB;
    // Headers and acknowledgements are at most a tenth; the log goes out too.
    let most = Beyond::BYTES * 11 / 10 + 64 * 1024;
    assert!((Beyond::BYTES..=most).contains(&traffic), "{traffic}");
    let grown = devnet.balance(&devnet.doors["payout"]) - before;
    check_invoice(devnet, &all["invoice"], "Completed", grown);
}

/// the traffic that was rented ends the rental.
fn traffic_that_is_used_up_ends_the_rental(devnet: &Devnet, beyond: &Beyond) {
    let lines = format!("while true; do nc {} 8081 </dev/null | wc -c; done", beyond.address);
    let script = Script {
        more: "network: egress\nlimits: {time: 5m, cost: 10, traffic: 8MiB}",
        ..Script::new("used-up", Box::leak(lines.into_boxed_str()))
    };
    let task = script.write(devnet.folder.path());
    let before = devnet.balance(&devnet.doors["payout"]);
    let rental = devnet.detached(&task);
    let all = devnet.closed(&rental);
    assert_eq!(all["host"]["end"]["reason"], "traffic-limit", "{all}");
    assert_eq!(devnet.on_chain(&rental).best.trafficB, 8 << 20);
    let grown = devnet.balance(&devnet.doors["payout"]) - before;
    check_invoice(devnet, &all["invoice"], "Limit", grown);
}

fn is_guarded() -> bool {
    let listed = Command::new("nft").args(["list", "table", "inet", "pouw"]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).contains("blocked4 drop")
}

/// the firewall is flushed under a task that tries this computer without pause.
fn a_flushed_firewall_comes_back_and_nothing_gets_through_after_it(devnet: &Devnet) {
    let (port, visits) = visits();
    let lines = format!(
        "gate=$(ip route | grep default | head -n 1); gate=${{gate#*via }}; gate=${{gate%% *}}
         echo \"trying $gate\"
         while true; do nc -w 1 $gate {port} </dev/null || true; done"
    );
    let script = Script {
        more: "network: egress",
        ..Script::new("flushed", Box::leak(lines.into_boxed_str()))
    };
    let rental = devnet.detached(&script.write(devnet.folder.path()));
    devnet.host_says(&rental, "running task", |host| {
        host["step"] == "run" && host["meter"]["active_s"].as_u64() >= Some(2)
    });
    assert_eq!(visits.lock().unwrap().len(), 0, "the firewall holds");
    let (events, log) = (devnet.path("events.json"), devnet.path("events.log"));
    let mut command = devnet.pouw();
    command.args(["--json", "logs", "--system", "--follow", &rental]);
    let following = Ended(crate::devnet::spawn(&mut command, &events, &log));
    let told_so_far = || std::fs::read_to_string(&events).unwrap();
    let has = |what: &str| {
        let told = told_so_far();
        if told.contains(what) { Ok(()) } else { Err(told) }
    };
    wait_until("events", || has("\"step\":\"run\""));
    let flushed = Instant::now();
    run("nft", &["delete", "table", "inet", "pouw"]);
    wait_until("firewall", || if is_guarded() { Ok(()) } else { Err("gone".to_owned()) });
    let back = Instant::now();
    assert!(back - flushed < Duration::from_secs(5), "{:?}", back - flushed);
    let remarked = |host: &Value| {
        host["remarks"].to_string().contains("firewall") && host["paused"] == Value::Null
    };
    let host = devnet.host_says(&rental, "remark, and a task that goes on", remarked);
    assert_eq!(host["host"]["step"], "run", "{host}");
    wait_until("the pause", || has("the firewall around the task is being put up again"));
    wait_until("the end of the pause", || has("\"event\":\"resumed\""));
    drop(following);
    let active = |all: &Value| all["host"]["meter"]["active_s"].as_u64().unwrap();
    let seconds = active(&host);
    devnet.wait_for(&["describe", &rental], "seconds more", |all| active(all) >= seconds + 4);
    let late = |visit: &&Instant| **visit > back;
    assert_eq!(visits.lock().unwrap().iter().filter(late).count(), 0, "after it is back");
    let came = visits.lock().unwrap().len();
    println!("the firewall was gone for {:?}, {came} connections came through", back - flushed);
    let stopped = devnet.pouw().args(["stop", "-y", &rental]).output().unwrap();
    assert!(stopped.status.success(), "{}", told(&stopped));
    devnet.closed(&rental);
}

/// A program of the test's that ends with it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn get(at: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /hello.txt HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// HTTP from inside a task, by its client alone, from its ports alone, and not endlessly
/// many at once.
fn a_client_reaches_its_tasks_port_and_nobody_else_does(devnet: &Devnet) {
    let script = Script {
        more: "network: egress\nports: [8080]",
        ..Script::new("serves", "echo greetings > hello.txt; httpd -f -p 8080 -h /task")
    };
    let rental = devnet.detached(&script.write(devnet.folder.path()));
    devnet.host_says(&rental, "running task", |host| {
        host["step"] == "run" && host["meter"]["active_s"].as_u64() >= Some(1)
    });
    let unknown = devnet.pouw().args(["port-forward", &rental, "9999:0"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2), "{}", told(&unknown));
    assert!(told(&unknown).contains("no port 9999/tcp; its ports: 8080/tcp"), "{}", told(&unknown));

    let (out, log) = (devnet.path("forward.json"), devnet.path("forward.log"));
    let mut command = devnet.pouw();
    command.args(["--json", "port-forward", &rental, "8080:0"]);
    let forward = Ended(crate::devnet::spawn(&mut command, &out, &log));
    let doors = wait_until("forward", || {
        let text = std::fs::read_to_string(&out).unwrap();
        serde_json::from_str::<Value>(&text).map_err(|_| std::fs::read_to_string(&log).unwrap())
    });
    assert_eq!((&doors[0]["port"], &doors[0]["protocol"]), (&8080.into(), &"tcp".into()));
    let at: SocketAddr = doors[0]["local"].as_str().unwrap().parse().unwrap();
    assert!(at.ip().is_loopback(), "{at}");
    wait_until("page", || {
        let page = get(at).map_err(|error| error.to_string())?;
        if page.contains("greetings") { Ok(()) } else { Err(page) }
    });

    let endpoint = devnet.doors["host"].as_str().unwrap();
    let stranger = alloy_signer_local::PrivateKeySigner::random();
    let refused = block_on(async {
        let door = Client::new(endpoint, Some(stranger)).unwrap();
        door.tunnel(rental.parse().unwrap(), "8080".parse().unwrap()).await.err().unwrap()
    });
    let ClientError::Refused { status, body } = refused else { panic!("{refused}") };
    assert_eq!((status, body.code.as_str()), (401, "not-the-client"));

    // Connections that say nothing stay open: those beyond the bound are closed at once.
    let mut open: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(at).unwrap()).collect();
    wait_until("refusals", || {
        let noted = std::fs::read_to_string(&log).unwrap();
        let refused = noted.matches("64 connections to the task are open").count();
        if refused == 80 - 64 { Ok(()) } else { Err(noted) }
    });
    let mut closed = 0;
    for stream in &mut open {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        closed += usize::from(matches!(stream.read(&mut [0]), Ok(0)));
    }
    assert_eq!(closed, 80 - 64);
    drop(open);
    wait_until("page after the flood", || {
        let page = get(at).map_err(|error| error.to_string())?;
        if page.contains("greetings") { Ok(()) } else { Err(page) }
    });
    let moved = |host: &Value| host["meter"]["traffic_bytes"].as_u64() > Some(100);
    devnet.host_says(&rental, "traffic of the tunnel", moved);
    let stopped = devnet.pouw().args(["stop", "-y", &rental]).output().unwrap();
    assert!(stopped.status.success(), "{}", told(&stopped));
    devnet.closed(&rental);
    drop(forward);
}

#[test]
fn tasks_with_a_network_are_counted_guarded_and_reached_by_their_clients() {
    let devnet = Devnet::start();
    let beyond = Beyond::new();
    a_client_reaches_its_tasks_port_and_nobody_else_does(&devnet);
    a_tasks_own_traffic_is_in_its_invoice(&devnet, &beyond);
    traffic_that_is_used_up_ends_the_rental(&devnet, &beyond);
    a_flushed_firewall_comes_back_and_nothing_gets_through_after_it(&devnet);
    devnet.check_supply(&[]);
    devnet.check_clean(&devnet.doors["machine"]);
}
