# SPDX-License-Identifier: BSD-3-Clause
"""Derivatives of a network as it predicts, with respect to its inputs: ``jacobian`` and ``input_gradient``.

Backpropagation is native, over a copy of the network in which nothing depends on the batch: dropout and noise are
gone, and norms of columns use their running statistics. So a row's derivatives are its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core, inputs
from ._memory import allocate
from .frames import read_features, read_targets
from .graph import Graph, Operation, build
from .inputs import Targets
from .layers import Activation, Layer
from .losses import Objective, PythonLoss, resolve_loss
from .parameters import Parameters
from .python_loss import call, make_training
from .runtime import choose_threads
from .tables import Embedding

if TYPE_CHECKING:
    from .model import Sequential

ROWS_AT_A_TIME = 1024


class BackwardCopy:
    """A network as it predicts, in a form that can be walked backwards, with a copy of its numbers.

    y = (x - mean) / sqrt(variance + epsilon) . weight + bias, with constant mean and variance, is two NORMALIZE:
    u = (x - mean) . (weight / sqrt(variance + epsilon)) and y = (u - (-bias)) . 1.

    Parameters
    ----------
    before_last : bool
        Leave out the last operation: the output is what it reads.
    """

    def __init__(self, parameters: Parameters, rows: int, threads: int | None, before_last: bool = False) -> None:
        graph = parameters.graph
        self._source = graph
        self._norms: list[tuple[Operation, int, int]] = []  # and where their numbers are in the state
        self._segments: dict[int, int] = {}  # number of a segment of the network -> of the copy
        self.parameters = Parameters(self._graph(graph, before_last), parameters.dtype)
        self.threads = choose_threads(threads, parameters.training_work(rows))
        self._workspace = self.parameters.workspace(_core.USE_PASS, rows, self.threads)
        parameters.shared.read(self._fill)

    def _graph(self, graph: Graph, before_last: bool) -> Graph:
        copy = Graph(graph.inputs)
        copy.widths[:] = graph.widths
        copy.state[:] = graph.state
        in_norms = {part for op in graph.operations if op.kind == _core.BATCH_NORM for part in (op.weight, op.bias)}
        for number, segment in enumerate(graph.segments):
            if number not in in_norms:
                self._segments[number] = len(copy.segments)
                copy.segments.append(replace(segment, offset=copy.n_params))
        for op in graph.operations[: len(graph.operations) - before_last]:
            self._add(copy, op)
        copy.at = graph.operations[-1].input if before_last else graph.at
        return copy

    def _add(self, copy: Graph, op: Operation) -> None:
        n = copy.widths[op.output]
        if op.kind in (_core.DROPOUT, _core.NOISE):
            copy.operations.append(Operation(_core.COPY, op.input, op.output, count=n))
        elif op.kind == _core.BATCH_NORM:
            scaled = op.output if op.bias < 0 else copy.buffer(n)
            scale, shift = copy.keep(None, "mean and scale", 2 * n, 0.0), -1
            copy.operations.append(Operation(_core.NORMALIZE, op.input, scaled, state=scale))
            if op.bias >= 0:
                shift = copy.keep(None, "shift and 1", 2 * n, 1.0)
                copy.operations.append(Operation(_core.NORMALIZE, scaled, op.output, state=shift))
            self._norms.append((op, scale, shift))
        else:
            weight, bias = (self._segments.get(number, -1) for number in (op.weight, op.bias))
            copy.operations.append(replace(op, weight=weight, bias=bias))

    def _fill(self, numbers: NDArray[Any]) -> None:
        """Copy the numbers of the network, parameters and state behind each other."""
        source, copy = self._source, self.parameters
        params, state = numbers[: source.n_params], numbers[source.n_params :]
        for number, own in self._segments.items():
            segment = source.segments[number]
            copy.tensor(own).reshape(-1)[...] = params[segment.offset : segment.offset + segment.size]
        copy.state[: state.size] = state
        for op, scale, shift in self._norms:
            n = source.widths[op.output]
            mean, variance = state[op.state : op.state + n], state[op.state + n : op.state + 2 * n]
            weight, bias = (source.segments[number].offset if number >= 0 else 0 for number in (op.weight, op.bias))
            epsilon = copy.dtype.type(op.parameter)
            copy.state[scale : scale + n] = mean
            copy.state[scale + n : scale + 2 * n] = params[weight : weight + n] / np.sqrt(variance + epsilon)
            if shift >= 0:
                copy.state[shift : shift + n] = -params[bias : bias + n]

    def forward(self, x: NDArray[Any]) -> NDArray[Any]:
        """The outputs (rows, outputs) of at most as many rows as there is room for."""
        copy = self.parameters
        outputs: NDArray[Any] = allocate((len(x), copy.outputs), copy.dtype)
        _core.forward(copy.network, copy.numbers, 0, 0, x, self._workspace, outputs, self.threads)
        return outputs

    def backward(self, doutputs: NDArray[Any], dx: NDArray[Any]) -> None:
        """dx (rows, inputs) of the rows that went forward last."""
        copy, rows = self.parameters, len(doutputs)
        _core.backward(
            copy.network, copy.numbers, 0, 0, rows, doutputs, self._workspace, copy.grads, False, dx, self.threads
        )


def jacobian(net: Sequential, x: Any, threads: int | None) -> NDArray[Any]:
    """See ``Sequential.jacobian``. Every row goes through once for each output, many of these pairs at a time."""
    parameters = net._built()
    given, _ = read_features(net, x, "x")
    rows = inputs.features(given, parameters.inputs, "x", one_row=True)
    inputs.check_finite(rows, net.dtype, "x")
    outputs = parameters.outputs
    found: NDArray[Any] = allocate((len(rows), outputs, parameters.inputs), net.dtype)
    pairs = found.reshape(len(rows) * outputs, parameters.inputs)
    if len(pairs):
        copy = BackwardCopy(parameters, min(len(pairs), ROWS_AT_A_TIME), threads)
        for first in range(0, len(pairs), ROWS_AT_A_TIME):
            piece = pairs[first : first + ROWS_AT_A_TIME]
            row, output = np.divmod(np.arange(first, first + len(piece)), outputs)
            copy.forward(rows[row])
            unit = np.zeros((len(piece), outputs), net.dtype)
            unit[np.arange(len(piece)), output] = 1.0
            copy.backward(unit, piece)
    return found[0] if np.ndim(given) == 1 else found


class LossGradient:
    """The gradient of each row's loss with respect to what the loss reads, by the code that trains.

    A network of its own: the rows z are its only parameters, an embedding that is looked up row by row, and the last
    operation follows if it is joined with the loss. The gradient of the rows is what training would descend.
    """

    def __init__(self, parameters: Parameters, objective: Objective, rows: int) -> None:
        graph = parameters.graph
        layers: list[Layer] = [Embedding(rows, graph.width)]
        if objective.joined:
            layers.append(Activation(graph.last_activation))
        self._table = table = Parameters(build(layers, 1, graph.rescale >= 0), parameters.dtype)
        table.params[...] = 0.0
        if graph.rescale >= 0:
            scales = slice(graph.rescale, graph.rescale + table.state.size)
            table.state[...] = parameters.shared.read(lambda numbers: numbers[graph.n_params :][scales].copy())
        size = _core.optimizer_states("sgd") * table.params.size
        state = _core.OptimizerState(table.network, "sgd", allocate(size, table.dtype, zero=True))
        self._training = make_training(objective, table, state, rows, 1)
        self._codes = np.arange(rows, dtype=np.int32)[:, None]

    def __call__(self, z: NDArray[Any], y: Targets) -> NDArray[Any] | None:
        """dloss_i / dz_i, (rows, outputs); None if a loss is not finite."""
        table = self._table
        table.params[: z.size] = z.reshape(-1)
        self._training.bind(self._codes[: len(z)], y.labels, y.values, None, None, None, False, 0)
        status, *_ = self._training.run(0, 0, 1, 0.0)  # a step of length 0
        self._training.release()
        return table.grads[: z.size].reshape(z.shape) if status == _core.FINISHED else None


def input_gradient(net: Sequential, X: Any, y: Any, loss: Any, threads: int | None) -> NDArray[Any]:
    """See ``Sequential.input_gradient``."""
    parameters = net._built()
    graph = parameters.graph
    chosen = net._loss if loss is None else loss
    objective = resolve_loss(chosen, graph.last_activation, graph.width, graph.rescale >= 0)
    x = inputs.training_features(read_features(net, X)[0], parameters.inputs)
    targets = inputs.targets(read_targets(y), len(x), objective, graph.width, net.dtype)
    inputs.check_finite(x, net.dtype, "X")
    found: NDArray[Any] = allocate(x.shape, net.dtype)
    most = min(len(x), ROWS_AT_A_TIME)
    python = objective.loss if isinstance(objective.loss, PythonLoss) else None
    gradient = LossGradient(parameters, objective, most) if python is None else None
    before_last = python is None and (objective.joined or graph.rescale >= 0)
    copy = BackwardCopy(parameters, most, threads, before_last)
    for first in range(0, len(x), ROWS_AT_A_TIME):
        piece = slice(first, first + ROWS_AT_A_TIME)
        z = copy.forward(x[piece])
        if gradient is None:
            assert python is not None
            values, gradients = call(python, targets.y[piece].astype(net.dtype), z)
            slope = gradients if np.isfinite(values).all() and np.isfinite(gradients).all() else None
        else:
            part = (None if given is None else given[piece] for given in (targets.labels, targets.values))
            slope = gradient(z, Targets(*part))
        if slope is None:
            name, last = objective.loss.name, first + len(z) - 1
            raise ValueError(f"loss {name!r} is not finite for some of the rows {first}..{last} of X")
        copy.backward(np.ascontiguousarray(slope, net.dtype), found[piece])
    return found
