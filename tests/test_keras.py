# SPDX-License-Identifier: BSD-3-Clause
"""Models of Keras itself predict the same as what ``from_keras`` makes of them. Only where Keras is installed."""

import os

import numpy as np
import pytest

import fastnn as fn

os.environ.setdefault("KERAS_BACKEND", "jax")  # the smallest of its backends
keras = pytest.importorskip("keras", exc_type=ImportError)
make = keras.layers

SPELLED = {name: "leaky_relu(0.2)" if name == "leaky_relu" else name for name in fn.activations}
"""Keras's names of activations, and ours."""


def model(layers, columns, rng):
    """A Sequential of Keras with weights that all matter."""
    made = keras.Sequential([keras.Input((columns,)), *layers])
    for weight in made.weights:
        positive = weight.path.endswith(("gamma", "moving_variance"))
        weight.assign(rng.uniform(0.5, 1.5, weight.shape) if positive else rng.normal(0, 0.5, weight.shape))
    return made


def named(theirs):
    return {weight.path: weight.numpy() for weight in theirs.weights}


def listed(theirs):
    return theirs.get_weights()


def same(net, theirs, X):
    expected = keras.ops.convert_to_numpy(theirs(X, training=False)).reshape(len(X), -1)
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SPELLED)
def test_activations(name, rng):
    theirs = model([make.Dense(9, activation=name), make.Dense(4, activation=name)], 7, rng)
    same(fn.from_keras(theirs.get_weights(), [SPELLED[name]] * 2), theirs, rng.normal(size=(20, 7)))


def norms(**how):
    return [make.Dense(9), make.BatchNormalization(**how), make.Activation("relu"), make.Dropout(0.3),
            make.Dense(5), make.LayerNormalization(**how), make.Activation("gelu"), make.Dense(3)]  # fmt: skip


@pytest.mark.parametrize("given", [listed, named])
def test_norms_and_dropout(given, rng):
    theirs, X = model(norms(), 7, rng), rng.normal(size=(20, 7))
    same(fn.from_keras(given(theirs), ["relu", "gelu", None]), theirs, X)
    layers = [fn.Dense(9), fn.BatchNorm(epsilon=1e-3), fn.Activation("relu"), fn.Dropout(0.3), fn.Dense(5),
              fn.LayerNorm(epsilon=1e-3), fn.Activation("gelu"), fn.Dense(3)]  # fmt: skip
    same(fn.from_keras(given(theirs), into=fn.Sequential(layers, inputs=7)), theirs, X)


@pytest.mark.parametrize("how", [{"center": False}, {"scale": False}], ids=["gamma alone", "beta alone"])
def test_names_tell_norms_without_one_of_their_vectors(how, rng):
    theirs = model(norms(**how), 7, rng)
    same(fn.from_keras(named(theirs), ["relu", "gelu", None]), theirs, rng.normal(size=(20, 7)))


def test_an_activation_inside_a_dense_stands_before_the_norm(rng):
    theirs = model([make.Dense(9, activation="relu"), make.BatchNormalization(), make.Dense(3)], 7, rng)
    net = fn.Sequential([fn.Dense(9, "relu"), fn.BatchNorm(epsilon=1e-3), fn.Dense(3)], inputs=7, seed=0)
    X = rng.normal(size=(20, 7))
    start = net.get_weights()
    same(fn.from_keras(theirs.get_weights(), into=net), theirs, X)
    theirs.set_weights(start)  # lists are in the same order
    net.set_weights(start)
    same(net, theirs, X)


@pytest.mark.parametrize("given", [listed, named])
def test_embeddings(given, rng):
    layers = [make.Embedding(6, 3), make.Flatten(), make.Dense(5, activation="relu"), make.Dense(2)]
    theirs = model(layers, 4, rng)
    same(fn.from_keras(given(theirs), "relu"), theirs, rng.integers(0, 6, (20, 4)))


def test_slopes_and_norms_in_front(rng):
    layers = [make.BatchNormalization(), make.Dense(9, use_bias=False), make.PReLU(), make.Dense(3)]
    theirs = model(layers, 7, rng)
    same(fn.from_keras(named(theirs), [None, None]), theirs, rng.normal(size=(20, 7)))


def test_branches(rng):
    start = keras.Input((7,))
    theirs = keras.Model(start, make.Dense(2)(make.Add()([start, make.Dense(7, activation="tanh")(start)])))
    net = fn.Sequential([fn.Residual([fn.Dense(7, "tanh")]), fn.Dense(2)], inputs=7)
    same(fn.from_keras(theirs.get_weights(), into=net), theirs, rng.normal(size=(20, 7)))


def test_what_was_trained_there(rng):
    X, y = rng.normal(size=(60, 7)), rng.integers(0, 3, 60)
    layers = [
        make.Dense(9),
        make.BatchNormalization(),
        make.Activation("relu"),
        make.Dropout(0.2),
        make.Dense(3, "softmax"),
    ]
    theirs = model(layers, 7, rng)
    theirs.compile("adam", "sparse_categorical_crossentropy")
    theirs.fit(X, y, epochs=3, verbose=0)
    same(fn.from_keras(theirs.weights, ["relu", "softmax"]), theirs, X)


def test_a_type_numpy_does_not_have_is_said(rng):
    theirs = model([make.Dense(9, dtype="bfloat16")], 7, rng)
    with pytest.raises(TypeError, match=r"weights\[0\] must hold real numbers, not dtype bfloat16: convert it first"):
        fn.from_keras(theirs.get_weights(), [None])
