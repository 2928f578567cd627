# SPDX-License-Identifier: BSD-3-Clause
"""Clipping: a gradient that is too long is shortened, or its elements are cut off, before an update.

In training C does it (``csrc/epoch.c``); here are the check of the two arguments, and the same for a loop of the
caller's own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from . import _core
from .arguments import number

if TYPE_CHECKING:
    from .parameters import Parameters


def clipping(norm: object, value: object, names: tuple[str, str] = ("clip_norm", "clip_value")) -> tuple[float, float]:
    """Both bounds, checked; 0 for none. At most one is given."""
    if norm is not None and value is not None:
        raise ValueError(f"{names[0]} and {names[1]} are both given: which one?")
    return _bound(norm, names[0]), _bound(value, names[1])


def _bound(asked: object, name: str) -> float:
    if asked is None:
        return 0.0
    bound = number(asked, name)
    if not 0 < bound < math.inf:
        raise ValueError(f"{name} must be above 0 and finite, not {asked!r}")
    return bound


def clip_gradients(parameters: Parameters, norm: object, value: object) -> float:
    """See ``Sequential.clip_gradients``."""
    longest, largest = clipping(norm, value, ("norm", "value"))
    grads = parameters.grads
    found = _core.gradient_norm(parameters.network, grads)
    if longest and not math.isfinite(found):
        grads *= np.nan
    elif longest and found > longest:
        grads *= longest / found
    elif largest:
        np.clip(grads, -largest, largest, out=grads)
    return found
