# SPDX-License-Identifier: BSD-3-Clause
"""All numbers of a network as a list of arrays, in Keras's order: ``get_weights`` and ``set_weights``.

Layer after layer (layers made of layers: part after part); of each layer what it trains, then what it does not. Behind
them what ``scale_targets`` has learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .arguments import finite_copy
from .layers import Layer, all_parts, place_of
from .normalization import Normalization
from .parameters import Parameters
from .tables import Table

if TYPE_CHECKING:
    from .model import Sequential

Arrays = list[NDArray[Any]]
MATRICES = (_core.DENSE, _core.EMBEDDING)  # operations whose weight has two dimensions


def tensors(net: Sequential, parameters: Parameters) -> list[tuple[str, slice, tuple[int, ...]]]:
    """What it is, where it lies in the network's numbers, and its shape: of every tensor in the order of the list."""
    graph = parameters.graph
    matrices = {op.weight for op in graph.operations if op.kind in MATRICES}
    found: list[tuple[str, slice, tuple[int, ...]]] = []
    for layer in (*all_parts(net.layers), None):
        place = "the network" if layer is None else place_of(net.layers, layer)
        for number, segment in enumerate(graph.segments):
            if segment.layer is layer:
                shape = (segment.rows, segment.columns) if number in matrices else (segment.size,)
                span = slice(segment.offset, segment.offset + segment.size)
                found.append((f"{segment.name} of {place}", span, shape))
        for kept in graph.state:
            if kept.layer is layer:
                start = graph.n_params + kept.offset
                found.append((f"{kept.name} of {place}", slice(start, start + kept.size), (kept.size,)))
    return found


def get_weights(net: Sequential) -> Arrays:
    """See ``Sequential.get_weights``."""
    parameters = net._built()
    spans = tensors(net, parameters)
    return parameters.shared.read(lambda numbers: [numbers[span].reshape(shape).copy() for _, span, shape in spans])


def set_weights(net: Sequential, weights: Sequence[Any]) -> None:
    """See ``Sequential.set_weights``; the network is the caller's alone meanwhile."""
    parameters = net._built()
    if isinstance(weights, (str, bytes, np.ndarray, Mapping)) or not isinstance(weights, Iterable):
        raise TypeError(f"weights must be a list of arrays, not {type(weights).__name__}")
    given, wanted = list(weights), tensors(net, parameters)
    if len(given) != len(wanted):
        names = ", ".join(name for name, _, _ in wanted)
        raise ValueError(f"weights has {len(given)} arrays, but the network has {len(wanted)}: {names}")
    moves = []
    for place, (value, (name, span, shape)) in enumerate(zip(given, wanted, strict=True)):
        new = plain_array(value, f"weights[{place}]")
        if new.shape != shape:
            raise ValueError(f"weights[{place}] has shape {new.shape}, but {name} has {shape}")
        new = numbers_of(new, net.dtype, name, f"weights[{place}] ({name})")  # it may have been a view of the network
        moves.append((span, new.reshape(-1)))
    net._pass = None
    parameters.shared.write(_write, parameters.numbers, moves)
    note_learned(net, parameters)


def _write(numbers: NDArray[Any], moves: list[tuple[slice, NDArray[Any]]]) -> None:
    for span, new in moves:
        numbers[span] = new


def note_learned(net: Sequential, parameters: Parameters) -> None:
    """Scales that were written count as learned, unless they are those of a network that has seen no data."""
    graph = parameters.graph
    fresh: dict[Layer | None, bool] = {}
    for kept in graph.state:
        values = parameters.state[kept.offset : kept.offset + kept.size]
        fresh[kept.layer] = fresh.get(kept.layer, True) and bool((values == kept.start).all())
    for layer, is_fresh in fresh.items():
        if isinstance(layer, (Normalization, Table)):
            layer.learned = not is_fresh
        elif layer is None:
            net._targets_learned = not is_fresh


def numbers_of(value: NDArray[Any], dtype: np.dtype[Any], name: str, argument: str) -> NDArray[Any]:
    """A copy in the network's dtype of what a tensor of that name may hold."""
    new = finite_copy(value, dtype, argument)
    if name.startswith("running_variance") and (new < 0).any():  # the mean, perhaps, in another library's order
        at = int(new.argmin())
        raise ValueError(f"{argument} is {new.flat[at]} at [{at}], but a variance cannot be negative")
    return new


def plain_array(value: Any, argument: str) -> NDArray[Any]:
    """A NumPy array of real numbers from an array of any library: what has .detach(), .cpu() or .numpy() is asked."""
    if isinstance(value, Mapping):
        raise TypeError(f"{argument} must be an array, not {type(value).__name__}: is that what holds the arrays?")
    try:
        array = np.asarray(_numpy_of(value))
    except ValueError as error:
        raise ValueError(f"{argument} is not a regular array") from error
    except (TypeError, RuntimeError) as error:  # of the other library: sparse, quantized, without memory
        raise TypeError(f"{argument} cannot be made an array: {error}") from error
    if np.ma.is_masked(value):
        raise ValueError(f"{argument} has masked (missing) values")
    if array.dtype.kind not in "biuf":
        hint = ": convert it first, .astype('float32')" if "float" in str(array.dtype) else ""
        raise TypeError(f"{argument} must hold real numbers, not dtype {array.dtype}{hint}")
    return array


def _numpy_of(value: Any) -> Any:
    """What may be a tensor, as NumPy's array; in float32 where NumPy has no such type, as torch's bfloat16."""
    for name in ("detach", "cpu"):
        if callable(method := getattr(value, name, None)):
            value = method()
    if not callable(to_numpy := getattr(value, "numpy", None)):
        return value
    try:
        return to_numpy()
    except TypeError:
        if not callable(widen := getattr(value, "float", None)):
            raise
    return widen().numpy()
