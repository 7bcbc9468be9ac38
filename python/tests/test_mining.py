"""Mining while computing: against a host that is honest, gone, or lying."""
import os

import numpy as np
import pouw
import pytest
import torch
from hosts import frame, until, work

EASY, NEVER = 1 << 18, 1 << 120


def int7(*shape, seed=3):
    return np.random.default_rng(seed).integers(-63, 63, shape, dtype=np.int8, endpoint=True)


def exact(a, b):
    return np.matmul(a.astype(np.int64), b.astype(np.int64))


def test_outside_a_task_it_just_computes():
    a, b = int7(1024, 1024), int7(1024, 16)
    assert np.array_equal(pouw.matmul(a, b), exact(a, b))
    assert pouw.mining() == pouw.Mining(False, False, 0, 0, 0, 0, 0, 0, 0, 0)


def test_a_product_that_wins_satisfies_the_second_verifier(host):
    host.say(work(1, EASY))
    until("work arrives", lambda: pouw.mining().has_work)
    a, b = int7(1030, 1024), int7(1024, 40)
    assert np.array_equal(pouw.matmul(a, b), exact(a, b))
    until("the host has it", lambda: host.wins)
    assert host.wins == [(1, None)]
    until("it is taken", lambda: pouw.mining().taken == 1)
    mined = pouw.mining()
    assert (mined.mined_macs, mined.all_macs) == (1024 * 1024 * 32, 1030 * 1024 * 40) and mined.share < 1
    # W-9: the host is told how much that was.
    until("it is told", lambda: pouw.mining() and host.mined == mined.mined_macs)


def test_a_layer_mines_in_its_anchor_s_window_and_gives_the_same_numbers(host):
    layer = pouw.Linear(2048, 64)
    x = torch.randn(32, 2048)
    expected = layer(x)
    assert pouw.mining().mined_macs == 0
    # Later parents: the first anchor gets two blocks older each time, and then too old.
    for number, parent in enumerate((40, 42, 44, 90), 1):
        host.say(work(number, EASY, parent))

        def taken(number=number):
            assert torch.equal(layer(x), expected)
            return pouw.mining().taken == number

        until("a win is taken", taken)
    assert host.wins == [(number, None) for number in (1, 2, 3, 4)]


def test_what_is_not_int7_or_too_small_is_multiplied_and_not_mined(host):
    host.say(work(1, EASY))
    until("work arrives", lambda: pouw.mining().has_work)
    wide = int7(1024, 1024)
    wide[3, 4] = 64
    for a, b in [(wide, int7(1024, 16)), (int7(1024, 1023), int7(1023, 16)), (int7(1024, 1024), int7(1024, 15))]:
        assert np.array_equal(pouw.matmul(a, b), exact(a, b))
    assert pouw.mining().mined_macs == 0 and not host.wins


@pytest.mark.parametrize("lie", [
    b"\xff" * 64, b"\0" * 8, frame(1, b"\2" + bytes(80)), frame(99), frame(3, b"short"),
    work(1, (1 << 18) - 1)["frame"], work(1, 0)["frame"], b"HTTP/1.1 200 OK\r\n\r\n",
], ids=["length", "zero", "version", "kind", "size", "target", "no target", "another protocol"])
def test_a_host_that_lies_is_hung_up_on_and_the_product_is_right(host, lie):
    host.say(lie)
    until("the lie is found", lambda: pouw.mining().lost > 0)
    a, b = int7(1024, 1024), int7(1024, 16)
    assert np.array_equal(pouw.matmul(a, b), exact(a, b))
    assert pouw.mining().mined_macs == 0


def test_a_host_that_goes_away_and_a_socket_that_never_was_cost_nothing(host, monkeypatch, tmp_path):
    host.say(work(1, NEVER))
    until("work arrives", lambda: pouw.mining().has_work)
    host.stop()
    until("it is missed", lambda: not pouw.mining().connected)
    a, b = int7(1024, 1024), int7(1024, 16)
    assert np.array_equal(pouw.matmul(a, b), exact(a, b))
    monkeypatch.setattr(pouw._mining, "_miner", None)
    for path in (tmp_path / "nothing", "x" * 300, "/dev/null"):
        monkeypatch.setenv("POUW_MINING_SOCKET", str(path))
        assert np.array_equal(pouw.matmul(a, b), exact(a, b))
        assert not pouw.mining().connected


def test_a_flood_of_work_keeps_nobody_from_computing(host):
    host.say(b"".join(work(number, NEVER, number % 256)["frame"] for number in range(5_000)))
    layer = pouw.Linear(2048, 32)
    x = torch.randn(16, 2048)
    expected = layer(x)
    for _ in range(50):
        assert torch.equal(layer(x), expected)


def test_a_forked_child_talks_on_its_own_connection(host):
    host.say(work(1, NEVER))
    until("work arrives", lambda: pouw.mining().has_work)
    parent = pouw._mining.miner()
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writes, b"own" if pouw._mining.miner() is not parent else b"same")
        finally:
            os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    assert os.read(reads, 10) == b"own"
