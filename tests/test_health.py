# SPDX-License-Identifier: BSD-3-Clause
"""Health: every illness is made on purpose and must be named; a healthy network must not be called ill."""

import warnings

import numpy as np
import pytest

import fastnn as fn
from fastnn import health


def regression(rng, rows=2000, columns=10):
    X = rng.normal(size=(rows, columns))
    return X, np.tanh(X[:, 0]) + X[:, 1] * 0.5


def trained(layers, X, y, **arguments):
    net = fn.Sequential(layers, seed=0)
    return net, net.fit(X, y, verbose=0, **arguments)


@pytest.mark.filterwarnings("error")
def test_a_healthy_network_is_not_called_ill(rng, monkeypatch):
    monkeypatch.setattr(health, "LOOK", 0)  # or so small a fit would go without a look at outputs
    X, y = regression(rng)
    layers = [fn.Dense(64, "relu"), fn.Residual([fn.LayerNorm(), fn.Dense(64, "tanh")]), fn.Dense(1)]
    net, history = trained(layers, X, y, epochs=10, optimizer="adam", validation_fraction=0.2)
    assert history.remarks == [] and history.health.warnings == () and net.health(X).warnings == ()
    assert "!" not in history.report()
    assert [layer.layer for layer in history.health.layers] == [
        "layer 0", "layer 1, part 0", "layer 1, part 1", "layer 1", "layer 2"
    ]  # fmt: skip


def test_dead_units_are_counted(rng):
    X, _ = regression(rng)
    net = fn.Sequential([fn.Dense(10, "relu"), fn.Dense(4, "elu"), fn.Dense(1)], inputs=10, seed=0)
    net.layers[0].bias[:7] = -1e3
    health = net.health(X)
    assert health.layers[0].dead == 0.7 and health.layers[1].dead < 0.5 and health.layers[2].dead is None
    assert len(health.warnings) == 1
    assert health.warnings[0].startswith("layer 0 (relu): 70 % of its units are 0 for every row")


@pytest.mark.parametrize(
    ("activation", "remedy"),
    [
        ("relu", "or leaky_relu"),
        ("leaky_relu", "or a larger slope as in LeakyReLU(0.2)"),
        ("elu", "or a BatchNorm before this activation"),
        ("selu", "or a BatchNorm before this activation"),
    ],
)
def test_what_to_try_against_dead_units_fits_the_activation(activation, remedy, rng):
    X, _ = regression(rng)
    net = fn.Sequential([fn.Dense(10, activation), fn.Dense(1)], inputs=10, seed=0)
    net.layers[0].bias[:] = -100
    (said,) = net.health(X).warnings
    assert said.endswith(remedy) and ("dying ReLUs" in said) == (activation == "relu")


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softsign", "hard_sigmoid"])
def test_saturation_is_measured(activation, rng):
    X, _ = regression(rng)
    net = fn.Sequential([fn.Dense(10, activation), fn.Dense(1)], inputs=10, seed=0)
    assert net.health(X).layers[0].saturated < 0.4
    net.layers[0].weight *= 1e6
    health = net.health(X)
    assert health.layers[0].saturated > 0.99 and "saturation" in health.warnings[0]


def test_an_output_at_its_ends_is_sure_and_not_saturated(rng):
    X, _ = regression(rng)
    net = fn.Sequential([fn.Dense(4, "relu"), fn.Dense(1, "sigmoid")], inputs=10, seed=0)
    net.layers[1].bias[:] = 100
    assert net.health(X).layers[1].saturated is None and net.health(X).warnings == ()


def test_the_first_layer_that_is_not_finite_is_named(rng):
    X, _ = regression(rng)
    net = fn.Sequential([fn.Dense(8, "relu"), fn.Dense(8), fn.LayerNorm(), fn.Dense(1)], inputs=10, seed=0)
    net.layers[1].weight[...] = 3e38
    health = net.health(X)
    assert [layer.finite for layer in health.layers] == [True, False, False, False]
    assert "layer 1 (linear) is the first with outputs that are not finite" in health.warnings[0]


def test_vanishing_gradients_are_noticed(rng):
    X, y = regression(rng)
    layers = [*(fn.Dense(16, "sigmoid", initializer="glorot_uniform") for _ in range(12)), fn.Dense(1)]
    _, history = trained(layers, X, y, epochs=1, optimizer=fn.SGD(1e-3))
    (said,) = (said for said in history.health.warnings if "vanishes" in said)
    assert "Try relu instead of sigmoid or tanh, LayerNorm" in said


def test_relu_is_no_remedy_where_it_is_used(rng):
    X, y = regression(rng)
    net = fn.Sequential([*(fn.Dense(16, "relu") for _ in range(4)), fn.Dense(1)], inputs=10, seed=0)
    for layer in net.layers[1:]:
        layer.weight *= 0.03
    history = net.fit(X, y, epochs=1, optimizer=fn.SGD(1e-9), verbose=0)
    (said,) = (said for said in history.health.warnings if "vanishes" in said)
    assert "Try LayerNorm or BatchNorm, Residual, or fewer layers" in said


def test_exploding_gradients_are_noticed(rng):
    X, y = regression(rng)
    net = fn.Sequential([*(fn.Dense(16) for _ in range(4)), fn.Dense(1)], inputs=10, seed=0)
    for layer in net.layers[1:]:
        layer.weight *= 30
    net.layers[0].weight *= 1e-4
    history = net.fit(X, y, epochs=1, optimizer=fn.SGD(1e-12), verbose=0)
    assert any("explodes" in said for said in history.health.warnings), history.report()


@pytest.mark.parametrize(("rate", "words"), [(3.0, "changes its weights by"), (1e-12, "hardly learns")])
def test_steps_too_large_or_too_small_are_noticed(rate, words, rng):
    X, y = regression(rng)
    _, history = trained([fn.Dense(16, "tanh"), fn.Dense(1)], X, y, epochs=2, optimizer=fn.Adam(rate))
    assert any(words in said for said in history.health.warnings), history.report()


def test_a_schedule_that_ends_at_0_is_no_illness(rng):
    X, y = regression(rng)
    _, history = trained([fn.Dense(16, "tanh"), fn.Dense(1)], X, y, epochs=3, schedule=fn.CosineSchedule())
    assert history.health.warnings == ()


def test_gradients_and_updates_are_those_of_the_last_step(rng):
    """By hand: a step of plain gradient descent from the weights before it."""
    X, y = regression(rng, rows=64)
    net, history = trained([fn.Dense(3, "tanh"), fn.Dense(1)], X, y, epochs=1, batch_size=64, optimizer=fn.SGD(0.1))
    before = fn.Sequential([fn.Dense(3, "tanh"), fn.Dense(1)], inputs=10, seed=0)
    for own, old, found in zip(net.layers, before.layers, history.health.layers, strict=True):
        pairs = [(own.weight, old.weight), (own.bias, old.bias)]
        step = np.sqrt(sum(((new.astype(float) - start) ** 2).sum() for new, start in pairs))
        size = np.sqrt(sum((start.astype(float) ** 2).sum() for _, start in pairs))
        assert found.update == pytest.approx(step / size, rel=1e-5)
        assert found.gradient == pytest.approx(step / 0.1, rel=1e-5)


@pytest.mark.parametrize("threads", [2, 3])
def test_what_is_measured_does_not_depend_on_threads(threads, rng):
    X, y = regression(rng)
    kinds = {"epochs": 3, "batch_size": 128}
    one, other = (
        trained([fn.Dense(140, "relu"), fn.Dense(1)], X, y, threads=n, **kinds)[1].health for n in (1, threads)
    )
    assert one == other


def test_overfitting_is_seen_in_the_curves(rng):
    X, y = rng.normal(size=(60, 10)), rng.normal(size=60)
    _, history = trained(
        [fn.Dense(64, "relu"), fn.Dense(1)], X, y, epochs=300, validation_data=(rng.normal(size=(60, 10)), y[::-1])
    )
    assert "overfitting" in history.report()


@pytest.mark.parametrize(
    ("x", "y", "named"),
    [(1000, 1, "X has numbers of about 1e+03"), (1e-4, 1, "X has numbers"), (1, 1e4, "y has numbers"),
     (1, 1e-5, "y has numbers")],
)  # fmt: skip
def test_unscaled_data_is_said_before_training(x, y, named, rng):
    X = rng.choice([-1.0, 1.0], size=(100, 4))
    net = fn.Sequential([fn.Dense(4, "tanh"), fn.Dense(1)], seed=0)
    with pytest.warns(UserWarning, match="far from unit size") as warned:
        history = net.fit(X * x, X[:, 0] * y, epochs=1, optimizer=fn.SGD(1e-9), verbose=0)
    assert named in str(warned[0].message) and warned[0].filename == __file__
    assert history.remarks == [str(each.message) for each in warned] and named in history.report()


@pytest.mark.filterwarnings("error")
def test_layers_that_scale_are_not_told_to(rng):
    X = rng.normal(size=(100, 4)) * 1e5
    for layer in (fn.Normalization(), fn.BatchNorm(), fn.Table(numeric=[0, 1, 2, 3])):
        net = fn.Sequential([layer, fn.Dense(1)], seed=0, scale_targets=True)
        net.fit(X, X[:, 0], epochs=1, verbose=0)
    fn.Sequential([fn.Normalization(), fn.Dense(2, "softmax")], seed=0).fit(X, X[:, 0] > 0, epochs=1, verbose=0)


def test_a_python_loss_is_measured_too(rng):
    X, y = regression(rng, rows=640)

    def squared(y, output):
        e = output - y
        return (e * e).mean(axis=1), 2 * e / e.shape[1]

    found = [
        fn.Sequential([fn.Dense(3, "tanh"), fn.Dense(1)], seed=0, dtype="float64")
        .fit(X, y, loss=loss, epochs=2, verbose=0)
        .health
        for loss in ("mse", squared)
    ]
    for one, other in zip(found[0].layers, found[1].layers, strict=True):
        assert one.gradient == pytest.approx(other.gradient, rel=1e-9)
        assert one.update == pytest.approx(other.update, rel=1e-9)


def test_a_small_fit_is_not_charged_for_it(rng):
    """Outputs are looked at only where that is less than a hundredth of the training."""
    X, y = regression(rng, rows=64)
    _, history = trained([fn.Dense(8, "relu"), fn.Dense(1)], X, y, epochs=1)
    assert all(layer.dead is None and layer.finite is None for layer in history.health.layers)
    assert all(layer.gradient > 0 for layer in history.health.layers)


def test_nothing_is_changed_by_looking(rng):
    X, y = regression(rng, rows=200)
    net = fn.Sequential([fn.Dense(8), fn.BatchNorm(), fn.Dropout(0.5), fn.Dense(1)], inputs=10, seed=0)
    net.train_step(X, y)
    before, draws = net._parameters.numbers.copy(), net._parameters.draws[0]
    net.health(X)
    assert (net._parameters.numbers == before).all() and net._parameters.draws[0] == draws


def test_bad_input_is_refused(rng):
    net = fn.Sequential([fn.Dense(1)], inputs=3, seed=0)
    with pytest.raises(ValueError, match="X has 2 columns, but the first layer has 3 inputs"):
        net.health(np.ones((4, 2)))
    with pytest.raises(ValueError, match="X is nan in row 1"):
        net.health(np.array([[1.0, 2, 3], [np.nan, 2, 3]]))
    with pytest.raises(RuntimeError, match="no weights before"):
        fn.Sequential([fn.Dense(1)]).health(np.ones((4, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fn.Sequential([fn.Dense(1)], seed=0).fit(np.ones((4, 2)), np.ones(4), epochs=0, verbose=0).health is None


def test_a_fit_of_nothing_can_be_reported(rng):
    """Few rows, and no layer that learns: there was nothing to make a table of."""
    net = fn.Sequential([fn.Dense(2, "relu", trainable=False)], seed=0)
    history = net.fit(rng.normal(size=(8, 2)), np.ones((8, 2)), epochs=2, verbose=0)
    assert history.health.layers == ()
    assert history.report().startswith("2 epochs: loss") and "\n" not in history.report()
    assert str(history.health)


def test_a_report_without_outputs_says_what_each_layer_is(rng):
    net = fn.Sequential([fn.Dense(4, "relu"), fn.LayerNorm(), fn.Dense(1)], seed=0)
    history = net.fit(rng.normal(size=(8, 2)), np.ones(8), epochs=1, verbose=0)
    assert [layer.finite for layer in history.health.layers] == [None] * 3  # too few rows to look at any
    assert [layer.activation for layer in history.health.layers] == ["relu", "LayerNorm", "linear"]


def test_codes_in_a_branch_have_no_size(rng):
    """They were said to be far from unit size, with advice that would have spoiled them."""
    x = np.column_stack([rng.integers(0, 3000, 64), rng.normal(size=64)])
    net = fn.Sequential([fn.Split([1, 1], [[fn.Embedding(3000)], []]), fn.Dense(1)], seed=0)
    assert net.fit(x, np.ones(64), epochs=1, verbose=0).remarks == []
