# SPDX-License-Identifier: BSD-3-Clause
"""The metrics: what is measured beside the loss, without being minimized.

A metric of fastnn's own is called as f(y, output, weights, logits) -> float and takes y as labels or rows. A function
of the user's is called as f(y, output), where y is (rows, columns) in the network's dtype and output what ``predict``
returns. To add one: a function and its line in ``METRICS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .registry import Registry

OwnMetric = Callable[[NDArray[Any], NDArray[Any]], float]
RESERVED = ("loss", "learning_rate", "seconds")


def accuracy(y: NDArray[Any], output: NDArray[Any], weights: NDArray[np.float64] | None, logits: bool) -> float:
    """The share of rows, by weight, whose largest output is the right one.

    Of a single output: whether it is above 0.5 (a logit: above 0) as y is above 0.5.
    """
    if output.shape[1] == 1:
        right = (output[:, 0] > (0.0 if logits else 0.5)) == (y.reshape(len(output)) > 0.5)
    else:
        labels = y.reshape(-1) if y.ndim == 1 or y.shape[1] == 1 else y.argmax(axis=1)
        right = output.argmax(axis=1) == labels
    return float(right.mean() if weights is None else np.average(right, weights=weights))


METRICS: Registry[Callable[[NDArray[Any], NDArray[Any], NDArray[np.float64] | None, bool], float]] = Registry("metric")
METRICS.add("accuracy", accuracy)


@dataclass(frozen=True)
class Metric:
    """A metric that was asked for: one of ours by name, or a user's function."""

    name: str
    own: OwnMetric | None

    def measure(
        self,
        y: NDArray[Any],
        output: NDArray[Any],
        weights: NDArray[np.float64] | None,
        logits: bool,
    ) -> float:
        """Its value. y holds labels (rows,), or values (rows, outputs)."""
        if self.own is None:
            return METRICS[self.name](y, output, weights, logits)
        y = y.reshape(len(y), -1)
        value: Any = self.own(y if y.dtype == output.dtype else y.astype(output.dtype), output)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TypeError(f"metric {self.name!r} must return a number, not {type(value).__name__}") from None


def resolve_metrics(metrics: object) -> tuple[Metric, ...]:
    """The metrics that are asked for: a name, a function, or several."""
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    if not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be a list of names and functions, not {type(metrics).__name__}")
    found = []
    for metric in metrics:
        if isinstance(metric, str):
            METRICS[metric]  # raises for a name nobody knows
            found.append(Metric(metric, None))
        elif callable(metric):
            found.append(Metric(getattr(metric, "__name__", type(metric).__name__), metric))
        else:
            raise TypeError(f"a metric must be a name or a function f(y, output), not {type(metric).__name__}")
    names = [metric.name for metric in found]
    for name in names:
        if names.count(name) > 1 or name in RESERVED or name.startswith("val_"):
            raise ValueError(f"the metric name {name!r} is taken: give the function another __name__")
    return tuple(found)
