# SPDX-License-Identifier: BSD-3-Clause
"""The activations: name, formula, and the formula once more as NumPy code, which is what tests compare with.

The code that runs is in ``csrc/kernels/activations.h``. To add one: a row there, and here a function of z, in float64,
with a docstring that has a running example. A parameter beside z has its default in the signature.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .arguments import number
from .registry import Registry

Rows = NDArray[np.float64]
Formula = Callable[..., Any]  # of z, or of z and the parameter


class ActivationFunction:
    """One activation, a row of ``fastnn.activations``: call it to apply its formula in float64. Made by fastnn.

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
    parameter : float or None
        Its slope or alpha, where it has one.

    Examples
    --------
    >>> import fastnn as fn
    >>> relu = fn.activations["relu"]
    >>> relu([-1.0, 2.0])
    array([0., 2.])
    >>> relu.derivative
    '1 where z > 0, else 0'
    """

    def __init__(
        self, function: Formula, formula: str, derivative: str, initializer: str, parameter: float | None = None
    ) -> None:
        self.name = function.__name__
        self.parameter = parameter
        self.formula = formula
        self.derivative = derivative
        self.initializer = initializer
        self.__doc__ = function.__doc__
        self._function = function

    def __call__(self, z: ArrayLike) -> NDArray[np.float64]:
        """The formula in float64.

        Parameters
        ----------
        z : array-like (..., units)
            Weighted sums; softmax is over the last axis.

        Returns
        -------
        ndarray of the shape of z, float64
        """
        parameters = () if self.parameter is None else (self.parameter,)
        a: NDArray[np.float64] = self._function(np.asarray(z, np.float64), *parameters)
        return a

    @property
    def spelled(self) -> str:
        """What stands for it in a layer's arguments and in a file: the name, and the parameter if it has one."""
        return self.name if self.parameter is None else f"{self.name}({self.parameter!r})"

    def with_parameter(self, value: float) -> ActivationFunction:
        """The same activation with another parameter, which must be in its range."""
        if self.parameter is None:
            raise ValueError(f"the activation {self.name} has no parameter, so it cannot be {value!r}")
        chosen = number(value, f"the parameter of {self.name}")
        if not 0 <= chosen < math.inf or (chosen == 0 and self.name == "elu"):
            raise ValueError(f"the parameter of {self.name} must be finite and positive, not {value!r}")
        return ActivationFunction(self._function, self.formula, self.derivative, self.initializer, chosen)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActivationFunction) and self.spelled == other.spelled

    def __hash__(self) -> int:
        return hash(self.spelled)

    def __repr__(self) -> str:
        return f"<activation {self.spelled}: {self.formula}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return activation, (self.spelled,)


activations: Registry[ActivationFunction] = Registry("activation")


def activation(spelled: str) -> ActivationFunction:
    """The activation a layer's argument names: a row of the registry, or one with a parameter of its own.

    >>> activation("elu(0.5)").parameter
    0.5
    """
    row, value = activations.spelled(spelled, "parameter as in 'elu(0.5)'")
    return row if value is None else row.with_parameter(value)


def LeakyReLU(slope: float = 0.01) -> ActivationFunction:
    """The activation leaky_relu with a slope of its own below 0.

    Parameters
    ----------
    slope : float, default 0.01
        Not negative and finite.

    Returns
    -------
    ActivationFunction
        For ``Dense(units, fn.LeakyReLU(0.2))``; "leaky_relu(0.2)" is the same.

    Raises
    ------
    ValueError, TypeError
        If the slope is out of its range, or no number.

    References
    ----------
    Maas, Hannun & Ng, Rectifier nonlinearities improve neural network acoustic models, 2013.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.Dense(8, fn.LeakyReLU(0.2)).activation([-1.0, 2.0])
    array([-0.2,  2. ])
    """
    return activations["leaky_relu"].with_parameter(slope)


def ELU(alpha: float = 1.0) -> ActivationFunction:
    """The activation elu with an alpha of its own: far below 0 it goes to -alpha.

    Parameters
    ----------
    alpha : float, default 1.0
        Positive and finite.

    Returns
    -------
    ActivationFunction
        For ``Dense(units, fn.ELU(0.5))``; "elu(0.5)" is the same.

    Raises
    ------
    ValueError, TypeError
        If alpha is out of its range, or no number.

    References
    ----------
    Clevert, Unterthiner & Hochreiter, Fast and accurate deep network learning by exponential linear units, 2016.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.Dense(8, fn.ELU(0.5)).activation([-100.0, 2.0])
    array([-0.5,  2. ])
    """
    return activations["elu"].with_parameter(alpha)


def _row(formula: str, derivative: str, initializer: str = "glorot_uniform") -> Callable[[Formula], Formula]:
    def enter(function: Formula) -> Formula:
        parameter = function.__defaults__[0] if function.__defaults__ else None
        row = ActivationFunction(function, formula, derivative, initializer, parameter)
        activations.add(function.__name__, row)
        return function

    return enter


@_row("z", "1")
def linear(z: Rows) -> Any:
    """No activation: the weighted sum itself, for regression and for logits.

    >>> import fastnn as fn
    >>> fn.activations["linear"]([-1.0, 2.0])
    array([-1.,  2.])
    """
    return z


@_row("max(z, 0)", "1 where z > 0, else 0", initializer="he_uniform")
def relu(z: Rows) -> Any:
    """Rectified linear unit: the usual choice for hidden layers. A unit whose z is never positive learns nothing more.

    Nair & Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010.

    >>> import fastnn as fn
    >>> fn.activations["relu"]([-1.0, 2.0])
    array([0., 2.])
    """
    return np.maximum(z, 0.0)


@_row("tanh(z)", "1 - tanh(z)^2")
def tanh(z: Rows) -> Any:
    """Hyperbolic tangent: smooth, between -1 and 1. Far from 0 its derivative vanishes.

    >>> import fastnn as fn
    >>> fn.activations["tanh"]([0.0, 100.0])
    array([0., 1.])
    """
    return np.tanh(z)


@_row("1 / (1 + exp(-z))", "a (1 - a)")
def sigmoid(z: Rows) -> Any:
    """Logistic function: squeezes z into 0..1, as the probability of yes in a last layer.

    >>> import fastnn as fn
    >>> fn.activations["sigmoid"]([-1000.0, 0.0])
    array([0. , 0.5])
    """
    small = np.exp(-np.abs(z))  # of the negative side only, so that nothing overflows
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


@_row("exp(z_j) / sum_i exp(z_i)", "a_j ((j = i) - a_i)")
def softmax(z: Rows) -> Any:
    """Probabilities of classes which exclude each other: positive, and summing to 1.

    Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.

    >>> import fastnn as fn
    >>> fn.activations["softmax"]([[1000.0, 1000.0]])
    array([[0.5, 0.5]])
    """
    shifted = np.exp(z - z.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


@_row("z / (1 + |z|)", "(1 - |a|)^2")
def softsign(z: Rows) -> Any:
    """Like tanh between -1 and 1, but without an exponential, and slower to saturate.

    Bergstra, Desjardins, Lamblin & Bengio, "Quadratic polynomials learn better image features", 2009.

    >>> import fastnn as fn
    >>> fn.activations["softsign"]([-1.0, 3.0])
    array([-0.5 ,  0.75])
    """
    return z / (1.0 + np.abs(z))


@_row("z where z > 0, else p z", "1 where z > 0, else p", initializer="he_uniform")
def leaky_relu(z: Rows, p: float = 0.01) -> Any:
    """ReLU with a small slope p below 0, so that no unit stops learning.

    Maas, Hannun & Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.

    >>> import fastnn as fn
    >>> fn.activations["leaky_relu"]([-1.0, 2.0])
    array([-0.01,  2.  ])
    """
    return np.where(z > 0, z, p * z)


@_row("z where z > 0, else p (exp(z) - 1)", "1 where z > 0, else a + p", initializer="he_uniform")
def elu(z: Rows, p: float = 1.0) -> Any:
    """Exponential linear unit: smooth, with negative values that pull the mean of activations towards 0.

    Clevert, Unterthiner & Hochreiter, "Fast and accurate deep network learning by exponential linear units", 2016.

    >>> import fastnn as fn
    >>> fn.activations["elu"]([-100.0, 2.0])
    array([-1.,  2.])
    """
    return np.where(z > 0, z, p * np.expm1(np.minimum(z, 0.0)))


@_row("s z where z > 0, else s p (exp(z) - 1)", "s where z > 0, else a + s p", initializer="lecun_uniform")
def selu(z: Rows) -> Any:
    """Scaled ELU: with s = 1.0507 and p = 1.6733, mean 0 and variance 1 are a fixed point of deep stacks of layers.

    Klambauer et al., "Self-normalizing neural networks", 2017.

    >>> import fastnn as fn
    >>> fn.activations["selu"]([-100.0, 1.0]).round(4)
    array([-1.7581,  1.0507])
    """
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    return scale * np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0.0)))


@_row("z P(z), P(z) = (1 + erf(z / sqrt 2)) / 2", "P(z) + z exp(-z^2 / 2) / sqrt(2 pi)", initializer="he_uniform")
def gelu(z: Rows) -> Any:
    """Gaussian error linear unit, the exact form: z times the normal distribution.

    Hendrycks & Gimpel, "Gaussian error linear units", 2016.

    >>> import fastnn as fn
    >>> fn.activations["gelu"]([-1.0, 0.0, 1.0]).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    erfc = np.vectorize(math.erfc, otypes=[np.float64])
    return np.asarray(z * 0.5 * erfc(-z / math.sqrt(2.0)))


@_row("z s(z), s the sigmoid", "s (1 + z (1 - s))", initializer="he_uniform")
def silu(z: Rows) -> Any:
    """Sigmoid linear unit, also called swish: like ReLU far from 0, smooth near it.

    Elfwing, Uchibe & Doya, "Sigmoid-weighted linear units for neural network function approximation", 2018.

    >>> import fastnn as fn
    >>> fn.activations["silu"]([0.0, 100.0])
    array([  0., 100.])
    """
    return z * sigmoid(z)


@_row("z tanh(log(1 + exp(z)))", "t + z s (1 - t^2), t the tanh, s the sigmoid of z", initializer="he_uniform")
def mish(z: Rows) -> Any:
    """Smooth like silu, and a little deeper below 0.

    Misra, "Mish: a self regularized non-monotonic activation function", 2020.

    >>> import fastnn as fn
    >>> fn.activations["mish"]([0.0, 100.0])
    array([  0., 100.])
    """
    return z * np.tanh(np.logaddexp(0.0, z))


@_row("log(1 + exp(z))", "1 - exp(-a)", initializer="he_uniform")
def softplus(z: Rows) -> Any:
    """A smooth ReLU, always positive: for scales and rates in a last layer.

    Dugas et al., "Incorporating second-order functional knowledge for better option pricing", 2001.

    >>> import fastnn as fn
    >>> fn.activations["softplus"]([0.0, 100.0]).round(4)
    array([  0.6931, 100.    ])
    """
    return np.logaddexp(0.0, z)


@_row("z / 6 + 1/2, clipped to 0..1", "1/6 where 0 < a < 1, else 0")
def hard_sigmoid(z: Rows) -> Any:
    """A sigmoid of three straight lines: no exponential.

    Howard et al., "Searching for MobileNetV3", 2019.

    >>> import fastnn as fn
    >>> fn.activations["hard_sigmoid"]([-4.0, 0.0, 4.0])
    array([0. , 0.5, 1. ])
    """
    return np.clip(z / 6.0 + 0.5, 0.0, 1.0)


@_row("z h(z), h the hard sigmoid", "0 below -3, 1 above 3, else z / 3 + 1/2", initializer="he_uniform")
def hard_swish(z: Rows) -> Any:
    """silu of straight lines and a parabola: no exponential.

    Howard et al., "Searching for MobileNetV3", 2019.

    >>> import fastnn as fn
    >>> fn.activations["hard_swish"]([-1.5, 1.5, 4.0])
    array([-0.375,  1.125,  4.   ])
    """
    return z * hard_sigmoid(z)


activations.check(_core.activation_names())
