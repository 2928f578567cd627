# SPDX-License-Identifier: BSD-3-Clause
"""The losses: name, formula, and the formula once more as NumPy code, which is what tests compare with.

A loss is a number per row, smaller when the output is nearer to y; training minimizes the mean of these over the rows,
weighted if there are sample weights. The code that runs is in ``csrc/kernels/losses.h``. To add one: a row there, and
here a function of (y, z), in float64, with a docstring that has a running example; a loss with parameters is a class
as well, whose objects check and carry them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .arguments import number
from .registry import Registry

Rows = NDArray[np.float64]
Formula = Callable[..., Any]
Targets = Literal["values", "unit", "counts", "signs", "classes", "labels"]


class LossFunction:
    """One loss, a row of ``fastnn.losses``: call it with y and z for the loss of every row in float64.

    Rows are made by fastnn, and those with parameters by classes such as :class:`Huber`; a loss of your own is a
    function, see ``Sequential.fit``.

    Attributes
    ----------
    name : str
        What it is called in ``fit``.
    formula, gradient : str
        The loss of a row, and its derivative with respect to z_j; n is the number of outputs.
    parameters : dict
        By name; those of the object in ``fastnn.losses`` are the defaults.
    joins : tuple of str
        The activations of the last layer that are computed together with this loss; z are the logits before them.
    linear : bool
        A last layer that is not among these must be linear.
    targets : {"values", "unit", "counts", "signs", "classes", "labels"}
        What y holds: any numbers; numbers in 0..1; numbers from 0 on; 1 for yes and 0 or -1 for no; class numbers or
        rows of probabilities; class numbers alone.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.losses["mse"]([[1.0, 2.0]], [[1.0, 4.0]])
    array([2.])
    """

    def __init__(
        self,
        function: Formula,
        formula: str,
        gradient: str,
        joins: tuple[str, ...] = (),
        targets: Targets = "values",
        linear: bool = False,
        **parameters: Any,
    ) -> None:
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.formula = formula
        self.gradient = gradient
        self.joins = joins
        self.linear = linear or bool(joins)
        self.targets: Targets = targets
        self._parameters = parameters
        self._function = function
        if type(self) is LossFunction:
            self.__doc__ = function.__doc__

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters by name."""
        return dict(self._parameters)

    @property
    def core(self) -> tuple[float, ...]:
        """The parameters as C reads them: one, or one for each output."""
        return tuple(self._parameters.values())

    def columns(self, outputs: int) -> int:
        """How many columns y has for so many outputs; ValueError if there can be none."""
        return outputs

    def __call__(self, y: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        """The loss of every row, by the formula in float64.

        Parameters
        ----------
        y : array-like (rows, outputs)
            Targets; of classes rows of probabilities, such as one-hot, not class numbers. (rows, 1) for several
            quantiles, (rows, outputs / 2) for "gaussian_nll".
        z : array-like (rows, outputs)
            Outputs; logits, where the loss is computed together with an activation (:attr:`joins`).

        Returns
        -------
        ndarray (rows,), float64
        """
        y, z = np.asarray(y, np.float64), np.asarray(z, np.float64)
        rows: NDArray[np.float64] = self._function(y, z, **self._parameters)
        return rows

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LossFunction):
            return NotImplemented
        return self.name == other.name and self._parameters == other._parameters

    def __hash__(self) -> int:
        return hash((self.name, *self._parameters.items()))

    def __str__(self) -> str:
        """Its name, and the parameters if they are not the usual ones."""
        return self.name if self == losses[self.name] else repr(self)

    def __repr__(self) -> str:
        if not self._parameters:
            return f"<loss {self.name}: {self.formula}>"
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._parameters.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return loss_from_config, (self.config(),)

    def config(self) -> str | dict[str, Any] | None:
        """What a file says of it: the name, or the name and parameters that are not the usual ones; or nothing."""
        return self.name if self == losses[self.name] else {"kind": self.name, **self._parameters}


losses: Registry[LossFunction] = Registry("loss")


def loss_from_config(config: object) -> LossFunction:
    """The loss of ``LossFunction.config()``."""
    if not isinstance(config, dict):
        return losses[config]  # type: ignore[index]
    parameters = dict(config)
    row = losses[parameters.pop("kind")]
    if parameters.keys() != row.parameters.keys():
        raise ValueError(f"loss {row.name!r} has no such parameters: {', '.join(map(str, parameters))}")
    return type(row)(**parameters) if parameters else row


def _row(
    formula: str, gradient: str, joins: tuple[str, ...] = (), targets: Targets = "values", linear: bool = False
) -> Callable[[Formula], Formula]:
    def enter(function: Formula) -> Formula:
        losses.add(function.__name__, LossFunction(function, formula, gradient, joins, targets, linear))
        return function

    return enter


def _in_range(value: object, argument: str, least: float, most: float, but: str = "") -> float:
    found = number(value, argument)
    if not least <= found <= most:
        raise ValueError(f"{argument} must be in {least:g}..{most:g}{but}, not {value}")
    return found


# ---- numbers ---------------------------------------------------------------------------------------------------------


@_row("1/n sum_j (z_j - y_j)^2", "2/n (z_j - y_j)")
def mse(y: Rows, z: Rows) -> Any:
    """Mean squared error: the mean over the outputs, not their sum, so it does not grow with their number.

    >>> import fastnn as fn
    >>> fn.losses["mse"]([[0.0, 0.0]], [[1.0, 3.0]])
    array([5.])
    """
    return ((z - y) ** 2).mean(axis=-1)


@_row("1/n sum_j |z_j - y_j|", "1/n sign(z_j - y_j)")
def mae(y: Rows, z: Rows) -> Any:
    """Mean absolute error: learns the median, and an outlier pulls no harder than any other row.

    >>> import fastnn as fn
    >>> fn.losses["mae"]([[0.0, 0.0]], [[1.0, -3.0]])
    array([2.])
    """
    return np.abs(z - y).mean(axis=-1)


def huber(y: Rows, z: Rows, delta: float) -> Any:
    size = np.abs(z - y)
    return np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta)).mean(axis=-1)


class Huber(LossFunction):
    """Huber loss, "huber": squared near y, absolute beyond delta, so that outliers do not rule.

    Parameters
    ----------
    delta : float, default 1.0
        Errors above it count linearly; in the units of y, from 1e-30 to 1e30.

    Raises
    ------
    ValueError, TypeError
        If delta is out of its range, or no number.

    References
    ----------
    Huber, Robust estimation of a location parameter, 1964.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.Huber(delta=1.0)([[0.0], [0.0]], [[0.5], [3.0]])
    array([0.125, 2.5  ])
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__(
            huber,
            "1/n sum_j e_j^2 / 2 where |e_j| <= delta, else delta (|e_j| - delta / 2);  e = z - y",
            "1/n min(delta, max(-delta, z_j - y_j))",
            delta=_in_range(delta, "delta", 1e-30, 1e30),
        )


losses.add("huber", Huber())


@_row("1/n sum_j log cosh(z_j - y_j)", "1/n tanh(z_j - y_j)")
def log_cosh(y: Rows, z: Rows) -> Any:
    """Logarithm of the hyperbolic cosine: half the square of small errors, the absolute value of large ones, smooth.

    >>> import fastnn as fn
    >>> fn.losses["log_cosh"]([[0.0]], [[1.0]]).round(4)
    array([0.4338])
    """
    size = np.abs(z - y)
    small = np.log1p(2 * np.sinh(np.minimum(size, 1.0) / 2) ** 2)  # cosh e = 1 + 2 sinh^2(e / 2)
    return np.where(size < 1, small, size - math.log(2) + np.log1p(np.exp(-2 * size))).mean(axis=-1)


def quantile(y: Rows, z: Rows, quantiles: float | tuple[float, ...]) -> Any:
    q = np.asarray(quantiles)
    return np.maximum(q * (y - z), (q - 1) * (y - z)).mean(axis=-1)


class Quantile(LossFunction):
    """Quantile or pinball loss, "quantile": learns the value below which a share of the targets lies.

    With 0.5 it is half the mean absolute error.

    Parameters
    ----------
    quantiles : float or list of float, default 0.5
        Between 0 and 1. A list means one output for each, all for the same y: (rows,) or (rows, 1).

    Raises
    ------
    ValueError, TypeError
        If a quantile is not between 0 and 1, or no number; in ``fit``, if there are not as many outputs as quantiles.

    References
    ----------
    Koenker & Bassett, Regression quantiles, 1978.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> fn.Quantile(0.9)([[1.0], [0.0]], [[0.0], [1.0]])
    array([0.9, 0.1])
    >>> X = np.random.default_rng(0).normal(size=(1000, 1))
    >>> net = fn.Sequential([fn.Dense(3)], seed=0)
    >>> history = net.fit(X, X[:, 0], loss=fn.Quantile([0.05, 0.5, 0.95]), epochs=1, verbose=0)
    """

    def __init__(self, quantiles: Any = 0.5) -> None:
        if isinstance(quantiles, Iterable) and not isinstance(quantiles, (str, bytes)):
            checked: Any = tuple(self._checked(q, f"quantiles[{i}]") for i, q in enumerate(quantiles))
            if not checked:
                raise ValueError("quantiles is empty")
        else:
            checked = self._checked(quantiles, "quantiles")
        super().__init__(
            quantile,
            "1/n sum_j q_j (y_j - z_j) where y_j > z_j, else (1 - q_j) (z_j - y_j)",
            "1/n -q_j where y_j > z_j, else 1 - q_j",
            quantiles=checked,
        )

    @staticmethod
    def _checked(q: object, argument: str) -> float:
        found = number(q, argument)
        if not 0 < found < 1:
            raise ValueError(f"{argument} must be between 0 and 1, not {q}")
        return found

    @property
    def core(self) -> tuple[float, ...]:
        quantiles = self._parameters["quantiles"]
        return quantiles if isinstance(quantiles, tuple) else (quantiles,)

    def columns(self, outputs: int) -> int:
        if not isinstance(self._parameters["quantiles"], tuple):
            return outputs
        if len(self.core) != outputs:
            raise ValueError(
                f"{self!r} needs as many outputs as quantiles, {len(self.core)}; the last layer has {outputs}"
            )
        return 1


losses.add("quantile", Quantile())


@_row("1/n sum_j exp(z_j) - y_j z_j", "1/n (exp(z_j) - y_j)", targets="counts", linear=True)
def poisson(y: Rows, z: Rows) -> Any:
    """Poisson regression: y counts events, and z is the logarithm of their expected number.

    >>> import fastnn as fn
    >>> fn.losses["poisson"]([[3.0]], [[0.0]])
    array([1.])
    """
    return (np.exp(z) - y * z).mean(axis=-1)


def gaussian_nll(y: Rows, z: Rows) -> Any:
    error, log_variance = y - z[..., 0::2], z[..., 1::2]
    return (0.5 * (log_variance + error**2 * np.exp(-log_variance))).mean(axis=-1)


class GaussianNLL(LossFunction):
    """Normal distribution of each target, "gaussian_nll": outputs are pairs of its mean and logarithm of its variance.

    The negative logarithm of the likelihood without its constant. The last layer has two outputs for each column of y:
    mean, log variance, mean, log variance ...

    References
    ----------
    Nix & Weigend, Estimating the mean and variance of the target probability distribution, 1994.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.losses["gaussian_nll"]([[1.0]], [[3.0, 0.0]])
    array([2.])
    """

    def __init__(self) -> None:
        super().__init__(
            gaussian_nll,
            "2/n sum_i (s_i + (y_i - m_i)^2 exp(-s_i)) / 2;  z = (m_1, s_1, m_2, s_2, ...)",
            "2/n (m_i - y_i) exp(-s_i) and 1/n (1 - (y_i - m_i)^2 exp(-s_i))",
            linear=True,
        )

    def columns(self, outputs: int) -> int:
        if outputs % 2:
            raise ValueError(
                f"loss 'gaussian_nll' needs two outputs for each column of y, its mean and the logarithm of its "
                f"variance; the last layer has {outputs}"
            )
        return outputs // 2


losses.add("gaussian_nll", GaussianNLL())


# ---- yes or no, and classes ------------------------------------------------------------------------------------------


@_row("1/n sum_j max(0, 1 - t_j z_j);  t_j = 1 where y_j > 0, else -1", "1/n -t_j where t_j z_j < 1", (), "signs", True)
def hinge(y: Rows, z: Rows) -> Any:
    """Hinge loss, as of a support vector machine: nothing for outputs on the right side of 0 by 1 or more.

    y is 1 for yes, and 0 or -1 for no.

    Cortes & Vapnik, "Support-vector networks", 1995.

    >>> import fastnn as fn
    >>> fn.losses["hinge"]([[1.0], [0.0]], [[0.5], [0.5]])
    array([0.5, 1.5])
    """
    return np.maximum(0.0, 1 - np.where(y > 0, 1.0, -1.0) * z).mean(axis=-1)


@_row("1/n sum_j max(z_j, 0) - y_j z_j + log(1 + exp(-|z_j|))", "1/n (sigmoid(z_j) - y_j)", ("sigmoid",), "unit")
def binary_cross_entropy(y: Rows, z: Rows) -> Any:
    """Cross-entropy of independent yes-or-no questions, one per output: the mean over them. z are logits.

    >>> import fastnn as fn
    >>> fn.losses["binary_cross_entropy"]([[1.0]], [[0.0]]).round(4)
    array([0.6931])
    """
    return (np.maximum(z, 0.0) - y * z + np.log1p(np.exp(-np.abs(z)))).mean(axis=-1)


def _log_softmax(z: Rows) -> Rows:
    shifted = z - z.max(axis=-1, keepdims=True)
    logarithms: Rows = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logarithms


def cross_entropy(y: Rows, z: Rows, label_smoothing: float) -> Any:
    smooth = (1 - label_smoothing) * y + label_smoothing / z.shape[-1]
    return -(smooth * _log_softmax(z)).sum(axis=-1)


class CrossEntropy(LossFunction):
    """Cross-entropy of classes, "cross_entropy": how surprised the network is by the right one. z are logits.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        This share of the certainty, less than 1, is spread evenly over all classes: nothing is driven to extremes.

    Raises
    ------
    ValueError, TypeError
        If label_smoothing is not in [0, 1), or no number.

    References
    ----------
    Szegedy et al., Rethinking the Inception architecture for computer vision, 2016, section 7: label smoothing.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.losses["cross_entropy"]([[1.0, 0.0]], [[5.0, 5.0]]).round(4)
    array([0.6931])
    >>> fn.CrossEntropy(label_smoothing=0.1)([[1.0, 0.0]], [[8.0, 0.0]]).round(4)
    array([0.4003])
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        smoothing = number(label_smoothing, "label_smoothing")
        if not 0 <= smoothing < 1:
            raise ValueError(f"label_smoothing must be at least 0 and less than 1, not {label_smoothing}")
        super().__init__(
            cross_entropy,
            "-sum_j t_j log softmax(z)_j;  t = (1 - s) y + s/n with label smoothing s",
            "softmax(z)_j sum_i t_i - t_j",
            ("softmax",),
            "classes",
            label_smoothing=smoothing,
        )


losses.add("cross_entropy", CrossEntropy())


def _softplus(z: Rows) -> Rows:
    logarithms: Rows = np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))
    return logarithms


def focal(y: Rows, z: Rows, gamma: float) -> Any:
    log_p = _log_softmax(z)
    return -(y * (-np.expm1(log_p)) ** gamma * log_p).sum(axis=-1)


class Focal(LossFunction):
    """Focal loss, "focal": cross-entropy that counts rows less the better they are predicted.

    After softmax, or with several linear outputs, y are classes. After sigmoid, or with a single linear output, each
    output is a question of its own, and y are rows of numbers in 0..1.

    Parameters
    ----------
    gamma : float, default 2.0
        How much less: the cross-entropy is multiplied by (1 - p)^gamma. 0, or in 1..1000.

    Raises
    ------
    ValueError, TypeError
        If gamma is out of its range, or no number.

    References
    ----------
    Lin et al., Focal loss for dense object detection, 2017.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.Focal(gamma=2)([[1.0, 0.0]], [[0.0, 0.0]]).round(4)
    array([0.1733])
    >>> fn.Focal(gamma=2).of_questions([[1.0, 0.0]], [[0.0, 0.0]]).round(4)
    array([0.1733])
    """

    def __init__(self, gamma: float = 2.0) -> None:
        found = number(gamma, "gamma")
        if not (found == 0 or 1 <= found <= 1000):
            raise ValueError(f"gamma must be 0 or in 1..1000, not {gamma}")
        super().__init__(
            focal,
            "-(1 - p)^gamma log p;  p = softmax(z)_t of the class t. By questions: 1/n sum_j y_j f(z_j) + (1 - y_j) "
            "f(-z_j), with f of p = sigmoid(z)",
            "((1 - p)^gamma - gamma p (1 - p)^(gamma - 1) log p) (softmax(z)_j - (j = t))",
            ("softmax", "sigmoid"),
            "labels",
            gamma=found,
        )

    def of_questions(self, y: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        """The loss of every row when each output is a question of its own.

        Parameters
        ----------
        y : array-like (rows, outputs)
            Numbers in 0..1: 1 is yes.
        z : array-like (rows, outputs)
            Logits, before the sigmoid.

        Returns
        -------
        ndarray (rows,), float64
            The mean over the outputs.
        """
        y, z, gamma = np.asarray(y, np.float64), np.asarray(z, np.float64), self._parameters["gamma"]
        yes, no = _softplus(-z), _softplus(z)  # -log p, -log (1 - p)
        weight_yes, weight_no = (np.exp(-gamma * np.minimum(other, 1e4)) for other in (no, yes))
        rows: NDArray[np.float64] = (y * weight_yes * yes + (1 - y) * weight_no * no).mean(axis=-1)
        return rows


losses.add("focal", Focal())

losses.check(_core.loss_names())


class PythonLoss(LossFunction):
    """A user's function as loss: f(y, output) -> (loss of each row, its gradient). It runs in ``python_loss.py``.

    >>> PythonLoss(lambda y, output: ((output - y)[:, 0] ** 2, 2 * (output - y)))([[1.0]], [[3.0]])
    array([4.])
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, "f(y, output)[0]", "f(y, output)[1]")
        self.function = function

    def __call__(self, y: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = np.asarray(self.function(np.asarray(y), np.asarray(z))[0], np.float64)
        return rows

    def columns(self, outputs: int) -> int:
        return 0  # as many as y has

    def config(self) -> None:
        """Nothing: code is not saved."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PythonLoss) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<loss {self.name}, a Python function>"

    def __reduce__(self) -> tuple[Any, ...]:
        return PythonLoss, (self.function,)


@dataclass(frozen=True)
class Objective:
    """A loss fitted to a network: whether it is computed from the logits, before the last activation."""

    loss: LossFunction
    joined: bool
    logits: bool  # the outputs themselves are logits: the last layer is linear
    targets: Targets  # what y holds
    columns: int  # of y; 0: as many as it has

    @property
    def core(self) -> tuple[int, bool, tuple[float, ...], int]:
        """As ``_core`` takes it: number in C, joined, parameters, columns of y."""
        return _core.loss_names().index(self.loss.name), self.joined, self.loss.core, self.columns


def default_loss(last_activation: str) -> LossFunction:
    """What a network is trained with when nothing is said: the loss that belongs to its last activation."""
    return next((loss for loss in losses.values() if last_activation in loss.joins), losses["mse"])


def resolve_loss(loss: object, last_activation: str, outputs: int, scaled: bool = False) -> Objective:
    """The loss that is asked for (None: by the last layer), if it can follow the last layer.

    `scaled`: the network scales its targets, so they must be such that any numbers will do.
    """
    if loss is None:
        row = default_loss(last_activation)
    elif isinstance(loss, LossFunction):
        row = loss
    elif isinstance(loss, str):
        row = losses[loss]
    elif callable(loss) and not isinstance(loss, type):
        row = PythonLoss(loss)
    else:
        raise TypeError(
            "loss must be a name, a row of fastnn.losses, an object such as fn.Huber(0.5) or a function f(y, output), "
            f"not {f'the class {loss.__name__}' if isinstance(loss, type) else type(loss).__name__}"
        )
    linear = last_activation == "linear"
    targets = row.targets
    if scaled and (targets != "values" or isinstance(row, GaussianNLL)):
        raise ValueError(
            f"loss {row.name!r} cannot go with scale_targets, which is for numbers and losses such as 'mse', 'huber' "
            "or 'quantile'"
        )
    if targets == "labels" and (last_activation == "sigmoid" or (linear and outputs == 1)):
        targets = "unit"
    if targets in ("classes", "labels") and outputs < 2:
        raise ValueError(
            f"loss {row.name!r} needs at least 2 outputs, one per class; the last layer has {outputs}. "
            "For yes or no use one output with 'sigmoid' and 'binary_cross_entropy'"
        )
    if row.joins and not (linear or last_activation in row.joins):
        needed = " or ".join(map(repr, row.joins))
        raise ValueError(
            f"loss {row.name!r} needs a last layer with activation {needed}, or 'linear' for logits; "
            f"this one has {last_activation!r}"
        )
    if row.linear and not (linear or row.joins):
        raise ValueError(
            f"loss {row.name!r} needs a last layer with activation 'linear'; this one has {last_activation!r}"
        )
    logits = linear and (bool(row.joins) or targets == "signs")
    return Objective(row, last_activation in row.joins, logits, targets, row.columns(outputs))
