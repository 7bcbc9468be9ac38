//! Tasks with the internet reach it and nothing else: probes from inside.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions,
};
use futures::StreamExt;
use pouw_agent::engine::{Engine as _, NetworkMode, Owner};
use pouw_types::RentalId;

use crate::laboratory::{Laboratory, on_own_machine, soon, until};

/// What the servers of these tests say to whoever reaches them.
const HELLO: &str = "reached";

/// A server on all addresses of this computer, as long as the test runs.
pub(crate) fn server_on_this_computer() -> u16 {
    let listener = TcpListener::bind(("0.0.0.0", 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        use std::io::Write;
        // Bounded, as all in a test is; the thread ends with the test's process.
        for stream in listener.incoming().take(64).flatten() {
            let mut stream = stream;
            // A probe that hung up is a probe that got through.
            drop(stream.write_all(HELLO.as_bytes()));
        }
    });
    port
}

/// A computer beyond this one: a network namespace at the end of a cable, with addresses of several
/// kinds, each of which this computer reaches.
pub(crate) struct Beyond {
    name: String,
    near: String,
    pub(crate) public: IpAddr,
    pub(crate) kept_away: Vec<IpAddr>,
    servers: Vec<Child>,
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect(program);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {}: {text}", arguments.join(" "));
}

impl Beyond {
    pub(crate) const PORT: u16 = 8080;
    const SAYS: u16 = 8081;
    const HEARS: u16 = 8082;

    pub(crate) fn new(owner: &Owner) -> Self {
        // Unique to the test, so that many can run at once.
        let mark = owner.machine.get()[0];
        let name = format!("lab-{}", &owner.bridge_name()[5..]);
        let near = format!("lab{}", &owner.bridge_name()[7..]);
        let far = format!("{near}f");
        let address = |text: String| text.parse::<IpAddr>().expect("an address");
        let beyond = Self {
            public: address(format!("203.0.113.{}", mark & 0xfc | 2)),
            kept_away: vec![
                address(format!("10.254.{mark}.2")),
                address(format!("172.31.{mark}.2")),
                address(format!("192.168.{mark}.254")),
                address(format!("100.127.{mark}.2")),
                address(format!("169.254.{mark}.2")),
            ],
            name,
            near,
            servers: Vec::new(),
        };
        run("ip", &["netns", "add", &beyond.name]);
        let cable = ["link", "add", &beyond.near, "type", "veth", "peer", "name", &far];
        run("ip", &[&cable[..], &["netns", &beyond.name]].concat());
        run(
            "ip",
            &["addr", "add", &format!("203.0.113.{}/30", mark & 0xfc | 1), "dev", &beyond.near],
        );
        run("ip", &["link", "set", &beyond.near, "up"]);
        let inside = ["-n", &beyond.name];
        run(
            "ip",
            &[&inside[..], &["addr", "add", &format!("{}/30", beyond.public), "dev", &far]]
                .concat(),
        );
        run("ip", &[&inside[..], &["link", "set", &far, "up"]].concat());
        let back = format!("203.0.113.{}", mark & 0xfc | 1);
        run("ip", &[&inside[..], &["route", "add", "default", "via", &back]].concat());
        for address in &beyond.kept_away {
            run(
                "ip",
                &[&inside[..], &["addr", "add", &format!("{address}/32"), "dev", &far]].concat(),
            );
            run("ip", &["route", "add", &format!("{address}/32"), "dev", &beyond.near]);
        }
        beyond
    }

    /// A port that says so many blocks of 64 KiB to whoever comes, and one that hears all.
    fn carry(&mut self, blocks: u32) {
        let said = format!("dd if=/dev/zero bs=64k count={blocks} 2>/dev/null");
        for (port, script) in [(Self::SAYS, said.as_str()), (Self::HEARS, "cat >/dev/null")] {
            let child = Command::new("ip")
                .args(["netns", "exec", &self.name, "busybox", "nc", "-ll", "-p"])
                .args([&port.to_string(), "-e", "/bin/sh", "-c", script])
                .stdin(Stdio::null())
                .spawn()
                .expect("a server beyond");
            self.servers.push(child);
        }
    }

    pub(crate) async fn serve(&mut self) {
        let child = Command::new("ip")
            .args(["netns", "exec", &self.name, "busybox", "nc", "-ll", "-p"])
            .args([&Self::PORT.to_string(), "-e", "/usr/bin/busybox", "echo", HELLO])
            .stdin(Stdio::null())
            .spawn()
            .expect("a server beyond");
        self.servers.push(child);
        let addresses: Vec<_> = self.kept_away.iter().copied().chain([self.public]).collect();
        for address in addresses {
            until("this computer reaches beyond", || async { reached(address, Self::PORT) }).await;
        }
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        for server in &mut self.servers {
            drop(server.kill());
            drop(server.wait());
        }
        // The cable goes with its far end, the routes with the cable.
        drop(Command::new("ip").args(["link", "del", &self.near]).output());
        drop(Command::new("ip").args(["netns", "del", &self.name]).output());
    }
}

/// Whether this computer itself gets an answer.
fn reached(address: IpAddr, port: u16) -> bool {
    use std::io::Read;
    let Ok(mut stream) =
        TcpStream::connect_timeout(&SocketAddr::new(address, port), Duration::from_secs(2))
    else {
        return false;
    };
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a bound");
    let mut text = String::new();
    drop(stream.read_to_string(&mut text));
    text.contains(HELLO)
}

/// A script that says of each address whether it was reached.
pub(crate) fn probe(targets: &[(IpAddr, u16)]) -> String {
    let words: Vec<String> = targets
        .iter()
        .map(|(address, port)| {
            format!(
                "(nc -w 2 {address} {port} </dev/null 2>/dev/null | grep -q {HELLO} \
                 && echo yes {address} || echo no {address}) &"
            )
        })
        .collect();
    format!("{} wait", words.join(" "))
}

/// Runs a script in a container of the user's own, on the engine's default bridge.
async fn on_default_bridge(lab: &Laboratory, script: &str) -> String {
    let body = ContainerCreateBody {
        image: Some(lab.image.to_string()),
        cmd: Some(["/bin/sh", "-c", script].map(str::to_owned).into()),
        host_config: Some(HostConfig {
            network_mode: Some("bridge".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let made = lab.docker.create_container(None::<CreateContainerOptions>, body).await;
    let id = made.expect("a container").id;
    let started = lab.docker.start_container(&id, None::<StartContainerOptions>).await;
    let mut ends = Box::pin(lab.docker.wait_container(&id, None::<WaitContainerOptions>));
    drop(soon(ends.next()).await);
    let options = LogsOptionsBuilder::default().stdout(true).build();
    let lines: Vec<_> = lab.docker.logs(&id, Some(options)).collect().await;
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    lab.docker.remove_container(&id, Some(options)).await.expect("removed");
    started.expect("started");
    lines.into_iter().map(|line| line.expect("a line").to_string()).collect()
}

/// This computer's own address on a bridge.
pub(crate) fn address_on(bridge: &str) -> IpAddr {
    let output = Command::new("ip").args(["-4", "-o", "addr", "show", "dev", bridge]).output();
    let text = String::from_utf8(output.expect("ip").stdout).expect("text");
    let address = text.split_whitespace().nth(3).and_then(|word| word.split('/').next());
    address.expect("an address").parse().expect("an address")
}

#[tokio::test]
async fn a_task_with_the_internet_reaches_it_and_nothing_else() {
    on_own_machine(|lab| async move {
        let mut beyond = Beyond::new(&lab.owner);
        beyond.serve().await;
        let port = server_on_this_computer();
        let network = lab.engine.create_network(&lab.owner).await.expect("a network");
        assert_eq!(lab.engine.create_network(&lab.owner).await.expect("again"), network);

        // Another rental's task, which this computer itself reaches.
        let other = Owner { rental: RentalId::new([7; 32].into()), ..lab.owner };
        let mut neighbour =
            lab.workload("run", "while true; do echo reached | nc -l -p 8080; done");
        neighbour.owner = other;
        neighbour.network =
            NetworkMode::Egress(lab.engine.create_network(&other).await.expect("a network"));
        let neighbour = lab.start(&neighbour).await;
        let neighbour = lab.engine.inspect(&neighbour).await.expect("looked at").address;
        let neighbour = neighbour.expect("the neighbour's address");
        until("the neighbour serves", || async { reached(neighbour, 8080) }).await;

        let own_gateway = address_on(network.as_str());
        let default_gateway = address_on("docker0");
        let mut targets = vec![
            (beyond.public, Beyond::PORT),
            (own_gateway, port),
            (default_gateway, port),
            (neighbour, 8080),
        ];
        targets.extend(beyond.kept_away.iter().map(|address| (*address, Beyond::PORT)));
        let metadata = "169.254.169.254".parse().expect("an address");
        targets.push((metadata, 80));

        // The probe itself works, and finds what a container without the firewall reaches.
        let control = on_default_bridge(&lab, &probe(&targets)).await;
        for (address, _) in [&targets[0], &targets[2]].into_iter().chain(&targets[4..9]) {
            assert!(control.contains(&format!("yes {address}\n")), "{address}: {control}");
        }

        let mut workload = lab.workload("run", &probe(&targets));
        workload.network = NetworkMode::Egress(network.clone());
        let (_, text) = lab.run(&workload).await;
        assert!(text.contains(&format!("yes {}\n", beyond.public)), "{text}");
        for (address, _) in &targets[1..] {
            assert!(text.contains(&format!("no {address}\n")), "{address}: {text}");
        }

        // Without a network there is not even an address.
        let mut workload = lab.workload("gate", &probe(&targets));
        workload.network = NetworkMode::None;
        let (_, text) = lab.run(&workload).await;
        assert!(!text.contains("yes") && text.contains("no"), "{text}");
    })
    .await;
}

/// what a task moves is counted both ways, with the headers of its packets, by its own bridge
/// alone; a new agent reads on.
#[tokio::test]
async fn a_tasks_traffic_is_counted_both_ways_by_its_own_bridge_alone() {
    on_own_machine(|lab| async move {
        let mut beyond = Beyond::new(&lab.owner);
        beyond.carry(64);
        let other = Owner { rental: RentalId::new([8; 32].into()), ..lab.owner };
        let network = lab.engine.create_network(&lab.owner).await.expect("a network");
        lab.engine.create_network(&other).await.expect("a network");
        let counted = async |engine: &dyn pouw_agent::engine::Engine, owner| {
            engine.watch_network(owner).await.expect("looked at").bytes.expect("counted")
        };
        assert_eq!(counted(&lab.engine, &lab.owner).await, 0);
        let (address, says, hears) = (beyond.public, Beyond::SAYS, Beyond::HEARS);
        for (script, payload) in [
            (
                format!("nc {address} {says} </dev/null | cat | tail -c 1 >/tmp/x; echo done"),
                4 << 20,
            ),
            (format!("dd if=/dev/zero bs=64k count=32 | nc {address} {hears}; echo done"), 2 << 20),
        ] {
            let before = counted(&lab.engine, &lab.owner).await;
            let mut workload = lab.workload("run", &script);
            workload.network = NetworkMode::Egress(network.clone());
            let (exit, text) = lab.run(&workload).await;
            assert_eq!((exit.code, text.contains("done")), (0, true), "{text}");
            let passed = counted(&lab.engine, &lab.owner).await - before;
            // Headers and acknowledgements are at most a tenth beside full packets.
            assert!((payload..=payload * 11 / 10).contains(&passed), "{script}: {passed}");
        }
        assert_eq!(counted(&lab.engine, &other).await, 0, "another rental's bridge");

        let before = counted(&lab.engine, &lab.owner).await;
        let again = pouw_agent::engine::DockerEngine::new(lab.engine.config().clone());
        again.prepare().await.expect("ready");
        assert_eq!(counted(&again, &lab.owner).await, before, "a new agent reads on");
        assert_eq!(again.create_network(&lab.owner).await.expect("the same"), network);
        assert_eq!(counted(&again, &lab.owner).await, before, "a network made again counts on");
        let busy = lab.engine.snapshot(pouw_agent::engine::Scope::Machine).await.expect("seen");
        assert_eq!(busy.counters.len(), 4, "{busy:?}");
        lab.engine.remove_network(&other).await.expect("removed");
        lab.engine.reset_to(&lab.nothing().await).await.expect("reset");
        let clear = lab.engine.snapshot(pouw_agent::engine::Scope::Machine).await.expect("seen");
        assert_eq!(clear.counters.len(), 0, "{clear:?}");
    })
    .await;
}

/// A container of the user's own that serves on a port of this computer; removed with the value.
struct Published {
    id: String,
    host: String,
}

impl Drop for Published {
    fn drop(&mut self) {
        drop(Command::new("docker").args(["-H", &self.host, "rm", "-f", &self.id]).output());
    }
}

impl Published {
    fn new(lab: &Laboratory, port: u16) -> Self {
        let host = lab.engine.config().host.clone();
        let serve = "while true; do echo reached | nc -l -p 8080; done";
        let output = Command::new("docker")
            .args(["-H", &host, "run", "-d", "-p", &format!("{port}:8080")])
            .args([&lab.image.to_string(), "/bin/sh", "-c", serve])
            .output()
            .expect("docker");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let id = String::from_utf8(output.stdout).expect("text").trim().to_owned();
        Self { id, host }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("0.0.0.0", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// the ways that are not a plain connection: published ports of the user's containers,
/// datagrams to this computer, IPv6, broadcasts; from beyond and from other containers to the task;
/// and names, which are asked for from the task's own bridge.
#[tokio::test]
async fn a_task_with_the_internet_has_no_side_door_and_nobody_else_reaches_it() {
    on_own_machine(|lab| async move {
        let mut beyond = Beyond::new(&lab.owner);
        beyond.serve().await;
        let published = free_port();
        let user = Published::new(&lab, published);
        let datagrams = std::net::UdpSocket::bind(("0.0.0.0", 0)).expect("a free port");
        let heard = datagrams.local_addr().expect("its address").port();
        datagrams.set_nonblocking(true).expect("no waiting");

        let mut config = lab.engine.config().clone();
        config.egress_dns = vec![beyond.public];
        let engine = pouw_agent::engine::DockerEngine::new(config);
        engine.prepare().await.expect("ready");
        let network = engine.create_network(&lab.owner).await.expect("a network");
        let gateway = address_on(network.as_str());
        let near = address_on(&beyond.near);
        let broadcast = gateway.to_string().rsplit_once('.').expect("IPv4").0.to_owned() + ".255";
        let script = format!(
            "grep -v ' lo$' /proc/net/if_inet6 | head -n 3; echo v6 done;
             for at in {gateway} {near} {broadcast} 255.255.255.255; do
               echo probe | nc -u -w 1 $at {heard}; done 2>/dev/null;
             {}; echo tried;
             while true; do echo reached | nc -l -p 8080; done",
            probe(&[(near, published), (gateway, published), (beyond.public, Beyond::PORT)])
        );
        let mut workload = lab.workload("run", &script);
        workload.network = NetworkMode::Egress(network);
        let id = lab.start(&workload).await;
        lab.wait_for_line(&id, "tried").await;
        let text = lab.written(&id).await;
        assert!(text.starts_with("v6 done"), "no IPv6 address: {text}");
        assert!(text.contains(&format!("yes {}\n", beyond.public)), "{text}");
        for address in [near, gateway] {
            assert!(text.contains(&format!("no {address}\n")), "{address}: {text}");
        }
        let got = datagrams.recv_from(&mut [0; 100]);
        assert!(got.is_err(), "a datagram came through: {got:?}");
        // The same published port is there for everybody else.
        until("the published port serves", || async { reached(near, published) }).await;

        let task = lab.engine.inspect(&id).await.expect("looked at").address.expect("an address");
        until("this computer reaches the task", || async { reached(task, 8080) }).await;
        let inbound = Command::new("ip")
            .args(["netns", "exec", &beyond.name, "busybox", "nc", "-w", "2"])
            .args([&task.to_string(), "8080"])
            .stdin(Stdio::null())
            .output()
            .expect("ip");
        assert!(!String::from_utf8_lossy(&inbound.stdout).contains(HELLO), "from beyond");
        let neighbour = on_default_bridge(&lab, &probe(&[(task, 8080)])).await;
        assert!(neighbour.contains(&format!("no {task}\n")), "{neighbour}");

        let passed = || async {
            engine.watch_network(&lab.owner).await.expect("looked at").bytes.expect("counted")
        };
        let before = passed().await;
        let request = pouw_agent::engine::ExecRequest {
            command: ["/bin/busybox", "nslookup", "example.com"].map(str::to_owned).into(),
            env: Default::default(),
            user: None,
            timeout_ms: 30_000,
            output_bytes: 1_000,
        };
        // Nobody answers there: what counts is where the question goes.
        drop(engine.exec(&id, &request).await);
        assert!(passed().await > before, "a name is asked for from the task's own bridge");
        drop(user);
    })
    .await;
}

#[tokio::test]
async fn networks_come_and_go_under_one_unchanging_firewall() {
    on_own_machine(|lab| async move {
        lab.engine.create_network(&lab.owner).await.expect("a network");
        let saved = lab.engine.snapshot(pouw_agent::engine::Scope::Machine).await.expect("saved");
        assert_eq!(saved.firewall.len(), 1);
        assert!(!saved.firewall.contains("absent"), "{saved:?}");
        lab.engine.remove_network(&lab.owner).await.expect("removed");
        lab.engine.remove_network(&lab.owner).await.expect("removed twice");
        let found = lab.docker.inspect_network(&lab.owner.bridge_name(), None).await;
        assert!(found.is_err(), "the bridge is gone");
        let after = lab.engine.snapshot(pouw_agent::engine::Scope::Machine).await.expect("saved");
        assert_eq!(after.firewall, saved.firewall, "rentals never change the table");
    })
    .await;
}

#[tokio::test]
async fn the_default_network_of_a_task_is_none() {
    on_own_machine(|lab| async move {
        let id = lab.engine.create(&lab.workload("run", "true")).await.expect("created").id;
        let found =
            lab.docker.inspect_container(id.as_str(), None::<InspectContainerOptions>).await;
        let host = found.expect("looked at").host_config.expect("its settings");
        assert_eq!(host.network_mode.as_deref(), Some("none"));
    })
    .await;
}
