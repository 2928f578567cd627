# SPDX-License-Identifier: BSD-3-Clause
"""Training: the three kinds of gradient descent, weights, any form of data, real data, and going wrong safely."""

import numpy as np
import pytest
import reference

import fastnn as fn
from fastnn import _core
from fastnn.datasets import load_digits

UNITS = [9, 130]  # depth-first; layer by layer
each_walk = pytest.mark.parametrize("units", UNITS, ids=["depth-first", "by layers"])


def made(units=9, outputs=2, last="linear", dtype="float64", seed=6, activation="tanh"):
    return fn.Sequential([fn.Dense(units, activation), fn.Dense(outputs, last)], inputs=5, seed=seed, dtype=dtype)


def follow(net, X, y, batch, epochs, optimizer, weights=None, loss="mse"):
    """The same training by the reference, in the order fit shuffles -> (reference, mean loss of each epoch)."""
    network, order, losses = reference.Network(net, loss), np.empty(len(X), np.int64), []
    w = np.ones(len(X)) if weights is None else weights
    for epoch in range(epochs):
        _core.permutation(net.seed, _core.STREAM_SHUFFLE, epoch, order)
        total = 0.0
        for first in range(0, len(X), batch):
            rows = order[first : first + batch]
            if w[rows].any():
                total += network.step(optimizer, X[rows], y[rows], w[rows]) * w[rows].sum()
        losses.append(total / w.sum())
    return network, losses


# ---- gradient descent: full batch, mini-batch, stochastic ------------------------------------------------------------


@each_walk
@pytest.mark.parametrize("batch", [None, 1, 16, 47, 48, 1000], ids=str)
@pytest.mark.parametrize("optimizer", [fn.SGD(0.05), fn.SGD(0.02, 0.9, nesterov=True), fn.Adam(0.01)], ids=repr)
def test_the_three_kinds_of_gradient_descent(units, batch, optimizer, isa, rng):
    """All rows in a step; one; some, the last step of an epoch taking what is left."""
    rows = 48
    X, y, w = rng.normal(size=(rows, 5)), rng.normal(size=(rows, 2)), rng.uniform(0.2, 2, rows)
    net = made(units)
    size = rows if batch is None else min(batch, rows)
    expected, losses = follow(net, X, y, size, 3, optimizer, w)
    history = net.fit(X, y, optimizer=optimizer, epochs=3, batch_size=batch, sample_weight=w, verbose=0)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-9)
    np.testing.assert_allclose(net.params, expected.params, rtol=1e-8, atol=1e-10)
    assert net._state.step == 3 * -(-rows // size)


@pytest.mark.parametrize("loss", fn.losses)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@each_walk
def test_every_loss_with_several_outputs(loss, soft, units, rng):
    rows, X = 40, rng.normal(size=(40, 5))
    for kind in {*fn.losses[loss].joins, "linear"}:
        y = reference.targets_for(loss, rows, 4, rng, soft=soft, last=kind)
        net = made(units, 4, kind)
        expected, losses = follow(net, X, y, 16, 2, fn.SGD(0.1), loss=loss)
        history = net.fit(X, y, loss=loss, optimizer=fn.SGD(0.1), epochs=2, batch_size=16, verbose=0)
        np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-10)
        np.testing.assert_allclose(net.params, expected.params, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(net.evaluate(X, y)["loss"], expected.loss(X, y), rtol=1e-12)


def test_float32_stays_near_float64(rng):
    X, y = rng.normal(size=(200, 5)), rng.normal(size=(200, 2))
    nets = [made(dtype=dtype) for dtype in ("float32", "float64")]
    nets[1].params[...] = nets[0].params
    losses = [net.fit(X, y, epochs=5, verbose=0).history["loss"] for net in nets]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    np.testing.assert_allclose(nets[0].params, nets[1].params, atol=1e-3)


def test_shuffling_matters_and_can_be_switched_off(rng):
    X, y = rng.normal(size=(64, 5)), rng.normal(size=(64, 2))
    fits = {}
    for shuffle in (True, False):
        net = made()
        net.fit(X, y, epochs=2, batch_size=8, shuffle=shuffle, verbose=0)
        fits[shuffle] = net.params.copy()
    assert (fits[True] != fits[False]).any()
    net = made()
    for _ in range(2):
        for first in range(0, 64, 8):
            net.train_step(X[first : first + 8], y[first : first + 8], "mse", "adam")
    np.testing.assert_array_equal(net.params, fits[False])


def test_each_epoch_has_its_own_order_of_all_rows(rng):
    """Seen from outside: with a learning rate of 0, the losses of batches of one row tell which row it was."""
    X = np.zeros((30, 5))
    y = np.arange(30.0)
    net = fn.Sequential([fn.Dense(1)], inputs=5, seed=3, dtype="float64")
    seen = []

    class Watch:
        def on_batch_end(self, net, step, logs):
            seen.append(round(np.sqrt(logs["loss"])))

    net.fit(X, y, optimizer=fn.SGD(0.0), epochs=4, batch_size=1, callbacks=[Watch()], verbose=0)
    epochs = [seen[i : i + 30] for i in range(0, 120, 30)]
    assert all(sorted(epoch) == list(range(30)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4 and list(range(30)) not in epochs
    net.fit(X, y, optimizer=fn.SGD(0.0), epochs=1, batch_size=1, callbacks=[Watch()], verbose=0)
    assert seen[120:] not in epochs, "another fit goes on with other orders"


# ---- weights ---------------------------------------------------------------------------------------------------------


@each_walk
@pytest.mark.parametrize("loss", fn.losses)
def test_a_weight_is_a_row_that_many_times(loss, units, rng):
    rows = 30
    X, y = rng.normal(size=(rows, 5)), reference.targets_for(loss, rows, 4, rng)
    times = rng.integers(0, 4, rows)
    weighted, repeated = made(units, 4), made(units, 4)
    options = {"loss": loss, "optimizer": fn.SGD(0.1, 0.9), "epochs": 4, "batch_size": None, "verbose": 0}
    a = weighted.fit(X, y, sample_weight=times, **options).history["loss"]
    b = repeated.fit(np.repeat(X, times, axis=0), np.repeat(y, times, axis=0), **options).history["loss"]
    np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(weighted.params, repeated.params, rtol=1e-10, atol=1e-12)


@each_walk
def test_a_batch_of_weight_0_is_skipped(units, isa, rng):
    X, y, w = rng.normal(size=(24, 5)), rng.normal(size=(24, 2)), np.ones(24)
    w[8:16] = 0
    net, without = made(units), made(units)
    for optimizer in (fn.SGD(0.1, momentum=0.9), fn.Adam(0.01)):
        options = {"optimizer": optimizer, "epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0}
        a = net.fit(X, y, sample_weight=w, **options).history["loss"]
        b = without.fit(X[w > 0], y[w > 0], **options).history["loss"]
        np.testing.assert_allclose(a, b, rtol=1e-15)
        np.testing.assert_array_equal(net.params, without.params)
        np.testing.assert_array_equal(net._state.array, without._state.array)
        assert net._state.step == without._state.step == 4
    before = net.params.copy()
    assert net.train_step(X, y, "mse", sample_weight=np.zeros(24)) == 0.0
    np.testing.assert_array_equal(net.params, before)


@each_walk
def test_a_row_of_weight_0_may_be_anything(units, isa, rng):
    """Its loss overflows; nobody hears of it."""
    X, y, w = rng.normal(size=(70, 5)), rng.normal(size=(70, 2)), rng.uniform(1, 2, 70)
    w[[0, 35, 69]] = 0
    wild = y.copy()
    wild[w == 0] = 1e30
    nets = [made(units, dtype="float32") for _ in range(2)]
    for net, targets in zip(nets, (y, wild), strict=True):
        net.fit(X, targets, sample_weight=w, epochs=3, batch_size=32, verbose=0)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    found = [net.evaluate(X, t, sample_weight=w)["loss"] for net, t in zip(nets, (y, wild), strict=True)]
    assert found[0] == found[1]


def test_class_weights_multiply_sample_weights(rng):
    X, y, w = rng.normal(size=(40, 5)), rng.integers(0, 3, 40), rng.random(40)
    per_class = {0: 2.0, 2: 0.25}
    a, b = made(outputs=3, last="softmax"), made(outputs=3, last="softmax")
    a.fit(X, y, sample_weight=w, class_weight=per_class, epochs=2, verbose=0)
    b.fit(X, y, sample_weight=w * np.array([2, 1, 0.25])[y], epochs=2, verbose=0)
    np.testing.assert_array_equal(a.params, b.params)
    a.fit(X, y, class_weight="balanced", epochs=1, verbose=0)
    b.fit(X, y, sample_weight=(40 / (3 * np.bincount(y)))[y], epochs=1, verbose=0)
    np.testing.assert_array_equal(a.params, b.params)


# ---- data in any form ------------------------------------------------------------------------------------------------


def forms(x):
    """The numbers of a C-ordered matrix as views of other memory: name -> array."""
    wide = np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)
    raw = np.empty(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    return {
        "C order": x, "Fortran order": np.asfortranarray(x), "every second row, third column": wide[::2, ::3],
        "rows backwards": x[::-1].copy()[::-1], "all backwards": x[::-1, ::-1].copy()[::-1, ::-1],
        "unaligned": unaligned, "read-only": frozen, "swapped bytes": x.astype(x.dtype.newbyteorder()),
    }  # fmt: skip


@each_walk
@pytest.mark.parametrize("net_dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "f2", "f4", "f8", "g"]
)
def test_x_of_any_type_and_layout_gives_the_bits_of_its_copy(dtype, net_dtype, units, isa, rng):
    """The copy in the network's dtype, in C order. Numbers too long for it are rounded to nearest."""
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        info = np.iinfo(kind)
        x = rng.integers(info.min, info.max, (37, 5), dtype=kind, endpoint=True)
        scale = 1.0 / info.max
    elif kind.kind == "f":
        x, scale = rng.normal(size=(37, 5)).astype(kind), 1.0
        x[:3] = np.finfo(np.float16).smallest_subnormal * np.arange(5)
    else:
        x, scale = rng.random((37, 5)) < 0.5, 1.0
    y = rng.normal(size=(37, 2))

    def trained(X):
        net = made(units, dtype=net_dtype)
        net.layers[0].weight[...] *= scale  # activations of usual size
        net.fit(X, y, optimizer=fn.SGD(1e-3), epochs=2, batch_size=8, verbose=0)
        first = X[:8]
        net.train_step(first, y[:8], "mse")
        outputs = net.predict(X)
        net.forward(X, training=True)
        net.backward(outputs)
        parts = (net.params, outputs, net.grads)
        return b"".join(part.tobytes() for part in parts), net.evaluate(X, y)

    expected = trained(np.ascontiguousarray(x).astype(net_dtype))
    for name, view in forms(x).items():
        assert trained(view) == expected, name


def test_rows_that_are_one_row_in_memory(rng):
    row, y = rng.normal(size=5), rng.normal(size=(40, 2))
    column = rng.normal(size=(40, 1))
    for view in (np.broadcast_to(row, (40, 5)), np.broadcast_to(column, (40, 5))):
        assert 0 in view.strides
        nets = [made(), made()]
        for net, X in zip(nets, (view, view.copy()), strict=True):
            net.fit(X, y, epochs=2, verbose=0)
        np.testing.assert_array_equal(nets[0].params, nets[1].params)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "uint64", "f2", "f4", "f8"])
@pytest.mark.parametrize("loss", ["mse", "binary_cross_entropy"])
def test_y_of_any_type_and_layout_gives_the_bits_of_its_copy(loss, dtype, rng):
    X, y = rng.normal(size=(37, 5)), rng.integers(0, 2, (37, 2)).astype(dtype)

    def trained(targets):
        net = made(dtype="float32")
        net.fit(X, targets, loss=loss, epochs=2, batch_size=8, verbose=0)
        net.train_step(X, targets, loss)
        return net.params.tobytes(), net.evaluate(X, targets, loss)

    expected = trained(y.astype(np.float32))
    for name, view in forms(y).items():
        assert trained(view) == expected, name


def test_the_callers_arrays_are_only_read(rng):
    X, y, w = rng.normal(size=(40, 5)), rng.normal(size=(40, 2)), rng.random(40)
    copies = [array.copy() for array in (X, y, w)]
    made().fit(X, y, sample_weight=w, validation_data=(X, y, w), epochs=2, metrics=["r2"], verbose=0)
    for array, copy in zip((X, y, w), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# ---- learning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [64, 128], ids=["depth-first", "by layers"])
def test_handwritten_digits_are_learned(units):
    """Every fourth of the 1,797 is held out."""
    X, y = load_digits()
    test = np.arange(len(X)) % 4 == 0
    net = fn.Sequential([fn.Dense(units, "relu"), fn.Dense(10, "softmax")], seed=0)
    X = X / np.float32(16)
    history = net.fit(X[~test], y[~test], epochs=30, optimizer=fn.Adam(3e-3), metrics=["accuracy"], verbose=0).history
    accuracy = net.evaluate(X[test], y[test], metrics=["accuracy"])["accuracy"]
    assert accuracy >= 0.97
    assert accuracy == (net.predict(X[test]).argmax(axis=1) == y[test]).mean()
    assert history["loss"][-1] < 0.05 < 0.3 < history["loss"][0] and history["accuracy"][-1] > 0.99


@pytest.mark.parametrize("activation", [name for name in fn.activations if name not in ("linear", "softmax")])
def test_exclusive_or_needs_a_hidden_layer(activation):
    """What no linear network can learn, with every activation that bends (the hard ones do so beyond 3 only)."""
    X, y = np.array([[-4, -4], [-4, 4], [4, -4], [4, 4]]), np.array([0, 1, 1, 0])
    net = fn.Sequential([fn.Dense(16, activation), fn.Dense(1, "sigmoid")], seed=1)
    net.fit(X, y, optimizer=fn.Adam(0.05), epochs=500, batch_size=None, verbose=0)
    assert net.evaluate(X, y, metrics=["accuracy"])["accuracy"] == 1
    linear = fn.Sequential([fn.Dense(16), fn.Dense(1, "sigmoid")], seed=1)
    linear.fit(X, y, optimizer=fn.Adam(0.05), epochs=500, batch_size=None, verbose=0)
    assert linear.evaluate(X, y, metrics=["accuracy"])["accuracy"] < 1


def test_least_squares_is_found(rng):
    """One linear layer goes to the solution of the normal equations."""
    X, noise = rng.normal(size=(200, 5)), rng.normal(size=(200, 2))
    y = X @ rng.normal(size=(5, 2)) + 3 + 0.1 * noise
    net = fn.Sequential([fn.Dense(2)], seed=0, dtype="float64")
    net.fit(X, y, optimizer=fn.SGD(0.3, momentum=0.5), epochs=300, batch_size=None, verbose=0)
    solution = np.linalg.lstsq(np.column_stack([X, np.ones(200)]), y, rcond=None)[0]
    np.testing.assert_allclose(net.layers[0].weight, solution[:5], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(net.layers[0].bias, solution[5], rtol=1e-9)


# ---- history ---------------------------------------------------------------------------------------------------------


def test_history_has_one_value_per_epoch_of_everything(rng):
    X, y = rng.normal(size=(50, 5)), rng.integers(0, 2, 50)
    net = made(outputs=2, last="softmax")
    history = net.fit(
        X, y, epochs=4, batch_size=16, metrics=["accuracy"], validation_data=(X[:9], y[:9]), verbose=0, threads=2
    )
    assert history is net.history and history.epochs == 4 and history.threads == 2
    names = {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"}
    assert {name: len(values) for name, values in history.history.items()} == dict.fromkeys(names, 4)
    assert history.history["learning_rate"] == [0.001] * 4 and min(history.history["seconds"]) > 0
    last = net.evaluate(X[:9], y[:9], metrics=["accuracy"])
    assert (last["loss"], last["accuracy"]) == tuple(history.history[f"val_{name}"][-1] for name in last)
    assert (history.loss, history.optimizer) == ("cross_entropy", repr(fn.Adam()))
    assert net.fit(X, y, epochs=0, verbose=0).history == {} and net.history.epochs == 0


def test_accuracy_while_training_is_that_of_each_batch_before_its_step(rng):
    """With a learning rate of 0 it is the accuracy of the network, weighted like the loss."""
    X, y, w = rng.normal(size=(50, 5)), rng.integers(0, 2, 50), rng.random(50)
    net = made(outputs=2, last="softmax")
    history = net.fit(
        X, y, sample_weight=w, optimizer=fn.SGD(0.0), epochs=2, batch_size=16, metrics=["accuracy"], verbose=0
    ).history
    found = net.evaluate(X, y, sample_weight=w, metrics=["accuracy"])
    np.testing.assert_allclose(history["accuracy"], found["accuracy"], rtol=1e-15)
    np.testing.assert_allclose(history["loss"], found["loss"], rtol=1e-13)
    assert found["accuracy"] == pytest.approx(np.average(net.predict(X).argmax(1) == y, weights=w))


# ---- going wrong -----------------------------------------------------------------------------------------------------


@each_walk
@pytest.mark.parametrize("optimizer", [fn.SGD(0.01, momentum=0.9), fn.Adam(0.01)], ids=repr)
def test_divergence_goes_back_to_the_last_completed_epoch(units, optimizer, threads, rng):
    X, y = rng.normal(size=(64, 5)), rng.normal(size=(64, 2))
    net, kept = made(units, dtype="float32", activation="relu"), []

    class ThenTooFast:
        def on_epoch_end(self, net, epoch, logs):
            kept.append(net.params.copy())
            if epoch == 1:
                net.optimizer.learning_rate = 1e25

    with pytest.raises(fn.DivergenceError, match="epoch 3 of 9") as caught:
        net.fit(
            X, y, loss="mse", optimizer=optimizer, epochs=9, batch_size=16, threads=threads,
            callbacks=[ThenTooFast()], verbose=0,
        )  # fmt: skip
    optimizer.learning_rate = 0.01
    assert len(kept) == 2 and net.history.epochs == 2
    np.testing.assert_array_equal(net.params, kept[1])
    # Weights of 1e25 after the first batch; the outputs of the second are far too large to square.
    assert (caught.value.epoch, caught.value.batch, caught.value.learning_rate) == (2, 1, 1e25)
    assert net._state.step == 0 and not net._state.array.any()
    history = net.fit(X, y, loss="mse", optimizer=optimizer, epochs=3, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@each_walk
def test_a_weight_that_overflows_is_seen_at_its_own_batch(units, rng):
    X, y = rng.normal(size=(64, 5)), rng.normal(size=(64, 2))
    net = made(units, dtype="float32")
    before = net.params.copy()
    with pytest.raises(fn.DivergenceError, match="updated weights of batch 1 ") as caught:
        net.fit(X, y, loss="mse", optimizer=fn.SGD(3e38 * 10), epochs=2, batch_size=16, verbose=0)
    assert (caught.value.epoch, caught.value.batch) == (0, 0)
    np.testing.assert_array_equal(net.params, before)
    assert net.history.history == {}


def test_a_step_with_an_infinite_loss_is_not_applied(rng):
    net = made(dtype="float32", activation="linear")
    net.params[...] = 1e15
    before = net.params.copy()
    with pytest.raises(fn.DivergenceError) as caught:
        net.train_step(np.full((8, 5), 1e10), np.zeros((8, 2)), "mse", fn.Adam(0.5))
    np.testing.assert_array_equal(net.params, before)
    assert net._state.step == 0 and caught.value.learning_rate == 0.5


@each_walk
def test_a_large_learning_rate_stops_within_one_batch(units, rng):
    """fit stops at the very batch where a walk by train_step stops."""
    X, y = rng.normal(size=(400, 5)), rng.normal(size=(400, 2))
    fitted, stepped = (made(units, dtype="float32", activation="relu") for _ in range(2))
    options = {"loss": "mse", "optimizer": fn.SGD(30.0)}
    with pytest.raises(fn.DivergenceError) as caught:
        fitted.fit(X, y, epochs=5, batch_size=4, shuffle=False, verbose=0, **options)
    batch = 0
    with pytest.raises(fn.DivergenceError):
        while True:
            at = 4 * (batch % 100)
            stepped.train_step(X[at : at + 4], y[at : at + 4], **options)
            batch += 1
    assert 1 < batch < 100 and (caught.value.epoch, caught.value.batch) == (0, batch)
