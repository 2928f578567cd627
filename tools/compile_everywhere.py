# SPDX-License-Identifier: BSD-3-Clause
"""Compile every unit of csrc for every platform within reach, with warnings as errors, and link the result.

    python tools/compile_everywhere.py [--link] [--but TARGET] [TARGET ...]

gcc and clang compile and link for this machine, with each way to make threads; ``python -m ziglang cc`` (pip install
ziglang) compiles for Linux, Windows and macOS on x86_64 and aarch64 (kernels, which know of no system, are optimized
for one system of each: that takes most of the time), and with --link links as well, for which it first builds the C
libraries of these systems: minutes, the first time. A compiler that is not installed is a failure: CI must not pass by
having nothing to do. Prints a table and, below it, what the compilers said; exits 1 on any warning.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import build_plan  # noqa: E402

ZIG = f"{sys.executable} -m ziglang cc -target"


SYSTEMS = {"linux-gnu.2.17": "posix", "linux-musl": "posix", "windows": "serial", "macos": "posix"}
"""Which zig compiles for, and the way to make threads there."""

KERNELS = "csrc/kernels/kernels.c"
"""Knows of a system no more than its headers, and takes longer to compile than everything else."""


@dataclass
class Target:
    """One compiler, one platform, one way to make threads."""

    name: str
    compiler: str
    architecture: str
    threads: str
    only: str = ""  # the one source to compile; without it all are, and then linked
    plain_kernels: bool = False  # not optimized: another target of this compiler and architecture has them so
    complaints: list[str] = field(default_factory=list)
    units: int = 0
    seconds: float = 0.0


def targets() -> Iterator[Target]:
    here = build_plan.architecture(f"-{platform.machine()}")
    # The way to make threads reaches one file. (clang's omp.h is a package of its own.)
    threads_only = "csrc/parallel.c"
    for compiler in ("gcc", "clang"):
        yield Target(f"{compiler} posix", compiler, here, "posix")
        yield Target(f"{compiler} serial", compiler, here, "serial", threads_only)
    yield Target("gcc openmp", "gcc", here, "openmp", threads_only)
    for architecture in ("x86_64", "aarch64"):
        for system, threads in SYSTEMS.items():
            suffix = "-gnu" if system == "windows" else ""
            yield Target(f"{architecture}-{system}", f"{ZIG} {architecture}-{system}{suffix}", architecture, threads,
                         plain_kernels=system != "linux-gnu.2.17")  # fmt: skip


def run(target: Target, command: list[str], what: str) -> None:
    start = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode or done.stdout.strip():
            target.complaints.append(f"{target.name}: {what}\n{done.stdout.rstrip()}")
    except OSError as error:
        target.complaints.append(f"{target.name}: {what}\n{error}")
    target.seconds += time.perf_counter() - start


def compile_and_link(chosen: list[Target], folder: Path, link_all: bool) -> None:
    jobs, links = [], []
    for number, target in enumerate(chosen):
        objects = []
        for unit in build_plan.units(target.architecture):
            if target.only not in ("", unit.source):
                continue
            output = folder / str(number) / unit.name / (Path(unit.source).stem + ".o")
            output.parent.mkdir(parents=True, exist_ok=True)
            extra = (*build_plan.WARNINGS, *(() if "windows" in target.name else ("-fPIC",)))
            if target.plain_kernels and unit.source == KERNELS and not link_all:
                extra = (*extra, "-Xclang", "-disable-llvm-passes")
            command = build_plan.gnu_command(target.compiler, unit, output, extra, target.threads)
            what = " ".join((unit.source, *(f"-D{name}={value}" for name, value in unit.defines)))
            jobs.append((target, command, what))
            objects.append(str(output))
        target.units = len(objects)
        if not target.only and (link_all or "ziglang" not in target.compiler):
            library = str(folder / str(number) / "library")
            # No symbol may be missing: the linkers of Windows and macOS say so unasked.
            flags = ["-Wl,-z,defs"] if "windows" not in target.name and "macos" not in target.name else []
            flags += [*build_plan.THREADS[target.threads].gnu, "-lm"]
            command = [*target.compiler.split(), "-shared", *objects, *flags, "-o", library]
            links.append((target, command, "link"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: run(*job), jobs))
        list(pool.map(lambda job: run(*job), [link for link in links if not link[0].complaints]))


def main() -> int:
    known = list(targets())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="*", help="of: " + ", ".join(target.name for target in known))
    parser.add_argument("--but", action="append", default=[], metavar="TARGET", help="one to leave out")
    parser.add_argument("--link", action="store_true", help="link for the other systems too")
    arguments = parser.parse_args()
    names = arguments.target
    if unknown := set(arguments.but) - {target.name for target in known}:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    chosen = [target for target in known if (not names or target.name in names) and target.name not in arguments.but]
    if not chosen:
        parser.error("no such target")

    build_plan.headers()  # no source is left out of the plan
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        compile_and_link(chosen, Path(folder), arguments.link)
    print(f"{'target':<24} {'threads':<8} {'units':>5} {'seconds':>8}  result")
    for target in chosen:
        result = f"{len(target.complaints)} with warnings or errors" if target.complaints else "clean"
        print(f"{target.name:<24} {target.threads:<8} {target.units:>5} {target.seconds:>8.1f}  {result}")
    for target in chosen:
        for complaint in target.complaints:
            print(f"\n{complaint}")
    failed = sum(bool(target.complaints) for target in chosen)
    print(f"\n{len(chosen) - failed} of {len(chosen)} targets clean in {time.perf_counter() - start:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
