# SPDX-License-Identifier: BSD-3-Clause
"""Networks from other libraries' arrays: ``from_torch`` and ``from_keras``. Neither library is imported.

What comes in is cut into groups, one for each module that has numbers. Either layers are made to fit the groups, or
they are those of a network that is there; then each layer takes the next group
(``transplant.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .layers import place_of
from .model import Sequential
from .transplant import Group, network_of, places_in
from .weights import plain_array

TORCH = {
    "weight": "weight", "bias": "bias", "running_mean": "running_mean", "running_var": "running_variance",
    "num_batches_tracked": "",
}  # fmt: skip
KERAS = {
    "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_variance", "alpha": "weight", "embeddings": "weight",
}  # fmt: skip
RUNS = {  # how many vectors follow a kernel in Keras's list -> what they are, where only one answer is likely
    0: [], 1: ["bias"], 3: ["bias", "LayerNorm"], 5: ["bias", "BatchNorm"],
}  # fmt: skip


def from_torch(
    state_dict: Mapping[str, Any],
    activations: Any = None,
    *,
    into: Sequential | None = None,
    epsilon: float = 1e-5,
    dtype: DTypeLike = "float32",
) -> Sequential:
    """A network with the weights of a PyTorch module, from its ``state_dict()``.

    Linear, BatchNorm1d, LayerNorm, PReLU and Embedding are recognized by their names and shapes, in the order of the
    dictionary; a state_dict does not hold activations, nor what has no numbers.

    Parameters
    ----------
    state_dict : dict of str to array
        "0.weight" (units, inputs), "0.bias" and so on; tensors or arrays, of any real type (bfloat16 as well).
    activations : str or list of str, rows of ``fastnn.activations`` and None, optional
        One for each Linear; it follows the Linear, and the norm behind it if there is one. A single one is that of all
        but the last Linear, which is linear.
    into : Sequential, optional
        Fill this network instead: for every other order of layers, for Dropout, Residual and so on. Its layers that
        have numbers take those of the modules, one after the other; none is changed if one does not fit.
    epsilon : float, default 1e-5
        Of norms, which a state_dict does not hold.
    dtype : {"float32", "float64"}, default "float32"
        Of the new network.

    Returns
    -------
    Sequential
        `into`, if it was given.

    Raises
    ------
    ValueError, TypeError
        If an argument is of another type, a shape does not fit, a module is of a kind that is not known, a weight is
        not finite, or a variance negative.

    Notes
    -----
    A weight (rows, columns) without a bias is a Linear where its columns fit, else, in front, an Embedding whose
    vectors lie side by side. A single number is a PReLU; a vector without a bias is refused, because norms may be
    without one too. A weight and a bias without statistics are a LayerNorm: GroupNorm, BatchNorm1d without running
    statistics, and what ``named_parameters()`` has of one that keeps them look the same. Where any of that is wrong,
    use `into`. An Embedding has no vector for unknown categories: here it
    is 0.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> state_dict = {"0.weight": np.ones((3, 2)), "0.bias": np.zeros(3), "2.weight": np.ones((1, 3)),
    ...               "2.bias": np.zeros(1)}    # of nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> fn.from_torch(state_dict, ["relu", None]).predict([1.0, 2.0])
    array([[9.]], dtype=float32)
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be a dict of arrays, not {type(state_dict).__name__}: module.state_dict()")
    groups = _named_groups(state_dict, ".", TORCH, "state_dict")
    return network_of(groups, activations, into, {"epsilon": epsilon, "momentum": 0.9}, dtype)


def from_keras(
    weights: Any,
    activations: Any = None,
    *,
    into: Sequential | None = None,
    epsilon: float = 1e-3,
    dtype: DTypeLike = "float32",
) -> Sequential:
    """A network with the weights of a Keras model, from its ``get_weights()``.

    Dense, BatchNormalization, LayerNormalization, PReLU and Embedding are recognized by their shapes, in the order of
    the list, or by their names in a dictionary.

    Parameters
    ----------
    weights : list of array, or dict of str to array
        ``model.get_weights()``: kernels (inputs, units), each followed by the vectors that belong to it. Two, four or
        more than five vectors may mean several things: then give names, ``{w.path: w.numpy() for w in model.weights}``,
        or `into`.
    activations : str or list of str, rows of ``fastnn.activations`` and None, optional
        One for each Dense; it follows the Dense, and the norm behind it if there is one: for ``Dense(8, "relu")`` with
        a norm behind it, use `into`. A single one is that of all but the last Dense, which is linear. "leaky_relu"
        needs its slope, "leaky_relu(0.2)", because Keras has another one.
    into : Sequential, optional
        Fill this network instead, layer by layer; none is changed if one does not fit.
    epsilon : float, default 1e-3
        Of norms, which the list does not hold.
    dtype : {"float32", "float64"}, default "float32"
        Of the new network.

    Returns
    -------
    Sequential
        `into`, if it was given.

    Raises
    ------
    ValueError, TypeError
        If an argument is of another type, a shape does not fit or may mean several things, a weight is not finite, or a
        variance negative.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> weights = [np.ones((2, 3)), np.zeros(3), np.ones((3, 1)), np.zeros(1)]
    >>> fn.from_keras(weights, "relu").predict([1.0, 2.0])
    array([[9.]], dtype=float32)
    """
    _refuse_another_slope(activations)
    if isinstance(weights, Mapping):
        groups = _named_groups(weights, "/", KERAS, "weights")
    elif isinstance(weights, (str, np.ndarray)) or not isinstance(weights, Iterable):
        raise TypeError(f"weights must be a list of arrays, not {type(weights).__name__}: model.get_weights()")
    else:
        arrays = [plain_array(value, f"weights[{place}]") for place, value in enumerate(weights)]
        groups = _groups_by_shape(arrays) if into is None else _groups_by_layer(arrays, into)
    return network_of(groups, activations, into, {"epsilon": epsilon, "momentum": 0.99}, dtype)


def _refuse_another_slope(activations: Any) -> None:
    """The one name that means something else there."""
    names = [activations] if isinstance(activations, str) else activations
    if isinstance(names, Sequence) and any(isinstance(name, str) and name == "leaky_relu" for name in names):
        raise ValueError(
            "activations: 'leaky_relu' has slope 0.2 as an activation of Keras, 0.3 as its layer LeakyReLU, and 0.01 "
            "in fastnn: say which, as in 'leaky_relu(0.2)'"
        )


# ---- arrays into groups ----------------------------------------------------------------------------------------------


def _named_groups(arrays: Mapping[str, Any], separator: str, names: dict[str, str], argument: str) -> list[Group]:
    """One for each module, by what stands before the last separator, in the order in which they come."""
    groups: dict[str, Group] = {}
    for key, value in arrays.items():
        module, _, name = str(key).rpartition(separator)
        array = plain_array(value, f"{argument}[{key!r}]")
        if name not in names or array.ndim > 2:
            raise ValueError(
                f"{argument}[{key!r}] with shape {array.shape} belongs to no layer that fastnn knows: known are "
                f"{', '.join(names)} of up to two dimensions"
            )
        if names[name]:
            group = groups.setdefault(module, Group(module, {}, separator == "."))
            group.arrays[names[name]] = array
            if separator == "/":
                group.kind = group.kind or name
    if not groups:
        raise ValueError(f"{argument} is empty")
    return list(groups.values())


def _groups_by_shape(arrays: list[NDArray[Any]]) -> list[Group]:
    """Each kernel with the vectors behind it, up to the next kernel."""
    groups: list[Group] = []
    place = 0
    while place < len(arrays):
        kernel = arrays[place]
        if kernel.ndim != 2:
            raise ValueError(
                f"weights[{place}] has shape {kernel.shape}, where a kernel (inputs, units) is needed: "
                "give names or into="
            )
        end = place + 1
        while end < len(arrays) and arrays[end].shape == kernel.shape[1:]:
            end += 1
        if (found := RUNS.get(end - place - 1)) is None:
            raise ValueError(
                f"weights[{place}], a kernel of shape {kernel.shape}, is followed by {end - place - 1} vectors, "
                "which may mean several layers: give names, {w.path: w.numpy() for w in model.weights}, or into="
            )
        dense = {"weight": kernel} | ({"bias": arrays[place + 1]} if "bias" in found else {})
        groups.append(Group(f"weights[{place}]", dense, False))
        if found[1:]:
            names = ("weight", "bias", "running_mean", "running_variance")
            norm = dict(zip(names, arrays[place + 2 : end], strict=False))
            groups.append(Group(f"weights[{place + 2}]", norm, False))
        place = end
    if not groups:
        raise ValueError("weights is empty")
    return groups


def _groups_by_layer(arrays: list[NDArray[Any]], net: Sequential) -> list[Group]:
    """As many arrays as each layer has, under the names it gives them."""
    groups, place = [], 0
    for layer, names in places_in(net):
        part = arrays[place : place + len(names)]
        if len(part) < len(names):
            raise ValueError(
                f"weights has {len(arrays)} arrays, too few: {place_of(net.layers, layer)} needs {', '.join(names)} "
                "(for norms without one of them give names, {w.path: w.numpy() for w in model.weights})"
            )
        keys = ["weight" if name == "slope" or name.startswith("weight[") else name for name in names]
        groups.append(Group(f"weights[{place}]", dict(zip(keys, part, strict=True)), False))
        place += len(names)
    if place < len(arrays):
        raise ValueError(f"weights has {len(arrays)} arrays, but the layers of the network need {place}")
    return groups
