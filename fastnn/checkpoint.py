# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints of a run: how often one is written, and the two files that hold the last ones.

A checkpoint is a model file (``files.py``: safetensors, a digest of every byte, no code) that also says where training
was; ``resume.py`` knows what is in it. The newest has the path that was given, the one before it the same path with
".previous": whatever happens meanwhile, a whole one is there.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

from . import files
from .arguments import file_path, positive, true_or_false, whole_number
from .callbacks import Callback

USUAL_SECONDS = 60.0  # of work that may be lost, if nothing else is asked for


class RunCheckpoint:
    """How often ``fit(checkpoint=...)`` writes down where it is, so that ``resume=True`` goes on from there.

    Beside that, a checkpoint is written when ``fit`` ends, and when Ctrl-C or another exception ends it. The callback
    :class:`Checkpoint` is for models to keep; this is for runs to go on with.

    Parameters
    ----------
    path : str or path-like
        The file of the newest checkpoint. The one before it has the same name and ".previous".
    epochs : int, optional
        Write after every so many epochs.
    seconds : float, optional
        Write when so many seconds have gone by since the last one, also in the middle of an epoch. Both may be given;
        default, if neither is: 60 seconds.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type. What ``fit`` raises about the file: docs/resume.md.

    Examples
    --------
    >>> import numpy as np, fastnn as fn, os, tempfile
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> def run(epochs, checkpoint=None):
    ...     net = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(1)], seed=0)
    ...     net.fit(X, X**2, epochs=epochs, checkpoint=checkpoint, resume=checkpoint is not None, verbose=0)
    ...     return net
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     every = fn.RunCheckpoint(os.path.join(folder, "run.ckpt"), epochs=2)
    ...     stopped = run(5, every)    # as if it had been interrupted there
    ...     net = run(9, every)        # goes on: epochs is the total
    >>> bool((net.params == run(9).params).all())
    True
    """

    def __init__(self, path: str | os.PathLike[str], epochs: int | None = None, seconds: float | None = None) -> None:
        self.path = file_path(path, "checkpoint: path")
        self.epochs = None if epochs is None else whole_number(epochs, "epochs")
        if seconds is None and epochs is None:
            seconds = USUAL_SECONDS
        self.seconds = None if seconds is None else positive(seconds, "seconds")

    def __repr__(self) -> str:
        return f"RunCheckpoint({self.path!r}, epochs={self.epochs}, seconds={self.seconds})"


def resolve_checkpoint(asked: object, resume: object) -> RunCheckpoint | None:
    """What ``fit`` was asked for: an object, a path, or None for no checkpoints."""
    resumes = true_or_false(resume, "resume")
    if asked is None:
        if resumes:
            raise ValueError("resume=True needs checkpoint='run.ckpt' or the like: the file to go on from")
        return None
    if isinstance(asked, RunCheckpoint):
        return asked
    if isinstance(asked, Callback):
        raise TypeError(
            f"checkpoint must be a path or a RunCheckpoint(path, ...); a {type(asked).__name__} belongs into callbacks"
        )
    if isinstance(asked, (str, os.PathLike)):
        return RunCheckpoint(asked)
    raise TypeError(f"checkpoint must be a path or a RunCheckpoint(path, ...), not {type(asked).__name__}")


class Found:
    """What is in a checkpoint: the model's configuration, what is said of the run, and all vectors."""

    def __init__(self, path: str, content: bytes) -> None:
        import safetensors.numpy

        self.path = path
        self.model = files.configuration(content, path)
        run = self.model.get("run")
        if not isinstance(run, dict):
            raise ValueError(f"{path} is no checkpoint of a run")
        self.run: dict[str, Any] = run
        try:
            self.tensors: dict[str, Any] = safetensors.numpy.load(content)
        except (ValueError, safetensors.SafetensorError) as error:
            raise ValueError(f"{path} is no checkpoint of a run: {error}") from error


class CheckpointFiles:
    """The newest checkpoint and the one before it."""

    def __init__(self, path: str) -> None:
        self.newest = os.path.realpath(path)
        self.previous = self.newest + ".previous"
        self._newest_is_good = True  # and therefore worth keeping when the next one comes
        self._is_first = True

    def check(self, resume: bool) -> None:
        """Whether files can be written there, and overwrite nothing else."""
        folder = os.path.dirname(self.newest)
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"checkpoint is {self.newest!r}, but there is no folder {folder!r}")
        if not (resume and os.path.exists(self.newest)) and not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(
                f"checkpoint is {self.newest!r}, but nothing may be written into the folder {folder!r}"
            )
        for path in (self.newest, self.previous):
            if os.path.exists(path) and not os.path.isfile(path):
                raise ValueError(f"checkpoint: {path} is no file, and will not be replaced by one")
        if not resume and os.path.exists(self.newest) and not _is_checkpoint(self.newest):
            raise ValueError(
                f"checkpoint: {self.newest} is there already and is no checkpoint of a run: it will not be "
                "overwritten. Give another name, or remove it"
            )

    def write(self, content: bytes) -> None:
        """The newest becomes the one before."""
        if self._is_first:
            files.clear(self.newest)
            self._is_first = False
        files.write_whole(self.newest, content, self.previous if self._newest_is_good else None)
        self._newest_is_good = True

    def read(self) -> Found | None:
        """The newest that is whole; None if there is none at all."""
        problem: ValueError | None = None
        for path in (self.newest, self.previous):
            try:
                found = Found(path, files.read(path))
            except FileNotFoundError:  # a kill between two renamings leaves the one before alone
                continue
            except ValueError as error:
                problem = problem or error
                continue
            if problem is not None:
                warnings.warn(f"{problem}. Going on from {path}, which was written before it", stacklevel=6)
                self._newest_is_good = False
            return found
        if problem is not None:
            raise ValueError(f"{problem}; and there is no other to go on from. Remove it to start from the beginning")
        return None


def _is_checkpoint(path: str) -> bool:
    """By its header alone: it may be damaged."""
    import json

    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size <= files.LONGEST_HEADER else {}
        return "run" in json.loads(header["__metadata__"][files.KEY])
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
