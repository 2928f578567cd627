# SPDX-License-Identifier: BSD-3-Clause
"""``validation_fraction``: which rows are held out. A function of the seed, the labels and the number of rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._memory import allocate
from .arguments import number


def split(
    rows: int, fraction: object, labels: NDArray[np.integer[Any]] | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows to validate with, each in ascending order.

    With labels, every class is represented in proportion, to within one row: the rows are sorted by class, in random
    order within it, and every n-th is taken.
    """
    part = number(fraction, "validation_fraction")
    if not 0 < part < 1:
        raise ValueError(f"validation_fraction must be between 0 and 1, not {fraction}")
    held_out = max(1, round(part * rows))
    if held_out >= rows:
        raise ValueError(f"validation_fraction={fraction} of {rows} rows leaves none to train on")
    order: NDArray[np.int64] = allocate(rows, np.int64)
    _core.permutation(seed, _core.STREAM_SPLIT, 0, order)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    chosen = (2 * np.arange(held_out, dtype=np.int64) + 1) * rows // (2 * held_out)
    is_held_out = np.zeros(rows, bool)
    is_held_out[order[chosen]] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
