# SPDX-License-Identifier: BSD-3-Clause
"""The predictor's longer ways: input that must be converted, and batches large enough for several threads.

The short way, one row of the right dtype, is in ``_core.pyx`` and never comes here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core, inputs
from ._memory import allocate
from .parameters import Parameters
from .runtime import choose_threads

# Above this many multiply-adds (about 40 us of one core) a batch goes the way of Sequential.predict.
MANY_WORK = 2_000_000
ARRAYS = (np.ndarray, np.memmap)
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def make_predictor(parameters: Parameters, params: NDArray[Any]) -> _core.Predictor:
    """A predictor with its own copy of the weights."""
    network, dtype, width = parameters.network, parameters.dtype, parameters.inputs
    frozen = allocate(params.shape, dtype)
    frozen[...] = params

    def convert(x: Any) -> NDArray[Any]:
        if type(x) in ARRAYS and x.dtype in FLOATS and x.shape[-1:] == (width,) and x.ndim < 3 and x.flags.aligned:
            return np.asarray(x, dtype, "C")  # what most callers bring: a third of the time of all the checks
        array = inputs.numbers(x, "x")
        vector = array.ndim == 1
        array = np.require(inputs.features(array, width, "x", one_row=True), dtype, ["C", "A", "E"])
        return array.reshape(-1) if vector else array

    def many_rows(x: NDArray[Any], out: NDArray[Any]) -> None:
        threads = choose_threads(None, parameters.prediction_work(x.shape[0]))
        workspace = parameters.workspace(_core.USE_PREDICT, x.shape[0], threads)
        _core.predict(network, frozen, x, out, workspace, threads)

    memory = allocate(network.predictor_size(), np.uint8)
    return _core.make_predictor(network, frozen, memory, convert, many_rows, MANY_WORK)
