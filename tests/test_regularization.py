# SPDX-License-Identifier: BSD-3-Clause
"""What is done against too large weights and gradients: penalties, weight decay, clipping, averages of the weights; and
sums of gradients over several batches. Each is compared with its formula in NumPy, in both schedules."""

import numpy as np
import pytest
import reference
from conftest import ISAS

import fastnn as fn
from fastnn import _core

ROWS, INPUTS, OUTPUTS = 37, 5, 3
WIDTHS = {"depth-first": 40, "by layers": 130}  # 40 rows of the second weight: two blocks of sums
each_schedule = pytest.mark.parametrize("units", WIDTHS.values(), ids=WIDTHS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def network(units, dtype="float64", **arguments):
    """Penalties on two of three layers, and not the same."""
    layers = [
        fn.Dense(units, "tanh", **arguments),
        fn.Dense(7, "tanh", l1=arguments.get("l1", 0.0) / 2),
        fn.Dense(OUTPUTS),
    ]
    return fn.Sequential(layers, inputs=INPUTS, seed=3, dtype=dtype)


def penalized(units, dtype="float64"):
    return network(units, dtype, l1=0.003, l2=0.02)


def penalty(net):
    """sum over layers of l1 |w| + l2 w^2, weights only."""
    tensors = [(layer, layer.weight.astype(np.float64)) for layer in net.layers]
    return sum(layer.l1 * np.abs(w).sum() + layer.l2 * (w**2).sum() for layer, w in tensors)


def penalty_gradient(net):
    parts = []
    for layer in net.layers:
        w = layer.weight.astype(np.float64)
        parts += [(layer.l1 * np.sign(w) + 2 * layer.l2 * w).ravel(), np.zeros(layer.bias.size)]
    return np.concatenate(parts)


def mean_gradient(net, X, y, weights=None):
    """Of the data term: d(mean loss)/dparameters."""
    return reference.Network(net, "mse").gradient(X, y, weights)


def norm(vector):
    return np.sqrt((vector**2).sum())


@pytest.fixture
def data(rng):
    return rng.normal(size=(ROWS, INPUTS)), rng.normal(size=(ROWS, OUTPUTS)), rng.uniform(0, 2, ROWS)


# ---- penalties -------------------------------------------------------------------------------------------------------


@each_schedule
@each_dtype
def test_the_loss_is_the_data_term_and_the_penalties(units, dtype, data):
    X, y, weights = data
    net, plain = penalized(units, dtype), network(units, dtype)
    assert net.params.tobytes() == plain.params.tobytes() and penalty(net) > 0.1
    expected = plain.evaluate(X, y, sample_weight=weights)["loss"] + penalty(net)
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(net.evaluate(X, y, sample_weight=weights)["loss"], expected, rtol=tolerance)
    for threads in (1, 2):
        step = penalized(units, dtype).train_step(X, y, "mse", fn.SGD(0.1), sample_weight=weights, threads=threads)
        np.testing.assert_allclose(step, expected, rtol=tolerance)


@each_schedule
def test_history_weighs_the_penalty_of_each_batch_like_its_loss(units, data):
    X, y, weights = data
    weights[:8] = 0  # the first batch is skipped
    fitted, stepped = penalized(units), penalized(units)
    history = fitted.fit(X, y, loss="mse", optimizer=fn.Adam(0.05), epochs=2, batch_size=8, shuffle=False,
                         sample_weight=weights, validation_data=(X[:9], y[:9]), verbose=0).history  # fmt: skip
    for epoch in range(2):
        losses = []
        for at in range(0, ROWS, 8):
            batch = slice(at, at + 8)
            loss = stepped.train_step(X[batch], y[batch], "mse", fn.Adam(0.05), sample_weight=weights[batch])
            losses.append(loss * weights[batch].sum())
        np.testing.assert_allclose(history["loss"][epoch], sum(losses) / weights.sum(), rtol=1e-14)
    assert fitted.params.tobytes() == stepped.params.tobytes()
    assert history["val_loss"][-1] == fitted.evaluate(X[:9], y[:9])["loss"] > penalty(fitted) > 0.1


@each_schedule
def test_gradients_hold_with_penalties(units, data):
    X, y, weights = data
    net = penalized(units)
    assert fn.check_gradients(net, X, y, "mse", sample_weight=weights, tol=1e-7) > 0
    before, expected = net.params.copy(), mean_gradient(net, X, y, weights) + penalty_gradient(net)
    net.train_step(X, y, "mse", fn.SGD(1.0), sample_weight=weights)
    np.testing.assert_allclose(before - net.params, expected, rtol=1e-10, atol=1e-13)


def test_backward_leaves_the_penalties_to_the_step(data):
    X, y, _ = data
    nets = [penalized(9), network(9), penalized(9)]
    for net in nets[:2]:
        net.backward(2 * (net.forward(X, training=True) - y) / (ROWS * OUTPUTS))
    assert nets[0].grads.tobytes() == nets[1].grads.tobytes()
    fn.SGD(0.1).step(nets[0])
    nets[2].train_step(X, y, "mse", fn.SGD(0.1))
    np.testing.assert_allclose(nets[0].params, nets[2].params, rtol=1e-13, atol=1e-16)


def test_l1_makes_weights_small_that_do_nothing(rng):
    X = rng.normal(size=(200, 6))
    net = fn.Sequential([fn.Dense(1, l1=0.05)], inputs=6, seed=0, dtype="float64")
    net.fit(X, 3 * X[:, 0] + 0.5, optimizer=fn.SGD(0.05), epochs=100, verbose=0)
    weight = np.abs(net.layers[0].weight[:, 0])
    assert weight[1:].max() < 0.01 and 2.9 < weight[0] < 2.99 and abs(net.layers[0].bias[0] - 0.5) < 0.01


def test_penalties_are_arguments_like_others(tmp_path):
    layer = fn.Dense(3, l1=0.25, l2=0.5)
    assert repr(layer) == "Dense(units=3, l1=0.25, l2=0.5)" and "l1" not in repr(fn.Dense(3))
    net = fn.Sequential([layer], inputs=2, seed=0)
    net.save(tmp_path / "model")
    again = fn.load(tmp_path / "model")
    assert (again.layers[0].l1, again.layers[0].l2) == (0.25, 0.5)
    X, y = np.eye(2), np.zeros((2, 3))
    assert again.evaluate(X, y, "mse") == net.evaluate(X, y, "mse")
    with_penalty = net.evaluate(X, y, "mse")["loss"]
    layer.l1 = layer.l2 = 0.0
    assert net.evaluate(X, y, "mse")["loss"] < with_penalty
    negative, text = [(bad, ValueError) for bad in (-1, np.inf, np.nan)], [(bad, TypeError) for bad in ("x", True)]
    for name in ("l1", "l2"):
        for bad, error in negative + text:
            with pytest.raises(error, match=name):
                setattr(layer, name, bad)
            with pytest.raises(error, match=name):
                fn.Dense(3, **{name: bad})
        assert getattr(layer, name) == 0


def test_a_penalty_counts_in_frozen_layers_but_does_not_move_them(data):
    X, y, _ = data
    net = penalized(9)
    net.layers[0].trainable = False
    before = net.layers[0].weight.copy()
    expected = net.evaluate(X, y, "mse")["loss"]
    np.testing.assert_allclose(net.train_step(X, y, "mse", fn.SGD(0.1)), expected, rtol=1e-14)
    np.testing.assert_array_equal(net.layers[0].weight, before)


# ---- clipping --------------------------------------------------------------------------------------------------------


@each_schedule
@each_dtype
@pytest.mark.parametrize("clip", [{"clip_norm": 0.125}, {"clip_norm": 1e3}, {"clip_value": 0.01}], ids=str)
def test_clipping_is_its_formula(units, dtype, clip, data):
    """Of the mean gradient with penalties; the layer that is frozen counts nothing."""
    X, y, weights = data
    net = penalized(units, dtype)
    net.layers[1].trainable = False
    g = mean_gradient(net, X, y, weights) + penalty_gradient(net)
    frozen = np.zeros(net.n_params, bool)
    frozen[(INPUTS + 1) * units : (INPUTS + 1) * units + (units + 1) * 7] = True
    g[frozen] = 0
    assert 0.5 < norm(g) < 100 and np.abs(g).max() > 0.02
    if "clip_norm" in clip:
        g *= min(1, clip["clip_norm"] / norm(g))
    else:
        g = np.clip(g, -clip["clip_value"], clip["clip_value"])
    before = net.params.astype(np.float64)
    net.train_step(X, y, "mse", fn.SGD(1.0), sample_weight=weights, **clip)
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(before - net.params, g, rtol=tolerance, atol=tolerance / 10)


@each_schedule
@pytest.mark.parametrize("clip", [{"clip_norm": 0.3}, {"clip_value": 0.02}], ids=str)
def test_fit_and_train_step_clip_with_the_same_bits_on_any_threads_and_set(units, clip, data):
    X, y, weights = data
    found = set()
    for isa in ISAS:
        assert _core.isa_select(isa)
        try:
            for threads in (1, 2, 3):
                fitted, stepped = penalized(units, "float32"), penalized(units, "float32")
                fitted.fit(X, y, optimizer=fn.Adam(0.01), batch_size=8, epochs=2, shuffle=False, threads=threads,
                           sample_weight=weights, verbose=0, **clip)  # fmt: skip
                for at in [*range(0, ROWS, 8)] * 2:
                    stepped.train_step(X[at : at + 8], y[at : at + 8], "mse", fn.Adam(0.01), threads=threads,
                                       sample_weight=weights[at : at + 8], **clip)  # fmt: skip
                found |= {fitted.params.tobytes(), stepped.params.tobytes()}
                last = fitted.history.history["loss"][-1]
                found.add(np.float64(last).tobytes() if threads == 1 and isa == ISAS[0] else None)
                assert np.float64(last).tobytes() in found
        finally:
            _core.isa_select(None)
    assert len(found - {None}) == 2, "one set of parameters and one loss"
    free = penalized(units, "float32")
    free.fit(X, y, optimizer=fn.Adam(0.01), batch_size=8, epochs=2, shuffle=False, sample_weight=weights, verbose=0)
    assert free.params.tobytes() not in found, "nothing was clipped"


@each_schedule
def test_a_bound_that_is_not_reached_changes_no_bit(units, data):
    X, y, _ = data
    nets = [penalized(units, "float32") for _ in range(3)]
    for net, clip in zip(nets, ({}, {"clip_norm": 1e6}, {"clip_value": 1e6}), strict=True):
        net.fit(X, y, epochs=2, verbose=0, **clip)
    assert nets[0].params.tobytes() == nets[1].params.tobytes() == nets[2].params.tobytes()


def test_clipping_in_the_callers_own_loop(rng):
    net = network(9)
    net.layers[1].trainable = False
    g = rng.normal(size=net.n_params)
    net.grads[...] = g
    trained = np.ones(net.n_params, bool)
    trained[(INPUTS + 1) * 9 : (INPUTS + 1) * 9 + 70] = False
    length = norm(g[trained])
    np.testing.assert_allclose(net.clip_gradients(), length, rtol=1e-14)
    assert (net.grads == g).all() and net.clip_gradients(norm=100.0) == net.clip_gradients() and (net.grads == g).all()
    net.clip_gradients(norm=0.5)
    np.testing.assert_allclose(net.grads, g * 0.5 / length, rtol=1e-14)
    net.grads[...] = g
    np.testing.assert_allclose(net.clip_gradients(value=0.25), length, rtol=1e-14)
    np.testing.assert_array_equal(net.grads, np.clip(g, -0.25, 0.25))
    net.grads[3] = np.inf
    assert net.clip_gradients(norm=1.0) == np.inf
    with pytest.raises(fn.DivergenceError):
        fn.SGD(0.1).step(net)


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
@pytest.mark.parametrize("bad, error", [(0, ValueError), (-1, ValueError), (np.nan, ValueError), (np.inf, ValueError),
                                        ("1", TypeError), (True, TypeError)])  # fmt: skip
def test_bounds_that_are_none_are_refused(name, bad, error, data):
    X, y, _ = data
    net = network(9)
    before = net.params.copy()
    for call in (net.fit, net.train_step):
        with pytest.raises(error, match=name):
            call(X, y, **{name: bad})
    with pytest.raises(error, match=name.removeprefix("clip_")):
        net.clip_gradients(**{name.removeprefix("clip_"): bad})
    with pytest.raises(ValueError, match="clip_norm and clip_value"):
        net.fit(X, y, clip_norm=1.0, clip_value=1.0)
    with pytest.raises(ValueError, match="norm and value"):
        net.clip_gradients(1.0, 1.0)
    assert (net.params == before).all() and net.optimizer is None


def test_train_step_notices_another_bound(data):
    X, y, _ = data
    net = network(9)
    steps = []
    for clip in ({}, {"clip_norm": 1e-3}, {"clip_norm": 1e-4}, {"clip_value": 1e-6}, {}):
        before = net.params.copy()
        net.train_step(X, y, "mse", fn.SGD(1.0), **clip)
        steps.append(norm(net.params - before))
    np.testing.assert_allclose(steps[1:3], [1e-3, 1e-4], rtol=1e-9)
    assert steps[0] > 0.05 and steps[3] <= 1.001e-6 * np.sqrt(net.n_params) and steps[4] > 0.05


@each_schedule
def test_a_gradient_without_a_finite_norm_stops_training(units):
    """A finite loss with a gradient that overflows: its clipped step would be 0 / 0, or nothing at all."""
    net = fn.Sequential([fn.Dense(units), fn.Dense(1)], inputs=1, seed=0, dtype="float64")
    with pytest.raises(fn.DivergenceError, match="weights"):
        net.fit(np.full((4, 1), 1e200), np.zeros(4), loss="mae", clip_norm=1.0, epochs=1, verbose=0)


@each_schedule
@pytest.mark.parametrize("clip", [{"clip_norm": 0.3}, {"clip_value": 0.02}], ids=str)
def test_a_loss_in_python_is_clipped_alike(units, clip, data):
    X, y, weights = data

    def squares(y, output):
        return ((output - y) ** 2).mean(axis=1), 2 * (output - y) / OUTPUTS

    nets = [penalized(units), penalized(units)]
    for net, loss in zip(nets, ("mse", squares), strict=True):
        net.fit(X, y, loss=loss, optimizer=fn.SGD(0.1), sample_weight=weights, epochs=2, verbose=0, **clip)
    np.testing.assert_allclose(nets[1].params, nets[0].params, rtol=1e-9, atol=1e-12)


# ---- accumulation ----------------------------------------------------------------------------------------------------


@each_schedule
def test_accumulated_batches_are_one_update_of_their_mean(units, data):
    X, y, weights = data
    net, larger = penalized(units), penalized(units)
    expected = net.params.copy()
    for at in (0, 24):
        batch, oracle = slice(at, at + 24), penalized(units)  # the last group takes the 13 rows that are left
        oracle.params[...] = expected
        gradient = mean_gradient(oracle, X[batch], y[batch], weights[batch]) + penalty_gradient(oracle)
        expected = expected - 0.1 * gradient

    def fit(net, **batches):
        net.fit(X, y, loss="mse", optimizer=fn.SGD(0.1), epochs=1, shuffle=False, sample_weight=weights, verbose=0,
                **batches)  # fmt: skip

    fit(net, batch_size=8, accumulate=3)
    np.testing.assert_allclose(net.params, expected, rtol=1e-10, atol=1e-13)
    assert net._state.step == 2
    fit(larger, batch_size=24)
    assert larger.params.tobytes() == net.params.tobytes()
    for bad, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="accumulate"):
            net.fit(X, y, accumulate=bad)


# ---- sums of squares -------------------------------------------------------------------------------------------------


@each_schedule
@each_dtype
@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
def test_sums_of_squares_of_each_tensor(units, dtype, clip_norm, data):
    X, y, _ = data
    found = []
    for threads in (1, 3):
        net = penalized(units, dtype)
        net.layers[2].trainable = False
        net.train_step(X, y, "mse", fn.Adam(0.01), threads=threads)
        native, sums = net._step_plan.native, np.full((6, 3), -1.0)
        native.measure(sums)
        native.set_clipping(clip_norm, 0.0)
        g = mean_gradient(net, X, y) + penalty_gradient(net)
        before = net.params.astype(np.float64)
        net.train_step(X, y, "mse", net.optimizer, threads=threads)
        update = net.params - before
        expected = [
            [(v[s.offset : s.offset + s.size] ** 2).sum() for v in (g, update, before)]
            for s in net._parameters.graph.segments
        ]
        np.testing.assert_allclose(sums, expected, rtol=1e-4 if dtype == "float32" else 1e-11, atol=1e-18)
        assert (sums[4:, 1] == 0).all() and (sums[:4] > 0).all() and (sums[4:, [0, 2]].sum(axis=1) > 0).all()
        found.append((sums.tobytes(), net.params.tobytes()))
    assert found[0] == found[1]
    native.measure(None)
    net.train_step(X, y, "mse", net.optimizer, threads=3)
    assert found[1][0] == sums.tobytes(), "it goes on writing"


# ---- decay and averages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", fn.optimizers)
def test_weights_decay_apart_from_the_gradient_and_biases_do_not(name):
    """Without a gradient: w (1 - learning rate * factor * weight_decay) each step, to the last bits."""
    layers = [fn.Dense(3, learning_rate_factor=0.5), fn.Dense(2), fn.Dense(2, trainable=False)]
    net = fn.Sequential(layers, inputs=2, seed=0, dtype="float64")
    net.params[...] += 0.5
    before = [(layer.weight.copy(), layer.bias.copy()) for layer in net.layers]
    net.grads[...] = 0
    optimizer = fn.optimizers[name](learning_rate=0.1, weight_decay=0.25)
    for _ in range(2):
        optimizer.step(net)
    for layer, (weight, bias), keep in zip(layers, before, (1 - 0.0125, 1 - 0.025, 1), strict=True):
        np.testing.assert_allclose(layer.weight, weight * keep**2, rtol=1e-15)
        np.testing.assert_array_equal(layer.bias, bias)


@each_schedule
@each_dtype
@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_the_average_is_its_formula(units, dtype, decay, data, tmp_path):
    X, y, _ = data
    net, plain = network(units, dtype), network(units, dtype)
    net.layers[1].trainable = plain.layers[1].trainable = False
    with pytest.raises(RuntimeError, match="average"):
        net.averaged_params  # noqa: B018
    s = 0.0
    for n in range(1, 7):
        if n == 4:  # in the middle, through a file; then by the caller's own steps
            net.save(tmp_path / "model")
            net = fn.load(tmp_path / "model")
        if n < 5:
            net.train_step(X, y, "mse", fn.NAdam(0.05, average=decay))
            plain.train_step(X, y, "mse", fn.NAdam(0.05))
        else:
            for one, optimizer in ((net, fn.NAdam(0.05, average=decay)), (plain, fn.NAdam(0.05))):
                one.backward(one.forward(X, training=True))
                optimizer.step(one)
        assert net.params.tobytes() == plain.params.tobytes()
        s = decay * s + (1 - decay) * net.params.astype(np.float64)
        np.testing.assert_allclose(
            net.averaged_params, s / (1 - decay**n), rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-7
        )
    averaged = net.averaged()
    assert averaged.params.tobytes() == net.averaged_params.tobytes() != net.params.tobytes()
    assert averaged.predict(X).shape == (ROWS, OUTPUTS) and averaged.layers[0].units == units
    assert not net.averaged_params.flags.writeable


@each_schedule
def test_averages_have_the_same_bits_on_any_threads(units, data):
    X, y, _ = data
    found = set()
    for threads in (1, 2, 3):
        net = network(units, "float32")
        net.fit(X, y, optimizer=fn.SGD(0.1, average=0.9), epochs=3, batch_size=8, threads=threads, verbose=0)
        found.add(net.averaged_params.tobytes())
    assert len(found) == 1


def test_a_callback_may_look_at_the_average(data):
    X, y, _ = data
    net, seen = network(9), []

    class Look(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            seen.append(net.averaged().params.tobytes())

    net.fit(X, y, optimizer=fn.Adam(average=0.9), epochs=2, callbacks=[Look()], verbose=0)
    assert len(set(seen)) == 2 and seen[-1] == net.averaged_params.tobytes()


WITHOUT = {
    "fit": lambda net, X, y: net.fit(X, y, optimizer=fn.Adam(0.02), epochs=1, verbose=0),
    "fit by name": lambda net, X, y: net.fit(X, y, epochs=1, verbose=0),
    "a stream": lambda net, X, y: net.fit([(X, y)], optimizer=fn.Adam(), epochs=1, verbose=0),
    "train_step": lambda net, X, y: net.train_step(X, y, "mse", fn.Adam()),
    "step": lambda net, X, y: fn.Adam().step(net),
}


@pytest.mark.parametrize("update", WITHOUT.values(), ids=WITHOUT.keys())
def test_what_was_averaged_before_is_forgotten_by_a_training_without(update, data, tmp_path):
    X, y, _ = data
    net = network(9)
    net.fit(X, y, optimizer=fn.Adam(0.02, average=0.9), epochs=2, verbose=0)
    kept = net.averaged_params.copy()
    net.fit(X, y, optimizer=fn.Adam(0.02), epochs=0, verbose=0)  # no update
    np.testing.assert_array_equal(net.averaged_params, kept)
    update(net, X, y)
    for look in (lambda: net.averaged_params, net.averaged):
        with pytest.raises(RuntimeError, match="no average of the weights"):
            look()
    net.save(tmp_path / "net")
    with pytest.raises(RuntimeError, match="no average of the weights"):
        fn.load(tmp_path / "net").averaged()
    net.fit(X, y, optimizer=fn.Adam(0.02, average=0.9), epochs=1, batch_size=None, verbose=0)
    np.testing.assert_array_equal(net.averaged_params, net.params)


def test_an_average_begins_anew_after_a_divergence(data):
    X, y, _ = data
    net = network(9)
    with pytest.raises(fn.DivergenceError):
        net.fit(X, y, optimizer=fn.SGD(1e200, average=0.9), epochs=2, batch_size=8, verbose=0)
    net.fit(X, y, optimizer=fn.SGD(0.01, average=0.9), epochs=1, batch_size=None, verbose=0)
    np.testing.assert_array_equal(net.averaged_params, net.params)


def test_an_average_may_begin_at_any_time_and_ends_with_an_update_without_it(data):
    X, y, _ = data
    net, optimizer = network(9), fn.Adam(0.05)
    net.train_step(X, y, "mse", optimizer)
    optimizer.average = 0.5
    net.train_step(X, y, "mse", optimizer)
    np.testing.assert_array_equal(net.averaged_params, net.params)  # of one update, its own weights
    net.train_step(X, y, "mse", optimizer)
    assert (net.averaged_params != net.params).any()
    optimizer.average = 0.0
    net.train_step(X, y, "mse", optimizer)
    with pytest.raises(RuntimeError, match="no average of the weights"):
        net.averaged()
    optimizer.average = 0.5
    net.train_step(X, y, "mse", optimizer)
    np.testing.assert_array_equal(net.averaged_params, net.params)  # begun anew, and from 0
    with pytest.raises(ValueError, match="average must be at least 0 and below 1"):
        optimizer.average = 1.0


def test_nadam_goes_on_through_a_file_and_after_a_batch_that_was_dropped(data, tmp_path):
    """Its product of momenta is state: neither lost nor counted twice."""
    X, y, _ = data
    whole, parts, dropped = network(9), network(9), network(9)
    bad = X.copy()
    bad[0] = 1e300
    for step in range(5):
        optimizer = fn.NAdam(0.05)
        whole.train_step(X, y, "mse", optimizer)
        parts.train_step(X, y, "mse", optimizer)
        if step == 2:
            parts.save(tmp_path / "model")
            parts = fn.load(tmp_path / "model")
        dropped.train_step(X, y, "mse", optimizer)
        product = dropped._state.product
        with pytest.raises(fn.DivergenceError):
            dropped.train_step(X, y * 1e200, "mse", optimizer)
        assert dropped._state.product == product and dropped._state.step == step + 1
    assert whole.params.tobytes() == parts.params.tobytes() == dropped.params.tobytes()
    mu = 0.9 * (1 - 0.5 * 0.96 ** (0.004 * np.arange(1, 6)))
    np.testing.assert_allclose(whole._state.product, mu.prod(), rtol=1e-14)
