"""A quantised linear layer for torch: int7 × int7, scales and zero points outside the product."""
import weakref
from typing import NamedTuple

import numpy as np
import torch

from . import _native
from ._mining import miner
from ._product import flat, get_threads

LEVEL = 63
"""The largest magnitude of an int7 entry."""


# Taking the noise out of a product costs as much as 384 more inner indices would. Below this the mined product
# takes a third longer and more, which nobody who serves a model would agree to.
_MINING_INNER = 2048


class Quantised(NamedTuple):
    """Lines of int7 with each line's scale and zero point: x ≈ scale · (entries − zero)."""

    entries: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor


def quantise(x: torch.Tensor, symmetric: bool = False) -> Quantised:
    """Quantises each line (last dimension) of a float matrix to [−63, 63].

    Symmetric lines have zero point 0. Others use the whole range from their least to their largest value, which
    is what activations that are never negative need. Raises ValueError if an entry is not finite.
    """
    if symmetric:
        scale = x.abs().amax(-1, keepdim=True) / LEVEL
        zero = torch.zeros_like(scale)
    else:
        low, high = torch.aminmax(x, dim=-1, keepdim=True)
        scale = (high - low) / (2 * LEVEL)
        # A constant line is its zero point alone.
        scale = torch.where(scale > 0, scale, high.abs() / LEVEL)
    if not torch.isfinite(scale).all():
        raise ValueError("pouw.quantise: an entry is not finite (NaN or infinite), or too large for its dtype")
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    if not symmetric:
        zero = (-LEVEL - low / scale).round()
    entries = torch.addcmul(zero, x, scale.reciprocal()).round_().clamp_(-LEVEL, LEVEL)
    return Quantised(entries.to(torch.int8), scale, zero)


class _Product(torch.autograd.Function):
    """The quantised product forward; backward as if it were the float layer (straight through)."""

    @staticmethod
    def forward(ctx, x, weight, layer):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight)
        return layer._product(x)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        x, weight = ctx.saved_tensors
        wide = grad.reshape(-1, grad.shape[-1])
        for_x = grad @ weight if ctx.needs_input_grad[0] else None
        for_weight = wide.t() @ x.reshape(-1, x.shape[-1]) if ctx.needs_input_grad[1] else None
        return for_x, for_weight, None


class Linear(torch.nn.Module):
    """A linear layer that multiplies in int7 and mines while it does.

    It computes what `torch.nn.Linear` does, up to quantisation: weights have a scale for each output, inputs a
    scale and a zero point for each row, found at each call. Zero points are taken out after the product, so that
    nothing of them enters a job. Training goes straight through the rounding; the weight is quantised again when
    an optimiser has changed it. Layers of 2,048 inputs or more mine where the process has a mining socket and its
    host has work; for smaller ones mining would take more than it is worth.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if value < 1:
                raise ValueError(f"pouw.Linear: {name} is {value}; it must be at least 1")
        if in_features > 65_536:
            raise ValueError(f"pouw.Linear: in_features is {in_features}; at most 65,536 fits 32-bit sums")
        self.in_features = in_features
        self.out_features = out_features
        start = torch.nn.Linear(in_features, out_features, bias)
        self.weight, self.bias = start.weight, start.bias
        self._kept: tuple[tuple[object, int], _native.Weights, torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def from_float(cls, layer: torch.nn.Linear) -> "Linear":
        """A quantised layer that shares the parameters of a float one."""
        if not isinstance(layer, torch.nn.Linear):
            raise TypeError(f"pouw.Linear.from_float: {type(layer).__name__} given; a torch.nn.Linear is needed")
        made = cls.__new__(cls)
        torch.nn.Module.__init__(made)
        made.in_features, made.out_features = layer.in_features, layer.out_features
        made.weight, made.bias, made._kept = layer.weight, layer.bias, None
        return made.train(layer.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x·Wᵀ + b for x of shape (…, in_features)."""
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(f"pouw.Linear: x has shape {tuple(x.shape)}; (…, {self.in_features}) is needed")
        if x.device.type != "cpu" or not x.is_floating_point():
            raise TypeError(f"pouw.Linear: x is {x.dtype} on {x.device}; a float tensor on the CPU is needed")
        result = _Product.apply(x, self.weight, self)
        return result if self.bias is None else result + self.bias

    def _weights(self) -> tuple[_native.Weights, torch.Tensor, torch.Tensor]:
        """The quantised weight: prepared for products, each output's scale, each output's sum."""
        # An optimiser changes a tensor in place, which its version counts.
        state = (weakref.ref(self.weight), self.weight._version)
        if self._kept is None or self._kept[0] != state:
            lines = quantise(self.weight.detach().float(), symmetric=True)
            entries = np.ascontiguousarray(lines.entries.numpy())
            weights = _native.Weights(self.in_features, self.out_features, flat(entries))
            sums = lines.entries.sum(-1, dtype=torch.int32).float()
            self._kept = (state, weights, lines.scale.reshape(-1), sums)
        return self._kept[1:]

    def _product(self, x: torch.Tensor) -> torch.Tensor:
        weights, scale, sums = self._weights()
        rows = x.detach().reshape(-1, self.in_features).float()
        out = torch.zeros(rows.shape[0], self.out_features, dtype=torch.int32)
        if rows.shape[0] == 0:
            return out.to(x.dtype).reshape(*x.shape[:-1], self.out_features)
        lines = quantise(rows)
        entries = np.ascontiguousarray(lines.entries.numpy())
        at = miner() if self.in_features >= _MINING_INNER else None
        weights.multiply(rows.shape[0], flat(entries), flat(out.numpy()), get_threads(), at)
        # Σ (q − zero)·w = Σ q·w − zero·Σ w
        result = torch.addcmul(out.float(), lines.zero, sums, value=-1).mul_(lines.scale).mul_(scale)
        return result.to(x.dtype).reshape(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """What repr() shows."""
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}, int7"

    def __getstate__(self) -> dict[str, object]:
        # Copies and pickles quantise anew.
        return {**self.__dict__, "_kept": None}
