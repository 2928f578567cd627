# SPDX-License-Identifier: BSD-3-Clause
"""Layers that bring numbers to mean 0 and size 1: over the batch, over a row, or once and for all from the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .arguments import number, positive, true_or_false
from .graph import Graph
from .initializers import initializers
from .layers import DEFAULTS, LAYERS, Layer, overwrite

ROWS_AT_A_TIME = 65536
ELEMENTS_AT_A_TIME = 1 << 20  # 8 MB
FLOAT64: np.dtype[Any] = np.dtype(np.float64)


class Norm(Layer):
    """What the norms share: a weight that multiplies and a bias that adds, one for each column."""

    def __init__(
        self,
        epsilon: float = 1e-5,
        *,
        use_bias: bool = True,
        trainable: bool = True,
        learning_rate_factor: float = 1.0,
        name: str | None = None,
    ) -> None:
        self.epsilon = positive(epsilon, "epsilon")
        self.use_bias = true_or_false(use_bias, "use_bias")
        super().__init__(name, trainable, learning_rate_factor)

    def _numbers(self, graph: Graph) -> dict[str, Any]:
        weight = graph.tensor(self, "weight", 1, graph.width, initializers["ones"], decays=False)
        bias = graph.tensor(self, "bias", 1, graph.width, initializers["zeros"], decays=False) if self.use_bias else -1
        return {"weight": weight, "bias": bias, "parameter": self.epsilon}

    def config(self) -> dict[str, Any]:
        return {"epsilon": self.epsilon, "use_bias": self.use_bias, **super().config()}

    @property
    def weight(self) -> NDArray[Any]:
        """The factors, (inputs,), as a view."""
        return self._tensor("weight").reshape(-1)

    @weight.setter
    def weight(self, value: ArrayLike) -> None:
        overwrite(self.weight, value, "weight")

    @property
    def bias(self) -> NDArray[Any]:
        """The shifts, (inputs,), as a view."""
        return self._tensor("bias").reshape(-1)

    @bias.setter
    def bias(self, value: ArrayLike) -> None:
        overwrite(self.bias, value, "bias")


class LayerNorm(Norm):
    """Each row to mean 0 and variance 1: y = (x - mean) / sqrt(variance + epsilon) . weight + bias.

    Mean and variance are those of the row's own columns, so a row does not depend on its batch.

    Parameters
    ----------
    epsilon : float, default 1e-5
        Above 0: keeps a row of equal numbers finite.
    use_bias : bool, default True
        Add a bias.
    trainable : bool, default True
        False freezes the layer.
    learning_rate_factor : float, default 1
        Multiplies the optimizer's learning rate for this layer.
    name : str, optional
        For the summary and error messages.

    Attributes
    ----------
    weight, bias : ndarray (inputs,), the network's dtype
        Views; they start at 1 and 0. Weight decay leaves them alone.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type.

    References
    ----------
    Ba, Kiros & Hinton, Layer normalization, 2016.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> net = fn.Sequential([fn.Dense(64), fn.LayerNorm(), fn.Activation("relu"), fn.Dense(1)], inputs=4, seed=0)
    >>> net.predict(np.ones((2, 4))).shape
    (2, 1)
    """

    def add_to(self, graph: Graph) -> None:
        numbers = self._numbers(graph)
        graph.add(_core.LAYER_NORM, other=graph.buffer(2), **numbers)


class RMSNorm(Norm):
    """Each row to size 1: y = x / sqrt(mean(x^2) + epsilon) . weight. Cheaper than LayerNorm, and often as good.

    Parameters
    ----------
    epsilon : float, default 1e-6
        Above 0: keeps a row of zeros finite.
    use_bias : bool, default False
        Add a bias.
    trainable : bool, default True
        False freezes the layer.
    learning_rate_factor : float, default 1
        Multiplies the optimizer's learning rate for this layer.
    name : str, optional
        For the summary and error messages.

    Attributes
    ----------
    weight, bias : ndarray (inputs,), the network's dtype
        Views; they start at 1 and 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type.

    References
    ----------
    Zhang & Sennrich, Root mean square layer normalization, 2019.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> net = fn.Sequential([fn.RMSNorm(), fn.Dense(1)], inputs=4, seed=0)
    >>> bool(np.allclose(net.predict(np.ones(4)), net.predict(np.full(4, 100.0))))
    True
    """

    _defaults = DEFAULTS | {"use_bias": False}

    def __init__(self, epsilon: float = 1e-6, *, use_bias: bool = False, **other: Any) -> None:
        super().__init__(epsilon, use_bias=use_bias, **other)

    def add_to(self, graph: Graph) -> None:
        numbers = self._numbers(graph)
        graph.add(_core.RMS_NORM, other=graph.buffer(2), **numbers)


class BatchNorm(Norm):
    """Each column to mean 0 and variance 1: y = (x - mean) / sqrt(variance + epsilon) . weight + bias.

    In training, mean and variance are those of the batch (sample weights do not count), and gradients flow through
    them; in prediction, running ones, which training updates after each step:
    running = momentum . running + (1 - momentum) . batch, the variance with rows - 1 in its denominator. A network with
    it is walked layer by layer, because all rows must have arrived before any can go on.

    Parameters
    ----------
    momentum : float in 0..1, default 0.9
        How much of the running statistics a step keeps.
    epsilon : float, default 1e-5
        Above 0: keeps a column of equal numbers finite.
    use_bias : bool, default True
        Add a bias.
    trainable : bool, default True
        False freezes weight and bias, not the statistics.
    learning_rate_factor : float, default 1
        Multiplies the optimizer's learning rate for this layer.
    name : str, optional
        For the summary and error messages.

    Attributes
    ----------
    weight, bias : ndarray (inputs,), the network's dtype
        Views; they start at 1 and 0.
    running_mean, running_variance : ndarray (inputs,), the network's dtype
        Views; they start at 0 and 1, and are saved with the network.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type.

    References
    ----------
    Ioffe & Szegedy, Batch normalization, 2015.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> net = fn.Sequential([fn.Dense(8), fn.BatchNorm(), fn.Activation("relu"), fn.Dense(1)], inputs=2, seed=0)
    >>> X = np.linspace(-1, 1, 64).reshape(32, 2)
    >>> history = net.fit(X, X[:, 0], epochs=2, verbose=0)
    >>> bool((net.layers[1].running_mean != 0).all())
    True
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **other: Any) -> None:
        self.momentum = number(momentum, "momentum")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum must be in 0..1, not {momentum!r}")
        super().__init__(epsilon, **other)

    def add_to(self, graph: Graph) -> None:
        numbers = self._numbers(graph)
        state = graph.keep(self, "running_mean", graph.width, 0.0)
        graph.keep(self, "running_variance", graph.width, 1.0)
        graph.add(_core.BATCH_NORM, state=state, momentum=self.momentum, **numbers)

    def config(self) -> dict[str, Any]:
        return {"momentum": self.momentum, **super().config()}

    @property
    def running_mean(self) -> NDArray[Any]:
        """The mean that prediction uses, (inputs,), as a view."""
        return self._tensor("running_mean")

    @property
    def running_variance(self) -> NDArray[Any]:
        """The variance that prediction uses, (inputs,), as a view."""
        return self._tensor("running_variance")


class Normalization(Layer):
    """The first layer: columns of X to mean 0 and deviation 1, by what the first ``fit`` sees.

    y = (x - mean) . scale, with scale = 1 / standard deviation (1 for a constant column). Learned from the training
    rows of the first ``fit`` only, whatever their weights, then kept and saved with the network. Before that they are 0
    and 1, or what is assigned: ``layer.mean = ...`` counts as learned, writing into the view does not.

    Parameters
    ----------
    trainable, learning_rate_factor, name
        As of every layer (:class:`Layer`); nothing is trained here.

    Attributes
    ----------
    mean, scale : ndarray (inputs,), the network's dtype
        Views: writing changes the network. Not trained.
    learned : bool
        Whether mean and scale are there; set it to False, and the next ``fit`` learns them anew.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type; in ``Sequential``, if it is not the first layer.

    References
    ----------
    LeCun, Bottou, Orr & Müller, Efficient BackProp, 1998, section 4.3.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> X = np.array([[1000.0, 0.1], [1002.0, 0.3]])
    >>> net = fn.Sequential([fn.Normalization(), fn.Dense(1)], seed=0)
    >>> history = net.fit(X, [0.0, 1.0], epochs=1, verbose=0)
    >>> net.layers[0].mean
    array([1.001e+03, 2.000e-01], dtype=float32)
    """

    def __init__(self, *, name: str | None = None, **other: Any) -> None:
        self.learned = False
        super().__init__(name, **other)

    def add_to(self, graph: Graph) -> None:
        if graph.at != 0 or graph.segments:
            raise ValueError("Normalization must be the first layer: it learns from X")
        state = normalize(graph, self, range(graph.width))
        graph.add(_core.NORMALIZE, state=state)

    def config(self) -> dict[str, Any]:
        return {"learned": self.learned, **super().config()}

    def _spelled(self) -> dict[str, Any]:
        return super().config()

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        arguments = dict(config)
        learned = true_or_false(arguments.pop("learned", False), "learned")
        layer = cls(**arguments)
        layer.learned = learned
        return layer

    @property
    def mean(self) -> NDArray[Any]:
        """What is subtracted, (inputs,), as a view."""
        return self._tensor("mean")

    @mean.setter
    def mean(self, value: ArrayLike) -> None:
        overwrite(self.mean, value, "mean")
        self.learned = True

    @property
    def scale(self) -> NDArray[Any]:
        """What multiplies, (inputs,), as a view."""
        return self._tensor("scale")

    @scale.setter
    def scale(self, value: ArrayLike) -> None:
        overwrite(self.scale, value, "scale")
        self.learned = True


LAYERS |= {"LayerNorm": LayerNorm, "RMSNorm": RMSNorm, "BatchNorm": BatchNorm, "Normalization": Normalization}


def normalize(graph: Graph, layer: Layer, columns: Sequence[int]) -> int:
    """Reserve mean and scale of some columns of X, for the first ``fit`` to learn; where they begin."""
    from .graph import Learned

    state = graph.keep(layer, "mean", len(columns), 0.0)
    graph.keep(layer, "scale", len(columns), 1.0)
    graph.learned.append(Learned(layer, state, tuple(columns)))
    return state


def mean_and_scale(
    x: NDArray[Any],
    columns: Sequence[int],
    rows: NDArray[np.int64] | None,
    dtype: np.dtype[Any] = FLOAT64,
    argument: str = "X",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and 1 / standard deviation of some columns over some rows (None: all), finite numbers of a dtype.

    The scale is 1 where the deviation is 0, or so small that its inverse is none of these. In float64, piece by piece,
    in the order of the rows: the same on every machine.
    """
    chosen = list(columns)
    n = x.shape[0] if rows is None else len(rows)

    def piece(first: int, last: int) -> NDArray[np.float64]:
        part = x[first:last] if rows is None else x[rows[first:last]]
        if chosen != list(range(x.shape[1])):
            part = part[:, chosen]
        return np.ascontiguousarray(part, np.float64)

    def total(first: int, of: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
        """The sum of ROWS_AT_A_TIME rows. With several columns NumPy adds row to row, so that one may stop in between
        and go on from what there is, with the same bits."""
        last = min(first + ROWS_AT_A_TIME, n)
        step = last - first if len(chosen) == 1 else max(1, ELEMENTS_AT_A_TIME // x.shape[1])
        found: NDArray[np.float64] = np.add.reduce(of(piece(first, min(first + step, last))), axis=0)
        for at in range(first + step, last, step):
            found = np.add.reduce(np.concatenate((found[np.newaxis], of(piece(at, min(at + step, last))))), axis=0)
        return found

    mean, variance = np.zeros(len(chosen)), np.zeros(len(chosen))
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, n, ROWS_AT_A_TIME):
            mean += total(first, lambda part: part)
        mean /= n
        for first in range(0, n, ROWS_AT_A_TIME):
            variance += total(first, lambda part: np.square(part - mean))
    if not np.isfinite(variance).all():
        column = chosen[int(np.isfinite(variance).argmin())]
        raise ValueError(f"{argument} has numbers in column {column} whose variance is not finite: divide them first")
    deviation = np.sqrt(variance / n)
    # A column that is constant but for rounding is left at its size.
    constant = deviation <= np.maximum(1e-12 * np.abs(mean), 1.0 / float(np.finfo(dtype).max))
    return mean, 1.0 / np.where(constant, 1.0, deviation)
