"""An unmodified web3.py against a node: `run web3 http://127.0.0.1:8545/rpc` says how.

POUW_RPC_URL: the node. POUW_KEY: private key of a funded account. POUW_SOL: our ABI's source.
It funds an account of its own, so that amounts can be compared to the last digit whatever else
the node does.
"""

import asyncio
import os
import re

from eth_account import Account
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import ContractLogicError, Web3RPCError

HOSTS = Web3.to_checksum_address("0x0000000000000000000000000000000000706f01")
RENTALS = Web3.to_checksum_address("0x0000000000000000000000000000000000706f02")
DEADLINE_S = 60

URL = os.environ["POUW_RPC_URL"]
with open(os.environ["POUW_SOL"], encoding="utf-8") as file:
    SOURCE = file.read()


def fields(text):
    """ABI entries of a parameter list of elementary types."""
    entries = []
    for one in filter(None, (part.strip() for part in text.split(","))):
        words = one.split()
        entry = {"type": words[0], "name": words[-1]}
        if "indexed" in words:
            entry["indexed"] = True
        entries.append(entry)
    return entries


def function(name):
    """The ABI of a function of ours."""
    inputs, modifiers, outputs = re.search(
        rf"function {name}\(([^)]*)\)([^;(]*)(?:\(([^)]*)\))?;", SOURCE
    ).groups()
    kinds = [kind for kind in ("view", "payable") if kind in modifiers]
    return {
        "type": "function",
        "name": name,
        "inputs": fields(inputs),
        "outputs": fields(outputs or ""),
        "stateMutability": kinds[0] if kinds else "nonpayable",
    }


def event(name):
    """The ABI of an event of ours."""
    inputs = re.search(rf"event {name}\(([^)]*)\);", SOURCE).group(1)
    inputs = [{"indexed": False, **entry} for entry in fields(inputs)]
    return {"type": "event", "name": name, "inputs": inputs, "anonymous": False}


def main():
    """Everything over HTTP, then a subscription."""
    w3 = Web3(Web3.HTTPProvider(URL))
    assert w3.is_connected()
    chain_id = w3.eth.chain_id
    assert w3.net.version == str(chain_id)
    assert w3.client_version.startswith("pouw")
    assert w3.eth.syncing is False
    assert w3.eth.accounts == []
    funder = Account.from_key(os.environ["POUW_KEY"])
    alice, bob, machine = Account.create(), Account.create(), Account.create()

    history = w3.eth.fee_history(5, "latest", [25, 75])
    assert len(history["reward"]) == len(history["baseFeePerGas"]) - 1
    assert w3.eth.gas_price > w3.eth.max_priority_fee > 0

    def send(account, **fields_of):
        tx = {
            "from": account.address,
            "chainId": chain_id,
            "nonce": w3.eth.get_transaction_count(account.address, "pending"),
            "maxPriorityFeePerGas": w3.eth.max_priority_fee,
            **fields_of,
        }
        tx["maxFeePerGas"] = 2 * w3.eth.get_block("latest")["baseFeePerGas"] + tx["maxPriorityFeePerGas"]
        tx.setdefault("gas", w3.eth.estimate_gas(tx))
        signed = account.sign_transaction(tx)
        tx_hash = w3.eth.send_raw_transaction(signed.raw_transaction)
        assert tx_hash == signed.hash, "transaction hashes are Ethereum's"
        receipt = w3.eth.wait_for_transaction_receipt(tx_hash, timeout=DEADLINE_S, poll_latency=0.2)
        return receipt, signed

    blocks = w3.eth.filter("latest")
    pending = w3.eth.filter("pending")

    # Money moves, exactly.
    send(funder, to=alice.address, value=w3.to_wei(30, "ether"))
    assert w3.eth.get_balance(alice.address) == w3.to_wei(30, "ether")
    receipt, signed = send(alice, to=bob.address, value=w3.to_wei("1.25", "ether"))
    assert receipt["status"] == 1
    paid = receipt["gasUsed"] * receipt["effectiveGasPrice"]
    assert w3.eth.get_balance(bob.address) == w3.to_wei("1.25", "ether")
    assert w3.eth.get_balance(alice.address) == w3.to_wei("28.75", "ether") - paid
    assert w3.eth.get_balance(bob.address, receipt["blockNumber"] - 1) == 0
    assert w3.eth.get_transaction_count(alice.address) == 1

    # The transaction, its block, both ways.
    tx = w3.eth.get_transaction(receipt["transactionHash"])
    assert tx["from"] == alice.address and tx["blockHash"] == receipt["blockHash"]
    block = w3.eth.get_block(receipt["blockHash"], full_transactions=True)
    assert any(one["hash"] == tx["hash"] for one in block["transactions"])
    by_number = w3.eth.get_block(receipt["blockNumber"])
    assert by_number["hash"] == block["hash"] and tx["hash"] in by_number["transactions"]
    assert w3.eth.get_block_receipts(receipt["blockNumber"])[receipt["transactionIndex"]]["status"] == 1

    # The filters that web3.py polls.
    assert receipt["blockHash"] in blocks.get_new_entries()
    assert tx["hash"] in pending.get_new_entries()
    assert w3.eth.uninstall_filter(blocks.filter_id)

    # Contracts: views, a call that logs, a call that is refused.
    rentals = w3.eth.contract(address=RENTALS, abi=[function("totals")])
    names = [output["name"] for output in function("totals")["outputs"]]
    totals = dict(zip(names, rentals.functions.totals().call(), strict=True))
    held = sum(totals[name] for name in ("escrows", "bonds", "stakes", "pool", "immature"))
    assert totals["genesisSupply"] + totals["subsidies"] - totals["burned"] > held
    assert len(w3.eth.get_code(RENTALS)) > 0 and len(w3.eth.get_code(bob.address)) == 0
    assert int.from_bytes(w3.eth.get_storage_at(RENTALS, 0), "big") == 0

    hosts = w3.eth.contract(address=HOSTS, abi=[function("register"), function("setUnits"), event("Registered")])
    registration = machine.sign_typed_data(
        {"name": "pouw", "version": "1", "chainId": chain_id, "verifyingContract": RENTALS},
        {"Registration": [{"name": "machine", "type": "address"}, {"name": "operator", "type": "address"}]},
        {"machine": machine.address, "operator": alice.address},
    )
    register = hosts.functions.register(
        machine.address, 2, alice.address, alice.address, b"\x11" * 32, registration.signature
    )
    wanted = hosts.events.Registered.create_filter(from_block="latest", argument_filters={"machine": machine.address})
    receipt, signed = send(alice, to=HOSTS, value=w3.to_wei(20, "ether"), data=register._encode_transaction_data())
    assert receipt["status"] == 1 and len(receipt["logs"]) == 1
    logs = hosts.events.Registered().get_logs(
        from_block=receipt["blockNumber"], argument_filters={"operator": alice.address}
    )
    assert [log["args"]["machine"] for log in logs] == [machine.address]
    assert [log["args"]["bond"] for log in wanted.get_new_entries()] == [w3.to_wei(20, "ether")]
    try:
        hosts.functions.setUnits(machine.address, 1).call({"from": bob.address})
        raise AssertionError("only the operator sets units")
    except ContractLogicError as error:
        assert "revert" in str(error)

    # What cannot be sent says so.
    for raw, words in ((signed.raw_transaction, ("already known", "nonce too low")), (b"\x02\xff", ("rlp",))):
        try:
            w3.eth.send_raw_transaction(raw)
            raise AssertionError("taken twice")
        except Web3RPCError as error:
            assert any(word in str(error) for word in words), error

    # A batch in one request.
    with w3.batch_requests() as batch:
        batch.add(w3.eth.get_balance(bob.address))
        batch.add(w3.eth.get_block("latest"))
        batch.add(w3.eth.get_transaction_count(bob.address))
        balance, latest, count = batch.execute()
    assert balance == w3.to_wei("1.25", "ether") and latest["number"] > 0 and count == 0

    asyncio.run(asyncio.wait_for(subscribe(), DEADLINE_S))
    print("ok")


async def subscribe():
    """New heads over a WebSocket."""
    async with AsyncWeb3(WebSocketProvider(URL.replace("http", "ws", 1))) as w3:
        subscription = await w3.eth.subscribe("newHeads")
        async for message in w3.socket.process_subscriptions():
            assert message["result"]["number"] > 0
            break
        assert await w3.eth.unsubscribe(subscription)


main()
