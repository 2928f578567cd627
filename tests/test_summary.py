# SPDX-License-Identifier: BSD-3-Clause
"""The table of a network's layers: what each gives, and what is inside what."""

import numpy as np
import pytest
import stacks

import fastnn as fn
from fastnn.layers import all_parts
from fastnn.summary import summary


def test_layers_made_of_layers_are_shown_with_their_parts_below():
    net = fn.Sequential([
        fn.Table(numeric=[0, 1], categorical={2: 3, 3: 12}),
        fn.Concat([[], [fn.Dense(4, "relu"), fn.BatchNorm()]], name="wide and deep"),
        fn.Residual([fn.Dense(15, "tanh")], trainable=False),
        fn.Dense(1),
    ], inputs=4, seed=0)  # fmt: skip
    assert summary(net).splitlines() == [
        "layer                   activation  output    parameters",
        "--------------------------------------------------------",
        "inputs                                   4",
        "Table                                   11            90",
        "Concat 'wide and deep'                  15            56",
        "  branch 0 (as it is)",
        "  branch 1",
        "    Dense               relu             4            48",
        "    BatchNorm                            4             8",
        "Residual                                15  240 (frozen)",
        "  Dense                 tanh            15  240 (frozen)",
        "Dense                   linear           1            16",
        "parameters: 402; dtype float32; seed 0",
    ]


@pytest.mark.parametrize("name", stacks.STACKS)
def test_widths_are_those_of_what_layers_give(name):
    """Of the network cut off behind each layer."""
    net = stacks.network(name, stacks.NARROW)
    rows = [line.split() for line in summary(net).splitlines()[3:-1]]
    shown = [row for row in rows if row[0] != "branch"]
    assert [row[0] for row in shown] == [type(layer).__name__ for layer in all_parts(net.layers)]
    inner = [fn.Sequential([*stacks.STACKS[name](stacks.NARROW)[: n + 1], fn.Activation("tanh"), fn.Dense(1)],
                           inputs=stacks.INPUTS) for n in range(len(net.layers))]  # fmt: skip
    widths = {id(layer): cut.layers[-1].weight.shape[0] for layer, cut in zip(net.layers, inner, strict=True)}
    for layer, row in zip(all_parts(net.layers), shown, strict=True):
        number = next(word for word in row[1:] if word.isdigit())
        if isinstance(layer, fn.Dense):
            assert number == str(layer.units)
        elif id(layer) in widths:
            assert number == str(widths[id(layer)])
        assert row[-1] == f"{layer.n_params:,}"
    assert sum(layer.n_params for layer in net.layers) == net.n_params == np.size(net.params)


def test_before_the_input_is_known_only_dense_layers_know_their_width():
    net = fn.Sequential([fn.Concat([[], [fn.Dense(4)]]), fn.BatchNorm(), fn.Dense(2), fn.Activation("softmax")], seed=0)
    words = [line.split() for line in summary(net).splitlines()[2:-1]]
    assert words == [
        ["inputs", "?"], ["Concat", "?", "?"], ["branch", "0", "(as", "it", "is)"], ["branch", "1"],
        ["Dense", "linear", "4", "?"], ["BatchNorm", "?", "?"], ["Dense", "linear", "2", "?"],
        ["Activation", "softmax", "?", "?"],
    ]  # fmt: skip


def test_what_is_inside_a_frozen_layer_is_frozen():
    net = fn.Sequential([fn.Residual([fn.Dense(2), fn.PReLU()], trainable=False), fn.Dense(1)], inputs=2, seed=0)
    frozen = [line.strip().split()[0] for line in summary(net).splitlines() if "(frozen)" in line]
    assert frozen == ["Residual", "Dense", "PReLU"]
