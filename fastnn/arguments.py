# SPDX-License-Identifier: BSD-3-Clause
"""Single arguments, checked: whole numbers, numbers, True or False, paths, and arrays of weights.

A bool is no number here and a number no bool: what was meant for another argument is noticed. Every message names the
argument, what was found and what was needed. X and y are the business of ``inputs.py``.
"""

from __future__ import annotations

import math
import operator
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray


def whole_number(value: object, argument: str, least: int = 1) -> int:
    """An int of at least `least`, and small enough to count something in memory."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{argument} must be an integer, not a bool")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{argument} must be an integer, not {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{argument} must be at least {least}, not {number}")
    if number > sys.maxsize:
        raise ValueError(f"{argument} must be at most {sys.maxsize}, not {number}")
    return number


def number(value: object, argument: str) -> float:
    """A float, which may be infinite or NaN."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{argument} must be a number, not {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{argument} must be a finite number, not one of {len(str(value))} digits") from None


def true_or_false(value: object, argument: str) -> bool:
    """A bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{argument} must be True or False, not {value!r}")
    return bool(value)


def not_negative(value: object, argument: str) -> float:
    """A finite number of at least 0."""
    found = number(value, argument)
    if not (math.isfinite(found) and found >= 0):
        raise ValueError(f"{argument} must be finite and not negative, not {value!r}")
    return found


def positive(value: object, argument: str) -> float:
    """A finite number above 0."""
    found = number(value, argument)
    if not (math.isfinite(found) and found > 0):
        raise ValueError(f"{argument} must be finite and above 0, not {value!r}")
    return found


def file_path(value: object, argument: str = "path") -> str:
    """A path as text, from text or an object such as ``pathlib.Path``."""
    if not isinstance(value, (str, os.PathLike)):
        hint = ": make it text with os.fsdecode" if isinstance(value, bytes) else ""
        raise TypeError(f"{argument} must be a path, not {type(value).__name__}{hint}")
    path = os.fsdecode(value)
    if not path:
        raise ValueError(f"{argument} is empty, but the name of a file is needed")
    return path


def finite_copy(value: NDArray[Any], dtype: np.dtype[Any], argument: str) -> NDArray[Any]:
    """A copy of weights in the network's dtype, all of which are finite in it."""
    with np.errstate(over="ignore"):
        new = value.astype(dtype)
    wrong = np.argwhere(~np.isfinite(new))
    if len(wrong):
        first = tuple(map(int, wrong[0]))
        found = value[first]
        needed = f"which is too large for {dtype}" if np.isfinite(found) else "but must be finite"
        others = f" ({len(wrong)} of its {new.size} values are not finite)"
        raise ValueError(f"{argument} is {found} at [{', '.join(map(str, first))}], {needed}{others}")
    return new
