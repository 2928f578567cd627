# SPDX-License-Identifier: BSD-3-Clause
"""Prediction through Python, from an array in memory to its outputs, the loop around the call included.

`predict`: one row, fastnn's frozen predictor beside each library's fastest call. `predict_batches`: `net.predict` of 1
to 100,000 rows. Answers are checked in float64 first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.peers import OWN, OWN_NAME, peers_that
from benchmarks.process import NotInstalled, Worker, WorkerFailed
from benchmarks.report import Settings, Table, number_text, threads_text, times_text

AGREES = 1e-4  # |answer - float64| where outputs are of unit size
F, F_OUT = "fastnn, f(x)", "fastnn, f(x, out=y)"


@dataclass(frozen=True)
class Network:
    sizes: tuple[int, ...]
    activation: str
    f_goal: float  # microseconds
    out_goal: float
    ratio_goal: float  # times the fastest peer

    @property
    def words(self) -> str:
        return f"{'-'.join(map(str, self.sizes))} {self.activation}"


NETWORKS = [
    Network((4, 64, 64, 2), "tanh", 0.30, 0.25, 20),
    Network((54, 256, 256, 7), "relu", 3.5, 3.5, 2.5),
    Network((784, 256, 128, 10), "relu", 10, 10, 1.4),
]
BATCHES = (1, 10, 100, 1_000, 10_000, 100_000)


def run(settings: Settings, name: str) -> Table:
    return one_row(settings) if name == "predict" else batches(settings)


def one_row(settings: Settings) -> Table:
    table = Table(
        "predict",
        "One prediction through Python, float32, one thread",
        ["network", "library", "us a call", "min", "max", "f(x) is faster by", "goal"],
    )
    for network in NETWORKS:
        with loaded(settings, table, network, rows=4, threads=(1,)) as workers:
            samplers: dict[str, Callable[[], float]] = {}
            for (library, _), worker in workers.items():
                for call, options in ways(library).items():
                    samplers[call] = sampler(worker, 1, settings.choose(usual=0.1, quick=0.02), **options)
            readings = timer.interleave(samplers, settings.choose(usual=15, quick=3))
        peers = {call: timer.ratio(times, readings[F]) for call, times in readings.items() if call not in (F, F_OUT)}
        for call, times in readings.items():
            goal = {F: f"{network.f_goal} us", F_OUT: f"{network.out_goal} us"}.get(call, "")
            faster = f"{peers[call]['median']:.1f} x" if call in peers else ""
            table.rows.append([network.words, call, *times_text(times, 1e6), faster, goal])
        if peers:
            nearest = min(peers, key=lambda call: peers[call]["median"])
            table.notes.append(
                f"{network.words}: faster than the fastest peer, {nearest}, by {peers[nearest]['median']:.1f} x "
                f"(goal {network.ratio_goal} x)"
            )
        table.data[network.words] = {"seconds": readings, "ratios": peers}
    return table


def ways(library: str) -> dict[str, dict[str, Any]]:
    """The calls that are timed of a library: name in the table -> options."""
    return {F: {"way": "f"}, F_OUT: {"way": "out"}} if library == OWN_NAME else {library: {}}


def batches(settings: Settings) -> Table:
    table = Table(
        "predict_batches",
        "Prediction of many rows, float32, each library at its better of threads "
        + " and ".join(map(str, settings.threads)),
        ["network", "rows", "fastnn us", "us a row", "fastest peer", "its us", "fastnn is faster by", "min", "max"],
    )
    sizes = BATCHES[::2] if settings.quick else BATCHES
    for network in NETWORKS[:1] if settings.quick else NETWORKS:
        with loaded(settings, table, network, rows=sizes[-1], threads=settings.threads) as workers:
            for rows in sizes:
                seconds = settings.choose(usual=0.1, quick=0.02)
                samplers = {key: sampler(worker, rows, seconds) for key, worker in workers.items()}
                readings = timer.interleave(samplers, settings.choose(usual=5, quick=3))
                add_batch(table, network, rows, readings)
    return table


def add_batch(table: Table, network: Network, rows: int, readings: dict[tuple[str, int], list[float]]) -> None:
    best = timer.best_of(readings)
    ours = readings[best.pop(OWN_NAME)]
    time = timer.summary(ours)["median"]
    cells = [network.words, f"{rows:,}", number_text(1e6 * time), f"{1e6 * time / rows:.3g}"]
    ratios = {name: timer.ratio(readings[key], ours) for name, key in best.items()}
    if ratios:
        nearest = min(ratios, key=lambda name: ratios[name]["median"])
        cells += [nearest, number_text(1e6 * timer.summary(readings[best[nearest]])["median"])]
        cells += [f"{ratios[nearest][key]:.2f} x" for key in ("median", "min", "max")]
    table.rows.append(cells + [""] * (len(table.columns) - len(cells)))
    table.data.setdefault(network.words, {})[str(rows)] = {
        "seconds": {f"{name}, {threads_text(threads)}": times for (name, threads), times in readings.items()},
        "ratios": ratios,
    }


def sampler(worker: Worker, rows: int, seconds: float, **options: Any) -> Callable[[], float]:
    return lambda: float(worker.ask("time_predict", rows=rows, seconds=seconds, **options))


@contextmanager
def loaded(
    settings: Settings, table: Table, network: Network, rows: int, threads: tuple[int, ...]
) -> Iterator[dict[tuple[str, int], Worker]]:
    """Workers by library and threads that have the network and its rows, and answer as float64 does."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        weights = problem.initial_weights(network.sizes, network.activation)
        x = np.random.default_rng(1).standard_normal((max(rows, 4), network.sizes[0]), np.float32)
        problem.save_weights(folder, weights)
        np.save(folder / "x.npy", x)
        expected = problem.logits(weights, x[:4], network.activation)
        workers: dict[tuple[str, int], Worker] = {}
        peers = {name: (peer.module, peer.environment, peer.slow_start) for name, peer in peers_that("predict").items()}
        for library, (module, environment, slow) in {OWN_NAME: (OWN, {}, False), **peers}.items():
            if slow and settings.quick:
                note(table, f"{library}: left out under --quick, it takes long to start")
                continue
            for n in threads:
                try:
                    worker = settings.pool.get(library, module, n, environment)
                    worker.ask("load_network", folder=str(folder), activation=network.activation)
                    error_found = float(np.abs(np.array(worker.ask("predict")) - expected).max())
                except (NotInstalled, WorkerFailed) as error:
                    if library == OWN_NAME:
                        raise
                    missing = isinstance(error, NotInstalled)
                    note(table, f"{library}: not installed ({error})" if missing else f"{library}: {error}")
                    break
                if not error_found <= AGREES:
                    note(table, f"{library}: its answer is off by {error_found:.0e}: NOT THE SAME NETWORK")
                workers[library, n] = worker
        yield workers


def note(table: Table, text: str) -> None:
    """Once, although there are several networks."""
    if text not in table.notes:
        table.notes.append(text)
