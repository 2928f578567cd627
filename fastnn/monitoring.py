# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks that watch a value for its best: stop when it gets no better, or train more slowly.

:class:`Monitor` says which value, what better means, and whether an epoch was the best so far; callbacks decide what
follows. To add one: a class with a monitor that is begun in ``_prepare_fit``, before the network changes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .arguments import number, true_or_false, whole_number
from .callbacks import Callback, Preparation
from .errors import unknown_name
from .snapshots import Snapshot

if TYPE_CHECKING:
    from .model import Sequential

MODES = ("auto", "min", "max")


class Monitor:
    """One of the values of an epoch, watched for its best."""

    def __init__(self, name: object, mode: object, min_delta: object) -> None:
        if not isinstance(name, str):
            raise TypeError(f"monitor must be the name of a value such as 'val_loss', not {type(name).__name__}")
        if mode not in MODES:
            raise ValueError(f"mode must be 'auto', 'min' or 'max', not {mode!r}")
        self.asked, self.mode = name, mode
        self.min_delta = number(min_delta, "min_delta")
        if not 0 <= self.min_delta < math.inf:
            raise ValueError(f"min_delta must be finite and not negative, not {min_delta}")
        self.name, self.best = name, math.nan
        self._sign = 0.0  # times a value: larger is better

    def begin(self, fit: Preparation) -> None:
        """Anew for a fit, if it measures what is asked for. In place of "val_loss", without validation data, "loss"."""
        self.name = "loss" if self.asked == "val_loss" and "val_loss" not in fit.measured else self.asked
        if self.name not in fit.measured:
            error = unknown_name("monitor", self.name, fit.measured)
            no_validation = self.name.startswith("val_") and "val_loss" not in fit.measured
            raise ValueError(f"{error}{' (there is no validation data)' if no_validation else ''}")
        better = {"min": "lower", "max": "higher"}.get(str(self.mode), fit.measured[self.name])
        if better is None:
            raise ValueError(f"whether a larger {self.name!r} is better nobody knows: give mode='min' or mode='max'")
        self._sign = 1.0 if better == "higher" else -1.0
        self.best = math.nan

    def improved(self, logs: dict[str, float]) -> bool:
        """Whether this epoch is better than the best by more than min_delta; NaN never is."""
        value = logs[self.name]
        better = not math.isnan(value) and (
            math.isnan(self.best) or self._sign * value > self._sign * self.best + self.min_delta
        )
        if better:
            self.best = value
        return better


class EarlyStopping(Callback):
    """End ``fit`` when a value got no better for some epochs, and go back to the best one.

    Parameters
    ----------
    patience : int, default 5
        Epochs without an improvement after which training ends.
    monitor : str, default "val_loss"
        "loss", a metric, or one of them behind "val_". Without validation data "val_loss" means "loss".
    min_delta : float, default 0.0
        What is better by no more than this is no improvement.
    mode : {"auto", "min", "max"}, default "auto"
        Whether the smallest or the largest value is best; "auto" knows it of losses and of fastnn's metrics.
    restore_best : bool, default True
        When ``fit`` ends, also after its last epoch, the network gets back the weights and the optimizer's state of the
        best epoch. After an exception it does not.

    Attributes
    ----------
    best : float
        The best value; NaN before there is one.
    best_epoch, stopped_epoch : int or None
        Counted from 0; None if there was none, or if training was not stopped by this callback.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type; in ``fit``, if what is to be monitored is not measured.

    References
    ----------
    Prechelt, Early stopping - but when?, 1998.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> X = np.random.default_rng(0).normal(size=(60, 20))
    >>> y = X[:, 0] + np.random.default_rng(1).normal(size=60)
    >>> stopping = fn.EarlyStopping(patience=3)
    >>> net = fn.Sequential([fn.Dense(50, "relu"), fn.Dense(1)], seed=0)
    >>> history = net.fit(X, y, epochs=500, validation_fraction=0.3, callbacks=[stopping], verbose=0)
    >>> history.epochs < 500, stopping.stopped_epoch - stopping.best_epoch
    (True, 3)
    >>> stopping.best == min(history.history["val_loss"])
    True
    """

    def __init__(
        self,
        patience: int = 5,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        self.patience = whole_number(patience, "patience")
        self.restore_best = true_or_false(restore_best, "restore_best")
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._monitor = Monitor(monitor, mode, min_delta)
        self._snapshot: Snapshot | None = None
        self._waited = 0

    @property
    def best(self) -> float:
        """The best value; NaN before there is one."""
        return self._monitor.best

    def _prepare_fit(self, fit: Preparation) -> None:
        self._monitor.begin(fit)
        self._snapshot = fit.snapshot() if self.restore_best else None
        self._waited, self.best_epoch, self.stopped_epoch = 0, None, None

    def on_epoch_end(self, net: Sequential, epoch: int, logs: dict[str, float]) -> None:
        """Look at the value."""
        if self._monitor.improved(logs):
            self._waited, self.best_epoch = 0, epoch
            if self._snapshot is not None:
                net._snapshot(self._snapshot)
            return
        self._waited += 1
        if self._waited >= self.patience:
            net.stop_training = True
            self.stopped_epoch = epoch

    def on_fit_end(self, net: Sequential) -> None:
        """Go back to the best epoch."""
        if self._snapshot is not None and self.best_epoch is not None:
            net._restore(self._snapshot)
        self._snapshot = None

    def state_dict(self) -> dict[str, Any]:
        """How long it has waited, and the best epoch with all that belongs to it."""
        found = {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "waited": self._waited,
        }
        if self._snapshot is None or self.best_epoch is None:
            return found
        return {**found, **self._snapshot.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what it was."""
        self._monitor.best, self.best_epoch = state["best"], state["best_epoch"]
        self.stopped_epoch, self._waited = state["stopped_epoch"], state["waited"]
        if self._snapshot is not None and self.best_epoch is not None:
            if "numbers" not in state:
                raise ValueError(
                    "resume: the checkpoint has no best weights, because its EarlyStopping had restore_best=False: "
                    "give that again"
                )
            self._snapshot.load_state_dict(state)


class ReduceOnPlateau(Callback):
    """Multiply the learning rate by a factor whenever a value got no better for some epochs.

    It sets ``net.optimizer.learning_rate``, which stays as it is when ``fit`` ends.

    Parameters
    ----------
    factor : float between 0 and 1, default 0.1
        What the learning rate is multiplied by.
    patience : int, default 5
        Epochs without an improvement after which the learning rate is reduced.
    monitor : str, default "val_loss"
        "loss", a metric, or one of them behind "val_". Without validation data "val_loss" means "loss".
    min_learning_rate : float, default 0.0
        It is not made smaller than this.
    cooldown : int, default 0
        For so many epochs after a reduction, none is counted as without improvement.
    min_delta : float, default 0.0
        What is better by no more than this is no improvement.
    mode : {"auto", "min", "max"}, default "auto"
        Whether the smallest or the largest value is best; "auto" knows it of losses and of fastnn's metrics.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type; in ``fit``, if what is to be monitored is not measured.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> net = fn.Sequential([fn.Dense(1)], seed=0)
    >>> slower = fn.ReduceOnPlateau(factor=0.5, patience=2)
    >>> history = net.fit(X, np.abs(X), optimizer=fn.SGD(0.5), epochs=30, callbacks=[slower], verbose=0)
    >>> rates = history.history["learning_rate"]
    >>> rates[0], rates[-1] < 0.5
    (0.5, True)
    """

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 5,
        monitor: str = "val_loss",
        min_learning_rate: float = 0.0,
        cooldown: int = 0,
        min_delta: float = 0.0,
        mode: str = "auto",
    ) -> None:
        self.factor = number(factor, "factor")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor must be between 0 and 1, not {factor}")
        self.patience = whole_number(patience, "patience")
        self.min_learning_rate = number(min_learning_rate, "min_learning_rate")
        if not 0 <= self.min_learning_rate < math.inf:
            raise ValueError(f"min_learning_rate must be finite and not negative, not {min_learning_rate}")
        self.cooldown = whole_number(cooldown, "cooldown", least=0)
        self._monitor = Monitor(monitor, mode, min_delta)
        self._waited = self._cooling = 0

    def _prepare_fit(self, fit: Preparation) -> None:
        self._monitor.begin(fit)
        self._waited = self._cooling = 0

    def on_epoch_end(self, net: Sequential, epoch: int, logs: dict[str, float]) -> None:
        """Look at the value."""
        improved = self._monitor.improved(logs)
        if improved or self._cooling:
            self._waited, self._cooling = 0, max(0, self._cooling - 1)
            return
        self._waited += 1
        optimizer = net.optimizer
        if self._waited < self.patience or optimizer is None:
            return
        self._waited, self._cooling = 0, self.cooldown
        reduced = max(self.factor * optimizer.learning_rate, self.min_learning_rate)
        optimizer.learning_rate = min(optimizer.learning_rate, reduced)

    def state_dict(self) -> dict[str, Any]:
        """The best value, and how long it has waited."""
        return {"best": self._monitor.best, "waited": self._waited, "cooling": self._cooling}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what it was; the learning rate is the optimizer's own."""
        self._monitor.best, self._waited, self._cooling = state["best"], state["waited"], state["cooling"]
