# SPDX-License-Identifier: BSD-3-Clause
"""``python -m benchmarks [--quick] [WORKLOAD ...]``: measure, print tables, write JSON, Markdown and plots."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT

# As in a worker: an installed fastnn goes before the sources beside us.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT] + [str(ROOT)]

from benchmarks import report  # noqa: E402
from benchmarks.peers import INSTRUMENTS, OWN, OWN_NAME, PEERS  # noqa: E402
from benchmarks.process import NotInstalled, WorkerFailed  # noqa: E402
from benchmarks.workloads import WORKLOADS  # noqa: E402


def versions(settings: report.Settings) -> dict[str, str]:
    """Of every library that is there."""
    found = dict(settings.pool.get(OWN_NAME, OWN, 1).versions)
    for name, peer in PEERS.items():
        if peer.slow_start and settings.quick:
            continue
        with contextlib.suppress(NotInstalled, WorkerFailed):
            found |= settings.pool.get(name, peer.module, 1, peer.environment).versions
    return found


def draw(folder: Path, about: dict[str, Any], tables: Sequence[report.Table]) -> list[Path]:
    """Plots of what was measured; none, and a note, without matplotlib."""
    try:
        from benchmarks import plots
    except ModuleNotFoundError as error:
        print(f"no plots: {error.name} is not installed")
        return []
    return plots.draw(folder, about, {table.name: table for table in tables})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure fastnn beside other libraries.")
    parser.add_argument("workloads", metavar="WORKLOAD", nargs="*", help=f"{', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds, one thread: does it work at all")
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="EXE",
        help="the Python that has the other libraries (default: this one)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/benchmarks"),
        metavar="FOLDER",
        help="where results.json, results.md and plots go (default: build/benchmarks)",
    )
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.workloads if name not in WORKLOADS]:
        parser.error(f"unknown workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = (1, usable) if usable > 1 and not arguments.quick else (1,)
    settings = report.Settings(quick=arguments.quick, peer_python=arguments.python, threads=threads, processors=usable)
    with settings.pool:
        try:
            about = report.machine(versions(settings), threads)
        except NotInstalled as error:
            print(f"fastnn itself cannot be imported ({error} is missing): pip install . first", file=sys.stderr)
            return 1
        print(report.machine_line(about), end="\n\n", flush=True)
        tables = []
        for name in arguments.workloads or WORKLOADS:
            start = time.perf_counter()
            tables.append(importlib.import_module(WORKLOADS[name]).run(settings, name))
            tables[-1].data["took_seconds"] = round(time.perf_counter() - start, 1)
            print(report.as_text(tables[-1]), end="\n\n", flush=True)
        bandwidth = {n: settings.pool.get(OWN_NAME, INSTRUMENTS, n).ask("bandwidth", seconds=0.2) for n in threads}
        about["bandwidth_gb_per_second"] = {str(n): round(rate, 1) for n, rate in bandwidth.items()}
    arguments.out.mkdir(parents=True, exist_ok=True)
    report.write_json(arguments.out / "results.json", about, tables)
    pictures = draw(arguments.out, about, tables)
    report.write_markdown(arguments.out / "results.md", about, tables, pictures)
    print("written:", *(arguments.out / name for name in ("results.json", "results.md")), *pictures, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
