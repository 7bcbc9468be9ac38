"""`matmul`: exact int8 products of numpy arrays and torch tensors."""
import os
import sys
from typing import Any, TypeVar

import numpy as np

from . import _native
from ._mining import miner

Array = TypeVar("Array", bound=Any)

_INNER_BOUND = 65_536
# From so many rows on a product that is computed once pays for preparing B.
_MINING_ROWS = 1024
_threads = len(os.sched_getaffinity(0))


def set_threads(count: int) -> None:
    """Sets how many threads a product may use; at first as many as the process has processors."""
    global _threads
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"pouw.set_threads: {count!r} is no number of threads; a whole number from 1 on is")
    _threads = count


def get_threads() -> int:
    """How many threads a product may use."""
    return _threads


def matmul(a: Array, b: Array) -> Array:
    """The exact product of two int8 matrices, as int32.

    `a` is (…, m, k) and `b` is (k, n), both numpy arrays or both torch tensors on the CPU; any strides will do.
    k is at most 65,536, so that every sum fits 32 bits. A product of 1,024 rows or more, with entries from −63
    to 63, mines if there is work.

    Raises TypeError for other types, ValueError for sizes that do not fit; both say which argument.
    """
    left, torch = _as_numpy("a", a)
    right, torch_too = _as_numpy("b", b)
    if (torch is None) != (torch_too is None):
        raise TypeError(f"pouw.matmul: a is {_kind(a)} and b is {_kind(b)}; both must be numpy, or both torch")
    if left.ndim < 2:
        raise ValueError(f"pouw.matmul: a has shape {left.shape}; at least two dimensions (…, m, k) are needed")
    if right.ndim != 2:
        raise ValueError(f"pouw.matmul: b has shape {right.shape}; two dimensions (k, n) are needed")
    (inner, columns), lead = right.shape, left.shape[:-1]
    if left.shape[-1] != inner:
        raise ValueError(
            f"pouw.matmul: a has {left.shape[-1]} columns (shape {left.shape}) and b has {inner} rows "
            f"(shape {right.shape}); they must be as many"
        )
    if inner > _INNER_BOUND:
        raise ValueError(f"pouw.matmul: inner size {inner}; at most {_INNER_BOUND:,} fits 32-bit sums")
    rows = int(np.prod(lead, dtype=np.int64))
    out = np.zeros((rows, columns), np.int32)
    if rows and columns and inner:
        entries, lines = np.ascontiguousarray(left), np.ascontiguousarray(right.T)
        at = miner() if rows >= _MINING_ROWS else None
        if at is None:
            _native.multiply(rows, inner, columns, flat(entries), flat(lines), flat(out), _threads)
        else:
            weights = _native.Weights(inner, columns, flat(lines))
            weights.multiply(rows, flat(entries), flat(out), _threads, at)
    out = out.reshape(*lead, columns)
    return torch.from_numpy(out) if torch is not None else out


def flat(array: np.ndarray) -> np.ndarray:
    """A contiguous array as one line, sharing its memory."""
    return array.reshape(-1)


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _as_numpy(name: str, value: Any) -> tuple[np.ndarray, Any]:
    """The argument as an int8 array, and torch if it was a tensor."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        if value.device.type != "cpu":
            raise TypeError(f"pouw.matmul: {name} is on device {value.device}; move it by {name}.cpu()")
        if value.dtype != torch.int8:
            raise TypeError(f"pouw.matmul: {name} has dtype {value.dtype}; torch.int8 is needed")
        return value.detach().numpy(), torch
    if not isinstance(value, np.ndarray):
        raise TypeError(f"pouw.matmul: {name} is {_kind(value)}; a numpy array or a torch tensor is needed")
    if value.dtype != np.int8:
        raise TypeError(f"pouw.matmul: {name} has dtype {value.dtype}; int8 is needed")
    return value, None
