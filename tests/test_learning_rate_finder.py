# SPDX-License-Identifier: BSD-3-Clause
"""The range test: what it suggests can be trained with, and it leaves the network as it was, whatever happens."""

import numpy as np
import pytest
import stacks
from stacks import NARROW

import fastnn as fn
from fastnn.datasets import load_digits
from fastnn.learning_rate_finder import smoothed, suggest

# Mean squares with a curvature of 2 everywhere: gradient descent converges below learning rate 1. No weights give 0.
X = 2 * np.tile(np.eye(4), (2, 1))
Y = np.array([1.0, 1.1, 0.9, 1.2, 0.3, 0.1, -0.2, 0.5])


def state_of(net):
    parameters, state = net._parameters, net._state
    return (
        None if parameters is None else (parameters.numbers.tobytes(), parameters.draws.tobytes()),
        None if state is None else (state.array.tobytes(), state.step, state.averaged, state.product, state.name),
        net._epochs_done, net._loss, net._optimizer, net._targets_learned, net.history.history, net.threads_used,
    )  # fmt: skip


def test_it_diverges_where_gradient_descent_must():
    net = fn.Sequential([fn.Dense(1, use_bias=False)], inputs=4, seed=0)
    found = net.find_learning_rate(X, Y, optimizer="sgd", batch_size=None, start=1e-4, end=100, steps=200)
    assert 1 < found.diverged < 10 and len(found.losses) < 200
    assert 0.003 < found.suggestion <= found.diverged / 10
    ratios = found.learning_rates[1:] / found.learning_rates[:-1]
    np.testing.assert_allclose(ratios, (100 / 1e-4) ** (1 / 199))
    assert found.learning_rates[0] == 1e-4 and found.losses[0] == pytest.approx(net.evaluate(X, Y)["loss"])


@pytest.mark.parametrize("trained", [False, True])
def test_losses_are_those_of_training(trained, rng):
    """A schedule that multiplies the rate makes the same steps in fit, with the same state and random masks."""
    X, y = rng.normal(size=(100, 3)), rng.normal(size=(100, 1))

    def made():
        net = fn.Sequential([fn.Dense(5, "tanh"), fn.Dropout(0.2), fn.Dense(1)], inputs=3, seed=3)
        if trained:
            net.fit(X, y, optimizer=fn.Adam(0.1), epochs=2, verbose=0)
        return net

    found = made().find_learning_rate(X, y, optimizer="adam", batch_size=20, start=1e-4, end=1e-1, steps=15)
    losses = []
    growth = (1e-1 / 1e-4) ** (1 / 14)
    made().fit(
        X, y, optimizer=fn.Adam(1e-4), batch_size=20, epochs=3, schedule=lambda step: growth**step, verbose=0,
        callbacks=[fn.LambdaCallback(on_batch_end=lambda net, step, logs: losses.append(logs["loss"]))],
    )  # fmt: skip
    np.testing.assert_allclose(found.losses, losses, rtol=1e-6)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", ["batch norm", "dropout", "table", "scaled targets"])
def test_the_network_is_afterwards_what_it_was(name, trained, rng):
    X, y = stacks.table(100)
    X[:, 5] += 1
    net = stacks.network(name, NARROW, dtype="float32")
    if trained:
        net.fit(X, y, optimizer=fn.NAdam(average=0.9), epochs=2, verbose=0)
    before = state_of(net)
    for optimizer in ("nadam", "sgd"):
        found = net.find_learning_rate(X, y, optimizer=optimizer, end=1e6, steps=60)
        assert found.diverged is not None
        assert state_of(net) == before
    twin = stacks.network(name, NARROW, dtype="float32")
    if trained:
        twin.fit(X, y, optimizer=fn.NAdam(average=0.9), epochs=2, verbose=0)
    for n in (net, twin):
        n.fit(X, y, epochs=1, verbose=0)
    assert net.params.tobytes() == twin.params.tobytes()


def test_a_network_without_weights_stays_one(rng):
    X = np.c_[rng.normal(100, 30, 64), rng.integers(0, 3, 64)]
    y = rng.normal(1000, 50, 64)

    def made():
        return fn.Sequential([fn.Table([0], [1]), fn.Dense(8, "tanh"), fn.Dense(1)], seed=0, scale_targets=True)

    net = made()
    found = net.find_learning_rate(X, y, end=0.1)
    assert found.losses[0] < 10, "mean and scale were not learned from X and y"
    assert net.inputs is None and net.layers[0].categories == {} and not net.layers[0].learned
    X[:, 1] += 2  # more categories than the finder saw
    twin = made()
    for n in (net, twin):
        n.fit(X, y, epochs=1, verbose=0)
    assert net.layers[0].categories == {1: 5} and net.params.tobytes() == twin.params.tobytes()


def test_a_loss_in_python_and_weights_and_classes(rng):
    def squared(y, output):
        return ((output - y) ** 2).mean(axis=1), 2 * (output - y) / y.shape[1]

    X, y = rng.normal(size=(64, 3)), rng.normal(size=(64, 1))
    net = fn.Sequential([fn.Dense(4, "tanh"), fn.Dense(1)], inputs=3, seed=0, dtype="float64")
    native = net.find_learning_rate(X, y, loss="mse", end=0.1)
    np.testing.assert_allclose(net.find_learning_rate(X, y, loss=squared, end=0.1).losses, native.losses, rtol=1e-9)
    heavy = net.find_learning_rate(X, y, sample_weight=np.r_[np.ones(32), np.zeros(32)], end=0.1)
    assert (heavy.losses != native.losses).any()
    classes = fn.Sequential([fn.Dense(2, "softmax")], inputs=3, seed=0)
    balanced = classes.find_learning_rate(X, X[:, 0] > 1, class_weight="balanced", end=0.1)
    assert (balanced.losses != classes.find_learning_rate(X, X[:, 0] > 1, end=0.1).losses).any()


def test_batches_without_weight_are_left_out(rng):
    X, y = rng.normal(size=(40, 2)), rng.normal(size=40)
    net = fn.Sequential([fn.Dense(1)], inputs=2, seed=0)
    weights = np.zeros(40)
    weights[0] = 1
    found = net.find_learning_rate(X, y, sample_weight=weights, batch_size=10, steps=40, end=1e-3)
    assert len(found.losses) == 10 and np.isfinite(found.losses).all()


def test_threads_do_not_matter(threads, rng):
    X, y = rng.normal(size=(300, 8)), rng.normal(size=(300, 1))
    net = fn.Sequential([fn.Dense(140, "relu"), fn.Dense(1)], inputs=8, seed=0)
    one, some = (net.find_learning_rate(X, y, threads=n, steps=20, end=0.01).losses for n in (1, threads))
    assert one.tobytes() == some.tobytes()


def test_a_suggestion_trains_better_than_the_ends():
    X, y = load_digits()
    X = X[:1000] / 16
    y = y[:1000]

    def loss_after(rate):
        net = fn.Sequential([fn.Dense(32, "relu"), fn.Dense(10, "softmax")], seed=0)
        return net.fit(X, y, optimizer=fn.Adam(rate), epochs=3, verbose=0).history["loss"][-1]

    found = fn.Sequential([fn.Dense(32, "relu"), fn.Dense(10, "softmax")], seed=0).find_learning_rate(X, y)
    assert loss_after(found.suggestion) < 0.5 * min(loss_after(found.suggestion / 100), loss_after(1.0))


@pytest.mark.parametrize("batch_size", [1, 4, 32])
@pytest.mark.parametrize("trained", [False, True])
def test_batches_that_differ_are_no_divergence(batch_size, trained, rng):
    """A rare class: most batches have none of it, and the loss of one that has is many times that of the others."""
    X = rng.normal(size=(2000, 4))
    y = X[:, 0] > 2
    for seed in range(3):
        net = fn.Sequential([fn.Dense(16, "relu"), fn.Dense(1, "sigmoid")], seed=seed)
        if trained:
            net.fit(X, y, epochs=3, verbose=0)
        found = net.find_learning_rate(X, y, batch_size=batch_size)
        assert found.suggestion > 1e-5 and (found.diverged is None or found.diverged > 1e-3)


def test_what_is_smoothed_is_what_training_changed(rng):
    """With rates too small to matter, nothing but the rounding of sums."""
    X, y = rng.normal(size=(500, 4)), rng.standard_t(3, size=500)
    net = fn.Sequential([fn.Dense(8, "tanh"), fn.Dropout(0.2), fn.BatchNorm(), fn.Dense(1)], inputs=4, seed=0)
    found = net.find_learning_rate(X, y, start=1e-12, end=1e-10, batch_size=8)
    assert found.diverged is None and found.losses.std() > 0.1
    np.testing.assert_allclose(found.smoothed, found.losses.mean(), rtol=1e-6)


def test_a_first_loss_that_is_not_finite_suggests_nothing():
    net = fn.Sequential([fn.Dense(1)], inputs=4, seed=0)
    found = net.find_learning_rate(X, Y * 1e30)
    assert found.suggestion is None and found.diverged == 1e-7 and found.losses.size == found.smoothed.size == 0
    assert repr(found) == "<RangeTest: no suggestion; 0 batches; diverged at 1e-07>"


# ---- where the suggestion comes from ---------------------------------------------------------------------------------


def test_smoothing_keeps_lines_and_does_not_lag():
    line = np.arange(30.0)
    np.testing.assert_allclose(smoothed(line, 4)[4:-4], line[4:-4])
    step = np.r_[np.zeros(20), np.ones(20)]
    assert smoothed(step, 5)[19] == pytest.approx(1 - smoothed(step, 5)[20])
    assert smoothed(np.empty(0), 3).shape == (0,)


def test_suggestions():
    rates = np.geomspace(1e-4, 10, 51)
    sigmoid = 1 / (1 + (rates / 0.01) ** 2)  # falls fastest at 0.01
    assert suggest(rates, sigmoid, None, 4) == pytest.approx(0.01, rel=0.1)
    assert suggest(rates, sigmoid, 10.0, 4) == pytest.approx(0.01, rel=0.1)
    assert suggest(rates, sigmoid, 0.05, 4) == pytest.approx(0.005)
    rising = np.linspace(1, 2, 51)
    assert suggest(rates, rising, None, 4) is None and suggest(rates, rising, 1.0, 4) == pytest.approx(0.1)
    assert suggest(rates[:0], rising[:0], None, 4) is None and suggest(rates[:0], rising[:0], 1.0, 4) is None


def test_what_it_says_of_itself_and_its_plot():
    net = fn.Sequential([fn.Dense(1, use_bias=False)], inputs=4, seed=0)
    found = net.find_learning_rate(X, Y, optimizer="sgd", start=1e-4, end=100)
    assert repr(found).startswith("<RangeTest: suggestion 0.") and "diverged at" in repr(found)
    drawn = []

    class Axes:
        def __getattr__(self, name):
            return lambda *args, **kwargs: drawn.append((name, *args))

    axes = Axes()
    assert found.plot(axes) is axes
    assert [name for name, *_ in drawn] == [
        "plot",
        "plot",
        "axvline",
        "set_xscale",
        "set_xlabel",
        "set_ylabel",
        "legend",
    ]
    assert drawn[2][1] == found.suggestion and drawn[3][1] == "log"


def test_a_plot_of_its_own(monkeypatch):
    net = fn.Sequential([fn.Dense(1)], inputs=4, seed=0)
    found = net.find_learning_rate(X, Y, end=1e-3)
    with monkeypatch.context() as without:
        without.setitem(__import__("sys").modules, "matplotlib", None)
        with pytest.raises(ModuleNotFoundError, match="pip install matplotlib"):
            found.plot()
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    assert found.plot().get_xscale() == "log"


def test_bad_arguments_are_named_and_change_nothing():
    net = fn.Sequential([fn.Dense(1)], inputs=4, seed=0)
    before = state_of(net)
    for arguments, error, message in [
        ({"start": 0.0}, ValueError, "start must be finite and above 0"),
        ({"start": 1.0, "end": 0.1}, ValueError, "end must be above start"),
        ({"steps": 9}, ValueError, "steps must be at least 10, not 9"),
        ({"optimizer": "adm"}, ValueError, "Did you mean 'adam'"),
        ({"loss": "cross_entropy"}, ValueError, "needs at least 2 outputs"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"sample_weight": [1.0]}, ValueError, "sample_weight has shape"),
    ]:
        with pytest.raises(error, match=message):
            net.find_learning_rate(X, Y, **arguments)
    with pytest.raises(ValueError, match="X is nan"):
        net.find_learning_rate(X * np.nan, Y)
    assert state_of(net) == before


def test_not_while_the_network_is_being_trained():
    net = fn.Sequential([fn.Dense(1)], inputs=4, seed=0)
    found = []

    def ask(net, epoch, logs):
        with pytest.raises(RuntimeError, match="being trained by another call"):
            net.find_learning_rate(X, Y)
        found.append(epoch)

    net.fit(X, Y, epochs=1, callbacks=[fn.LambdaCallback(on_epoch_end=ask)], verbose=0)
    assert found == [0]


def test_sparse_matrices_and_tables(rng):
    sparse = pytest.importorskip("scipy.sparse")
    X = np.where(rng.random((64, 6)) < 0.3, rng.normal(size=(64, 6)), 0.0)
    y = rng.normal(size=64)
    net = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(1)], inputs=6, seed=0)
    expected = net.find_learning_rate(X, y, end=0.1).losses
    assert net.find_learning_rate(sparse.csr_array(X), y, end=0.1).losses.tobytes() == expected.tobytes()
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    assert net.find_learning_rate(frame, pandas.Series(y), end=0.1).losses.tobytes() == expected.tobytes()
    frame["kind"] = rng.choice(["red", "green"], 64)
    net = fn.Sequential([fn.Table(["a", "b"], ["kind"]), fn.Dense(1)], seed=0)
    assert net.find_learning_rate(frame, y, end=0.1).losses.size == 100
    assert net.inputs is None and net.feature_names is None and net.layers[0].texts == {}
