# SPDX-License-Identifier: BSD-3-Clause
"""Layers that work in training only: they make it harder to learn the rows by heart."""

from __future__ import annotations

from typing import Any

from . import _core
from .arguments import not_negative, number
from .graph import Graph
from .layers import LAYERS, Layer


class Dropout(Layer):
    """Leaves out numbers at random while training: y = x / (1 - rate) with probability 1 - rate, else 0.

    In prediction it does nothing. The mask is a function of the seed, the number of the batch, the layer and the place
    in the batch, so it depends neither on threads nor on what was drawn before; it is never stored. The rate is
    rounded to a multiple of 1 / 65,536, and the factor is the exact inverse of what is kept.

    Parameters
    ----------
    rate : float in [0, 1)
        The share that is left out.
    trainable, learning_rate_factor, name
        As of every layer (:class:`Layer`); nothing is learned here.

    Raises
    ------
    ValueError, TypeError
        If the rate is not in [0, 1), or no number.

    References
    ----------
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> net = fn.Sequential([fn.Dropout(0.5), fn.Dense(1)], inputs=3, seed=0)
    >>> x = np.ones((4, 3))
    >>> bool((net.forward(x) == net.predict(x)).all()), bool((net.forward(x, training=True) == net.predict(x)).all())
    (True, False)
    """

    def __init__(self, rate: float, *, name: str | None = None, **other: Any) -> None:
        self.rate = number(rate, "rate")
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate must be in [0, 1), not {rate!r}")
        super().__init__(name, **other)

    def add_to(self, graph: Graph) -> None:
        if self.rate > 0:
            graph.random(_core.DROPOUT, self.rate)

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate, **super().config()}


class GaussianNoise(Layer):
    """Adds noise while training: y = x + stddev . normal number. In prediction it does nothing.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise, in the units of x; not negative.
    trainable, learning_rate_factor, name
        As of every layer (:class:`Layer`); nothing is learned here.

    Raises
    ------
    ValueError, TypeError
        If stddev is negative, not finite, or no number.

    References
    ----------
    Bishop, Training with noise is equivalent to Tikhonov regularization, 1995.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> net = fn.Sequential([fn.GaussianNoise(0.1), fn.Dense(1)], inputs=3, seed=0)
    >>> bool((net.forward(np.ones((4, 3)), training=True) == net.predict(np.ones((4, 3)))).any())
    False
    """

    def __init__(self, stddev: float, *, name: str | None = None, **other: Any) -> None:
        self.stddev = not_negative(stddev, "stddev")
        super().__init__(name, **other)

    def add_to(self, graph: Graph) -> None:
        if self.stddev > 0:
            graph.random(_core.NOISE, self.stddev)

    def config(self) -> dict[str, Any]:
        return {"stddev": self.stddev, **super().config()}


LAYERS["Dropout"], LAYERS["GaussianNoise"] = Dropout, GaussianNoise
