# SPDX-License-Identifier: BSD-3-Clause
"""A network's memory: the flat vectors of parameters and gradients, and the plan C runs over them.

The flat vectors are the truth; what layers show are views. Made in one go, before anything changes: either all of it
exists or none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._memory import allocate
from .graph import Graph
from .sharing import SharedWeights

SPARE_SIZES = 8  # of different numbers of rows


class Parameters:
    """The numbers of one network, once its input width is known."""

    def __init__(self, graph: Graph, dtype: np.dtype) -> None:
        self.graph = graph
        self.dtype = dtype
        self.network = graph.compile(dtype)
        # Parameters and, behind them, the state: what is not trained but belongs to them.
        self.numbers: NDArray[Any] = allocate(graph.n_params + graph.n_state, dtype)
        self.params = self.numbers[: graph.n_params]
        self.state = self.numbers[graph.n_params :]
        self.grads: NDArray[Any] = allocate(graph.n_params, dtype, zero=True)
        self.draws: NDArray[np.int64] = allocate(1, np.int64, zero=True)  # batches that got random masks so far
        self.shared = SharedWeights(self.numbers)
        self.spare: dict[int, list[NDArray[np.uint8]]] = {}  # by numbers of rows: workspaces that are kept
        self.predicted = 0.0  # when the last prediction of many rows ended
        for tensor in graph.state:
            self.state[tensor.offset : tensor.offset + tensor.size] = tensor.start

    def initialize(self, seed: int) -> None:
        """Every tensor's start: a function of the seed and its number alone."""
        for number, segment in enumerate(self.graph.segments):
            start = segment.initializer.draw(
                seed=seed, segment=number, shape=(segment.rows, segment.columns), dtype=self.dtype
            )
            self.tensor(number)[...] = start

    def replan(self, graph: Graph) -> None:
        """Other learning-rate factors or frozen layers; the numbers stay."""
        self.network, self.graph = graph.compile(self.dtype), graph

    def tensor(self, number: int) -> NDArray[Any]:
        """One tensor as a view (rows, columns)."""
        segment = self.graph.segments[number]
        flat = self.params[segment.offset : segment.offset + segment.size]
        return flat.reshape(segment.rows, segment.columns)

    def show_in_layers(self) -> None:
        """Give the layers their views."""
        for number, segment in enumerate(self.graph.segments):
            segment.layer._tensors[segment.name] = self.tensor(number)
        for kept in self.graph.state:
            if kept.layer is not None:
                kept.layer._state[kept.name] = self.state[kept.offset : kept.offset + kept.size]

    @property
    def sizes(self) -> list[int]:
        """Of every tensor."""
        return [s.size for s in self.graph.segments] + [kept.size for kept in self.graph.state]

    @property
    def inputs(self) -> int:
        return self.graph.inputs

    @property
    def outputs(self) -> int:
        return self.graph.width

    def training_work(self, rows: int) -> float:
        """Multiply-adds of a step: forward, gradient of the input, gradient of the weight."""
        return 3.0 * rows * self.graph.multiply_adds

    def prediction_work(self, rows: int) -> float:
        return float(rows) * self.graph.multiply_adds

    def keep_workspace(self, rows: int, workspace: NDArray[np.uint8]) -> None:
        """For the next prediction of so many rows on one thread."""
        if len(self.spare) < SPARE_SIZES or rows in self.spare:
            self.spare.setdefault(rows, []).append(workspace)

    def workspace(self, use: int, rows: int, threads: int) -> NDArray[np.uint8]:
        """Memory for one use of the network with batches of so many rows."""
        size = self.network.workspace_size(use, rows, threads)
        if size == 0:
            raise MemoryError(f"a batch of {rows} rows needs more memory than can be addressed")
        return allocate(size, np.uint8)
