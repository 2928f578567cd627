# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks that write files: the network itself, or what each epoch measured.

A line is in the file when its epoch is over: files are opened for each write and closed after it, so that nothing is
lost or left open, however ``fit`` ends.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from string import Formatter
from typing import TYPE_CHECKING, Any

from .arguments import file_path, true_or_false, whole_number
from .callbacks import Callback, Preparation
from .errors import unknown_name
from .monitoring import Monitor

if TYPE_CHECKING:
    from .model import Sequential

Path = str | os.PathLike[str]


def _check_folder(path: str) -> None:
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise FileNotFoundError(f"path is {path!r}, but there is no folder {folder!r}")


class Checkpoint(Callback):
    """Save the network after every epoch, after every few, or whenever a value is the best so far.

    ``fn.load`` reads the file. Its path holds a whole network at any moment: the last one until the next is written.

    Parameters
    ----------
    path : str or path-like
        May contain {epoch}, the number of completed epochs, and what is measured: "net-{epoch:03d}-{val_loss:.4f}.fnn"
        keeps them all. A brace is written twice.
    monitor : str, optional
        With save_best_only: "loss", a metric, or one of them behind "val_"; default "val_loss", and "loss" without
        validation data.
    every : int, default 1
        Epochs from one to the next; others are not looked at.
    save_best_only : bool, default False
        Save only what is better than all before.
    mode : {"auto", "min", "max"}, default "auto"
        Whether the smallest or the largest value is best; "auto" knows it of losses and of fastnn's metrics.

    Attributes
    ----------
    saved : str or None
        The file written last.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type; in ``fit``, if a name in braces, or the one to monitor,
        is not measured.
    FileNotFoundError
        In ``fit``, if there is no such folder.

    Examples
    --------
    >>> import numpy as np, fastnn as fn, os, tempfile
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = fn.Checkpoint(os.path.join(folder, "net-{epoch}.fnn"), every=2)
    ...     net = fn.Sequential([fn.Dense(1)], seed=0)
    ...     history = net.fit(X, X, epochs=5, callbacks=[checkpoint], verbose=0)
    ...     print(sorted(os.listdir(folder)), fn.load(checkpoint.saved).n_params)
    ['net-2.fnn', 'net-4.fnn'] 2
    """

    def __init__(
        self,
        path: Path,
        monitor: str | None = None,
        every: int = 1,
        save_best_only: bool = False,
        mode: str = "auto",
    ) -> None:
        self.path = file_path(path)
        self.every = whole_number(every, "every")
        self.save_best_only = true_or_false(save_best_only, "save_best_only")
        self.saved: str | None = None
        if monitor is not None and not self.save_best_only:
            raise ValueError("monitor is only looked at with save_best_only=True")
        self._monitor = Monitor("val_loss" if monitor is None else monitor, mode, 0.0)

    def _prepare_fit(self, fit: Preparation) -> None:
        if self.save_best_only:
            self._monitor.begin(fit)
        known = {"epoch": 1, **dict.fromkeys(fit.measured, 0.5)}
        try:
            fields = [field for _, field, _, _ in Formatter().parse(self.path) if field is not None]
            for field in fields:
                if field not in known:
                    raise unknown_name("name in path", field, known)
            path = self.path.format(**known)
        except ValueError as error:
            raise ValueError(f"path is {self.path!r}: {error}") from None
        if "{" not in os.path.dirname(self.path):
            _check_folder(path)
        self.saved = None

    def on_epoch_end(self, net: Sequential, epoch: int, logs: dict[str, float]) -> None:
        """Save it, if it is its turn."""
        if (epoch + 1) % self.every or (self.save_best_only and not self._monitor.improved(logs)):
            return
        path = self.path.format(**{**logs, "epoch": epoch + 1})
        net.save(path)
        self.saved = path

    def state_dict(self) -> dict[str, Any]:
        """The best value, and the file written last."""
        return {"best": self._monitor.best, "saved": self.saved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what it was."""
        self._monitor.best, self.saved = state["best"], state["saved"]


class _Lines(Callback):
    """What the loggers share: a text file that gets a line for each epoch."""

    def __init__(self, path: Path, append: bool = False) -> None:
        self.path = file_path(path)
        self.append = true_or_false(append, "append")
        self._names: list[str] = []
        self._resumes = False

    def _prepare_fit(self, fit: Preparation) -> None:
        _check_folder(self.path)
        if os.path.isdir(self.path):
            raise IsADirectoryError(f"path is {self.path!r}, which is a folder: needed is the name of a file")
        self._names = list(fit.measured)
        self._resumes = fit.resumes

    def on_fit_begin(self, net: Sequential) -> None:
        """Begin the file, or a new line of the one that is there."""
        with open(self.path, "ab" if self.append or self._resumes else "wb") as file:
            if file.tell() and not self._ends_a_line():  # what was cut off stays a line of its own
                file.write(b"\n")

    def state_dict(self) -> dict[str, Any]:
        """How long the file is."""
        return {"size": os.path.getsize(self.path) if os.path.exists(self.path) else 0}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what was written after the checkpoint: those epochs come once more."""
        if os.path.getsize(self.path) > state["size"]:
            os.truncate(self.path, state["size"])

    def _ends_a_line(self) -> bool:
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _write(self, text: str) -> None:
        with open(self.path, "ab") as file:
            file.write(text.encode())


class CSVLogger(_Lines):
    """Write what each epoch measured as a row of a CSV file, with a header.

    Parameters
    ----------
    path : str or path-like
        The file.
    append : bool, default False
        Go on with the file if there is one, which must have the same columns, instead of beginning it anew.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        In ``fit``, if the file that is to go on has other columns.
    FileNotFoundError
        In ``fit``, if there is no such folder.

    Notes
    -----
    The first column, "epoch", counts from 1 in each ``fit``; the others are those of ``History.history``. Numbers are
    written so that reading them gives the same bits.

    Examples
    --------
    >>> import numpy as np, fastnn as fn, os, tempfile
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "log.csv")
    ...     history = fn.Sequential([fn.Dense(1)], seed=0).fit(X, X, callbacks=[fn.CSVLogger(path)], verbose=0)
    ...     lines = open(path).read().splitlines()
    >>> lines[0], len(lines)
    ('epoch,loss,learning_rate,seconds', 11)
    """

    def _prepare_fit(self, fit: Preparation) -> None:
        super()._prepare_fit(fit)
        if self.append and os.path.exists(self.path) and os.path.getsize(self.path):
            import csv

            with open(self.path, encoding="utf-8", errors="replace", newline="") as file:
                found = next(csv.reader(file), [])
            if found != self._header():
                raise ValueError(
                    f"path is {self.path!r}, which has the columns {', '.join(found)}; needed to append to it are "
                    f"{', '.join(self._header())}"
                )

    def _header(self) -> list[str]:
        return ["epoch", *self._names]

    def on_fit_begin(self, net: Sequential) -> None:
        """Begin the file, or go on with it."""
        super().on_fit_begin(net)
        if not os.path.getsize(self.path):
            self._write_row(self._header())

    def on_epoch_end(self, net: Sequential, epoch: int, logs: dict[str, float]) -> None:
        """Write a row."""
        self._write_row([epoch + 1, *(logs[name] for name in self._names)])

    def _write_row(self, row: Sequence[object]) -> None:
        import csv
        import io

        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row)
        self._write(text.getvalue())


class JSONLogger(_Lines):
    """Write what each epoch measured as a line of JSON, one object for each epoch.

    Parameters
    ----------
    path : str or path-like
        The file.
    append : bool, default False
        Go on with the file if there is one, instead of beginning it anew.

    Raises
    ------
    TypeError
        If an argument is of another type.
    FileNotFoundError
        In ``fit``, if there is no such folder.

    Notes
    -----
    "epoch" counts from 1 in each ``fit``. What is infinite or NaN, which JSON has no numbers for, is null.

    Examples
    --------
    >>> import json, numpy as np, fastnn as fn, os, tempfile
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "log.jsonl")
    ...     history = fn.Sequential([fn.Dense(1)], seed=0).fit(X, X, callbacks=[fn.JSONLogger(path)], verbose=0)
    ...     epochs = [json.loads(line) for line in open(path)]
    >>> epochs[-1]["epoch"], epochs[-1]["loss"] == history.history["loss"][-1]
    (10, True)
    """

    def on_epoch_end(self, net: Sequential, epoch: int, logs: dict[str, float]) -> None:
        """Write a line."""
        import json

        finite = {name: value if math.isfinite(value) else None for name, value in logs.items()}
        self._write(json.dumps({"epoch": epoch + 1, **finite}, allow_nan=False) + "\n")
