/* pieces.h: the work between two barriers in pieces; a thread takes its own, then what others have not begun.
 *
 * Equal shares take equal times only while all processors are equally fast: not beside a neighbour on the same core,
 * not on cores of two kinds, not where a page has to come from the system first. Pieces get smaller towards the end of
 * a share, so that threads end close together. An owner takes from the front and the others from the back (as in the
 * scheduler of R. D. Blumofe and C. E. Leiserson, Journal of the ACM 46, 1999), so that a thread mostly gets again what
 * it had in its cache the last time. Results must not depend on who takes a piece.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_PIECES_H
#define FASTNN_PIECES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* In so many pieces a share is cut; there may be too little of it for some of them. */
#define FNN_PIECES 5

/* A share is so long, where places in it are counted. */
#define FNN_SHARE 16

/* Where a piece of a share begins, and the one before it ends. One thread has nobody to wait for: its first piece is
 * the whole. */
static inline int fnn_piece_begin(int piece, int threads) {
    static const int begin[FNN_PIECES + 1] = {0, 8, 12, 14, 15, FNN_SHARE};
    return threads > 1 || piece == 0 ? begin[piece] : FNN_SHARE;
}

/* Of n things in a row, those of a piece: whole units of a share, and in the first piece what they leave over. Behind an
 * empty piece are none but empty ones. */
static inline void fnn_piece_of(ptrdiff_t n, ptrdiff_t unit, int owner, int piece, int threads, ptrdiff_t *first,
                                ptrdiff_t *last) {
    const ptrdiff_t begin = n * owner / threads, end = n * (owner + 1) / threads, units = (end - begin) / unit;
    const int from = fnn_piece_begin(piece, threads), to = fnn_piece_begin(piece + 1, threads);
    *first = from == 0 ? begin : end - units * (FNN_SHARE - from) / FNN_SHARE * unit;
    *last = end - units * (FNN_SHARE - to) / FNN_SHARE * unit;
}

/* What is left of a thread's share: pieces front .. back - 1, in one word, so that nobody sees one without the other.
 * As large as two cache lines, because some processors fetch these together. */
typedef struct {
    _Atomic uint32_t left;
    char apart[128 - sizeof(uint32_t)];
} fnn_pieces;

#define FNN_FRONT_PIECE ((uint32_t)1)
#define FNN_BACK_PIECE ((uint32_t)1 << 16)

static inline int fnn_front_of(uint32_t left) { return (int)(left % FNN_BACK_PIECE); }
static inline int fnn_back_of(uint32_t left) { return (int)(left / FNN_BACK_PIECE); }

/* Gives a thread its share of so many pieces; between two barriers where nobody takes from it. */
static inline void fnn_pieces_begin(fnn_pieces *shares, int thread, int count) {
    atomic_store_explicit(&shares[thread].left, FNN_BACK_PIECE * (uint32_t)count, memory_order_relaxed);
}

/* A piece of one thread's share, or -1 when all are taken. Barriers order what is read and written by way of a piece;
 * the word itself orders nothing. */
static inline int fnn_pieces_take_from(fnn_pieces *shares, int owner, int thread) {
    _Atomic uint32_t *left = &shares[owner].left;
    uint32_t seen = atomic_load_explicit(left, memory_order_relaxed), after;
    do {
        if (fnn_front_of(seen) == fnn_back_of(seen)) return -1;
        after = owner == thread ? seen + FNN_FRONT_PIECE : seen - FNN_BACK_PIECE;
    } while (!atomic_compare_exchange_weak_explicit(left, &seen, after, memory_order_relaxed, memory_order_relaxed));
    return owner == thread ? fnn_front_of(seen) : fnn_back_of(seen) - 1;
}

/* The next piece for a thread, and whose it was: its own, else one of whoever has most left. -1: all are taken. */
static inline int fnn_pieces_take(fnn_pieces *shares, int thread, int threads, int *owner) {
    int piece = fnn_pieces_take_from(shares, *owner = thread, thread);
    while (piece < 0) {
        int most = 0;
        for (int i = 1; i < threads; i++) { /* each begins with the one after it, so that few want the same */
            const int other = (thread + i) % threads;
            const uint32_t seen = atomic_load_explicit(&shares[other].left, memory_order_relaxed);
            if (fnn_back_of(seen) - fnn_front_of(seen) <= most) continue;
            most = fnn_back_of(seen) - fnn_front_of(seen);
            *owner = other;
        }
        if (most == 0) return -1;
        piece = fnn_pieces_take_from(shares, *owner, thread);
    }
    return piece;
}

#endif
