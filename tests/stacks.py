# SPDX-License-Identifier: BSD-3-Clause
"""Networks with every kind of layer, for tests that hold for all of them, and for golden hashes.

A new kind of layer needs a stack here; its hash is recorded with ``python tests/golden.py --record``. What is here
stays: each stack has its hashes. Inputs are ``INPUTS`` columns, of which the last two hold categories.
"""

from __future__ import annotations

import numpy as np

import fastnn as fn

INPUTS = 6
NARROW, WIDE = 12, 130  # walked depth-first (unless there is a norm of columns), and layer by layer

# Name -> layers, by the units of the widest.
STACKS = {
    "activation": lambda units: [fn.Dense(units), fn.Activation("tanh"), fn.Activation("sigmoid"), fn.Dense(3)],
    "prelu": lambda units: [fn.Dense(units), fn.PReLU(), fn.Dense(7), fn.PReLU(0.1), fn.Dense(3)],
    "dropout": lambda units: [
        fn.Dropout(0.1), fn.Dense(units, "relu"), fn.Dropout(0.5), fn.Dense(9, "tanh"), fn.Dropout(0.3), fn.Dense(3),
    ],
    "noise": lambda units: [
        fn.GaussianNoise(0.1), fn.Dense(units, "tanh"), fn.GaussianNoise(0.5), fn.Dropout(0.2), fn.Dense(3),
    ],
    "layer norm": lambda units: [
        fn.Dense(units), fn.LayerNorm(), fn.Activation("relu"), fn.Dense(17), fn.LayerNorm(1e-3, use_bias=False),
        fn.Activation("gelu"), fn.Dense(3),
    ],
    "rms norm": lambda units: [fn.RMSNorm(), fn.Dense(units, "tanh"), fn.RMSNorm(use_bias=True), fn.Dense(3)],
    "batch norm": lambda units: [
        fn.BatchNorm(), fn.Dense(units), fn.BatchNorm(), fn.Activation("relu"), fn.Dense(17, "tanh"),
        fn.BatchNorm(0.5, use_bias=False), fn.Dense(3),
    ],
    "residual": lambda units: [
        fn.Dense(units, "tanh"), fn.Residual([fn.Dense(11, "relu"), fn.Dense(units)]),
        fn.Residual([fn.LayerNorm(), fn.Dense(units, "tanh")]), fn.Activation("relu"), fn.Dense(3),
    ],
    "residual first": lambda units: [fn.Residual([fn.Dense(units, "relu"), fn.Dense(6)]), fn.Residual([]), fn.Dense(3)],
    "concat": lambda units: [
        fn.Concat([[], [fn.Dense(units, "relu")], [fn.Dense(3, "tanh"), fn.Dropout(0.2)]]), fn.Dense(7),
        fn.Concat([[fn.Dense(4, "gelu")], []]), fn.Dense(3),
    ],
    "split": lambda units: [
        fn.Split([2, 3, 1], [[fn.Dense(units, "relu")], [], [fn.Dense(2, "tanh")]]), fn.Dense(3),
    ],
    "nested": lambda units: [
        fn.Concat([[fn.Residual([fn.BatchNorm(), fn.Dense(6, "tanh")])], [fn.Dense(units), fn.PReLU()]]),
        fn.Residual([fn.Concat([[fn.RMSNorm()], [fn.Dense(4, "silu")]]), fn.Dense(units + 6)]), fn.Dense(3),
    ],
    "normalization": lambda units: [fn.Normalization(), fn.Dense(units, "tanh"), fn.Dense(3)],
    "embedding": lambda units: [
        fn.Split([3, 1, 2], [[fn.Embedding(3, units=2)], [], [fn.Embedding(5)]]), fn.Dense(units, "tanh"), fn.Dense(3),
    ],
    "table": lambda units: [
        fn.Table(numeric=[0, 1, 3], categorical={4: 5, 5: 3}), fn.Dense(units, "tanh"), fn.Dense(3),
    ],
    "plain table": lambda units: [
        fn.Table(numeric=[2, 0], categorical={5: 2, 4: 4}, units=3, normalize=False), fn.Dense(units, "tanh"),
        fn.Dense(3),
    ],
    "scaled targets": lambda units: [fn.Dense(units, "tanh"), fn.Dense(3)],
}  # fmt: skip


def network(name, units, *, seed=3, dtype="float64", moved=True):
    """A network of one stack; moved: no tensor is where it starts, so that biases, slopes and running numbers count."""
    stack = STACKS[name](units)
    net = fn.Sequential(stack, inputs=INPUTS, seed=seed, dtype=dtype, scale_targets=name == "scaled targets")
    if moved:
        rng = np.random.default_rng(seed)
        net.params[...] += rng.normal(scale=0.1, size=net.n_params)
        net._parameters.state[...] += rng.uniform(0.1, 0.3, net._parameters.state.size)
    return net


def table(rows, seed=0):
    """X with two columns of categories, some of them unknown to some layers, and y of three columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, INPUTS))
    X[:, 4], X[:, 5] = rng.integers(0, 5, rows), rng.integers(-1, 3, rows)
    return X, 10 + 3 * np.sin(X[:, :3]) + 0.3 * X[:, 4:5]
