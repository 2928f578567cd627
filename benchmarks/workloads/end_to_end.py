# SPDX-License-Identifier: BSD-3-Clause
"""What a program waits for. `end_to_end`: Fashion-MNIST, 784-256-128-10, Adam 1e-3, batch 128, 5 epochs, shuffled: the
import, the whole training in a fresh process (compilation included), the accuracy on the test images. `imports`: how
long an import takes in a fresh Python, NumPy's beside it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.peers import OWN, OWN_NAME, PEERS, peers_that
from benchmarks.process import ROOT, NotInstalled, Worker, WorkerFailed
from benchmarks.report import Settings, Table, threads_text, times_text

GOAL = 2.5  # times the fastest peer's fit
IMPORT_GOAL = 0.03  # seconds beyond NumPy's
CLOCK = """
import sys, time
sys.path.append(sys.argv[2])
start = time.perf_counter()
import numpy
middle = time.perf_counter()
__import__(sys.argv[1])
end = time.perf_counter()
print(end - start, end - middle)
"""


def import_seconds(package: str, python: str) -> tuple[float, float]:
    """Of NumPy and the package, and of the package alone, in a Python that has just begun; raises NotInstalled."""
    # Else nothing would be kept compiled, and every import would compile anew.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [python, "-P", "-c", CLOCK, package, str(ROOT)], capture_output=True, text=True, env=variables, check=False
    )
    if done.returncode:
        raise NotInstalled(done.stderr.strip().splitlines()[-1] if done.stderr else package)
    total, beyond = map(float, done.stdout.split())
    return total, beyond


def import_times(settings: Settings, table: Table, packages: Mapping[str, str]) -> dict[str, Any]:
    """Seconds, "total" and "beyond" NumPy, by name in the table.

    A package that several names stand for is imported once a round.
    """
    samplers: dict[str, Any] = {}
    for name, package in packages.items():
        if package in samplers:
            continue
        python = settings.python_for(OWN_NAME if name == "NumPy" else name)
        try:
            import_seconds(package, python)  # and its files are in the cache now
        except NotInstalled as error:
            table.notes.append(f"{name}: not installed ({error})")
            continue
        samplers[package] = lambda package=package, python=python: import_seconds(package, python)
    readings = timer.interleave(samplers, settings.choose(usual=7, quick=1), pause=0)
    return {
        name: {key: [reading[i] for reading in readings[package]] for i, key in enumerate(("total", "beyond"))}
        for name, package in packages.items()
        if package in readings
    }


def run(settings: Settings, name: str) -> Table:
    return imports(settings) if name == "imports" else end_to_end(settings)


def imports(settings: Settings) -> Table:
    table = Table("imports", "Import in a fresh Python", ["package", "ms", "min", "max", "beyond NumPy's ms", "goal"])
    packages = {"NumPy": "numpy", OWN_NAME: "fastnn"}
    packages |= {peer.package: peer.package for peer in PEERS.values() if peer.package != "numpy"}
    readings = import_times(settings, table, packages)
    for package, times in readings.items():
        beyond = f"{1e3 * timer.summary(times['beyond'])['median']:.0f}"
        goal = f"<= {1e3 * IMPORT_GOAL:.0f}" if package == OWN_NAME else ""
        table.rows.append([package, *times_text(times["total"], 1e3), "" if package == "NumPy" else beyond, goal])
    table.data = {"seconds": readings}
    return table


def end_to_end(settings: Settings) -> Table:
    epochs, rows = settings.choose(usual=5, quick=2), settings.choose(usual=60_000, quick=6_400)
    task = problem.TRAINING["fashion"]
    X, y, source = problem.make_data(task, rows)
    X_test, y_test = test_images(X, y)
    table = Table(
        "end_to_end",
        f"End to end: {task.words}, {epochs} epochs of {rows:,} rows ({source})",
        ["library", "threads", "import s", "fit s", "min", "max", "fastnn is faster by", "test accuracy", "goal"],
    )
    settings.pool.forget()
    peers = peers_that("fit")
    imported = import_times(settings, table, {OWN_NAME: "fastnn"} | {name: p.package for name, p in peers.items()})
    readings: dict[tuple[str, int], list[float]] = {}
    accuracies: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as path:
        problem.write_problem(Path(path), X, y, problem.initial_weights(task.sizes))

        def fresh(name: str, threads: int) -> float:
            """A whole training in a process that has not trained before."""
            module, environment = (OWN, {}) if name == OWN_NAME else (PEERS[name].module, PEERS[name].environment)
            with Worker(module, threads, settings.python_for(name), environment) as worker:
                worker.ask("load", folder=path, **task.settings)
                worker.ask("reset")
                seconds = float(worker.ask("train", epochs=epochs, rows=rows, shuffle=True)["seconds"])
                with tempfile.TemporaryDirectory() as out:
                    worker.ask("weights", folder=out)
                    z = problem.logits(problem.load_weights(Path(out)), X_test, task.activation)
            accuracies.setdefault(name, []).append(float((z.argmax(1) == y_test).mean()))
            return seconds

        for _ in range(settings.choose(usual=3, quick=1)):
            for name in imported:
                for threads in settings.threads:
                    try:
                        readings.setdefault((name, threads), []).append(fresh(name, threads))
                    except WorkerFailed as error:
                        table.notes.append(f"{name}, {threads_text(threads)}: {error}")
    readings = {key: times for key, times in readings.items() if times}
    best = timer.best_of(readings)
    ratios: dict[str, Any] = {}
    for name, key in best.items():
        if name != OWN_NAME:
            ratios[name] = timer.ratio(readings[key], readings[best[OWN_NAME]])
        faster = f"{ratios[name]['median']:.2f} x" if name in ratios else ""
        accuracy, goal = f"{np.median(accuracies[name]):.3f}", f"{GOAL} x" if name == OWN_NAME else ""
        imported_in = f"{timer.summary(imported[name]['total'])['median']:.2f}"
        table.rows.append([name, str(key[1]), imported_in, *times_text(readings[key], 1), faster, accuracy, goal])
    table.data = {
        "fit_seconds": {f"{name}, {threads_text(threads)}": times for (name, threads), times in readings.items()},
        "import_seconds": imported,
        "accuracy": accuracies,
        "ratios": ratios,
    }
    return table


def test_images(X: Any, y: Any) -> tuple[Any, Any]:
    """The 10,000 test images; of made-up rows, the first ones they were trained on."""
    if not problem.FASHION_FOLDER.is_dir():
        return X[:1000], y[:1000]
    from fastnn.datasets import read_idx

    _, _, X_test, y_test = read_idx(problem.FASHION_FOLDER)
    return X_test.astype(np.float32) / np.float32(255), y_test.astype(np.int64)
