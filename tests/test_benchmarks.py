# SPDX-License-Identifier: BSD-3-Clause
"""The benchmarks run, compare like with like, and say so where a library is missing. No test asserts a time."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not beside the tests", allow_module_level=True)
sys.path.append(str(ROOT))  # at the end: an installed fastnn goes before the sources

from benchmarks import problem, report, timer  # noqa: E402
from benchmarks.peers import OWN, PEERS  # noqa: E402
from benchmarks.process import NotInstalled, Worker, WorkerFailed  # noqa: E402
from benchmarks.workloads import WORKLOADS, fashion  # noqa: E402


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python without any package, so that every peer is missing."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


# ---- timer -----------------------------------------------------------------------------------------------------------


def test_samplers_take_turns_and_none_is_always_first():
    calls = []

    def sampler(name):
        return lambda: calls.append(name) or float(len(calls))

    readings = timer.interleave({name: sampler(name) for name in "abc"}, rounds=3)
    assert "".join(calls) == "abc" + "bca" + "cab"
    assert {name: len(values) for name, values in readings.items()} == {"a": 3, "b": 3, "c": 3}
    assert readings["a"] == [1.0, 6.0, 8.0]


def test_ratios_are_taken_within_rounds():
    assert timer.ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == {"median": 3.0, "min": 2.0, "max": 4.0, "n": 3}


def test_seconds_per_call_counts_calls(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timer.time, "perf_counter", lambda: clock[0])

    def call():
        clock[0] += 0.004

    assert timer.seconds_per_call(call, 0.05) == pytest.approx(0.004)


# ---- problem ---------------------------------------------------------------------------------------------------------


def test_flops_and_parameters_of_fashion():
    # 784 x 256 weights at 4 operations, 256 x 128 + 128 x 10 at 6.
    assert problem.flops_per_sample((784, 256, 128, 10)) == 4 * 784 * 256 + 6 * (256 * 128 + 128 * 10)
    assert problem.n_params((784, 256, 128, 10)) == 235_146


def test_the_judge_agrees_with_a_loop_over_rows():
    weights = problem.initial_weights((5, 4, 3))
    weights[0][1][:] = 0.25
    X = np.random.default_rng(1).standard_normal((6, 5)).astype(np.float32)
    labels = np.array([0, 1, 2, 2, 1, 0])
    expected = []
    for x, label in zip(X.astype(float), labels, strict=True):
        hidden = [max(sum(x[k] * weights[0][0][k, j] for k in range(5)) + 0.25, 0) for j in range(4)]
        z = [sum(hidden[k] * weights[1][0][k, j] for k in range(4)) for j in range(3)]
        expected.append(np.log(sum(np.exp(z))) - z[label])
    assert problem.cross_entropy(weights, X, labels) == pytest.approx(np.mean(expected), rel=1e-6)


def test_weights_travel_by_file(tmp_path):
    weights = problem.initial_weights((7, 5, 3))
    problem.save_weights(tmp_path, weights)
    assert problem.distance(weights, problem.load_weights(tmp_path)) == 0
    weights[0][0][0, 0] += 3
    weights[1][1][2] -= 4
    assert problem.distance(weights, problem.load_weights(tmp_path)) == pytest.approx(5)


# ---- process ---------------------------------------------------------------------------------------------------------


def test_a_missing_library_is_said_to_be_missing(bare_python):
    for module, _ in PEERS.values():
        with pytest.raises(NotInstalled, match="numpy"):
            Worker(module, 1, bare_python)


def test_a_worker_reports_an_error_and_goes_on():
    with Worker(OWN, 1) as worker:
        assert "fastnn" in worker.versions
        with pytest.raises(WorkerFailed, match="KeyError"):
            worker.ask("fly")
        assert worker.ask("peak", seconds=0.001) > 0


def test_a_worker_that_cannot_start_says_why():
    with pytest.raises(WorkerFailed, match="ended with status"):
        Worker("benchmarks.no_such_module", 1)


# ---- our own worker does what the peers do ---------------------------------------------------------------------------


def test_our_worker_trains_and_predicts_what_it_is_given(tmp_path):
    generator = np.random.default_rng(0)
    X, y = generator.random((64, 6), np.float32), generator.integers(0, 3, 64)
    start = problem.initial_weights((6, 8, 3))
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "x.npy", X[0])
    problem.save_weights(tmp_path, start)
    out = tmp_path / "out"
    out.mkdir()
    with Worker(OWN, 1) as worker:
        worker.ask("load_policy", folder=str(tmp_path))
        np.testing.assert_allclose(worker.ask("predict"), problem.logits(start, X[:1], "tanh")[0], atol=1e-5)
        worker.ask("load", folder=str(tmp_path), batch=16)
        worker.ask("reset")
        worker.ask("weights", folder=str(out))
        assert problem.distance(start, problem.load_weights(out)) == 0
        worker.ask("train", epochs=20, rows=64)
        worker.ask("weights", folder=str(out))
        trained = problem.load_weights(out)
    assert problem.cross_entropy(trained, X, y) < problem.cross_entropy(start, X, y)


def test_another_training_is_called_another_training():
    table = report.Table("", "", [])
    start = problem.initial_weights(fashion.SIZES)
    moved = [(weight + np.float32(1e-3), bias) for weight, bias in start]
    back = [(weight - np.float32(1e-3), bias) for weight, bias in start]
    ours = {"first step": moved, "losses": {"an epoch": 0.5}}
    fashion.compare(table, "same", 1, {"first step": moved, "losses": {"an epoch": 0.501}}, ours)
    fashion.compare(table, "wrong sign", 1, {"first step": back, "losses": {"an epoch": 0.5}}, ours)
    fashion.compare(table, "wrong loss", 1, {"first step": moved, "losses": {"an epoch": 0.6}}, ours)
    assert [("NOT THE SAME" in note) for note in table.notes] == [False, True, True]


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_without_peers(tmp_path, bare_python):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--python", bare_python, "--out", str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["workloads"]) == set(WORKLOADS)
    assert results["machine"]["versions"]["fastnn"]
    for name, table in results["workloads"].items():
        assert table["rows"] or table["notes"], name
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
    for peer in ("PyTorch", "JAX", "scikit-learn"):
        assert f"{peer}: not installed" in done.stdout
    assert "NOT THE SAME" not in done.stdout
    markdown = (tmp_path / "results.md").read_text()
    assert markdown.count("## ") == len(WORKLOADS)


def test_an_unknown_workload_is_refused_by_name():
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "fashon"],
        capture_output=True, text=True, cwd=ROOT, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "fashon" in done.stderr and "fashion" in done.stderr
