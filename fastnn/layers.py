# SPDX-License-Identifier: BSD-3-Clause
"""The layers. A layer describes: it says which operations and tensors it needs, and shows views of its numbers.

The numbers themselves lie in the network's flat vectors, which the network hands out as views once its input width is
known. To add a layer: a class with ``add_to`` (what it adds to the graph) and ``config`` (the arguments that make an
equal one), and its name in ``LAYERS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakMethod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .arguments import not_negative, number, true_or_false, whole_number
from .errors import unknown_name
from .graph import Graph, known_activation
from .initializers import Constant, Initializer
from .initializers import initializer as spelled_initializer

DEFAULTS: dict[str, Any] = {  # not worth showing
    "activation": "linear",
    "use_bias": True,
    "initializer": "auto",
    "bias_initializer": "zeros",
    "l1": 0.0,
    "l2": 0.0,
    "name": None,
    "trainable": True,
    "learning_rate_factor": 1.0,
}


class Layer:
    """What all layers share: the base class, no layer itself.

    Parameters
    ----------
    name : str, optional
        For the summary and error messages.
    trainable : bool, default True
        False freezes the layer's numbers; may be changed between calls of ``fit``.
    learning_rate_factor : float, default 1
        Not negative; multiplies the optimizer's learning rate for this layer. May be changed between calls of ``fit``.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type.

    Examples
    --------
    >>> import fastnn as fn
    >>> layer = fn.Dense(3, name="first")
    >>> isinstance(layer, fn.Layer), layer.name, layer.trainable, layer.learning_rate_factor
    (True, 'first', True, 1.0)
    """

    _defaults = DEFAULTS

    def __init__(self, name: str | None = None, trainable: bool = True, learning_rate_factor: float = 1.0) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, not {type(name).__name__}")
        self.name = name
        self._owner: WeakMethod[Callable[[], None]] | None = None  # how to tell the network that holds the layer
        self._tensors: dict[str, NDArray[Any]] = {}
        self._state: dict[str, NDArray[Any]] = {}  # numbers that are not trained
        self.trainable = trainable
        self.learning_rate_factor = learning_rate_factor

    @property
    def trainable(self) -> bool:
        """Whether the layer's numbers are trained; False freezes them. May be changed between calls of ``fit``."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = true_or_false(value, "trainable")
        self._tell_owner()

    @property
    def learning_rate_factor(self) -> float:
        """What multiplies the optimizer's learning rate for this layer; may be changed between calls of ``fit``."""
        return self._learning_rate_factor

    @learning_rate_factor.setter
    def learning_rate_factor(self, value: float) -> None:
        self._learning_rate_factor = not_negative(value, "learning_rate_factor")
        self._tell_owner()

    @property
    def owned(self) -> bool:
        """Whether the layer is part of a network: it may be part of one only."""
        return self._owner is not None and self._owner() is not None

    def _tell_owner(self) -> None:
        changed = None if self._owner is None else self._owner()
        if changed is not None:
            changed()

    @property
    def n_params(self) -> int:
        """How many numbers the layer learns."""
        own = sum(tensor.size for tensor in self._tensors.values())
        return own + sum(part.n_params for part in self.parts)

    @property
    def parts(self) -> tuple[Layer, ...]:
        """The layers it is made of, if it is made of layers."""
        return ()

    @property
    def needs_inputs(self) -> bool:
        """Whether it can only be added once the number of its inputs is known."""
        return False

    def add_to(self, graph: Graph) -> None:
        """Add the layer's operations and tensors."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The arguments that make an equal layer."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "learning_rate_factor": self.learning_rate_factor,
        }

    def _spelled(self) -> dict[str, Any]:
        """The same as they are written in Python, for ``repr``."""
        return self.config()

    def _tensor(self, name: str) -> NDArray[Any]:
        found = self._tensors.get(name, self._state.get(name))
        if found is None:
            raise AttributeError(
                f"this layer has no {name} yet: give the network inputs=, or train it, and it will"
                if not (self._tensors or self._state)
                else f"this layer has no {name}"
            )
        return found

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """An equal layer."""
        return cls(**config)

    def __reduce__(self) -> tuple[Any, ...]:
        return layer_from_config, (type(self).__name__, self.config())  # an equal layer, part of no network

    def __repr__(self) -> str:
        arguments = self._spelled().items()
        shown = (f"{name}={value!r}" for name, value in arguments if value != self._defaults.get(name, ...))
        return f"{type(self).__name__}({', '.join(shown)})"


class Dense(Layer):
    """A fully connected layer: y = f(x . weight + bias).

    Parameters
    ----------
    units : int
        Neurons: columns of the output.
    activation : str or row of ``fastnn.activations``, optional
        f; default linear.
    use_bias : bool, default True
        Add a bias.
    initializer : str or row of ``fastnn.initializers``, default "auto"
        Where the weights start; "auto" follows the activation: "he_uniform" for relu and its family, "lecun_uniform"
        for selu, else "glorot_uniform".
    bias_initializer : str or row of ``fastnn.initializers``, default "zeros"
        Where the biases start, such as "constant(0.1)"; they count as a matrix of one row.
    l1, l2 : float, default 0
        Not negative. Penalties on the weight, not on the bias: l1 sum |w| + l2 sum w^2 is part of the loss.
    trainable : bool, default True
        False freezes the layer.
    learning_rate_factor : float, default 1
        Multiplies the optimizer's learning rate for this layer.
    name : str, optional
        For the summary and error messages.

    Attributes
    ----------
    weight : ndarray (inputs, units), the network's dtype
        A view: writing into it changes the network. It is there once the network knows its inputs.
    bias : ndarray (units,), the network's dtype
        A view too.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, of another type, or an unknown name.

    Examples
    --------
    >>> import fastnn as fn
    >>> net = fn.Sequential([fn.Dense(3, "relu")], inputs=2, seed=0)
    >>> net.layers[0].weight.shape, net.layers[0].bias
    ((2, 3), array([0., 0., 0.], dtype=float32))
    """

    def __init__(
        self,
        units: int,
        activation: object = None,
        *,
        use_bias: bool = True,
        initializer: str | Initializer = "auto",
        bias_initializer: str | Initializer = "zeros",
        l1: float = 0.0,
        l2: float = 0.0,
        trainable: bool = True,
        learning_rate_factor: float = 1.0,
        name: str | None = None,
    ) -> None:
        self.units = whole_number(units, "units")
        self.activation = known_activation(activation)
        self.use_bias = true_or_false(use_bias, "use_bias")
        self.initializer = "auto" if initializer == "auto" else known_initializer(initializer, "initializer")
        self.bias_initializer = known_initializer(bias_initializer, "bias_initializer")
        super().__init__(name, trainable, learning_rate_factor)
        self.l1 = l1
        self.l2 = l2

    def add_to(self, graph: Graph) -> None:
        start = spelled_initializer(self.activation.initializer if self.initializer == "auto" else self.initializer)
        weight = graph.tensor(self, "weight", graph.width, self.units, start, decays=True, l1=self.l1, l2=self.l2)
        bias = -1
        if self.use_bias:
            bias = graph.tensor(self, "bias", 1, self.units, spelled_initializer(self.bias_initializer), decays=False)
        graph.dense(weight, bias)
        graph.activation(self.activation)

    def config(self) -> dict[str, Any]:
        return {
            "units": self.units,
            "activation": self.activation.spelled,
            "use_bias": self.use_bias,
            "initializer": self.initializer,
            "bias_initializer": self.bias_initializer,
            "l1": self.l1,
            "l2": self.l2,
            **super().config(),
        }

    @property
    def l1(self) -> float:
        """The penalty l1 sum |w|; may be changed between calls of ``fit``."""
        return self._l1

    @l1.setter
    def l1(self, value: float) -> None:
        self._l1 = not_negative(value, "l1")
        self._tell_owner()

    @property
    def l2(self) -> float:
        """The penalty l2 sum w^2; may be changed between calls of ``fit``."""
        return self._l2

    @l2.setter
    def l2(self, value: float) -> None:
        self._l2 = not_negative(value, "l2")
        self._tell_owner()

    @property
    def weight(self) -> NDArray[Any]:
        """The weights, (inputs, units), as a view."""
        return self._tensor("weight")

    @weight.setter
    def weight(self, value: ArrayLike) -> None:
        overwrite(self._tensor("weight"), value, "weight")

    @property
    def bias(self) -> NDArray[Any]:
        """The biases, (units,), as a view."""
        return self._tensor("bias").reshape(-1)

    @bias.setter
    def bias(self, value: ArrayLike) -> None:
        overwrite(self._tensor("bias").reshape(-1), value, "bias")


class Activation(Layer):
    """An activation as a layer of its own: y = f(x).

    Parameters
    ----------
    activation : str or row of ``fastnn.activations``
        f.
    trainable, learning_rate_factor, name
        As of every layer (:class:`Layer`); nothing is learned here.

    Raises
    ------
    ValueError, TypeError
        If the activation is unknown, or no activation.

    Examples
    --------
    >>> import fastnn as fn
    >>> net = fn.Sequential([fn.Dense(2), fn.Activation("softmax")], inputs=1, seed=0)
    >>> float(net.predict([[3.0]]).sum())
    1.0
    """

    def __init__(self, activation: object, *, name: str | None = None, **other: Any) -> None:
        self.activation = known_activation(activation)
        super().__init__(name, **other)

    def add_to(self, graph: Graph) -> None:
        graph.activation(self.activation)

    def config(self) -> dict[str, Any]:
        return {"activation": self.activation.spelled, **super().config()}


class PReLU(Layer):
    """ReLU with a slope below 0 that is learned: y = x where x > 0, else slope_j x; one slope for each column.

    Parameters
    ----------
    start : float, default 0.25
        Where all slopes start; finite.
    trainable : bool, default True
        False freezes the layer.
    learning_rate_factor : float, default 1
        Multiplies the optimizer's learning rate for this layer.
    name : str, optional
        For the summary and error messages.

    Attributes
    ----------
    slope : ndarray (inputs,), the network's dtype
        A view. Weight decay leaves it alone.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type.

    References
    ----------
    He et al., Delving deep into rectifiers, 2015.

    Examples
    --------
    >>> import fastnn as fn
    >>> net = fn.Sequential([fn.Dense(3), fn.PReLU(), fn.Dense(1)], inputs=2, seed=0)
    >>> net.layers[1].slope
    array([0.25, 0.25, 0.25], dtype=float32)
    """

    def __init__(
        self,
        start: float = 0.25,
        *,
        trainable: bool = True,
        learning_rate_factor: float = 1.0,
        name: str | None = None,
    ) -> None:
        self.start = number(start, "start")
        if not math.isfinite(self.start):
            raise ValueError(f"start must be finite, not {start!r}")
        super().__init__(name, trainable, learning_rate_factor)

    def add_to(self, graph: Graph) -> None:
        slope = graph.tensor(self, "slope", 1, graph.width, Constant(self.start), decays=False)
        graph.add(_core.PRELU, weight=slope)

    def config(self) -> dict[str, Any]:
        return {"start": self.start, **super().config()}

    @property
    def slope(self) -> NDArray[Any]:
        """The slopes, (inputs,), as a view."""
        return self._tensor("slope").reshape(-1)

    @slope.setter
    def slope(self, value: ArrayLike) -> None:
        overwrite(self.slope, value, "slope")


def all_parts(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Layers and the layers they are made of, each before its parts."""
    for layer in layers:
        yield layer
        yield from all_parts(layer.parts)


def stack_needs_inputs(layers: Iterable[Layer]) -> bool:
    """Whether layers can only be added once the number of their inputs is known; a Dense takes any."""
    for layer in layers:
        if layer.needs_inputs or isinstance(layer, Dense):
            return layer.needs_inputs
    return False


def place_of(layers: Sequence[Layer], wanted: Layer) -> str:
    """Where a layer is, in words: "layer 2", or "layer 2, part 0" (of its layers, from left to right)."""
    for place, layer in enumerate(layers):
        if layer is wanted:
            return f"layer {place}"
        for part, inner in enumerate(all_parts(layer.parts)):
            if inner is wanted:
                return f"layer {place}, part {part}"
    raise ValueError("no such layer")


LAYERS: dict[str, type[Layer]] = {"Dense": Dense, "Activation": Activation, "PReLU": PReLU}


def layer_from_config(kind: str, config: dict[str, Any]) -> Layer:
    """The layer a model file describes."""
    if kind not in LAYERS:
        raise unknown_name("layer", kind, LAYERS)
    return LAYERS[kind].from_config(config)


def known_initializer(initializer: object, argument: str) -> str:
    """An initializer as it is spelled in a layer's arguments and in a file."""
    if isinstance(initializer, Initializer):
        return initializer.spelled
    if not isinstance(initializer, str):
        raise TypeError(f"{argument} must be a name or a row of fastnn.initializers, not {type(initializer).__name__}")
    return spelled_initializer(initializer).spelled


def overwrite(tensor: NDArray[Any], value: ArrayLike, name: str) -> None:
    """Copy a value of the same shape into a tensor."""
    new = np.asarray(value)
    if new.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, not dtype {new.dtype}")
    if new.shape != tensor.shape:
        raise ValueError(f"{name} has shape {tensor.shape}, but the new one has {new.shape}")
    tensor[...] = new
