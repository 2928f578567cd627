# SPDX-License-Identifier: BSD-3-Clause
"""What the first fit learns from the data itself: scales of columns, categories, scales of targets."""

import warnings

import numpy as np
import pytest
from snapshot import everything

import fastnn as fn
from fastnn import health, normalization
from fastnn.tables import width_for

RNG = np.random.default_rng(4)
X = RNG.normal(size=(120, 4)) * [1, 10, 0.1, 1000] + [0, 5, -3, 1e4]
Y = np.stack([X[:, 1] * 3 - 40, X[:, 2] * 0.01 + 2], axis=1)


def close(a, b, rtol=1e-12):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)


def normalized(*, dtype="float64", **more):
    return fn.Sequential([fn.Normalization(), fn.Dense(6, "tanh"), fn.Dense(2)], seed=1, dtype=dtype, **more)


def held_out(seed, fraction, rows=120):
    """The rows fit trains on."""
    from fastnn.splitting import split

    return split(rows, fraction, None, seed)[0]


# ---- columns of X ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normalization_learns_once_from_the_training_rows(dtype):
    net = normalized(dtype=dtype)
    layer = net.layers[0]
    with pytest.raises(AttributeError, match="no mean yet"):
        _ = layer.mean
    net.fit(X, Y, epochs=1, validation_fraction=0.25, verbose=0)
    train = X[held_out(1, 0.25)]
    assert layer.learned and len(train) == 90
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    close(layer.mean, train.mean(axis=0), tolerance)
    close(layer.scale, 1 / train.std(axis=0), tolerance)
    learned = layer.mean.copy(), layer.scale.copy()
    net.fit(X * 2, Y, epochs=1, verbose=0)
    assert (layer.mean == learned[0]).all() and (layer.scale == learned[1]).all()
    layer.learned = False
    net.fit(X * 2, Y, epochs=0, verbose=0)
    close(layer.mean, 2 * X.mean(axis=0), tolerance)


def test_a_normalized_network_is_one_of_normalized_data():
    net, plain = normalized(), fn.Sequential([fn.Dense(6, "tanh"), fn.Dense(2)], inputs=4, seed=1, dtype="float64")
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    a, b = (one.fit(x, Y, epochs=4, verbose=0) for one, x in ((net, X), (plain, scaled)))
    close(a.history["loss"], b.history["loss"], 1e-10)
    close(net.predict(X), plain.predict(scaled), 1e-9)


def test_what_it_is_given_it_keeps():
    """Written by hand, a mean counts as learned; train_step and forward learn nothing."""
    net = fn.Sequential([fn.Normalization(), fn.Dense(2)], inputs=4, seed=1)
    with pytest.warns(UserWarning, match="train_step before the first fit"):
        net.train_step(X, Y)
    net.forward(X)
    assert not net.layers[0].learned and not net.layers[0].mean.any() and (net.layers[0].scale == 1).all()
    net.layers[0].mean = [1, 2, 3, 4]
    net.fit(X, Y, epochs=1, verbose=0)
    assert net.layers[0].learned and net.layers[0].mean.tolist() == [1, 2, 3, 4]


def test_constant_columns_keep_their_size():
    data = np.column_stack([np.full(50, 0.1), np.full(50, -7.0), np.zeros(50), np.arange(50.0)])
    mean, scale = normalization.mean_and_scale(data, range(4), None)
    close(mean, [0.1, -7, 0, 24.5])
    assert scale[:3].tolist() == [1, 1, 1] and scale[3] == pytest.approx(1 / data[:, 3].std(), rel=1e-14)


def test_scales_are_numbers_of_the_network():
    """1 / 1e-41 is no float32: such a column counts as constant. Training went to infinity at once."""
    net = fn.Sequential([fn.Normalization(), fn.Dense(2)], seed=0, scale_targets=True)
    net.fit(X * 1e-41, Y * 1e-41, epochs=1, verbose=0)
    assert np.isfinite(net.layers[0].scale).all() and np.isfinite(net.predict(X * 1e-41)).all()


@pytest.mark.parametrize("name", ["X", "y"])
def test_a_variance_that_is_not_finite_is_refused(name):
    """Its scale was 0, which wiped out the column, or made outputs infinite."""
    net = fn.Sequential([fn.Normalization(), fn.Dense(2)], seed=0, dtype="float64", scale_targets=True)
    with pytest.raises(ValueError, match=f"{name} has numbers in column 0 whose variance is not finite"):
        net.fit(X * (1e200 if name == "X" else 1), Y * (1e200 if name == "y" else 1), epochs=1, verbose=0)
    assert net.inputs is None


def layouts(x):
    yield "as it is", x
    yield "columns first", np.asfortranarray(x)
    yield "backwards", x[::-1]
    yield "every other", np.repeat(x, 2, axis=0)[::2]
    yield "float32", x.astype(np.float32)
    yield "float16", (x / 100).astype(np.float16)
    yield "integers", x.astype(np.int64)
    yield "booleans", x > 0
    fixed = x.copy()
    fixed.flags.writeable = False
    yield "read-only", fixed


@pytest.mark.parametrize("columns", [[0, 1, 2, 3], [2, 0]])
@pytest.mark.parametrize("chosen", [None, [5, 3, 3, 7, 119]], ids=["all rows", "some rows"])
@pytest.mark.parametrize("at_a_time", [7, 1 << 16])
def test_x_is_only_read(columns, chosen, at_a_time, monkeypatch):
    """mean_and_scale once took squares in the caller's own array, if that was in one piece."""
    monkeypatch.setattr(normalization, "ROWS_AT_A_TIME", at_a_time)
    rows = None if chosen is None else np.array(chosen)
    for layout, x in layouts(X):
        before = x.copy()
        mean, scale = normalization.mean_and_scale(x, columns, rows)
        assert (x == before).all(), layout
        part = x[:, columns].astype(np.float64) if rows is None else x[rows][:, columns].astype(np.float64)
        close(mean, part.mean(axis=0), 1e-13)
        close(scale, 1 / np.where(part.std(axis=0) == 0, 1, part.std(axis=0)), 1e-11)


@pytest.mark.parametrize("first", ["normalization", "table", "scaled"])
def test_fit_changes_no_argument(first):
    for layout, x in layouts(X):
        layer = fn.Table(numeric=[0, 3]) if first == "table" else fn.Normalization()
        net = fn.Sequential([layer, fn.Dense(2)], seed=0, scale_targets=first == "scaled")
        y, weights = Y.copy(), np.ones(120)
        before = x.copy(), y.copy()
        net.fit(x, y, epochs=1, sample_weight=weights, validation_data=(x, y), verbose=0)
        assert (x == before[0]).all() and (y == before[1]).all() and (weights == 1).all(), layout


# ---- categories ------------------------------------------------------------------------------------------------------

TABLE = np.column_stack([X[:, 0], np.arange(120) % 3, X[:, 3], np.arange(120) % 5 - 1])


def tabular(**more):
    return fn.Sequential([fn.Table(numeric=[2, 0], categorical=[1, 3], **more), fn.Dense(2)], seed=0, dtype="float64")


def test_the_first_fit_counts_categories():
    net = tabular()
    table = net.layers[0]
    assert table.categories == {} and net.inputs is None
    needed = "column 1 yet: leave out inputs=, so that the first fit finds it, or say it"
    with pytest.raises(ValueError, match=f"does not know the number of categories of {needed}"):
        fn.Sequential([fn.Table(categorical=[1]), fn.Dense(1)], inputs=4)
    net.fit(TABLE, Y, epochs=1, verbose=0)
    assert table.categories == {1: 3, 3: 4}
    assert table.weight(1).shape == (4, width_for(3)) and table.weight(3).shape == (5, width_for(4))
    close(table.mean, TABLE[:, [2, 0]].mean(axis=0))
    close(table.scale, 1 / TABLE[:, [2, 0]].std(axis=0))
    assert table.weight(3)[-1].any() and not table.weight(1)[-1].any()  # -1 was met, and nothing unknown in column 1
    more = TABLE.copy()
    more[:, 1] = 7
    net.fit(more, Y, epochs=1, verbose=0)  # later on they are unknown ones
    assert table.categories == {1: 3, 3: 4} and table.weight(1)[-1].any()


def test_what_is_said_is_not_counted():
    net = fn.Sequential([fn.Table(categorical={1: 9, 3: None}), fn.Dense(2)], seed=0)
    net.fit(TABLE, Y, epochs=1, verbose=0)
    assert net.layers[0].categories == {1: 9, 3: 4}
    assert [width_for(n) for n in (1, 2, 10, 100, 10_000)] == [2, 2, 6, 21, 50]


@pytest.mark.parametrize("wrong", [0.5, -0.25, 1e-9])
def test_fit_refuses_codes_that_are_no_whole_numbers(wrong):
    net, bad = tabular(), TABLE.copy()
    bad[17, 3] = wrong
    before = everything(net)
    with pytest.raises(ValueError, match=f"X is {wrong} in row 17, column 3: a categorical column must hold whole"):
        net.fit(bad, Y, verbose=0)
    assert everything(net) == before and net.layers[0].categories == {}


def test_a_fit_that_is_refused_has_counted_nothing():
    net = tabular()
    before = everything(net), repr(net)
    for arguments in ({"y": Y[:7]}, {"y": Y, "loss": "cross_entropie"}, {"y": Y, "batch_size": 0}):
        with pytest.raises(ValueError):
            net.fit(TABLE, arguments.pop("y"), verbose=0, **arguments)
        assert (everything(net), repr(net)) == before and net.layers[0].categories == {}
    net.fit(np.abs(TABLE) // 2, Y, epochs=1, verbose=0)
    assert net.layers[0].categories == {1: 2, 3: 2}


@pytest.mark.parametrize("unknown", [-1, -7, 3, 99, 0.5, 2.999, -0.001, 1e30, 2**31, 2**63])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unknown_codes_are_the_last_row(unknown, dtype, isa):
    table = fn.Sequential([fn.Table(categorical={0: 3, 1: 3}, units=2), fn.Dense(1)], inputs=2, seed=0, dtype=dtype)
    shared = fn.Sequential([fn.Embedding(3, units=2), fn.Dense(1)], inputs=2, seed=0, dtype=dtype)
    tables = [table.layers[0].weight(column) for column in range(2)]
    for net, weights in ((table, tables), (shared, [shared.layers[0].weight] * 2)):
        assert not weights[0][-1].any()
        weights[0][-1], weights[1][-1] = [1, 2], [3, 4]
        row = np.concatenate([weights[0][-1], weights[1][1]]).astype(np.float64)
        expected = row @ net.layers[1].weight + net.layers[1].bias
        close(net.predict([unknown, 1])[0], expected, 1e-5)
        assert net.predictor()(np.array([unknown, 1.0], dtype)) == net.predict([unknown, 1])[0]


def test_minus_zero_is_zero():
    net = fn.Sequential([fn.Embedding(3), fn.Dense(1)], inputs=1, seed=0)
    assert net.predict([-0.0]) == net.predict([0.0]) != net.predict([7.0])


def test_codes_that_are_not_finite_are_refused():
    net = fn.Sequential([fn.Embedding(3), fn.Dense(1)], inputs=1, seed=0)
    with pytest.raises(ValueError, match="X"):
        net.predict([np.nan])


def test_only_rows_of_met_categories_are_trained():
    net = fn.Sequential([fn.Embedding(5, units=3), fn.Dense(1)], inputs=1, seed=0)
    before = net.layers[0].weight.copy()
    net.fit(np.array([[1.0], [3.0], [-1.0]]), [1.0, 2.0, 3.0], epochs=1, verbose=0, optimizer="sgd")
    moved = (net.layers[0].weight != before).any(axis=1)
    assert moved.tolist() == [False, True, False, True, False, True]


def test_vectors_start_with_about_unit_length():
    vectors = fn.Sequential([fn.Embedding(4000, units=8), fn.Dense(1)], inputs=1, seed=0).layers[0].weight
    assert (vectors[:-1] ** 2).sum(axis=1).mean() == pytest.approx(1, rel=0.02)
    assert not vectors[-1].any() and np.abs(vectors).max() <= np.sqrt(3 / 8)


# ---- targets ---------------------------------------------------------------------------------------------------------


def pair(outputs=2):
    """Equal networks, one of which scales its targets."""
    layers = lambda: [fn.Dense(6, "tanh"), fn.Dense(outputs)]  # noqa: E731
    scaled = fn.Sequential(layers(), inputs=4, seed=1, dtype="float64", scale_targets=True)
    return scaled, fn.Sequential(layers(), inputs=4, seed=1, dtype="float64")


Z = (X - X.mean(axis=0)) / X.std(axis=0)


@pytest.mark.parametrize("fraction", [None, 0.25])
@pytest.mark.parametrize("loss", ["mse", "mae", "log_cosh", fn.Huber(0.5)])
def test_scaled_targets_are_scaling_by_hand(loss, fraction):
    rows = slice(None) if fraction is None else held_out(1, fraction)
    mean, deviation = Y[rows].mean(axis=0), Y[rows].std(axis=0)
    scaled, plain = pair()
    a = scaled.fit(Z, Y, loss=loss, epochs=4, validation_fraction=fraction, verbose=0).history
    b = plain.fit(Z, (Y - mean) / deviation, loss=loss, epochs=4, validation_fraction=fraction, verbose=0).history
    for name in set(a) - {"seconds"}:
        close(a[name], b[name], 1e-9)
    close(scaled.params, plain.params, 1e-8)
    expected = plain.predict(Z) * deviation + mean
    close(scaled.predict(Z), expected, 1e-9)
    close(scaled.predictor()(Z), expected, 1e-9)
    assert scaled.evaluate(Z, Y)["loss"] == pytest.approx(plain.evaluate(Z, (Y - mean) / deviation)["loss"], rel=1e-9)
    close(scaled.train_step(Z, Y, loss), plain.train_step(Z, (Y - mean) / deviation, loss), 1e-8)
    # It is learned once.
    scaled.fit(Z, Y + deviation, loss=loss, epochs=1, verbose=0)
    plain.fit(Z, (Y + deviation - mean) / deviation, loss=loss, epochs=1, verbose=0)
    close(scaled.predict(Z), plain.predict(Z) * deviation + mean, 1e-7)


def test_metrics_are_in_the_units_of_the_targets():
    net, _ = pair()
    seen = []
    history = net.fit(
        Z, Y, epochs=1, batch_size=None, shuffle=False, verbose=0, validation_data=(Z, Y),
        metrics=["mae", lambda y, output: seen.append((y.copy(), output.copy())) or 0.0],
    ).history  # fmt: skip
    assert (seen[0][0] == Y).all() and history["mae"] == [pytest.approx(np.abs(seen[0][1] - Y).mean())]
    assert history["val_mae"] == [pytest.approx(np.abs(net.predict(Z) - Y).mean())]


def test_several_quantiles_of_one_number_are_scaled_alike():
    scaled, plain = pair(3)
    y, loss = Y[:, 0], fn.Quantile([0.1, 0.5, 0.9])
    a = scaled.fit(Z, y, loss=loss, epochs=4, verbose=0).history
    b = plain.fit(Z, (y - y.mean()) / y.std(), loss=loss, epochs=4, verbose=0).history
    close(a["loss"], b["loss"], 1e-10)
    close(scaled.predict(Z), plain.predict(Z) * y.std() + y.mean(), 1e-9)


@pytest.mark.parametrize(("loss", "outputs", "y"), [
    ("cross_entropy", 2, np.arange(120) % 2), ("focal", 2, np.arange(120) % 2), ("binary_cross_entropy", 2, Y > 0),
    ("hinge", 2, Y > 0), ("poisson", 2, np.abs(Y)), ("gaussian_nll", 2, Y[:, :1]), ("gaussian_nll", 4, Y),
])  # fmt: skip
def test_losses_for_other_targets_are_refused(loss, outputs, y):
    """Scaled, counts would be negative, classes no numbers, and a log variance would be taken for a mean."""
    net, _ = pair(outputs)
    before = everything(net)
    for call in (
        lambda: net.fit(Z, y, loss=loss, verbose=0), lambda: net.train_step(Z, y, loss),
        lambda: net.evaluate(Z, y, loss=loss), lambda: fn.check_gradients(net, Z, y, loss),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"loss '{loss}' cannot go with scale_targets, which is for numbers"):
            call()
    assert everything(net) == before


def test_a_last_layer_that_is_not_linear_is_refused():
    with pytest.raises(ValueError, match="scale_targets needs a last layer that is linear, not softmax"):
        fn.Sequential([fn.Dense(2, "softmax")], inputs=3, scale_targets=True)
    with pytest.raises(TypeError, match="scale_targets must be True or False"):
        fn.Sequential([fn.Dense(2)], scale_targets=1)


def test_a_fit_that_is_refused_has_learned_nothing():
    net = normalized(inputs=4, scale_targets=True)
    before = everything(net)
    for arguments in ({"y": Y[:7]}, {"y": Y, "loss": "mse2"}, {"y": Y, "metrics": ["roc_auc"]}, {"y": Y, "epochs": -1}):
        with pytest.raises(ValueError):
            net.fit(X, arguments.pop("y"), verbose=0, **arguments)
        assert everything(net) == before and not net.layers[0].learned


@pytest.mark.parametrize("code", [1e9, 1e300])
def test_codes_too_large_to_be_counted_are_shown_as_they_are(code):
    net = fn.Sequential([fn.Table(numeric=[1], categorical=[0]), fn.Dense(1)], seed=0)
    with pytest.raises(ValueError, match=r"X is 1e\+(09|300) in column 0: categories are counted from 0"):
        net.fit(np.full((8, 2), code), np.ones(8), epochs=1, verbose=0)
    assert net.layers[0].categories == {}


@pytest.mark.parametrize("columns", [3, "age"])
@pytest.mark.parametrize("argument", ["numeric", "categorical"])
def test_columns_are_a_list_of_numbers(argument, columns):
    with pytest.raises(TypeError, match=f"{argument} must be a list of columns of X, 0, 1, 2 ..., not {columns!r}"):
        fn.Table(**{argument: columns})


@pytest.mark.parametrize("layer", [lambda: fn.Embedding(3), lambda: fn.Table(categorical={0: 3})])
def test_codes_that_are_no_whole_numbers_are_refused_wherever_a_fit_meets_them(layer):
    X, y = np.array([[0.0], [1.0], [2.0]]), np.ones(3)
    for arguments in ((X + 0.37, y), (X, y, (X + 0.37, y))):
        net = fn.Sequential([layer(), fn.Dense(1)], seed=0)
        with pytest.raises(ValueError, match=r"is 0\.37 in row 0, column 0: a categorical column must hold"):
            net.fit(*arguments[:2], validation_data=arguments[2] if len(arguments) > 2 else None, verbose=0)
        assert net.inputs is None


def test_gradients_of_a_frozen_network_cannot_be_checked():
    net = fn.Sequential([fn.Dense(2, trainable=False), fn.Dense(1, learning_rate_factor=0)], inputs=2, seed=0)
    with pytest.raises(ValueError, match="every layer is frozen"):
        fn.check_gradients(net, np.eye(2), np.ones(2))


def test_health_is_that_of_the_weights_a_fit_ends_with(rng, monkeypatch):
    """Early stopping brings others back than the last ones."""
    monkeypatch.setattr(health, "LOOK", 0)  # or so small a fit would go without
    X, y = rng.normal(size=(800, 3)), rng.normal(size=800)
    net = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(1)], seed=0)
    history = net.fit(
        X,
        y,
        epochs=60,
        optimizer=fn.Adam(0.1),
        validation_data=(X[::-1], y),
        verbose=0,
        callbacks=[fn.EarlyStopping(3)],
    )
    rows = min(256, int(health.BUDGET * 3 * 800 * history.epochs / 2))
    assert rows >= 16
    assert history.health.layers[0].saturated == net.health(X[:rows]).layers[0].saturated


# ---- loops of the caller's own ---------------------------------------------------------------------------------------

UNLEARNED = {
    "Normalization (layer 0)": normalized,
    "Table (layer 0)": lambda: fn.Sequential([fn.Table(numeric=[0, 1, 2], categorical={3: 9}), fn.Dense(2)], seed=0),
    "Normalization (layer 0) and scale_targets": lambda: normalized(scale_targets=True),
    "scale_targets": lambda: fn.Sequential([fn.Dense(2)], seed=0, scale_targets=True),
}
CODED = np.column_stack([X[:, :3], np.arange(120) % 9])
LOOPS = {
    "train_step": lambda net, rows: net.train_step(CODED[:rows], Y[:rows], "mse", fn.SGD(1e-12)),
    "forward(training=True)": lambda net, rows: net.forward(CODED[:rows], training=True),
}
each_loop = pytest.mark.parametrize("loop", LOOPS)
each_unlearned = pytest.mark.parametrize("what", UNLEARNED)


@each_loop
@each_unlearned
def test_training_by_hand_with_scales_that_nobody_learned_is_said_once(what, loop):
    net = UNLEARNED[what]()
    with pytest.warns(UserWarning, match="epochs=0") as warned:
        LOOPS[loop](net, 8)
        LOOPS[loop](net, 8)
        LOOPS[loop](net, 9)
        for other in LOOPS.values():
            other(net, 10)
    (said,) = warned
    assert said.filename == __file__
    assert str(said.message).startswith(f"{loop} before the first fit: {what} would learn scales")


@each_loop
@each_unlearned
def test_where_that_warning_is_an_error_nothing_changes(what, loop):
    net = UNLEARNED[what]()
    before = everything(net)
    with warnings.catch_warnings(action="error"):
        for _ in range(2):
            with pytest.raises(UserWarning, match="trains nothing"):
                LOOPS[loop](net, 8)
    assert everything(net) == before


@each_loop
@each_unlearned
@pytest.mark.filterwarnings("error")
def test_scales_that_were_learned_or_written_are_fine(what, loop, tmp_path):
    """What the warning says to do helps; so does a file, and writing into the views."""
    fitted = UNLEARNED[what]()
    with warnings.catch_warnings(action="ignore"):  # of numbers far from unit size
        fitted.fit(CODED, Y, epochs=0, verbose=0)
    fitted.save(tmp_path / "net")
    written = UNLEARNED[what]()
    with warnings.catch_warnings(action="ignore"):
        written.forward(CODED[:8], training=True)
    written._warned_of_unlearned = False
    written._parameters.state[...] = fitted._parameters.state
    for net in (fitted, fn.load(tmp_path / "net"), written):
        LOOPS[loop](net, 8)
