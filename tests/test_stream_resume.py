# SPDX-License-Identifier: BSD-3-Clause
"""Exact resume of fits on streams: stopped after any batch, or killed, the same bits as without."""

import os
from pathlib import Path

import numpy as np
import pytest
import stream_runs
from checkpoints import EVERY_BATCH, gone_on, gone_on_elsewhere, place, stopped_again_and_again, written_by
from processes import killed_again_and_again
from resume_runs import digest
from snapshot import everything
from stream_runs import RUNS, run

import fastnn as fn
from fastnn.packing import pack, unpack
from fastnn.stream_resume import StreamSaver
from fastnn.streams import StreamFit

HERE = Path(__file__).parent


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


@pytest.mark.parametrize("name", RUNS)
def test_every_batch_is_written_and_changes_nothing(name, reference, written):
    contents, ends_with = written[name]
    assert ends_with == reference[name]
    places = [place(content) for content in contents]
    assert places == sorted(set(places)) and places[-1][1] == 0
    assert len(places) >= places[-1][0] * 3


@pytest.mark.parametrize("name", RUNS)
def test_from_every_batch_the_same_bits(name, reference, written, tmp_path):
    contents, _ = written[name]
    for number, content in enumerate(contents):
        net = gone_on(run, name, content, tmp_path, threads=1 + number % 3)
        assert digest(net) == reference[name], place(content)


@pytest.mark.parametrize("name", RUNS)
def test_in_another_process(name, reference, written, tmp_path):
    contents, _ = written[name]
    chosen = contents[:: max(1, len(contents) // 4)]
    assert gone_on_elsewhere(run, name, chosen, tmp_path) == [reference[name]] * len(chosen)


@pytest.mark.parametrize("name", RUNS)
def test_stopped_again_and_again(name, reference, written, tmp_path):
    """One batch in each call."""
    net, killed = stopped_again_and_again(run, name, tmp_path / "run.ckpt", StreamSaver)
    assert killed == len(written[name][0])
    assert digest(net) == reference[name]


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
@pytest.mark.parametrize("name", ["list", "state"])
def test_killed_at_any_moment(name, reference, tmp_path):
    said = killed_again_and_again(
        """
        import sys
        sys.path.append(sys.argv[1])
        import fastnn as fn
        from resume_runs import digest
        from stream_runs import run
        def attempt():
            print(digest(run(sys.argv[2], fn.RunCheckpoint(sys.argv[3], seconds=1e-9), resume=True, pause=0.003)))
        """,
        HERE, name, tmp_path / "run.ckpt", moments=np.random.default_rng(1).uniform(0.0, 0.06, 60).tolist(),
    )  # fmt: skip
    assert {*said.split()} == {reference[name]}


@pytest.mark.parametrize("name", ["list", "function", "state"])
@pytest.mark.parametrize("where", ["in the stream", "after a step"])
def test_an_exception_leaves_a_checkpoint_of_the_last_step(name, where, reference, tmp_path, monkeypatch):
    """What has state has gone on already: there the last written one stays."""
    path = tmp_path / "run.ckpt"
    calls = []

    def raises(real):
        def call(*arguments):
            calls.append(0)
            if len(calls) == 6 and where == "in the stream":
                raise KeyboardInterrupt
            found = real(*arguments)
            if len(calls) == 6:
                raise KeyboardInterrupt
            return found

        return call

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if where == "in the stream":
            patch.setattr("fastnn.streams.Batches.next", raises(fn.streams.Batches.next))
        else:
            patch.setattr(StreamFit, "_train_on", raises(StreamFit._train_on))
        run(name, path)
    assert path.exists() == (name != "state" or where == "after a step")
    assert digest(run(name, path, resume=True)) == reference[name]


# ---- refused ---------------------------------------------------------------------------------------------------------


def refused(stream, tmp_path, error, message, **changed):
    """The error of a fit that leaves the network as it was."""
    net, arguments = RUNS["list"]()
    before = everything(net)
    with pytest.raises(error, match=message):
        net.fit(**{**arguments, "X": stream, "checkpoint": tmp_path / "run.ckpt", "verbose": 0} | changed)
    assert everything(net) == before


def test_what_can_be_gone_through_once_is_refused(tmp_path):
    refused(stream_runs.BATCHES, tmp_path, ValueError, "resume=True needs checkpoint=", checkpoint=None, resume=True)
    message = r"a generator can be gone through once.*fit\(batches\) instead of fit\(batches\(\)\).*state_dict"
    refused((batch for batch in stream_runs.BATCHES), tmp_path, ValueError, message, epochs=1)
    refused(iter(stream_runs.BATCHES), tmp_path, ValueError, "a list_iterator can be gone through once", epochs=1)


class Stop(fn.Callback):
    """An error in a callback, which leaves the checkpoint of the step before."""

    def __init__(self, step):
        self.step = step

    def on_batch_end(self, net, step, logs):
        if step == self.step:
            raise ZeroDivisionError


def test_other_batches_are_seen(tmp_path):
    every = fn.RunCheckpoint(tmp_path / "run.ckpt", seconds=EVERY_BATCH)
    with pytest.raises(ZeroDivisionError):
        run("list", every, schedule=None, callbacks=[Stop(7)])  # in the third step of the second epoch
    assert place((tmp_path / "run.ckpt").read_bytes()) == (1, 2)
    same, first, other = {"schedule": None, "callbacks": [], "resume": True}, *stream_runs.BATCHES[:2]
    refused([first] * 5, tmp_path, ValueError, "the stream brought other batches", **same)
    refused([other, *stream_runs.BATCHES], tmp_path, ValueError, "another run: X", **same)
    refused([first], tmp_path, ValueError, "the stream ended after batch 1 of epoch 2", **same)
    refused(stream_runs.BATCHES, tmp_path, ValueError, "steps_per_epoch was None and is 3", steps_per_epoch=3, **same)
    net = run("list", every, schedule=None, callbacks=[], resume=True)
    assert (net.params == run("list", schedule=None, callbacks=[]).params).all()


@pytest.mark.parametrize("at", [4, 7, 8])
def test_arrays_may_be_used_again(at, tmp_path):
    """Ctrl-C comes while the next batch is made, where the last one was."""

    def batches():
        X, y = np.empty((5, 4)), np.empty(5, np.int64)
        for number in range(4):
            X[...], y[...] = -1.0, 0
            taken.append(number)
            if len(taken) == interrupted:
                raise KeyboardInterrupt
            X[...], y[...] = (part[:5] for part in stream_runs.BATCHES[number % 3][:2])
            yield X, y
        X[...] = np.nan

    def train(**more):
        net = fn.Sequential([fn.Dense(3, "softmax")], seed=0)
        taken.clear()
        net.fit(batches, epochs=3, verbose=0, **more)
        return net.params

    taken, interrupted = [], None
    whole, path = train(), tmp_path / "run.ckpt"
    interrupted = at
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=path)
    assert place(path.read_bytes()) == divmod(at - 1, 4)
    interrupted = None
    assert np.array_equal(train(checkpoint=path, resume=True), whole)


def test_a_stream_in_a_random_order_is_refused(tmp_path):
    class Random:
        def __iter__(self):
            return iter([*stream_runs.BATCHES, stream_runs.own_batch()])

    path = tmp_path / "run.ckpt"
    run("list", path, X=Random(), schedule=None, callbacks=[], epochs=2)
    refused(
        Random(), tmp_path, ValueError, "the stream brought other batches", schedule=None, callbacks=[], resume=True
    )


@pytest.mark.parametrize("name", ["function", "state", "new order"])
def test_more_epochs_are_the_rest_of_a_longer_run(name, reference, tmp_path):
    path = tmp_path / "run.ckpt"
    run(name, path, epochs=2)
    assert digest(run(name, path, resume=True)) == reference[name]
    assert digest(run(name, path, resume=True)) == reference[name]  # finished: it returns at once


def test_a_function_is_called_for_each_epoch():
    calls = []

    def batches():
        calls.append(0)
        return iter(stream_runs.BATCHES)

    net = run("list", X=batches, schedule=None)
    assert len(calls) == net.history.epochs == 3
    assert digest(net) == digest(run("list", schedule=None))


def test_a_state_is_kept_as_it_was():
    value = {
        "a": [1, 2.5, None, True, "text", (b"\x00\xff", {})], 3: np.array([True, False]), (1, 2): np.float32(1.5),
        "deep": {"array": np.arange(6, dtype=">i2").reshape(2, 3).T, "dict": [{"list": []}]}, "big": 2**127,
    }  # fmt: skip
    tensors = {}
    found = unpack(pack(value, tensors, "s", "it"), tensors)
    assert repr(found) == repr(value | {"deep": {**value["deep"], "array": value["deep"]["array"].astype("i2")},
                                        (1, 2): 1.5})  # fmt: skip
    with pytest.raises(TypeError, match="it has a object, but must hold numbers"):
        pack([object()], {}, "s", "it")


def test_tensors_of_torch_come_back():
    torch = pytest.importorskip("torch")
    tensors = {}
    state = torch.Generator().manual_seed(3).get_state()
    found = unpack(pack({"rng": state}, tensors, "s", "it"), tensors)["rng"]
    assert found.dtype == state.dtype and bool((found == state).all())


@pytest.mark.parametrize(("kind", "shuffle", "epochs"), [
    ("stateful", False, 4),
    ("stateful", True, 1),  # torchdata restores the order of the pass under way, and not what later ones draw
    ("plain", True, 4),
])  # fmt: skip
def test_loaders_of_torch(kind, shuffle, epochs, tmp_path):
    torch = pytest.importorskip("torch")
    make = torch.utils.data.DataLoader
    if kind == "stateful":
        make = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    rng = np.random.default_rng(0)
    data = torch.utils.data.TensorDataset(torch.tensor(rng.normal(size=(50, 3))), torch.tensor(rng.normal(size=50)))

    def train(path=None, **more):
        loader = make(data, batch_size=8, shuffle=shuffle, generator=torch.Generator().manual_seed(2))
        net = fn.Sequential([fn.Dense(4, "tanh"), fn.Dense(1)], seed=0)
        net.fit(loader, epochs=epochs, checkpoint=path, verbose=0, **more)
        return net

    expected = train()
    for at in range(1, 7 * epochs):
        path = tmp_path / f"{at}.ckpt"
        with pytest.raises(ZeroDivisionError):
            train(fn.RunCheckpoint(path, seconds=EVERY_BATCH), callbacks=[Stop(at)])
        net = train(path, resume=True)
        assert (net.params == expected.params).all() and net.history.health == expected.history.health, at
