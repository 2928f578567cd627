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
        self._step = 0

    def take(self, parameters: Parameters, state: _core.OptimizerState) -> None:
        """Copy them from a network."""
        self._numbers[...] = parameters.numbers
        self._state[...] = state.array
        self._step = state.step

    def put(self, parameters: Parameters, state: _core.OptimizerState) -> None:
        """Copy them back."""
        parameters.numbers[...] = self._numbers
        state.array[...] = self._state
        state.step = self._step
