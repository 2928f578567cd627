# SPDX-License-Identifier: BSD-3-Clause
"""Sequential: the meanings of its methods' words. Numbers are proved elsewhere; here, what a call promises."""

import copy
import io
import pickle
from contextlib import redirect_stdout

import numpy as np
import pytest
from snapshot import digest, everything

import fastnn as fn

X = np.random.default_rng(1).normal(size=(100, 4)).astype(np.float32)
LABELS = (np.arange(100) * 7 + 3) % 3
VALUES = np.stack([X[:, 0] * X[:, 1], X.sum(1)], 1)


def classifier(seed=0, last="softmax", **kwargs):
    return fn.Sequential([fn.Dense(7, "tanh"), fn.Dense(3, last)], inputs=4, seed=seed, **kwargs)


def regressor(seed=0, **kwargs):
    return fn.Sequential([fn.Dense(7, "tanh"), fn.Dense(2)], inputs=4, seed=seed, **kwargs)


def fitted(net, y, x=X, **arguments):
    net.fit(x, y, **{"epochs": 3, "batch_size": 16, "verbose": 0} | arguments)
    return net


def bits(net):
    return digest(net.params)


def same_bits(first, second):
    return first.params.tobytes() == second.params.tobytes()


# ---- what it is ------------------------------------------------------------------------------------------------------


def test_parameters_are_one_flat_dense_vector_and_layers_show_it():
    net = classifier()
    assert net.params.shape == (net.n_params,) == (4 * 7 + 7 + 7 * 3 + 3,)
    assert net.params.dtype == np.float32 and net.params.flags.c_contiguous
    assert [layer.weight.shape for layer in net.layers] == [(4, 7), (7, 3)]
    assert [layer.bias.shape for layer in net.layers] == [(7,), (3,)]
    parts = [part.reshape(-1) for layer in net.layers for part in (layer.weight, layer.bias)]
    assert (np.concatenate(parts) == net.params).all()
    net.layers[1].weight[2, 1] = 5
    assert 5 in net.params and net.layers[1].weight.base is not None


def test_writing_changes_the_network():
    net = regressor()
    net.params[...] = 0
    net.layers[-1].bias[...] = [1, 2]
    assert (net.predict(X) == [1, 2]).all()
    net.layers[-1].bias = [3, 4]
    assert (net.predict(X) == [3, 4]).all()
    net.layers[-1].weight[...] = 0.5
    net.layers[0].bias = np.full(7, 100.0)  # tanh: 1
    assert (net.predict(X) == [6.5, 7.5]).all()


def test_an_output_is_the_formula():
    net = regressor(dtype="float64")
    first, last = net.layers
    expected = np.tanh(X @ first.weight + first.bias) @ last.weight + last.bias
    assert np.abs(net.predict(X) - expected).max() < 1e-12


def test_the_width_of_the_input_may_be_left_to_the_data():
    told, untold = classifier(), fn.Sequential([fn.Dense(7, "tanh"), fn.Dense(3, "softmax")], seed=0)
    assert untold.inputs is None and untold.outputs == 3 and "inputs=" not in repr(untold)
    fitted(told, LABELS), fitted(untold, LABELS)
    assert untold.inputs == 4 and same_bits(told, untold)
    by_step = fn.Sequential([fn.Dense(7, "tanh"), fn.Dense(3, "softmax")], seed=0)
    by_step.train_step(X, LABELS)
    by_forward = fn.Sequential([fn.Dense(7, "tanh"), fn.Dense(3, "softmax")], seed=0)
    by_forward.forward(X, training=True)
    assert by_step.inputs == by_forward.inputs == 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_has_the_dtype_of_the_network(dtype):
    net = classifier(dtype=dtype)
    assert {array.dtype.name for array in (
        net.params, net.grads, net.predict(X), net.layers[0].weight, net.layers[0].bias, net.predictor()(X[0]),
        net.forward(X, training=True), net.backward(np.ones((100, 3)))
    )} == {dtype}  # fmt: skip
    assert (net.inputs, net.outputs, net.dtype.name) == (4, 3, dtype)


def test_summary_is_a_table():
    net = fn.Sequential([fn.Dense(256, "relu", name="first"), fn.Dense(4, trainable=False), fn.Activation("softmax")],
                        inputs=784, seed=5)  # fmt: skip
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert net.summary() is None
    lines = printed.getvalue().splitlines()
    assert lines[0].split() == ["layer", "activation", "output", "parameters"]
    assert [line.split() for line in lines[2:]] == [
        ["inputs", "784"],
        ["Dense", "'first'", "relu", "256", "200,960"],
        ["Dense", "linear", "4", "1,028", "(frozen)"],
        ["Activation", "softmax", "4", "0"],
        ["parameters:", "201,988;", "dtype", "float32;", "seed", "5"],
    ]
    assert max(map(len, lines)) < 80


def test_summary_before_the_input_is_known(capsys):
    fn.Sequential([fn.Dense(3)], seed=0).summary()
    printed = capsys.readouterr().out
    assert "?" in printed and "not known" in printed


def test_repr_makes_an_equal_network():
    net = fn.Sequential([fn.Dense(7, "tanh", use_bias=False, name="a"), fn.Dense(3), fn.Activation("softmax")],
                        inputs=4, seed=9, dtype="float64")  # fmt: skip
    names = {"Sequential": fn.Sequential, "Dense": fn.Dense, "Activation": fn.Activation}
    assert same_bits(eval(repr(net), names), net)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_go_on_with_the_same_bits_and_share_nothing(duplicate):
    net = fitted(classifier(), LABELS)
    other = duplicate(net)
    assert same_bits(net, other) and not np.shares_memory(net.params, other.params)
    fitted(net, LABELS), fitted(other, LABELS)
    assert same_bits(net, other)
    unbuilt = duplicate(fn.Sequential([fn.Dense(2, name="n")], seed=4))
    assert unbuilt.inputs is None and unbuilt.seed == 4 and unbuilt.layers[0].name == "n"


# ---- targets and losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "loss"), [
    ("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"), ("linear", "mse"), ("tanh", "mse"),
])  # fmt: skip
def test_the_loss_comes_from_the_last_layer_and_the_first_line_says_so(last, loss, capsys):
    net = classifier(last=last)
    y = LABELS if last == "softmax" else np.eye(3)[LABELS]
    history = net.fit(X, y, epochs=1, verbose=2)
    first_line = capsys.readouterr().out.splitlines()[0]
    assert history.loss == loss and loss in first_line and "by the last layer" in first_line
    again = classifier(last=last)
    again.fit(X, y, loss=loss, epochs=1, verbose=2)
    assert same_bits(net, again)
    assert "by the last layer" not in capsys.readouterr().out
    assert net.evaluate(X, y) == net.evaluate(X, y, loss=loss) == net.evaluate(X, y, loss=fn.losses[loss])


def test_evaluate_takes_the_loss_of_the_training():
    net = fitted(classifier(last="linear"), LABELS, loss="cross_entropy")
    assert net.evaluate(X, LABELS) == net.evaluate(X, LABELS, loss="cross_entropy")


LABEL_KINDS = ("i1", "u1", "<i2", ">i4", "i8", "u8", "f2", "f4", "f8", ">f8", "longdouble")
LABEL_FORMS = [LABELS[:, None], LABELS.tolist(), tuple(LABELS), np.repeat(LABELS, 2)[::2]]


@pytest.mark.parametrize("labels", [*(LABELS.astype(kind) for kind in LABEL_KINDS), *LABEL_FORMS])
def test_labels_may_come_in_any_integral_form(labels):
    expected = fitted(classifier(), LABELS)
    net = fitted(classifier(), labels)
    assert same_bits(net, expected)
    assert net.evaluate(X, labels) == expected.evaluate(X, LABELS)


def test_bools_are_labels():
    two = [fn.Sequential([fn.Dense(2, "softmax")], inputs=4, seed=0) for _ in range(2)]
    fitted(two[0], LABELS > 0), fitted(two[1], (LABELS > 0).astype(int))
    assert same_bits(*two)


def test_rows_of_probabilities_are_labels_too():
    by_label, one_hot = fitted(classifier(), LABELS), fitted(classifier(), np.eye(3)[LABELS])
    assert np.abs(by_label.params - one_hot.params).max() < 1e-6
    soft = np.full((100, 3), 1 / 3)
    net = classifier()
    expected = -np.log(net.predict(X).astype(float)).mean()
    assert net.evaluate(X, soft)["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_vector_of_values_is_a_column():
    one = [fn.Sequential([fn.Dense(1)], inputs=4, seed=0) for _ in range(2)]
    fitted(one[0], VALUES[:, 0]), fitted(one[1], VALUES[:, :1])
    assert same_bits(*one)
    assert one[0].predict(X).shape == (100, 1)


def test_a_linear_last_layer_gives_logits():
    probabilities, logits = (
        fitted(classifier(), LABELS),
        fitted(classifier(last="linear"), LABELS, loss="cross_entropy"),
    )
    assert same_bits(probabilities, logits)
    assert np.abs(fn.activations["softmax"](logits.predict(X)) - probabilities.predict(X)).max() < 1e-6
    assert probabilities.predict(X).sum(1) == pytest.approx(1, abs=1e-6)
    assert logits.evaluate(X, LABELS) == probabilities.evaluate(X, LABELS)
    yes = np.eye(3)[LABELS]
    unit, free = fitted(classifier(last="sigmoid"), yes), classifier(last="linear")
    fitted(free, yes, loss="binary_cross_entropy")
    assert same_bits(unit, free)


def test_losses_are_means_over_outputs_and_weighted_means_over_rows():
    net = regressor(dtype="float64")
    rows = ((net.predict(X) - VALUES) ** 2).mean(1)
    weights = np.arange(100.0)
    assert net.evaluate(X, VALUES)["loss"] == pytest.approx(rows.mean(), rel=1e-12)
    found = net.evaluate(X, VALUES, sample_weight=weights)["loss"]
    assert found == pytest.approx((weights * rows).sum() / weights.sum(), rel=1e-12)
    assert net.train_step(X, VALUES, sample_weight=weights) == pytest.approx(found, rel=1e-12)


def test_history_holds_the_loss_that_each_batch_had():
    net, stepped = regressor(dtype="float64"), regressor(dtype="float64")
    history = net.fit(X, VALUES, epochs=1, batch_size=30, shuffle=False, verbose=0)
    batches = [slice(0, 30), slice(30, 60), slice(60, 90), slice(90, 100)]
    losses = [stepped.train_step(X[rows], VALUES[rows], "mse", "adam") for rows in batches]
    expected = np.average(losses, weights=[30, 30, 30, 10])
    assert history.history["loss"] == [pytest.approx(expected, rel=1e-12)]


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_a_weight_counts_like_repetition():
    often = np.repeat(np.arange(100), 1 + np.arange(100) % 3)
    weighted = fitted(regressor(dtype="float64"), VALUES, sample_weight=1 + np.arange(100) % 3, batch_size=None)
    repeated = fitted(regressor(dtype="float64"), VALUES[often], X[often], batch_size=None)
    assert np.abs(weighted.params - repeated.params).max() < 1e-10


def test_rows_of_weight_zero_might_as_well_not_be_there():
    weights = (np.arange(100) < 60).astype(float)
    weighted = fitted(regressor(), VALUES, sample_weight=weights, batch_size=20, shuffle=False)
    fewer = fitted(regressor(), VALUES[:60], X[:60], batch_size=20, shuffle=False)
    assert same_bits(weighted, fewer)  # the last two batches are skipped: the optimizer makes no step
    assert weighted._state.step == fewer._state.step == 9
    assert weighted.train_step(X, VALUES, sample_weight=np.zeros(100)) == 0
    assert same_bits(weighted, fewer) and weighted._state.step == 9


def test_class_weights_multiply_sample_weights():
    own = np.linspace(0.5, 2, 100)
    per_class = np.array([0.5, 1, 3])  # the label 1 is not mentioned
    by_class = fitted(classifier(), LABELS, sample_weight=own, class_weight={0: 0.5, 2: 3})
    by_row = fitted(classifier(), LABELS, sample_weight=own * per_class[LABELS])
    assert same_bits(by_class, by_row)
    by_number = fitted(classifier(), LABELS, sample_weight=own, class_weight={np.int64(0): 0.5, 2.0: np.float32(3)})
    assert same_bits(by_class, by_number)


def test_balanced_gives_each_class_the_same_say():
    labels = np.where(np.arange(100) < 80, 0, np.where(np.arange(100) < 95, 1, 2))
    balanced = fitted(classifier(), labels, class_weight="balanced")
    explicit = fitted(classifier(), labels, class_weight={0: 100 / (3 * 80), 1: 100 / (3 * 15), 2: 100 / (3 * 5)})
    assert same_bits(balanced, explicit)
    yes = [fn.Sequential([fn.Dense(1, "sigmoid")], inputs=4, seed=0) for _ in range(2)]
    fitted(yes[0], labels == 0, class_weight="balanced")
    fitted(yes[1], labels == 0, class_weight={0: 100 / (2 * 20), 1: 100 / (2 * 80)})
    assert same_bits(*yes)


def test_class_weights_of_soft_rows_go_by_the_largest_entry():
    soft = np.random.default_rng(2).dirichlet([1, 1, 1], 100)
    per_class = np.array([0.5, 1, 3])
    by_class = fitted(classifier(), soft, class_weight=dict(enumerate(per_class)))
    by_row = fitted(classifier(), soft, sample_weight=per_class[soft.argmax(1)])
    assert same_bits(by_class, by_row)


# ---- going on --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("optimizer", ["adam", fn.SGD(0.1, momentum=0.9)])
def test_two_fits_are_one(optimizer, shuffle):
    whole = fitted(classifier(), LABELS, epochs=5, optimizer=optimizer, shuffle=shuffle)
    parts = fitted(classifier(), LABELS, epochs=2, optimizer=optimizer, shuffle=shuffle)
    assert parts.fit(X, LABELS, epochs=3, batch_size=16, optimizer=optimizer, shuffle=shuffle, verbose=0).epochs == 3
    assert same_bits(whole, parts)


def test_another_fit_takes_the_new_hyper_parameters():
    parts, changed = classifier(), classifier()
    fitted(parts, LABELS, optimizer=fn.Adam(0.01), epochs=2, shuffle=False)
    fitted(parts, LABELS, optimizer=fn.Adam(0.02), epochs=1, shuffle=False)

    class Faster(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            if epoch == 1:
                net.optimizer.learning_rate = 0.02

    history = changed.fit(X, LABELS, optimizer=fn.Adam(0.01), epochs=3, batch_size=16, shuffle=False, verbose=0,
                          callbacks=[Faster()])  # fmt: skip
    assert same_bits(parts, changed) and parts._state.step == 21
    assert history.history["learning_rate"] == [0.01, 0.01, 0.02]


def test_another_class_of_optimizer_starts_anew():
    net = fitted(classifier(), LABELS, optimizer="adam")
    fresh = fn.Sequential([fn.Dense(7, "tanh"), fn.Dense(3, "softmax")], inputs=4, seed=0)
    fresh.params[...] = net.params
    for one in (net, fresh):
        fitted(one, LABELS, optimizer=fn.SGD(0.1, 0.9), shuffle=False)
    assert same_bits(net, fresh) and net._state.step == 21
    fitted(net, LABELS, optimizer="adam")
    assert net._state.step == 21  # and Adam has forgotten, too


def test_no_epochs_change_nothing_but_build_the_network():
    net = fn.Sequential([fn.Dense(3, "softmax")], seed=0)
    assert net.fit(X, LABELS, epochs=0, verbose=0).history == {}
    assert same_bits(net, fn.Sequential([fn.Dense(3, "softmax")], inputs=4, seed=0))


def test_the_optimizer_object_belongs_to_the_caller():
    optimizer = fn.Adam(0.01)
    first, second = fitted(classifier(), LABELS, optimizer=optimizer), fitted(classifier(), LABELS, optimizer=optimizer)
    assert same_bits(first, second) and optimizer == fn.Adam(0.01)  # the memory is the network's
    assert first.optimizer is optimizer


# ---- batches, seeds, validation --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "steps"), [(1, 100), (16, 7), (50, 2), (99, 2), (100, 1), (1000, 1), (None, 1)])
def test_steps_in_an_epoch(batch, steps):
    net = fitted(classifier(), LABELS, batch_size=batch, epochs=2)
    assert net._state.step == 2 * steps


def test_full_batches_do_not_depend_on_the_order_of_calls():
    rows = [fitted(regressor(), VALUES, batch_size=size, epochs=2, shuffle=False) for size in (None, 100, 500)]
    assert same_bits(rows[0], rows[1]) and same_bits(rows[0], rows[2])


def test_train_step_is_fit_without_shuffling():
    by_fit, by_step = classifier(), classifier()
    fitted(by_fit, LABELS, shuffle=False, epochs=2, optimizer=fn.Adam(0.01))
    optimizer = fn.Adam(0.01)
    for _ in range(2):
        for first in range(0, 100, 16):
            by_step.train_step(X[first : first + 16], LABELS[first : first + 16], optimizer=optimizer)
    assert same_bits(by_fit, by_step)
    assert by_step.optimizer is optimizer


def test_a_seed_fixes_the_bits_and_another_changes_them():
    assert bits(fitted(classifier(3), LABELS)) == bits(fitted(classifier(3), LABELS))
    assert bits(classifier(3)) != bits(classifier(4))
    orders = [classifier(3), classifier(3)]
    orders[1].seed = 4  # the same start, another order of rows
    fitted(orders[0], LABELS), fitted(orders[1], LABELS)
    assert bits(orders[0]) != bits(orders[1])


def test_without_a_seed_one_is_drawn_and_can_be_used_again(tmp_path):
    net = fn.Sequential([fn.Dense(3, "softmax")], inputs=4)
    assert net.seed != fn.Sequential([fn.Dense(3, "softmax")], inputs=4).seed
    assert same_bits(net, fn.Sequential([fn.Dense(3, "softmax")], inputs=4, seed=net.seed))
    net.save(tmp_path / "net.fnn")
    assert fn.load(tmp_path / "net.fnn").seed == net.seed
    largest = fn.Sequential([fn.Dense(3)], inputs=4, seed=2**64 - 1)
    assert largest.seed == 2**64 - 1 and np.isfinite(largest.params).all()


def test_the_numpy_generator_of_the_caller_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    fitted(classifier(None), LABELS, validation_fraction=0.2)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_validation_data_are_measured_after_each_epoch():
    held_out = (X[:30], LABELS[:30], np.arange(30.0))
    seen = []

    class Look(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            seen.append(net.evaluate(*held_out[:2], metrics=["accuracy"], sample_weight=held_out[2]))

    history = classifier().fit(X[30:], LABELS[30:], epochs=3, metrics=["accuracy"], validation_data=held_out,
                               callbacks=[Look()], verbose=0)  # fmt: skip
    assert history.history["val_loss"] == [look["loss"] for look in seen]
    assert history.history["val_accuracy"] == [look["accuracy"] for look in seen]


class Rows:
    """A metric that notes which rows it was asked about: a column of y carries their numbers."""

    __name__ = "rows"

    def __init__(self):
        self.asked = []

    def __call__(self, y, output):
        self.asked.append(y[:, -1].astype(int).tolist())
        return 0.0


def split_of(net, **arguments):
    rows = Rows()
    y = np.stack([np.zeros(100), np.arange(100.0)], 1)
    net.fit(X, y, epochs=1, metrics=[rows], validation_fraction=0.2, verbose=0, **arguments)
    return rows.asked


def test_a_validation_fraction_is_drawn_by_the_seed():
    trained, held_out = split_of(regressor())
    assert len(held_out) == 20 and sorted(trained + held_out) == list(range(100))
    assert held_out != list(range(80, 100))
    assert split_of(regressor(), shuffle=False)[1] == split_of(regressor(), threads=2)[1] == held_out
    assert split_of(regressor(seed=1))[1] != held_out


def test_held_out_rows_teach_nothing():
    trained, held_out = split_of(regressor())
    y = VALUES.copy()
    y[held_out] = 1e6
    clean, spoilt = fitted(regressor(), VALUES, validation_fraction=0.2), regressor()
    fitted(spoilt, y, validation_fraction=0.2)
    assert same_bits(clean, spoilt)
    inputs = X.copy()
    inputs[held_out] = 1e3
    assert same_bits(clean, fitted(regressor(), VALUES, inputs, validation_fraction=0.2))
    alone = regressor()
    alone.fit(X[sorted(trained)], VALUES[sorted(trained)], epochs=3, batch_size=16, verbose=0)
    assert same_bits(clean, alone)


@pytest.mark.parametrize("form", ["labels", "one-hot", "binary"])
def test_a_validation_fraction_holds_every_class_in_proportion(form):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [10, 30, 60]))
    counted = []

    def classes(y, output):
        found = y.argmax(1) if form == "one-hot" else y[:, 0].astype(int)
        counted.append(np.bincount(found, minlength=3).tolist())
        return 0.0

    if form == "binary":
        net, y = fn.Sequential([fn.Dense(1, "sigmoid")], inputs=4, seed=0), labels == 2
    else:
        net, y = classifier(), labels if form == "labels" else np.eye(3)[labels]
    net.fit(X, y, epochs=1, metrics=[classes], validation_fraction=0.2, verbose=0)
    expected = [8, 12] if form == "binary" else [2, 6, 12]
    assert counted[1][: len(expected)] == expected


def test_weights_go_along_with_the_validation_fraction():
    weights = np.linspace(0.1, 3, 100)
    _, held_out = split_of(regressor())
    net = regressor()
    history = net.fit(X, VALUES, epochs=1, validation_fraction=0.2, sample_weight=weights, verbose=0)
    expected = net.evaluate(X[sorted(held_out)], VALUES[sorted(held_out)], sample_weight=weights[sorted(held_out)])
    assert history.history["val_loss"] == [pytest.approx(expected["loss"], rel=1e-6)]


# ---- divergence ------------------------------------------------------------------------------------------------------


def test_divergence_stops_and_says_where():
    net = regressor()
    start = net.params.copy()
    with pytest.raises(fn.DivergenceError, match=r"learning rate 1e\+30.*start of this epoch") as raised:
        net.fit(X, VALUES, optimizer=fn.SGD(1e30), epochs=3, batch_size=16, verbose=0)
    assert (raised.value.epoch, raised.value.learning_rate) == (0, 1e30) and raised.value.batch in (0, 1)
    assert f"batch {raised.value.batch + 1} of 7 in epoch 1 of 3" in str(raised.value)
    assert (net.params == start).all() and net.history.history == {}
    assert isinstance(raised.value, ArithmeticError)
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.epoch, again.batch) == (str(raised.value), 0, raised.value.batch)
    fitted(net, VALUES, optimizer=fn.SGD(0.1))  # and it can be trained
    assert np.isfinite(net.params).all()


def test_divergence_goes_back_to_the_last_completed_epoch():
    kept = []

    class TooFast(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            kept.append(net.params.copy())
            if epoch == 1:
                net.optimizer.learning_rate = 1e38

    net = regressor()
    with pytest.raises(fn.DivergenceError) as raised:
        net.fit(X, VALUES, optimizer=fn.SGD(0.01), epochs=5, batch_size=16, callbacks=[TooFast()], verbose=0)
    assert raised.value.epoch == 2 and len(kept) == 2
    assert (net.params == kept[-1]).all() and np.isfinite(net.predict(X)).all()
    assert net.history.epochs == 2 and set(map(len, net.history.history.values())) == {2}


def test_a_diverging_train_step_says_what_happened_to_the_batch():
    net = regressor()
    net.params[:] = 1e30
    before = net.params.copy()
    with pytest.raises(fn.DivergenceError, match=r"loss.*not applied") as raised:
        net.train_step(X, VALUES, optimizer=fn.SGD(0.1))
    assert raised.value.epoch is None and raised.value.batch is None and raised.value.learning_rate == 0.1
    assert (net.params == before).all()
    net = regressor()
    net.forward(X, training=True)
    net.backward(np.full((100, 2), 1e30))
    with pytest.raises(fn.DivergenceError, match="learning rate 1e"):
        fn.SGD(1e30).step(net)


# ---- the caller's own loop -------------------------------------------------------------------------------------------


def test_forward_is_predict():
    net = classifier()
    assert (net.forward(X, training=True) == net.predict(X)).all()
    assert (net.forward(X) == net.predict(X)).all()


def test_backward_overwrites_or_adds():
    net = regressor(dtype="float64")
    net.forward(X, training=True)
    dx = net.backward(np.ones((100, 2)))
    once = net.grads.copy()
    assert dx.shape == X.shape and once.any()
    assert (net.backward(np.ones((100, 2))) == dx).all() and (net.grads == once).all()
    assert net.backward(np.ones((100, 2)), accumulate=True, input_gradient=False) is None
    assert np.allclose(net.grads, 2 * once, rtol=1e-14)
    assert (net.layers[-1].bias.shape) == (2,) and once[-2:] == pytest.approx([100, 100])  # sums, not means


def test_an_own_loop_learns_like_train_step():
    own, native = regressor(dtype="float64"), regressor(dtype="float64")
    optimizer = fn.SGD(0.1, momentum=0.9)
    for _ in range(5):
        output = own.forward(X, training=True)
        own.backward(2 * (output - VALUES) / output.size)
        optimizer.step(own)
        native.train_step(X, VALUES, "mse", fn.SGD(0.1, momentum=0.9))
    assert np.abs(own.params - native.params).max() < 1e-12


def test_gradients_may_be_changed_before_the_step():
    net = regressor()
    start = net.params.copy()
    net.forward(X, training=True)
    net.backward(np.ones((100, 2)))
    net.grads[...] = 1
    fn.SGD(0.5).step(net)
    assert (net.params == start - np.float32(0.5)).all()


def test_soft_update_moves_towards():
    target, net = regressor(0), regressor(1)
    expected = 0.75 * target.params.astype(float) + 0.25 * net.params
    before = net.params.copy()
    target.soft_update(net, tau=0.25)
    assert np.abs(target.params - expected).max() < 1e-6
    target.soft_update(net, tau=0)
    assert np.abs(target.params - expected).max() < 1e-6
    target.soft_update(net, 1)
    assert same_bits(target, net) and (net.params == before).all()
    net.soft_update(net, 0.5)
    assert np.abs(net.params - before).max() < 1e-6


# ---- the predictor ---------------------------------------------------------------------------------------------------


def test_a_predictor_is_a_frozen_copy():
    net = classifier()
    f = net.predictor()
    expected = net.predict(X)
    fitted(net, LABELS)
    assert (f(X) == expected).all() and (net.predict(X) != expected).any()
    assert (f.inputs, f.outputs) == (4, 3) and "4 inputs" in repr(f)
    del net
    assert (f(X[0]) == expected[0]).all()


@pytest.mark.parametrize("units", [1, 3, 64, 200])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_predictor_gives_the_bits_of_predict(units, dtype):
    net = fn.Sequential([fn.Dense(units, "relu"), fn.Dense(130, "softmax")], inputs=4, seed=0, dtype=dtype)
    f, expected = net.predictor(), net.predict(X)
    out = np.empty(130, dtype)
    assert all((f(row) == wanted).all() for row, wanted in zip(X, expected, strict=True))
    assert f(X[3].astype(dtype), out=out) is out and (out == expected[3]).all()
    assert f(X[3].astype(dtype), out) is out
    assert (f(X) == expected).all() and f(X[:1]).shape == (1, 130)
    many = np.tile(X, (400, 1))
    assert (f(many) == np.tile(expected, (400, 1))).all()  # beyond what one thread does
    into = np.empty((100, 130), dtype)
    assert f(X, out=into) is into and (into == expected).all()
    index = f.argmax(X[3])
    assert type(index) is int and index == expected[3].argmax()
    assert (f.argmax(X) == expected.argmax(1)).all()
    assert f.argmax(X[3].tolist()) == index
    assert (f(list(X[3])) == expected[3]).all()


def test_a_predictor_may_write_over_its_input():
    net = fn.Sequential([fn.Dense(4, "tanh")], inputs=4, seed=0)
    f, x = net.predictor(), X.copy()
    assert f(x[0], out=x[0]) is not None
    assert (x[0] == net.predict(X)[0]).all()
    block = np.concatenate([X.reshape(-1), np.zeros(8, np.float32)])
    f(block[:400].reshape(100, 4), out=block[8:].reshape(100, 4))
    assert (block[8:].reshape(100, 4) == net.predict(X)).all()


def test_argmax_is_that_of_numpy():
    net = fn.Sequential([fn.Dense(3, use_bias=False)], inputs=1, seed=0)
    f, one = net.predictor, np.ones(1, np.float32)
    for row in ([1, 2, 2], [2, 2, 1], [-1, np.nan, 5], [0, 0, 0], [-np.inf, -np.inf, -np.inf]):
        net.layers[0].weight = [row]
        assert f().argmax(one) == np.argmax(row)


# ---- predictions -----------------------------------------------------------------------------------------------------


def test_rows_alone_and_in_any_batch_are_the_same():
    net = fn.Sequential([fn.Dense(33, "tanh"), fn.Dense(5)], inputs=4, seed=0)
    expected = net.predict(X)
    assert all((net.predict(row) == wanted).all() for row, wanted in zip(X, expected, strict=True))
    assert (net.predict(X[::-1]) == expected[::-1]).all()
    assert all((net.predict(X[:rows], threads=3) == expected[:rows]).all() for rows in (1, 2, 15, 16, 17, 99))


def test_nothing_is_changed_by_looking(tmp_path):
    net = fitted(classifier(), LABELS)
    net.evaluate(X, LABELS)  # what is allocated once
    before = everything(net)
    net.predict(X), net.evaluate(X, LABELS, metrics=["accuracy"]), net.predictor()(X), net.save(tmp_path / "net")
    repr(net), copy.deepcopy(net), fn.check_gradients(net, X[:8], LABELS[:8], tol=1e-6)
    assert everything(net) == before


def test_arguments_are_not_written_to():
    inputs, labels, weights = X.copy(), LABELS.copy(), np.ones(100)
    for array in (inputs, labels, weights):
        array.flags.writeable = False
    net = classifier()
    net.fit(inputs, labels, sample_weight=weights, epochs=1, verbose=0, validation_data=(inputs, labels, weights))
    net.train_step(inputs, labels, sample_weight=weights)
    net.predict(inputs), net.evaluate(inputs, labels, sample_weight=weights), net.predictor()(inputs)


def test_results_are_new_arrays():
    net = classifier()
    first = net.predict(X)
    kept = first.copy()
    net.predict(-X), net.forward(-X, training=True)
    assert ((first == kept).all() and first.flags.owndata) or first.base is not None
    first[...] = 0
    assert (net.predict(X) == kept).all()
