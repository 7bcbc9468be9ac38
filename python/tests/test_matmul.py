"""`pouw.matmul` against numpy's exact products, and what it says of bad input."""
import numpy as np
import pouw
import pytest
import torch

RANDOM = np.random.default_rng(7)


def int8(*shape, low=-128, high=127):
    return RANDOM.integers(low, high, shape, dtype=np.int8, endpoint=True)


def exact(a, b):
    return np.matmul(a.astype(np.int64), b.astype(np.int64))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 1), (15, 17, 33), (16, 1024, 16), (33, 1025, 49), (130, 300, 70)])
def test_products_of_numpy_and_torch_are_exact(shape):
    m, k, n = shape
    a, b = int8(m, k), int8(k, n)
    product = pouw.matmul(a, b)
    assert product.dtype == np.int32 and np.array_equal(product, exact(a, b))
    product = pouw.matmul(torch.from_numpy(a), torch.from_numpy(b))
    assert product.dtype == torch.int32 and np.array_equal(product.numpy(), exact(a, b))


def test_the_largest_entries_and_inner_size_are_exact():
    a = np.full((2, 65_536), -128, np.int8)
    b = np.full((65_536, 3), 127, np.int8)
    assert (pouw.matmul(a, b) == -128 * 127 * 65_536).all()


def test_any_strides_and_leading_dimensions_will_do():
    a, b = int8(4, 6, 40), int8(32, 80)
    for left, right in [(a[::2, ::-1, ::2], b.T[::4]), (a.transpose(1, 0, 2), int8(40, 5)), (a, np.asfortranarray(int8(40, 9)))]:
        assert np.array_equal(pouw.matmul(left, right), exact(left, right))
    left, right = torch.from_numpy(a).transpose(0, 1), torch.from_numpy(b).t()[:40]
    assert np.array_equal(pouw.matmul(left, right).numpy(), exact(left.numpy(), right.numpy()))


@pytest.mark.parametrize("shape", [(0, 5, 3), (3, 0, 2), (3, 5, 0)])
def test_empty_matrices_have_empty_or_zero_products(shape):
    m, k, n = shape
    product = pouw.matmul(np.zeros((m, k), np.int8), np.zeros((k, n), np.int8))
    assert product.shape == (m, n) and not product.any()


@pytest.mark.parametrize(("a", "b", "error", "words"), [
    (np.zeros((2, 3), np.float32), np.zeros((3, 2), np.int8), TypeError, "a has dtype float32; int8"),
    (np.zeros((2, 3), np.int8), np.zeros((3, 2), np.uint8), TypeError, "b has dtype uint8; int8"),
    (torch.zeros(2, 3), torch.zeros(3, 2, dtype=torch.int8), TypeError, "a has dtype torch.float32; torch.int8"),
    (np.zeros((2, 3), np.int8), torch.zeros(3, 2, dtype=torch.int8), TypeError, "both must be numpy, or both torch"),
    ([[1]], np.zeros((1, 1), np.int8), TypeError, "a is builtins.list; a numpy array or a torch tensor"),
    (np.zeros((2, 3), np.int8), np.zeros((4, 2), np.int8), ValueError, "a has 3 columns .* b has 4 rows"),
    (np.zeros(3, np.int8), np.zeros((3, 2), np.int8), ValueError, r"a has shape \(3,\); at least two"),
    (np.zeros((2, 3), np.int8), np.zeros((1, 3, 2), np.int8), ValueError, r"b has shape \(1, 3, 2\); two dim"),
    (np.zeros((1, 65_537), np.int8), np.zeros((65_537, 1), np.int8), ValueError, "at most 65,536"),
    (torch.zeros((2, 3), dtype=torch.int8, device="meta"), torch.zeros(3, 2, dtype=torch.int8), TypeError, "on device meta"),
])
def test_bad_input_is_named_with_what_would_be_right(a, b, error, words):
    with pytest.raises(error, match=words):
        pouw.matmul(a, b)


def test_the_native_half_refuses_what_does_not_fit():
    from pouw import _native

    line = np.zeros(6, np.int8)
    with pytest.raises(ValueError, match="6 entries, 4 times 2 expected"):
        _native.Weights(4, 2, line)
    weights = _native.Weights(3, 2, line)
    with pytest.raises(ValueError, match="6 entries, 3 times 3 expected"):
        weights.multiply(3, line, np.zeros(6, np.int32), 1)
    with pytest.raises(BufferError):
        weights.multiply(2, line, np.zeros(3, np.int32), 1)
    with pytest.raises(BufferError):
        _native.Weights(3, 2, np.zeros(6, np.float32))
    read_only = np.zeros(4, np.int32)
    read_only.setflags(write=False)
    with pytest.raises(BufferError):
        weights.multiply(2, line, read_only, 1)
    with pytest.raises(ValueError):
        _native.Weights(2**40, 2**40, line)


def test_threads_are_a_whole_number_from_one():
    before = pouw.get_threads()
    a, b = int8(100, 64), int8(64, 100)
    for count in (1, 3):
        pouw.set_threads(count)
        assert np.array_equal(pouw.matmul(a, b), exact(a, b))
    pouw.set_threads(before)
    for bad in (0, -1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="number of threads"):
            pouw.set_threads(bad)
