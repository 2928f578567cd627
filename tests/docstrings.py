# SPDX-License-Identifier: BSD-3-Clause
"""Docstrings taken apart as numpydoc does, as far as fastnn's tests need it: sections, and the entries in them."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass

# Those of numpydoc, in its order. Of a class "Attributes" come behind "Parameters".
SECTIONS = ("Parameters", "Attributes", "Returns", "Raises", "Warns", "See Also", "Notes", "References", "Examples")
AS_ELSEWHERE = re.compile(r"^As (in|of) ")  # types and defaults are said there


@dataclass(frozen=True)
class Entry:
    """``name, name : type, default value`` and the lines below it."""

    names: tuple[str, ...]
    kind: str
    text: str

    @property
    def optional(self) -> bool:
        return "optional" in self.kind or "default" in self.kind

    @property
    def defaults(self) -> list[object]:
        """What stands behind "default": a value for each name, or one for all."""
        shown = re.search(r"\bdefault (.+?)( \(\D.*\))?$", self.kind)  # AdamW's own, in brackets, does not count
        if shown is None:
            return []
        for text in (shown[1], f"[{shown[1].replace(' and ', ', ')}]"):
            try:
                found = ast.literal_eval(text)
            except (SyntaxError, ValueError):
                continue
            several = isinstance(found, (list, tuple)) and len(found) == len(self.names) > 1
            return list(found) if several else [found] * len(self.names)
        raise AssertionError(f"{', '.join(self.names)}: default {shown[1]} is no value")


def sections(thing: object) -> dict[str, str]:
    """The sections of a docstring, by their titles; "" is what comes before them."""
    parts = re.split(r"^(\w[\w ]*)\n-+$", inspect.getdoc(thing) or "", flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(text: str) -> list[Entry]:
    """The entries of a section such as "Parameters"."""
    found = []
    for block in re.split(r"\n(?=\S)", text.strip("\n")) if text.strip() else ():
        head, _, below = block.partition("\n")
        names, _, kind = head.partition(" : ")
        found.append(Entry(tuple(re.split(r",\s*", names.strip())), kind, " ".join(below.split())))
    return found


def raised(thing: object) -> set[str]:
    """The names of the errors in the section "Raises", without their modules."""
    return {name.rpartition(".")[2] for entry in entries(sections(thing).get("Raises", "")) for name in entry.names}


def accepted(thing: object) -> dict[str, inspect.Parameter]:
    """What can be given to a callable by name; where a class hands on the rest to the one it is based on, that too."""
    own = {name: p for name, p in inspect.signature(thing).parameters.items() if name != "self"}
    rest = [name for name, p in own.items() if p.kind is p.VAR_KEYWORD]
    for name in rest:
        del own[name]
    if rest and isinstance(thing, type):
        return {**accepted(next(base for base in thing.__mro__[1:] if "__init__" in vars(base))), **own}
    return own
