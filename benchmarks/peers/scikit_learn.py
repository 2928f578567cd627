# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn's MLPClassifier and MLPRegressor, in float32, with the weights put in by hand.

Its Adam adds epsilon before the correction of the second moment, not after: it is given the epsilon that makes its
first step that of the others. Its squared error is halved, of which Adam takes no notice.
"""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.process import serve


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import sklearn
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    warnings.simplefilter("ignore")
    state: dict[str, Any] = {}

    def build(weights: problem.Weights, kind: Any, X: Any, y: Any, activation: str, **options: Any) -> Any:
        """One step of training makes its arrays; then the weights are put in, and its Adam is made anew for them."""
        hidden = tuple(weight.shape[1] for weight, _ in weights[:-1])
        model = kind(hidden_layer_sizes=hidden, activation=activation, alpha=0, batch_size=len(X), **options)
        model.partial_fit(X, y, **({"classes": np.arange(weights[-1][1].size)} if kind is MLPClassifier else {}))
        model.coefs_ = [weight for weight, _ in weights]
        model.intercepts_ = [bias for _, bias in weights]
        del model._optimizer
        return model

    def load(folder: str, activation: str, loss: str, batch: int) -> None:
        y = np.load(f"{folder}/y.npy")
        state.update(
            folder=Path(folder),
            batch=batch,
            activation=activation,
            kind=MLPClassifier if loss == "cross_entropy" else MLPRegressor,
            X=np.load(f"{folder}/X.npy"),
            y=y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y,
        )

    def reset() -> None:
        batch = state["batch"]
        state["model"] = build(
            problem.load_weights(state["folder"]),
            state["kind"],
            state["X"][:batch],
            state["y"][:batch],
            state["activation"],
            learning_rate_init=1e-3,
            shuffle=False,
            epsilon=1e-8 * math.sqrt(1 - 0.999),
        )

    def train(epochs: int, rows: int, shuffle: bool = False) -> dict[str, float]:
        X, y, model = state["X"][:rows], state["y"][:rows], state["model"]
        model.shuffle = shuffle
        start = time.perf_counter()
        for _ in range(epochs):
            model.partial_fit(X, y)
        return {"seconds": time.perf_counter() - start}

    def weights(folder: str) -> None:
        problem.save_weights(Path(folder), list(zip(state["model"].coefs_, state["model"].intercepts_, strict=True)))

    def load_network(folder: str, activation: str) -> None:
        weights = problem.load_weights(Path(folder))
        X, y = np.zeros((4, len(weights[0][0])), np.float32), np.zeros((4, weights[-1][1].size), np.float32)
        state["call"] = build(weights, MLPRegressor, X, y, activation).predict
        state["x"] = np.load(f"{folder}/x.npy", mmap_mode="r")

    def predict() -> list[list[float]]:
        return state["call"](np.array(state["x"][:4])).reshape(4, -1).tolist()

    def time_predict(rows: int, seconds: float) -> float:
        x, call = np.array(state["x"][:rows]), state["call"]
        return timer.seconds_per_call(lambda: call(x), seconds)

    return {"scikit-learn": sklearn.__version__}, {
        "load": load,
        "reset": reset,
        "train": train,
        "weights": weights,
        "load_network": load_network,
        "predict": predict,
        "time_predict": time_predict,
    }


if __name__ == "__main__":
    serve(load_library)
