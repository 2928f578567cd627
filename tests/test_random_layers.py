# SPDX-License-Identifier: BSD-3-Clause
"""Dropout and noise: how much is left out, how large noise is, and what the random numbers depend on.

That they are Philox's is seen in test_layer_kinds.py; here is what that is good for.
"""

import math

import numpy as np
import pytest

import fastnn as fn

N = 512


def drawn(layer, *, rows=200, columns=N, seed=0, passes=1, dtype="float32", start=None, threads=None):
    """What a layer makes of ones; behind it one layer that hands everything on."""
    net = fn.Sequential([layer, fn.Dense(columns, use_bias=False)], inputs=columns, seed=seed, dtype=dtype)
    net.layers[1].weight = np.eye(columns)
    if start is not None:
        net._parameters.draws[0] = start
    X = np.ones((rows, columns))
    found = [net.forward(X, training=True, threads=threads) for _ in range(passes)]
    return found[0] if passes == 1 else found


def correlation(a, b):
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1])


# ---- dropout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1 / 65536, 0.1, 0.25, 0.5, 0.8, 0.999])
def test_the_rate_is_the_share_left_out(rate):
    y = drawn(fn.Dropout(rate))
    kept, n = 1 - rate, y.size
    deviation = math.sqrt(rate * kept / n)
    assert abs((y == 0).mean() - rate) < 5 * deviation + 2**-17
    assert set(np.unique(y)) == {np.float32(0), np.float32(65536 / round(kept * 65536))}
    assert abs(y.mean() - 1) < 5 * math.sqrt(rate / kept / n) + 1e-6  # what goes on has the mean of what came
    by_column, by_row = (y == 0).mean(axis=0), (y == 0).mean(axis=1)
    assert np.abs(by_column - rate).max() < 6 * math.sqrt(rate * kept / len(y)) + 1 / len(y)
    assert np.abs(by_row - rate).max() < 6 * math.sqrt(rate * kept / N) + 1 / N


@pytest.mark.parametrize("rate", [0.0, 0])
def test_a_rate_of_nothing_does_nothing(rate):
    assert (drawn(fn.Dropout(rate)) == 1).all() and (drawn(fn.GaussianNoise(rate)) == 1).all()


def test_a_rate_next_to_one_keeps_the_mean():
    """At least 1 of 65,536 is kept, 65,536 times as large."""
    y = drawn(fn.Dropout(1 - 2.0**-30), rows=2000, columns=1024)
    assert set(np.unique(y)) == {0, 65536} and 3 < (y > 0).sum() < 70


def test_neighbours_rows_batches_layers_and_seeds_are_independent():
    both = fn.Sequential([fn.Dropout(0.5), fn.Dropout(0.5), fn.Dense(N, use_bias=False)], inputs=N, seed=0)
    both.layers[2].weight = np.eye(N)
    twice = both.forward(np.ones((200, N)), training=True)
    assert abs((twice == 0).mean() - 0.75) < 0.01  # the second layer draws anew
    first, second = drawn(fn.Dropout(0.5), passes=2)
    for a, b in (
        (first, second), (first, drawn(fn.Dropout(0.5), seed=1)), (first, drawn(fn.Dropout(0.5), start=2**40)),
        (first[:-1], first[1:]), (first[:, :-1], first[:, 1:]), (first[:, :-128], first[:, 128:]),
        (first[:, ::2], first[:, 1::2]),
    ):  # fmt: skip
        assert correlation(a, b) < 5 / math.sqrt(a.size)
    assert correlation(first, twice) > 0.5  # its first layer is the first one here


@pytest.mark.parametrize("layer", [lambda: fn.Dropout(0.3), lambda: fn.GaussianNoise(0.5)], ids=["dropout", "noise"])
@pytest.mark.parametrize("columns", [1, 3, 64, 130])
def test_what_is_drawn_depends_on_seed_batch_layer_and_place_alone(layer, columns, isa):
    whole = drawn(layer(), rows=150, columns=columns)
    for other in (
        drawn(layer(), rows=150, columns=columns, threads=3), drawn(layer(), rows=150, columns=columns),
        np.vstack([drawn(layer(), rows=70, columns=columns), whole[70:]]),
    ):  # fmt: skip
        np.testing.assert_array_equal(whole, other)
    double = drawn(layer(), rows=150, columns=columns, dtype="float64")
    np.testing.assert_allclose(whole, double, rtol=1e-6, atol=1e-6)
    assert ((whole == 0) == (double == 0)).all()


def test_the_way_back_has_the_same_mask():
    net = fn.Sequential([fn.Dropout(0.4), fn.Dense(1, use_bias=False)], inputs=N, seed=0, dtype="float64")
    net.layers[1].weight = np.ones((N, 1))
    X = np.random.default_rng(0).normal(size=(50, N)) + 9
    output = net.forward(X, training=True)
    dx = net.backward(np.ones((50, 1)))
    assert set(np.unique(dx)) == {0, 65536 / round(0.6 * 65536)}
    np.testing.assert_allclose((X * dx).sum(axis=1), output[:, 0], rtol=1e-13)
    again = net.forward(X, training=True)
    assert (net.backward(np.ones((50, 1))) != dx).any() and (again != output).any()


def test_neither_prediction_nor_validation_draws():
    X = np.random.default_rng(1).normal(size=(40, 6))
    y = X[:, :1]
    net = fn.Sequential([fn.Dropout(0.5), fn.GaussianNoise(1.0), fn.Dense(1)], inputs=6, seed=0)
    expected = X.astype(np.float32) @ net.layers[2].weight + net.layers[2].bias
    for found in (net.predict(X), net.forward(X), net.predictor()(X.astype(np.float32))):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert net._parameters.draws[0] == 0
    history = net.fit(X, y, epochs=1, optimizer=fn.SGD(0.0), validation_data=(X, y), verbose=0).history
    assert history["val_loss"] == [pytest.approx(float(((expected - y) ** 2).mean()), rel=1e-5)]
    assert history["loss"][0] > 1.2 * history["val_loss"][0]


def test_each_batch_and_epoch_gets_another_mask():
    net = fn.Sequential([fn.Dropout(0.5), fn.Dense(1)], inputs=20, seed=0)
    X, losses = np.ones((8, 20)), []
    for _ in range(6):
        losses.append(net.train_step(X, np.ones(8), optimizer=fn.SGD(0.0)))
    history = net.fit(X, np.ones(8), epochs=6, optimizer=fn.SGD(0.0), shuffle=False, verbose=0).history
    assert len({*losses, *history["loss"]}) == 12


# ---- noise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deviation", [1e-3, 0.5, 3.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_is_normal(deviation, dtype):
    noise = (drawn(fn.GaussianNoise(deviation), dtype=dtype).astype(np.float64) - 1) / deviation
    n = noise.size
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((noise**power).mean() - expected) < 5 * math.sqrt(variance / n), power
    ranked = np.sort(noise.ravel())
    erf = np.vectorize(math.erf)
    distance = np.abs((1 + erf(ranked[::50] / math.sqrt(2))) / 2 - np.arange(0, n, 50) / n).max()
    assert distance < 1.95 / math.sqrt(n)  # Kolmogorov's bound, passed once in a thousand
    assert abs(np.abs(ranked).max() - 4.9) < 0.8


def test_noise_reaches_the_gradient_unchanged():
    net = fn.Sequential([fn.GaussianNoise(0.7), fn.Dense(2)], inputs=3, seed=0, dtype="float64")
    X = np.ones((5, 3))
    net.forward(X, training=True)
    np.testing.assert_allclose(net.backward(np.ones((5, 2))), np.ones((5, 2)) @ net.layers[1].weight.T)


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: fn.Dropout(1), ValueError, r"rate must be in \[0, 1\), not 1"),
    (lambda: fn.Dropout(-0.1), ValueError, r"rate must be in \[0, 1\), not -0.1"),
    (lambda: fn.Dropout(math.nan), ValueError, r"rate must be in \[0, 1\), not nan"),
    (lambda: fn.Dropout("0.5"), TypeError, "rate must be a number, not str"),
    (lambda: fn.Dropout(), TypeError, "rate"),
    (lambda: fn.GaussianNoise(-1), ValueError, "stddev must be finite and not negative, not -1"),
    (lambda: fn.GaussianNoise(math.inf), ValueError, "stddev must be finite and not negative, not inf"),
    (lambda: fn.GaussianNoise(None), TypeError, "stddev must be a number, not NoneType"),
])  # fmt: skip
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
