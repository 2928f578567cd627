# SPDX-License-Identifier: BSD-3-Clause
"""fastnn with one feature on, or with none: one network, one batch size, whole calls of `fit`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.process import serve

INPUTS, WIDTHS, CLASSES, BATCH = 32, (128, 128), 4, 128
VALUES = 16  # of the column with categories


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import fastnn as fn
    from fastnn import _core

    fn.set_num_threads(threads)
    generator = np.random.default_rng(0)
    data: dict[int, tuple[Any, Any]] = {}

    def rows_of(rows: int) -> tuple[Any, Any]:
        """X, the first column of which holds whole numbers below VALUES, and classes."""
        if rows not in data:
            X = generator.standard_normal((rows, INPUTS), np.float32)
            X[:, 0] = generator.integers(0, VALUES, rows)
            data[rows] = X, generator.integers(0, CLASSES, rows)
        return data[rows]

    def network(first: list[Any], between: Any, around: Any) -> Any:
        """Dense layers, what `between` makes after each hidden one, and what `around` makes of the second."""
        layers = [fn.Dense(WIDTHS[0], "relu"), around(fn.Dense(WIDTHS[1], "relu"))]
        hidden = [layer for dense in layers for layer in (dense, *between())]
        return fn.Sequential([*first, *hidden, fn.Dense(CLASSES, "softmax")], inputs=INPUTS, seed=0)

    norms = {"BatchNorm": fn.BatchNorm, "LayerNorm": fn.LayerNorm, "RMSNorm": fn.RMSNorm}
    betweens = {**norms, "Dropout(0.2)": lambda: fn.Dropout(0.2), "GaussianNoise(0.1)": lambda: fn.GaussianNoise(0.1)}
    firsts = {
        "Normalization": lambda: fn.Normalization(),
        "Table, an embedding": lambda: fn.Table(numeric=range(1, INPUTS), categorical={0: VALUES}),
    }

    def options(feature: str, rows: int) -> dict[str, Any]:
        """What `fit` is told."""
        X, y = rows_of(rows)
        if feature == "sample_weight":
            return {"sample_weight": np.linspace(0.5, 1.5, rows, dtype=np.float32)}
        if feature == "class_weight":
            return {"class_weight": "balanced"}
        if feature == "a callback, epochs":
            return {"callbacks": [fn.LambdaCallback(on_epoch_end=lambda *_: None)]}
        if feature == "a callback, batches":
            return {"callbacks": [fn.LambdaCallback(on_batch_end=lambda *_: None)]}
        if feature == "metrics":
            return {"metrics": ["accuracy"]}
        if feature == "validation, a tenth":
            return {"validation_data": (X[: rows // 10], y[: rows // 10])}
        if feature == "schedule":
            return {"schedule": fn.CosineSchedule()}
        if feature == "clip_norm":
            return {"clip_norm": 1.0}
        if feature == "average":
            return {"optimizer": fn.Adam(average=0.99)}
        return {}

    def seconds(feature: str, rows: int) -> float:
        """Of an epoch, the second call for the network: the first has made what a fit needs."""
        X, y = rows_of(rows)
        net = network(
            [firsts[feature]()] if feature in firsts else [],
            (lambda: [betweens[feature]()]) if feature in betweens else list,
            (lambda dense: fn.Residual([dense])) if feature == "Residual" else (lambda dense: dense),
        )
        told: dict[str, Any] = {"epochs": 1, "batch_size": BATCH, "threads": threads, "verbose": 0}
        told |= options(feature, rows)
        net.fit(X, y, **told)
        start = time.perf_counter()
        net.fit(X, y, **told)
        return time.perf_counter() - start

    return {"fastnn": fn.__version__, "instruction set": _core.isa()}, {"seconds": seconds}


if __name__ == "__main__":
    serve(load_library)
