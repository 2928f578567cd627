# SPDX-License-Identifier: BSD-3-Clause
"""The initializers: where a layer's weights start.

Every number is a function of (seed, tensor, position) through the counter-based generator of ``csrc/random.c``, and of
additions, products and square roots in float64, which all machines round alike: the same weights everywhere. So no
function of a mathematical library may be used here, nor a sum whose order is NumPy's business: what is needed beyond
elementwise arithmetic are the vector functions and products of ``_core``, whose bits are the same on every machine. To
add one: a function of (u, inputs, units), and of its parameter if it has one, where u (inputs, units) is uniform in
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
from .arguments import number
from .registry import Registry

Matrix = NDArray[np.float64]
Formula = Callable[..., Matrix]  # of u, inputs, units, and of the parameter


class Initializer:
    """One initializer, a row of ``fastnn.initializers``: how the numbers of a tensor start. Made by fastnn.

    Attributes
    ----------
    name : str
        What it is called in a layer.
    formula : str
        The distribution of a weight (inputs, units).
    parameter : float or None
        The value of a constant.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.initializers["he_uniform"].draw(seed=0, segment=0, shape=(3, 2), dtype="float32").shape
    (3, 2)
    """

    def __init__(self, function: Formula, formula: str, parameter: float | None = None) -> None:
        self.name = function.__name__
        self.parameter = parameter
        self.formula = formula
        self.__doc__ = function.__doc__
        self._function = function

    def draw(self, *, seed: int, segment: int, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
        """The start of one tensor.

        Parameters
        ----------
        seed : int
            Not negative, below 2^64.
        segment : int
            Its number among the tensors of the network; each has random numbers of its own.
        shape : (inputs, units)
            Of a weight; a bias is (1, units).
        dtype : numpy dtype
            The network's.

        Returns
        -------
        ndarray (inputs, units), dtype
        """
        words = allocate(shape, np.uint32)
        _core.random_words(seed, _core.STREAM_INITIAL, segment, words.reshape(-1))
        u = (words + 0.5) * 2.0**-31 - 1.0  # exact: 33 bits
        parameters = () if self.parameter is None else (self.parameter,)
        return self._function(u, *shape, *parameters).astype(dtype)

    @property
    def spelled(self) -> str:
        """What stands for it in a layer's arguments and in a file: the name, and the parameter if it has one."""
        return self.name if self.parameter is None else f"{self.name}({self.parameter!r})"

    def with_parameter(self, value: float) -> Initializer:
        """The same initializer with another parameter, which must be finite."""
        if self.parameter is None:
            raise ValueError(f"the initializer {self.name} has no parameter, so it cannot be {value!r}")
        chosen = number(value, "value")
        if not math.isfinite(chosen):
            raise ValueError(f"the value of {self.name} must be finite, not {value!r}")
        return Initializer(self._function, self.formula, chosen)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Initializer) and self.spelled == other.spelled

    def __hash__(self) -> int:
        return hash(self.spelled)

    def __repr__(self) -> str:
        return f"<initializer {self.spelled}: {self.formula}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return initializer, (self.spelled,)


initializers: Registry[Initializer] = Registry("initializer")


def initializer(spelled: str) -> Initializer:
    """The initializer a layer's argument names: a row of the registry, or one with a parameter of its own.

    >>> initializer("constant(0.5)").parameter
    0.5
    """
    row, value = initializers.spelled(spelled, "value as in 'constant(0.1)'")
    return row if value is None else row.with_parameter(value)


def Constant(value: float = 0.0) -> Initializer:
    """The initializer constant with a value of its own.

    Parameters
    ----------
    value : float, default 0.0
        Finite.

    Returns
    -------
    Initializer
        For ``Dense(units, bias_initializer=fn.Constant(0.1))``; "constant(0.1)" is the same.

    Raises
    ------
    ValueError, TypeError
        If the value is not finite, or no number.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.Sequential([fn.Dense(2, bias_initializer=fn.Constant(0.5))], inputs=1, seed=0).layers[0].bias
    array([0.5, 0.5], dtype=float32)
    """
    return initializers["constant"].with_parameter(value)


def _row(formula: str) -> Callable[[Formula], Formula]:
    def enter(function: Formula) -> Formula:
        parameter = function.__defaults__[0] if function.__defaults__ else None
        initializers.add(function.__name__, Initializer(function, formula, parameter))
        return function

    return enter


# ---- uniform ---------------------------------------------------------------------------------------------------------


@_row("uniform in +-sqrt(6 / (inputs + units))")
def glorot_uniform(u: Matrix, inputs: int, units: int) -> Matrix:
    """Keeps the variance of signals and gradients through layers such as tanh (Glorot & Bengio 2010).

    >>> import fastnn as fn
    >>> bool(abs(fn.initializers["glorot_uniform"].draw(seed=0, segment=0, shape=(3, 3), dtype="f8")).max() < 1)
    True
    """
    return u * math.sqrt(6.0 / (inputs + units))


@_row("uniform in +-sqrt(6 / inputs)")
def he_uniform(u: Matrix, inputs: int, units: int) -> Matrix:
    """Keeps the variance through ReLU layers, which silence half of their units (He et al. 2015).

    >>> import fastnn as fn
    >>> bool(abs(fn.initializers["he_uniform"].draw(seed=0, segment=0, shape=(6, 3), dtype="f8")).max() < 1)
    True
    """
    return u * math.sqrt(6.0 / inputs)


@_row("uniform in +-sqrt(3 / inputs)")
def lecun_uniform(u: Matrix, inputs: int, units: int) -> Matrix:
    """Variance 1 / inputs, for activations that keep variance by themselves, as selu (LeCun et al. 1998).

    >>> import fastnn as fn
    >>> bool(abs(fn.initializers["lecun_uniform"].draw(seed=0, segment=0, shape=(3, 3), dtype="f8")).max() < 1)
    True
    """
    return u * math.sqrt(3.0 / inputs)


# ---- normal ----------------------------------------------------------------------------------------------------------


def _normal(u: Matrix) -> Matrix:
    """Normal numbers of mean 0 and variance 1, by the inverse of their distribution: x with P(x) = (1 + u) / 2.

    Not truncated, as some libraries have it: but words of 32 bits end at 6.3 standard deviations.
    """
    x = allocate(u.shape, np.float64)
    _core.vector_function(_core.NORMAL_QUANTILE, (0.5 * (u + 1.0)).reshape(-1), x.reshape(-1))  # the argument is exact
    return x


@_row("normal, mean 0, variance 2 / (inputs + units)")
def glorot_normal(u: Matrix, inputs: int, units: int) -> Matrix:
    """As glorot_uniform, with normal numbers, not truncated (Glorot & Bengio 2010).

    >>> import fastnn as fn
    >>> bool(abs(fn.initializers["glorot_normal"].draw(seed=0, segment=0, shape=(3, 3), dtype="f8")).max() < 4)
    True
    """
    return _normal(u) * math.sqrt(2.0 / (inputs + units))


@_row("normal, mean 0, variance 2 / inputs")
def he_normal(u: Matrix, inputs: int, units: int) -> Matrix:
    """As he_uniform, with normal numbers, not truncated (He et al. 2015).

    >>> import fastnn as fn
    >>> bool(abs(fn.initializers["he_normal"].draw(seed=0, segment=0, shape=(3, 3), dtype="f8")).max() < 6)
    True
    """
    return _normal(u) * math.sqrt(2.0 / inputs)


@_row("normal, mean 0, variance 1 / inputs")
def lecun_normal(u: Matrix, inputs: int, units: int) -> Matrix:
    """As lecun_uniform, with normal numbers, not truncated: what the paper of selu has (Klambauer et al. 2017).

    >>> import fastnn as fn
    >>> bool(abs(fn.initializers["lecun_normal"].draw(seed=0, segment=0, shape=(3, 3), dtype="f8")).max() < 4)
    True
    """
    return _normal(u) * math.sqrt(1.0 / inputs)


# ---- orthogonal ------------------------------------------------------------------------------------------------------

BLOCK = 32  # vectors made orthogonal to all before them at a time: products large enough to be fast


@_row("W^T W = 1 (inputs >= units) or W W^T = 1, uniform among such matrices")
def orthogonal(u: Matrix, inputs: int, units: int) -> Matrix:
    """Orthonormal columns, or rows where there are more columns than rows: deep linear stacks keep lengths exactly.

    Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
    2014. By Gram-Schmidt of normal vectors, which gives every orthogonal matrix the same chance.

    >>> import fastnn as fn
    >>> w = fn.initializers["orthogonal"].draw(seed=0, segment=0, shape=(5, 3), dtype="f8")
    >>> [round(abs(float(w[:, 0] @ w[:, j])), 12) for j in range(3)]
    [1.0, 0.0, 0.0]
    """
    vectors = _normal(u if inputs < units else np.ascontiguousarray(u.T))
    _orthonormalize(vectors)
    return vectors if inputs < units else vectors.T


def _orthonormalize(vectors: Matrix) -> None:
    """Gram-Schmidt on the rows of V (count, length), in blocks, each twice: once more and nothing would change.

    v <- v - (v . Q^T) . Q, then v / |v|, with the rows Q before it (Giraud, Langou & Rozloznik 2005: twice is enough).
    """
    for first in range(0, len(vectors), BLOCK):
        block = vectors[first : first + BLOCK]
        for _ in range(2):
            _project_out(block, vectors[:first])
            for i in range(len(block)):
                row = block[i : i + 1]
                _project_out(row, block[:i])
                row /= math.sqrt(float(_times_transposed(row, row)[0, 0]))


def _project_out(rows: Matrix, basis: Matrix) -> None:
    """rows (m, length) -= (rows . basis^T) . basis, with an orthonormal basis (n, length)."""
    if len(basis):
        rows -= _product(_core.MATMUL_FORWARD, _times_transposed(rows, basis), basis, rows.shape)


def _times_transposed(a: Matrix, b: Matrix) -> Matrix:
    """a (m, k) . b (n, k)^T."""
    return _product(_core.MATMUL_INPUT, a, b, (len(a), len(b)))


def _product(use: int, a: Matrix, b: Matrix, shape: tuple[int, int]) -> Matrix:
    """A product of the C library: unlike NumPy's, its sums have the same order on every machine."""
    m, n = shape
    k = a.shape[1]
    c = allocate(shape, np.float64)
    workspace = allocate(_core.matmul_workspace(1, use, m, n, k), np.uint8)
    _core.matmul(use, a, b, None, c, workspace)
    return c


# ---- the same everywhere ---------------------------------------------------------------------------------------------


@_row("0")
def zeros(u: Matrix, inputs: int, units: int) -> Matrix:
    """All zero: for biases. As weights of a hidden layer it keeps all units alike for ever.

    >>> import fastnn as fn
    >>> fn.initializers["zeros"].draw(seed=0, segment=0, shape=(1, 2), dtype="f8")
    array([[0., 0.]])
    """
    return np.zeros_like(u)


@_row("1")
def ones(u: Matrix, inputs: int, units: int) -> Matrix:
    """All one: for scales.

    >>> import fastnn as fn
    >>> fn.initializers["ones"].draw(seed=0, segment=0, shape=(1, 2), dtype="f8")
    array([[1., 1.]])
    """
    return np.ones_like(u)


@_row("p")
def constant(u: Matrix, inputs: int, units: int, p: float = 0.0) -> Matrix:
    """All p: "constant(0.1)" or ``fn.Constant(0.1)``.

    >>> import fastnn as fn
    >>> fn.initializers["constant"].with_parameter(0.1).draw(seed=0, segment=0, shape=(1, 2), dtype="f8")
    array([[0.1, 0.1]])
    """
    return np.full_like(u, p)


initializers.alias("glorot", "glorot_uniform")
initializers.alias("he", "he_uniform")
initializers.alias("lecun", "lecun_uniform")
