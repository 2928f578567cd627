# SPDX-License-Identifier: BSD-3-Clause
"""``python -m fastnn demo``: a network learns handwritten digits, and what that took is printed.

Every figure is measured in this run, on this machine; training time is that of the epochs, without what is shown
between them. The recipe (split, seed, epochs) is fixed, so that everyone sees the same accuracy. What it prints fits
80 columns of plain ASCII.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn as fn

from .datasets import load_digits

EPOCHS = 30
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
HELD_OUT_EVERY = 4  # rows 3, 7, 11 ... are never trained on; a rule needs no random numbers that could change

SHADES = " .:-=+*#%@"  # from empty to full; a pixel is two characters wide because a character is twice as high


def split_digits() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """X_train (1348, 64), y_train, X_test (449, 64), y_test; pixels scaled to 0..1."""
    X, y = load_digits()
    X_unit = X.astype(np.float32) / np.float32(16)
    held_out = np.arange(len(X)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    return X_unit[~held_out], y[~held_out], X_unit[held_out], y[held_out]


def build_network() -> fn.Sequential:
    return fn.Sequential([fn.Dense(256, "relu"), fn.Dense(128, "relu"), fn.Dense(10, "softmax")], inputs=64, seed=0)


class ShowProgress(fn.Callback):
    """A line for each of the first epochs and then for every tenth of them: the network can be watched learning."""

    def __init__(self, X_test: NDArray[Any], y_test: NDArray[Any]) -> None:
        self._X_test, self._y_test = X_test, y_test

    def on_fit_begin(self, net: fn.Sequential) -> None:
        print("epoch     loss   held-out images misread")

    def on_epoch_end(self, net: fn.Sequential, epoch: int, logs: dict[str, float]) -> None:
        done = epoch + 1
        if done > 3 and done % (EPOCHS // 10):
            return
        wrong = int((net.predict(self._X_test).argmax(axis=1) != self._y_test).sum())
        print(f"{done:5}   {logs['loss']:6.4f}   {wrong:4}  {'#' * min(wrong, 50)}", flush=True)


def run(save: str | None = None, plot: str | None = None, threads: int | None = None) -> float:
    """Train, print, and return the accuracy on the held-out images."""
    for path in (save, plot):
        if path is not None and not Path(path).resolve().parent.is_dir():
            raise FileNotFoundError(f"no such folder to write into: {Path(path).resolve().parent}")
    if plot is not None:
        _import_pyplot()  # said now, not after the training

    X_train, y_train, X_test, y_test = split_digits()
    net = build_network()
    print(f"Handwritten digits, 8 x 8 pixels: {len(X_train):,} to learn from, {len(X_test)} held out\n")
    net.summary()
    print()

    history = net.fit(
        X_train,
        y_train,
        optimizer=fn.Adam(LEARNING_RATE),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        callbacks=[ShowProgress(X_test, y_test)],
        threads=threads,
        verbose=0,
    )
    seconds = sum(history.history["seconds"])

    predicted = net.predict(X_test).argmax(axis=1)
    n_wrong = int((predicted != y_test).sum())
    accuracy = 1 - n_wrong / len(y_test)
    images = EPOCHS * len(X_train)
    gigaflops = images * _flops_per_sample(net) / seconds / 1e9

    print()
    print(_drawings(X_test, y_test, predicted))
    print()
    print(f"  held-out accuracy   {100 * accuracy:.2f} %  ({n_wrong} of {len(y_test)} wrong)")
    print(f"  training time       {seconds:.2f} s  ({EPOCHS} epochs, threads: {history.threads})")
    print(f"  training speed      {images / seconds:,.0f} images a second  ({gigaflops:.0f} GFLOP/s)")
    print(
        f"  one prediction      {1e6 * _seconds_per_prediction(net, X_test):.2f} microseconds"
        "  (f = net.predictor(); f(x))"
    )
    print()
    if save is not None:
        net.save(save)
        print(f"Saved the network as {save}")
    if plot is not None:
        _draw_plot(plot, history.history["loss"], X_test, y_test, predicted)
        print(f"Drew the loss and some digits into {plot}")
    print(_what_next(save))
    return accuracy


def _flops_per_sample(net: fn.Sequential) -> int:
    """6 per weight: 2 each for forward, dX and dW; the first layer needs no dX."""
    weights: list[int] = [layer.weight.size for layer in net.layers if isinstance(layer, fn.Dense)]
    return 6 * sum(weights) - 2 * weights[0]


def _seconds_per_prediction(net: fn.Sequential, X: NDArray[Any]) -> float:
    """Median over 15 passes of the time of one call for one row, the loop around it included."""
    predictor = net.predictor()
    rows = list(X)
    passes = []
    for _ in range(15):
        start = time.perf_counter()
        for x in rows:
            predictor(x)
        passes.append((time.perf_counter() - start) / len(rows))
    return median(passes)


def _drawings(X: NDArray[Any], y: NDArray[Any], predicted: NDArray[Any]) -> str:
    """Four held-out digits side by side, a misread one last if there is any."""
    wrong = np.flatnonzero(predicted != y)
    shown = [0, 1, 2, int(wrong[0]) if len(wrong) else 3]
    lines = ["   ".join(_draw_row(X[i], row) for i in shown).rstrip() for row in range(8)]
    captions = [f"read as {predicted[i]}" + ("" if predicted[i] == y[i] else f", is {y[i]}") for i in shown]
    lines.append("   ".join(f"{caption:^16}" for caption in captions).rstrip())
    return "\n".join("  " + line if line else "" for line in lines)


def _draw_row(x: NDArray[Any], row: int) -> str:
    shades = (x[8 * row : 8 * row + 8] * (len(SHADES) - 1)).round().astype(int)
    return "".join(2 * SHADES[shade] for shade in shades)


def _what_next(save: str | None) -> str:
    file, python = save or "digits.fnn", _python()
    lines = ["What to type next (keep the network in a file, look into it, use it):"]
    if save is None:
        lines.append(f"  {python} -m fastnn demo --save {file}")
    lines += [
        f"  {python} -m fastnn info {file}",
        f"  {python}",
        "    >>> import fastnn as fn; from fastnn.datasets import load_digits",
        f'    >>> f = fn.load("{file}").predictor()',
        "    >>> X, y = load_digits()",
        "    >>> f.argmax(X[0] / 16), y[0]",
    ]
    return "\n".join(lines)


def _python() -> str:
    """How to call this Python from here: the one of a virtual environment in this folder by its path."""
    path = os.path.relpath(sys.executable)
    return "python" if path.startswith(os.pardir) else path


def _import_pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise ModuleNotFoundError("--plot needs matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")  # a file is wanted, no window
    import matplotlib.pyplot

    return matplotlib.pyplot


def _draw_plot(path: str, loss: list[float], X: NDArray[Any], y: NDArray[Any], predicted: NDArray[Any]) -> None:
    """The loss of each epoch, and 24 held-out digits with what was read: misread ones first, in red."""
    pyplot = _import_pyplot()
    figure = pyplot.figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    axes = left.subplots()
    axes.semilogy(range(1, len(loss) + 1), loss)
    axes.set(xlabel="epoch", ylabel="training loss", title="Learning handwritten digits")
    axes.grid(alpha=0.3)
    shown = np.argsort(predicted == y, kind="stable")[:24]
    for i, cell in zip(shown, right.subplots(4, 6).flat, strict=True):
        cell.imshow(X[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        right_answer = predicted[i] == y[i]
        cell.set_title(
            str(predicted[i]) if right_answer else f"{predicted[i]} (is {y[i]})",
            color="black" if right_answer else "red",
            fontsize=9,
        )
        cell.set_axis_off()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
