/* test_apart.c: where the threads of a team may run (apart.h), in a model of Linux and in Linux itself.
 *
 * The model has as many processors as a test likes, containers that change, threads that are woken anywhere, and
 * somebody else who tells threads where to run: all that a machine does too seldom, or with too few processors. Its
 * functions replace the system's before apart.h is compiled here.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#if !defined(_WIN32)
#define _GNU_SOURCE
#endif

#include "check.h"

void test_apart(void);

#if !defined(__linux__)

void test_apart(void) {}

#else

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fastnn.h"
#include "gate.h"
#include "parallel.h"

/* ---- the system itself ----------------------------------------------------------------------------------------- */

typedef struct {
    cpu_set_t allowed;    /* of the caller */
    atomic_int outside;   /* threads that might have run elsewhere */
    atomic_int together;  /* times that a thread which had slept was where another one computed */
    _Atomic int where[2]; /* processor of each thread */
    atomic_int told;      /* all threads have been told to run within `allowed` */
} affinity_test;

static void look_at_affinity(void *context, fnn_team *team, int thread, int threads) {
    affinity_test *test = context;
    cpu_set_t mine, within;
    (void)team, (void)thread, (void)threads;
    if (sched_getaffinity(0, sizeof mine, &mine) != 0) return;
    CPU_AND(&within, &mine, &test->allowed);
    if (!CPU_EQUAL(&within, &mine)) atomic_fetch_add(&test->outside, 1);
}

/* Each thread in turn lets the other one fall asleep at the barrier. */
static void sleep_in_turns(void *context, fnn_team *team, int thread, int threads) {
    affinity_test *test = context;
    for (int round = 0; round < 40; round++) {
        const double until = fnn_seconds() + (round % 2 == thread ? 2e-3 : 0);
        while (fnn_seconds() < until) continue;
        atomic_store(&test->where[thread], sched_getcpu());
        fnn_team_barrier(team, thread);
        const int other = threads == 2 ? atomic_load(&test->where[1 - thread]) : -1;
        if (other == sched_getcpu()) atomic_fetch_add(&test->together, 1);
        if (atomic_load(&test->told)) look_at_affinity(context, team, thread, threads);
        fnn_team_barrier(team, thread);
    }
}

/* Workers stay within what the caller may use, also when that has become less since they were made; they and the caller
 * keep apart, and the caller gets its affinity back. */
static void affinity(void) {
    cpu_set_t before, after, one;
    CHECK_EQUAL(sched_getaffinity(0, sizeof before, &before), 0);

    affinity_test test = {.allowed = before, .told = 1};
    fnn_team_run(2, sleep_in_turns, &test);
    CHECK_EQUAL(atomic_load(&test.outside), 0);
    /* Of 80; now and then the system moves one. */
    if (CPU_COUNT(&before) >= 2) CHECK(atomic_load(&test.together) <= 16);
    sched_getaffinity(0, sizeof after, &after);
    CHECK(CPU_EQUAL(&before, &after));

    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    CHECK_EQUAL(sched_setaffinity(0, sizeof one, &one), 0);
    test = (affinity_test){.allowed = one};
    fnn_team_run(3, look_at_affinity, &test);
    CHECK_EQUAL(atomic_load(&test.outside), 0);
    sched_getaffinity(0, sizeof after, &after);
    CHECK(CPU_EQUAL(&one, &after));
    CHECK_EQUAL(sched_setaffinity(0, sizeof before, &before), 0);
}

/* What `taskset -a` does. */
static void *tell_all_threads(void *context) {
    affinity_test *test = context;
    usleep(20000);
    DIR *threads = opendir("/proc/self/task");
    if (threads == NULL) return NULL;
    for (const struct dirent *entry; (entry = readdir(threads)) != NULL;)
        if (entry->d_name[0] != '.') sched_setaffinity(atoi(entry->d_name), sizeof test->allowed, &test->allowed);
    closedir(threads);
    atomic_store(&test->told, 1);
    return NULL;
}

/* Threads told in a call to run elsewhere do so at once, and the caller still does afterwards. */
static void told_from_outside(void) {
    cpu_set_t before, after;
    sched_getaffinity(0, sizeof before, &before);
    for (int call = 0; call < 8; call++) {
        int processor = -1; /* the first, the second, the first, ... */
        for (int seen = -1; seen < call % 2 && processor < CPU_SETSIZE - 1;)
            seen += CPU_ISSET((size_t)++processor, &before) != 0;
        if (processor == CPU_SETSIZE - 1) return;
        affinity_test test = {.told = 0};
        CPU_SET((size_t)processor, &test.allowed);
        pthread_t other;
        if (!CHECK_EQUAL(pthread_create(&other, NULL, tell_all_threads, &test), 0)) return;
        fnn_team_run(2, sleep_in_turns, &test);
        sched_getaffinity(0, sizeof after, &after);
        pthread_join(other, NULL);
        if (atomic_load(&test.told)) CHECK_EQUAL(atomic_load(&test.outside), 0);
        if (atomic_load(&test.told)) CHECK(CPU_EQUAL(&after, &test.allowed));
        CHECK_EQUAL(sched_setaffinity(0, sizeof before, &before), 0);
    }
}

/* ---- a model of it --------------------------------------------------------------------------------------------- */

enum { MODEL_THREADS = 4 };

static struct {
    uint32_t container;               /* the processors there are; sets of them are bits here */
    uint32_t asked[MODEL_THREADS];    /* for by each thread; Linux does not forget it */
    int where[MODEL_THREADS];         /* the processor of each */
    int running;                      /* the thread that makes the call */
    int refuses;                      /* nobody may be told where to run */
    int too_many;                     /* processors for what apart.h can hold */
    int calls;                        /* that would change something */
} model;

/* Where a thread may run: what it asked for and there is; what there is if that is nothing. */
static uint32_t model_may(int thread) {
    const uint32_t both = model.asked[thread] & model.container;
    return both ? both : model.container;
}

/* A thread is somewhere it may run: the lowest such processor, if it has to move. */
static void model_settle(void) {
    for (int i = 0; i < MODEL_THREADS; i++) {
        if (model_may(i) >> model.where[i] & 1) continue;
        for (model.where[i] = 0; !(model_may(i) >> model.where[i] & 1);) model.where[i]++;
    }
}

static int model_set(int thread, const cpu_set_t *set) {
    uint32_t wanted = 0;
    model.calls++;
    for (size_t i = 0; i < 32; i++) wanted |= (uint32_t)(CPU_ISSET(i, set) != 0) << i;
    if (model.refuses) return EPERM;
    if (!(wanted & model.container)) return EINVAL;
    model.asked[thread] = wanted;
    model_settle();
    return 0;
}

static int model_get(int thread, cpu_set_t *set) {
    if (model.too_many) return EINVAL;
    CPU_ZERO(set);
    for (size_t i = 0; i < 32; i++)
        if (model_may(thread) >> i & 1) CPU_SET(i, set);
    return 0;
}

#define sched_getcpu() (model.where[model.running])
#define sched_getaffinity(thread, bytes, set) ((void)(bytes), model_get(model.running, set))
#define sched_setaffinity(thread, bytes, set) ((void)(bytes), model_set(model.running, set))
#define pthread_self() ((pthread_t)(uintptr_t)model.running)
#define pthread_getaffinity_np(thread, bytes, set) ((void)(bytes), model_get((int)(uintptr_t)(thread), set))
#define pthread_setaffinity_np(thread, bytes, set) ((void)(bytes), model_set((int)(uintptr_t)(thread), set))
#include "apart.h"

static struct {
    fnn_whereabouts place[MODEL_THREADS], *places[MODEL_THREADS];
    fnn_processors allowed;
    int threads;
    _Atomic bool disturbed;
} team;

static void model_begin(uint32_t container, uint32_t caller_asked, int threads) {
    memset(&model, 0, sizeof model);
    memset(&team, 0, sizeof team);
    model.container = container;
    for (int i = 0; i < MODEL_THREADS; i++) model.asked[i] = caller_asked;
    model_settle();
    for (int i = 0; i < MODEL_THREADS; i++) team.places[i] = &team.place[i];
    team.threads = threads;
}

/* As team_place() does. */
static void begin_call(void) {
    fnn_processors allowed;
    model.running = 0;
    const int processors = processors_allowed(&allowed);
    const bool same = same_processors(&allowed, &team.allowed);
    team.allowed = allowed;
    atomic_store(&team.disturbed, false);
    place_caller(team.places[0], &allowed);
    for (int i = 1; i < team.threads; i++) {
        team.places[i]->thread = (pthread_t)(uintptr_t)i;
        place_worker(team.places[i], team.places[0], &allowed, same, team.threads <= (processors ? processors : 99));
    }
}

static void end_call(void) {
    model.running = 0;
    release_caller(team.places, team.threads, &team.allowed);
}

/* A thread wakes up where Linux has put it: there, if it may run there. */
static bool wake(int thread, int there) {
    if (model_may(thread) >> there & 1) model.where[thread] = there;
    model.running = thread;
    return place_woken(team.places, team.threads, thread, &team.allowed, &team.disturbed);
}

static void tell_everybody(uint32_t processors) {
    for (int i = 0; i < MODEL_THREADS; i++) model.asked[i] = processors;
    model_settle();
}

static void container_becomes(uint32_t processors) {
    model.container = processors;
    model_settle();
}

static void threads_keep_apart(void) {
    model_begin(0xf, ~0u, 3);
    begin_call();
    CHECK_EQUAL(model_may(1), 0xe);
    CHECK_EQUAL(model_may(2), 0xe);
    CHECK(!wake(1, 1));
    CHECK(wake(2, 1));
    CHECK_EQUAL(model_may(2), 0xc);
    CHECK(wake(0, 2)); /* beside thread 2; thread 1 is on 1 */
    CHECK_EQUAL(model_may(0), 0x9);
    CHECK(!wake(0, 0));
    end_call();
    CHECK_EQUAL(model_may(0), 0xf);
    container_becomes(0xff); /* what was given back grows with the container */
    CHECK_EQUAL(model_may(0), 0xff);

    const int calls = model.calls;
    model.where[0] = 0; /* nothing has changed for the workers that matters */
    container_becomes(0xf);
    begin_call();
    end_call();
    CHECK_EQUAL(model.calls, calls);
    CHECK_EQUAL(model_may(0), 0xf);
}

static void a_caller_with_fewer_gets_those_back(void) {
    for (uint32_t asked = 1; asked < 16; asked++) {
        model_begin(0xf, asked, 2);
        begin_call();
        for (int there = 0; there < 4; there++) {
            wake(1, there);
            wake(0, model.where[1]);
            CHECK_EQUAL(model_may(0) & ~asked, 0);
            CHECK_EQUAL(model_may(1) & ~asked, 0);
        }
        end_call();
        CHECK_EQUAL(model_may(0), asked);
        container_becomes(0xff);
        CHECK_EQUAL(model_may(0), asked == 15 ? 0xff : asked);
    }
}

static void containers_change(void) {
    for (uint32_t first = 1; first < 16; first++) {
        for (uint32_t second = first; second > 0; second = (second - 1) & first) { /* each part of it */
            for (int there = 0; there < 4; there++) {
                model_begin(first, ~0u, 2);
                begin_call();
                wake(1, there);
                wake(0, model.where[1]);
                container_becomes(second);
                wake(1, 3 - there);
                wake(0, model.where[1]);
                end_call();
                CHECK_EQUAL(model_may(0), second);
                container_becomes(first | second);
                CHECK_EQUAL(model_may(0), first | second);
                begin_call();
                CHECK_EQUAL(model_may(1) & ~(first | second), 0);
                end_call();
            }
        }
    }
}

/* Two threads on two processors: whatever happens before and after somebody tells both where to run, they do. */
static void told_in_the_model(void) {
    for (uint32_t sequence = 0; sequence < 1 << 12; sequence++) {
        for (uint32_t processors = 1; processors < 4; processors++) {
            model_begin(3, ~0u, 2);
            begin_call();
            int good = 1;
            for (int event = 0; event < 6; event++) {
                if (event == 3) tell_everybody(processors);
                wake(sequence >> 2 * event & 1, sequence >> (2 * event + 1) & 1);
                if (event >= 3) good &= ((model_may(0) | model_may(1)) & ~processors) == 0;
            }
            end_call();
            CHECK(good && model_may(0) == processors);
            tell_everybody(~0u); /* a call in which that shows, and all is as it was */
            for (int call = 0; call < 2; call++) {
                begin_call();
                wake(1, model.where[0]);
                end_call();
            }
            begin_call();
            CHECK_EQUAL(model_may(1), 3u & ~(1u << model.where[0]));
            end_call();
        }
    }
}

static void nobody_may_be_told(void) {
    model_begin(0xf, ~0u, 2);
    model.refuses = 1;
    begin_call();
    CHECK(!wake(1, 0));
    const int calls = model.calls;
    for (int i = 0; i < 10; i++) CHECK(!wake(i % 2, 0));
    CHECK(model.calls <= calls + 1);
    end_call();
    CHECK_EQUAL(model_may(0), 0xf);

    model_begin(0xf, ~0u, 2);
    model.too_many = 1;
    begin_call();
    for (int i = 0; i < 10; i++) CHECK(!wake(i % 2, 0));
    end_call();
    CHECK_EQUAL(model.calls, 0);
}

void test_apart(void) {
    threads_keep_apart();
    a_caller_with_fewer_gets_those_back();
    containers_change();
    told_in_the_model();
    nobody_may_be_told();
    if (strcmp(fnn_threads_backend(), "posix") != 0) return;
    affinity();
    told_from_outside();
}

#endif
