/* pace.c: see pace.h.
 *
 * Time is cut into periods, in which all steps are made the same way. Once in a while the other way is tried for a
 * short one, and the better of the two means is kept.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "pace.h"

/* Longer than a processor is usually lent to another program (3-4 ms), so that a mean has seen it happen. */
#define PERIOD 5e-3
/* The first one, and how many steps of it are made before the clock is read: little is lost if the guess was wrong. */
#define FIRST_PERIOD 1e-3
#define FIRST_STEPS 8
#define TRIAL 0.5e-3
/* Seconds between trials grow from the first to the last while they change nothing. Threads that had to be woken, or lost
 * their processor for a while, may be slow for milliseconds and then fast, so they get another chance soon; where they
 * help by 2, a trial alone loses half of its time. */
#define FIRST_WAIT 2e-3
#define FIRST_WAIT_ALONE 20e-3
#define LAST_WAIT 0.15
/* Threads of longer steps lose no more by a neighbour than the processor time it takes. */
#define LONG_STEP 2e-3
/* How much better the other way must be. */
#define CLEARLY 0.97

static double period_of(const fnn_pace *pace) {
    if (pace->trial) return TRIAL;
    if (pace->seconds[pace->alone] <= 0) return FIRST_PERIOD;
    const double wait = pace->next_trial - pace->since_trial; /* for the other threads' next chance */
    return pace->alone && wait < PERIOD ? wait > TRIAL ? wait : TRIAL : PERIOD;
}

ptrdiff_t fnn_pace_steps(const fnn_pace *pace, double guess) {
    if (pace->waking) return 1;
    const double known = pace->seconds[pace->alone], step = known > 0 ? known : guess;
    const double steps = (period_of(pace) - pace->spent) / step, most = known > 0 ? 1e6 : FIRST_STEPS;
    return !(steps > 1) ? 1 : steps > most ? (ptrdiff_t)most : (ptrdiff_t)steps;
}

void fnn_pace_add(fnn_pace *pace, int alone, double seconds, ptrdiff_t steps) {
    if (alone != pace->alone) return; /* the system gave no threads */
    if (steps <= 0) return;
    if (pace->waking) {
        pace->waking = 0;
        return;
    }
    pace->spent += seconds;
    pace->steps += steps;
    if (pace->spent < period_of(pace)) return;
    const double mean = pace->spent / (double)pace->steps;
    double *known = &pace->seconds[alone];
    *known = pace->trial || *known <= 0 ? mean : (*known + mean) / 2;
    const int was_trial = pace->trial;
    pace->since_trial = was_trial ? 0 : pace->since_trial + pace->spent;
    pace->trial = 0;
    pace->spent = 0;
    pace->steps = 0;
    const double other = pace->seconds[!alone];
    const int is_slower = other > 0 && other < CLEARLY * *known;
    if (is_slower) {
        pace->alone = !alone;
    } else if (!was_trial && mean < LONG_STEP && (other <= 0 || pace->since_trial > pace->next_trial)) {
        pace->alone = !alone;
        pace->trial = 1;
    }
    pace->waking = alone && !pace->alone;
    if (was_trial && is_slower)
        pace->next_trial *= 2;
    else if (was_trial || is_slower) /* from now on the other way, until it is tried again */
        pace->next_trial = 0;
    const double least = pace->alone ? FIRST_WAIT : FIRST_WAIT_ALONE;
    if (pace->next_trial < least) pace->next_trial = least;
    if (pace->next_trial > LAST_WAIT) pace->next_trial = LAST_WAIT;
}
