# SPDX-License-Identifier: BSD-3-Clause
"""The predictor: the formula, the bits of predict, any input, an output of the caller's, and nothing shared."""

import threading

import numpy as np
import pytest
import reference

import fastnn as fn

SIZES = [1, 7, 8, 9, 15, 16, 17, 31, 33, 100]


def network(inputs=5, units=9, outputs=3, dtype="float32", activation="relu", last="softmax", **more):
    return fn.Sequential([fn.Dense(units, activation, **more), fn.Dense(outputs, last)], inputs, seed=2, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", fn.activations)
def test_formula_and_bits_of_predict_for_every_size(activation, dtype, isa, rng):
    for inputs, units, outputs in [*zip(SIZES, SIZES[::-1], SIZES[3:] + SIZES[:3], strict=True), (300, 600, 2)]:
        net = network(inputs, units, outputs, dtype, activation, activation)
        net.params[...] += rng.normal(scale=0.1, size=net.n_params)
        x = rng.normal(size=(17, inputs)).astype(dtype)
        f, expected = net.predictor(), net.predict(x)
        exact = reference.Network(net, None).predict(x)
        tolerance = 3e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(expected, exact, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(f(x), expected)
        for i in (0, 16):
            np.testing.assert_array_equal(f(x[i]), expected[i])
            assert f.argmax(x[i]) == expected[i].argmax()


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [fn.Dense(3)],
        lambda: [fn.Activation("tanh"), fn.Dense(3, use_bias=False)],
        lambda: [fn.Activation("softmax"), fn.Activation("relu"), fn.Dense(9), fn.Activation("sigmoid")],
        lambda: [fn.Dense(33, "relu", use_bias=False), fn.Dense(1, "sigmoid")],
        lambda: [fn.Dense(12, "tanh") for _ in range(9)],
        lambda: [fn.Dense(3000, "relu"), fn.Dense(2)],  # more scratch than the stack has
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kind_of_stack(layers, dtype, isa, rng):
    net = fn.Sequential(layers(), inputs=7, seed=3, dtype=dtype)
    x = rng.normal(size=(5, 7)).astype(dtype)
    f, expected = net.predictor(), net.predict(x)
    np.testing.assert_array_equal(f(x), expected)
    np.testing.assert_array_equal(np.array([f(row) for row in x]), expected)
    np.testing.assert_array_equal(np.array([f.argmax(row) for row in x]), expected.argmax(axis=1))


@pytest.mark.parametrize("rows", [0, 1, 2, 15, 64, 1000, 40000])
def test_any_number_of_rows(rows, rng):
    """Many take the way of predict, with its threads."""
    net = network()
    x = rng.normal(size=(rows, 5)).astype(np.float32)
    found = net.predictor()(x)
    assert found.shape == (rows, 3) and found.dtype == np.float32
    np.testing.assert_array_equal(found, net.predict(x))
    np.testing.assert_array_equal(net.predictor().argmax(x), found.argmax(axis=1))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64", ">f4", "bool"])
def test_any_input(dtype, rng):
    """Other types, orders and strides, lists: as the same numbers in the network's dtype."""
    f = network().predictor()
    x = (rng.normal(size=(6, 5)) * 3).astype(dtype)
    plain = x.astype(np.float32)
    expected = f(plain)
    np.testing.assert_array_equal(f(x), expected)
    np.testing.assert_array_equal(f(np.asfortranarray(x)), expected)
    np.testing.assert_array_equal(f(x[::-1])[::-1], expected)
    np.testing.assert_array_equal(f(np.repeat(x, 2, axis=1)[:, ::2]), expected)
    np.testing.assert_array_equal(f(x[2].tolist()), expected[2])
    np.testing.assert_array_equal(f(np.repeat(x[2], 2)[::2]), expected[2])
    np.testing.assert_array_equal(f(np.broadcast_to(x[1], (4, 5))), np.tile(expected[1], (4, 1)))


@pytest.mark.parametrize("own", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_usual_arrays_that_are_not_quite_plain_take_no_long_way(own, dtype, rng, tmp_path, monkeypatch):
    """Rows of a memmap, of the other float type, and with gaps: no walk through all the checks of X."""
    f = network(dtype=own).predictor()
    file = np.memmap(tmp_path / "x", dtype, "w+", shape=(6, 5))
    file[...] = rng.normal(size=(6, 5))
    expected = f(np.array(file, own))
    file.flush()
    read_only = np.memmap(tmp_path / "x", dtype, "r", shape=(6, 5))
    odd = np.empty(6 * 5 * 8 + 1, np.uint8)[1 : 1 + file.nbytes].view(dtype).reshape(6, 5)
    odd[...] = file
    swapped = file.astype(file.dtype.newbyteorder())
    for x in (odd, swapped):  # these do
        np.testing.assert_array_equal(f(x), expected)
    with monkeypatch.context() as patch:
        patch.setattr("fastnn.predictor.inputs", None)
        for x in (file, read_only, np.asfortranarray(np.array(file)), np.repeat(np.array(file), 2, axis=1)[:, ::2]):
            np.testing.assert_array_equal(f(x), expected)
            np.testing.assert_array_equal(f(x[2]), expected[2])
            assert type(f(x[2])) is np.ndarray and f.argmax(x[2]) == expected[2].argmax()
    for wrong in (file[:, :4], file[0, :4], file[:, None], file[0, 0]):
        with pytest.raises((ValueError, TypeError), match="x"):
            f(wrong)


def test_out_is_written_and_returned(rng):
    f = network().predictor()
    x = rng.normal(size=(6, 5)).astype(np.float32)
    for given, shape in ((x, (6, 3)), (x[0], (3,)), (x[0].astype(float), (3,))):
        out = np.full(shape, -7, np.float32)
        for returned in (f(given, out=out), f(given, out)):
            assert returned is out
        np.testing.assert_array_equal(out, f(given))
    square = network(outputs=5, last="linear").predictor()
    expected = square(x)
    np.testing.assert_array_equal(square(x, out=x), expected)  # over its own input
    shared = np.zeros(9, np.float32)
    shared[:5] = rng.normal(size=5)
    expected = square(shared[:5].copy())
    np.testing.assert_array_equal(square(shared[:5], out=shared[3:8]), expected)


def test_bad_arguments_are_refused_and_out_is_as_before(rng):
    f = network().predictor()
    x, out = np.zeros(5, np.float32), np.full(3, -7, np.float32)
    frozen = out.copy()
    frozen.flags.writeable = False
    wrong = [
        (np.zeros(4, np.float32), out, ValueError), (np.zeros((2, 6)), None, ValueError),
        (np.zeros((1, 1, 5)), None, ValueError), (np.zeros((), np.float32), None, ValueError),
        (x, np.zeros(4, np.float32), ValueError), (x, np.zeros((1, 3), np.float32), ValueError),
        (x, np.zeros(3), TypeError), (x, [0, 0, 0], TypeError), (x, frozen, ValueError),
        (x, np.zeros(6, np.float32)[::2], ValueError), ("no", None, TypeError), (x.astype(complex), None, TypeError),
    ]  # fmt: skip
    for given, to, error in wrong:
        with pytest.raises(error):
            f(given, out=to)
    assert (out == -7).all() and (frozen == -7).all()
    for call in (lambda: f(), lambda: f(x, out, x), lambda: f(x, bad=out), lambda: f(x, out, out=out)):
        with pytest.raises(TypeError):
            call()


def test_the_copy_is_frozen_and_outlives_the_network(rng):
    net, x = network(), rng.normal(size=(4, 5)).astype(np.float32)
    f = net.predictor()
    before = f(x)
    net.fit(x, [0, 1, 2, 0], epochs=2, verbose=0)
    assert (net.predict(x) != before).any()
    np.testing.assert_array_equal(f(x), before)
    del net
    np.testing.assert_array_equal(f(x), before)
    assert (f.inputs, f.outputs) == (5, 3) and "5 inputs, 3 outputs, float32" in repr(f)


def test_argmax_is_numpys(rng):
    """The first of equal outputs, as a Python int; the first NaN."""
    net = fn.Sequential([fn.Dense(9)], inputs=1, seed=0)
    net.layers[0].weight[...] = 0
    for bias, index in (([0, 3, 1, 3, 0, 0, 0, 0, 0], 1), ([-1] * 9, 0), ([0, 1, np.nan, 5, np.nan, 9, 0, 0, 0], 2)):
        net.layers[0].bias[...] = bias
        found = net.predictor().argmax(np.zeros(1, np.float32))
        assert type(found) is int and found == index
    wide = fn.Sequential([fn.Dense(500)], inputs=3, seed=0)
    x = rng.normal(size=3).astype(np.float32)
    assert wide.predictor().argmax(x) == wide.predict(x).argmax()


@pytest.mark.parametrize("units", [9, 600], ids=["with the lock", "without"])
def test_many_threads_at_once(units, rng):
    """One predictor, no lock of its own: every call is exact."""
    f = network(units=units, inputs=300 if units == 600 else 5).predictor()
    x = rng.normal(size=(50, f.inputs)).astype(np.float32)
    expected, wrong = f(x), []

    def call(first):
        for i in range(400):
            row = (first + i) % 50
            if (f(x[row]) != expected[row]).any():
                wrong.append(row)

    workers = [threading.Thread(target=call, args=(7 * n,)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
