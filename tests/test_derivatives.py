# SPDX-License-Identifier: BSD-3-Clause
"""Derivatives with respect to inputs, against central differences of what the network predicts, in float64."""

import threading

import numpy as np
import pytest
import reference
import stacks
from stacks import NARROW, STACKS

import fastnn as fn
from fastnn import _core, derivatives

H = 1e-5  # error of central differences: H^2 f''' / 6 and rounding / H, both about 1e-10
TOLERANCE = 1e-7
# Columns of X that are read as numbers, where others are categories or are not read.
NUMERIC = {"embedding": [3], "table": [0, 1, 3], "plain table": [0, 2]}


def differences(f, X, columns):
    """df(X)/dX of each row, (rows, outputs, inputs); 0 in other columns."""
    found = np.zeros((len(X), f(X).shape[1], X.shape[1]))
    for column in columns:
        step = np.zeros(X.shape[1])
        step[column] = H
        found[:, :, column] = (f(X + step) - f(X - step)) / (2 * H)
    return found


def all_numbers(net):
    return net._parameters.numbers.tobytes(), net._parameters.draws.tobytes()


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("rows", [1, 40])
def test_the_jacobian_of_every_layer(name, rows):
    net = stacks.network(name, NARROW)
    X, _ = stacks.table(rows, seed=1)
    before = all_numbers(net)
    found = net.jacobian(X)
    assert all_numbers(net) == before and found.dtype == np.float64
    expected = differences(net.predict, X, NUMERIC.get(name, range(stacks.INPUTS)))
    assert found.shape == (rows, 3, stacks.INPUTS) and np.abs(expected).max() > 1e-3
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("name", STACKS)
def test_what_is_walked_backwards_predicts_as_the_network(name):
    net = stacks.network(name, NARROW, dtype="float32")
    X = stacks.table(30)[0].astype(np.float32)
    copy = derivatives.BackwardCopy(net._parameters, 30, None)
    np.testing.assert_allclose(copy.forward(X), net.predict(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", fn.activations)
def test_the_jacobian_of_every_activation(name, rng):
    net = fn.Sequential([fn.Dense(9, name), fn.Dense(4), fn.Activation(name)], inputs=5, seed=0, dtype="float64")
    X = rng.normal(size=(20, 5)) + 0.1
    expected = differences(net.predict, X, range(5))
    assert np.abs(net.jacobian(X) - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_one_row_has_no_axis_for_rows(rng):
    net = stacks.network("nested", NARROW)
    X, _ = stacks.table(3)
    assert net.jacobian(X[0]).shape == (3, stacks.INPUTS) == net.jacobian(list(X[0])).shape
    np.testing.assert_array_equal(net.jacobian(X[1]), net.jacobian(X)[1])
    assert net.jacobian(X[:0]).shape == (0, 3, stacks.INPUTS)


def test_many_rows_go_piece_by_piece(rng, monkeypatch):
    net = fn.Sequential([fn.Dense(9, "tanh"), fn.Dense(5)], inputs=3, seed=0, dtype="float64")
    X, y = rng.normal(size=(41, 3)), rng.normal(size=(41, 5))
    whole, gradient = net.jacobian(X), net.input_gradient(X, y)
    for size in (1, 7, 40, 205):
        monkeypatch.setattr(derivatives, "ROWS_AT_A_TIME", size)
        np.testing.assert_allclose(net.jacobian(X), whole, rtol=0, atol=1e-14)
        np.testing.assert_allclose(net.input_gradient(X, y), gradient, rtol=0, atol=1e-14)


def test_threads_and_instruction_sets_give_the_same_bits(isa, threads):
    X, y = stacks.table(50)

    def derivatives_with(threads):
        net = stacks.network("nested", 130, dtype="float32")
        found = net.jacobian(X, threads=threads), net.input_gradient(X, y, threads=threads)
        return [array.tobytes() for array in found]

    found = derivatives_with(threads)
    assert _core.isa_select("generic")
    assert found == derivatives_with(1)


def test_derivatives_while_another_thread_trains(rng):
    X, y = rng.normal(size=(2000, 3)), rng.normal(size=(2000, 1))
    net = fn.Sequential([fn.Dense(32, "tanh"), fn.Dense(1)], inputs=3, seed=0, dtype="float64")
    trainer = threading.Thread(target=net.fit, args=(X, y), kwargs={"epochs": 20, "verbose": 0})
    trainer.start()
    seen = {net.jacobian(X[0]).tobytes() for _ in range(50)}
    trainer.join()
    expected = differences(net.predict, X[:1], range(3))
    assert np.abs(net.jacobian(X[:1]) - expected).max() <= TOLERANCE * np.abs(expected).max()
    assert all(np.isfinite(np.frombuffer(one)).all() for one in seen)


def test_a_network_of_a_norm_alone(rng):
    net = fn.Sequential([fn.BatchNorm()], inputs=3, seed=0, dtype="float64")
    net.layers[0].weight = [1.0, 2.0, 3.0]
    net.layers[0].running_variance[:] = 4.0 - 1e-5
    np.testing.assert_allclose(net.jacobian(np.ones(3)), np.diag([0.5, 1.0, 1.5]))


def test_bad_arguments_are_named():
    net = fn.Sequential([fn.Dense(2)], inputs=3, seed=0)
    with pytest.raises(ValueError, match="x has 4 columns"):
        net.jacobian(np.ones((2, 4)))
    with pytest.raises(ValueError, match="x is nan in row 0, column 1"):
        net.jacobian([1.0, np.nan, 2.0])
    with pytest.raises(ValueError, match="y has shape"):
        net.input_gradient(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(RuntimeError, match="no weights"):
        fn.Sequential([fn.Dense(2)]).jacobian(np.ones(3))


# ---- gradients of the loss -------------------------------------------------------------------------------------------


def row_losses(net, X, y, loss):
    """The loss of each row by itself."""
    return np.array([[net.evaluate(X[i : i + 1], y[i : i + 1], loss)["loss"]] for i in range(len(X))])


def check(net, X, y, loss, columns=None):
    found = net.input_gradient(X, y, loss)
    expected = differences(lambda X: row_losses(net, X, y, loss), X, range(X.shape[1]) if columns is None else columns)
    assert found.shape == X.shape and np.abs(expected).max() > 1e-4
    assert np.abs(found - expected[:, 0]).max() <= TOLERANCE * max(1.0, np.abs(expected).max())


CASES = [(name, last) for name in fn.losses for last in reference.lasts(name)]


@pytest.mark.parametrize("name, last", CASES)
@pytest.mark.parametrize("soft", [False, True])
def test_the_gradient_of_every_loss(name, last, soft, rng):
    net = fn.Sequential([fn.Dense(7, "tanh"), fn.Dense(4, last)], inputs=5, seed=1, dtype="float64")
    X = rng.normal(size=(9, 5))
    y = reference.targets_for(name, 9, 4, rng, soft=soft, last=last)
    check(net, X, y, name)


@pytest.mark.parametrize("name", STACKS)
def test_the_gradient_through_every_layer(name):
    net = stacks.network(name, NARROW)
    X, y = stacks.table(12)
    check(net, X, y, "mse", NUMERIC.get(name))


def test_penalties_and_other_rows_do_not_count(rng):
    X, y = rng.normal(size=(6, 3)), rng.integers(0, 3, 6)
    plain, penalized = (
        fn.Sequential([fn.Dense(3, "softmax", l2=l2)], inputs=3, seed=0, dtype="float64") for l2 in (0.0, 1.0)
    )
    gradient = penalized.input_gradient(X, y)
    np.testing.assert_array_equal(gradient, plain.input_gradient(X, y))
    np.testing.assert_allclose(plain.input_gradient(X[2:3], y[2:3]), gradient[2:3], rtol=1e-12)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_loss_in_python_gives_what_the_native_one_does(scaled, rng):
    def squared(y, output):
        error = output - y
        return (error**2).mean(axis=1), 2 * error / error.shape[1]

    X, y = rng.normal(size=(20, 3)), 10 + rng.normal(size=(20, 2)) * 3
    net = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(2)], seed=0, dtype="float64", scale_targets=scaled)
    net.fit(X, y, epochs=1, verbose=0)
    found = net.input_gradient(X, y, squared)
    check(net, X, y, squared)
    if not scaled:  # else the native one compares in scaled units
        np.testing.assert_allclose(found, net.input_gradient(X, y, "mse"), rtol=1e-12, atol=1e-15)


def test_the_loss_is_that_of_training_unless_another_is_named(rng):
    X, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    net = fn.Sequential([fn.Dense(1)], seed=0)
    net.fit(X, y, loss=fn.Huber(0.1), epochs=1, verbose=0)
    np.testing.assert_array_equal(net.input_gradient(X, y), net.input_gradient(X, y, fn.Huber(0.1)))
    assert (net.input_gradient(X, y) != net.input_gradient(X, y, "mse")).any()


def test_a_loss_that_is_not_finite_is_said(rng):
    net = fn.Sequential([fn.Dense(1)], inputs=1, seed=0)
    net.layers[0].weight = [[1e30]]
    with pytest.raises(ValueError, match=r"loss 'mse' is not finite for some of the rows 0\.\.1"):
        net.input_gradient([[1.0], [1e10]], [0.0, 0.0], "mse")


@pytest.mark.parametrize("part", [0, 1])
def test_nor_one_in_python(part):
    def broken(y, output):
        found = [np.zeros(len(y)), np.zeros_like(y)]
        found[part][1] = np.nan
        return tuple(found)

    net = fn.Sequential([fn.Dense(1)], inputs=1, seed=0)
    with pytest.raises(ValueError, match=r"loss 'broken' is not finite for some of the rows 0\.\.2 of X"):
        net.input_gradient(np.ones((3, 1)), np.ones(3), broken)


def test_derivatives_can_be_asked_for_in_callbacks(rng):
    X, y = rng.normal(size=(64, 3)), rng.normal(size=(64, 1))
    net = fn.Sequential([fn.Dense(4, "tanh"), fn.Dropout(0.2), fn.Dense(1)], seed=0)
    seen = []
    look = fn.LambdaCallback(on_epoch_end=lambda net, epoch, logs: seen.append(net.jacobian(X[:2])))
    net.fit(X, y, epochs=2, callbacks=[look], verbose=0)
    again = fn.Sequential([fn.Dense(4, "tanh"), fn.Dropout(0.2), fn.Dense(1)], seed=0)
    again.fit(X, y, epochs=2, verbose=0)
    assert (seen[0] != seen[1]).any() and net.params.tobytes() == again.params.tobytes()


def test_sparse_matrices_and_tables(rng):
    sparse = pytest.importorskip("scipy.sparse")
    X = np.where(rng.random((30, 6)) < 0.3, rng.normal(size=(30, 6)), 0.0)
    y = rng.normal(size=(30, 3))
    net = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(3)], inputs=6, seed=0)
    np.testing.assert_array_equal(net.jacobian(sparse.csr_array(X)), net.jacobian(X))
    np.testing.assert_array_equal(net.input_gradient(sparse.csr_array(X), y), net.input_gradient(X, y))
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    frame, targets = pandas.DataFrame(X, columns=list("abcdef")), pandas.DataFrame(y)
    np.testing.assert_array_equal(net.jacobian(frame), net.jacobian(X))
    np.testing.assert_array_equal(net.input_gradient(frame, targets), net.input_gradient(X, y))
