# SPDX-License-Identifier: BSD-3-Clause
"""The one function all of fastnn's lasting arrays come from.

Parameters, gradients, optimizer state, workspaces, outputs: whoever needs memory that outlives a line asks here, before
it changes anything. So running out of memory is a clean ``MemoryError``, and a test can make every allocation fail.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


def allocate(shape: int | tuple[int, ...], dtype: DTypeLike, *, zero: bool = False) -> NDArray[Any]:
    """A C-contiguous array whose first byte lies on a cache line; its contents are arbitrary unless `zero`."""
    shape = (shape,) if isinstance(shape, int) else shape
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size > sys.maxsize - ALIGNMENT:
        raise MemoryError(f"an array of shape {shape} and dtype {kind} would need {size:.3g} bytes")
    block = np.zeros(size + ALIGNMENT, np.uint8) if zero else np.empty(size + ALIGNMENT, np.uint8)
    start = -_core.address(block) % ALIGNMENT
    return block[start : start + size].view(kind).reshape(shape)
