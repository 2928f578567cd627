# SPDX-License-Identifier: BSD-3-Clause
"""Metrics of classes, or of yes or no, that look at the outputs behind the decisions: their order, and probabilities.

To add one: a function of an outcome with a line of ``@row`` above, and a docstring that has a running example.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import whole_number
from .metric_function import MetricFunction, mean_of_rows, row
from .outcomes import Outcome, Task

ROWS: list[MetricFunction] = []


# ---- the order of outputs --------------------------------------------------------------------------------------------


def _top_k(outcome: Outcome, k: int) -> float:
    def right(piece: Outcome) -> NDArray[np.bool_]:
        label = piece.labels().astype(np.intp)[:, None]
        own = np.take_along_axis(piece.output, label, axis=1)
        ahead = (piece.output > own) | ((piece.output == own) & (np.arange(piece.outputs) > label))
        among: NDArray[np.bool_] = ahead.sum(axis=1) < k
        return among

    return float(mean_of_rows(outcome, right))


class TopK(MetricFunction):
    """Top-k accuracy, "top_5" or with another k: the share of rows whose right class is among the k largest outputs.

    Of equal outputs, that of the larger class number counts as the larger one, as in scikit-learn.

    Parameters
    ----------
    k : int, default 5
        At least 1, and less than the number of outputs. The name is "top_" and k.

    Raises
    ------
    ValueError, TypeError
        If k is out of its range, or no integer; in ``fit`` and ``evaluate``, if there are not more outputs.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.TopK(2)([0, 1, 2], [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]).__round__(4)
    0.6667
    >>> fn.metrics["top_5"].name, fn.TopK(2).name
    ('top_5', 'top_2')
    """

    def __init__(self, k: int = 5) -> None:
        self.k = whole_number(k, "k")
        formula = f"mean_i (z_ij of the right class j is among the {self.k} largest of row i)"
        super().__init__(_top_k, f"top_{self.k}", formula, "classes", "higher", k=self.k)

    def check(self, task: Task, outputs: int, columns: int) -> str | None:
        """Why it cannot be measured of this task, or None."""
        reason = super().check(task, outputs, columns)
        if reason is None and self.k >= outputs:
            return f"would always be 1 with {outputs} outputs: k must be less"
        return reason


ROWS.append(TopK(5))


def _area(scores: NDArray[Any], yes: NDArray[np.bool_], weights: NDArray[np.float64] | None) -> float:
    """sum over pairs of a yes and a no: their weights, times 1 if the yes has the higher score, 1/2 if both are equal;
    over the weights of all pairs. NaN if there is no pair."""
    order = np.argsort(scores, kind="stable")
    scores, yes = scores[order], yes[order]
    weight: Any = 1.0 if weights is None else weights[order]
    last_of_equals = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    yes_below = np.cumsum(yes * weight)[last_of_equals]  # up to and with each score
    no_below = np.cumsum(~yes * weight)[last_of_equals]
    pairs = yes_below[-1] * no_below[-1]
    if pairs == 0 or np.isnan(scores[-1]):
        return float("nan")
    won = np.diff(yes_below, prepend=0.0) * (no_below + np.append(0.0, no_below[:-1])) / 2
    return float(won.sum() / pairs)


@row(ROWS, "mean over pairs of a yes and a no of (z_yes > z_no) + 1/2 (z_yes = z_no)", "scores", "higher")
def roc_auc(outcome: Outcome) -> float:
    """Area under the ROC curve: how often a yes has a higher output than a no; 0.5 is chance.

    Of classes, each against the rest by its probability, and the mean over classes; of several questions, the mean over
    them. Those that have no yes or no no are left out; NaN if none is left. Hanley and McNeil (1982).

    >>> import fastnn as fn
    >>> fn.metrics["roc_auc"]([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    if outcome.task.kind == "classes":
        scores = outcome.probabilities() if outcome.task.logits else outcome.output
        yes = outcome.labels()[:, None] == np.arange(outcome.outputs)
    else:
        scores, yes = outcome.output, outcome.yes()  # a sigmoid does not change their order
    areas = np.array([_area(scores[:, j], yes[:, j], outcome.weights) for j in range(outcome.outputs)])
    defined = areas[~np.isnan(areas)]
    return float(defined.mean()) if defined.size else float("nan")


# ---- probabilities ---------------------------------------------------------------------------------------------------


def _surprise(piece: Outcome) -> NDArray[np.float64]:
    """-log of the probability that was given to what is (rows,).

    Probabilities are held eps, the spacing of their dtype at 1, away from 0 and 1; from logits nothing is cut off.
    """
    z = piece.output.astype(np.float64)
    if not piece.task.logits:
        z = np.clip(z, (eps := float(np.finfo(piece.output.dtype).eps)), 1 - eps)
    if piece.task.kind == "classes":
        if piece.task.logits:
            z = z - z.max(axis=1, keepdims=True)
            z -= np.log(np.exp(z).sum(axis=1, keepdims=True))
        else:
            z = np.log(z)
        if piece.y.ndim == 1 or piece.y.shape[1] == 1:
            return -np.take_along_axis(z, piece.labels().astype(np.intp)[:, None], axis=1)[:, 0]
        of_classes: NDArray[np.float64] = -(piece.y * z).sum(axis=1)
        return of_classes
    y = piece.y.reshape(z.shape).astype(np.float64)
    if piece.task.logits:
        of_questions = np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z)))
    else:
        of_questions = -(y * np.log(z) + (1 - y) * np.log1p(-z))
    mean: NDArray[np.float64] = of_questions.mean(axis=1)
    return mean


@row(
    ROWS,
    "mean_i -sum_j y_ij log p_ij, or of questions mean_ij -y_ij log p_ij - (1 - y_ij) log(1 - p_ij)",
    "probabilities",
    "lower",
)
def log_loss(outcome: Outcome) -> float:
    """Logarithmic loss: how surprised the network is by what is, without penalties or smoothing.

    Probabilities are held the spacing of their dtype away from 0 and 1 (1.2e-7 in float32), as in scikit-learn.

    >>> import fastnn as fn
    >>> fn.metrics["log_loss"]([1, 0], [0.5, 0.5]).__round__(4)
    0.6931
    """
    return float(mean_of_rows(outcome, _surprise))
