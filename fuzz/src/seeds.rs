//! Writes what fuzzing starts from: `seeds FOLDER REPOSITORY` puts valid inputs, made by the
//! crates themselves and by the repository's examples, into a folder for each target.

use std::fs;
use std::path::Path;

use alloy_consensus::{
    EthereumTxEnvelope, SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxLegacy,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use pouw_chain::{Chain, Options};
use pouw_consensus::Solver;
use pouw_mining::{Anchor, Answer, Core, Difficulty, FromHost, FromTask, Work};
use pouw_types::Network;
use pouw_types::contracts::{IHosts, IRentals};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(repository)) = (arguments.next(), arguments.next()) else {
        return Err("usage: seeds FOLDER REPOSITORY".into());
    };
    let (folder, repository) = (Path::new(&folder), Path::new(&repository));
    let key = PrivateKeySigner::from_bytes(&keccak256("fuzz"))?;
    for transaction in transactions(&key)? {
        seed(folder, "transaction", &transaction)?;
        let text = format!("0x{}", alloy_primitives::hex::encode(&transaction));
        request(folder, "eth_sendRawTransaction", &serde_json::json!([text]))?;
    }
    blocks(folder)?;
    certificates(folder, &repository.join("crates/matmul/vectors/mx8.json"))?;
    tasks(folder, &repository.join("examples"))?;
    let password = pouw_vault::Password::new("fuzz".to_owned());
    let keystore = pouw_vault::Keystore::lock(&key, &password, pouw_vault::ScryptCost::LIGHT)?;
    seed(folder, "keystore", &serde_json::to_vec(&keystore)?)?;
    requests(folder, &key)?;
    calls(folder, &key)?;
    messages(folder)?;
    mining(folder)?;
    names(folder)
}

/// A file named by its content, so that writing it again changes nothing.
fn seed(folder: &Path, target: &str, content: &[u8]) -> Outcome<()> {
    let folder = folder.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(alloy_primitives::hex::encode(&keccak256(content)[..8])), content)?;
    Ok(())
}

fn transactions(key: &PrivateKeySigner) -> Outcome<Vec<Vec<u8>>> {
    let (chain_id, to) = (Network::devnet().chain_id, TxKind::Call(Address::repeat_byte(1)));
    let (value, input) = (U256::from(1), Bytes::from_static(&[1, 0, 2]));
    let legacy =
        TxLegacy { chain_id: Some(chain_id), gas_price: 1, to, value, ..TxLegacy::default() };
    let listed = TxEip2930 {
        chain_id,
        gas_price: 1,
        to,
        value,
        input: input.clone(),
        ..TxEip2930::default()
    };
    let dynamic =
        TxEip1559 { chain_id, max_fee_per_gas: 2, to, value, input, ..TxEip1559::default() };
    let legacy_signature = key.sign_hash_sync(&legacy.signature_hash())?;
    let listed_signature = key.sign_hash_sync(&listed.signature_hash())?;
    let dynamic_signature = key.sign_hash_sync(&dynamic.signature_hash())?;
    let envelopes: [EthereumTxEnvelope<TxEip4844>; 3] = [
        legacy.into_signed(legacy_signature).into(),
        listed.into_signed(listed_signature).into(),
        dynamic.into_signed(dynamic_signature).into(),
    ];
    Ok(envelopes.iter().map(Encodable2718::encoded_2718).collect())
}

fn certificates(folder: &Path, vectors: &Path) -> Outcome<()> {
    let vectors: serde_json::Value = serde_json::from_slice(&fs::read(vectors)?)?;
    for case in vectors["cases"].as_array().ok_or("no cases among the vectors")? {
        let text = case["certificate"].as_str().ok_or("a case without a certificate")?;
        let certificate = alloy_primitives::hex::decode(text)?;
        seed(folder, "certificate", &certificate)?;
        seed(folder, "mining", &FromTask::Win(1, certificate).encode())?;
    }
    Ok(())
}

/// What either side of a mining socket says, alone and in a row.
fn mining(folder: &Path) -> Outcome<()> {
    let difficulty = Difficulty::new(1 << 18)?;
    let work = |count: u8| Work {
        id: 7,
        core: Core([3; 32]),
        difficulty,
        ancestors: (0..count).map(|place| Anchor([place; 32])).collect(),
    };
    let mut all = Vec::new();
    for message in [
        FromHost::Work(work(1)),
        FromHost::Work(work(16)),
        FromHost::Idle,
        FromHost::Answer(7, Answer::Stale),
    ] {
        seed(folder, "mining", &message.encode())?;
        all.extend(message.encode());
    }
    seed(folder, "mining", &all)?;
    let said = [FromTask::Mined(1), FromTask::Mined(1 << 40), FromTask::Win(7, vec![1; 40])];
    seed(folder, "mining", &said.iter().flat_map(FromTask::encode).collect::<Vec<u8>>())
}

fn blocks(folder: &Path) -> Outcome<()> {
    let network = Network::devnet();
    let chain = Chain::in_memory(Options::new(network))?;
    let template = chain.template(Address::repeat_byte(7))?;
    let solver = Solver::new(network.lane_zero.n, network.lane_zero.k)?;
    let block = template.seal(&solver, u64::MAX).ok_or("no block was found")?;
    seed(folder, "block", &block.encode())?;
    seed(folder, "block", &block.header.encode())?;
    let standing = &chain.head().standing;
    seed(folder, "block", &standing.encode_state())
}

fn tasks(folder: &Path, examples: &Path) -> Outcome<()> {
    for example in fs::read_dir(examples)? {
        let path = example?.path().join("task.yaml");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        seed(folder, "task", text.as_bytes())?;
        if let Ok(valid) = pouw_spec::Task::from_yaml("task.yaml", &text) {
            seed(folder, "task", &valid.task.canonical())?;
        }
    }
    Ok(())
}

fn request(folder: &Path, method: &str, params: &serde_json::Value) -> Outcome<()> {
    let request =
        serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    seed(folder, "rpc", request.to_string().as_bytes())
}

fn requests(folder: &Path, key: &PrivateKeySigner) -> Outcome<()> {
    let (address, hash) = (key.address(), B256::repeat_byte(1));
    for method in pouw_api::RPC_METHODS {
        for params in [
            serde_json::json!([]),
            serde_json::json!(["latest", false]),
            serde_json::json!([address, "latest"]),
            serde_json::json!([hash, true]),
        ] {
            request(folder, method, &params)?;
        }
    }
    let call = serde_json::json!({ "from": address, "to": address, "value": "0x1", "data": "0x" });
    request(folder, "eth_call", &serde_json::json!([call, "latest"]))?;
    request(folder, "eth_estimateGas", &serde_json::json!([call]))?;
    request(folder, "eth_feeHistory", &serde_json::json!(["0x1", "latest", [10, 50.5]]))?;
    let filter = serde_json::json!({
        "fromBlock": "0x0", "toBlock": "latest", "address": [address], "topics": [null, [hash]]
    });
    request(folder, "eth_getLogs", &serde_json::json!([filter]))?;
    seed(folder, "rpc", br#"[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0"}]"#)
}

/// The first byte chooses contract and value.
fn calls(folder: &Path, key: &PrivateKeySigner) -> Outcome<()> {
    // Arguments as wide as any of them: the decoder takes them apart or refuses.
    let words = |selector: [u8; 4]| [&selector[..], &[0; 32 * 24]].concat();
    let with = |choice: u8, data: &[u8]| [&[choice], data].concat();
    for selector in IHosts::IHostsCalls::SELECTORS {
        seed(folder, "call", &with(0, &words(*selector)))?;
        seed(folder, "call", &with(2, &words(*selector)))?;
    }
    for selector in IRentals::IRentalsCalls::SELECTORS {
        seed(folder, "call", &with(1, &words(*selector)))?;
        seed(folder, "call", &with(3, &words(*selector)))?;
    }
    let view = IHosts::machineOfCall { machine: key.address() };
    seed(folder, "call", &with(0, &view.abi_encode()))
}

#[cfg(feature = "net")]
fn messages(folder: &Path) -> Outcome<()> {
    use alloy_primitives::B256;
    use pouw_net::wire::{Hello, Message, PROTOCOL, Part, Tip};
    use pouw_net::{Contact, PeerId};
    let (hash, raw) = (B256::repeat_byte(1), Bytes::from_static(&[1, 2, 3]).0);
    let tip = Tip { id: hash, height: 1, weight: U256::from(1) };
    let addresses = vec!["127.0.0.1:7373".parse()?, "[::1]:7373".parse()?];
    let contact = Contact { peer: PeerId::new([1; 32]), addresses: addresses.clone() };
    let chain_id = Network::devnet().chain_id;
    let hello = Hello { protocol: PROTOCOL, chain_id, genesis: hash, tip, addresses };
    let mut all = Vec::new();
    for message in [
        Message::Hello(hello),
        Message::Announce { tip, header: raw.clone() },
        Message::GetHeaders(vec![hash, B256::ZERO]),
        Message::Headers(vec![raw.clone(), raw.clone()]),
        Message::GetParts(vec![Part::Body(hash), Part::Certificate(hash)]),
        Message::Part(Part::Body(hash), raw.clone()),
        Message::Missing(Part::Certificate(hash)),
        Message::Waiting(vec![hash]),
        Message::GetTransactions(vec![hash]),
        Message::Transactions(vec![raw]),
        Message::GetContacts,
        Message::Contacts(vec![contact]),
    ] {
        seed(folder, "message", &message.encode())?;
        all.extend(message.encode());
    }
    seed(folder, "message", &all)
}

#[cfg(not(feature = "net"))]
fn messages(_: &Path) -> Outcome<()> {
    Ok(())
}

fn names(folder: &Path) -> Outcome<()> {
    seed(
        folder,
        "names",
        b"http://127.0.0.1:9000\nus-east-1\nbucket\nprefix/of/it\nframes/0001.png",
    )?;
    let url = b"http://127.0.0.1:9000/bucket/key?X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-Signature=00";
    seed(folder, "names", url)?;
    #[cfg(feature = "data")]
    seed(folder, "names", &pouw_data::Manifest::new(Vec::new())?.to_json())?;
    Ok(())
}
