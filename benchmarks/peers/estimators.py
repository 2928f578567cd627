# SPDX-License-Identifier: BSD-3-Clause
"""MLPClassifier and MLPRegressor at their default settings, of scikit-learn or, as BENCHMARKS_WAY says, of fastnn."""

from __future__ import annotations

import os
import time
import warnings
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.process import serve


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import sklearn

    module = import_module(os.environ.get("BENCHMARKS_WAY", "sklearn.neural_network"))
    data: dict[str, Any] = {}
    warnings.simplefilter("ignore")

    def load(folder: str) -> None:
        data.update({name: np.load(f"{folder}/{name}.npy") for name in ("X", "y", "X_test", "y_test")})

    def fit(kind: str, parameters: dict[str, Any]) -> dict[str, float]:
        model = getattr(module, kind)(random_state=0, **parameters)
        start = time.perf_counter()
        model.fit(data["X"], data["y"])
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds,
            "epochs": model.n_iter_,
            "score": float(model.score(data["X_test"], data["y_test"])),
        }

    return {"scikit-learn": sklearn.__version__}, {"load": load, "fit": fit}


if __name__ == "__main__":
    serve(load_library)
