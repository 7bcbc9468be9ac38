//! A task that mines, in a real container: its host's block, its host's vesting.

use alloy_primitives::Address;
use pouw_types::contracts::{HOSTS, IHosts, IRentals, RENTALS};
use serde_json::{Value, json};

use crate::devnet::{Devnet, block_on, check_invoice, part, told};
use crate::tasks::Script;

/// Multiplies until three of its certificates were taken, and a second longer, so that the host hears how
/// much mined.
const MULTIPLY: &str = "python3 - <<'END'
import sys, time
import numpy, pouw
a = numpy.ones((1024, 2048), numpy.int8)
b = numpy.ones((2048, 1024), numpy.int8)
end = time.monotonic() + 150
while pouw.mining().taken < 3 and time.monotonic() < end:
....assert (pouw.matmul(a, b) == 2048).all()
until = time.monotonic() + 1.5
while time.monotonic() < until:
....pouw.matmul(a, b)
mined = pouw.mining()
print('mined', mined.mined_macs, 'taken', mined.taken, 'refused', mined.refused)
sys.exit(mined.taken < 3)
END";

fn task(devnet: &Devnet, more: &'static str) -> std::path::PathBuf {
    let script = Script { image: "python".to_owned(), more, ..Script::new("mining", MULTIPLY) };
    let path = script.write(devnet.folder.path());
    let text = std::fs::read_to_string(&path).unwrap();
    // The script's lines are trimmed where they are written.
    let text = text.replace("....", "    ").replace("memory: 32MiB", "memory: 256MiB");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_task_in_a_container_wins_a_block_for_its_host_and_its_receipts_vest() {
    let devnet = Devnet::with(&["--mine", "both"], None);
    let task = task(&devnet, "mineable: opening\nlimits: {time: 5m, cost: 10}");
    let path = task.to_str().unwrap();
    devnet.wait_for(&["plan", path], "free machine", |plan| plan["units"] == 1);

    // Money is agreed to; what it shows is not.
    let unasked = devnet.pouw().args(["run", "-y", path]).output().unwrap();
    assert_eq!(unasked.status.code(), Some(3), "{}", told(&unasked));
    assert!(told(&unasked).contains("--allow-opening"), "{}", told(&unasked));
    assert!(told(&unasked).contains("16 rows"), "{}", told(&unasked));
    assert_eq!(devnet.json(&["ps", "--all"]), json!([]), "nothing was rented");

    let run = ["run", "-y", "-q", "--allow-opening", path];
    let invoice = devnet.json(&run);
    // The payout address grows by blocks as well.
    let price = part(&invoice, "price");
    check_invoice(&devnet, &invoice, "Completed", price);
    assert!(price > 0, "{invoice}");

    // Its blocks are in the chain, of lane 1, and the registered miner's; the node's own products are
    // for the same miner, but of other sizes.
    let machine: Address = devnet.doors["machine"].as_str().unwrap().parse().unwrap();
    let rpc = devnet.rpc();
    let miner = block_on(async {
        rpc.view(HOSTS, &IHosts::machineOfCall { machine }).await.unwrap().miner
    });
    let blocks = devnet.json(&["chain", "blocks", "--lane", "matmul", "--limit", "500"]);
    let blocks = blocks["blocks"].as_array().unwrap_or_else(|| panic!("{blocks}"));
    let sizes = json!([1024, 2048, 1024]);
    let won = blocks.iter().filter(|block| block["product"] == sizes).collect::<Vec<_>>();
    assert!(!won.is_empty(), "{blocks:?}");
    assert!(won.iter().all(|block| block["miner"] == json!(miner)), "{won:?}");

    // The contract and its last receipt say so.
    let rental = devnet.json(&["ps", "--all"])[0]["rental"].as_str().unwrap().to_owned();
    let on_chain = devnet.on_chain(&rental);
    let id: pouw_types::RentalId = rental.parse().unwrap();
    let quote = block_on(async {
        rpc.view(RENTALS, &IRentals::quoteOfCall { rental: id.get() }).await.unwrap()
    });
    assert_eq!(quote.earns, 1, "vesting");
    // As much as its blocks need to vest; on a devnet this young a product is worth many blocks, and of
    // what mined no more counts than certificates bear out.
    let needed: u128 = won
        .iter()
        .map(|block| block["difficulty"].as_str().unwrap().parse::<u128>().unwrap())
        .sum();
    assert!(on_chain.best.workMacs >= needed && needed > 0, "{} {won:?}", on_chain.best.workMacs);
    let described: Value = devnet.json(&["describe", &rental]);
    assert_eq!(
        u128::from(described["host"]["signed"]["work_macs"].as_u64().unwrap()),
        on_chain.best.workMacs
    );
    devnet.check_supply(&[]);
    devnet.check_clean(&devnet.doors["machine"]);
}
