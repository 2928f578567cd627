# SPDX-License-Identifier: BSD-3-Clause
"""The process: how many threads may work, which instruction set is used, and what was built.

The number of threads never changes a result. It is taken, first come first served, from the argument ``threads=``,
:func:`set_num_threads`, ``FASTNN_NUM_THREADS``, ``OMP_NUM_THREADS``, and what affinity and the container's quota leave
of the processor. Only the argument is taken literally; the others are a limit, below which a call uses what pays.

The instruction set is the best the processor has, or the one named by ``FASTNN_ISA`` when fastnn is imported. It never
changes a result either.
"""

from __future__ import annotations

import os
import sys
import warnings
from functools import cache
from typing import Any

import numpy as np

from . import _core
from .errors import unknown_name
from .threadpools import introduce

MOST_THREADS = 1024
_limit: int | None = None


def check_threads(threads: object, argument: str = "threads") -> int:
    """A number of threads, or an error that names the argument."""
    if isinstance(threads, (bool, np.bool_)) or not isinstance(threads, (int, np.integer)):
        raise TypeError(f"{argument} must be an integer, not {type(threads).__name__}")
    if not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"{argument} must be in 1..{MOST_THREADS}, not {threads}")
    return int(threads)


def set_num_threads(threads: int | None) -> None:
    """Set how many threads the calls of this process may use; None goes back to the default.

    Parameters
    ----------
    threads : int or None
        A limit, 1 to 1024: small networks use fewer. ``threads=`` of a call is taken literally instead.
        ``threadpoolctl.threadpool_limits`` sets it as well.

    Raises
    ------
    ValueError, TypeError
        If it is out of its range, or no integer.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.set_num_threads(1)
    >>> fn.get_num_threads()
    1
    >>> fn.set_num_threads(None)
    """
    global _limit
    _limit = None if threads is None else check_threads(threads)


def get_num_threads() -> int:
    """How many threads a call may use when it does not say so itself.

    Returns
    -------
    int
        As set; else by ``FASTNN_NUM_THREADS`` or ``OMP_NUM_THREADS``, else the processors this process may run on.

    Raises
    ------
    ValueError
        If the environment variable FASTNN_NUM_THREADS is not in 1..1024.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.get_num_threads() >= 1
    True
    """
    introduce(get_num_threads, set_num_threads, _default_threads)
    return _default_threads() if _limit is None else _limit


def _default_threads() -> int:
    own = os.environ.get("FASTNN_NUM_THREADS", "").strip()
    if own:
        if not own.isdecimal() or not 1 <= int(own) <= MOST_THREADS:
            raise ValueError(f"the environment variable FASTNN_NUM_THREADS must be in 1..{MOST_THREADS}, not {own!r}")
        return int(own)
    shared = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # one number per level of nesting
    if shared.isdecimal() and int(shared) >= 1:
        return min(int(shared), MOST_THREADS)
    return min(available_processors(), MOST_THREADS)


MANY = 1024


def choose_threads(threads: int | None, work: float, *, once: bool = True) -> int:
    """The threads of one call: what it asks for, or what pays for so many multiply-adds between two barriers.

    `once`: they are all that the call does, and threads must be woken for it.
    """
    if threads is not None:
        return check_threads(threads)
    if _core.threads_worth(work, MANY, once) == 1:  # first, because asking the system takes its time
        return 1
    return _core.threads_worth(work, get_num_threads(), once)


def available_processors() -> int:
    """Processors this process may run on: its affinity, and at most the whole processors of its container's quota."""
    if hasattr(os, "sched_getaffinity"):
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    quota = _quota()
    return processors if quota is None else max(1, min(processors, int(quota)))


@cache
def _quota(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> float | None:
    """Processors granted by control groups, of version 2 or 1, of this process and all groups above; None: no limit."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        lines = _text(membership).splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = os.path.join(root, "cpu") if controllers else root
        quotas.append(_group_quota(group, 1 if controllers else 2))
        for part in filter(None, path.split("/")):
            group = os.path.join(group, part)
            quotas.append(_group_quota(group, 1 if controllers else 2))
    known = [quota for quota in quotas if quota is not None]
    return min(known, default=None)


def _text(*path: str) -> str:
    with open(os.path.join(*path), encoding="ascii") as file:
        return file.read()


def _group_quota(group: str, version: int) -> float | None:
    try:
        if version == 2:
            limit, period = _text(group, "cpu.max").split()
        else:
            limit = _text(group, "cpu.cfs_quota_us").strip()
            period = _text(group, "cpu.cfs_period_us").strip()
        return int(limit) / int(period) if int(limit) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # no such file at this level, or "max"
        return None


def _select_instruction_set() -> None:
    """At import: what FASTNN_ISA asks for, if it can be had."""
    name = os.environ.get("FASTNN_ISA", "").strip().lower()
    if not name:
        return
    if name not in _core.isa_names():
        raise unknown_name("instruction set in the environment variable FASTNN_ISA:", name, _core.isa_names())
    if not _core.isa_select(name):
        usable = [known for known in _core.isa_names() if _core.isa_supported(known)]
        warnings.warn(
            f"the environment variable FASTNN_ISA is {name!r}, but this processor has {', '.join(usable)}; "
            f"using {_core.isa()}",
            RuntimeWarning,
            stacklevel=2,
        )


_select_instruction_set()
introduce(get_num_threads, set_num_threads, _default_threads)


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Print what fastnn was built with and what it uses here; with ``mode="dicts"`` return it instead.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, default "stdout"
        Print it, or return it.

    Returns
    -------
    dict of str to values, or None
        With "dicts" what is printed else, by name.

    Raises
    ------
    ValueError
        If mode is something else.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.show_config("dicts")["instruction set"] in fn.show_config("dicts")["instruction sets built in"]
    True
    """
    from . import __version__

    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode must be 'stdout' or 'dicts', not {mode!r}")
    names = _core.isa_names()
    config = {
        "fastnn": __version__,
        "numerics version": _core.numerics_version,
        "instruction set": _core.isa(),
        "instruction sets built in": list(names),
        "instruction sets of this processor": [name for name in names if _core.isa_supported(name)],
        "threads": get_num_threads(),
        "thread backend": _core.threads_backend(),
        "processors available": available_processors(),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "platform": sys.platform,
    }
    if mode == "dicts":
        return config
    for key, value in config.items():
        print(f"{key + ':':<36}{', '.join(value) if isinstance(value, list) else value}")
    return None
