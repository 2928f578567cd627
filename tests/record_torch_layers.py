# SPDX-License-Identifier: BSD-3-Clause
"""How tests/data/torch_layers.json was made: PyTorch's norms and PReLU, forward and back, over three batches.

    python tests/record_torch_layers.py    # in an environment with torch and numpy; recorded with PyTorch 2.13.0+cpu

In float64. Numbers come from integer arithmetic; tests/test_layer_kinds.py makes them with these functions.
"""

from __future__ import annotations

import json
from pathlib import Path

from record_torch import spread

FILE = Path(__file__).parent / "data" / "torch_layers.json"
ROWS, COLUMNS, BATCHES = 5, 7, 3
# Name -> PyTorch's layer and fastnn's, each from its library. PyTorch's momentum is the share of the new batch.
LAYERS = {
    "batch norm": (lambda nn: nn.BatchNorm1d(COLUMNS, eps=1e-4, momentum=0.25), lambda fn: fn.BatchNorm(0.75, 1e-4)),
    "layer norm": (lambda nn: nn.LayerNorm(COLUMNS), lambda fn: fn.LayerNorm()),
    "layer norm without bias": (
        lambda nn: nn.LayerNorm(COLUMNS, eps=1e-3, bias=False),
        lambda fn: fn.LayerNorm(1e-3, use_bias=False),
    ),
    "rms norm": (lambda nn: nn.RMSNorm(COLUMNS, eps=1e-6), lambda fn: fn.RMSNorm()),
    "prelu": (lambda nn: nn.PReLU(COLUMNS), lambda fn: fn.PReLU()),
}


def start(name):
    """fastnn's name of each tensor -> its values."""
    names = {"prelu": ["slope"], "rms norm": ["weight"], "layer norm without bias": ["weight"]}
    return {tensor: spread(COLUMNS, i) + 0.5 for i, tensor in enumerate(names.get(name, ["weight", "bias"]))}


def batch(step):
    """X, and the gradient that comes back."""
    X = spread(ROWS * COLUMNS, 100 + step).reshape(ROWS, COLUMNS)
    return X * 2 + 0.5, spread(ROWS * COLUMNS, 200 + step).reshape(ROWS, COLUMNS)


def run(name):
    import torch

    layer, tensors = LAYERS[name][0](torch.nn), start(name)
    theirs = {"slope": "weight"}  # PyTorch's name, where it has another
    for tensor, values in tensors.items():
        getattr(layer, theirs.get(tensor, tensor)).data[...] = torch.from_numpy(values)
    steps = []
    for step in range(BATCHES):
        X, dy = (torch.from_numpy(array) for array in batch(step))
        X.requires_grad_()
        layer.zero_grad()
        y = layer(X)
        y.backward(dy)
        grads = {tensor: getattr(layer, theirs.get(tensor, tensor)).grad.tolist() for tensor in tensors}
        running = {}
        if name == "batch norm":
            running = {"running_mean": layer.running_mean.tolist(), "running_variance": layer.running_var.tolist()}
        steps.append({"y": y.tolist(), "dx": X.grad.tolist(), "grads": grads, "running": running})
    layer.eval()
    return {"steps": steps, "predicted": layer(torch.from_numpy(batch(9)[0])).tolist()}


def main():
    import torch

    torch.set_default_dtype(torch.float64)
    recorded = {"library": f"PyTorch {torch.__version__}", "layers": {name: run(name) for name in LAYERS}}
    FILE.write_text(json.dumps(recorded, indent=0) + "\n")


if __name__ == "__main__":
    main()
