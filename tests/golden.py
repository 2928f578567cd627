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
from pathlib import Path

import numpy as np

import fastnn as fn
from fastnn import _core

FILE = Path(__file__).parent / "data" / "golden.json"
ROWS, INPUTS, OUTPUTS, EPOCHS = 141, 6, 3, 2  # last batches of 13 and 41 rows; two slots in one of 141 or 100
WIDTHS = {"depth-first": (17, 9), "by layers": (130, 9)}
LASTS = {"mse": "linear", "cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}
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
    return found


def noise(count, salt):
    """Float64 numbers in [-1, 1), from integers."""
    i = np.arange(count, dtype=np.int64)
    return ((i * i * 7919 + i * 104729 + salt * 15485863) % 65521) / 65521 * 2 - 1


def data(loss):
    X = noise(ROWS * INPUTS, 1).reshape(ROWS, INPUTS)
    y = noise(ROWS * OUTPUTS, 2).reshape(ROWS, OUTPUTS) + X[:, :OUTPUTS]
    if loss == "cross_entropy":
        y = y.argmax(axis=1)
    elif loss == "binary_cross_entropy":
        y = (y > 0).astype(np.uint8)
    weights = np.arange(ROWS) % 5 / 2.0  # every fifth row counts nothing
    return X, y, weights


def train(configuration, threads=1):
    """A trained network of one configuration."""
    schedule, activation, loss, optimizer, batch, weighted, dtype = configuration
    X, y, weights = data(loss)
    penalties, more = {}, {}
    if weighted == REGULARIZED:
        penalties, more = {"l1": 1e-3, "l2": 1e-2}, {"clip_norm": 0.25, "accumulate": 2}
    layers = [fn.Dense(units, activation, **penalties) for units in WIDTHS[schedule]]
    layers.append(fn.Dense(OUTPUTS, LASTS[loss]))
    net = fn.Sequential(layers, inputs=INPUTS, seed=123456789, dtype=dtype)
    net.fit(
        X, y, loss=loss, optimizer=OPTIMIZERS[optimizer](), epochs=EPOCHS, batch_size=batch,
        sample_weight=weights if weighted else None, threads=threads, verbose=0, **more,
    )  # fmt: skip
    return net


def digest(net, loss):
    """Of parameters, optimizer state, losses, predictions and their loss."""
    X, y, _ = data(loss)
    sums = [*net.history.history["loss"], net.evaluate(X, y, threads=1)["loss"]]
    average = () if net._state.average is None else (net._state.average,)
    parts = (net.params, net._state.array, *average, np.array(sums), net.predict(X, threads=1), net.predictor()(X[0]))
    little = (np.ascontiguousarray(part, part.dtype.newbyteorder("<")).tobytes() for part in parts)
    return hashlib.sha256(b"".join(little)).hexdigest()[:32]


def hashes(threads=1):
    """Name -> hash of all configurations, with the instruction set in use."""
    return {name: digest(train(of, threads), of[2]) for name, of in configurations().items()}


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
