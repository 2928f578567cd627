# SPDX-License-Identifier: BSD-3-Clause
"""``python -m benchmarks [--quick] [WORKLOAD ...]``: measure, print tables, write results.json and results.md."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.process import ROOT

# As in a worker: an installed fastnn goes before the sources beside us.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT] + [str(ROOT)]

from benchmarks import report  # noqa: E402
from benchmarks.peers import OWN, PEERS  # noqa: E402
from benchmarks.process import NotInstalled, Worker, WorkerFailed  # noqa: E402
from benchmarks.workloads import WORKLOADS  # noqa: E402


def versions(settings: report.Settings) -> dict[str, str]:
    """Of every library that is there."""
    found: dict[str, str] = {}
    for name, module in {"fastnn": OWN, **{name: module for name, (module, _) in PEERS.items()}}.items():
        try:
            with Worker(module, 1, settings.python_for(name)) as worker:
                found |= worker.versions
        except (NotInstalled, WorkerFailed):
            if name == "fastnn":
                raise
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure fastnn beside other libraries.")
    parser.add_argument("workloads", metavar="WORKLOAD", nargs="*", help=f"{', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds: does it work at all")
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
        help="where results.json and results.md go (default: build/benchmarks)",
    )
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.workloads if name not in WORKLOADS]:
        parser.error(f"unknown workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    settings = report.Settings(
        quick=arguments.quick, peer_python=arguments.python, threads=(1, 2) if usable > 1 else (1,)
    )
    try:
        about = report.machine(versions(settings))
        print(report.machine_line(about), end="\n\n", flush=True)
        tables = []
        for name in arguments.workloads or WORKLOADS:
            tables.append(importlib.import_module(WORKLOADS[name]).run(settings))
            print(report.as_text(tables[-1]), end="\n\n", flush=True)
    except NotInstalled as error:
        print(f"fastnn itself cannot be imported ({error} is missing): pip install . first", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    report.write_json(arguments.out / "results.json", about, tables)
    report.write_markdown(arguments.out / "results.md", about, tables)
    print(f"written: {arguments.out / 'results.json'}, {arguments.out / 'results.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
