# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of exact resume share: every checkpoint of a run, how far it was, and going on from it. Not a test.

A run is a function run(name, checkpoint=, resume=, ...) that makes everything anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from processes import python

import fastnn as fn
from fastnn import checkpoint, files

EVERY_BATCH = 1e-9  # seconds
ONLY_AT_THE_END = 10**9  # epochs
HERE = Path(__file__).parent


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


def gone_on(run: Any, name: str, content: bytes, folder: Path, **changed: Any) -> Any:
    """What the run returns that goes on from a checkpoint."""
    path = folder / "run.ckpt"
    path.write_bytes(content)
    return run(name, checkpoint=fn.RunCheckpoint(path, epochs=ONLY_AT_THE_END), resume=True, **changed)


def gone_on_elsewhere(run: Any, name: str, contents: list[bytes], folder: Path) -> list[str]:
    """The digests of runs that go on from each of these checkpoints in another process, on three threads."""
    paths = [folder / f"{number}.ckpt" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    said = python(
        """
        import importlib, sys
        folder, module, name, *paths = sys.argv[1:]
        sys.path.append(folder)
        import fastnn as fn
        from resume_runs import digest
        run = importlib.import_module(module).run
        for path in paths:
            print(digest(run(name, checkpoint=fn.RunCheckpoint(path, epochs=10**9), resume=True, threads=3)))
        """,
        HERE, run.__module__, name, *paths,
    )  # fmt: skip
    return said.split()


def stopped_again_and_again(run: Any, name: str, path: Path, saver: type) -> tuple[Any, int]:
    """What a run returns at last that makes one batch in each call, as if killed after the first checkpoint it wrote;
    and how often it was. `saver` writes another one when an exception comes, which a kill leaves no time for."""
    real = checkpoint.CheckpointFiles.write

    def write(self: Any, content: bytes) -> None:
        real(self, content)
        raise RuntimeError("killed")

    killed = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.CheckpointFiles, "write", write)
        patch.setattr(saver, "interrupted", lambda self, error: None)
        while True:
            try:
                return run(name, checkpoint=fn.RunCheckpoint(path, seconds=EVERY_BATCH), resume=True), killed
            except RuntimeError as error:
                assert str(error) == "killed"
                killed += 1
