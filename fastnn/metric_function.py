# SPDX-License-Identifier: BSD-3-Clause
"""What every metric of fastnn's own is: a name, a formula, a direction, and what it needs to be measured.

The rows are in ``decision_metrics.py``, ``score_metrics.py`` and ``number_metrics.py``, the registry in ``metrics.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .outcomes import Outcome, Task

Formula = Callable[..., float]  # of an Outcome, and the parameters
Needs = Literal["numbers", "classes", "decisions", "scores", "probabilities", "anything"]
Better = Literal["higher", "lower"]


class MetricFunction:
    """One metric, a row of ``fastnn.metrics``: give its name or the object to ``fit`` or ``evaluate``, or call it.

    Rows are made by fastnn, and those with parameters by classes such as :class:`TopK`; a metric of your own is a
    function, see ``Sequential.fit``.

    Attributes
    ----------
    name : str
        What it is called in ``fit``, in the history, and, behind "val_", of validation data.
    formula : str
        Means over rows are weighted by the sample weights.
    better : {"higher", "lower"}
        Where good networks are.
    needs : {"numbers", "classes", "decisions", "scores", "probabilities", "anything"}
        What it can be measured of: numbers; a class for each row; classes or yes and no; the same with an order of
        outputs; the same with probabilities; anything.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.metrics["accuracy"]([0, 1, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    0.75
    >>> fn.metrics["mae"]([1.0, 2.0], [1.0, 5.0], sample_weight=[2, 1])
    1.0
    """

    def __init__(self, function: Formula, name: str, formula: str, needs: Needs, better: Better, **kept: Any) -> None:
        self.name = name
        self.formula = formula
        self.needs = needs
        self.better = better
        self._function = function
        self._parameters = kept
        if type(self) is MetricFunction:
            self.__doc__ = function.__doc__

    def __call__(
        self, y: ArrayLike, output: ArrayLike, sample_weight: ArrayLike | None = None, *, logits: bool = False
    ) -> float:
        """Its value for outputs that are there already.

        Parameters
        ----------
        y : array-like (rows,) or (rows, outputs)
            Class numbers (rows,) beside one output for each class, 0 and 1 beside one output for each question, or
            numbers.
        output : array-like (rows, outputs), or (rows,) for one output
            What the network predicts.
        sample_weight : array-like (rows,), optional
            Rows of weight 0 do not count.
        logits : bool, default False
            The outputs are logits: probabilities are computed from them, and yes is above 0 instead of above 0.5.

        Returns
        -------
        float
            NaN without any row that counts.

        Raises
        ------
        ValueError
            If the shapes do not fit, or the metric cannot be measured of such y and outputs.
        """
        truth, found = np.asarray(y), np.asarray(output)
        found = found.reshape(len(found), -1)
        if truth.ndim not in (1, 2) or len(truth) != len(found):
            raise ValueError(f"y has shape {truth.shape}, but output has {len(found)} rows")
        columns, outputs = truth.reshape(len(truth), -1).shape[1] if truth.size else 1, found.shape[1]
        weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
        if weights is not None and weights.shape != (len(found),):
            raise ValueError(f"sample_weight has shape {weights.shape}, but ({len(found)},) is needed")
        several = outputs > 1 and (columns == 1 or self.needs == "classes")
        task = Task("numbers" if self.needs == "numbers" else "classes" if several else "questions", logits)
        if columns != outputs and (task.kind != "classes" or columns != 1):
            raise ValueError(f"y has shape {truth.shape}, but output has {outputs} columns")
        if task.kind == "classes" and columns == 1 and not np.isin(truth, np.arange(outputs)).all():
            raise ValueError(f"y must hold class numbers in 0..{outputs - 1}, the columns of output")
        if (reason := self.check(task, outputs, columns)) is not None:
            raise ValueError(f"metric {self.name!r} {reason}")
        return self.measure(Outcome(truth, found, weights, task))

    def measure(self, outcome: Outcome) -> float:
        """Its value; NaN of no rows."""
        return float(self._function(outcome, **self._parameters)) if outcome.rows else float("nan")

    def check(self, task: Task, outputs: int, columns: int) -> str | None:
        """Why it cannot be measured of this task, or None."""
        loss = "this loss" if task.loss is None else f"loss {task.loss.name!r}"
        if self.needs == "numbers":
            if not (task.kind == "numbers" or task.unit):
                return (
                    f"needs numbers to predict, but {loss} has {'classes' if task.kind == 'classes' else 'yes and no'}"
                )
            if not task.predicts(outputs, columns):
                return f"needs one prediction for each of the {columns} columns of y, but {loss} has {outputs} outputs"
        elif self.needs == "classes" and task.kind != "classes":
            return f"needs one class for each row, but {loss} has none: use 'cross_entropy'"
        elif self.needs in ("decisions", "scores", "probabilities") and task.kind == "numbers" and outputs > 1:
            return f"needs classes, but {loss} has numbers: use 'cross_entropy' or 'binary_cross_entropy'"
        elif self.needs == "probabilities" and not task.probabilities:
            return f"needs probabilities, but {loss} has none: use 'cross_entropy' or 'binary_cross_entropy'"
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MetricFunction) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<metric {self.name}: {self.formula}>"

    def __reduce__(self) -> tuple[Any, ...]:
        from .metrics import metric  # which imports this file

        return metric, (self.name,)


def row(rows: list[MetricFunction], formula: str, needs: Needs, better: Better) -> Callable[[Formula], Formula]:
    """Append the metric of a function of an outcome, under its name."""

    def enter(function: Formula) -> Formula:
        rows.append(MetricFunction(function, function.__name__, formula, needs, better))
        return function

    return enter


def mean_of_rows(outcome: Outcome, values: Callable[[Outcome], NDArray[Any]]) -> Any:
    """The weighted mean over all rows of values (rows,) or (rows, n), which are computed piece by piece."""
    return sum(piece.weigh(values(piece)) for piece in outcome.pieces()) / outcome.weight_sum()
