//! Lab: the ABI that solc makes of `Pouw.sol` is the one that the ledger answers to.
//!
//! Needs node, npm and the npm registry (or npm's cache); installs the locked solc into the
//! target folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use alloy_primitives::{hex, keccak256};
use alloy_sol_types::{SolCall, SolEvent, SolStruct, SolType, TopicList};
use pouw_types::contracts::{IHosts, IRentals, Quote};
use serde_json::{Value, json};

/// A contract's functions and events by signature.
type Interface = BTreeMap<&'static str, Value>;

/// A structure's types as a tuple, from its EIP-712 type: `A(B b,uint8 c)B(bool d)` gives
/// `((bool),uint8)`.
fn tuple(encoded: &str) -> String {
    let structures: BTreeMap<&str, &str> =
        encoded.split_terminator(')').filter_map(|one| one.split_once('(')).collect();
    let root = encoded.split('(').next().unwrap_or_default();
    expand(root, &structures)
}

fn expand(name: &str, structures: &BTreeMap<&str, &str>) -> String {
    let (plain, list) = name.strip_suffix("[]").map_or((name, ""), |plain| (plain, "[]"));
    let Some(fields) = structures.get(plain) else { return name.to_owned() };
    let types = fields.split(',').map(|field| field.split(' ').next().unwrap_or_default());
    let types: Vec<String> = types.map(|name| expand(name, structures)).collect();
    format!("({}){list}", types.join(","))
}

fn function<C: SolCall>() -> (&'static str, Value) {
    let returns = match <C::ReturnTuple<'static> as SolType>::SOL_NAME {
        "(Machine)" => format!("({})", tuple(&IHosts::Machine::eip712_encode_type())),
        "(Rental)" => format!("({})", tuple(&IRentals::Rental::eip712_encode_type())),
        "(Quote)" => format!("({})", tuple(&Quote::eip712_encode_type())),
        returns => returns.to_owned(),
    };
    (C::SIGNATURE, json!({ "selector": hex::encode(C::SELECTOR), "returns": returns }))
}

fn event<E: SolEvent>() -> (&'static str, Value) {
    assert_eq!(E::SIGNATURE_HASH, keccak256(E::SIGNATURE), "{}", E::SIGNATURE);
    (E::SIGNATURE, json!({ "topics": E::TopicList::COUNT }))
}

macro_rules! interface {
    ($contract:ident: $($call:ident)*; $($event:ident)*) => {
        (
            Interface::from([$(function::<$contract::$call>()),*]),
            Interface::from([$(event::<$contract::$event>()),*]),
        )
    };
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} doesn't start, is it installed? {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
    output.stdout
}

fn solc_abi() -> Value {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = crate_dir.join("tests/solc");
    let install = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("solc");
    std::fs::create_dir_all(&install).expect("the target folder is writable");
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(file), install.join(file)).expect("a file of this crate");
    }
    let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
    run(Command::new("npm").args(npm).current_dir(&install));
    let sol = crate_dir.join("../types/sol/Pouw.sol");
    let node = run(Command::new("node").arg(source.join("abi.js")).arg(sol).current_dir(&install));
    serde_json::from_slice(&node).expect("abi.js prints JSON")
}

#[test]
fn solc_and_the_ledger_agree_on_every_function_and_event() {
    let hosts = interface!(IHosts:
        registerCall setUnitsCall setOperatorCall setPayoutCall setMinerCall setLaneKeyCall
        setOfferCall addBondCall withdrawBondCall retireCall machineOfCall machinesOfCall;
        Registered Changed BondChanged Retired);
    let rentals = interface!(IRentals:
        openCall readyCall settleCall topUpCall extendCall setSignerCall callCall answerCall
        answerWithReceiptCall giveNoticeCall closeCall stopCall claimCall finalizeCall
        rentalOfCall quoteOfCall activeOfCall marksOfCall totalsCall;
        Opened MadeReady Settled ToppedUp Extended SignerChanged Called Answered Noticed
        ClosingStarted ClaimMade Finalized);
    let ours = json!({
        "IHosts": { "functions": hosts.0, "events": hosts.1 },
        "IRentals": { "functions": rentals.0, "events": rentals.1 },
    });
    let theirs = solc_abi();
    assert_eq!(ours, theirs);
}
