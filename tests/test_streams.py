# SPDX-License-Identifier: BSD-3-Clause
"""``fit`` on streams of batches: the bits of ``fit`` on arrays, and clear words where a stream does not fit."""

import inspect
import itertools
import signal
import sys
import threading

import numpy as np
import pytest
from processes import python
from snapshot import digest, everything

import fastnn as fn

ROWS, INPUTS, BATCH = 50, 4, 16
X = np.random.default_rng(0).normal(size=(ROWS, INPUTS)).astype(np.float32)
Y = np.arange(ROWS) % 3
W = np.linspace(0.0, 2.0, ROWS)
V = X[:, :1] ** 2


def classifier(**more):
    return fn.Sequential([fn.Dense(8, "relu"), fn.Dropout(0.2), fn.Dense(3, "softmax")], seed=0, **more)


def regressor():
    return fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(1)], seed=0)


def batches(*arrays, size=BATCH):
    """Rows in their order; the last batch is smaller."""
    return [tuple(array[first : first + size] for array in arrays) for first in range(0, len(arrays[0]), size)]


class Anew:
    """Can be iterated anew, has no length, and gives the same arrays with new contents: nothing may be kept of them."""

    def __init__(self, found):
        self.found = found
        self.times = 0

    def __iter__(self):
        self.times += 1
        for batch in self.found:
            own = tuple(array.copy() for array in batch)
            yield own
            for array in own:
                array[...] = np.iinfo(array.dtype).min if array.dtype.kind in "iu" else np.nan


def same(one, other):
    assert digest(one.params) == digest(other.params)
    assert digest(one._state.array) == digest(other._state.array)
    left, right = dict(one.history.history), dict(other.history.history)
    left.pop("seconds"), right.pop("seconds")
    assert left == right


MORE = {
    "plain": {},
    "metrics": {"metrics": ["accuracy", "roc_auc"]},
    "validation": {"validation_data": (X[:20], Y[:20]), "metrics": ["accuracy"]},
    "clipping": {"clip_norm": 0.1},
    "schedule": {"schedule": fn.CosineSchedule(warmup=3)},
    "sgd": {"optimizer": fn.SGD(0.1, momentum=0.9)},
    "class weights": {"class_weight": {0: 2.0, 1: 0.5}},
    "no weight in a batch": {"class_weight": {0: 0.0, 1: 0.0}},
    "early stopping": {"callbacks": [fn.EarlyStopping(1, monitor="loss")]},
    "every batch": {"callbacks": [fn.LambdaCallback(on_batch_end=lambda *_: None)]},
    "threads": {"threads": 2},
}


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_stream_gives_the_bits_of_the_array(more, weighted):
    parts = (X, Y, W) if weighted else (X, Y)
    one, other = classifier(), classifier()
    weights = {"sample_weight": W} if weighted else {}
    one.fit(X, Y, epochs=3, batch_size=BATCH, shuffle=False, verbose=0, **weights, **more)
    given = batches(*parts)
    steps = {"steps_per_epoch": len(given)} if "schedule" in more else {}
    other.fit(Anew(given), epochs=3, verbose=0, **steps, **more)
    same(one, other)


@pytest.mark.parametrize("layers", [
    [fn.Dense(200, "relu"), fn.Dense(1)],
    [fn.BatchNorm(), fn.Dense(5, "tanh"), fn.Dense(1)],
    [fn.Dense(5, "tanh"), fn.LayerNorm(), fn.Dense(1)],
], ids=["by layers", "batch norm", "layer norm"])  # fmt: skip
@pytest.mark.parametrize("loss", [None, lambda y, o: (((o - y) ** 2).mean(1), 2 * (o - y))], ids=["native", "python"])
def test_other_networks_and_losses(layers, loss):
    one, other = (fn.Sequential([fn.layers.layer_from_config(type(v).__name__, v.config()) for v in layers], seed=0)
                  for _ in range(2))  # fmt: skip
    one.fit(X, V, loss=loss, epochs=3, batch_size=BATCH, shuffle=False, verbose=0)
    other.fit(batches(X, V), loss=loss, epochs=3, verbose=0)
    same(one, other)


def test_iterators_generators_and_lists():
    wanted = classifier()
    wanted.fit(X, Y, epochs=2, batch_size=BATCH, shuffle=False, verbose=0)
    given = batches(X, Y)
    ways = [
        (given, {"epochs": 2}),
        (tuple(map(list, given)), {"epochs": 2}),
        (itertools.cycle(given), {"epochs": 2, "steps_per_epoch": 4}),
        ((batch for batch in given * 2), {"epochs": 2, "steps_per_epoch": 4}),
        (given, {"epochs": 2, "steps_per_epoch": 4}),
        (given * 2, {"epochs": 2, "steps_per_epoch": 4}),
        (zip(*zip(*given * 2, strict=True), strict=True), {"epochs": 1}),
    ]
    for stream, arguments in ways:
        net = classifier()
        net.fit(stream, verbose=0, **arguments)
        assert digest(net.params) == digest(wanted.params), arguments
        assert net.history.epochs == arguments["epochs"]


def test_an_epoch_may_go_on_in_the_middle_of_the_stream():
    one, other = classifier(), classifier()
    given = batches(X, Y)
    one.fit(given, epochs=3, verbose=0)
    other.fit(given, epochs=2, steps_per_epoch=6, verbose=0)
    assert digest(one.params) == digest(other.params)


def test_batches_may_grow():
    sizes = [(X[:3], Y[:3]), (X[3:40], Y[3:40]), (X[40:41], Y[40:41])]
    one, other = classifier(), classifier()
    one.fit(sizes, epochs=2, verbose=0, metrics=["accuracy"])
    for _ in range(2):
        for batch in sizes:
            other.train_step(*batch, optimizer="adam")
    assert digest(one.params) == digest(other.params)


def test_normalization_is_learned_from_the_first_batch():
    net = fn.Sequential([fn.Normalization(), fn.Dense(1)], seed=0, scale_targets=True)
    with pytest.warns(UserWarning, match="first batch of the stream, 16 rows"):
        net.fit(batches(X, V), epochs=1, verbose=0)
    np.testing.assert_allclose(net.layers[0].mean, X[:BATCH].mean(0), rtol=1e-5)


def test_callbacks_and_progress(capsys):
    seen = []
    note = fn.LambdaCallback(on_batch_end=lambda net, step, logs: seen.append((step, sorted(logs))))
    net = classifier()
    net.fit(Anew(batches(X, Y)), epochs=2, callbacks=[note], verbose=2)
    assert seen == [(step, ["learning_rate", "loss"]) for step in range(8)]
    assert "a stream of batches, the first of 16 rows" in capsys.readouterr().out

    def stop(net, step, logs):
        net.stop_training = step == 4

    net.fit(batches(X, Y), epochs=5, callbacks=[fn.LambdaCallback(on_batch_end=stop)], verbose=0)
    assert net.history.epochs == 2


def test_the_stream_sees_the_weights_as_they_are():
    net = classifier(inputs=INPUTS)
    found = []

    def hard_rows():
        for x, y in batches(X, Y):
            found.append((digest(net.params), digest(net.predict(X))))
            yield x, y

    net.fit(hard_rows(), epochs=1, verbose=0)
    assert len({params for params, _ in found}) == 4
    assert len({outputs for _, outputs in found}) == 4


def test_the_report_of_a_stream():
    for stream in (batches(X, V), Anew(batches(X, V)), iter(batches(X, V) * 60)):
        net = regressor()
        epochs = 1 if hasattr(stream, "__next__") else 60
        health = net.fit(stream, epochs=epochs, verbose=0).health
        assert all(layer.gradient > 0 and layer.update > 0 for layer in health.layers)


# ---- what is refused -------------------------------------------------------------------------------------------------


def with_nan():
    bad = X.copy()
    bad[20, 1] = np.nan
    return bad


def refused(net, call, error, *words):
    before = everything(net)
    with pytest.raises(error) as raised:
        call(net)
    for word in words:
        assert word in str(raised.value), f"{word!r} is not in {str(raised.value)!r}"
    assert everything(net) == before


GIVEN = batches(X, Y)
REFUSED = {
    "no y": (lambda net: net.fit(X), TypeError, ["y is missing"]),
    "neither": (lambda net: net.fit(None), TypeError, ["y is missing"]),
    "a number": (lambda net: net.fit(3), TypeError, ["int", "iterable"]),
    "an iterator with y": (lambda net: net.fit(iter(X), Y), TypeError, ["iterator", "fit(batches)"]),
    "steps for an array": (lambda net: net.fit(X, Y, steps_per_epoch=3), ValueError, ["steps_per_epoch", "streams"]),
    "no steps": (lambda net: net.fit(GIVEN, steps_per_epoch=0), ValueError, ["steps_per_epoch", "at least 1"]),
    "an iterator for two epochs": (
        lambda net: net.fit(iter(GIVEN), epochs=2), ValueError, ["once", "epochs is 2", "steps_per_epoch="]),
    "empty": (lambda net: net.fit([], epochs=1), ValueError, ["empty"]),
    "an empty generator": (lambda net: net.fit(iter(()), epochs=1), ValueError, ["empty"]),
    "no pair": (lambda net: net.fit([X], epochs=1), TypeError, ["batch 1 of epoch 1", "ndarray", "(X, y)"]),
    "four parts": (lambda net: net.fit([(X, Y, W, W)], epochs=1), TypeError, ["a tuple of 4", "(X, y, sample_weight)"]),
    "numbers": (lambda net: net.fit([1.0, 2.0], epochs=1), TypeError, ["a float", "(X, y)"]),
    "no rows": (lambda net: net.fit([(X[:0], Y[:0])], epochs=1), ValueError, ["batch 1", "no rows"]),
    "too few labels": (lambda net: net.fit([(X, Y[:-1])], epochs=1), ValueError, ["batch 1", "(49,)", "50 rows"]),
    "a NaN": (lambda net: net.fit([(with_nan(), Y)], epochs=1), ValueError, ["batch 1", "row 20, column 1"]),
    "weights": (lambda net: net.fit(GIVEN, sample_weight=W), ValueError, ["sample_weight", "(X, y, sample_weight)"]),
    "balanced": (lambda net: net.fit(GIVEN, class_weight="balanced"), ValueError, ["class_weight", "dict"]),
    "a batch size": (
        lambda net: net.fit(GIVEN, batch_size=BATCH), ValueError, ["batch_size is 16", "a stream", "leave"]),
    "the batch size of arrays": (lambda net: net.fit(GIVEN, batch_size=32), ValueError, ["batch_size is 32"]),
    "one batch": (lambda net: net.fit(lambda: iter(GIVEN), batch_size=None), ValueError, ["batch_size is None"]),
    "a fraction": (lambda net: net.fit(GIVEN, validation_fraction=0.1), ValueError, ["validation_data"]),
    "accumulate": (lambda net: net.fit(GIVEN, accumulate=2), ValueError, ["accumulate", "larger batches"]),
    "a checkpoint": (lambda net: net.fit(iter(GIVEN), epochs=1, checkpoint="a"), ValueError, ["once", "state_dict"]),
    "a schedule without an end": (
        lambda net: net.fit(Anew(GIVEN), schedule=fn.CosineSchedule()), ValueError, ["schedule", "steps_per_epoch="]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("is_built", [False, True])
def test_refused_before_anything_changes(case, is_built):
    net = classifier()
    if is_built:
        net.fit(X, Y, epochs=1, verbose=0)
    refused(net, case[0], case[1], *case[2])


def test_the_default_batch_size_is_a_number_like_any_other():
    default = inspect.signature(fn.Sequential.fit).parameters["batch_size"].default
    assert default == 32 and repr(default) == "32"
    one, other = classifier(), classifier()
    one.fit(X, Y, epochs=2, verbose=0)
    other.fit(X, Y, epochs=2, batch_size=32, verbose=0)
    same(one, other)


def test_a_later_batch_is_refused_with_the_weights_before_it():
    later = {
        "NaN in X": (with_nan()[16:32], Y[16:32], "batch 3 of epoch 1: X is nan in row 4, column 1"),
        "NaN in y": (X[:16], np.full(16, np.nan), "batch 3 of epoch 1: y"),
        "a label": (X[:16], Y[:16] + 7, "batch 3 of epoch 1: y"),
        "columns": (X[:16, :2], Y[:16], "batch 3 of epoch 1: X has 2 columns"),
        "nothing": (X[:0], Y[:0], "no rows"),
    }
    wanted = classifier()
    wanted.fit(GIVEN[:2], epochs=1, verbose=0)
    for name, (x, y, words) in later.items():
        net = classifier()
        with pytest.raises(ValueError, match=words):
            net.fit([*GIVEN[:2], (x, y), *GIVEN], epochs=3, verbose=0)
        assert digest(net.params) == digest(wanted.params), name
        assert net.history.epochs == 0 and net._state.step == 2
        net.fit(GIVEN, epochs=1, verbose=0)  # it is usable


def test_a_stream_that_ends_too_early():
    net = classifier()
    with pytest.raises(ValueError, match="ended after 4 batches, but epochs x steps_per_epoch is 9"):
        net.fit(iter(GIVEN), epochs=3, steps_per_epoch=3, verbose=0)
    assert net.history.epochs == 1 and net._state.step == 4

    class Pretender:
        def __init__(self):
            self.iterator = iter(GIVEN)

        def __iter__(self):
            yield from self.iterator

    net = classifier()
    with pytest.raises(ValueError, match="second time"):
        net.fit(Pretender(), epochs=2, verbose=0)
    assert net.history.epochs == 1


def test_an_exception_of_the_stream_comes_through():
    def broken():
        yield from GIVEN[:2]
        raise OSError("the disk")

    net, wanted = classifier(), classifier()
    with pytest.raises(OSError, match="the disk"):
        net.fit(broken(), epochs=1, verbose=0)
    wanted.fit(GIVEN[:2], epochs=1, verbose=0)
    assert digest(net.params) == digest(wanted.params)
    net.predict(X)


def test_divergence_goes_back_to_the_last_epoch():
    good = batches(X, V)
    net, wanted = regressor(), regressor()
    wanted.fit(good, epochs=1, verbose=0)

    class ThenHuge(Anew):
        def __iter__(self):
            self.times += 1
            yield from good[:2] if self.times == 2 else good
            if self.times == 2:
                yield X[:16], np.full(16, 3e38, np.float32)

    with pytest.raises(fn.DivergenceError, match="batch 3 in epoch 2 of 4") as raised:
        net.fit(ThenHuge(()), epochs=4, verbose=0)
    assert (raised.value.epoch, raised.value.batch) == (1, 2)
    assert digest(net.params) == digest(wanted.params) and net.history.epochs == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_between_batches():
    net = classifier()

    def interrupted():
        for i, batch in enumerate(itertools.cycle(GIVEN)):
            if i == 10:
                signal.raise_signal(signal.SIGINT)
            yield batch

    with pytest.raises(KeyboardInterrupt):
        net.fit(interrupted(), epochs=9, steps_per_epoch=4, verbose=0)
    assert net.history.epochs == 2 and net._state.step == 10
    net.fit(GIVEN, epochs=1, verbose=0)


def test_readers_and_a_second_fit():
    net = classifier(inputs=INPUTS)
    found = []

    def meanwhile():
        try:
            net.fit(X, Y, verbose=0)
        except RuntimeError as error:
            found.append(str(error))
        found.append(net.predict(X).shape)

    def stream():
        for batch in GIVEN:
            other = threading.Thread(target=meanwhile)
            other.start()
            other.join()
            yield batch

    net.fit(stream(), epochs=1, verbose=0)
    assert found[1] == (ROWS, 3) and "being trained" in found[0]


# ---- memory ----------------------------------------------------------------------------------------------------------

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on memory that is not files'")


@LINUX
@pytest.mark.parametrize("arguments", [
    "shuffle=False",
    "validation_fraction=0.01, metrics=['accuracy'], shuffle=False",
    "validation_data=(X[:1000], Y[:1000])",
])  # fmt: skip
def test_a_file_larger_than_the_memory_it_may_take(tmp_path, arguments):
    """2 GB of rows in a file, which is sparse and takes no room on disk; 100 MB for all that is not the file's own."""
    printed = python(
        f"""
        import resource, sys, numpy as np, fastnn as fn
        rows, inputs = 500_000, 1024
        with open(sys.argv[1], "wb") as file:
            file.truncate(rows * inputs * 4)
            file.write(np.arange(inputs, dtype="f4").tobytes())
        X, Y = np.memmap(sys.argv[1], "f4", "r", shape=(rows, inputs)), np.arange(rows) % 2
        layers = [fn.Normalization(), fn.Dense(2, "softmax")]
        small = fn.Sequential(layers, seed=0)
        small.fit(np.array(X[:1000]), Y[:1000], epochs=1, threads=2, verbose=0, batch_size=1000)
        status = dict(line.split(":") for line in open("/proc/self/status"))
        taken = int(status["VmData"].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (taken + (100 << 20),) * 2)
        net = fn.Sequential([fn.Dense(2, "softmax")], inputs=inputs, seed=0)
        net.fit(X, Y, epochs=1, threads=2, verbose=0, batch_size=1000, {arguments})
        print(net.history.epochs)
        """,
        tmp_path / "X.bin",
        timeout=300,
    )
    assert printed.split() == ["1"]


@LINUX
def test_scales_and_predictions_of_a_large_file(tmp_path):
    """Normalization and predict go through it in pieces; what is predicted is small."""
    python(
        """
        import resource, sys, numpy as np, fastnn as fn
        rows, inputs = 1_000_000, 512
        with open(sys.argv[1], "wb") as file:
            file.truncate(rows * inputs)
        X, Y = np.memmap(sys.argv[1], "u1", "r", shape=(rows, inputs)), np.zeros((rows, 1), "f4")
        status = dict(line.split(":") for line in open("/proc/self/status"))
        taken = int(status["VmData"].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (taken + (100 << 20),) * 2)
        net = fn.Sequential([fn.Normalization(), fn.Dense(1)], seed=0)
        net.fit(X, Y, epochs=1, threads=2, verbose=0, batch_size=1000, shuffle=False)
        assert net.predict(X).shape == (rows, 1)
        """,
        tmp_path / "X.bin",
        timeout=300,
    )


@LINUX
def test_a_stream_is_not_kept():
    """1 GB goes by in batches of 4 MB."""
    python(
        """
        import resource, numpy as np, fastnn as fn
        def stream():
            for i in range(256):
                yield np.full((1024, 1024), i % 7, "f4"), np.arange(1024) % 2
        net = fn.Sequential([fn.Dense(2, "softmax")], inputs=1024, seed=0)
        net.fit([next(stream())] * 3, epochs=1, threads=2, verbose=0)
        status = dict(line.split(":") for line in open("/proc/self/status"))
        taken = int(status["VmData"].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (taken + (64 << 20),) * 2)
        net.fit(stream(), epochs=1, threads=2, verbose=0)
        net.fit(stream(), epochs=1, threads=2, verbose=0, metrics=["accuracy"])
        """
    )
