/* test_pieces.c: that every piece of work is taken once, whoever is fast, and where pieces lie.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "pieces.h"

#include <string.h>

#include "check.h"
#include "networks.h"
#include "parallel.h"

enum { MOST_THREADS = 9 };

/* The pieces of all threads, one after the other, are the whole; all but the first of a share are whole units, and none
 * is longer than the one before. */
static void whole(ptrdiff_t n, ptrdiff_t unit, int threads) {
    ptrdiff_t next = 0;
    ptrdiff_t before = 0;
    int wrong = 0;
    for (int owner = 0; owner < threads; owner++) {
        for (int piece = 0; piece < FNN_PIECES; piece++) {
            ptrdiff_t first, last;
            fnn_piece_of(n, unit, owner, piece, threads, &first, &last);
            wrong += first != next || last < first || (piece > 0 && (last - first) % unit);
            if (piece > 0) wrong += last - first > before;
            before = last - first;
            if (threads == 1) wrong += piece == 0 ? last != n : last != first;
            next = last;
        }
        wrong += next != n * (owner + 1) / threads;
    }
    CHECK_EQUAL(wrong, 0);
    CHECK_EQUAL(next, n);
}

static void places(void) {
    static const ptrdiff_t units[] = {1, 12, 14, 64};
    for (ptrdiff_t n = 0; n < 3000; n += n < 300 ? 1 : 97)
        for (int threads = 1; threads <= MOST_THREADS; threads++)
            for (int u = 0; u < 4; u++) whole(n, units[u], threads);
    ptrdiff_t first, last, none;
    fnn_piece_of(320, 1, 0, 0, 2, &none, &first); /* a half, a quarter, an eighth and twice a sixteenth */
    fnn_piece_of(320, 1, 0, 3, 2, &none, &last);
    CHECK_EQUAL(first, 80);
    CHECK_EQUAL(last, 150);
    fnn_piece_of(64, 12, 1, 0, 2, &first, &last); /* two units, and what is left over */
    CHECK_EQUAL(first, 32);
    CHECK_EQUAL(last, 52);
    fnn_piece_of(64, 12, 1, 1, 2, &first, &last);
    CHECK_EQUAL(first, 52);
    CHECK_EQUAL(last, 64);
}

/* One after the other: an owner from the front, others from the back, and of whoever has most left. */
static void order(void) {
    fnn_pieces shares[3];
    int owner = -1;
    fnn_pieces_begin(shares, 0, 5);
    fnn_pieces_begin(shares, 1, 1);
    fnn_pieces_begin(shares, 2, 4);
    CHECK_EQUAL(fnn_pieces_take(shares, 0, 3, &owner), 0);
    CHECK_EQUAL(owner, 0);
    CHECK_EQUAL(fnn_pieces_take(shares, 1, 3, &owner), 0);
    CHECK_EQUAL(owner, 1);
    CHECK_EQUAL(fnn_pieces_take(shares, 1, 3, &owner), 3); /* of 4 and 4 left, the next thread's */
    CHECK_EQUAL(owner, 2);
    CHECK_EQUAL(fnn_pieces_take(shares, 1, 3, &owner), 4);
    CHECK_EQUAL(owner, 0);
    for (int piece = 1; piece <= 3; piece++) {
        CHECK_EQUAL(fnn_pieces_take(shares, 0, 3, &owner), piece);
        CHECK_EQUAL(owner, 0);
    }
    for (int piece = 2; piece >= 0; piece--) {
        CHECK_EQUAL(fnn_pieces_take(shares, 0, 3, &owner), piece);
        CHECK_EQUAL(owner, 2);
    }
    for (int thread = 0; thread < 3; thread++) CHECK_EQUAL(fnn_pieces_take(shares, thread, 3, &owner), -1);
}

typedef struct {
    fnn_pieces shares[MOST_THREADS];
    int rounds, count;
    int late; /* thread 0 waits within its first piece until there is nothing else left */
    int taken[MOST_THREADS][16]; /* how often each piece was; plain, so that only the barriers order it */
    int by_first;                /* pieces that thread 0 took */
    int wrong;
} team_test;

static void take_all(void *context, fnn_team *team, int thread, int threads) {
    team_test *test = context;
    for (int round = 1; round <= test->rounds; round++) {
        fnn_pieces_begin(test->shares, thread, test->count);
        fnn_team_barrier(team, thread);
        int owner, piece;
        while ((piece = fnn_pieces_take(test->shares, thread, threads, &owner)) >= 0) {
            test->taken[owner][piece]++;
            if (thread == 0) test->by_first++;
            for (int left = 1; test->late && thread == 0 && left;) {
                left = 0;
                for (int other = 0; other < threads; other++) {
                    const uint32_t seen = atomic_load(&test->shares[other].left);
                    left += threads > 1 ? fnn_back_of(seen) - fnn_front_of(seen) : 0;
                }
            }
        }
        fnn_team_barrier(team, thread);
        for (int i = 0; thread == 0 && i < threads * test->count; i++)
            test->wrong += test->taken[i / test->count][i % test->count] != round;
        fnn_team_barrier(team, thread);
    }
}

static void teams(void) {
    static const int sizes[] = {1, 2, 3, 4, 9};
    for (int i = 0; i < 5; i++) {
        for (int count = 1; count <= 16; count += 5) {
            for (int late = 0; late < 2; late++) {
                team_test test;
                memset(&test, 0, sizeof test);
                test.rounds = late ? 20 : 300;
                test.count = count;
                test.late = late;
                const int threads = fnn_team_run(sizes[i], take_all, &test);
                CHECK_EQUAL(threads, threads_wanted(sizes[i]));
                CHECK_EQUAL(test.wrong, 0);
                if (late && threads > 1) CHECK(test.by_first <= test.rounds); /* the others did the rest */
            }
        }
    }
}

void test_pieces(void);
void test_pieces(void) {
    places();
    order();
    teams();
}
