# SPDX-License-Identifier: BSD-3-Clause
"""What the first ``fit`` learns from the data before any training: scales of columns and of targets, categories.

Everything is computed first and written at once, so that a ``fit`` that is refused changes nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .inputs import Targets
from .layers import Layer, all_parts, place_of
from .normalization import Normalization, mean_and_scale
from .parameters import Parameters
from .sparse import is_sparse
from .tables import Embedding, Table, check_codes

if TYPE_CHECKING:
    from .model import Sequential


def find_categories(net: Sequential, x: NDArray[Any]) -> None:
    """Let tables count the categories of X, while the network has no weights yet."""
    for layer in all_parts(net.layers):
        if isinstance(layer, Table):
            _check_dense(x, "X", "Table")
            layer.find_categories(x, count=net.inputs is None)
    if isinstance(net.layers[0], Embedding):
        check_categories(net, x, "X")


def check_categories(net: Sequential, x: NDArray[Any], argument: str) -> None:
    """That the columns of codes hold whole numbers, in data that a network is fitted to or measured with."""
    first = net.layers[0]
    columns: Iterable[int] = ()
    if isinstance(first, Embedding):
        columns = range(x.shape[1])
    elif isinstance(first, Table):
        columns = first.code_columns
    for column in columns:
        _check_dense(x, argument, type(first).__name__)
        check_codes(x, column, argument)


def _check_dense(x: NDArray[Any], argument: str, layer: str) -> None:
    if is_sparse(x):
        raise TypeError(
            f"{argument} is a sparse matrix, and {layer} reads columns of categories: make it dense first, "
            f"{argument}.toarray(), or begin with Dense"
        )


def forget_categories(net: Sequential) -> None:
    """What was counted for a network that was not built then: a ``fit`` that is refused changes nothing."""
    for layer in all_parts(net.layers) if net.inputs is None else ():
        if isinstance(layer, Table):
            layer.forget_categories()


class Lessons:
    """What is to be written into the state, and which layers will have learned by that."""

    def __init__(self, state: NDArray[Any]) -> None:
        self._state = state
        self._values: list[tuple[int, NDArray[np.float64]]] = []
        self._layers: list[Normalization | Table] = []
        self._net: Sequential | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._values)

    def add(self, offset: int, *values: NDArray[np.float64]) -> None:
        """Values that lie behind each other from an offset on."""
        for value in values:
            self._values.append((offset, value))
            offset += value.size

    def by(self, layer: Normalization | Table) -> None:
        """A layer has learned then."""
        self._layers.append(layer)

    def by_targets(self, net: Sequential) -> None:
        """The network has learned its targets' scale then."""
        self._net = net

    def write(self) -> None:
        """Write the values, and say nothing to the layers."""
        for offset, value in self._values:
            self._state[offset : offset + value.size] = value

    def apply(self) -> None:
        """Write all of it."""
        self.write()
        for layer in self._layers:
            layer.learned = True
        if self._net is not None:
            self._net._targets_learned = True


def learn(
    net: Sequential, parameters: Parameters, x: NDArray[Any], y: Targets, rows: NDArray[np.int64] | None
) -> Lessons:
    """Means and scales that are not known yet, from the training rows (None: all)."""
    lessons = Lessons(parameters.state)
    graph = parameters.graph
    for learned in graph.learned:
        layer = learned.layer
        assert isinstance(layer, (Normalization, Table))
        if not layer.learned:
            lessons.add(learned.state, *mean_and_scale(x, learned.columns, rows, parameters.dtype))
            lessons.by(layer)
    if graph.rescale >= 0 and not net._targets_learned:
        lessons.add(graph.rescale, *target_scale(y, graph.width, rows, parameters.dtype))
        lessons.by_targets(net)
    return lessons


def target_scale(
    y: Targets, outputs: int, rows: NDArray[np.int64] | None, dtype: np.dtype[Any]
) -> tuple[NDArray[np.float64], ...]:
    """Scale and shift of each output, mean and factor of each column of targets as the loss reads them."""
    assert y.values is not None, "resolve_loss lets no labels come here"
    columns = y.values.shape[1]
    mean, factor = mean_and_scale(y.values, range(columns), rows, dtype, "y")
    if columns == outputs:
        return 1.0 / factor, mean, mean, factor
    if columns == 1:  # several quantiles of one number
        return tuple(np.repeat(value, outputs) for value in (1.0 / factor, mean, mean, factor))
    raise ValueError(f"scale_targets needs a column of y for each of {outputs} outputs, not {columns}")


def warn_of_unlearned(net: Sequential, parameters: Parameters, caller: str) -> None:
    """Say once that a loop of the caller's own trains with scales that no ``fit`` has learned, nor anybody written."""
    if net._warned_of_unlearned:
        return
    graph = parameters.graph
    unlearned = [
        f"{type(learned.layer).__name__} ({place_of(net.layers, learned.layer)})"
        for learned in graph.learned
        if isinstance(learned.layer, (Normalization, Table))
        and not learned.layer.learned
        and _is_fresh(parameters, learned.layer)
    ]
    if graph.rescale >= 0 and not net._targets_learned and _is_fresh(parameters, None):
        unlearned.append("scale_targets")
    if not unlearned:
        return
    warnings.warn(
        f"{caller} before the first fit: {' and '.join(unlearned)} would learn scales from the data there, and "
        f"{'has' if len(unlearned) == 1 else 'have'} learned none, so training goes on unscaled. Call "
        "fit(X, y, epochs=0) before it, which learns them and trains nothing",
        stacklevel=6,
    )
    net._warned_of_unlearned = True


def _is_fresh(parameters: Parameters, layer: Layer | None) -> bool:
    """Whether the scales of a layer, or those of the targets, are where they start."""
    state = parameters.state
    kept = [tensor for tensor in parameters.graph.state if tensor.layer is layer]
    return all(bool((state[one.offset : one.offset + one.size] == one.start).all()) for one in kept)
