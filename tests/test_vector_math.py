# SPDX-License-Identifier: BSD-3-Clause
"""exp, log, tanh and sigmoid: within the promised units in the last place, and the same bits on every set.

Denormals are zero inside the kernels, as inputs and as results: the oracle counts them as zero too.
"""

import hashlib

import numpy as np
import pytest
from conftest import ISAS

from fastnn import _core

FUNCTIONS = {"exp": _core.EXP, "log": _core.LOG, "tanh": _core.TANH, "sigmoid": _core.SIGMOID}
PROMISED = {"exp": 1, "log": 1, "tanh": 2, "sigmoid": 2}  # units in the last place
SIZES = [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 100]
CHUNK = 1 << 20
INPUTS = -(-(1 << 32) // 257)  # every 257th bit pattern: 16.7 million


def ours(name, x):
    y = np.empty_like(x)
    _core.vector_function(FUNCTIONS[name], x, y)
    return y


def sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


EXACT = {"exp": np.exp, "log": np.log, "tanh": np.tanh, "sigmoid": sigmoid}


def units(found, exact, dtype):
    """The error of each element in units in the last place of the exact result, in its wider type."""
    info = np.finfo(dtype)
    exponent = np.frexp(np.where(exact == 0, 1, np.abs(exact)))[1]
    unit = np.ldexp(exact.dtype.type(1), np.maximum(exponent, info.minexp + 1) - 1 - info.nmant)
    error = np.abs(found.astype(exact.dtype) - exact) / unit
    # A result below the smallest normal number may be flushed.
    return np.where((np.abs(exact) < info.smallest_normal) & (found == 0), 0, error)


def check(name, x, found, exact):
    """The largest error in ulp where the result is finite; elsewhere infinities and NaN must be the same."""
    biggest = np.finfo(found.dtype).max
    finite = np.abs(exact) <= biggest  # NaN compares false
    np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
    beyond = ~finite & ~np.isnan(exact)
    # Between the largest number and half a unit above it, either is right.
    assert (np.isinf(found[beyond]) | (np.abs(found[beyond]) == biggest)).all()
    assert (np.sign(found[beyond]) == np.sign(exact[beyond])).all()
    error = units(found[finite], exact[finite], found.dtype)
    worst = error.argmax() if error.size else 0
    if error.size:
        assert error[worst] <= PROMISED[name], f"{name}({x[finite][worst]!r}) is off by {error[worst]} ulp"
    return error.max(initial=0)


def widened(x):
    """x in a wider type, denormals as zero."""
    flushed = np.where(np.abs(x) < np.finfo(x.dtype).smallest_normal, x.dtype.type(0), x)
    return flushed.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def every_257th():
    for first in range(0, INPUTS, CHUNK):
        bits = np.arange(first, min(first + CHUNK, INPUTS), dtype=np.uint64) * np.uint64(257)
        yield bits.astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_257th_float32(name):
    """On the best set against float64; on the others, and on it, the same bits."""
    digests = {isa: hashlib.sha256() for isa in ISAS}
    worst = 0
    before = _core.isa()
    try:
        for x in every_257th():
            results = {}
            for isa in ISAS:
                assert _core.isa_select(isa)
                results[isa] = ours(name, x)
                # Sign and payload of a NaN are the processor's business.
                canonical = np.where(np.isnan(results[isa]), np.float32(np.nan), results[isa])
                digests[isa].update(canonical)
            with np.errstate(all="ignore"):
                worst = max(worst, check(name, x, results[ISAS[0]], EXACT[name](widened(x))))
    finally:
        _core.isa_select(before)
    assert len({digest.hexdigest() for digest in digests.values()}) == 1
    assert worst > 0.5, "an error under half a unit everywhere: this test measures nothing"


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no type wider than float64 here")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_at_random(name, isa, rng):
    wide = rng.integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
    near = rng.uniform(-40, 40, 20_000)
    tiny = rng.uniform(-1, 1, 20_000)
    x = np.concatenate([wide, near, tiny, np.abs(near), 1 + tiny / 100])
    with np.errstate(all="ignore"):
        assert check(name, x, ours(name, x), EXACT[name](widened(x))) > 0.5


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sizes_around_the_registers(name, dtype, isa, rng):
    """The last elements are as good as the first, and nothing behind them is written."""
    x = rng.uniform(0.1, 5, 128).astype(dtype)
    whole = ours(name, x)
    for size in SIZES:
        for start in (0, 1, 3):  # aligned or not
            y = np.full(128, -7, dtype)
            _core.vector_function(FUNCTIONS[name], x[start : start + size], y[:size])
            np.testing.assert_array_equal(y[:size], whole[start : start + size])
            assert (y[size:] == -7).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype, isa):
    inf, nan, tiny = np.inf, np.nan, np.finfo(dtype).smallest_subnormal
    x = np.array([0, -0.0, inf, -inf, nan, tiny, -tiny], dtype)
    expected = {
        "exp": [1, 1, inf, 0, nan, 1, 1],
        "log": [-inf, -inf, inf, nan, nan, -inf, -inf],
        "tanh": [0, -0.0, 1, -1, nan, 0, -0.0],
        "sigmoid": [0.5, 0.5, 1, 0, nan, 0.5, 0.5],
    }
    for name, values in expected.items():
        found = ours(name, x)
        np.testing.assert_array_equal(found, np.array(values, dtype), err_msg=name)
        zeros = found == 0
        assert (np.signbit(found[zeros]) == np.signbit(np.array(values)[zeros])).all(), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_monotone_where_steps_are_small(name, isa):
    """Neighbouring float32 inputs never go against the function's direction."""
    for start in (0.3, 1.0, 5.0, 20.0):
        x = np.float32(start).view(np.uint32) + np.arange(50_000, dtype=np.uint32)
        y = ours(name, x.view(np.float32))
        assert (np.diff(y) >= 0).all()


def test_tanh_is_odd_and_both_squashers_stay_in_their_range(isa, rng):
    x = rng.normal(scale=10, size=10_000).astype(np.float32)
    np.testing.assert_array_equal(ours("tanh", -x), -ours("tanh", x))
    assert np.abs(ours("tanh", x)).max() <= 1
    assert ours("sigmoid", x).min() >= 0 and ours("sigmoid", x).max() <= 1
