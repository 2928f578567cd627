# SPDX-License-Identifier: BSD-3-Clause
"""fastnn itself, in a worker like every peer: what is measured of it, and what the processor could do at most."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.process import serve

FLOAT32 = 0  # fnn_real_type of csrc/fastnn.h
PIECE = 1e-3  # seconds


def status_bytes(name: str) -> int:
    """One of the sizes in /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise KeyError(name)


def resident_bytes() -> int:
    """The resident size now. The largest so far is forgotten: what loading took must not hide what fit takes."""
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def peak_resident_bytes() -> int:
    return status_bytes("VmHWM")


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import fastnn as fn
    from fastnn import _core

    state: dict[str, Any] = {}

    def build(weights: problem.Weights, activation: str, last: str) -> Any:
        units = [bias.size for _, bias in weights]
        layers = [fn.Dense(n, activation) for n in units[:-1]] + [fn.Dense(units[-1], last)]
        net = fn.Sequential(layers, inputs=weights[0][0].shape[0], seed=0)
        for layer, (weight, bias) in zip(net.layers, weights, strict=True):
            layer.weight[...] = weight
            layer.bias[...] = bias
        return net

    def peak(seconds: float) -> float:
        """GFLOP/s of loops of nothing but FMAs on all of this worker's threads at once."""
        rates: list[float] = []
        barrier = threading.Barrier(threads)

        def run() -> None:
            barrier.wait()
            rates.append(_core.fma_peak(FLOAT32, seconds))

        team = [threading.Thread(target=run) for _ in range(threads)]
        for member in team:
            member.start()
        for member in team:
            member.join()
        return sum(rates)

    def matmul(shape: tuple[int, int, int], use: str, pieces: int) -> dict[str, float]:
        """GFLOP/s of one of training's three products of a layer with (batch, inputs, units), and of FMAs alone.

        Both are medians of pieces of about a millisecond, in turns: another process that takes the processor for a
        few milliseconds spoils a few pieces and not the figure.
        """
        m, n, k, a, b, number = operands(*shape)[use]
        start = np.ones(n, np.float32) if use == "forward" else None
        c = problem.aligned(np.zeros((m, n), np.float32))
        workspace = problem.aligned(np.zeros(_core.matmul_workspace(FLOAT32, number, m, n, k), np.uint8))
        repeats = max(1, int(PIECE / min(_core.matmul(number, a, b, start, c, workspace, 1) for _ in range(5))))
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

    def load(folder: str, batch: int) -> None:
        state.update(folder=Path(folder), batch=batch, X=np.load(f"{folder}/X.npy"), y=np.load(f"{folder}/y.npy"))

    def reset() -> None:
        state["net"] = build(problem.load_weights(state["folder"]), "relu", "softmax")

    def train(epochs: int, rows: int, shuffle: bool = False) -> dict[str, float]:
        """The whole call of fit, its checks of the data included."""
        X, y = state["X"][:rows], state["y"][:rows]
        start = time.perf_counter()
        history = state["net"].fit(
            X,
            y,
            loss="cross_entropy",
            optimizer=fn.Adam(1e-3),
            epochs=epochs,
            batch_size=state["batch"],
            shuffle=shuffle,
            threads=threads,
            verbose=0,
        )
        return {"seconds": time.perf_counter() - start, "in_epochs": float(sum(history.history["seconds"]))}

    def weights(folder: str) -> None:
        problem.save_weights(Path(folder), [(layer.weight, layer.bias) for layer in state["net"].layers])

    def memory(epochs: int, rows: int) -> dict[str, int]:
        """How far the largest resident size during fit lies above the size before the network was made."""
        before = resident_bytes()
        reset()
        train(epochs, rows, shuffle=True)
        return {"grown": peak_resident_bytes() - before}

    def mse(y: Any, output: Any) -> tuple[Any, Any]:
        """What a user would write."""
        e = output - y
        return (e * e).mean(1), 2 * e / e.shape[1]

    def fit_mse(sizes: list[int], batch: int, steps: int, python: bool) -> float:
        """Seconds a step of a whole call of fit, with the mean squared error in Python or the native one."""
        generator = np.random.default_rng(0)
        X = generator.standard_normal((batch * steps, sizes[0]), np.float32)
        y = generator.standard_normal((batch * steps, sizes[-1]), np.float32)
        layers = [fn.Dense(units, "tanh") for units in sizes[1:-1]] + [fn.Dense(sizes[-1])]
        net = fn.Sequential(layers, inputs=sizes[0], seed=0)
        loss = mse if python else "mse"
        net.fit(X[: 2 * batch], y[: 2 * batch], loss=loss, batch_size=batch, epochs=1, threads=threads, verbose=0)
        start = time.perf_counter()
        net.fit(X, y, loss=loss, batch_size=batch, epochs=1, threads=threads, verbose=0)
        return (time.perf_counter() - start) / steps

    def load_policy(folder: str) -> None:
        net = build(problem.load_weights(Path(folder)), "tanh", "linear")
        state["predictor"] = net.predictor()
        state["x"] = np.load(f"{folder}/x.npy")
        state["out"] = np.empty(net.layers[-1].bias.size, np.float32)

    def predict() -> list[float]:
        return state["predictor"](state["x"]).tolist()

    def time_predict(seconds: float, use_out: bool = False) -> dict[str, float]:
        predictor, x, out = state["predictor"], state["x"], state["out"]
        call = (lambda: predictor(x, out=out)) if use_out else (lambda: predictor(x))
        return {"seconds": timer.seconds_per_call(call, seconds)}

    def instruction_sets() -> list[str]:
        """What this processor has kernels for, best first; without the portable ones, which nobody times."""
        return [name for name in _core.isa_names() if _core.isa_supported(name) and name != "generic"]

    return {"fastnn": fn.__version__, "instruction set": _core.isa()}, {
        "instruction_sets": instruction_sets,
        "peak": peak,
        "matmul": matmul,
        "memory": memory,
        "load": load,
        "reset": reset,
        "train": train,
        "weights": weights,
        "fit_mse": fit_mse,
        "load_policy": load_policy,
        "predict": predict,
        "time_predict": time_predict,
    }


if __name__ == "__main__":
    serve(load_library)
