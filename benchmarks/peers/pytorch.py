# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch, eager: batches are slices of one tensor, which is the fastest way to feed it that needs no compiler.

Adam is the fused one, the fastest of its three on a CPU.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.process import serve


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    state: dict[str, Any] = {}

    def build(weights: problem.Weights, activation: type[torch.nn.Module]) -> torch.nn.Sequential:
        layers: list[torch.nn.Module] = []
        for weight, bias in weights:
            layer = torch.nn.Linear(*weight.shape)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weight.T.copy()))
                layer.bias.copy_(torch.from_numpy(bias))
            layers += [layer, activation()]
        return torch.nn.Sequential(*layers[:-1])

    def load(folder: str, batch: int) -> None:
        state.update(
            folder=Path(folder),
            batch=batch,
            X=torch.from_numpy(np.load(f"{folder}/X.npy")),
            y=torch.from_numpy(np.load(f"{folder}/y.npy")),
        )

    def reset() -> None:
        state["net"] = build(problem.load_weights(state["folder"]), torch.nn.ReLU)
        state["optimizer"] = torch.optim.Adam(state["net"].parameters(), lr=1e-3, fused=True)

    def train(epochs: int, rows: int) -> dict[str, float]:
        net, optimizer, batch = state["net"], state["optimizer"], state["batch"]
        X, y = state["X"][:rows], state["y"][:rows]
        start = time.perf_counter()
        for _ in range(epochs):
            for i in range(0, rows, batch):
                loss = functional.cross_entropy(net(X[i : i + batch]), y[i : i + batch])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        return {"seconds": time.perf_counter() - start}

    def weights(folder: str) -> None:
        layers = [layer for layer in state["net"] if isinstance(layer, torch.nn.Linear)]
        problem.save_weights(
            Path(folder), [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in layers]
        )

    def load_policy(folder: str) -> None:
        net = build(problem.load_weights(Path(folder)), torch.nn.Tanh)
        x = torch.from_numpy(np.load(f"{folder}/x.npy"))

        def call() -> torch.Tensor:
            with torch.inference_mode():
                return net(x)

        state["call"] = call

    def predict() -> list[float]:
        return state["call"]().tolist()

    def time_predict(seconds: float) -> dict[str, float]:
        return {"seconds": timer.seconds_per_call(state["call"], seconds)}

    return {"torch": torch.__version__}, {
        "load": load,
        "reset": reset,
        "train": train,
        "weights": weights,
        "load_policy": load_policy,
        "predict": predict,
        "time_predict": time_predict,
    }


if __name__ == "__main__":
    serve(load_library)
