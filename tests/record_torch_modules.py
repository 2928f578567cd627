# SPDX-License-Identifier: BSD-3-Clause
"""How tests/data/torch_modules.json was made: state_dicts of PyTorch modules, and what the modules predict.

    python tests/record_torch_modules.py    # in an environment with torch and numpy; recorded with PyTorch 2.13.0+cpu

In float64, in evaluation mode. Weights come from integer arithmetic; the file has their names, shapes and the outputs.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from record_torch import spread

FILE = Path(__file__).parent / "data" / "torch_modules.json"
ROWS = 6
# Name -> the module, its inputs, and the activations it has behind each Linear.
MODULES = {
    "mlp": (
        lambda nn: nn.Sequential(
            nn.Linear(3, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)
        ),
        3, ["relu", "tanh", None],
    ),
    "without bias": (
        lambda nn: nn.Sequential(nn.Linear(3, 5, bias=False), nn.Sigmoid(), nn.Linear(5, 2, bias=False)),
        3, ["sigmoid", None],
    ),
    "norms": (
        lambda nn: nn.Sequential(
            nn.Linear(3, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4), nn.LayerNorm(4), nn.GELU(),
            nn.Linear(4, 2),
        ),
        3, ["relu", "gelu", None],
    ),
    "slopes": (
        lambda nn: nn.Sequential(nn.Linear(3, 5), nn.PReLU(5), nn.Linear(5, 4), nn.PReLU(), nn.Linear(4, 2)),
        3, [None, None, None],
    ),
    "norm first": (
        lambda nn: nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 4), nn.Softmax(-1)), 3, ["softmax"],
    ),
    "embedding": (
        lambda nn: nn.Sequential(nn.Embedding(7, 2), nn.Flatten(), nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 1)),
        3, ["silu", None],
    ),
}  # fmt: skip


def values(index, name, shape):
    """Numbers for a tensor, the same everywhere; variances are positive."""
    found = spread(math.prod(shape), index + 1).reshape(shape)
    return found + 1.5 if name.endswith("running_var") else found


def rows(name, inputs):
    """X: numbers, or codes for an embedding."""
    X = spread(ROWS * inputs, 99).reshape(ROWS, inputs)
    return np.floor((X + 1) * 3.5) if name == "embedding" else 2 * X


def run(name):
    import torch

    make, inputs, _ = MODULES[name]
    module = make(torch.nn).double().eval()
    shapes = {key: list(tensor.shape) for key, tensor in module.state_dict().items()}
    state = {key: torch.from_numpy(values(i, key, shape)) for i, (key, shape) in enumerate(shapes.items()) if shape}
    module.load_state_dict(state, strict=False)
    X = torch.from_numpy(rows(name, inputs))
    with torch.no_grad():
        return {"shapes": shapes, "outputs": module(X.long() if name == "embedding" else X).tolist()}


if __name__ == "__main__":
    recorded = {name: run(name) for name in MODULES}
    FILE.write_text(json.dumps(recorded, separators=(",", ":")) + "\n")
