# SPDX-License-Identifier: BSD-3-Clause
"""What comes in from outside: X, y and weights, checked once, here, before anything changes.

Every message names the argument, what was found and what was needed. Arrays that C can read where they lie are passed
on as they are, whatever their dtype and strides; anything else is converted once.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._memory import allocate
from .arguments import number
from .losses import Objective
from .sparse import compressed, is_sparse, is_sparse_matrix

ROWS_AT_A_TIME = 65536
ELEMENTS_AT_A_TIME = 1 << 24  # some 10 ms
BOUNDS = {"unit": (0.0, 1.0), "classes": (0.0, 1.0), "labels": (0.0, 1.0), "counts": (0.0, sys.float_info.max)}
"""Between what the values of y lie, by the kind of targets."""


@dataclass(frozen=True)
class Targets:
    """y, checked: either class labels, as a copy of our own, or values (rows, outputs), read where they lie."""

    labels: NDArray[np.int32] | None
    values: NDArray[Any] | None

    @property
    def y(self) -> NDArray[Any]:
        """Whichever there is."""
        found = self.values if self.labels is None else self.labels
        assert found is not None
        return found

    def take(self, rows: NDArray[np.int64]) -> Targets:
        """Some of the rows, as a copy."""
        if self.labels is not None:
            return Targets(self.labels[rows], None)
        return Targets(None, np.ascontiguousarray(self.y[rows]))


def count(n: int, what: str) -> str:
    """1 row, 2 rows."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _x_beside(argument: str) -> str:
    """What the argument must have as many rows as."""
    return "validation_data[0]" if argument.startswith("validation_data") else "X"


def numbers(x: object, argument: str) -> NDArray[Any]:
    """An array of a dtype C can read: bool, integers, floats up to 64 bits, in native byte order."""
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        raise TypeError(f"{argument} is a sparse matrix; make it dense first: {argument}.toarray()")
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise ValueError(f"{argument} has masked (missing) values: fill them or drop the rows")
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{argument} is not a regular array: its rows differ in length or kind") from error
    if hasattr(x, "__next__"):
        raise TypeError(
            f"{argument} is a {type(x).__name__}, but an array is needed here: streams are for fit, evaluate and "
            "predict"
        )
    if array.dtype.kind not in "biuf":
        hint = ""
        if argument.startswith("y") and array.dtype.kind in "OUST":
            hint = "; labels must be encoded as 0, 1, 2 ... (the estimators of fastnn.sklearn do that)"
        elif array.dtype.kind == "O":
            hint = "; if it holds numbers, convert it: .astype(float)"
        raise TypeError(f"{argument} has dtype {array.dtype}, but real numbers are needed{hint}")
    if array.dtype.itemsize > 8:  # long double
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def features(x: object, width: int | None, argument: str, *, one_row: bool = False) -> NDArray[Any]:
    """X as (rows, width); a vector is one row where that is allowed. A sparse matrix becomes SparseRows."""
    array = cast("NDArray[Any]", compressed(x, argument)) if is_sparse_matrix(x) else numbers(x, argument)
    if array.ndim == 1 and one_row and (width is None or array.shape[0] == width):
        array = array.reshape(1, -1)
    if array.ndim != 2:
        hint = ""
        if array.ndim == 1 and one_row:
            hint = f": one row must have {width} numbers"
        elif array.ndim == 1:
            hint = f": for one column use {argument}.reshape(-1, 1), for one row {argument}.reshape(1, -1)"
        elif array.ndim > 2:
            hint = f": use {argument}.reshape(len({argument}), -1)"
        raise ValueError(f"{argument} has shape {array.shape}, but (rows, {width or 'inputs'}) is needed{hint}")
    if array.shape[1] == 0:
        raise ValueError(f"{argument} has shape {array.shape}: it has no columns")
    if width is not None and array.shape[1] != width:
        found, needed = count(array.shape[1], "column"), count(width, "input")
        raise ValueError(f"{argument} has {found}, but the first layer has {needed}")
    return array


def training_features(x: object, width: int | None, argument: str = "X") -> NDArray[Any]:
    """X to learn from or to measure with: at least one row."""
    array = features(x, width, argument)
    if array.shape[0] == 0:
        raise ValueError(f"{argument} has shape {array.shape}: it has no rows")
    return array


def check_finite(array: NDArray[Any], dtype: np.dtype, argument: str) -> None:
    """An error that names the first NaN or infinity, as the network's dtype sees it."""
    if array.dtype.kind != "f":
        return
    if is_sparse(array):
        index = _core.first_nonfinite(array.values, 0 if dtype == np.float32 else 1)
        if index >= 0:
            row, column = array.place(index)
            raise ValueError(_not_finite(argument, array.values[index], dtype, row, column))
        return
    columns = array.shape[1] if array.ndim == 2 else 1
    rows_at_a_time = max(1, ELEMENTS_AT_A_TIME // columns)
    for start in range(0, array.shape[0], rows_at_a_time):  # Ctrl-C is heard in between
        index = _core.first_nonfinite(array[start : start + rows_at_a_time], 0 if dtype == np.float32 else 1)
        if index >= 0:
            row, column = start + index // columns, index % columns
            value = array[row] if array.ndim == 1 else array[row, column]
            raise ValueError(_not_finite(argument, value, dtype, row, column if array.ndim == 2 else None))


def _not_finite(argument: str, value: Any, dtype: np.dtype, row: int, column: int | None) -> str:
    found = f"{argument}[{row}] is {value}"
    if column is not None:
        found = f"{argument} is {value} in row {row}, column {column}"
    needed = f"which is too large for {dtype}" if np.isfinite(value) else "but must be finite"
    return f"{found}, {needed}"


def targets(y: object, rows: int, objective: Objective, outputs: int, dtype: np.dtype, argument: str = "y") -> Targets:
    """y for a loss: labels or values, as many rows as X, never broadcast."""
    array = numbers(y, argument)
    loss, kind, columns = objective.loss.name, objective.targets, objective.columns
    if array.ndim not in (1, 2):
        needed = f"({rows},) or ({rows}, {columns or 'columns'})"
        raise ValueError(f"{argument} has shape {array.shape}, but {needed} is needed")
    if array.shape[0] != rows:
        raise ValueError(f"{argument} has shape {array.shape}, but {_x_beside(argument)} has {count(rows, 'row')}")
    found = array.shape
    of_classes = kind in ("classes", "labels")
    if of_classes and (array.ndim == 1 or array.shape[1] == 1):
        check_finite(array, np.dtype(np.float64), argument)
        return Targets(_labels(array.reshape(-1), outputs, argument), None)
    if array.ndim == 1:
        array = array.reshape(-1, 1)
    if columns and array.shape[1] != columns:
        labels = f"({rows},) with class labels, or " if of_classes else ""
        raise ValueError(
            f"{argument} has shape {found}, but loss {loss!r} with {count(outputs, 'output')} needs "
            f"{labels}({rows}, {columns})"
        )
    check_finite(array, dtype, argument)
    if kind in BOUNDS:
        _check_bounds(array, BOUNDS[kind], loss, argument)
    if kind == "signs":
        _check_signs(array, loss, argument)
    if of_classes:
        _check_sums(array, argument)
    if kind == "labels":
        return Targets(_labels_of_rows(array, loss, argument), None)
    return Targets(None, array)


def _labels(array: NDArray[Any], classes: int, argument: str) -> NDArray[np.int32]:
    labels: NDArray[np.int32] = allocate(array.shape[0], np.int32)
    index = _core.read_labels(array, classes, labels)
    if index >= 0:
        value = array[index]
        if value != np.trunc(value):
            raise ValueError(
                f"{argument}[{index}] is {value}: class labels must be whole numbers in 0..{classes - 1}; other labels "
                "must be encoded (the estimators of fastnn.sklearn do that)"
            )
        raise ValueError(f"{argument}[{index}] is {value}, but {classes} outputs mean labels in 0..{classes - 1}")
    return labels


def _labels_of_rows(array: NDArray[Any], loss: str, argument: str) -> NDArray[np.int32]:
    """Where the 1 of each row is."""
    labels: NDArray[np.int32] = allocate(array.shape[0], np.int32)
    for start in range(0, array.shape[0], ROWS_AT_A_TIME):
        piece = array[start : start + ROWS_AT_A_TIME]
        wrong = np.flatnonzero(((piece != 0) & (piece != 1)).any(axis=1))
        if wrong.size:
            raise ValueError(
                f"{argument} has probabilities in row {start + wrong[0]}: loss {loss!r} needs class labels, or rows "
                "with a single 1"
            )
        labels[start : start + len(piece)] = piece.argmax(axis=1)
    return labels


def _check_bounds(array: NDArray[Any], bounds: tuple[float, float], loss: str, argument: str) -> None:
    index = _core.first_outside(array, *bounds)
    if index >= 0:
        row, column = divmod(index, array.shape[1])
        needed = "in 0..1" if bounds[1] == 1 else "that are not negative"
        raise ValueError(
            f"{argument} is {array[row, column]} in row {row}, column {column}: loss {loss!r} needs numbers {needed}"
        )


def _check_signs(array: NDArray[Any], loss: str, argument: str) -> None:
    """1 for yes; for no either 0 or -1, and not both."""
    no = None
    for start in range(0, array.shape[0], ROWS_AT_A_TIME):
        piece = array[start : start + ROWS_AT_A_TIME]
        others = np.argwhere(piece != 1)
        values = piece[piece != 1]
        if no is None and values.size and values[0] in (0, -1):
            no = values[0]
        wrong = np.flatnonzero(values != no) if no is not None else np.arange(values.size)
        if wrong.size:
            row, column = others[wrong[0]]
            raise ValueError(
                f"{argument} is {piece[row, column]} in row {start + row}, column {column}: loss {loss!r} needs 1 for "
                "yes and, everywhere alike, 0 or -1 for no"
            )


def _check_sums(array: NDArray[Any], argument: str) -> None:
    for start in range(0, array.shape[0], ROWS_AT_A_TIME):
        sums = array[start : start + ROWS_AT_A_TIME].sum(axis=1, dtype=np.float64)
        wrong = np.flatnonzero(np.abs(sums - 1.0) > 0.01)
        if wrong.size:
            raise ValueError(
                f"{argument} sums to {sums[wrong[0]]:.6g} in row {start + wrong[0]}: probabilities must sum to 1"
            )


def sample_weights(
    weight: object, rows: int, argument: str = "sample_weight", *, all_zero_is_fine: bool = False
) -> NDArray[np.float64] | None:
    """One finite, non-negative weight per row, as a copy of our own."""
    if weight is None:
        return None
    array = numbers(weight, argument)
    if array.shape != (rows,):
        x = f"{_x_beside(argument)} has {count(rows, 'row')}"
        raise ValueError(f"{argument} has shape {array.shape}, but {x}: ({rows},) is needed")
    weights: NDArray[np.float64] = allocate(rows, np.float64)
    weights[...] = array
    check_finite(weights, weights.dtype, argument)
    if (weights < 0).any():
        index = int((weights < 0).argmax())
        raise ValueError(f"{argument}[{index}] is {weights[index]}: weights must not be negative")
    if not (all_zero_is_fine or weights.any()):
        raise ValueError(f"{argument} is 0 everywhere: nothing could be learned")
    return weights


def class_weights(
    class_weight: object,
    y: Targets,
    objective: Objective,
    outputs: int,
    weights: NDArray[np.float64] | None,
    *,
    all_zero_is_fine: bool = False,
) -> NDArray[np.float64] | None:
    """Sample weights times the weight of each row's class."""
    if class_weight is None:
        return weights
    labels, classes = class_labels(y, objective, outputs)
    if labels is None:
        raise ValueError(
            f"class_weight needs labels, and loss {objective.loss.name!r} with {count(outputs, 'output')} has none: "
            "use sample_weight"
        )
    per_class = np.ones(classes)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be a dict or 'balanced', not {class_weight!r}")
        counts = np.bincount(labels, minlength=classes)
        present = counts > 0
        per_class[present] = len(labels) / (present.sum() * counts[present])
    elif isinstance(class_weight, dict):
        for label, value in class_weight.items():
            if label not in range(classes):  # 2.0 is, too
                raise ValueError(f"class_weight has the label {label!r}, but labels are in 0..{classes - 1}")
            weight = number(value, f"class_weight[{label!r}]")
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"class_weight[{label!r}] is {value}: weights must be finite and not negative")
            per_class[int(label)] = weight
    else:
        raise TypeError(f"class_weight must be a dict or 'balanced', not {type(class_weight).__name__}")
    product: NDArray[np.float64] = allocate(len(labels), np.float64)
    np.take(per_class, labels, out=product)
    if weights is not None:
        product *= weights
    if not (all_zero_is_fine or product.any()):
        raise ValueError("class_weight and sample_weight together are 0 everywhere: nothing could be learned")
    return product


def class_labels(y: Targets, objective: Objective, outputs: int) -> tuple[NDArray[np.integer[Any]] | None, int]:
    """The class of each row, and how many classes there are; None where rows have no single class."""
    if y.labels is not None:
        return y.labels, outputs
    if objective.targets == "classes":
        return y.y.argmax(axis=1), outputs
    if objective.targets == "signs" and outputs == 1:
        return (y.y[:, 0] > 0).astype(np.int64), 2
    if objective.targets == "unit" and outputs == 1:
        return (y.y[:, 0] > 0.5).astype(np.int64), 2
    return None, 0
