# SPDX-License-Identifier: BSD-3-Clause
"""The errors of fastnn's own: divergence, and names nobody knows.

Everything else is a ``ValueError`` or a ``TypeError`` raised where the argument is checked (``inputs.py``).
"""

from __future__ import annotations

from collections.abc import Iterable


class DivergenceError(ArithmeticError):
    """Training stopped because a loss or a weight was no longer a finite number.

    An ArithmeticError, raised by fastnn. After ``fit`` the network holds the weights of the last completed epoch, and
    the optimizer starts anew.

    Attributes
    ----------
    epoch, batch : int or None
        Where it happened, counted from 0 within the call of ``fit``; None in ``train_step`` and ``Optimizer.step``.
    learning_rate : float
        The learning rate at that step.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> net = fn.Sequential([fn.Dense(1)], inputs=1, seed=0)
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> try:
    ...     net.fit(X, 2 * X[:, 0], optimizer=fn.SGD(1e30), verbose=0)
    ... except fn.DivergenceError as error:
    ...     print(error.epoch, error.learning_rate)
    0 1e+30
    """

    def __init__(self, message: str, *, epoch: int | None, batch: int | None, learning_rate: float) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.batch = batch
        self.learning_rate = learning_rate

    def __reduce__(self) -> tuple[object, ...]:
        return _divergence, (str(self), self.epoch, self.batch, self.learning_rate)


def _divergence(message: str, epoch: int | None, batch: int | None, learning_rate: float) -> DivergenceError:
    return DivergenceError(message, epoch=epoch, batch=batch, learning_rate=learning_rate)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is not in a list, with the nearest one that is."""
    import difflib

    names = list(known)
    near = difflib.get_close_matches(str(name).lower().replace(" ", "_"), names, n=1, cutoff=0.5)
    hint = f". Did you mean {near[0]!r}?" if near else "."
    return ValueError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}")
