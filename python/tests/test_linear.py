"""The quantised layer against the float one."""
import copy

import pouw
import pytest
import torch

torch.manual_seed(7)


def off(x, y):
    """The error's share of the signal."""
    return ((x - y).norm() / y.norm()).item()


@pytest.mark.parametrize("bias", [True, False])
def test_it_computes_what_the_float_layer_does(bias):
    layer = torch.nn.Linear(1024, 96, bias)
    quantised = pouw.Linear.from_float(layer)
    x = torch.randn(3, 20, 1024)
    # 63 levels a side on both operands: about 1 % of the signal each.
    assert quantised(x).shape == (3, 20, 96) and off(quantised(x), layer(x)) < 0.03
    # Rows that are never negative use the whole range, by their zero point.
    assert off(quantised(x.relu() + 5), layer(x.relu() + 5)) < 0.03


def test_zero_points_are_taken_out_exactly():
    # Entries on the grid: what comes out is exact up to float's own rounding.
    layer = torch.nn.Linear(128, 8, bias=False)
    layer.weight.data = torch.randint(-63, 64, (8, 128)).float()
    layer.weight.data[:, 0] = 63
    x = torch.randint(0, 127, (5, 128)).float()
    x[:, 0], x[:, 1] = 0, 126
    assert torch.allclose(pouw.Linear.from_float(layer)(x), layer(x), rtol=1e-5, atol=0.05)


@pytest.mark.parametrize("x", [torch.zeros(2, 64), torch.full((2, 64), 3.0), torch.full((2, 64), -1e-3)])
def test_constant_rows_keep_their_value(x):
    layer = torch.nn.Linear(64, 16, bias=False)
    assert torch.allclose(pouw.Linear.from_float(layer)(x), layer(x), atol=0.02 * x.abs().max().item() + 1e-9)


def test_an_optimiser_s_steps_are_seen_and_training_goes_straight_through():
    layer = pouw.Linear(256, 4)
    x, wanted = torch.randn(64, 256), torch.randn(64, 4)
    optimiser = torch.optim.Adam(layer.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = ((layer(x) - wanted) ** 2).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4, losses


def test_gradients_are_those_of_the_float_layer():
    layer = torch.nn.Linear(64, 32)
    quantised = pouw.Linear.from_float(copy.deepcopy(layer))
    x, seed = torch.randn(2, 5, 64), torch.randn(2, 5, 32)
    grads = []
    for one in (layer, quantised):
        at = x.clone().requires_grad_()
        (one(at) * seed).sum().backward()
        grads.append((at.grad, one.weight.grad, one.bias.grad))
    for float_grad, our_grad in zip(*grads):
        assert torch.allclose(float_grad, our_grad, rtol=1e-4, atol=1e-5)


def test_it_copies_saves_and_loads_like_any_layer():
    layer = pouw.Linear(64, 8)
    x = torch.randn(3, 64)
    expected = layer(x)
    assert torch.equal(copy.deepcopy(layer)(x), expected)
    other = pouw.Linear(64, 8)
    other(x)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), expected)
    assert layer(torch.empty(0, 64)).shape == (0, 8)
    assert layer(x.half()).dtype == torch.half or layer.bias is not None
    assert "int7" in repr(layer)


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: pouw.Linear(8, 4)(torch.zeros(2, 7)), ValueError, r"x has shape \(2, 7\); \(…, 8\)"),
    (lambda: pouw.Linear(8, 4)(torch.zeros(2, 8, dtype=torch.int8)), TypeError, "x is torch.int8 on cpu"),
    (lambda: pouw.Linear(8, 4)(torch.full((2, 8), float("nan"))), ValueError, "not finite"),
    (lambda: pouw.Linear(8, 4)(torch.full((2, 8), float("inf"))), ValueError, "not finite"),
    (lambda: pouw.Linear(0, 4), ValueError, "in_features is 0"),
    (lambda: pouw.Linear(65_537, 4), ValueError, "at most 65,536"),
    (lambda: pouw.Linear.from_float(torch.nn.ReLU()), TypeError, "ReLU given; a torch.nn.Linear"),
    (lambda: pouw.nothing, AttributeError, "no attribute 'nothing'; it has Linear"),
])
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
