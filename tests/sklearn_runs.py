# SPDX-License-Identifier: BSD-3-Clause
"""Small fits of the estimators, and a digest of all that they end with. Not a test."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np

import fastnn as fn
from fastnn.sklearn import MLPClassifier, MLPRegressor

_rng = np.random.default_rng(5)
X = _rng.normal(size=(50, 4))
NAMES = np.array(["a", "b", "c"])[_rng.integers(0, 3, 50)]
NUMBERS = np.sin(X[:, :2])
WEIGHTS = _rng.uniform(0.5, 2.0, 50)

RUNS: dict[str, Any] = {
    "adam": lambda: (MLPClassifier, NAMES, {"dropout": 0.2, "metrics": ["accuracy"], "max_iter": 6}),
    "sgd": lambda: (MLPRegressor, NUMBERS, {"solver": "sgd", "learning_rate": "invscaling", "max_iter": 6}),
    "in order": lambda: (MLPRegressor, NUMBERS[:, 0], {"shuffle": False, "max_iter": 5, "dtype": "float32"}),
    "adaptive": lambda: (MLPClassifier, NAMES, {
        "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.3, "n_iter_no_change": 1, "max_iter": 12,
        "tol": 0.05,
    }),
    "early stopping": lambda: (MLPClassifier, NAMES, {
        "early_stopping": True, "n_iter_no_change": 3, "learning_rate_init": 0.05, "max_iter": 30, "batch_size": 9,
    }),
    "schedule": lambda: (MLPRegressor, NUMBERS, {
        "random_state": np.random.RandomState(3), "schedule": fn.StepSchedule(7, 0.5), "max_iter": 5,
        "callbacks": [fn.ReduceOnPlateau(0.5, 1, "loss")],
    }),
}  # fmt: skip


class Pause(fn.Callback):
    """Steps that take a while."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def on_batch_end(self, net: Any, step: int, logs: Any) -> None:
        time.sleep(self._seconds)


def make(name: str, pause: float = 0.0, **changed: Any) -> Any:
    """A fitted estimator."""
    kind, y, parameters = RUNS[name]()
    parameters = {"hidden_layer_sizes": (6,), "batch_size": 10, "random_state": 0} | parameters | changed
    if pause:
        parameters["callbacks"] = [*parameters.get("callbacks", ()), Pause(pause)]
    return kind(**parameters).fit(X, y, sample_weight=WEIGHTS)


def digest(model: Any) -> str:
    """Of everything but the time it took."""
    state = model.network_._state
    arrays = [*model.coefs_, *model.intercepts_, state.array]
    names = ("loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_", "n_iter_", "t_",
             "_no_improvement_count", "_rate")  # fmt: skip
    said: list[Any] = [np.asarray(getattr(model, name), object).tolist() for name in names]
    said += [(key, values) for key, values in model.history_.items() if key != "seconds"]
    said += [state.step, model.network_.history.health, model.network_.optimizer]
    content = b"".join(array.tobytes() for array in arrays) + repr(said).encode()
    return hashlib.sha256(content).hexdigest()[:32]
