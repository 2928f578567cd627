# SPDX-License-Identifier: BSD-3-Clause
"""Build and run the C test program: plain, under the address and undefined-behaviour sanitizers, and under the
thread sanitizer; then sweep the vector functions on each instruction set this processor has, and compare their bits.

    python tools/c_tests.py [--cc gcc] [plain] [address] [thread] [sweep]

Ends with the line "N passed, N failed", summed over the runs.
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
from concurrent.futures import ThreadPoolExecutor
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


WITH_THREADS = ("data", "random", "parallel", "apart", "pace", "dispatch", "pieces", "network", "predictor")
"""What the thread sanitizer looks at: kernels are leaves of one thread, and tested under the other one."""


def build(compiler: str, variant: str, folder: Path) -> Path:
    """Compile the library and the tests with one set of flags; return the program."""
    extra = VARIANTS[variant]
    tests = sorted(path.relative_to(ROOT) for path in (ROOT / "tests/c").glob("*.c") if path.name != SWEEP)
    library = build_plan.units(ARCHITECTURE)
    units = [*library, *(build_plan.Unit(str(path), "tests") for path in tests)]
    commands, objects = [], []
    for unit in units:
        # Kernels that cannot run here need no checks at run time, with which they take four times as long to compile.
        checks = extra if runs_here(unit.isa) else ()
        output = folder / variant / unit.name / (Path(unit.source).stem + ".o")
        output.parent.mkdir(parents=True, exist_ok=True)
        commands.append(build_plan.gnu_command(compiler, unit, output, ("-Wall", "-Wextra", "-Werror", *checks)))
        objects.append(str(output))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(must, commands))
    program = folder / variant / "tests" / "program"
    must([compiler, *objects, "-pthread", *extra, "-lm", "-o", str(program)])
    return program


def test(compiler: str, variant: str, folder: Path) -> tuple[int, int, str]:
    """(passed, failed, report) of one run of the program; a run that breaks off counts as one failure more."""
    start = time.perf_counter()
    program = build(compiler, variant, folder)
    built = time.perf_counter()
    done = run([str(program), *(WITH_THREADS if variant == "thread" else ())])
    report = f"---- {variant}: built in {built - start:.1f} s, ran in {time.perf_counter() - built:.1f} s\n"
    report += done.stdout.rstrip()
    closing = CLOSING_LINE.findall(done.stdout)
    passed, failed = map(int, closing[-1]) if closing else (0, 0)
    if done.returncode and not failed:
        report += f"\nthe program ended with {done.returncode}"
        failed = 1
    return passed, failed, report


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
    arguments = parser.parse_args()
    parts = arguments.part or [*VARIANTS, "sweep"]
    if unknown := set(parts) - {*VARIANTS, "sweep"}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")

    passed = failed = 0
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        # The slowest first: under the thread sanitizer.
        runs = [pool.submit(test, arguments.cc, part, Path(name)) for part in reversed(VARIANTS) if part in parts]
        runs += [pool.submit(sweep, arguments.cc, Path(name))] if "sweep" in parts else []
        for finished in runs:
            more_passed, more_failed, report = finished.result()
            print(report, flush=True)
            passed, failed = passed + more_passed, failed + more_failed
    print(f"\n{passed} passed, {failed} failed")
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    sys.exit(main())
