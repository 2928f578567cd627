# SPDX-License-Identifier: BSD-3-Clause
"""Streams in ``evaluate``, ``predict`` and ``validation_data``: what the rows in one array give."""

import itertools
import sys
import threading

import numpy as np
import pytest
from processes import python
from snapshot import digest, everything

import fastnn as fn

sparse = pytest.importorskip("scipy.sparse")

ROWS, INPUTS = 50, 4
X = np.random.default_rng(0).normal(size=(ROWS, INPUTS)).astype(np.float32)
Y = np.arange(ROWS) % 3
W = np.linspace(0.0, 2.0, ROWS)
V = X[:, :1] ** 2
SIZES = [1, 7, 16, 50, 60]


def classifier(**more):
    return fn.Sequential([fn.Dense(8, "relu", l2=0.01), fn.Dense(3, "softmax")], inputs=INPUTS, seed=0, **more)


def regressor(**more):
    return fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(1)], inputs=INPUTS, seed=0, **more)


def batches(*arrays, size=16):
    return [tuple(array[first : first + size] for array in arrays) for first in range(0, len(arrays[0]), size)]


class Again:
    """Can be iterated anew, and gives the same arrays with new contents: nothing may be kept of them."""

    def __init__(self, found):
        self.found, self.times = found, 0

    def __iter__(self):
        self.times += 1
        for batch in self.found:
            own = tuple(part.copy() for part in batch)
            yield own
            for part in own:
                part[...] = 0


def close(found, wanted):
    """Metrics to the bit; a loss is a sum over batches in float64."""
    assert list(found) == list(wanted)
    for name, value in found.items():
        if name.endswith("loss"):
            assert value == pytest.approx(wanted[name], rel=1e-14), name
        else:
            assert value == wanted[name], name


def own_metric(y, output):
    return float(np.median(output[:, 0]) + y[-1, 0])


TASKS = {
    "classes": (classifier, Y, {"metrics": ["accuracy", "roc_auc", "f1", "log_loss", "top_2", own_metric]}),
    "rows of probabilities": (classifier, np.eye(3)[Y], {"metrics": ["accuracy"]}),
    "numbers": (regressor, V, {"metrics": ["mae", "r2", "mape", own_metric]}),
    "no metrics": (regressor, V, {}),
    "float64": (lambda: regressor(dtype="float64"), V[:, 0], {"metrics": ["r2"], "loss": fn.Huber(0.5)}),
    "python": (regressor, V, {"loss": lambda y, o: (((o - y) ** 2).mean(1), 2 * (o - y)), "metrics": ["mse"]}),
}


# ---- evaluate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weights", [None, W], ids=["", "weighted"])
def test_evaluate_is_that_of_the_rows_in_one_array(task, size, weights):
    make, y, more = task
    net = make()
    wanted = net.evaluate(X, y, sample_weight=weights, **more)
    parts = (X, y) if weights is None else (X, y, W)
    given = batches(*parts, size=size)
    for stream in (Again(given), iter(given), map(list, given), lambda: given):
        close(net.evaluate(stream, **more), wanted)


def test_only_some_batches_have_weights():
    net, ones = classifier(), np.where(np.arange(ROWS) < 16, W, 1.0)
    stream = [(X[:16], Y[:16], W[:16]), (X[16:], Y[16:])]
    close(net.evaluate(stream, metrics=["accuracy"]), net.evaluate(X, Y, metrics=["accuracy"], sample_weight=ones))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_loss_is_exact_where_sums_are(threads):
    """Small whole numbers: float64 has their sum exactly, in whatever order."""
    net = regressor()
    net.params[...] = 0
    y = np.arange(ROWS, dtype=float)
    assert net.evaluate(batches(X, y), threads=threads)["loss"] == net.evaluate(X, y)["loss"] == (y**2).mean()


def test_sparse_batches_and_tables():
    net = classifier()
    thin = sparse.csr_array(X)
    close(net.evaluate([(thin[:16], Y[:16]), (thin[16:], Y[16:])]), net.evaluate(X, Y))
    assert digest(net.predict([thin[:16], thin[16:]])) == digest(net.predict(X))
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    table = pandas.DataFrame(X, columns=list("abcd"))
    assert digest(net.predict([table[:16], table[16:]])) == digest(net.predict(X))
    close(net.evaluate([(table[:16], Y[:16]), (table[16:], Y[16:])]), net.evaluate(X, Y))


# ---- predict ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_predict_has_the_bits_of_one_array(dtype, size):
    net = classifier(dtype=dtype)
    wanted = net.predict(X)
    pairs = batches(X, Y, size=size)
    ways = [
        Again(pairs), pairs, tuple(pairs), [list(pair) for pair in pairs], [x for x, _ in pairs], iter(X),
        (x for x, _ in pairs), lambda: (x for x, _ in pairs), batches(X, Y, W, size=size),
    ]  # fmt: skip
    for stream in ways:
        found = net.predict(stream)
        assert found.dtype == dtype and digest(found) == digest(wanted)


def test_numbers_in_lists_are_no_stream():
    net = classifier()
    wanted = net.predict(X[:3])
    for given in (X[:3].tolist(), tuple(map(tuple, X[:3].tolist())), list(X[:3]), tuple(X[:3])):
        assert digest(net.predict(given)) == digest(wanted)
    for given in (X[0].tolist(), tuple(X[0])):
        assert digest(net.predict(given)) == digest(wanted[:1])
    assert net.predict(range(INPUTS)).shape == (1, 3)
    two = fn.Sequential([fn.Dense(1)], inputs=2, seed=0)
    assert two.predict([[1.0, 2.0], [3.0, 4.0]]).shape == (2, 1)
    for wrong in ([X[:3].tolist()] * 2, {"a": X}, "text", 3, None, []):
        with pytest.raises((ValueError, TypeError)):
            net.predict(wrong)


def test_an_empty_stream_has_no_outputs():
    assert classifier().predict(iter(())).shape == (0, 3)
    assert classifier().predict([X[:0], X[:2]]).shape == (2, 3)


def test_a_stream_is_measured_with_one_set_of_weights():
    """Whatever happens to the network while the stream goes on."""
    net, changed = classifier(), classifier()
    changed.params[...] += 1

    def stream():
        for batch in batches(X, Y):
            yield batch
            net.params[...] = changed.params

    wanted, outputs = net.evaluate(X, Y), net.predict(X)
    close(net.evaluate(stream()), wanted)
    net.params[...] = classifier().params
    assert digest(net.predict(stream())) == digest(outputs)


def test_readers_while_another_thread_trains():
    net, started, done = classifier(), threading.Event(), threading.Event()

    def wait(net, epoch, logs):
        started.set()
        done.wait(60)

    arguments = {"epochs": 1, "verbose": 0, "callbacks": [fn.LambdaCallback(on_epoch_end=wait)]}
    before = net.predict(X)
    trainer = threading.Thread(target=net.fit, args=(X, Y), kwargs=arguments)
    trainer.start()
    assert started.wait(60)
    found = net.predict(batches(X, Y))
    done.set()
    trainer.join()
    assert digest(found) in (digest(before), digest(net.predict(X)))


# ---- validation_data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of_stream", [False, True], ids=["arrays", "stream"])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_validation_on_a_stream(task, of_stream):
    make, y, more = task
    one, other = make(), make()
    validation = Again(batches(X[:30], y[:30], W[:30]))
    one.fit(X, y, epochs=3, batch_size=16, shuffle=False, verbose=0, validation_data=(X[:30], y[:30], W[:30]), **more)
    data = (batches(X, y),) if of_stream else (X, y)
    how = {} if of_stream else {"batch_size": 16, "shuffle": False}
    other.fit(*data, epochs=3, verbose=0, validation_data=validation, **how, **more)
    assert digest(one.params) == digest(other.params)
    assert validation.times == 4  # once before training, for its first batch
    left, right = one.history.history, other.history.history
    assert list(left) == list(right) and "val_loss" in left
    left.pop("seconds"), right.pop("seconds")
    for epoch in range(3):
        close(*({name: values[epoch] for name, values in logs.items()} for logs in (right, left)))


PAIRS = batches(X, Y, size=25)  # two: as many as (X, y) has parts
WAYS = {
    "a list of two": PAIRS,
    "a tuple of two": tuple(PAIRS),
    "three": batches(X, Y, size=20),
    "one": [(X, Y)],
    "lists": [list(pair) for pair in PAIRS],
    "nested lists": [(x.tolist(), y.tolist()) for x, y in PAIRS],
    "anew": Again(PAIRS),
    "a generator function": lambda: iter(PAIRS),
    "a piece of an endless stream": lambda: itertools.islice(itertools.cycle(PAIRS), 2),
}


@pytest.mark.parametrize("data", WAYS.values(), ids=WAYS)
def test_ways_to_say_it(data):
    one, other = classifier(), classifier()
    one.fit(X, Y, epochs=2, verbose=0, validation_data=(X, Y), metrics=["accuracy"])
    other.fit(X, Y, epochs=2, verbose=0, validation_data=data, metrics=["accuracy"])
    assert one.history.history["val_accuracy"] == other.history.history["val_accuracy"]
    np.testing.assert_allclose(one.history.history["val_loss"], other.history.history["val_loss"], rtol=1e-14)


def test_arrays_of_two_rows_are_still_arrays():
    """(X, y) as nested lists, each of two."""
    net = fn.Sequential([fn.Dense(1)], seed=0)
    x, y = [[1.0, 2.0], [3.0, 4.0]], [[1.0], [2.0]]
    for data in ((x, y), [x, y], (tuple(map(tuple, x)), tuple(map(tuple, y)))):
        net.fit(x, y, epochs=1, verbose=0, validation_data=data)
        assert net.history.history["val_loss"] == [net.evaluate(x, y)["loss"]]


def test_generator_functions_train_too():
    one, other = classifier(), classifier()
    one.fit(PAIRS, epochs=3, verbose=0)
    other.fit(lambda: iter(PAIRS), epochs=3, verbose=0)
    assert digest(one.params) == digest(other.params)


def test_functions_that_return_lists_serve_everywhere():
    """A function that is no generator function, in each of the four calls."""
    one, other = classifier(), classifier()
    one.fit(PAIRS, epochs=2, verbose=0, validation_data=PAIRS, metrics=["accuracy"])
    other.fit(lambda: PAIRS, epochs=2, verbose=0, validation_data=lambda: PAIRS, metrics=["accuracy"])
    assert digest(one.params) == digest(other.params)
    assert one.history.history["val_loss"] == other.history.history["val_loss"]
    assert other.evaluate(lambda: PAIRS) == one.evaluate(PAIRS)
    assert digest(other.predict(lambda: PAIRS)) == digest(one.predict(X))


def test_callbacks_look_at_it():
    net = classifier()
    net.fit(X, Y, epochs=50, verbose=0, optimizer=fn.SGD(0.0), validation_data=PAIRS, callbacks=[fn.EarlyStopping(2)])
    assert net.history.epochs < 10


def test_the_stream_sees_the_weights_of_the_epoch():
    net, found = classifier(), []

    def look():
        found.append(digest(net.predict(X)))
        yield X, Y

    net.fit(X, Y, epochs=2, verbose=0, validation_data=look)
    assert len(set(found)) == 3 and found[-1] == digest(net.predict(X))


def test_resume_knows_a_stream(tmp_path):
    one, other = classifier(), classifier()
    one.fit(X, Y, epochs=4, verbose=0, validation_data=PAIRS)
    path = tmp_path / "run.ckpt"
    other.fit(X, Y, epochs=2, verbose=0, validation_data=PAIRS, checkpoint=path)
    for another in ((X, Y), None):
        with pytest.raises(ValueError, match="validation_data"):
            classifier().fit(X, Y, epochs=4, verbose=0, validation_data=another, checkpoint=path, resume=True)
    again = classifier()
    again.fit(X, Y, epochs=4, verbose=0, validation_data=PAIRS, checkpoint=path, resume=True)
    assert digest(again.params) == digest(one.params)
    assert again.history.history["val_loss"] == one.history.history["val_loss"]


# ---- what is refused -------------------------------------------------------------------------------------------------


def with_nan():
    bad = X.copy()
    bad[20, 1] = np.nan
    return bad


GOOD = (X, Y)
FIT = {"epochs": 2, "verbose": 0}
REFUSED = {
    "no y": (lambda net: net.evaluate(X), TypeError, ["y is missing", "evaluate(X, y)", "evaluate(batches)"]),
    "a sparse matrix without y": (lambda net: net.evaluate(sparse.csr_array(X)), TypeError, ["y is missing"]),
    "an iterator and y": (lambda net: net.evaluate(iter(X), Y), TypeError, ["iterator", "evaluate(batches)"]),
    "a function and y": (lambda net: net.fit(lambda: PAIRS, Y), TypeError, ["function", "fit(batches)"]),
    "weights beside": (lambda net: net.evaluate(PAIRS, sample_weight=W), ValueError, ["(X, y, sample_weight)"]),
    "no batch": (lambda net: net.evaluate(iter(())), ValueError, ["empty"]),
    "no pair": (lambda net: net.evaluate([GOOD, X]), TypeError, ["batch 2: it is a ndarray", "(X, y)"]),
    "a NaN": (lambda net: net.evaluate([GOOD, (with_nan(), Y)]), ValueError, ["batch 2: X is nan in row 20, column 1"]),
    "labels": (lambda net: net.evaluate([GOOD, (X, Y + 7)]), ValueError, ["batch 2: y[0] is 7"]),
    "columns": (lambda net: net.evaluate([GOOD, (X[:, :2], Y)]), ValueError, ["batch 2: X has 2 columns"]),
    "labels and rows": (lambda net: net.evaluate([GOOD, (X, np.eye(3)[Y])], metrics=["accuracy"]), ValueError,
                        ["class numbers in some batches"]),
    "no weight": (lambda net: net.evaluate([(X, Y, 0 * W)]), ValueError, ["weights of all rows", "are 0"]),
    "a metric": (lambda net: net.evaluate(PAIRS, metrics=["r2"]), ValueError, ["metric 'r2'"]),
    "a NaN to predict": (lambda net: net.predict([X, with_nan()]), ValueError, ["batch 2: X is nan in row 20"]),
    "columns to predict": (lambda net: net.predict(iter([X, X[:, :2]])), ValueError, ["batch 2: X has 2 columns"]),
    "a function of something else": (lambda net: net.predict(lambda: 3), TypeError, ["returned a int", "iterable"]),
    "a generator to validate with": (lambda net: net.fit(X, Y, validation_data=iter(PAIRS), **FIT), TypeError,
        ["gone through once", "validation_data", "iterated anew", "generator function itself"]),
    "the same with a stream": (lambda net: net.fit(PAIRS, validation_data=(b for b in PAIRS), **FIT), TypeError,
        ["generator", "gone through once"]),
    "a generator of two epochs": (lambda net: net.fit(iter(PAIRS), **FIT), ValueError, ["generator function itself"]),
    "nothing to validate with": (lambda net: net.fit(X, Y, validation_data=Again([]), **FIT), ValueError,
        ["validation_data is empty"]),
    "a bad first batch": (lambda net: net.fit(X, Y, validation_data=[(with_nan(), Y)], **FIT), ValueError,
        ["batch 1 of validation_data: X is nan"]),
    "a bad metric": (lambda net: net.fit(X, np.eye(3)[Y], loss=lambda y, o: (o[:, 0], o), metrics=["accuracy"],
        validation_data=[(X, np.full((ROWS, 1), 0.5))], **FIT), ValueError, ["metric 'accuracy'"]),
    "one array": (lambda net: net.fit(X, Y, validation_data=X, **FIT), TypeError, ["(X, y)", "iterable"]),
    "a dict": (lambda net: net.fit(X, Y, validation_data={"X": X}, **FIT), TypeError, ["(X, y)", "iterable"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused_before_anything_changes(case):
    net = classifier()
    net.fit(X, Y, epochs=1, verbose=0)
    before = everything(net)
    with pytest.raises(case[1]) as raised:
        case[0](net)
    for word in case[2]:
        assert word in str(raised.value), f"{word!r} is not in {str(raised.value)!r}"
    assert everything(net) == before


def test_a_later_batch_of_validation_is_refused_after_the_epoch():
    net, wanted = classifier(), classifier()
    wanted.fit(X, Y, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="batch 2 of validation_data: X is nan"):
        net.fit(X, Y, epochs=3, verbose=0, validation_data=[(X, Y), (with_nan(), Y)])
    assert digest(net.params) == digest(wanted.params)
    net.fit(X, Y, epochs=1, verbose=0)  # it is usable


# ---- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on memory")
def test_batches_are_not_kept():
    """1 GB goes by in batches of 4 MB."""
    python(
        """
        import resource, numpy as np, fastnn as fn
        def stream():
            for i in range(256):
                yield np.full((1024, 1024), i % 7, "f4"), np.arange(1024) % 2
        net = fn.Sequential([fn.Dense(2, "softmax")], inputs=1024, seed=0)
        small = [next(stream())] * 3
        net.fit(small, epochs=1, threads=2, verbose=0, validation_data=small)
        status = dict(line.split(":") for line in open("/proc/self/status"))
        taken = int(status["VmData"].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (taken + (64 << 20),) * 2)
        net.evaluate(stream(), metrics=["accuracy"], threads=2)
        assert net.predict(stream(), threads=2).shape == (256 * 1024, 2)
        net.fit(small, epochs=1, threads=2, verbose=0, validation_data=stream, metrics=["accuracy"])
        """
    )
