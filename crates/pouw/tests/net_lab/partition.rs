//! A network that is cut in two, mines on both sides, and becomes one again over a slow wire.

use super::namespaces::Wires;
use super::process::{Node, wait_until};

const MINER: [&str; 2] =
    ["0x00000000000000000000000000000000000000a1", "0x00000000000000000000000000000000000000b2"];

/// All have the same block at a height that all have passed, `above` a given one.
fn agree_above(nodes: &[Node], above: u64) -> bool {
    let lowest = nodes.iter().map(Node::height).min().unwrap_or(0);
    let Some(at) = lowest.checked_sub(1).filter(|at| *at > above) else { return false };
    let first = nodes[0].block(at);
    first.is_some() && nodes.iter().all(|node| node.block(at) == first)
}

#[test]
fn a_network_that_was_cut_in_two_becomes_one_again() {
    let folder = tempfile::tempdir().unwrap();
    let wires = Wires::new(&[0, 0, 1, 1]);
    let mut nodes: Vec<Node> = Vec::new();
    for node in 0..4 {
        let listen = format!("{}:7373", Wires::address(node));
        let mut arguments = vec!["--peer-listen", &listen];
        // One miner on each side; everybody is told of the first, and hears of the rest from it.
        if node % 2 == 0 {
            arguments.extend(["--mine-to", MINER[node / 2]]);
        }
        let first = nodes.first().map(|first| first.contact().to_owned());
        if let Some(first) = &first {
            arguments.extend(["--peer", first]);
        }
        let place = folder.path().join(format!("node{node}"));
        nodes.push(Node::start(&wires.enter(node), &place, &arguments));
    }
    wait_until("meeting of all", || nodes.iter().all(|node| node.peers() == 3));
    wait_until("agreement", || agree_above(&nodes, 3));

    wires.cut();
    let at = nodes.iter().map(Node::height).max().unwrap();
    let apart = |nodes: &[Node]| {
        let grown = [0, 2].iter().all(|node| nodes[*node].height() >= at + 5);
        let blocks = [0, 2].map(|node| nodes[node].block(at + 4));
        grown && blocks.iter().all(Option::is_some) && blocks[0] != blocks[1]
    };
    wait_until("two chains", || apart(&nodes));
    // Each side goes on as one.
    for (one, other) in [(0, 1), (2, 3)] {
        wait_until("agreement of a side", || {
            let block = nodes[one].block(at + 4);
            block.is_some() && block == nodes[other].block(at + 4)
        });
    }

    // Together again over a wire across the world, and a bad one: 300 ms each way, a frame in twenty
    // lost, 8 Mbit/s.
    let wire = wires.join_slowly(300, 0.05, 8_000_000);
    let above = nodes.iter().map(Node::height).max().unwrap();
    wait_until("one chain over a slow wire", || agree_above(&nodes, above));
    // It stays one while both sides mine.
    wait_until("growth over a slow wire", || agree_above(&nodes, above + 5));
    let (carried, lost) = wire.cut();
    assert!(carried > 100 && lost > carried / 50, "a bad wire: {carried} carried, {lost} lost");

    // And over a good one.
    wires.join();
    let above = nodes.iter().map(Node::height).max().unwrap();
    wait_until("one chain", || agree_above(&nodes, above));
}
