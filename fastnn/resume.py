# SPDX-License-Identifier: BSD-3-Clause
"""Exact resume: writing down where a fit is, and going on from there with the same bits.

What a step depends on is little: parameters and what lies behind them, the optimizer's vectors and counts, how many
batches drew random masks, and the place. The order of rows is a function of the seed and the epoch's number. Beside
that a checkpoint holds what an epoch is told of at its end: sums of losses, outputs for metrics, the history, and the
callbacks' own state.

:class:`Place` says where a fit is, and :class:`Saver` reads and writes it. A place is only written when it is settled:
while callbacks run, some have seen an epoch and others have not.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from threading import get_ident
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .arguments import number, true_or_false, whole_number
from .checkpoint import CheckpointFiles, Found, RunCheckpoint
from .errors import DivergenceError
from .files import to_bytes
from .fingerprint import differences, fingerprint, same_so_far

if TYPE_CHECKING:
    from .training import Fit, FitArguments

FORMAT = 1
LONGEST_PIECE = 0.25  # seconds of training between two looks at the clock, about
DIFFERENCES_SHOWN = 5


@dataclass
class Place:
    """Where a fit is: between two steps.

    Attributes
    ----------
    epoch, steps : int
        Completed epochs, and completed steps of the one under way.
    loss_sum, weight_sum : float
        Of these steps.
    seconds : float
        What earlier processes spent on the epoch under way.
    began : float
        When it began, by this process's clock, had this process made all of it.
    settled : bool
        Whether everything that belongs to it is as it says, and callbacks have seen what is done.
    """

    epoch: int = 0
    steps: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    seconds: float = 0.0
    began: float = 0.0
    settled: bool = False

    def next_epoch(self) -> None:
        """The epoch under way is over; to be settled by the caller."""
        self.epoch, self.steps, self.loss_sum, self.weight_sum, self.seconds = self.epoch + 1, 0, 0.0, 0.0, 0.0


class Saver:
    """The checkpoints of one fit. Making one reads and checks what there is to go on from, and changes nothing."""

    def __init__(self, checkpoint: RunCheckpoint, fit: Fit, asked: FitArguments) -> None:
        self._fit, self._every = fit, checkpoint
        self._files = CheckpointFiles(checkpoint.path)
        self._files.check(resume=bool(asked.resume))
        self._found = self._files.read() if asked.resume else None
        self._fingerprint = self._identity(asked, fit.epochs)
        self._first_permutation = fit.net._epochs_done
        self._written: tuple[int, int, bool] | None = None  # epoch, steps, whether training had been stopped
        self._closed = False
        self._next, self._piece = 0.0, 1
        if self._found is not None:
            try:
                self._check(self._found, asked)
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{self._found.path} is no checkpoint of a run: {error!r}") from error

    @property
    def resumes(self) -> bool:
        """Whether there is something to go on from."""
        return self._found is not None

    @property
    def note(self) -> str:
        """Where the fit goes on, for whoever reads along."""
        place = self._fit.place
        if self._found is None:
            return ""
        return f"going on after {place.epoch:,} epochs and {place.steps:,} steps, from {self._found.path}"

    def _identity(self, asked: FitArguments, epochs: int) -> dict[str, Any]:
        return fingerprint(self._fit, asked, epochs)

    # ---- reading ----------------------------------------------------------------------------------------------------

    def _check(self, found: Found, asked: FitArguments) -> None:
        """Whether it is a checkpoint of this very run."""
        fit, run, path = self._fit, found.run, found.path
        if run["format"] != FORMAT:
            raise ValueError(f"{path} has format {run['format']}, this fastnn reads {FORMAT}: install a newer fastnn")
        epochs, old = whole_number(run["epochs"], "epochs", least=0), run["fingerprint"]
        new = self._identity(asked, epochs)
        if new["optimizer"] == {"kind": fit.optimizer.name, **run["optimizer"]}:
            new["optimizer"] = old["optimizer"]  # the same object again, after a callback changed it
        names = found.model.get("feature_names")
        wrong = [] if names is None or fit.names is None else list(differences(names, list(fit.names), "feature_names"))
        wrong += differences(old, new)
        if wrong:
            more = f"; and {len(wrong) - DIFFERENCES_SHOWN} more" if len(wrong) > DIFFERENCES_SHOWN else ""
            raise ValueError(
                f"resume: {path} is the checkpoint of another run: {'; '.join(wrong[:DIFFERENCES_SHOWN])}{more}. Give "
                "what it was given, or another path"
            )
        epoch, steps = whole_number(run["epoch"], "epoch", least=0), whole_number(run["steps"], "steps", least=0)
        if epoch + (steps > 0) > fit.epochs:
            done = f"{epoch} epochs" + (f" and {steps} steps" if steps else "")
            raise ValueError(f"resume: epochs is {fit.epochs}, the total, but {path} is after {done}")
        if not same_so_far(fit.schedule, epoch * fit.steps + steps, epochs * fit.steps, fit.epochs * fit.steps):
            raise ValueError(
                f"resume: epochs was {epochs} in {path} and is {fit.epochs}: with this schedule, the learning rates of "
                "steps already made would have been others"
            )
        self._check_tensors(found, steps)
        if found.model["numerics_version"] != _core.numerics_version:
            warnings.warn(f"{path} was written by a fastnn whose results have other last bits", stacklevel=5)
        self._fingerprint = {**new, "schedule": self._fingerprint["schedule"]}

    def _check_tensors(self, found: Found, steps: int) -> None:
        """Shapes and types of all vectors."""
        fit, parameters, dtype = self._fit, self._fit.parameters, self._fit.net.dtype
        whole = {"params": parameters.params}
        if parameters.state.size:
            whole["state"] = parameters.state
        vectors = fit.state.array.reshape(len(fit.optimizer.state_names), -1)
        whole |= {f"optimizer.{name}": vectors[i] for i, name in enumerate(fit.optimizer.state_names)}
        if found.model["optimizer"]["averaged"]:
            whole["average"] = parameters.params
        if steps:
            whole["run.before"] = parameters.numbers
        for name, like in whole.items():
            vector = found.tensors[name]
            if vector.shape != like.shape or vector.dtype != dtype:
                raise ValueError(f"{found.path} is no checkpoint of a run: its tensor {name!r} does not fit")
        if found.tensors["run.health"].shape != (2, len(parameters.graph.segments), 3):
            raise ValueError(f"{found.path} is no checkpoint of a run: its tensor 'run.health' does not fit")

    def go_on(self) -> None:
        """Bring the network, its optimizer and the fit to the place that was read."""
        if self._found is None:
            return
        fit, run, tensors = self._fit, self._found.run, self._found.tensors
        net, parameters, state, counts = fit.net, fit.parameters, fit.state, self._found.model["optimizer"]
        parameters.params[...] = tensors["params"]
        if parameters.state.size:
            parameters.state[...] = tensors["state"]
        parameters.draws[0] = whole_number(self._found.model["draws"], "draws", least=0)
        for name, vector in zip(
            fit.optimizer.state_names, state.array.reshape(len(fit.optimizer.state_names), -1), strict=True
        ):
            vector[...] = tensors[f"optimizer.{name}"]
        if counts["averaged"]:
            fit.optimizer.make_room(state)
            assert state.average is not None
            state.average[...] = tensors["average"]
        state.go_on_from(counts["step"], counts["averaged"], counts["product"])
        for name, value in run["optimizer"].items():
            setattr(fit.optimizer, name, value)
        for name, values in zip(run["history"], tensors.get("run.history", ()), strict=True):
            net.history.history[name] = values.tolist()
        net.history.loss, net.history.optimizer, net.history.threads, net.history.remarks = run["about"]
        if net.feature_names is None and (names := self._found.model.get("feature_names")) is not None:
            net._feature_names = tuple(names)
        net.stop_training = true_or_false(run["stopped"], "stopped")
        self._first_permutation = whole_number(run["first_permutation"], "first_permutation", least=0)
        place = fit.place
        place.epoch, place.steps = run["epoch"], run["steps"]
        place.loss_sum, place.weight_sum = number(run["loss_sum"], "loss_sum"), number(run["weight_sum"], "weight_sum")
        fit.last_rate = number(run["last_rate"], "last_rate")
        place.seconds = number(run["seconds"], "seconds")
        net._epochs_done = self._first_permutation + place.epoch
        self._written = (place.epoch, place.steps, net.stop_training)
        fit.checkup.go_on(run["health"], tensors["run.health"], net.stop_training or place.epoch == fit.epochs)

    def begin(self) -> None:
        """After ``on_fit_begin``: callbacks get back what they remembered, and training may start."""
        fit = self._fit
        if self._found is not None:
            for callback, saved in zip(fit.callbacks.with_state, self._found.run["callbacks"], strict=True):
                arrays = {
                    name: self._found.tensors[tensor].astype(dtype, copy=False)
                    for name, (tensor, dtype) in saved["arrays"].items()
                }
                callback.load_state_dict({**saved["values"], **arrays})
        if fit.place.steps == 0:
            self._found = None  # all of it is in use now
        fit.native.steps_done = fit.place.steps
        self._set_clock()
        fit.place.settled = True

    def take_up_epoch(self) -> None:
        """In the middle of an epoch: what it began with, the order of its rows, and what they gave so far."""
        fit, place = self._fit, self._fit.place
        if self._found is None:
            return
        place.settled = False
        found, self._found = self._found, None
        fit.parameters.shared.refresh(found.tensors["run.before"])
        fit.native.run(fit.net._epochs_done, 0, 0, 0.0)  # no step, but the order
        if fit.outputs is not None:
            fit.outputs[self._rows_done()] = found.tensors["run.outputs"]
        fit.native.steps_done = place.steps
        place.settled = True

    def _rows_done(self) -> NDArray[np.int64] | slice:
        """Rows of X in the steps of this epoch that are done."""
        fit = self._fit
        done = min(fit.place.steps * fit.batch, fit.rows)
        return slice(0, done) if fit.order is None else fit.order[:done]

    # ---- when --------------------------------------------------------------------------------------------------------

    def _set_clock(self) -> None:
        self._next = monotonic() + (self._every.seconds or 0.0)

    def _is_time(self) -> bool:
        return self._every.seconds is not None and monotonic() >= self._next

    def piece(self, left: int) -> int:
        """How many of the steps left in an epoch to make before the next :meth:`look`: all, unless time counts."""
        return left if self._every.seconds is None else min(self._piece, left)

    def look(self, steps: int, seconds: float) -> None:
        """After so many steps, which took so long: write, if it is time."""
        if self._every.seconds is not None:
            aim = min(LONGEST_PIECE, self._every.seconds / 2)
            if steps == self._piece or seconds > aim:
                self._piece = max(1, min(2 * self._piece, int(aim / max(seconds, 1e-9) * steps)))
        if self._is_time() and self._fit.place.steps < self._fit.steps:
            self._write()

    def epoch_is_over(self) -> None:
        """After everyone has seen an epoch."""
        every = self._every.epochs
        if (every is not None and self._fit.place.epoch % every == 0) or self._is_time():
            self._write()

    def epoch_is_cut(self) -> None:
        """A callback ends the fit in the middle of an epoch.

        If that is for want of time, the epoch is not to be taken for a whole one when there is time again.
        """
        if self._fit.callbacks.out_of_time:
            self._write()
            self._closed = True

    def is_over(self) -> None:
        """After the last epoch, before ``on_fit_end``: a further fit may have more of them."""
        self._write()
        self._fit.place.settled = False

    def interrupted(self, error: BaseException) -> None:
        """An exception ends the fit: what is done is written, if it is worth going on from."""
        fit, place, native = self._fit, self._fit.place, self._fit.native
        if isinstance(error, DivergenceError) or not place.settled:
            return
        if native.steps_done != place.steps:  # it came right after a call, before anyone took notice
            if fit.callbacks.every_batch:
                return
            place.steps, place.loss_sum, place.weight_sum = native.steps_done, native.loss_sum, native.weight_sum
            rate = fit.optimizer.learning_rate
            fit.last_rate = rate if fit.factors is None else float(rate * fit.factors[place.steps - 1])
        self._write()

    # ---- writing -----------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Write where the fit is, unless that is written already. A full disk is no reason to stop training."""
        fit, place = self._fit, self._fit.place
        stopped = fit.net.stop_training and not fit.callbacks.out_of_time
        here = (place.epoch, place.steps, stopped)
        if self._closed or here == self._written:
            return
        if stopped and place.steps:  # a callback cut this epoch short: its end is about to be written instead
            return
        try:
            self._files.write(self._content(stopped))
            self._written = here
        except (OSError, MemoryError) as error:
            warnings.warn(
                f"checkpoint {self._files.newest} could not be written: {error}", RuntimeWarning, stacklevel=6
            )
        self._set_clock()

    def _content(self, stopped: bool) -> bytes:
        fit, net, place = self._fit, self._fit.net, self._fit.place
        history = net.history.history
        tensors: dict[str, NDArray[Any]] = {"run.health": fit.checkup.sums}
        if history:
            tensors["run.history"] = np.array(list(history.values()), np.float64)
        if place.steps:
            tensors["run.before"] = fit.snapshot
            if fit.outputs is not None:
                tensors["run.outputs"] = np.ascontiguousarray(fit.outputs[self._rows_done()])
        run = {
            "format": FORMAT,
            "fingerprint": self._fingerprint,
            "epochs": fit.epochs,
            "epoch": place.epoch,
            "steps": place.steps,
            "loss_sum": place.loss_sum,
            "weight_sum": place.weight_sum,
            "last_rate": float(fit.last_rate),
            "seconds": perf_counter() - place.began if place.steps else 0.0,
            "optimizer": fit.optimizer.config(),
            "first_permutation": self._first_permutation,
            "stopped": stopped,
            "history": list(history),
            "about": [net.history.loss, net.history.optimizer, net.history.threads, net.history.remarks],
            "health": fit.checkup.state(place.steps > 0),
            "callbacks": [
                _callback_state(callback, f"run.callback{i}", tensors)
                for i, callback in enumerate(fit.callbacks.with_state)
            ],
        }
        self._add(run, tensors)
        shared = fit.parameters.shared
        shared.owner = get_ident()
        try:
            return to_bytes(net, {"run": run}, tensors)
        finally:
            shared.owner = None

    def _add(self, run: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
        """What other kinds of fits have to keep."""


def _callback_state(callback: Any, prefix: str, tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """What a callback remembers: arrays among the tensors, everything else as JSON."""
    import json

    state = callback.state_dict()
    who = f"{type(callback).__name__}.state_dict()"
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise TypeError(f"{who} must return a dict with names, not {type(state).__name__}")
    arrays = {}
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
                raise TypeError(f"{who}[{name!r}] is an array of {value.dtype}, which cannot be written")
            kind = value.dtype.newbyteorder("=")
            stored = np.uint8 if kind == np.bool_ else kind  # which would be stored behind the digest
            tensors[f"{prefix}.{name}"] = np.asarray(value, stored, order="C")
            arrays[name] = (f"{prefix}.{name}", kind.name)
    values = {name: value for name, value in state.items() if name not in arrays}
    try:
        values = json.loads(json.dumps(values, default=_plain))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{who} must hold numbers, text, lists, dicts and arrays: {error}") from None
    return {"values": values, "arrays": arrays}


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is none of them")
