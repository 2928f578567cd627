# SPDX-License-Identifier: BSD-3-Clause
"""A copy of all that a training step changes, to go back to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ._memory import allocate

if TYPE_CHECKING:
    from . import _core
    from .parameters import Parameters


class Snapshot:
    """Parameters, state and what the optimizer remembers: memory for one copy, filled as often as wanted."""

    def __init__(self, parameters: Parameters, state: _core.OptimizerState) -> None:
        self._numbers: NDArray[Any] = allocate(parameters.numbers.shape, parameters.dtype)
        self._state: NDArray[Any] = allocate(state.array.shape, parameters.dtype)
        average = state.average
        self._average: NDArray[Any] | None = None if average is None else allocate(average.shape, parameters.dtype)
        self._counts = (0, 0, 0.0)

    def take(self, parameters: Parameters, state: _core.OptimizerState) -> None:
        """Copy them from a network."""
        self._numbers[...] = parameters.numbers
        self._state[...] = state.array
        if self._average is not None and state.average is not None:
            self._average[...] = state.average
        self._counts = (state.step, state.averaged, state.product)

    def put(self, parameters: Parameters, state: _core.OptimizerState) -> None:
        """Copy them back."""
        parameters.numbers[...] = self._numbers
        state.array[...] = self._state
        if self._average is not None and state.average is not None:
            state.average[...] = self._average
        state.go_on_from(*self._counts)

    def state_dict(self) -> dict[str, Any]:
        """The copy, as a checkpoint keeps it."""
        found: dict[str, Any] = {"numbers": self._numbers, "optimizer": self._state, "counts": list(self._counts)}
        return found if self._average is None else {**found, "average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it from a checkpoint."""
        self._numbers[...] = state["numbers"]
        self._state[...] = state["optimizer"]
        if self._average is not None:
            self._average[...] = state["average"]
        step, averaged, product = state["counts"]
        self._counts = (step, averaged, product)
