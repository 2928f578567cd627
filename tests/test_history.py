# SPDX-License-Identifier: BSD-3-Clause
"""History: one value per epoch of everything that was measured; and what fit prints meanwhile."""

import time

import numpy as np
import pytest

import fastnn as fn

X = np.random.default_rng(1).normal(size=(64, 4)).astype(np.float32)
Y = np.arange(64) % 3


def classifier():
    return fn.Sequential([fn.Dense(5, "relu"), fn.Dense(3, "softmax")], inputs=4, seed=0)


def test_one_value_per_epoch_of_everything():
    net = classifier()
    start = time.perf_counter()
    history = net.fit(X, Y, epochs=4, metrics=["accuracy"], validation_data=(X, Y), optimizer=fn.Adam(0.01), verbose=0)
    seconds = time.perf_counter() - start
    found = history.history
    assert list(found) == ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    assert {len(values) for values in found.values()} == {4} and history.epochs == 4
    assert all(type(value) is float for values in found.values() for value in values)
    assert found["learning_rate"] == [0.01] * 4 and 0 < sum(found["seconds"]) <= seconds
    assert found["loss"][-1] < found["loss"][0] and all(0 <= value <= 1 for value in found["accuracy"])
    assert history is net.history
    assert (history.loss, history.optimizer) == ("cross_entropy", repr(fn.Adam(0.01)))
    assert history.threads == net.threads_used >= 1


def test_each_fit_has_its_own():
    net = classifier()
    assert net.history.history == {} and net.history.epochs == 0
    first = net.fit(X, Y, epochs=2, verbose=0)
    second = net.fit(X, Y, epochs=1, verbose=0)
    assert first.epochs == 2 and second.epochs == 1 and net.history is second


def test_it_grows_while_fit_runs():
    seen = []

    class Look(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            seen.append((net.history.epochs, {name: values[-1] for name, values in net.history.history.items()}, logs))

    classifier().fit(X, Y, epochs=3, callbacks=[Look()], verbose=0)
    assert [epochs for epochs, _, _ in seen] == [1, 2, 3]
    assert all(last == logs for _, last, logs in seen)


def test_an_error_in_a_callback_keeps_what_was_done():
    class Fail(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            if epoch == 1:
                raise LookupError("on purpose")

    net = classifier()
    with pytest.raises(LookupError, match="on purpose"):
        net.fit(X, Y, epochs=5, callbacks=[Fail()], verbose=0)
    assert net.history.epochs == 2
    net.fit(X, Y, epochs=1, verbose=0)


def test_repr_shows_the_last_values():
    text = repr(classifier().fit(X, Y, epochs=2, verbose=0))
    assert text.startswith("<History: 2 epochs: loss ") and "seconds" in text
    assert repr(fn.History()) == "<History: 0 epochs>"


# ---- what is printed -------------------------------------------------------------------------------------------------


def test_silence(capfd):
    classifier().fit(X, Y, epochs=2, verbose=0)
    classifier().train_step(X, Y)
    assert capfd.readouterr() == ("", "")


def test_a_line_per_epoch(capfd):
    history = classifier().fit(X, Y, epochs=2, metrics=["accuracy"], validation_data=(X, Y), threads=1, verbose=2)
    out, err = capfd.readouterr()
    *headline, _, _ = out.splitlines()
    epochs = out.splitlines()[-2:]
    assert err == "" and "cross_entropy (by the last layer)" in headline[0]
    for word in ("Adam", "0.001", "64 rows", "2 steps of 32", "threads 1"):
        assert word in "".join(headline)
    assert max(map(len, headline)) < 80
    for number, line in enumerate(epochs):
        assert line.startswith(f"epoch {number + 1}/2")
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert f"{name} {history.history[name][number]:.4g}" in line


@pytest.mark.parametrize("verbose", [{}, {"verbose": 1}, {"verbose": True}])
def test_a_progress_bar_by_default(capfd, verbose):
    classifier().fit(X, Y, epochs=3, **verbose)
    out, err = capfd.readouterr()
    assert "64 rows" in out and "epoch 1" not in out
    assert "3/3" in err and "loss=" in err and err.endswith("\n")


def test_the_bar_is_closed_after_an_error(capfd):
    class Fail(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            raise LookupError

    with pytest.raises(LookupError):
        classifier().fit(X, Y, epochs=3, callbacks=[Fail()])
    assert capfd.readouterr().err.endswith("\n")
