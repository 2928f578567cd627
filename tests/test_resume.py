# SPDX-License-Identifier: BSD-3-Clause
"""Exact resume: stopped after any batch, a run ends with the bits of one that was never stopped.

The runs are in ``resume_runs.py``. Each is made once with a checkpoint after every batch; every one of these is then
gone on from, with everything made anew, on other threads, some in other processes.
"""

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import resume_runs
from checkpoints import (
    EVERY_BATCH,
    ONLY_AT_THE_END,
    gone_on,
    gone_on_elsewhere,
    place,
    stopped_again_and_again,
    written_by,
)
from processes import python
from resume_runs import RUNS, X, digest, run
from snapshot import everything

import fastnn as fn
from fastnn import checkpoint, files
from fastnn.resume import Saver
from fastnn.training import Fit

HERE = Path(__file__).parent
STEPS = {"plain": 6, "every batch": 4}  # of an epoch; else 5


@pytest.fixture(scope="module")
def reference():
    """Name -> digest of a run without checkpoints."""
    return {name: digest(run(name)) for name in RUNS}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Name -> every checkpoint of a run, as bytes, and the digest at its end."""
    found = {}
    for name in RUNS:
        path = tmp_path_factory.mktemp("run") / "run.ckpt"
        contents, net = written_by(lambda every, name=name: run(name, every), path)
        found[name] = contents, digest(net)
    return found


# ---- the same bits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_every_batch_is_written_and_changes_nothing(name, reference, written):
    contents, ends_with = written[name]
    assert ends_with == reference[name]
    net = run(name)
    epochs = net.history.epochs
    steps = STEPS.get(name, 5)
    places = [(epoch, step) for epoch in range(epochs) for step in range(steps)] + [(epochs, 0)]
    assert [place(content) for content in contents] == places[1:]
    assert all(fn.files.from_bytes(content).n_params == net.n_params for content in contents[::7])


def test_the_runs_do_what_they_are_for():
    stopping = run("all at once").used[1]
    assert stopping.stopped_epoch is not None and 0 < stopping.best_epoch < 12
    assert run("all at once").used[0]._waited is not None
    net = run("all at once")
    assert len({*net.history.history["learning_rate"]}) > 3 and net.optimizer.learning_rate < 0.05
    assert np.isfinite(net.averaged_params).all() and net._parameters.draws[0] > 0
    assert (net.layers[2].running_mean != 0).any()


@pytest.mark.parametrize("name", RUNS)
def test_from_every_batch_the_same_bits(name, reference, written, tmp_path):
    contents, _ = written[name]
    for number, content in enumerate(contents):
        net = gone_on(run, name, content, tmp_path, threads=1 + number % 3)
        assert digest(net) == reference[name], place(content)


@pytest.mark.parametrize("name", RUNS)
def test_in_another_process(name, reference, written, tmp_path):
    contents, _ = written[name]
    chosen = contents[:: max(1, len(contents) // 5)]
    assert gone_on_elsewhere(run, name, chosen, tmp_path) == [reference[name]] * len(chosen)


@pytest.mark.parametrize("name", ["all at once", "python loss", "every batch"])
def test_stopped_again_and_again(name, reference, tmp_path):
    """One batch in each call."""
    net, killed = stopped_again_and_again(run, name, tmp_path / "run.ckpt", Saver)
    assert killed == STEPS.get(name, 5) * net.history.epochs
    assert digest(net) == reference[name]


def test_in_the_same_process_the_same_objects_go_on(reference, tmp_path):
    """As in a notebook: the callback changed the optimizer, and it is given again."""
    net, arguments = RUNS["all at once"]()
    calls = []

    def late(*_):
        calls.append(0)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return 1.0

    arguments |= {"checkpoint": tmp_path / "run.ckpt", "resume": True, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        net.fit(**arguments | {"metrics": ["accuracy", "roc_auc", late]})
    with pytest.raises(ValueError, match=r"another run: metrics was .* and is "):
        net.fit(**arguments)
    net.fit(**arguments | {"metrics": ["accuracy", "roc_auc", late]})
    net.used = arguments["callbacks"]
    del net.history.history["late"], net.history.history["val_late"]
    assert digest(net) == reference["all at once"]


def test_the_data_may_have_another_type(reference, written, tmp_path):
    """What counts are the numbers that training reads."""
    contents, _ = written["held out"]
    net = gone_on(run, "held out", contents[7], tmp_path, X=np.asfortranarray(X.astype(np.float32).astype(np.float64)))
    assert digest(net) == reference["held out"]


def test_the_weights_before_the_epoch_are_there_after_a_divergence(tmp_path):
    def network():
        return fn.Sequential([fn.Dense(3)], seed=0)

    def fit(net, **more):
        with pytest.raises(fn.DivergenceError) as error:
            net.fit(X, X[:, :3], batch_size=10, epochs=3, optimizer=fn.SGD(0.01), verbose=0,
                    schedule=lambda step: 1e45 if step == 8 else 1.0, **more)  # fmt: skip
        return error.value.epoch, error.value.batch, everything(net) | {"history object": 0}

    def held(found):
        epoch, batch, net = found
        del net["history"]
        return epoch, batch, net

    reference = held(fit(network()))
    path = tmp_path / "run.ckpt"
    assert held(fit(network(), checkpoint=fn.RunCheckpoint(path, seconds=EVERY_BATCH))) == reference
    assert place(path.read_bytes()) == (1, 3)  # what led to it stays, for whoever wants to look
    assert held(fit(network(), checkpoint=path, resume=True)) == reference


# ---- when it is written ----------------------------------------------------------------------------------------------


def fit_plain(path=None, net=None, **changed):
    """A small fit; the network."""
    net = net if net is not None else fn.Sequential([fn.Dense(4, "tanh"), fn.Dense(1)], seed=0)
    arguments = {"epochs": 6, "batch_size": 10, "verbose": 0} | changed
    net.fit(X, X[:, 0], checkpoint=path, **arguments)
    return net


def test_every_so_many_epochs(tmp_path, monkeypatch):
    places = []
    real = checkpoint.CheckpointFiles.write
    monkeypatch.setattr(
        checkpoint.CheckpointFiles, "write", lambda self, content: (places.append(place(content)), real(self, content))
    )
    fit_plain(fn.RunCheckpoint(tmp_path / "run.ckpt", epochs=2), epochs=5)
    assert places == [(2, 0), (4, 0), (5, 0)]
    places.clear()
    fit_plain(tmp_path / "run.ckpt")  # a path: every minute, which this is not
    assert places == [(6, 0)]
    places.clear()
    fit_plain(fn.RunCheckpoint(str(tmp_path / "run.ckpt"), epochs=3, seconds=1e9))
    assert places == [(3, 0), (6, 0)]
    assert sorted(os.listdir(tmp_path)) == ["run.ckpt", "run.ckpt.previous"]
    assert place((tmp_path / "run.ckpt.previous").read_bytes()) == (3, 0)


def test_without_a_time_an_epoch_stays_one_call_and_with_one_it_is_a_few(tmp_path, monkeypatch):
    calls = []
    real = Fit._steps
    monkeypatch.setattr(Fit, "_steps", lambda self, *a, **k: (calls.append(a[2]), real(self, *a, **k))[1])
    fit_plain()
    fit_plain(fn.RunCheckpoint(tmp_path / "run.ckpt", epochs=1))
    assert calls == [5] * 12
    calls.clear()
    fit_plain(fn.RunCheckpoint(tmp_path / "run.ckpt", seconds=1e6), batch_size=1, epochs=20)
    assert calls[:6] == [1, 2, 4, 8, 16, 16] and calls[-10:] == [47] * 10
    monkeypatch.setattr("fastnn.resume.LONGEST_PIECE", 1e-9)
    calls.clear()
    fit_plain(fn.RunCheckpoint(tmp_path / "run.ckpt", seconds=1e6))
    assert calls == [1] * 30


def test_a_finished_run_returns_at_once(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    net = fit_plain(path, metrics=["mae"])
    before = path.read_bytes()
    monkeypatch.setattr(Fit, "_steps", lambda *_: pytest.fail("it trained"))
    again = fit_plain(path, resume=True, metrics=["mae"])
    assert vars(again.history) == vars(net.history) and again.history.health.layers  # with its seconds
    assert (again.params == net.params).all() and again.stop_training is False
    assert path.read_bytes() == before


def test_without_a_file_it_starts_from_the_beginning(tmp_path):
    assert (fit_plain(tmp_path / "run.ckpt", resume=True).params == fit_plain().params).all()
    assert (tmp_path / "run.ckpt").exists()


@pytest.mark.parametrize("schedule", [None, fn.StepSchedule(7, 0.5)])
def test_more_epochs_are_the_rest_of_a_longer_run(tmp_path, schedule):
    path = tmp_path / "run.ckpt"
    fit_plain(path, epochs=3, schedule=schedule)
    net = fit_plain(path, epochs=6, resume=True, schedule=schedule)
    straight = fit_plain(epochs=6, schedule=schedule)
    assert (net.params == straight.params).all() and net.history.epochs == 6
    assert net.history.health == straight.history.health
    with pytest.raises(ValueError, match=r"epochs is 5, the total, but .*run.ckpt is after 6 epochs"):
        fit_plain(path, epochs=5, resume=True, schedule=schedule)


def test_more_epochs_do_not_fit_a_schedule_that_knew_the_end(tmp_path):
    path = tmp_path / "run.ckpt"
    fit_plain(path, epochs=3, schedule=fn.CosineSchedule())
    with pytest.raises(ValueError, match=r"epochs was 3 in .* and is 6: with this schedule"):
        fit_plain(path, epochs=6, resume=True, schedule=fn.CosineSchedule())
    fit_plain(path, epochs=3, resume=True, schedule=fn.CosineSchedule())


def test_a_second_run_of_a_network_goes_on_from_its_own_start(tmp_path):
    """The order of its rows is that of later epochs."""
    once = fit_plain(epochs=2)
    fit_plain(net=once, epochs=4)
    path = tmp_path / "run.ckpt"
    with pytest.raises(ZeroDivisionError):
        fit_plain(fn.RunCheckpoint(path, seconds=EVERY_BATCH), fit_plain(epochs=2), epochs=4, callbacks=[Fail(13)])
    assert place(path.read_bytes()) == (2, 3)
    resumed = fit_plain(path, epochs=4, resume=True)
    assert (resumed.params == once.params).all() and resumed._epochs_done == 6


class Fail(fn.Callback):
    """An error in a callback, after so many batches."""

    def __init__(self, step):
        self.step = step

    def on_batch_end(self, net, step, logs):
        if step == self.step:
            raise ZeroDivisionError


def test_an_error_in_a_callback_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "run.ckpt"
    with pytest.raises(ZeroDivisionError):
        fit_plain(path, callbacks=[Fail(13)])
    assert not path.exists()
    with pytest.raises(ZeroDivisionError):
        fit_plain(fn.RunCheckpoint(path, seconds=EVERY_BATCH), callbacks=[Fail(13)])
    assert place(path.read_bytes()) == (2, 3)
    assert (fit_plain(path, resume=True).params == fit_plain().params).all()


def test_an_error_of_a_loss_leaves_a_checkpoint_of_the_last_step(tmp_path):
    def broken(y, output, calls=[0]):  # noqa: B006
        calls[0] += 1
        if calls[0] == 13:
            raise ZeroDivisionError
        return ((output - y) ** 2).mean(1), 2 * (output - y)

    path = tmp_path / "run.ckpt"
    with pytest.raises(ZeroDivisionError):
        fit_plain(path, loss=broken)
    assert place(path.read_bytes()) == (2, 2)
    assert (fit_plain(path, loss=broken, resume=True).params == fit_plain(loss=broken).params).all()


@pytest.mark.parametrize("per_batch", [False, True])
def test_a_limit_of_time_ends_a_run_for_now(tmp_path, per_batch, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("fastnn.callbacks.monotonic", lambda: now[0])

    class Wait(fn.Callback):
        def on_batch_end(self, net, step, logs):
            now[0] += 1.0

    path, made = tmp_path / "run.ckpt", []
    while True:
        net = fit_plain(path, resume=True, callbacks=[fn.TimeLimit(7, per_batch), Wait()])
        made.append(place(path.read_bytes()))
        if made[-1] == (6, 0):
            break
    assert made == ([(1, 2), (2, 4), (4, 1), (5, 3), (6, 0)] if per_batch else [(2, 0), (4, 0), (6, 0)])
    straight = fit_plain()
    assert (net.params == straight.params).all() and net.history.history["loss"] == straight.history.history["loss"]


@pytest.mark.parametrize("event", ["on_epoch_end", "on_batch_end"])
def test_a_run_that_a_callback_ended_is_finished(tmp_path, event):
    def end(net, number, logs):
        net.stop_training = number == 2

    path = tmp_path / "run.ckpt"
    every = fn.RunCheckpoint(path, seconds=EVERY_BATCH)
    net = fit_plain(every, callbacks=[fn.LambdaCallback(**{event: end})])
    again = fit_plain(path, resume=True, callbacks=[fn.LambdaCallback(**{event: end})])
    assert again.history.history == net.history.history and net.history.epochs == (3 if event == "on_epoch_end" else 1)
    assert (again.params == net.params).all()


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_whole", full)
        with pytest.warns(RuntimeWarning, match=r"run.ckpt could not be written: .*No space left"):
            net = fit_plain(tmp_path / "run.ckpt")
    assert (net.params == fit_plain().params).all() and not os.listdir(tmp_path)


def test_what_it_says(tmp_path, capsys):
    path = tmp_path / "run.ckpt"
    fit_plain(path, epochs=4)
    fit_plain(path, epochs=6, resume=True, verbose=2)
    said = capsys.readouterr().out.splitlines()
    assert said[2] == f"going on after 4 epochs and 0 steps, from {path}"
    assert [line.split()[1] for line in said[3:]] == ["5/6", "6/6"]


def test_a_checkpoint_is_a_model_too(tmp_path):
    path = tmp_path / "run.ckpt"
    with pytest.raises(ZeroDivisionError):
        fit_plain(fn.RunCheckpoint(path, seconds=EVERY_BATCH), callbacks=[Fail(13)])
    net = fn.load(path)
    assert net._state.step == 13
    net.fit(X, X[:, 0], optimizer=fn.Adam(1e-4), epochs=1, verbose=0)


def test_memory_runs_out_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    fit_plain(path, epochs=2)
    net = fn.Sequential([fn.Dense(4, "tanh"), fn.Dense(1)], seed=0)
    before = everything(net)

    def none(*_):
        raise MemoryError

    monkeypatch.setattr(files, "read", none)
    with pytest.raises(MemoryError):
        fit_plain(path, net, resume=True)
    assert everything(net) == before


# ---- callbacks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [fn.CSVLogger, fn.JSONLogger])
def test_a_log_has_each_epoch_once(kind, tmp_path):
    def lines(path):
        return [line.rsplit(b",", 1)[0] for line in path.read_bytes().splitlines()]  # without the seconds

    fit_plain(callbacks=[kind(tmp_path / "straight")])
    path = tmp_path / "run.ckpt"
    with pytest.raises(ZeroDivisionError):  # in the fourth epoch, after a checkpoint in the second
        fit_plain(fn.RunCheckpoint(path, epochs=2), epochs=6, callbacks=[kind(tmp_path / "log"), Fail(17)])
    assert place(path.read_bytes()) == (2, 0) and len(lines(tmp_path / "log")) == 3 + (kind is fn.CSVLogger)
    fit_plain(path, resume=True, callbacks=[kind(tmp_path / "log")])
    assert lines(tmp_path / "log") == lines(tmp_path / "straight")
    fit_plain(path, resume=True, callbacks=[kind(tmp_path / "log")])
    assert lines(tmp_path / "log") == lines(tmp_path / "straight")
    os.unlink(tmp_path / "log")
    fit_plain(path, resume=True, callbacks=[kind(tmp_path / "log")])


def test_the_best_file_stays_the_best(tmp_path):
    """A value that was best before is not forgotten."""

    def fit(folder, **more):
        saving = fn.Checkpoint(folder / "best-{epoch}", monitor="loss", save_best_only=True, mode="max")
        return fit_plain(callbacks=[saving], optimizer=fn.Adam(0.05), **more), saving

    for name in ("straight", "resumed"):
        (tmp_path / name).mkdir()
    fit(tmp_path / "straight")
    path = tmp_path / "run.ckpt"
    fit(tmp_path / "resumed", path=path, epochs=3)
    _, saving = fit(tmp_path / "resumed", path=path, resume=True)
    assert os.listdir(tmp_path / "straight") == os.listdir(tmp_path / "resumed") == ["best-1"]
    assert saving.saved == str(tmp_path / "resumed" / "best-1")


@pytest.mark.parametrize(("state", "message"), [
    ([1, 2], r"Odd.state_dict\(\) must return a dict with names, not list"),
    ({1: 2}, r"must return a dict with names"),
    ({"a": object()}, r"Odd.state_dict\(\) must hold numbers, text, lists, dicts and arrays"),
    ({"a": np.zeros(2, complex)}, r"\['a'\] is an array of complex128"),
    ({"a": np.array(["text"])}, r"\['a'\] is an array of <U4"),
])  # fmt: skip
def test_a_state_that_cannot_be_written_is_named(state, message, tmp_path):
    class Odd(fn.Callback):
        def state_dict(self):
            return state

    with pytest.raises(TypeError, match=message):
        fit_plain(tmp_path / "run.ckpt", callbacks=[Odd()])


def test_all_kinds_of_values_come_back(tmp_path):
    values = {
        "yes": True, "none": None, "text": "µ", "nan": float("nan"), "list": [1, 2.5, [None]], "dict": {"a": {"b": 1}},
        "bools": np.array([[True], [False]]), "number": np.array(3.5), "empty": np.zeros((0, 3)),
        "turned": np.arange(6, dtype=np.int16).reshape(2, 3).T, "big endian": np.array([1, 2], ">i8"),
        "half": np.array([1.5], np.float16), "unsigned": np.array([2**64 - 1], np.uint64), "small": np.int8(-3),
    }  # fmt: skip
    got = []

    class Keeps(fn.Callback):
        def state_dict(self):
            return values

        def load_state_dict(self, state):
            got.append(state)

    path = tmp_path / "run.ckpt"
    fit_plain(path, callbacks=[Keeps()])
    fit_plain(path, callbacks=[Keeps()], resume=True)
    assert got[0].keys() == values.keys()
    for name, value in values.items():
        found = got[0][name]
        if isinstance(value, np.ndarray):
            assert found.dtype == value.dtype.newbyteorder("=") and found.shape == value.shape, name
            assert (found == value).all(), name
        else:
            assert found == value or (name == "nan" and np.isnan(found)), name


def test_best_weights_that_were_not_kept_cannot_come_back(tmp_path):
    path = tmp_path / "run.ckpt"
    fit_plain(path, callbacks=[fn.EarlyStopping(restore_best=False)])
    with pytest.raises(ValueError, match="no best weights"):
        fit_plain(path, resume=True, callbacks=[fn.EarlyStopping()], epochs=7)


# ---- another run -----------------------------------------------------------------------------------------------------


def wide(**changed):
    """Arguments of a run with most things given."""
    arguments = {
        "X": X, "y": X[:, 0], "loss": "mse", "optimizer": fn.Adam(0.01), "epochs": 3, "batch_size": 10, "shuffle": True,
        "metrics": ["mae"], "callbacks": [fn.EarlyStopping()], "validation_data": (X[:9], X[:9, 0]), "clip_norm": 1.0,
        "sample_weight": np.arange(47.0), "schedule": fn.CosineSchedule(), "verbose": 0,
    }  # fmt: skip
    return arguments | changed


def layers(units=4, activation="tanh"):
    return [fn.Dense(units, activation), fn.Dense(1)]


MOVED = X + np.where(np.arange(47)[:, None] == 46, 1e-6, 0.0)  # the last row


@pytest.mark.parametrize(("network", "arguments", "message"), [
    ({"layers": layers(5)}, {}, r"network\.layers\[0\]\.units was 4 and is 5"),
    ({"layers": layers(4, "relu")}, {}, r"network\.layers\[0\]\.activation was 'tanh' and is 'relu'"),
    ({"layers": [*layers(), fn.Dense(1)]}, {}, r"network\.layers was \[.*and is \["),
    ({"seed": 1}, {}, r"seed was 0 and is 1"),
    ({"dtype": "float64"}, {}, r"network\.dtype was 'float32' and is 'float64'"),
    ({"scale_targets": True}, {}, r"network\.scale_targets was False and is True"),
    ({}, {"loss": "mae"}, r"loss was 'mse' and is 'mae'"),
    ({}, {"loss": fn.Huber(0.3)}, r"loss was 'mse' and is \{'kind': 'huber', 'delta': 0\.3\}"),
    ({}, {"loss": resume_runs.asymmetric}, r"loss was 'mse' and is 'asymmetric'"),
    ({}, {"optimizer": fn.Adam(0.02)}, r"optimizer\.learning_rate was 0\.01 and is 0\.02"),
    ({}, {"optimizer": "sgd"}, r"optimizer\.kind was 'adam' and is 'sgd'"),
    ({}, {"batch_size": 5}, r"batch_size was 10 and is 5"),
    ({}, {"accumulate": 2}, r"batch_size was 10 and is 20"),
    ({}, {"shuffle": False}, r"shuffle was True and is False"),
    ({}, {"metrics": ["mse"]}, r"metrics\[0\] was 'mae' and is 'mse'"),
    ({}, {"callbacks": []}, r"callbacks was \['EarlyStopping'\] and is \[\]"),
    ({}, {"clip_norm": 2.0}, r"clip_norm was 1\.0 and is 2\.0"),
    ({}, {"clip_norm": None, "clip_value": 1.0}, r"clip_norm was 1\.0 and is None; clip_value was None and is 1\.0"),
    ({}, {"schedule": None}, r"schedule was \{.*\} and is None"),
    ({}, {"schedule": fn.CosineSchedule(final=0.1)}, r"schedule\.kind was 'CosineSchedule\(warmup=0, final=0\.0\)'"),
    ({}, {"X": MOVED}, r"another run: X has other numbers\. Give"),
    ({}, {"X": X[:46], "y": X[:46, 0], "sample_weight": np.arange(46.0)}, r"X\.shape\[0\] was 47 and is 46"),
    ({}, {"y": X[:, 1]}, r"y has other numbers"),
    ({}, {"sample_weight": None}, r"sample_weight was \{.* and is None"),
    ({}, {"sample_weight": np.ones(47)}, r"sample_weight has other numbers"),
    ({}, {"validation_data": (MOVED[-9:], X[:9, 0])}, r"validation_data\.X has other numbers"),
    ({}, {"validation_data": None, "validation_fraction": 0.2}, r"validation_fraction was None and is 0\.2"),
])  # fmt: skip
def test_another_run_is_named_and_nothing_changes(network, arguments, message, tmp_path):
    path = tmp_path / "run.ckpt"
    fn.Sequential(layers(), seed=0).fit(**wide(), checkpoint=path)
    content = path.read_bytes()
    net = fn.Sequential(**{"layers": layers(), "seed": 0} | network)
    before = everything(net)
    with pytest.raises(ValueError, match=message):
        net.fit(**wide(**arguments), checkpoint=path, resume=True)
    assert everything(net) == before and path.read_bytes() == content
    fn.Sequential(layers(), seed=0).fit(**wide(), checkpoint=path, resume=True, threads=2)


def test_the_names_of_columns_belong_to_the_run(tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    path, frame = tmp_path / "run.ckpt", pd.DataFrame(X, columns=list("abcde"))

    def train(features, **more):
        net = fn.Sequential([fn.Dense(1)], seed=0)
        net.fit(features, X[:, 0], verbose=0, checkpoint=path, **more)
        return net

    train(frame, epochs=2)
    others = [
        (frame.rename(columns={"b": "z"}), r"feature_names\[1\] was 'b' and is 'z'\. Give"),
        (frame[list("bacde")], r"feature_names\[0\] was 'a' and is 'b'.*X has other numbers"),
    ]
    for other, found in others:
        with pytest.raises(ValueError, match=found):
            train(other, epochs=3, resume=True)
    for features in (X, frame, X):  # without names they are those of the checkpoint, and stay in it
        assert train(features, epochs=3, resume=True).feature_names == tuple("abcde")
        assert fn.load(path).feature_names == tuple("abcde")


def test_functions_are_told_apart_by_what_they_return(tmp_path):
    path = tmp_path / "run.ckpt"
    fit_plain(path, schedule=lambda step: 1.0)
    with pytest.raises(ValueError, match="schedule has other numbers"):
        fit_plain(path, schedule=lambda step: 0.5, resume=True)


def test_a_random_seed_is_named(tmp_path):
    path = tmp_path / "run.ckpt"
    fit_plain(path, fn.Sequential([fn.Dense(1)]))
    with pytest.raises(ValueError, match=r"seed was \d+ and is \d+"):
        fit_plain(path, fn.Sequential([fn.Dense(1)]), resume=True)


def test_other_last_bits_are_a_warning(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    fit_plain(path, epochs=2)
    monkeypatch.setattr("fastnn.resume._core", type("Core", (), {"numerics_version": 10**6}))
    with pytest.warns(UserWarning, match="other last bits"):
        fit_plain(path, epochs=2, resume=True)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"resume": True}, ValueError, "resume=True needs checkpoint='run.ckpt'"),
    ({"resume": 1}, TypeError, "resume must be True or False"),
    ({"checkpoint": 3}, TypeError, r"checkpoint must be a path or a RunCheckpoint\(path, ...\), not int"),
    ({"checkpoint": b"run.ckpt"}, TypeError, r"checkpoint must be a path or a RunCheckpoint\(path, ...\), not bytes"),
    ({"checkpoint": fn.Checkpoint("net.fnn")}, TypeError, "a Checkpoint belongs into callbacks"),
    ({"checkpoint": "nowhere/run.ckpt"}, FileNotFoundError, "no folder"),
    ({"checkpoint": "."}, ValueError, "is no file"),
])  # fmt: skip
def test_arguments_that_make_no_sense(arguments, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = fn.Sequential([fn.Dense(1)], seed=0)
    before = everything(net)
    with pytest.raises(error, match=message):
        net.fit(X, X[:, 0], verbose=0, **arguments)
    assert everything(net) == before


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"path": 3}, TypeError, "path must be a path, not int"),
    ({"path": b"x"}, TypeError, "path must be a path, not bytes: make it text with os.fsdecode"),
    ({"path": "x", "epochs": 0}, ValueError, "epochs must be at least 1"),
    ({"path": "x", "epochs": 1.5}, TypeError, "epochs must be an integer"),
    ({"path": "x", "seconds": 0}, ValueError, "seconds must be finite and above 0"),
    ({"path": "x", "seconds": "10 min"}, TypeError, "seconds must be a number"),
])  # fmt: skip
def test_how_often_is_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        fn.RunCheckpoint(**arguments)


def test_how_often_is_shown():
    assert repr(fn.RunCheckpoint("a.ckpt")) == "RunCheckpoint('a.ckpt', epochs=None, seconds=60.0)"
    assert repr(fn.RunCheckpoint(Path("b"), epochs=2)) == "RunCheckpoint('b', epochs=2, seconds=None)"


# ---- files -----------------------------------------------------------------------------------------------------------


def test_what_is_no_checkpoint_is_not_overwritten(tmp_path):
    fn.Sequential([fn.Dense(1)], inputs=2, seed=0).save(tmp_path / "model.fnn")
    (tmp_path / "notes").write_text("important")
    (tmp_path / "long").write_bytes(b"\xff" * 100)
    for name in ("model.fnn", "notes", "long"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(ValueError, match=r"is no checkpoint of a run: it will not be overwritten"):
            fit_plain(tmp_path / name)
        with pytest.raises(ValueError, match=r"is (no checkpoint of a run|no model|damaged).*there is no other"):
            fit_plain(tmp_path / name, resume=True)
        assert (tmp_path / name).read_bytes() == before
    assert len(os.listdir(tmp_path)) == 3


def test_without_resume_a_run_starts_anew_and_keeps_the_old_one_for_now(tmp_path):
    path = tmp_path / "run.ckpt"
    fit_plain(path, epochs=5)
    old = path.read_bytes()
    fit_plain(path, epochs=2)
    assert place(path.read_bytes()) == (2, 0) and (tmp_path / "run.ckpt.previous").read_bytes() == old


@pytest.fixture
def two(tmp_path):
    """The path of two checkpoints, after epochs 2 and 4."""
    path = tmp_path / "run.ckpt"
    fit_plain(fn.RunCheckpoint(path, epochs=2), epochs=4)
    assert place(path.read_bytes()) == (4, 0) and place((tmp_path / "run.ckpt.previous").read_bytes()) == (2, 0)
    return path


def test_every_truncation_and_flip_falls_back_to_the_one_before(two):
    content = two.read_bytes()
    bad = [content[:size] for size in range(0, len(content), 1 if len(content) < 5000 else 7)]
    for at in range(0, len(content), 11):
        flipped = bytearray(content)
        flipped[at] ^= 0x41
        bad.append(bytes(flipped))
    for damaged in bad:
        two.write_bytes(damaged)
        kept = checkpoint.CheckpointFiles(str(two))
        with pytest.warns(UserWarning, match=r"run\.ckpt is (damaged|no model).*Going on from .*run\.ckpt\.previous"):
            found = kept.read()
        assert found.run["epoch"] == 2


@pytest.mark.parametrize("damage", ["empty", "half", "flip", "gone"])
def test_the_one_before_leads_to_the_same_bits_and_is_not_lost(two, damage, monkeypatch):
    content = two.read_bytes()
    previous = two.with_name("run.ckpt.previous")
    if damage == "gone":  # a kill between two renamings
        two.unlink()
    else:
        half = len(content) // 2
        two.write_bytes(
            {"empty": b"", "half": content[:half], "flip": content[:half] + b"x" + content[half + 1 :]}[damage]
        )

    def full(*_):
        raise OSError(28, "No space left on device")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "fsync", full)
            fit_plain(two, resume=True)  # which cannot write
        assert place(previous.read_bytes()) == (2, 0)
        net = fit_plain(fn.RunCheckpoint(two, epochs=4), epochs=6, resume=True)
    assert (net.params == fit_plain(epochs=6).params).all()
    assert place(two.read_bytes()) == (6, 0) and place(previous.read_bytes()) == (4, 0)


def test_both_damaged_is_an_error_that_says_what_to_do(two):
    for path in (two, two.with_name("run.ckpt.previous")):
        path.write_bytes(path.read_bytes()[:-1])
    net = fn.Sequential([fn.Dense(4, "tanh"), fn.Dense(1)], seed=0)
    before = everything(net)
    with pytest.raises(ValueError, match=r"run\.ckpt is damaged.*no other to go on from\. Remove it"):
        fit_plain(two, net, resume=True)
    assert everything(net) == before


@pytest.mark.parametrize("change", [
    {"format": 2}, {"epoch": -1}, {"epoch": "x"}, {"epoch": ...}, {"steps": 1.5}, {"fingerprint": ...},
    {"optimizer": 3}, {"epochs": None},
])  # fmt: skip
def test_a_signed_file_that_makes_no_sense_is_refused(two, change):
    from test_files import changed

    run_of_it = files.configuration(two.read_bytes(), "it")["run"]
    run_of_it = {name: value for name, value in (run_of_it | change).items() if value is not ...}
    two.write_bytes(changed(two.read_bytes(), run=run_of_it))
    net = fn.Sequential([fn.Dense(4, "tanh"), fn.Dense(1)], seed=0)
    before = everything(net)
    with pytest.raises((ValueError, TypeError)):
        fit_plain(two, net, resume=True)
    assert everything(net) == before


def test_whatever_a_kill_leaves_is_gone_on_from(tmp_path, monkeypatch):
    """Before and after each change of the folder, what is in it is kept; a kill would leave just this."""
    path, left = tmp_path / "run.ckpt", []

    def keep():
        left.append({name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)})

    for call in ("fsync", "replace"):
        real = getattr(os, call)
        monkeypatch.setattr(files.os, call, lambda *a, real=real: (keep(), real(*a), keep())[1])
    fit_plain(fn.RunCheckpoint(path, seconds=EVERY_BATCH), epochs=2)
    monkeypatch.undo()
    assert len(left) > 50
    straight = fit_plain(epochs=2)
    for number, found in enumerate(left):
        folder = tmp_path / f"killed {number}"
        folder.mkdir()
        for name, content in found.items():
            (folder / name).write_bytes(content)
        net = fit_plain(fn.RunCheckpoint(folder / "run.ckpt", epochs=ONLY_AT_THE_END), epochs=2, resume=True)
        assert (net.params == straight.params).all()
        assert net.history.history["loss"] == straight.history.history["loss"]
        assert {*os.listdir(folder)} <= {"run.ckpt", "run.ckpt.previous"}
    assert any(name.endswith(".part") for found in left for name in found)


def test_only_what_is_left_of_this_file_is_removed(tmp_path):
    others = [".run.ckpt.part", ".run.ckpt.0123.part", ".xrun.ckpt.0123456789ab.part", ".run_ckpt.0123456789ab.part"]
    long = "x" * files.LONGEST_NAME
    others += [f".{long}.0123456789ab.part", ".run.ckpt.previous.0123456789ab.part"]
    for name in [*others, ".run.ckpt.0123456789ab.part"]:
        (tmp_path / name).write_bytes(b"")
    fit_plain(tmp_path / "run.ckpt")
    assert {*os.listdir(tmp_path)} == {*others, "run.ckpt"}
    fit_plain(tmp_path / f"{long}.ckpt")  # of which it may be, or of another name that begins alike
    assert {*os.listdir(tmp_path)} == {*others, "run.ckpt", f"{long}.ckpt"}


def test_a_folder_that_may_not_be_written_into_is_refused_at_once(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    straight = fit_plain(path)
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    with pytest.raises(PermissionError, match=r"checkpoint is .*elsewhere\.ckpt', but nothing may be written into"):
        fit_plain(tmp_path / "elsewhere.ckpt")
    with pytest.raises(PermissionError, match="nothing may be written into"):
        fit_plain(path)
    assert (fit_plain(path, resume=True).params == straight.params).all()  # a finished run needs to write nothing


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_killed_at_any_moment_and_started_again(reference, tmp_path):
    """SIGKILL, again and again, until a run has come to its end: the bits of one that was never killed."""
    script = """
        import sys, time
        sys.path.append(sys.argv[1])
        import fastnn as fn
        from resume_runs import RUNS, digest, run
        class Slow(fn.Callback):
            def on_batch_end(self, net, step, logs): time.sleep(0.02)
        net, arguments = RUNS["all at once"]()
        arguments["callbacks"].append(Slow())
        print("ready", flush=True)
        net = run("all at once", fn.RunCheckpoint(sys.argv[2], seconds=0.001), resume=True,
                  callbacks=arguments["callbacks"], threads=int(sys.argv[3]))
        net.used.pop()
        print(digest(net), flush=True)
    """
    path, kills, places = tmp_path / "run.ckpt", 0, set()
    for attempt in range(60):
        command = [sys.executable, "-P", "-c", dedent(script), str(HERE), str(path), str(1 + attempt % 3)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "ready\n"
            if attempt < 12:
                time.sleep(np.random.default_rng().uniform(0.02, 0.25))
                child.kill()
            said = child.stdout.read()
        if said:
            break
        kills += 1
        if path.exists():
            places.add(place(path.read_bytes()))
    assert said.strip() == reference["all at once"]
    assert kills >= 3 and len(places) >= 2


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", RUNS)
def test_ctrl_c_at_any_moment_leaves_the_last_completed_step(name, reference, tmp_path):
    """And from there, interrupted again and again, the run comes to its end with the same bits."""
    said = python(
        """
        import os, random, signal, sys, time
        sys.path.append(sys.argv[1])
        import fastnn as fn
        from resume_runs import digest, run
        name, path = sys.argv[2:]
        def ring(*_):
            if working:
                raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, ring)
        run(name, path)  # imports what is needed
        start = time.perf_counter()
        run(name), run(name, path, resume=True)
        longest = time.perf_counter() - start
        interrupted = 0
        for repeat in range(40):
            os.unlink(path)
            if os.path.exists(path + ".previous"):
                os.unlink(path + ".previous")
            while True:
                working = True
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, longest))
                    net = run(name, fn.RunCheckpoint(path, epochs=10**9), resume=True, threads=1 + interrupted % 2)
                    working = False
                    break
                except KeyboardInterrupt:
                    working = False
                    interrupted += 1
            print(digest(net))
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert interrupted > 10, interrupted
        """,
        HERE, name, tmp_path / "run.ckpt",
    )  # fmt: skip
    assert set(said.split()) == {reference[name]}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_in_a_long_epoch(tmp_path):
    """What was done when it came is what the file holds."""
    said = python(
        """
        import os, signal, sys, threading
        import numpy as np, fastnn as fn
        X = np.random.default_rng(0).normal(size=(200_000, 20)).astype(np.float32)
        Y = np.arange(200_000) % 3
        def fit(checkpoint, delay=None):
            layers = [fn.Dense(256, "tanh"), fn.Dropout(0.2), fn.Dense(256, "tanh"), fn.Dense(3, "softmax")]
            net = fn.Sequential(layers, seed=0)  # so large that an epoch takes several times the longest delay
            timer = threading.Timer(delay or 0.0, os.kill, (os.getpid(), signal.SIGINT))
            begin = fn.LambdaCallback(on_fit_begin=lambda net: timer.start() if delay else None)
            try:
                net.fit(X, Y, epochs=1, batch_size=8, checkpoint=checkpoint, resume=checkpoint is not None,
                        callbacks=[begin], metrics=["accuracy"], verbose=0)
            except KeyboardInterrupt:
                loaded = fn.load(checkpoint)
                assert loaded._state.step == net._state.step and (loaded.params == net.params).all()
                assert loaded._parameters.draws[0] == net._parameters.draws[0]
                print(net._state.step)
            timer.cancel()
            return net
        for delay in (0.05, 0.1, 0.15):
            fit(sys.argv[1], delay)
        resumed, straight = fit(sys.argv[1]), fit(None)
        assert (resumed.params == straight.params).all()
        for name in ("loss", "accuracy", "learning_rate"):
            assert resumed.history.history[name] == straight.history.history[name], name
        """,
        tmp_path / "run.ckpt",
    )
    steps = [int(step) for step in said.split()]
    assert steps and steps == sorted(set(steps)) and steps[0] < 25_000


def test_reading_runs_no_code(tmp_path):
    fit_plain(tmp_path / "run.ckpt")
    seen = python(
        """
        import sys
        from fastnn.checkpoint import CheckpointFiles
        CheckpointFiles(sys.argv[1]).read()
        seen = []
        sys.addaudithook(lambda event, arguments: seen.append(event))
        CheckpointFiles(sys.argv[1]).read()
        print(*sorted(set(seen)))
        """,
        tmp_path / "run.ckpt",
    )
    assert "open" in seen.split()
    assert set(seen.split()) <= {"open", "os.stat", "os.fstat", "object.__getattr__"}, seen
