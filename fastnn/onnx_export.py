# SPDX-License-Identifier: BSD-3-Clause
"""``to_onnx``: the list of operations that C runs, written as an ONNX graph.

Each kind of operation is a method of :class:`Exporter` that adds nodes; each activation a function in
``onnx_activations.py``. To add a layer: if it is made of operations that are there, nothing; else a method named in
``OPERATIONS``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .files import write_whole
from .graph import Graph, Operation
from .onnx_activations import ACTIVATIONS

if TYPE_CHECKING:
    from .model import Sequential

OPSET = 13  # of December 2020: runtimes from then on read it, and nothing newer is needed
IR_VERSION = 7  # which came with it
LARGEST = (1 << 31) - (1 << 20)  # bytes; protobuf ends at 2 GiB
INPUT, OUTPUT, ROWS = "input", "output", "rows"


def to_onnx(net: Sequential, path: str | os.PathLike[str]) -> None:
    """See ``Sequential.to_onnx``."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise ModuleNotFoundError("to_onnx needs the package onnx: pip install onnx") from None
    parameters = net._built()
    if parameters.numbers.nbytes > LARGEST:
        raise ValueError(
            f"the network has {parameters.numbers.nbytes:,} bytes of numbers, but an ONNX file may have {LARGEST:,}"
        )
    model = parameters.shared.read(lambda numbers: Exporter(onnx, parameters.graph, numbers).model())
    onnx.checker.check_model(model)
    write_whole(path, model.SerializeToString())


class Exporter:
    """Writes the operations of a graph in order; `names` holds what each buffer is called at that point."""

    def __init__(self, onnx: Any, graph: Graph, numbers: NDArray[Any]) -> None:
        self.dtype = numbers.dtype
        self._onnx = onnx
        self._graph = graph
        self._params, self._state = numbers[: graph.n_params], numbers[graph.n_params :]
        self._nodes: list[Any] = []
        self._constants: dict[Any, str] = {}
        self._initializers: list[Any] = []
        self._names = {0: INPUT}
        self._pieces: dict[int, dict[int, tuple[str, int]]] = {}  # of a buffer: columns by where they begin
        for operation in graph.operations:
            OPERATIONS[operation.kind](self, operation)
        self.add("Identity", self._names[graph.at], output=OUTPUT)

    def model(self) -> Any:
        """The whole model, with a free number of rows."""
        from . import __version__

        helper, graph = self._onnx.helper, self._graph
        real = helper.np_dtype_to_tensor_dtype(self.dtype)
        made = helper.make_graph(
            self._nodes,
            "fastnn",
            [helper.make_tensor_value_info(INPUT, real, [ROWS, graph.inputs])],
            [helper.make_tensor_value_info(OUTPUT, real, [ROWS, graph.width])],
            self._initializers,
        )
        return helper.make_model(
            made,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="fastnn",
            producer_version=__version__,
        )

    # ---- what nodes are made of -------------------------------------------------------------------------------------

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node; the name of its output."""
        name = output or f"{kind}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [name], name=f"node_{name}", **attributes))
        return name

    def constant(self, value: Any, dtype: Any = None) -> str:
        """An array, or a number, of the network's dtype if nothing else is said; a single number is written once."""
        array = np.array(value, dtype or self.dtype, order="C")
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size == 1 else len(self._initializers)
        if key not in self._constants:
            name = self._constants[key] = f"constant_{len(self._initializers)}"
            self._initializers.append(self._onnx.numpy_helper.from_array(array, name))
        return self._constants[key]

    def _segment(self, number: int, shape: tuple[int, ...] = (-1,)) -> NDArray[Any]:
        segment = self._graph.segments[number]
        return self._params[segment.offset : segment.offset + segment.size].reshape(shape)

    def _kept(self, operation: Operation, which: int) -> NDArray[Any]:
        """Row number `which` of what an operation has in the state."""
        n = self._graph.widths[operation.output]
        return self._state[operation.state + which * n : operation.state + (which + 1) * n]

    def _columns(self, buffer: int, start: int, count: int) -> str:
        name = self._names[buffer]
        if (start, count) == (0, self._graph.widths[buffer]):
            return name
        starts, ends, axes = (self.constant([at], np.int64) for at in (start, start + count, 1))
        return self.add("Slice", name, starts, ends, axes)

    # ---- the operations ---------------------------------------------------------------------------------------------

    def dense(self, op: Operation) -> None:
        """x . weight + bias"""
        segment = self._graph.segments[op.weight]
        weight = self.constant(self._segment(op.weight, (segment.rows, segment.columns)))
        bias = [self.constant(self._segment(op.bias))] if op.bias >= 0 else []
        self._names[op.output] = self.add("Gemm", self._names[op.input], weight, *bias)

    def activation(self, op: Operation) -> None:
        """f(x)"""
        name = _core.activation_names()[op.activation]
        if name not in ACTIVATIONS:
            raise ValueError(f"activation {name!r} cannot be written to ONNX: it needs a row in onnx_activations.py")
        self._names[op.output] = ACTIVATIONS[name](self, self._names[op.input], op.parameter)

    def prelu(self, op: Operation) -> None:
        """x where x > 0, else slope x; not every runtime has PRelu in float64."""
        x, slope = self._names[op.input], self.constant(self._segment(op.weight))
        if self.dtype == np.float32:
            self._names[op.output] = self.add("PRelu", x, slope)
            return
        above = self.add("Greater", x, self.constant(0.0))
        self._names[op.output] = self.add("Where", above, x, self.add("Mul", slope, x))

    def same(self, op: Operation) -> None:
        """What works in training only."""
        self._names[op.output] = self._names[op.input]

    def row_norm(self, op: Operation) -> None:
        """(x - mean) / sqrt(variance + epsilon) . weight + bias, of each row; without mean for RMSNorm"""
        centred = self._names[op.input]
        if op.kind == _core.LAYER_NORM:
            centred = self.add("Sub", centred, self.add("ReduceMean", centred, axes=[-1], keepdims=1))
        variance = self.add("ReduceMean", self.add("Mul", centred, centred), axes=[-1], keepdims=1)
        deviation = self.add("Sqrt", self.add("Add", variance, self.constant(op.parameter)))
        y = self.add("Mul", self.add("Div", centred, deviation), self.constant(self._segment(op.weight)))
        self._names[op.output] = self.add("Add", y, self.constant(self._segment(op.bias))) if op.bias >= 0 else y

    def batch_norm(self, op: Operation) -> None:
        """The same of each column, with the running mean and variance"""
        weight = self._segment(op.weight)
        bias = self._segment(op.bias) if op.bias >= 0 else np.zeros_like(weight)
        epsilon = float(
            np.float32(op.parameter)
        )  # as attributes are written; what that leaves out goes to the variance
        variance = self._kept(op, 1) + (op.parameter - epsilon)
        numbers = [self.constant(value) for value in (weight, bias, self._kept(op, 0), variance)]
        self._names[op.output] = self.add("BatchNormalization", self._names[op.input], *numbers, epsilon=epsilon)

    def copy(self, op: Operation) -> None:
        """Columns of one buffer into another, which is there once all of its columns are."""
        pieces = self._pieces.setdefault(op.output, {})
        pieces[op.to] = self._columns(op.input, op.start, op.count), op.count
        if sum(count for _, count in pieces.values()) == self._graph.widths[op.output]:
            names = [pieces[to][0] for to in sorted(pieces)]
            self._names[op.output] = names[0] if len(names) == 1 else self.add("Concat", *names, axis=1)

    def sum(self, op: Operation) -> None:
        """x + other"""
        self._names[op.output] = self.add("Add", self._names[op.input], self._names[op.other])

    def embedding(self, op: Operation) -> None:
        """The row of the table for each code; the last one for all that are none of 0 .. categories - 1"""
        table = self._graph.segments[op.weight]
        codes, last = self._columns(op.input, op.start, op.count), self.constant(float(table.rows - 1))
        inside = self.add("Not", self.add("Less", codes, self.constant(0.0)))
        whole = self.add("Equal", codes, self.add("Floor", codes))
        known = self.add("And", self.add("And", inside, whole), self.add("Less", codes, last))
        rows = self.add("Cast", self.add("Where", known, codes, last), to=self._onnx.TensorProto.INT64)
        vectors = self.add("Gather", self.constant(self._segment(op.weight, (table.rows, table.columns))), rows, axis=0)
        shape = self.constant([0, op.count * table.columns], np.int64)  # 0: as many rows as there are
        self._names[op.output] = self.add("Reshape", vectors, shape)

    def normalize(self, op: Operation) -> None:
        """(x - mean) . scale"""
        x = self.add("Sub", self._names[op.input], self.constant(self._kept(op, 0)))
        self._names[op.output] = self.add("Mul", x, self.constant(self._kept(op, 1)))

    def rescale(self, op: Operation) -> None:
        """x . scale + shift"""
        x = self.add("Mul", self._names[op.input], self.constant(self._kept(op, 0)))
        self._names[op.output] = self.add("Add", x, self.constant(self._kept(op, 1)))


OPERATIONS: dict[int, Callable[[Exporter, Operation], None]] = {
    _core.DENSE: Exporter.dense,
    _core.ACTIVATION: Exporter.activation,
    _core.PRELU: Exporter.prelu,
    _core.DROPOUT: Exporter.same,
    _core.NOISE: Exporter.same,
    _core.LAYER_NORM: Exporter.row_norm,
    _core.RMS_NORM: Exporter.row_norm,
    _core.BATCH_NORM: Exporter.batch_norm,
    _core.COPY: Exporter.copy,
    _core.ADD: Exporter.sum,
    _core.EMBEDDING: Exporter.embedding,
    _core.NORMALIZE: Exporter.normalize,
    _core.RESCALE: Exporter.rescale,
}
