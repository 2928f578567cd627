# SPDX-License-Identifier: BSD-3-Clause
"""The one place that reads a clock, and what is made of its readings.

A shared machine's speed drifts, so nothing is measured alone: candidates take turns, round by round, and are compared
round by round. Results are medians with the smallest and the largest reading beside them; no reading is thrown away.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")


def seconds_per_call(function: Callable[[], object], seconds: float = 0.05) -> float:
    """The mean time of a call over a loop of about `seconds`; the first call, a warm-up, is not counted."""
    function()
    calls, elapsed = 1, 0.0
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        elapsed = time.perf_counter() - start
        if elapsed >= seconds / 2:
            return elapsed / calls
        calls = max(2 * calls, int(calls * seconds / max(elapsed, 1e-9)))


def seconds_in_pieces(function: Callable[[], object], pieces: int, seconds: float = 1e-3) -> float:
    """The median over pieces of about `seconds`: a process that takes the processor for a few milliseconds spoils a
    few pieces and not the figure."""
    return median(seconds_per_call(function, seconds) for _ in range(pieces))


def stopwatch(function: Callable[[], object]) -> float:
    """The time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# Threads of some pools go on spinning when their work is done (OpenBLAS: 2^26 cycles), and would disturb the next one.
PAUSE = 0.03


def interleave(samplers: Mapping[K, Callable[[], T]], rounds: int, pause: float = PAUSE) -> dict[K, list[T]]:
    """One reading of every sampler per round; each round begins with another one, so that none is always the first."""
    names = list(samplers)
    readings: dict[K, list[T]] = {name: [] for name in names}
    for i in range(rounds):
        shift = i % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            readings[name].append(samplers[name]())
            time.sleep(pause)
    return readings


def best_of(readings: Mapping[tuple[str, int], Sequence[float]]) -> dict[str, tuple[str, int]]:
    """Of readings by (library, threads): each library's key with the smaller median."""
    best: dict[str, tuple[str, int]] = {}
    for key, seconds in readings.items():
        if key[0] not in best or median(seconds) < median(readings[best[key[0]]]):
            best[key[0]] = key
    return best


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def summary(readings: Sequence[float]) -> dict[str, float]:
    """Median, smallest, largest and how many."""
    return {"median": median(readings), "min": min(readings), "max": max(readings), "n": len(readings)}


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, float]:
    """Summary of the ratios of readings taken in the same round."""
    return summary([a / b for a, b in zip(numerators, denominators, strict=True)])
