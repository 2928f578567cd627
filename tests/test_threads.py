# SPDX-License-Identifier: BSD-3-Clause
"""Several Python threads at once, and forks: exact results, clear errors, no waiting for ever."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from processes import python
from snapshot import everything

import fastnn as fn
from fastnn import files

X = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
Y = np.arange(300) % 3
CALLERS = 8


def network(seed=0, units=24):
    return fn.Sequential([fn.Dense(units, "tanh"), fn.Dense(3, "softmax")], inputs=6, seed=seed)


@pytest.fixture(autouse=True)
def switch_often():
    """Threads take turns every 20 microseconds instead of every 5 milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    yield
    sys.setswitchinterval(before)


def at_once(work, callers=CALLERS):
    """work(number) in as many threads, begun together; raises what one of them raised."""
    begin = threading.Barrier(callers)

    def start(number):
        begin.wait()
        return work(number)

    with ThreadPoolExecutor(callers) as pool:
        return [future.result(120) for future in [pool.submit(start, number) for number in range(callers)]]


class InBackground(threading.Thread):
    """Work that goes on until the end of a with block."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.error, self.turns, self.over = work, None, 0, False

    def run(self):
        try:
            while not self.over:
                self.work()
                self.turns += 1
        except BaseException as error:
            self.error = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.join(120)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        assert self.turns


# ---- one network, many readers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_eight_threads_predict_exactly(threads):
    net = network()
    f, expected = net.predictor(), net.predict(X)
    shared = np.empty((CALLERS, 3), np.float32)

    def work(number):
        for turn in range(500):
            row = (turn * CALLERS + number) % 300
            rows = slice(row, row + 1 + turn % 50)
            assert (net.predict(X[rows], threads=threads) == expected[rows]).all()
            assert (f(X[row]) == expected[row]).all() and f.argmax(X[row]) == expected[row].argmax()
            assert (f(X[row], out=shared[number]) == expected[row]).all()
            assert (f(X[rows]) == expected[rows]).all()

    at_once(work)


def test_predictions_while_another_network_trains():
    net, other = network(), network(1)
    expected, evaluated = net.predict(X), net.evaluate(X, Y, metrics=["accuracy"])
    with InBackground(lambda: other.fit(X, Y, epochs=2, threads=2, verbose=0)):
        for turn in range(300):
            assert (net.predict(X, threads=1 + turn % 3) == expected).all()
            assert net.evaluate(X, Y, metrics=["accuracy"]) == evaluated


def test_networks_train_side_by_side_with_the_same_bits():
    def train(seed):
        net = network(seed % 2)
        net.fit(X, Y, epochs=3, threads=1 + seed % 3, verbose=0)
        net.train_step(X, Y)
        return net.params.tobytes()

    expected = [train(0), train(1)]
    assert at_once(train) == [expected[number % 2] for number in range(CALLERS)]


# ---- one network, one trainer and many readers -----------------------------------------------------------------------


@pytest.mark.parametrize(("hidden", "rows"), [([200], 40), ([400, 400, 400], 2)])
def test_predictions_between_train_steps_are_of_completed_steps(hidden, rows):
    """With few rows and many weights a step is mostly the writing of weights."""

    def network():
        layers = [fn.Dense(units, "tanh") for units in hidden]
        return fn.Sequential([*layers, fn.Dense(3, "softmax")], inputs=6, seed=0)

    net, reference, x, y = network(), network(), X[:rows], Y[:rows]
    seen = {net.predict(x[0]).tobytes()}
    for _ in range(60):
        reference.train_step(x, y, optimizer="sgd")
        seen.add(reference.predict(x[0]).tobytes())
    found, optimizer = [], fn.SGD()

    def read():
        found.append(net.predict(x[0], threads=1).tobytes())

    with InBackground(read), InBackground(read):
        for _ in range(60):
            net.train_step(x, y, optimizer=optimizer)
            time.sleep(2e-4)  # let them look
    assert (net.params == reference.params).all()
    assert set(found) <= seen and len(set(found)) > 1


@pytest.mark.parametrize("units", [16, 200])
def test_predictions_during_fit_are_of_completed_steps(units):
    """Of each epoch's start, so that reading never waits."""
    reference, net = network(units=units), network(units=units)
    seen = {reference.predict(X[0]).tobytes()}

    class Note(fn.Callback):
        def on_batch_end(self, net, step, logs):
            seen.add(net.predict(X[0]).tobytes())

    reference.fit(X, Y, epochs=30, callbacks=[Note()], verbose=0)
    found, evaluated, predictors = [], [], []
    with (
        InBackground(lambda: found.append(net.predict(X[0]).tobytes())),
        InBackground(lambda: evaluated.append(net.evaluate(X, Y)["loss"])),
        InBackground(lambda: predictors.append(net.predictor()(X[0]).tobytes())),
    ):
        net.fit(X, Y, epochs=30, threads=2, verbose=0)
    assert (net.params == reference.params).all()
    assert set(found) <= seen and set(predictors) <= seen
    assert np.isfinite(evaluated).all()


def test_reading_does_not_wait_for_an_epoch():
    net, x = network(units=300), np.tile(X, (200, 1))
    times = []

    def read():
        start = time.perf_counter()
        net.predict(X[0])
        times.append(time.perf_counter() - start)
        time.sleep(0.001)

    with InBackground(read):
        start = time.perf_counter()
        net.fit(x, np.tile(Y, 200), epochs=1, batch_size=128, threads=1, verbose=0)
        epoch = time.perf_counter() - start
    assert np.median(times) < epoch / 4


@pytest.mark.parametrize("call", [
    lambda net: net.fit(X, Y, verbose=0), lambda net: net.train_step(X, Y), lambda net: net.forward(X, training=True),
    lambda net: net.backward(np.ones((300, 3))), lambda net: fn.SGD().step(net), lambda net: net.soft_update(net, 0.5),
    lambda net: net.save(os.devnull + "-not-written"),
])  # fmt: skip
def test_a_second_trainer_is_told_so(call):
    plain, net = network(), network()
    plain.fit(X, Y, epochs=2, verbose=0)
    errors = []

    class Try(fn.Callback):
        """From another thread, while fit waits."""

        def on_epoch_end(self, net, epoch, logs):
            def attempt():
                before = everything(net)
                with pytest.raises(RuntimeError, match="being trained") as raised:
                    call(net)
                errors.append(str(raised.value))
                assert everything(net) == before

            at_once(lambda number: attempt(), 2)

    net.fit(X, Y, epochs=2, callbacks=[Try()], verbose=0)
    assert (net.params == plain.params).all() and len(errors) == 4


def test_of_many_fits_at_once_each_is_whole_or_refused():
    net = network()
    results = []

    def work(number):
        try:
            net.fit(X, Y, epochs=1, verbose=0)
            results.append(True)
        except RuntimeError as error:
            assert "being trained" in str(error)
            results.append(False)

    at_once(work)
    assert any(results)
    plain = network()
    for _ in range(sum(results)):
        plain.fit(X, Y, epochs=1, verbose=0)
    assert (net.params == plain.params).all()


def test_target_networks_follow_while_others_read():
    net, target = network(0), network(1)
    outputs = []
    with InBackground(lambda: outputs.append(target.predict(X[:1]))):
        for _ in range(200):
            net.train_step(X, Y)
            target.soft_update(net, 0.05)
    assert np.isfinite(outputs).all() and np.abs(np.sum(outputs, axis=-1) - 1).max() < 1e-5


def test_saving_while_training_steps_gives_a_network_of_one_step(tmp_path):
    net, reference = network(), network()
    states = {}
    for step in range(1, 61):
        reference.train_step(X, Y)
        states[step] = (reference.params.tobytes(), reference._state.array.tobytes())
    net.train_step(X, Y)
    contents = []
    with InBackground(lambda: contents.append(files.to_bytes(net))):
        for _ in range(59):
            net.train_step(X, Y)
    for content in contents[:: max(1, len(contents) // 50)]:
        saved = files.from_bytes(content)
        assert (saved.params.tobytes(), saved._state.array.tobytes()) == states[saved._state.step]


# ---- forks -----------------------------------------------------------------------------------------------------------

FORK = """
    import hashlib, os, select, sys, time
    import numpy as np, fastnn as fn
    X, Y = np.random.default_rng(0).normal(size=(512, 64)), np.arange(512) % 3

    def work(threads):
        net = fn.Sequential([fn.Dense(256, "tanh"), fn.Dense(3, "softmax")], inputs=64, seed=0)
        net.fit(X, Y, epochs=2, threads=threads, verbose=0)
        net.train_step(X, Y, threads=threads)
        bits = net.params.tobytes() + net.predict(X, threads=threads).tobytes() + net.predictor()(X[0]).tobytes()
        return hashlib.sha256(bits).hexdigest().encode()

    def in_child(threads):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(write, work(threads))
            finally:
                os._exit(0)
        ready, _, _ = select.select([read], [], [], 20)
        found = os.read(read, 100) if ready else b"no answer"
        if not ready:
            os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(read), os.close(write)
        return found
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("first", [1, 2, 8])
def test_a_forked_child_trains_and_predicts_with_the_same_bits(first):
    python(
        FORK
        + f"""
    expected = work({first})
    for threads in ({first}, 1, 3):
        start = time.perf_counter()
        assert in_child(threads) == expected
        assert time.perf_counter() - start < 15  # 2 s on a machine of one's own
        assert work(threads) == expected  # and the parent has lost nothing
    """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forks_of_forks_and_forks_while_others_work():
    python(
        FORK
        + """
    import threading, warnings
    warnings.simplefilter("ignore")  # Python warns of forks beside threads
    expected = work(2)
    over = False
    def others():
        while not over:
            assert work(2) == expected
    thread = threading.Thread(target=others)
    thread.start()
    try:
        assert [in_child(2) for _ in range(5)] == [expected] * 5
    finally:
        over = True
        thread.join()
    plain = work
    def work(threads):
        return in_grandchild(threads) if threads else plain(2)
    def in_grandchild(threads):
        globals()["work"] = plain
        return in_child(threads)
    assert in_child(2) == expected
    """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_multiprocessing_by_fork():
    python(
        FORK
        + """
    import multiprocessing
    expected = work(2)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(work, [2, 1, 3]) == [expected] * 3
    """
    )


def test_a_thread_may_end_the_interpreter_while_others_work():
    """No crash and no hang when daemon threads are in the middle of a fit at exit."""
    python(
        """
        import threading, time, numpy as np, fastnn as fn
        X = np.ones((5000, 64))
        def others():
            net = fn.Sequential([fn.Dense(200), fn.Dense(1)], inputs=64, seed=0)
            while True:
                net.fit(X, X[:, 0], epochs=1, threads=2, verbose=0)
        for _ in range(3):
            threading.Thread(target=others, daemon=True).start()
        time.sleep(0.2)
        """,
        timeout=30,
    )
