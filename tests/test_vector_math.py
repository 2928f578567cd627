# SPDX-License-Identifier: BSD-3-Clause
"""exp, log, tanh, sigmoid and the normal quantile: within the promised units, and the same bits on every set.

Denormals are zero inside the kernels, as inputs and as results: the oracle counts them as zero too.
"""

import hashlib
from statistics import NormalDist

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


# ---- the normal quantile ---------------------------------------------------------------------------------------------

QUANTILE_PROMISED = 7  # units in the last place

# u -> x with P(x) = u, rounded to float64: mpmath 1.3.0 with 60 digits, from erfinv and from log(erfc).
QUANTILES = {
    "0x1.0000000000000p-1022": "-0x1.2c27b05bf1a0bp+5",
    "0x1.56e1fc2f8f359p-997": "-0x1.286074064c26ep+5",
    "0x1.bff2ee48e0530p-333": "-0x1.546010d755221p+4",
    "0x1.14b37f4b51f71p-55": "-0x1.0bafeda48b504p+3",
    "0x1.e58b5986f33c4p-37": "-0x1.aa2a68f7c5bcbp+2",
    "0x1.e91011d3fc6b1p-37": "-0x1.aa1905023383ep+2",
    "0x1.0c6f7a0b5ed8dp-20": "-0x1.30381a9799f7ep+2",
    "0x1.47ae147ae147bp-7": "-0x1.29c5c4630ff0fp+1",
    "0x1.32ca57a786c22p-4": "-0x1.70b374817af52p+0",
    "0x1.339c0ebedfa44p-4": "-0x1.7056dc6686c9bp+0",
    "0x1.0000000000000p-3": "-0x1.267d4c07b0567p+0",
    "0x1.3333333333333p-2": "-0x1.0c7e39582c5fbp-1",
    "0x1.ffe5c91d14e3cp-2": "-0x1.06d6ca8553fc0p-12",
    "0x1.0000000000008p-1": "0x1.40d931ff62706p-49",
    "0x1.3333333333333p-1": "0x1.036d6c4a04b59p-2",
    "0x1.8000000000000p-1": "0x1.5956b87528a49p-1",
    "0x1.ccccccccccccdp-1": "0x1.4813c36e26d33p+0",
    "0x1.d99999999999ap-1": "0x1.7085226d3e525p+0",
    "0x1.d9a6b50b0f27cp-1": "0x1.70b374817af53p+0",
    "0x1.fae147ae147aep-1": "0x1.29c5c4630ff0ep+1",
    "0x1.ffffe00000000p-1": "0x1.30d5024a3fa4dp+2",
    "0x1.fffffffffe000p-1": "0x1.c30d8560989abp+2",
    "0x1.fffffffffffffp-1": "0x1.06b48528cea52p+3",
}


def quantile(u):
    x = np.empty_like(u)
    _core.vector_function(_core.NORMAL_QUANTILE, u, x)
    return x


def between_0_and_1(count, dtype):
    """Bit patterns from the smallest normal number to the last below 1, a few neighbours of each."""
    words = np.dtype(f"u{np.dtype(dtype).itemsize}")
    ends = np.array([np.finfo(dtype).smallest_normal, 1], dtype).view(words)
    patterns = np.linspace(int(ends[0]), int(ends[1]) - 9, count).astype(words)
    return np.concatenate([patterns + words.type(near) for near in range(4)]).view(dtype)


def test_quantile_in_float32_against_float64(isa):
    """The standard library's inverse is the same algorithm to 1e-16: a thousandth of a unit of float32."""
    u = np.concatenate([between_0_and_1(20_000, np.float32), np.linspace(0.001, 0.999, 20_001, dtype=np.float32)])
    exact = np.array([NormalDist().inv_cdf(float(value)) for value in u])
    error = units(quantile(u), exact, np.float32)
    assert 0.5 < error.max() <= QUANTILE_PROMISED, f"{error.max()} at {u[error.argmax()]}"


def test_quantile_in_float64_against_recorded_values(isa):
    u, exact = (np.array([float.fromhex(x) for x in column]) for column in zip(*QUANTILES.items(), strict=True))
    error = units(quantile(u), exact.astype(np.longdouble), np.float64)
    assert error.max() <= QUANTILE_PROMISED, f"{error.max()} at {u[error.argmax()]}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantile_has_the_same_bits_on_every_set(dtype, rng):
    u = np.concatenate([between_0_and_1(100_000, dtype), rng.random(100_000).astype(dtype)])
    before = _core.isa()
    try:
        results = []
        for isa in ISAS:
            assert _core.isa_select(isa)
            results.append(quantile(u).tobytes())
    finally:
        _core.isa_select(before)
    assert len(set(results)) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantile_is_odd_around_one_half_and_rises(dtype, isa, rng):
    u = (rng.integers(1, 2**20, 10_000) / 2.0**21).astype(dtype)  # 1 - u is exact
    np.testing.assert_array_equal(quantile(1 - u), -quantile(u))
    assert (np.diff(quantile(np.linspace(0.0001, 0.9999, 10_001, dtype=dtype))) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantile_of_special_values(dtype, isa):
    tiny, inf, nan = np.finfo(dtype).smallest_subnormal, np.inf, np.nan
    u = np.array([0, -0.0, tiny, 1, 0.5, -0.25, 1.25, inf, -inf, nan], dtype)
    expected = np.array([-inf, -inf, -inf, inf, 0, nan, nan, nan, nan, nan], dtype)
    np.testing.assert_array_equal(quantile(u), expected)
