# SPDX-License-Identifier: BSD-3-Clause
"""The floating-point state of the calling thread, read and written by way of the C library's fenv.h.

Linux with glibc on x86-64 and AArch64; elsewhere `KNOWN` is False and the state reads as 0.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_machine = platform.machine() if sys.platform == "linux" and platform.libc_ver()[0] == "glibc" else ""
KNOWN = _machine in ("x86_64", "aarch64")
# Where the control word lies in fenv_t, and what of it is control: on x86-64 MXCSR also holds six sticky flags.
_OFFSET, _CONTROL = (28, 0xFFFF_FFC0) if _machine == "x86_64" else (0, 0xFFFF_FFFF)
# FTZ and DAZ of MXCSR; FZ of FPCR.
FLUSHING = 0x8040 if _machine == "x86_64" else 1 << 24
UPWARDS = 0x4000 if _machine == "x86_64" else 1 << 22  # rounding mode
_libm = ctypes.CDLL("libm.so.6") if KNOWN else None


def _read() -> ctypes.Array[ctypes.c_char]:
    environment = ctypes.create_string_buffer(64)
    assert _libm is not None and _libm.fegetenv(environment) == 0
    return environment


def word() -> int:
    """The control word, on x86-64 with its flags."""
    return struct.unpack_from("<I", _read(), _OFFSET)[0] if KNOWN else 0


def set_word(value: int) -> None:
    if _libm is not None:
        environment = _read()
        struct.pack_into("<I", environment, _OFFSET, value)
        assert _libm.fesetenv(environment) == 0


def control() -> int:
    """Rounding, traps, denormals: without the flags that any arithmetic sets."""
    return word() & _CONTROL


def set_control(value: int) -> None:
    set_word(value | (word() & ~_CONTROL))


@contextmanager
def changed(bits: int) -> Iterator[None]:
    """In a state with some control bits set, as a careless library would leave it."""
    before = control()
    set_control(before | bits)
    try:
        yield
        assert control() == before | bits, "the caller's floating-point state was changed"
    finally:
        set_control(before)
