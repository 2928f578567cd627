# SPDX-License-Identifier: BSD-3-Clause
"""The compile plan: which C sources make up the library, how often each is compiled, and with which flags.

This is the only place that knows. ``setup.py`` builds the Python extension from it; ``tools/c_tests.py`` and
``tools/compile_everywhere.py`` build the same units by hand. It imports nothing but the standard library.

To add a C file, add its name to ``PER_SET``, ``PER_TYPE`` or ``ONCE``. To add an instruction set, add one line to
``INSTRUCTION_SETS``. Headers need no mention: every file under ``csrc`` that is not listed here counts as one.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent

# ---- the sources ----------------------------------------------------------------------------------------------------

PER_SET = ("csrc/kernels/kernels.c",)
"""Once for each instruction set and real type: -DFNN_ISA_AVX2=1 -DFNN_ISA=avx2 -DFNN_REAL=32."""

PER_TYPE = (
    "csrc/plan.c",
    "csrc/network.c",
    "csrc/layers.c",
    "csrc/batch.c",
    "csrc/dense.c",
    "csrc/loss.c",
    "csrc/optimizer.c",
    "csrc/epoch.c",
    "csrc/pass.c",
    "csrc/predict.c",
    "csrc/predictor.c",
    "csrc/standalone.c",
)
"""Once for each real type: -DFNN_REAL=32 and -DFNN_REAL=64."""

ONCE = (
    "csrc/entry.c",
    "csrc/dispatch.c",
    "csrc/parallel.c",
    "csrc/pace.c",
    "csrc/random.c",
    "csrc/data.c",
)
"""Once. All of them are told which sets there are (-DFNN_HAVE_AVX2=1 ...); only dispatch.c asks."""

REAL_TYPES = (32, 64)


@dataclass(frozen=True)
class InstructionSet:
    """One set of vector instructions: its name everywhere, and what makes a compiler use it."""

    name: str
    gnu: tuple[str, ...] = ()
    msvc: tuple[str, ...] = ()


_AVX2 = ("-mavx2", "-mfma", "-mprfchw")
_AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", *_AVX2, "-mprefer-vector-width=512")
_GENERIC = InstructionSet("generic")  # the architecture's baseline: on x86_64 that is without FMA

INSTRUCTION_SETS = {
    "x86_64": (
        InstructionSet("avx512", _AVX512, ("/arch:AVX512",)),
        InstructionSet("avx2", _AVX2, ("/arch:AVX2",)),
        _GENERIC,
    ),
    "aarch64": (InstructionSet("neon"), _GENERIC),
    "other": (_GENERIC,),
}
"""Architecture -> its sets, best first."""

# ---- the flags ------------------------------------------------------------------------------------------------------
# Results must not depend on the compiler, so nothing here lets it reorder, contract or approximate arithmetic.
# -fno-math-errno only lets sqrt() and fma() be single instructions. -fno-trapping-math is left out: it has bought no
# measured speed. Link-time optimization is off, lest code of one instruction set be merged into another's.

GNU_FLAGS = (
    "-O3",
    "-std=c11",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-fno-lto",
    "-g0",
    "-DNDEBUG",
)
MSVC_FLAGS = ("/O2", "/std:c11", "/experimental:c11atomics", "/fp:precise", "/DNDEBUG")

GNU_BOUNDARY_FLAGS = ("-O2", "-ffp-contract=off", "-fvisibility=hidden", "-fno-lto", "-g0", "-DNDEBUG")
"""Of the Cython module, which does no arithmetic; it is written for the compiler's default dialect."""

HARDENING = ("-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2")
HARDENING_LINK = ("-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack", "-s")
"""Linux only."""

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Werror")
"""For the tools; never in a user's build."""

FAST_MATH = frozenset(
    {
        "-Ofast",
        "-ffast-math",
        "-funsafe-math-optimizations",
        "-fassociative-math",
        "-freciprocal-math",
        "-ffinite-math-only",
        "-fno-signed-zeros",
    }
)
"""Flags dropped from a user's CFLAGS: they change results, and with gcc 12, when linking, the whole process's
treatment of denormal numbers."""


def sanitizer_flags(sanitizers: str) -> tuple[str, ...]:
    """Flags, after all others, of a build under sanitizers such as ``"address,undefined"``; also to link with."""
    return (
        "-O1",
        "-g",
        "-fno-omit-frame-pointer",
        "-fno-wrapv",
        "-UNDEBUG",
        "-U_FORTIFY_SOURCE",
        f"-fsanitize={sanitizers}",
        "-fno-sanitize-recover=all",
    )


@dataclass(frozen=True)
class Threads:
    """One backend of csrc/parallel.c: flags to compile and link with."""

    define: str
    gnu: tuple[str, ...] = ()
    msvc: tuple[str, ...] = ()


THREADS = {
    "posix": Threads("FNN_THREADS_POSIX", ("-pthread",)),
    "openmp": Threads("FNN_THREADS_OPENMP", ("-fopenmp",), ("/openmp",)),
    "serial": Threads("FNN_THREADS_SERIAL"),
}


def default_threads(platform: str, msvc: bool) -> str:
    """The backend of a platform named as by ``sysconfig.get_platform()``."""
    if not platform.startswith("win"):
        return "posix"
    return "openmp" if msvc else "serial"


# ---- the units ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """One run of the compiler."""

    source: str  # relative to the root
    name: str  # of the folder its object lies in: one source compiled twice must not meet its other object
    defines: tuple[tuple[str, str], ...] = ()
    isa: InstructionSet = _GENERIC


def units(architecture: str) -> list[Unit]:
    """Every unit of the library, for an architecture of ``INSTRUCTION_SETS``."""
    sets = INSTRUCTION_SETS[architecture]
    plan = []
    for isa in sets:
        for real in REAL_TYPES:
            isa_defines = ((f"FNN_ISA_{isa.name.upper()}", "1"), ("FNN_ISA", isa.name), ("FNN_REAL", str(real)))
            plan += [Unit(source, f"{isa.name}_{real}", isa_defines, isa) for source in PER_SET]
    for real in REAL_TYPES:
        plan += [Unit(source, f"float{real}", (("FNN_REAL", str(real)),)) for source in PER_TYPE]
    have = tuple((f"FNN_HAVE_{isa.name.upper()}", "1") for isa in sets)
    return plan + [Unit(source, "once", have) for source in ONCE]


def headers() -> list[Path]:
    """All files under csrc that a unit may include: every file that is not itself a unit."""
    sources = {ROOT / source for source in (*PER_SET, *PER_TYPE, *ONCE)}
    files = sorted(path for path in (ROOT / "csrc").rglob("*") if path.is_file() and path not in sources)
    if forgotten := [path.name for path in files if path.suffix == ".c"]:
        raise LookupError(f"build_plan.py does not say how to compile {', '.join(forgotten)}")
    return files


def architecture(platform: str) -> str:
    """The architecture of a platform named as by ``sysconfig.get_platform()``, such as ``linux-x86_64``."""
    # From the platform name and not from the running machine, so that cross-compilation finds the target.
    machine = platform.rsplit("-", 1)[-1].lower()
    if machine in ("x86_64", "amd64"):
        return "x86_64"
    if machine in ("aarch64", "arm64"):
        return "aarch64"
    return "other"


def gnu_command(
    compiler: str, unit: Unit, output: str | Path, extra: tuple[str, ...] = (), threads: str = "posix"
) -> list[str]:
    """The command with which a compiler that speaks gcc's options compiles a unit; for the tools."""
    backend = THREADS[threads]
    return [
        *shlex.split(compiler),
        *GNU_FLAGS,
        *unit.isa.gnu,
        *backend.gnu,
        f"-D{backend.define}=1",
        *(f"-D{name}={value}" for name, value in unit.defines),
        "-Icsrc",
        *extra,
        *("-c", unit.source, "-o", str(output)),
    ]
