"""Exact int8 matrix products whose multiplications win blocks.

`matmul` multiplies numpy arrays or torch tensors of int8 exactly. `Linear` is a quantised linear layer for
torch. In a rented task whose host mounts a mining socket, both mine while they compute; elsewhere they just
compute. Nobody but the mining statistics (`mining()`) sees the difference.
"""
from ._mining import Mining, mining
from ._native import backend
from ._product import get_threads, matmul, set_threads

__all__ = ["Linear", "Mining", "backend", "get_threads", "matmul", "mining", "quantise", "set_threads"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # torch is heavy, and only these need it.
    if name in ("Linear", "quantise"):
        from . import _linear

        return getattr(_linear, name)
    raise AttributeError(f"module 'pouw' has no attribute {name!r}; it has {', '.join(__all__)}")
