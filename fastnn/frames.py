# SPDX-License-Identifier: BSD-3-Clause
"""Tables of pandas, polars, pyarrow and others as X and y: columns become an array, and names are kept and checked.

Narwhals reads them all; it is imported when the first table comes, and is an optional dependency. Columns of text are
for a ``Table`` layer, which remembers what it has learned of them; whatever else is no number is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._memory import allocate
from .inputs import count
from .layers import Layer, all_parts
from .tables import Table

if TYPE_CHECKING:
    from .model import Sequential

Names = tuple[str, ...]
NAMED = 5  # columns in a message


def is_frame(x: object) -> bool:
    """Whether x is a table with named columns, of whatever library."""
    kind = type(x)
    return kind is not np.ndarray and (hasattr(kind, "columns") or hasattr(kind, "column_names"))


def read_features(
    net: Sequential, X: Any, argument: str = "X", *, learn: bool = False, names: Names | None = None
) -> tuple[Any, Names | None]:
    """X as an array, with the names of its columns; what is no table stays as it is, and has none.

    `names` are those it must have, if it has any; default: the network's. With `learn` a ``Table`` that has not seen
    any data learns which columns are meant by its names, and which texts are in them; what has learned texts is not
    given numbers in their place, which would be read as codes of a numbering that the caller may not know.
    """
    learns = learn and net.inputs is None
    tables = net._tables
    if not is_frame(X):
        for layer in tables:
            if learns:
                layer.use_names(None)
            elif layer.texts:
                raise TypeError(_text_needed(net, layer, X, argument))
        return X, None
    frame = _open(X, argument)
    found = _names(frame)
    check_names(net.feature_names if names is None else names, found, argument)
    if learns:
        for layer in tables:
            layer.use_names(found)
    return _array(frame, tables[0] if tables else None, argument, learns), found


def read_targets(y: Any, argument: str = "y") -> Any:
    """y as an array if it is a table, or a column NumPy makes no numbers of; else as it is."""
    if is_frame(y):
        return _array(_open(y, argument), None, argument, False)
    if type(y) is np.ndarray or not (hasattr(type(y), "to_frame") or hasattr(type(y), "null_count")):
        return y
    array = np.asarray(y)
    if array.dtype.kind != "O":
        return array
    try:
        nw = _narwhals(y, argument)
        column = nw.from_native(y, series_only=True)
    except (ImportError, TypeError):
        return array  # which is refused where labels are explained
    if not (column.dtype.is_numeric() or column.dtype == nw.Boolean):
        return array
    _refuse_missing(column, argument)
    return _numbers(column, nw)


def check_names(known: Names | None, found: Names | None, argument: str) -> None:
    """That a table has the columns the network was fitted with, in their order; without names nothing is known."""
    if known is None or found is None or known == found:
        return
    missing, unknown = [n for n in known if n not in found], [n for n in found if n not in known]
    if not missing and not unknown:
        place = next(i for i, (a, b) in enumerate(zip(known, found, strict=True)) if a != b)
        raise ValueError(
            f"{argument} has its columns in another order: column {place} is {found[place]!r}, but the network was "
            f"fitted with {known[place]!r} there; put them in the order of net.feature_names"
        )
    said = [f"{what} {_listed(columns)}" for what, columns in (("without", missing), ("with", unknown)) if columns]
    raise ValueError(f"{argument} has other columns than the network was fitted with: {', and '.join(said)}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + more


def tables_in(layers: Iterable[Layer]) -> tuple[Table, ...]:
    """The layers that read columns of a table."""
    return tuple(layer for layer in all_parts(layers) if isinstance(layer, Table))


def read_text(net: Sequential) -> bool:
    """Whether the network was fitted to columns of text."""
    return any(layer.texts for layer in net._tables)


def _text_needed(net: Sequential, table: Table, X: object, argument: str) -> str:
    column = min(table.texts)
    names = net.feature_names
    shown = f"column {column}" if names is None else f"column {names[column]!r}"
    columns = "the columns it was fitted to" if names is None else f"the columns {_listed(list(names))}"
    return (
        f"{argument} is a {type(X).__name__}, but {shown} held text when the network was fitted: hand over a table "
        f"with {columns}. (net.predictor() takes codes, the places in Table.texts[{column}])"
    )


def _narwhals(x: object, argument: str) -> Any:
    try:
        import narwhals
    except ImportError as error:
        kind = f"{type(x).__module__.split('.')[0]} {type(x).__name__}"
        raise ImportError(
            f"{argument} is a {kind}: to read tables, narwhals is needed. pip install 'fastnn-cpu[dataframe]', or hand "
            "over an array"
        ) from error
    return narwhals


def _open(x: Any, argument: str) -> Any:
    nw = _narwhals(x, argument)
    try:
        return nw.from_native(x, eager_only=True)
    except TypeError as error:
        hint = "call .collect() first" if hasattr(x, "collect") else "hand over an array"
        if type(x).__name__ == "RecordBatch":
            hint = "make it one, pyarrow.Table.from_batches([batch])"
        raise TypeError(f"{argument} is a {type(x).__name__}, which cannot be read as a table: {hint}") from error
    except Exception as error:  # of the library: columns that have the same name
        raise ValueError(f"{argument} cannot be read as a table: {error}") from error


def _names(frame: Any) -> Names | None:
    """The names of all columns, if all are text."""
    names = tuple(frame.columns)
    return names if all(isinstance(name, str) for name in names) else None


def _array(frame: Any, table: Table | None, argument: str, learns: bool) -> NDArray[Any]:
    """All columns side by side, in the smallest type that holds them all."""
    columns = []
    for place, column in enumerate(frame.iter_columns()):
        shown = f"{argument}: column {column.name!r}"
        if table is not None and place in table.code_columns:
            columns.append(_codes(column, place, table, shown, learns))
        elif table is not None and place not in table.numeric:
            columns.append(np.zeros(len(frame), np.bool_))  # nobody reads it
        else:
            columns.append(_numeric(column, shown, argument))
    kind = np.result_type(*columns) if columns else np.dtype(np.float64)
    array: NDArray[Any] = allocate((len(frame), len(columns)), kind)
    for place, values in enumerate(columns):
        array[:, place] = values
    return array


def _numeric(column: Any, shown: str, argument: str) -> NDArray[Any]:
    """A column of numbers or bools, none of which is missing."""
    nw = _narwhals(column, argument)
    if _is_text(column, nw):
        raise TypeError(
            f"{shown} holds text ({column.dtype}): begin the network with Table(categorical=[{column.name!r}, ...], "
            "numeric=[...]), which gives each text a vector; or make numbers of it"
        )
    if not (column.dtype.is_numeric() or column.dtype == nw.Boolean):
        if column.dtype == nw.Unknown:
            _refuse_missing(column, shown)  # there is nothing else in a column without a type
        raise TypeError(
            f"{shown} has dtype {_dtype(column)}, but numbers are needed: make numbers of it (such as the day of the "
            f"year of a date), or leave it out{_hint(column)}"
        )
    _refuse_missing(column, shown)
    return _numbers(column, nw)


def _codes(column: Any, place: int, table: Table, shown: str, learns: bool) -> NDArray[Any]:
    """A column of categories as whole numbers; -1 where it has none."""
    nw = _narwhals(column, shown)
    missing = np.asarray(column.is_null().to_numpy(), np.bool_)
    if not _is_text(column, nw):
        if column.dtype.is_float():
            missing = missing | np.isnan(np.asarray(column.to_numpy(), np.float64))
        if missing.all():  # of no type, or of floats, where there is nothing but missing values
            return np.full(len(missing), -1, np.int8)
        if not (column.dtype.is_numeric() or column.dtype == nw.Boolean):
            raise TypeError(
                f"{shown} has dtype {_dtype(column)}, but categories are whole numbers or text{_hint(column)}"
            )
        if place in table.texts:
            raise TypeError(f"{shown} has dtype {column.dtype}, but held text when the network was fitted")
        if column.dtype == nw.Boolean:
            column = column.cast(nw.Int8)
        codes = _numbers(column.fill_null(0) if missing.any() else column, nw)
        if missing.any():
            codes = codes.astype(np.result_type(codes, np.int8))  # -1 is no number without a sign
            codes[missing] = -1
        return codes
    values = column.to_list()
    if column.dtype != nw.String:  # categories may be numbers, of another type where values are missing
        values = [str(int(v) if isinstance(v, float) and v.is_integer() else v) for v in values]
    if learns:
        table.learn_texts(place, sorted({v for v, none in zip(values, missing, strict=True) if not none}), shown)
    elif place not in table.texts:
        raise TypeError(f"{shown} holds text ({column.dtype}), but held none when the network was fitted")
    number = {text: code for code, text in enumerate(table.texts[place])}
    codes = np.fromiter((number.get(v, -1) for v in values), np.float32, len(values))  # exact: below 2^24
    codes[missing] = -1
    return codes


def _is_text(column: Any, nw: Any) -> bool:
    return any(column.dtype == kind for kind in (nw.String, nw.Categorical, nw.Enum))


def _dtype(column: Any) -> str:
    """What its library calls a type that narwhals has no word for."""
    native = column.to_native()
    own = getattr(native, "dtype", None) or getattr(native, "type", None)
    return str(own if str(column.dtype) == "Unknown" and own is not None else column.dtype)


def _hint(column: Any) -> str:
    """What may help where pandas keeps Python's objects."""
    return ". (pandas: X.convert_dtypes() may find out what it holds)" if str(column.dtype) == "Object" else ""


def _numbers(column: Any, nw: Any) -> NDArray[Any]:
    """A column without missing values as NumPy has it."""
    if column.dtype in (nw.Int128, nw.UInt128):  # which NumPy has not
        column = column.cast(nw.Float64)
    values = np.asarray(column.to_numpy())
    if values.dtype.kind not in "biuf":  # decimals, and what pandas keeps as objects
        kind = nw.Boolean if column.dtype == nw.Boolean else nw.Float64
        values = np.asarray(column.cast(kind).to_numpy(), np.bool_ if kind is nw.Boolean else np.float64)
    return values


def _refuse_missing(column: Any, shown: str) -> None:
    missing = np.asarray(column.is_null().to_numpy(), np.bool_)
    if not missing.any() and column.dtype.is_float():
        missing = np.isnan(np.asarray(column.to_numpy(), np.float64))
    if missing.any():
        raise ValueError(
            f"{shown} has {count(int(missing.sum()), 'missing value')}, the first in row {int(missing.argmax())}: fill "
            "them (with the median of the column, say), or drop those rows; in a column of categories, Table takes them"
        )
