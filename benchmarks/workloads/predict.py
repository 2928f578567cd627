# SPDX-License-Identifier: BSD-3-Clause
"""One prediction through Python: a policy network 4-64-64-2 with tanh, one row in, one row out, the loop included.

Each library is called the fastest way it has for an array in memory, and its answer is checked in float64 first.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.peers import OWN, PEERS
from benchmarks.process import NotInstalled, Worker, WorkerFailed
from benchmarks.report import Settings, Table

SIZES = problem.POLICY_SIZES
TARGET_US = 0.5  # issue "the engine"
AGREES = 1e-4  # |answer - float64|; outputs are of unit size

CALLS: dict[str, dict[str, Any]] = {"fastnn, f(x)": {}, "fastnn, f(x, out=y)": {"use_out": True}}


def run(settings: Settings) -> Table:
    table = Table(
        "predict",
        "One prediction through Python, 4-64-64-2 tanh, float32, one thread",
        ["library", "us a call", "min", "max", "fastnn f(x) is faster by", "target us"],
    )
    seconds = 0.02 if settings.quick else 0.1
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        weights = problem.initial_weights(SIZES)
        x = np.array([0.03, -0.4, 0.02, 0.7], np.float32)
        problem.save_weights(folder, weights)
        np.save(folder / "x.npy", x)
        expected = problem.logits(weights, x[None], "tanh")[0]

        samplers: dict[str, Any] = {}
        libraries = {"fastnn": OWN} | {name: module for name, (module, can) in PEERS.items() if "predict" in can}
        for library, module in libraries.items():
            try:
                worker = stack.enter_context(Worker(module, 1, settings.python_for(library)))
                worker.ask("load_policy", folder=name)
            except NotInstalled as error:
                table.notes.append(f"{library}: not installed ({error})")
                continue
            except WorkerFailed as error:
                if library == "fastnn":
                    raise
                table.notes.append(f"{library}: {error}")
                continue
            error_found = float(np.abs(np.array(worker.ask("predict")) - expected).max())
            if not error_found <= AGREES:
                table.notes.append(f"{library}: its answer is off by {error_found:.0e}: NOT THE SAME NETWORK")
            for call, options in (CALLS if library == "fastnn" else {library: {}}).items():
                samplers[call] = lambda worker=worker, options=options: worker.ask(
                    "time_predict", seconds=seconds, **options
                )["seconds"]
        readings = timer.interleave(samplers, settings.choose(usual=15, quick=3))

    for call, times in readings.items():
        ours = call in CALLS
        ratio = "" if ours else f"{timer.ratio(times, readings['fastnn, f(x)'])['median']:.1f} x"
        time = timer.summary(times)
        table.rows.append(
            [
                call,
                *(f"{1e6 * time[key]:.2f}" for key in ("median", "min", "max")),
                ratio,
                f"{TARGET_US}" if ours else "",
            ]
        )
    table.data = {"seconds": readings}
    return table
