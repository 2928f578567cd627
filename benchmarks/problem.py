# SPDX-License-Identifier: BSD-3-Clause
"""What every library is given: the same rows in the same order and the same initial weights, as .npy files.

And an independent judge of what it made of them: a forward pass in float64 with NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FASHION_SIZES = (784, 256, 128, 10)
POLICY_SIZES = (4, 64, 64, 2)

Weights = list[tuple[NDArray[Any], NDArray[Any]]]


def flops_per_sample(sizes: Sequence[int]) -> int:
    """Of a training step: 6 per weight (forward, dX, dW: 2 each); 4 in the first layer, which needs no dX."""
    return sum(6 * a * b for a, b in pairwise(sizes)) - 2 * sizes[0] * sizes[1]


def n_params(sizes: Sequence[int]) -> int:
    return sum((a + 1) * b for a, b in pairwise(sizes))


def initial_weights(sizes: Sequence[int], seed: int = 0) -> Weights:
    """(inputs, units) weights, uniform within sqrt(6 / inputs) (He), and biases of zero, float32."""
    generator = np.random.default_rng(seed)
    weights = []
    for inputs, units in pairwise(sizes):
        limit = np.sqrt(6 / inputs)
        weights.append(
            (generator.uniform(-limit, limit, (inputs, units)).astype(np.float32), np.zeros(units, np.float32))
        )
    return weights


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


def logits(weights: Weights, X: NDArray[Any], activation: str) -> NDArray[np.float64]:
    """The network's output before any softmax, in float64."""
    y = X.astype(np.float64)
    for i, (weight, bias) in enumerate(weights):
        y = y @ weight.astype(np.float64) + bias
        if i < len(weights) - 1:
            y = np.maximum(y, 0) if activation == "relu" else np.tanh(y)
    return y


def cross_entropy(weights: Weights, X: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean over the rows of -log softmax(logits)[label]."""
    z = logits(weights, X, "relu")
    z -= z.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), labels]))


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
