# SPDX-License-Identifier: BSD-3-Clause
"""Exact resume of a ``fit`` on a stream: beside what ``resume.py`` keeps, which batches were taken already.

There are two ways back to a place in a stream. What can be begun anew is begun anew, and the batches seen are taken
once more and thrown away; the last of them is known by a digest, so that a stream in another order is refused. An
object with ``state_dict`` and ``load_state_dict``, such as torchdata's StatefulDataLoader, is asked where it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import DivergenceError
from .fingerprint import differences, fingerprint, of_array
from .packing import pack, unpack
from .resume import Saver

if TYPE_CHECKING:
    from .streams import StreamFit
    from .training import FitArguments


SAMPLE = 4096  # numbers of a part of a batch that are looked at: some microseconds in each step
FEWEST_ROWS = 8


class Some:
    """Some rows of an array, and what shape it has."""

    def __init__(self, values: NDArray[Any]) -> None:
        rows = max(FEWEST_ROWS, SAMPLE // max(math.prod(values.shape[1:]), 1))
        self.shape, self.rows = values.shape, values[:: max(1, len(values) // rows)].copy()

    def known(self) -> dict[str, Any] | None:
        """Shape and digest; None if it does not hold numbers."""
        found = of_array(self.rows, self.rows.dtype) if self.rows.dtype.kind in "biuf" else None
        return None if found is None else {**found, "shape": list(self.shape)}


def glimpse(batch: Any) -> list[Any]:
    """Enough of a batch to know it by, also when its arrays have been used again for the next one."""
    parts = batch if isinstance(batch, tuple | list) else [batch]
    return [Some(part) if isinstance(part, np.ndarray) and part.ndim else part for part in parts]


def known(glimpsed: list[Any]) -> list[dict[str, Any] | None]:
    """What each part of a batch is known by, if it is an array, or what NumPy makes one of."""
    return [part.known() if isinstance(part, Some) else _as_array(part) for part in glimpsed]


def _as_array(part: Any) -> dict[str, Any] | None:
    try:
        values = np.asarray(part)
    except (TypeError, ValueError):
        return None
    return Some(values).known() if values.ndim else None


class StreamSaver(Saver):
    """The checkpoints of a fit on a stream."""

    _fit: StreamFit

    def _identity(self, asked: FitArguments, epochs: int) -> dict[str, Any]:
        """The data are known by the first batch, unless they are in no order that could be repeated."""
        found = fingerprint(self._fit, asked, epochs)
        weights = asked.class_weight or {}
        found["class_weight"] = {str(name): float(weight) for name, weight in weights.items()}
        found |= {"batch_size": None, "steps_per_epoch": asked.steps_per_epoch}
        return found | ({"X": None, "y": None, "sample_weight": None} if self._fit.stream.has_state else {})

    def catch_up(self) -> None:
        """Take the stream where it was; nothing else has changed yet."""
        if self._found is None or self._is_finished(self._found):
            return
        run, stream = self._found.run, self._fit.stream
        saved = run["stream"]
        if saved["source"] is not None:
            stream.put(unpack(saved["source"], self._found.tensors))
            return
        self._fit.last = last = stream.take_again(run["epoch"], run["steps"], glimpse)
        wrong = list(differences(saved["last"], None if last is None else known(last)))
        if wrong:
            raise ValueError(
                f"resume: the stream brought other batches than before {self._found.path} was written "
                f"({'; '.join(wrong[:2])}): it must bring the same ones again, or have state_dict and load_state_dict"
            )

    def _is_finished(self, found: Any) -> bool:
        return bool(found.run["stopped"]) or found.run["epoch"] == self._fit.epochs

    def go_on(self) -> None:
        """Bring the network, its optimizer and the fit to the place that was read."""
        super().go_on()
        if self._found is None:
            return
        fit, saved, tensors = self._fit, self._found.run["stream"], self._found.tensors
        fit.steps, fit.steps_done, fit.rows_done = (int(saved[name]) for name in ("steps", "steps_done", "rows_done"))
        if "run.rows" in tensors:
            fit.checkup.rows = tensors["run.rows"].copy()

    def begin(self) -> None:
        """After ``on_fit_begin``: callbacks get back what they remembered, and training may start."""
        super().begin()
        self._fit.native.steps_done = 0  # a step is a native call of its own here

    def take_up_epoch(self) -> None:
        """In the middle of an epoch: what it began with, and what its batches gave so far."""
        fit, found, self._found = self._fit, self._found, None
        if found is None:
            return
        fit.place.settled = False
        fit.parameters.shared.refresh(found.tensors["run.before"])
        if "run.kept.y" in found.tensors:
            y, outputs = found.tensors["run.kept.y"], found.tensors["run.kept.outputs"]
            fit.kept.put(y, outputs, found.tensors.get("run.kept.weights"))
        fit.place.settled = True

    def look(self, steps: int, seconds: float) -> None:
        """After a step: write, if it is time."""
        if self._is_time():
            self._write()
        if self._fit.net.stop_training:
            self.epoch_is_cut()

    def interrupted(self, error: BaseException) -> None:
        """An exception ends the fit: what is done is written, if it is worth going on from."""
        fit = self._fit
        if isinstance(error, DivergenceError) or not fit.place.settled:
            return
        if fit.native.steps_done:  # it came right after a step, before anyone took notice
            if fit.callbacks.every_batch:
                return
            fit.settle_step()
        elif fit.is_ahead:
            return  # the stream has brought a batch that was not learned from, and cannot take it back
        self._write()

    def _add(self, run: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
        fit, stream = self._fit, self._fit.stream
        source = None
        if stream.has_state and stream.taken:
            source = pack(stream.source.state_dict(), tensors, "run.stream", "state_dict() of the stream")
            tensors["run.rows"] = np.ascontiguousarray(fit.checkup.rows, np.float64)
        last = fit.last
        run["stream"] = {
            "steps": fit.steps,
            "steps_done": fit.steps_done,
            "rows_done": fit.rows_done,
            "source": source,
            "last": None if last is None or stream.has_state else known(last),
        }
        if fit.place.steps:
            tensors |= {f"run.kept.{name}": values for name, values in fit.kept.arrays().items()}
