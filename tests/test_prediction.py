# SPDX-License-Identifier: BSD-3-Clause
"""`predict`: the quick way of few rows and the long one agree, and neither overlooks a number that is not finite."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn as fn
from fastnn import _core

WIDTHS = {"narrow": [8, 3], "thin": [2], "wide": [256, 128, 10], "far apart": [1024, 3], "too far": [2100, 2]}


def network(kind="wide", inputs=20, dtype="float32"):
    return fn.Sequential([fn.Dense(units, "relu") for units in WIDTHS[kind]], inputs=inputs, seed=3, dtype=dtype)


def rows_of(n, inputs=20, dtype=np.float32):
    return np.random.default_rng(n).normal(size=(n, inputs)).astype(dtype)


def way_of(monkeypatch):
    """What predict_few returns from now on: None where the long way had to be gone."""
    found, quick = [], _core.predict_few

    def spy(*arguments):
        found.append(quick(*arguments))
        return found[-1]

    monkeypatch.setattr("fastnn.evaluation._core.predict_few", spy)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", WIDTHS)
def test_every_number_of_rows_and_threads_gives_the_same_bits(kind, dtype):
    net, X = network(kind, dtype=dtype), rows_of(700, dtype=dtype)
    expected = np.concatenate([net.predict(row, threads=1) for row in X])
    for rows in (1, 2, 13, 63, 64, 65, 100, 255, 260, 700):
        for threads in (None, None, 1, 2, 3, 7):  # twice: the first call keeps its memory for the second
            assert net.predict(X[:rows], threads=threads).tobytes() == expected[:rows].tobytes(), (rows, threads)


def test_the_second_call_is_quick(monkeypatch):
    found = way_of(monkeypatch)
    net, X = network(), rows_of(5)
    outputs = [net.predict(X) for _ in range(3)]
    assert [way is None for way in found] == [True, False, False]
    assert outputs[1] is found[1] and outputs[1] is not outputs[2]
    for other in (X.astype(np.float64), X[::-1], X[0], X.tolist(), np.asfortranarray(X)):  # must be converted
        net.predict(other)
        assert found[-1] is None


def test_changed_weights_are_seen():
    net, X = network("narrow"), rows_of(4)
    before = [net.predict(X) for _ in range(2)][-1]
    net.layers[0].weight *= 2
    after = net.predict(X)
    assert not np.array_equal(before, after) and np.array_equal(after, net.predict(X, threads=2))


@pytest.mark.parametrize("rows", [1, 7, 64, 300, 5000])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_found_anywhere(rows, value):
    net, X = network(), rows_of(rows)
    good = [net.predict(X, threads=t) for t in (None, None)][-1]
    for row, column in {(0, 0), (rows - 1, 19), (rows // 2, 17)}:
        bad = X.copy()
        bad[row, column] = value
        for wrong in (bad, bad.astype(np.float64), np.asfortranarray(bad)):
            for threads in (None, 1, 2, 3):
                with pytest.raises(ValueError, match=rf"X is {value} in row {row}, column {column}"):
                    net.predict(wrong, threads=threads)
    assert np.array_equal(net.predict(X), good)


def test_an_activation_does_not_hide_it():
    net, X = network("narrow"), rows_of(3)
    net.layers[0].weight[...] = 0
    X[1, 2] = np.nan  # 0.NaN is NaN, and the larger of 0 and NaN may be 0
    for _ in range(2):
        with pytest.raises(ValueError, match="X is nan in row 1, column 2"):
            net.predict(X)


def test_what_becomes_infinite_as_float32_is_found():
    X = rows_of(100, dtype=np.float64)
    X[99, 3] = 1e39
    for threads in (1, 2):
        with pytest.raises(ValueError, match=r"1e\+39 in row 99, column 3, which is too large for float32"):
            network().predict(X, threads=threads)
    assert np.isfinite(network(dtype="float64").predict(X)).all()


def test_sparse_rows_are_looked_at_too():
    sparse = pytest.importorskip("scipy.sparse")
    X = rows_of(90) * (rows_of(90) > 1)
    X[80, 5] = np.nan
    with pytest.raises(ValueError, match="X is nan in row 80, column 5"):
        network().predict(sparse.csr_matrix(X))


def test_callers_in_many_threads_do_not_share_memory():
    net, inputs = network(), [rows_of(n) for n in (1, 3, 10)]
    expected = [net.predict(X, threads=1) for X in inputs]

    def call(i):
        return np.array_equal(net.predict(inputs[i % 3]), expected[i % 3])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(3000)))


def test_another_instruction_set_finds_its_memory():
    """Workspaces kept for one set may be too small for another."""
    net, X, before = network(), rows_of(6), _core.isa()
    expected = net.predict(X)
    try:
        for isa in filter(_core.isa_supported, _core.isa_names()):
            assert _core.isa_select(isa)
            for _ in range(2):
                assert np.array_equal(net.predict(X), expected), isa
    finally:
        _core.isa_select(before)
