# SPDX-License-Identifier: BSD-3-Clause
"""Sparse X: a SciPy matrix whose rows become dense only while a batch of them is worked on.

C reads compressed rows (CSR) where they lie. What Python looks at itself (some rows for a report, the scales of
columns) is made dense here, piece by piece. SciPy is not imported: whoever has such a matrix has it.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from . import _core


class SparseRows(_core.CompressedRows):
    """Stands for an array (rows, columns) wherever rows of X are read.

    Parameters
    ----------
    values : ndarray (n,)
        The numbers that are not 0, row by row.
    indices : ndarray (n,), int32 or int64
        Their columns; in each row every column at most once.
    starts : ndarray (rows + 1,), of the same dtype
        Where each row begins in values, and the last one ends.
    columns : int
    """

    ndim = 2

    def __init__(self, values: NDArray[Any], indices: NDArray[Any], starts: NDArray[Any], columns: int) -> None:
        super().__init__(values, indices, starts, columns)
        self.values, self._indices, self._starts = values, indices, starts
        self.shape = (len(starts) - 1, columns)
        self.dtype: np.dtype[Any] = values.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Some rows, dense."""
        rows = self._numbers_of(chosen)
        lines, places = self._places(rows)
        dense = np.zeros((len(rows), self.shape[1]), self.dtype)
        dense[lines, self._indices[places]] = self.values[places]
        return dense

    def take(self, chosen: NDArray[np.int64]) -> SparseRows:
        """Some rows, sparse as they are."""
        lines, places = self._places(chosen)
        starts = np.zeros(len(chosen) + 1, self._starts.dtype)
        np.cumsum(np.bincount(lines, minlength=len(chosen)), out=starts[1:])
        return SparseRows(self.values[places], self._indices[places], starts, self.shape[1])

    def place(self, index: int) -> tuple[int, int]:
        """Row and column of a value."""
        row = int(np.searchsorted(self._starts, index, side="right")) - 1
        return row, int(self._indices[index])

    def _numbers_of(self, chosen: slice | NDArray[np.int64]) -> NDArray[np.int64]:
        return np.arange(*chosen.indices(len(self))) if isinstance(chosen, slice) else chosen

    def _places(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each value of these rows: which of the rows it is in, and where it lies."""
        first = self._starts[rows].astype(np.int64)
        counts = self._starts[rows + 1] - first
        lines = np.repeat(np.arange(len(rows)), counts)
        before = np.cumsum(counts) - counts
        return lines, np.arange(len(lines)) + np.repeat(first - before, counts)


def is_sparse(x: object) -> TypeGuard[SparseRows]:
    """Whether x has come through compressed()."""
    return isinstance(x, SparseRows)


def is_sparse_matrix(x: object) -> bool:
    """Whether x is a sparse matrix of SciPy, by what it can do."""
    return hasattr(x, "tocsr") and hasattr(x, "nnz") and getattr(x, "ndim", 2) == 2


def compressed(x: Any, argument: str) -> SparseRows:
    """The rows of a sparse matrix, checked; not copied if they are in CSR form with every column once."""
    matrix = x.tocsr()
    if not matrix.has_canonical_format:
        if matrix is x:
            matrix = matrix.copy()
        matrix.sum_duplicates()
    values = np.ascontiguousarray(matrix.data)
    if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:
        raise TypeError(f"{argument} has dtype {values.dtype}, but real numbers of up to 64 bits are needed")
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    kind = np.int32 if matrix.indices.dtype == matrix.indptr.dtype == np.int32 else np.int64
    indices, starts = np.ascontiguousarray(matrix.indices, kind), np.ascontiguousarray(matrix.indptr, kind)
    rows, columns = matrix.shape
    fits = len(indices) == len(values) and len(starts) == rows + 1
    fits = fits and starts[0] >= 0 and starts[-1] <= len(values) and bool((starts[1:] >= starts[:-1]).all())
    used = indices[: starts[-1]] if fits else indices
    if not fits or (len(used) and not (used.min() >= 0 and used.max() < columns)):
        raise ValueError(f"{argument} is a damaged sparse matrix: its indices are not those of {rows} x {columns}")
    return SparseRows(values[: starts[-1]], used, starts, columns)
