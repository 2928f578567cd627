# SPDX-License-Identifier: BSD-3-Clause
"""What metrics look at: y and outputs of the same rows, and what both mean by the loss.

A loss says what y holds: numbers, one class for each row, or questions (yes or no, one for each output). Metrics ask an
:class:`Outcome` for the view they need (classes, decisions, probabilities, numbers) and never look at a loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .losses import GaussianNLL, LossFunction, Objective, Quantile

Kind = Literal["numbers", "classes", "questions"]
ELEMENTS_AT_A_TIME = 1 << 18  # converted to float64: 2 MB, which stay in the second cache


@dataclass(frozen=True)
class Task:
    """What y and the outputs mean.

    Attributes
    ----------
    kind : {"numbers", "classes", "questions"}
        Of y: numbers; the class of each row; yes or no for each output.
    logits : bool
        Outputs are logits, so that 0 parts yes from no.
    probabilities : bool
        Outputs are probabilities or, with `logits`, become some by softmax or sigmoid.
    unit : bool
        y are numbers in 0..1, which can be compared with probabilities.
    loss : LossFunction, optional
        Where it comes from.
    """

    kind: Kind
    logits: bool = False
    probabilities: bool = True
    unit: bool = False
    loss: LossFunction | None = None

    @staticmethod
    def of(objective: Objective) -> Task:
        """What a network is trained for."""
        targets = objective.targets
        kind: Kind = "questions" if targets in ("unit", "signs") else "numbers"
        if targets in ("classes", "labels"):
            kind = "classes"
        probabilities = kind != "numbers" and targets != "signs"
        return Task(kind, objective.logits, probabilities, targets == "unit", objective.loss)

    def predicts(self, outputs: int, columns: int) -> bool:
        """Whether the outputs say one number for each column of y."""
        if isinstance(self.loss, Quantile) and columns != outputs:
            return any(quantile == 0.5 for quantile in self.loss.core)
        return isinstance(self.loss, GaussianNLL) or columns == outputs


class Outcome:
    """y and outputs of some rows. Rows of weight 0 are left out: they count as if they were not there.

    Parameters
    ----------
    y : ndarray (rows,) or (rows, columns)
        Labels, or values.
    output : ndarray (rows, outputs)
    weights : ndarray (rows,), optional
    task : Task
    """

    def __init__(self, y: NDArray[Any], output: NDArray[Any], weights: NDArray[np.float64] | None, task: Task) -> None:
        if weights is not None and not weights.all():
            counted = np.flatnonzero(weights)
            y, output, weights = y[counted], output[counted], weights[counted]
        self.y, self.output, self.weights, self.task = y, output, weights, task
        self.rows, self.outputs = output.shape

    @property
    def one_question(self) -> bool:
        """A single output that says yes or no."""
        return bool(self.outputs == 1)

    def pieces(self) -> Iterator[Outcome]:
        """The same in pieces of some rows, so that what is computed from them stays small."""
        step = max(1, ELEMENTS_AT_A_TIME // max(1, self.outputs))
        for first in range(0, self.rows, step):
            piece = slice(first, first + step)
            weights = None if self.weights is None else self.weights[piece]
            yield Outcome(self.y[piece], self.output[piece], weights, self.task)

    def weight_sum(self) -> float:
        return float(self.rows if self.weights is None else self.weights.sum())

    def weigh(self, values: NDArray[Any]) -> Any:
        """Of values (rows,) or (rows, n): the weighted sum over the rows."""
        if self.weights is None:
            return values.sum(axis=0)
        return (values.T * self.weights).sum(axis=-1)

    # ---- classes: one of several outputs -----------------------------------------------------------------------------

    def labels(self) -> NDArray[Any]:
        """The right class of each row (rows,); of soft rows the largest entry."""
        if self.y.ndim == 1 or self.y.shape[1] == 1:
            return self.y.reshape(-1)
        found: NDArray[Any] = self.y.argmax(axis=1)
        return found

    def chosen(self) -> NDArray[Any]:
        """The class of the largest output (rows,), the first one of equals."""
        found: NDArray[Any] = self.output.argmax(axis=1)
        return found

    # ---- questions: yes or no for each output ------------------------------------------------------------------------

    def yes(self) -> NDArray[np.bool_]:
        """Whether the answer is yes (rows, outputs)."""
        found: NDArray[np.bool_] = self.y.reshape(self.rows, -1) > 0.5
        return found

    def said_yes(self) -> NDArray[np.bool_]:
        """Whether the network says yes (rows, outputs)."""
        found: NDArray[np.bool_] = self.output > (0.0 if self.task.logits else 0.5)
        return found

    # ---- in float64 --------------------------------------------------------------------------------------------------

    def probabilities(self) -> NDArray[np.float64]:
        """The probability of each class or of each yes (rows, outputs)."""
        z = self.output.astype(np.float64)
        if not self.task.logits:
            return z
        if self.task.kind == "classes":
            z = np.exp(z - z.max(axis=1, keepdims=True))
            scaled: NDArray[np.float64] = z / z.sum(axis=1, keepdims=True)
            return scaled
        small = np.exp(-np.abs(z))  # does not overflow
        found: NDArray[np.float64] = np.where(z >= 0, 1.0, small) / (1.0 + small)
        return found

    def numbers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """y and what is predicted for it (rows, columns).

        Of "poisson" the expected count, of "gaussian_nll" the mean, of several quantiles the median.
        """
        y, z, loss = self.y.reshape(self.rows, -1).astype(np.float64), self.output, self.task.loss
        if isinstance(loss, GaussianNLL):
            z = z[:, 0::2]
        elif isinstance(loss, Quantile) and y.shape[1] != z.shape[1]:
            median = loss.core.index(0.5)
            z = z[:, median : median + 1]
        elif loss is not None and loss.name == "poisson":
            return y, np.exp(z.astype(np.float64))
        elif self.task.unit:
            return y, self.probabilities()
        return y, z.astype(np.float64)
