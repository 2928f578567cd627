# SPDX-License-Identifier: BSD-3-Clause
"""Python in a process of its own, for tests of imports, signals, forks and limits. Not a test."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap


def python(script: str, *arguments: object, timeout: float = 120, fails: bool = False, **environment: str) -> str:
    """What a script prints on standard output; with fails=True it must fail, and the result is its standard error.

    Environment variables that would change fastnn are not passed on, except FASTNN_ISA.
    """
    kept = {name: value for name, value in os.environ.items() if name not in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, check=False, env=kept | environment,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stderr if fails else done.stdout
