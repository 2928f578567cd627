# SPDX-License-Identifier: BSD-3-Clause
"""The matrix products of training: near enough to the exact ones, in the documented order, inside their arrays.

All sizes up to 70, between guard pages, are the C tests' business (tests/c/test_matmul.c); here it is every use, type
and instruction set by way of the boundary, and the order of summation itself.
"""

import itertools

import numpy as np
import pytest
from conftest import ISAS

from fastnn import _core
from fastnn._memory import allocate

SIZES = [1, 7, 8, 9, 15, 16, 17, 31, 33, 100]
USES = {"forward": _core.MATMUL_FORWARD, "input": _core.MATMUL_INPUT, "weight": _core.MATMUL_WEIGHT}
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}
THIN = 8  # products of at most so many columns are summed by 16 chains
LONG = np.finfo(np.longdouble).nmant


def operands(use, m, n, k, dtype, rng, with_start=True):
    """a, b as a use takes them, and start; and A (m, k), B (k, n) as the formula has them."""
    a = rng.normal(size=(m, k)).astype(dtype)
    b = rng.normal(size=(k, n)).astype(dtype)
    start = rng.normal(size=n).astype(dtype) if with_start and use != "weight" else None
    given_a = np.ascontiguousarray(a.T) if use == "weight" else a
    given_b = np.ascontiguousarray(b.T) if use == "input" else b
    return given_a, given_b, start, a, b


def product(use, a, b, start, m, n, k):
    real_type = 0 if a.dtype == np.float32 else 1
    workspace = allocate(_core.matmul_workspace(real_type, USES[use], m, n, k), np.uint8)
    c = np.full((m + 2, n), -7, a.dtype)
    _core.matmul(USES[use], a, b, start, c[1:-1], workspace)
    assert (c[[0, -1]] == -7).all(), "written outside"
    return c[1:-1]


def close_enough(found, a, b, start):
    """Each element within k u (|A||B|) of the exact one, which a wider type stands for."""
    wide = np.float64 if found.dtype == np.float32 else np.longdouble
    a, b = a.astype(wide), b.astype(wide)
    exact, size = a @ b, np.abs(a) @ np.abs(b)
    if start is not None:
        exact, size = exact + start, size + np.abs(start)
    bound = (a.shape[1] + 1) * UNIT[found.dtype.name] * size
    assert (np.abs(found - exact) <= bound).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("use", USES)
def test_products_within_their_bound(use, dtype, isa, rng):
    for m, n, k in itertools.product(SIZES, repeat=3):
        if (m + n + k) % 3 and 100 not in (m, n, k):
            continue  # a third of the small ones, each size in each place
        a, b, start, formula_a, formula_b = operands(use, m, n, k, dtype, rng, with_start=k % 2 == 1)
        close_enough(product(use, a, b, start, m, n, k), formula_a, formula_b, start)


@pytest.mark.skipif(LONG < 63, reason="no type wide enough to round a fused product once")
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("m, n, k", [(5, 33, 40), (14, 17, 31), (3, 8, 50), (9, 1, 16), (2, 7, 100)])
def test_the_order_of_each_sum(use, m, n, k, isa, rng):
    """One chain of fused multiply-adds over k from the start; forward with few columns, 16 chains and a tree.

    A chain is emulated in extended precision: product exact, sum all but exact, then rounded to float32.
    """
    a, b, start, formula_a, formula_b = operands(use, m, n, k, "float32", rng)
    found = product(use, a, b, start, m, n, k)
    wide_a, wide_b = formula_a.astype(np.longdouble), formula_b.astype(np.longdouble)

    def fused(total, terms):
        for term in terms:
            total = (total.astype(np.longdouble) + wide_a[:, term, None] * wide_b[term]).astype(np.float32)
        return total

    zero = np.zeros((m, n), np.float32)
    if use == "forward" and n <= THIN:
        chains = [fused(zero, range(lane, k, 16)) for lane in range(16)]
        while len(chains) > 1:
            half = len(chains) // 2
            chains = [chains[lane] + chains[lane + half] for lane in range(half)]
        expected = chains[0] + (0 if start is None else start)
    else:
        expected = fused(zero if start is None else zero + start, range(k))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("use", USES)
def test_an_element_depends_on_its_row_and_column_only(use, dtype, isa, rng):
    """Parts of a product computed alone have the bits they have in the whole."""
    m, n, k = 37, 45, 29
    a, b, start, formula_a, formula_b = operands(use, m, n, k, dtype, rng)
    whole = product(use, a, b, start, m, n, k)
    for rows, columns in itertools.product([1, 2, 13, 14, 15, 29], [9, 16, 17, 31, 33]):
        part_a, part_b = formula_a[:rows], formula_b[:, -columns:]
        given_a = np.ascontiguousarray(part_a.T if use == "weight" else part_a)
        given_b = np.ascontiguousarray(part_b.T if use == "input" else part_b)
        part_start = None if start is None else start[-columns:].copy()
        part = product(use, given_a, given_b, part_start, rows, columns, k)
        np.testing.assert_array_equal(part, whole[:rows, -columns:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_set_gives_the_same_bits(dtype, rng):
    shapes = [(14, 45, 29), (30, 100, 7), (5, 3, 65), (1, 8, 16), (33, 1, 9), (64, 128, 40)]
    cases = [(use, *shape) for use in USES for shape in shapes]
    data = [operands(use, m, n, k, dtype, rng)[:3] for use, m, n, k in cases]
    before, results = _core.isa(), {}
    try:
        for name in ISAS:
            assert _core.isa_select(name)
            results[name] = [product(case[0], *given, *case[1:]) for case, given in zip(cases, data, strict=True)]
    finally:
        _core.isa_select(before)
    for name in ISAS:
        for found, expected in zip(results[name], results[ISAS[0]], strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("m, n, k", [(0, 9, 5), (0, 3, 5), (4, 9, 0), (4, 3, 0), (4, 0, 3), (0, 0, 0)])
def test_empty_products(use, m, n, k, isa, rng):
    """No rows or columns: nothing; no terms: the start, or zeros."""
    a, b, start, _, _ = operands(use, m, n, k, "float32", rng)
    c = product(use, a, b, start, m, n, k)
    assert c.shape == (m, n)
    np.testing.assert_array_equal(c, np.zeros((m, n)) if start is None else np.tile(start, (m, 1)))
