# SPDX-License-Identifier: BSD-3-Clause
"""The activations as ONNX nodes: name -> function (exporter, name of x, parameter) -> name of f(x).

An operator of ONNX is used where there is one in opset 13. In float64 ONNX Runtime has few of them; there they are
made of exponentials, comparisons and sums, which it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .onnx_export import Exporter

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def _single(to: Exporter) -> bool:
    return bool(to.dtype == np.float32)


def _where_above(to: Exporter, x: str, above: str, below: str) -> str:
    """`above` where x > 0, else `below`."""
    return to.add("Where", to.add("Greater", x, to.constant(0.0)), above, below)


def linear(to: Exporter, x: str, _: float) -> str:
    """z"""
    return x


def relu(to: Exporter, x: str, _: float) -> str:
    """max(z, 0)"""
    return to.add("Relu", x)


def tanh(to: Exporter, x: str, _: float) -> str:
    """tanh(z)"""
    return to.add("Tanh", x)


def sigmoid(to: Exporter, x: str, _: float) -> str:
    """1 / (1 + exp(-z))"""
    return to.add("Sigmoid", x)


def softmax(to: Exporter, x: str, _: float) -> str:
    """exp(z_j) / sum_i exp(z_i)"""
    return to.add("Softmax", x, axis=-1)


def softsign(to: Exporter, x: str, _: float) -> str:
    """z / (1 + |z|)"""
    if _single(to):
        return to.add("Softsign", x)
    return to.add("Div", x, to.add("Add", to.add("Abs", x), to.constant(1.0)))


def leaky_relu(to: Exporter, x: str, slope: float) -> str:
    """z where z > 0, else p z"""
    if _single(to):
        return to.add("LeakyRelu", x, alpha=slope)
    return _where_above(to, x, x, to.add("Mul", x, to.constant(slope)))


def _exponential(to: Exporter, x: str, scale: float, alpha: float) -> str:
    """scale z where z > 0, else scale alpha (exp(z) - 1)"""
    power = to.add("Exp", to.add("Min", x, to.constant(0.0)))
    below = to.add("Mul", to.add("Sub", power, to.constant(1.0)), to.constant(scale * alpha))
    return _where_above(to, x, x if scale == 1.0 else to.add("Mul", x, to.constant(scale)), below)


def elu(to: Exporter, x: str, alpha: float) -> str:
    """z where z > 0, else p (exp(z) - 1)"""
    return to.add("Elu", x, alpha=alpha) if _single(to) else _exponential(to, x, 1.0, alpha)


def selu(to: Exporter, x: str, _: float) -> str:
    """s z where z > 0, else s p (exp(z) - 1)"""
    if _single(to):
        return to.add("Selu", x, alpha=SELU_ALPHA, gamma=SELU_SCALE)
    return _exponential(to, x, SELU_SCALE, SELU_ALPHA)


def gelu(to: Exporter, x: str, _: float) -> str:
    """z (1 + erf(z / sqrt 2)) / 2; the error function is computed in float32, for runtimes have no other"""
    argument = to.add("Mul", x, to.constant(math.sqrt(0.5)))
    if not _single(to):
        argument = to.add("Cast", argument, to=1)
    error = to.add("Erf", argument)
    if not _single(to):
        error = to.add("Cast", error, to=11)
    half = to.add("Mul", x, to.constant(0.5))
    return to.add("Mul", half, to.add("Add", error, to.constant(1.0)))


def silu(to: Exporter, x: str, _: float) -> str:
    """z sigmoid(z)"""
    return to.add("Mul", x, to.add("Sigmoid", x))


def softplus(to: Exporter, x: str, _: float) -> str:
    """log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|))"""
    if _single(to):
        return to.add("Softplus", x)
    power = to.add("Exp", to.add("Neg", to.add("Abs", x)))
    return to.add("Add", to.add("Relu", x), to.add("Log", to.add("Add", power, to.constant(1.0))))


def mish(to: Exporter, x: str, _: float) -> str:
    """z tanh(softplus(z))"""
    return to.add("Mul", x, to.add("Tanh", softplus(to, x, 0.0)))


def hard_sigmoid(to: Exporter, x: str, _: float) -> str:
    """z / 6 + 1/2, clipped to 0..1"""
    if _single(to):
        return to.add("HardSigmoid", x, alpha=1.0 / 6.0, beta=0.5)
    line = to.add("Add", to.add("Mul", x, to.constant(1.0 / 6.0)), to.constant(0.5))
    return to.add("Clip", line, to.constant(0.0), to.constant(1.0))


def hard_swish(to: Exporter, x: str, _: float) -> str:
    """z hard_sigmoid(z)"""
    return to.add("Mul", x, hard_sigmoid(to, x, 0.0))


ACTIVATIONS: dict[str, Callable[[Exporter, str, float], str]] = {
    function.__name__: function
    for function in (
        linear, relu, tanh, sigmoid, softmax, softsign, leaky_relu, elu, selu, gelu, silu, mish, softplus, hard_sigmoid,
        hard_swish,
    )
}  # fmt: skip
