"""The process's side of the mining socket."""
import os
import threading
from dataclasses import dataclass

from . import _native


@dataclass(frozen=True)
class Mining:
    """What mining came to in this process.

    `mined_macs` of `all_macs` multiplications were lottery tickets. Of the certificates `handed_in`, the host
    answered so many `taken`, `stale` (too late) and `refused`; `dropped` ones were never sent, as the host did
    not read; `lost` counts connections that ended.
    """

    connected: bool
    has_work: bool
    mined_macs: int
    all_macs: int
    handed_in: int
    taken: int
    stale: int
    refused: int
    dropped: int
    lost: int

    @property
    def share(self) -> float:
        """The part of the multiplications that mined, from 0 to 1."""
        return self.mined_macs / self.all_macs if self.all_macs else 0.0


_lock = threading.Lock()
_miner: _native.Miner | None = None
_owner: int | None = None


def miner() -> _native.Miner | None:
    """The process's miner; None where the environment names no mining socket (POUW_MINING_SOCKET)."""
    global _miner, _owner
    path = os.environ.get(_native.SOCKET_VARIABLE)
    if not path:
        return None
    with _lock:
        # A forked child must not talk on its parent's connection.
        if _miner is None or _owner != os.getpid():
            _miner, _owner = _native.Miner(path), os.getpid()
        return _miner


def mining() -> Mining:
    """What mining came to so far in this process; all zero where there is no mining socket."""
    at = miner()
    if at is None:
        return Mining(False, False, 0, 0, 0, 0, 0, 0, 0, 0)
    counts, (mined, everything) = at.counts(), at.share()
    return Mining(at.is_connected(), at.has_work(), mined, everything, *counts)
