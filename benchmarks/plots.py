# SPDX-License-Identifier: BSD-3-Clause
"""Plots of a run: bars per workload, roofline, growth, matrix products. To add one: a function here, a row in draw.

Each takes the tables of a run by name and returns a figure, or None where what it needs was not measured.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from benchmarks.peers import OWN_NAME, PEERS
from benchmarks.problem import TRAINING, bytes_per_step
from benchmarks.report import Table

matplotlib.use("Agg")
from matplotlib import pyplot, ticker

COLOURS = {OWN_NAME: "black"} | {name: f"C{i}" for i, name in enumerate(PEERS)}
Tables = Mapping[str, Table]


def draw(folder: Path, about: Mapping[str, Any], tables: Tables) -> list[Path]:
    written = []
    for name, make in {
        "training": training,
        "prediction": prediction,
        "roofline": lambda found: roofline(about, found),
        "growth": growth,
        "gemm": gemm,
    }.items():
        figure = make(tables)
        if figure is None:
            continue
        versions = ", ".join(f"{library} {version}" for library, version in about["versions"].items())
        line = f"{about['processor']}; {versions}; {about['date']}"
        words = textwrap.fill(line, int(21 * figure.get_figwidth()))
        figure.text(0.005, 0.005, words, fontsize=6, color="0.4")
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1], dpi=130)
        pyplot.close(figure)
    return written


def new_figure(columns: int, rows: int = 1, height: float = 3.2) -> tuple[Any, list[Any]]:
    figure, axes = pyplot.subplots(rows, columns, figsize=(4.3 * columns, height * rows + 0.2), squeeze=False)
    figure.set_layout_engine("constrained", rect=(0, 0.05, 1, 0.95))
    return figure, list(axes.flat)


def bars(
    axes: Any,
    times: Mapping[str, tuple[float, float, float]],
    ratios: Mapping[str, Mapping[str, float]],
    title: str,
    unit: str,
    logarithmic: bool = False,
) -> None:
    """Horizontal bars of (median, min, max), fastest above, each with its ratio to fastnn's, taken within rounds."""
    names = sorted(times, key=lambda name: times[name][0], reverse=True)
    middles = np.array([times[name][0] for name in names])
    ends = np.array([[times[name][0] - times[name][1], times[name][2] - times[name][0]] for name in names]).T
    colours = [COLOURS.get(name, COLOURS[OWN_NAME]) for name in names]
    axes.barh(names, middles, xerr=ends, color=colours, error_kw={"lw": 0.8, "ecolor": "0.5"})
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(unit, fontsize=8)
    axes.tick_params(labelsize=8)
    for i, (name, middle, above) in enumerate(zip(names, middles, ends[1], strict=True)):
        text = f"{ratios[name]['median']:.3g} x" if name in ratios else ""
        axes.annotate(text, (middle + above, i), (4, 0), textcoords="offset points", va="center", fontsize=8)
    right = float((middles + ends[1]).max())
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(0.5 * middles.min(), 6 * right)
    else:
        axes.set_xlim(0, 1.25 * right)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))


def training(tables: Tables) -> Any:
    found = [name for name in TRAINING if name in tables]
    if not found:
        return None
    figure, axes = new_figure(min(len(found), 3), -(-len(found) // 3))
    for panel, name in zip(axes, found, strict=False):
        best = tables[name].data["best"]
        times = {
            library: tuple(1e6 * entry["seconds"][key] for key in ("median", "min", "max"))
            for library, entry in best.items()
            if library == OWN_NAME or library in PEERS
        }
        bars(
            panel, times, tables[name].data["ratios"], f"{name}: {TRAINING[name].words}", "microseconds a training step"
        )
    for panel in axes[len(found) :]:
        panel.set_visible(False)
    return figure


def prediction(tables: Tables) -> Any:
    """Bars of one row above; below, time a row against rows, each library at its better number of threads."""
    one, many = tables.get("predict"), tables.get("predict_batches")
    if one is None and many is None:
        return None
    networks = [name for name in (one or many).data if name != "took_seconds"]  # type: ignore[union-attr]
    figure, axes = new_figure(len(networks), (one is not None) + (many is not None))
    for panel, network in zip(axes, networks, strict=False):
        if one is None:
            break
        seconds = one.data[network]["seconds"]
        times = {
            call: tuple(1e6 * f(values) for f in (np.median, min, max))
            for call, values in seconds.items()
            if "out=" not in call
        }
        bars(
            panel, times, one.data[network]["ratios"], f"one row, {network}", "microseconds a call (logarithmic)", True
        )
    for panel, network in zip(axes[len(networks) if one else 0 :], networks, strict=False):
        if many is None or network not in many.data:
            panel.set_visible(False)
            continue
        curves: dict[str, dict[int, float]] = {}
        for rows, entry in many.data[network].items():
            for key, values in entry["seconds"].items():
                curve, time = curves.setdefault(key.rsplit(", ", 1)[0], {}), 1e6 * float(np.median(values)) / int(rows)
                curve[int(rows)] = min(time, curve.get(int(rows), time))
        for library, curve in curves.items():
            panel.loglog(list(curve), list(curve.values()), "o-", ms=3, lw=1.2, label=library, color=COLOURS[library])
        panel.set_title(f"many rows, {network}", fontsize=9)
        panel.set_xlabel("rows", fontsize=8)
        panel.set_ylabel("microseconds a row", fontsize=8)
        panel.legend(fontsize=7)
        panel.grid(alpha=0.3)
    return figure


def roofline(about: Mapping[str, Any], tables: Tables) -> Any:
    """GFLOP/s of a training step against operations per byte it must move, below the peak and the memory's slope."""
    found = [name for name in TRAINING if name in tables]
    if not found:
        return None
    figure, (axes,) = new_figure(1, height=4.5)
    figure.set_figwidth(7.5)
    for threads, rate in about["bandwidth_gb_per_second"].items():
        peak = float(np.median([tables[name].data["peak_gflops"][threads] for name in found]))
        x = np.array([0.5, peak / rate, 2000])
        axes.loglog(x, np.minimum(peak, rate * x), color="0.3", lw=1.5 if threads == "1" else 2.5)
        axes.text(1900, 1.04 * peak, f"{peak:.0f} GFLOP/s, threads: {threads}", ha="right", fontsize=8, color="0.3")
        axes.text(0.55, 0.6 * rate, f"{rate:.0f} GB/s copying", fontsize=7, color="0.3", va="bottom")
    drawn = set()
    for name in found:
        data = tables[name].data
        x = 1e9 * data["gflop_per_step"] / bytes_per_step(data["sizes"], data["batch"])
        for library, entry in data["best"].items():
            if library == OWN_NAME or library in PEERS:
                y = data["gflop_per_step"] / entry["seconds"]["median"]
                label = None if library in drawn else library
                drawn.add(library)
                size = 45 if library == OWN_NAME else 16
                axes.scatter(x, y, s=size, color=COLOURS[library], label=label, zorder=4 if library == OWN_NAME else 3)
        own = data["gflop_per_step"] / data["best"][OWN_NAME]["seconds"]["median"]
        axes.annotate(name, (x, own), xytext=(6, 3), textcoords="offset points", fontsize=8)
    axes.set_xlabel("operations per byte (X once; weights and Adam's moments read and written)", fontsize=8)
    axes.set_ylabel("GFLOP/s of a training step, each library at its better threads", fontsize=8)
    axes.legend(fontsize=7, loc="lower right")
    axes.grid(alpha=0.3)
    return figure


def growth(tables: Tables) -> Any:
    """Share of the peak against batch, width, depth and rows: flat is what arithmetic alone would give."""
    if "growth" not in tables:
        return None
    curves = {name: curve for name, curve in tables["growth"].data.items() if isinstance(curve, dict)}
    figure, axes = new_figure(len(curves), 2, height=2.6)
    for i, (against, curve) in enumerate(curves.items()):
        at = [int(x) for x in curve]
        axes[i].loglog(at, [1e6 * point["seconds_per_row"] for point in curve.values()], "o-", color="black", ms=3)
        times = [point["seconds_per_row"] for point in curve.values()]
        within_a_decade = max(times) < 8 * min(times)
        axes[i].yaxis.set_major_formatter("{x:g}")
        axes[i].yaxis.set_minor_formatter("{x:g}" if within_a_decade else ticker.NullFormatter())
        axes[i].tick_params(which="both", labelsize=8)
        axes[i].set_title(f"against {against}", fontsize=9)
        below = axes[len(curves) + i]
        below.semilogx(at, [100 * point["gflops"] / point["peak"] for point in curve.values()], "o-", color="C0", ms=3)
        below.set_ylim(0, 100)
        below.set_xlabel(against, fontsize=8)
        for panel in (axes[i], below):
            panel.grid(alpha=0.3)
            panel.tick_params(labelsize=8)
    axes[0].set_ylabel("microseconds a row", fontsize=8)
    axes[len(curves)].set_ylabel("% of the FMA peak, one thread", fontsize=8)
    return figure


def gemm(tables: Tables) -> Any:
    """fastnn's rate over each library's at every shape, against the operations of the product."""
    table = tables.get("gemm")
    if table is None or not table.data["libraries"]:
        return None
    figure, (axes,) = new_figure(1, height=4)
    figure.set_figwidth(7.5)
    for library in table.data["libraries"]:
        work, ratios = [], []
        for shape, rates in table.data["gflops"].items():
            work.append(2 * float(np.prod([int(size) for size in shape.split(" x ")])))
            ratios.append(float(np.median(rates[OWN_NAME]) / np.median(rates[library])))
        axes.loglog(work, ratios, "o", ms=3, alpha=0.6, color=COLOURS[library], label=library)
    axes.axhline(1, color="0.3", lw=1)
    axes.set_xlabel("operations of the product", fontsize=8)
    axes.set_ylabel("fastnn's rate over the library's, one thread", fontsize=8)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure
