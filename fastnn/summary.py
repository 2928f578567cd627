# SPDX-License-Identifier: BSD-3-Clause
"""``summary``: the network as a table of its layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .composition import Branches
from .layers import Dense, Layer

if TYPE_CHECKING:
    from .model import Sequential

Row = tuple[str, str, str, str]
UNKNOWN = "?"


class Table:
    """The rows of a summary while they are being written."""

    def __init__(self, net: Sequential) -> None:
        self.rows: list[Row] = [("layer", "activation", "output", "parameters")]
        self._built = net._parameters is not None
        graph = net._parameters.graph if net._parameters is not None else None
        self._widths = {} if graph is None else {id(layer): graph.widths[end] for layer, end in graph.ends}
        self.rows.append(("inputs", "", UNKNOWN if graph is None else str(graph.inputs), ""))
        self.add(net.layers, 0, frozen=False)

    def add(self, layers: Iterable[Layer], depth: int, frozen: bool) -> None:
        """Layers that follow each other, and below each, further to the right, those it is made of."""
        for layer in layers:
            held = frozen or not layer.trainable
            self.rows.append(self._row(layer, depth, held))
            if not isinstance(layer, Branches):
                self.add(layer.parts, depth + 1, held)
                continue
            for place, branch in enumerate(layer.branches):
                note = "" if branch else " (as it is)"
                self.rows.append(("  " * (depth + 1) + f"branch {place}{note}", "", "", ""))
                self.add(branch, depth + 2, held)

    def _row(self, layer: Layer, depth: int, frozen: bool) -> Row:
        name = "  " * depth + type(layer).__name__ + (f" {layer.name!r}" if layer.name else "")
        activation = getattr(layer, "activation", None)
        learned = f"{layer.n_params:,}" if self._built else UNKNOWN
        note = " (frozen)" if frozen else ""
        return name, "" if activation is None else activation.spelled, self._width(layer), learned + note

    def _width(self, layer: Layer) -> str:
        """Columns of what it gives; before the network is built, a dense layer alone knows."""
        if isinstance(layer, Dense):
            return str(layer.units)
        return str(self._widths.get(id(layer), UNKNOWN))


def summary(net: Sequential) -> str:
    """One line per layer: what it is, how many columns it gives, how many numbers it learns."""
    rows = Table(net).rows
    columns = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{row[0]:<{columns[0]}}  {row[1]:<{columns[1]}}  {row[2]:>{columns[2]}}  {row[3]:>{columns[3]}}".rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * (sum(columns) + 6))
    total = "not known before the width of the input" if net._parameters is None else f"{net.n_params:,}"
    lines.append(f"parameters: {total}; dtype {net.dtype}; seed {net.seed}")
    return "\n".join(lines)
