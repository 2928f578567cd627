# SPDX-License-Identifier: BSD-3-Clause
"""Nested values in a checkpoint: JSON, and arrays among its tensors. No code is kept, and none is run to read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(value: Any, tensors: dict[str, NDArray[Any]], name: str, who: str) -> Any:
    """A nested value in what JSON has words for, arrays among the tensors; `who` has it, in an error.

    >>> tensors = {}
    >>> pack({"seen": (3, None), 0: np.arange(2)}, tensors, "a", "state")
    {'dict': [['seen', {'tuple': [3, None]}], [0, {'array': 'a.1', 'dtype': 'int64'}]]}
    >>> unpack(_, tensors)
    {'seen': (3, None), 0: array([0, 1])}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list | tuple):
        parts = [pack(part, tensors, f"{name}.{i}", who) for i, part in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": parts}
    if isinstance(value, dict):
        pairs = enumerate(value.items())
        return {"dict": [[pack(key, tensors, f"{name}.k{i}", who), pack(part, tensors, f"{name}.{i}", who)]
                         for i, (key, part) in pairs]}  # fmt: skip
    is_torch = type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "numpy")
    array = value.detach().cpu().numpy() if is_torch else value
    if isinstance(array, np.ndarray) and array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
        kind = array.dtype.newbyteorder("=")
        tensors[name] = np.array(array, np.uint8 if kind == np.bool_ else kind, order="C")
        return {"torch" if is_torch else "array": name, "dtype": kind.name}
    raise TypeError(f"{who} has a {type(value).__name__}, but must hold numbers, text, bytes, lists, dicts and arrays")


def unpack(value: Any, tensors: dict[str, NDArray[Any]]) -> Any:
    """What :func:`pack` was given."""
    if not isinstance(value, dict):
        return value
    kind = next(iter(value))
    content = value[kind]
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind in ("list", "tuple"):
        parts = [unpack(part, tensors) for part in content]
        return tuple(parts) if kind == "tuple" else parts
    if kind == "dict":
        return {unpack(key, tensors): unpack(part, tensors) for key, part in content}
    array = tensors[content].astype(value["dtype"])
    if kind == "torch":
        import torch  # type: ignore[import-not-found, unused-ignore]

        return torch.from_numpy(array)
    return array
