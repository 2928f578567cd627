# SPDX-License-Identifier: BSD-3-Clause
"""Build and run the C test program: plain, under the address and undefined-behaviour sanitizers, and under the
thread sanitizer; then sweep the vector functions on each instruction set this processor has, and compare their bits.

    python tools/c_tests.py [--cc gcc] [--half first|second --folder FOLDER] [plain] [address] [thread] [sweep]

The first half builds everything, and runs the tests of one thread and the sweep: nothing that would mind to run beside
other work, with less priority. The second half is the tests of threads, on what the first one has left in the folder:
they need the processors for themselves. Ends with the line "N passed, N failed", summed over the runs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import build_plan  # noqa: E402

ARCHITECTURE = build_plan.architecture(sysconfig.get_platform())

SWEEP = "vector_math_sweep.c"
SWEEP_STRIDE = 4099  # a prime: about a million of the 2^32 inputs
SWEEP_LINE = re.compile(r"^(\w+) +largest error .* hash ([0-9a-f]{16})( FAILED)?$", re.MULTILINE)
CLOSING_LINE = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)

VARIANTS = {
    "plain": (),
    "address": build_plan.sanitizer_flags("address,undefined"),
    "thread": build_plan.sanitizer_flags("thread"),
}
"""Name -> flags after all others."""

ENVIRONMENT = {
    "ASAN_OPTIONS": "abort_on_error=0:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:die_after_fork=0",  # children that make threads are what is tested
}


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def must(command: list[str]) -> None:
    done = run(command)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}")


WITH_THREADS = ("random", "parallel", "apart", "pace", "dispatch", "pieces", "network", "predictor")
"""What the thread sanitizer looks at: kernels are leaves of one thread, and tested under the other one."""
ALONE = ("data",)
"""Of one thread, and looked at by it too. (The differences of "gradients" take it minutes, and one thread has no races:
the runs of "network" walk the same code on several.)"""
LONGEST = "network"
"""Which under the thread sanitizer takes longer than all others, and is run by itself."""


def begin_to_compile(
    compiler: str, variants: list[str], folder: Path, pool: ThreadPoolExecutor
) -> dict[str, list[Future[Path]]]:
    """Variant -> objects of the library and of the tests; what several variants compile alike is compiled once."""
    tests = sorted(path.relative_to(ROOT) for path in (ROOT / "tests/c").glob("*.c") if path.name != SWEEP)
    library = build_plan.units(ARCHITECTURE)
    units = [*library, *(build_plan.Unit(str(path), "tests") for path in tests)]
    begun: dict[Path, Future[Path]] = {}
    objects: dict[str, list[Future[Path]]] = {}

    def compiled(command: list[str], output: Path) -> Path:
        output.parent.mkdir(parents=True, exist_ok=True)
        must(command)
        return output

    for variant in variants:
        for unit in units:
            # Kernels that cannot run here need no checks at run time, with which they take four times as long to
            # compile.
            checks = VARIANTS[variant] if runs_here(unit.isa) else ()
            output = folder / (variant if checks else "plain") / unit.name / (Path(unit.source).stem + ".o")
            if output not in begun:
                # All warnings for the library as it is built, so that .ci/run need not compile it with gcc once more.
                as_built = not checks and unit.name != "tests"
                warnings = build_plan.WARNINGS if as_built else ("-Wall", "-Wextra", "-Werror")
                command = build_plan.gnu_command(compiler, unit, output, (*warnings, *checks))
                begun[output] = pool.submit(compiled, command, output)
            objects.setdefault(variant, []).append(begun[output])
    return objects


def link(compiler: str, variant: str, folder: Path, objects: list[Future[Path]]) -> str:
    """The program, built; says how long that took."""
    start = time.perf_counter()
    files = [str(one.result()) for one in objects]
    must([compiler, *files, "-pthread", *VARIANTS[variant], "-lm", "-o", str(folder / variant / "program")])
    return f"---- {variant}: built in {time.perf_counter() - start:.1f} s"


def test(variant: str, folder: Path, chosen: list[str]) -> tuple[int, int, str]:
    """(passed, failed, report) of one run of the program; a run that breaks off counts as one failure more."""
    start = time.perf_counter()
    done = run([str(folder / variant / "program"), *chosen])
    report = f"---- {variant}: ran in {time.perf_counter() - start:.1f} s\n{done.stdout.rstrip()}"
    closing = CLOSING_LINE.findall(done.stdout)
    passed, failed = map(int, closing[-1]) if closing else (0, 0)
    if done.returncode and not failed:
        report += f"\nthe program ended with {done.returncode}"
        failed = 1
    return passed, failed, report


def first_half(compiler: str, parts: list[str], folder: Path) -> Iterator[tuple[int, int, str]]:
    """Builds every program and runs its tests of one thread; and the sweep."""
    of_one_thread = [f"-{name}" for name in WITH_THREADS]
    with ThreadPoolExecutor(os.cpu_count()) as compilers, ThreadPoolExecutor(os.cpu_count()) as pool:
        # Those of which most is left to run first.
        objects = begin_to_compile(compiler, [name for name in reversed(VARIANTS) if name in parts], folder, compilers)
        runs = []
        for variant in objects:
            yield 0, 0, link(compiler, variant, folder, objects[variant])
            chosen = list(ALONE) if variant == "thread" else of_one_thread
            runs.append(pool.submit(test, variant, folder, chosen))
        if "sweep" in parts:
            runs.append(pool.submit(sweep, compiler, folder))
        for finished in runs:
            yield finished.result()


def second_half(parts: list[str], folder: Path) -> Iterator[tuple[int, int, str]]:
    """Runs the tests of threads."""
    runs = [(variant, list(WITH_THREADS)) for variant in ("address", "plain") if variant in parts]
    if "thread" in parts:
        runs = [("thread", [LONGEST]), ("thread", [name for name in WITH_THREADS if name != LONGEST]), *runs]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(lambda one: test(one[0], folder, one[1]), runs)


def runs_here(isa: build_plan.InstructionSet) -> bool:
    """Whether this processor has what the flags of a set ask for; Linux lists it by the compiler's names, save one."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return not isa.gnu
    features = {"prfchw" if name == "3dnowprefetch" else name for name in cpuinfo.read_text().split()}
    return all(flag.removeprefix("-m") in features for flag in isa.gnu if "=" not in flag)


def sweep(compiler: str, folder: Path) -> tuple[int, int, str]:
    """(passed, failed, report): the bound of each function on each set, and the same bits on all sets."""
    start = time.perf_counter()
    sets = [isa for isa in build_plan.INSTRUCTION_SETS[ARCHITECTURE] if runs_here(isa)]
    report = [f"---- sweep: {', '.join(isa.name for isa in sets)}; every {SWEEP_STRIDE}th input"]
    variants = [(isa, real) for isa in sets for real in build_plan.REAL_TYPES]

    def output(variant: tuple[build_plan.InstructionSet, int]) -> str:
        isa, real = variant
        program = folder / f"sweep_{isa.name}_{real}"
        defines = (f"-DFNN_ISA_{isa.name.upper()}=1", f"-DFNN_REAL={real}", "-Icsrc", "-Icsrc/simd")
        must([compiler, *build_plan.GNU_FLAGS, *isa.gnu, *defines, f"tests/c/{SWEEP}", "-lm", "-o", str(program)])
        return run([str(program), str(SWEEP_STRIDE)]).stdout

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outputs = list(pool.map(output, variants))
    passed = failed = 0
    hashes: dict[tuple[str, int], set[str]] = {}
    for (isa, real), text in zip(variants, outputs, strict=True):
        report.append(f"{isa.name}, float{real}:\n{text.rstrip()}")
        lines = SWEEP_LINE.findall(text)
        failed += not lines  # it broke off
        for function, digest, too_far in lines:
            passed, failed = passed + (not too_far), failed + bool(too_far)
            hashes.setdefault((function, real), set()).add(digest)
    for (function, real), digests in hashes.items():
        passed, failed = passed + (len(digests) == 1), failed + (len(digests) > 1)
        if len(digests) > 1:
            report.append(f"{function} of float{real} has different bits on different instruction sets")
    report.append(f"took {time.perf_counter() - start:.1f} s")
    return passed, failed, "\n".join(report)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", help="of: " + ", ".join([*VARIANTS, "sweep"]) + " (default: all)")
    parser.add_argument("--cc", default="gcc", help="a compiler that speaks gcc's options (default: gcc)")
    parser.add_argument("--half", choices=("first", "second"), help="what this run is of two (default: all)")
    parser.add_argument("--folder", type=Path, help="where to build (default: one that is removed in the end)")
    arguments = parser.parse_args()
    parts = arguments.part or [*VARIANTS, "sweep"]
    if unknown := set(parts) - {*VARIANTS, "sweep"}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if arguments.half and not arguments.folder:
        parser.error("--half needs --folder")

    passed = failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = (arguments.folder or Path(name)).resolve()
        halves = {"first": first_half(arguments.cc, parts, folder), "second": second_half(parts, folder)}
        for half in [arguments.half] if arguments.half else halves:
            for more_passed, more_failed, report in halves[half]:
                print(report, flush=True)
                passed, failed = passed + more_passed, failed + more_failed
    print(f"\n{passed} passed, {failed} failed")
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    sys.exit(main())
