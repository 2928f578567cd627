# SPDX-License-Identifier: BSD-3-Clause
"""Memory that `fit` takes beyond X, y, parameters, gradients and Adam's two moments.

The largest resident size while fitting, less the size before, in a fresh process in which nothing was fitted before:
so stacks of threads, the order of the rows, labels in the engine's type and the workspace all count. Linux only.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import problem
from benchmarks.peers import OWN
from benchmarks.process import Worker
from benchmarks.report import Settings, Table

GOALS_MB = {"fashion": 16, "wide": 32}


def run(settings: Settings, name: str) -> Table:
    table = Table(
        name,
        "Memory of fit, Adam, float32, MB",
        ["network", "threads", "epochs", "X", "parameters, gradients, state", "peak grew by", "beyond", "goal"],
    )
    if not Path("/proc/self/status").exists():
        table.notes.append("not measured: needs Linux's /proc")
        return table
    for network, goal in GOALS_MB.items():
        task = problem.TRAINING[network]
        rows = settings.choose(task.rows, task.quick_rows)
        X, y, source = problem.make_data(task, rows)
        table.notes.append(f"{network}: {task.words}, {rows:,} rows, {source}")
        known = 4 * 4 * problem.n_params(task.sizes)  # four vectors of float32
        with tempfile.TemporaryDirectory() as path:
            problem.write_problem(Path(path), X, y, problem.initial_weights(task.sizes))
            for threads in settings.threads:
                for epochs in (1, 4):  # nothing may grow with epochs
                    with Worker(OWN, threads) as worker:
                        worker.ask("load", folder=path, **task.settings)
                        grown = worker.ask("memory", epochs=epochs, rows=rows)["grown"]
                    megabytes = (X.nbytes, known, grown, grown - known)
                    cells = [network, str(threads), str(epochs), *(f"{size / 1e6:.1f}" for size in megabytes)]
                    table.rows.append([*cells, f"<= {goal}"])
                    key = f"{network}, {threads} threads, {epochs} epochs"
                    table.data[key] = {"grown_bytes": grown, "known_bytes": known}
    return table
