# SPDX-License-Identifier: BSD-3-Clause
"""The metrics that ``fit`` and ``evaluate`` are asked for: names, objects, and functions of the user's.

A metric is measured beside the loss, without being minimized. Those of fastnn's own are :class:`MetricFunction`; a
function is called as f(y, output), where y is (rows, columns) in the network's dtype and output what ``predict``
returns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import decision_metrics, number_metrics, score_metrics
from .decision_metrics import F1, Average, Precision, Recall
from .inputs import ROWS_AT_A_TIME, Targets
from .losses import Objective, PythonLoss
from .metric_function import Better, MetricFunction
from .outcomes import Outcome, Task
from .registry import Registry
from .score_metrics import TopK

OwnMetric = Callable[[NDArray[Any], NDArray[Any]], float]
RESERVED = ("loss", "learning_rate", "seconds")

metrics: Registry[MetricFunction] = Registry("metric")
for _row in (*decision_metrics.ROWS, *score_metrics.ROWS, *number_metrics.ROWS):
    metrics.add(_row.name, _row)


def metric(name: str) -> MetricFunction:
    """The metric of a name: a row of the registry, "top_3" and so on, "f1_micro" and so on."""
    if found := re.fullmatch(r"top_([1-9]\d{0,8})", name):
        return TopK(int(found[1]))
    share, _, average = name.rpartition("_")
    for averaged in (Precision, Recall, F1):
        if averaged().name == share and average in ("macro", "micro", "weighted"):
            return averaged(cast(Average, average))
    return metrics[name]


@dataclass(frozen=True)
class Metric:
    """A metric that was asked for: one of ours, or a user's function."""

    name: str
    row: MetricFunction | None
    own: OwnMetric | None = None

    @property
    def better(self) -> Better | None:
        """Where good networks are; None if nobody can know."""
        return None if self.row is None else self.row.better

    def check(self, objective: Objective, y: Targets, outputs: int) -> None:
        """ValueError if it does not fit the task."""
        if self.row is None:
            return
        task, columns = self._task(objective, y.y, outputs)
        reason = self.row.check(task, outputs, columns)
        if reason is None and task.kind == "numbers" and self.row.needs != "numbers":
            reason = _no_yes_or_no(y.y, columns, objective, outputs)
        if reason is None and task.kind == "classes" and y.values is not None and columns == 1:
            reason = _no_labels(y.values, outputs)
        if reason is not None:
            raise ValueError(f"metric {self.name!r} {reason}")

    def _task(self, objective: Objective, y: NDArray[Any], outputs: int) -> tuple[Task, int]:
        """What y and the outputs mean, and the columns of y.

        A Python function as loss says neither: y is numbers, but for a metric of classes a single column beside
        several outputs is class numbers.
        """
        if not isinstance(objective.loss, PythonLoss) or self.row is None:
            return Task.of(objective), objective.columns
        columns = y.reshape(len(y), -1).shape[1]
        classes = columns == 1 < outputs and self.row.needs != "numbers"
        return Task("classes" if classes else "numbers", probabilities=False), columns

    def measure(
        self, y: NDArray[Any], output: NDArray[Any], weights: NDArray[np.float64] | None, objective: Objective
    ) -> float:
        """Its value. y holds labels (rows,), or values (rows, outputs)."""
        if self.row is not None:
            return self.row.measure(Outcome(y, output, weights, self._task(objective, y, output.shape[1])[0]))
        assert self.own is not None
        y = y.reshape(len(y), -1)
        value: Any = self.own(y if y.dtype == output.dtype else y.astype(output.dtype), output)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TypeError(f"metric {self.name!r} must return a number, not {type(value).__name__}") from None


def _no_labels(y: NDArray[Any], outputs: int) -> str | None:
    """Why y (rows, 1) is no column of class numbers, or None."""
    wrong = y[~np.isin(y, np.arange(outputs))]
    return f"needs class numbers in 0..{outputs - 1}, but y holds {wrong.flat[0]}" if wrong.size else None


def _no_yes_or_no(y: NDArray[Any], columns: int, objective: Objective, outputs: int) -> str | None:
    """Why y of a loss of numbers is no yes and no, or None: it holds two values, 0 and 1 of a single output."""
    loss = objective.loss.name
    if columns != outputs:
        return f"needs one output for each column of y, but loss {loss!r} has {outputs} for {columns}"
    no, yes = (0, 1) if outputs == 1 else (y.min(), y.max())  # of several outputs the largest is what counts
    for start in range(0, len(y), ROWS_AT_A_TIME):
        piece = y[start : start + ROWS_AT_A_TIME]
        other = piece[(piece != no) & (piece != yes)]
        if other.size:
            return (
                f"needs classes, but loss {loss!r} has numbers, and y holds {other.flat[0]} beside {no} and {yes}: use "
                "'cross_entropy' or 'binary_cross_entropy' for classes, or metrics such as 'mae' and 'r2'"
            )
    return None


def resolve_metrics(asked: object) -> tuple[Metric, ...]:
    """The metrics that are asked for: a name, an object, a function, or several."""
    if isinstance(asked, str) or callable(asked):
        asked = (asked,)
    if not isinstance(asked, Iterable):
        raise TypeError(f"metrics must be a list of names and functions, not {type(asked).__name__}")
    found = []
    for one in asked:
        if isinstance(one, str):
            found.append(Metric(one, metric(one)))  # raises for a name nobody knows
        elif isinstance(one, MetricFunction):
            found.append(Metric(one.name, one))
        elif isinstance(one, type) and issubclass(one, MetricFunction):
            raise TypeError(f"a metric is the class {one.__name__}: write {one.__name__}(), with parentheses")
        elif callable(one):
            found.append(Metric(getattr(one, "__name__", type(one).__name__), None, one))
        else:
            raise TypeError(f"a metric must be a name or a function f(y, output), not {type(one).__name__}")
    names = [metric.name for metric in found]
    for name in names:
        if names.count(name) > 1 or name in RESERVED or name.startswith("val_"):
            raise ValueError(f"the metric name {name!r} is taken: give the function another __name__")
    return tuple(found)
