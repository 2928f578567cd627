/* clock.h: seconds on a clock that only goes forward, for deciding when to poll and for timing benchmarks.
 *
 * Only differences have a meaning. Costs 20-50 ns: read it once per tile of work, not per element.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FNN_CLOCK_H
#define FNN_CLOCK_H

#if defined(_WIN32)

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

static inline double fnn_seconds(void) {
    LARGE_INTEGER now, frequency;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&frequency);
    return (double)now.QuadPart / (double)frequency.QuadPart;
}

#else

#include <time.h>

/* -std=c11 hides the POSIX clock unless a feature macro was set before the first system header. */
#if !defined(CLOCK_MONOTONIC)
#error "define _POSIX_C_SOURCE 200809L (or _GNU_SOURCE) before the first #include of a file that uses clock.h"
#endif

static inline double fnn_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif

#endif
