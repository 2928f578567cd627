# SPDX-License-Identifier: BSD-3-Clause
"""NumPy by hand: forward, backward and Adam as a careful programmer would write them. Its products are OpenBLAS's.

Parameters are views of one flat vector, so that Adam is one sequence of array operations, in place.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.process import serve


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    state: dict[str, Any] = {}

    def views(flat: Any, weights: problem.Weights) -> problem.Weights:
        """(weight, bias) of each layer, as parts of a flat vector."""
        parts, at = [], 0
        for weight, bias in weights:
            w = flat[at : at + weight.size].reshape(weight.shape)
            parts.append((w, flat[at + weight.size : at + weight.size + bias.size]))
            at += weight.size + bias.size
        return parts

    def forward(params: problem.Weights, x: Any, activation: str) -> list[Any]:
        """The input and the output of each layer."""
        kept = [x]
        for i, (weight, bias) in enumerate(params):
            z = kept[-1] @ weight
            z += bias
            if i < len(params) - 1:
                np.maximum(z, 0, out=z) if activation == "relu" else np.tanh(z, out=z)
            kept.append(z)
        return kept

    def output_gradient(z: Any, y: Any) -> Any:
        """dL/dz of the mean over rows of the cross-entropy of softmax(z), or of the squared error."""
        if state["loss"] == "mse":
            return (z - y) * np.float32(2 / z.size)
        z -= z.max(1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(1, keepdims=True)
        z[np.arange(len(z)), y] -= 1
        z *= np.float32(1 / len(z))
        return z

    def step(x: Any, y: Any) -> None:
        params, grads, activation = state["params"], state["grads"], state["activation"]
        kept = forward(params, x, activation)
        dz = output_gradient(kept[-1], y)
        for i in range(len(params) - 1, -1, -1):
            np.matmul(kept[i].T, dz, out=grads[i][0])
            dz.sum(0, out=grads[i][1])
            if i:
                a = kept[i]
                dz = dz @ params[i][0].T
                dz *= (a > 0) if activation == "relu" else 1 - a * a
        adam()

    def adam() -> None:
        """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr m' / (sqrt(v') + eps), m', v' without their bias."""
        p, g, m, v, scratch = state["vectors"]
        state["t"] += 1
        m *= np.float32(0.9)
        m += np.multiply(g, np.float32(0.1), out=scratch)
        v *= np.float32(0.999)
        g *= g
        v += np.multiply(g, np.float32(0.001), out=scratch)
        np.multiply(v, np.float32(1 / (1 - 0.999 ** state["t"])), out=scratch)
        np.sqrt(scratch, out=scratch)
        scratch += np.float32(1e-8)
        np.divide(m, scratch, out=scratch)
        scratch *= np.float32(1e-3 / (1 - 0.9 ** state["t"]))
        p -= scratch

    def load(folder: str, activation: str, loss: str, batch: int) -> None:
        state.update(folder=Path(folder), activation=activation, loss=loss, batch=batch)
        state.update(X=np.load(f"{folder}/X.npy"), y=np.load(f"{folder}/y.npy"))

    def reset() -> None:
        weights = problem.load_weights(state["folder"])
        size = sum(weight.size + bias.size for weight, bias in weights)
        vectors = [np.zeros(size, np.float32) for _ in range(5)]
        state.update(vectors=vectors, t=0, params=views(vectors[0], weights), grads=views(vectors[1], weights))
        for (w, b), (weight, bias) in zip(state["params"], weights, strict=True):
            w[...], b[...] = weight, bias

    def train(epochs: int, rows: int, shuffle: bool = False) -> dict[str, float]:
        X, y, batch = state["X"], state["y"], state["batch"]
        start = time.perf_counter()
        for _ in range(epochs):
            for i in range(0, rows, batch):
                step(X[i : min(i + batch, rows)], y[i : min(i + batch, rows)])
        return {"seconds": time.perf_counter() - start}

    def weights(folder: str) -> None:
        problem.save_weights(Path(folder), state["params"])

    def load_network(folder: str, activation: str) -> None:
        params = problem.load_weights(Path(folder))
        state["x"] = np.load(f"{folder}/x.npy", mmap_mode="r")
        state["call"] = lambda x: forward(params, x, activation)[-1]

    def predict() -> list[list[float]]:
        return state["call"](np.array(state["x"][:4])).tolist()

    def time_predict(rows: int, seconds: float) -> float:
        x, call = np.array(state["x"][:rows]), state["call"]
        return timer.seconds_per_call(lambda: call(x), seconds)

    def gemm(shape: tuple[int, int, int], pieces: int) -> float:
        """Seconds of C (m, n) = A (m, k) B (k, n)."""
        m, k, n = shape
        generator = np.random.default_rng(0)
        a, b = generator.standard_normal((m, k), np.float32), generator.standard_normal((k, n), np.float32)
        c = np.empty((m, n), np.float32)
        return timer.seconds_in_pieces(lambda: np.matmul(a, b, out=c), pieces)

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"NumPy": np.__version__, "NumPy's BLAS": f"{blas['name']} {blas['version']}"}, {
        "load": load,
        "reset": reset,
        "train": train,
        "weights": weights,
        "load_network": load_network,
        "predict": predict,
        "time_predict": time_predict,
        "gemm": gemm,
    }


if __name__ == "__main__":
    serve(load_library)
