#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Clothes in 28 x 28 pixels, ten classes: 784-256-128-10 on Fashion-MNIST, more than 88 % within 10 epochs.

    python examples/fashion_mnist.py [FOLDER] [--epochs 10] [--threads N]

FOLDER holds the four idx files, compressed or not. On Debian and Ubuntu they come with
``apt-get install dataset-fashion-mnist``; the originals are at https://github.com/zalandoresearch/fashion-mnist.
"""

import argparse
import sys
import time

import numpy as np

import fastnn as fn
from fastnn.datasets import read_idx

DEBIAN_FOLDER = "/usr/share/datasets/fashion-mnist"


class PrintTestAccuracy:
    """Called by fit after each epoch: how well the network does on images it is never trained on."""

    def __init__(self, X_test, y_test):
        self.X_test, self.y_test = X_test, y_test

    def accuracy(self, net):
        return float((net.predict(self.X_test).argmax(1) == self.y_test).mean())

    def on_epoch_end(self, net, epoch, logs):
        print(f"{epoch + 1:5}   {logs['loss']:.4f}   {100 * self.accuracy(net):5.2f} %   {logs['seconds']:5.2f} s")


def main(argv=None):
    parser = argparse.ArgumentParser(description="Train 784-256-128-10 on Fashion-MNIST.")
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        default=DEBIAN_FOLDER,
        help=f"where the four idx files are (default: {DEBIAN_FOLDER})",
    )
    parser.add_argument("--epochs", type=int, default=10, help="passes over the 60,000 images (default: 10)")
    parser.add_argument("--threads", type=int, metavar="N", help="use N threads (default: as many as pay off)")
    parser.add_argument("--rows", type=int, metavar="N", help="train on the first N images only")
    arguments = parser.parse_args(argv)

    try:
        X_train, y_train, X_test, y_test = read_idx(arguments.folder)
    except (OSError, ValueError) as error:
        sys.exit(f"{error}\n\nThe data: apt-get install dataset-fashion-mnist, or give the folder of its four files.")

    # Pixels 0..255 become 0..1, once: a network starts with weights meant for inputs of unit size, and inputs hundreds
    # of times larger would saturate it from the first step. float32 is the network's own type, so that fit reads
    # these arrays where they lie. (uint8 would be read in place too, but unscaled.)
    X_train = X_train[: arguments.rows].astype(np.float32) / np.float32(255)
    X_test = X_test.astype(np.float32) / np.float32(255)
    y_train = y_train[: arguments.rows]

    net = fn.Sequential([fn.Dense(256, "relu"), fn.Dense(128, "relu"), fn.Dense(10, "softmax")], inputs=784, seed=0)
    net.summary()
    print("\nepoch     loss      test      time")
    report = PrintTestAccuracy(X_test, y_test)
    start = time.perf_counter()
    net.fit(
        X_train,
        y_train,
        loss="cross_entropy",
        optimizer=fn.Adam(1e-3),
        epochs=arguments.epochs,
        batch_size=128,
        callbacks=[report],
        threads=arguments.threads,
        verbose=0,
    )
    seconds = time.perf_counter() - start
    accuracy = report.accuracy(net)
    print(f"\ntest accuracy {100 * accuracy:.2f} % after {seconds:.1f} s")
    return accuracy


if __name__ == "__main__":
    main()
