# SPDX-License-Identifier: BSD-3-Clause
"""Metrics: accuracy by its definition, and what a function of the caller's own is given."""

import numpy as np
import pytest

import fastnn as fn

X = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)
Y = np.random.default_rng(2).integers(0, 3, 200)
WEIGHTS = np.random.default_rng(3).uniform(0, 2, 200)


def classifier(last="softmax", units=3, dtype="float32"):
    return fn.Sequential([fn.Dense(5, "tanh"), fn.Dense(units, last)], inputs=4, seed=0, dtype=dtype)


def accuracy(net, y, loss=None, **arguments):
    return net.evaluate(X, y, loss=loss, metrics=["accuracy"], **arguments)["accuracy"]


@pytest.mark.parametrize("form", [lambda y: y, lambda y: y[:, None], lambda y: y.astype(float), lambda y: np.eye(3)[y]])
def test_accuracy_of_classes_is_the_largest_output(form):
    net = classifier()
    right = net.predict(X).argmax(1) == Y
    assert accuracy(net, form(Y)) == pytest.approx(right.mean(), rel=1e-12)
    weighted = accuracy(net, form(Y), sample_weight=WEIGHTS)
    assert weighted == pytest.approx((right * WEIGHTS).sum() / WEIGHTS.sum(), rel=1e-12)


def test_accuracy_of_soft_rows_goes_by_their_largest_entry():
    soft = np.random.default_rng(4).dirichlet([1, 1, 1], 200)
    net = classifier()
    assert accuracy(net, soft) == pytest.approx((net.predict(X).argmax(1) == soft.argmax(1)).mean(), rel=1e-12)


def test_accuracy_of_one_output_is_above_a_half():
    yes = (Y == 1).astype(float)
    unit, logit = classifier("sigmoid", 1), classifier("linear", 1)
    logit.params[...] = unit.params
    logit.layers[-1].bias = unit.layers[-1].bias = [0.2]
    right = (unit.predict(X)[:, 0] > 0.5) == (yes > 0.5)
    assert 0 < right.mean() < 1 and ((logit.predict(X)[:, 0] > 0) == (unit.predict(X)[:, 0] > 0.5)).all()
    for y in (yes, yes[:, None], yes.astype(bool), np.where(yes, 0.9, 0.1)):
        assert accuracy(unit, y) == accuracy(logit, y, "binary_cross_entropy") == pytest.approx(right.mean())
    above_a_half = (logit.predict(X)[:, 0] > 0.5) == (yes > 0.5)  # with mse an output is no logit
    assert accuracy(logit, yes, "mse") == pytest.approx(above_a_half.mean())


def test_accuracy_while_training_is_of_the_weights_at_each_batch():
    stepped, net = classifier(), classifier()
    right = []
    for first in range(0, 200, 64):
        batch = slice(first, first + 64)
        right.extend(stepped.predict(X[batch]).argmax(1) == Y[batch])
        stepped.train_step(X[batch], Y[batch])
    history = net.fit(X, Y, epochs=1, batch_size=64, shuffle=False, metrics=["accuracy"], verbose=0)
    assert history.history["accuracy"] == [pytest.approx(np.mean(right))]
    assert (net.params == stepped.params).all()


@pytest.mark.parametrize("arguments", [{}, {"shuffle": False}, {"validation_fraction": 0.2}, {"threads": 2}])
def test_metrics_do_not_change_training(arguments):
    nets = [classifier(), classifier()]
    for net, metrics in zip(nets, ([], ["accuracy", lambda y, output: 0.0]), strict=True):
        net.fit(X, Y, epochs=2, metrics=metrics, verbose=0, **arguments)
    assert (nets[0].params == nets[1].params).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("y", "shape"), [(Y, (200, 1)), (Y[:, None], (200, 1)), (np.eye(3)[Y], (200, 3))])
def test_a_function_is_given_rows_in_the_dtype_of_the_network(dtype, y, shape):
    given = []

    def look(y, output):
        given.append((y.shape, y.dtype, output.shape, output.dtype, y.copy(), output.copy()))
        return 7

    net = classifier(dtype=dtype)
    history = net.fit(X, y, epochs=1, metrics=[look], validation_data=(X, y), verbose=0)
    assert history.history["look"] == [7.0] == history.history["val_look"]
    assert net.evaluate(X, y, metrics=look)["look"] == 7.0
    assert len(given) == 3
    for y_shape, y_dtype, output_shape, output_dtype, seen, _ in given:
        assert (y_shape, output_shape) == (shape, (200, 3)) and y_dtype == output_dtype == dtype
        assert (seen == np.asarray(y).reshape(shape)).all()
    assert (given[-1][-1] == net.predict(X)).all()  # what predict returns


def test_metrics_see_what_predict_returns_with_logits_too():
    net, given = classifier("linear"), []
    net.evaluate(X, Y, loss="cross_entropy", metrics=[lambda y, output: given.append(output.copy()) or 0.0])
    assert (given[0] == net.predict(X)).all()
    net = classifier("sigmoid")
    net.evaluate(X, np.eye(3)[Y], metrics=[lambda y, output: given.append(output.copy()) or 0.0])
    assert (given[1] == net.predict(X)).all()


def test_names():
    class Share:
        def __call__(self, y, output):
            return np.float32(0.5)

    def zero(y, output):
        return 0

    found = classifier().evaluate(X, Y, metrics=[Share(), zero, "accuracy"])
    assert list(found) == ["loss", "Share", "zero", "accuracy"] and type(found["Share"]) is float
    for name in ("loss", "seconds", "val_zero"):
        zero.__name__ = name
        with pytest.raises(ValueError, match=f"'{name}'"):
            classifier().evaluate(X, Y, metrics=[zero])
    assert list(classifier().evaluate(X, Y, metrics=("accuracy",))) == ["loss", "accuracy"]
    assert list(classifier().evaluate(X, Y, metrics="accuracy")) == ["loss", "accuracy"]


def test_an_error_in_a_metric_is_the_callers():
    def fail(y, output):
        raise LookupError("on purpose")

    net = classifier()
    with pytest.raises(LookupError, match="on purpose"):
        net.fit(X, Y, epochs=2, metrics=[fail], verbose=0)
    assert np.isfinite(net.params).all()
    net.fit(X, Y, epochs=1, verbose=0)
