# SPDX-License-Identifier: BSD-3-Clause
"""What a loss written in Python costs: the mean squared error as a function of two arrays, beside the native one.

Whole calls of `fit`, in turns. The function costs some microseconds a batch whatever the network: NumPy's calls, and
the way into C and back for each part of the step. So the ratio is worst for small networks and small batches.
"""

from __future__ import annotations

from benchmarks import timer
from benchmarks.peers import OWN, OWN_NAME
from benchmarks.report import Settings, Table

# (inputs, *units), rows in a batch
CASES = [((8, 32, 1), 32), ((8, 64, 64, 1), 32), ((64, 128, 128, 4), 128), ((784, 256, 128, 10), 128)]


def run(settings: Settings, name: str) -> Table:
    table = Table(
        name,
        "A loss written in Python beside the native mse, Adam, one thread: microseconds a step of fit",
        ["network", "batch", "native", "Python", "ratio", "min", "max"],
    )
    worker = settings.pool.get(OWN_NAME, OWN, 1)
    for sizes, batch in CASES:

        def reading(python: bool, sizes: tuple[int, ...] = sizes, batch: int = batch) -> float:
            steps = settings.choose(usual=300, quick=30)
            seconds = worker.ask(
                "fit_time", sizes=sizes, batch=batch, rows=batch * steps, activation="tanh", python=python
            )
            return float(seconds) / steps

        samplers = {"native": lambda: reading(False), "Python": lambda: reading(True)}
        readings = timer.interleave(samplers, settings.choose(usual=9, quick=3))
        ratio = timer.ratio(readings["Python"], readings["native"])
        cells = [f"{1e6 * timer.summary(readings[kind])['median']:.1f}" for kind in samplers]
        cells += [f"{ratio[key]:.2f}" for key in ("median", "min", "max")]
        table.rows.append(["-".join(map(str, sizes)), str(batch), *cells])
        table.data["-".join(map(str, sizes))] = {"batch": batch, **readings}
    return table
