# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks: when each is called, with what, and what they may do."""

import numpy as np
import pytest

import fastnn as fn

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
