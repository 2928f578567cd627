# SPDX-License-Identifier: BSD-3-Clause
"""Another library's modules, as groups of arrays, made into layers and written into them; for ``interchange.py``.

To add a kind of module: the layer it becomes in ``_layers``, and what the layer takes from it in ``_numbers_for``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .activations import ActivationFunction
from .arguments import positive
from .graph import known_activation
from .layers import Activation, Dense, Layer, PReLU, all_parts, place_of
from .model import Sequential
from .normalization import BatchNorm, LayerNorm, Norm
from .tables import Embedding, Table
from .weights import numbers_of

Arrays = dict[str, NDArray[Any]]


@dataclass
class Group:
    """The arrays of one module: weight, bias, running_mean, running_variance."""

    name: str
    arrays: Arrays
    transposed: bool  # a matrix is (units, inputs), as in torch
    kind: str = ""  # what Keras calls its first array: "kernel", "embeddings", "gamma", "beta" or "alpha"

    @property
    def is_matrix(self) -> bool:
        return "weight" in self.arrays and self.arrays["weight"].ndim == 2

    @property
    def kernel(self) -> NDArray[Any]:
        """(inputs, units)"""
        return self.arrays["weight"].T if self.transposed else self.arrays["weight"]

    @property
    def size(self) -> int:
        """Numbers in its vectors."""
        return next(iter(self.arrays.values())).size


def places_in(net: Sequential) -> list[tuple[Layer, list[str]]]:
    """What takes a group: a layer and the names of its tensors; of a table each of its columns."""
    if not isinstance(net, Sequential):
        raise TypeError(f"into must be a Sequential, not {type(net).__name__}")
    net._built()
    found: list[tuple[Layer, list[str]]] = []
    for layer in all_parts(net.layers):
        if isinstance(layer, Table):
            found += [(layer, [name]) for name in layer._tensors]
        elif layer._tensors:  # Normalization has none: it stays as it is
            found.append((layer, [*layer._tensors, *layer._state]))
    return found


# ---- groups into layers ----------------------------------------------------------------------------------------------


def network_of(
    groups: list[Group], activations: Any, into: Sequential | None, norms: dict[str, float], dtype: DTypeLike
) -> Sequential:
    """A new network, or `into`, with the numbers of the groups; `norms`: epsilon and momentum, which no group has."""
    if into is None:
        layers, inputs = _layers(groups, activations, {**norms, "epsilon": positive(norms["epsilon"], "epsilon")})
        net = Sequential(layers, inputs=inputs, dtype=dtype)
    elif activations is not None:
        raise ValueError("activations and into are both given: a network that is there has its own")
    else:
        net = into
    _fill(net, groups)
    return net


def _layers(groups: list[Group], activations: Any, norms: dict[str, float]) -> tuple[list[Layer], int]:
    """Layers that fit the groups, and how many columns the first one reads."""
    layers: list[Layer] = []
    inputs = width = 0  # 0: not known yet
    chosen = _activations(activations, [group.name for place, group in enumerate(groups) if _is_dense(groups, place)])
    pending: Any = None  # the activation of the Dense before, until it is known whether a norm comes first
    for place, group in enumerate(groups):
        if group.is_matrix:
            _settle(layers, pending)
            pending = None
        if _is_dense(groups, place):
            reads, units = group.kernel.shape
            layers.append(Dense(units, use_bias="bias" in group.arrays))
            pending = chosen.pop(0)
        elif group.is_matrix:
            if layers:
                raise ValueError(f"{group.name}: an embedding must be the first layer; for other networks, use into=")
            reads, units, layer = _embedding(groups, place)
            layers.append(layer)
        else:
            reads = units = width or group.size
            layers.append(_vector_layer(group, norms))
            slopes = isinstance(layers[-1], PReLU)
            if slopes and pending is not None:
                before = pending.spelled
                raise ValueError(f"{group.name} is a PReLU: the activation before it must be None, not {before!r}")
            if group.size != units and not (slopes and group.size == 1):
                raise ValueError(f"{group.name} has {group.size} numbers, but the layer before it has {units} units")
        if width and reads != width:
            raise ValueError(f"{group.name} reads {reads} columns, but the layer before it has {width} units")
        inputs, width = inputs or reads, units
    _settle(layers, pending)
    return layers, inputs


def _settle(layers: list[Layer], activation: Any) -> None:
    """Put an activation into the Dense before it, or behind the norm that follows the Dense."""
    if activation is None:
        return
    last = layers[-1]
    if isinstance(last, Dense):
        layers[-1] = Dense(last.units, activation, use_bias=last.use_bias)
    else:
        layers.append(Activation(activation))


def _is_dense(groups: list[Group], place: int) -> bool:
    """Whether a matrix is that of a Linear: if nothing was said, by its bias and by what the next one reads."""
    group = groups[place]
    if not group.is_matrix or group.kind:
        return group.is_matrix and group.kind != "embeddings"
    following = _reads(groups, place)
    return "bias" in group.arrays or following in (0, group.kernel.shape[1]) or place > 0


def _reads(groups: list[Group], place: int) -> int:
    """Columns that the next matrix reads; 0 without one."""
    return next((group.kernel.shape[0] for group in groups[place + 1 :] if group.is_matrix), 0)


def _embedding(groups: list[Group], place: int) -> tuple[int, int, Layer]:
    """Columns it reads and gives, and the layer: as many columns as the next layer can read."""
    (categories, units), following = groups[place].arrays["weight"].shape, _reads(groups, place)
    if following == 0 or following % units:
        raise ValueError(
            f"{groups[place].name} with shape {(categories, units)} is no Linear that the next layer, with {following} "
            f"inputs, could follow, and no Embedding either: that is no multiple of {units}"
        )
    return following // units, following, Embedding(categories, units)


def _vector_layer(group: Group, norms: dict[str, float]) -> Layer:
    if "running_mean" in group.arrays:
        return BatchNorm(norms["momentum"], norms["epsilon"])
    if group.kind in ("gamma", "beta"):
        return LayerNorm(norms["epsilon"])
    if "weight" not in group.arrays:
        raise ValueError(f"{group.name} has no weight")
    if "bias" in group.arrays:
        return LayerNorm(norms["epsilon"])
    if group.size == 1 or group.kind == "alpha":
        return PReLU()
    raise ValueError(
        f"{group.name} has a weight of {group.size} numbers and no bias: that may be a PReLU, a LayerNorm or an "
        "RMSNorm; use into=, a network that has the right one"
    )


def _activations(activations: Any, names: list[str]) -> list[Any]:
    """One for each Dense."""
    if activations is None:
        raise ValueError(
            f"activations are needed, one for each of {', '.join(names)}: such as "
            f"{['relu'] * (len(names) - 1) + [None]!r}; or into=, a network to fill"
        )
    if isinstance(activations, (str, ActivationFunction)):
        activations = [activations] * (len(names) - 1) + [None]
    if not isinstance(activations, Iterable):
        raise TypeError(f"activations must be a list of names, not {type(activations).__name__}")
    found = [known_activation(name) for name in activations]
    if len(found) != len(names):
        raise ValueError(f"activations has {len(found)} entries, but there are {len(names)}: {', '.join(names)}")
    return [None if function.name == "linear" else function for function in found]


# ---- groups into the numbers of a network ----------------------------------------------------------------------------


def _fill(net: Sequential, groups: list[Group]) -> None:
    """Write all of them at once, or nothing."""
    places = places_in(net)
    if len(groups) != len(places):
        takers = ", ".join(f"{type(layer).__name__} ({place_of(net.layers, layer)})" for layer, _ in places)
        given = ", ".join(group.name for group in groups)
        raise ValueError(f"there are {len(groups)} modules, {given}, but {len(places)} layers with numbers: {takers}")
    found: dict[tuple[Layer, str], NDArray[Any]] = {}
    for group, (layer, names) in zip(groups, places, strict=True):
        for name, value in _numbers_for(layer, names, group, place_of(net.layers, layer)):
            found[layer, name] = value
    current = net.get_weights()
    order = [(layer, name) for layer in all_parts(net.layers) for name in (*layer._tensors, *layer._state)]
    for place, which in enumerate(order):  # behind these is what belongs to no layer
        current[place] = found.get(which, current[place])
    net.set_weights(current)


def _numbers_for(layer: Layer, names: list[str], group: Group, where: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """What each tensor of a layer gets from a group."""
    arrays = dict(group.arrays)
    for name in names:
        tensor = layer._tensor(name)
        source = "weight" if name == "slope" or name.startswith("weight[") else name
        value = arrays.pop(source, None)
        if value is None and isinstance(layer, Norm) and source in ("weight", "bias"):  # one without, affine=False
            value = np.full(tensor.size, float(source == "weight"))
        if value is None:
            raise ValueError(f"{group.name} has no {source}, but {where}, {layer!r}, needs one")
        value = numbers_of(value, tensor.dtype, name, f"{source} of {group.name}")
        shape: tuple[int, ...] = (tensor.size,)
        if isinstance(layer, (Embedding, Table)):
            shape = tensor.shape
            if value.shape == (shape[0] - 1, shape[1]):
                value = np.vstack([value, np.zeros((1, shape[1]), value.dtype)])  # of the unknown category
        elif isinstance(layer, Dense) and name == "weight":
            shape = tensor.shape
            value = value.T if group.transposed else value
        elif isinstance(layer, PReLU) and value.size == 1:
            value = np.full(shape, value.reshape(-1)[0])
        if value.shape != shape:
            found = f"{source} of {group.name} has shape {value.shape}"
            raise ValueError(f"{found}, but that of {where}, {layer!r}, has {shape}")
        yield name, value
    if arrays:
        raise ValueError(f"{group.name} has {', '.join(arrays)}, but {where}, {layer!r}, has not")
