# SPDX-License-Identifier: BSD-3-Clause
"""The activations: name, formula, and the formula once more as NumPy code, which is what tests compare with.

The code that runs is in ``csrc/kernels/activations.h``. To add one: a row there, and here a function of z, in float64,
with a docstring that has a running example.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .registry import Registry

Rows = NDArray[np.float64]
Formula = Callable[[Rows], Any]


class ActivationFunction:
    """One activation: call it to apply its formula to an array in float64, along the last axis.

    Attributes
    ----------
    name : str
        What it is called in a layer.
    formula : str
        a as a function of the weighted sum z.
    derivative : str
        da/dz, as backpropagation uses it.
    initializer : str
        What ``initializer="auto"`` means in a layer with this activation.

    Examples
    --------
    >>> import fastnn as fn
    >>> relu = fn.activations["relu"]
    >>> relu([-1.0, 2.0])
    array([0., 2.])
    >>> relu.derivative
    '1 where z > 0, else 0'
    """

    def __init__(self, function: Formula, formula: str, derivative: str, initializer: str) -> None:
        self.name = function.__name__
        self.formula = formula
        self.derivative = derivative
        self.initializer = initializer
        self.__doc__ = function.__doc__
        self._function = function

    def __call__(self, z: ArrayLike) -> NDArray[np.float64]:
        a: NDArray[np.float64] = self._function(np.asarray(z, np.float64))
        return a

    def __repr__(self) -> str:
        return f"<activation {self.name}: {self.formula}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.name,)


activations: Registry[ActivationFunction] = Registry("activation")


def _named(name: str) -> ActivationFunction:
    return activations[name]


def _row(formula: str, derivative: str, initializer: str = "glorot_uniform") -> Callable[[Formula], Formula]:
    def enter(function: Formula) -> Formula:
        activations.add(function.__name__, ActivationFunction(function, formula, derivative, initializer))
        return function

    return enter


@_row("z", "1")
def linear(z: Rows) -> Any:
    """No activation: the weighted sum itself, for regression and for logits.

    >>> activations["linear"]([-1.0, 2.0])
    array([-1.,  2.])
    """
    return z


@_row("max(z, 0)", "1 where z > 0, else 0", initializer="he_uniform")
def relu(z: Rows) -> Any:
    """Rectified linear unit: the usual choice for hidden layers. A unit whose z is never positive learns nothing more.

    >>> activations["relu"]([-1.0, 2.0])
    array([0., 2.])
    """
    return np.maximum(z, 0.0)


@_row("tanh(z)", "1 - tanh(z)^2")
def tanh(z: Rows) -> Any:
    """Hyperbolic tangent: smooth, between -1 and 1. Far from 0 its derivative vanishes.

    >>> activations["tanh"]([0.0, 100.0])
    array([0., 1.])
    """
    return np.tanh(z)


@_row("1 / (1 + exp(-z))", "a (1 - a)")
def sigmoid(z: Rows) -> Any:
    """Logistic function: squeezes z into 0..1, as the probability of yes in a last layer.

    >>> activations["sigmoid"]([-1000.0, 0.0])
    array([0. , 0.5])
    """
    small = np.exp(-np.abs(z))  # of the negative side only, so that nothing overflows
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


@_row("exp(z_j) / sum_i exp(z_i)", "a_j ((j = i) - a_i)")
def softmax(z: Rows) -> Any:
    """Probabilities of classes which exclude each other: positive, and summing to 1.

    >>> activations["softmax"]([[1000.0, 1000.0]])
    array([[0.5, 0.5]])
    """
    shifted = np.exp(z - z.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


@_row("z / (1 + |z|)", "(1 - |a|)^2")
def softsign(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Like tanh between -1 and 1, but without an exponential, and slower to saturate.

    >>> activations["softsign"]([-1.0, 3.0])
    array([-0.5 ,  0.75])
    """
    return z / (1.0 + np.abs(z))


activations.check(_core.activation_names())
