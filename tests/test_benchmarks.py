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
from benchmarks.peers import INSTRUMENTS, OWN, PEERS, peers_that  # noqa: E402
from benchmarks.process import NotInstalled, Pool, Worker, WorkerFailed  # noqa: E402
from benchmarks.workloads import WORKLOADS, features, gemm, training  # noqa: E402

LABELS = problem.Problem((6, 8, 3), "relu", "cross_entropy", batch=16, rows=70, quick_rows=70)
NUMBERS = problem.Problem((6, 8, 2), "tanh", "mse", batch=16, rows=70, quick_rows=70)


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

    readings = timer.interleave({name: sampler(name) for name in "abc"}, rounds=3, pause=0)
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


def test_the_better_number_of_threads():
    readings = {("a", 1): [3.0, 1.0, 3.0], ("a", 2): [2.0, 2.0, 9.0], ("b", 1): [1.0]}
    assert timer.best_of(readings) == {"a": ("a", 2), "b": ("b", 1)}
    assert timer.geometric_mean([1.0, 8.0]) == pytest.approx(8**0.5)


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
    task = problem.Problem((5, 4, 3), "relu", "cross_entropy", 1, 1, 1)
    assert problem.loss(task, weights, X, labels) == pytest.approx(np.mean(expected), rel=1e-6)
    task = problem.Problem((5, 4, 3), "tanh", "mse", 1, 1, 1)
    z = problem.logits(weights, X, "tanh")
    assert problem.loss(task, weights, X, np.zeros((6, 3))) == pytest.approx((z**2).sum() / 18)


@pytest.mark.parametrize("name", problem.TRAINING)
def test_every_network_has_data(name):
    task = problem.TRAINING[name]
    X, y, _ = problem.make_data(task, 40)
    assert X.shape == (40, task.sizes[0]) and X.dtype == np.float32 and task.quick_rows <= task.rows
    if task.loss == "mse":
        assert y.shape == (40, task.sizes[-1]) and y.dtype == np.float32
    else:
        assert y.shape == (40,) and y.min() >= 0 and y.max() < task.sizes[-1]


def test_weights_travel_by_file(tmp_path):
    weights = problem.initial_weights((7, 5, 3))
    problem.save_weights(tmp_path, weights)
    assert problem.distance(weights, problem.load_weights(tmp_path)) == 0
    weights[0][0][0, 0] += 3
    weights[1][1][2] -= 4
    assert problem.distance(weights, problem.load_weights(tmp_path)) == pytest.approx(5)


# ---- process ---------------------------------------------------------------------------------------------------------


def test_a_missing_library_is_said_to_be_missing(bare_python):
    for peer in PEERS.values():
        with pytest.raises(NotInstalled, match="numpy"):
            Worker(peer.module, 1, bare_python)


def test_a_worker_reports_an_error_and_goes_on():
    with Worker(OWN, 1) as worker:
        assert "fastnn" in worker.versions
        with pytest.raises(WorkerFailed, match="KeyError"):
            worker.ask("fly")
        assert worker.versions["fastnn"]


def test_instruments_measure():
    with Worker(INSTRUMENTS, 2) as worker:
        assert worker.ask("peak", seconds=0.001) > 0 and worker.ask("bandwidth", seconds=0.001) > 0
        found = worker.ask("matmul", shape=(8, 9, 10), use="weight", pieces=1)
        assert found["product"] > 0 and found["peak"] > 0


def test_the_pool_keeps_a_worker_and_starts_a_new_one_when_it_has_ended(bare_python):
    with Pool(lambda name: bare_python if name == "missing" else sys.executable) as pool:
        worker = pool.get("fastnn", OWN, 1)
        assert pool.get("fastnn", OWN, 1) is worker
        for _ in range(2):
            with pytest.raises(NotInstalled):
                pool.get("missing", OWN, 1)
        pool.forget()
        assert not worker.alive and pool.get("fastnn", OWN, 1).alive


def test_a_worker_that_cannot_start_says_why():
    with pytest.raises(WorkerFailed, match="ended with status"):
        Worker("benchmarks.no_such_module", 1)


# ---- every worker does what it is asked ------------------------------------------------------------------------------

WAYS = {"fastnn": (OWN, {})} | {name: (peer.module, peer.environment) for name, peer in PEERS.items()}


@pytest.fixture(scope="module")
def pool():
    with Pool(lambda name: sys.executable) as pool:
        yield pool


def worker_of(pool, name):
    try:
        return pool.get(name, *WAYS[name][:1], 1, WAYS[name][1])
    except NotInstalled as error:
        pytest.skip(f"{error} is not installed")


@pytest.mark.parametrize("name", ["fastnn", *peers_that("train"), *(peers_that("fit").keys() - peers_that("train"))])
@pytest.mark.parametrize("task", [LABELS, NUMBERS], ids=["labels", "mse"])
def test_workers_train_what_they_are_given(pool, name, task, tmp_path):
    """70 rows in batches of 16: the last one is smaller. The reference is a step and an epoch in float64."""
    worker, generator = worker_of(pool, name), np.random.default_rng(0)
    X, y = problem.make_data(task, task.rows)[:2]
    start = problem.initial_weights(task.sizes, task.activation)
    for _, bias in start:
        bias[...] = generator.uniform(-0.1, 0.1, bias.size)
    problem.write_problem(tmp_path, X, y, start)
    worker.ask("load", folder=str(tmp_path), **task.settings)
    for rows in (16, 70):
        trained = training.train_anew(worker, rows)
        expected = adam_by_hand(task, start, X[:rows], y[:rows])
        length = problem.distance(start, expected)
        assert problem.distance(trained, expected) < 0.01 * length
    if name == "fastnn":
        assert worker.ask("train_steps", rows=70)["steps"] == 4
    if name not in ("NumPy", "torch.compile", "JAX, jit a step"):
        worker.ask("train", epochs=20, rows=70, shuffle=True)
        worker.ask("weights", folder=str(tmp_path))
        assert problem.loss(task, problem.load_weights(tmp_path), X, y) < problem.loss(task, trained, X, y)


def adam_by_hand(task, weights, X, y):
    """An epoch of Adam with derivatives by hand, in float64."""
    parts = [part.astype(float) for pair in weights for part in pair]
    m, v = [np.zeros_like(p) for p in parts], [np.zeros_like(p) for p in parts]
    for t, i in enumerate(range(0, len(X), task.batch), start=1):
        x, target = X[i : i + task.batch].astype(float), y[i : i + task.batch]
        w1, b1, w2, b2 = parts
        hidden = np.maximum(x @ w1 + b1, 0) if task.activation == "relu" else np.tanh(x @ w1 + b1)
        z = hidden @ w2 + b2
        if task.loss == "mse":
            dz = 2 * (z - target) / z.size
        else:
            p = np.exp(z - z.max(1, keepdims=True))
            dz = (p / p.sum(1, keepdims=True) - np.eye(z.shape[1])[target]) / len(z)
        dhidden = dz @ w2.T * ((hidden > 0) if task.activation == "relu" else 1 - hidden**2)
        for j, g in enumerate([x.T @ dhidden, dhidden.sum(0), hidden.T @ dz, dz.sum(0)]):
            m[j], v[j] = 0.9 * m[j] + 0.1 * g, 0.999 * v[j] + 0.001 * g * g
            parts[j] = parts[j] - 1e-3 * (m[j] / (1 - 0.9**t)) / (np.sqrt(v[j] / (1 - 0.999**t)) + 1e-8)
    return list(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("name", ["fastnn", *peers_that("predict")])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_workers_predict_what_they_are_given(pool, name, activation, tmp_path):
    worker = worker_of(pool, name)
    weights = problem.initial_weights((6, 8, 7, 3), activation)
    X = np.random.default_rng(0).standard_normal((9, 6), np.float32)
    np.save(tmp_path / "x.npy", X)
    problem.save_weights(tmp_path, weights)
    worker.ask("load_network", folder=str(tmp_path), activation=activation)
    np.testing.assert_allclose(worker.ask("predict"), problem.logits(weights, X[:4], activation), atol=1e-5)
    assert worker.ask("time_predict", rows=9, seconds=0.001) > 0
    if name == "fastnn":
        assert all(worker.ask("time_predict", rows=1, seconds=0.001, way=way) > 0 for way in ("f", "out"))


@pytest.mark.parametrize("name", peers_that("gemm"))
def test_workers_multiply(pool, name):
    assert worker_of(pool, name).ask("gemm", shape=(3, 4, 5), pieces=1) > 0


# ---- tables ----------------------------------------------------------------------------------------------------------


def test_another_training_is_called_another_training():
    table = report.Table("", "", [])
    start = problem.initial_weights(problem.FASHION_SIZES)
    moved = [(weight + np.float32(1e-3), bias) for weight, bias in start]
    back = [(weight - np.float32(1e-3), bias) for weight, bias in start]
    ours = {"first step": moved, "losses": {"an epoch": 0.5}}
    same = {"first step": moved, "losses": {"an epoch": 0.501}}
    training.compare(table, "same", start, [same, same], ours)
    training.compare(table, "wrong sign", start, [same, {"first step": back, "losses": {"an epoch": 0.5}}], ours)
    training.compare(table, "wrong loss", start, [{"first step": moved, "losses": {"an epoch": 0.6}}, same], ours)
    training.compare(table, "no loss", start, [{"first step": moved, "losses": {"an epoch": float("nan")}}], ours)
    assert [("NOT THE SAME" in note) for note in table.notes] == [False, True, True, True]


def test_training_is_compared_at_the_better_number_of_threads():
    table, task = report.Table("", "", training.COLUMNS), problem.TRAINING["rl"]
    readings = {
        ("fastnn", 1): [2e-5, 2e-5], ("fastnn", 2): [4e-5, 4e-5], ("PyTorch", 1): [8e-5, 8e-5],
        ("PyTorch", 2): [6e-5, 6e-5], ("peak", 1): [100.0, 100.0], ("peak", 2): [200.0, 200.0],
    }  # fmt: skip
    judged = {key: {"losses": {"an epoch": 0.25}} for key in readings if key[0] != "peak"}
    training.fill(table, task, readings, judged, batch=64)
    assert table.data["ratios"]["PyTorch"]["median"] == pytest.approx(3)
    assert [row[table.columns.index("fastnn is faster by")] for row in table.rows] == ["", "", "", "3.00 x"]
    rate = problem.flops_per_sample(task.sizes) * 64 / 2e-5 / 1e9
    assert table.rows[0][table.columns.index("of peak")] == f"{rate / 100:.0%}"
    assert "fastest peer, PyTorch, by 3.00 x (goal 2.8 x)" in table.notes[0]


def test_products_are_compared_with_the_better_library():
    table = report.Table("", "", ["", "shapes", "mean", "median", "worst", "at", "goal"])
    shapes = {
        "1 x 9 x 9": {"fastnn": [4.0], "A": [1.0], "B": [2.0], "peak": [10.0]},
        "128 x 128 x 128": {"fastnn": [8.0], "A": [16.0], "B": [2.0], "peak": [10.0]},
    }
    gemm.fill(table, shapes, ["A", "B"])
    assert [row[2] for row in table.rows] == ["1.41", "2.83", "1.00", "0.80"]
    assert [row[4] for row in table.rows] == ["0.50", "2.00", "0.50", "0.80"]
    assert [row[1] for row in table.rows] == ["2", "2", "2", "1"] and table.rows[2][5] == "128 x 128 x 128"


def test_plots_are_drawn_of_what_was_measured(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks import plots

    about = {"versions": {"fastnn": "1"}, "processor": "P", "date": "D", "bandwidth_gb_per_second": {"1": 20.0}}
    assert plots.draw(tmp_path, about, {"imports": report.Table("imports", "", [])}) == []
    seconds = {"median": 2e-5, "min": 1e-5, "max": 3e-5}
    rl = report.Table("rl", "", [], data={
        "ratios": {"PyTorch": {"median": 2.0}},
        "best": {name: {"threads": 1, "seconds": seconds} for name in ("fastnn", "PyTorch")},
        "peak_gflops": {"1": 100.0}, "gflop_per_step": 0.001, "sizes": (4, 64, 64, 2), "batch": 64,
    })  # fmt: skip
    one = report.Table("predict", "", [], data={
        "net": {"seconds": {"fastnn, f(x)": [1e-6], "PyTorch": [1e-5]}, "ratios": {"PyTorch": {"median": 10.0}}}
    })  # fmt: skip
    many = report.Table("predict_batches", "", [], data={
        "net": {str(rows): {"seconds": {"fastnn, 1 thread": [rows * 1e-6]}} for rows in (1, 10)}
    })  # fmt: skip
    product = report.Table("gemm", "", [], data={
        "libraries": ["NumPy"], "gflops": {"1 x 2 x 3": {"fastnn": [2.0], "NumPy": [1.0]}}
    })  # fmt: skip
    curve = {"1": {"seconds_per_row": 1e-6, "gflops": 1.0, "peak": 10.0}}
    growth = report.Table("growth", "", [], data=dict.fromkeys(("batch", "rows"), curve) | {"took_seconds": 1.0})
    written = plots.draw(tmp_path, about, {table.name: table for table in (rl, one, many, product, growth)})
    assert {path.stem for path in written} == {"training", "prediction", "roofline", "growth", "gemm"}
    assert all(path.stat().st_size > 5_000 for path in written)


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
    assert [row[0] for row in results["workloads"]["features"]["rows"]] == list(features.FEATURES)
    for name, peer in PEERS.items():
        assert f"{name}: not installed" in done.stdout or peer.slow_start
    assert "NOT THE SAME" not in done.stdout
    markdown = (tmp_path / "results.md").read_text()
    assert markdown.count("## ") == len(WORKLOADS)
    assert results["machine"]["threads"] and results["machine"]["bandwidth_gb_per_second"]


def test_without_matplotlib_there_is_a_note(tmp_path, monkeypatch, capsys):
    from benchmarks.__main__ import draw

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "benchmarks.plots", raising=False)
    monkeypatch.delattr("benchmarks.plots", raising=False)  # which an import of it has left in the package
    assert draw(tmp_path, {}, []) == []
    assert "no plots: matplotlib is not installed" in capsys.readouterr().out


def test_an_unknown_workload_is_refused_by_name():
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "fashon"],
        capture_output=True, text=True, cwd=ROOT, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "fashon" in done.stderr and "fashion" in done.stderr
