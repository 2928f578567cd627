# SPDX-License-Identifier: BSD-3-Clause
"""A Python function as loss: trains as the native loss of the same formula does, and is checked at every batch."""

import copy
import os
import pickle
import signal
import threading

import numpy as np
import pytest
from conftest import ISAS
from snapshot import everything

import fastnn as fn
from fastnn import _core

ROWS = 70
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
UNITS = [9, 130]  # depth-first; layer by layer
each_type = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_walk = pytest.mark.parametrize("units", UNITS, ids=["depth-first", "by layers"])


def mse(y, output):
    e = output - y
    return (e * e).mean(1), 2 * e / e.shape[1]


def asymmetric(y, output):
    """The example of the documentation: too much costs three times as much as too little."""
    e = output - y
    w = np.where(e > 0, 3.0, 1.0)
    return (w * e * e).mean(1), 2 * w * e / e.shape[1]


def cross_entropy(y, output):
    """Of probabilities: the gradient with respect to the output of softmax, not to logits."""
    p = np.take_along_axis(output, y.astype(int), 1)
    gradient = np.zeros_like(output)
    np.put_along_axis(gradient, y.astype(int), -1 / p, 1)
    return -np.log(p[:, 0]), gradient


def network(units=9, outputs=2, dtype="float64", last="linear", seed=3):
    return fn.Sequential([fn.Dense(units, "tanh"), fn.Dense(outputs, last)], inputs=4, seed=seed, dtype=dtype)


def problem(rng, outputs=2):
    return rng.normal(size=(ROWS, 4)), rng.normal(size=(ROWS, outputs)), rng.integers(0, 4, ROWS) / 2.0


# ---- the same as the native loss -------------------------------------------------------------------------------------


@each_type
@each_walk
@pytest.mark.parametrize("batch", [1, 16, 70], ids=str)
@pytest.mark.parametrize("optimizer", [fn.SGD(0.005, 0.9), fn.Adam(0.01)], ids=["sgd", "adam"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_fit_as_with_the_native_loss(dtype, units, batch, optimizer, weighted, rng):
    X, y, w = problem(rng)
    Xv, yv, wv = problem(rng)
    arguments = {
        "epochs": 3, "batch_size": batch, "verbose": 0, "metrics": ["mae", "r2"],
        "sample_weight": w if weighted else None, "validation_data": (Xv, yv, wv) if weighted else (Xv, yv),
    }  # fmt: skip
    native, python = network(units, dtype=dtype), network(units, dtype=dtype)
    expected = native.fit(X, y, loss="mse", optimizer=copy.copy(optimizer), **arguments).history
    found = python.fit(X, y, loss=mse, optimizer=copy.copy(optimizer), **arguments).history
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(python.params, native.params, rtol=0, atol=30 * tolerance)
    for name in ("loss", "val_loss", "mae", "val_mae"):
        np.testing.assert_allclose(found[name], expected[name], rtol=10 * tolerance, err_msg=name)
    np.testing.assert_allclose(found["val_r2"], expected["val_r2"], rtol=0, atol=10 * tolerance)
    assert python._state.step == native._state.step


@each_type
def test_the_gradient_passes_through_the_last_activation(dtype, rng):
    X, labels = rng.normal(size=(ROWS, 4)), rng.integers(0, 3, ROWS)
    native, python = (network(outputs=3, dtype=dtype, last="softmax") for _ in range(2))
    arguments = {"optimizer": fn.SGD(0.5), "epochs": 3, "verbose": 0, "metrics": ["accuracy"]}
    expected = native.fit(X, labels, loss="cross_entropy", **arguments).history
    found = python.fit(X, labels, loss=cross_entropy, **arguments).history
    np.testing.assert_allclose(python.params, native.params, rtol=0, atol=30 * TOLERANCE[dtype])
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=10 * TOLERANCE[dtype])
    assert found["accuracy"] == expected["accuracy"]


@each_type
@each_walk
def test_train_step_and_evaluate_as_with_the_native_loss(dtype, units, rng):
    X, y, w = problem(rng)
    native, python = network(units, dtype=dtype), network(units, dtype=dtype)
    for weights in (None, w, np.zeros(ROWS)):
        expected = native.train_step(X, y, "mse", fn.SGD(0.1), sample_weight=weights)
        assert python.train_step(X, y, mse, fn.SGD(0.1), sample_weight=weights) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(python.params, native.params, rtol=0, atol=10 * TOLERANCE[dtype])
    assert python._state.step == native._state.step == 2
    for weights in (None, w):
        expected = native.evaluate(X, y, "mse", sample_weight=weights, metrics=["mae"])
        found = native.evaluate(X, y, mse, sample_weight=weights, metrics=["mae"])
        assert found == pytest.approx(expected, rel=10 * TOLERANCE[dtype])
    assert python.evaluate(X, y) == python.evaluate(X, y, mse)  # the loss it was trained with


def test_many_rows_are_evaluated_piece_by_piece(rng):
    X, y = rng.normal(size=(3000, 4)), rng.normal(size=(3000, 2))
    sizes = []

    def watched(y, output):
        sizes.append(len(y))
        return mse(y, output)

    net = network()
    found = net.evaluate(X, y, watched)["loss"]
    assert found == pytest.approx(net.evaluate(X, y, "mse")["loss"], rel=1e-13)
    assert sum(sizes) == 3000 and max(sizes) <= 1024


def test_part_of_the_rows_held_out(rng):
    X, y, w = problem(rng)
    native, python = network(), network()
    arguments = {"validation_fraction": 0.3, "sample_weight": w + 0.1, "epochs": 2, "batch_size": 16, "verbose": 0}
    expected = native.fit(X, y, loss="mse", metrics=["mae"], **arguments).history
    found = python.fit(X, y, loss=mse, metrics=["mae"], **arguments).history
    for name in ("loss", "val_loss", "mae", "val_mae"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, err_msg=name)


@each_walk
def test_the_same_bits_on_any_threads_and_set_and_batch_by_batch(units, rng):
    X, y, w = problem(rng)

    class EveryBatch(fn.Callback):
        def on_batch_end(self, net, step, logs):
            pass

    results, before = set(), _core.isa()
    try:
        for isa in ISAS:
            assert _core.isa_select(isa)
            for threads, callbacks in ((1, []), (3, []), (2, [EveryBatch()])):
                net = network(units, dtype="float32")
                history = net.fit(
                    X, y, loss=mse, sample_weight=w, epochs=2, batch_size=33, threads=threads, callbacks=callbacks,
                    schedule=fn.CosineSchedule(), verbose=0,
                )  # fmt: skip
                results.add((net.params.tobytes(), tuple(history.history["loss"])))
    finally:
        _core.isa_select(before)
    assert len(results) == 1


def test_rows_in_order_or_in_a_large_batch(rng):
    X, y, _ = problem(rng)
    for arguments in ({"shuffle": False}, {"batch_size": None}):
        native, python = network(), network()
        native.fit(X, y, loss="mse", epochs=2, verbose=0, **arguments)
        python.fit(X, y, loss=mse, epochs=2, verbose=0, **arguments)
        np.testing.assert_allclose(python.params, native.params, rtol=0, atol=1e-12)


# ---- what the function sees ------------------------------------------------------------------------------------------


@each_type
@pytest.mark.parametrize("y", [np.arange(ROWS) % 3, np.arange(ROWS)[:, None] % 2 > 0, np.ones((ROWS, 5), np.uint8)])
def test_y_and_output_are_rows_of_the_network_s_type(dtype, y, rng):
    X, seen = rng.normal(size=(ROWS, 4)).astype("f2"), []

    def watched(y, output):
        seen.append((y.dtype, y.shape[1], output.dtype, output.shape[1], len(y) == len(output)))
        return (output**2).mean(1), output

    net = network(outputs=3, dtype=dtype)
    net.fit(X, y, loss=watched, epochs=1, batch_size=32, verbose=0)
    net.train_step(X, y, watched)
    net.evaluate(X, y, watched)
    assert set(seen) == {(np.dtype(dtype), y.reshape(ROWS, -1).shape[1], np.dtype(dtype), 3, True)}


def test_what_it_writes_into_its_arguments_changes_nothing_else(rng):
    X, y, _ = problem(rng)

    def careless(y, output):
        result = mse(y, output)
        y[...] = np.nan
        output[...] = np.nan
        return result

    tidy, other = network(), network()
    expected = tidy.fit(X, y, loss=mse, metrics=["mae"], epochs=2, verbose=0, validation_data=(X, y)).history
    found = other.fit(X, y, loss=careless, metrics=["mae"], epochs=2, verbose=0, validation_data=(X, y)).history
    np.testing.assert_array_equal(other.params, tidy.params)
    assert {name: found[name] for name in found if name != "seconds"} == {
        name: expected[name] for name in found if name != "seconds"
    }
    assert np.isfinite(y).all()


def test_y_and_output_are_in_their_own_units_where_targets_are_scaled(rng):
    X, y, _ = problem(rng)
    y, seen = 1000 + 100 * y, []

    def watched(y, output):
        seen.append((y, output))
        return mse(y, output)

    net = fn.Sequential([fn.Dense(2)], inputs=4, seed=0, dtype="float64", scale_targets=True)
    net.fit(X, y, loss=watched, epochs=1, batch_size=None, shuffle=False, verbose=0)
    np.testing.assert_array_equal(seen[0][0], y)
    assert np.abs(seen[0][1] - 1000).max() < 1000
    np.testing.assert_allclose(net.evaluate(X, y, mse)["loss"], ((net.predict(X) - y) ** 2).mean())
    assert fn.check_gradients(net, X, y, loss=mse) < 1e-7


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.longdouble, int])
def test_any_real_type_may_be_returned(kind, rng):
    X, y, _ = problem(rng)
    net = network()
    net.fit(X, y, loss=lambda y, output: [part.astype(kind) for part in mse(y, output)], epochs=1, verbose=0)
    assert np.isfinite(net.params).all()


def test_an_object_with_a_call_is_a_function_too(rng):
    X, y, _ = problem(rng)

    class Scaled:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, y, output):
            loss, gradient = mse(y, output)
            return self.factor * loss, self.factor * gradient

    net = network()
    net.fit(X, y, loss=Scaled(2.0), epochs=1, verbose=0)
    assert net.history.loss == "Scaled"
    assert net.evaluate(X, y)["loss"] == pytest.approx(2 * net.evaluate(X, y, mse)["loss"])


def test_metrics_beside_a_function(rng):
    """y is numbers; class numbers where it is one column beside several outputs and the metric needs classes."""
    X, labels = rng.normal(size=(ROWS, 4)), rng.integers(0, 3, ROWS)
    net = network(outputs=3, last="softmax")
    asked = {"metrics": ["accuracy", "top_2", lambda y, output: y.shape[1]]}
    found = net.evaluate(X, labels, cross_entropy, **asked)
    assert found == pytest.approx(net.evaluate(X, labels, "cross_entropy", **asked))
    for wrong in (labels + 1, labels + 0.5, labels - 1):
        with pytest.raises(ValueError, match=r"metric 'accuracy' needs class numbers in 0\.\.2"):
            net.evaluate(X, wrong, lambda y, output: mse(y, output), metrics=["accuracy"])
    for metric, outputs in (("mae", 3), ("log_loss", 3), ("accuracy", 2)):
        with pytest.raises(ValueError, match=f"metric '{metric}' needs"):
            network(outputs=outputs).evaluate(X, rng.normal(size=ROWS), mse, metrics=[metric])
    with pytest.raises(ValueError, match="metric 'accuracy' needs classes"):
        network().evaluate(X, rng.normal(size=(ROWS, 2)), mse, metrics=["accuracy"])

    def poisson(y, output):
        return mse(y, output)

    y = rng.normal(size=(ROWS, 2))  # the name is no reason to take outputs for logarithms
    mae = network().evaluate(X, y, poisson, metrics=["mae"])["mae"]
    assert mae == pytest.approx(np.abs(network().predict(X) - y).mean())


LAYERS = {
    "dropout": lambda: [fn.Dense(9, "tanh"), fn.Dropout(0.3)],
    "noise": lambda: [fn.GaussianNoise(0.1), fn.Dense(9, "tanh")],
    "batch norm": lambda: [fn.Dense(9, "tanh"), fn.BatchNorm()],
    "layer norm in a residual": lambda: [fn.Dense(9, "tanh"), fn.Residual([fn.LayerNorm(), fn.Dense(9, "relu")])],
    "penalties": lambda: [fn.Dense(9, "tanh", l1=0.01, l2=0.02)],
}


@pytest.mark.parametrize("clipping", [{}, {"clip_norm": 0.3}, {"clip_value": 0.01}, {"accumulate": 2}], ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_every_kind_of_layer_and_update(kind, clipping, rng):
    """The same masks, running statistics, penalties and limits as in the native loop."""
    X, y, w = problem(rng)
    order = np.argsort(w, kind="stable")  # the first batch has no weight
    X, y, w = X[order], y[order], w[order]
    assert not w[:8].any()
    found = []
    for loss in ("mse", mse):
        net = fn.Sequential([*LAYERS[kind](), fn.Dense(2)], inputs=4, seed=1, dtype="float64")
        history = net.fit(
            X, y, loss=loss, sample_weight=w, epochs=3, batch_size=8, shuffle=False, validation_data=(X, y), verbose=0,
            **clipping,
        ).history  # fmt: skip
        found.append((net._parameters.numbers, history["loss"], history["val_loss"], net._parameters.draws))
    for native, python in zip(*found, strict=True):
        np.testing.assert_allclose(python, native, rtol=0, atol=1e-12)


def test_an_error_leaves_running_statistics_as_they_were(rng):
    X, y, _ = problem(rng)
    net = fn.Sequential([fn.Dense(9), fn.BatchNorm(), fn.Dense(2)], inputs=4, seed=1)
    net.fit(X, y, loss=mse, epochs=1, verbose=0)
    before = net._parameters.numbers.copy()
    for wrong in (lambda y, output: None, lambda y, output: (np.full(len(y), np.nan), output)):
        with pytest.raises((TypeError, fn.DivergenceError)):
            net.train_step(X, y, wrong)
        np.testing.assert_array_equal(net._parameters.numbers, before)
    net.train_step(X, y, mse, sample_weight=np.zeros(ROWS))
    np.testing.assert_array_equal(net._parameters.numbers, before)


# ---- check_gradients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [mse, asymmetric])
def test_check_gradients_of_a_right_function(loss, dtype, rng):
    X, y, w = problem(rng)
    net = network(dtype=dtype)
    assert fn.check_gradients(net, X[:32], y[:32], loss=loss) < 1e-7
    assert fn.check_gradients(net, X[:32], y[:32], loss=loss, sample_weight=w[:32] + 0.1) < 1e-7


def test_check_gradients_of_a_wrong_function(rng):
    X, y, _ = problem(rng)
    with pytest.raises(AssertionError, match="relative error"):
        fn.check_gradients(network(), X, y, loss=lambda y, output: (mse(y, output)[0], output - y + 0.01))


# ---- what may go wrong -----------------------------------------------------------------------------------------------

WRONG = {
    "nothing": (lambda y, o: None, TypeError, "NoneType"),
    "one array": (lambda y, o: o, TypeError, "ndarray"),
    "three": (lambda y, o: (o, o, o), TypeError, "tuple of 3"),
    "a mean": (lambda y, o: (mse(y, o)[0].mean(), mse(y, o)[1]), ValueError, r"loss of shape \(\), but"),
    "a column": (lambda y, o: (mse(y, o)[0][:, None], mse(y, o)[1]), ValueError, r"loss of shape \(16, 1\)"),
    "too few rows": (lambda y, o: (mse(y, o)[0][1:], mse(y, o)[1]), ValueError, r"loss of shape \(15,\)"),
    "one gradient": (lambda y, o: (mse(y, o)[0], mse(y, o)[1][:, 0]), ValueError, r"gradient of shape \(16,\)"),
    "text": (lambda y, o: (["a"] * 16, o), TypeError, "loss of each row"),
    "complex": (lambda y, o: (mse(y, o)[0], 1j * o), TypeError, "gradient"),
    "nan": (lambda y, o: (mse(y, o)[0], np.where(o == o[3, 1], np.nan, o)), ValueError, "row 3 of the batch, column 1"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_it_returns_is_checked_in_every_batch(kind, rng):
    """An error in the third batch leaves the network as the second left it."""
    X, y, _ = problem(rng)
    wrong, error, words = WRONG[kind]
    calls = []

    def right_at_first(y, output):
        calls.append(1)
        return (mse if len(calls) < 3 else wrong)(y, output)

    expected, net = network(), network()
    order = np.empty(ROWS, np.int64)
    _core.permutation(net.seed, _core.STREAM_SHUFFLE, 0, order)
    for rows in (order[:16], order[16:32]):
        expected.train_step(X[rows], y[rows], mse, fn.Adam())
    with pytest.raises(error, match=words):
        net.fit(X, y, loss=right_at_first, epochs=1, batch_size=16, verbose=0)
    np.testing.assert_array_equal(net.params, expected.params)
    assert net._state.step == 2
    with pytest.raises(error, match=words):
        net.train_step(X[:16], y[:16], wrong)
    np.testing.assert_array_equal(net.params, expected.params)
    net.fit(X, y, loss=mse, epochs=1, verbose=0)  # usable


def test_what_is_refused_changes_nothing(rng):
    X, y, _ = problem(rng)
    net = network()
    net.fit(X, y, epochs=1, verbose=0)
    before = everything(net)
    for arguments, error, words in (
        ({"class_weight": "balanced"}, ValueError, "class_weight needs labels"),
        ({"loss": fn.Huber}, TypeError, "the class Huber"),
        ({"loss": 3}, TypeError, "loss must be a name"),
    ):
        with pytest.raises(error, match=words):
            net.fit(X, y, **({"loss": mse, "epochs": 1, "verbose": 0} | arguments))
    for wrong_y in (y[:5], np.full_like(y, np.nan), y[:, :, None]):
        with pytest.raises(ValueError, match="y"):
            net.fit(X, wrong_y, loss=mse, epochs=1, verbose=0)
    assert everything(net) == before


def test_a_loss_that_is_not_finite_is_divergence(rng):
    X, y, _ = problem(rng)
    net, expected = network(), network()
    expected.fit(X, y, loss=mse, epochs=1, batch_size=16, verbose=0)
    calls = []

    def diverging(y, output):
        calls.append(1)
        loss, gradient = mse(y, output)
        return (loss * np.inf if len(calls) == 8 else loss), gradient

    with pytest.raises(fn.DivergenceError) as caught:
        net.fit(X, y, loss=diverging, epochs=3, batch_size=16, verbose=0)
    assert (caught.value.epoch, caught.value.batch) == (1, 2)
    np.testing.assert_array_equal(net.params, expected.params)
    with pytest.raises(fn.DivergenceError, match="not applied"):
        net.train_step(X, y, lambda y, output: (np.full(len(y), np.nan), output))
    np.testing.assert_array_equal(net.params, expected.params)


def test_an_update_that_is_not_finite_is_divergence(rng):
    X, y, _ = problem(rng)
    net = network(dtype="float32")
    before = net.params.copy()
    with pytest.raises(fn.DivergenceError, match="weights of batch 1"):
        net.fit(X, y, loss=lambda y, o: (o[:, 0], 1e30 * np.ones_like(o)), optimizer=fn.SGD(1e30), epochs=1, verbose=0)
    np.testing.assert_array_equal(net.params, before)


def test_an_error_of_its_own_comes_through(rng):
    X, y, _ = problem(rng)

    def fails(y, output):
        raise LookupError("on purpose")

    net = network()
    before = net.params.copy()
    for call in (
        lambda: net.fit(X, y, loss=fails, epochs=1, verbose=0),
        lambda: net.train_step(X, y, fails),
        lambda: net.evaluate(X, y, fails),
    ):
        with pytest.raises(LookupError, match="on purpose"):
            call()
    np.testing.assert_array_equal(net.params, before)
    assert (net.predict(X) == network().predict(X)).all()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_drops_the_batch_under_way(rng):
    X, y, _ = problem(rng)
    net, expected, calls = network(), network(), []

    def interrupted(y, output):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return mse(y, output)

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, loss=interrupted, epochs=5, batch_size=16, verbose=0)
    order = np.empty(ROWS, np.int64)
    _core.permutation(net.seed, _core.STREAM_SHUFFLE, 0, order)
    for rows in (order[:16], order[16:32]):
        expected.train_step(X[rows], y[rows], mse, fn.Adam())
    np.testing.assert_array_equal(net.params, expected.params)
    net.fit(X, y, loss=mse, epochs=1, verbose=0)


def test_the_network_may_be_read_from_the_function_and_from_another_thread(rng):
    X, y, _ = problem(rng)
    net, start, seen = network(), network(), []

    def reads(y, output):
        other = threading.Thread(target=lambda: seen.append(net.predict(X)))
        other.start()
        other.join(10)
        seen.append(net.predict(X))
        with pytest.raises(RuntimeError, match="being trained"):
            net.train_step(X, y)
        return mse(y, output)

    net.train_step(X, y, reads)
    assert len(seen) == 2
    for found in seen:
        np.testing.assert_array_equal(found, start.predict(X))


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_file_does_not_keep_the_function(tmp_path, rng):
    X, y, _ = problem(rng)
    net = network()
    net.fit(X, y, loss=lambda y, output: mse(y, output), epochs=1, verbose=0)
    net.save(tmp_path / "net.fnn")
    for again in (fn.load(tmp_path / "net.fnn"), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(again.params, net.params)
        assert again.evaluate(X, y) == again.evaluate(X, y, "mse")  # by the last layer
        again.fit(X, y, loss=mse, epochs=1, verbose=0)


def test_a_function_named_like_a_native_loss_is_still_the_function(rng):
    X, y, _ = problem(rng)

    def mae(y, output):
        return mse(y, output)

    net = network()
    assert net.evaluate(X, y, mae)["loss"] == pytest.approx(net.evaluate(X, y, "mse")["loss"])
    assert net.train_step(X, y, mae) == pytest.approx(network().train_step(X, y, "mse"))
