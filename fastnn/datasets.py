# SPDX-License-Identifier: BSD-3-Clause
"""Real data: handwritten digits that ship with the package, and idx files from a folder of yours.

Nothing here reaches for the network, and nothing scales or shuffles: what a function returns is what the files say.
To add a data set to the wheel: its files and their licence go into ``data/``, one function here reads them.
"""

from __future__ import annotations

import gzip
import os
import re
import struct
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["load_digits", "read_idx"]

_DATA = Path(__file__).parent / "data"

# The idx format, as MNIST's page describes it: two zero bytes, a byte for the type, a byte for the number of
# dimensions, each dimension as a big-endian 32-bit integer, then the elements in C order, big-endian.
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# Names in circulation: train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte, emnist-letters-test-images-idx3-ubyte.gz
_IDX_NAME = re.compile(r"(?:(?P<set>.+)-)?(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20  # bytes asked for at a time, so that a header that lies cannot make us reserve memory


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return 1,797 handwritten digits, 8 x 8 pixels each, and what they are.

    Returns
    -------
    X : ndarray of shape (1797, 64), uint8
        One image a row, its pixels row by row; values 0 (empty) to 16 (full). ``X / 16`` is of unit size.
    y : ndarray of shape (1797,), int64
        The digit, 0 to 9.

    References
    ----------
    E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49; CC BY 4.0. ``fastnn/data/README.md`` says more.

    Examples
    --------
    >>> from fastnn.datasets import load_digits
    >>> X, y = load_digits()
    >>> X.shape, y[:4].tolist()
    ((1797, 64), [0, 1, 2, 3])
    """
    images = _read_file(_DATA / "digits-images-idx3-ubyte.gz")
    labels = _read_file(_DATA / "digits-labels-idx1-ubyte.gz")
    return images.reshape(len(images), -1), labels.astype(np.int64)


def read_idx(path: str | os.PathLike[str]) -> Any:
    """Read idx files, the format of MNIST and Fashion-MNIST; plain or compressed with gzip.

    Parameters
    ----------
    path : path of a file, or of a folder with the four files of an MNIST-like set
        In a folder the names decide: ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
        ``t10k-images-idx3-ubyte``, ``t10k-labels-idx1-ubyte``; with or without ``.gz``, ``test`` for ``t10k``, a dot
        for the dash before ``idx``.

    Returns
    -------
    ndarray
        For a file: the array with the shape and the type that the file states.
    X_train, y_train, X_test, y_test : ndarrays, uint8
        For a folder: one image a row, so that 60,000 images of 28 x 28 are (60000, 784), and labels (60000,). Pixels
        are as stored, 0 to 255: divide by 255 before training.

    Raises
    ------
    FileNotFoundError
        The path, or one of a folder's four files, is not there.
    TypeError
        The path is no path.
    ValueError
        A file is not idx, is damaged or cut short, or images and labels do not fit together.

    Examples
    --------
    >>> from fastnn.datasets import read_idx
    >>> X_train, y_train, X_test, y_test = read_idx("/usr/share/datasets/fashion-mnist")  # doctest: +SKIP
    >>> X_train.shape  # doctest: +SKIP
    (60000, 784)
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    return _read_file(path)


def _read_folder(folder: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """X_train, y_train, X_test, y_test from the four files of a folder; images become rows."""
    found: dict[tuple[str, str], Path] = {}
    sets: set[str] = set()
    for file in sorted(folder.iterdir(), reverse=True):  # reversed: a plain file replaces its compressed twin
        if match := _IDX_NAME.fullmatch(file.name):
            sets.add(match["set"] or "")
            found["train" if match["part"] == "train" else "t10k", match["kind"]] = file
    if len(sets) > 1:
        names = ", ".join(repr(name) for name in sorted(sets))
        raise ValueError(f"{folder} holds several data sets ({names}): put each into a folder of its own")
    wanted = [(part, kind) for part in ("train", "t10k") for kind in ("images", "labels")]
    missing = [
        f"{part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte[.gz]"
        for part, kind in wanted
        if (part, kind) not in found
    ]
    if missing:
        there = ", ".join(file.name for file in found.values()) or "no idx file"
        raise FileNotFoundError(f"{folder} needs {', '.join(missing)}; found: {there}")

    arrays = []
    for part in ("train", "t10k"):
        images, labels = _read_file(found[part, "images"]), _read_file(found[part, "labels"])
        if images.ndim < 2 or labels.ndim != 1 or len(images) != len(labels):
            raise ValueError(
                f"{found[part, 'images'].name} of shape {images.shape} and {found[part, 'labels'].name} "
                f"of shape {labels.shape} do not fit: needed are (n, rows, columns) and (n,)"
            )
        arrays += [images.reshape(len(images), int(np.prod(images.shape[1:]))), labels]
    return arrays[0], arrays[1], arrays[2], arrays[3]


def _read_file(path: Path) -> NDArray[Any]:
    """The array of one idx file, writable and in the machine's byte order."""
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
        try:
            # GzipFile reads like any binary file, but the type checker's library does not call it one.
            return _read_stream(cast(IO[bytes], stream), path)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{path}: damaged gzip data: {error}") from error


def _read_stream(stream: IO[bytes], path: Path) -> NDArray[Any]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES or magic[3] == 0:
        raise ValueError(
            f"{path} is not an idx file: it begins with {magic.hex(' ') or 'nothing'}, needed are 00 00, "
            "a type (08 to 0e) and a number of dimensions"
        )
    n_dimensions = magic[3]
    sizes = stream.read(4 * n_dimensions)
    if len(sizes) < 4 * n_dimensions:
        raise ValueError(f"{path} ends inside its header: {len(sizes)} of {4 * n_dimensions} bytes of its shape")
    shape = struct.unpack(f">{n_dimensions}I", sizes)
    dtype = np.dtype(_IDX_TYPES[magic[2]])
    needed = dtype.itemsize
    for size in shape:  # Python's integers do not overflow; NumPy's product would
        needed *= size
    data = bytearray()
    while len(data) <= needed:  # one byte more than needed, to see that the file ends where it should
        chunk = stream.read(min(_CHUNK, needed + 1 - len(data)))
        if not chunk:
            break
        data += chunk
    if len(data) != needed:
        found = f"only {len(data):,}" if len(data) < needed else "more"
        raise ValueError(f"{path} states the shape {shape}, which needs {needed:,} bytes; found {found}")
    array = np.frombuffer(data, dtype=dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)
