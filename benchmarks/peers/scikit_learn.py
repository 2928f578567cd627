# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn's MLPClassifier and MLPRegressor, in float32, with the weights put in by hand.

Its Adam adds epsilon before the correction of the second moment, not after, so weights agree less closely.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.process import serve


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import sklearn
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    state: dict[str, Any] = {}

    def put_in(model: Any, weights: problem.Weights) -> None:
        model.coefs_ = [weight for weight, _ in weights]
        model.intercepts_ = [bias for _, bias in weights]
        del model._optimizer  # the next partial_fit makes one for these arrays

    def load(folder: str, batch: int) -> None:
        state.update(folder=Path(folder), batch=batch, X=np.load(f"{folder}/X.npy"), y=np.load(f"{folder}/y.npy"))

    def reset() -> None:
        weights = problem.load_weights(state["folder"])
        hidden = tuple(weight.shape[1] for weight, _ in weights[:-1])
        batch = state["batch"]
        model = MLPClassifier(
            hidden_layer_sizes=hidden, alpha=0, batch_size=batch, learning_rate_init=1e-3, shuffle=False
        )
        model.partial_fit(state["X"][:batch], state["y"][:batch], classes=np.arange(weights[-1][0].shape[1]))
        put_in(model, weights)
        state["model"] = model

    def train(epochs: int, rows: int) -> dict[str, float]:
        X, y = state["X"][:rows], state["y"][:rows]
        start = time.perf_counter()
        for _ in range(epochs):
            state["model"].partial_fit(X, y)
        return {"seconds": time.perf_counter() - start}

    def weights(folder: str) -> None:
        problem.save_weights(Path(folder), list(zip(state["model"].coefs_, state["model"].intercepts_, strict=True)))

    def load_policy(folder: str) -> None:
        weights = problem.load_weights(Path(folder))
        inputs, outputs = weights[0][0].shape[0], weights[-1][0].shape[1]
        model = MLPRegressor(hidden_layer_sizes=tuple(weight.shape[1] for weight, _ in weights[:-1]), activation="tanh")
        model.partial_fit(np.zeros((4, inputs), np.float32), np.zeros((4, outputs), np.float32))
        put_in(model, weights)
        x = np.load(f"{folder}/x.npy")[None]
        state["call"] = lambda: model.predict(x)

    def predict() -> list[float]:
        return state["call"]()[0].tolist()

    def time_predict(seconds: float) -> dict[str, float]:
        return {"seconds": timer.seconds_per_call(state["call"], seconds)}

    return {"scikit-learn": sklearn.__version__}, {
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
