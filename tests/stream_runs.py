# SPDX-License-Identifier: BSD-3-Clause
"""Small runs on streams of every kind that can be gone on with. Not a test.

``run(name, checkpoint, ...)`` makes everything anew, as a new process does.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from resume_runs import EveryBatch, Mean, asymmetric

import fastnn as fn

COLUMNS = 4
_rng = np.random.default_rng(11)
SIZES = [9, 6, 12, 2, 7]
BATCHES = [
    (X := _rng.normal(size=(rows, COLUMNS)), (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 1), _rng.uniform(0, 2, rows))
    for rows in SIZES
]
NUMBERS = [(X, X[:, :2] ** 2) for X, _, _ in BATCHES]


def own_batch() -> Any:
    """One that is another each time."""
    X = np.random.default_rng().normal(size=(5, COLUMNS))
    return X, np.zeros(5, np.int64), np.ones(5)


class Loader:
    """Batches without end in a random order, which knows where it is."""

    def __init__(self) -> None:
        self.place, self.rng = 0, np.random.default_rng(3)

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> Any:
        self.place += 1
        X = self.rng.normal(size=(8, COLUMNS))
        return X, X[:, :2] * self.place % 1.0

    def state_dict(self) -> dict[str, Any]:
        return {"place": self.place, "rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.place, self.rng.bit_generator.state = state["place"], state["rng"]


class Epochs:
    """One pass is an epoch; the batches that are left are its state."""

    def __init__(self) -> None:
        self.done = 0

    def __iter__(self) -> Any:
        while self.done < len(BATCHES):
            self.done += 1
            yield BATCHES[self.done - 1]
        self.done = 0

    def state_dict(self) -> dict[str, Any]:
        return {"done": np.array([self.done])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.done = int(state["done"][0])


class Lingering(Epochs):
    """Put behind its last batch it says so once before it begins anew, as torchdata's loaders do."""

    def __init__(self) -> None:
        super().__init__()
        self.was_put = False

    def __iter__(self) -> Any:
        if self.done == len(BATCHES) and not self.was_put:
            self.done = 0
        self.was_put = False
        while self.done < len(BATCHES):
            self.done += 1
            yield BATCHES[self.done - 1]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.was_put = True


class NewOrder:
    """Begun anew, it has another order, which follows from its seed."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(4)

    def __iter__(self) -> Any:
        return iter([BATCHES[i] for i in self.rng.permutation(len(BATCHES))])


def some() -> Any:
    """A function that makes a generator: five batches in the same arrays."""
    for X, y in NUMBERS:
        X = X.copy()
        yield X, y
        X[...] = np.nan


def _classifier(**more: Any) -> tuple[fn.Sequential, dict[str, Any]]:
    layers = [fn.Normalization(), fn.Dense(6, "tanh"), fn.BatchNorm(), fn.Dropout(0.2), fn.Dense(3, "softmax")]
    return fn.Sequential(layers, seed=2), {"epochs": 3, "optimizer": fn.Adam(0.02, average=0.9), **more}


def _numbers(**more: Any) -> tuple[fn.Sequential, dict[str, Any]]:
    layers = [fn.Dense(5, "relu"), fn.GaussianNoise(0.1), fn.Dense(2)]
    return fn.Sequential(layers, seed=4, scale_targets=True), {"epochs": 3, "optimizer": fn.SGD(0.01, 0.9), **more}


RUNS = {
    "list": lambda: _classifier(X=BATCHES, metrics="accuracy", callbacks=[Mean(), fn.EarlyStopping(3, "loss")],
                                schedule=fn.CosineSchedule(), validation_data=BATCHES[2]),
    "function": lambda: _numbers(X=some, metrics="mae", clip_norm=0.5),
    "function, steps": lambda: _numbers(X=some, steps_per_epoch=4, schedule=fn.CosineSchedule(), epochs=4),
    "new order": lambda: _classifier(X=NewOrder(), callbacks=[EveryBatch()], class_weight={0: 1.0, 1: 2.0, 2: 3.0}),
    "new order, steps": lambda: _classifier(X=NewOrder(), steps_per_epoch=3, epochs=5, metrics="accuracy"),
    "state": lambda: _numbers(X=Loader(), steps_per_epoch=5, metrics="mae"),
    "state, epochs": lambda: _classifier(X=Epochs(), metrics="accuracy"),
    "state, lingering": lambda: _classifier(X=Lingering(), metrics="accuracy"),
    "state, steps": lambda: _classifier(X=Epochs(), steps_per_epoch=4, epochs=5),
    "python loss": lambda: _numbers(X=some, loss=asymmetric, metrics="mae"),
}  # fmt: skip


class Pause(fn.Callback):
    """Steps that take a while."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def on_batch_end(self, net, step, logs):
        time.sleep(self._seconds)


def run(name: str, checkpoint: Any = None, resume: bool = False, pause: float = 0.0, **changed: Any) -> fn.Sequential:
    """The trained network of a run; its callbacks are ``net.used``."""
    net, arguments = RUNS[name]()
    arguments |= changed
    net.used = list(arguments.get("callbacks", ()))
    arguments["callbacks"] = [*net.used, Pause(pause)] if pause else net.used
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scales from the first batch
        net.fit(checkpoint=checkpoint, resume=resume, verbose=0, **arguments)
    return net
