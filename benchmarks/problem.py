# SPDX-License-Identifier: BSD-3-Clause
"""What every library is given: a network, the same rows in the same order and the same initial weights, as .npy files.

And an independent judge of what it made of them: a forward pass in float64 with NumPy. The networks that are trained
are the rows of TRAINING; to add a workload, add a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FASHION_SIZES = (784, 256, 128, 10)

Weights = list[tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class Problem:
    """A network and how it is trained: Adam 1e-3, float32, no shuffling unless said."""

    sizes: tuple[int, ...]  # inputs, units of each layer
    activation: str  # of all layers but the last: "relu" or "tanh"
    loss: str  # "cross_entropy" of integer labels, or "mse"
    batch: int
    rows: int  # in an epoch; about the time of a reading
    quick_rows: int
    goal: float | None = None  # times the fastest peer
    data: str = "synthetic"  # or "fashion"

    @property
    def words(self) -> str:
        return f"{'-'.join(map(str, self.sizes))} {self.activation}, batch {self.batch}"

    @property
    def settings(self) -> dict[str, Any]:
        """What a worker is told besides its files."""
        return {"activation": self.activation, "loss": self.loss, "batch": self.batch}


TRAINING = {
    # a policy or value network of reinforcement learning
    "rl": Problem((4, 64, 64, 2), "tanh", "mse", 64, 64_000, 6_400, goal=2.8),
    # the solution of a differential equation, or a surrogate of a simulation
    "pinn": Problem((2, 50, 50, 50, 50, 1), "tanh", "mse", 1024, 65_536, 20_480, goal=3.2),
    # a table of mixed columns, the shape of Covertype
    "table": Problem((54, 256, 256, 7), "relu", "cross_entropy", 256, 51_200, 7_680, goal=1.8),
    "fashion": Problem(FASHION_SIZES, "relu", "cross_entropy", 128, 60_000, 6_400, goal=1.5, data="fashion"),
    "fashion1024": Problem(FASHION_SIZES, "relu", "cross_entropy", 1024, 60_000, 10_240, goal=1.27, data="fashion"),
    # as wide as the rest of a larger model's classifier
    "wide": Problem((1024, 1024, 1024, 1000), "relu", "cross_entropy", 512, 5_120, 1_024, goal=1.13),
}


def flops_per_sample(sizes: Sequence[int]) -> int:
    """Of a training step: 6 per weight (forward, dX, dW: 2 each); 4 in the first layer, which needs no dX."""
    return sum(6 * a * b for a, b in pairwise(sizes)) - 2 * sizes[0] * sizes[1]


def bytes_per_step(sizes: Sequence[int], batch: int) -> int:
    """That a step cannot do without: X once; weights and both moments of Adam read and written; float32."""
    return 4 * (batch * sizes[0] + 6 * n_params(sizes))


def n_params(sizes: Sequence[int]) -> int:
    return sum((a + 1) * b for a, b in pairwise(sizes))


def initial_weights(sizes: Sequence[int], activation: str = "relu", seed: int = 0) -> Weights:
    """(inputs, units) weights, uniform with variance 2 / inputs (He) or, for tanh, 1 / inputs; zero biases; float32."""
    generator = np.random.default_rng(seed)
    weights = []
    for inputs, units in pairwise(sizes):
        limit = np.sqrt((6 if activation == "relu" else 3) / inputs)
        weights.append(
            (generator.uniform(-limit, limit, (inputs, units)).astype(np.float32), np.zeros(units, np.float32))
        )
    return weights


def make_data(problem: Problem, rows: int) -> tuple[NDArray[Any], NDArray[Any], str]:
    """X (rows, inputs) float32; y: labels (rows,) int64 or targets (rows, outputs) float32; and what they are."""
    if problem.data == "fashion":
        return fashion_rows(rows)
    generator = np.random.default_rng(0)
    X = generator.standard_normal((rows, problem.sizes[0]), np.float32)
    z = X @ generator.standard_normal((problem.sizes[0], problem.sizes[-1]), np.float32)
    if problem.loss == "cross_entropy":
        return X, z.argmax(1), "synthetic rows"
    return X, np.sin(z), "synthetic rows"


def fashion_rows(rows: int, folder: Path = FASHION_FOLDER) -> tuple[NDArray[Any], NDArray[Any], str]:
    """X (rows, 784) float32 in 0..1, y (rows,) int64, and what they are; made-up rows where the real ones are not."""
    if folder.is_dir():
        from fastnn.datasets import read_idx

        X, y, _, _ = read_idx(folder)
        return X[:rows].astype(np.float32) / np.float32(255), y[:rows].astype(np.int64), "Fashion-MNIST"
    generator = np.random.default_rng(0)
    X = np.maximum(generator.standard_normal((rows, 784), np.float32), 0)  # half zeros, as in the images
    teacher = generator.standard_normal((784, 10), np.float32)
    return X, (X @ teacher).argmax(1), "synthetic rows (dataset-fashion-mnist is not installed)"


def save_weights(folder: Path, weights: Weights) -> None:
    for i, (weight, bias) in enumerate(weights):
        np.save(folder / f"weight{i}.npy", weight)
        np.save(folder / f"bias{i}.npy", bias)


def load_weights(folder: Path) -> Weights:
    n_layers = len(list(folder.glob("weight*.npy")))
    return [(np.load(folder / f"weight{i}.npy"), np.load(folder / f"bias{i}.npy")) for i in range(n_layers)]


def write_problem(folder: Path, X: NDArray[Any], y: NDArray[Any], weights: Weights) -> None:
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    save_weights(folder, weights)


def logits(weights: Weights, X: NDArray[Any], activation: str) -> NDArray[np.float64]:
    """The network's output before any softmax, in float64."""
    y = X.astype(np.float64)
    for i, (weight, bias) in enumerate(weights):
        y = y @ weight.astype(np.float64) + bias
        if i < len(weights) - 1:
            y = np.maximum(y, 0) if activation == "relu" else np.tanh(y)
    return y


def loss(problem: Problem, weights: Weights, X: NDArray[Any], y: NDArray[Any]) -> float:
    """The mean over rows of -log softmax(logits)[label], or of the mean over outputs of (output - y)^2; in float64."""
    z = logits(weights, X, problem.activation)
    if problem.loss == "mse":
        return float(np.mean((z - y) ** 2))
    z -= z.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), y]))


def distance(a: Weights, b: Weights) -> float:
    """Euclidean, over all weights and biases."""
    return float(
        np.sqrt(
            sum(
                np.sum((x.astype(np.float64) - y) ** 2)
                for p, q in zip(a, b, strict=True)
                for x, y in zip(p, q, strict=True)
            )
        )
    )


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """A copy that begins on a cache line, as the engine's own buffers do; NumPy's begin anywhere."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
