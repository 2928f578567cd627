# SPDX-License-Identifier: BSD-3-Clause
"""Reading weights in one thread while another trains: every reader sees the weights of some completed step.

Readers take no lock and copy nothing as long as nobody writes: they note a token, compute, and look whether the token
is still there, as in a seqlock. If it is not, they compute once more from a copy. A short write (one step) holds a lock
meanwhile; a long one (an epoch) leaves a snapshot for the readers.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock, get_ident
from typing import Any, TypeVar

from numpy.typing import NDArray

from ._memory import allocate

Result = TypeVar("Result")


class SharedWeights:
    """Guards one vector of parameters. There is one writer at a time: its caller sees to that."""

    def __init__(self, params: NDArray[Any]) -> None:
        self._params = params
        self._lock = RLock()  # a signal handler may read while its own thread writes
        self._snapshot: NDArray[Any] | None = None
        self.token: tuple[NDArray[Any]] | None = (params,)  # what readers may read now; None: wait for the lock
        self.owner: int | None = None  # the thread that trains, while its callbacks run and nothing is in flux

    def read(self, work: Callable[[NDArray[Any]], Result]) -> Result:
        """work(parameters), with parameters that did not change meanwhile. It may be called twice."""
        if self.owner == get_ident():
            return work(self._params)
        token = self.token
        if token is not None:
            result = work(token[0])
            if self.token is token:
                return result
        with self._lock:
            source = self._params if self.token is None else self.token[0]
            copy = allocate(source.shape, source.dtype)
            copy[...] = source
        return work(copy)

    def at_rest(self, work: Callable[[], Result]) -> Result:
        """work(), which reads what belongs to the parameters as well, while nobody trains."""
        if self.owner == get_ident():
            return work()
        with self._lock:
            if self.token is None or self.token[0] is not self._params:
                raise RuntimeError("this network is being trained: copy or save it in a callback, or afterwards")
            return work()

    def write(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """work(*arguments), which changes the parameters and runs no Python meanwhile."""
        with self._lock:
            self.token = None
            try:
                return work(*arguments)
            finally:
                self.token = (self._params,)

    def begin(self, snapshot: NDArray[Any]) -> None:
        """Before many steps: readers get a snapshot, made anew at each refresh.

        The end is ``shared.token = (params,)``, an assignment and no call, in a ``finally``: so no signal can come
        before it.
        """
        self._snapshot = snapshot
        self.refresh()

    def refresh(self, source: NDArray[Any] | None = None) -> NDArray[Any]:
        """Let readers see the parameters as they are now, or others, after begin; the snapshot.

        It is overwritten where it lies: whoever was reading it finds another token, and reads again.
        """
        assert self._snapshot is not None
        with self._lock:
            self.token = None
            self._snapshot[...] = self._params if source is None else source
            self.token = (self._snapshot,)
        return self._snapshot
