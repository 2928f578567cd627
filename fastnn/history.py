# SPDX-License-Identifier: BSD-3-Clause
"""What happened in a ``fit``: one value per epoch of everything that was measured."""

from __future__ import annotations

from .health import Health, about_curves


class History:
    """What ``fit`` returns, and ``net.history`` while it runs. Made by ``fit``.

    Attributes
    ----------
    history : dict of str to list of float
        One value per completed epoch: "loss", each metric, "val_loss" and "val_..." with validation data,
        "learning_rate" of its last step and "seconds" that it took.
    loss : str
        The name of the loss.
    optimizer : str
        The optimizer, as text.
    threads : int
        How many threads took part in the last epoch.
    health : Health or None
        Of each layer after the last epoch: outputs for some rows (where that costs less than a hundredth of the fit),
        gradient and update of the last step.

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
        self.health: Health | None = None
        self.remarks: list[str] = []  # about the data and the schedule, before training

    def report(self) -> str:
        """What happened, in plain words: how the loss went, how each layer is, and what to try if something is wrong.

        Returns
        -------
        str
            Lines to print; those that begin with "!" are warnings: unscaled data, overfitting, dying ReLUs, saturation,
            vanishing or exploding gradients, steps too large or too small.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> X = np.linspace(-1, 1, 640)[:, None]
        >>> net = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(1)], seed=0)
        >>> print(net.fit(X, X**2, epochs=20, verbose=0).report())    # doctest: +ELLIPSIS
        20 epochs: loss ...
        layer    activation  dead  saturated  gradient  update/weight
        layer 0  tanh           -          -  ...
        layer 1  linear         -          -  ...
        """
        curves = [
            f"{name} {values[0]:.4g} -> {values[-1]:.4g}"
            for name, values in self.history.items()
            if values and name not in ("seconds", "learning_rate")
        ]
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        lines = [f"{epochs}: {'; '.join(curves)}" if curves else "no epoch was completed"]
        if self.health is not None and self.health.layers:
            lines.append(str(self.health))
        lines += [f"! {remark}" for remark in (*self.remarks, *about_curves(self.history))]
        return "\n".join(lines)

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
