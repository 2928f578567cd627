# SPDX-License-Identifier: BSD-3-Clause
"""Matrix products alone, one thread: fastnn's forward product beside OpenBLAS (through NumPy) and MKL (PyTorch).

C (M, N) = A (M, K) B (K, N) over a grid of the shapes that layers have: M rows of a batch, K inputs, N units. fastnn
adds a bias, and its B lies ready in the layout that training keeps; BLAS packs B itself. It is called from C, the
others from Python: the time of a product of 1 x 1 x 1 (about a microsecond, nothing but the way there) is taken off.
"""

from __future__ import annotations

from itertools import product

from benchmarks import timer
from benchmarks.peers import INSTRUMENTS, OWN_NAME, peers_that
from benchmarks.process import NotInstalled, WorkerFailed
from benchmarks.report import Settings, Table

ROWS = (1, 8, 32, 64, 128, 512, 2048)
SIZES = (10, 33, 64, 100, 256, 784, 1024)
QUICK_ROWS, QUICK_SIZES = (1, 32, 512), (10, 100, 256, 784)
LARGE = 128  # from here in every dimension a share of the peak is asked for
GOALS = {"geometric mean": 1.1, "worst": 0.9, "share": 0.9}


def run(settings: Settings, name: str) -> Table:
    table = Table(
        name,
        "Matrix products, float32, one thread: fastnn's rate over that of others",
        ["compared with", "shapes", "geometric mean", "median", "worst", "at M x K x N", "goal"],
    )
    meter = settings.pool.get(OWN_NAME, INSTRUMENTS, 1)
    samplers = {}
    for library, peer in peers_that("gemm").items():
        try:
            samplers[library] = settings.pool.get(library, peer.module, 1, peer.environment)
        except (NotInstalled, WorkerFailed) as error:
            missing = isinstance(error, NotInstalled)
            table.notes.append(f"{library}: not installed ({error})" if missing else f"{library}: {error}")

    def call(library: str, shape: tuple[int, int, int]) -> float:
        return float(samplers[library].ask("gemm", shape=shape, pieces=settings.choose(usual=5, quick=3)))

    overhead = {library: min(call(library, (1, 1, 1)) for _ in range(3)) for library in samplers}
    grid = list(product(settings.choose(ROWS, QUICK_ROWS), *[settings.choose(SIZES, QUICK_SIZES)] * 2))
    shapes: dict[str, dict[str, list[float]]] = {}
    for _ in range(settings.choose(usual=3, quick=1)):
        for shape in grid:
            m, k, n = shape
            reading = meter.ask("matmul", shape=shape, use="forward", pieces=settings.choose(usual=5, quick=3))
            rates = {OWN_NAME: reading["product"], "peak": reading["peak"]}
            for library in samplers:
                seconds = call(library, shape)
                rates[library] = 2e-9 * m * k * n / max(seconds - overhead[library], 0.1 * seconds)
            for library, rate in rates.items():
                shapes.setdefault(" x ".join(map(str, shape)), {}).setdefault(library, []).append(rate)
    fill(table, shapes, list(samplers))
    table.data = {"gflops": shapes, "libraries": list(samplers), "overhead_seconds": overhead}
    return table


def fill(table: Table, shapes: dict[str, dict[str, list[float]]], libraries: list[str]) -> None:
    """A row for each library, for the better of both at each shape, and for the peak."""
    medians = {
        shape: {name: timer.summary(rates)["median"] for name, rates in found.items()}
        for shape, found in shapes.items()
    }
    goal = f"mean >= {GOALS['geometric mean']}, worst >= {GOALS['worst']}"

    def row(label: str, ratios: dict[str, float], goal: str) -> None:
        worst = min(ratios, key=lambda shape: ratios[shape])
        mean, middle = timer.geometric_mean(list(ratios.values())), timer.summary(list(ratios.values()))["median"]
        table.rows.append(
            [label, str(len(ratios)), f"{mean:.2f}", f"{middle:.2f}", f"{ratios[worst]:.2f}", worst, goal]
        )

    for library in libraries:
        row(library, {shape: found[OWN_NAME] / found[library] for shape, found in medians.items()}, "")
    if libraries:
        better = {shape: found[OWN_NAME] / max(found[x] for x in libraries) for shape, found in medians.items()}
        row("the better of them", better, goal)
    large = {
        shape: found[OWN_NAME] / found["peak"]
        for shape, found in medians.items()
        if min(map(int, shape.split(" x "))) >= LARGE
    }
    if large:
        row(f"FMA peak, M, K, N >= {LARGE}", large, f"worst >= {GOALS['share']}")
