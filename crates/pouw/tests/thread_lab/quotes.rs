//! Quotes that are not what was agreed: the ledger opens none of them.

use alloy_primitives::{Address, Bytes};
use alloy_signer::SignerSync;
use alloy_sol_types::SolCall;
use pouw::client::rpc::RpcError;
use pouw::client::sender::{Order, SendError, Sender};
use pouw::session::devnet_key;
use pouw_agent::door::{Client, QuoteReply, QuoteRequest};
use pouw_types::contracts::{IRentals, Quote, RENTALS};
use pouw_types::signing::{Signable, SignedQuote};
use pouw_types::{Amount, Network};

use crate::devnet::{Devnet, block_on};

/// A fresh quote of the devnet's host for the example, and the deposit of its plan.
fn quoted(devnet: &Devnet) -> (QuoteReply, Amount) {
    let free = |plan: &serde_json::Value| plan["units"] == 1;
    let plan = devnet.wait_for(&["plan", &crate::devnet::hello()], "free machine", free);
    let request = QuoteRequest {
        task: serde_json::from_value(plan["task"].clone()).unwrap(),
        client: devnet_key(0).unwrap().address(),
        units: 1,
        continues: None,
    };
    let door = Client::new(devnet.doors["host"].as_str().unwrap(), None).unwrap();
    let reply = block_on(door.quote(&request)).unwrap();
    (reply, plan["deposit"].as_str().unwrap().parse().unwrap())
}

fn open(devnet: &Devnet, quote: &SignedQuote, deposit: Amount) -> Result<(), SendError> {
    let (value, signature) = (quote.value.clone(), quote.signature.clone());
    let signer = Address::repeat_byte(0x51);
    let call = IRentals::openCall { quote: value, signature, signer };
    let order = Order { to: RENTALS, value: deposit, data: call.abi_encode().into() };
    let sender = Sender::new(devnet_key(0).unwrap(), Network::devnet().chain_id);
    let rpc = devnet.rpc();
    block_on(async { sender.execute(&rpc, &order).await.map(|_| ()) })
}

fn check_refused(devnet: &Devnet, quote: &SignedQuote, deposit: Amount, expected: &str) {
    match open(devnet, quote, deposit) {
        Err(SendError::Rpc(RpcError::Refused { message, .. })) => {
            assert!(message.contains(expected), "{message}, expected {expected}");
        }
        other => panic!("{other:?}, expected {expected}"),
    }
}

/// Signed by the machine itself, as only a host that lies or is late could.
fn signed_by_machine(devnet: &Devnet, value: Quote) -> SignedQuote {
    let key = pouw_vault::load_or_create(&devnet.path("net/host/machine.key")).unwrap();
    let signature = key.sign_hash_sync(&value.digest(Network::devnet().chain_id)).unwrap();
    let signature: Bytes = signature.as_bytes().to_vec().into();
    SignedQuote { value, signature }
}

/// An altered, an expired and a replayed quote open nothing, and say why.
pub(crate) fn an_altered_expired_or_replayed_quote_opens_nothing(devnet: &Devnet) {
    let (reply, deposit) = quoted(devnet);
    let client = devnet_key(0).unwrap().address();
    let mut altered = reply.quote.clone();
    altered.value.rates.activeSecond = 1;
    check_refused(devnet, &altered, deposit, "R-2");

    let mut old = reply.quote.value.clone();
    for time in [&mut old.issuedAt, &mut old.expires, &mut old.startBy, &mut old.endBy] {
        *time -= 1_300;
    }
    check_refused(devnet, &signed_by_machine(devnet, old), deposit, "R-3");
    let mut long = reply.quote.value.clone();
    long.expires = long.issuedAt + 301;
    check_refused(devnet, &signed_by_machine(devnet, long), deposit, "R-2");

    open(devnet, &reply.quote, deposit).unwrap();
    check_refused(devnet, &reply.quote, deposit, "R-2");
    // The client who opened by mistake ends it before anything ran: all of it comes back.
    let rental = reply.quote.rental(Network::devnet().chain_id);
    let reason = IRentals::Reason::NotStarted;
    let close = IRentals::closeCall { rental: rental.get(), reason, keepS: 0 };
    let order = Order { to: RENTALS, value: Amount::ZERO, data: close.abi_encode().into() };
    let sender = Sender::new(devnet_key(0).unwrap(), Network::devnet().chain_id);
    let rpc = devnet.rpc();
    block_on(async { sender.execute(&rpc, &order).await.map(|_| ()) }).unwrap();
    let ended = devnet.on_chain(&rental.to_string());
    assert_eq!((ended.client, ended.money.paid), (client, 0));
    // Replayed after its end it is as dead.
    check_refused(devnet, &reply.quote, deposit, "R-2");
}
