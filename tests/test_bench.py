# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn bench``: it runs, compares like with like, and says so where it does not. No test asserts a time."""

import sys

import numpy as np
import pytest

from fastnn import bench, bench_libraries
from fastnn.__main__ import main
from fastnn.bench_libraries import LIBRARIES, TASKS, loss_of, make_data

SMALL = bench_libraries.Task((5, 8, 3), "relu", "cross_entropy", batch=16, steps=4)
SMALL_MSE = bench_libraries.Task((5, 8, 2), "tanh", "mse", batch=16, steps=4)
ROW = bench_libraries.Task((5, 8, 3), "tanh")


@pytest.fixture(params=LIBRARIES)
def library(request):
    package, make, trains = LIBRARIES[request.param]
    pytest.importorskip(package)
    return make, trains


def test_every_library_predicts_the_same(library):
    weights, X, y = make_data(ROW)
    _, outputs = library[0](ROW, weights, X, y, 1)
    z = X
    for i, (weight, bias) in enumerate(weights):
        z = z @ weight.astype(float) + bias
        z = np.tanh(z) if i < len(weights) - 1 else z
    np.testing.assert_allclose(np.asarray(outputs(X)).reshape(z.shape), z, atol=1e-5)


@pytest.mark.parametrize("task", [SMALL, SMALL_MSE], ids=["labels", "mse"])
def test_every_library_trains_the_same(library, task):
    if not library[1]:
        pytest.skip("it predicts only")
    weights, X, y = make_data(task)
    expected, start = {}, None
    for make in (LIBRARIES["fastnn"][1], library[0]):
        train, outputs = make(task, [(w.copy(), b.copy()) for w, b in weights], X, y, 1)
        start = loss_of(task, outputs(X), y) if start is None else start
        for _ in range(3):
            train()
        expected[make] = loss_of(task, outputs(X), y)
    ours, theirs = expected[LIBRARIES["fastnn"][1]], expected[library[0]]
    assert ours < start
    assert abs(theirs - ours) < 0.02 * abs(start - ours)  # of the way that was gone


def test_the_loss_is_that_of_the_formula():
    z, labels = np.array([[0.0, 1.0, -2.0], [3.0, 3.0, 3.0]]), np.array([2, 1])
    expected = np.mean([np.log(1 + np.e + np.exp(-2.0)) + 2.0, np.log(3.0)])
    assert loss_of(SMALL, z, labels) == pytest.approx(expected)
    assert loss_of(SMALL_MSE, np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]])) == pytest.approx(2.5)


def test_the_operations_of_a_step():
    assert SMALL.flops == 16 * (4 * 5 * 8 + 6 * 8 * 3)


def test_the_command_prints_a_table(monkeypatch, capsys):
    """In workers of its own, as a user would run it, beside NumPy alone."""
    monkeypatch.setattr(bench, "LIBRARIES", {name: LIBRARIES[name] for name in ("fastnn", "NumPy")})
    assert main(["bench", "--quick", "predict", "rl"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    assert shown.count("fastnn  ") == 2 and shown.count("NumPy  ") == 1 and "NOT DONE" not in shown
    assert "a training step of 4-64-64-2 tanh, batch 64" in shown


def test_an_unknown_workload_is_refused_by_name(capsys):
    assert main(["bench", "fashon"]) == 1
    assert "fashon" in capsys.readouterr().err


def test_another_training_is_called_another_training(capsys):
    readings = {("fastnn", 1): [1.0], ("A", 1): [2.0], ("A", 2): [1.5], ("B", 1): [0.5]}
    bench._show("small", SMALL, readings, {"fastnn": 0.5, "A": 0.501, "B": 0.7}, [])
    shown = capsys.readouterr().out
    assert "B has NOT DONE THE SAME TRAINING" in shown and "A has" not in shown
    order = [line.split()[0] for line in shown.splitlines()[3:6]]
    assert order == ["B", "fastnn", "A"] and "1.50" in shown  # A at its better number of threads


def test_a_library_that_fails_is_a_note_and_fastnn_an_error(monkeypatch):
    class Broken:
        def ask(self, task, seconds):
            raise RuntimeError("no such symbol")

    _, _, notes = bench._readings("rl", {("PyTorch", 1): Broken()}, rounds=1, quick=True)
    assert notes == ["PyTorch: no such symbol"]
    with pytest.raises(RuntimeError, match="no such symbol"):
        bench._readings("rl", {("fastnn", 1): Broken()}, rounds=1, quick=True)


def test_a_worker_answers_errors_and_goes_on():
    with bench.Worker("fastnn", 1) as worker:
        with pytest.raises(RuntimeError, match="KeyError"):
            worker.ask("nothing", 0.001)
        assert worker.ask("predict", 0.001)["seconds"] > 0
        assert sys.executable in worker.process.args
        worker.process.kill()
        with pytest.raises(RuntimeError, match="ended with status"):
            worker.ask("predict", 0.001)


def test_every_workload_is_named_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    assert set(TASKS) <= set(words)
