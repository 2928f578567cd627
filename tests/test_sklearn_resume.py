# SPDX-License-Identifier: BSD-3-Clause
"""Exact resume of the estimators: stopped after any batch, or killed, the same bits as without."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from checkpoints import gone_on, place, written_by
from processes import killed_again_and_again
from sklearn.base import clone
from sklearn_runs import RUNS, digest, make

import fastnn as fn
from fastnn.sklearn import MLPClassifier, MLPRegressor

HERE = Path(__file__).parent
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def reference():
    """Name -> digest of a fit without checkpoints."""
    return {name: digest(make(name)) for name in RUNS}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Name -> every checkpoint of a fit, as bytes, and the digest at its end."""
    found = {}
    for name in RUNS:
        path = tmp_path_factory.mktemp("run") / "run.ckpt"
        contents, model = written_by(lambda every, name=name: make(name, checkpoint=every), path)
        found[name] = contents, digest(model), model
    return found


@pytest.mark.parametrize("name", RUNS)
def test_from_every_batch_the_same_bits(name, reference, written, tmp_path):
    contents, ends_with, model = written[name]
    assert ends_with == reference[name]
    assert len(contents) == model.n_iter_ * 5 and model.n_iter_ > 2
    for number, content in enumerate(contents):
        resumed = gone_on(make, name, content, tmp_path, threads=1 + number % 3)
        assert digest(resumed) == reference[name], place(content)


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
@pytest.mark.parametrize("name", ["adam", "early stopping"])
def test_killed_at_any_moment(name, reference, tmp_path):
    said = killed_again_and_again(
        """
        import sys, warnings
        warnings.simplefilter("ignore")
        sys.path.append(sys.argv[1])
        import fastnn as fn
        from sklearn_runs import digest, make
        every = fn.RunCheckpoint(sys.argv[3], seconds=1e-9)
        def attempt():
            print(digest(make(sys.argv[2], checkpoint=every, resume=True, pause=0.003)))
        """,
        HERE, name, tmp_path / "run.ckpt", moments=np.random.default_rng(1).uniform(0.05, 0.4, 12).tolist(),
    )  # fmt: skip
    assert {*said.split()} == {reference[name]}


@pytest.mark.parametrize("name", RUNS)
def test_more_epochs_are_the_rest_of_a_longer_fit(name, reference, tmp_path):
    path = tmp_path / "run.ckpt"
    make(name, checkpoint=path, max_iter=2)
    assert digest(make(name, checkpoint=path, resume=True)) == reference[name]
    assert digest(make(name, checkpoint=path, resume=True)) == reference[name]  # finished: it returns at once


def test_an_interrupt_is_gone_on_from(reference, tmp_path):
    class Interrupt(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            if epoch == 2:
                raise KeyboardInterrupt

    every = fn.RunCheckpoint(tmp_path / "run.ckpt", epochs=1)
    with pytest.warns(UserWarning, match="interrupted"):
        make("sgd", checkpoint=every, callbacks=[Interrupt()])
    assert digest(make("sgd", checkpoint=every, resume=True)) == reference["sgd"]


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_what_cannot_be_stopped_is_refused(kind, tmp_path):
    X, y = np.arange(20.0)[:, None], np.arange(20) % 2
    with pytest.raises(ValueError, match="checkpoint and resume need solver 'adam' or 'sgd'"):
        kind(solver="lbfgs", checkpoint=tmp_path / "run.ckpt").fit(X, y)
    for model in (kind(checkpoint=tmp_path / "run.ckpt"), kind(resume=True)):
        more = {"classes": [0, 1]} if kind is MLPClassifier else {}
        with pytest.raises(ValueError, match="partial_fit is one epoch"):
            model.partial_fit(X, y, **more)
    with pytest.raises(ValueError, match="resume=True needs checkpoint="):
        kind(resume=True).fit(X, y)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("changed", "message"), [
    ({"tol": 0.5}, r"estimator\.tol was"),
    ({"shuffle": False}, "shuffle was True and is False"),
    ({"n_iter_no_change": np.inf}, r"estimator\.n_iter_no_change was 10 and is None"),
    ({"learning_rate_init": 0.5}, r"optimizer\.learning_rate was"),
    ({"hidden_layer_sizes": (5,)}, "network"),
])  # fmt: skip
def test_another_fit_is_refused(changed, message, tmp_path):
    path = tmp_path / "run.ckpt"
    make("adam", checkpoint=path, max_iter=2)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=message):
        make("adam", checkpoint=path, resume=True, **changed)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_they_are_parameters_like_others(tmp_path):
    model = MLPClassifier(checkpoint=str(tmp_path / "run.ckpt"), resume=True)
    assert clone(model).get_params() == model.get_params()
    assert clone(model).set_params(checkpoint=None, resume=False).get_params()["checkpoint"] is None
