/* test_pace.c: whether steps go on with all threads or with one, in made-up times.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "pace.h"

#include "check.h"

typedef struct {
    double all, alone; /* seconds of a step */
    double spent[2];   /* in so many seconds, what was spent on all and alone */
} world;

/* Lets a run go on for some seconds of this world. */
static void live(world *w, fnn_pace *pace, double seconds) {
    w->spent[0] = w->spent[1] = 0;
    while (w->spent[0] + w->spent[1] < seconds) {
        const int alone = pace->alone;
        const ptrdiff_t steps = fnn_pace_steps(pace, 1e-5);
        const double took = (double)steps * (alone ? w->alone : w->all);
        CHECK(steps >= 1);
        fnn_pace_add(pace, alone, took, steps);
        w->spent[alone] += took;
    }
}

/* The better way is taken nearly all the time, and a change of the world is noticed. */
static void better_way(void) {
    static const double factors[] = {0.5, 0.8, 1.25, 3};
    for (double step = 1e-6; step < 1e-3; step *= 5) {
        fnn_pace pace = {0};
        for (int i = 0; i < 4; i++) {
            world w = {.all = step * factors[i], .alone = step};
            live(&w, &pace, 1); /* to find out */
            live(&w, &pace, 10);
            CHECK(w.spent[factors[i] > 1] > 0.95 * (w.spent[0] + w.spent[1]));
        }
    }
}

/* The first steps are made by all, as was chosen, and long ones always. */
static void all_at_first(void) {
    fnn_pace pace = {0};
    world brief = {.all = 1e-5, .alone = 1e-6}, long_steps = {.all = 0.02, .alone = 0.03};
    live(&brief, &pace, 0.0009);
    CHECK(brief.spent[1] == 0);
    pace = (fnn_pace){0};
    live(&long_steps, &pace, 10);
    CHECK(long_steps.spent[1] == 0);
}

/* Steps on all threads that were interrupted for a while, and whose threads are slow when they are woken, are soon on
 * all of them again, however long they went well before. */
static void interrupted(void) {
    for (double step = 5e-6; step < 1e-3; step *= 6) {
        fnn_pace pace = {0};
        world good = {.all = step, .alone = 1.9 * step}, bad = {.all = 20 * step, .alone = 1.9 * step};
        for (int i = 0; i < 5; i++) {
            live(&good, &pace, 2);
            live(&bad, &pace, 0.05);
            CHECK(pace.alone || pace.trial);
            double all = 0, alone = 0;
            while (all + alone < 0.3) {
                const int was_alone = pace.alone;
                const ptrdiff_t steps = fnn_pace_steps(&pace, step);
                double took = (double)steps * (was_alone ? good.alone : good.all);
                if (!was_alone && pace.waking) took += 5 * step + 100e-6;
                fnn_pace_add(&pace, was_alone, took, steps);
                *(was_alone ? &alone : &all) += took;
            }
            CHECK(alone < 0.05);
        }
    }
}

/* Nothing is divided by zero, nor runs away, where a clock stands still or the guess is odd. */
static void odd_clocks(void) {
    fnn_pace pace = {0};
    CHECK(fnn_pace_steps(&pace, 0) >= 1);
    CHECK(fnn_pace_steps(&pace, 1e-300) >= 1);
    CHECK(fnn_pace_steps(&pace, 1e300) == 1);
    fnn_pace_add(&pace, 0, 1, 0);
    for (int i = 0; i < 100; i++) fnn_pace_add(&pace, pace.alone, 0, 10);
    CHECK(fnn_pace_steps(&pace, 1e-6) >= 1);
    fnn_pace_add(&pace, !pace.alone, 1, 10); /* what was not asked for is not counted */
    CHECK(pace.spent <= 1);
}

void test_pace(void);
void test_pace(void) {
    better_way();
    all_at_first();
    interrupted();
    odd_clocks();
}
