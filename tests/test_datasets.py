# SPDX-License-Identifier: BSD-3-Clause
"""The digits are the published ones; idx files are read as stated, or refused in plain words."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from fastnn.datasets import load_digits, read_idx

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def idx_bytes(array, type_code=0x08):
    """The idx file of an array: an independent writer to test the reader with."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, type_code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def four_files(tmp_path):
    """A folder like MNIST's: 5 training and 3 test images of 2 x 3 pixels."""
    generator = np.random.default_rng(0)
    arrays = {}
    for part, rows in (("train", 5), ("t10k", 3)):
        arrays[part, "images"] = generator.integers(0, 256, (rows, 2, 3), dtype=np.uint8)
        arrays[part, "labels"] = generator.integers(0, 10, rows, dtype=np.uint8)
    for (part, kind), array in arrays.items():
        (tmp_path / f"{part}-{kind}-idx{array.ndim}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(array)))
    return tmp_path, arrays


# ---- the digits ------------------------------------------------------------------------------------------------------


def test_digits_have_the_published_shape_range_and_class_counts():
    X, y = load_digits()
    assert X.shape == (1797, 64) and X.dtype == np.uint8 and X.flags.c_contiguous
    assert (X.min(), X.max()) == (0, 16)
    assert y.shape == (1797,) and y.dtype == np.int64
    # The class counts of optdigits.tes on the data set's page at the UCI Machine Learning Repository.
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_equal_scikit_learns_copy():
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = load_digits()
    their_X, their_y = datasets.load_digits(return_X_y=True)
    np.testing.assert_array_equal(X, their_X)
    np.testing.assert_array_equal(y, their_y)


def test_each_call_returns_arrays_of_its_own():
    X, y = load_digits()
    X[:] = 0
    y[:] = 0
    X, y = load_digits()
    assert X.max() == 16 and y.max() == 9


def test_the_licence_stands_beside_the_data():
    import fastnn

    text = (Path(fastnn.__file__).parent / "data" / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text and "10.24432/C50P49" in text


# ---- one idx file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("type_code", "dtype"), [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")]
)
def test_every_type_comes_back_writable_in_native_byte_order(tmp_path, type_code, dtype, compress):
    array = np.arange(-12, 12).reshape(2, 3, 4).astype(dtype)
    content = idx_bytes(array, type_code)
    path = tmp_path / "numbers"  # without .gz: the first bytes decide, not the name
    path.write_bytes(gzip.compress(content) if compress else content)
    back = read_idx(path)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == np.dtype(dtype) and back.dtype.isnative
    back[...] = 0


def test_a_path_may_be_a_string_and_an_array_empty(tmp_path):
    path = tmp_path / "empty"
    path.write_bytes(idx_bytes(np.zeros((0, 28, 28), np.uint8)))
    assert read_idx(str(path)).shape == (0, 28, 28)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file: it begins with nothing"),
        (b"PNG\x0d....", "not an idx file: it begins with 50 4e 47 0d"),
        (b"\0\0\x0a\x01\0\0\0\0", "not an idx file"),
        (b"\0\0\x08\0", "not an idx file"),
        (b"\0\0\x08\x03\0\0\0\x01", "ends inside its header: 4 of 12 bytes"),
        (b"\0\0\x08\x01\0\0\0\x05abcd", r"shape \(5,\), which needs 5 bytes; found only 4"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", r"shape \(3,\), which needs 3 bytes; found more"),
        (b"\0\0\x0e\x03" + b"\xff" * 12, "found only 0"),  # 2^99 bytes promised: nothing is reserved for them
    ],
)
def test_what_is_not_right_is_refused_in_plain_words(tmp_path, content, message):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as plain:
        read_idx(path)
    assert str(path) in str(plain.value)
    path.write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=message):
        read_idx(path)


def test_every_truncation_and_every_damaged_byte_of_a_gzip_file_is_noticed(tmp_path):
    content = gzip.compress(idx_bytes(np.arange(60, dtype=np.uint8).reshape(3, 4, 5)), mtime=0)
    path = tmp_path / "damaged"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="damaged"):  # the file's own name contains it
            read_idx(path)
    # Bytes 4 to 9 of the gzip header are a date and hints, which nothing depends on; 3 holds flags.
    for position in range(10, len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        with pytest.raises(ValueError, match="damaged"):
            read_idx(path)


# ---- a folder --------------------------------------------------------------------------------------------------------


def test_a_folder_gives_rows_and_labels(four_files):
    folder, arrays = four_files
    X_train, y_train, X_test, y_test = read_idx(folder)
    np.testing.assert_array_equal(X_train, arrays["train", "images"].reshape(5, 6))
    np.testing.assert_array_equal(y_train, arrays["train", "labels"])
    np.testing.assert_array_equal(X_test, arrays["t10k", "images"].reshape(3, 6))
    np.testing.assert_array_equal(y_test, arrays["t10k", "labels"])
    assert X_train.dtype == y_test.dtype == np.uint8


def test_other_spellings_of_the_names_are_known(four_files):
    folder, arrays = four_files
    for file in list(folder.iterdir()):
        name = file.name.removesuffix(".gz").replace("t10k", "test").replace("-idx", ".idx")
        (folder / f"emnist-letters-{name}").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    (folder / "readme.txt").write_text("not data")
    np.testing.assert_array_equal(read_idx(folder)[2], arrays["t10k", "images"].reshape(3, 6))


def test_a_plain_file_goes_before_its_compressed_twin(four_files):
    folder, _ = four_files
    plain = np.full((5, 2, 3), 7, np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(plain))
    assert (read_idx(folder)[0] == 7).all()


def test_missing_files_are_named_beside_what_was_found(four_files):
    folder, _ = four_files
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"needs t10k-labels-idx1-ubyte\[.gz\]; found: .*train-images"):
        read_idx(folder)
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match="found: no idx file"):
        read_idx(folder)


def test_images_and_labels_of_different_lengths_are_refused(four_files):
    folder, _ = four_files
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(idx_bytes(np.zeros(4, np.uint8)))
    with pytest.raises(ValueError, match=r"shape \(5, 2, 3\).*shape \(4,\)"):
        read_idx(folder)


def test_two_sets_in_one_folder_are_not_mixed(four_files):
    folder, _ = four_files
    (folder / "emnist-train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(5, np.uint8)))
    with pytest.raises(ValueError, match="several data sets"):
        read_idx(folder)


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_mnist():
    X_train, y_train, X_test, y_test = read_idx(FASHION_MNIST)
    assert X_train.shape == (60000, 784) and X_test.shape == (10000, 784)
    assert np.bincount(y_train).tolist() == [6000] * 10 and np.bincount(y_test).tolist() == [1000] * 10
