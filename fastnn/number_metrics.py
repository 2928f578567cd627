# SPDX-License-Identifier: BSD-3-Clause
"""Metrics of predicted numbers: how far they are from y. Of several columns, the mean over them, as in scikit-learn.

Here y and z are (rows, columns) in float64, and mean_i is the weighted mean over the rows. To add one: a function of an
outcome with a line of ``@row`` above, and a docstring that has a running example.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .metric_function import MetricFunction, mean_of_rows, row
from .outcomes import Outcome

ROWS: list[MetricFunction] = []
TINY = float(np.finfo(np.float64).eps)


def _error(outcome: Outcome) -> NDArray[np.float64]:
    y, z = outcome.numbers()
    return z - y


def _squared(outcome: Outcome) -> NDArray[np.float64]:
    squared: NDArray[np.float64] = _error(outcome) ** 2
    return squared


@row(ROWS, "mean_j mean_i |z_ij - y_ij|", "numbers", "lower")
def mae(outcome: Outcome) -> float:
    """Mean absolute error, in the units of y.

    >>> import fastnn as fn
    >>> fn.metrics["mae"]([1.0, 2.0], [2.0, 4.0])
    1.5
    """
    return float(mean_of_rows(outcome, lambda piece: np.abs(_error(piece))).mean())


@row(ROWS, "mean_j mean_i (z_ij - y_ij)^2", "numbers", "lower")
def mse(outcome: Outcome) -> float:
    """Mean squared error.

    >>> import fastnn as fn
    >>> fn.metrics["mse"]([1.0, 2.0], [2.0, 4.0])
    2.5
    """
    return float(mean_of_rows(outcome, _squared).mean())


@row(ROWS, "mean_j sqrt(mean_i (z_ij - y_ij)^2)", "numbers", "lower")
def rmse(outcome: Outcome) -> float:
    """Root of the mean squared error, in the units of y; the root is taken of each column, then the mean.

    >>> import fastnn as fn
    >>> fn.metrics["rmse"]([0.0, 0.0], [3.0, 3.0])
    3.0
    """
    return float(np.sqrt(mean_of_rows(outcome, _squared)).mean())


@row(ROWS, "mean_j 1 - sum_i (z_ij - y_ij)^2 / sum_i (y_ij - mean_i y_ij)^2", "numbers", "higher")
def r2(outcome: Outcome) -> float:
    """Coefficient of determination: the share of y's variance that is explained; 0 for always predicting the mean.

    Of a constant column 1 if it is predicted exactly, else 0. Of fewer than two rows NaN.

    >>> import fastnn as fn
    >>> fn.metrics["r2"]([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    if outcome.rows < 2:
        return float("nan")
    first = outcome.y[:1].reshape(1, -1).astype(np.float64)  # so that the mean of a constant is exact
    mean = first + mean_of_rows(outcome, lambda piece: piece.numbers()[0] - first)
    variance = mean_of_rows(outcome, lambda piece: (piece.numbers()[0] - mean) ** 2)
    error = mean_of_rows(outcome, _squared)
    constant = variance == 0
    explained = 1 - error / np.where(constant, 1, variance)
    return float(np.where(constant, error == 0, explained).mean())


@row(ROWS, "mean_j mean_i |z_ij - y_ij| / max(|y_ij|, 2.2e-16)", "numbers", "lower")
def mape(outcome: Outcome) -> float:
    """Mean absolute percentage error, as a share: 0.1 is 10 %. Huge if any y is 0.

    >>> import fastnn as fn
    >>> fn.metrics["mape"]([1.0, 10.0], [1.5, 10.0])
    0.25
    """

    def share(piece: Outcome) -> NDArray[np.float64]:
        y, z = piece.numbers()
        relative: NDArray[np.float64] = np.abs(z - y) / np.maximum(np.abs(y), TINY)
        return relative

    return float(mean_of_rows(outcome, share).mean())
