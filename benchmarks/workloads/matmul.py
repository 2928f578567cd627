# SPDX-License-Identifier: BSD-3-Clause
"""The matrix product alone, one thread, as a share of the FMA peak measured beside it, millisecond by millisecond.

Shapes are batch x inputs x units of a layer: `forward` is X.W + b, `dW` is transposed X times dY, `dX` is dY times
transposed W; 2.batch.inputs.units operations each. Every instruction set that this processor has runs in a process of
its own. What is timed is the product as training runs it: weights lie ready in the layout that the update keeps.
"""

from __future__ import annotations

from benchmarks import timer
from benchmarks.peers import INSTRUMENTS
from benchmarks.process import Worker
from benchmarks.report import Settings, Table

SHAPES = [(128, 784, 256), (256, 256, 256)]
USES = {"forward": "forward", "weight": "dW", "input": "dX"}
TARGETS = {"avx512": 0.90, "avx2": 0.85}  # of forward and dW


def run(settings: Settings, name: str) -> Table:
    table = Table(
        name,
        "Matrix product, float32, one thread: share of the FMA peak measured in turns with it",
        ["batch x inputs x units", "set", "GFLOP/s", "peak", "share", "min", "max", "target"],
    )
    with Worker(INSTRUMENTS, threads=1) as worker:
        instruction_sets = worker.ask("instruction_sets")
    for isa in instruction_sets:
        with Worker(INSTRUMENTS, threads=1, environment={"FASTNN_ISA": isa}) as worker:
            if worker.versions["instruction set"] != isa:
                table.notes.append(f"{isa}: not measured, FASTNN_ISA={isa} gave {worker.versions['instruction set']}")
                continue
            measure(worker, isa, settings, table)
    return table


def measure(worker: Worker, isa: str, settings: Settings, table: Table) -> None:
    """Rounds over all products, so that a bad minute falls on all of them."""
    readings: dict[str, list[dict[str, float]]] = {}
    for _ in range(settings.choose(usual=9, quick=3)):
        for shape in SHAPES:
            for use, shown in USES.items():
                reading = worker.ask("matmul", shape=shape, use=use, pieces=settings.choose(usual=40, quick=5))
                readings.setdefault(" x ".join(map(str, shape)) + f" {shown}", []).append(reading)
    for name, pairs in readings.items():
        rates, peaks = [pair["product"] for pair in pairs], [pair["peak"] for pair in pairs]
        share = timer.ratio(rates, peaks)
        target = "" if name.endswith("dX") or isa not in TARGETS else f">= {TARGETS[isa]:.0%}"
        cells = [f"{timer.summary(rates)['median']:.1f}", f"{timer.summary(peaks)['median']:.1f}"]
        cells += [f"{share[key]:.1%}" for key in ("median", "min", "max")]
        table.rows.append([name, isa, *cells, target])
    table.data[isa] = readings
