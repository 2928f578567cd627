# SPDX-License-Identifier: BSD-3-Clause
"""What layers keep besides their parameters, and what happens to it; freezing inside layers; what layers refuse."""

import copy

import numpy as np
import pytest
import stacks
from snapshot import everything

import fastnn as fn
from fastnn import averaging

RNG = np.random.default_rng(8)
X = RNG.normal(size=(60, 4)) * 2 + 1
Y = np.sin(X[:, :2])


def normed(dtype="float64", **more):
    layers = [fn.Dense(5, "tanh"), fn.BatchNorm(**more), fn.Residual([fn.BatchNorm(), fn.Dense(5)]), fn.Dense(2)]
    return fn.Sequential(layers, inputs=4, seed=0, dtype=dtype)


def state(net):
    return net._parameters.state.copy()


# ---- running statistics ----------------------------------------------------------------------------------------------


def test_running_statistics_move_in_training_only():
    net = fn.Sequential([fn.BatchNorm(momentum=0.75), fn.Dense(2)], inputs=4, seed=0, dtype="float64")
    layer, start = net.layers[0], state(net)
    assert (layer.running_mean == 0).all() and (layer.running_variance == 1).all()
    net.predict(X), net.evaluate(X, Y), net.forward(X), net.predictor()(X), fn.check_gradients(net, X, Y)
    assert (state(net) == start).all()
    mean, variance = np.zeros(4), np.ones(4)
    for call in (lambda: net.forward(X, training=True), lambda: net.train_step(X, Y),
                 lambda: net.fit(X, Y, epochs=1, batch_size=None, verbose=0)):  # fmt: skip
        call()
        mean, variance = 0.75 * mean + 0.25 * X.mean(axis=0), 0.75 * variance + 0.25 * X.var(axis=0, ddof=1)
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-13)
        np.testing.assert_allclose(layer.running_variance, variance, rtol=1e-13)


@pytest.mark.parametrize(("momentum", "kept"), [(0.0, 0.0), (1.0, 1.0)])
def test_momenta_at_the_ends(momentum, kept):
    net = fn.Sequential([fn.BatchNorm(momentum), fn.Dense(2)], inputs=4, seed=0, dtype="float64")
    net.train_step(X, Y)
    np.testing.assert_allclose(net.layers[0].running_mean, (1 - kept) * X.mean(axis=0), rtol=1e-13)


def test_a_batch_of_one_row_has_variance_0():
    net = fn.Sequential([fn.BatchNorm(0.5), fn.Dense(2)], inputs=4, seed=0, dtype="float64")
    net.layers[0].bias = [1, 2, 3, 4]
    output = net.forward(X[:1], training=True)
    np.testing.assert_allclose(output, [[1, 2, 3, 4]] @ net.layers[1].weight, rtol=1e-12)
    np.testing.assert_allclose(net.layers[0].running_variance, 0.5, rtol=1e-12)
    assert np.isfinite(net.backward(np.ones((1, 2)))).all()


def test_sample_weights_do_not_count_in_moments():
    a, b = normed(), normed()
    weights = np.arange(60) % 3
    a.train_step(X, Y, optimizer=fn.SGD(0.0))
    b.train_step(X, Y, optimizer=fn.SGD(0.0), sample_weight=weights)
    assert (state(a) == state(b)).all() and state(a).any()


def test_soft_update_moves_running_statistics_too():
    target, net = normed(), normed()
    net.fit(X, Y, epochs=2, verbose=0)
    before, other = target._parameters.numbers.copy(), net._parameters.numbers.copy()
    target.soft_update(net, 0.25)
    np.testing.assert_allclose(target._parameters.numbers, 0.75 * before + 0.25 * other, rtol=1e-14)
    target.soft_update(net, 1.0)
    np.testing.assert_array_equal(target.predict(X), net.predict(X))


def test_averaged_has_the_running_statistics_of_the_network():
    net = normed()
    net.fit(X, Y, optimizer=fn.Adam(0.01, average=0.9), epochs=3, verbose=0)
    before = net._parameters.numbers.copy()
    averaged = net.averaged()
    assert (state(averaged) == state(net)).all() and (averaged.params == net.averaged_params).all()
    assert (averaged.params != net.params).any() and (net._parameters.numbers == before).all()
    averaged.fit(X, Y, epochs=1, verbose=0)
    assert (net._parameters.numbers == before).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
def test_averaged_measures_running_statistics_anew(dtype, tolerance, monkeypatch):
    """By hand: each norm sees what the ones before it, measured anew as well, let through."""
    monkeypatch.setattr(averaging, "ELEMENTS_AT_A_TIME", 50)  # in pieces, the last one smaller
    layers = [fn.BatchNorm(), fn.Dense(6, "tanh"), fn.Dropout(0.5), fn.BatchNorm(epsilon=0.1)]
    layers.append(fn.Concat([[fn.Residual([fn.BatchNorm(), fn.Dense(6)])], []]))
    net = fn.Sequential([*layers, fn.Dense(2)], inputs=4, seed=0, dtype=dtype)
    net.fit(X, Y, optimizer=fn.Adam(0.05, average=0.9), epochs=3, verbose=0)
    before = net._parameters.numbers.copy()
    found = net.averaged(X)
    assert (found.params == net.averaged_params).all() and (net._parameters.numbers == before).all()
    x = X.astype(np.float64)
    for layer in (found.layers[0], found.layers[3], found.layers[4].branches[0][0].layers[0]):
        mean, variance = x.mean(axis=0), x.var(axis=0, ddof=1)
        np.testing.assert_allclose(layer.running_mean, mean, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(layer.running_variance, variance, rtol=tolerance)
        x = (x - mean) / np.sqrt(variance + layer.epsilon) * layer.weight + layer.bias
        if layer is found.layers[0]:
            x = np.tanh(x @ found.layers[1].weight + found.layers[1].bias)
    everything_before = everything(net)
    for wrong, message in ((X[:1], "X has 1 row"), (X[:, :3], "3 columns"), (X * np.nan, "must be finite")):
        with pytest.raises(ValueError, match=message):
            net.averaged(wrong)
    assert everything(net) == everything_before


def test_averaged_predicts_better_with_its_own_statistics():
    """With a large step, the running statistics of the last weights are far from those of their average."""
    net = fn.Sequential([fn.Dense(20), fn.BatchNorm(momentum=0.0), fn.Activation("tanh"), fn.Dense(2)], seed=0)
    net.fit(X, Y, optimizer=fn.Adam(0.3, average=0.98), epochs=30, batch_size=20, verbose=0)
    assert net.averaged(X).evaluate(X, Y)["loss"] < 0.8 * net.averaged().evaluate(X, Y)["loss"]


def test_averaged_reads_what_fit_reads():
    frames, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    net = fn.Sequential([fn.Dense(5), fn.BatchNorm(), fn.Dense(2)], seed=0)
    table = frames.DataFrame(X, columns=list("abcd"))
    net.fit(table, Y, optimizer=fn.Adam(average=0.9), epochs=1, verbose=0)
    expected = state(net.averaged(table))
    with pytest.raises(ValueError, match="feature"):
        net.averaged(table[list("dcba")])
    first = fn.Sequential([fn.BatchNorm(), fn.Dense(2)], seed=0)
    first.fit(X, Y, optimizer=fn.Adam(average=0.9), epochs=1, verbose=0)
    assert (state(first.averaged(sparse.csr_array(X))) == state(first.averaged(X))).all()
    assert (state(net.averaged(X)) == expected).all()


@pytest.mark.filterwarnings("ignore:y has numbers of about")
@pytest.mark.parametrize("learning_rate", [1e30, 1e200])
def test_a_diverged_epoch_is_undone_with_its_statistics(learning_rate):
    """The first epoch goes well; in the second, after some batches, nothing is finite."""
    net = normed("float32")
    net.fit(X, Y, epochs=1, batch_size=10, optimizer=fn.SGD(0.01), verbose=0)
    numbers = net._parameters.numbers.copy()
    bad = Y.copy()
    bad[45:] = 1e30  # whose squares are too large for float32
    for arguments in ({"y": bad}, {"y": Y, "optimizer": fn.SGD(learning_rate)}):
        with pytest.raises(fn.DivergenceError):
            net.fit(X, arguments.pop("y"), epochs=1, batch_size=10, shuffle=False, verbose=0, **arguments)
        np.testing.assert_array_equal(net._parameters.numbers, numbers)
    with pytest.raises(fn.DivergenceError, match="the batch was not applied"):
        net.train_step(X, bad)
    np.testing.assert_array_equal(net._parameters.numbers, numbers)


def test_early_stopping_brings_the_statistics_of_the_best_epoch_back():
    seen = []

    class Note(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            seen.append((logs["val_loss"], net._parameters.numbers.copy(), net.predict(X)))

    net = normed()
    net.fit(X, Y, epochs=60, optimizer=fn.SGD(0.15), validation_data=(X[:9] + 0.5, Y[:9]), verbose=0,
            callbacks=[Note(), fn.EarlyStopping(patience=2)])  # fmt: skip
    best = min(range(len(seen)), key=lambda epoch: seen[epoch][0])
    assert 0 < best < len(seen) - 1, "it should stop some time after the best epoch"
    np.testing.assert_array_equal(net._parameters.numbers, seen[best][1])
    np.testing.assert_array_equal(net.predict(X), seen[best][2])
    assert (state(net) != seen[-1][1][net.n_params :]).any()


def test_state_is_a_view():
    net = normed()
    net.layers[1].running_mean[...] = 3.0
    assert (state(net)[:5] == 3).all()
    norm = fn.Sequential([fn.Normalization(), fn.Dense(1, use_bias=False)], inputs=2, seed=0, dtype="float64")
    norm.layers[0].mean, norm.layers[0].scale = [1, 2], [10, 100]
    np.testing.assert_allclose(norm.predict([[2, 3]]), [[10, 100]] @ norm.layers[1].weight)
    for wrong, error in (([1, 2, 3], ValueError), (["a", "b"], TypeError)):
        with pytest.raises(error, match="mean"):
            norm.layers[0].mean = wrong


# ---- frozen and slower layers, inside others -------------------------------------------------------------------------

OUTER = {
    "residual": lambda inner, **more: fn.Residual([inner], **more),
    "concat": lambda inner, **more: fn.Concat([[inner], []], **more),
    "split": lambda inner, **more: fn.Split([3, 1], [[fn.Dense(4)], [inner]], **more),
    "deep": lambda inner, **more: fn.Concat([[fn.Residual([inner])]], **more),
}


def within(outer, inner=None, **more):
    inner = inner or fn.Dense(4)
    return inner, fn.Sequential([OUTER[outer](inner, **more), fn.Dense(2)], inputs=4, seed=0, dtype="float64")


@pytest.mark.parametrize("outer", OUTER)
def test_a_frozen_layer_freezes_what_is_inside(outer):
    inner, net = within(outer)
    weight, last = inner.weight.copy(), net.layers[1].weight.copy()
    net.layers[0].trainable = False
    for _ in range(2):
        net.train_step(X, Y)
        net.fit(X, Y, epochs=1, verbose=0)
    assert (inner.weight == weight).all() and (net.layers[1].weight != last).all() and inner.trainable
    net.layers[0].trainable = True
    inner.trainable = False
    net.train_step(X, Y)
    assert (inner.weight == weight).all()
    inner.trainable = True
    net.train_step(X, Y)
    assert (inner.weight != weight).all()
    again = copy.deepcopy(net)
    assert repr(again) == repr(net)


@pytest.mark.parametrize("outer", OUTER)
def test_factors_inside_and_outside_multiply(outer):
    inner, net = within(outer, fn.Dense(4, learning_rate_factor=0.5), learning_rate_factor=0.25)
    plain_inner, plain = within(outer)
    start = inner.weight.copy()
    net.train_step(X, Y, optimizer=fn.SGD(1.0)), plain.train_step(X, Y, optimizer=fn.SGD(1.0))
    np.testing.assert_allclose(start - inner.weight, (start - plain_inner.weight) / 8, rtol=1e-10, atol=1e-17)
    net.layers[0].learning_rate_factor = 0
    before = inner.weight.copy()
    net.train_step(X, Y)
    assert (inner.weight == before).all()


@pytest.mark.parametrize("outer", ["residual", "concat", "deep"])
def test_statistics_move_while_a_layer_is_frozen(outer):
    inner, net = within(outer, fn.BatchNorm(), trainable=False)
    weight = inner.weight.copy()
    net.train_step(X, Y)
    assert (inner.weight == weight).all() and inner.running_mean.all()


def test_weight_decay_takes_matrices_only():
    net = fn.Sequential([fn.LayerNorm(), fn.Dense(4), fn.PReLU(), fn.BatchNorm(), fn.RMSNorm(), fn.Dense(2)],
                        inputs=4, seed=0, dtype="float64")  # fmt: skip
    net.params[...] += 1
    before = net.params.copy()
    net.train_step(X, Y, optimizer=fn.SGD(0.5, weight_decay=0.5), sample_weight=np.full(60, 1.0))
    after = net.params.copy()
    net.params[...] = before
    net.train_step(X, Y, optimizer=fn.SGD(0.5))
    decayed = (after - net.params) / before
    for segment in net._parameters.graph.segments:
        expected = -0.25 if segment.decays else 0.0
        assert segment.decays == (segment.rows > 1)
        np.testing.assert_allclose(decayed[segment.offset : segment.offset + segment.size], expected, atol=1e-12)


# ---- what is refused -------------------------------------------------------------------------------------------------

DENSE = fn.Dense(2)
OWNED = fn.Sequential([fn.Residual([DENSE])], inputs=2, seed=0)


def stack(*layers, inputs=4):
    return lambda: fn.Sequential(list(layers), inputs=inputs)


@pytest.mark.parametrize(("make", "error", "message"), [
    (stack(fn.Residual([fn.Dense(3)])), ValueError,
     r"Residual: its layers turn 4 columns into 3, but x \+ f\(x\) needs as many: end with Dense\(4\)"),
    (stack(fn.Split([1, 2], [[], []]), fn.Dense(1)), ValueError, "Split divides 3 columns, but its input has 4"),
    (lambda: fn.Split([1, 2], [[]]), ValueError, "Split has 2 numbers of columns, but 1 branches"),
    (lambda: fn.Split(3, [[]]), TypeError, "columns must be a list of integers, not int"),
    (lambda: fn.Split(b"x", [[]]), TypeError, "columns must be a list of integers, not bytes"),
    (lambda: fn.Split("1", [[]]), TypeError, "columns must be a list of integers, not str"),
    (lambda: fn.Split([0], [[]]), ValueError, r"columns\[0\] must be at least 1, not 0"),
    (lambda: fn.Concat([]), ValueError, "branches is empty"),
    (lambda: fn.Concat(fn.Dense(2)), TypeError, "branches must be a list of lists of layers, not Dense"),
    (lambda: fn.Concat([fn.Dense(2)]), TypeError, r"branches\[0\] must be a list of layers, not Dense"),
    (lambda: fn.Concat([["relu"]]), TypeError, r"branches\[0\]\[0\] must be a layer such as Dense\(10\), not 'relu'"),
    (lambda: fn.Residual(fn.Dense(2)), TypeError, "layers must be a list of layers, not Dense"),
    (lambda: fn.Residual([3]), TypeError, r"layers\[0\] must be a layer such as Dense\(10\), not 3"),
    (lambda: fn.Residual([DENSE]), ValueError, r"layers\[0\] belongs to a network already: make a new Dense"),
    (lambda: (lambda d: fn.Concat([[d], [d]]))(fn.Dense(1)), ValueError, "a layer is in two branches"),
    (stack(fn.Dense(2), fn.Normalization()), ValueError, "Normalization must be the first layer: it learns from X"),
    (stack(fn.Dropout(0.5), fn.Normalization(), fn.Dense(1)), ValueError, "Normalization must be the first layer"),
    (stack(fn.Dense(2), fn.Table([0])), ValueError, "Table must be the first layer: it names columns of X"),
    (stack(fn.Dense(2), fn.Embedding(3)), ValueError, "Embedding must be the first layer, or the first of a branch"),
    (stack(fn.Dropout(0.5), fn.Embedding(3)), ValueError, "Embedding must be the first layer"),
    (stack(fn.Concat([[fn.Dense(1)], []]), fn.Embedding(3)), ValueError, "Embedding must be the first layer"),
    (stack(fn.Table([0], [4]), fn.Dense(1)), ValueError, r"Table names column 4, but X has the columns 0\.\.3"),
    (lambda: fn.Table(), ValueError, r"Table needs columns: numeric=\[...\], categorical=\[...\]"),
    (lambda: fn.Table([0, 1], [1]), ValueError, "Table: column 1 is named twice"),
    (lambda: fn.Table([0, 0]), ValueError, "Table: column 0 is named twice"),
    (lambda: fn.Table([-1]), ValueError, r"numeric\[0\] must be at least 0, not -1"),
    (lambda: fn.Table(categorical={0: 2.5}), TypeError, r"categorical\[0\] must be an integer, not float"),
    (lambda: fn.Table(categorical={0: 1 << 24}), ValueError, r"categorical\[0\] must be below 16777216"),
    (lambda: fn.Embedding(0), ValueError, "categories must be at least 1, not 0"),
    (lambda: fn.Embedding(3, units=0), ValueError, "units must be at least 1, not 0"),
    (lambda: fn.BatchNorm(1.5), ValueError, r"momentum must be in 0\.\.1, not 1.5"),
    (lambda: fn.LayerNorm(0), ValueError, "epsilon must be finite and above 0, not 0"),
    (lambda: fn.RMSNorm(float("nan")), ValueError, "epsilon must be finite and above 0, not nan"),
    (lambda: fn.RMSNorm(use_bias=1), TypeError, "use_bias must be True or False"),
    (lambda: fn.PReLU(float("inf")), ValueError, "start must be finite, not inf"),
    (lambda: fn.PReLU("a"), TypeError, "start must be a number, not str"),
    (stack(fn.Dropout(0.5)), ValueError, "a network needs at least one"),
    (lambda: fn.Dropout(0.5, trainable=3), TypeError, "trainable must be True or False"),
    (lambda: fn.Residual([], learning_rate_factor=-1), ValueError, "learning_rate_factor must be finite and not neg"),
])  # fmt: skip
def test_what_is_refused(make, error, message):
    before = everything(OWNED)
    with pytest.raises(error, match=message):
        make()
    assert everything(OWNED) == before


def test_a_network_that_is_refused_leaves_parts_free():
    inner = fn.Dense(3)
    block = fn.Residual([inner])
    with pytest.raises(ValueError, match="turn 4 columns into 3"):
        fn.Sequential([block], inputs=4)
    net = fn.Sequential([block, fn.Dense(1)], inputs=3, seed=0)
    assert net.layers[0].layers == (inner,) and inner.owned
    with pytest.raises(ValueError, match="belongs to a network already"):
        fn.Sequential([inner], inputs=3)


def test_an_embedding_may_begin_any_branch_that_holds_columns_of_x():
    codes, numbers = [fn.Embedding(3, units=2)], [fn.Dense(4, "tanh")]
    first = fn.Sequential([fn.Split([1, 2], [codes, numbers]), fn.Dense(1)], inputs=3, seed=0)
    later = fn.Sequential(
        [fn.Split([2, 1], [[fn.Dense(4, "tanh")], [fn.Embedding(3, units=2)]]), fn.Dense(1)], inputs=3, seed=0
    )
    for one, other in ((codes[0], later.layers[0].branches[1][0]), (numbers[0], later.layers[0].branches[0][0])):
        other.weight = one.weight
    later.layers[1].weight = np.roll(first.layers[1].weight, -2, axis=0)
    rows = np.column_stack([np.arange(5) % 4, X[:5, :2]])
    np.testing.assert_allclose(first.predict(rows), later.predict(np.roll(rows, -1, axis=1)), rtol=1e-5)


def test_a_network_that_needs_its_inputs_says_so():
    net = fn.Sequential([fn.Residual([fn.Dense(4)]), fn.Dense(1)], seed=0)
    for call in (lambda: net.outputs, lambda: net.predict(X), lambda: net.params):
        with pytest.raises(RuntimeError, match="no weights before the width of its input is known: give inputs="):
            call()
    before = everything(net)
    with pytest.raises(ValueError, match="turn 3 columns into 4"):
        net.fit(X[:, :3], Y[:, :1], verbose=0)
    assert everything(net) == before
    net.fit(X, Y[:, :1], epochs=1, verbose=0)
    assert net.outputs == 1


@pytest.mark.parametrize("name", stacks.STACKS)
def test_a_fit_that_is_refused_changes_nothing(name):
    net, (x, y) = stacks.network(name, stacks.NARROW), stacks.table(20)
    net.fit(x, y, epochs=1, verbose=0)
    before = everything(net)
    nan = x.copy()
    nan[3, 2] = np.nan
    for call in (
        lambda: net.fit(nan, y, verbose=0), lambda: net.fit(x[:, :5], y, verbose=0),
        lambda: net.fit(x, y[:, :2], verbose=0), lambda: net.train_step(nan, y),
        lambda: net.forward(nan, training=True), lambda: net.predict(nan),
        lambda: net.fit(x, y, loss="no such loss", verbose=0), lambda: net.soft_update(normed(), 0.5),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            call()
        assert everything(net) == before
