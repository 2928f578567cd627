# SPDX-License-Identifier: BSD-3-Clause
"""How tests/data/torch_trajectories.json was made: 20 steps of PyTorch from the same weights on the same batches.

    python tests/record_torch.py        # in an environment with torch and numpy; recorded with PyTorch 2.13.0+cpu

In float64, on one thread. Weights and batches come from integer arithmetic, so that they can be made again anywhere;
tests/test_optimizers.py makes them with these very functions and compares.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "torch_trajectories.json"
STEPS, ROWS, WIDTHS = 20, 8, (5, 7, 3)
RECORDED_STEPS = (1, 10, 20)  # after which the parameters are kept; the loss of each step is
# Name -> loss, hidden activation, class and arguments: PyTorch's, fastnn's.
RUNS = {
    f"{problem} {name}": (*kind, optimizer)
    for problem, kind in {"regression": ("mse", "tanh"), "classes": ("cross_entropy", "relu")}.items()
    for name, optimizer in {
        "sgd": ("SGD", {"lr": 0.1}, "SGD", {"learning_rate": 0.1}),
        "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}, "SGD", {"learning_rate": 0.05, "momentum": 0.9}),
        "nesterov": (
            "SGD",
            {"lr": 0.05, "momentum": 0.8, "nesterov": True},
            "SGD",
            {"learning_rate": 0.05, "momentum": 0.8, "nesterov": True},
        ),
        "adam": (
            "Adam",
            {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-8},
            "Adam",
            {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8},
        ),
        "rmsprop": (
            "RMSprop",
            {"lr": 0.01, "alpha": 0.9, "eps": 1e-7},
            "RMSprop",
            {"learning_rate": 0.01, "decay": 0.9, "epsilon": 1e-7},
        ),
        "rmsprop with momentum": (
            "RMSprop",
            {"lr": 0.005, "alpha": 0.99, "eps": 1e-8, "momentum": 0.5},
            "RMSprop",
            {"learning_rate": 0.005, "decay": 0.99, "epsilon": 1e-8, "momentum": 0.5},
        ),
        "adagrad": (
            "Adagrad",
            {"lr": 0.05, "eps": 1e-10, "initial_accumulator_value": 0.1},
            "Adagrad",
            {"learning_rate": 0.05, "epsilon": 1e-10, "initial_accumulator": 0.1},
        ),
        "adamw": (  # weights alone decay: see groups()
            "AdamW",
            {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1},
            "AdamW",
            {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "weight_decay": 0.1},
        ),
        "nadam": (
            "NAdam",
            {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-8, "momentum_decay": 0.004},
            "NAdam",
            {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-8},
        ),
    }.items()
}


def spread(count, salt):
    """Numbers in [-1, 1) that look like noise: integers modulo a prime, so the same everywhere."""
    i = np.arange(count, dtype=np.int64)
    return ((i * i * 7919 + i * 104729 + salt * 15485863) % 65521) / 65521 * 2 - 1


def start():
    """(weight (inputs, units), bias) of each layer."""
    tensors = []
    for layer, (inputs, units) in enumerate(itertools.pairwise(WIDTHS)):
        weight = spread(inputs * units, 2 * layer).reshape(inputs, units)
        tensors.append((weight, spread(units, 2 * layer + 1) / 4))
    return tensors


def batch(step, loss):
    """X, and y: values or labels."""
    X = spread(ROWS * WIDTHS[0], 100 + step).reshape(ROWS, WIDTHS[0])
    y = spread(ROWS * WIDTHS[-1], 200 + step).reshape(ROWS, WIDTHS[-1])
    return X, y.argmax(axis=1) if loss == "cross_entropy" else y


def groups(net):
    """Weights, which decay, and biases, which do not."""
    biases = [p for p in net.parameters() if p.ndim == 1]
    return [{"params": [p for p in net.parameters() if p.ndim == 2]}, {"params": biases, "weight_decay": 0.0}]


def run(loss, hidden, name, arguments):
    import torch

    layers = []
    for weight, bias in start():
        linear = torch.nn.Linear(*weight.shape, dtype=torch.float64)
        linear.weight.data[...] = torch.from_numpy(weight.T.copy())
        linear.bias.data[...] = torch.from_numpy(bias)
        layers += [linear, {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[hidden]()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = getattr(torch.optim, name)(groups(net), **arguments)
    criterion = torch.nn.CrossEntropyLoss() if loss == "cross_entropy" else torch.nn.MSELoss()
    losses, params = [], {}
    for step in range(1, STEPS + 1):
        X, y = (torch.from_numpy(array) for array in batch(step, loss))
        optimizer.zero_grad()
        value = criterion(net(X), y)
        value.backward()
        optimizer.step()
        losses.append(value.item())
        if step in RECORDED_STEPS:
            tensors = [p.detach().numpy().T.ravel() for p in net.parameters()]  # (units, inputs) -> (inputs, units)
            params[str(step)] = np.concatenate(tensors).tolist()
    return {"losses": losses, "params": params}


def main():
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # else NAdam keeps its product of momenta in float32
    recorded = {name: run(loss, hidden, *optimizer[:2]) for name, (loss, hidden, optimizer) in RUNS.items()}
    text = json.dumps({"library": f"PyTorch {torch.__version__}", "runs": recorded}, indent=0)
    FILE.write_text(text + "\n")


if __name__ == "__main__":
    main()
