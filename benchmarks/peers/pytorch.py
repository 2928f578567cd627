# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch: eager; with torch.compile around forward and loss; or fed by its DataLoader.

Batches are slices of one tensor, the fastest way to feed it (the DataLoader is what tutorials use). Adam is the fused
one, the fastest of its three on a CPU.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.process import serve

WAY = os.environ.get("BENCHMARKS_WAY", "eager")


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    state: dict[str, Any] = {}

    def build(weights: problem.Weights, activation: str) -> torch.nn.Sequential:
        layers: list[torch.nn.Module] = []
        for weight, _ in weights:
            layers += [torch.nn.Linear(*weight.shape), torch.nn.ReLU() if activation == "relu" else torch.nn.Tanh()]
        net = torch.nn.Sequential(*layers[:-1])
        put_in(net, weights)
        return net

    def linear(net: torch.nn.Sequential) -> list[torch.nn.Linear]:
        return [layer for layer in net if isinstance(layer, torch.nn.Linear)]

    def put_in(net: torch.nn.Sequential, weights: problem.Weights) -> None:
        with torch.no_grad():
            for layer, (weight, bias) in zip(linear(net), weights, strict=True):
                layer.weight.copy_(torch.from_numpy(weight.T.copy()))
                layer.bias.copy_(torch.from_numpy(bias))

    def compiled(function: Any) -> Any:
        if WAY != "compile":
            return function
        torch._dynamo.reset()
        return torch.compile(function)

    def load(folder: str, activation: str, loss: str, batch: int) -> None:
        net = build(problem.load_weights(Path(folder)), activation)
        loss_function = functional.cross_entropy if loss == "cross_entropy" else functional.mse_loss
        state.update(
            folder=Path(folder),
            batch=batch,
            net=net,
            loss=compiled(lambda x, y: loss_function(net(x), y)),
            X=torch.from_numpy(np.load(f"{folder}/X.npy")),
            y=torch.from_numpy(np.load(f"{folder}/y.npy")),
        )

    def reset() -> None:
        put_in(state["net"], problem.load_weights(state["folder"]))
        state["optimizer"] = torch.optim.Adam(state["net"].parameters(), lr=1e-3, fused=True)

    def batches(rows: int, shuffle: bool) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        X, y, batch = state["X"][:rows], state["y"][:rows], state["batch"]
        if WAY == "loader":
            from torch.utils.data import DataLoader, TensorDataset

            yield from DataLoader(TensorDataset(X, y), batch, shuffle=shuffle)
        elif shuffle:
            order = torch.randperm(rows)
            for i in range(0, rows, batch):
                chosen = order[i : i + batch]
                yield X[chosen], y[chosen]
        else:
            for i in range(0, rows, batch):
                yield X[i : i + batch], y[i : i + batch]

    def train(epochs: int, rows: int, shuffle: bool = False) -> dict[str, float]:
        loss_of, optimizer = state["loss"], state["optimizer"]
        start = time.perf_counter()
        for _ in range(epochs):
            for x, y in batches(rows, shuffle):
                loss = loss_of(x, y)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        return {"seconds": time.perf_counter() - start}

    def weights(folder: str) -> None:
        problem.save_weights(
            Path(folder),
            [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in linear(state["net"])],
        )

    def load_network(folder: str, activation: str) -> None:
        state["x"] = np.load(f"{folder}/x.npy", mmap_mode="r")
        net = compiled(build(problem.load_weights(Path(folder)), activation))

        def call(x: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                return net(x)

        state["call"] = call

    def predict() -> list[list[float]]:
        return state["call"](torch.from_numpy(np.array(state["x"][:4]))).tolist()

    def time_predict(rows: int, seconds: float) -> float:
        x, call = torch.from_numpy(np.array(state["x"][:rows])), state["call"]
        return timer.seconds_per_call(lambda: call(x), seconds)

    def gemm(shape: tuple[int, int, int], pieces: int) -> float:
        """Seconds of C (m, n) = A (m, k) B (k, n)."""
        m, k, n = shape
        a, b, c = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
        with torch.inference_mode():
            return timer.seconds_in_pieces(lambda: torch.mm(a, b, out=c), pieces)

    return {"torch": torch.__version__}, {
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
