# SPDX-License-Identifier: BSD-3-Clause
"""Gradients in float64, by the code that trains, against central differences: relative error at most 1e-7.

Every activation × loss × kind of weights, away from kinks: seeds are tried until no sum comes near 0.
"""

import numpy as np
import pytest
import reference

import fastnn as fn
from fastnn import gradient_check

ROWS, INPUTS, OUTPUTS = 11, 4, 4
MARGIN = 0.02  # a parameter moves by 2 H = 0.002, a sum by a few times that


def relative_error(found, expected):
    """The largest; gradients a thousandth as large as the largest count as that."""
    scale = np.maximum(np.abs(expected), 1e-3 * np.abs(expected).max())
    return (np.abs(found - expected) / scale).max()


near_a_kink = set()
"""Seeds that were no good, for layers that are looked at more than once."""


def away_from_kinks(layers, loss, rows=ROWS, soft=False, margin=MARGIN, known_as=None):
    """A network, its reference, X and y."""
    for seed in range(2000):
        sums = known_as, rows, margin, seed  # on the loss they do not depend
        if {sums, (*sums, loss, soft)} & near_a_kink:
            continue
        rng = np.random.default_rng(seed)
        net = fn.Sequential(layers(), inputs=INPUTS, seed=seed, dtype="float64")
        net.params[...] += rng.normal(scale=0.1, size=net.n_params)  # biases too
        X = rng.normal(size=(rows, INPUTS))
        network = reference.Network(net, loss)
        y = reference.targets_for(loss, rows, net.outputs, rng, soft=soft, last=network.activations[-1])
        away = network.margin(X) > margin
        if away and network.loss_margin(X, y) > MARGIN:
            return net, network, X, y
        if known_as:
            near_a_kink.add((*sums, loss, soft) if away else sums)
    raise AssertionError("no seed keeps away from the kinks")


def stack(activation, last):
    return lambda: [fn.Dense(5, activation), fn.Dense(4, activation), fn.Dense(OUTPUTS, last)]


def training_gradient(net, X, y, loss, weights=None):
    """w - (w after one step with learning rate 1)."""
    before = net.params.copy()
    net.train_step(X, y, loss, fn.SGD(1.0), sample_weight=weights)
    found = before - net.params
    net.params[...] = before
    return found


def some_weights(kind, rows):
    rng = np.random.default_rng(1)
    if kind == "none":
        return None
    weights = rng.uniform(0.1, 3, rows)
    if kind == "some zero":
        weights[::3] = 0
    return weights


@pytest.mark.parametrize("weights", ["none", "positive", "some zero"])
@pytest.mark.parametrize("activation", fn.activations)
@pytest.mark.parametrize("loss", fn.losses)
def test_training_gradient_is_the_difference_of_the_loss(loss, activation, weights):
    for last in reference.lasts(loss):
        soft_or_not = (False,) if reference.kind_of_targets(loss, last) == "values" else (False, True)
        for soft in soft_or_not:
            net, network, X, y = away_from_kinks(
                stack(activation, last), loss, soft=soft, known_as=("stack", activation, last)
            )
            w = some_weights(weights, ROWS)
            expected = network.differences(X, y, w)
            assert np.abs(expected).max() > 1e-4, "nothing to measure"
            assert relative_error(training_gradient(net, X, y, loss, w), expected) <= 1e-7, last
            assert relative_error(network.gradient(X, y, w), expected) <= 1e-7, "the reference is wrong"
            assert fn.check_gradients(net, X, y, loss, sample_weight=w) <= 1e-7


@pytest.mark.parametrize("loss", fn.losses)
@pytest.mark.parametrize("activation", fn.activations)
def test_wide_networks_walked_layer_by_layer(activation, loss):
    """130 units: another schedule, the same mathematics."""

    last = reference.lasts(loss)[0]

    def layers():
        return [fn.Dense(130, activation), fn.Dense(OUTPUTS, last)]

    net, network, X, y = away_from_kinks(layers, loss, rows=5, margin=1e-4, known_as=("wide", activation, last))
    gradient = training_gradient(net, X, y, loss)
    # The parameters' own rounding is in w - w'; a new activation's derivative is known by differences only.
    tolerance = 1e-11 if activation in reference.DERIVATIVES and loss in reference.LOSS_GRADIENTS else 1e-8
    assert relative_error(gradient, network.gradient(X, y)) <= tolerance
    # Each weight before 130 units of softmax hardly matters: what rounding does to differences is seen.
    fn.check_gradients(net, X, y, loss, tol=1e-6 if activation == "softmax" else 1e-7)


def test_layers_without_bias_and_activations_of_their_own():
    def layers():
        return [
            fn.Activation("tanh"), fn.Dense(6, "sigmoid", use_bias=False), fn.Activation("tanh"), fn.Dense(5),
            fn.Activation("softmax"), fn.Dense(4, use_bias=False), fn.Activation("relu"), fn.Dense(2),
        ]  # fmt: skip

    for seed in range(100):
        net = fn.Sequential(layers(), inputs=INPUTS, seed=seed, dtype="float64")
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(ROWS, INPUTS)), rng.normal(size=(ROWS, 2))
        hidden = fn.Sequential(layers()[:-2], inputs=INPUTS, seed=seed, dtype="float64")
        if np.abs(hidden.predict(X)).min() > 1e-3:
            break
    else:
        raise AssertionError("no seed keeps away from the kinks")
    assert fn.check_gradients(net, X, y) <= 1e-7


@pytest.mark.parametrize("activation", fn.activations)
@pytest.mark.parametrize("units", [9, 130])
def test_backward_is_the_chain_rule(activation, units, isa):
    """dL/dparameters as a sum over rows, and dL/dx, from any dL/doutput."""
    tolerance = 1e-11 if activation in reference.DERIVATIVES else 1e-7
    for rows in (1, 5, 70):
        net, network, X, _ = away_from_kinks(
            lambda: [fn.Dense(units, activation), fn.Dense(OUTPUTS, activation)], "mse", rows, margin=1e-5,
            known_as=("backward", units, activation),
        )  # fmt: skip
        doutput = np.random.default_rng(rows).normal(size=(rows, OUTPUTS))
        output = net.forward(X, training=True)
        np.testing.assert_allclose(output, network.predict(X), rtol=1e-12, atol=1e-15)
        dx = net.backward(doutput)
        expected, expected_dx = network.backward(X, doutput)
        assert relative_error(net.grads, expected) <= tolerance
        assert relative_error(dx, expected_dx) <= tolerance
        once = net.grads.copy()
        assert net.backward(doutput, accumulate=True, input_gradient=False) is None
        np.testing.assert_allclose(net.grads, 2 * once, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("units", [9, 130])
def test_float32_gradients_are_those_of_float64_rounded(units, isa):
    net, network, X, y = away_from_kinks(
        lambda: [fn.Dense(units, "relu"), fn.Dense(OUTPUTS)], "mse", rows=70, margin=1e-4
    )
    single = fn.Sequential([fn.Dense(units, "relu"), fn.Dense(OUTPUTS)], inputs=INPUTS, seed=0)
    single.params[...] = net.params
    output = single.forward(X, training=True)
    single.backward(2 * (output - y) / OUTPUTS)
    expected = network.gradient(X, y) * 70
    assert np.abs(single.grads - expected).max() <= 3e-6 * np.abs(expected).max()


def test_loss_and_gradient_do_not_depend_on_the_scale_of_the_weights():
    net, _, X, y = away_from_kinks(stack("tanh", "softmax"), "cross_entropy")
    w = some_weights("positive", ROWS)
    found = [training_gradient(net, X, y, "cross_entropy", w * scale) for scale in (1, 2.0**-30, 2.0**40)]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-12, atol=1e-16)


# ---- check_gradients itself ------------------------------------------------------------------------------------------


def test_check_gradients_sees_a_wrong_one(monkeypatch):
    net, _, X, y = away_from_kinks(stack("tanh", "linear"), "mse")
    right = gradient_check.TrainingStep.gradient

    def slightly_wrong(*arguments):
        gradient = right(*arguments)
        gradient[27] *= 1 + 1e-5  # weight[0, 2] of the second layer: 25 parameters lie before it
        return gradient

    monkeypatch.setattr(gradient_check.TrainingStep, "gradient", slightly_wrong)
    with pytest.raises(AssertionError, match=r"weight\[0, 2\] of layer 1"):
        fn.check_gradients(net, X, y, "mse")


def test_a_tolerance_is_not_negative():
    net, _, X, y = away_from_kinks(stack("tanh", "linear"), "mse")
    for wrong in (-1, -1e-9, float("nan")):
        with pytest.raises(ValueError, match="tol must be at least 0, not"):
            fn.check_gradients(net, X, y, "mse", tol=wrong)
    with pytest.raises(AssertionError, match="more than 0"):
        fn.check_gradients(net, X, y, "mse", tol=0)
    assert 0 < fn.check_gradients(net, X, y, "mse", tol=np.inf) < 1e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_check_gradients_changes_nothing(dtype, rng):
    layers = [fn.Dense(5, "tanh", learning_rate_factor=0.5), fn.Dense(4, trainable=False), fn.Dense(2)]
    net = fn.Sequential(layers, inputs=3, seed=0, dtype=dtype)
    X, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    net.train_step(X, y, "mse", "adam")
    before, state, step = net.params.copy(), net._state.array.copy(), net._state.step
    assert 0 < fn.check_gradients(net, X, y) <= 1e-7
    np.testing.assert_array_equal(net.params, before)
    np.testing.assert_array_equal(net._state.array, state)
    assert net._state.step == step and net.optimizer == fn.Adam()
