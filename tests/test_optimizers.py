# SPDX-License-Identifier: BSD-3-Clause
"""Every optimizer of the registry: its step is the paper's formula, and its way is PyTorch's."""

import json
import re
from ast import literal_eval
from pathlib import Path

import golden
import numpy as np
import pytest
import record_torch
import reference
from conftest import ISAS
from registries import check_row

import fastnn as fn
from fastnn import _core

SIZES = [1, 7, 8, 9, 15, 16, 17, 31, 33, 100]
UNIT = {"float32": 2.0**-23, "float64": 2.0**-52}
# Every branch of every rule; an optimizer without a line here is run with its defaults.
VARIANTS = {
    "sgd": [{}, {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True}],
    "rmsprop": [{}, {"decay": 0.5, "epsilon": 1e-3, "momentum": 0.9}, {"decay": 0.0}],
    "adagrad": [{}, {"epsilon": 1e-3, "initial_accumulator": 0.5}],
    "adam": [{}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}, {"beta1": 0.0, "beta2": 0.0}, {"weight_decay": 0.5}],
    "adamw": [{}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3, "weight_decay": 0.5}],
    "nadam": [{}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}, {"beta1": 0.0, "beta2": 0.0}],
    "lion": [{}, {"beta1": 0.5, "beta2": 0.9, "weight_decay": 1.0}],
}
CASES = [(name, variant) for name in fn.optimizers for variant in VARIANTS.get(name, [{}])]
each_case = pytest.mark.parametrize("name, variant", CASES, ids=str)


@pytest.mark.parametrize("name", fn.optimizers)
def test_row_has_formula_hyper_parameters_and_running_example(name):
    kind = fn.optimizers[name]
    check_row(kind, kind.formula)
    assert kind.name == name
    assert len(kind.state_names) == _core.optimizer_states(name)
    optimizer = kind()
    shared = ("weight_decay", "average")
    assert tuple(optimizer.config()) == ("learning_rate", *_core.optimizer_hyper_names(name), *shared)
    changed = kind(weight_decay=0.25, average=0.5)
    assert eval(repr(changed), vars(fn)) == changed != optimizer
    assert kind(**optimizer.config()) == optimizer and eval(repr(optimizer), vars(fn)) == optimizer
    assert kind.update is not fn.Optimizer.update, "no formula to compare with"


def test_every_optimizer_has_a_line_in_the_documentation():
    """With its class, and its defaults as they are."""
    lines = (Path(__file__).parents[1] / "docs" / "optimizers.md").read_text().splitlines()
    for name, kind in fn.optimizers.items():
        (line,) = [line for line in lines if line.startswith(f"| `{name}` | `{kind.__name__}(")]
        said = re.findall(r"(\w+)=([\w.-]+)", line.split("|")[2])
        assert said and all(kind().config()[key] == literal_eval(value) for key, value in said)


def test_every_optimizer_has_golden_hashes():
    trained = {make().name for make in golden.OPTIMIZERS.values()}
    assert trained == set(fn.optimizers)


@each_case
@pytest.mark.parametrize("dtype", UNIT)
def test_a_step_is_the_formula(name, variant, dtype, isa, rng):
    """Three steps over vectors of any length, each from the state the library itself left."""
    optimizer = fn.optimizers[name](learning_rate=0.05, **variant)
    for n in SIZES:
        net = fn.Sequential([fn.Dense(n)], inputs=3, seed=0, dtype=dtype)
        states = np.zeros((_core.optimizer_states(name), net.n_params), dtype)
        for t in (1, 2, 3):
            w = net.params.astype(np.float64)
            net.grads[...] = rng.normal(size=net.n_params)
            g = net.grads.astype(np.float64)
            optimizer.step(net)
            decayed = w.copy()
            decayed[: 3 * n] *= 1 - optimizer.learning_rate * optimizer.weight_decay  # the weights, not the biases
            expected, expected_states = optimizer.update(decayed, g, list(states.astype(np.float64)), t)
            states = net._state.array.reshape(states.shape).copy()
            np.testing.assert_allclose(states, expected_states, rtol=4 * UNIT[dtype], atol=2 * UNIT[dtype])
            # Terms of a mean may cancel: what is left is off by units of the terms.
            allowed = 16 * UNIT[dtype] * (np.abs(expected - w) + optimizer.learning_rate) + UNIT[dtype] * np.abs(w)
            assert (np.abs(net.params - expected) <= allowed).all()
            assert net._state.step == t


@each_case
def test_every_set_gives_the_same_bits(name, variant, rng):
    g = rng.normal(size=(4, 33 * 4)).astype(np.float32)
    before, found = _core.isa(), {}
    try:
        for isa in ISAS:
            assert _core.isa_select(isa)
            net = fn.Sequential([fn.Dense(33)], inputs=3, seed=0)
            optimizer = fn.optimizers[name](learning_rate=0.05, **variant)
            for row in g:
                net.grads[...] = row
                optimizer.step(net)
            found[isa] = net.params.tobytes() + net._state.array.tobytes()
    finally:
        _core.isa_select(before)
    assert len(set(found.values())) == 1


def recorded_problem(hidden):
    """The network that record_torch.py begins with."""
    _, units, outputs = record_torch.WIDTHS
    layers = [fn.Dense(units, hidden), fn.Dense(outputs)]
    net = fn.Sequential(layers, inputs=record_torch.WIDTHS[0], seed=0, dtype="float64")
    for layer, (weight, bias) in zip(net.layers, record_torch.start(), strict=True):
        layer.weight[...], layer.bias[...] = weight, bias
    return net


@pytest.mark.parametrize("run", record_torch.RUNS)
def test_twenty_steps_go_where_pytorch_went(run):
    recorded = json.loads(record_torch.FILE.read_text())
    assert recorded["library"].startswith("PyTorch 2.13")
    loss, hidden, (_, _, name, arguments) = record_torch.RUNS[run]
    net = recorded_problem(hidden)
    optimizer = getattr(fn, name)(**arguments)
    expected = recorded["runs"][run]
    assert set(expected["params"]) == {str(step) for step in record_torch.RECORDED_STEPS}
    for step in range(1, record_torch.STEPS + 1):
        value = net.train_step(*record_torch.batch(step, loss), loss=loss, optimizer=optimizer)
        np.testing.assert_allclose(value, expected["losses"][step - 1], rtol=1e-12)
        if str(step) in expected["params"]:
            np.testing.assert_allclose(net.params, expected["params"][str(step)], rtol=1e-11, atol=1e-13)
    assert abs(expected["losses"][0] - expected["losses"][-1]) > 1e-3, "the recorded run went nowhere"


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_twenty_steps_of_lion_are_algorithm_2_of_the_paper(loss):
    """Written out here once more, in the paper's letters, since PyTorch has no Lion."""
    net = recorded_problem("tanh")
    lion = fn.Lion(0.01, beta1=0.8, beta2=0.95, weight_decay=0.3)
    eta, b1, b2, lam = 0.01, 0.8, 0.95, 0.3
    network = reference.Network(net, loss)
    theta, m = network.params, np.zeros(net.n_params)
    is_weight = np.concatenate([np.full(t.size, t.ndim == 2) for t in network.tensors])
    for step in range(1, record_torch.STEPS + 1):
        X, y = record_torch.batch(step, loss)
        for tensor, part in zip(network.tensors, np.split(theta, ends(network)), strict=True):
            tensor[...] = part.reshape(tensor.shape)
        g = network.gradient(X, y)
        c = b1 * m + (1 - b1) * g
        theta = theta - eta * (np.sign(c) + lam * theta * is_weight)
        m = b2 * m + (1 - b2) * g
        net.train_step(X, y, loss, lion)
        np.testing.assert_allclose(net.params, theta, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(net._state.array, m, rtol=1e-10, atol=1e-13)


def ends(network):
    return np.cumsum([tensor.size for tensor in network.tensors])[:-1]


@each_case
def test_hyper_parameters_may_change_between_steps(name, variant, rng):
    """The new value counts from the next step on, in the caller's loop and in train_step."""
    X, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    nets = [fn.Sequential([fn.Dense(2)], inputs=3, seed=0, dtype="float64") for _ in range(2)]
    optimizer = fn.optimizers[name](learning_rate=0.1, **variant)
    for step in range(4):
        optimizer.learning_rate = 0.1 / (step + 1)
        if optimizer.hyper and step == 2:
            first = _core.optimizer_hyper_names(name)[0]
            setattr(optimizer, first, 0.25)
        output = nets[0].forward(X, training=True)
        nets[0].backward((output - y) / 8)  # of the mean over rows of the mean over 2 outputs
        optimizer.step(nets[0])
        nets[1].train_step(X, y, "mse", optimizer)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=1e-13)


@each_case
def test_frozen_layers_stay_and_factors_multiply_the_rate(name, variant, rng):
    X, y = rng.normal(size=(16, 3)), rng.normal(size=(16, 2))

    def trained(factor, trainable, rate):
        layers = [
            fn.Dense(4, "tanh", learning_rate_factor=factor, trainable=trainable),
            fn.Dense(2, trainable=False),
        ]
        net = fn.Sequential(layers, inputs=3, seed=0, dtype="float64")
        start = net.params.copy()
        net.fit(X, y, optimizer=fn.optimizers[name](learning_rate=rate, **variant), epochs=3, batch_size=5, verbose=0)
        return start, net

    start, half = trained(0.5, True, 0.02)
    _, full = trained(1.0, True, 0.01)
    np.testing.assert_allclose(half.params, full.params, rtol=1e-12)
    assert (half.params[:16] != start[:16]).sum() >= 14  # Lion's steps are all of one size, and may lead back
    np.testing.assert_array_equal(half.params[16:], start[16:])
    start, frozen = trained(1.0, False, 0.01)
    np.testing.assert_array_equal(frozen.params, start)


def test_state_goes_on_with_the_same_class_and_starts_anew_with_another(rng):
    X, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 1))

    def net():
        return fn.Sequential([fn.Dense(5, "tanh"), fn.Dense(1)], inputs=3, seed=0)

    def fit(net, optimizer, epochs):
        net.fit(X, y, optimizer=optimizer, epochs=epochs, batch_size=4, verbose=0)
        return net

    whole = fit(net(), fn.Adam(0.01), 6)
    parts = fit(fit(net(), fn.Adam(0.01), 2), fn.Adam(0.01), 4)
    np.testing.assert_array_equal(whole.params, parts.params)
    assert parts._state.step == 18
    broken = fit(fit(fit(net(), fn.Adam(0.01), 2), fn.SGD(1e-30), 1), fn.Adam(0.01), 1)
    assert broken._state.step == 3


def test_a_bad_hyper_parameter_is_refused_when_it_is_set():
    optimizer = fn.Adam()
    for name, value, error in [
        ("beta1", 1.0, ValueError), ("beta2", -0.1, ValueError), ("epsilon", float("nan"), ValueError),
        ("learning_rate", -1, ValueError), ("learning_rate", "big", TypeError), ("learning_rate", True, TypeError),
    ]:  # fmt: skip
        before = optimizer.config()
        with pytest.raises(error, match=name):
            setattr(optimizer, name, value)
        assert optimizer.config() == before
    sgd = fn.SGD(momentum=0.5)
    for value in (3, None, "yes"):
        with pytest.raises(TypeError, match="nesterov must be True or False"):
            sgd.nesterov = value
    sgd.nesterov = np.True_
    assert sgd.config()["nesterov"] is True
