# SPDX-License-Identifier: BSD-3-Clause
"""The random numbers: Philox 4x32-10 as published, laid out as csrc/random.c says, and even."""

import math

import numpy as np
import pytest

from fastnn import _core

STREAMS = (_core.STREAM_SHUFFLE, _core.STREAM_INITIAL, _core.STREAM_SPLIT)
MASK = 0xFFFFFFFF


def philox(counter, key):
    """Salmon, Moraes, Dror, Shaw 2011: ten rounds on four words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return [c0, c1, c2, c3]


def words_by_hand(seed, stream, index, n):
    """Word i of a stream: word i % 4 of block i // 4."""
    blocks = [
        philox((b & MASK, b >> 32 | stream << 24, index & MASK, index >> 32), (seed & MASK, seed >> 32))
        for b in range(-(-n // 4))
    ]
    return np.array([word for block in blocks for word in block][:n], np.uint32)


def words(seed, stream, index, n):
    out = np.empty(n, np.uint32)
    _core.random_words(seed, stream, index, out)
    return out


def permutation(n, seed=0, stream=_core.STREAM_SHUFFLE, index=0):
    out = np.empty(n, np.int64)
    _core.permutation(seed, stream, index, out)
    return out


def test_the_generator_of_this_test_gives_the_published_words():
    """Known answers of the authors' library, Random123: philox4x32 10."""
    assert philox((0, 0, 0, 0), (0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox((MASK,) * 4, (MASK,) * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    assert philox(*pi) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1, 0x243F6A8885A308D3])
@pytest.mark.parametrize("stream", STREAMS)
def test_words_are_philox(seed, stream):
    for index in (0, 1, 2**32 - 1):
        for n in (0, 1, 3, 4, 5, 63, 64, 65, 200):
            np.testing.assert_array_equal(words(seed, stream, index, n), words_by_hand(seed, stream, index, n))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 31, 32, 33, 100, 1000])
def test_permutation_is_fisher_yates_over_the_words(n):
    for seed, index in ((0, 0), (5, 1), (2**64 - 1, 2**40 + 3)):
        random = words_by_hand(seed, _core.STREAM_SHUFFLE, index, 2 * n).astype(object)
        expected = [0] * n
        for i in range(n):
            j = (random[2 * i] + (random[2 * i + 1] << 32)) * (i + 1) >> 64
            expected[i] = i
            expected[i], expected[j] = expected[j], i
        np.testing.assert_array_equal(permutation(n, seed, index=index), expected)


def test_every_index_and_seed_and_stream_permutes_otherwise():
    n = 1000
    found = [permutation(n, index=index) for index in range(20)]
    found += [permutation(n, seed=1), permutation(n, stream=_core.STREAM_SPLIT), permutation(n, index=2**32)]
    for order in found:
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
    for i, a in enumerate(found):
        for b in found[:i]:
            assert (a == b).mean() < 0.01


def test_each_row_comes_to_each_place_equally_often():
    n, epochs = 8, 8000
    counts = np.zeros((n, n))
    for epoch in range(epochs):
        counts[permutation(n, seed=3, index=epoch), np.arange(n)] += 1
    expected = epochs / n
    # Chi-square with 49 degrees of freedom: mean 49, standard deviation 9.9.
    chi = ((counts - expected) ** 2 / expected).sum()
    assert 49 - 4.5 * 9.9 < chi < 49 + 6 * 9.9


def test_all_orders_of_four_are_equally_likely():
    tries = 24 * 500
    orders = [tuple(permutation(4, seed=11, index=i)) for i in range(tries)]
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    assert ((counts - 500) ** 2 / 500).sum() < 23 + 6 * math.sqrt(46)


def test_bits_are_even():
    found = words(1, _core.STREAM_INITIAL, 0, 1 << 16)
    for bit in range(32):
        share = (found >> np.uint32(bit) & np.uint32(1)).mean()
        assert abs(share - 0.5) < 5 * 0.5 / math.sqrt(found.size)
