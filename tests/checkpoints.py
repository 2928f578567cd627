# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of exact resume share: every checkpoint of a run, and how far it was. Not a test."""

from __future__ import annotations

from typing import Any

import pytest

import fastnn as fn
from fastnn import checkpoint, files

EVERY_BATCH = 1e-9  # seconds
ONLY_AT_THE_END = 10**9  # epochs


def place(content: bytes) -> tuple[int, int]:
    """Epochs and steps done in a checkpoint."""
    said = files.configuration(content, "these bytes")["run"]
    return said["epoch"], said["steps"]


def written_by(train: Any, path: Any) -> tuple[list[bytes], Any]:
    """Every checkpoint that train(checkpoint) wrote, as bytes, and what it returned."""
    contents: list[bytes] = []
    real = checkpoint.CheckpointFiles.write

    def write(self: Any, content: bytes) -> None:
        contents.append(content)
        real(self, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.CheckpointFiles, "write", write)
        return contents, train(fn.RunCheckpoint(path, seconds=EVERY_BATCH))
