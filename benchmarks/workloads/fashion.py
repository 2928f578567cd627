# SPDX-License-Identifier: BSD-3-Clause
"""A training step on Fashion-MNIST: 784-256-128-10, ReLU, Adam 1e-3, batch 128, a whole epoch at a time.

fastnn's figure is the whole call of `fit` divided by its steps. Every library starts from the same weights and takes
the same batches in the same order. A fast wrong step is no result: the first step, and the loss after 20 steps and
after an epoch (in float64, by NumPy), are compared before anything is timed. `fastnn, shuffled` is what `fit` does by
default; peers do not shuffle.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.peers import OWN, PEERS
from benchmarks.process import NotInstalled, Worker, WorkerFailed
from benchmarks.report import Settings, Table

SIZES = problem.FASHION_SIZES
BATCH = 128
STEPS_COMPARED = 20
JUDGED_ROWS = 10_000
# Adam divides by the size of a gradient, so where one is almost 0 its rounding decides, and weights of two libraries
# drift apart (PyTorch and JAX: 0.002 % of the way after 1 step, 1 % after 3, 6 % after 20), while their losses stay
# together. Another place for epsilon (scikit-learn) makes 3 % in the first step; a wrong sign in one weight of a
# thousand makes 6 %.
FIRST_STEP_AGREES = 0.05
LOSSES_AGREE = 0.03

Key = tuple[str, int]  # library, threads


def run(settings: Settings) -> Table:
    rows = settings.choose(usual=60_000, quick=6_400)
    X, y, source = problem.fashion_rows(rows)
    steps = math.ceil(rows / BATCH)
    table = Table(
        "fashion",
        f"A training step, 784-256-128-10, batch {BATCH}, float32 ({source}, {rows:,} rows)",
        [
            "library",
            "threads",
            "us a step",
            "min",
            "max",
            "GFLOP/s",
            "of peak",
            "fastnn is faster by",
            "min",
            "max",
            "loss",
        ],
    )
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        np.save(folder / "X.npy", X)
        np.save(folder / "y.npy", y)
        problem.save_weights(folder, problem.initial_weights(SIZES))
        workers = start_workers(settings, stack, table)
        judged = {key: judge(worker, folder, X, y) for key, worker in workers.items()}
        readings = timer.interleave(samplers(workers, rows, steps), settings.choose(usual=9, quick=3))
    fill(table, readings, judged, rows / steps)
    table.data |= {"rows": rows, "source": source, "steps": steps}
    return table


def start_workers(settings: Settings, stack: contextlib.ExitStack, table: Table) -> dict[Key, Worker]:
    libraries = {"fastnn": OWN} | {name: module for name, (module, can) in PEERS.items() if "train" in can}
    workers: dict[Key, Worker] = {}
    for name, module in libraries.items():
        for threads in settings.threads:
            try:
                workers[name, threads] = stack.enter_context(Worker(module, threads, settings.python_for(name)))
            except NotInstalled as error:
                table.notes.append(f"{name}: not installed ({error})")
                break
            except WorkerFailed as error:
                if name == "fastnn":
                    raise
                table.notes.append(f"{name}: {error}")
                break
    return workers


def judge(worker: Worker, folder: Path, X: Any, y: Any) -> dict[str, Any]:
    """Train from the start for one step, some steps, an epoch; what came out each time. Warms the library up, too."""
    worker.ask("load", folder=str(folder), batch=BATCH)
    first = train_anew(worker, BATCH)
    return {
        "first step": first,
        "losses": {
            f"{STEPS_COMPARED} steps": problem.cross_entropy(
                train_anew(worker, min(STEPS_COMPARED * BATCH, len(X))), X[:JUDGED_ROWS], y[:JUDGED_ROWS]
            ),
            "an epoch": problem.cross_entropy(train_anew(worker, len(X)), X[:JUDGED_ROWS], y[:JUDGED_ROWS]),
        },
    }


def train_anew(worker: Worker, rows: int) -> problem.Weights:
    with tempfile.TemporaryDirectory() as name:
        worker.ask("reset")
        worker.ask("train", epochs=1, rows=rows)
        worker.ask("weights", folder=name)
        return problem.load_weights(Path(name))


def samplers(workers: dict[Key, Worker], rows: int, steps: int) -> dict[Key, Any]:
    """Seconds a step of every library, and the peak of as many threads."""
    chosen: dict[Key, Any] = {}
    for (name, threads), worker in workers.items():

        def step(worker: Worker = worker, **options: Any) -> float:
            return worker.ask("train", epochs=1, rows=rows, **options)["seconds"] / steps

        chosen[name, threads] = step
        if name == "fastnn":
            chosen["fastnn, shuffled", threads] = lambda step=step: step(shuffle=True)
            chosen["peak", threads] = lambda worker=worker: worker.ask("peak", seconds=0.1)
    return chosen


def fill(table: Table, readings: dict[Key, list[float]], judged: dict[Key, dict[str, Any]], batch: float) -> None:
    peaks = {threads: timer.summary(rates)["median"] for (name, threads), rates in readings.items() if name == "peak"}
    best = best_threads(readings)
    ours = best["fastnn"]
    gigaflops = problem.flops_per_sample(SIZES) * batch / 1e9
    ratios: dict[str, Any] = {}
    for (name, threads), seconds in readings.items():
        if name == "peak":
            continue
        step = timer.summary(seconds)
        is_peer_at_best = name in PEERS and best[name] == (name, threads)
        ratio = timer.ratio(seconds, readings[ours]) if is_peer_at_best else None
        if ratio:
            ratios[name] = ratio
        rate = gigaflops / step["median"]
        loss = f"{judged[name, threads]['losses']['an epoch']:.4f}" if (name, threads) in judged else ""
        table.rows.append(
            [
                name,
                str(threads),
                *(f"{1e6 * step[key]:.0f}" for key in ("median", "min", "max")),
                f"{rate:.0f}",
                f"{rate / peaks[threads]:.0%}",
                *(f"{ratio[key]:.2f} x" if ratio else "" for key in ("median", "min", "max")),
                loss,
            ]
        )
    for (name, threads), result in judged.items():
        if name != "fastnn":
            compare(table, name, threads, result, judged[ours])
    table.notes.append(
        "peak, measured in the same rounds: "
        + ", ".join(
            f"{peak:.0f} GFLOP/s on {threads} thread{'s' if threads > 1 else ''}" for threads, peak in peaks.items()
        )
    )
    table.notes.append("each library is compared at its better number of threads, round by round")
    table.data = {
        "seconds_per_step": {
            f"{name}, {threads} threads": seconds for (name, threads), seconds in readings.items() if name != "peak"
        },
        "peak_gflops": {str(threads): rates for (name, threads), rates in readings.items() if name == "peak"},
        "ratios": ratios,
        "losses": {f"{name}, {threads} threads": result["losses"] for (name, threads), result in judged.items()},
    }


def best_threads(readings: dict[Key, list[float]]) -> dict[str, Key]:
    """The better number of threads of each library, by its median."""
    best: dict[str, Key] = {}
    for key, seconds in readings.items():
        name = key[0]
        if name not in best or timer.summary(seconds)["median"] < timer.summary(readings[best[name]])["median"]:
            best[name] = key
    return best


def compare(table: Table, name: str, threads: int, result: dict[str, Any], ours: dict[str, Any]) -> None:
    """A note on how far apart a library and fastnn are; says plainly when they have not done the same."""
    start = problem.initial_weights(SIZES)
    step = problem.distance(result["first step"], ours["first step"]) / problem.distance(start, ours["first step"])
    losses = {when: abs(loss / ours["losses"][when] - 1) for when, loss in result["losses"].items()}
    same = step <= FIRST_STEP_AGREES and max(losses.values()) <= LOSSES_AGREE
    table.notes.append(
        f"{name}, {threads} thread{'s' if threads > 1 else ''}: the first step differs from fastnn's by "
        f"{step:.2%} of its length; the loss after "
        + ", after ".join(f"{when} by {difference:.2%}" for when, difference in losses.items())
        + ("" if same else ": NOT THE SAME TRAINING")
    )
