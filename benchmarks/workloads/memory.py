# SPDX-License-Identifier: BSD-3-Clause
"""Memory that `fit` takes on Fashion-MNIST beyond X, y, parameters, gradients and Adam's two moments.

The largest resident size while fitting, less the size before, in a fresh process in which nothing was fitted before:
so stacks of threads, the order of the rows, labels in the engine's type and the workspace all count. Linux only.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks import problem
from benchmarks.peers import OWN
from benchmarks.process import Worker
from benchmarks.report import Settings, Table

TARGET_MB = 16  # issue "the engine"


def run(settings: Settings) -> Table:
    rows = settings.choose(usual=60_000, quick=6_400)
    X, y, source = problem.fashion_rows(rows)
    table = Table(
        "memory",
        f"Memory of fit, 784-256-128-10, batch 128, Adam ({source}, {rows:,} rows), MB",
        ["threads", "epochs", "X", "parameters, gradients, state", "peak grew by", "beyond", "target"],
    )
    if not Path("/proc/self/status").exists():
        table.notes.append("not measured: needs Linux's /proc")
        return table
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "X.npy", X)
        np.save(folder / "y.npy", y)
        problem.save_weights(folder, problem.initial_weights(problem.FASHION_SIZES))
        for threads in settings.threads:
            for epochs in (1, 4):  # nothing may grow with epochs
                with Worker(OWN, threads) as worker:
                    worker.ask("load", folder=name, batch=128)
                    grown = worker.ask("memory", epochs=epochs, rows=rows)["grown"]
                known = 4 * 4 * problem.n_params(problem.FASHION_SIZES)  # four vectors of float32
                table.data[f"{threads} threads, {epochs} epochs"] = {"grown_bytes": grown, "known_bytes": known}
                table.rows.append(
                    [
                        str(threads),
                        str(epochs),
                        f"{X.nbytes / 1e6:.1f}",
                        f"{known / 1e6:.1f}",
                        f"{grown / 1e6:.1f}",
                        f"{(grown - known) / 1e6:.1f}",
                        f"<= {TARGET_MB}",
                    ]
                )
    return table
