# SPDX-License-Identifier: BSD-3-Clause
"""What happened in a ``fit``: one value per epoch of everything that was measured."""

from __future__ import annotations


class History:
    """What ``fit`` returns, and ``net.history`` while it runs.

    Attributes
    ----------
    history : dict of str to list of float
        One value per completed epoch: "loss", each metric, "val_loss" and "val_..." with validation data,
        "learning_rate" and "seconds".
    loss : str
        The name of the loss.
    optimizer : str
        The optimizer, as text.
    threads : int
        How many threads took part in the last epoch.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> history = fn.Sequential([fn.Dense(1)], seed=0).fit(X, 2 * X[:, 0], epochs=3, verbose=0)
    >>> sorted(history.history), len(history.history["loss"])
    (['learning_rate', 'loss', 'seconds'], 3)
    """

    def __init__(self, loss: str = "", optimizer: str = "") -> None:
        self.history: dict[str, list[float]] = {}
        self.loss = loss
        self.optimizer = optimizer
        self.threads = 0

    @property
    def epochs(self) -> int:
        """Completed epochs."""
        return len(self.history.get("loss", ()))

    def append(self, logs: dict[str, float]) -> None:
        """Add the values of one epoch: all of them in one call, so that no signal comes in between."""
        columns = [self.history.setdefault(name, []) for name in logs]
        list(map(list.append, columns, logs.values()))

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.history.items())
        return f"<History: {self.epochs} epochs{': ' + last if last else ''}>"
