/* check.h: the whole test framework of the C tests. A check that fails says where and what, is counted, and the test
 * goes on. Checks belong on the main thread: work on other threads records what it saw and is checked afterwards.
 * To add a test file: a function in the list of main.c.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdio.h>

extern long checks_passed, checks_failed;

/* Counts a check; returns whether it passed. */
static inline int check_count(int passed, const char *file, int line, const char *what) {
    if (passed) {
        checks_passed++;
    } else {
        checks_failed++;
        printf("%s:%d: failed: %s\n", file, line, what);
    }
    return passed;
}

static inline int check_equal(long long found, long long wanted, const char *file, int line, const char *what) {
    int passed = check_count(found == wanted, file, line, what);
    if (!passed) printf("    found %lld, wanted %lld\n", found, wanted);
    return passed;
}

/* |found - wanted| <= tolerance; equal infinities are close, NaN is close to NaN only. */
static inline int check_close(double found, double wanted, double tolerance, const char *file, int line,
                              const char *what) {
    int close = found == wanted || fabs(found - wanted) <= tolerance || (isnan(found) && isnan(wanted));
    int passed = check_count(close, file, line, what);
    if (!passed) printf("    found %.17g, wanted %.17g, tolerance %g\n", found, wanted, tolerance);
    return passed;
}

#define CHECK(condition) check_count((condition) != 0, __FILE__, __LINE__, #condition)
#define CHECK_EQUAL(found, wanted) \
    check_equal((long long)(found), (long long)(wanted), __FILE__, __LINE__, #found " == " #wanted)
#define CHECK_CLOSE(found, wanted, tolerance) \
    check_close((double)(found), (double)(wanted), (tolerance), __FILE__, __LINE__, #found " ~ " #wanted)

#endif
