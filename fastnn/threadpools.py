# SPDX-License-Identifier: BSD-3-Clause
"""fastnn's threads among the thread pools that threadpoolctl knows: ``threadpool_limits(1)`` holds for them, too.

threadpoolctl finds libraries by the names of their files, and is told of ours once it has been imported by somebody.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from . import _core

_known_to: object = None


def introduce(get: Callable[[], int], limit: Callable[[int | None], None], default: Callable[[], int]) -> None:
    """Tell threadpoolctl, if it is there and has not been told, how many threads we use and how to limit them.

    Setting the number that is the default anyway takes the limit away: that is how threadpoolctl ends a limit.
    """
    global _known_to
    library = sys.modules.get("threadpoolctl")
    if library is None or library is _known_to:
        return
    _known_to = library
    if not hasattr(library, "LibController"):  # before version 3.2, or half imported
        return

    class FastnnController(library.LibController):  # type: ignore[misc, name-defined]
        """See https://github.com/joblib/threadpoolctl, "Implement a custom library controller"."""

        user_api = internal_api = "fastnn"
        filename_prefixes = (os.path.basename(_core.__file__).lower(),)
        check_symbols = ("PyInit__core",)

        def get_num_threads(self) -> int:
            return get()

        def set_num_threads(self, threads: int) -> None:
            limit(None if threads == default() else threads)

        def get_version(self) -> str:
            from . import __version__

            return __version__

    library.register(FastnnController)
