# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks: what a caller wants to happen during ``fit``.

A callback is any object with one or more of these methods; :class:`Callback` is a base class for those who like one.
``on_batch_end`` has a price, since ``fit`` then comes back to Python after each batch: it is only called, and only then
costs anything, when it is defined. Those that watch a value are in ``monitoring.py``, those that write files in
``recording.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from .arguments import number, true_or_false
from .metric_function import Better

if TYPE_CHECKING:
    from .model import Sequential
    from .snapshots import Snapshot

EVENTS = ("on_fit_begin", "on_epoch_end", "on_batch_end", "on_fit_end")


@dataclass(frozen=True)
class Preparation:
    """What fastnn's own callbacks are told before a fit changes anything.

    Attributes
    ----------
    measured : dict of str to {"lower", "higher", None}
        Every name in the logs of an epoch, in their order, and which values are better.
    snapshot : function
        Allocates memory for a copy of what training changes.
    resumes : bool
        Whether training goes on from a checkpoint: ``load_state_dict`` follows, behind ``on_fit_begin``.
    """

    measured: dict[str, Better | None]
    snapshot: Callable[[], Snapshot]
    resumes: bool = False


class Callback:
    """Base class of callbacks: override what you need, or define ``on_batch_end(net, step, logs)`` as well.

    The logs of a batch are "loss", of this batch, and "learning_rate". Looking at each batch has a price.

    ``net.stop_training = True`` ends ``fit``; ``net.optimizer.learning_rate`` may be set. Epochs and steps are counted
    from 0 within the call of ``fit``.

    A callback that remembers things from one epoch to the next, and is to be used with ``fit(checkpoint=...)``, says so
    by ``state_dict`` and ``load_state_dict``.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> class Print(fn.Callback):
    ...     def on_epoch_end(self, net, epoch, logs):
    ...         print(epoch, sorted(logs))
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> history = fn.Sequential([fn.Dense(1)], seed=0).fit(X, X, epochs=1, callbacks=[Print()], verbose=0)
    0 ['learning_rate', 'loss', 'seconds']
    """

    def _prepare_fit(self, fit: Preparation) -> None:
        """Begin anew: check what can be checked, and allocate. An error here leaves the network as it was."""

    def on_fit_begin(self, net: Sequential) -> None:
        """Before the first step.

        Parameters
        ----------
        net : Sequential
            The network that is trained.
        """

    def on_epoch_end(self, net: Sequential, epoch: int, logs: dict[str, float]) -> None:
        """After each epoch, with what was measured.

        Parameters
        ----------
        net : Sequential
            The network that is trained.
        epoch : int
            Counted from 0 within the call of ``fit``.
        logs : dict of str to float
            "loss", each metric, "val_loss" and "val_..." with validation data, "learning_rate" and "seconds".
        """

    def on_fit_end(self, net: Sequential) -> None:
        """After the last epoch, however it came to be the last, except by an exception.

        Parameters
        ----------
        net : Sequential
            The network that was trained.
        """

    def state_dict(self) -> dict[str, Any]:
        """What is to be remembered in a checkpoint.

        Returns
        -------
        dict
            By name: arrays, and numbers, text, lists and dicts of them.

        Examples
        --------
        >>> import fastnn as fn
        >>> class Count(fn.Callback):
        ...     def on_fit_begin(self, net):
        ...         self.epochs = 0
        ...     def on_epoch_end(self, net, epoch, logs):
        ...         self.epochs += 1
        ...     def state_dict(self):
        ...         return {"epochs": self.epochs}
        ...     def load_state_dict(self, state):
        ...         self.epochs = state["epochs"]
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """When training goes on from a checkpoint, after ``on_fit_begin``.

        Parameters
        ----------
        state : dict
            What ``state_dict`` gave.
        """


class LambdaCallback(Callback):
    """A callback made of functions.

    Parameters
    ----------
    on_fit_begin, on_epoch_end, on_batch_end, on_fit_end : function, optional
        Called as f(net), f(net, epoch, logs), f(net, step, logs) and f(net). At least one.

    Raises
    ------
    TypeError
        If one of them is no function, or all are None.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> show = fn.LambdaCallback(on_epoch_end=lambda net, epoch, logs: print(epoch, sorted(logs)))
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> history = fn.Sequential([fn.Dense(1)], seed=0).fit(X, X, epochs=1, callbacks=[show], verbose=0)
    0 ['learning_rate', 'loss', 'seconds']
    """

    def __init__(
        self,
        on_fit_begin: Callable[[Sequential], Any] | None = None,
        on_epoch_end: Callable[[Sequential, int, dict[str, float]], Any] | None = None,
        on_batch_end: Callable[[Sequential, int, dict[str, float]], Any] | None = None,
        on_fit_end: Callable[[Sequential], Any] | None = None,
    ) -> None:
        given = {"on_fit_begin": on_fit_begin, "on_epoch_end": on_epoch_end, "on_batch_end": on_batch_end,
                 "on_fit_end": on_fit_end}  # fmt: skip
        for event, function in given.items():
            if function is not None:
                if not callable(function):
                    raise TypeError(f"{event} must be a function, not {type(function).__name__}")
                setattr(self, event, function)  # without on_batch_end there is no such method, and no price
        if all(function is None for function in given.values()):
            raise TypeError(f"a LambdaCallback needs a function for one of {', '.join(given)}")


class TimeLimit(Callback):
    """End ``fit`` after some time: with the first epoch that ends later than that.

    Parameters
    ----------
    seconds : float
        From the beginning of ``fit``, in seconds; above 0.
    per_batch : bool, default False
        End with a batch instead, in the middle of an epoch. Looking at the clock after each batch has a price.

    Attributes
    ----------
    out_of_time : bool
        Whether it ended the last ``fit``. With a checkpoint, ``resume=True`` goes on where it did, then.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> net = fn.Sequential([fn.Dense(1)], seed=0)
    >>> net.fit(X, X, epochs=10**9, callbacks=[fn.TimeLimit(0.05)], verbose=0).epochs < 10**9
    True
    """

    def __init__(self, seconds: float, per_batch: bool = False) -> None:
        self.seconds = number(seconds, "seconds")
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds must be finite and more than 0, not {seconds}")
        self.per_batch = true_or_false(per_batch, "per_batch")
        if self.per_batch:
            self.on_batch_end = self.on_epoch_end  # only then is there such a method
        self._end = math.inf
        self.out_of_time = False

    def on_fit_begin(self, net: Sequential) -> None:
        """Start the clock."""
        self._end = monotonic() + self.seconds
        self.out_of_time = False

    def on_epoch_end(self, net: Sequential, epoch: int, logs: dict[str, float]) -> None:
        """Look at the clock."""
        if monotonic() >= self._end and not net.stop_training:
            net.stop_training = self.out_of_time = True


class CallbackList:
    """All callbacks of one ``fit``, called in their order."""

    def __init__(self, callbacks: object) -> None:
        if callbacks is None:
            callbacks = ()
        if not isinstance(callbacks, Iterable):
            callbacks = (callbacks,)
        # Limits of time come last: they see whether others have ended the fit for good.
        self._callbacks = tuple(sorted(callbacks, key=lambda callback: isinstance(callback, TimeLimit)))
        for callback in self._callbacks:
            if not any(callable(getattr(callback, event, None)) for event in EVENTS) or isinstance(callback, type):
                raise TypeError(f"callbacks: {callback!r} is no object with one of the methods {', '.join(EVENTS)}")
        self.every_batch = any(hasattr(callback, "on_batch_end") for callback in self._callbacks)

    def prepare(self, fit: Preparation) -> None:
        """Before anything changes."""
        for callback in self._callbacks:
            if isinstance(callback, Callback):
                callback._prepare_fit(fit)

    @property
    def with_state(self) -> tuple[Any, ...]:
        """Those that have something to remember in a checkpoint."""
        return tuple(
            callback
            for callback in self._callbacks
            if getattr(type(callback), "state_dict", Callback.state_dict) is not Callback.state_dict
        )

    @property
    def out_of_time(self) -> bool:
        """Whether the fit is ended by a limit of time alone: it may go on when there is more."""
        return any(isinstance(callback, TimeLimit) and callback.out_of_time for callback in self._callbacks)

    def call(self, event: str, *arguments: Any) -> None:
        """Call one method of every callback that has it."""
        for callback in self._callbacks:
            method = getattr(callback, event, None)
            if method is not None:
                method(*arguments)
