# SPDX-License-Identifier: BSD-3-Clause
"""The one-way rule of docs/architecture.md: an include or an import points down only."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"

# From the registers up. A file may include what lies in its own layer and below.
C_LAYERS = ["simd", "kernels", "drivers"]
# What only one file may know.
THREADS = {"parallel.c", "parallel.h", "apart.h", "gate.h"}
FORBIDDEN_EVERYWHERE = {"Python.h", "numpy/arrayobject.h"}
THREAD_HEADERS = {"omp.h", "pthread.h", "threads.h", "linux/futex.h"}
VECTOR_HEADERS = {"immintrin.h", "arm_neon.h"}
ALLOCATION = re.compile(r"\b(malloc|calloc|realloc|aligned_alloc|posix_memalign|alloca|free)\s*\(")


def c_files() -> list[Path]:
    files = sorted(CSRC.rglob("*.[ch]"))
    assert len(files) > 20, "the C sources are not where this test looks for them"
    return files


def layer(path: Path) -> int:
    parts = path.relative_to(CSRC).parts
    return C_LAYERS.index(parts[0]) if len(parts) > 1 else C_LAYERS.index("drivers")


def includes(path: Path) -> list[tuple[str, bool]]:
    """(name, whether in quotes) of each include."""
    found = re.findall(r'^\s*#\s*include\s+(["<])([^">]+)[">]', path.read_text(), re.MULTILINE)
    return [(name, mark == '"') for mark, name in found]


@pytest.mark.parametrize("path", c_files(), ids=lambda path: str(path.relative_to(CSRC)))
def test_includes_point_down(path: Path) -> None:
    for name, in_quotes in includes(path):
        assert name not in FORBIDDEN_EVERYWHERE, f"{path.name} includes {name}: csrc does not know Python"
        if name in THREAD_HEADERS:
            assert path.name in THREADS, f"{path.name} includes {name}: threads are known in parallel.c only"
        if name in VECTOR_HEADERS:
            assert layer(path) == 0, f"{path.name} includes {name}: registers are known in simd only"
        if in_quotes:
            target = (path.parent / name).resolve()
            assert target.is_file(), f"{path.name} includes {name}, which is not there"
            assert layer(target) <= layer(path), f"{path.name} includes {name}, which lies above it"


def test_kernels_do_not_allocate_or_know_layers() -> None:
    for path in c_files():
        if layer(path) == C_LAYERS.index("drivers"):
            continue
        text = path.read_text()
        assert not ALLOCATION.search(text), f"{path.name} allocates"
        assert "fnn_network" not in text and "fnn_op" not in re.sub(r"fnn_optimizer\w*", "", text), (
            f"{path.name} knows what a network is"
        )


def test_only_threads_allocate_in_c() -> None:
    for path in c_files():
        if path.name not in THREADS:
            assert not ALLOCATION.search(path.read_text()), f"{path.name} allocates: the caller owns all memory"


def test_instructions_spelled_out_are_right_in_both_syntaxes() -> None:
    """Operands of AT&T in the order of Intel compute something else, and -masm=intel may be among a user's flags."""
    text = "".join(path.read_text() for path in sorted(CSRC.glob("simd/avx*.h")))
    templates = re.findall(r"__asm__(?: volatile)?\((.*?) :", text)
    assert templates, "no instruction is spelled out any more: this test can go"
    for template in templates:
        att, _, intel = template.partition(" {")[2].rstrip('}"').partition("|")
        assert len(att) > 1 and intel.split(", ") == att.split(", ")[::-1], (
            f"{template}: operands are to be {{%1, %0|%0, %1}}"
        )


def test_drivers_do_not_know_an_instruction_set() -> None:
    for path in c_files():
        if layer(path) == C_LAYERS.index("drivers") and path.name != "dispatch.c":
            text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
            text = re.sub(r"_mm_(prefetch|pause|getcsr|setcsr)\b", "", text)  # hints and control, no vectors
            assert not re.search(r"FNN_ISA_|_mm\d*_|VF_LANES|__m\d", text), f"{path.name} knows an instruction set"


def imported_by(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return {node.module.split(".")[0]}
    return set()


def imported(path: Path) -> set[str]:
    return set().union(*map(imported_by, ast.walk(ast.parse(path.read_text()))))


def test_the_package_does_not_import_what_stands_above_it() -> None:
    files = sorted((ROOT / "fastnn").rglob("*.py"))
    assert len(files) > 8
    for path in files:
        assert not imported(path) & {"benchmarks", "examples", "tests", "pickle", "mmap"}, path.name


OPTIONAL = {"onnx", "onnxruntime", "matplotlib", "torch", "keras", "tensorflow"}


def test_optional_packages_are_imported_inside_functions_only() -> None:
    for path in sorted((ROOT / "fastnn").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                found = imported_by(node) & OPTIONAL
                assert not found, f"{path.name} imports {found} when it is imported itself"
    for name in ("interchange.py", "transplant.py", "weights.py"):
        assert imported(ROOT / "fastnn" / name) <= {"__future__", "collections", "dataclasses", "numpy", "typing"}


def test_only_the_estimators_know_scikit_learn() -> None:
    for path in sorted((ROOT / "fastnn").rglob("*.py")):
        if path.parent.name != "sklearn":
            assert not imported(path) & {"sklearn"}, path.name
            assert not re.search(r"from \.sklearn|import sklearn", path.read_text(encoding="utf-8")), path.name


def test_the_boundary_includes_the_interface_only() -> None:
    text = "".join(path.read_text() for path in (ROOT / "fastnn").rglob("*.px[di]"))
    headers = set(re.findall(r'cdef extern from "([^"]+)"', text))
    ours = {name for name in headers if (CSRC / name).exists()}
    assert ours == {"fastnn.h"}, f"the boundary sees {ours}"
