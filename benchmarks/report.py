# SPDX-License-Identifier: BSD-3-Clause
"""What a run leaves behind: tables on the screen, the same in Markdown, and every reading in JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import timer
from benchmarks.process import ROOT, Pool

T = TypeVar("T")


@dataclass
class Settings:
    """What the command line decides."""

    quick: bool = False
    peer_python: str = sys.executable
    threads: tuple[int, ...] = (1, 2)  # that libraries are tried with: one, and all processors; quick: one
    processors: int = 2

    def __post_init__(self) -> None:
        self.pool = Pool(self.python_for)

    def python_for(self, library: str) -> str:
        """fastnn runs with this Python; peers with the one that has them."""
        return sys.executable if library == "fastnn" else self.peer_python

    def choose(self, usual: T, quick: T) -> T:
        return quick if self.quick else usual


@dataclass
class Table:
    """One workload's result: cells as text for people, `data` with every reading for programs."""

    name: str
    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


def threads_text(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"


def times_text(seconds: Sequence[float], factor: float) -> list[str]:
    """Median, smallest and largest in another unit."""
    found = timer.summary(seconds)
    return [number_text(factor * found[key]) for key in ("median", "min", "max")]


def number_text(number: float) -> str:
    """Four digits, or all before the point."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def as_text(table: Table) -> str:
    widths = [max(len(row[i]) for row in [table.columns, *table.rows]) for i in range(len(table.columns))]

    def line(cells: Sequence[str]) -> str:  # names to the left, figures to the right
        return "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join(
        [
            table.title,
            rule,
            line(table.columns),
            rule,
            *map(line, table.rows),
            rule,
            *(f"  {note}" for note in table.notes),
        ]
    )


def as_markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    alignment = ["---"] + ["---:"] * (len(table.columns) - 1)
    return (
        "\n".join(
            [
                f"## {table.title}",
                "",
                line(table.columns),
                line(alignment),
                *map(line, table.rows),
                "",
                *(f"- {note}" for note in table.notes),
            ]
        ).rstrip()
        + "\n"
    )


def processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine(versions: dict[str, str], threads: Sequence[int]) -> dict[str, Any]:
    """Where and with what the figures came about."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor_name(),
        "processors_usable": usable,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "threads": threads,
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions,
    }


def machine_line(about: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['processor']}, {about['processors_usable']} processors, threads "
        f"{' and '.join(map(str, about['threads']))}, {about['system']}, "
        f"Python {about['python']}; {versions}; commit {about['commit']}, {about['date']}"
    )


def write_json(path: Path, about: dict[str, Any], tables: Sequence[Table]) -> None:
    path.write_text(json.dumps({"machine": about, "workloads": {t.name: asdict(t) for t in tables}}, indent=1) + "\n")


def write_markdown(path: Path, about: dict[str, Any], tables: Sequence[Table], plots: Sequence[Path] = ()) -> None:
    sections = [as_markdown(table) for table in tables]
    sections += [f"![{plot.stem}]({plot.name})\n" for plot in plots]
    path.write_text("\n".join(["# Benchmarks", "", machine_line(about), "", *sections]))
