# SPDX-License-Identifier: BSD-3-Clause
"""A Python function as loss: f(y, output) -> (loss of each row, its gradient with respect to the output).

Forward pass, backward pass and update are native; between the first two the function is called, once per batch. The
batches, their order and the sums are those of ``csrc/epoch.c``, so that a loss written in Python trains as the native
one does, to rounding. What the function returns is checked every time; what is wrong with it is said before the batch
changes anything. :class:`PythonTraining` stands in for ``_core.Training``, and :func:`loss_sums` for the loss part of
``_core.predict``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._memory import allocate
from .inputs import numbers
from .losses import Objective, PythonLoss
from .parameters import Parameters

ROWS_AT_A_TIME = 1024  # of an evaluation: what the function makes for itself stays small


def make_training(
    objective: Objective, parameters: Parameters, state: _core.OptimizerState, batch: int, threads: int
) -> _core.Training | PythonTraining:
    """The loop over batches, native as a whole or around a Python function, with all memory it needs."""
    if isinstance(objective.loss, PythonLoss):
        return PythonTraining(objective.loss, parameters, state, batch, threads)
    workspace = parameters.workspace(_core.USE_TRAIN, batch, threads)
    network, numbers, grads, draws = parameters.network, parameters.numbers, parameters.grads, parameters.draws
    return _core.Training(network, objective.core, state, numbers, grads, draws, workspace, batch, threads)


class PythonTraining:
    """As ``_core.Training``: bound to data by bind(), run by run()."""

    def __init__(
        self, loss: PythonLoss, parameters: Parameters, state: _core.OptimizerState, batch: int, threads: int
    ) -> None:
        self.threads = threads
        self._loss, self._parameters, self._state, self._batch = loss, parameters, state, batch
        self._workspace = parameters.workspace(_core.USE_PASS, batch, threads)
        self._data: tuple[Any, ...] | None = None
        self._seed = 0
        self._clipping = (0.0, 0.0)
        self._sums: NDArray[np.float64] | None = None
        self._applied = False  # whether the batch under way has changed the network
        self._weight = 0.0  # of its rows, together
        # Of the epoch, when run() was left, however that was: steps done, and their sums.
        self.steps_done, self.loss_sum, self.weight_sum = 0, 0.0, 0.0

    def bind(
        self,
        x: NDArray[Any],
        labels: NDArray[np.int32] | None,
        values: NDArray[Any] | None,
        weights: NDArray[np.float64] | None,
        outputs: NDArray[Any] | None,
        order: NDArray[np.int64] | None,
        shuffle: bool,
        seed: int,
    ) -> None:
        """The data of an epoch, as ``_core.Training.bind`` takes it; y is always values here."""
        assert labels is None and values is not None
        self._data = (x, values, weights, outputs, order, shuffle)
        self._seed = seed

    def set_clipping(self, norm: float, value: float) -> None:
        """As ``_core.Training.set_clipping``."""
        self._clipping = norm, value

    def choose_pace(self) -> None:
        """As ``_core.Training.choose_pace``; here threads take part as asked."""

    def measure(self, segment_sums: NDArray[np.float64] | None) -> None:
        """As ``_core.Training.measure``: sums of squares of the last step."""
        self._sums = segment_sums

    def release(self) -> None:
        """Let go of the data."""
        self._data = None

    def run(
        self,
        epoch: int,
        first_step: int,
        n_steps: int,
        learning_rate: float | NDArray[np.float64],
        poll: bool = True,
        loss_sum: float = 0.0,
        weight_sum: float = 0.0,
    ) -> tuple[int, int, int, float, float]:
        """Some steps of an epoch -> (status, threads, steps, loss_sum, weight_sum); the sums go on from those given.

        Between any two lines Ctrl-C may come: then the parameters are those of a completed step.
        """
        assert self._data is not None
        order, shuffle = self._data[4:]
        self.steps_done, self.loss_sum, self.weight_sum = first_step, loss_sum, weight_sum
        if shuffle and first_step == 0:
            _core.permutation(self._seed, _core.STREAM_SHUFFLE, epoch, order)
        rates = np.broadcast_to(learning_rate, n_steps).tolist()
        for done, rate in enumerate(rates):
            before = self._parameters.params.copy() if done == n_steps - 1 and self._sums is not None else None
            try:
                status, loss, weight = self._step(first_step + done, rate)
            finally:  # of a step that was made, whatever comes right behind it
                if before is not None and self._applied:
                    try:
                        self._measure(before)
                    except KeyboardInterrupt:
                        self._measure(before)
                        raise
            loss_sum += loss
            weight_sum += weight
            if status != _core.FINISHED:  # a bad update is counted among the completed steps, a bad loss is not
                return status, self.threads, done + (status == _core.BAD_UPDATE), loss_sum, weight_sum
        return _core.FINISHED, self.threads, n_steps, loss_sum, weight_sum

    def _measure(self, before: NDArray[Any]) -> None:
        """Sums of squares of the mean gradient, of the update and of the old parameters, of each tensor."""
        assert self._sums is not None
        scale = 1 / self._weight
        for sums, segment in zip(self._sums, self._parameters.graph.segments, strict=True):
            part = slice(segment.offset, segment.offset + segment.size)
            old = before[part].astype(np.float64)
            gradient, new = self._parameters.grads[part] * scale, self._parameters.params[part]
            for i, values in enumerate((gradient, new - old, old)):
                sums[i] = np.square(values, dtype=np.float64).sum()

    def _step(self, step: int, rate: float) -> tuple[int, float, float]:
        """One batch -> (status, sum over rows of weight . loss, sum of weights).

        The forward pass moves running statistics: they go back where they were unless the batch is applied.
        """
        statistics = self._parameters.numbers[self._parameters.params.size :]
        before = statistics.copy()
        self._applied = False
        try:
            return self._try_step(step, rate)
        finally:
            if not self._applied:
                statistics[...] = before

    def _try_step(self, step: int, rate: float) -> tuple[int, float, float]:
        assert self._data is not None
        x, values, weights, kept, order, _ = self._data
        first, last = step * self._batch, min((step + 1) * self._batch, len(x) if order is None else len(order))
        chosen = slice(first, last) if order is None else order[first:last]
        parameters, rows, dtype = self._parameters, last - first, self._parameters.dtype
        network, numbers, grads = parameters.network, parameters.numbers, parameters.grads
        seed, draw = self._seed, int(parameters.draws[0])
        outputs = allocate((rows, parameters.outputs), dtype)
        _core.forward(network, numbers, seed, draw, x[chosen], self._workspace, outputs, self.threads)
        if kept is not None:
            kept[chosen] = outputs
        finite = bool(np.isfinite(outputs).all())  # looked at now: the function may write into it
        loss, gradient = call(self._loss, values[chosen].astype(dtype), outputs)
        weight = None if weights is None else weights[chosen]
        loss_sum, weight_sum = sums(loss, weight, rows)
        if weight_sum == 0:
            self.steps_done += 1
            parameters.draws[0] += 1
            return _core.FINISHED, 0.0, 0.0
        if parameters.graph.penalized:
            loss_sum += (1 if self._state.penalizes_sums else weight_sum) * _core.penalty(network, numbers)
        if not math.isfinite(loss_sum):
            return _core.DIVERGED, loss_sum, weight_sum
        if finite:
            _check_finite(gradient, self._loss.name)
        doutputs = np.ascontiguousarray(gradient if weight is None else gradient * weight[:, np.newaxis], dtype)
        _core.backward(network, numbers, seed, draw, rows, doutputs, self._workspace, grads, False, None, self.threads)
        scale = 1 / weight_sum
        after = self.steps_done + 1, self.loss_sum + loss_sum, self.weight_sum + weight_sum
        self._weight = weight_sum
        # Python looks for signals at calls: there is none between these lines.
        self.steps_done, self.loss_sum, self.weight_sum = after
        parameters.draws[0] += 1
        self._applied = True
        status = _core.update(network, self._state, rate, scale, numbers, grads, *self._clipping)
        return status, loss_sum, weight_sum


def loss_sums(
    loss: PythonLoss, values: NDArray[Any], outputs: NDArray[Any], weights: NDArray[np.float64] | None
) -> tuple[float, float]:
    """Sum over all rows of weight . loss, and sum of weights."""
    loss_sum = weight_sum = 0.0
    for first in range(0, len(outputs), ROWS_AT_A_TIME):
        piece = slice(first, first + ROWS_AT_A_TIME)
        output = outputs[piece].copy()  # the function's own, to write into if it likes
        found, _ = call(loss, values[piece].astype(outputs.dtype), output)
        part = sums(found, None if weights is None else weights[piece], len(output))
        loss_sum, weight_sum = loss_sum + part[0], weight_sum + part[1]
    return loss_sum, weight_sum


def call(loss: PythonLoss, y: NDArray[Any], output: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Call the user's function and check the kind and shape of what it returns: loss (rows,), gradient like output."""
    shape = output.shape
    found = loss.function(y, output)
    needed = f"needed are the loss of each row, ({shape[0]},), and its gradient, {shape}"
    if not isinstance(found, Sequence) or len(found) != 2 or isinstance(found, str):
        what = f"a {type(found).__name__}" + (f" of {len(found)}" if isinstance(found, Sequence) else "")
        raise TypeError(f"loss {loss.name!r} returned {what}, but {needed}")
    rows, gradient = (numbers(part, f"the {what} that loss {loss.name!r} returned") for part, what in zip(
        found, ("loss of each row", "gradient"), strict=True))  # fmt: skip
    for part, what, right in ((rows, "loss", shape[:1]), (gradient, "gradient", shape)):
        if part.shape != right:
            raise ValueError(f"loss {loss.name!r} returned a {what} of shape {part.shape}, but {needed}")
    return rows.astype(np.float64), gradient


def sums(loss: NDArray[np.float64], weights: NDArray[np.float64] | None, rows: int) -> tuple[float, float]:
    """Sum of weight . loss and sum of weights; the nearest numbers to the exact sums, so the same on every machine."""
    if weights is None:
        return _sum(loss), float(rows)
    with np.errstate(invalid="ignore", over="ignore"):  # 0 times infinity, or too large: the caller sees a NaN
        return _sum(loss * weights), _sum(weights)


def _sum(values: NDArray[np.float64]) -> float:
    try:
        return math.fsum(values.tolist())
    except (OverflowError, ValueError):  # beyond the largest number; inf - inf
        return math.nan


def _check_finite(gradient: NDArray[Any], name: str) -> None:
    """Of finite outputs: where they are not, training diverges, which is not the function's fault."""
    wrong = np.argwhere(~np.isfinite(gradient))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"loss {name!r} returned the gradient {gradient[row, column]} in row {row} of the batch, column {column}, "
            "where loss and outputs are finite: gradients must be too. The network is as it was before this batch"
        )
