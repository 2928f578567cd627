# SPDX-License-Identifier: BSD-3-Clause
"""Layers: what they say of themselves, where their numbers start, and how they are frozen."""

import copy
import gc
import math
import pickle

import numpy as np
import pytest

import fastnn as fn

X = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)
Y = X[:, :2]


def net_of(*layers, inputs=6, seed=0):
    return fn.Sequential(list(layers), inputs=inputs, seed=seed)


# ---- what they say ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [
    fn.Dense(3), fn.Dense(np.int64(3), "relu"), fn.Dense(3, fn.activations["tanh"], use_bias=False, name="last"),
    fn.Dense(3, initializer="zeros", trainable=False, learning_rate_factor=0.25),
    fn.Dense(3, initializer=fn.initializers["he_uniform"]), fn.Activation("softmax"), fn.Activation("relu", name="r"),
])  # fmt: skip
def test_repr_config_and_copies_make_an_equal_layer(layer):
    same = eval(repr(layer), {"Dense": fn.Dense, "Activation": fn.Activation})
    assert same.config() == layer.config() and repr(same) == repr(layer)
    assert type(layer)(**layer.config()).config() == layer.config()
    assert copy.deepcopy(layer).config() == pickle.loads(pickle.dumps(layer)).config() == layer.config()


def test_repr_is_short():
    assert repr(fn.Dense(3)) == "Dense(units=3)"
    assert repr(fn.Dense(3, "relu", name="a")) == "Dense(units=3, activation='relu', name='a')"


def test_an_activation_layer_is_an_activation():
    for name in fn.activations:
        joined, apart = net_of(fn.Dense(3, name)), net_of(fn.Dense(3), fn.Activation(name))
        assert joined.n_params == apart.n_params == 21
        y = np.arange(50) % 3 if name == "softmax" else np.full((50, 3), 0.5)
        for net in (joined, apart):
            net.fit(X, y, epochs=2, verbose=0)
        if name in ("softmax", "sigmoid", "linear"):  # of others, "auto" differs: he for relu
            assert (joined.params == apart.params).all(), name
        apart.params[...] = joined.params
        assert (joined.predict(X) == apart.predict(X)).all(), name


def test_activations_may_come_first_and_repeatedly():
    layers = [
        fn.Activation("tanh"),
        fn.Activation("sigmoid"),
        fn.Dense(2),
        fn.Activation("tanh"),
        fn.Activation("tanh"),
    ]
    net = fn.Sequential(layers, inputs=6, seed=0, dtype="float64")
    hidden = 1 / (1 + np.exp(-np.tanh(X.astype(float))))
    expected = np.tanh(np.tanh(hidden @ layers[2].weight + layers[2].bias))
    before = X.copy()
    assert np.abs(net.predict(X) - expected).max() < 1e-12
    assert fn.check_gradients(net, X, Y, loss="mse") < 1e-7
    assert (before == X).all()


@pytest.mark.parametrize("before", ["tanh", "sigmoid", "softmax", "relu"])
@pytest.mark.parametrize("last", ["softmax", "sigmoid"])
@pytest.mark.parametrize("units", [3, 200])
def test_a_loss_reads_logits_where_they_are(before, last, units):
    """The last activation is folded into its loss, also when it cannot work in place: after another activation."""
    layers = [fn.Dense(units, "tanh"), fn.Dense(3, before), fn.Activation(last)]
    net = fn.Sequential(layers, inputs=6, seed=0, dtype="float64")
    y, p = np.eye(3)[np.arange(50) % 3], net.predict(X)
    if last == "softmax":
        expected = -np.log((p * y).sum(1)).mean()
    else:
        expected = -np.log(np.where(y, p, 1 - p)).mean()
    assert net.evaluate(X, y, metrics=["accuracy"])["loss"] == pytest.approx(expected, rel=1e-12)
    assert fn.check_gradients(net, X, y) < 1e-7
    seen = []

    def outputs(y, output):
        seen.append(output.copy())
        return 0.0

    history = net.fit(X, y, epochs=1, batch_size=None, shuffle=False, metrics=[outputs], verbose=0)
    assert (seen[0] == p).all() and history.history["loss"] == [pytest.approx(expected, rel=1e-12)]


def test_a_layer_belongs_to_one_network_and_is_free_when_that_is_gone():
    layer = fn.Dense(2)
    net = net_of(layer)
    with pytest.raises(ValueError, match="belongs to a network already"):
        net_of(layer)
    del net
    gc.collect()
    net_of(layer)


def test_a_network_that_was_refused_does_not_keep_its_layers():
    layer = fn.Dense(2)
    with pytest.raises(ValueError, match="seed"):
        fn.Sequential([layer], inputs=6, seed=-1)
    with pytest.raises(ValueError, match="inputs"):
        fn.Sequential([layer], inputs=0)
    assert net_of(layer).n_params == 14


def test_without_a_bias():
    net = net_of(fn.Dense(2, use_bias=False))
    assert net.n_params == 12 == net.layers[0].n_params
    assert np.abs(net.predict(X) - X @ net.layers[0].weight).max() < 1e-5
    assert (net.predict(np.zeros(6)) == 0).all()


# ---- where numbers start ---------------------------------------------------------------------------------------------


def bound(activation, initializer="auto"):
    weight = net_of(fn.Dense(400, activation, initializer=initializer), inputs=200).layers[0].weight
    assert abs(weight.mean()) < 3 * weight.std() / math.sqrt(weight.size)
    assert weight.std() == pytest.approx(np.abs(weight).max() / math.sqrt(3), rel=0.01)  # uniform
    return np.abs(weight).max()


def test_auto_follows_the_activation():
    he, glorot, lecun = math.sqrt(6 / 200), math.sqrt(6 / 600), math.sqrt(3 / 200)
    bounds = {"he_uniform": he, "glorot_uniform": glorot, "lecun_uniform": lecun}
    for name in fn.activations:
        row = fn.activations[name].initializer
        assert bound(name) == pytest.approx(bounds[row], rel=0.01)
    assert fn.activations["relu"].initializer == "he_uniform"
    assert fn.activations["tanh"].initializer == "glorot_uniform"
    assert bound("relu", "glorot_uniform") == pytest.approx(glorot, rel=0.01)
    assert bound("tanh", "he_uniform") == pytest.approx(he, rel=0.01)


def test_biases_start_at_zero_and_weights_differ_by_layer_and_seed():
    first, second = net_of(fn.Dense(6), fn.Dense(6)), net_of(fn.Dense(6), fn.Dense(6), seed=1)
    assert not any(layer.bias.any() for layer in first.layers)
    weights = [layer.weight.tobytes() for net in (first, second) for layer in net.layers]
    assert len(set(weights)) == 4
    assert not net_of(fn.Dense(3, initializer="zeros")).params.any()


def test_float32_and_float64_start_alike():
    pair = [fn.Sequential([fn.Dense(50)], inputs=6, seed=0, dtype=dtype) for dtype in ("float32", "float64")]
    assert (pair[0].params == pair[1].params.astype(np.float32)).all()


def test_a_layer_in_front_changes_no_layer_behind_it_by_width_alone():
    narrow, wide = net_of(fn.Dense(4), fn.Dense(2)), net_of(fn.Dense(4), fn.Dense(3))
    assert (narrow.layers[0].weight == wide.layers[0].weight).all()


# ---- frozen and slower layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"trainable": False}, {"learning_rate_factor": 0}])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_frozen_layer_keeps_its_bits(how, optimizer):
    net = net_of(fn.Dense(5, "tanh", **how), fn.Dense(2))
    before = [layer.weight.copy() for layer in net.layers]
    net.fit(X, Y, epochs=2, optimizer=optimizer, verbose=0)
    net.train_step(X, Y, optimizer=optimizer)
    net.forward(X, training=True)
    net.backward(np.ones((50, 2)))
    net.optimizer.step(net)
    assert (net.layers[0].weight == before[0]).all() and not net.layers[0].bias.any()
    assert (net.layers[1].weight != before[1]).any() and net.layers[1].bias.all()


def test_freezing_between_calls():
    net = net_of(fn.Dense(5, "tanh"), fn.Dense(2))
    net.fit(X, Y, epochs=1, verbose=0)
    net.train_step(X, Y)
    net.layers[0].trainable = False
    frozen = net.layers[0].weight.copy()
    net.train_step(X, Y)  # the same words as before
    net.fit(X, Y, epochs=1, verbose=0)
    assert (net.layers[0].weight == frozen).all()
    net.layers[0].trainable = True
    net.train_step(X, Y)
    assert (net.layers[0].weight != frozen).any()


def test_a_factor_multiplies_the_learning_rate():
    plain, half = net_of(fn.Dense(2)), net_of(fn.Dense(2, learning_rate_factor=0.5))
    start = plain.params.copy()
    plain.train_step(X, Y, optimizer=fn.SGD(0.25)), half.train_step(X, Y, optimizer=fn.SGD(0.5))
    assert (plain.params == half.params).all() and (plain.params != start).any()
    half.layers[0].learning_rate_factor = 1
    plain.train_step(X, Y, optimizer=fn.SGD(0.25)), half.train_step(X, Y, optimizer=fn.SGD(0.25))
    assert (plain.params == half.params).all()


def test_gradients_of_frozen_layers_can_be_seen():
    net = net_of(fn.Dense(5, "tanh", trainable=False), fn.Dense(2))
    net.forward(X, training=True)
    net.backward(np.ones((50, 2)))
    assert net.grads[:30].any()


def twice(make):
    dense = fn.Dense(3)
    return lambda: fn.Sequential(make(dense), inputs=3)


@pytest.mark.parametrize(
    "build",
    [
        twice(lambda d: [d, fn.Residual([d])]),
        twice(lambda d: [fn.Residual([d]), fn.Residual([d])]),
        twice(lambda d: [fn.Residual([d, fn.Residual([d])])]),
        twice(lambda d: [fn.Concat([[d], [fn.Residual([d])]])]),
    ],
)
def test_a_layer_has_one_place_however_deep(build):
    """Each place had weights of its own, and the layer showed the last ones only."""
    with pytest.raises(ValueError, match=r"its Dense is there twice: make a new Dense|a layer is in two branches"):
        build()


def test_the_width_of_the_output_is_said_where_it_is_known():
    assert fn.Sequential([fn.LayerNorm(), fn.Dense(3)]).outputs == 3
    for layers in ([fn.BatchNorm()], [fn.Concat([[], [fn.Dense(3)]])], [fn.Embedding(4, units=2)]):
        net = fn.Sequential(layers)
        with pytest.raises(RuntimeError, match="before the width of its input is known"):
            _ = net.outputs


def test_a_branch_may_wait_for_the_width_behind_its_first_layer():
    net = fn.Sequential([fn.Concat([[fn.Activation("relu"), fn.Residual([fn.Dense(4)])]]), fn.Dense(1)], seed=0)
    net.fit(np.ones((8, 4)), np.ones(8), epochs=1, verbose=0)
    assert net.outputs == 1
