# SPDX-License-Identifier: BSD-3-Clause
"""From layers to what C runs: a flat list of operations over numbered buffers, and a table of tensors.

Each layer adds its operations and tensors to a :class:`Graph`, in the order of the forward pass. Nothing here holds
numbers: :func:`build` gives the plan, ``model.py`` the memory. To add a layer, write its ``add_to`` in ``layers.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from . import _core
from .activations import ActivationFunction, activations
from .activations import activation as spelled_activation
from .initializers import Initializer

if TYPE_CHECKING:
    from .layers import Layer

REAL_TYPES = {"float32": 0, "float64": 1}


@dataclass(frozen=True)
class Segment:
    """One tensor inside the flat vector of parameters."""

    layer: Layer
    name: str  # "weight", "bias"
    offset: int
    rows: int
    columns: int
    initializer: Initializer
    learning_rate_factor: float
    decays: bool
    frozen: bool
    l1: float = 0.0
    l2: float = 0.0

    @property
    def size(self) -> int:
        return self.rows * self.columns


@dataclass
class Graph:
    """A network while its layers are being added: `at` is the buffer that holds what was computed last."""

    inputs: int
    widths: list[int] = field(default_factory=list)
    operations: list[tuple[int, int, int, int, int, int, float]] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    at: int = 0
    multiply_adds: int = 0  # of one row, forward
    last_activation: str = "linear"

    def __post_init__(self) -> None:
        self.widths.append(self.inputs)

    @property
    def width(self) -> int:
        """Columns of the buffer that holds what was computed last."""
        return self.widths[self.at]

    @property
    def n_params(self) -> int:
        return sum(segment.size for segment in self.segments)

    @property
    def penalized(self) -> bool:
        """Whether the loss has more terms than that of the data."""
        return any(segment.l1 or segment.l2 for segment in self.segments)

    def tensor(
        self,
        layer: Layer,
        name: str,
        rows: int,
        columns: int,
        initializer: Initializer,
        *,
        decays: bool,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> int:
        """Reserve a tensor at the end of the parameters; its number."""
        factor, frozen = layer.learning_rate_factor, not layer.trainable
        self.segments.append(
            Segment(layer, name, self.n_params, rows, columns, initializer, factor, decays, frozen, l1, l2)
        )
        return len(self.segments) - 1

    def dense(self, weight: int, bias: int) -> None:
        """output = input . weight + bias, into a new buffer."""
        segment = self.segments[weight]
        self.widths.append(segment.columns)
        self.operations.append((_core.DENSE, self.at, len(self.widths) - 1, -1, weight, bias, 0.0))
        self.at = len(self.widths) - 1
        self.multiply_adds += segment.size
        self.last_activation = "linear"

    def activation(self, function: ActivationFunction) -> None:
        """output = f(input), in place where f allows it and nobody else needs what the buffer held."""
        if function.name == "linear":
            return
        index = _core.activation_names().index(function.name)
        to = self.at
        # The input must stay as it is, and so must another activation's output: its derivative is a function of it.
        after_dense = bool(self.operations) and self.operations[-1][0] == _core.DENSE
        if not (after_dense and _core.activation_in_place(index)):
            self.widths.append(self.width)
            to = len(self.widths) - 1
        self.operations.append((_core.ACTIVATION, self.at, to, index, -1, -1, function.parameter or 0.0))
        self.at = to
        self.last_activation = function.name

    def compile(self, dtype: np.dtype) -> _core.Network:
        """The checked copy that C runs."""
        segments = [
            (s.offset, s.rows, s.columns, s.learning_rate_factor, s.l1, s.l2, int(s.decays), int(s.frozen))
            for s in self.segments
        ]
        return _core.Network(REAL_TYPES[dtype.name], self.operations, self.widths, segments, self.at)


def build(layers: Sequence[Layer], inputs: int) -> Graph:
    """The graph of a stack of layers for rows of so many inputs."""
    graph = Graph(inputs)
    for layer in layers:
        layer.add_to(graph)
    if not graph.segments:
        raise ValueError("layers: a network needs at least one Dense layer")
    return graph


def known_activation(activation: object) -> ActivationFunction:
    """An activation from a name, a row of the registry, or None for linear."""
    if activation is None:
        return activations["linear"]
    if isinstance(activation, ActivationFunction):
        return activation
    if isinstance(activation, str):
        return spelled_activation(activation)
    raise TypeError(f"activation must be a name or a row of fastnn.activations, not {type(activation).__name__}")
