//! Network namespaces of a test's own: two switches with a wire between them, nodes on each.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// Two switches in a namespace; every node has a namespace of its own and a wire to one of them.
pub(crate) struct Wires {
    tag: String,
    sides: Vec<usize>,
}

fn try_run(words: &str) -> Output {
    let mut words = words.split_whitespace();
    let program = words.next().unwrap();
    let output = Command::new(program).args(words).output();
    output.unwrap_or_else(|error| panic!("{program} (package iproute2): {error}"))
}

fn run(words: &str) {
    let output = try_run(words);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}: {told}(needs root)");
}

impl Wires {
    /// `sides[i]` is the switch of node i, 0 or 1. Addresses are 10.77.0.(i + 1).
    pub(crate) fn new(sides: &[usize]) -> Self {
        let tag = format!("pouw{}", std::process::id());
        let wires = Self { tag, sides: sides.to_vec() };
        let hub = wires.hub();
        run(&format!("ip netns add {hub}"));
        for side in 0..2 {
            run(&format!("ip -n {hub} link add br{side} type bridge"));
            run(&format!("ip -n {hub} link set br{side} up"));
        }
        run(&format!("ip -n {hub} link add trunk0 type veth peer name trunk1"));
        for side in 0..2 {
            run(&format!("ip -n {hub} link set trunk{side} master br{side}"));
            run(&format!("ip -n {hub} link set trunk{side} up"));
        }
        for (node, side) in sides.iter().enumerate() {
            let name = wires.name(node);
            run(&format!("ip netns add {name}"));
            run(&format!("ip -n {name} link set lo up"));
            run(&format!("ip -n {hub} link add n{node} type veth peer name eth0 netns {name}"));
            run(&format!("ip -n {hub} link set n{node} master br{side}"));
            run(&format!("ip -n {hub} link set n{node} up"));
            run(&format!("ip -n {name} addr add {}/24 dev eth0", Self::address(node)));
            run(&format!("ip -n {name} link set eth0 up"));
        }
        wires
    }

    fn hub(&self) -> String {
        format!("{}h", self.tag)
    }

    fn name(&self, node: usize) -> String {
        format!("{}n{node}", self.tag)
    }

    pub(crate) fn address(node: usize) -> String {
        format!("10.77.0.{}", node + 1)
    }

    /// What a program is run with to be in a node's namespace.
    pub(crate) fn enter(&self, node: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.name(node)].map(str::to_owned).to_vec()
    }

    pub(crate) fn cut(&self) {
        run(&format!("ip -n {} link set trunk0 down", self.hub()));
    }

    pub(crate) fn join(&self) {
        run(&format!("ip -n {} link set trunk0 up", self.hub()));
    }

    /// Joins the switches by a wire that delays each frame, loses some, and carries so much a second;
    /// the fast one has to be cut. A program carries the frames, as not every kernel has `netem`.
    pub(crate) fn join_slowly(&self, delay_ms: u32, loss: f64, bits_per_s: u32) -> SlowWire {
        let hub = self.hub();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/net_lab/slow_wire.py");
        let mut process = Command::new("ip")
            .args(["netns", "exec", &hub, "python3", script, "slow0", "slow1"])
            .args([delay_ms.to_string(), loss.to_string(), bits_per_s.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "a TAP device can't be made (/dev/net/tun)");
        for side in 0..2 {
            run(&format!("ip -n {hub} link set slow{side} master br{side}"));
            run(&format!("ip -n {hub} link set slow{side} up"));
        }
        SlowWire { process, lines }
    }
}

/// A slow wire; gone when dropped.
pub(crate) struct SlowWire {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl SlowWire {
    /// Takes it away; how many frames it carried, and how many it lost.
    pub(crate) fn cut(mut self) -> (u64, u64) {
        run(&format!("kill {}", self.process.id()));
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let mut counts = line.split_whitespace().map(|count| count.parse().unwrap());
        (counts.next().unwrap(), counts.next().unwrap())
    }
}

impl Drop for SlowWire {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for name in (0..self.sides.len()).map(|node| self.name(node)).chain([self.hub()]) {
            let _gone = try_run(&format!("ip netns del {name}"));
        }
    }
}
