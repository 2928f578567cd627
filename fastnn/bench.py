# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn bench``: training and prediction beside the libraries that this Python has.

Each library runs in a process of its own, because thread pools that share a process fight, and takes its turn round by
round, at its better of one and all threads. All start from the same weights and take the same batches; the loss after
an epoch is shown, since a fast wrong step is no result. The whole suite, with more of everything, is ``benchmarks/`` in
the source distribution.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

import numpy as np

from . import __version__, _core
from .bench_libraries import LIBRARIES, TASKS, Task, Ways, loss_of, make_data
from .runtime import available_processors

# Below this difference of losses after an epoch, two libraries have trained the same network: rounding alone makes
# some hundredths of a percent.
SAME_LOSS = 0.03

_START = "import sys; sys.path.append(sys.argv[1]); from fastnn.bench import work; work(sys.argv[2], int(sys.argv[3]))"


def measure(ways: Ways, task: Task, seconds: float) -> float:
    """Seconds of a step, or of a prediction, over a loop of about so many seconds."""
    train, outputs = ways
    # The predictor's own way is a vector; others want rows.
    x = np.linspace(-1, 1, task.sizes[0], dtype=np.float32)
    x = x if type(outputs).__name__ == "Predictor" else x[None]
    call: Callable[[], object] = train if task.steps else lambda: outputs(x)
    calls, elapsed = 0, 0.0
    group = 1 if task.steps else 20
    start = time.perf_counter()
    while elapsed < seconds:
        for _ in range(group):
            call()
        calls += group
        elapsed = time.perf_counter() - start
    return elapsed / calls / max(task.steps, 1)


def work(library: str, threads: int) -> None:
    """A worker: a task by name and seconds on each line of its input, a JSON object on each line of its output."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    if hasattr(os, "sched_setaffinity"):  # the one limit that every pool of threads obeys
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    _, make, _ = LIBRARIES[library]
    made: dict[str, Ways] = {}

    def answer(name: str, seconds: float) -> dict[str, Any]:
        task, found = TASKS[name], {}
        if name not in made:
            weights, X, y = make_data(task)
            ways = make(task, weights, X, y, threads)
            ways[0]()
            if task.steps:
                found["loss"] = loss_of(task, ways[1](X), y)
            made[name] = ways
        return found | {"seconds": measure(made[name], task, seconds)}

    for line in sys.stdin:
        try:
            found = answer(*json.loads(line))
        except Exception as error:  # said in the table; the next task may do
            found = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(found) + "\n")


class Worker:
    """A library in a process of its own; a context manager."""

    def __init__(self, library: str, threads: int) -> None:
        folder = str(Path(__file__).resolve().parents[1])
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, folder, library, str(threads)],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip

    def ask(self, task: str, seconds: float) -> dict[str, Any]:
        """What `work` answers; RuntimeError with the library's own words where it fails."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps([task, seconds]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: there is no answer either
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"its process ended with status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"].splitlines()[0])
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def run(workloads: Sequence[str] = (), quick: bool = False) -> None:
    """Measure, and print a table for each workload."""
    if unknown := [name for name in workloads if name not in TASKS]:
        raise ValueError(f"no workload {', '.join(unknown)}; there are {', '.join(TASKS)}")
    processors = available_processors()
    counts = (1,) if quick or processors == 1 else (1, processors)
    present = [name for name, (package, _, _) in LIBRARIES.items() if find_spec(package)]
    print(f"{_processor()}, {processors} to use; {_core.isa()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {_version(LIBRARIES[name][0])}" for name in present))
    if missing := [name for name in LIBRARIES if name not in present]:
        print("not installed here, so not compared:", ", ".join(missing))
    with ExitStack() as stack:
        workers = {(name, n): stack.enter_context(Worker(name, n)) for name in present for n in counts}
        for name in workloads or TASKS:
            _show(name, TASKS[name], *_readings(name, workers, rounds=3 if quick else 7, quick=quick))
    print("\nTimes are medians of rounds in turns, each library at its better number of threads.")


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    if package == "fastnn":
        return __version__
    return metadata.version({"sklearn": "scikit-learn"}.get(package, package))


def _readings(
    name: str, workers: dict[tuple[str, int], Worker], rounds: int, quick: bool
) -> tuple[dict[tuple[str, int], list[float]], dict[str, float], list[str]]:
    """Seconds by (library, threads), losses after an epoch, notes."""
    task, readings = TASKS[name], dict[tuple[str, int], list[float]]()
    losses: dict[str, float] = {}
    notes: list[str] = []
    for key, worker in workers.items():
        library, threads = key
        if not (LIBRARIES[library][2] if task.steps else threads == 1):
            continue
        try:
            answer = worker.ask(name, 0.01)  # makes the network, warms up
        except RuntimeError as error:
            if library == "fastnn":
                raise
            notes.append(f"{library}: {error}")
            continue
        losses[library] = answer.get("loss", float("nan"))
        readings[key] = []
    for _ in range(rounds):
        for key, times in readings.items():
            times.append(workers[key].ask(name, 0.05 if quick else 0.15)["seconds"])
            time.sleep(0.03)  # some pools of threads go on spinning when their work is done
    return readings, losses, notes


def _show(
    name: str,
    task: Task,
    readings: dict[tuple[str, int], list[float]],
    losses: dict[str, float],
    notes: list[str],
) -> None:
    best = {}
    for key in sorted(readings, key=lambda key: median(readings[key]), reverse=True):
        best[key[0]] = key
    ours = readings[best["fastnn"]]
    print(f"\n{name}: {task.words}")
    print("  library       threads  microseconds       min       max  times fastnn's", *["  loss"] * bool(task.steps))
    for library in sorted(best, key=lambda library: median(readings[best[library]])):
        times = readings[best[library]]
        ratio = median(a / b for a, b in zip(times, ours, strict=True))
        shown = f"{1e6 * median(times):14.4g}{1e6 * min(times):10.4g}{1e6 * max(times):10.4g}{ratio:16.2f}"
        loss = f"{losses[library]:8.4f}" if task.steps else ""
        print(f"  {library:13}{best[library][1]:8}{shown}{loss}")
    if task.steps:
        print(f"  fastnn: {1e-9 * task.flops / median(ours):.0f} GFLOP/s")
        notes += [
            f"{library} has NOT DONE THE SAME TRAINING: its loss is {found:.4f}"
            for library, found in losses.items()
            if not abs(found / losses["fastnn"] - 1) <= SAME_LOSS
        ]
    for note in notes:
        print(f"  {note}")
