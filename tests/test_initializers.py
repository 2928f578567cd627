# SPDX-License-Identifier: BSD-3-Clause
"""Every initializer of the registry: its range and spread, and that weights depend on seed, tensor and place alone."""

import math

import numpy as np
import pytest
from registries import check_row

import fastnn as fn
from fastnn import _core

# name -> largest magnitude and standard deviation, as functions of (inputs, units).
EXPECTED = {
    "glorot_uniform": lambda i, o: (math.sqrt(6 / (i + o)), math.sqrt(2 / (i + o))),
    "he_uniform": lambda i, o: (math.sqrt(6 / i), math.sqrt(2 / i)),
    "lecun_uniform": lambda i, o: (math.sqrt(3 / i), math.sqrt(1 / i)),
    "zeros": lambda i, o: (0, 0),
}
WIDE, TALL = (300, 200), (1000, 50)


def draw(name, seed=0, segment=0, shape=WIDE, dtype="float64"):
    return fn.initializers[name].draw(seed=seed, segment=segment, shape=shape, dtype=dtype)


@pytest.mark.parametrize("name", fn.initializers)
def test_row_has_formula_and_running_example(name):
    row = fn.initializers[name]
    check_row(row, row.formula)
    assert row.name == name
    assert name in EXPECTED, "what range and spread is it to have?"


@pytest.mark.parametrize("shape", [WIDE, TALL])
@pytest.mark.parametrize("name", fn.initializers)
def test_range_mean_and_spread(name, shape):
    w = draw(name, shape=shape)
    limit, deviation = EXPECTED[name](*shape)
    assert w.shape == shape and np.abs(w).max() <= limit
    # Five standard errors of the mean; the fourth moment bounds the error of the spread.
    assert abs(w.mean()) <= 5 * deviation / math.sqrt(w.size)
    assert abs(w.std() - deviation) <= 5 * deviation / math.sqrt(w.size)
    if limit:
        assert np.abs(w).max() > 0.999 * limit
        # Even over the range, by chi-square: 50 bins, mean 49, standard deviation 9.9.
        counts, _ = np.histogram(w, bins=50, range=(-limit, limit))
        assert ((counts - w.size / 50) ** 2 / (w.size / 50)).sum() < 49 + 6 * 9.9
        # Neighbours in a row and in a column know nothing of each other.
        for left, right in ((w[:, 1:], w[:, :-1]), (w[1:], w[:-1])):
            assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 5 / math.sqrt(w.size)


@pytest.mark.parametrize("name", [name for name in fn.initializers if EXPECTED.get(name, lambda *_: (1, 1))(9, 9)[0]])
def test_a_weight_is_a_function_of_seed_tensor_and_place(name):
    w = draw(name)
    np.testing.assert_array_equal(draw(name), w)
    np.testing.assert_array_equal(draw(name, dtype="float32"), w.astype(np.float32))
    for other in (draw(name, seed=1), draw(name, seed=2**63), draw(name, segment=1), draw(name, segment=2)):
        assert (other != w).mean() > 0.999
        assert abs(np.corrcoef(other.ravel(), w.ravel())[0, 1]) < 5 / math.sqrt(w.size)


def test_the_first_weights_are_these_everywhere():
    """Recorded: the generator's words by integer arithmetic, the rest rounded alike by every machine."""
    found = [value.hex() for value in draw("he_uniform", seed=7, segment=3, shape=(6, 1)).ravel()[:4].tolist()]
    words = np.empty(4, np.uint32)
    _core.random_words(7, _core.STREAM_INITIAL, 3, words)
    assert found == [((int(word) + 0.5) * 2.0**-31 - 1.0).hex() for word in words]  # sqrt(6 / 6) is 1


@pytest.mark.parametrize("name", fn.activations)
def test_auto_follows_the_activation(name):
    row = fn.activations[name]
    net = fn.Sequential([fn.Dense(5, name), fn.Dense(3)], inputs=4, seed=9)
    expected = fn.initializers[row.initializer].draw(seed=9, segment=0, shape=(4, 5), dtype="float32")
    np.testing.assert_array_equal(net.layers[0].weight, expected)
    expected = fn.initializers["glorot_uniform"].draw(seed=9, segment=2, shape=(5, 3), dtype="float32")
    np.testing.assert_array_equal(net.layers[1].weight, expected)
    assert (net.layers[0].bias == 0).all() and (net.layers[1].bias == 0).all()


@pytest.mark.parametrize("name", fn.initializers)
def test_by_name_or_by_row(name):
    nets = [fn.Sequential([fn.Dense(3, initializer=kind)], inputs=4, seed=1) for kind in (name, fn.initializers[name])]
    expected = draw(name, seed=1, shape=(4, 3), dtype="float32")
    for net in nets:
        np.testing.assert_array_equal(net.layers[0].weight, expected)


def test_when_the_inputs_become_known_makes_no_difference(rng):
    X = rng.normal(size=(4, 6))
    early = fn.Sequential([fn.Dense(5, "relu"), fn.Dense(1)], inputs=6, seed=3)
    late = fn.Sequential([fn.Dense(5, "relu"), fn.Dense(1)], seed=3)
    late.fit(X, X[:, 0], epochs=0, verbose=0)
    np.testing.assert_array_equal(late.params, early.params)


def test_a_seed_of_its_own_is_drawn_and_recorded():
    a, b = (fn.Sequential([fn.Dense(3)], inputs=4) for _ in range(2))
    assert a.seed != b.seed and (a.params != b.params).any()
    np.testing.assert_array_equal(fn.Sequential([fn.Dense(3)], inputs=4, seed=a.seed).params, a.params)
