/* random.h: the block function behind the random numbers of fastnn.h, for tests and for whoever needs its own layout
 * of the counter.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FNN_RANDOM_H
#define FNN_RANDOM_H

#include <stdint.h>

/* out = Philox4x32-10 of (counter, key). */
void fnn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
