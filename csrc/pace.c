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
/* Trials. Alone needs no luck; with all threads a trial waits for them to wake, and may meet the neighbour or not. */
#define TRIAL_ALONE 1e-3
#define TRIAL_ALL 3e-3
/* Seconds between trials: where threads help by 2, a trial alone loses half of its time, 0.3 % of this. */
#define BETWEEN_TRIALS 0.15
/* Threads of longer steps lose no more by a neighbour than the processor time it takes. */
#define LONG_STEP 2e-3
/* How much better the other way must be. */
#define CLEARLY 0.97

ptrdiff_t fnn_pace_steps(const fnn_pace *pace, double guess) {
    const double known = pace->seconds[pace->alone], step = known > 0 ? known : guess;
    const double period = !pace->trial ? PERIOD : pace->alone ? TRIAL_ALONE : TRIAL_ALL;
    const double steps = (period - pace->spent) / step;
    return !(steps > 1) ? 1 : steps > 1e6 ? 1000000 : (ptrdiff_t)steps;
}

void fnn_pace_add(fnn_pace *pace, int alone, double seconds, ptrdiff_t steps) {
    if (alone != pace->alone) return; /* the system gave no threads */
    if (steps <= 0) return;
    pace->spent += seconds;
    pace->steps += steps;
    if (pace->spent < (!pace->trial ? PERIOD : alone ? TRIAL_ALONE : TRIAL_ALL)) return;
    const double mean = pace->spent / (double)pace->steps;
    double *known = &pace->seconds[alone];
    *known = pace->trial || *known <= 0 ? mean : (*known + mean) / 2;
    pace->since_trial = pace->trial ? 0 : pace->since_trial + pace->spent;
    pace->trial = 0;
    pace->spent = 0;
    pace->steps = 0;
    const double other = pace->seconds[!alone];
    if (other > 0 && other < CLEARLY * *known) {
        pace->alone = !alone;
    } else if (mean < LONG_STEP && (other <= 0 || pace->since_trial > BETWEEN_TRIALS)) {
        pace->alone = !alone;
        pace->trial = 1;
    }
}
