# SPDX-License-Identifier: BSD-3-Clause
"""Good company: what fastnn leaves to others, and what others cost it. Default threads, so fastnn decides how many.

- Rest: processor time used in the half second after `fit` has returned. It should be none.
- A neighbour: the same fit beside a process that computes all the time. A fair share of P processors is P - 1 of them,
  so the fit may take P / (P - 1) times as long as on all of them.
- Two at once: two processes fit the same network at the same time, as workers of joblib do: twice as long is fair.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks import timer
from benchmarks.peers import OWN, OWN_NAME
from benchmarks.process import Worker
from benchmarks.report import Settings, Table

# (inputs, *units), rows in a batch, steps
CASES = [((4, 64, 64, 2), 64, 20_000), ((54, 256, 256, 7), 256, 800), ((784, 256, 128, 10), 128, 600)]
SECONDS_OF_REST = 0.5


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """A process that computes all the time, on whichever processor the system gives it."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)  # it has started by now
        yield
    finally:
        process.kill()
        process.wait()


def run(settings: Settings, name: str) -> Table:
    table = Table(
        name,
        "In company: a fit with default threads, on all processors",
        [
            "network",
            "us a step",
            "beside a busy process",
            "times as long",
            "two fits at once",
            "times as long",
            "rest ms",
        ],
    )
    processors = max(settings.threads)
    fair = processors / (processors - 1) if processors > 1 else 2.0
    table.notes.append(f"fair beside a busy process: {fair:.1f} times as long; two at once: 2.0; rest: 0 ms")
    one = settings.pool.get(OWN_NAME, OWN, processors)
    with Worker(OWN, processors) as other, ThreadPoolExecutor(2) as pool:
        for sizes, batch, usual in CASES:
            steps = settings.choose(usual=usual, quick=usual // 20)
            ask = {"sizes": list(sizes), "batch": batch, "rows": batch * steps, "auto": True}

            def step(worker: Worker = one, ask: dict[str, object] = ask, steps: int = steps) -> float:
                return float(worker.ask("fit_time", **ask)) / steps

            def beside(step=step) -> float:  # type: ignore[no-untyped-def]
                with neighbour():
                    return float(step())

            def both(step=step) -> float:  # type: ignore[no-untyped-def]
                return float(max(pool.map(step, (one, other))))

            samplers = {"alone": step, "beside": beside, "both": both}
            readings = timer.interleave(samplers, settings.choose(usual=7, quick=1))
            rest = [one.ask("rest", seconds=SECONDS_OF_REST, **ask) for _ in range(settings.choose(usual=5, quick=1))]
            middle = {way: timer.summary(found)["median"] for way, found in readings.items()}
            ratios = {way: timer.ratio(readings[way], readings["alone"])["median"] for way in ("beside", "both")}
            cells = ["-".join(map(str, sizes)), f"{1e6 * middle['alone']:.1f}"]
            for way, ratio in ratios.items():
                cells += [f"{1e6 * middle[way]:.1f}", f"{ratio:.2f}"]
            table.rows.append([*cells, f"{1e3 * timer.summary(rest)['median']:.2f}"])
            table.data[cells[0]] = {"batch": batch, "steps": steps, "rest_seconds": rest, **readings}
    return table
