# SPDX-License-Identifier: BSD-3-Clause
"""Every kind of layer against its formula: outputs, gradients, running numbers; and what kinds owe their readers."""

import json
import re
from pathlib import Path

import golden
import layer_reference
import numpy as np
import pytest
import record_torch_layers
import reference
import stacks
from registries import check_row
from stacks import NARROW, STACKS, WIDE
from test_gradients import relative_error

import fastnn as fn
from fastnn.layers import LAYERS, Layer, all_parts

PAGE = (Path(__file__).parents[1] / "docs" / "layers.md").read_text()
each_stack = pytest.mark.parametrize("name", STACKS)
each_width = pytest.mark.parametrize("units", [NARROW, WIDE])


# ---- what a kind of layer owes ---------------------------------------------------------------------------------------


def kinds_in(nets):
    return {type(layer).__name__ for net in nets for layer in all_parts(net.layers)}


def check_kind(kind, cls):
    """A docstring with a running example, a formula, a gradient check, a golden hash and a section on the page."""
    check_row(cls)
    assert kind in fn.__all__ and getattr(fn, kind) is cls, f"{kind} is not public"
    assert kind in layer_reference.KINDS, f"{kind} has no formula in layer_reference.py"
    assert kind in kinds_in(stacks.network(name, NARROW) for name in STACKS), f"{kind} is in no stack of stacks.py"
    hashed = [golden.network(one) for one in golden.configurations().values()]
    assert kind in kinds_in(hashed), f"{kind} is in no configuration of golden.py"
    assert re.search(rf"^## `{kind}`", PAGE, re.MULTILINE), f"docs/layers.md has no section on {kind}"


@pytest.mark.parametrize("kind", LAYERS)
def test_every_kind_has_all_it_owes(kind):
    check_kind(kind, LAYERS[kind])


def test_a_kind_that_owes_something_is_noticed(monkeypatch):
    class Twice(Layer):
        """y = 2 x

        >>> 1 + 1
        2
        """

    with pytest.raises(AssertionError, match="Twice is not public"):
        check_kind("Twice", Twice)
    monkeypatch.setattr(fn, "Twice", Twice, raising=False)
    monkeypatch.setattr(fn, "__all__", [*fn.__all__, "Twice"])
    for missing, there in (
        ("has no formula", lambda: monkeypatch.setitem(layer_reference.KINDS, "Twice", layer_reference.residual)),
        ("in no stack", lambda: monkeypatch.setitem(globals(), "kinds_in", lambda nets: {"Twice"})),
        ("no section", lambda: monkeypatch.setitem(globals(), "PAGE", "## `Twice`\n")),
    ):
        with pytest.raises(AssertionError, match=missing):
            check_kind("Twice", Twice)
        there()
    check_kind("Twice", Twice)
    Twice.__doc__ = "y = 2 x"
    with pytest.raises(AssertionError, match="no example"):
        check_kind("Twice", Twice)


def test_the_page_and_the_formulas_know_no_other_layers():
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    sections = re.findall(r"`(\w+)`", " ".join(headings))
    assert sorted(sections) == sorted([*LAYERS, "scale_targets"])
    assert set(layer_reference.KINDS) == set(LAYERS)


# ---- outputs and gradients -------------------------------------------------------------------------------------------


@each_stack
@each_width
@pytest.mark.parametrize("rows", [1, 5, 150])
def test_prediction_is_the_formula(name, units, rows, isa):
    net, (X, _) = stacks.network(name, units), stacks.table(rows)
    np.testing.assert_allclose(net.predict(X), layer_reference.run(net, X)[0], rtol=1e-12, atol=1e-13)


@each_stack
@each_width
@pytest.mark.parametrize("rows", [2, 5, 150])
def test_a_pass_in_training_and_back_is_the_formula(name, units, rows, isa):
    """Outputs, dL/dX, dL/dparameters and running statistics, of the first batch and of one with another draw."""
    net, (X, _) = stacks.network(name, units), stacks.table(rows)
    for draw in range(2):
        expected, back, walk = layer_reference.run(net, X, training=True, draw=draw)
        np.testing.assert_allclose(net.forward(X, training=True), expected, rtol=1e-10, atol=1e-11)
        for (layer, tensor), running in walk.running.items():
            np.testing.assert_allclose(getattr(layer, tensor), running, rtol=1e-12)
        doutput = np.random.default_rng(rows).normal(size=expected.shape)
        dx = net.backward(doutput)
        assert relative_error(dx, back(doutput)) <= 1e-9
        assert relative_error(net.grads, layer_reference.flat_gradient(net, walk)) <= 1e-9
        once = net.grads.copy()
        assert net.backward(doutput, accumulate=True, input_gradient=False) is None
        np.testing.assert_allclose(net.grads, 2 * once, rtol=1e-12, atol=1e-12)


@each_stack
@each_width
def test_a_training_step_takes_the_gradient_of_the_formula(name, units):
    """Mean squared error over weighted rows: the same walk, in its own schedule."""
    net, (X, y) = stacks.network(name, units), stacks.table(150)
    if name == "scaled targets":
        net.fit(X, y, epochs=0, verbose=0)  # learns the scale
    weights = np.random.default_rng(2).uniform(0, 2, 150)
    outputs, back, walk = layer_reference.run(net, X, training=True)
    factor = 1 / y.std(axis=0) if name == "scaled targets" else 1.0
    share = weights[:, None] / weights.sum()
    back(2 * (outputs - y) * factor**2 / 3 * share)
    expected, before = layer_reference.flat_gradient(net, walk), net.params.copy()
    loss = net.train_step(X, y, "mse", fn.SGD(2.0**-10), sample_weight=weights)
    assert loss == pytest.approx(float((((outputs - y) * factor) ** 2 * share).sum() / 3), rel=1e-10)
    assert relative_error((before - net.params) * 2**10, expected) <= 1e-7


LOSSES = {"mse": None, "cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "huber": None}


@each_stack
@each_width
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_differences_of_the_loss(name, units, loss):
    if name == "scaled targets" and LOSSES[loss]:
        return  # for numbers only
    net, X, y = away_from_corners(name, units, loss)
    assert 0 < fn.check_gradients(net, X, y, loss) <= 1e-7
    assert 0 < fn.check_gradients(net, X, y, loss, sample_weight=np.arange(len(X)) % 4 / 2.0) <= 1e-7


def away_from_corners(name, units, loss, margin=3e-3):
    """A network and data for which no difference of the loss reaches across a corner."""
    for seed in range(1000):
        layers = STACKS[name](units)
        if LOSSES[loss]:
            layers.append(fn.Activation(LOSSES[loss]))
        net = fn.Sequential(
            layers, inputs=stacks.INPUTS, seed=seed, dtype="float64", scale_targets=name == "scaled targets"
        )
        X, y = stacks.table(8, seed)
        y = reference.targets_for(loss, 8, 3, np.random.default_rng(seed)) if LOSSES[loss] else y - 10
        output, _, walk = layer_reference.run(net, X, training=True)
        if walk.margin > margin and reference.loss_margin(loss, y, output) > margin:
            return net, X, y
    raise AssertionError("no seed keeps away from the corners")


@each_stack
@each_width
def test_float32_is_float64_rounded(name, units):
    X, _ = stacks.table(70)
    net = stacks.network(name, units, dtype="float32")
    expected, back, walk = layer_reference.run(net, X.astype(np.float32), training=True)
    output = net.forward(X, training=True)
    assert np.abs(output - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())
    doutput = np.random.default_rng(7).normal(size=expected.shape).astype(np.float32)
    dx, expected_dx = net.backward(doutput), back(doutput.astype(np.float64))
    # A sum near the corner of relu may lie on its other side: a few gradients differ then.
    for found, wanted in ((dx, expected_dx), (net.grads, layer_reference.flat_gradient(net, walk))):
        off = np.abs(found - wanted) > 3e-5 * np.abs(wanted).max()
        assert off.mean() <= (0.01 if "relu" in repr(net) or "PReLU" in repr(net) else 0)


# ---- against PyTorch -------------------------------------------------------------------------------------------------

RECORDED = json.loads(record_torch_layers.FILE.read_text())


@pytest.mark.parametrize("name", record_torch_layers.LAYERS)
def test_numbers_recorded_from_pytorch(name):
    """Three batches forward and back, in float64: outputs, gradients, running statistics, then a prediction."""
    recorded = RECORDED["layers"][name]
    assert RECORDED["library"].startswith("PyTorch 2.")
    layer = record_torch_layers.LAYERS[name][1](fn)
    columns = record_torch_layers.COLUMNS
    net = fn.Sequential([layer], inputs=columns, seed=0, dtype="float64")
    for tensor, values in record_torch_layers.start(name).items():
        getattr(layer, tensor)[...] = values
    for step, expected in enumerate(recorded["steps"]):
        X, dy = record_torch_layers.batch(step)
        np.testing.assert_allclose(net.forward(X, training=True), expected["y"], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(net.backward(dy), expected["dx"], rtol=1e-11, atol=1e-13)
        for tensor, values in expected["grads"].items():
            segment = next(s for s in net._parameters.graph.segments if s.name == tensor)
            found = net.grads[segment.offset : segment.offset + segment.size]
            np.testing.assert_allclose(found, values, rtol=1e-11, atol=1e-13)
        for tensor, values in expected["running"].items():
            np.testing.assert_allclose(getattr(layer, tensor), values, rtol=1e-13)
    np.testing.assert_allclose(net.predict(record_torch_layers.batch(9)[0]), recorded["predicted"], rtol=1e-12)
