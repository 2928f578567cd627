# SPDX-License-Identifier: BSD-3-Clause
"""What ``fit`` shows while it runs: nothing (0), a bar (1), or a line per epoch (2); tqdm is imported for the bar."""

from __future__ import annotations

from typing import Any


class Progress:
    """The display of one ``fit``."""

    def __init__(self, verbose: object, epochs: int, headline: str) -> None:
        if verbose not in (0, 1, 2):
            raise ValueError(f"verbose must be 0, 1 or 2, not {verbose!r}")
        self._verbose = int(verbose)
        self._epochs = epochs
        self._headline = headline
        self._bar: Any = None

    def begin(self, done: int = 0, note: str = "") -> None:
        """The first lines, which say what nobody may have written down; so many epochs are done already."""
        if not self._verbose:
            return
        print(self._headline, *([note] if note else []), sep="\n", flush=True)
        if self._verbose == 1:
            from tqdm import tqdm

            self._bar = tqdm(total=self._epochs, initial=done, unit="epoch", leave=True)

    def epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """One more epoch is done."""
        shown = {name: f"{value:.4g}" for name, value in logs.items() if name not in ("learning_rate", "seconds")}
        if self._bar is not None:
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update()
        elif self._verbose:
            measured = "  ".join(f"{name} {value}" for name, value in shown.items())
            print(f"epoch {epoch + 1}/{self._epochs}  {logs['seconds']:.3g} s  {measured}", flush=True)

    def end(self) -> None:
        """The last word, also after an exception."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
