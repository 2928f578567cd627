# SPDX-License-Identifier: BSD-3-Clause
"""From layers to what C runs: a flat list of operations over numbered buffers, and a table of tensors.

Each layer adds its operations and tensors to a :class:`Graph`, in the order of the forward pass. Nothing here holds
numbers: :func:`build` gives the plan, ``model.py`` the memory. To add a layer, write its ``add_to`` in ``layers.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .activations import ActivationFunction, activations
from .activations import activation as spelled_activation
from .initializers import Initializer

if TYPE_CHECKING:
    from .layers import Layer

REAL_TYPES = {"float32": 0, "float64": 1}
FORGET_THEIR_OUTPUT = (_core.DENSE, _core.LAYER_NORM, _core.RMS_NORM, _core.BATCH_NORM, _core.ADD)
"""Operations whose derivative is no function of their output: an activation may be written over it."""


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


@dataclass(frozen=True)
class StateTensor:
    """Numbers behind the parameters that are not trained: running statistics, learned scales."""

    layer: Layer | None  # None: of the network itself
    name: str
    offset: int  # within the state
    size: int
    start: float


@dataclass(frozen=True)
class Learned:
    """A mean and a scale that the first ``fit`` takes from some columns of X."""

    layer: Layer
    state: int  # where the mean is; the scale is behind it
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """One operation, with the fields of ``fnn_op`` in their order."""

    kind: int
    input: int
    output: int
    activation: int = -1
    weight: int = -1
    bias: int = -1
    other: int = -1
    adds: int = 0
    layer: int = 0
    start: int = 0
    to: int = 0
    count: int = 0
    state: int = 0
    parameter: float = 0.0
    momentum: float = 0.0


@dataclass
class Graph:
    """A network while its layers are being added: `at` is the buffer that holds what was computed last."""

    inputs: int
    widths: list[int] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    state: list[StateTensor] = field(default_factory=list)
    learned: list[Learned] = field(default_factory=list)
    at: int = 0
    multiply_adds: int = 0  # of one row, forward
    last_activation: str = "linear"
    ends: list[tuple[Layer, int]] = field(default_factory=list)  # the buffer each layer ends in
    random_layers: int = 0
    rescale: int = -1  # where its numbers begin in the state; -1: targets are not scaled
    _around: list[Layer] = field(default_factory=list)  # the layers whose parts are being added

    def __post_init__(self) -> None:
        self.widths.append(self.inputs)

    @property
    def width(self) -> int:
        """Columns of the buffer that holds what was computed last."""
        return self.widths[self.at]

    def is_input(self, buffer: int) -> bool:
        """Whether a buffer holds columns of X as they came."""
        makers = (operation for operation in self.operations if operation.output == buffer)
        return buffer == 0 or all(op.kind == _core.COPY and self.is_input(op.input) for op in makers)

    @property
    def n_params(self) -> int:
        return sum(segment.size for segment in self.segments)

    @property
    def penalized(self) -> bool:
        """Whether the loss has more terms than that of the data."""
        return any(segment.l1 or segment.l2 for segment in self.segments)

    @property
    def n_state(self) -> int:
        return sum(tensor.size for tensor in self.state)

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
        for outer in self._around:
            factor, frozen = factor * outer.learning_rate_factor, frozen or not outer.trainable
        self.segments.append(
            Segment(layer, name, self.n_params, rows, columns, initializer, factor, decays, frozen, l1, l2)
        )
        return len(self.segments) - 1

    def keep(self, layer: Layer | None, name: str, size: int, start: float) -> int:
        """Reserve numbers at the end of the state; where they begin."""
        offset = self.n_state
        self.state.append(StateTensor(layer, name, offset, size, start))
        return offset

    @contextmanager
    def within(self, layer: Layer) -> Iterator[None]:
        """Add parts of a layer: what it says of freezing and learning rates holds for them."""
        self._around.append(layer)
        try:
            yield
        finally:
            self._around.pop()

    def buffer(self, width: int) -> int:
        """A new buffer."""
        self.widths.append(width)
        return len(self.widths) - 1

    def add(self, kind: int, width: int | None = None, *, output: int | None = None, **fields: Any) -> None:
        """An operation on what was computed last, into a new buffer of as many columns if nothing else is said."""
        to = self.buffer(self.width if width is None else width) if output is None else output
        self.operations.append(Operation(kind, self.at, to, **fields))
        self.at = to
        self.last_activation = "linear"

    def dense(self, weight: int, bias: int) -> None:
        """output = input . weight + bias."""
        segment = self.segments[weight]
        self.add(_core.DENSE, segment.columns, weight=weight, bias=bias)
        self.multiply_adds += segment.size

    def activation(self, function: ActivationFunction) -> None:
        """output = f(input), in place where f allows it and nobody else needs what the buffer held."""
        if function.name == "linear":
            return
        index = _core.activation_names().index(function.name)
        # The input must stay as it is, and so must what another operation's derivative is a function of.
        free = bool(self.operations) and self.operations[-1].kind in FORGET_THEIR_OUTPUT
        output = self.at if free and _core.activation_in_place(index) else None
        self.add(_core.ACTIVATION, output=output, activation=index, parameter=function.parameter or 0.0)
        self.last_activation = function.name

    def random(self, kind: int, parameter: float) -> None:
        """Dropout or noise, with random numbers of its own."""
        if self.random_layers == _core.MAX_RANDOM_LAYERS:
            raise ValueError(f"layers: more than {_core.MAX_RANDOM_LAYERS} layers draw random numbers")
        self.add(kind, layer=self.random_layers, parameter=parameter)
        self.random_layers += 1

    def branch(self, last: bool) -> None:
        """Go on from a copy of what was computed last, which others read too; `last`: none of them comes later."""
        self.add(_core.COPY, count=self.width, adds=int(not last))

    def copy_columns(self, start: int, count: int, output: int, to: int) -> None:
        """Columns of what was computed last into some of another buffer, where things go on."""
        self.add(_core.COPY, output=output, start=start, to=to, count=count)

    def finish(self, scale_targets: bool) -> None:
        """The end: if wanted, outputs in the units of the targets."""
        if not scale_targets:
            return
        if self.last_activation != "linear":
            raise ValueError(f"scale_targets needs a last layer that is linear, not {self.last_activation}")
        n = self.width
        self.rescale = self.keep(None, "output_scale", n, 1.0)
        for name, start in (("output_shift", 0.0), ("target_mean", 0.0), ("target_factor", 1.0)):
            self.keep(None, name, n, start)
        self.add(_core.RESCALE, state=self.rescale)

    def follow(self, layer: Layer) -> None:
        """Add a layer behind what is there."""
        layer.add_to(self)
        self.ends.append((layer, self.at))

    def compile(self, dtype: np.dtype, output: int | None = None) -> _core.Network:
        """The checked copy that C runs; with `output`, one whose predictions are what that buffer holds."""
        segments = [
            (s.offset, s.rows, s.columns, s.learning_rate_factor, s.l1, s.l2, int(s.decays), int(s.frozen))
            for s in self.segments
        ]
        operations: list[Any] = [tuple(vars(operation).values()) for operation in self.operations]
        if output is None:
            output = self.at
        elif self.rescale >= 0:
            del operations[-1]
        return _core.Network(REAL_TYPES[dtype.name], operations, self.widths, segments, output, self.n_state)


def build(layers: Sequence[Layer], inputs: int, scale_targets: bool = False) -> Graph:
    """The graph of a stack of layers for rows of so many inputs."""
    graph = Graph(inputs)
    for layer in layers:
        graph.follow(layer)
    if not graph.segments:
        raise ValueError("layers: a network needs at least one Dense layer")
    graph.finish(scale_targets)
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
