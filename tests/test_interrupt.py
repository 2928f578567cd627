# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C at random moments: KeyboardInterrupt soon, the weights of a completed step, and a network that goes on.

All of it runs in processes of its own, so that a signal that comes too late hits nobody else.
"""

import os
import signal
import subprocess
import sys

import pytest
from processes import python

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

SETUP = """
    import hashlib, os, random, signal, sys, threading, time
    import numpy as np, fastnn as fn

    LATEST = 10.0  # seconds: 0.1 on a machine of one's own

    def digest(net):
        return hashlib.sha256(net.params.tobytes()).hexdigest()

    def interrupted(work, delay):
        '''Does work again and again until Ctrl-C, which comes after so many seconds; how late it was answered.'''
        sent = []
        def send():
            time.sleep(delay)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=send)
        try:
            thread.start()  # on a busy machine the signal may come before the next line
            while True:
                work()
        except KeyboardInterrupt:
            late = time.perf_counter() - sent[0]
        thread.join()
        assert late < LATEST, late
        return late

    def usable(net, X, Y):
        '''Nothing is stuck, and what is predicted is what the weights say.'''
        other = fn.Sequential([type(layer)(**layer.config()) for layer in net.layers], inputs=net.inputs, seed=1)
        other.params[...] = net.params
        assert (other.predict(X[:7]) == net.predict(X[:7])).all()
        assert len({len(values) for values in net.history.history.values()}) <= 1, net.history.history
        before = digest(net)
        net.train_step(X, Y)
        net.forward(X, training=True)
        assert digest(net) != before
        assert (net.predict(X[:7]) == net.predictor()(X[:7])).all()
"""


@pytest.mark.parametrize(
    ("units", "threads", "rows", "batch"),
    [(16, 1, 2000, 32), (16, 2, 2000, 500), (200, 3, 2000, 2000), (200, 1, 40_000, 1), (16, 2, 40_000, 1)],
)
def test_fit(units, threads, rows, batch):
    """Whatever the moment, the weights are those after as many steps as the optimizer counts."""
    python(
        SETUP
        + f"""
    rows, batch = {rows}, {batch}
    X, Y = np.random.default_rng(0).normal(size=(rows, 20)), np.arange(rows) % 3
    steps = -(-rows // batch)
    def network():
        return fn.Sequential([fn.Dense({units}, "tanh"), fn.Dense(3, "softmax")], inputs=20, seed=0)

    runs, moments = [], []
    for _ in range(15):
        net = network()
        interrupted(lambda: net.fit(X, Y, epochs=10**6, batch_size=batch, threads={threads}, verbose=0),
                    random.uniform(0.002, 0.15))
        done = net._state.step if net._state else 0  # the signal may come before the first step
        assert net.history.epochs in (done // steps, (done - 1) // steps), (net.history.epochs, done)
        runs.append((done, digest(net)))
        moments.append(done % steps)
        usable(net, X[:100], Y[:100])

    class Note(fn.Callback):
        def on_batch_end(self, net, step, logs):
            seen.append(digest(net))
            net.stop_training = len(seen) > furthest or time.perf_counter() > end
    reference, furthest = network(), max(runs)[0]
    seen, end = [digest(reference)], time.perf_counter() + 4.0
    reference.fit(X, Y, epochs=10**6, batch_size=batch, callbacks=[Note()], verbose=0)

    checked = 0
    for done, found in runs:
        if done < len(seen):
            assert found == seen[done], done
            checked += 1
    assert checked > 3
    # Epochs of many steps are left in their middle. (Two threads that share a busy processor make few steps.)
    assert rows == 2000 or {threads} > 1 or len(set(moments)) > 1
    """
    )


def test_long_calls_in_between():
    """A prediction, an evaluation, one large step; and an exception of another kind."""
    python(
        SETUP
        + """
    X = np.random.default_rng(0).normal(size=(200_000, 20)).astype(np.float32)
    Y = np.arange(200_000) % 3
    net = fn.Sequential([fn.Dense(256, "tanh"), fn.Dense(256, "tanh"), fn.Dense(3, "softmax")], inputs=20, seed=0)
    before = digest(net)
    for delay in (0.01, 0.03, 0.1):
        interrupted(lambda: net.predict(X), delay)
        interrupted(lambda: net.evaluate(X, Y, metrics=["accuracy"], threads=2), delay)
        assert digest(net) == before
    interrupted(lambda: net.train_step(X, Y), 0.1)
    interrupted(lambda: net.fit(X, Y, epochs=1, validation_data=(X, Y), verbose=0), 0.1)
    usable(net, X[:100], Y[:100])

    def too_long(*_):
        raise TimeoutError("the handler of the caller")
    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    start = time.perf_counter()
    try:
        while True:
            net.fit(X, Y, epochs=100, verbose=0)
    except TimeoutError as error:
        assert "the handler of the caller" in str(error)
    assert time.perf_counter() - start < LATEST
    usable(net, X[:100], Y[:100])
    """
    )


LOOPS = {
    "fit": "net.fit(X, Y, epochs=2, batch_size=8, verbose=0)",
    "fit with callbacks": "net.fit(X, Y, epochs=2, batch_size=8, callbacks=[Note()], verbose=0)",
    "train_step": "[net.train_step(X, Y) for _ in range(9)]",
    "an own loop": "net.forward(X, training=True); net.backward(np.ones((16, 3))); fn.SGD(1e-6).step(net)",
    "soft_update": "[net.soft_update(other, 0.01) for _ in range(9)]",
    "predict": "net.predict(X); net.predictor()(X[0]); net.evaluate(X, Y)",
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS.keys())
def test_small_calls(loop):
    """Here most signals come while Python works, between one call into C and the next."""
    python(
        SETUP
        + f"""
    X, Y = np.random.default_rng(0).normal(size=(16, 4)).astype("f"), np.arange(16) % 3
    class Note(fn.Callback):
        def on_batch_end(self, net, step, logs): net.predict(X[0])
    def ring(*_):
        if working:
            raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, ring)
    net = fn.Sequential([fn.Dense(5, "tanh"), fn.Dense(3, "softmax")], inputs=4, seed=0)
    other = fn.Sequential([fn.Dense(5, "tanh"), fn.Dense(3, "softmax")], inputs=4, seed=1)
    {loop}
    for _ in range(1500):
        working = True
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 5e-4))
            end = time.perf_counter() + LATEST
            while time.perf_counter() < end:
                {loop}
            raise AssertionError("no answer")
        except KeyboardInterrupt:
            working = False
        usable(net, X, Y)
        net.params[...] = other.params
    """
    )


@pytest.mark.parametrize("moment", ["python", "native"])
def test_a_signal_ends_the_program_with_a_trace_back(moment):
    """As a terminal does it: from outside, to a program that has prepared nothing."""
    code = """
import numpy as np, fastnn as fn
X = np.random.default_rng(0).normal(size=(5000, 50))
net = fn.Sequential([fn.Dense(200, "tanh"), fn.Dense(1)], inputs=50, seed=0)
class Say(fn.Callback):
    def on_fit_begin(self, net): print("ready", flush=True)
net.fit(X, X[:, 0], epochs=10**9, callbacks=[Say()], verbose=0, batch_size=BATCH)
"""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code.replace("BATCH", "1" if moment == "python" else "5000")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    assert "KeyboardInterrupt" in err and child.returncode in (-signal.SIGINT, 130, 1)
