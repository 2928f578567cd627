# SPDX-License-Identifier: BSD-3-Clause
"""The two walks, depth-first and layer by layer: which network takes which, and that both follow the formulas.

A depth-first walk gives each thread buffers of its own, so its workspace grows with threads by a tile's rows each; the
other's by a few hundred bytes, from two threads on: one may do without copies of weights.
"""

import numpy as np
import pytest
import reference

import fastnn as fn
from fastnn import _core


def network(inputs, *units, dtype="float64", last="linear", seed=4, activation="tanh"):
    layers = [*(fn.Dense(width, activation) for width in units[:-1]), fn.Dense(units[-1], last)]
    return fn.Sequential(layers, inputs=inputs, seed=seed, dtype=dtype)


def is_depth_first(net, batch=64):
    sizes = [net._parameters.network.workspace_size(_core.USE_TRAIN, batch, threads) for threads in (2, 8)]
    return sizes[1] - sizes[0] > 6 * 512


# (inputs, *units) -> depth-first. 128 units in any layer, or more than 65,536 parameters, are too much.
CHOICES = {
    (8, 16, 4): True,
    (500, 127, 4): True,
    (8, 128, 4): False,
    (8, 16, 128): False,
    (8, 16, 200, 16, 4): False,
    (8192, 7, 1): True,
    (9360, 7, 1): True,
    (9361, 7, 1): False,
    (65535, 1): True,
    (65536, 1): False,
    (100000, 2): False,
}


@pytest.mark.parametrize("sizes", CHOICES, ids=str)
def test_which_network_is_walked_how(sizes):
    net = network(*sizes, dtype="float32")
    assert is_depth_first(net) == CHOICES[sizes] == (net.n_params <= 65536 and max(sizes[1:]) < 128)


@pytest.mark.parametrize("sizes", [(8, 127, 4), (8, 128, 4)], ids=str)
def test_the_walk_depends_on_sizes_and_not_on_batch_type_or_set(sizes, isa):
    for dtype in ("float32", "float64"):
        net = network(*sizes, dtype=dtype)
        assert {is_depth_first(net, batch) for batch in (2, 64, 1000)} == {CHOICES.get(sizes, True)}


# Batches around a tile (64 rows), around slots (64, 128, 256, 384 rows ...: the number changes), and around a chunk
# (512 rows or more); and batches that leave a part of one row.
BATCHES = [1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1025, 2047, 2049]
TEAMS = [(batch, 1) for batch in BATCHES] + [(batch, team) for batch in (2, 64, 257, 1025) for team in (2, 3, 5, 8)]


@pytest.mark.parametrize("batch, team", TEAMS)
@pytest.mark.parametrize("sizes", [(5, 9, 3), (5, 130, 3), (5, 3, 130, 2)], ids=str)
def test_steps_follow_the_formulas(sizes, batch, team):
    """Two steps of Adam in float64 against the reference; every row counts, whatever part of the batch it is in."""
    rng = np.random.default_rng(batch)
    X, y, w = rng.normal(size=(batch, 5)), rng.normal(size=(batch, sizes[-1])), rng.uniform(0.5, 2, batch)
    net, optimizer = network(*sizes), fn.Adam(0.01, epsilon=1e-2)
    expected = reference.Network(net, "mse")
    for _ in range(2):
        loss = net.train_step(X, y, "mse", optimizer, sample_weight=w, threads=team)
        np.testing.assert_allclose(loss, expected.step(optimizer, X, y, w), rtol=1e-12)
    np.testing.assert_allclose(net.params, expected.params, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sizes", [(5, 9, 3), (5, 130, 3)], ids=str)
@pytest.mark.parametrize("batch", [1, 50, 200, 600])
def test_an_epoch_follows_the_formulas(sizes, batch, threads):
    """Many steps in one call, with a last batch that is smaller and has other slots."""
    rows = 650 if batch > 1 else 40
    rng = np.random.default_rng(batch)
    X, y = rng.normal(size=(rows, 5)), rng.integers(0, 3, rows)
    net, optimizer = network(*sizes, last="softmax"), fn.SGD(0.05, momentum=0.5)
    expected = reference.Network(net, "cross_entropy")
    net.fit(X, y, optimizer=optimizer, epochs=1, batch_size=batch, shuffle=False, threads=threads, verbose=0)
    for first in range(0, rows, batch):
        expected.step(optimizer, X[first : first + batch], y[first : first + batch])
    assert net.threads_used == threads
    np.testing.assert_allclose(net.params, expected.params, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rows", [32, 33, 47, 62])
def test_the_slots_of_a_narrow_network_are_halves_summed_in_order(rows, isa, rng):
    """From 32 rows on: the gradient is that of the first half plus that of the second, rounded once."""
    X, doutput = rng.normal(size=(rows, 5)), rng.normal(size=(rows, 3))
    for sizes, in_halves in (((5, 9, 3), True), ((5, 130, 3), False)):
        net = network(*sizes, dtype="float32")

        def gradient(first, last, net=net):
            net.forward(X[first:last], training=True)
            net.backward(doutput[first:last])
            return net.grads.copy()

        halves = gradient(0, rows // 2) + gradient(rows // 2, rows)
        assert (gradient(0, rows) == halves).all() == in_halves


def test_narrow_and_wide_learn_alike(rng):
    """The same function in both forms: units that are silent do not matter."""
    X, y = rng.normal(size=(300, 5)), rng.normal(size=(300, 2))
    narrow, wide = network(5, 9, 2), network(5, 130, 2)
    for layer in wide.layers:
        layer.weight[...] = 0
    wide.layers[0].weight[:, :9] = narrow.layers[0].weight
    wide.layers[1].weight[:9] = narrow.layers[1].weight
    assert is_depth_first(narrow) and not is_depth_first(wide)
    for net in (narrow, wide):
        net.fit(X, y, optimizer=fn.SGD(0.1, momentum=0.9), epochs=3, batch_size=100, verbose=0)
    np.testing.assert_allclose(wide.predict(X), narrow.predict(X), rtol=1e-10, atol=1e-12)
