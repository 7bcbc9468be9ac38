#!/usr/bin/env python3
"""Measures `serving-loss`: the example transformer with mining on against its own plain int8 path, in turn.

It prints one line of JSON, as scripts/bench reads it. One thread; each pass is timed by the process's own time, and the
host, which says work that is never won, is a thread that sleeps.
"""
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "tests"), str(HERE.parent / "examples" / "transformer")]

import pouw  # noqa: E402
import pouw._mining as mining  # noqa: E402
import torch  # noqa: E402
from hosts import Host, until, work  # noqa: E402
from transformer import BATCH, CONTEXT, Transformer, quantised  # noqa: E402

ROUNDS = 15


def main() -> None:
    torch.set_num_threads(1)
    pouw.set_threads(1)
    torch.manual_seed(0)
    model = quantised(Transformer(2)).eval()
    text = torch.randint(256, (BATCH, CONTEXT))
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        host = Host(pathlib.Path(folder))
        # Never won, and one anchor, so that B's side is kept as it is for most of a window.
        host.say(work(1, 1 << 120))

        def timed(mine: bool) -> tuple[float, torch.Tensor]:
            if mine:
                os.environ["POUW_MINING_SOCKET"] = host.path
            else:
                os.environ.pop("POUW_MINING_SOCKET", None)
            start = time.process_time()
            result = model(text)
            return time.process_time() - start, result

        os.environ["POUW_MINING_SOCKET"] = host.path
        until("work arrives", lambda: pouw.mining().has_work)
        # Both paths arrange their weights first.
        for mine in (False, True):
            timed(mine)
        before = pouw.mining().mined_macs
        ratios, plain = [], []
        for turn in range(ROUNDS):
            order = (False, True) if turn % 2 else (True, False)
            (_, first), (_, second) = results = [timed(mine) for mine in order]
            assert torch.equal(first, second), "mining changed the result"
            seconds = dict(zip(order, (one for one, _ in results)))
            ratios.append(seconds[True] / seconds[False])
            plain.append(seconds[False])
        os.environ["POUW_MINING_SOCKET"] = host.path
        mined = (mining.miner().share()[0] - before) / (ROUNDS * model.macs(BATCH, CONTEXT))
        host.stop()
    loss = (statistics.median(ratios) - 1) * 100
    print(f"a pass takes {statistics.median(plain):.3f} s plain; {mined:.1%} of its multiplications mined", file=sys.stderr)
    print(json.dumps({
        "name": "serving-loss", "ours": loss, "peer": None, "unit": "% of a pass's time",
        "goal": "at most 10 % over its own plain int8 path", "holds": loss <= 10,
    }))


if __name__ == "__main__":
    main()
