# SPDX-License-Identifier: BSD-3-Clause
"""``evaluate``, ``predict`` and validation on streams: what comes of the batches is what comes of all rows at once.

Outputs and metrics have the bits of the rows in one array: a row's output depends on no other row, and metrics look at
y and outputs of all rows, which are kept where there are any. The loss is a sum over batches, as exact as float64 is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import evaluation, inputs
from ._memory import allocate
from .batches import AGAIN, END, Batch, Kept, checked, is_batch, iterable, parts_of, placed
from .evaluation import Evaluation, mean_loss
from .frames import Names, read_features
from .learning import check_categories
from .losses import Objective
from .metrics import Metric
from .parameters import Parameters
from .runtime import check_threads

if TYPE_CHECKING:
    from .model import Sequential


def current(parameters: Parameters) -> NDArray[Any]:
    """A copy of the parameters, the same for all batches though another thread may train meanwhile."""
    copy: NDArray[Any] = allocate(parameters.numbers.shape, parameters.dtype)
    parameters.shared.read(lambda params: np.copyto(copy, params))
    return copy


def predict_stream(net: Sequential, parameters: Parameters, source: Any, threads: int | None) -> NDArray[Any]:
    """The outputs of all batches, one behind the other."""
    if threads is not None:
        check_threads(threads)  # no fault of a batch
    params = current(parameters)
    found: deque[NDArray[Any]] = deque()
    for number, batch in enumerate(iterable(source)):
        try:
            X, _ = read_features(net, batch[0] if is_batch(batch) else batch)
            x = inputs.features(X, parameters.inputs, "X", one_row=True)
            found.append(evaluation.predict(parameters, params, x, threads))
        except (ValueError, TypeError) as error:
            raise placed(error, f"batch {number + 1}") from error
    whole = allocate((sum(map(len, found)), parameters.outputs), parameters.dtype)
    first = 0
    while found:  # a batch is given up as soon as it is copied
        part = found.popleft()
        whole[first : first + len(part)] = part
        first += len(part)
    return whole


class StreamEvaluation:
    """Loss and metrics over all batches of a stream."""

    def __init__(
        self,
        net: Sequential,
        parameters: Parameters,
        objective: Objective,
        metrics: Sequence[Metric],
        source: Any,
        threads: int | None,
        names: Names | None = None,
        argument: str = "",
    ) -> None:
        self._net, self._parameters, self._objective = net, parameters, objective
        self._metrics, self._threads, self._names = metrics, threads, names
        self._source = iterable(source)
        self._of = f" of {argument}" if argument else ""

    def measure(self) -> dict[str, float]:
        """{"loss": ..., each metric: ...} with the parameters as they are at the beginning."""
        return self.run(current(self._parameters))

    def run(self, params: NDArray[Any], prefix: str = "") -> dict[str, float]:
        """The same with these parameters; the stream is gone through once."""
        kept = Kept(bool(self._metrics))
        loss_sum = weight_sum = 0.0
        number = -1
        for number, found in enumerate(self._fetched()):
            batch = self._checked(found, number)
            if number == 0:
                self._check_metrics(batch)
            one = Evaluation(self._parameters, self._objective, (), batch.x, batch.y, batch.weights, self._threads,
                             keep_outputs=bool(self._metrics))  # fmt: skip
            loss, weight = one.sums(params)
            loss_sum, weight_sum = loss_sum + loss, weight_sum + weight
            kept.keep(batch, one.outputs)
        if number < 0:
            raise ValueError(f"the stream{self._of} is empty: it has no batch")
        if weight_sum == 0:
            raise ValueError(f"the weights of all rows of the stream{self._of} are 0")
        found = {f"{prefix}loss": mean_loss(self._parameters, params, loss_sum, weight_sum)}
        if self._metrics:
            y, output, weights = kept.whole()
            for metric in self._metrics:
                metric.check(self._objective, y, self._parameters.outputs)
                found[prefix + metric.name] = metric.measure(y.y, output, weights, self._objective)
        return found

    def _fetched(self) -> Iterator[Any]:
        """The batches as they come."""
        return iter(self._source)

    def _checked(self, found: Any, number: int) -> Batch:
        place = f"batch {number + 1}{self._of}"
        X, y, *weight = parts_of(found, place)
        parameters = self._parameters
        try:
            X, _ = read_features(self._net, X, names=self._names)
            x = inputs.training_features(X, parameters.inputs)
            batch = checked(x, y, weight[0] if weight else None, self._objective, parameters.outputs, parameters.dtype)
            check_categories(self._net, x, "X")
        except (ValueError, TypeError) as error:
            raise placed(error, place) from error
        return batch

    def _check_metrics(self, batch: Batch) -> None:
        for metric in self._metrics:
            metric.check(self._objective, batch.y, self._parameters.outputs)


class ValidationStream(StreamEvaluation):
    """``validation_data`` of ``fit``: gone through after each epoch; its first batch is looked at before training."""

    def __init__(
        self,
        net: Sequential,
        parameters: Parameters,
        objective: Objective,
        metrics: Sequence[Metric],
        source: Any,
        threads: int | None,
        names: Names | None,
    ) -> None:
        super().__init__(net, parameters, objective, metrics, source, threads, names, "validation_data")
        batches = iter(self._source)
        if batches is self._source:
            raise TypeError(
                f"validation_data is a {type(source).__name__} object, which can be gone through once, but each epoch "
                f"needs it: give {AGAIN}"
            )
        first = next(batches, END)
        if first is END:
            raise ValueError("the stream of validation_data is empty: it has no batch")
        self._check_metrics(self._checked(first, 0))

    def _fetched(self) -> Iterator[Any]:
        """The code that makes the batches sees the weights as they are now, as callbacks do."""
        shared = self._parameters.shared
        batches = None
        while True:
            shared.owner = get_ident()
            try:
                batches = iter(self._source) if batches is None else batches
                found = next(batches, END)
            finally:
                shared.owner = None
            if found is END:
                return
            yield found
