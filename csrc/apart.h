/* apart.h: keeps the threads of a team on different processors; only parallel.c uses it.
 *
 * Linux puts a thread that is woken on the processor of the one that wakes it when its own looks taken, and a virtual
 * processor that has gone to sleep looks so (to the guest, the host has preempted it). The waker computes or spins
 * there; both take turns until the system notices, 2 to 20 ms later, and steps of 0.4 ms take 2. Moving the thread once
 * is not enough: while it moves, another one falls asleep over it, is woken where it should not be, and so on. So a
 * worker may not run where its caller is, and a thread that wakes up beside another of its team may not run where the
 * others are until the call ends. Nobody computes where the caller may not, whose own affinity is given back; what
 * somebody else tells the threads meanwhile stays.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FNN_APART_H
#define FNN_APART_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
typedef cpu_set_t fnn_processors;
#else
typedef char fnn_processors; /* not looked at */
#endif

#include "gate.h"

/* One thread of a team. */
typedef struct {
    alignas(CACHE_LINE) _Atomic int seen; /* the processor it was last seen on, plus 1; 0: unknown */
    pthread_t thread;
    bool told;          /* whether it is known where it may run, */
    fnn_processors may; /* which is here */
} fnn_whereabouts;

#if defined(__linux__)

/* The processors the calling thread may use, and how many they are; 0: not known. */
static inline int processors_allowed(fnn_processors *allowed) {
    CPU_ZERO(allowed);
    return sched_getaffinity(0, sizeof *allowed, allowed) == 0 ? CPU_COUNT(allowed) : 0;
}

static inline bool tell(fnn_whereabouts *place, const fnn_processors *processors) {
    if (CPU_COUNT(processors) == 0) return false;
    if (pthread_setaffinity_np(place->thread, sizeof *processors, processors) != 0) return false;
    place->may = *processors;
    place->told = true;
    return true;
}

/* Before a call: says where the caller is. */
static inline void place_caller(fnn_whereabouts *caller, const fnn_processors *allowed) {
    const int here = sched_getcpu();
    atomic_store_explicit(&caller->seen, here >= 0 && here < CPU_SETSIZE ? here + 1 : 0, memory_order_relaxed);
    caller->thread = pthread_self();
    caller->told = CPU_COUNT(allowed) > 0;
    caller->may = *allowed;
}

/* Before a sleeping worker is woken. same: the caller may run where it might the last time; apart: there is a processor
 * for every thread. */
static inline void place_worker(fnn_whereabouts *worker, const fnn_whereabouts *caller, const fnn_processors *allowed,
                                bool same, bool apart) {
    const int there = atomic_load_explicit(&caller->seen, memory_order_relaxed) - 1;
    fnn_processors wanted = *allowed;
    atomic_store_explicit(&worker->seen, 0, memory_order_relaxed);
    if (apart && there >= 0) CPU_CLR((size_t)there, &wanted);
    if (worker->told && same && apart && there >= 0 && !CPU_ISSET((size_t)there, &worker->may)) return;
    if (worker->told && CPU_EQUAL(&wanted, &worker->may)) return;
    tell(worker, &wanted);
}

/* Whether all other threads of a team may run just where thread `self` may: nobody here tells them so. */
static inline bool all_may_run(fnn_whereabouts *const *team, int threads, int self, const fnn_processors *where) {
    for (int i = 0; i < threads; i++) {
        fnn_processors its;
        CPU_ZERO(&its);
        if (i == self) continue;
        if (pthread_getaffinity_np(team[i]->thread, sizeof its, &its) != 0 || !CPU_EQUAL(&its, where)) return false;
    }
    return true;
}

/* The calling thread, number `self` of a team, has just woken up: where it is, and away from the others. Returns
 * whether it moved. If it may not run where it was told, or all may run at the same places, somebody has told them from
 * outside (`taskset -a`), and if it cannot be told, nobody can: then no thread moves any more until the call ends. It
 * says so before it says where it is, for where others were told may happen to be what all were told from outside. */
static inline bool place_woken(fnn_whereabouts *const *team, int threads, int self, const fnn_processors *allowed,
                               _Atomic bool *disturbed) {
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE) return false;
    fnn_processors free = *allowed, now;
    bool shared = false, moved = false;
    for (int i = 0; i < threads; i++) {
        const int there = i == self ? -1 : atomic_load_explicit(&team[i]->seen, memory_order_acquire) - 1;
        if (there >= 0) CPU_CLR((size_t)there, &free);
        shared |= there == here;
    }
    fnn_whereabouts *mine = team[self];
    const bool strayed = mine->told && !CPU_ISSET((size_t)here, &mine->may);
    if (strayed || (shared && !atomic_load_explicit(disturbed, memory_order_relaxed))) {
        const bool as_told = mine->told && processors_allowed(&now) > 0 && CPU_EQUAL(&now, &mine->may);
        if (as_told && !all_may_run(team, threads, self, &now)) {
            moved = shared && tell(mine, &free);
        } else {
            if (self > 0) mine->told = false; /* the next call tells it anew; of the caller, its end judges */
            atomic_store_explicit(disturbed, true, memory_order_relaxed);
        }
    }
    atomic_store_explicit(&mine->seen, sched_getcpu() + 1, memory_order_release);
    return moved;
}

/* After a call: the caller may run where it might before it, unless somebody else has changed that meanwhile. Linux
 * remembers what a thread asked for: one that asked for all four processors of its container would stay on these when
 * the container gets eight. So everything is asked for, and kept where that comes to what there was; where it does not,
 * the caller had been told less. It also shows whether a smaller container is all that has changed. */
static inline void release_caller(fnn_whereabouts *const *team, int threads, const fnn_processors *allowed) {
    const fnn_whereabouts *caller = team[0];
    fnn_processors now, everything, there_are, wanted;
    if (!caller->told || CPU_EQUAL(&caller->may, allowed)) return;
    memset(&everything, 0xff, sizeof everything);
    if (processors_allowed(&now) == 0 || sched_setaffinity(0, sizeof everything, &everything) != 0) return;
    if (processors_allowed(&there_are) == 0) there_are = *allowed;
    CPU_AND(&wanted, &caller->may, &there_are);
    if (CPU_COUNT(&wanted) == 0) wanted = there_are; /* so does Linux */
    bool from_outside = false;
    for (int i = 1; i < threads; i++) from_outside |= !team[i]->told || !CPU_EQUAL(&team[i]->may, &now);
    from_outside = !CPU_EQUAL(&wanted, &now) || (from_outside && all_may_run(team, threads, 0, &now));
    wanted = from_outside ? now : *allowed;
    if (!CPU_EQUAL(&wanted, &there_are)) sched_setaffinity(0, sizeof wanted, &wanted);
}

static inline bool same_processors(const fnn_processors *a, const fnn_processors *b) { return CPU_EQUAL(a, b); }

#else

static inline int processors_allowed(fnn_processors *allowed) {
    *allowed = 0;
    return 0;
}

static inline void place_caller(fnn_whereabouts *caller, const fnn_processors *allowed) { (void)caller, (void)allowed; }

static inline void place_worker(fnn_whereabouts *worker, const fnn_whereabouts *caller, const fnn_processors *allowed,
                                bool same, bool apart) {
    (void)worker, (void)caller, (void)allowed, (void)same, (void)apart;
}

static inline bool place_woken(fnn_whereabouts *const *team, int threads, int self, const fnn_processors *allowed,
                               _Atomic bool *disturbed) {
    (void)team, (void)threads, (void)self, (void)allowed, (void)disturbed;
    return false;
}

static inline void release_caller(fnn_whereabouts *const *team, int threads, const fnn_processors *allowed) {
    (void)team, (void)threads, (void)allowed;
}

static inline bool same_processors(const fnn_processors *a, const fnn_processors *b) { return *a == *b; }

#endif

#endif
