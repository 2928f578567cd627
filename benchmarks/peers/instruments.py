# SPDX-License-Identifier: BSD-3-Clause
"""What the processor can do: its FMA peak, its memory's bandwidth, and the engine's matrix product alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks import problem
from benchmarks.process import serve

FLOAT32 = 0  # fnn_real_type of csrc/fastnn.h
PIECE = 1e-3  # seconds
COPIED = 64 << 20  # bytes a thread copies: more than the caches hold


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import fastnn as fn
    from fastnn import _core

    def together(work: Callable[[], float], prepare: Callable[[], object] = lambda: None) -> float:
        """The sum of what all of this worker's threads return, who begin at once when all are prepared."""
        results: list[float] = []
        barrier = threading.Barrier(threads)

        def run() -> None:
            prepare()
            barrier.wait()
            results.append(work())

        team = [threading.Thread(target=run) for _ in range(threads)]
        for member in team:
            member.start()
        for member in team:
            member.join()
        return sum(results)

    def peak(seconds: float) -> float:
        """GFLOP/s of loops of nothing but FMAs."""
        return together(lambda: _core.fma_peak(FLOAT32, seconds))

    def bandwidth(seconds: float) -> float:
        """GB/s of copying arrays in main memory; a byte read and a byte written are two."""

        own = threading.local()

        def prepare() -> None:
            own.a, own.b = np.ones(COPIED // 4, np.float32), np.ones(COPIED // 4, np.float32)

        def copy() -> float:
            copies, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds:
                np.copyto(own.b, own.a)
                copies += 1
            return 2e-9 * COPIED * copies / (time.perf_counter() - start)

        return max(together(copy, prepare) for _ in range(3))

    def matmul(shape: tuple[int, int, int], use: str, pieces: int) -> dict[str, float]:
        """GFLOP/s of one of training's three products of a layer with (batch, inputs, units), and of FMAs alone.

        Both are medians of pieces of about a millisecond, in turns: another process that takes the processor for a
        few milliseconds spoils a few pieces and not the figure.
        """
        m, n, k, a, b, number = operands(*shape)[use]
        start = np.ones(n, np.float32) if use == "forward" else None
        c = problem.aligned(np.zeros((m, n), np.float32))
        workspace = problem.aligned(np.zeros(_core.matmul_workspace(FLOAT32, number, m, n, k), np.uint8))
        trials = 5 if m * n * k < 1e8 else 1
        repeats = max(1, int(PIECE / min(_core.matmul(number, a, b, start, c, workspace, 1) for _ in range(trials))))
        seconds, peaks = [], []
        for _ in range(pieces):
            seconds.append(_core.matmul(number, a, b, start, c, workspace, repeats) / repeats)
            peaks.append(_core.fma_peak(FLOAT32, PIECE))
        return {"product": 2e-9 * m * n * k / median(seconds), "peak": median(peaks)}

    def operands(batch: int, inputs: int, units: int) -> dict[str, Any]:
        """m, n, k, a, b and the engine's number of forward = X.W, weight = X^T.dY and input = dY.W^T."""
        generator = np.random.default_rng(0)
        x, dy, w = (
            problem.aligned(generator.standard_normal(size, np.float32))
            for size in [(batch, inputs), (batch, units), (inputs, units)]
        )
        return {
            "forward": (batch, units, inputs, x, w, _core.MATMUL_FORWARD),
            "weight": (inputs, units, batch, x, dy, _core.MATMUL_WEIGHT),
            "input": (batch, inputs, units, dy, w, _core.MATMUL_INPUT),
        }

    def instruction_sets() -> list[str]:
        """What this processor has kernels for, best first; without the portable ones, which nobody times."""
        return [name for name in _core.isa_names() if _core.isa_supported(name) and name != "generic"]

    return {"fastnn": fn.__version__, "instruction set": _core.isa()}, {
        "instruction_sets": instruction_sets,
        "peak": peak,
        "bandwidth": bandwidth,
        "matmul": matmul,
    }


if __name__ == "__main__":
    serve(load_library)
