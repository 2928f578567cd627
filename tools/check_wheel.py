# SPDX-License-Identifier: BSD-3-Clause
"""Look into a wheel: what it must hold, what must not travel in it, and how its library is hardened.

    python tools/check_wheel.py dist/fastnn_cpu-*.whl

The library is read with ``nm`` and ``readelf`` (binutils), so for Linux wheels only.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIRED = ("fastnn/__init__.py", "fastnn/py.typed", "fastnn/_core.pyi", "fastnn/_core.abi3.so")
ALLOWED = re.compile(r"fastnn/(.*\.py|.*\.pyi|py\.typed|data/[^/]+|_core\.abi3\.so)|fastnn_cpu-[^/]+\.dist-info/.+")
LARGEST_LIBRARY = 2_000_000  # bytes; with debug information it would be several times that


def output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def faults_of_library(path: Path) -> list[str]:
    exported = [line.split()[-1] for line in output("nm", "-D", "--defined-only", str(path)).splitlines()]
    segments, dynamic = output("readelf", "-lW", str(path)), output("readelf", "-dW", str(path))
    needed = set(re.findall(r"NEEDED.*\[(.+)\]", dynamic))
    checks = {
        f"exports {exported}, not PyInit__core alone": exported == ["PyInit__core"],
        "has no read-only relocations (RELRO)": "GNU_RELRO" in segments,
        "binds lazily (no NOW)": "BIND_NOW" in dynamic,
        "has an executable stack": re.search(r"GNU_STACK.* RW ", segments) is not None,
        "is not stripped": ".symtab" not in output("readelf", "-SW", str(path)),
        f"is larger than {LARGEST_LIBRARY} bytes": path.stat().st_size <= LARGEST_LIBRARY,
        f"needs {sorted(needed)}": all(re.match(r"(libc|libm|libpthread|ld-linux.*)\.", name) for name in needed),
    }
    return [f"the library {fault}" for fault, passed in checks.items() if not passed]


def faults_of_wheel(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as wheel, tempfile.TemporaryDirectory() as folder:
        names = wheel.namelist()
        faults = [f"{name} is missing" for name in REQUIRED if name not in names]
        faults += [f"{name} does not belong in a wheel" for name in names if not ALLOWED.fullmatch(name)]
        if "fastnn/_core.abi3.so" in names:
            faults += faults_of_library(Path(wheel.extract("fastnn/_core.abi3.so", folder)))
    if "-cp311-abi3-" not in path.name:
        faults.append("is not tagged cp311-abi3")
    return faults


def main(paths: list[str]) -> int:
    if not paths:
        raise SystemExit(__doc__)
    failed = False
    for path in map(Path, paths):
        faults = faults_of_wheel(path)
        print(f"{path.name}, {path.stat().st_size / 1e3:.0f} kB: {'; '.join(faults) or 'as it should be'}")
        failed = failed or bool(faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
