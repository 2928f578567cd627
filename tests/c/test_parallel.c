/* test_parallel.c: teams of every size, at once, after fork(), and when the system has no thread to give; what a call
 * leaves behind (processor time, floating-point state); the cost model.
 *
 * What needs fork() and resource limits runs where they exist.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#if !defined(_WIN32)
#define _GNU_SOURCE
#endif

#include "parallel.h"

#include <fenv.h>
#include <float.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "fastnn.h"
#include "float_state.h"

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

static int threads_wanted(int threads) { return strcmp(fnn_threads_backend(), "serial") == 0 ? 1 : threads; }

/* ---- barriers ------------------------------------------------------------------------------------------------- */

enum { MOST = 64 };

typedef struct {
    int rounds;
    long counters[MOST][16]; /* a line of the cache for each thread; plain, so that only the barrier orders them */
    int wrong[MOST];
    int threads[MOST]; /* what each thread was told; 0: was not there */
} barrier_test;

/* In each round every thread counts, and after a barrier all counters are equal; a second one keeps them so while
 * they are read. */
static void count_and_compare(void *context, fnn_team *team, int thread, int threads) {
    barrier_test *test = context;
    test->threads[thread] += threads;
    for (long round = 1; round <= test->rounds; round++) {
        test->counters[thread][0]++;
        fnn_team_barrier(team, thread);
        for (int other = 0; other < threads; other++) test->wrong[thread] += test->counters[other][0] != round;
        fnn_team_barrier(team, thread);
    }
}

/* Runs the test; returns how many took part, or -1 if anything was wrong. */
static int run_barriers(int threads, int rounds) {
    barrier_test test;
    memset(&test, 0, sizeof test);
    test.rounds = rounds;
    int took_part = fnn_team_run(threads, count_and_compare, &test);
    for (int thread = 0; thread < MOST; thread++) {
        if (test.threads[thread] != (thread < took_part ? took_part : 0) || test.wrong[thread] != 0) return -1;
    }
    return took_part;
}

static void every_size(void) {
    static const int sizes[] = {1, 2, 3, 5, 8, 40, 2, 8, 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK_EQUAL(run_barriers(sizes[i], sizes[i] > 8 ? 100 : 1000), threads_wanted(sizes[i]));
    }
    CHECK_EQUAL(run_barriers(0, 10), 1);
    CHECK_EQUAL(run_barriers(-5, 10), 1);
    int wrong = 0;
    for (int call = 0; call < 300; call++) wrong += run_barriers(1 + call % 4, 3) != threads_wanted(1 + call % 4);
    CHECK_EQUAL(wrong, 0);
}

static void nothing(void *context, fnn_team *team, int thread, int threads) {
    (void)context, (void)team, (void)thread, (void)threads;
}

static void too_many(void) {
    int took_part = fnn_team_run(100000, nothing, NULL);
    CHECK(took_part >= 1 && took_part <= 1024);
    CHECK_EQUAL(run_barriers(3, 10), threads_wanted(3));
}

static void team_inside_a_team(void *context, fnn_team *team, int thread, int threads) {
    int *took_part = context;
    fnn_team_barrier(team, thread);
    took_part[thread] = run_barriers(2, 20);
    (void)threads;
}

static void nested(void) {
    int inner[3] = {0, 0, 0};
    int outer = fnn_team_run(3, team_inside_a_team, inner);
    CHECK_EQUAL(outer, threads_wanted(3));
    /* OpenMP gives a team inside a team one thread. */
    for (int i = 0; i < outer; i++) CHECK(inner[i] == 1 || inner[i] == 2);
}

/* ---- floating-point state ------------------------------------------------------------------------------------- */

typedef struct {
    int nearest[MOST], flushed[MOST];
} float_test;

/* By arithmetic, since fegetround() reads the state of the x87 on x86, which we do not use and leave alone. */
static int rounds_to_nearest(void) {
    volatile float one = 1.0f, little = FLT_EPSILON / 4;
    volatile float sum = one + little; /* volatile: or the sum moves to where it is compared, in another state */
    return sum == 1.0f;
}

static int flushes_denormals(void) {
    volatile float smallest = FLT_MIN, half = 0.5f;
    volatile float product = smallest * half;
    return product == 0.0f;
}

static void look_at_state(void *context, fnn_team *team, int thread, int threads) {
    float_test *test = context;
    test->nearest[thread] = rounds_to_nearest();
    test->flushed[thread] = flushes_denormals();
    (void)team, (void)threads;
}

static void float_state(void) {
#if defined(__SSE__) || defined(__aarch64__) || defined(_M_X64) || defined(_M_ARM64)
    const int flushes = 1;
#else
    const int flushes = 0;
#endif
    static const int sizes[] = {1, 4};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        float_test test;
        memset(&test, 0xff, sizeof test);
        fesetround(FE_UPWARD);
        feclearexcept(FE_ALL_EXCEPT);
        feraiseexcept(FE_OVERFLOW);
        int took_part = fnn_team_run(sizes[i], look_at_state, &test);
        int nearest = rounds_to_nearest(), flags = fetestexcept(FE_ALL_EXCEPT), flushed = flushes_denormals();
        fesetround(FE_TONEAREST);
        feclearexcept(FE_ALL_EXCEPT);
        CHECK(!nearest);
        CHECK(!flushed);
        CHECK((flags & FE_OVERFLOW) != 0 && (flags & FE_UNDERFLOW) == 0);
        for (int thread = 0; thread < took_part; thread++) {
            if (flushes) CHECK(test.nearest[thread]);
            CHECK_EQUAL(test.flushed[thread], flushes);
        }
    }
}

/* ---- the cost model ------------------------------------------------------------------------------------------- */

static void worth(void) {
    CHECK_EQUAL(fnn_threads_worth(0, 8, 0), 1);
    CHECK_EQUAL(fnn_threads_worth(-1, 8, 0), 1);
    CHECK_EQUAL(fnn_threads_worth((double)NAN, 8, 0), 1);
    CHECK_EQUAL(fnn_threads_worth(1e12, 0, 0), 1);
    CHECK_EQUAL(fnn_threads_worth(1e12, 2, 1), 2);
    CHECK_EQUAL(fnn_threads_worth(4e6, 2, 1), 1); /* waking takes longer than what is saved */
    CHECK_EQUAL(fnn_threads_worth(4e6, 2, 0), 2);
    CHECK_EQUAL(fnn_threads_worth(1e12, 1, 0), 1);
    CHECK_EQUAL(fnn_threads_worth(1e12, 2, 0), 2);
    CHECK_EQUAL(fnn_threads_worth((double)INFINITY, 8, 0), 8);
    CHECK_EQUAL(fnn_threads_worth(4 * 64 * 64, 8, 0), 1);                       /* a small policy, a few rows */
    CHECK_EQUAL(fnn_threads_worth(128.0 * (784 * 256 + 256 * 128), 2, 0), 2);   /* a batch of images */
    int before = 1, rises = 1;
    for (double work = 1; work < 1e12; work *= 1.5) { /* more work never takes fewer threads */
        int threads = fnn_threads_worth(work, 16, 0);
        rises &= threads >= before;
        before = threads;
    }
    CHECK(rises);
    CHECK_EQUAL(before, 16);
}

static void clock_runs(void) {
    double start = fnn_seconds(), now = start;
    for (int i = 0; i < 100000000 && now < start + 1e-3; i++) now = fnn_seconds();
    CHECK(now >= start + 1e-3 && now < start + 1);
}

/* ---- processes, limits ---------------------------------------------------------------------------------------- */

#if !defined(_WIN32)

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/* The thread sanitizer's default is to end a forked child that starts a thread, which is what we promise works. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "die_after_fork=0"; }

static void *many_calls(void *argument) {
    int *wrong = argument;
    for (int call = 0; call < 50; call++) {
        int threads = 1 + (call + *wrong) % 4;
        *wrong += run_barriers(threads, 5) != threads_wanted(threads);
    }
    return NULL;
}

static void calls_at_once(void) {
    enum { CALLERS = 8 };
    pthread_t callers[CALLERS];
    int wrong[CALLERS] = {0};
    for (int i = 0; i < CALLERS; i++) pthread_create(&callers[i], NULL, many_calls, &wrong[i]);
    for (int i = 0; i < CALLERS; i++) pthread_join(callers[i], NULL);
    for (int i = 0; i < CALLERS; i++) CHECK_EQUAL(wrong[i], 0);
}

/* Runs `part` in a forked child, for at most 2 s (20 under a sanitizer); returns its exit status, -1 when killed. */
static int in_child(int (*part)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
#if defined(SANITIZED)
        alarm(20);
#else
        alarm(2);
#endif
        _exit(part());
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int barriers_in_child(void) { return run_barriers(4, 50); }

static volatile int fork_result;
static void fork_inside(void *context, fnn_team *team, int thread, int threads) {
    if (thread == 0) fork_result = in_child(barriers_in_child);
    fnn_team_barrier(team, thread);
    (void)context, (void)threads;
}

static _Atomic int background_stop;
static void *background_calls(void *argument) {
    while (!background_stop) run_barriers(3, 20);
    return argument;
}

static void forks(void) {
    /* A forked child has one thread with OpenMP, and a team of its own with POSIX threads. */
    int wanted = strcmp(fnn_threads_backend(), "posix") == 0 ? 4 : 1;
    CHECK_EQUAL(run_barriers(4, 10), threads_wanted(4));
    CHECK_EQUAL(in_child(barriers_in_child), wanted);
    CHECK_EQUAL(run_barriers(4, 10), threads_wanted(4));

    /* From within a call. */
    fnn_team_run(3, fork_inside, NULL);
    CHECK_EQUAL(fork_result, wanted);

    /* While another thread is somewhere in a call. */
    pthread_t background;
    pthread_create(&background, NULL, background_calls, NULL);
    for (int i = 0; i < 20; i++) CHECK_EQUAL(in_child(barriers_in_child), wanted);
    background_stop = 1;
    pthread_join(background, NULL);
    CHECK_EQUAL(run_barriers(4, 10), threads_wanted(4));
}

/* As an ordinary user: limits on the number of threads do not bind the superuser. */
static int without_threads(void) {
    struct rlimit none = {0, 0};
    if (geteuid() == 0 && setuid(65534) != 0) return 99;
    if (setrlimit(RLIMIT_NPROC, &none) != 0) return 99;
    return run_barriers(8, 100);
}

#if !defined(SANITIZED) && defined(__linux__) /* sanitizers map terabytes */
static int without_memory(void) {
    struct rlimit little = {1 << 20, 1 << 20}; /* already exceeded: what stacks the C library kept, and no more */
    if (setrlimit(RLIMIT_AS, &little) != 0) return 99;
    int took_part = fnn_team_run(1000, nothing, NULL);
    return took_part >= 1 && took_part < 1000;
}
#endif

static int team_for_six(void) {
    int first = run_barriers(6, 10);
    struct rlimit none = {0, 0};
    if (geteuid() == 0 && setuid(65534) != 0) return 99;
    if (setrlimit(RLIMIT_NPROC, &none) != 0) return 99;
    return first * 10 + run_barriers(8, 100);
}

static void no_threads_to_be_had(void) {
    int with_some = strcmp(fnn_threads_backend(), "posix") == 0 ? 66 : 11;
    int status = in_child(without_threads);
    if (status == 99) {
        printf("test_parallel.c: skipped: cannot limit the number of threads here\n");
        return;
    }
    CHECK_EQUAL(status, 1);
    CHECK_EQUAL(in_child(team_for_six), with_some); /* those already made are used */
#if !defined(SANITIZED) && defined(__linux__)
    CHECK_EQUAL(in_child(without_memory), 1);
#endif
}

static double processor_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Nothing of ours runs between calls: libgomp's idle threads use 12 ms here. */
static void idle_costs_nothing(void) {
    if (strcmp(fnn_threads_backend(), "posix") != 0) return;
    run_barriers(2, 10);
    double before = processor_seconds();
    usleep(100000);
    CHECK(processor_seconds() - before < 2e-3);
}

static void processes(void) {
    calls_at_once();
    forks();
    no_threads_to_be_had();
    idle_costs_nothing();
}

#else

static void processes(void) {}

#endif

void test_parallel(void) {
    clock_runs();
    worth();
    every_size();
    float_state();
    nested();
    processes();
    too_many();
}
