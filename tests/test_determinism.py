# SPDX-License-Identifier: BSD-3-Clause
"""The same bits: each run, team, instruction set and floating-point state; alone or in a batch; whole or in steps."""

import json
import os
import subprocess
import sys

import float_state
import golden
import numpy as np
import pytest
from conftest import ISAS

import fastnn as fn
from fastnn import _core, runtime

CONFIGURATIONS = golden.configurations()
each_configuration = pytest.mark.parametrize("name", CONFIGURATIONS)
SOME = list(CONFIGURATIONS)[::7]
SIZES = [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 200]


@pytest.fixture(scope="module")
def recorded():
    return golden.recorded()


# ---- golden hashes ---------------------------------------------------------------------------------------------------


def test_the_hashes_belong_to_this_version_of_the_bits(recorded):
    assert recorded["numerics_version"] == _core.numerics_version, "record anew: python tests/golden.py --record"
    assert set(recorded["hashes"]) == set(CONFIGURATIONS)
    assert len(set(recorded["hashes"].values())) == len(CONFIGURATIONS)


@each_configuration
def test_trained_bits_are_the_recorded_ones(name, isa, recorded):
    net = golden.train(CONFIGURATIONS[name])
    assert golden.digest(net, CONFIGURATIONS[name]) == recorded["hashes"][name], (
        "bits changed: if they were meant to, raise FNN_NUMERICS_VERSION and run tests/golden.py --record"
    )


@each_configuration
def test_on_any_number_of_threads(name, threads, recorded):
    net = golden.train(CONFIGURATIONS[name], threads)
    assert net.threads_used == threads and net.history.threads == threads
    assert golden.digest(net, CONFIGURATIONS[name]) == recorded["hashes"][name]


@pytest.mark.parametrize("isa_of_process", ISAS)
def test_in_a_process_of_its_own(isa_of_process, recorded):
    """The instruction set chosen by FASTNN_ISA; limits of threads from the environment."""
    environment = os.environ | {"FASTNN_ISA": isa_of_process, "FASTNN_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, golden.__file__, "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["isa"] == isa_of_process
    assert found["hashes"] == recorded["hashes"]


def test_an_instruction_set_nobody_knows_is_an_error_at_import():
    environment = os.environ | {"FASTNN_ISA": "avx9"}
    command = [sys.executable, "-c", "import fastnn"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "FASTNN_ISA" in done.stderr and "Known: " in done.stderr.splitlines()[-1]
    before = _core.isa()
    assert not _core.isa_select("avx9") and _core.isa() == before


def test_an_instruction_set_this_processor_lacks_is_said_and_not_used(monkeypatch):
    before = _core.isa()
    monkeypatch.setenv("FASTNN_ISA", "generic")
    monkeypatch.setattr(_core, "isa_select", lambda name: False)  # as on a processor without it
    with pytest.warns(RuntimeWarning, match=f"'generic'.*using {before}"):
        runtime._select_instruction_set()
    assert _core.isa() == before


# ---- the caller's floating-point state -------------------------------------------------------------------------------

needs_fenv = pytest.mark.skipif(not float_state.KNOWN, reason="no way to set the floating-point state here")


@needs_fenv
@each_configuration
def test_with_denormals_switched_off_by_the_caller(name, recorded):
    with float_state.changed(float_state.FLUSHING):
        assert np.float32(1e-45) * np.float32(1) == 0, "they are not switched off"
        net = golden.train(CONFIGURATIONS[name], threads=2)
        assert golden.digest(net, CONFIGURATIONS[name]) == recorded["hashes"][name]


@needs_fenv
@pytest.mark.parametrize("name", SOME)
def test_kernels_do_not_round_as_the_caller_does(name):
    """From the same weights and row; what NumPy computes outside the kernels (initial weights, means, the conversion
    of a predictor's argument) is not looked at."""
    _, layers, loss, optimizer, _, _, dtype = CONFIGURATIONS[name]
    X, y, weights = golden.data(loss, layers)
    row, results = X[0].astype(dtype), []
    for bits in (0, float_state.UPWARDS):
        net = golden.network(CONFIGURATIONS[name], seed=5)
        net.fit(X, y, loss=golden.loss_of(loss), epochs=0, verbose=0)  # learns scales, with NumPy
        with float_state.changed(bits):
            chosen = golden.OPTIMIZERS[optimizer]()
            for _ in range(3):
                net.train_step(X, y, golden.loss_of(loss), chosen, sample_weight=weights, threads=2)
            results.append(net.params.tobytes() + net.predict(X).tobytes() + net.predictor()(row).tobytes())
    assert results[0] == results[1]


@needs_fenv
def test_the_flags_of_the_caller_are_left_alone(isa):
    """Overflow, division by zero, invalid and inexact results inside set no flag outside."""
    x = np.array([-1, 0, 0.5, 1e30, np.nan], np.float32)
    y = np.empty_like(x)
    for flags in (0, 0x3F) if float_state.FLUSHING == 0x8040 else (0,):
        before = float_state.control() | flags
        float_state.set_word(before)
        for function in (_core.EXP, _core.LOG, _core.TANH, _core.SIGMOID, _core.NORMAL_QUANTILE):
            _core.vector_function(function, x, y)
        after = float_state.word()
        assert after == before
    float_state.set_word(float_state.control())


# ---- rows alone and together -----------------------------------------------------------------------------------------


def networks(dtype):
    """Narrow, wide, thin and deep; with each activation, and rows of outputs that need all of themselves."""
    stacks = [
        [fn.Dense(8, "tanh"), fn.Dense(1)],
        [fn.Dense(33, "relu"), fn.Dense(17, "sigmoid"), fn.Dense(10, "softmax")],
        [fn.Dense(130, "tanh"), fn.Dense(9, "softmax"), fn.Dense(200, "relu")],
        [fn.Dense(31, use_bias=False), fn.Activation("sigmoid"), fn.Activation("tanh"), fn.Dense(3, use_bias=False)],
        [fn.Activation("tanh"), fn.Dense(16), fn.Activation("softmax"), fn.Dense(7, "linear")],
    ]
    for layers in stacks:
        net = fn.Sequential(layers, inputs=21, seed=8, dtype=dtype)
        net.params[...] += 0.1
        yield net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_alone_in_a_batch_and_by_a_predictor(dtype, isa, rng):
    X = rng.normal(size=(200, 21)).astype(dtype)
    for net in networks(dtype):
        whole, f = net.predict(X, threads=1), net.predictor()
        for row in (0, 1, 62, 63, 64, 199):
            np.testing.assert_array_equal(net.predict(X[row]), whole[row : row + 1])
            np.testing.assert_array_equal(f(X[row]), whole[row])
        for size in SIZES:
            np.testing.assert_array_equal(net.predict(X[:size]), whole[:size])
            np.testing.assert_array_equal(net.predict(X[-size:], threads=3), whole[-size:])
            np.testing.assert_array_equal(f(X[:size]), whole[:size])
            np.testing.assert_array_equal(net.forward(X[:size], training=True), whole[:size])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict_evaluate_and_backward_on_any_number_of_threads(dtype, threads, rng, monkeypatch):
    X, doutput = rng.normal(size=(200, 21)), rng.normal(size=(200, 1))
    took_part, native = [], _core.predict

    def spy(*arguments, **named):
        result = native(*arguments, **named)
        took_part.append(result[0])
        return result

    for net in networks(dtype):
        d = np.repeat(doutput, net.outputs, axis=1)
        y = np.zeros((200, net.outputs))
        found = []
        for team in (1, threads):
            with monkeypatch.context() as patch:
                patch.setattr(_core, "predict", spy)
                outputs = net.predict(X, threads=team)
                loss = net.evaluate(X, y, loss="mse", threads=team)["loss"]
            assert took_part[-2:] == [team, team]
            net.forward(X, training=True, threads=team)
            dx = net.backward(d)
            found.append((outputs.tobytes(), loss, dx.tobytes(), net.grads.tobytes()))
        assert found[0] == found[1]


def test_every_set_predicts_and_learns_the_same_bits(rng):
    """Values over the whole range of float32 too, where infinities and denormals come up."""
    X = (rng.normal(size=(70, 21)) * 10.0 ** rng.integers(-42, 30, (70, 21))).astype(np.float32)
    found, before = {}, _core.isa()
    try:
        for isa in ISAS:
            assert _core.isa_select(isa)
            parts = []
            for net in networks("float32"):
                outputs = net.predict(X)
                net.forward(X, training=True)
                net.backward(np.ones_like(outputs))
                # The sign and payload of a NaN are the processor's business.
                parts += [np.where(np.isnan(part), np.float32(7), part).tobytes() for part in (outputs, net.grads)]
            found[isa] = parts
    finally:
        _core.isa_select(before)
    for isa in ISAS:
        assert found[isa] == found[ISAS[0]], isa


# ---- whole and in steps ----------------------------------------------------------------------------------------------


def made(units, dtype, last="linear"):
    return fn.Sequential([fn.Dense(units, "tanh"), fn.Dense(2, last)], inputs=5, seed=77, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [9, 130], ids=["depth-first", "by layers"])
@pytest.mark.parametrize("batch", [None, 1, 7, 32, 100, 1000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_is_train_step_on_the_same_batches(dtype, units, batch, shuffle, rng):
    rows = 150 if batch != 1 else 30
    X, y, w = rng.normal(size=(rows, 5)), rng.normal(size=(rows, 2)), rng.random(rows)
    fitted, stepped = made(units, dtype), made(units, dtype)
    history = fitted.fit(
        X, y, optimizer=fn.Adam(0.01), epochs=3, batch_size=batch, shuffle=shuffle, sample_weight=w, verbose=0
    )
    optimizer, size, order = fn.Adam(0.01), rows if batch is None else batch, np.arange(rows)
    for epoch in range(3):
        if shuffle:
            _core.permutation(77, _core.STREAM_SHUFFLE, epoch, order)
        total = 0.0
        for first in range(0, rows, size):
            chosen = order[first : first + size]
            loss = stepped.train_step(X[chosen], y[chosen], "mse", optimizer, sample_weight=w[chosen])
            total += loss * w[chosen].sum()
        np.testing.assert_allclose(history.history["loss"][epoch], total / w.sum(), rtol=1e-12)
    np.testing.assert_array_equal(fitted.params, stepped.params)
    np.testing.assert_array_equal(fitted._state.array, stepped._state.array)
    assert fitted._state.step == stepped._state.step == 3 * -(-rows // size)


@pytest.mark.parametrize("units", [9, 130], ids=["depth-first", "by layers"])
@pytest.mark.parametrize("rows", [1, 32, 63, 64, 100, 256, 300])
def test_the_callers_own_loop_gives_the_bits_of_train_step(units, rows, rng):
    """forward, backward, step: mse over two outputs, whose gradient is output - y, and the mean over rows by hand."""
    X, y = rng.normal(size=(rows, 5)), rng.normal(size=(rows, 2)).astype(np.float32)
    own, native = made(units, "float32"), made(units, "float32")
    optimizer = fn.SGD(2.0**-4, momentum=0.5)
    for _ in range(3):
        output = own.forward(X, training=True)
        own.backward(output - y, input_gradient=False)
        own.grads[...] *= np.float32(1 / rows)
        optimizer.step(own)
        native.train_step(X, y, "mse", optimizer)
    np.testing.assert_array_equal(own.params, native.params)


@pytest.mark.parametrize("units", [9, 130], ids=["depth-first", "by layers"])
def test_callbacks_epochs_apart_and_metrics_change_nothing(units, rng):
    X, y = rng.normal(size=(100, 5)), rng.integers(0, 2, 100)

    class Watching(fn.Callback):
        def on_batch_end(self, net, step, logs):
            net.predict(X[:3])

    def trained(*calls, **more):
        net = made(units, "float32", "softmax")
        for epochs in calls:
            net.fit(X, y, epochs=epochs, batch_size=32, verbose=0, **more)
        return net.params

    expected = trained(4)
    np.testing.assert_array_equal(trained(4), expected)
    np.testing.assert_array_equal(trained(1, 3), expected)
    np.testing.assert_array_equal(trained(4, callbacks=[Watching()]), expected)
    np.testing.assert_array_equal(trained(4, metrics=["accuracy"], validation_data=(X, y)), expected)
    np.testing.assert_array_equal(trained(4, threads=3), expected)
    fn.set_num_threads(1)
    np.testing.assert_array_equal(trained(4), expected)


def test_another_seed_gives_other_bits(rng):
    X, y = rng.normal(size=(64, 5)), rng.normal(size=(64, 2))
    found = set()
    for seed in range(3):
        net = fn.Sequential([fn.Dense(5, "tanh"), fn.Dense(2)], inputs=5, seed=seed)
        net.params[...] = np.linspace(-1, 1, net.n_params)  # the order of the rows alone
        net.fit(X, y, epochs=2, batch_size=8, verbose=0)
        found.add(net.params.tobytes())
    assert len(found) == 3
