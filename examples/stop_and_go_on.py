#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A training that may be stopped at any moment: handwritten digits, with a learning rate that is looked for first.

    python examples/stop_and_go_on.py [--epochs 500] [--checkpoint digits.ckpt]

Stop it with Ctrl-C, or kill it, and start it again: it goes on in the middle of the epoch where the last checkpoint was
written. The digest of the weights at the end is that of a run which was never stopped, on any number of threads.
A range test says how large the learning rate may be. It leaves the network as it was and has the same result each time,
so a run that goes on trains with the rate it began with; with another one, fit would refuse to go on.
"""

import argparse
import hashlib

import fastnn as fn
from fastnn.datasets import load_digits

TEST = 297  # the last rows, most of them by writers who are not among the others


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=500, help="in all, also when it goes on (default: 500)")
    parser.add_argument("--checkpoint", default="digits.ckpt", help="the file to go on from (default: digits.ckpt)")
    asked = parser.parse_args()

    X, y = load_digits()
    X = X / 16
    hidden = [layer for _ in range(2) for layer in (fn.Dense(256, "relu"), fn.Dropout(0.3))]
    net = fn.Sequential([*hidden, fn.Dense(10, "softmax")], seed=0)
    found = net.find_learning_rate(X[:-TEST], y[:-TEST], optimizer="sgd")
    print(f"learning rate {found.suggestion:.3g}: the loss fell fastest there, and diverged at {found.diverged:.3g}")

    history = net.fit(
        X[:-TEST],
        y[:-TEST],
        optimizer=fn.SGD(found.suggestion, momentum=0.9),
        epochs=asked.epochs,
        checkpoint=fn.RunCheckpoint(asked.checkpoint, seconds=0.2),
        resume=True,  # if there is a checkpoint
    )
    accuracy = net.evaluate(X[-TEST:], y[-TEST:], metrics=["accuracy"])["accuracy"]
    print(f"{history.epochs} epochs, test accuracy {100 * accuracy:.1f} %")
    print("weights", hashlib.sha256(net.params.tobytes()).hexdigest()[:16])


if __name__ == "__main__":
    main()
