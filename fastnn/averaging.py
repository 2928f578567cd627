# SPDX-License-Identifier: BSD-3-Clause
"""A network with the average of another one's weights, and running statistics that fit them.

What runs through a network with other weights has other means and variances: those that ``BatchNorm`` kept while the
weights were still moving do not belong to their average.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core, files, inputs
from ._memory import allocate
from .frames import read_features
from .parameters import Parameters
from .runtime import choose_threads

if TYPE_CHECKING:
    from .model import Sequential

ELEMENTS_AT_A_TIME = 1 << 20  # of the outputs of a layer: 4 or 8 MB


def averaged(net: Sequential, X: Any) -> Sequential:
    """See ``Sequential.averaged``."""
    parameters = net._built()
    average = parameters.shared.at_rest(net.averaged_params.copy)
    x = None if X is None else inputs.training_features(read_features(net, X)[0], parameters.inputs)
    if x is not None:
        inputs.check_finite(x, net.dtype, "X")
        if x.shape[0] < 2:
            raise ValueError("X has 1 row, but there is no variance of fewer than 2")
    copy = files.from_bytes(files.to_bytes(net))
    copy._optimizer = copy._state = None
    copy.params[...] = average
    if x is not None:
        measure_statistics(copy._built(), x)
    return copy


def measure_statistics(parameters: Parameters, x: NDArray[Any]) -> None:
    """Running means and variances anew, over all rows of x; the first before those that lie behind it."""
    graph, state = parameters.graph, parameters.state
    for operation in graph.operations:
        if operation.kind == _core.BATCH_NORM:
            mean, variance = moments(pieces(parameters, x, operation.input))
            start, width = operation.state, mean.size
            state[start : start + width], state[start + width : start + 2 * width] = mean, variance


def pieces(parameters: Parameters, x: NDArray[Any], buffer: int) -> Iterator[NDArray[np.float64]]:
    """What a buffer holds for the rows of x, some rows at a time, as the network predicts."""
    graph = parameters.graph
    rows = max(1, ELEMENTS_AT_A_TIME // graph.widths[buffer])
    network = None if buffer == 0 else graph.compile(parameters.dtype, output=buffer)
    for first in range(0, x.shape[0], rows):
        part = x[first : first + rows]
        if network is not None:
            n, threads = part.shape[0], choose_threads(None, parameters.prediction_work(part.shape[0]))
            workspace = allocate(network.workspace_size(_core.USE_PREDICT, n, threads), np.uint8)
            outputs = allocate((n, network.outputs), parameters.dtype)
            _core.predict(network, parameters.numbers, part, outputs, workspace, threads)
            part = outputs
        yield np.ascontiguousarray(part, np.float64)


def moments(parts: Iterator[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of each column, with rows - 1 below; pieces are joined as Chan, Golub & LeVeque do it."""
    n, mean, squares = 0, np.zeros(1), np.zeros(1)
    for part in parts:
        more, new = part.shape[0], part.mean(axis=0)
        away = new - mean
        squares = squares + np.square(part - new).sum(axis=0) + away * away * (n * more / (n + more))
        mean = mean + away * (more / (n + more))
        n += more
    return mean, squares / (n - 1)
