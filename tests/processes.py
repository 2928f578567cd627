# SPDX-License-Identifier: BSD-3-Clause
"""Python in a process of its own, for tests of imports, signals, forks and limits. Not a test."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable


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


def killed_again_and_again(script: str, *arguments: object, moments: Iterable[float]) -> str:
    """What is printed by a process that is killed (SIGKILL) so many seconds after its beginning, once for each moment,
    and begun again each time, and in the end left alone; a process that ends before its moment is the last one.

    The script defines attempt(), which each of the processes calls; they are forked from one that has run the script,
    because imports take many times as long as what is to be killed. Not for Windows.
    """
    return python(
        textwrap.dedent(script)
        + textwrap.dedent(f"""
        import os, signal, sys, time, traceback
        for moment in {[*moments, None]}:
            child = os.fork()
            if child == 0:
                try:
                    attempt()
                    sys.stdout.flush()
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
            if moment is not None:
                time.sleep(moment)
                os.kill(child, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status != -signal.SIGKILL:
                sys.exit(status)
        """),
        *arguments,
    )  # fmt: skip
