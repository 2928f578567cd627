# SPDX-License-Identifier: BSD-3-Clause
"""Every loss of the registry: its formula and gradient on each instruction set, and at the ends of the number range.

The network is one layer of n outputs without weights worth speaking of: its bias is the row of outputs z, and the
gradient of the bias is the loss's gradient.
"""

import numpy as np
import pytest
import reference
from registries import check_row

import fastnn as fn

SIZES = [1, 7, 8, 9, 15, 16, 17, 31, 33, 100]
UNIT = {"float32": 2.0**-23, "float64": 2.0**-52}
EXTREMES = [0, 1e-45, -1e-45, 88, -88, 104, -104, 1e8, -1e8, 3.4028235e38, -3.4028235e38]


def sizes(name):
    return [n for n in SIZES if n > 1 or fn.losses[name].targets != "classes"]


def biased(z, dtype):
    """A network whose output is z for the input 0."""
    net = fn.Sequential([fn.Dense(len(z))], inputs=1, seed=0, dtype=dtype)
    net.layers[0].bias[...] = z
    return net


def loss_and_gradient(name, y, z, dtype):
    """Of one row."""
    net, x = biased(z, dtype), np.zeros((1, 1))
    loss = net.train_step(x, y, name, fn.SGD(1.0))
    assert loss == loss_of(name, y, z, dtype), "train_step and evaluate disagree"
    return loss, np.asarray(z, dtype) - net.layers[0].bias


def loss_of(name, y, z, dtype):
    return biased(z, dtype).evaluate(np.zeros((1, 1)), y, loss=name)["loss"]


@pytest.mark.parametrize("name", fn.losses)
def test_row_has_formula_gradient_and_running_example(name):
    row = fn.losses[name]
    check_row(row, row.formula, row.gradient)
    assert row.name == name and (row.joins is None or row.joins in fn.activations)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("name", fn.losses)
def test_formula_and_gradient(name, dtype, soft, isa, rng):
    for n in sizes(name):
        z = rng.normal(size=n).astype(dtype)
        y = reference.targets_for(name, 1, n, rng, soft=soft)
        y = y if y.dtype.kind == "i" else y.astype(dtype)  # what is seen of it
        rows = reference.as_rows(name, y, n)
        loss, gradient = loss_and_gradient(name, y, z, dtype)
        tolerance = (8 + 2 * n) * UNIT[dtype]
        np.testing.assert_allclose(loss, fn.losses[name](rows, z[None])[0], rtol=tolerance)
        exact = reference.loss_gradient(name, rows, z[None].astype(np.float64))[0]
        if name not in reference.LOSS_GRADIENTS:
            tolerance = max(tolerance, 1e-9)  # of differences
        np.testing.assert_allclose(gradient, exact, rtol=tolerance, atol=tolerance * max(1, np.abs(z).max()))


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("name", reference.LOSS_GRADIENTS)
def test_gradient_of_the_formula_by_differences(name, soft, rng):
    z = rng.normal(size=(3, 7))
    y = reference.as_rows(name, reference.targets_for(name, 3, 7, rng, soft=soft), 7)
    expected = reference.by_differences(lambda outputs: fn.losses[name](y, outputs), z, None)
    np.testing.assert_allclose(reference.loss_gradient(name, y, z), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", fn.losses)
def test_the_loss_of_many_rows_is_their_weighted_mean(name, isa, rng):
    n, rows = 9, 50
    net = fn.Sequential([fn.Dense(n)], inputs=4, seed=3, dtype="float64")
    X, w = rng.normal(size=(rows, 4)), rng.random(rows)
    w[::7] = 0
    y = reference.targets_for(name, rows, n, rng)
    each = fn.losses[name](reference.as_rows(name, y, n), net.predict(X))
    found = net.evaluate(X, y, loss=name)["loss"], net.evaluate(X, y, loss=name, sample_weight=w)["loss"]
    np.testing.assert_allclose(found, [each.mean(), (w * each).sum() / w.sum()], rtol=1e-13)


@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("name", [name for name in fn.losses if fn.losses[name].joins])
def test_extreme_logits_have_a_finite_loss_and_gradient(name, dtype, isa):
    """Alone and together, right and wrong; and as far as a float64 can tell, the right ones."""
    n = len(EXTREMES)
    for z in [EXTREMES, EXTREMES[::-1], *([e] + [0] * (n - 1) for e in EXTREMES), *([e] * n for e in EXTREMES)]:
        z = np.array(z, dtype)
        for right in (0, n - 2, n - 1):
            y = np.eye(n, dtype=dtype)[[right]]
            loss, gradient = loss_and_gradient(name, y, z, dtype)
            assert np.isfinite(loss) and loss >= 0 and np.isfinite(gradient).all()
            exact = fn.losses[name](y, z[None])[0]
            np.testing.assert_allclose(loss, exact, rtol=100 * UNIT[dtype], atol=np.finfo(dtype).smallest_normal)
            if name == "cross_entropy":
                labelled, its_gradient = loss_and_gradient(name, np.array([right]), z, dtype)
                np.testing.assert_allclose(labelled, loss, rtol=4 * UNIT[dtype])
                np.testing.assert_allclose(its_gradient, gradient, rtol=4 * UNIT[dtype])


@pytest.mark.parametrize("dtype", UNIT)
def test_cross_entropy_of_logits_at_both_ends_of_the_range(dtype, isa):
    """Their difference overflows; the loss is then the largest float64 at most, and training goes on."""
    big = float(np.finfo(dtype).max)
    for y in (np.array([0]), np.array([[1.0, 0, 0]])):
        loss, gradient = loss_and_gradient("cross_entropy", y, np.array([-big, big, 0], dtype), dtype)
        assert np.isfinite(loss) and loss >= big
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", [name for name in fn.losses if fn.losses[name].joins])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_joined_or_from_logits_trains_the_same_bits(name, soft, isa, rng):
    """A last activation that belongs to the loss is folded in: the network learns as one that ends in logits."""
    n, rows = 5, 70
    X, y = rng.normal(size=(rows, 4)), reference.targets_for(name, rows, n, rng, soft=soft)
    last = fn.losses[name].joins
    joined = fn.Sequential([fn.Dense(9, "tanh"), fn.Dense(n, last)], inputs=4, seed=5)
    logits = fn.Sequential([fn.Dense(9, "tanh"), fn.Dense(n)], inputs=4, seed=5)
    losses = [net.fit(X, y, loss=name, epochs=3, batch_size=16, verbose=0).history["loss"] for net in (joined, logits)]
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(joined.params, logits.params)
    exact = fn.activations[last](logits.predict(X))
    np.testing.assert_allclose(joined.predict(X), exact, rtol=1e-5)
    assert joined.evaluate(X, y, loss=name)["loss"] == logits.evaluate(X, y, loss=name)["loss"]


def test_labels_are_rows_with_a_one(isa, rng):
    """Labels in every form api.md names, and one-hot rows, lead to the same place."""
    X, y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    forms = [
        y,
        y[:, None],
        y.astype(np.int8),
        y.astype(np.uint64),
        y.astype(np.float32),
        y.astype(np.float16),
        y.tolist(),
    ]
    nets = []
    for form in [*forms, np.eye(3)[y], np.eye(3, dtype=bool)[y]]:
        net = fn.Sequential([fn.Dense(9, "relu"), fn.Dense(3, "softmax")], inputs=4, seed=5)
        net.fit(X, form, epochs=2, batch_size=7, verbose=0)
        nets.append(net)
    for net in nets[: len(forms)]:
        np.testing.assert_array_equal(net.params, nets[0].params)
    for net in nets[len(forms) :]:
        np.testing.assert_allclose(net.params, nets[0].params, rtol=2e-6, atol=1e-7)


def test_by_the_last_layer(rng):
    """Without a word, the loss that belongs to the last activation."""
    X = rng.normal(size=(8, 3))
    for last, name, y in [
        ("softmax", "cross_entropy", np.arange(8) % 2),
        ("sigmoid", "binary_cross_entropy", rng.random((8, 2))),
        ("linear", "mse", rng.random((8, 2))),
        ("tanh", "mse", rng.random((8, 2))),
    ]:
        net = fn.Sequential([fn.Dense(2, last)], seed=0)
        assert net.fit(X, y, epochs=1, verbose=0).loss == name
