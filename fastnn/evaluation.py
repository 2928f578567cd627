# SPDX-License-Identifier: BSD-3-Clause
"""Running a network without changing it: outputs, loss and metrics of many rows."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._memory import allocate
from .inputs import Targets, check_finite
from .losses import Objective, PythonLoss
from .metrics import Metric
from .parameters import Parameters
from .python_loss import loss_sums
from .runtime import choose_threads
from .sparse import is_sparse

SECONDS_BETWEEN_CALLS = 100e-6  # as csrc/parallel.c has it
SHARED_WORK = 4e6  # multiply-adds, some 40 us: less is better done alone even in a loop of calls
MANY_ROWS = 4096  # are no matter of microseconds, even without any multiply-add
GATHERED_ROWS = 1024  # of chosen rows, copied at a time: a few hundred KB, whatever the size of X


def predict(parameters: Parameters, params: NDArray[Any], x: NDArray[Any], threads: int | None) -> NDArray[Any]:
    """The outputs (rows, outputs) of all rows of X, which must be finite."""
    rows = x.shape[0]
    outputs: NDArray[Any] = allocate((rows, parameters.outputs), parameters.dtype)
    if rows:
        work = parameters.prediction_work(rows)
        few = work < SHARED_WORK and rows <= MANY_ROWS
        # In a loop of calls the workers of the last one are still awake.
        once = work < SHARED_WORK or perf_counter() - parameters.predicted > SECONDS_BETWEEN_CALLS
        team = choose_threads(threads, work, once=once)
        workspace = parameters.workspace(_core.USE_PREDICT, rows, team)
        used, _, _ = _core.predict(parameters.network, params, x, outputs, workspace, team, checked=True)
        if used == 0:
            check_finite(x, parameters.dtype, "X")
            raise ValueError("X has been changed by another thread, and was not finite before")
        if few and team == 1:
            parameters.keep_workspace(rows, workspace)
        elif not few:
            parameters.predicted = perf_counter()
    return outputs


def predict_few(parameters: Parameters, params: NDArray[Any], X: Any) -> NDArray[Any] | None:
    """The same where nothing needs to be prepared or converted; None: it must be done the other way."""
    return _core.predict_few(parameters.network, params, X, parameters.graph.multiply_adds, parameters.spare)


class Evaluation:
    """Loss and metrics over one set of rows, with all memory it needs; run as often as wanted.

    Parameters
    ----------
    rows : ndarray of int64, optional
        Some rows of x only. They are gathered piece by piece: x is never copied as a whole.
    y, weights
        Of these rows.
    keep_outputs : bool, default False
        Whether :attr:`outputs` are wanted; metrics and losses written in Python need them anyway.
    """

    def __init__(
        self,
        parameters: Parameters,
        objective: Objective,
        metrics: Sequence[Metric],
        x: NDArray[Any],
        y: Targets,
        weights: NDArray[np.float64] | None,
        threads: int | None,
        rows: NDArray[np.int64] | None = None,
        keep_outputs: bool = False,
    ) -> None:
        for metric in metrics:
            metric.check(objective, y, parameters.outputs)
        self._parameters, self._objective, self._metrics = parameters, objective, metrics
        self._x, self._y, self._weights, self._rows = x, y, weights, rows
        self._n = x.shape[0] if rows is None else len(rows)
        self._piece = self._n if rows is None else min(self._n, GATHERED_ROWS)
        gathers = rows is not None and not is_sparse(x)  # which gives some of its rows as they are
        self._gathered = allocate((self._piece, x.shape[1]), x.dtype) if gathers else None
        self._python = objective.loss if isinstance(objective.loss, PythonLoss) else None
        keeps = keep_outputs or bool(metrics) or self._python is not None
        self.outputs = allocate((self._n, parameters.outputs), parameters.dtype) if keeps else None
        self._threads = choose_threads(threads, parameters.prediction_work(self._piece))
        self._workspace = parameters.workspace(_core.USE_PREDICT, self._piece, self._threads)

    @property
    def data(self) -> tuple[NDArray[Any], Targets, NDArray[np.float64] | None]:
        """x, y and weights."""
        return self._x, self._y, self._weights

    def run(self, params: NDArray[Any], prefix: str = "") -> dict[str, float]:
        """{"loss": ..., each metric: ...} with these parameters."""
        found = {f"{prefix}loss": mean_loss(self._parameters, params, *self.sums(params))}
        for metric in self._metrics:
            assert self.outputs is not None
            value = metric.measure(self._y.y, self.outputs, self._weights, self._objective)
            found[prefix + metric.name] = value
        return found

    def sums(self, params: NDArray[Any]) -> tuple[float, float]:
        """Sum of weight . loss over the rows, and sum of weights; the outputs are there afterwards."""
        loss_sum = weight_sum = 0.0
        for first in range(0, self._n, self._piece):
            piece = slice(first, min(first + self._piece, self._n))
            _, loss, weight = _core.predict(
                self._parameters.network,
                params,
                self._rows_of_x(piece),
                None if self.outputs is None else self.outputs[piece],
                self._workspace,
                self._threads,
                *self._compared(piece),
            )
            loss_sum += loss
            weight_sum += weight
        if self._python is not None:
            assert self.outputs is not None
            return loss_sums(self._python, self._y.y, self.outputs, self._weights)
        return loss_sum, weight_sum

    def _compared(self, piece: slice) -> tuple[Any, ...]:
        """What the native loss compares the outputs with; nothing where a Python function does."""
        if self._python is not None:
            return ()
        labels, values, weights = self._y.labels, self._y.values, self._weights
        found = (None if part is None else part[piece] for part in (labels, values, weights))
        return self._objective.core, *found

    def _rows_of_x(self, piece: slice) -> NDArray[Any]:
        if self._rows is None:
            return self._x
        rows = self._rows[piece]
        if self._gathered is None:
            assert is_sparse(self._x)
            return cast("NDArray[Any]", self._x.take(rows))
        return np.take(self._x, rows, axis=0, out=self._gathered[: len(rows)], mode="clip")


def mean_loss(parameters: Parameters, params: NDArray[Any], loss_sum: float, weight_sum: float) -> float:
    """The weighted mean over the rows, with penalties."""
    penalty = _core.penalty(parameters.network, params) if parameters.graph.penalized else 0.0
    return loss_sum / weight_sum + penalty
