/* test_shares.c: which rows of which parameters each thread owns.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#define FNN_REAL 32

#include <stdlib.h>

#include "check.h"
#include "networks.h"
#include "plan.h"

enum { MOST_THREADS = 9 };

/* A share is its pieces one after the other, cut where blocks are. */
static void pieces_are_share(const plan_f32 *plan, int32_t segment, int thread, int threads) {
    ptrdiff_t first, last, begin, end, next;
    int wrong = 0;
    share_of_segment_f32(plan, segment, thread, threads, &first, &last);
    next = first;
    for (int piece = 0; piece < FNN_PIECES; piece++) {
        piece_of_segment_f32(plan, segment, thread, piece, threads, &begin, &end);
        wrong += begin != next || end < begin;
        wrong += begin % FNN_BLOCK_ROWS != 0 && begin != plan->network->segments[segment].rows;
        if (threads == 1 && piece == 0) wrong += end != last;
        next = end;
    }
    CHECK_EQUAL(wrong, 0);
    CHECK_EQUAL(next, last);
}

/* Every row has one owner, rows are cut where blocks are, and no share is larger than an equal one by more than the
 * cuts at its ends. Returns the largest share, in equal ones. */
static double largest_share(const layers *l, int threads) {
    const fnn_network *network = &l->network;
    const size_t bytes = plan_lay_out_f32(&(plan_f32){0}, network, FNN_USE_TRAIN, 200, threads, NULL);
    void *memory = malloc(bytes);
    plan_f32 plan;
    double own[MOST_THREADS] = {0}, largest = 0, widest = 0;
    CHECK(memory && plan_lay_out_f32(&plan, network, FNN_USE_TRAIN, 200, threads, memory) <= bytes);
    for (int32_t i = 0; i < network->n_segments; i++) {
        const fnn_segment *s = &network->segments[i];
        ptrdiff_t next = 0;
        for (int thread = 0; thread < threads; thread++) {
            ptrdiff_t first, last;
            share_of_segment_f32(&plan, i, thread, threads, &first, &last);
            CHECK(first % FNN_BLOCK_ROWS == 0 || first == s->rows);
            pieces_are_share(&plan, i, thread, threads);
            if (first >= last) continue;
            CHECK_EQUAL(first, next);
            own[thread] += (double)((last - first) * s->columns);
            next = last;
        }
        CHECK_EQUAL(next, s->rows);
        if ((double)s->columns > widest) widest = (double)s->columns;
    }
    free(memory);
    const double equal = (double)network->n_params / threads;
    for (int thread = 0; thread < threads; thread++) {
        CHECK(own[thread] <= equal + FNN_BLOCK_ROWS * widest);
        if (own[thread] > largest) largest = own[thread];
    }
    return largest / equal;
}

/* Units of each layer behind the inputs, then 0; the largest shares of two threads when they are laid out from the
 * first segment and from the last, in that order. */
static const struct {
    ptrdiff_t inputs, units[4];
    double first, last;
} known[] = {
    {784, {100, 10}, 1.034, 1.006},
    {784, {256, 128, 10}, 1.025, 1.010},
    {1024, {1024, 1024, 1000}, 1.008, 1.008},
    {335, {221, 107, 6}, 1.004, 1.071},
};

void test_shares(void);
void test_shares(void) {
    layers l;
    for (int i = 0; network_name(i); i++)
        for (int threads = 1; threads <= MOST_THREADS; threads++) {
            network_build(&l, i, FNN_FLOAT32);
            largest_share(&l, threads);
        }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        layers_begin(&l, FNN_FLOAT32, known[i].inputs);
        for (int layer = 0; layer < 4 && known[i].units[layer]; layer++) layers_dense(&l, known[i].units[layer], 1);
        const double better = known[i].first < known[i].last ? known[i].first : known[i].last;
        CHECK_CLOSE(largest_share(&l, 2), better, 0.0006);
    }
}
