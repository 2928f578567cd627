# SPDX-License-Identifier: BSD-3-Clause
"""Programs in the pages of docs run, block after block, as they stand there."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ["derivatives", "interchange"]
# Where a package is not installed, blocks with these words are left out.
NEEDED = {"torch": "torch|module", "onnx": "onnx", "onnxruntime": "onnxruntime", "sklearn": "sklearn|importance"}


@pytest.mark.parametrize("name", PAGES)
def test_the_programs_of_a_page_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = [words for package, words in NEEDED.items() if find_spec(package) is None]
    text = (DOCS / f"{name}.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = {}
    for block in blocks:
        if not any(re.search(words, block) for words in missing):
            exec(compile(block, f"docs/{name}.md", "exec"), names)
    assert "net" in names
