# SPDX-License-Identifier: BSD-3-Clause
"""Layers made of layers: around them, beside each other, or each for some of the columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from . import _core
from .arguments import whole_number
from .graph import Graph
from .layers import LAYERS, Layer, all_parts, layer_from_config, stack_needs_inputs


def checked_layers(layers: object, argument: str) -> tuple[Layer, ...]:
    """Layers that belong to nobody yet."""
    if isinstance(layers, Layer) or not isinstance(layers, Iterable):
        raise TypeError(f"{argument} must be a list of layers, not {type(layers).__name__}")
    found = tuple(layers)
    seen: set[Layer] = set()
    for place, layer in enumerate(found):
        if not isinstance(layer, Layer):
            raise TypeError(f"{argument}[{place}] must be a layer such as Dense(10), not {layer!r}")
        for part in all_parts((layer,)):
            which = f"{argument}[{place}]" if part is layer else f"{argument}[{place}]: its {type(part).__name__}"
            if part.owned:
                raise ValueError(f"{which} belongs to a network already: make a new {type(part).__name__}")
            if part in seen:
                raise ValueError(f"{which} is there twice: make a new {type(part).__name__} for each place")
            seen.add(part)
    return found


def described(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Layers as a configuration."""
    return [{"kind": type(layer).__name__, **layer.config()} for layer in layers]


def from_description(layers: Sequence[dict[str, Any]]) -> list[Layer]:
    """The layers of a configuration."""
    made = []
    for layer in layers:
        arguments = dict(layer)
        made.append(layer_from_config(arguments.pop("kind"), arguments))
    return made


class Residual(Layer):
    """Layers with a way around them: y = x + f(x).

    Parameters
    ----------
    layers : list of Layer
        f; its output must have as many columns as its input. An empty list hands on the input, as in
        :class:`Concat`: y = 2 x.
    trainable, learning_rate_factor, name
        As of every layer (:class:`Layer`); they hold for everything inside.

    Attributes
    ----------
    layers : tuple of Layer

    Raises
    ------
    ValueError, TypeError
        If there is something else among the layers, or a layer twice; in ``Sequential``, if the columns of f differ
        from those of x.

    References
    ----------
    He, Zhang, Ren & Sun, Deep residual learning for image recognition, 2016.

    Examples
    --------
    >>> import fastnn as fn
    >>> block = fn.Residual([fn.LayerNorm(), fn.Dense(16, "relu"), fn.Dense(8)])
    >>> net = fn.Sequential([fn.Dense(8), block, fn.Dense(1)], inputs=3, seed=0)
    >>> net.n_params
    337
    """

    def __init__(self, layers: Iterable[Layer], *, name: str | None = None, **other: Any) -> None:
        self.layers = checked_layers(layers, "layers")
        super().__init__(name, **other)

    @property
    def parts(self) -> tuple[Layer, ...]:
        return self.layers

    @property
    def needs_inputs(self) -> bool:
        return True

    def add_to(self, graph: Graph) -> None:
        around = graph.at
        graph.branch(last=False)
        with graph.within(self):
            for layer in self.layers:
                graph.follow(layer)
        if graph.width != graph.widths[around]:
            raise ValueError(
                f"Residual: its layers turn {graph.widths[around]} columns into {graph.width}, but x + f(x) needs as "
                f"many: end with Dense({graph.widths[around]})"
            )
        through, graph.at = graph.at, around
        graph.add(_core.ADD, other=through)

    def config(self) -> dict[str, Any]:
        return {"layers": described(self.layers), **super().config()}

    def _spelled(self) -> dict[str, Any]:
        return {**self.config(), "layers": list(self.layers)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        return cls(**{**config, "layers": from_description(config["layers"])})


class Branches(Layer):
    """What layers of several branches share."""

    branches: tuple[tuple[Layer, ...], ...]

    @property
    def parts(self) -> tuple[Layer, ...]:
        return tuple(layer for branch in self.branches for layer in branch)

    def _check(self, branches: Iterable[Iterable[Layer]]) -> tuple[tuple[Layer, ...], ...]:
        if isinstance(branches, Layer) or not isinstance(branches, Iterable):
            raise TypeError(f"branches must be a list of lists of layers, not {type(branches).__name__}")
        found = tuple(checked_layers(branch, f"branches[{place}]") for place, branch in enumerate(branches))
        if not found:
            raise ValueError("branches is empty")
        every = [part for branch in found for part in all_parts(branch)]
        if len(set(every)) < len(every):
            raise ValueError("branches: a layer is in two branches; make a new one for each")
        return found

    def config(self) -> dict[str, Any]:
        return {"branches": [described(branch) for branch in self.branches], **super().config()}

    def _spelled(self) -> dict[str, Any]:
        return {**self.config(), "branches": [list(branch) for branch in self.branches]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        return cls(**{**config, "branches": [from_description(branch) for branch in config["branches"]]})


def join(graph: Graph, ends: Sequence[int]) -> None:
    """Some buffers side by side, as what was computed last."""
    output, to = graph.buffer(sum(graph.widths[end] for end in ends)), 0
    for end in ends:
        graph.at = end
        graph.copy_columns(0, graph.widths[end], output, to)
        to += graph.widths[end]


class Concat(Branches):
    """Several ways through at once: the same input for every branch, their outputs side by side.

    Parameters
    ----------
    branches : list of lists of Layer
        An empty list hands on the input itself.
    trainable, learning_rate_factor, name
        As of every layer (:class:`Layer`); they hold for everything inside.

    Attributes
    ----------
    branches : tuple of tuples of Layer

    Raises
    ------
    ValueError, TypeError
        If a branch is no list of layers, or a layer is there twice.

    References
    ----------
    Cheng et al., Wide & deep learning for recommender systems, 2016; Huang et al., Densely connected convolutional
    networks, 2017 (an empty branch beside layers).

    Examples
    --------
    >>> import fastnn as fn
    >>> wide_and_deep = fn.Concat([[], [fn.Dense(16, "relu"), fn.Dense(8, "relu")]])
    >>> fn.Sequential([wide_and_deep, fn.Dense(1)], inputs=3, seed=0).layers[1].weight.shape
    (11, 1)
    """

    def __init__(self, branches: Iterable[Iterable[Layer]], *, name: str | None = None, **other: Any) -> None:
        self.branches = self._check(branches)
        super().__init__(name, **other)

    def add_to(self, graph: Graph) -> None:
        start, ends = graph.at, []
        for place, branch in enumerate(self.branches):
            graph.at = start
            graph.branch(last=place == len(self.branches) - 1)
            with graph.within(self):
                for layer in branch:
                    graph.follow(layer)
            ends.append(graph.at)
        join(graph, ends)

    @property
    def needs_inputs(self) -> bool:
        return any(map(stack_needs_inputs, self.branches))


class Split(Branches):
    """Each branch gets columns of its own, from left to right; their outputs side by side.

    Parameters
    ----------
    columns : list of int
        How many columns each branch gets; together all of them.
    branches : list of lists of Layer
        As many; an empty list hands on its columns.
    trainable, learning_rate_factor, name
        As of every layer (:class:`Layer`); they hold for everything inside.

    Attributes
    ----------
    columns : tuple of int
    branches : tuple of tuples of Layer

    Raises
    ------
    ValueError, TypeError
        If a branch is no list of layers, a layer is there twice, or there are not as many branches as numbers of
        columns; in ``Sequential``, if the input has another number of columns.

    Examples
    --------
    >>> import fastnn as fn
    >>> layer = fn.Split([2, 3], [[fn.Dense(4, "relu")], [fn.Dense(8, "relu")]])
    >>> fn.Sequential([layer, fn.Dense(1)], inputs=5, seed=0).layers[1].weight.shape
    (12, 1)
    """

    def __init__(
        self,
        columns: Iterable[int],
        branches: Iterable[Iterable[Layer]],
        *,
        name: str | None = None,
        **other: Any,
    ) -> None:
        if not isinstance(columns, Iterable) or isinstance(columns, (str, bytes, bytearray)):  # b"ab" holds integers
            raise TypeError(f"columns must be a list of integers, not {type(columns).__name__}")
        self.columns = tuple(whole_number(count, f"columns[{place}]") for place, count in enumerate(columns))
        self.branches = self._check(branches)
        if len(self.columns) != len(self.branches):
            raise ValueError(f"Split has {len(self.columns)} numbers of columns, but {len(self.branches)} branches")
        super().__init__(name, **other)

    @property
    def needs_inputs(self) -> bool:
        return True

    def add_to(self, graph: Graph) -> None:
        if graph.width != sum(self.columns):
            raise ValueError(f"Split divides {sum(self.columns)} columns, but its input has {graph.width}")
        start, first, ends = graph.at, 0, []
        for count, branch in zip(self.columns, self.branches, strict=True):
            graph.at = start
            graph.copy_columns(first, count, graph.buffer(count), 0)
            with graph.within(self):
                for layer in branch:
                    graph.follow(layer)
            ends.append(graph.at)
            first += count
        join(graph, ends)

    def config(self) -> dict[str, Any]:
        return {"columns": list(self.columns), **super().config()}


LAYERS |= {"Residual": Residual, "Concat": Concat, "Split": Split}
