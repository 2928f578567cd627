# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks: what a caller wants to happen during ``fit``.

A callback is any object with one or more of these methods; :class:`Callback` is a base class for those who like one.
``on_batch_end`` has a price, since ``fit`` then comes back to Python after each batch: it is only called, and only then
costs anything, when it is defined.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Sequential

EVENTS = ("on_fit_begin", "on_epoch_end", "on_batch_end", "on_fit_end")


class Callback:
    """Base class of callbacks: override what you need, or define ``on_batch_end(net, step, logs)`` as well.

    ``net.stop_training = True`` ends ``fit``; ``net.optimizer.learning_rate`` may be set. Epochs and steps are counted
    from 0 within the call of ``fit``.

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

    def on_fit_begin(self, net: Sequential) -> None:
        """Before the first step."""

    def on_epoch_end(self, net: Sequential, epoch: int, logs: dict[str, float]) -> None:
        """After each epoch, with what was measured."""

    def on_fit_end(self, net: Sequential) -> None:
        """After the last epoch, however it came to be the last, except by an exception."""


class CallbackList:
    """All callbacks of one ``fit``, called in their order."""

    def __init__(self, callbacks: object) -> None:
        if callbacks is None:
            callbacks = ()
        if not isinstance(callbacks, Iterable):
            callbacks = (callbacks,)
        self._callbacks = tuple(callbacks)
        for callback in self._callbacks:
            if not any(callable(getattr(callback, event, None)) for event in EVENTS) or isinstance(callback, type):
                raise TypeError(f"callbacks: {callback!r} is no object with one of the methods {', '.join(EVENTS)}")
        self.every_batch = any(hasattr(callback, "on_batch_end") for callback in self._callbacks)

    def call(self, event: str, *arguments: Any) -> None:
        """Call one method of every callback that has it."""
        for callback in self._callbacks:
            method = getattr(callback, event, None)
            if method is not None:
                method(*arguments)
