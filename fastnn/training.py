# SPDX-License-Identifier: BSD-3-Clause
"""One call of ``fit``: everything is checked and allocated first, then each epoch is one native call.

The order is the promise: :class:`Fit` raises before the network has changed; :meth:`Fit.run` changes it, and keeps what
was done if it is interrupted. C runs epochs; what happens between them happens here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core, inputs
from ._memory import allocate
from .arguments import true_or_false, whole_number
from .batches import is_stream_beside
from .callbacks import CallbackList, Preparation
from .checkpoint import resolve_checkpoint
from .clipping import clipping
from .errors import DivergenceError
from .evaluation import Evaluation
from .frames import read_features, read_targets
from .health import Checkup, about_size
from .history import History
from .layers import all_parts
from .learning import check_categories, find_categories, learn
from .losses import resolve_loss
from .metric_function import Better
from .metrics import resolve_metrics
from .normalization import BatchNorm, LayerNorm, Normalization, RMSNorm
from .optimizers import forget_average, resolve_optimizer
from .progress import Progress
from .python_loss import make_training
from .resume import Place, Saver
from .runtime import choose_threads
from .schedules import resolve_schedule
from .snapshots import Snapshot
from .splitting import split
from .stream_evaluation import StreamEvaluation, ValidationStream
from .tables import Embedding, Table

if TYPE_CHECKING:
    from .model import Sequential


SCALES_ITS_INPUT = (Normalization, BatchNorm, LayerNorm, RMSNorm, Table)


@dataclass(frozen=True)
class FitArguments:
    """The arguments of ``Sequential.fit``, as they were given."""

    X: Any
    y: Any
    loss: Any
    optimizer: Any
    epochs: Any
    batch_size: Any
    shuffle: Any
    validation_data: Any
    validation_fraction: Any
    metrics: Any
    callbacks: Any
    sample_weight: Any
    class_weight: Any
    threads: int | None
    verbose: Any
    schedule: Any
    clip_norm: Any
    clip_value: Any
    accumulate: Any
    steps_per_epoch: Any
    checkpoint: Any
    resume: Any


class Fit:
    """One training run of one network."""

    saver_kind = Saver

    def __init__(self, net: Sequential, asked: FitArguments) -> None:
        self.net = net
        self.epochs = whole_number(asked.epochs, "epochs", least=0)
        self.optimizer = resolve_optimizer(asked.optimizer)
        self.metrics = resolve_metrics(asked.metrics)
        self.callbacks = CallbackList(asked.callbacks)
        self.shuffle = true_or_false(asked.shuffle, "shuffle")
        self.schedule = resolve_schedule(asked.schedule)
        clip_norm, clip_value = clipping(asked.clip_norm, asked.clip_value)
        accumulate = whole_number(asked.accumulate, "accumulate")
        checkpoint = resolve_checkpoint(asked.checkpoint, asked.resume)

        X, self.names = read_features(net, asked.X, learn=True)
        self.x = inputs.training_features(X, net.inputs)
        find_categories(net, self.x)
        graph = net._graph_for(self.x.shape[1])
        self.objective = resolve_loss(asked.loss, graph.last_activation, graph.width, graph.rescale >= 0)
        rows = self.x.shape[0]
        self.y = inputs.targets(read_targets(asked.y), rows, self.objective, graph.width, net.dtype)
        own_weights = inputs.sample_weights(asked.sample_weight, rows)
        self.weights = inputs.class_weights(asked.class_weight, self.y, self.objective, graph.width, own_weights)
        self._check_features()
        for metric in self.metrics:
            metric.check(self.objective, self.y, graph.width)

        # Memory, all of it: from here to run() only MemoryError can happen.
        self.parameters = net._parameters_for(graph)
        self.subset, held_out = self._choose_rows(asked)
        self.rows = rows if self.subset is None else len(self.subset)
        batch = self.rows if asked.batch_size is None else whole_number(asked.batch_size, "batch_size")
        # Rows of one update. C carries a large batch through in pieces and sums its gradient: nothing else would come
        # of smaller ones whose gradients are added up.
        self.batch = min(batch * accumulate, self.rows)
        self.steps = -(-self.rows // self.batch)
        self.learned = learn(net, self.parameters, self.x, self.y, self.subset)
        self.factors = None if self.schedule is None else self._factors(0)  # of the learning rate, one epoch's
        self.last_rate = self.optimizer.learning_rate  # of the last step
        self.validation = self._validation(asked, held_out, own_weights)
        self.order = self._order()
        self.outputs = allocate((rows, graph.width), net.dtype) if self.metrics else None
        self.snapshot = allocate(self.parameters.numbers.shape, net.dtype)
        self.state = net._state_for(self.optimizer, self.parameters)
        self.place = Place()
        self.saver = None if checkpoint is None else self.saver_kind(checkpoint, self, asked)
        resumes = self.saver is not None and self.saver.resumes
        self.callbacks.prepare(Preparation(self._measured(), lambda: Snapshot(self.parameters, self.state), resumes))
        work = self.parameters.training_work(self.batch)
        threads = choose_threads(asked.threads, work, once=self.callbacks.every_batch)
        self.native = make_training(self.objective, self.parameters, self.state, self.batch, threads)
        self.native.set_clipping(clip_norm, clip_value)
        if asked.threads is None:
            self.native.choose_pace()
        self.checkup = Checkup(net, self.parameters, self.x, self.rows)
        self.remarks = self._remarks()
        shuffle_in_c = self.shuffle and self.subset is None
        labels, values = self.y.labels, self.y.values
        self.native.bind(self.x, labels, values, self.weights, self.outputs, self.order, shuffle_in_c, net.seed)
        self.progress = Progress(asked.verbose, self.epochs, self._headline(asked.loss is None))

    def _choose_rows(self, asked: FitArguments) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
        """Rows to train on and rows to hold out; None: all and none."""
        if asked.validation_fraction is None:
            return None, None
        if asked.validation_data is not None:
            raise ValueError("validation_data and validation_fraction are both given: which one?")
        labels, _ = inputs.class_labels(self.y, self.objective, self.parameters.outputs)
        train, held_out = split(self.x.shape[0], asked.validation_fraction, labels, self.net.seed)
        if self.weights is not None and not self.weights[train].any():
            raise ValueError("the weights of all rows left to train on are 0")
        return train, held_out

    def _validation(
        self, asked: FitArguments, held_out: NDArray[np.int64] | None, own_weights: NDArray[np.float64] | None
    ) -> Evaluation | StreamEvaluation | None:
        """Validation uses sample weights, and no class weights."""
        objective, metrics, threads = self.objective, self.metrics, asked.threads
        if held_out is not None:
            y = self.y.take(held_out)
            weights = None if own_weights is None else own_weights[held_out]
            if weights is not None and not weights.any():
                raise ValueError("sample_weight of all rows held out for validation is 0")
            return Evaluation(self.parameters, objective, metrics, self.x, y, weights, threads, held_out)
        if asked.validation_data is None:
            return None
        if is_stream_beside(asked.validation_data):
            net, parameters, names = self.net, self.parameters, self.names
            return ValidationStream(net, parameters, objective, metrics, asked.validation_data, threads, names)
        if not isinstance(asked.validation_data, (tuple, list)) or len(asked.validation_data) not in (2, 3):
            raise TypeError("validation_data must be (X, y) or (X, y, sample_weight), or an iterable of such batches")
        X, y_given, *weight = asked.validation_data
        X, _ = read_features(self.net, X, "validation_data[0]", names=self.names)
        x = inputs.training_features(X, self.parameters.inputs, "validation_data[0]")
        rows, outputs, dtype = x.shape[0], self.parameters.outputs, self.net.dtype
        y = inputs.targets(
            read_targets(y_given, "validation_data[1]"), rows, objective, outputs, dtype, "validation_data[1]"
        )
        weights = inputs.sample_weights(weight[0] if weight else None, rows, "validation_data[2]")
        inputs.check_finite(x, dtype, "validation_data[0]")
        check_categories(self.net, x, "validation_data[0]")
        return Evaluation(self.parameters, objective, metrics, x, y, weights, threads)

    def _measured(self) -> dict[str, Better | None]:
        """The names in the logs of an epoch, as _epoch puts them together, and where good values are."""
        measured: dict[str, Better | None] = {"loss": "lower"}
        measured |= {metric.name: metric.better for metric in self.metrics}
        if self.validation is not None:
            for name in list(measured):
                measured[f"val_{name}"] = measured[name]
        return measured | {"learning_rate": None, "seconds": None}

    def _check_features(self) -> None:
        inputs.check_finite(self.x, self.net.dtype, "X")

    def _order(self) -> NDArray[np.int64] | None:
        if self.subset is not None:
            order = allocate(self.rows, np.int64)
            order[...] = self.subset
            return order
        return allocate(self.rows, np.int64) if self.shuffle else None

    def _remarks(self) -> list[str]:
        """What is unusual about the data and the schedule."""
        found = []
        if self.schedule is not None and self.epochs > 0:
            found.append(self.schedule.remark(self.epochs * self.steps))
        first = self.net.layers[0]
        has_codes = any(isinstance(part, Embedding) for part in all_parts((first,)))  # in a branch; codes have no size
        if not isinstance(first, SCALES_ITS_INPUT) and not has_codes:
            found.append(about_size(self.x, "X", "Try Normalization() as the first layer"))
        if self.y.values is not None and self.objective.targets == "values" and self.parameters.graph.rescale < 0:
            found.append(about_size(self.y.values, "y", "Try Sequential(..., scale_targets=True)"))
        return [remark for remark in found if remark is not None]

    def _factors(self, epoch: int) -> NDArray[np.float64]:
        """What the schedule makes of an epoch's steps; it counts the steps of this fit."""
        assert self.schedule is not None
        return self.schedule.factors(epoch * self.steps, self.steps, max(self.epochs, 1) * self.steps)

    def _headline(self, loss_was_chosen: bool) -> str:
        loss = str(self.objective.loss) + (" (by the last layer)" if loss_was_chosen else "")
        optimizer = f"{type(self.optimizer).__name__}, learning rate {self.optimizer.learning_rate:g}"
        return (
            f"loss {loss}; {optimizer}\n"
            f"{self.rows:,} rows, {self.steps:,} steps of {self.batch:,} an epoch; threads {self.native.threads}"
        )

    def run(self) -> History:
        """Train; what is done is in ``net.history`` at any time."""
        net = self.net
        history = History(str(self.objective.loss), repr(self.optimizer))
        net._adopt(self.parameters, self.state, self.optimizer, self.objective.loss, history)
        if self.names is not None:
            net._feature_names = self.names
        net.stop_training = False
        history.remarks = self.remarks
        for remark in self.remarks:
            warnings.warn(remark, stacklevel=4)
        shared = self.parameters.shared
        shared.write(self.learned.apply)
        place, saver = self.place, self.saver
        if saver is not None:
            shared.write(saver.go_on)
        try:
            shared.begin(self.snapshot)
            self.progress.begin(place.epoch, "" if saver is None else saver.note)
            self._call_back("on_fit_begin", net)
            if saver is not None:
                saver.begin()
            for epoch in range(place.epoch, self.epochs):
                if net.stop_training:
                    break
                logs = self._epoch(epoch, shared.refresh())
                place.settled = False
                history.append(logs)
                self.progress.epoch(epoch, logs)
                self._call_back("on_epoch_end", net, epoch, dict(logs))
                place.next_epoch()
                self.native.steps_done = 0
                place.settled = True
                if saver is not None:
                    saver.epoch_is_over()
            if saver is not None:
                saver.is_over()
            self._call_back("on_fit_end", net)  # which may bring the best weights back
            rate = self.optimizer.learning_rate
            history.health = self.checkup.finish(history.epochs, float(self.last_rate) / rate if rate else 1.0)
        except BaseException as error:
            if saver is not None:
                saver.interrupted(error)
            raise
        finally:
            shared.token = (self.parameters.numbers,)
            self.progress.end()
        return history

    def _call_back(self, event: str, *arguments: Any) -> None:
        """Callbacks run in this thread between steps, and see the weights as they are now."""
        shared = self.parameters.shared
        shared.owner = get_ident()
        try:
            self.callbacks.call(event, *arguments)
        finally:
            shared.owner = None

    def _epoch(self, epoch: int, before: NDArray[Any]) -> dict[str, float]:
        """One epoch; `before` are the parameters to go back to."""
        place = self.place
        place.began = perf_counter() - place.seconds
        if self.schedule is not None and epoch > 0:
            self.factors = self._factors(epoch)
        if self.subset is not None and self.order is not None and self.shuffle:
            _core.permutation(self.net.seed, _core.STREAM_SHUFFLE, self.net._epochs_done, self.order)
            np.take(self.subset, self.order.copy(), out=self.order, mode="clip")
        if self.saver is not None and place.steps:
            self.saver.take_up_epoch()
        sums = self.checkup.due(epoch, self.epochs, self.steps)
        self.native.measure(sums)
        if self.callbacks.every_batch:
            steps, loss_sum, weight_sum = self._batch_by_batch(epoch, before)
        elif self.saver is not None:
            steps, loss_sum, weight_sum = self._in_pieces(epoch, before, self.saver, sums)
        else:
            steps, loss_sum, weight_sum = self._steps(epoch, 0, self.steps, before)
        self.net._epochs_done += 1
        logs = {"loss": loss_sum / weight_sum if weight_sum else 0.0}
        logs |= self._training_metrics(steps)
        if self.validation is not None:
            logs |= self.validation.run(self.parameters.numbers, "val_")
        return logs | {"learning_rate": self.last_rate, "seconds": perf_counter() - place.began}

    def _steps(
        self, epoch: int, first: int, count: int, before: NDArray[Any], loss_sum: float = 0.0, weight_sum: float = 0.0
    ) -> tuple[int, float, float]:
        """Some steps in one native call -> steps, loss sum, weight sum; the sums go on from those given."""
        rate: Any = self.optimizer.learning_rate
        if self.factors is not None:
            rate = rate * self.factors[first : first + count]
        self.optimizer.prepare(self.state)
        done = self.native.run(self.net._epochs_done, first, count, rate, True, loss_sum, weight_sum)
        status, threads, steps, loss_sum, weight_sum = done
        self.last_rate = rate if self.factors is None else float(rate[max(steps - 1, 0)])
        self.net.threads_used = self.net.history.threads = threads
        if status in (_core.DIVERGED, _core.BAD_UPDATE):
            self.place.settled = False
            # A bad update is counted among the completed steps, a bad loss is not.
            batch = first + steps - (1 if status == _core.BAD_UPDATE and steps else 0)
            rate = rate if self.factors is None else float(rate[batch - first])
            raise self._diverged(status, epoch, batch, f" of {self.steps}", rate, before)
        return steps, loss_sum, weight_sum

    def _diverged(
        self, status: int, epoch: int, batch: int, of_all: str, rate: float, before: NDArray[Any]
    ) -> DivergenceError:
        """Go back to the start of the epoch; the error to raise."""
        self.parameters.numbers[...] = before
        self.state.array[...] = 0
        forget_average(self.state)
        self.state.go_on_from(0, 0, 0.0)
        what = "loss" if status == _core.DIVERGED else "updated weights"
        return DivergenceError(
            f"training diverged: the {what} of batch {batch + 1}{of_all} in epoch {epoch + 1} of {self.epochs} became "
            f"infinite or NaN, with learning rate {rate:g}. The network is back at the start of this epoch. Try a "
            "learning rate of a tenth, and inputs and targets scaled to about unit size",
            epoch=epoch,
            batch=batch,
            learning_rate=rate,
        )

    def _batch_by_batch(self, epoch: int, before: NDArray[Any]) -> tuple[int, float, float]:
        """The same steps and bits, one native call each, for callbacks that want every batch."""
        place, saver = self.place, self.saver
        loss_sum, weight_sum = place.loss_sum, place.weight_sum
        for step in range(place.steps, self.steps):
            start = perf_counter()
            _, loss, weight = self._steps(epoch, step, 1, before)
            loss_sum += loss
            weight_sum += weight
            place.settled = False
            logs = {"loss": loss / weight if weight else 0.0, "learning_rate": self.last_rate}
            self._call_back("on_batch_end", self.net, epoch * self.steps + step, logs)
            place.steps, place.loss_sum, place.weight_sum, place.settled = step + 1, loss_sum, weight_sum, True
            if saver is not None:
                saver.look(1, perf_counter() - start)
            if self.net.stop_training:
                if saver is not None:
                    saver.epoch_is_cut()
                break
        return place.steps, loss_sum, weight_sum

    def _in_pieces(
        self, epoch: int, before: NDArray[Any], saver: Saver, sums: NDArray[np.float64] | None
    ) -> tuple[int, float, float]:
        """The same steps and bits in calls so short that a checkpoint may be written between them, if it is time."""
        place, native = self.place, self.native
        while place.steps < self.steps:
            count = saver.piece(self.steps - place.steps)
            native.measure(sums if place.steps + count == self.steps else None)
            start = perf_counter()
            self._steps(epoch, place.steps, count, before, place.loss_sum, place.weight_sum)
            place.steps, place.loss_sum, place.weight_sum = native.steps_done, native.loss_sum, native.weight_sum
            saver.look(count, perf_counter() - start)
        return place.steps, place.loss_sum, place.weight_sum

    def _training_metrics(self, steps: int) -> dict[str, float]:
        """Of the outputs that training itself computed, so they are of the weights at each batch."""
        if self.outputs is None:
            return {}
        y, output, weights = self.y.y, self.outputs, self.weights
        if self.subset is not None or steps < self.steps:
            rows = np.arange(self.rows) if self.order is None else self.order
            rows = rows[: steps * self.batch]
            y, output, weights = y[rows], output[rows], None if weights is None else weights[rows]
        return {metric.name: metric.measure(y, output, weights, self.objective) for metric in self.metrics}
