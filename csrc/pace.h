/* pace.h: whether the steps of a training run are faster on all threads or on one, by measuring both now and then.
 *
 * Results do not depend on it. It is for what no cost model knows: a neighbour that keeps a processor busy, so that a
 * step of 10 us waits for milliseconds; processors so far apart that exchanging parameters costs more than it saves.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FASTNN_PACE_H
#define FASTNN_PACE_H

#include "fastnn.h"

/* Steps until the next call of fnn_pace_add; guess: seconds of a step, while nothing is known. */
ptrdiff_t fnn_pace_steps(const fnn_pace *pace, double guess);

/* So many steps took so long, all of them on one thread (alone) or on all. Decides about the next ones. */
void fnn_pace_add(fnn_pace *pace, int alone, double seconds, ptrdiff_t steps);

#endif
