# SPDX-License-Identifier: BSD-3-Clause
"""Metrics of decisions about classes, or about yes or no: shares of right ones, over all rows and class by class.

Each looks at one of three tasks: one class of several outputs for each row; one output that says yes or no; several
outputs that each do. Decisions are the largest output, or an output above 0.5 (a logit: above 0). To add one: a
function of an outcome with a line of ``@row`` above, and a docstring that has a running example.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .metric_function import MetricFunction, row
from .outcomes import Outcome

Average = Literal["macro", "micro", "weighted"]
ROWS: list[MetricFunction] = []
AVERAGES = ("macro", "micro", "weighted")
Sums = NDArray[np.float64]


@row(ROWS, "mean_i (argmax_j z_ij = t_i), or of one output (z_i > 1/2) = (y_i > 1/2)", "anything", "higher")
def accuracy(outcome: Outcome) -> float:
    """The share of rows whose largest output is the right one.

    Of a single output: whether it is above 0.5 (a logit: above 0) as y is above 0.5. Of several questions for each row
    also the largest output, which has to be where y is largest.

    >>> import fastnn as fn
    >>> fn.metrics["accuracy"]([0, 1, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    0.75
    """
    if outcome.one_question:
        right = (outcome.said_yes() == outcome.yes())[:, 0]
    else:
        right = outcome.chosen() == outcome.labels()
    return float(outcome.weigh(right) / outcome.weight_sum())


# ---- decisions, class by class ---------------------------------------------------------------------------------------


def _counts(outcome: Outcome, both_answers: bool) -> tuple[Sums, Sums, Sums]:
    """For each class: the weight of rows that are and are said to be of it, that are said to be, that are.

    Classes nobody is in or is said to be in are left out. A question counts as one class, the yes; a single one, with
    `both_answers`, as the classes no and yes.
    """
    if outcome.task.kind == "classes" or (both_answers and outcome.one_question):
        if outcome.task.kind == "classes":
            labels, chosen, classes = outcome.labels().astype(np.intp), outcome.chosen(), outcome.outputs
        else:
            labels, chosen, classes = outcome.yes()[:, 0] + 0, outcome.said_yes()[:, 0] + 0, 2

        def by_class(of: NDArray[Any], rows: Any = slice(None)) -> Sums:
            weights = None if outcome.weights is None else outcome.weights[rows]
            return np.bincount(of[rows], weights, classes).astype(np.float64)

        said, are = by_class(chosen), by_class(labels)
        right = by_class(labels, labels == chosen)
        seen = said + are > 0
        return right[seen], said[seen], are[seen]
    yes, said_yes = outcome.yes(), outcome.said_yes()
    right, said, are = (np.asarray(outcome.weigh(of), np.float64) for of in (yes & said_yes, said_yes, yes))
    return right, said, are


def _share(part: Sums, whole: Sums) -> Sums:
    """part / whole, and 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


def _precision(right: Sums, said: Sums, are: Sums) -> Sums:
    return _share(right, said)


def _recall(right: Sums, said: Sums, are: Sums) -> Sums:
    return _share(right, are)


def _f1(right: Sums, said: Sums, are: Sums) -> Sums:
    return _share(2 * right, said + are)


SHARES = {"precision": _precision, "recall": _recall, "f1": _f1}


def _averaged(outcome: Outcome, share: str, average: Average | None) -> float:
    counts = _counts(outcome, both_answers=average is not None)
    if average == "micro":
        totals = (np.atleast_1d(count.sum()) for count in counts)
        return float(SHARES[share](*totals)[0])
    shares = SHARES[share](*counts)
    if average == "weighted":
        are = counts[2]
        return float((shares * are).sum() / are.sum()) if are.any() else 0.0
    return float(shares.mean())


class _Averaged(MetricFunction):
    def __init__(self, share: str, formula: str, average: Average | None) -> None:
        if average is not None and average not in AVERAGES:
            known = ", ".join(map(repr, AVERAGES))
            raise ValueError(f"average must be None or one of {known}, not {average!r}")
        name = share if average is None else f"{share}_{average}"
        super().__init__(_averaged, name, formula, "decisions", "higher", share=share, average=average)


class Precision(_Averaged):
    """Precision, "precision": of those who are said to be of a class, the share who are.

    Parameters
    ----------
    average : {None, "macro", "micro", "weighted"}, default None
        Over the classes that occur in y or among the decisions, or over the questions: the mean; of all their rows
        together; the mean by the weight of each. None: of a single output the precision of yes, else "macro". With
        another word a single output has the two classes no and yes. The name is then "precision_macro" and so on.

    Raises
    ------
    ValueError
        If average is something else.

    Notes
    -----
    A class nobody is said to be of counts as 0.

    References
    ----------
    van Rijsbergen, Information Retrieval, 1979.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.metrics["precision"]([1, 1, 0, 0], [0.9, 0.2, 0.8, 0.1])
    0.5
    >>> fn.Precision(average="micro")([0, 1, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    0.75
    """

    def __init__(self, average: Average | None = None) -> None:
        super().__init__("precision", "rows of the class that are said to be of it / rows said to be of it", average)


class Recall(_Averaged):
    """Recall, "recall": of those who are of a class, the share who are said to be; of yes also called sensitivity.

    Parameters
    ----------
    average : {None, "macro", "micro", "weighted"}, default None
        Over classes or questions, as in :class:`Precision`. The name is then "recall_macro" and so on.

    Raises
    ------
    ValueError
        If average is something else.

    Notes
    -----
    A class nobody is of counts as 0, if somebody is said to be.

    References
    ----------
    van Rijsbergen, Information Retrieval, 1979.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.metrics["recall"]([1, 1, 1, 0], [0.9, 0.2, 0.8, 0.1]).__round__(4)
    0.6667
    >>> fn.Recall(average="macro")([1, 1, 0, 0], [0.9, 0.2, 0.3, 0.1])
    0.75
    """

    def __init__(self, average: Average | None = None) -> None:
        super().__init__("recall", "rows of the class that are said to be of it / rows of it", average)


class F1(_Averaged):
    """F1 score, "f1": the harmonic mean of precision and recall.

    Parameters
    ----------
    average : {None, "macro", "micro", "weighted"}, default None
        Over classes or questions, as in :class:`Precision`. The name is then "f1_macro" and so on.

    Raises
    ------
    ValueError
        If average is something else.

    Notes
    -----
    A class that is never predicted right counts as 0.

    References
    ----------
    van Rijsbergen, Information Retrieval, 1979.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.metrics["f1"]([1, 1, 0, 0], [0.9, 0.2, 0.8, 0.1])
    0.5
    >>> fn.F1(average="weighted")([1, 1, 0, 0], [0.9, 0.7, 0.2, 0.1])
    1.0
    """

    def __init__(self, average: Average | None = None) -> None:
        super().__init__("f1", "2 precision recall / (precision + recall)", average)


ROWS += [Precision(), Recall(), F1()]


@row(ROWS, "mean of the recalls of all classes that occur in y", "decisions", "higher")
def balanced_accuracy(outcome: Outcome) -> float:
    """Accuracy in which every class counts the same, however rare: 1/n is chance with n classes.

    Classes that do not occur in y do not count. Of several questions, the mean over them.

    >>> import fastnn as fn
    >>> fn.metrics["balanced_accuracy"]([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4])
    0.5
    """
    if outcome.task.kind == "classes":
        right, _, are = _counts(outcome, both_answers=True)
        return float((right[are > 0] / are[are > 0]).mean())
    yes, said_yes = outcome.yes(), outcome.said_yes()
    right_yes, right_no, are_yes, are_no = (
        np.asarray(outcome.weigh(of), np.float64) for of in (yes & said_yes, ~(yes | said_yes), yes, ~yes)
    )
    answers = (are_yes > 0) + 0 + (are_no > 0)
    return float(((_share(right_yes, are_yes) + _share(right_no, are_no)) / answers).mean())
