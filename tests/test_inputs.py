# SPDX-License-Identifier: BSD-3-Clause
"""Bad input: which error, which words, and a network that is bit for bit as it was."""

import numpy as np
import pytest
from snapshot import everything

import fastnn as fn

ROWS, INPUTS, CLASSES = 40, 4, 3
X = np.random.default_rng(0).normal(size=(ROWS, INPUTS))
LABELS = np.arange(ROWS) % CLASSES
VALUES = X[:, :1]
BINARY = (X[:, 0] > 0).astype(float)


def with_one(array, row, column, value):
    changed = np.array(array, dtype=float)
    changed[row, column] = value
    return changed


NAN, INFINITE, TOO_LARGE = (with_one(X, 3, 2, value) for value in (np.nan, -np.inf, 1e300))


class Sparse:
    """As far as fastnn looks: a SciPy sparse matrix."""

    nnz = 1

    def toarray(self):
        raise AssertionError("made dense without being asked")


def classifier(dtype="float32"):
    return fn.Sequential([fn.Dense(5, "relu"), fn.Dense(CLASSES, "softmax")], inputs=INPUTS, seed=0, dtype=dtype)


def regressor():
    return fn.Sequential([fn.Dense(5, "tanh"), fn.Dense(1)], inputs=INPUTS, seed=0)


def yes_or_no():
    return fn.Sequential([fn.Dense(1, "sigmoid")], inputs=INPUTS, seed=0)


def refused(net, call, error, *words):
    """The call raises this error, with these words in its message, and nothing has changed."""
    before = everything(net)
    with pytest.raises(error) as raised:
        call()
    assert type(raised.value) is error
    for word in words:
        assert word in str(raised.value), f"{word!r} is not in {str(raised.value)!r}"
    assert everything(net) == before


def trained(net, y):
    """Not as it was made: so that a silent reset would be seen."""
    net.fit(X, y, epochs=2, optimizer="adam", verbose=0)
    net.forward(X[:5], training=True)
    net.backward(np.ones((5, net.outputs)))
    return net


# ---- X and y ---------------------------------------------------------------------------------------------------------

BAD_X = {
    "one dimension": (X[:, 0], ValueError, ["X", "(40,)", "(rows, 4)", "reshape(-1, 1)"]),
    "three dimensions": (X[None], ValueError, ["X", "(1, 40, 4)", "(rows, 4)", "reshape(len(X), -1)"]),
    "no dimension": (3.0, ValueError, ["X", "()", "(rows, 4)"]),
    "too few columns": (X[:, :3], ValueError, ["X", "3 columns", "4 inputs"]),
    "too many columns": (np.ones((ROWS, 5)), ValueError, ["X", "5 columns", "4 inputs"]),
    "one column, which would broadcast": (X[:, :1], ValueError, ["X", "1 column", "4 inputs"]),
    "no columns": (X[:, :0], ValueError, ["X", "(40, 0)", "no columns"]),
    "transposed": (X.T, ValueError, ["X", "40 columns", "4 inputs"]),
    "text": ([["a"] * INPUTS] * ROWS, TypeError, ["X", "<U1", "real numbers"]),
    "objects": (X.astype(object), TypeError, ["X", "object", "astype(float)"]),
    "complex": (X + 1j, TypeError, ["X", "complex128", "real numbers"]),
    "dates": (X.astype("M8[s]"), TypeError, ["X", "datetime64", "real numbers"]),
    "durations": (X.astype("m8[s]"), TypeError, ["X", "timedelta64", "real numbers"]),
    "records": (np.zeros(ROWS, [("a", "f4")]), TypeError, ["X", "'a'", "real numbers"]),
    "nothing": (None, TypeError, ["X", "real numbers"]),
    "a generator": ((row for row in X), TypeError, ["X", "generator"]),
    "rows of several lengths": ([[1, 2], [3]], ValueError, ["X", "rows differ in length"]),
    "a sparse matrix": (Sparse(), TypeError, ["X", "sparse", "toarray()"]),
    "missing values": (np.ma.masked_less(X, 0), ValueError, ["X", "missing"]),
    "NaN": (NAN, ValueError, ["X", "nan", "row 3", "column 2", "finite"]),
    "infinite": (INFINITE, ValueError, ["X", "-inf", "row 3", "column 2", "finite"]),
    "infinite as float32": (TOO_LARGE, ValueError, ["X", "1e+300", "float32", "row 3", "column 2"]),
    "infinite as float16": (NAN.astype(np.float16), ValueError, ["X", "nan", "row 3", "column 2"]),
}
NO_ROWS = {"no rows": (X[:0], ValueError, ["X", "(0, 4)", "no rows"])}

BAD_LABELS = {
    "fewer than rows": (LABELS[:-1], ValueError, ["y", "(39,)", "40 rows"]),
    "a row of labels": (LABELS[None], ValueError, ["y", "(1, 40)", "40 rows"]),
    "one label, which would broadcast": (LABELS[:1], ValueError, ["y", "(1,)", "40 rows"]),
    "a number": (1, ValueError, ["y", "()", "(40,) or (40, 3)"]),
    "two columns": (np.ones((ROWS, 2)), ValueError, ["y", "(40, 2)", "cross_entropy", "3 outputs", "(40, 3)"]),
    "three dimensions": (np.ones((ROWS, 1, 1)), ValueError, ["y", "(40, 1, 1)", "(40,)", "(40, 3)"]),
    "too large": (LABELS + 1, ValueError, ["y[2]", "3", "0..2"]),
    "negative": (LABELS - 1, ValueError, ["y[0]", "-1", "0..2"]),
    "far too large": (np.full(ROWS, 2**40), ValueError, ["y[0]", str(2**40), "0..2"]),
    "too large by 2^32": (LABELS + 2**32, ValueError, ["y[0]", str(2**32), "0..2"]),
    "too large by 2^63": (LABELS.astype(np.uint64) + 2**63, ValueError, ["y[0]", str(2**63), "0..2"]),
    "not integral": (LABELS + 0.5, ValueError, ["y[0]", "0.5", "whole numbers", "0..2", "encoded"]),
    "text": (np.array(list("abcd") * 10), TypeError, ["y", "<U1", "encoded", "fastnn.sklearn"]),
    "objects": (np.array(["cat", "dog"] * 20, object), TypeError, ["y", "object", "encoded"]),
    "nothing": (None, TypeError, ["y"]),
    "NaN": (np.where(LABELS == 2, np.nan, LABELS), ValueError, ["y[2] is nan", "finite"]),
    "probabilities that do not sum to 1": (np.full((ROWS, 3), 0.9), ValueError, ["y", "2.7", "row 0", "sum to 1"]),
    "probabilities beyond 1": (np.full((ROWS, 3), 2.0), ValueError, ["y", "2.0", "row 0, column 0", "0..1"]),
    "negative probabilities": (np.full((ROWS, 3), -1.0), ValueError, ["y", "-1.0", "row 0, column 0", "0..1"]),
}

BAD_VALUES = {
    "a row, which would broadcast": (VALUES.T, ValueError, ["y", "(1, 40)", "40 rows"]),
    "a column too many": (X[:, :2], ValueError, ["y", "(40, 2)", "mse", "1 output", "(40, 1)"]),
    "one row too many": (np.ones(ROWS + 1), ValueError, ["y", "(41,)", "40 rows"]),
    "three dimensions": (np.ones((ROWS, 1, 1)), ValueError, ["y", "(40, 1, 1)", "(40, 1)"]),
    "text": (["a"] * ROWS, TypeError, ["y", "<U1", "encoded"]),
    "infinite": (with_one(VALUES, 7, 0, np.inf), ValueError, ["y", "inf", "row 7", "finite"]),
    "infinite as float32": (with_one(VALUES, 7, 0, 1e300), ValueError, ["y", "1e+300", "float32", "row 7"]),
}


def cases(table):
    return pytest.mark.parametrize(("bad", "error", "words"), table.values(), ids=table.keys())


@cases(BAD_X | NO_ROWS)
def test_x_of_fit(bad, error, words):
    net = trained(classifier(), LABELS)
    y = LABELS[:0] if words[-1] == "no rows" else LABELS
    refused(net, lambda: net.fit(bad, y, verbose=0), error, *words)


@cases(BAD_X | NO_ROWS)
def test_x_of_train_step_even_when_the_steps_before_were_fine(bad, error, words):
    net = trained(classifier(), LABELS)
    optimizer = fn.SGD(0.1)
    for _ in range(3):
        net.train_step(X, LABELS, optimizer=optimizer)
    y = LABELS[:0] if words[-1] == "no rows" else LABELS
    refused(net, lambda: net.train_step(bad, y, optimizer=optimizer), error, *words)


@cases({name: case for name, case in BAD_X.items() if name not in ("one dimension", "a generator")})
@pytest.mark.parametrize("method", ["predict", "evaluate", "forward", "predictor"])
def test_x_of_the_others(method, bad, error, words):
    net = trained(classifier(), LABELS)
    calls = {
        "predict": lambda: net.predict(bad),
        "evaluate": lambda: net.evaluate(bad, LABELS),
        "forward": lambda: net.forward(bad, training=True),
        "predictor": lambda: net.predictor()(bad),
    }
    if method == "predictor":
        if "finite" in words or "float32" in words or "nan" in words:
            pytest.skip("a predictor does not look at the values")
        words = [word.replace("X", "x") for word in words]
    refused(net, calls[method], error, *words)


def test_a_vector_is_one_row_where_one_row_makes_sense():
    net = classifier()
    assert net.predict(X[0]).shape == (1, CLASSES)
    assert net.forward(X[0]).shape == (1, CLASSES)
    refused(net, lambda: net.predict(np.ones(5)), ValueError, "X", "(5,)", "one row", "4 numbers")
    refused(net, lambda: net.predictor()(np.ones(5)), ValueError, "x", "(5,)", "one row", "4 numbers")
    refused(net, lambda: net.predictor().argmax(np.ones(5)), ValueError, "x", "(5,)", "one row", "4 numbers")
    refused(net, lambda: net.forward(X[0], training=True), ValueError, "X", "(4,)", "reshape(1, -1)")
    refused(net, lambda: net.evaluate(X[0], LABELS[:1]), ValueError, "X", "(4,)", "reshape(1, -1)")


def test_no_rows_are_fine_to_predict():
    net = classifier("float64")
    assert net.predict(X[:0]).shape == (0, CLASSES) == net.predictor()(X[:0]).shape
    assert net.predict(X[:0]).dtype == np.float64
    assert net.predictor().argmax(X[:0]).shape == (0,)


@cases(BAD_LABELS)
@pytest.mark.parametrize("method", ["fit", "train_step", "evaluate"])
def test_labels(method, bad, error, words):
    net = trained(classifier(), LABELS)
    verbose = {"verbose": 0} if method == "fit" else {}
    refused(net, lambda: getattr(net, method)(X, bad, **verbose), error, *words)


@cases(BAD_VALUES)
@pytest.mark.parametrize("method", ["fit", "train_step", "evaluate"])
def test_values(method, bad, error, words):
    net = trained(regressor(), VALUES)
    verbose = {"verbose": 0} if method == "fit" else {}
    refused(net, lambda: getattr(net, method)(X, bad, **verbose), error, *words)


@pytest.mark.parametrize("bad", [-0.5, 1.5, 2, np.float16(2)])
def test_binary_targets_lie_in_0_to_1(bad):
    net = trained(yes_or_no(), BINARY)
    y = BINARY.astype(getattr(bad, "dtype", float)).copy()
    y[6] = bad
    refused(net, lambda: net.fit(X, y, verbose=0), ValueError, "y", str(bad), "row 6", "binary_cross_entropy", "0..1")
    refused(net, lambda: net.train_step(X, y), ValueError, "y", "row 6", "0..1")


def test_float64_networks_take_what_float32_cannot_hold():
    net = fn.Sequential([fn.Dense(1)], inputs=INPUTS, seed=0, dtype="float64")
    assert np.isfinite(net.predict(with_one(X, 3, 2, 1e200))).all()
    refused(net, lambda: net.predict(INFINITE), ValueError, "X", "-inf", "row 3", "column 2")


def test_what_was_masked_but_is_there_is_fine():
    whole = np.ma.masked_array(X, np.zeros(X.shape, bool))
    assert (classifier().predict(whole) == classifier().predict(X)).all()


def test_a_network_without_weights_stays_without():
    net = fn.Sequential([fn.Dense(CLASSES, "softmax")], seed=0)
    refused(net, lambda: net.fit(NAN, LABELS, verbose=0), ValueError, "X", "nan")
    refused(net, lambda: net.fit(X, LABELS + 1, verbose=0), ValueError, "y[2]")
    refused(net, lambda: net.train_step(X, LABELS + 1), ValueError, "y[2]")
    refused(net, lambda: net.fit(X[:, 0], LABELS, verbose=0), ValueError, "X", "(40,)", "(rows, inputs)")
    assert net.inputs is None
    for call in (
        lambda: net.predict(X),
        lambda: net.evaluate(X, LABELS),
        net.predictor,
        lambda: net.params,
        lambda: net.grads,
        lambda: net.n_params,
        lambda: net.save("never.fnn"),
        lambda: fn.SGD().step(net),
    ):
        refused(net, call, RuntimeError, "no weights", "inputs=")  # fmt: skip
    with pytest.raises(AttributeError, match="inputs="):
        _ = net.layers[0].weight
    net.fit(X[:, :2], LABELS, epochs=1, verbose=0)
    assert net.inputs == 2


# ---- the other arguments of fit --------------------------------------------------------------------------------------

FIT = {
    "loss: a misspelt name": ({"loss": "crossentropy"}, ValueError, ["loss", "'crossentropy'", "'cross_entropy'"]),
    "loss: a number": ({"loss": 3}, TypeError, ["loss", "int"]),
    "loss: of another last layer": ({"loss": "binary_cross_entropy"}, ValueError, ["'sigmoid'", "'softmax'"]),
    "loss: of another kind of target": ({"loss": "mse"}, ValueError, ["y", "(40,)", "mse", "(40, 3)"]),
    "optimizer: a misspelt name": ({"optimizer": "adamm"}, ValueError, ["optimizer", "'adamm'", "'adam'"]),
    "optimizer: capital letters": ({"optimizer": "ADAM"}, ValueError, ["optimizer", "'ADAM'", "'adam'"]),
    "optimizer: the class": ({"optimizer": fn.Adam}, TypeError, ["optimizer", "Adam()"]),
    "optimizer: nothing": ({"optimizer": None}, TypeError, ["optimizer", "NoneType"]),
    "metrics: a misspelt name": ({"metrics": ["acuracy"]}, ValueError, ["metric", "'acuracy'", "'accuracy'"]),
    "metrics: a number": ({"metrics": 3}, TypeError, ["metrics", "int"]),
    "metrics: a list of numbers": ({"metrics": [3]}, TypeError, ["metric", "int"]),
    "metrics: twice": ({"metrics": ["accuracy", "accuracy"]}, ValueError, ["metric", "'accuracy'"]),
    "callbacks: a number": ({"callbacks": [3]}, TypeError, ["callbacks", "3", "on_epoch_end"]),
    "callbacks: the class": ({"callbacks": [fn.Callback]}, TypeError, ["callbacks", "Callback", "on_epoch_end"]),
    "epochs: negative": ({"epochs": -1}, ValueError, ["epochs", "-1"]),
    "epochs: a float": ({"epochs": 2.0}, TypeError, ["epochs", "integer", "float"]),
    "epochs: a bool": ({"epochs": True}, TypeError, ["epochs", "integer", "bool"]),
    "epochs: False": ({"epochs": False}, TypeError, ["epochs", "integer", "bool"]),
    "epochs: nothing": ({"epochs": None}, TypeError, ["epochs", "integer", "NoneType"]),
    "epochs: text": ({"epochs": "3"}, TypeError, ["epochs", "integer", "str"]),
    "epochs: an array": ({"epochs": np.array([1, 2])}, TypeError, ["epochs", "integer", "ndarray"]),
    "batch_size: zero": ({"batch_size": 0}, ValueError, ["batch_size", "at least 1", "0"]),
    "batch_size: negative": ({"batch_size": -5}, ValueError, ["batch_size", "at least 1", "-5"]),
    "batch_size: a float": ({"batch_size": 32.0}, TypeError, ["batch_size", "integer", "float"]),
    "batch_size: a bool": ({"batch_size": True}, TypeError, ["batch_size", "integer", "bool"]),
    "threads: zero": ({"threads": 0}, ValueError, ["threads", "1..1024", "0"]),
    "threads: negative": ({"threads": -1}, ValueError, ["threads", "1..1024", "-1"]),
    "threads: too many": ({"threads": 10**6}, ValueError, ["threads", "1..1024", "1000000"]),
    "threads: a float": ({"threads": 1.5}, TypeError, ["threads", "integer", "float"]),
    "threads: a bool": ({"threads": True}, TypeError, ["threads", "integer", "bool"]),
    "shuffle: text": ({"shuffle": "no"}, TypeError, ["shuffle", "True or False", "'no'"]),
    "verbose: too large": ({"verbose": 3}, ValueError, ["verbose", "0, 1 or 2", "3"]),
    "verbose: text": ({"verbose": "auto"}, ValueError, ["verbose", "0, 1 or 2", "'auto'"]),
    "sample_weight: too few": ({"sample_weight": np.ones(39)}, ValueError, ["sample_weight", "(39,)", "(40,)"]),
    "sample_weight: a column": ({"sample_weight": np.ones((40, 1))}, ValueError, ["sample_weight", "(40, 1)"]),
    "sample_weight: a number": ({"sample_weight": 2.0}, ValueError, ["sample_weight", "()", "(40,)"]),
    "sample_weight: text": ({"sample_weight": "balanced"}, TypeError, ["sample_weight", "real numbers"]),
    "sample_weight: negative": ({"sample_weight": -np.ones(40)}, ValueError, ["sample_weight[0]", "-1.0"]),
    "sample_weight: NaN": ({"sample_weight": np.full(40, np.nan)}, ValueError, ["sample_weight[0] is nan", "finite"]),
    "sample_weight: all zero": ({"sample_weight": np.zeros(40)}, ValueError, ["sample_weight", "0 everywhere"]),
    "class_weight: another word": ({"class_weight": "blanced"}, ValueError, ["class_weight", "'balanced'"]),
    "class_weight: a list": ({"class_weight": [1, 2, 3]}, TypeError, ["class_weight", "dict", "list"]),
    "class_weight: no such label": ({"class_weight": {5: 1}}, ValueError, ["class_weight", "5", "0..2"]),
    "class_weight: half a label": ({"class_weight": {0.5: 1}}, ValueError, ["class_weight", "0.5", "0..2"]),
    "class_weight: NaN as label": ({"class_weight": {np.nan: 1}}, ValueError, ["class_weight", "nan", "0..2"]),
    "class_weight: text as label": ({"class_weight": {"a": 1}}, ValueError, ["class_weight", "'a'", "0..2"]),
    "class_weight: None as label": ({"class_weight": {None: 1}}, ValueError, ["class_weight", "None", "0..2"]),
    "class_weight: negative": ({"class_weight": {0: -1}}, ValueError, ["class_weight[0]", "-1"]),
    "class_weight: infinite": ({"class_weight": {0: np.inf}}, ValueError, ["class_weight[0]", "inf"]),
    "class_weight: text": ({"class_weight": {0: "x"}}, TypeError, ["class_weight[0]", "number", "str"]),
    "class_weight: all zero": ({"class_weight": {0: 0, 1: 0, 2: 0}}, ValueError, ["class_weight", "0 everywhere"]),
    "validation_data: X alone": ({"validation_data": X}, TypeError, ["validation_data", "(X, y)"]),
    "validation_data: one array": ({"validation_data": (X,)}, TypeError, ["validation_data", "(X, y)"]),
    "validation_data: too few y": (
        {"validation_data": (X, LABELS[:3])},
        ValueError,
        ["validation_data[1]", "(3,)", "validation_data[0]", "40 rows"],
    ),
    "validation_data: columns": (
        {"validation_data": (X[:, :2], LABELS)},
        ValueError,
        ["validation_data[0]", "2 columns", "4 inputs"],
    ),
    "validation_data: NaN": (
        {"validation_data": (NAN, LABELS)},
        ValueError,
        ["validation_data[0]", "nan", "row 3", "column 2"],
    ),
    "validation_data: labels": (
        {"validation_data": (X, LABELS + 1)},
        ValueError,
        ["validation_data[1][2]", "3", "0..2"],
    ),
    "validation_data: weights": (
        {"validation_data": (X, LABELS, np.ones(3))},
        ValueError,
        ["validation_data[2]", "(3,)", "(40,)"],
    ),
    "validation_data: no rows": (
        {"validation_data": (X[:0], LABELS[:0])},
        ValueError,
        ["validation_data[0]", "(0, 4)", "no rows"],
    ),
    "validation_fraction: 1": ({"validation_fraction": 1.0}, ValueError, ["validation_fraction", "1.0"]),
    "validation_fraction: 0": ({"validation_fraction": 0}, ValueError, ["validation_fraction", "0"]),
    "validation_fraction: nearly all": ({"validation_fraction": 0.999}, ValueError, ["validation_fraction=0.999"]),
    "validation_fraction: text": ({"validation_fraction": "a"}, TypeError, ["validation_fraction", "str"]),
    "validation_fraction: a bool": ({"validation_fraction": True}, TypeError, ["validation_fraction", "bool"]),
    "validation: both": (
        {"validation_fraction": 0.2, "validation_data": (X, LABELS)},
        ValueError,
        ["validation_data", "validation_fraction", "both"],
    ),
    "a misspelt argument": ({"batchsize": 3}, TypeError, ["batchsize"]),
}


@pytest.mark.parametrize(("arguments", "error", "words"), FIT.values(), ids=FIT.keys())
def test_arguments_of_fit(arguments, error, words):
    net = trained(classifier(), LABELS)
    refused(net, lambda: net.fit(X, LABELS, **{"epochs": 1, "verbose": 0} | arguments), error, *words)


@pytest.mark.parametrize("name", ["loss", "optimizer", "threads", "sample_weight"])
def test_arguments_of_train_step(name):
    net = trained(classifier(), LABELS)
    for label, (arguments, error, words) in FIT.items():
        if not label.startswith(f"{name}:") or arguments[name] is None:
            continue
        if label.endswith("all zero"):  # a step without weight is skipped
            assert net.train_step(X, LABELS, **arguments) == 0
        else:
            refused(net, lambda: net.train_step(X, LABELS, **arguments), error, *words)  # noqa: B023


def test_class_weights_need_labels():
    net = trained(regressor(), VALUES)
    words = ["class_weight", "labels", "'mse'", "sample_weight"]
    refused(net, lambda: net.fit(X, VALUES, class_weight="balanced", verbose=0), ValueError, *words)
    net = fn.Sequential([fn.Dense(2, "sigmoid")], inputs=INPUTS, seed=0)
    words = ["class_weight", "labels", "'binary_cross_entropy'", "2 outputs"]
    refused(net, lambda: net.fit(X, X[:, :2] > 0, class_weight={0: 2}, verbose=0), ValueError, *words)


def test_cross_entropy_needs_two_outputs():
    net = regressor()
    words = ["cross_entropy", "at least 2 outputs", "'sigmoid'", "'binary_cross_entropy'"]
    refused(net, lambda: net.fit(X, BINARY, loss="cross_entropy", verbose=0), ValueError, *words)


def test_a_metric_that_gives_no_number_is_named_before_it_can_do_harm():
    net = classifier()

    def several(y, output):
        return output

    with pytest.raises(TypeError, match=r"'several'.*number.*ndarray"):
        net.evaluate(X, LABELS, metrics=[several])


# ---- the other methods -----------------------------------------------------------------------------------------------


def test_backward_wants_a_forward_and_its_shape():
    net = classifier()
    refused(net, lambda: net.backward(np.ones((ROWS, CLASSES))), RuntimeError, "backward", "forward", "training=True")
    net.forward(X, training=True)
    words = ["doutput", "(40, 2)", "(40, 3)"]
    refused(net, lambda: net.backward(np.ones((ROWS, 2))), ValueError, *words)
    refused(net, lambda: net.backward(np.ones(ROWS)), ValueError, "doutput", "(40,)", "(40, 3)")
    refused(net, lambda: net.backward(np.ones((1, CLASSES))), ValueError, "doutput", "(1, 3)", "(40, 3)")
    refused(net, lambda: net.backward("x"), TypeError, "doutput", "real numbers")
    net.backward(np.ones((ROWS, CLASSES)))  # the errors have not used up the forward pass
    fn.SGD(0.1).step(net)
    refused(net, lambda: net.backward(np.ones((ROWS, CLASSES))), RuntimeError, "backward", "forward")


def test_soft_update_wants_an_equal_network():
    net = classifier()
    refused(net, lambda: net.soft_update(classifier(), 2), ValueError, "tau", "0..1", "2")
    refused(net, lambda: net.soft_update(classifier(), float("nan")), ValueError, "tau", "0..1", "nan")
    refused(net, lambda: net.soft_update(classifier(), "x"), TypeError, "tau", "number", "str")
    refused(net, lambda: net.soft_update(regressor(), 0.5), ValueError, "soft_update", "same layers")
    refused(net, lambda: net.soft_update(classifier("float64"), 0.5), ValueError, "soft_update", "dtype")
    refused(net, lambda: net.soft_update("x", 0.5), TypeError, "net", "Sequential", "str")
    refused(net, lambda: net.soft_update(fn.Sequential([fn.Dense(1)]), 0.5), RuntimeError, "no weights")


def test_step_wants_a_network():
    with pytest.raises(TypeError, match=r"net.*Sequential.*str"):
        fn.SGD().step("x")


def test_evaluate_and_predict_check_their_arguments():
    net = trained(classifier(), LABELS)
    refused(net, lambda: net.predict(X, threads=0), ValueError, "threads", "1..1024", "0")
    refused(net, lambda: net.evaluate(X, LABELS, threads="2"), TypeError, "threads", "integer", "str")
    refused(net, lambda: net.evaluate(X, LABELS, loss="mes"), ValueError, "loss", "'mes'", "'mse'")
    refused(net, lambda: net.evaluate(X, LABELS, metrics=["acc"]), ValueError, "metric", "'acc'", "'accuracy'")
    refused(net, lambda: net.evaluate(X, LABELS, sample_weight=np.ones(3)), ValueError, "sample_weight", "(3,)")
    refused(net, lambda: net.evaluate(X, LABELS, sample_weight=np.zeros(40)), ValueError, "sample_weight", "0")


def test_out_of_a_predictor():
    f = classifier().predictor()
    x = np.zeros(INPUTS, np.float32)
    read_only = np.zeros(CLASSES, np.float32)
    read_only.flags.writeable = False
    for out, error, words in [
        (np.zeros(CLASSES), TypeError, ["out", "float32"]),
        ([0, 0, 0], TypeError, ["out", "float32"]),
        (np.zeros(CLASSES, ">f4" if np.little_endian else "<f4"), ValueError, ["out", "byte order"]),
        (np.zeros(CLASSES + 1, np.float32), ValueError, ["out", "(4,)", "(3,)"]),
        (np.zeros((1, CLASSES), np.float32), ValueError, ["out", "(1, 3)", "(3,)"]),
        (np.zeros(2 * CLASSES, np.float32)[::2], ValueError, ["out", "C-contiguous"]),
        (read_only, ValueError, ["out", "writeable"]),
    ]:
        with pytest.raises(error) as raised:
            f(x, out=out)
        assert all(word in str(raised.value) for word in words), raised.value
    for arguments, named in [
        ((), {}),
        ((x, None, None), {}),
        ((x,), {"to": x}),
        ((), {"out": x}),
        ((x, x), {"out": x}),
    ]:
        with pytest.raises(TypeError, match=r"f\(x, out=y\)"):
            f(*arguments, **named)
    with pytest.raises(TypeError):
        fn.Predictor()


# ---- making layers, networks, optimizers -----------------------------------------------------------------------------

shared_layer = fn.Dense(2)
a_network = fn.Sequential([shared_layer], inputs=1, seed=0)

MADE = {
    "units: zero": (lambda: fn.Dense(0), ValueError, ["units", "at least 1", "0"]),
    "units: a float": (lambda: fn.Dense(3.0), TypeError, ["units", "integer", "float"]),
    "units: a bool": (lambda: fn.Dense(True), TypeError, ["units", "integer", "bool"]),
    "units: text": (lambda: fn.Dense("relu"), TypeError, ["units", "integer", "str"]),
    "activation: misspelt": (lambda: fn.Dense(3, "rleu"), ValueError, ["activation", "'rleu'", "'relu'"]),
    "activation: a number": (lambda: fn.Dense(3, 5), TypeError, ["activation", "int"]),
    "activation: far off": (lambda: fn.Dense(3, "xyzzy"), ValueError, ["activation", "'xyzzy'", "Known: linear, relu"]),
    "activation layer: misspelt": (lambda: fn.Activation("softmx"), ValueError, ["'softmx'", "'softmax'"]),
    "initializer: misspelt": (
        lambda: fn.Dense(3, initializer="he_unifrom"),
        ValueError,
        ["initializer", "'he_unifrom'", "'he_uniform'"],
    ),
    "initializer: a number": (lambda: fn.Dense(3, initializer=5), TypeError, ["initializer", "int"]),
    "use_bias: text": (lambda: fn.Dense(3, use_bias="no"), TypeError, ["use_bias", "True or False", "'no'"]),
    "trainable: text": (lambda: fn.Dense(3, trainable="no"), TypeError, ["trainable", "True or False", "'no'"]),
    "factor: text": (
        lambda: fn.Dense(3, learning_rate_factor="x"),
        TypeError,
        ["learning_rate_factor", "number", "str"],
    ),
    "factor: nothing": (lambda: fn.Dense(3, learning_rate_factor=None), TypeError, ["learning_rate_factor", "None"]),
    "factor: negative": (lambda: fn.Dense(3, learning_rate_factor=-1), ValueError, ["learning_rate_factor", "-1"]),
    "factor: NaN": (lambda: fn.Dense(3, learning_rate_factor=np.nan), ValueError, ["learning_rate_factor", "nan"]),
    "name: a number": (lambda: fn.Dense(3, name=3), TypeError, ["name", "string", "int"]),
    "layers: none": (lambda: fn.Sequential([]), ValueError, ["layers", "empty"]),
    "layers: one layer": (lambda: fn.Sequential(fn.Dense(3)), TypeError, ["layers", "list", "Dense"]),
    "layers: a number": (lambda: fn.Sequential(5), TypeError, ["layers", "list", "int"]),
    "layers: text": (lambda: fn.Sequential([fn.Dense(3), "relu"]), TypeError, ["layers[1]", "Dense(10)", "'relu'"]),
    "layers: the class": (lambda: fn.Sequential([fn.Dense]), TypeError, ["layers[0]", "Dense(10)"]),
    "layers: no weights": (lambda: fn.Sequential([fn.Activation("relu")]), ValueError, ["layers", "Dense"]),
    "layers: twice": (lambda: fn.Sequential([(d := fn.Dense(3)), d]), ValueError, ["layers[1]", "new Dense"]),
    "layers: of another network": (lambda: fn.Sequential([shared_layer]), ValueError, ["layers[0]", "network already"]),
    "inputs: zero": (lambda: fn.Sequential([fn.Dense(2)], inputs=0), ValueError, ["inputs", "at least 1", "0"]),
    "inputs: a float": (lambda: fn.Sequential([fn.Dense(2)], inputs=2.0), TypeError, ["inputs", "integer", "float"]),
    "seed: negative": (lambda: fn.Sequential([fn.Dense(2)], seed=-1), ValueError, ["seed", "2**64", "-1"]),
    "seed: too large": (lambda: fn.Sequential([fn.Dense(2)], seed=2**64), ValueError, ["seed", "2**64"]),
    "seed: a float": (lambda: fn.Sequential([fn.Dense(2)], seed=1.0), TypeError, ["seed", "integer", "float"]),
    "seed: a bool": (lambda: fn.Sequential([fn.Dense(2)], seed=True), TypeError, ["seed", "integer", "bool"]),
    "dtype: half": (lambda: fn.Sequential([fn.Dense(2)], dtype="float16"), ValueError, ["dtype", "float32", "float16"]),
    "dtype: misspelt": (lambda: fn.Sequential([fn.Dense(2)], dtype="flot32"), TypeError, ["dtype", "'flot32'"]),
    "dtype: None": (lambda: fn.Sequential([fn.Dense(2)], dtype=None), TypeError, ["dtype", "'float32'", "None"]),
    "dtype: integers": (lambda: fn.Sequential([fn.Dense(2)], dtype=int), ValueError, ["dtype", "'float32'", "int64"]),
    "dtype: foreign bytes": (lambda: fn.Sequential([fn.Dense(2)], dtype=">f4"), ValueError, ["dtype", "'float32'"]),
    "rate: negative": (lambda: fn.Adam(-1), ValueError, ["learning_rate", "at least 0", "-1"]),
    "rate: NaN": (lambda: fn.Adam(float("nan")), ValueError, ["learning_rate", "nan"]),
    "rate: infinite": (lambda: fn.Adam(float("inf")), ValueError, ["learning_rate", "finite", "inf"]),
    "rate: beyond floats": (lambda: fn.SGD(10**400), ValueError, ["learning_rate", "finite"]),
    "rate: text": (lambda: fn.SGD("0.1"), TypeError, ["learning_rate", "number", "str"]),
    "rate: a bool": (lambda: fn.SGD(True), TypeError, ["learning_rate", "number", "bool"]),
    "momentum: 1": (lambda: fn.SGD(0.1, 1), ValueError, ["momentum", "below 1", "1"]),
    "momentum: negative": (lambda: fn.SGD(0.1, -0.1), ValueError, ["momentum", "at least 0", "-0.1"]),
    "nesterov: text": (lambda: fn.SGD(0.1, nesterov="no"), TypeError, ["nesterov", "True or False", "'no'"]),
    "beta1: 1": (lambda: fn.Adam(beta1=1.0), ValueError, ["beta1", "below 1", "1.0"]),
    "epsilon: negative": (lambda: fn.Adam(epsilon=-1e-8), ValueError, ["epsilon", "at least 0", "-1e-08"]),
    "a row: misspelt": (lambda: fn.losses["MSE"], ValueError, ["loss", "'MSE'", "'mse'"]),
    "a row: a number": (lambda: fn.activations[3], ValueError, ["activation", "3", "Known"]),
    "a row: a list": (lambda: fn.optimizers[["a"]], ValueError, ["optimizer", "['a']", "Known"]),
    "threads: zero": (lambda: fn.set_num_threads(0), ValueError, ["threads", "1..1024", "0"]),
    "threads: text": (lambda: fn.set_num_threads("2"), TypeError, ["threads", "integer", "str"]),
    "config: another mode": (lambda: fn.show_config("json"), ValueError, ["mode", "'dicts'", "'json'"]),
    "gradients of text": (lambda: fn.check_gradients("x", X, LABELS), TypeError, ["net", "Sequential", "str"]),
    "gradients within text": (
        lambda: fn.check_gradients(classifier(), X, LABELS, tol="x"),
        TypeError,
        ["tol", "number", "str"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "error", "words"), MADE.values(), ids=MADE.keys())
def test_what_cannot_be_made(make, error, words):
    with pytest.raises(error) as raised:
        make()
    assert type(raised.value) is error
    for word in words:
        assert word in str(raised.value), f"{word!r} is not in {str(raised.value)!r}"


def test_assignments_are_checked_too():
    optimizer = fn.Adam()
    with pytest.raises(ValueError, match=r"learning_rate"):
        optimizer.learning_rate = -1
    assert optimizer == fn.Adam()
    net = classifier()
    layer = net.layers[0]
    for bad, error, words in [
        (np.ones(3), ValueError, ["weight", "(4, 5)", "(3,)"]),
        (1.0, ValueError, ["weight", "(4, 5)", "()"]),
        (np.ones((1, 5)), ValueError, ["weight", "(4, 5)", "(1, 5)"]),
        (np.ones((4, 5)) * 1j, TypeError, ["weight", "complex128"]),
        ([["a"] * 5] * 4, TypeError, ["weight", "<U1"]),
    ]:
        refused(net, lambda: setattr(layer, "weight", bad), error, *words)  # noqa: B023
    refused(net, lambda: setattr(layer, "bias", 1.0), ValueError, "bias", "(5,)", "()")
    refused(net, lambda: setattr(layer, "trainable", 1), TypeError, "trainable", "True or False")
    refused(net, lambda: setattr(layer, "learning_rate_factor", -1), ValueError, "learning_rate_factor", "-1")
    with pytest.raises(AttributeError):
        net.params = np.ones(net.n_params)
    with pytest.raises(AttributeError, match="bias"):
        _ = fn.Sequential([fn.Dense(2, use_bias=False)], inputs=2, seed=0).layers[0].bias


# ---- sizes beyond what there is --------------------------------------------------------------------------------------


def test_impossible_networks_are_refused_at_once():
    for units, inputs in [(2**62, 2**62), (2**40, 2**24), (2**63, 1), (2**70, 2), (2, 2**70), (2**62, 1)]:
        with pytest.raises((MemoryError, ValueError)):
            fn.Sequential([fn.Dense(units)], inputs=inputs)


def test_impossible_batches_are_refused_at_once():
    net = classifier()
    rows = 2**50  # in one byte
    x = np.broadcast_to(np.int8(1), (rows, INPUTS))
    y = np.broadcast_to(np.int8(0), (rows,))
    before = everything(net)
    for call in (lambda: net.predict(x), lambda: net.fit(x, y, verbose=0), lambda: net.train_step(x, y),
                 lambda: net.forward(x, training=True), lambda: net.evaluate(x, y)):  # fmt: skip
        with pytest.raises(MemoryError):
            call()
        assert everything(net) == before
    net.fit(X, LABELS, batch_size=2**62, epochs=1, verbose=0)  # more than all rows: all rows


def test_a_stream_is_refused_where_an_array_is_needed():
    net = trained(classifier(), LABELS)
    stream = (row for row in X)
    needed = ["is a generator", "an array is needed here", "fit, evaluate and predict"]
    refused(net, lambda: net.jacobian(stream), TypeError, "x", *needed)
    refused(net, lambda: net.input_gradient(stream, LABELS), TypeError, "X", *needed)
    refused(net, lambda: net.find_learning_rate(stream, LABELS), TypeError, "X", *needed)
