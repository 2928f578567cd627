# SPDX-License-Identifier: BSD-3-Clause
"""Small runs that use everything a checkpoint has to hold, and a digest of all that they end with. Not a test.

``run(name, checkpoint, ...)`` makes everything anew, as a new process does.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

import fastnn as fn
from fastnn.layers import all_parts

ROWS, COLUMNS = 47, 5
_rng = np.random.default_rng(7)
X = _rng.normal(size=(ROWS, COLUMNS))
CLASSES = _rng.integers(0, 3, ROWS)
NUMBERS = X[:, :2] ** 2 + _rng.normal(size=(ROWS, 2))
WEIGHTS = np.where(np.arange(ROWS) < 10, 0.0, 1.0 + np.arange(ROWS) % 3)
OTHER = _rng.normal(size=(20, COLUMNS)), _rng.integers(0, 3, 20)


def asymmetric(y, output):
    e = output - y
    w = np.where(e > 0, 3.0, 1.0)
    return (w * e * e).mean(1), 2 * w * e / e.shape[1]


def largest(y, output):
    """A metric of a user's, which depends on which rows it sees."""
    return float(np.abs(y - output).max())


class Mean(fn.Callback):
    """A callback of a user's, which begins anew with each fit unless it is told what it knew."""

    def on_fit_begin(self, net):
        self.losses, self.weights, self.seen = [], None, np.zeros(3, bool)

    def on_epoch_end(self, net, epoch, logs):
        self.losses.append(logs["loss"])
        self.weights = net.params.copy() if self.weights is None else self.weights + net.params
        self.seen[epoch % 3] = True
        net.optimizer.weight_decay = 0.001 * epoch

    def state_dict(self):
        state = {"losses": self.losses, "seen": self.seen, "count": np.int64(len(self.losses)), "nothing": None}
        return state if self.weights is None else {**state, "weights": self.weights, "last": self.weights[-1:].sum()}

    def load_state_dict(self, state):
        assert state["count"] == len(state["losses"]) and state["seen"].dtype == bool
        self.losses, self.weights, self.seen = state["losses"], state.get("weights"), state["seen"].copy()


class EveryBatch:
    """One that wants every batch, and changes the learning rate by what it saw; no subclass of Callback."""

    def __init__(self):
        self.total = 0.0

    def on_batch_end(self, net, step, logs):
        self.total += logs["loss"]
        net.optimizer.learning_rate = 0.02 / (1.0 + 0.01 * self.total)

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"]


def _all() -> tuple[fn.Sequential, dict[str, Any]]:
    layers = [fn.Normalization(), fn.Dense(8, "tanh"), fn.BatchNorm(), fn.Dropout(0.3), fn.Dense(3, "softmax")]
    callbacks = [fn.ReduceOnPlateau(0.5, 1), fn.EarlyStopping(3), Mean()]
    return fn.Sequential(layers, seed=3), {
        "X": X, "y": CLASSES, "optimizer": fn.Adam(0.05, average=0.9), "epochs": 14, "batch_size": 10,
        "metrics": ["accuracy", "roc_auc"], "validation_data": OTHER, "callbacks": callbacks,
        "schedule": fn.CosineSchedule(warmup=4),
    }  # fmt: skip


def _held_out() -> tuple[fn.Sequential, dict[str, Any]]:
    net = fn.Sequential([fn.Dense(7, "relu", l2=0.01), fn.GaussianNoise(0.1), fn.Dense(2)], seed=4, dtype="float64")
    return net, {
        "X": X.astype(np.float32), "y": NUMBERS, "optimizer": fn.NAdam(0.01, weight_decay=0.01), "epochs": 4,
        "batch_size": 9, "validation_fraction": 0.2, "metrics": [largest], "loss": fn.Huber(0.5),
        "callbacks": fn.EarlyStopping(2, "loss", restore_best=False),
    }  # fmt: skip


def _in_order() -> tuple[fn.Sequential, dict[str, Any]]:
    net = fn.Sequential([fn.Dense(130, "relu", l1=0.001), fn.Dense(2)], inputs=COLUMNS, seed=5, scale_targets=True)
    return net, {
        "X": X, "y": NUMBERS, "optimizer": fn.SGD(0.02, momentum=0.9, nesterov=True), "epochs": 4, "batch_size": 5,
        "accumulate": 2, "shuffle": False, "sample_weight": WEIGHTS, "metrics": ["mae"], "clip_norm": 0.5,
    }  # fmt: skip


def _plain() -> tuple[fn.Sequential, dict[str, Any]]:
    net = fn.Sequential([fn.Dense(9, "sigmoid"), fn.LayerNorm(), fn.Dense(3, "softmax")], seed=6)
    arguments = {"X": X, "y": CLASSES, "epochs": 4, "batch_size": 8, "class_weight": "balanced", "clip_value": 0.1}
    return net, {**arguments, "optimizer": fn.Lion(0.01), "schedule": lambda step: 1 / (1 + step)}


def _python_loss() -> tuple[fn.Sequential, dict[str, Any]]:
    net = fn.Sequential([fn.BatchNorm(), fn.Dense(6, "tanh"), fn.Dropout(0.2), fn.Dense(2)], seed=7)
    arguments = {"X": X, "y": NUMBERS, "loss": asymmetric, "epochs": 4, "batch_size": 10, "metrics": ["mae", largest]}
    return net, {**arguments, "optimizer": fn.Adam(0.02, average=0.8), "sample_weight": WEIGHTS}


def _every_batch() -> tuple[fn.Sequential, dict[str, Any]]:
    net = fn.Sequential([fn.Dense(6, "tanh"), fn.Dense(3, "softmax")], seed=8)
    arguments = {"X": X, "y": CLASSES, "epochs": 4, "batch_size": 10, "callbacks": [EveryBatch(), Mean()]}
    return net, {**arguments, "optimizer": fn.RMSprop(0.02), "metrics": "accuracy", "validation_fraction": 0.2}


def _sparse() -> tuple[fn.Sequential, dict[str, Any]]:
    from scipy.sparse import csr_array

    net = fn.Sequential([fn.Dense(6, "tanh"), fn.Dropout(0.2), fn.Dense(3, "softmax")], seed=9)
    sparse = csr_array(np.where(X > 0.5, X, 0.0).astype(np.float32))
    return net, {"X": sparse, "y": CLASSES, "epochs": 3, "batch_size": 10, "metrics": "accuracy"}


RUNS = {
    "all at once": _all, "held out": _held_out, "in order": _in_order, "plain": _plain, "python loss": _python_loss,
    "every batch": _every_batch, "sparse": _sparse,
}  # fmt: skip


def run(name: str, checkpoint: Any = None, resume: bool = False, **changed: Any) -> fn.Sequential:
    """The trained network of a run; its callbacks are ``net.used``."""
    net, arguments = RUNS[name]()
    arguments |= changed
    net.used = arguments.get("callbacks", ())
    net.fit(checkpoint=checkpoint, resume=resume, verbose=0, **arguments)
    return net


def digest(net: fn.Sequential) -> str:
    """Of everything but the time it took."""
    state = net._state
    arrays = [net._parameters.numbers, state.array, net._parameters.draws]
    if state.averaged:
        arrays.append(state.average)
    said: list[Any] = [state.step, state.averaged, state.product, net._epochs_done, net.optimizer, net.stop_training]
    said += [(key, values) for key, values in net.history.history.items() if key != "seconds"]
    said += [net.history.loss, net.history.optimizer, net.history.remarks, net.history.health]
    said += [getattr(layer, "learned", None) for layer in all_parts(net.layers)]
    for callback in net.used if isinstance(net.used, list) else [net.used]:
        values = vars(callback) if hasattr(callback, "__dict__") else {}
        for key in sorted(values.keys() - {"_snapshot", "_monitor", "_end", "_resumes"}):
            said.append((key, values[key].tolist() if isinstance(values[key], np.ndarray) else values[key]))
        said.append(getattr(callback, "best", None))
    content = b"".join(array.tobytes() for array in arrays) + repr(said).encode()
    return hashlib.sha256(content).hexdigest()[:32]
