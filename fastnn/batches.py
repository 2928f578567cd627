# SPDX-License-Identifier: BSD-3-Clause
"""Streams of batches: what is one, how its batches are fetched, and what each of them must be.

A stream is an iterable, or a function without arguments that returns one, as a generator function does: it is called
for each pass. ``streams.py`` trains on streams, ``stream_evaluation.py`` measures and predicts with them, and
``stream_resume.py`` takes them where they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import inputs
from .arguments import whole_number
from .frames import is_frame, read_targets
from .inputs import Targets
from .losses import Objective
from .sparse import is_sparse_matrix

END = object()


class NotGiven(int):
    """A default value: known from the same number, given, by what it is, and used as that number."""


BATCH_SIZE = NotGiven(32)
ARRAY_LIKE = ("__array__", "__array_interface__", "__array_struct__")
AGAIN = (
    "something that can be iterated anew (a list, a data loader, an object whose __iter__ is a generator), or a "
    "function that returns batches, such as a generator function itself, without calling it"
)


# ---- what is a stream ------------------------------------------------------------------------------------------------


def is_stream(X: Any, y: Any, call: str) -> bool:
    """Whether X brings batches, and y with them, in ``call(X, y)``."""
    if y is None:
        if X is None or isinstance(X, str | bytes) or _is_array(X):
            raise TypeError(f"y is missing: {call}(X, y), or {call}(batches) with an iterable of (X, y)")
        if not isinstance(X, Iterable) and not callable(X):
            raise TypeError(f"X is a {type(X).__name__} and y is missing: needed are arrays, or an iterable of (X, y)")
        return True
    if isinstance(X, Iterator) or (callable(X) and not _is_array(X)):
        raise TypeError(
            f"X is a {type(X).__name__} object, and y is given: a stream brings (X, y) in each batch, so call "
            f"{call}(batches)"
        )
    return False


def is_stream_of_features(X: Any) -> bool:
    """Whether X brings batches, where arrays come without y, too.

    A list is one if its first element is an array (rows, inputs), a table, or a batch (X, y): else it holds numbers.
    """
    if isinstance(X, str | bytes | memoryview | Mapping) or _is_array(X):
        return False
    if isinstance(X, Sequence):
        first = X[0] if len(X) else None
        return (_is_array(first) and _depth(first) == 2) or is_batch(first)
    return isinstance(X, Iterable) or callable(X)


def is_stream_beside(data: Any) -> bool:
    """Whether validation data are a stream; a tuple or list is (X, y) or (X, y, sample_weight), or holds batches."""
    if isinstance(data, tuple | list):
        return len(data) > 0 and all(map(is_batch, data))
    return not (isinstance(data, str | bytes | Mapping) or _is_array(data)) and (
        isinstance(data, Iterable) or callable(data)
    )


def is_batch(found: Any) -> bool:
    """Whether this is (X, y) or (X, y, sample_weight), with rows in X."""
    return isinstance(found, tuple | list) and len(found) in (2, 3) and _depth(found[0]) == 2


def _is_array(x: Any) -> bool:
    kind = type(x)
    return is_frame(x) or is_sparse_matrix(x) or any(hasattr(kind, name) for name in ARRAY_LIKE)


def _depth(x: Any) -> int:
    """Dimensions of an array, a table or a nested list."""
    if isinstance(x, tuple | list):
        return 1 + _depth(x[0]) if len(x) else 1
    return 2 if is_frame(x) else int(getattr(x, "ndim", 0))


class Calls:
    """A function that returns batches, as an iterable: each pass is a call.

    >>> [list(Calls(lambda: iter("ab"))) for _ in range(2)]
    [['a', 'b'], ['a', 'b']]
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def __iter__(self) -> Iterator[Any]:
        found = self._function()
        if not isinstance(found, Iterable):
            name = getattr(self._function, "__name__", type(self._function).__name__)
            raise TypeError(f"{name}() returned a {type(found).__name__}, but an iterable of batches is needed")
        return iter(found)


def iterable(source: Any) -> Iterable[Any]:
    """The stream as an iterable."""
    return source if isinstance(source, Iterable) else Calls(source)


def has_state(source: object) -> bool:
    """Whether a stream can say where it is, and be put there."""
    return all(callable(getattr(source, name, None)) for name in ("state_dict", "load_state_dict"))


# ---- fetching, epoch by epoch ----------------------------------------------------------------------------------------


class Batches:
    """Batches from an iterable, epoch by epoch.

    What can be iterated anew is begun anew when it has ended. Without `steps` that is an epoch; with it an epoch has so
    many batches, and the next one goes on behind them. An iterator can be gone through once: it is one epoch, or gives
    epochs . steps batches.
    """

    def __init__(self, source: Any, epochs: int, steps: object) -> None:
        self.steps = None if steps is None else whole_number(steps, "steps_per_epoch")
        self.source: Any = iterable(source)
        self.has_state = has_state(self.source)
        self._iterator: Iterator[Any] | None = iter(self.source)
        self._once = self._iterator is self.source
        self._put = False  # whether it was put where it was, and nothing was taken since
        self._needed = None if self.steps is None else epochs * self.steps
        self._waiting: Any = END
        self.taken = 0
        if self._once and self.steps is None and epochs > 1:
            raise ValueError(
                f"an iterator can be gone through once, but epochs is {epochs}: give epochs=1, or steps_per_epoch=, or "
                f"{AGAIN}"
            )

    @property
    def expected(self) -> int | None:
        """Batches of an epoch, if that is known."""
        if self.steps is not None or self._once:
            return self.steps
        try:
            return len(self.source)
        except TypeError:
            return None

    def first(self) -> Any:
        """The first batch, which the first epoch begins with."""
        assert self._iterator is not None
        self._waiting = next(self._iterator, END)
        if self._waiting is END:
            raise ValueError("the stream is empty: it has no batch")
        return self._waiting

    def next(self, step: int) -> Any:
        """Batch number `step` of the epoch under way; END where it ends."""
        if self.steps is not None and step == self.steps:
            return END
        found, self._waiting = self._waiting, END
        if found is END:
            found = self._fetch(step)
        self.taken += found is not END
        return found

    def check_resumable(self) -> None:
        """Refuse what can be gone through only once."""
        if self._once and not self.has_state:
            raise ValueError(
                f"checkpoint and resume: a {type(self.source).__name__} can be gone through once, so it cannot be "
                "asked again for the batches behind a checkpoint. Give the function that makes it, as in fit(batches) "
                "instead of fit(batches()), or an object that can be iterated anew, or one with state_dict and "
                "load_state_dict"
            )

    def take_again(self, epochs: int, steps: int, look: Callable[[Any], Any]) -> Any:
        """Go over what was taken in so many epochs, and steps of the next; what `look` saw in the last batch."""
        last = None
        for epoch in range(epochs + 1):
            step = 0
            while (epoch < epochs or step < steps) and (found := self.next(step)) is not END:
                last = look(found)  # now: its arrays may be used again for the next one
                step += 1
            if epoch == epochs and step < steps:
                raise ValueError(
                    f"resume: the stream ended after batch {step} of epoch {epoch + 1}, but brought {steps} before"
                )
        return last

    def put(self, state: Any) -> None:
        """Where an object with a state was."""
        self._waiting, self._iterator = END, None
        self.source.load_state_dict(state)
        self._iterator = iter(self.source)
        self._put, self.taken = True, 1

    def _fetch(self, step: int) -> Any:
        was_put, self._put = self._put, False
        if self._iterator is None:
            self._iterator = iter(self.source)
            found = next(self._iterator, END)
            if found is END:
                raise ValueError(
                    "the stream has no batches the second time: what can be gone through only once needs epochs=1, or "
                    "steps_per_epoch="
                )
            return found
        found = next(self._iterator, END)
        if found is not END:
            return found
        if self._once and self.steps is not None:
            raise ValueError(
                f"the stream ended after {inputs.count(self.taken, 'batch').replace('batchs', 'batches')}, but epochs "
                f"x steps_per_epoch is {self._needed}; what it brought is learned"
            )
        self._iterator = None
        # An object that was put behind its last batch may say END once more.
        return END if self.steps is None and not (was_put and step == 0) else self._fetch(step)


# ---- what a batch must be --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """One batch, checked."""

    x: NDArray[Any]
    y: Targets
    weights: NDArray[np.float64] | None


def parts_of(batch: Any, place: str) -> tuple[Any, ...]:
    """(X, y) or (X, y, sample_weight)."""
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        found = f"a {type(batch).__name__}"
        if isinstance(batch, tuple | list):
            found += f" of {len(batch)}"
        raise placed(TypeError(f"it is {found}, but (X, y) or (X, y, sample_weight) is needed"), place)
    return tuple(batch)


def checked(
    x: NDArray[Any],
    y: Any,
    weight: Any,
    objective: Objective,
    width: int,
    dtype: np.dtype[Any],
    class_weight: Any = None,
) -> Batch:
    """A batch whose x has its columns already; `width` and `dtype` are those of the outputs."""
    targets = inputs.targets(read_targets(y, "y"), x.shape[0], objective, width, dtype)
    weights = inputs.sample_weights(weight, x.shape[0], all_zero_is_fine=True)
    weights = inputs.class_weights(class_weight, targets, objective, width, weights, all_zero_is_fine=True)
    inputs.check_finite(x, dtype, "X")
    return Batch(x, targets, weights)


def placed(error: Exception, place: str) -> Exception:
    """The same error, which says where in the stream."""
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(f"{place}: {error}")


class Kept:
    """What metrics look at when all batches have gone by: their y, outputs and weights. Nothing, if none is wanted."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._batches: list[tuple[Targets, NDArray[Any], NDArray[np.float64] | None]] = []

    def keep(self, batch: Batch, outputs: NDArray[Any] | None) -> None:
        """Of one batch; its y may be an array that is used again for the next one."""
        if self._wanted and outputs is not None:
            y = batch.y
            own = Targets(*(None if part is None else part.copy() for part in (y.labels, y.values)))
            self._batches.append((own, outputs, batch.weights))

    def whole(self) -> tuple[Targets, NDArray[Any], NDArray[np.float64] | None]:
        """y, outputs and weights of all rows, of at least one batch."""
        y, output, weights = zip(*self._batches, strict=True)
        if len({part.labels is None for part in y}) > 1:
            raise ValueError("y holds class numbers in some batches and rows of probabilities in others")
        whole = None
        if any(weight is not None for weight in weights):
            each = zip(weights, output, strict=True)
            whole = np.concatenate([np.ones(len(rows)) if weight is None else weight for weight, rows in each])
        if y[0].labels is not None:
            return Targets(np.concatenate([part.y for part in y]), None), np.concatenate(output), whole
        return Targets(None, np.concatenate([part.y for part in y])), np.concatenate(output), whole

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint keeps of it: y, outputs, and weights if there are any."""
        if not self._batches:
            return {}
        y, outputs, weights = self.whole()
        return {"y": y.y, "outputs": outputs} | ({} if weights is None else {"weights": weights})

    def put(self, y: NDArray[Any], outputs: NDArray[Any], weights: NDArray[np.float64] | None) -> None:
        """What `arrays` gave: as one batch. Class numbers are integers, values are not."""
        targets = Targets(y, None) if y.dtype.kind in "iu" else Targets(None, y)
        self._batches = [(targets, outputs, weights)]

    def measure(self, metrics: Iterable[Any], objective: Objective) -> dict[str, float]:
        """Each metric over all rows; NaN of no batch."""
        if not self._batches:
            return {metric.name: float("nan") for metric in metrics}
        y, output, weights = self.whole()
        return {metric.name: metric.measure(y.y, output, weights, objective) for metric in metrics}
