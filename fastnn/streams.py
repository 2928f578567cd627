# SPDX-License-Identifier: BSD-3-Clause
"""``fit`` on a stream: batches come one by one from an iterable, and each is checked when it comes.

One native call per batch, with the bits of ``fit`` on the rows one behind the other (``shuffle=False``) where batches
have the same sizes. What ``fit`` learns from the data before training (scales, categories) it learns from the first
batch, which is fetched and checked before anything changes. A later batch that is refused leaves the network as the
batches before it made it. Nothing of a batch is kept, except y and outputs where metrics are asked for.
"""

from __future__ import annotations

from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core, inputs
from ._memory import allocate
from .arguments import whole_number
from .batches import BATCH_SIZE, END, Batch, Batches, Kept, checked, parts_of, placed
from .callbacks import CallbackList, Preparation
from .checkpoint import resolve_checkpoint
from .clipping import clipping
from .frames import read_features
from .health import ROWS as HEALTH_ROWS
from .health import STEPS_BETWEEN, Checkup
from .learning import check_categories, find_categories, learn
from .losses import resolve_loss
from .metrics import resolve_metrics
from .optimizers import resolve_optimizer
from .progress import Progress
from .python_loss import make_training
from .resume import Place
from .runtime import choose_threads
from .schedules import resolve_schedule
from .snapshots import Snapshot
from .stream_resume import StreamSaver, glimpse
from .training import Fit, FitArguments

if TYPE_CHECKING:
    from .model import Sequential

FEW_ROWS = 1000  # to learn the scale of columns from


class StreamFit(Fit):
    """One training run of one network on a stream."""

    def __init__(self, net: Sequential, asked: FitArguments) -> None:
        self.net = net
        self.epochs = whole_number(asked.epochs, "epochs", least=0)
        self.optimizer = resolve_optimizer(asked.optimizer)
        self.metrics = resolve_metrics(asked.metrics)
        self.callbacks = CallbackList(asked.callbacks)
        self.schedule = resolve_schedule(asked.schedule)
        checkpoint = resolve_checkpoint(asked.checkpoint, asked.resume)
        self._clipping = clipping(asked.clip_norm, asked.clip_value)
        self._class_weight, self._threads = asked.class_weight, asked.threads
        self._refuse_what_needs_all_rows(asked)
        self.stream = Batches(asked.X, self.epochs, asked.steps_per_epoch)
        if checkpoint is not None:
            self.stream.check_resumable()
        self._expected = self.stream.expected
        if self.schedule is not None and self._expected is None:
            raise ValueError("schedule needs to know how many steps there will be: give steps_per_epoch=")

        first = self._first_batch(asked)
        self.x, self.y, self.weights = first.x, first.y, first.weights
        graph = self.graph
        for metric in self.metrics:
            metric.check(self.objective, self.y, graph.width)

        # Memory for batches like the first one: from here to run() only MemoryError can happen.
        self.parameters = net._parameters_for(graph)
        self.place, self.shuffle, self.factors = Place(), False, None
        self.subset, self.order, self.outputs = None, None, None
        self.rows = self.batch = first.x.shape[0]
        self.steps = 0 if self._expected is None else self._expected
        self.learned = learn(net, self.parameters, self.x, self.y, None)
        self.last_rate = self.optimizer.learning_rate
        self.validation = self._validation(asked, None, None)
        self.snapshot = allocate(self.parameters.numbers.shape, net.dtype)
        self.state = net._state_for(self.optimizer, self.parameters)
        self.saver = saver = None if checkpoint is None else StreamSaver(checkpoint, self, asked)
        resumes = saver is not None and saver.resumes
        self.callbacks.prepare(Preparation(self._measured(), lambda: Snapshot(self.parameters, self.state), resumes))
        self._make_native(self.batch)
        self.checkup = Checkup(net, self.parameters, self._some_rows(), self.rows * max(self.steps, 1))
        self.remarks = self._remarks() + self._about_lessons()
        self.steps_done = 0  # in all epochs
        self.rows_done = 0  # in the one under way
        self.kept = Kept(bool(self.metrics))
        self.is_ahead = False  # whether the stream has brought a batch for which there was no step yet
        self._under_way: tuple[Batch, NDArray[Any] | None] | None = None
        self.last: Any = None  # what the batch of the last step is known by, if there are checkpoints
        self._fetched: Any = None
        if saver is not None:
            saver.catch_up()
        self.progress = Progress(asked.verbose, self.epochs, self._headline(asked.loss is None))

    @staticmethod
    def _refuse_what_needs_all_rows(asked: FitArguments) -> None:
        if asked.batch_size is not BATCH_SIZE:
            raise ValueError(
                f"batch_size is {asked.batch_size!r}, but a stream brings batches of its own sizes: leave batch_size "
                "out, and let the stream cut its rows"
            )
        if asked.sample_weight is not None:
            raise ValueError("sample_weight: a stream brings weights in its batches, as (X, y, sample_weight)")
        if asked.validation_fraction is not None:
            raise ValueError("validation_fraction needs arrays: with a stream give validation_data=")
        if isinstance(asked.class_weight, str):
            raise ValueError("class_weight='balanced' needs arrays: with a stream give a dict of weights")
        if whole_number(asked.accumulate, "accumulate") > 1:
            raise ValueError("accumulate needs arrays: let the stream bring larger batches, which is the same")

    def _first_batch(self, asked: FitArguments) -> Batch:
        """Fetched before anything changes: it tells the width of X, and what the network learns of its columns."""
        parts = parts_of(self.stream.first(), _place(0, 0))
        try:
            X, self.names = read_features(self.net, parts[0], "X", learn=True)
            x = inputs.training_features(X, self.net.inputs)
            find_categories(self.net, x)
            self.graph = graph = self.net._graph_for(x.shape[1])
            self.objective = resolve_loss(asked.loss, graph.last_activation, graph.width, graph.rescale >= 0)
            return self._checked(x, *parts[1:])
        except (ValueError, TypeError) as error:
            raise placed(error, _place(0, 0)) from error

    def _checked(self, x: NDArray[Any], y: Any, weight: Any = None) -> Batch:
        return checked(x, y, weight, self.objective, self.graph.width, self.net.dtype, self._class_weight)

    def _next(self, step: int, epoch: int) -> Batch | None:
        """The next batch; the caller's code that makes it sees the weights as they are now, as callbacks do."""
        shared = self.parameters.shared
        shared.owner = get_ident()
        self.is_ahead = self.stream.has_state
        try:
            found = self.stream.next(step)
        finally:
            shared.owner = None
        if found is END:
            return None
        self._fetched = parts = parts_of(found, _place(step, epoch))
        try:
            X, _ = read_features(self.net, parts[0])
            x = inputs.training_features(X, self.parameters.inputs)
            check_categories(self.net, x, "X")
            return self._checked(x, *parts[1:])
        except (ValueError, TypeError) as error:
            raise placed(error, _place(step, epoch)) from error

    def _make_native(self, rows: int) -> None:
        """For batches of up to so many rows."""
        work = self.parameters.training_work(rows)
        threads = choose_threads(self._threads, work)
        self.native = make_training(self.objective, self.parameters, self.state, rows, threads)
        self.native.set_clipping(*self._clipping)
        if self._threads is None:
            self.native.choose_pace()
        self.batch = rows

    def _some_rows(self) -> NDArray[Any]:
        """Of the first batch, as a copy: whose arrays may be used again."""
        return np.array(self.x[:HEALTH_ROWS])

    def _about_lessons(self) -> list[str]:
        """What was learned from the first batch alone."""
        if not self.learned or self.rows >= FEW_ROWS:
            return []
        return [
            f"the scales of columns come from the first batch of the stream, {inputs.count(self.rows, 'row')}: let it "
            f"begin with a batch of {FEW_ROWS} rows or more, or scale the data before"
        ]

    def _headline(self, loss_was_chosen: bool) -> str:
        first = super()._headline(loss_was_chosen).split("\n")[0]
        steps = "" if self._expected is None else f", {self._expected:,} steps an epoch"
        return f"{first}\na stream of batches, the first of {self.rows:,} rows{steps}; threads {self.native.threads}"

    def _epoch(self, epoch: int, before: NDArray[Any]) -> dict[str, float]:
        """One epoch; `before` are the parameters to go back to."""
        place, saver = self.place, self.saver
        place.began = perf_counter() - place.seconds
        self.is_ahead = False
        if place.steps == 0:
            self.rows_done, self.kept = 0, Kept(bool(self.metrics))
        elif saver is not None:
            saver.take_up_epoch()
        sums = self.checkup.due(epoch, self.epochs, self.steps)
        while not self.net.stop_training and (batch := self._next(place.steps, epoch)) is not None:
            start = perf_counter()
            measured = sums if self._is_measured(place.steps) else None
            loss, weight = self._train_on(batch, epoch, place.steps, before, measured)
            place.settled = False
            self.settle_step()
            if self.callbacks.every_batch:
                logs = {"loss": loss / weight if weight else 0.0, "learning_rate": self.last_rate}
                self._call_back("on_batch_end", self.net, self.steps_done - 1, logs)
            place.settled = True
            if saver is not None:
                saver.look(1, perf_counter() - start)
        step, loss_sum, weight_sum, rows = place.steps, place.loss_sum, place.weight_sum, self.rows_done
        self.steps = step
        self.checkup.saw(rows)
        self.net._epochs_done += 1
        logs = {"loss": loss_sum / weight_sum if weight_sum else 0.0}
        logs |= self.kept.measure(self.metrics, self.objective)
        if self.validation is not None:
            logs |= self.validation.run(self.parameters.numbers, "val_")
        return logs | {"learning_rate": self.last_rate, "seconds": perf_counter() - place.began}

    def settle_step(self) -> None:
        """Note a step that was made."""
        assert self._under_way is not None
        place, native, (batch, outputs) = self.place, self.native, self._under_way
        place.steps += 1
        place.loss_sum, place.weight_sum = place.loss_sum + native.loss_sum, place.weight_sum + native.weight_sum
        self.rows_done += batch.x.shape[0]
        self.steps_done += 1
        self.kept.keep(batch, outputs)
        if self.saver is not None:
            self.last = glimpse(self._fetched)
        native.steps_done, self._under_way, self.is_ahead = 0, None, False

    def _is_measured(self, step: int) -> bool:
        """Whether a step of an epoch that is due: the last one, or, since that may not be known, one on the way."""
        made = step + 1
        return made == self.steps or made % STEPS_BETWEEN == 0 or made & step == 0

    def _train_on(
        self, batch: Batch, epoch: int, step: int, before: NDArray[Any], sums: NDArray[np.float64] | None
    ) -> tuple[float, float]:
        """One step -> loss sum, weight sum."""
        rows = batch.x.shape[0]
        if rows > self.batch:
            self._make_native(rows)
        self.native.measure(sums)
        rate = self.optimizer.learning_rate
        if self.schedule is not None:
            assert self._expected is not None
            total = max(self.epochs, 1) * self._expected
            rate = float(rate * self.schedule.factors(min(self.steps_done, total - 1), 1, total)[0])
        outputs = allocate((rows, self.parameters.outputs), self.net.dtype) if self.metrics else None
        self.native.bind(batch.x, batch.y.labels, batch.y.values, batch.weights, outputs, None, False, self.net.seed)
        self.optimizer.prepare(self.state)
        self.last_rate, self._under_way = rate, (batch, outputs)
        try:
            status, threads, _, loss_sum, weight_sum = self.native.run(self.net._epochs_done, 0, 1, rate)
        finally:
            self.native.release()
        self.net.threads_used = self.net.history.threads = threads
        if status in (_core.DIVERGED, _core.BAD_UPDATE):
            of = "" if self._expected is None else f" of {self._expected}"
            raise self._diverged(status, epoch, step, of, rate, before)
        return loss_sum, weight_sum


def _place(step: int, epoch: int) -> str:
    return f"batch {step + 1} of epoch {epoch + 1}"
