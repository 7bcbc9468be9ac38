//! Each JSON-RPC method, over HTTP.

use alloy_consensus::TxLegacy;
use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256};
use alloy_sol_types::SolCall as _;
use pouw_api::{Config, RPC_METHODS};
use pouw_types::contracts::{HOSTS, IRentals, RENTALS};
use serde_json::{Value, json};

use crate::client::{Server, account, sign, signed, transfer};

const BOB: Address = Address::repeat_byte(0xb0);

fn top_up() -> Bytes {
    IRentals::topUpCall { rental: keccak256("rental") }.abi_encode().into()
}

/// Block 1: a transfer and a call that logs. Block 2: empty.
async fn two_blocks() -> (Server, String, String) {
    let server = Server::start().await;
    let transfer = server.send(0, BOB, Bytes::new()).await;
    let call = server.send(1, RENTALS, top_up()).await;
    server.node.mine();
    server.node.mine();
    (server, transfer, call)
}

#[tokio::test]
async fn a_wallet_learns_where_it_is() {
    let server = Server::start().await;
    let check = async |method: &str, expected: Value| {
        assert_eq!(server.rpc(method, json!([])).await, Ok(expected), "{method}");
    };
    check("eth_chainId", json!("0xbbb86")).await;
    check("net_version", json!("768902")).await;
    check("net_listening", json!(true)).await;
    check("eth_syncing", json!(false)).await;
    check("eth_accounts", json!([])).await;
    check("eth_blockNumber", json!("0x0")).await;
    check("web3_clientVersion", json!("pouw-memory/0.1.0")).await;
    check("rpc_modules", json!({"eth": "1.0", "net": "1.0", "rpc": "1.0", "web3": "1.0"})).await;
    let hash = server.rpc("web3_sha3", json!(["0x68656c6c6f"])).await;
    assert_eq!(hash, Ok(json!(keccak256("hello"))));
}

/// What MetaMask asks before it adds a network, and while it shows one.
#[tokio::test]
async fn a_wallet_that_adds_the_network_gets_what_it_looks_for() {
    let (server, hash, _) = two_blocks().await;
    let ask = async |method: &str, params: Value| server.rpc(method, params).await.unwrap();
    assert_eq!(ask("eth_chainId", json!(null)).await, "0xbbb86", "params may be left out");
    // EIP-1559 is there if the newest block has a base fee.
    let block = ask("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(block["baseFeePerGas"], "0x3b9aca00");
    for field in ["number", "hash", "parentHash", "timestamp", "gasLimit", "gasUsed", "miner"] {
        assert!(block[field].is_string(), "{field} of {block}");
    }
    let history = ask("eth_feeHistory", json!(["0x5", "latest", [10, 50, 95]])).await;
    assert_eq!(history["oldestBlock"], "0x0");
    assert_eq!(history["baseFeePerGas"].as_array().map(Vec::len), Some(4), "and the next one's");
    assert_eq!(history["gasUsedRatio"].as_array().map(Vec::len), Some(3));
    let rewards = history["reward"].as_array().unwrap();
    assert!(rewards.iter().all(|block| block.as_array().map(Vec::len) == Some(3)), "{history}");
    // A recipient without code is sent to with the gas of a transfer.
    assert_eq!(ask("eth_getCode", json!([BOB, "latest"])).await, "0x");
    let transfer = json!({"from": account(0).address(), "to": BOB, "value": "0x1", "data": "0x"});
    assert_eq!(ask("eth_estimateGas", json!([transfer, "latest"])).await, "0x5208");
    // Token and name lookups call addresses that have no contract.
    let lookup = json!({"to": BOB, "data": "0x70a08231"});
    assert_eq!(ask("eth_call", json!([lookup, "latest"])).await, "0x");
    let receipt = ask("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!((&receipt["status"], &receipt["type"]), (&json!("0x1"), &json!("0x2")));
    for tag in ["safe", "finalized", "earliest", "pending"] {
        let block = ask("eth_getBlockByNumber", json!([tag, false])).await;
        assert!(block["number"].is_string(), "{tag}: {block}");
    }
}

#[tokio::test]
async fn what_has_no_meaning_here_is_refused_with_the_reason() {
    let server = Server::start().await;
    for (method, reason) in [
        ("eth_getProof", "jellyfish"),
        ("eth_blobBaseFee", "no blobs"),
        ("eth_createAccessList", "eth_estimateGas"),
        ("eth_getWork", "miner"),
        ("debug_traceTransaction", "no EVM"),
        ("trace_block", "no EVM"),
        ("eth_sendTransaction", "eth_sendRawTransaction"),
        ("eth_sign", "eth_sendRawTransaction"),
        ("personal_sign", "eth_sendRawTransaction"),
    ] {
        let error = server.rpc(method, json!([])).await.unwrap_err();
        assert_eq!(error["code"], -32004, "{method}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(method) && message.contains(reason), "{message}");
    }
}

#[tokio::test]
async fn every_listed_method_exists() {
    let server = Server::start().await;
    for method in RPC_METHODS {
        if let Err(error) = server.rpc(method, json!([])).await {
            assert_ne!(error["code"], -32601, "{method}: {error}");
        }
    }
}

#[tokio::test]
async fn money_moves_and_shows() {
    let (server, hash, _) = two_blocks().await;
    let balance = |block: &str| {
        let block = json!(block);
        let server = &server;
        async move { server.rpc("eth_getBalance", json!([BOB, block])).await }
    };
    assert_eq!(balance("latest").await, Ok(json!("0x3e8")));
    assert_eq!(balance("0x0").await, Ok(json!("0x0")));
    assert_eq!(balance("earliest").await, Ok(json!("0x0")));
    assert_eq!(balance("safe").await, Ok(json!("0x0")), "six blocks behind");
    assert_eq!(balance("finalized").await, Ok(json!("0x0")));
    let error = balance("0x63").await.unwrap_err();
    assert_eq!(error["code"], -32000);

    let receipt = server.rpc("eth_getTransactionReceipt", json!([hash])).await.unwrap();
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(receipt["type"], "0x2");
    assert_eq!(receipt["blockNumber"], "0x1");
    assert_eq!(receipt["gasUsed"], "0x5208");
    assert_eq!(receipt["effectiveGasPrice"], "0x3b9acde8", "base fee and tip");
    assert_eq!(receipt["to"], json!(BOB));
    assert_eq!(receipt["contractAddress"], Value::Null);

    let tx = server.rpc("eth_getTransactionByHash", json!([hash])).await.unwrap();
    assert_eq!(tx["from"], json!(account(0).address()));
    assert_eq!(tx["value"], "0x3e8");
    assert_eq!(tx["blockHash"], receipt["blockHash"]);
    assert_eq!(tx["hash"], json!(hash));
    let raw = server.rpc("eth_getRawTransactionByHash", json!([hash])).await.unwrap();
    let raw: Bytes = serde_json::from_value(raw).unwrap();
    assert_eq!(json!(keccak256(&raw)), json!(hash), "transaction hashes are Ethereum's");
}

#[tokio::test]
async fn what_waits_counts_for_the_pending_nonce_only() {
    let server = Server::start().await;
    let hash = server.send(0, BOB, Bytes::new()).await;
    let from = account(0).address();
    let count = async |block: &str| {
        server.rpc("eth_getTransactionCount", json!([from, block])).await.unwrap()
    };
    assert_eq!(count("pending").await, "0x1");
    assert_eq!(count("latest").await, "0x0");
    let tx = server.rpc("eth_getTransactionByHash", json!([hash])).await.unwrap();
    assert_eq!(tx["blockNumber"], Value::Null);
    let receipt = server.rpc("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt, Ok(Value::Null));
    server.node.mine();
    assert_eq!(count("latest").await, "0x1");
    let default = server.rpc("eth_getTransactionCount", json!([from])).await;
    assert_eq!(default, Ok(json!("0x1")), "without a block, the latest");
}

#[tokio::test]
async fn blocks_are_found_by_number_tag_and_hash() {
    let (server, transfer, call) = two_blocks().await;
    let block = server.rpc("eth_getBlockByNumber", json!(["0x1", false])).await.unwrap();
    assert_eq!(block["transactions"], json!([transfer, call]));
    assert_eq!(block["number"], "0x1");
    assert_eq!(block["uncles"], json!([]));
    assert_eq!(block["baseFeePerGas"], "0x3b9aca00");
    let hash = &block["hash"];
    let by_hash = server.rpc("eth_getBlockByHash", json!([hash, false])).await.unwrap();
    assert_eq!(by_hash, block);
    let full = server.rpc("eth_getBlockByHash", json!([hash, true])).await.unwrap();
    assert_eq!(full["transactions"][0]["hash"], json!(transfer));
    assert_eq!(full["transactions"][1]["transactionIndex"], "0x1");
    for tag in ["latest", "pending"] {
        let block = server.rpc("eth_getBlockByNumber", json!([tag, true])).await.unwrap();
        assert_eq!(block["number"], "0x2", "{tag}");
    }
    let unknown = server.rpc("eth_getBlockByNumber", json!(["0x99", false])).await;
    assert_eq!(unknown, Ok(Value::Null));
    for (method, block) in [("Number", json!("0x1")), ("Hash", hash.clone())] {
        let count = format!("eth_getBlockTransactionCountBy{method}");
        assert_eq!(server.rpc(&count, json!([block])).await, Ok(json!("0x2")), "{count}");
        let uncles = format!("eth_getUncleCountByBlock{method}");
        assert_eq!(server.rpc(&uncles, json!([block])).await, Ok(json!("0x0")), "{uncles}");
        let index = format!("eth_getTransactionByBlock{method}AndIndex");
        let tx = server.rpc(&index, json!([block, "0x1"])).await.unwrap();
        assert_eq!(tx["hash"], json!(call), "{index}");
        assert_eq!(server.rpc(&index, json!([block, "0x2"])).await, Ok(Value::Null), "{index}");
    }
    let receipts = server.rpc("eth_getBlockReceipts", json!(["0x1"])).await.unwrap();
    assert_eq!(receipts.as_array().map(Vec::len), Some(2));
    assert_eq!(receipts[1]["logs"][0]["logIndex"], "0x0");
    let by_hash = server.rpc("eth_getBlockReceipts", json!([hash])).await.unwrap();
    assert_eq!(by_hash, receipts);
}

#[tokio::test]
async fn logs_are_found_by_range_hash_address_and_topic() {
    let (server, _, call) = two_blocks().await;
    let block = server.rpc("eth_getBlockByNumber", json!(["0x1", false])).await.unwrap();
    let rental = keccak256("rental");
    let found = async |filter: Value| {
        let logs = server.rpc("eth_getLogs", json!([filter])).await?;
        Ok::<usize, Value>(logs.as_array().unwrap().len())
    };
    assert_eq!(found(json!({"fromBlock": "earliest"})).await, Ok(1));
    assert_eq!(found(json!({"fromBlock": "0x2"})).await, Ok(0));
    assert_eq!(found(json!({})).await, Ok(0), "the latest block by default");
    assert_eq!(found(json!({"fromBlock": "0x0", "toBlock": "0xffff"})).await, Ok(1));
    assert_eq!(found(json!({"fromBlock": "0x99"})).await.unwrap_err()["code"], -32602);
    assert_eq!(found(json!({"blockHash": block["hash"]})).await, Ok(1));
    assert_eq!(found(json!({"fromBlock": "0x0", "address": RENTALS})).await, Ok(1));
    assert_eq!(found(json!({"fromBlock": "0x0", "address": [HOSTS]})).await, Ok(0));
    assert_eq!(found(json!({"fromBlock": "0x0", "topics": [null, rental]})).await, Ok(1));
    assert_eq!(found(json!({"fromBlock": "0x0", "topics": [rental]})).await, Ok(0));
    assert_eq!(found(json!({"fromBlock": "0x0", "topics": [[], [rental, rental]]})).await, Ok(1));
    let inverted = found(json!({"fromBlock": "0x2", "toBlock": "0x1"})).await;
    assert_eq!(inverted.unwrap_err()["code"], -32602);
    let unknown = found(json!({"blockHash": rental})).await;
    assert_eq!(unknown.unwrap_err()["code"], -32000);
    let many: Vec<_> =
        (0..1_001_u64).map(|i| Address::left_padding_from(&i.to_be_bytes())).collect();
    assert_eq!(found(json!({"address": many})).await.unwrap_err()["code"], -32005);
    let logs = server.rpc("eth_getLogs", json!([{"fromBlock": "0x0"}])).await.unwrap();
    assert_eq!(logs[0]["transactionHash"], json!(call));
    assert_eq!(logs[0]["removed"], false);
}

#[tokio::test]
async fn log_queries_have_bounds() {
    let config = Config { log_blocks: 2, logs: 1, ..Config::default() };
    let server = Server::with(config).await;
    for nonce in 0..2 {
        server.send(nonce, RENTALS, top_up()).await;
    }
    server.node.mine();
    server.node.mine();
    let wide = server.rpc("eth_getLogs", json!([{"fromBlock": "0x0"}])).await.unwrap_err();
    assert_eq!(wide["code"], -32005, "{wide}");
    let many = server.rpc("eth_getLogs", json!([{"fromBlock": "0x1"}])).await.unwrap_err();
    assert_eq!(many["code"], -32005, "{many}");
    let hash = server.rpc("eth_getBlockByNumber", json!(["0x1"])).await.unwrap()["hash"].take();
    let many = server.rpc("eth_getLogs", json!([{"blockHash": hash}])).await.unwrap_err();
    assert_eq!(many["code"], -32005, "{many}");
}

#[tokio::test]
async fn filters_tell_what_is_new_once_and_again_after_a_reorg() {
    let server = Server::start().await;
    let new = async |method: &str, params: Value| server.rpc(method, params).await.unwrap();
    let blocks = new("eth_newBlockFilter", json!([])).await;
    let logs = new("eth_newFilter", json!([{"address": RENTALS}])).await;
    let waiting = new("eth_newPendingTransactionFilter", json!([])).await;
    let changes = async |id: &Value| {
        let changes = server.rpc("eth_getFilterChanges", json!([id])).await.unwrap();
        changes.as_array().unwrap().clone()
    };
    assert!(changes(&blocks).await.is_empty());
    let hash = server.send(0, RENTALS, top_up()).await;
    let first = server.node.mine();
    let second = server.node.mine();
    assert_eq!(changes(&blocks).await, [json!(first), json!(second)]);
    assert!(changes(&blocks).await.is_empty(), "told once");
    let told = changes(&logs).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["transactionHash"], json!(hash));
    assert!(changes(&logs).await.is_empty(), "told once");
    assert_eq!(changes(&waiting).await, [json!(hash)]);
    server.node.unmine();
    server.node.unmine();
    let other = server.node.mine();
    assert_ne!(other, first);
    assert_eq!(changes(&blocks).await, [json!(other)]);
    assert_eq!(changes(&logs).await.len(), 1, "again, from the other block");
    let all = server.rpc("eth_getFilterLogs", json!([logs])).await.unwrap();
    assert_eq!(all.as_array().map(Vec::len), Some(1));
    assert!(server.rpc("eth_getFilterLogs", json!([blocks])).await.is_err());
    assert_eq!(server.rpc("eth_uninstallFilter", json!([logs])).await, Ok(json!(true)));
    assert_eq!(server.rpc("eth_uninstallFilter", json!([logs])).await, Ok(json!(false)));
    let gone = server.rpc("eth_getFilterChanges", json!([logs])).await.unwrap_err();
    assert_eq!(gone["message"], "filter not found");
}

#[tokio::test]
async fn filters_are_bounded_and_expire() {
    let config = Config { filters: 2, ..Config::default() };
    let server = Server::with(config).await;
    for _ in 0..2 {
        assert!(server.rpc("eth_newBlockFilter", json!([])).await.is_ok());
    }
    let full = server.rpc("eth_newBlockFilter", json!([])).await.unwrap_err();
    assert_eq!(full["code"], -32005);

    let config = Config { filters: 2, filter_ttl: std::time::Duration::ZERO, ..Config::default() };
    let server = Server::with(config).await;
    let id = server.rpc("eth_newBlockFilter", json!([])).await.unwrap();
    let expired = server.rpc("eth_getFilterChanges", json!([id])).await.unwrap_err();
    assert_eq!(expired["message"], "filter not found");
    for _ in 0..5 {
        assert!(server.rpc("eth_newBlockFilter", json!([])).await.is_ok(), "old ones make room");
    }
}

#[tokio::test]
async fn calls_answer_or_say_why_they_revert() {
    let (server, _, _) = two_blocks().await;
    let totals = Bytes::from(IRentals::totalsCall {}.abi_encode());
    let call = json!({"to": RENTALS, "data": totals});
    for block in [json!("latest"), json!({"blockNumber": "0x1"}), json!(null)] {
        let answer = server.rpc("eth_call", json!([call, block])).await.unwrap();
        let answer: Bytes = serde_json::from_value(answer).unwrap();
        let answer = IRentals::totalsCall::abi_decode_returns(&answer).unwrap();
        assert_eq!(answer.escrows, U256::from(1_000));
    }
    let same = json!({"to": RENTALS, "input": totals, "data": totals});
    assert!(server.rpc("eth_call", json!([same])).await.is_ok(), "data and input agree");
    let differ = json!({"to": RENTALS, "input": totals, "data": "0x00"});
    assert_eq!(server.rpc("eth_call", json!([differ])).await.unwrap_err()["code"], -32602);
    let overrides = json!([call, "latest", {BOB.to_string(): {"balance": "0x1"}}]);
    assert_eq!(server.rpc("eth_call", overrides).await.unwrap_err()["code"], -32602);

    let reverted = server.rpc("eth_call", json!([{"to": HOSTS, "data": "0x12345678"}])).await;
    let error = reverted.unwrap_err();
    assert_eq!(error["code"], 3);
    assert_eq!(error["message"], "execution reverted: unknown method");
    assert!(error["data"].as_str().unwrap().starts_with("0x08c379a0"), "Error(string)");
    let create = server.rpc("eth_call", json!([{"data": "0x6000"}])).await.unwrap_err();
    assert_eq!(create["code"], -32000, "{create}");
}

#[tokio::test]
async fn gas_is_estimated_or_refused_for_a_reason() {
    let server = Server::start().await;
    let from = account(0).address();
    let gas = async |call: Value| server.rpc("eth_estimateGas", json!([call])).await;
    assert_eq!(gas(json!({"from": from, "to": BOB, "value": "0x1"})).await, Ok(json!("0x5208")));
    let call = json!({"from": from, "to": RENTALS, "data": top_up()});
    assert_eq!(gas(call).await, Ok(json!("0xc350")));
    let poor = gas(json!({"from": BOB, "to": from, "value": "0x1"})).await.unwrap_err();
    assert!(poor["message"].as_str().unwrap().starts_with("insufficient funds for gas"), "{poor}");
    let reverted = gas(json!({"from": from, "to": RENTALS, "data": "0x"})).await.unwrap_err();
    assert_eq!(reverted["code"], 3);
}

#[tokio::test]
async fn system_contracts_have_code_and_nobody_has_storage() {
    let server = Server::start().await;
    let code = async |address: Address| server.rpc("eth_getCode", json!([address, "latest"])).await;
    assert_eq!(code(HOSTS).await, code(RENTALS).await);
    assert!(code(RENTALS).await.unwrap().as_str().unwrap().starts_with("0xfe"));
    assert_eq!(code(BOB).await, Ok(json!("0x")));
    let slot = server.rpc("eth_getStorageAt", json!([RENTALS, "0x0", "latest"])).await;
    assert_eq!(slot, Ok(json!(format!("0x{}", "0".repeat(64)))));
    let unknown = server.rpc("eth_getCode", json!([BOB, "0x99"])).await.unwrap_err();
    assert_eq!(unknown["code"], -32000);
}

#[tokio::test]
async fn fees_have_a_history_and_a_suggestion() {
    let (server, _, _) = two_blocks().await;
    let tip = server.rpc("eth_maxPriorityFeePerGas", json!([])).await;
    assert_eq!(tip, Ok(json!("0x5f5e100")), "never below a tenth of the least base fee");
    let price = server.rpc("eth_gasPrice", json!([])).await;
    assert_eq!(price, Ok(json!("0x4190ab00")), "with the base fee");
    let ask = json!(["0x2", "latest", [25.0, 75.0]]);
    let history = server.rpc("eth_feeHistory", ask).await.unwrap();
    assert_eq!(history["oldestBlock"], "0x1");
    assert_eq!(history["baseFeePerGas"].as_array().map(Vec::len), Some(3), "and the next");
    assert_eq!(history["reward"], json!([["0x3e8", "0x3e8"], ["0x0", "0x0"]]));
    let used = history["gasUsedRatio"][0].as_f64().unwrap();
    assert!((used - 71_000.0 / 60e6).abs() < 1e-9, "{used}");
    let all = server.rpc("eth_feeHistory", json!([9_999, "latest"])).await.unwrap();
    assert_eq!(all["oldestBlock"], "0x0", "a plain number, more than there is");
    assert!(all.get("reward").is_none_or(Value::is_null));
    let old = server.rpc("eth_feeHistory", json!(["0x1", "0x1", []])).await.unwrap();
    assert_eq!(old["baseFeePerGas"].as_array().map(Vec::len), Some(2));
    let beyond = server.rpc("eth_feeHistory", json!(["0x1", "0x99"])).await.unwrap_err();
    assert_eq!(beyond["code"], -32000);
    let falling = server.rpc("eth_feeHistory", json!(["0x1", "latest", [75, 25]])).await;
    assert_eq!(falling.unwrap_err()["code"], -32602);
}

#[tokio::test]
async fn refused_transactions_say_why_in_words_that_clients_know() {
    let server = Server::start().await;
    let key = account(0);
    server.send(0, BOB, Bytes::new()).await;
    server.node.mine();
    server.send(1, BOB, Bytes::new()).await;
    let refused = async |raw: &Bytes, words: &str| {
        let error = server.rpc("eth_sendRawTransaction", json!([raw])).await.unwrap_err();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words), "{message} should contain {words}");
        assert_eq!(error["code"], -32000);
    };
    let with = |change: fn(&mut alloy_consensus::TxEip1559)| {
        let mut tx = transfer(1, BOB, 1, Bytes::new());
        change(&mut tx);
        sign(&key, tx)
    };
    refused(&with(|tx| tx.nonce = 0), "nonce too low").await;
    let whole = u128::MAX;
    refused(
        &signed(&key, 2, BOB, whole, Bytes::new()),
        "insufficient funds for gas * price + value",
    )
    .await;
    refused(&signed(&key, 1, BOB, 1_000, Bytes::new()), "already known").await;
    refused(&with(|tx| tx.value = U256::from(5)), "replacement transaction underpriced").await;
    refused(&with(|tx| tx.max_fee_per_gas = 1), "transaction underpriced").await;
    refused(&with(|tx| tx.chain_id = 1), "invalid chain id").await;
    refused(&with(|tx| tx.to = TxKind::Create), "not supported").await;
    refused(&Bytes::from_static(b"\x02\xff"), "rlp").await;
    refused(&Bytes::new(), "rlp").await;
    let mut behind = signed(&key, 2, BOB, 1, Bytes::new()).to_vec();
    behind.push(0);
    refused(&behind.into(), "rlp").await;
    let hex = server.rpc("eth_sendRawTransaction", json!(["0xzz"])).await.unwrap_err();
    assert_eq!(hex["code"], -32602);
    let none = server.rpc("eth_sendRawTransaction", json!([])).await.unwrap_err();
    assert_eq!(none["code"], -32602);
}

#[tokio::test]
async fn legacy_transactions_are_told_as_legacy() {
    use alloy_consensus::{SignableTransaction as _, TxEnvelope};
    use alloy_eips::eip2718::Encodable2718 as _;
    use alloy_signer::SignerSync as _;
    let server = Server::start().await;
    let tx = TxLegacy {
        chain_id: Some(768_902),
        gas_price: 1_500_000_000,
        gas_limit: 21_000,
        to: TxKind::Call(BOB),
        value: U256::from(5),
        ..TxLegacy::default()
    };
    let signature = account(1).sign_hash_sync(&tx.signature_hash()).unwrap();
    let raw: Bytes = TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into();
    let hash = server.rpc("eth_sendRawTransaction", json!([raw])).await.unwrap();
    server.node.mine();
    let receipt = server.rpc("eth_getTransactionReceipt", json!([hash])).await.unwrap();
    assert_eq!((&receipt["type"], &receipt["status"]), (&json!("0x0"), &json!("0x1")));
    assert_eq!(receipt["effectiveGasPrice"], "0x59682f00");
    let tx = server.rpc("eth_getTransactionByHash", json!([hash])).await.unwrap();
    assert_eq!((&tx["type"], &tx["gasPrice"]), (&json!("0x0"), &json!("0x59682f00")));
}
