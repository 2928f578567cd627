# SPDX-License-Identifier: BSD-3-Clause
"""``summary``: the network as a table of its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Sequential


def summary(net: Sequential) -> str:
    """One line per layer: what it is, the shape of what it gives, how many numbers it learns."""
    rows = [("layer", "activation", "output", "parameters")]
    width = "?" if net.inputs is None else str(net.inputs)
    rows.append(("inputs", "", width, ""))
    for layer in net.layers:
        width = str(getattr(layer, "units", width))
        name = type(layer).__name__ + (f" {layer.name!r}" if layer.name else "")
        activation = getattr(layer, "activation", None)
        learned = "?" if net._parameters is None else f"{layer.n_params:,}"
        note = "" if layer.trainable else " (frozen)"
        rows.append((name, activation.spelled if activation is not None else "", width, learned + note))
    columns = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{row[0]:<{columns[0]}}  {row[1]:<{columns[1]}}  {row[2]:>{columns[2]}}  {row[3]:>{columns[3]}}".rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * (sum(columns) + 6))
    total = "not known before the width of the input" if net._parameters is None else f"{net.n_params:,}"
    lines.append(f"parameters: {total}; dtype {net.dtype}; seed {net.seed}")
    return "\n".join(lines)
