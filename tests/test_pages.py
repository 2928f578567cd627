# SPDX-License-Identifier: BSD-3-Clause
"""Programs in README.md and in the pages of docs run, block after block, as they stand there.

A page may speak of things its reader has already, such as ``net``, ``X`` and ``y``: they are made here (``READER``),
small. A block that cannot run has the line ``<!-- not run: why -->`` before it; there is none today.
"""

import itertools
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import fastnn as fn

ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n+)?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = {
    name: [(bool(mark), block) for mark, block in BLOCK.findall(path.read_text())] for name, path in PAGES.items()
}
# Where a package is not installed, blocks with these words are left out: how many there are in all pages.
NEEDED = {
    "torch": ("torch|module", 2),
    "onnx": ("onnx", 1),
    "onnxruntime": ("onnxruntime", 1),
    "matplotlib": (r"\.plot\(", 1),
    "sklearn": ("sklearn", 3),
    "pandas": ("pandas", 1),
    "narwhals": ("pandas", 1),
}
PROGRAMS = {
    "README": 1, "callbacks": 1, "data": 4, "derivatives": 2, "health": 1, "interchange": 6, "layers": 1, "metrics": 1,
    "resume": 2, "schedules": 1, "sklearn": 2,
}  # fmt: skip
NOT_RUN = 0


def table(outputs=None):
    """Rows, and numbers or classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = X[:, 0] ** 2 if outputs is None else rng.integers(0, outputs, 200)
    return {"np": np, "fn": fn, "X": X, "y": y, "X_test": rng.normal(size=(20, 4))}


def small(outputs=1, activation=None):
    """A network of the reader's."""
    return {"net": fn.Sequential([fn.Dense(8, "relu"), fn.Dense(outputs, activation)], seed=0)}


def data():
    """A file of numbers, a folder of them, and streams."""
    rng = np.random.default_rng(0)
    rng.normal(size=(300, 64)).astype(np.float32).tofile("features.bin")
    folder = Path("parts")
    folder.mkdir()
    batch = {"X": rng.normal(size=(30, 64)), "y": rng.normal(size=30)}
    for part in range(3):
        np.savez(folder / f"{part}.npz", **batch)

    def endless():
        for _ in itertools.count():
            yield batch["X"], batch["y"]

    return table() | small() | {
        "y": rng.normal(size=300), "folder": folder, "endless": endless, "itertools": itertools,
        "loader": [(batch["X"], batch["y"])] * 3, "parts": [batch] * 3,
        "X1": batch["X"], "y1": batch["y"], "X2": batch["X"], "y2": batch["y"],
    }  # fmt: skip


def my_function(y, output):
    """A metric of the reader's."""
    return float(np.abs(output).mean())


READER = {
    "callbacks": lambda: table() | small(),
    "data": data,
    "health": lambda: table() | small(),
    "layers": lambda: {"fn": fn},
    "metrics": lambda: table(5) | small(5, "softmax") | {"my_function": my_function},
    "resume": lambda: table(10),
    "schedules": lambda: table() | small(),
    "sklearn": lambda: table(3) | {"texts": ["good and cheap", "bad and dear"] * 30, "labels": ["yes", "no"] * 30},
}
"""What a reader of a page has before its first block; nothing where it is not here."""


@pytest.mark.filterwarnings("ignore::UserWarning")  # of convergence, and of a stream's first batch
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_of_a_page_run(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    missing = [words for package, (words, _) in NEEDED.items() if find_spec(package) is None]
    names = READER.get(name, dict)()
    for marked, block in BLOCKS[name]:
        if not marked and not any(re.search(words, block) for words in missing):
            exec(compile(block, str(PAGES[name]), "exec"), names)
    assert names.keys() & {"net", "model"}


def test_no_program_is_forgotten():
    assert {name: len(blocks) for name, blocks in BLOCKS.items() if blocks} == PROGRAMS
    assert sum(text.count("```python") for text in (path.read_text() for path in PAGES.values())) == sum(
        PROGRAMS.values()
    )
    every = [(marked, block) for blocks in BLOCKS.values() for marked, block in blocks]
    assert sum(marked for marked, _ in every) == NOT_RUN
    assert {
        package: sum(bool(re.search(words, block)) for _, block in every) for package, (words, _) in NEEDED.items()
    } == {package: blocks for package, (_, blocks) in NEEDED.items()}


def test_a_marked_program_is_seen():
    text = "<!-- not run: it takes a day -->\n\n```python\na\n```\n\n```python\nb\n```\n"
    assert [(bool(mark), block) for mark, block in BLOCK.findall(text)] == [(True, "a\n"), (False, "b\n")]
