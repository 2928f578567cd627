# SPDX-License-Identifier: BSD-3-Clause
"""The losses: name, formula, and the formula once more as NumPy code, which is what tests compare with.

A loss is a number per row, smaller when the output is nearer to y; training minimizes the mean of these over the rows,
weighted if there are sample weights. The code that runs is in ``csrc/kernels/losses.h``. To add one: a row there, and
here a function of (y, z), in float64, with a docstring that has a running example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .registry import Registry

Rows = NDArray[np.float64]
Formula = Callable[[Rows, Rows], Any]
Targets = Literal["values", "unit", "classes"]


class LossFunction:
    """One loss: call it with y and z, (rows, outputs) each, for the loss of every row in float64.

    Attributes
    ----------
    name : str
        What it is called in ``fit``.
    formula, gradient : str
        The loss of a row, and its derivative with respect to z_j; n is the number of outputs.
    joins : str or None
        The activation of the last layer that is computed together with this loss; z are the logits before it.
    targets : {"values", "unit", "classes"}
        What y holds: any numbers; numbers in 0..1; class numbers or rows of probabilities.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.losses["mse"]([[1.0, 2.0]], [[1.0, 4.0]])
    array([2.])
    """

    def __init__(self, function: Formula, formula: str, gradient: str, joins: str | None, targets: Targets) -> None:
        self.name = function.__name__
        self.formula = formula
        self.gradient = gradient
        self.joins = joins
        self.targets: Targets = targets
        self.__doc__ = function.__doc__
        self._function = function

    def __call__(self, y: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = self._function(np.asarray(y, np.float64), np.asarray(z, np.float64))
        return rows

    def __repr__(self) -> str:
        return f"<loss {self.name}: {self.formula}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.name,)


losses: Registry[LossFunction] = Registry("loss")


def _named(name: str) -> LossFunction:
    return losses[name]


def _row(formula: str, gradient: str, joins: str | None, targets: Targets) -> Callable[[Formula], Formula]:
    def enter(function: Formula) -> Formula:
        losses.add(function.__name__, LossFunction(function, formula, gradient, joins, targets))
        return function

    return enter


@_row("1/n sum_j (z_j - y_j)^2", "2/n (z_j - y_j)", joins=None, targets="values")
def mse(y: Rows, z: Rows) -> Any:
    """Mean squared error: the mean over the outputs, not their sum, so it does not grow with their number.

    >>> losses["mse"]([[0.0, 0.0]], [[1.0, 3.0]])
    array([5.])
    """
    return ((z - y) ** 2).mean(axis=-1)


@_row("-sum_j y_j log softmax(z)_j", "softmax(z)_j sum_i y_i - y_j", joins="softmax", targets="classes")
def cross_entropy(y: Rows, z: Rows) -> Any:
    """Cross-entropy of classes: how surprised the network is by the right one. z are logits, y rows of probabilities.

    >>> losses["cross_entropy"]([[1.0, 0.0]], [[5.0, 5.0]]).round(4)
    array([0.6931])
    """
    shifted = z - z.max(axis=-1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return -(y * log_softmax).sum(axis=-1)


@_row("1/n sum_j max(z_j, 0) - y_j z_j + log(1 + exp(-|z_j|))", "1/n (sigmoid(z_j) - y_j)", "sigmoid", "unit")
def binary_cross_entropy(y: Rows, z: Rows) -> Any:
    """Cross-entropy of independent yes-or-no questions, one per output: the mean over them. z are logits.

    >>> losses["binary_cross_entropy"]([[1.0]], [[0.0]]).round(4)
    array([0.6931])
    """
    return (np.maximum(z, 0.0) - y * z + np.log1p(np.exp(-np.abs(z)))).mean(axis=-1)


losses.check(_core.loss_names())


@dataclass(frozen=True)
class Objective:
    """A loss fitted to a network: whether it is computed from the logits, before the last activation."""

    loss: LossFunction
    joined: bool
    logits: bool  # the outputs themselves are logits: the last layer is linear

    @property
    def core(self) -> tuple[int, bool, tuple[float, ...]]:
        """As ``_core`` takes it: number in C, joined, parameters."""
        return _core.loss_names().index(self.loss.name), self.joined, ()


def default_loss(last_activation: str) -> LossFunction:
    """What a network is trained with when nothing is said: the loss that belongs to its last activation."""
    return next((loss for loss in losses.values() if loss.joins == last_activation), losses["mse"])


def resolve_loss(loss: object, last_activation: str, outputs: int) -> Objective:
    """The loss that is asked for (None: by the last layer), if it can follow the last layer."""
    if loss is None:
        row = default_loss(last_activation)
    elif isinstance(loss, LossFunction):
        row = loss
    elif isinstance(loss, str):
        row = losses[loss]
    else:
        raise TypeError(f"loss must be a name or a row of fastnn.losses, not {type(loss).__name__}")
    if row.targets == "classes" and outputs < 2:
        raise ValueError(
            f"loss {row.name!r} needs at least 2 outputs, one per class; the last layer has {outputs}. "
            "For yes or no use one output with 'sigmoid' and 'binary_cross_entropy'"
        )
    if row.joins is None:
        return Objective(row, joined=False, logits=False)
    if last_activation not in (row.joins, "linear"):
        raise ValueError(
            f"loss {row.name!r} needs a last layer with activation {row.joins!r}, or 'linear' for logits; "
            f"this one has {last_activation!r}"
        )
    return Objective(row, joined=last_activation == row.joins, logits=last_activation == "linear")
