# SPDX-License-Identifier: BSD-3-Clause
"""Metrics: each as scikit-learn has it, accuracy by its definition, and what a caller's own function is given."""

import copy
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from snapshot import everything

import fastnn as fn
from fastnn.metrics import resolve_metrics
from fastnn.outcomes import Outcome, Task


def asked(name):
    """The metric of a name, as ``fit`` finds it."""
    [metric] = resolve_metrics(name)
    return metric.row


X = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)
Y = np.random.default_rng(2).integers(0, 3, 200)
WEIGHTS = np.random.default_rng(3).uniform(0, 2, 200)


def classifier(last="softmax", units=3, dtype="float32"):
    return fn.Sequential([fn.Dense(5, "tanh"), fn.Dense(units, last)], inputs=4, seed=0, dtype=dtype)


def accuracy(net, y, loss=None, **arguments):
    return net.evaluate(X, y, loss=loss, metrics=["accuracy"], **arguments)["accuracy"]


@pytest.mark.parametrize("form", [lambda y: y, lambda y: y[:, None], lambda y: y.astype(float), lambda y: np.eye(3)[y]])
def test_accuracy_of_classes_is_the_largest_output(form):
    net = classifier()
    right = net.predict(X).argmax(1) == Y
    assert accuracy(net, form(Y)) == pytest.approx(right.mean(), rel=1e-12)
    weighted = accuracy(net, form(Y), sample_weight=WEIGHTS)
    assert weighted == pytest.approx((right * WEIGHTS).sum() / WEIGHTS.sum(), rel=1e-12)


def test_accuracy_of_soft_rows_goes_by_their_largest_entry():
    soft = np.random.default_rng(4).dirichlet([1, 1, 1], 200)
    net = classifier()
    assert accuracy(net, soft) == pytest.approx((net.predict(X).argmax(1) == soft.argmax(1)).mean(), rel=1e-12)


def test_accuracy_of_one_output_is_above_a_half():
    yes = (Y == 1).astype(float)
    unit, logit = classifier("sigmoid", 1), classifier("linear", 1)
    logit.params[...] = unit.params
    logit.layers[-1].bias = unit.layers[-1].bias = [0.2]
    right = (unit.predict(X)[:, 0] > 0.5) == (yes > 0.5)
    assert 0 < right.mean() < 1 and ((logit.predict(X)[:, 0] > 0) == (unit.predict(X)[:, 0] > 0.5)).all()
    for y in (yes, yes[:, None], yes.astype(bool), np.where(yes, 0.9, 0.1)):
        assert accuracy(unit, y) == accuracy(logit, y, "binary_cross_entropy") == pytest.approx(right.mean())
    above_a_half = (logit.predict(X)[:, 0] > 0.5) == (yes > 0.5)  # with mse an output is no logit
    assert accuracy(logit, yes, "mse") == pytest.approx(above_a_half.mean())


def test_accuracy_while_training_is_of_the_weights_at_each_batch():
    stepped, net = classifier(), classifier()
    right = []
    for first in range(0, 200, 64):
        batch = slice(first, first + 64)
        right.extend(stepped.predict(X[batch]).argmax(1) == Y[batch])
        stepped.train_step(X[batch], Y[batch])
    history = net.fit(X, Y, epochs=1, batch_size=64, shuffle=False, metrics=["accuracy"], verbose=0)
    assert history.history["accuracy"] == [pytest.approx(np.mean(right))]
    assert (net.params == stepped.params).all()


@pytest.mark.parametrize("arguments", [{}, {"shuffle": False}, {"validation_fraction": 0.2}, {"threads": 2}])
def test_metrics_do_not_change_training(arguments):
    nets = [classifier(), classifier()]
    for net, metrics in zip(nets, ([], ["accuracy", lambda y, output: 0.0]), strict=True):
        net.fit(X, Y, epochs=2, metrics=metrics, verbose=0, **arguments)
    assert (nets[0].params == nets[1].params).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("y", "shape"), [(Y, (200, 1)), (Y[:, None], (200, 1)), (np.eye(3)[Y], (200, 3))])
def test_a_function_is_given_rows_in_the_dtype_of_the_network(dtype, y, shape):
    given = []

    def look(y, output):
        given.append((y.shape, y.dtype, output.shape, output.dtype, y.copy(), output.copy()))
        return 7

    net = classifier(dtype=dtype)
    history = net.fit(X, y, epochs=1, metrics=[look], validation_data=(X, y), verbose=0)
    assert history.history["look"] == [7.0] == history.history["val_look"]
    assert net.evaluate(X, y, metrics=look)["look"] == 7.0
    assert len(given) == 3
    for y_shape, y_dtype, output_shape, output_dtype, seen, _ in given:
        assert (y_shape, output_shape) == (shape, (200, 3)) and y_dtype == output_dtype == dtype
        assert (seen == np.asarray(y).reshape(shape)).all()
    assert (given[-1][-1] == net.predict(X)).all()  # what predict returns


def test_metrics_see_what_predict_returns_with_logits_too():
    net, given = classifier("linear"), []
    net.evaluate(X, Y, loss="cross_entropy", metrics=[lambda y, output: given.append(output.copy()) or 0.0])
    assert (given[0] == net.predict(X)).all()
    net = classifier("sigmoid")
    net.evaluate(X, np.eye(3)[Y], metrics=[lambda y, output: given.append(output.copy()) or 0.0])
    assert (given[1] == net.predict(X)).all()


def test_names():
    class Share:
        def __call__(self, y, output):
            return np.float32(0.5)

    def zero(y, output):
        return 0

    found = classifier().evaluate(X, Y, metrics=[Share(), zero, "accuracy"])
    assert list(found) == ["loss", "Share", "zero", "accuracy"] and type(found["Share"]) is float
    for name in ("loss", "seconds", "val_zero"):
        zero.__name__ = name
        with pytest.raises(ValueError, match=f"'{name}'"):
            classifier().evaluate(X, Y, metrics=[zero])
    assert list(classifier().evaluate(X, Y, metrics=("accuracy",))) == ["loss", "accuracy"]
    assert list(classifier().evaluate(X, Y, metrics="accuracy")) == ["loss", "accuracy"]


def test_an_error_in_a_metric_is_the_callers():
    def fail(y, output):
        raise LookupError("on purpose")

    net = classifier()
    with pytest.raises(LookupError, match="on purpose"):
        net.fit(X, Y, epochs=2, metrics=[fail], verbose=0)
    assert np.isfinite(net.params).all()
    net.fit(X, Y, epochs=1, verbose=0)


# ---- as scikit-learn has them ---------------------------------------------------------------------------------------

CLASSES = 4


def drawn(seed, rows=200, columns=CLASSES, ties=False, dtype="float64"):
    """y, logits and weights: classes, yes or no for several questions, or numbers."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, columns, rows)
    questions = rng.integers(0, 2, (rows, columns))
    logits = rng.normal(size=(rows, columns)) + 1.5 * np.eye(columns)[labels] + questions
    if ties:
        logits = np.round(logits)  # many equal outputs, within rows and within columns
    return labels, questions, logits.astype(dtype), rng.uniform(0.5, 2, rows) * (rng.random(rows) > 0.2)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def theirs(name, *arguments, **more):
    with warnings.catch_warnings():  # they warn where a share is undefined; ours is documented
        warnings.simplefilter("ignore")
        return getattr(sklearn_metrics, name)(*arguments, **more)


SEEDS = range(4)
WEIGHTED = pytest.mark.parametrize("weighted", [False, True])
TIED = pytest.mark.parametrize("ties", [False, True])
SHARES = [("precision", fn.Precision), ("recall", fn.Recall), ("f1", fn.F1)]


def close(found, expected):
    assert type(found) is float
    assert found == pytest.approx(expected, abs=1e-9, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", SEEDS)
@WEIGHTED
@pytest.mark.parametrize("absent", [(), (3,), (0, 2)])
@pytest.mark.parametrize("average", [None, "macro", "micro", "weighted"])
@pytest.mark.parametrize(("name", "make"), SHARES)
def test_shares_of_classes(seed, weighted, absent, average, name, make):
    labels, _, logits, weights = drawn(seed)
    kept = ~np.isin(labels, absent)
    labels, logits, w = labels[kept], logits[kept], weights[kept] if weighted else None
    if absent:
        logits[:, absent[0]] = -9  # not said either; what other absent classes are said to be counts as 0
    expected = theirs(f"{name}_score", labels, logits.argmax(1), average=average or "macro", sample_weight=w)
    close(make(average)(labels, softmax(logits), w), expected)
    close(make(average)(labels, logits, w, logits=True), expected)


@pytest.mark.parametrize("seed", SEEDS)
@WEIGHTED
@pytest.mark.parametrize("average", [None, "macro", "micro", "weighted"])
@pytest.mark.parametrize(("name", "make"), SHARES)
def test_shares_of_yes_or_no(seed, weighted, average, name, make):
    _, questions, logits, weights = drawn(seed)
    w = weights if weighted else None
    questions[:, 2] = 0  # a question nobody says yes to
    logits[:, 3] = -1  # one nobody is said to
    several = theirs(f"{name}_score", questions, logits > 0, average=average or "macro", sample_weight=w)
    close(make(average)(questions, sigmoid(logits), w), several)
    close(make(average)(questions, logits, w, logits=True), several)
    for column in range(CLASSES):
        y, z = questions[:, column], logits[:, column]
        one = theirs(f"{name}_score", y, z > 0, average=average or "binary", sample_weight=w)
        close(make(average)(y, sigmoid(z), w), one)
        close(make(average)(y, z, w, logits=True), one)


@pytest.mark.parametrize("seed", SEEDS)
@WEIGHTED
@TIED
def test_accuracies_of_classes(seed, weighted, ties):
    labels, questions, logits, weights = drawn(seed, ties=ties)
    w = weights if weighted else None
    close(
        fn.metrics["accuracy"](labels, logits, w), theirs("accuracy_score", labels, logits.argmax(1), sample_weight=w)
    )
    for k in (1, 2, 3):
        close(fn.TopK(k)(labels, logits, w), theirs("top_k_accuracy_score", labels, logits, k=k, sample_weight=w))
    balanced = fn.metrics["balanced_accuracy"]
    for kept in (labels >= 0, labels != 1):
        y, z, weight = labels[kept], logits[kept], None if w is None else w[kept]
        close(balanced(y, z, weight), theirs("balanced_accuracy_score", y, z.argmax(1), sample_weight=weight))
    by_question = [
        theirs("balanced_accuracy_score", questions[:, j], logits[:, j] > 0, sample_weight=w) for j in range(CLASSES)
    ]
    for j in range(CLASSES):
        close(balanced(questions[:, j], logits[:, j], w, logits=True), by_question[j])
    close(balanced(questions, logits, w, logits=True), np.mean(by_question))
    close(balanced(questions[:, 0] * 0, logits[:, 0], w, logits=True),
          theirs("balanced_accuracy_score", questions[:, 0] * 0, logits[:, 0] > 0, sample_weight=w))  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
@WEIGHTED
@TIED
def test_roc_auc(seed, weighted, ties):
    labels, questions, logits, weights = drawn(seed, ties=ties)
    w, auc = weights if weighted else None, fn.metrics["roc_auc"]
    p = softmax(logits)
    close(auc(labels, p, w), theirs("roc_auc_score", labels, p, multi_class="ovr", sample_weight=w))
    close(auc(labels, logits, w, logits=True), auc(labels, p, w))
    close(auc(questions, sigmoid(logits), w), theirs("roc_auc_score", questions, logits, sample_weight=w))
    for j in range(CLASSES):
        one = theirs("roc_auc_score", questions[:, j], logits[:, j], sample_weight=w)
        close(auc(questions[:, j], sigmoid(logits[:, j]), w), one)
        close(auc(questions[:, j], logits[:, j], w, logits=True), one)


@pytest.mark.parametrize("seed", SEEDS)
@WEIGHTED
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_loss(seed, weighted, dtype):
    labels, questions, logits, weights = drawn(seed)
    w, loss = weights if weighted else None, fn.metrics["log_loss"]
    p, q = softmax(logits).astype(dtype), sigmoid(logits).astype(dtype)
    p[:5], q[:5] = np.eye(CLASSES)[0], questions[:5]  # certain, also of what is not
    q[:2] = 1 - q[:2]
    names = range(CLASSES)
    assert loss(labels, p, w) == pytest.approx(theirs("log_loss", labels, p, labels=names, sample_weight=w), abs=1e-6)
    by_question = [theirs("log_loss", questions[:, j], q[:, j], labels=[0, 1], sample_weight=w) for j in names]
    for j in names:
        assert loss(questions[:, j], q[:, j], w) == pytest.approx(by_question[j], abs=1e-6)
    assert loss(questions, q, w) == pytest.approx(np.mean(by_question), abs=1e-6)
    close(loss(labels, logits, w, logits=True), loss(labels, softmax(logits), w))
    close(loss(questions, logits, w, logits=True), loss(questions, sigmoid(logits), w))
    assert loss(labels, logits * 1e300, logits=True) > 1e290  # finite, and not cut off
    assert loss([1.0, 0.0], np.array([-800.0, 800.0]), logits=True) == 800


THEIR_NAMES = {
    "mae": "mean_absolute_error",
    "mse": "mean_squared_error",
    "rmse": "root_mean_squared_error",
    "r2": "r2_score",
    "mape": "mean_absolute_percentage_error",
}


@pytest.mark.parametrize("seed", SEEDS)
@WEIGHTED
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers(seed, weighted, columns, dtype):
    rng = np.random.default_rng(seed)
    y = (10 + rng.normal(size=(150, columns)) * [[1, 5, 0.1][:columns]][0]).astype(dtype)
    z = (y + rng.normal(size=y.shape)).astype(dtype)
    w = rng.uniform(0.5, 2, 150) * (rng.random(150) > 0.2) if weighted else None
    y64, z64 = y.astype(float), z.astype(float)
    for name, their_name in THEIR_NAMES.items():
        close(fn.metrics[name](y, z, w), theirs(their_name, y64, z64, sample_weight=w))
        y_zero = np.where(np.arange(150)[:, None] == 3, 0, y64)
        close(fn.metrics[name](y_zero, z, w), theirs(their_name, y_zero, z64, sample_weight=w))


def test_numbers_that_are_many_are_taken_piece_by_piece(monkeypatch):
    rng = np.random.default_rng(0)
    y, z, w = rng.normal(size=(1000, 3)), rng.normal(size=(1000, 3)), rng.uniform(0, 1, 1000)
    whole = {name: fn.metrics[name](y, z, w) for name, row in fn.metrics.items() if row.needs == "numbers"}
    loss = fn.metrics["log_loss"](y > 0, z, w, logits=True), fn.TopK(2)((y[:, 0] > 0) + 0, z, w)
    monkeypatch.setattr("fastnn.outcomes.ELEMENTS_AT_A_TIME", 100)
    for name, value in whole.items():
        close(fn.metrics[name](y, z, w), value)
    close(fn.metrics["log_loss"](y > 0, z, w, logits=True), loss[0])
    close(fn.TopK(2)((y[:, 0] > 0) + 0, z, w), loss[1])
    assert len(list(Outcome(y, z, w, Task("numbers")).pieces())) == 31


# ---- where they are undefined ---------------------------------------------------------------------------------------


def test_what_is_undefined():
    auc, r2 = fn.metrics["roc_auc"], fn.metrics["r2"]
    assert np.isnan(auc([1, 1, 1], [0.1, 0.2, 0.3])) and np.isnan(auc([0, 0], [[0.5, 0.5], [0.1, 0.9]]))
    some = np.array([[1, 0], [1, 1]]), np.array([[0.3, 0.2], [0.1, 0.6]])
    assert auc(*some) == auc(some[0][:, 1], some[1][:, 1]) == 1.0  # the other question has no no
    assert auc([0, 1, 1], [[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.6, 0.4, 0.0]]) == pytest.approx((0.5 + 1.0) / 2)
    assert np.isnan(auc([0, 1], [0.1, np.nan]))
    assert np.isnan(r2([1.0], [1.0])) and np.isnan(r2([1.0, 2.0], [1.0, 2.0], [1, 0]))
    assert r2([0.1] * 3, [0.1] * 3) == 1 and r2([0.1] * 3, [0.1, 0.1, 0.2]) == 0
    assert r2(np.full((3, 2), [0.1, 1]), [[0.1, 1], [0.1, 1], [0.1, 2]]) == 0.5
    for name, row in fn.metrics.items():
        y, output = ([0, 1], np.ones((2, 6))) if name == "top_5" else ([0, 1], [0.0, 1.0])
        assert np.isnan(row(y, output, sample_weight=[0, 0])), name
    assert fn.F1()([0, 0], [0.1, 0.2]) == fn.Precision()([1, 1], [0.1, 0.2]) == fn.Recall()([0, 0], [0.9, 0.2]) == 0
    assert fn.F1("weighted")(np.zeros((2, 2)), np.ones((2, 2))) == 0


@pytest.mark.parametrize("name", [*fn.metrics, "top_3", "f1_macro", "precision_micro", "recall_weighted"])
def test_rows_of_weight_0_do_not_count(name):
    labels, questions, logits, weights = drawn(5, columns=8)
    row = asked(name)
    for y in (labels, questions) if row.needs not in ("classes", "numbers") else (labels,):
        y, output = (questions, logits) if row.needs == "numbers" else (y, logits)
        kept = weights > 0
        assert 10 < kept.sum() < 190
        assert row(y, output, weights) == row(y[kept], output[kept], weights[kept])
        close(row(y, output, 7 * weights), row(y, output, weights))
        doubled = np.repeat(np.arange(200), np.arange(200) % 3)
        close(row(y[doubled], output[doubled]), row(y, output, np.arange(200.0) % 3))


# ---- in a network ---------------------------------------------------------------------------------------------------

QUESTIONS = np.random.default_rng(5).integers(0, 2, (200, 3))
NUMBERS = np.random.default_rng(6).normal(size=(200, 3))
# last activation, outputs, loss, y, whether a decision is yes, and what is compared with numbers
TASKS = {
    "classes": ("softmax", 3, None, Y),
    "classes, logits": ("linear", 3, "cross_entropy", Y),
    "classes, rows": ("softmax", 3, None, np.eye(3)[Y]),
    "focal": ("linear", 3, "focal", Y),
    "questions": ("sigmoid", 3, None, QUESTIONS),
    "questions, logits": ("linear", 3, "binary_cross_entropy", QUESTIONS),
    "yes or no": ("sigmoid", 1, None, Y == 1),
    "yes or no, logits": ("linear", 1, "binary_cross_entropy", Y == 1),
    "hinge": ("linear", 1, "hinge", np.where(Y == 1, 1, -1)),
    "numbers": ("linear", 3, "mse", NUMBERS),
    "0 and 1": ("tanh", 1, "mae", Y == 1),
    "one-hot": ("linear", 3, "mse", 2 * np.eye(3)[Y] - 1),
    "counts": ("linear", 3, "poisson", Y[:, None] + [0, 1, 2]),
    "normal": ("linear", 6, "gaussian_nll", NUMBERS),
    "quantiles": ("linear", 3, fn.Quantile([0.1, 0.5, 0.9]), NUMBERS[:, 0]),
    "quantiles without the median": ("linear", 2, fn.Quantile([0.1, 0.9]), NUMBERS[:, 0]),
}
NUMERIC = {"mae", "mse", "rmse", "r2", "mape"}
DECIDED = {"accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc"}
FITTING = {
    "classes": DECIDED | {"top_2", "log_loss"}, "classes, logits": DECIDED | {"top_2", "log_loss"},
    "classes, rows": DECIDED | {"top_2", "log_loss"}, "focal": DECIDED | {"top_2", "log_loss"},
    "questions": DECIDED | NUMERIC | {"log_loss"}, "questions, logits": DECIDED | NUMERIC | {"log_loss"},
    "yes or no": DECIDED | NUMERIC | {"log_loss"}, "yes or no, logits": DECIDED | NUMERIC | {"log_loss"},
    "hinge": DECIDED, "numbers": NUMERIC, "0 and 1": DECIDED | NUMERIC, "one-hot": NUMERIC | {"accuracy"},
    "counts": NUMERIC, "normal": NUMERIC, "quantiles": NUMERIC, "quantiles without the median": set(),
}  # fmt: skip
NAMES = [*(name for name in fn.metrics if name != "top_5"), "top_2"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_a_metric_fits_a_task_or_says_so_before_anything_changes(task, name):
    last, units, loss, y = TASKS[task]
    net = classifier(last, units, "float64")
    before = everything(net)
    arguments = {"loss": loss, "metrics": [name], "verbose": 0}
    if name not in FITTING[task]:
        for more in ({}, {"validation_fraction": 0.2}, {"validation_data": (X, y)}):
            with pytest.raises(ValueError, match=rf"metric '{name}' (needs|would always)"):
                net.fit(X, y, **arguments, **more)
        with pytest.raises(ValueError, match=f"metric '{name}'"):
            net.evaluate(X, y, loss, [name])
        assert everything(net) == before
        return
    history = net.fit(X, y, epochs=2, validation_fraction=0.2, sample_weight=WEIGHTS, **arguments)
    assert np.isfinite(history.history[name] + history.history[f"val_{name}"]).all()
    found = net.evaluate(X, y, metrics=[name], sample_weight=WEIGHTS)[name]
    output = net.predict(X)
    truth = y.argmax(1) if task in ("classes, rows", "one-hot") and name not in NUMERIC else y
    if name in NUMERIC:
        turn = {"counts": np.exp, "normal": lambda z: z[:, 0::2], "quantiles": lambda z: z[:, 1],
                "questions, logits": sigmoid, "yes or no, logits": sigmoid}.get(task, lambda z: z)  # fmt: skip
        close(found, asked(name)(np.asarray(truth, float), turn(output), WEIGHTS))
    else:
        if task == "hinge":
            truth = y > 0
        logits = "logits" in task or task in ("hinge", "focal")
        close(found, asked(name)(truth, output, WEIGHTS, logits=logits))


def test_validation_data_must_fit_as_well():
    net = classifier("tanh", 1)
    before = everything(net)
    with pytest.raises(ValueError, match=r"metric 'f1' needs classes, but loss 'mse' has numbers, and y holds 0.5"):
        net.fit(X, Y == 1, loss="mse", metrics=["f1"], validation_data=(X, np.full(200, 0.5)), verbose=0)
    assert everything(net) == before
    assert net.fit(X, Y == 1, loss="mse", metrics=["f1"], epochs=1, verbose=0).epochs == 1


def test_metrics_while_training_count_rows_by_their_weight():
    """Sample and class weights multiplied, of the outputs each row had in its batch."""
    measured = [*NAMES[:6], "top_2", "f1_micro"]
    one_batch = {"batch_size": None, "epochs": 1, "verbose": 0, "shuffle": False}
    net = classifier()
    output = net.predict(X)
    weights = WEIGHTS * np.array([1.0, 5.0, 0.0])[Y]
    history = net.fit(X, Y, metrics=measured, sample_weight=WEIGHTS,
                      class_weight={1: 5.0, 2: 0.0}, **one_batch).history  # fmt: skip
    for name in measured:
        close(history[name][0], asked(name)(Y, output, weights))


def test_metrics_of_an_epoch_that_ends_among_rows_of_weight_0():
    class Stop(fn.Callback):
        def on_batch_end(self, net, step, logs):
            net.stop_training = True

    history = classifier().fit(X, Y, batch_size=10, shuffle=False, sample_weight=np.arange(200) > 150, verbose=0,
                               metrics=["accuracy", "f1", "roc_auc"], callbacks=[Stop()]).history  # fmt: skip
    assert all(np.isnan(history[name]).all() for name in ("accuracy", "f1", "roc_auc"))


# ---- names and objects ----------------------------------------------------------------------------------------------


def test_names_and_objects_of_metrics():
    found = classifier().evaluate(X, Y, metrics=["f1", fn.F1("micro"), "f1_weighted", fn.TopK(1), "top_2", "accuracy"])
    assert list(found) == ["loss", "f1", "f1_micro", "f1_weighted", "top_1", "top_2", "accuracy"]
    assert found["top_1"] == found["accuracy"] == pytest.approx(found["f1_micro"])
    assert fn.F1("micro") == fn.F1(average="micro") != fn.F1() and hash(fn.TopK(3)) == hash(asked("top_3"))
    assert classifier().evaluate(X, Y, metrics=fn.TopK(2)).keys() == {"loss", "top_2"}
    for metric in (*fn.metrics.values(), fn.TopK(3), fn.Recall("weighted")):
        for again in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
            assert again == metric and type(again) is type(metric) and repr(again) == repr(metric)


@pytest.mark.parametrize(("metrics", "error", "message"), [
    ("f2_macro", ValueError, "unknown metric 'f2_macro'"), ("top_k", ValueError, "unknown metric 'top_k'"),
    ("top_0", ValueError, "unknown metric"), ("f1_mean", ValueError, "unknown metric"), (7, TypeError, "metrics must"),
    ("top_3", ValueError, "would always be 1 with 3 outputs"), ([fn.F1], TypeError, r"the class F1: write F1\(\)"),
    (["f1", fn.F1()], ValueError, "the metric name 'f1' is taken"), ([7], TypeError, "a name or a function"),
])  # fmt: skip
def test_what_is_no_metric(metrics, error, message):
    net = classifier()
    before = everything(net)
    with pytest.raises(error, match=message):
        net.fit(X, Y, metrics=metrics, verbose=0)
    with pytest.raises(error, match=message):
        net.evaluate(X, Y, metrics=metrics)
    assert everything(net) == before


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: fn.F1("mean"), ValueError, "average must be None or one of 'macro', 'micro', 'weighted', not 'mean'"),
    (lambda: fn.TopK(0), ValueError, "k must be at least 1"), (lambda: fn.TopK(1.5), TypeError, "k must be an integer"),
    (lambda: fn.TopK(2)([0, 1], np.eye(2)), ValueError, "'top_2' would always be 1"),
    (lambda: fn.metrics["mae"]([1.0], [1.0, 2.0]), ValueError, r"y has shape \(1,\), but output has 2 rows"),
    (lambda: fn.metrics["mae"]([1.0], [[1.0, 2.0]]), ValueError, r"y has shape \(1,\), but output has 2 columns"),
    (lambda: fn.metrics["f1"]([0, 2], np.eye(2)), ValueError, r"class numbers in 0\.\.1"),
    (lambda: fn.metrics["f1"]([0, 1], np.eye(2), [1]), ValueError, r"sample_weight has shape \(1,\), but \(2,\)"),
])  # fmt: skip
def test_what_metrics_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_every_metric_is_in_the_documentation():
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()
    for name in fn.metrics:
        assert f"| `{name}` |" in page, f"docs/metrics.md has no line of {name!r}"
