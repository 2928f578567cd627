# SPDX-License-Identifier: BSD-3-Clause
"""Every kind of layer gives the same bits: any team, schedule of calls, batch and copy. Golden hashes hold the sets."""

import copy
import pickle
import zlib

import numpy as np
import pytest
import stacks
from conftest import ISAS
from snapshot import digest
from stacks import NARROW, STACKS, WIDE

import fastnn as fn
from fastnn import _core

each_stack = pytest.mark.parametrize("name", STACKS)
each_width = pytest.mark.parametrize("units", [NARROW, WIDE])
ROWS = 150
X, Y = stacks.table(ROWS)


def mean_error(y, output):
    return float(np.abs(y - output).mean())


def trained(name, units, dtype="float32", threads=None, **more):
    net = stacks.network(name, units, dtype=dtype, moved=False)
    more = {"epochs": 3, "batch_size": 70, "validation_data": (X[:20], Y[:20]), "metrics": [mean_error]} | more
    net.fit(X, Y, verbose=0, threads=threads, **more)
    return net


def bits(net):
    """Parameters, what lies behind them, the optimizer's state, and what was measured."""
    measured = {name: values for name, values in net.history.history.items() if name != "seconds"}
    return digest(net._parameters.numbers), digest(net._state.array), net._parameters.draws[0], measured


@each_stack
@each_width
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_on_any_team_and_set(name, units, dtype):
    """A pass of the caller's own as well, and predictions; every set with another number of threads."""
    found, before = [], _core.isa()
    try:
        for threads, isa in [(1, ISAS[0]), (2, ISAS[0]), (3, ISAS[-1]), (5, ISAS[len(ISAS) // 2]), (8, ISAS[-1])]:
            assert _core.isa_select(isa)
            net = trained(name, units, dtype, threads)
            assert net.threads_used == threads
            outputs = net.predict(X, threads=threads)
            net.forward(X, training=True, threads=threads)
            dx = net.backward(np.ones_like(outputs))
            found.append((bits(net), digest(outputs), digest(dx), digest(net.grads)))
    finally:
        _core.isa_select(before)
    for other in found[1:]:
        assert other == found[0]


@each_stack
@each_width
def test_fit_is_train_step_and_a_loop_of_ones_own(name, units):
    """Batches of 75, two slots where they are walked depth-first; scales of X and y are learned by an empty fit."""
    nets = [stacks.network(name, units, moved=False) for _ in range(3)]
    for net in nets:
        net.fit(X, Y, epochs=0, verbose=0)
    fitted, stepped, own = nets
    fitted.fit(X, Y, optimizer=fn.SGD(2.0**-6), loss="mse", epochs=2, batch_size=75, shuffle=False, verbose=0)
    optimizer = fn.SGD(2.0**-6)
    for first in (0, 75, 0, 75):
        x, y = X[first : first + 75], Y[first : first + 75]
        stepped.train_step(x, y, "mse", optimizer)
        if name != "scaled targets":  # its loss compares scaled numbers
            error = own.forward(x, training=True) - y
            own.backward((error + error) * (1 / 3), input_gradient=False)
            own.grads[...] *= 1 / 75
            optimizer.step(own)
    assert stepped._parameters.draws[0] == fitted._parameters.draws[0] == 4
    assert digest(stepped._parameters.numbers) == digest(fitted._parameters.numbers)
    if name != "scaled targets":
        assert own._parameters.draws[0] == 4
        assert digest(own._parameters.numbers) == digest(fitted._parameters.numbers)


@each_stack
@each_width
def test_callbacks_and_epochs_apart_change_nothing(name, units):
    class Watching(fn.Callback):
        def on_batch_end(self, net, step, logs):
            net.predict(X[:3])

    once = trained(name, units)
    watched = trained(name, units, callbacks=[Watching()])
    assert bits(watched) == bits(once)
    apart = trained(name, units, epochs=1)
    apart.fit(X, Y, epochs=2, batch_size=70, verbose=0)
    assert bits(apart)[:3] == bits(once)[:3]


@each_stack
@each_width
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_alone_in_batches_and_by_a_predictor(name, units, dtype, isa):
    net = stacks.network(name, units, dtype=dtype)
    whole, f = net.predict(X, threads=1), net.predictor()
    for row in (0, 1, 62, 63, 64, 149):
        np.testing.assert_array_equal(net.predict(X[row]), whole[row : row + 1])
        np.testing.assert_array_equal(f(X[row].astype(dtype)), whole[row])
        assert f.argmax(X[row].astype(dtype)) == whole[row].argmax()
    for size in (1, 2, 7, 31, 64, 65, 150):
        np.testing.assert_array_equal(net.predict(X[-size:], threads=3), whole[-size:])
        np.testing.assert_array_equal(f(X[:size].astype(dtype)), whole[:size])
        np.testing.assert_array_equal(net.forward(X[:size]), whole[:size])


def saved_and_loaded(net, folder):
    net.save(folder / "net.fnn")
    return fn.load(folder / "net.fnn")


COPIES = {
    "save and load": saved_and_loaded,
    "pickle": lambda net, folder: pickle.loads(pickle.dumps(net)),
    "deepcopy": lambda net, folder: copy.deepcopy(net),
    "copy": lambda net, folder: copy.copy(net),
}


@each_stack
@pytest.mark.parametrize("how", COPIES)
def test_copies_go_on_with_the_same_bits(name, how, tmp_path):
    """In the middle of training; with the masks the original gets, its running numbers and its learned scales."""
    units = (NARROW, WIDE)[zlib.crc32(f"{name} {how}".encode()) % 2]
    net = trained(name, units, epochs=1)
    before = bits(net)
    other = COPIES[how](net, tmp_path)
    assert bits(net) == before
    np.testing.assert_array_equal(other.predict(X), net.predict(X))
    assert repr(other.layers) == repr(net.layers)
    for one in (net, other):
        one.train_step(X[:40], Y[:40])
        one.fit(X, Y + 1, epochs=1, batch_size=64, verbose=0)
        one.forward(X, training=True)
    assert bits(other) == bits(net) != before
    other.params[...] = 0
    other._parameters.state[...] = 0
    assert digest(net._parameters.numbers) == bits(net)[0] != digest(other._parameters.numbers)


@each_stack
def test_layers_say_what_makes_equal_ones(name):
    names = {kind: getattr(fn, kind) for kind in fn.__all__}
    for layer in STACKS[name](NARROW):
        copies = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), type(layer).from_config(layer.config())
        for other in [eval(repr(layer), names), *copies]:
            assert other.config() == layer.config() and repr(other) == repr(layer)
    net = stacks.network(name, NARROW)
    other = eval(repr(net), names)
    other._parameters.numbers[...] = net._parameters.numbers
    np.testing.assert_array_equal(other.predict(X), net.predict(X))
