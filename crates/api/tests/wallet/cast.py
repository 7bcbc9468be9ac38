"""An unmodified cast (Foundry) against a node: `run cast http://127.0.0.1:8545/rpc` says how.

POUW_RPC_URL: the node. POUW_KEY: private key of a funded account. POUW_SOL: our ABI's source. CAST: the program.
It funds an account of its own, so that amounts can be compared to the last digit whatever else the node does.
"""

import json
import os
import re
import subprocess
import tempfile

HOSTS = "0x0000000000000000000000000000000000706f01"
RENTALS = "0x0000000000000000000000000000000000706f02"
DEADLINE_S = 60
ETHER = 10**18

with open(os.environ["POUW_SOL"], encoding="utf-8") as file:
    SOURCE = file.read()


def start(*arguments):
    """Runs the program with nothing of the user's configuration."""
    with tempfile.TemporaryDirectory() as folder:
        own = {"HOME": folder, "FOUNDRY_DIR": folder, "ETH_RPC_URL": os.environ["POUW_RPC_URL"]}
        return subprocess.run(
            [os.environ["CAST"], *map(str, arguments)],
            env=os.environ | own, cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )


def cast(*arguments):
    """What a command that must succeed prints."""
    ended = start(*arguments)
    assert ended.returncode == 0, (arguments[0], ended.stdout, ended.stderr)
    return ended.stdout.strip()


def refused(*arguments):
    """What a command says that must fail."""
    ended = start(*arguments)
    assert ended.returncode != 0, (arguments[0], ended.stdout)
    return ended.stderr.lower()


def sent(*arguments):
    """The receipt of a transaction that must succeed."""
    receipt = json.loads(cast("send", "--json", *arguments))
    assert receipt["status"] == "0x1", receipt
    return receipt


def new_key():
    """A private key and its address."""
    key = json.loads(cast("wallet", "new", "--json"))
    key = key[0] if isinstance(key, list) else key
    return key["private_key"], key["address"]


def types(parameters):
    """The types of a parameter list, without names."""
    return ",".join(one.split()[0] for one in parameters.split(",") if one.strip())


def function(name):
    """A function of ours as cast names it: `name(types)(types)`."""
    inputs, outputs = re.search(rf"function {name}\(([^)]*)\)[^;(]*(?:\(([^)]*)\))?;", SOURCE).groups()
    return f"{name}({types(inputs)})" + (f"({types(outputs)})" if outputs else "")


def main():
    """Money, blocks, contracts, logs, refusals."""
    funder = os.environ["POUW_KEY"]
    chain = int(cast("chain-id"))
    assert int(cast("block-number")) >= 0 and int(cast("gas-price")) > 0
    (alice_key, alice), (_, bob), (machine_key, machine) = new_key(), new_key(), new_key()

    # Money moves, exactly; by a transaction of today and by one of old.
    sent("--private-key", funder, alice, "--value", "30ether")
    assert cast("balance", "--ether", alice) == "30.000000000000000000"
    paid = sent("--private-key", alice_key, bob, "--value", "1.25ether")
    fee = int(paid["gasUsed"], 16) * int(paid["effectiveGasPrice"], 16)
    assert int(cast("balance", bob)) == 5 * ETHER // 4
    assert int(cast("balance", alice)) == 115 * ETHER // 4 - fee
    assert cast("nonce", alice) == "1"
    block = json.loads(cast("block", "--json", int(paid["blockNumber"], 16)))
    assert block["hash"] == paid["blockHash"] and paid["transactionHash"] in block["transactions"]
    found = json.loads(cast("tx", "--json", paid["transactionHash"]))
    assert found["from"].lower() == alice.lower() and found["blockHash"] == block["hash"]
    assert sent("--legacy", "--private-key", alice_key, bob, "--value", "1")["type"] == "0x0"

    # The contracts: code, a view, a call that logs, a call that is refused.
    assert cast("code", RENTALS) != "0x" and cast("code", bob) == "0x"
    names = re.search(r"function totals\(\)[^(]*\(([^)]*)\)", SOURCE).group(1).split(",")
    values = json.loads(cast("call", "--json", RENTALS, function("totals")))
    totals = {name.split()[-1]: int(value) for name, value in zip(names, values, strict=True)}
    held = sum(totals[name] for name in ("escrows", "bonds", "stakes", "pool", "immature"))
    assert totals["genesisSupply"] + totals["subsidies"] - totals["burned"] > held
    registration = {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"}, {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"},
            ],
            "Registration": [{"name": "machine", "type": "address"}, {"name": "operator", "type": "address"}],
        },
        "primaryType": "Registration",
        "domain": {"name": "pouw", "version": "1", "chainId": chain, "verifyingContract": RENTALS},
        "message": {"machine": machine, "operator": alice},
    }
    signature = cast("wallet", "sign", "--private-key", machine_key, "--data", json.dumps(registration))
    registered = sent(
        "--private-key", alice_key, "--value", "20ether", HOSTS, function("register"),
        machine, 2, alice, alice, "0x" + "11" * 32, signature,
    )
    event = re.search(r"event (Registered\([^;]*\));", SOURCE).group(1)
    logs = json.loads(cast(
        "logs", "--json", "--address", HOSTS, "--from-block", int(registered["blockNumber"], 16), event, machine,
    ))
    assert [log["transactionHash"] for log in logs] == [registered["transactionHash"]], logs
    assert "revert" in refused("call", "--from", bob, HOSTS, function("setUnits"), machine, 1)

    # What can't be sent says so.
    poor_key, _ = new_key()
    why = refused("send", "--private-key", poor_key, bob, "--value", "1ether")
    assert "insufficient" in why or "balance" in why, why
    print("ok")


main()
