# SPDX-License-Identifier: BSD-3-Clause
"""Golden hashes: the bits of trained networks, the same on every machine, for ever or until `numerics_version` rises.

    python tests/golden.py              # compare with tests/data/golden.json
    python tests/golden.py --record     # write it anew; raise FNN_NUMERICS_VERSION first if bits changed

Data comes from integer arithmetic. Names of activations, losses and optimizers are written out, so that new ones change
nothing here.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parent))  # with PYTHONSAFEPATH the script's own folder is not searched

import stacks

import fastnn as fn
from fastnn import _core

FILE = Path(__file__).parent / "data" / "golden.json"
ROWS, INPUTS, OUTPUTS, EPOCHS = 141, 6, 3, 2  # last batches of 13 and 41 rows; two slots in one of 141 or 100
WIDTHS = {"depth-first": (17, 9), "by layers": (130, 9)}
LASTS = {"mse": "linear", "cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}
# Other losses: object, last layer, and the columns of y.
LOSSES = {
    "mae": (lambda: "mae", "linear", 3),
    "huber": (lambda: fn.Huber(0.5), "linear", 3),
    "log_cosh": (lambda: "log_cosh", "linear", 3),
    "quantile": (lambda: fn.Quantile([0.1, 0.5, 0.75]), "linear", 1),
    "poisson": (lambda: "poisson", "linear", 3),
    "gaussian_nll": (lambda: "gaussian_nll", "linear", 2),
    "hinge": (lambda: "hinge", "linear", 3),
    "label smoothing": (lambda: fn.CrossEntropy(label_smoothing=0.1), "softmax", 0),
    "focal": (lambda: fn.Focal(1.5), "softmax", 0),
}
ACTIVATIONS = (
    "linear", "softmax", "softsign", "leaky_relu", "leaky_relu(0.2)", "elu", "elu(0.5)", "selu", "gelu", "silu", "mish",
    "softplus", "hard_sigmoid", "hard_swish",
)  # fmt: skip
INITIALIZERS = (
    "glorot_uniform", "he_uniform", "lecun_uniform", "glorot_normal", "he_normal", "lecun_normal", "orthogonal",
    "zeros", "ones", "constant(0.1)",
)  # fmt: skip
SCHEDULES = {
    "constant schedule": lambda: fn.ConstantSchedule(),
    "step schedule": lambda: fn.StepSchedule(every=3, factor=0.3),
    "exponential schedule": lambda: fn.ExponentialSchedule(0.9),
    "cosine schedule": lambda: fn.CosineSchedule(warmup=3, final=0.01),
    "one-cycle schedule": lambda: fn.OneCycleSchedule(),
}
OPTIMIZERS = {
    "sgd": lambda: fn.SGD(0.1),
    "nesterov": lambda: fn.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: fn.Adam(0.01),
    # These with what all optimizers share, in turn: nothing, weight decay, the average of the weights.
    "rmsprop": lambda: fn.RMSprop(0.005, momentum=0.5),
    "adagrad": lambda: fn.Adagrad(0.05, weight_decay=0.1),
    "adam with average": lambda: fn.Adam(0.01, average=0.75),
    "adamw": lambda: fn.AdamW(0.01, weight_decay=0.5),
    "nadam": lambda: fn.NAdam(0.01, average=0.9),
    "lion": lambda: fn.Lion(0.002, weight_decay=1.0),
}
REGULARIZED = "regularized"  # weighted rows, penalties, a clipped norm, and two batches for an update
FIRST = ("sgd", "nesterov", "adam")  # tried with everything else; those after them with both schedules and types


def configurations():
    """Name -> what to train. Batch size, weights and dtype take turns, of 4, 5 and 7, over the product of the rest."""
    found = {}
    kinds = itertools.product(WIDTHS, ("relu", "tanh", "sigmoid"), LASTS, FIRST)
    for i, (schedule, activation, loss, optimizer) in enumerate(kinds):
        batch, weighted = (None, 1, 32, 100)[i % 4], i % 5 in (1, 3)
        dtype = "float64" if i % 7 in (2, 3, 5) else "float32"
        words = (schedule, activation, loss, optimizer, f"batch {batch}", "weighted" if weighted else "plain", dtype)
        found[", ".join(words)] = (schedule, activation, loss, optimizer, batch, weighted, dtype)
    others = [name for name in OPTIMIZERS if name not in FIRST]
    for i, (optimizer, schedule, dtype) in enumerate(itertools.product(others, WIDTHS, ("float32", "float64"))):
        loss, batch = list(LASTS)[i % 3], (32, 100, None)[i % 7 % 3]
        words = (schedule, "tanh", loss, optimizer, f"batch {batch}", "plain", dtype)
        found[", ".join(words)] = (schedule, "tanh", loss, optimizer, batch, False, dtype)
    for i, (optimizer, schedule, dtype) in enumerate(itertools.product(FIRST, WIDTHS, ("float32", "float64"))):
        loss = list(LASTS)[i % 3]
        words = (schedule, "tanh", loss, optimizer, "batch 32", REGULARIZED, dtype)
        found[", ".join(words)] = (schedule, "tanh", loss, optimizer, 32, REGULARIZED, dtype)
    return found | further_configurations()


def further_configurations():
    """One for each row of the other registries, in turn narrow and wide, float32 and float64; layers in all four."""
    both = list(itertools.product(WIDTHS, ("float32", "float64")))
    kinds = [(layers, "mse", "plain") for layers in stacks.STACKS for _ in both]
    kinds += [(activation, "mse", "plain") for activation in ACTIVATIONS for _ in both[:2]]
    kinds += [("tanh", loss, "plain") for loss in LOSSES for _ in both[:2]]
    kinds += [(f"initializer {name}", "mse", "plain") for name in INITIALIZERS]
    kinds += [("tanh", "mse", schedule) for schedule in SCHEDULES]
    found = {}
    for i, (layers, loss, how) in enumerate(kinds):
        schedule, dtype = both[(i + i // 4) % 4]
        batch = (32, 100, None)[i // 4 % 3]
        words = (schedule, layers, loss, "adam", f"batch {batch}", how, dtype)
        found[", ".join(words)] = (schedule, layers, loss, "adam", batch, how, dtype)
    return found


def noise(count, salt):
    """Float64 numbers in [-1, 1), from integers."""
    i = np.arange(count, dtype=np.int64)
    return ((i * i * 7919 + i * 104729 + salt * 15485863) % 65521) / 65521 * 2 - 1


def data(loss, layers=None):
    """X, y and weights; for layers of stacks.py with columns of categories, and of other sizes."""
    X = noise(ROWS * INPUTS, 1).reshape(ROWS, INPUTS)
    y = noise(ROWS * OUTPUTS, 2).reshape(ROWS, OUTPUTS) + X[:, :OUTPUTS]
    if layers in stacks.STACKS:
        X = X * 3 + 1
        X[:, 4], X[:, 5] = np.arange(ROWS) % 5, np.arange(ROWS) % 4 - 1
        y = y * 2 - 5
    last = LOSSES[loss][1:] if loss in LOSSES else (LASTS[loss], OUTPUTS)
    if last[0] == "softmax":
        y = y.argmax(axis=1)
    elif loss in ("binary_cross_entropy", "hinge"):
        y = (y > 0).astype(np.uint8)
    elif loss == "poisson":
        y = np.floor(np.abs(y) * 4)
    else:
        y = y[:, : last[1]]
    weights = np.arange(ROWS) % 5 / 2.0  # every fifth row counts nothing
    return X, y, weights


def loss_of(name):
    """What ``fit`` takes as loss."""
    return LOSSES[name][0]() if name in LOSSES else name


def network(configuration, seed=123456789):
    """The network of one configuration, as it starts."""
    schedule, layers, loss, _, _, how, dtype = configuration
    penalties = {"l1": 1e-3, "l2": 1e-2} if how == REGULARIZED else {}
    kind, _, initializer = layers.partition("initializer ")
    last = LOSSES[loss][1] if loss in LOSSES else LASTS[loss]
    if layers in stacks.STACKS:
        made = stacks.STACKS[layers](WIDTHS[schedule][0])
    else:
        if initializer:
            kind, penalties = "tanh", {"initializer": initializer}
        made = [fn.Dense(units, kind, **penalties) for units in WIDTHS[schedule]]
        made.append(fn.Dense(4 if loss == "gaussian_nll" else OUTPUTS, last))
    scale = layers == "scaled targets"
    return fn.Sequential(made, inputs=INPUTS, seed=seed, dtype=dtype, scale_targets=scale)


def train(configuration, threads=1):
    """A trained network of one configuration."""
    _, layers, loss, optimizer, batch, how, _ = configuration
    X, y, weights = data(loss, layers)
    more = {"clip_norm": 0.25, "accumulate": 2} if how == REGULARIZED else {}
    if how in SCHEDULES:
        more = {"schedule": SCHEDULES[how]()}
    net = network(configuration)
    net.fit(
        X, y, loss=loss_of(loss), optimizer=OPTIMIZERS[optimizer](), epochs=EPOCHS,
        batch_size=batch, sample_weight=weights if how in (True, REGULARIZED) else None, threads=threads, verbose=0,
        **more,
    )  # fmt: skip
    return net


def digest(net, configuration):
    """Of parameters, what lies behind them, optimizer state, losses, predictions and their loss."""
    X, y, _ = data(configuration[2], configuration[1])
    sums = [*net.history.history["loss"], net.evaluate(X, y, threads=1)["loss"]]
    average = () if net._state.average is None else (net._state.average,)
    numbers = (net._parameters.numbers, net._state.array, *average)
    parts = (*numbers, np.array(sums), net.predict(X, threads=1), net.predictor()(X[0]))
    little = (np.ascontiguousarray(part, part.dtype.newbyteorder("<")).tobytes() for part in parts)
    return hashlib.sha256(b"".join(little)).hexdigest()[:32]


def hashes(threads=1):
    """Name -> hash of all configurations, with the instruction set in use."""
    return {name: digest(train(of, threads), of) for name, of in configurations().items()}


def recorded():
    return json.loads(FILE.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the file anew")
    parser.add_argument("--json", action="store_true", help="print instruction set and hashes")
    asked = parser.parse_args()
    found = {"numerics_version": _core.numerics_version, "hashes": hashes()}
    if asked.json:
        print(json.dumps({"isa": _core.isa(), **found}))
    elif asked.record:
        FILE.write_text(json.dumps(found, indent=1) + "\n")
    else:
        old = recorded()
        wrong = [name for name, value in found["hashes"].items() if old["hashes"].get(name) != value]
        print(f"{len(wrong)} of {len(found['hashes'])} differ", *wrong, sep="\n  ")
        raise SystemExit(bool(wrong) or old["numerics_version"] != found["numerics_version"])


if __name__ == "__main__":
    main()
