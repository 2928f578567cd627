# SPDX-License-Identifier: BSD-3-Clause
"""Layers for tables: columns of categories as vectors, and numbers and categories side by side.

A category is a whole number from 0 on. Any other number (one that was not there in training, a negative one for a
missing value) is the unknown category, which has a vector of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .arguments import true_or_false, whole_number
from .composition import join
from .graph import Graph
from .initializers import Initializer
from .layers import LAYERS, Layer, overwrite
from .normalization import normalize

MOST_CATEGORIES = 1 << 24  # float32 holds whole numbers exactly up to here
WIDEST = 50


def _vectors(u: NDArray[np.float64], inputs: int, units: int) -> NDArray[np.float64]:
    start = u * math.sqrt(3.0 / units)
    start[-1] = 0.0
    return start


VECTORS = Initializer(_vectors, "uniform in +-sqrt(3 / units), so that vectors have about unit length; unknown: 0")


def width_for(categories: int) -> int:
    """How many numbers stand for one of so many categories: 1.6 categories^0.56, at most 50.

    The rule of thumb of fast.ai's tabular models (Howard & Gugger, Deep learning for coders, 2020, chapter 9; their
    limit is 600), between 2 and 50.
    """
    return int(max(2, min(WIDEST, round(1.6 * categories**0.56))))


def checked_categories(value: object, argument: str) -> int:
    """How many categories a column has."""
    found = whole_number(value, argument)
    if found >= MOST_CATEGORIES:
        raise ValueError(f"{argument} must be below {MOST_CATEGORIES}, not {found}")
    return found


def _columns(columns: object, argument: str) -> tuple[Any, ...]:
    """Columns of X, by number or by name."""
    if isinstance(columns, str) or not isinstance(columns, Iterable):
        raise TypeError(f"{argument} must be a list of columns of X, 0, 1, 2 ..., not {columns!r}")
    return tuple(_column(column, f"{argument}[{place}]") for place, column in enumerate(columns))


def _column(column: object, argument: str) -> int | str:
    return column if isinstance(column, str) else whole_number(column, argument, least=0)


def check_codes(x: NDArray[Any], column: int, argument: str) -> None:
    """A column of categories to learn from holds whole numbers: others would all be the unknown category."""
    codes = x[:, column]
    if codes.dtype.kind == "f" and (wrong := np.flatnonzero(codes != np.trunc(codes))).size:
        raise ValueError(
            f"{argument} is {codes[wrong[0]]} in row {wrong[0]}, column {column}: a categorical column must hold whole "
            "numbers 0, 1, 2 ... (missing: -1)"
        )


class Embedding(Layer):
    """The first layer for columns of categories: each number becomes a vector that is learned.

    y = weight[x] for every column, side by side; all columns share one table. (For columns of different kinds, see
    ``Table``.)

    Parameters
    ----------
    categories : int
        x is 0 .. categories - 1; anything else is the unknown category.
    units : int, optional
        Numbers in a vector; default 1.6 categories^0.56, between 2 and 50.
    trainable : bool, default True
        False freezes the layer.
    learning_rate_factor : float, default 1
        Multiplies the optimizer's learning rate for this layer.
    name : str, optional
        For the summary and error messages.

    Attributes
    ----------
    weight : ndarray (categories + 1, units), the network's dtype
        A view; the last row is the vector of the unknown category, which starts at 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type; in ``Sequential``, if it is not the first layer, or the
        first of a branch; in ``fit``, if X does not hold whole numbers.

    References
    ----------
    Bengio et al., A neural probabilistic language model, 2003; Guo & Berkhahn, Entity embeddings of categorical
    variables, 2016; Howard & Gugger, Deep learning for coders, 2020, chapter 9: the default of units.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> net = fn.Sequential([fn.Embedding(7, units=3), fn.Dense(1)], inputs=2, seed=0)
    >>> net.predict([[0, 6], [0, 99]]).shape    # 99 is unknown
    (2, 1)
    """

    def __init__(
        self,
        categories: int,
        units: int | None = None,
        *,
        trainable: bool = True,
        learning_rate_factor: float = 1.0,
        name: str | None = None,
    ) -> None:
        self.categories = checked_categories(categories, "categories")
        self.units = width_for(self.categories) if units is None else whole_number(units, "units")
        super().__init__(name, trainable, learning_rate_factor)

    def add_to(self, graph: Graph) -> None:
        if not graph.is_input(graph.at):
            raise ValueError("Embedding must be the first layer, or the first of a branch: it reads columns of X")
        columns = graph.width
        weight = graph.tensor(self, "weight", self.categories + 1, self.units, VECTORS, decays=False)
        graph.add(_core.EMBEDDING, columns * self.units, weight=weight, count=columns)

    def config(self) -> dict[str, Any]:
        return {"categories": self.categories, "units": self.units, **super().config()}

    @property
    def weight(self) -> NDArray[Any]:
        """The vectors, (categories + 1, units), as a view."""
        return self._tensor("weight")

    @weight.setter
    def weight(self, value: ArrayLike) -> None:
        overwrite(self._tensor("weight"), value, "weight")


class Table(Layer):
    """The first layer for a table: numbers are normalized, categories become vectors, all side by side.

    Parameters
    ----------
    numeric : list of int or str, default ()
        Columns of X that hold numbers. If X is a table of pandas, polars or pyarrow, columns may be given by name.
    categorical : list of int or str, or dict of them to int, default ()
        Columns that hold categories 0, 1, 2 ...; as a dict, with how many there are. Where that is not said, the first
        ``fit`` finds it out: the largest one it sees, plus 1. In a table they may hold text as well: the first ``fit``
        numbers the texts it sees in their order; others, and missing values, are the unknown category. From then on
        arrays are refused: a number would be the code of a text in an order that only this layer knows (``texts``).
    units : int, optional
        Numbers in the vector of a category; default by their number, 1.6 categories^0.56, between 2 and 50.
    normalize : bool, default True
        Whether the first ``fit`` learns mean and scale of the numeric columns, as ``Normalization`` does.
    trainable : bool, default True
        False freezes the layer.
    learning_rate_factor : float, default 1
        Multiplies the optimizer's learning rate for this layer.
    name : str, optional
        For the summary and error messages.

    Attributes
    ----------
    categories : dict of int to int
        By column.
    texts : dict of int to tuple of str
        By column, what its categories are called, if it held text.
    mean, scale : ndarray (numeric columns,), the network's dtype
        Views; what was learned of the numeric columns.

    Raises
    ------
    ValueError, TypeError
        If no column is named, or one twice, or an argument is of another type; in ``Sequential``, if it is not the
        first layer.
    ValueError
        In ``fit``, if a categorical column does not hold whole numbers. In ``predict`` any number that is no known
        category is the unknown one: its vector starts at 0, and learns if ``fit`` meets it (such as -1 for a missing
        value).

    References
    ----------
    Guo & Berkhahn, Entity embeddings of categorical variables, 2016; Howard & Gugger, Deep learning for coders, 2020,
    chapter 9: the default of units.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> X = np.array([[35.0, 0, 2], [52.0, 1, 0], [41.0, 1, 1]])    # age, sex, region
    >>> net = fn.Sequential([fn.Table(numeric=[0], categorical=[1, 2]), fn.Dense(1)], seed=0)
    >>> history = net.fit(X, [1.0, 0.0, 1.0], epochs=2, verbose=0)
    >>> net.layers[0].categories
    {1: 2, 2: 3}
    """

    def __init__(
        self,
        numeric: Iterable[int | str] = (),
        categorical: Iterable[int | str] | Mapping[int, int | None] | Mapping[str, int | None] = (),
        *,
        units: int | None = None,
        normalize: bool = True,
        trainable: bool = True,
        learning_rate_factor: float = 1.0,
        name: str | None = None,
    ) -> None:
        self.numeric: tuple[Any, ...] = _columns(numeric, "numeric")
        given = categorical if isinstance(categorical, Mapping) else dict.fromkeys(_columns(categorical, "categorical"))
        self._given: dict[Any, int | None] = {}
        for column, count in given.items():
            known = None if count is None else checked_categories(count, f"categorical[{column!r}]")
            self._given[_column(column, "categorical")] = known
        self._found = dict(self._given)
        self._asked = self.numeric, self._given
        self.texts: dict[int, tuple[str, ...]] = {}
        self.units = None if units is None else whole_number(units, "units")
        self.normalize = true_or_false(normalize, "normalize")
        self.learned = False
        if not (self.numeric or self._given):
            raise ValueError("Table needs columns: numeric=[...], categorical=[...]")
        self._check_twice()
        super().__init__(name, trainable, learning_rate_factor)

    def _check_twice(self) -> None:
        every = [*self.numeric, *self._given]
        if twice := [column for column in every if every.count(column) > 1]:
            raise ValueError(f"Table: column {twice[0]} is named twice")

    @property
    def needs_inputs(self) -> bool:
        return True

    @property
    def categories(self) -> dict[int, int]:
        """How many categories each categorical column has; empty before they are known."""
        return {column: count for column, count in self._found.items() if count is not None}

    @property
    def _names(self) -> list[str]:
        """The columns that are still names and no numbers."""
        return [column for column in (*self.numeric, *self._given) if isinstance(column, str)]

    def use_names(self, names: tuple[str, ...] | None) -> None:
        """From the names of X's columns (None: it has none) find the numbers of those that were named."""
        if not self._names:
            return
        if names is None:
            raise ValueError(
                f"Table names the column {self._names[0]!r}, but the columns of X have no names: hand over a table of "
                "pandas, polars or pyarrow, or number the columns 0, 1, 2 ..."
            )
        for name in self._names:
            if name not in names:
                raise ValueError(f"Table names the column {name!r}, which X does not have: it has {', '.join(names)}")
        number = {name: place for place, name in enumerate(names)}
        self.numeric = tuple(number.get(column, column) for column in self.numeric)
        given = [(number.get(column, column), count) for column, count in self._given.items()]
        if len({column for column, _ in given}) < len(given):
            raise ValueError("Table: a categorical column is given twice, by name and by number")
        self._given = dict(given)
        self._found = dict(given)
        self._check_twice()

    def learn_texts(self, column: int, texts: list[str], shown: str) -> None:
        """Number the texts of a categorical column, in their order."""
        known = self._given[column]
        if len(texts) > (MOST_CATEGORIES - 1 if known is None else known):
            said = "which is too many" if known is None else f"but Table was told of {known}"
            raise ValueError(f"{shown} holds {len(texts)} different texts, {said}")
        self.texts[column] = tuple(texts)

    def find_categories(self, x: NDArray[Any], count: bool) -> None:
        """See that all codes are whole numbers; and, before the network is built, count what was not said."""
        for column, given in self._given.items():
            if column >= x.shape[1]:
                continue  # add_to says so
            codes = x[:, column]
            check_codes(x, column, "X")
            if count and given is None:
                if codes.max() >= MOST_CATEGORIES - 1:
                    raise ValueError(
                        f"X is {codes.max():g} in column {column}: categories are counted from 0 to the largest code, "
                        f"which must be below {MOST_CATEGORIES - 1}. Number them 0, 1, 2 ..., or say how many there "
                        f"are: categorical={{{column}: 1000}}"
                    )
                self._found[column] = max(int(codes.max()) + 1, 1)

    @property
    def code_columns(self) -> tuple[int, ...]:
        """The columns of X that hold categories."""
        return tuple(self._given)

    def forget_categories(self) -> None:
        """Back to what was said."""
        self.numeric, self._given = self._asked
        self._found = dict(self._given)
        self.texts = {}

    def add_to(self, graph: Graph) -> None:
        if graph.at != 0 or graph.segments:
            raise ValueError("Table must be the first layer: it names columns of X")
        if self._names:
            raise ValueError(
                f"Table names the column {self._names[0]!r}: leave out inputs=, so that the first fit, to a table with "
                "such a column, finds it; or number the columns"
            )
        if (most := max((*self.numeric, *self._given))) >= graph.width:
            raise ValueError(f"Table names column {most}, but X has the columns 0..{graph.width - 1}")
        ends = []
        if self.numeric:
            self._add_numeric(graph)
            ends.append(graph.at)
        for column, count in self._found.items():
            if count is None:
                raise ValueError(
                    f"Table does not know the number of categories of column {column} yet: leave out inputs=, so that "
                    f"the first fit finds it, or say it: categorical={{{column}: 7}}"
                )
            graph.at = 0
            units = width_for(count) if self.units is None else self.units
            weight = graph.tensor(self, f"weight[{column}]", count + 1, units, VECTORS, decays=False)
            graph.add(_core.EMBEDDING, units, weight=weight, start=column, count=1)
            ends.append(graph.at)
        join(graph, ends)

    def _add_numeric(self, graph: Graph) -> None:
        """The numeric columns side by side, run by run, and normalized."""
        output, to = graph.buffer(len(self.numeric)), 0
        while to < len(self.numeric):
            first, count = self.numeric[to], 1
            while self.numeric[to + count : to + count + 1] == (first + count,):
                count += 1
            graph.at = 0
            graph.copy_columns(first, count, output, to)
            to += count
        if self.normalize:
            state = normalize(graph, self, self.numeric)
            graph.add(_core.NORMALIZE, state=state)

    def weight(self, column: int) -> NDArray[Any]:
        """The vectors of one categorical column, as a view: writing changes the network.

        Parameters
        ----------
        column : int
            Which column of X.

        Returns
        -------
        ndarray (categories + 1, units), the network's dtype
            The last row is the vector of the unknown category.

        Raises
        ------
        AttributeError
            If the column is not categorical, or the network does not know its inputs yet.
        """
        return self._tensor(f"weight[{column}]")

    @property
    def mean(self) -> NDArray[Any]:
        """What is subtracted from the numeric columns, as a view."""
        return self._tensor("mean")

    @property
    def scale(self) -> NDArray[Any]:
        """What multiplies the numeric columns, as a view."""
        return self._tensor("scale")

    def config(self) -> dict[str, Any]:
        texts = {"texts": [[column, list(known)] for column, known in self.texts.items()]} if self.texts else {}
        return {
            "numeric": list(self.numeric),
            "categorical": [list(pair) for pair in self._found.items()],
            "units": self.units,
            "normalize": self.normalize,
            "learned": self.learned,
            **texts,
            **super().config(),
        }

    def _spelled(self) -> dict[str, Any]:
        shown = {**self.config(), "categorical": self._found}
        del shown["learned"]
        shown.pop("texts", None)
        return shown

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        arguments = dict(config)
        learned = true_or_false(arguments.pop("learned", False), "learned")
        texts = arguments.pop("texts", [])
        layer = cls(**{**arguments, "categorical": dict(arguments["categorical"])})
        layer.learned = learned
        for column, known in texts:
            if column not in layer._given or not all(isinstance(text, str) for text in known):
                raise ValueError(f"Table: texts of column {column!r} do not fit")
            layer.texts[column] = tuple(known)
        return layer


LAYERS |= {"Embedding": Embedding, "Table": Table}
