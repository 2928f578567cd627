# SPDX-License-Identifier: BSD-3-Clause
"""The initializers: where a layer's weights start.

Every number is a function of (seed, tensor, position) through the counter-based generator of ``csrc/random.c``, and of
additions, products and square roots in float64, which all machines round alike: the same weights everywhere. So no
function of a mathematical library may be used here. To add one: a function of (u, inputs, units), where u is uniform in
(-1, 1), with a docstring that has a running example.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._memory import allocate
from .registry import Registry

Formula = Callable[[NDArray[np.float64], int, int], NDArray[np.float64]]


class Initializer:
    """One initializer.

    Attributes
    ----------
    name : str
        What it is called in a layer.
    formula : str
        The distribution of a weight (inputs, units).

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.initializers["he_uniform"].draw(seed=0, segment=0, shape=(3, 2), dtype="float32").shape
    (3, 2)
    """

    def __init__(self, function: Formula, formula: str) -> None:
        self.name = function.__name__
        self.formula = formula
        self.__doc__ = function.__doc__
        self._function = function

    def draw(self, *, seed: int, segment: int, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
        """The start of one tensor, the segment-th of its network."""
        words = allocate(shape, np.uint32)
        _core.random_words(seed, _core.STREAM_INITIAL, segment, words.reshape(-1))
        u = (words + 0.5) * 2.0**-31 - 1.0  # exact: 33 bits
        return self._function(u, *shape).astype(dtype)

    def __repr__(self) -> str:
        return f"<initializer {self.name}: {self.formula}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.name,)


initializers: Registry[Initializer] = Registry("initializer")


def _named(name: str) -> Initializer:
    return initializers[name]


def _row(formula: str) -> Callable[[Formula], Formula]:
    def enter(function: Formula) -> Formula:
        initializers.add(function.__name__, Initializer(function, formula))
        return function

    return enter


@_row("uniform in +-sqrt(6 / (inputs + units))")
def glorot_uniform(u: NDArray[np.float64], inputs: int, units: int) -> NDArray[np.float64]:
    """Keeps the variance of signals and gradients through layers such as tanh (Glorot & Bengio 2010).

    >>> bool(abs(initializers["glorot_uniform"].draw(seed=0, segment=0, shape=(3, 3), dtype="f8")).max() < 1)
    True
    """
    return u * math.sqrt(6.0 / (inputs + units))


@_row("uniform in +-sqrt(6 / inputs)")
def he_uniform(u: NDArray[np.float64], inputs: int, units: int) -> NDArray[np.float64]:
    """Keeps the variance through ReLU layers, which silence half of their units (He et al. 2015).

    >>> bool(abs(initializers["he_uniform"].draw(seed=0, segment=0, shape=(6, 3), dtype="f8")).max() < 1)
    True
    """
    return u * math.sqrt(6.0 / inputs)


@_row("uniform in +-sqrt(3 / inputs)")
def lecun_uniform(u: NDArray[np.float64], inputs: int, units: int) -> NDArray[np.float64]:
    """Variance 1 / inputs, for activations that keep variance by themselves, as selu (LeCun et al. 1998).

    >>> bool(abs(initializers["lecun_uniform"].draw(seed=0, segment=0, shape=(3, 3), dtype="f8")).max() < 1)
    True
    """
    return u * math.sqrt(3.0 / inputs)


@_row("0")
def zeros(u: NDArray[np.float64], inputs: int, units: int) -> NDArray[np.float64]:
    """All zero: for biases. As weights of a hidden layer it keeps all units alike for ever.

    >>> initializers["zeros"].draw(seed=0, segment=0, shape=(1, 2), dtype="f8")
    array([[0., 0.]])
    """
    return np.zeros_like(u)
