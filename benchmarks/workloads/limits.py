# SPDX-License-Identifier: BSD-3-Clause
"""Limits that others set: how many threads a fit then takes, how long a step then takes, and whether its bits change.

Each limit is set in a fresh Python before fastnn is imported, or around the fit, as its users do. The quota of a
control group needs root on Linux; where it cannot be made the row says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import timer
from benchmarks.process import ROOT
from benchmarks.report import Settings, Table

FIT = """
import hashlib, json, os, sys, time
sys.path.append(sys.argv[2])  # last: an installed fastnn goes before the sources
import numpy as np
{before}
import fastnn as fn
def fit(steps):
    rng = np.random.default_rng(0)
    X, y = rng.random((25600, 54), np.float32), rng.integers(0, 7, 25600)
    layers = [fn.Dense(256, "relu"), fn.Dense(256, "relu"), fn.Dense(7, "softmax")]
    net = fn.Sequential(layers, inputs=54, seed=1)
    net.fit(X, y, epochs=1, batch_size=256, verbose=0)
    epochs = max(1, steps // 100)
    start = time.perf_counter()
    net.fit(X, y, epochs=epochs, batch_size=256, verbose=0)
    seconds = (time.perf_counter() - start) / (100 * epochs)
    return {{"threads": fn.get_num_threads(), "seconds": seconds,
            "bits": hashlib.sha256(net.params.tobytes()).hexdigest()}}
steps = int(sys.argv[1])
{fit}
print(json.dumps(found))
"""
PLAIN = "found = fit(steps)"
# what it is called -> code before fastnn is imported, how fit is called, variables of the environment
LIMITS = {
    "none": ("", PLAIN, {}),
    "affinity to one processor": ("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})", PLAIN, {}),
    "OMP_NUM_THREADS=1": ("", PLAIN, {"OMP_NUM_THREADS": "1"}),
    "threadpoolctl, limits=1": (
        "import threadpoolctl",
        "with threadpoolctl.threadpool_limits(1): found = fit(steps)",
        {},
    ),
    "two loky workers of joblib": (
        "import joblib",
        "found = joblib.Parallel(n_jobs=2)(joblib.delayed(fit)(steps) for _ in range(2))[0]",
        {},
    ),
    "a quota of one processor (cgroup)": ("", PLAIN, {}),
}
GROUP = Path("/sys/fs/cgroup/cpu/fastnn_benchmark")


@contextlib.contextmanager
def quota() -> Iterator[list[str]]:
    """The words before a command that runs within a control group (version 1) with one processor's time."""
    GROUP.mkdir()
    try:
        (GROUP / "cpu.cfs_quota_us").write_text((GROUP / "cpu.cfs_period_us").read_text())
        yield ["sh", "-c", f'echo $$ > {GROUP}/tasks && exec "$@"', "sh"]
    finally:
        GROUP.rmdir()


def measure(limit: str, steps: int) -> dict[str, object]:
    """Threads, seconds of a step and the hash of the weights of one fit."""
    before, fit, variables = LIMITS[limit]
    code = FIT.format(before=before, fit=fit)
    environment = {name: value for name, value in os.environ.items() if not name.endswith("NUM_THREADS")} | variables
    with quota() if "cgroup" in limit else contextlib.nullcontext([]) as words:
        command = [*words, sys.executable, "-P", "-c", code, str(steps), str(ROOT)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip().splitlines()[-1])
    found: dict[str, object] = json.loads(done.stdout)
    return found


def run(settings: Settings, name: str) -> Table:
    table = Table(
        name,
        "Limits that others set: 54-256-256-7, batch 256, a fit with default threads",
        ["limit", "threads", "us a step", "times as long", "same bits"],
        notes=["two workers, or half of two processors: 2 times as long is fair"],
    )
    steps = settings.choose(usual=800, quick=100)
    limits = list(LIMITS)
    readings: dict[str, list[dict[str, object]]] = {limit: [] for limit in limits}
    for _ in range(settings.choose(usual=5, quick=1)):
        for limit in limits:
            try:
                readings[limit].append(measure(limit, steps))
            except OSError as error:
                table.notes.append(f"{limit}: not measured ({error})")
                readings.pop(limit)
        limits = list(readings)
    free = readings["none"]
    for limit, found in readings.items():
        seconds = [float(reading["seconds"]) for reading in found]  # type: ignore[arg-type]
        ratio = timer.ratio(seconds, [float(reading["seconds"]) for reading in free])["median"]  # type: ignore[arg-type]
        same = {reading["bits"] for reading in found} == {free[0]["bits"]}
        row = [limit, str(found[0]["threads"]), f"{1e6 * timer.summary(seconds)['median']:.1f}", f"{ratio:.2f}"]
        table.rows.append([*row, "yes" if same else "NO"])
        table.data[limit] = found
    return table
