# SPDX-License-Identifier: BSD-3-Clause
"""A training step of each network in problem.TRAINING: Adam 1e-3, float32, a whole epoch at a time.

fastnn's figure is the whole call of `fit` divided by its steps. Every library starts from the same weights and takes
the same batches in the same order. A fast wrong step is no result: the first step, and the loss after some steps and
after an epoch (in float64, by NumPy), are compared before anything is timed. Two rows are for comparison within
fastnn: `shuffled` is what `fit` does by default (peers do not shuffle here), `train_step` a loop in Python.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import problem, timer
from benchmarks.peers import INSTRUMENTS, OWN, OWN_NAME, peers_that
from benchmarks.problem import Problem
from benchmarks.process import NotInstalled, Worker, WorkerFailed
from benchmarks.report import Settings, Table, threads_text, times_text

STEPS_COMPARED = 20
LONGEST = 1.0  # seconds of a reading; slower libraries are timed over a part of the epoch
JUDGED_ROWS = 10_000
# Adam divides by the size of a gradient, so where one is almost 0 its rounding decides, and weights of two libraries
# drift apart (PyTorch and JAX: 0.002 % of the way after 1 step, 1 % after 3, 6 % after 20), while their losses stay
# together. A wrong sign in one weight of a thousand makes 6 % in the first step.
FIRST_STEP_AGREES = 0.05
LOSSES_AGREE = 0.03

SHUFFLED, STEPS = f"{OWN_NAME}, shuffled", f"{OWN_NAME}, train_step"
COLUMNS = ["library", "threads", "us a step", "min", "max", "GFLOP/s", "of peak"]
COLUMNS += ["fastnn is faster by", "min", "max", "loss"]

Key = tuple[str, int]  # library, threads


def run(settings: Settings, name: str) -> Table:
    task = problem.TRAINING[name]
    rows = settings.choose(task.rows, task.quick_rows)
    X, y, source = problem.make_data(task, rows)
    steps = math.ceil(rows / task.batch)
    table = Table(name, f"A training step, {task.words}, float32 ({source}, {rows:,} rows)", COLUMNS)
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        start = problem.initial_weights(task.sizes, task.activation)
        problem.write_problem(folder, X, y, start)
        judged: dict[Key, dict[str, Any]] = {}
        workers: dict[Key, tuple[Worker, int]] = {}  # and the rows that are timed
        for key, worker in start_workers(settings, table).items():
            try:
                judged[key] = judge(worker, task, folder, X, y)
                workers[key] = worker, timed_rows(worker, rows, task.batch, LONGEST / (3 if settings.quick else 1))
            except WorkerFailed as error:
                if key[0] == OWN_NAME:
                    raise
                table.notes.append(f"{key[0]}, {threads_text(key[1])}: {error}")
        readings = timer.interleave(samplers(settings, workers, task.batch), settings.choose(7, 3))
    fill(table, task, readings, judged, rows / steps)
    for library in dict.fromkeys(name for name, _ in judged):
        results = [result for (name, _), result in judged.items() if name == library]
        if library != OWN_NAME:
            compare(table, library, start, results, judged[OWN_NAME, 1])
    table.data |= {"rows": rows, "source": source, "steps": steps, "batch": task.batch, "sizes": task.sizes}
    return table


def start_workers(settings: Settings, table: Table) -> dict[Key, Worker]:
    """Of fastnn and of every peer that is there, by threads; what is not there becomes a note."""
    workers: dict[Key, Worker] = {(OWN_NAME, n): settings.pool.get(OWN_NAME, OWN, n) for n in settings.threads}
    for name, peer in peers_that("train").items():
        if settings.quick and peer.slow_start:
            table.notes.append(f"{name}: left out under --quick, it takes long to start")
            continue
        for threads in settings.threads:
            try:
                workers[name, threads] = settings.pool.get(name, peer.module, threads, peer.environment)
            except NotInstalled as error:
                table.notes.append(f"{name}: not installed ({error})")
                break
            except WorkerFailed as error:
                table.notes.append(f"{name}: {error}")
                break
    return workers


def judge(worker: Worker, task: Problem, folder: Path, X: Any, y: Any) -> dict[str, Any]:
    """Train from the start for one step, some steps, an epoch; what came out each time. Warms the library up, too."""

    def loss_after(rows: int) -> float:
        return problem.loss(task, train_anew(worker, rows), X[:JUDGED_ROWS], y[:JUDGED_ROWS])

    worker.ask("load", folder=str(folder), **task.settings)
    first = train_anew(worker, task.batch)
    losses = {"an epoch": loss_after(len(X))}
    if len(X) > STEPS_COMPARED * task.batch:
        losses[f"{STEPS_COMPARED} steps"] = loss_after(STEPS_COMPARED * task.batch)
    return {"first step": first, "losses": losses}


def train_anew(worker: Worker, rows: int) -> problem.Weights:
    with tempfile.TemporaryDirectory() as name:
        worker.ask("reset")
        worker.ask("train", epochs=1, rows=rows)
        worker.ask("weights", folder=name)
        return problem.load_weights(Path(name))


def timed_rows(worker: Worker, rows: int, batch: int, longest: float) -> int:
    """The epoch, or as many whole batches as take so many seconds. What is timed has run once when this returns."""
    seconds = worker.ask("train", epochs=1, rows=rows)["seconds"]
    if seconds > longest:
        rows = max(1, int(longest / seconds * rows / batch)) * batch
        worker.ask("train", epochs=1, rows=rows)
    return rows


def samplers(settings: Settings, workers: dict[Key, tuple[Worker, int]], batch: int) -> dict[Key, Any]:
    """Seconds a step of every library, and the peak of as many threads."""
    chosen: dict[Key, Any] = {}
    for (name, threads), (worker, rows) in workers.items():

        def step(worker: Worker = worker, rows: int = rows, **options: Any) -> float:
            return worker.ask("train", epochs=1, rows=rows, **options)["seconds"] / math.ceil(rows / batch)

        def python_step(worker: Worker = worker, rows: int = rows) -> float:
            found = worker.ask("train_steps", rows=rows)
            return found["seconds"] / found["steps"]

        chosen[name, threads] = step
        if name == OWN_NAME:
            meter = settings.pool.get(OWN_NAME, INSTRUMENTS, threads)
            chosen[SHUFFLED, threads] = lambda step=step: step(shuffle=True)
            chosen[STEPS, threads] = python_step
            chosen["peak", threads] = lambda meter=meter: meter.ask("peak", seconds=0.1)
    return chosen


def fill(
    table: Table,
    task: Problem,
    readings: dict[Key, list[float]],
    judged: dict[Key, dict[str, Any]],
    batch: float,
) -> None:
    """A row for every library and number of threads. `batch`: the mean number of rows in a step."""
    peaks = {threads: timer.summary(rates)["median"] for (name, threads), rates in readings.items() if name == "peak"}
    times = {key: seconds for key, seconds in readings.items() if key[0] != "peak"}
    best = timer.best_of(times)
    gigaflops = problem.flops_per_sample(task.sizes) * batch / 1e9
    ratios: dict[str, Any] = {}
    for key, seconds in times.items():
        name, threads = key
        rate = gigaflops / timer.summary(seconds)["median"]
        compared = name not in (OWN_NAME, SHUFFLED, STEPS) and best[name] == key
        ratio = timer.ratio(seconds, times[best[OWN_NAME]]) if compared else None
        if ratio:
            ratios[name] = ratio
        table.rows.append(
            [
                name,
                str(threads),
                *times_text(seconds, 1e6),
                f"{rate:.3g}",
                f"{rate / peaks[threads]:.0%}",
                *(f"{ratio[key]:.2f} x" if ratio else "" for key in ("median", "min", "max")),
                f"{judged[key]['losses']['an epoch']:.4f}" if key in judged else "",
            ]
        )
    if ratios:
        nearest = min(ratios, key=lambda name: ratios[name]["median"])
        goal = f" (goal {task.goal} x)" if task.goal else ""
        table.notes.append(f"faster than the fastest peer, {nearest}, by {ratios[nearest]['median']:.2f} x{goal}")
    shown = ", ".join(f"{peak:.0f} GFLOP/s on {threads_text(threads)}" for threads, peak in peaks.items())
    table.notes.append(f"peak, measured in the same rounds: {shown}")
    if len(peaks) > 1:
        table.notes.append("each library is compared at its better number of threads, round by round")
    table.data = {
        "seconds_per_step": {f"{name}, {threads_text(threads)}": seconds for (name, threads), seconds in times.items()},
        "best": {name: {"threads": key[1], "seconds": timer.summary(times[key])} for name, key in best.items()},
        "peak_gflops": {str(threads): peak for threads, peak in peaks.items()},
        "gflop_per_step": gigaflops,
        "ratios": ratios,
        "losses": {f"{name}, {threads_text(n)}": result["losses"] for (name, n), result in judged.items()},
    }


def compare(
    table: Table, name: str, start: problem.Weights, results: list[dict[str, Any]], ours: dict[str, Any]
) -> None:
    """A note on how far apart a library, on whatever threads, and fastnn are; it says plainly when they have not done
    the same."""
    length = problem.distance(start, ours["first step"])
    step = max(problem.distance(result["first step"], ours["first step"]) / length for result in results)
    losses = {
        when: max(abs(result["losses"][when] / loss - 1) for result in results) for when, loss in ours["losses"].items()
    }
    same = step <= FIRST_STEP_AGREES and max(losses.values()) <= LOSSES_AGREE
    table.notes.append(
        f"{name}: the first step differs from fastnn's by {step:.2%} of its length; the loss after "
        + ", after ".join(f"{when} by {difference:.2%}" for when, difference in losses.items())
        + ("" if same else ": NOT THE SAME TRAINING")
    )
