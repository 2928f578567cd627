# SPDX-License-Identifier: BSD-3-Clause
"""A registry: names and what they stand for, kept beside the functions it lists.

What has a counterpart in C is found there by its name, never by a number written down twice;
:meth:`Registry.check` makes a list that fell out of step fail at import.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from .errors import unknown_name

Row = TypeVar("Row")


class Registry(Mapping[str, Row]):
    """A read-only mapping from names to rows; a name that is not there raises with the nearest one.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.activations["relu"].formula
    'max(z, 0)'
    >>> fn.activations["rleu"]  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: unknown activation 'rleu'. Did you mean 'relu'? Known: linear, relu, ...
    """

    def __init__(self, kind: str) -> None:
        self._kind, self._kinds = kind, kind + ("es" if kind.endswith("s") else "s")
        self._rows: dict[str, Row] = {}
        self._aliases: dict[str, str] = {}

    def add(self, name: str, row: Row) -> None:
        """Enter a row; a name is taken once."""
        if name in self._rows:
            raise ValueError(f"the {self._kind} {name!r} exists already")
        self._rows[name] = row

    def alias(self, other_name: str, name: str) -> None:
        """Let a row be found by another name as well; it is listed by its own only."""
        if other_name in self or name not in self._rows:
            raise ValueError(f"{other_name!r} cannot be another name of the {self._kind} {name!r}")
        self._aliases[other_name] = name

    def check(self, compiled: tuple[str, ...]) -> None:
        """Compare with the names of the C library."""
        if set(compiled) != set(self._rows):
            raise ImportError(
                f"the compiled part of fastnn knows the {self._kinds} {sorted(compiled)}, "
                f"the Python part {sorted(self._rows)}: build fastnn again"
            )

    def spelled(self, text: str, example: str) -> tuple[Row, float | None]:
        """A row and the parameter that stands behind its name in brackets, if one does: of "elu(0.5)" elu's and 0.5."""
        name, bracket, rest = text.partition("(")
        row = self[name]
        if not bracket:
            return row, None
        try:
            value = float(rest.removesuffix(")"))
        except ValueError:
            value = math.nan
        if getattr(row, "parameter", None) is None or not rest.endswith(")") or math.isnan(value):
            raise ValueError(f"{self._kind} {text!r}: needed is a name, or a name with its {example}")
        return row, value

    def __getitem__(self, name: str) -> Row:
        try:
            return self._rows[self._aliases.get(name, name)]
        except (KeyError, TypeError):
            raise unknown_name(self._kind, name, self._rows) from None

    def get(self, name: object, default: Any = None) -> Any:
        """The row of a name, or the default."""
        return self[name] if isinstance(name, str) and name in self else default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._rows or name in self._aliases)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<{self._kinds}: {', '.join(self._rows)}>"
