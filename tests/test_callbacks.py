# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks: when each is called, with what, and what they may do; and those that come with fastnn."""

import copy
import csv
import json
import math
import pickle
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from snapshot import digest, everything

import fastnn as fn
from fastnn.callbacks import Preparation

X = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
Y = np.arange(50) % 3


def classifier():
    return fn.Sequential([fn.Dense(5, "relu"), fn.Dense(3, "softmax")], inputs=4, seed=0)


class Note:
    """No subclass of anything: any object with one of the methods will do."""

    def __init__(self):
        self.events = []

    def on_fit_begin(self, net):
        self.events.append("begin")

    def on_batch_end(self, net, step, logs):
        self.events.append(("batch", step, sorted(logs)))

    def on_epoch_end(self, net, epoch, logs):
        self.events.append(("epoch", epoch, sorted(logs)))

    def on_fit_end(self, net):
        self.events.append("end")


def test_order_and_numbers():
    note = Note()
    classifier().fit(X, Y, epochs=2, batch_size=20, callbacks=[note], metrics=["accuracy"], verbose=0)
    batches = [("batch", step, ["learning_rate", "loss"]) for step in range(6)]
    epochs = [("epoch", epoch, ["accuracy", "learning_rate", "loss", "seconds"]) for epoch in range(2)]
    assert note.events == ["begin", *batches[:3], epochs[0], *batches[3:], epochs[1], "end"]


def test_several_are_called_in_their_order():
    order = []

    class Say(fn.Callback):
        def __init__(self, name):
            self.name = name

        def on_fit_end(self, net):
            order.append(self.name)

    classifier().fit(X, Y, epochs=1, callbacks=[Say("a"), Say("b"), Say("c")], verbose=0)
    assert order == ["a", "b", "c"]
    classifier().fit(X, Y, epochs=1, callbacks=(Say("d"),), verbose=0)
    classifier().fit(X, Y, epochs=1, callbacks=Say("e"), verbose=0)
    classifier().fit(X, Y, epochs=1, callbacks=iter([Say("f")]), verbose=0)
    classifier().fit(X, Y, epochs=1, callbacks=None, verbose=0)
    assert order == ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize("arguments", [{}, {"validation_fraction": 0.2}, {"sample_weight": np.linspace(0, 1, 50)},
                                       {"shuffle": False, "threads": 2}])  # fmt: skip
def test_looking_at_every_batch_changes_no_bit(arguments):
    plain, watched = classifier(), classifier()
    first = plain.fit(X, Y, epochs=3, batch_size=8, metrics=["accuracy"], verbose=0, **arguments).history
    second = watched.fit(X, Y, epochs=3, batch_size=8, metrics=["accuracy"], verbose=0, callbacks=[Note()], **arguments)
    assert (plain.params == watched.params).all()
    assert second.history["loss"] == pytest.approx(first["loss"], rel=1e-12)
    assert second.history["accuracy"] == first["accuracy"]


def test_a_callback_sees_the_weights_as_they_are():
    seen = []

    class Look(fn.Callback):
        def on_batch_end(self, net, step, logs):
            assert (net.predict(X) == net.predictor()(X)).all()
            assert (net.predict(X) == net.forward(X)).all()
            seen.append((net.params.copy(), net.predict(X)))

    net, other = classifier(), classifier()
    net.fit(X, Y, epochs=1, batch_size=10, callbacks=[Look()], verbose=0)
    for params, output in seen:
        other.params[...] = params
        assert (other.predict(X) == output).all()
    assert len({params.tobytes() for params, _ in seen}) == 5
    assert (seen[-1][0] == net.params).all()


def test_weights_written_by_a_callback_count():
    class Zero(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            net.params[...] = 0

    net = classifier()
    net.fit(X, Y, epochs=2, callbacks=[Zero()], verbose=0)
    assert not net.params.any()

    class Clip(fn.Callback):
        def on_batch_end(self, net, step, logs):
            np.clip(net.params, -0.1, 0.1, out=net.params)

    net = classifier()
    net.fit(X, Y, epochs=2, callbacks=[Clip()], verbose=0)
    assert np.abs(net.params).max() == np.float32(0.1)


@pytest.mark.parametrize(("where", "steps", "epochs"), [("on_fit_begin", 0, 0), ("on_epoch_end", 10, 2)])
def test_stopping(where, steps, epochs):
    class Stop(Note):
        pass

    def stop(self, net, *arguments):
        getattr(Note, where)(self, net, *arguments)
        if where == "on_fit_begin" or arguments[0] == 1:
            net.stop_training = True

    setattr(Stop, where, stop)
    net, note = classifier(), Stop()
    history = net.fit(X, Y, epochs=9, batch_size=10, callbacks=[note], verbose=0)
    assert history.epochs == epochs and net._state.step == steps and note.events[-1] == "end"
    net.fit(X, Y, epochs=1, batch_size=10, verbose=0)
    assert net._state.step == steps + 5  # the wish does not outlive its fit


def test_stopping_in_the_middle_of_an_epoch():
    class Stop(fn.Callback):
        def on_batch_end(self, net, step, logs):
            net.stop_training = step == 6

    net, by_step = classifier(), classifier()
    history = net.fit(X, Y, epochs=9, batch_size=10, shuffle=False, metrics=["accuracy"], callbacks=[Stop()], verbose=0)
    assert net._state.step == 7 and history.epochs == 2
    for step in range(7):
        rows = slice(10 * step % 50, 10 * step % 50 + 10)
        by_step.train_step(X[rows], Y[rows])
    assert (net.params == by_step.params).all()


def test_the_learning_rate_may_be_set_for_the_next_batch():
    rates = []

    class Slower(fn.Callback):
        def on_batch_end(self, net, step, logs):
            rates.append(logs["learning_rate"])
            net.optimizer.learning_rate = 0.1 / (step + 2)

    net, by_step = classifier(), classifier()
    net.fit(X, Y, epochs=1, batch_size=10, shuffle=False, optimizer=fn.SGD(0.1), callbacks=[Slower()], verbose=0)
    assert rates == [0.1 / (step + 1) for step in range(5)]
    optimizer = fn.SGD(0.1)
    for step in range(5):
        optimizer.learning_rate = 0.1 / (step + 1)
        by_step.train_step(X[10 * step : 10 * step + 10], Y[10 * step : 10 * step + 10], optimizer=optimizer)
    assert (net.params == by_step.params).all()


def test_logs_are_a_copy():
    class Spoil(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            logs.clear()

    assert classifier().fit(X, Y, epochs=2, callbacks=[Spoil()], verbose=0).epochs == 2


@pytest.mark.parametrize("call", [
    lambda net: net.fit(X, Y, verbose=0), lambda net: net.train_step(X, Y), lambda net: net.forward(X, training=True),
    lambda net: net.backward(np.ones((50, 3))), lambda net: fn.SGD().step(net), lambda net: net.soft_update(net, 0.5),
])  # fmt: skip
def test_training_while_training_is_an_error(call):
    class Nested(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            with pytest.raises(RuntimeError, match="being trained") as raised:
                call(net)
            messages.append(str(raised.value))

    messages = []
    net, plain = classifier(), classifier()
    net.fit(X, Y, epochs=2, callbacks=[Nested()], verbose=0)
    plain.fit(X, Y, epochs=2, verbose=0)
    assert (net.params == plain.params).all() and len(messages) == 2
    call_once_more = classifier()
    call_once_more.forward(X, training=True)
    call(call_once_more)  # and it is no error afterwards


def test_another_network_may_be_trained_and_this_one_saved_and_looked_at(tmp_path):
    target = classifier()

    class Work(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            target.soft_update(net, 0.5)
            target.fit(X, Y, epochs=1, verbose=0)
            net.evaluate(X, Y, metrics=["accuracy"])
            net.save(tmp_path / "net")
            assert (fn.load(tmp_path / "net").params == net.params).all()
            assert (fn.load(tmp_path / "net")._state.array == net._state.array).all()

    classifier().fit(X, Y, epochs=2, callbacks=[Work()], verbose=0)


@pytest.mark.parametrize("event", ["on_fit_begin", "on_batch_end", "on_epoch_end", "on_fit_end"])
def test_an_error_in_a_callback_ends_fit_and_leaves_the_network_usable(event):
    def fail(*_):
        raise LookupError("on purpose")

    net = classifier()
    with pytest.raises(LookupError, match="on purpose"):
        net.fit(X, Y, epochs=2, callbacks=[type("Fail", (), {event: fail})()], verbose=0)
    expected = net.params.copy()
    other = classifier()
    other.params[...] = expected
    assert (net.predict(X) == other.predict(X)).all()  # no snapshot is left behind
    net.fit(X, Y, epochs=1, verbose=0)


def test_a_frozen_or_thawed_layer_counts_from_the_next_call_on():
    class Freeze(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            net.layers[0].trainable = False

    net = classifier()
    net.fit(X, Y, epochs=2, callbacks=[Freeze()], verbose=0)
    before = net.layers[0].weight.copy()
    net.fit(X, Y, epochs=1, verbose=0)
    assert (net.layers[0].weight == before).all()


# ---- those that come with fastnn ------------------------------------------------------------------------------------

NOISY = np.random.default_rng(2).integers(0, 3, 50)  # nothing to learn: the validation loss rises soon


class Remember(fn.Callback):
    """Weights and optimizer state after every epoch."""

    def __init__(self):
        self.params, self.states, self.steps = [], [], []

    def on_epoch_end(self, net, epoch, logs):
        self.params.append(net.params.copy())
        self.states.append(net._state.array.copy())
        self.steps.append(net._state.step)


class Script(fn.Callback):
    """In the place of ``fit``: tells callbacks of values that are written down."""

    def __init__(self, callback, name="val_loss", better="lower", snapshot=lambda: None):
        callback._prepare_fit(Preparation({"loss": "lower", name: better}, snapshot))
        self.callback, self.name = callback, name

    def play(self, values, net):
        """Epochs after which training was to stop, and learning rates."""
        stopped, rates = [], []
        for epoch, value in enumerate(values):
            net.stop_training = False
            self.callback.on_epoch_end(net, epoch, {"loss": 0.0, self.name: value})
            stopped += [epoch] * net.stop_training
            rates.append(net.optimizer and net.optimizer.learning_rate)
        return stopped, rates


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(("arguments", "monitor"), [
    ({"validation_fraction": 0.4}, "val_loss"), ({"validation_data": (X, NOISY)}, "val_loss"), ({}, "loss"),
    ({"validation_fraction": 0.4, "metrics": ["f1"]}, "val_f1"), ({"metrics": ["roc_auc"]}, "roc_auc"),
])  # fmt: skip
def test_early_stopping_goes_back_to_the_best_epoch_with_its_optimizer_state(optimizer, arguments, monitor):
    stopping, remember, net = (
        fn.EarlyStopping(4, "val_loss" if monitor == "loss" else monitor),
        Remember(),
        classifier(),
    )
    optimizer = fn.Adam(0.3) if optimizer == "adam" else fn.SGD(0.9, momentum=0.9)
    history = net.fit(X, NOISY, epochs=60, optimizer=optimizer, callbacks=[stopping, remember], verbose=0, **arguments)
    values = history.history[monitor]
    best = max(values) if monitor.endswith(("f1", "auc")) else min(values)
    assert stopping.best == best and stopping.best_epoch == values.index(best)
    if stopping.stopped_epoch is not None:
        assert history.epochs == stopping.stopped_epoch + 1 == stopping.best_epoch + 5
    assert (net.params == remember.params[stopping.best_epoch]).all()
    assert (net._state.array == remember.states[stopping.best_epoch]).all()
    assert net._state.step == remember.steps[stopping.best_epoch]
    assert stopping._snapshot is None  # the memory is free again


def test_training_goes_on_from_the_best_epoch():
    """The same bits as a network that stopped there by itself."""
    arguments = {"validation_data": (X, NOISY[::-1]), "optimizer": fn.Adam(0.05), "shuffle": False, "verbose": 0}
    net, short, stopping = classifier(), classifier(), fn.EarlyStopping(2)
    net.fit(X, Y, epochs=50, callbacks=[stopping], **arguments)
    assert 0 <= stopping.best_epoch < stopping.stopped_epoch < 49
    short.fit(X, Y, epochs=stopping.best_epoch + 1, **arguments)
    assert (net.params == short.params).all()
    for trained in (net, short):
        trained.fit(X, Y, epochs=3, **arguments)
    assert (net.params == short.params).all() and (net._state.array == short._state.array).all()


def test_early_stopping_may_leave_the_last_weights():
    stopping, remember, net = fn.EarlyStopping(1, restore_best=False), Remember(), classifier()
    history = net.fit(X, NOISY, epochs=50, optimizer=fn.Adam(0.3), validation_fraction=0.5, verbose=0,
                      callbacks=[stopping, remember])  # fmt: skip
    assert 1 < history.epochs < 50
    assert (net.params == remember.params[-1]).all() and (net.params != remember.params[-2]).any()


def test_the_best_weights_come_back_after_the_last_epoch_too():
    stopping, remember, net = fn.EarlyStopping(100), Remember(), classifier()
    history = net.fit(X, NOISY, epochs=30, optimizer=fn.Adam(0.3), validation_fraction=0.5, verbose=0,
                      callbacks=[stopping, remember])  # fmt: skip
    assert stopping.stopped_epoch is None and stopping.best_epoch < 29 and history.epochs == 30
    assert (net.params == remember.params[stopping.best_epoch]).all()


def test_after_an_exception_the_weights_are_the_last_ones():
    class Fail(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            if epoch == 20:
                raise LookupError("on purpose")

    remember, net, stopping = Remember(), classifier(), fn.EarlyStopping(100)
    with pytest.raises(LookupError):
        net.fit(X, NOISY, epochs=30, optimizer=fn.Adam(0.3), validation_fraction=0.5, verbose=0,
                callbacks=[stopping, remember, Fail()])  # fmt: skip
    assert stopping.best_epoch < 20 and (net.params == remember.params[-1]).all()


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(("arguments", "better", "values", "stopped", "best_epoch"), [
    ({"patience": 1}, "lower", [3, 2, 2, 1], [2], 3),
    ({"patience": 2}, "lower", [3, 2, 2, 1.9, 2, 2, 2], [5, 6], 3),
    ({"patience": 2}, "higher", [3, 2, 2, 1.9, 4], [2, 3], 4),
    ({"patience": 2, "mode": "max"}, None, [1, 2, 2, 3], [], 3),
    ({"patience": 2, "mode": "min"}, "higher", [1, 2, 2, 3], [2, 3], 0),
    ({"patience": 1, "min_delta": 0.5}, "lower", [3, 2.6, 2.5, 2.4, 1.8], [1, 2], 4),
    ({"patience": 2}, "lower", [NAN, NAN, 5, NAN, 4], [1], 4),
    ({"patience": 1}, "lower", [INF, INF, 5, -INF], [1], 3),
])  # fmt: skip
def test_when_a_value_is_better(arguments, better, values, stopped, best_epoch):
    stopping = fn.EarlyStopping(**arguments)
    assert Script(stopping, better=better).play(values, classifier())[0] == stopped
    assert stopping.best_epoch == best_epoch and stopping.best == values[best_epoch]


@pytest.mark.parametrize(("arguments", "values", "rates"), [
    ({"patience": 2}, [5, 4, 4, 4, 4, 4, 3, 3], [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]),
    ({"patience": 1, "cooldown": 2}, [5, 5, 5, 5, 5, 5, 5], [1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
    ({"patience": 1, "cooldown": 1}, [5, 5, 4, 4, 4, 4], [1, 0.5, 0.5, 0.25, 0.25, 0.125]),
    ({"patience": 1, "min_learning_rate": 0.4}, [5, 5, 5, 5], [1, 0.5, 0.4, 0.4]),
    ({"patience": 1, "min_learning_rate": 2.0}, [5, 5, 5, 5], [1, 1, 1, 1]),  # never raised
    ({"patience": 1, "min_delta": 1}, [5, 4, 3, 3], [1, 0.5, 0.5, 0.25]),
    ({"patience": 1, "mode": "max"}, [5, 6, 6, 7], [1, 1, 0.5, 0.5]),
])  # fmt: skip
def test_the_learning_rate_is_reduced_on_a_plateau(arguments, values, rates):
    net = classifier()
    net.train_step(X, Y, optimizer=fn.SGD(1.0))
    assert Script(fn.ReduceOnPlateau(factor=0.5, **arguments)).play(values, net) == ([], rates)


def test_a_reduced_learning_rate_counts_from_the_next_epoch():
    net, by_hand, optimizer = classifier(), classifier(), fn.SGD(0.5)
    slower = fn.ReduceOnPlateau(factor=0.25, patience=1, monitor="constant", mode="min")

    def constant(y, output):
        return 1.0

    history = net.fit(X, Y, epochs=3, optimizer=optimizer, metrics=[constant], callbacks=[slower], verbose=0)
    assert history.history["learning_rate"] == [0.5, 0.5, 0.125] and optimizer.learning_rate == 0.03125
    for rate in (0.5, 0.5, 0.125):
        by_hand.fit(X, Y, epochs=1, optimizer=fn.SGD(rate), verbose=0)
    assert (net.params == by_hand.params).all()


@pytest.mark.parametrize("make", [fn.EarlyStopping, fn.ReduceOnPlateau,
                                  lambda **more: fn.Checkpoint("net", save_best_only=True, **more)])  # fmt: skip
@pytest.mark.parametrize(("arguments", "message"), [
    ({"monitor": "val_los"}, "unknown monitor 'val_los'. Did you mean 'val_loss'. Known: loss, own, val_loss, val_own"),
    ({"monitor": "val_accuracy"}, "unknown monitor 'val_accuracy'"),
    ({"monitor": "own"}, "give mode='min' or mode='max'"), ({"monitor": "seconds"}, "whether a larger 'seconds'"),
])  # fmt: skip
def test_what_is_monitored_is_measured_or_the_network_is_unchanged(make, arguments, message):
    def own(y, output):
        return 1.0

    net = classifier()
    net.train_step(X, Y)
    before = everything(net)
    with pytest.raises(ValueError, match=message):
        net.fit(X, Y, metrics=[own], validation_fraction=0.2, callbacks=[make(**arguments)], verbose=0)
    with pytest.raises(ValueError, match=r"\(there is no validation data\)"):
        net.fit(X, Y, metrics=[own], callbacks=[make(monitor="val_own")], verbose=0)
    assert everything(net) == before
    net.fit(X, Y, epochs=1, verbose=0)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: fn.EarlyStopping(0), ValueError, "patience must be at least 1"),
    (lambda: fn.EarlyStopping(monitor=None), TypeError, "monitor must be the name"),
    (lambda: fn.EarlyStopping(mode="up"), ValueError, "mode must be 'auto', 'min' or 'max', not 'up'"),
    (lambda: fn.EarlyStopping(min_delta=-1), ValueError, "min_delta must be finite and not negative"),
    (lambda: fn.EarlyStopping(min_delta=NAN), ValueError, "min_delta must be finite"),
    (lambda: fn.EarlyStopping(restore_best=1), TypeError, "restore_best must be True or False"),
    (lambda: fn.ReduceOnPlateau(1.0), ValueError, "factor must be between 0 and 1, not 1.0"),
    (lambda: fn.ReduceOnPlateau(patience=0), ValueError, "patience must be at least 1"),
    (lambda: fn.ReduceOnPlateau(min_learning_rate=INF), ValueError, "min_learning_rate must be finite"),
    (lambda: fn.ReduceOnPlateau(cooldown=-1), ValueError, "cooldown must be at least 0"),
    (lambda: fn.Checkpoint(3), TypeError, "path must be a path, not int"),
    (lambda: fn.Checkpoint("a", every=0), ValueError, "every must be at least 1"),
    (lambda: fn.Checkpoint("a", "val_loss"), ValueError, "monitor is only looked at with save_best_only=True"),
    (lambda: fn.Checkpoint(b"net"), TypeError, "path must be a path, not bytes: make it text with os.fsdecode"),
    (lambda: fn.CSVLogger(None), TypeError, "path must be a path"),
    (lambda: fn.JSONLogger("a", append=2), TypeError, "append must be True or False"),
    (lambda: fn.TimeLimit(0), ValueError, "seconds must be finite and more than 0"),
    (lambda: fn.TimeLimit("1"), TypeError, "seconds must be a number"),
    (lambda: fn.LambdaCallback(), TypeError, "needs a function for one of on_fit_begin"),
    (lambda: fn.LambdaCallback(on_fit_end=3), TypeError, "on_fit_end must be a function"),
])  # fmt: skip
def test_arguments_of_callbacks(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- files ----------------------------------------------------------------------------------------------------------


def test_checkpoints_hold_the_network_after_their_epoch(tmp_path):
    remember, checkpoint = Remember(), fn.Checkpoint(tmp_path / "{{net}}-{epoch:02d}-{val_loss:.3f}.fnn", every=3)
    net = classifier()
    history = net.fit(X, Y, epochs=7, validation_fraction=0.2, callbacks=[checkpoint, remember], verbose=0).history
    names = [f"{{net}}-{epoch:02d}-{history['val_loss'][epoch - 1]:.3f}.fnn" for epoch in (3, 6)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names and checkpoint.saved == str(tmp_path / names[1])
    for name, epoch in zip(names, (2, 5), strict=True):
        loaded = fn.load(tmp_path / name)
        assert (loaded.params == remember.params[epoch]).all() and loaded._state.step == remember.steps[epoch]
        assert (loaded._state.array == remember.states[epoch]).all()


def test_the_best_checkpoint_alone(tmp_path):
    remember, path = Remember(), tmp_path / "best.fnn"
    best = fn.Checkpoint(str(path), save_best_only=True)
    net = classifier()
    values = net.fit(X, NOISY, epochs=30, optimizer=fn.Adam(0.3), validation_fraction=0.5, verbose=0,
                     callbacks=[best, remember]).history["val_loss"]  # fmt: skip
    assert np.argmin(values) < 29
    assert (fn.load(path).params == remember.params[np.argmin(values)]).all()
    each = fn.Checkpoint(tmp_path / "{epoch}", "accuracy", save_best_only=True, every=2)
    values = net.fit(X, NOISY, epochs=20, metrics=["accuracy"], callbacks=[each], verbose=0).history["accuracy"]
    better = [e for e in range(2, 21, 2) if values[e - 1] > max([-1, *values[1 : e - 1 : 2]])]
    assert sorted(int(path.name) for path in tmp_path.glob("[0-9]*")) == better


@pytest.mark.parametrize(("path", "error", "message"), [
    ("{epok}", ValueError, "unknown name in path 'epok'. Did you mean 'epoch'"), ("{", ValueError, "path is"),
    ("{}", ValueError, "unknown name in path ''"), ("{epoch.real}", ValueError, "unknown name in path 'epoch.real'"),
    ("{val_loss}", ValueError, "unknown name in path 'val_loss'"), ("{loss:d}", ValueError, "path is"),
    ("no/such/net", FileNotFoundError, "there is no folder"),
])  # fmt: skip
def test_where_nothing_can_be_saved(tmp_path, path, error, message):
    net = classifier()
    before = everything(net)
    with pytest.raises(error, match=message):
        net.fit(X, Y, callbacks=[fn.Checkpoint(f"{tmp_path}/{path}")], verbose=0)
    assert everything(net) == before and not list(tmp_path.iterdir())


def test_a_checkpoint_that_fails_ends_fit_and_keeps_the_network_usable(tmp_path):
    (tmp_path / "2").mkdir()
    net = classifier()
    with pytest.raises(ValueError, match="is no file"):
        net.fit(X, Y, epochs=3, callbacks=[fn.Checkpoint(tmp_path / "{epoch}")], verbose=0)
    assert net.history.epochs == 2 and (fn.load(tmp_path / "1").params != net.params).any()
    net.fit(X, Y, epochs=1, verbose=0)


def lines_of(path):
    return path.read_text().splitlines()


LOGGED = [{}, {"metrics": ["accuracy", "f1_micro"]}, {"validation_fraction": 0.2},
          {"validation_data": (X, Y), "metrics": ["top_2", lambda y, output: 0.5]}]  # fmt: skip


@pytest.mark.parametrize("arguments", LOGGED)
def test_loggers_write_what_the_history_holds(tmp_path, arguments):
    loggers = [fn.CSVLogger(tmp_path / "log.csv"), fn.JSONLogger(tmp_path / "log.jsonl")]
    for epochs in (3, 2):  # the second fit begins anew
        history = classifier().fit(X, Y, epochs=epochs, callbacks=loggers, verbose=0, **arguments).history
        with open(tmp_path / "log.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["epoch", *history]
        objects = [json.loads(line) for line in lines_of(tmp_path / "log.jsonl")]
        assert list(objects[0]) == ["epoch", *history]
        for read in (rows, objects):
            assert [int(row["epoch"]) for row in read] == list(range(1, epochs + 1))
            for name, values in history.items():
                assert [float(row[name]) for row in read] == values  # bit by bit


def test_loggers_can_append(tmp_path):
    for _ in range(2):
        loggers = [fn.CSVLogger(tmp_path / "a", append=True), fn.JSONLogger(tmp_path / "b", append=True)]
        for _ in range(2):
            classifier().fit(X, Y, epochs=2, callbacks=loggers, verbose=0)
    lines = lines_of(tmp_path / "a")
    assert [line.split(",")[0] for line in lines] == ["epoch", *"12" * 4]
    assert [json.loads(line)["epoch"] for line in lines_of(tmp_path / "b")] == [1, 2] * 4
    for name in "ab":  # the machine went down in the middle of a line
        (tmp_path / name).write_text((tmp_path / name).read_text()[:-3])
    classifier().fit(X, Y, epochs=1, callbacks=loggers, verbose=0)
    assert (tmp_path / "a").read_text().splitlines()[-1].startswith("1,")
    assert json.loads((tmp_path / "b").read_text().splitlines()[-1])["epoch"] == 1
    net = classifier()
    before = everything(net)
    with pytest.raises(ValueError, match="has the columns epoch, loss, learning_rate, seconds; needed"):
        net.fit(X, Y, metrics=["accuracy"], callbacks=loggers, verbose=0)
    assert everything(net) == before


@pytest.mark.parametrize("make", [fn.CSVLogger, fn.JSONLogger])
def test_what_was_logged_is_in_the_file_at_once(tmp_path, make):
    lines = []

    class Look(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            lines.append(len((tmp_path / "log").read_text().splitlines()))
            if epoch == 2:
                raise LookupError("on purpose")

    with pytest.raises(LookupError):
        classifier().fit(X, Y, epochs=9, callbacks=[make(tmp_path / "log"), Look()], verbose=0)
    header = make is fn.CSVLogger
    assert lines == [1 + header, 2 + header, 3 + header]
    assert len((tmp_path / "log").read_text().splitlines()) == 3 + header


@pytest.mark.parametrize("make", [fn.CSVLogger, fn.JSONLogger])
def test_where_nothing_can_be_logged(tmp_path, make):
    net = classifier()
    before = everything(net)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        net.fit(X, Y, callbacks=[make(tmp_path / "no" / "log")], verbose=0)
    assert everything(net) == before
    params = net.params.copy()
    with pytest.raises(OSError, match=str(tmp_path)):  # the path is a folder
        net.fit(X, Y, callbacks=[make(tmp_path)], verbose=0)
    assert (net.params == params).all()
    net.fit(X, Y, epochs=1, verbose=0)


def test_what_is_not_finite_is_null_in_json(tmp_path):
    values = iter([NAN, INF, -INF, 1.5])

    def own(y, output):
        return next(values)

    loggers = [fn.JSONLogger(tmp_path / "a"), fn.CSVLogger(tmp_path / "b")]
    classifier().fit(X, Y, epochs=4, metrics=[own], callbacks=loggers, verbose=0)
    read = [json.loads(line, parse_constant=pytest.fail)["own"] for line in lines_of(tmp_path / "a")]
    assert read == [None, None, None, 1.5]
    assert [line.split(",")[2] for line in lines_of(tmp_path / "b")] == ["own", "nan", "inf", "-inf", "1.5"]


# ---- time, functions, and all of them -------------------------------------------------------------------------------


def test_a_time_limit_ends_with_an_epoch_or_with_a_batch():
    wait = fn.LambdaCallback(on_batch_end=lambda *_: time.sleep(0.02))
    for limit, least in ((fn.TimeLimit(0.05), 5), (fn.TimeLimit(0.05, per_batch=True), 3)):
        net = classifier()
        history = net.fit(X, Y, epochs=9, batch_size=10, callbacks=[wait, limit], verbose=0)
        assert history.epochs == 1 and net._state.step <= least
        assert net._state.step == 5 or limit.per_batch
        net.fit(X, Y, epochs=1, batch_size=50, callbacks=[limit], verbose=0)  # the clock starts anew
        assert net.history.epochs == 1
    assert classifier().fit(X, Y, epochs=3, callbacks=[fn.TimeLimit(1e6)], verbose=0).epochs == 3
    assert not hasattr(fn.TimeLimit(1), "on_batch_end") and not hasattr(wait.__class__(print), "on_batch_end")


def test_functions_as_a_callback():
    events = []
    every = fn.LambdaCallback(
        on_fit_begin=lambda net: events.append("begin"), on_fit_end=lambda net: events.append("end"),
        on_batch_end=lambda net, step, logs: events.append(("batch", step, sorted(logs))),
        on_epoch_end=lambda net, epoch, logs: events.append(("epoch", epoch, sorted(logs))),
    )  # fmt: skip
    note = Note()
    classifier().fit(X, Y, epochs=2, batch_size=20, callbacks=[every, note], verbose=0)
    assert events == note.events and len(events) == 10


SHIPPED = {
    "EarlyStopping": lambda folder: fn.EarlyStopping(1),
    "ReduceOnPlateau": lambda folder: fn.ReduceOnPlateau(0.5, 1),
    "Checkpoint": lambda folder: fn.Checkpoint(folder / "net", save_best_only=True),
    "CSVLogger": lambda folder: fn.CSVLogger(folder / "csv"),
    "JSONLogger": lambda folder: fn.JSONLogger(folder / "json"),
    "TimeLimit": lambda folder: fn.TimeLimit(1e-9, per_batch=True),
    "LambdaCallback": lambda folder: fn.LambdaCallback(on_fit_end=print),
}


def test_all_callbacks_are_known_here_and_documented():
    public = {name for name in fn.__all__ if isinstance(getattr(fn, name), type)}
    assert {name for name in public if issubclass(getattr(fn, name), fn.Callback)} == {*SHIPPED, "Callback"}
    page = (Path(__file__).parents[1] / "docs" / "callbacks.md").read_text()
    for name in SHIPPED:
        assert f"| `{name}(" in page, f"docs/callbacks.md has no line of {name}"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_callback_used_again_begins_anew(tmp_path, name):
    def trained(callback):
        """A short and a long fit: what is left, apart from the time it took."""
        net = classifier()
        for epochs in (2, 25):
            optimizer = fn.Adam(0.2)
            net.fit(X, NOISY, epochs=epochs, batch_size=10, optimizer=optimizer, validation_fraction=0.4, verbose=0,
                    callbacks=[callback() if isinstance(callback, type(trained)) else callback])  # fmt: skip
        return digest(net.params), digest(net._state.array), net.history.epochs, optimizer.learning_rate

    fresh = trained(lambda: SHIPPED[name](tmp_path))
    assert fresh == trained(SHIPPED[name](tmp_path))
    used = SHIPPED[name](tmp_path)
    trained(used)
    for again in (pickle.loads(pickle.dumps(used)), copy.deepcopy(used)):
        assert type(again) is type(used) and vars(again).keys() == vars(used).keys()
        assert trained(again) == fresh


@pytest.mark.parametrize(
    "name", [name for name in SHIPPED if name not in ("EarlyStopping", "ReduceOnPlateau", "TimeLimit")]
)
def test_callbacks_that_only_look_change_no_bit(tmp_path, name):
    plain, watched = classifier(), classifier()
    plain.fit(X, Y, epochs=3, batch_size=8, verbose=0)
    watched.fit(X, Y, epochs=3, batch_size=8, callbacks=[SHIPPED[name](tmp_path)], verbose=0)
    assert (plain.params == watched.params).all() and (plain._state.array == watched._state.array).all()


def test_each_fit_has_its_own_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("fastnn.callbacks.monotonic", lambda: now[0])

    class Wait(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            now[0] += 1.0

    limit = fn.TimeLimit(3)
    for _ in range(2):
        assert classifier().fit(X, Y, epochs=9, callbacks=[Wait(), limit], verbose=0).epochs == 3


def test_early_stopping_forgets_what_an_earlier_fit_found():
    stopping = fn.EarlyStopping(1, "loss", mode="max")  # the loss falls: it stops at once
    classifier().fit(X, Y, epochs=9, optimizer=fn.Adam(0.05), callbacks=[stopping], verbose=0)
    assert (stopping.best_epoch, stopping.stopped_epoch) == (0, 1)
    classifier().fit(X, Y, epochs=1, callbacks=[stopping], verbose=0)
    assert (stopping.best_epoch, stopping.stopped_epoch) == (0, None)
    classifier().fit(X, Y, epochs=0, callbacks=[stopping], verbose=0)
    assert stopping.best_epoch is None and math.isnan(stopping.best)


def test_other_threads_see_whole_weights_while_the_best_come_back():
    """A reader during ``fit`` gets the outputs of some completed epoch's weights, never of half a restoration."""
    net, remember, seen, over = classifier(), Remember(), [], threading.Event()

    def read():
        while not over.is_set():
            seen.append(net.predict(X).tobytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(20):
            net.fit(X, NOISY, epochs=8, optimizer=fn.Adam(0.3), validation_fraction=0.5, batch_size=None, verbose=0,
                    callbacks=[fn.EarlyStopping(2), remember])  # fmt: skip
    finally:
        over.set()
        reader.join()
    other = classifier()
    possible = {other.predict(X).tobytes()}
    for params in remember.params:
        other.params[...] = params
        possible.add(other.predict(X).tobytes())
    wrong = [output for output in seen if output not in possible]
    assert seen and not wrong


@pytest.mark.parametrize("logger", [fn.CSVLogger, fn.JSONLogger])
def test_a_folder_is_no_log(logger, tmp_path):
    """The network had its weights already when the file could not be opened."""
    net = fn.Sequential([fn.Dense(1)], seed=0)
    with pytest.raises(IsADirectoryError, match="which is a folder: needed is the name of a file"):
        net.fit(np.ones((8, 2)), np.ones(8), epochs=1, callbacks=[logger(tmp_path)], verbose=0)
    assert net.inputs is None
