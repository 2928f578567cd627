# SPDX-License-Identifier: BSD-3-Clause
"""How fastnn's training time grows: per row against batch, width, depth and rows; odd sizes; two threads against one.

`growth` looks for curves that are not flat where the arithmetic is; `odd_sizes` compares rates per operation with the
round size beside; `threads` compares all processors with one, over steps from a fraction of a MFLOP on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks import timer
from benchmarks.peers import INSTRUMENTS, OWN, OWN_NAME
from benchmarks.problem import flops_per_sample
from benchmarks.process import Worker
from benchmarks.report import Settings, Table, number_text, times_text

Case = tuple[tuple[int, ...], int, int]  # sizes, batch, rows

ODD = ((13, 16), (37, 40), (50, 48), (71, 72), (100, 96), (113, 112), (1000, 1024))  # and the round size beside
REMAINDERS = ((100, 96), (129, 128), (250, 256), (1000, 1024))
WIDTHS = (8, 13, 16, 32, 37, 50, 64, 71, 100, 113, 128, 256, 512, 1000, 1024)
BATCHES = (1, 4, 16, 32, 64, 100, 128, 256, 512, 1024, 4096, 16384)
DEPTHS = (1, 2, 4, 8, 16, 32)
ROWS = (1_000, 10_000, 100_000, 1_000_000)
SIZES = (64, 64, 64, 8)  # of the curves against batch and rows


def run(settings: Settings, name: str) -> Table:
    return {"growth": growth, "odd_sizes": odd_sizes, "threads": threads}[name](settings)


def rows_for(sizes: Sequence[int], batch: int, gigaflops: float) -> int:
    """As many whole batches as make up the operations; at least four, so that a step's start-up does not count alone,
    and no more than 100,000 rows."""
    wanted = min(gigaflops * 1e9 / flops_per_sample(sizes), 100_000)
    return batch * max(4, math.ceil(wanted / batch))


def rates(worker: Worker, cases: Sequence[Case], rounds: int, **options: Any) -> dict[Case, list[float]]:
    """Seconds of an epoch of each case, the cases in turns."""

    def sampler(case: Case) -> Any:
        sizes, batch, rows = case
        return lambda: worker.ask("fit_time", sizes=sizes, batch=batch, rows=rows, **options)

    return timer.interleave({case: sampler(case) for case in cases}, rounds, pause=0)


def gflops(case: Case, seconds: float) -> float:
    return 1e-9 * flops_per_sample(case[0]) * case[2] / seconds


def growth(settings: Settings) -> Table:
    work = settings.choose(usual=2.0, quick=0.2)
    curves: dict[str, dict[int, Case]] = {
        "batch": {b: (SIZES, b, rows_for(SIZES, b, work)) for b in settings.choose(BATCHES, BATCHES[::3])},
        "width": {w: ((w,) * 4, 128, rows_for((w,) * 4, 128, work)) for w in settings.choose(WIDTHS, WIDTHS[:-2:3])},
        "depth": {
            d: ((64,) * (d + 1), 128, rows_for((64,) * (d + 1), 128, work))
            for d in settings.choose(DEPTHS, DEPTHS[::2])
        },
        "rows": {r: (SIZES, 128, r) for r in settings.choose(ROWS, ROWS[:3])},
    }
    table = Table(
        "growth",
        "Growth, ReLU, mse, Adam, one thread: 64-64-64-8 by batch and rows; w-w-w-w by width; 64-...-64 by depth",
        ["against", "at", "us a row", "min", "max", "ns a row and kFLOP", "GFLOP/s", "of peak"],
    )
    worker, meter = settings.pool.get(OWN_NAME, OWN, 1), settings.pool.get(OWN_NAME, INSTRUMENTS, 1)
    for against, cases in curves.items():
        readings = rates(worker, list(cases.values()), settings.choose(usual=7, quick=3))
        peak = meter.ask("peak", seconds=0.05)
        for at, case in cases.items():
            times = readings[case]
            rate, per_row = gflops(case, timer.summary(times)["median"]), 1e6 / case[2]
            seconds = timer.summary(times)["median"] / case[2]
            table.rows.append(
                [
                    against,
                    f"{at:,}",
                    *times_text(times, per_row),
                    f"{1e12 * seconds / flops_per_sample(case[0]):.3g}",
                    f"{rate:.3g}",
                    f"{rate / peak:.0%}",
                ]
            )
            table.data.setdefault(against, {})[str(at)] = {"seconds_per_row": seconds, "gflops": rate, "peak": peak}
    return table


def odd_sizes(settings: Settings) -> Table:
    work = settings.choose(usual=2.0, quick=0.2)

    def of_width(w: int) -> Case:
        return (w,) * 4, 128, rows_for((w,) * 4, 128, work)

    def of_batch(b: int) -> Case:
        return (64, 128, 128, 16), b, rows_for((64, 128, 128, 16), b, work)

    pairs = [
        *(("width", a, b, of_width(a), of_width(b), 0.15 if a >= 64 else 0.30) for a, b in ODD),
        *(("batch", a, b, of_batch(a), of_batch(b), 0.05) for a, b in REMAINDERS),
    ]
    if settings.quick:
        pairs = [pair for pair in pairs if pair[1] < 1000]
    table = Table(
        "odd_sizes",
        "Odd sizes beside round ones, ReLU, mse, Adam, one thread: w-w-w-w in batches of 128; batches of 64-128-128-16",
        ["of", "odd", "round", "GFLOP/s", "GFLOP/s round", "lost per FLOP", "min", "max", "goal"],
    )
    worker = settings.pool.get(OWN_NAME, OWN, 1)
    for of, odd, even, case, beside, goal in pairs:
        readings = rates(worker, [case, beside], settings.choose(usual=9, quick=3))
        ours = [gflops(case, seconds) for seconds in readings[case]]
        theirs = [gflops(beside, seconds) for seconds in readings[beside]]
        kept = timer.ratio(ours, theirs)
        table.rows.append(
            [of, str(odd), str(even)]
            + [f"{timer.summary(found)['median']:.3g}" for found in (ours, theirs)]
            + [f"{1 - kept[key]:.0%}" for key in ("median", "max", "min")]
            + [f"<= {goal:.0%}"]
        )
        table.data[f"{of} {odd}"] = {"round": even, "gflops": ours, "gflops_round": theirs, "kept": kept}
    return table


def threads(settings: Settings) -> Table:
    most = settings.processors
    table = Table(
        "threads",
        f"Training on {most} threads against one, ReLU, mse, Adam: fit(threads={most}), and as fit chooses itself",
        ["network", "batch", "MFLOP a step", "us a step, 1", f"{most} faster by", "min", "max", "fit's choice", "goal"],
    )
    if most == 1:
        table.notes.append("not measured: one processor")
        return table
    one, many = settings.pool.get(OWN_NAME, OWN, 1), settings.pool.get(OWN_NAME, OWN, most)
    widths, batches = settings.choose((16, 64, 128, 256, 512), (64, 256)), settings.choose((32, 128, 1024), (32, 512))
    for width in widths:
        for batch in batches:
            sizes = (width,) * 4
            step = flops_per_sample(sizes) * batch / 1e6
            ask = {"sizes": sizes, "batch": batch, "rows": rows_for(sizes, batch, settings.choose(2.0, 0.3))}
            readings = timer.interleave(
                {
                    "one": lambda ask=ask: one.ask("fit_time", **ask),
                    "many": lambda ask=ask: many.ask("fit_time", **ask),
                    "auto": lambda ask=ask: many.ask("fit_time", auto=True, **ask),
                },
                settings.choose(usual=7, quick=3),
            )
            gain, chosen = (timer.ratio(readings["one"], readings[kind]) for kind in ("many", "auto"))
            goal = 1.8 if step >= 50 else 1.3 if step >= 2 else 1.0
            table.rows.append(
                ["-".join(map(str, sizes)), str(batch), f"{step:.2f}"]
                + [number_text(1e6 * timer.summary(readings["one"])["median"] * batch / ask["rows"])]
                + [f"{gain[key]:.2f} x" for key in ("median", "min", "max")]
                + [f"{chosen['median']:.2f} x", f">= {goal} x"]
            )
            table.data[f"{width}, batch {batch}"] = {"mflop": step, "gain": gain, "auto": chosen, "goal": goal}
    return table
