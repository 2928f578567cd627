/* apart.h: keeps the threads of a team on different processors; only parallel.c uses it.
 *
 * Linux puts a thread that is woken on the processor of the one that wakes it when its own looks taken, and a virtual
 * processor that has gone to sleep looks so (to the guest, the host has preempted it). The waker computes or spins
 * there; both take turns until the system notices, 2 to 20 ms later, and steps of 0.4 ms take 2. Moving the thread once
 * is not enough: while it moves, another one falls asleep over it, is woken where it should not be, and so on. So a
 * worker may not run where its caller is, and a thread that wakes up beside another of its team may not run where the
 * others are until the call ends. Nobody is ever allowed more than the caller, whose own affinity is given back.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FNN_APART_H
#define FNN_APART_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
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
    bool kept;           /* whether it was told where it may run, */
    fnn_processors may; /* which is here */
} fnn_place;

#if defined(__linux__)

/* The processors the calling thread may use, and how many they are; 0: not known. */
static inline int processors_allowed(fnn_processors *allowed) {
    CPU_ZERO(allowed);
    return sched_getaffinity(0, sizeof *allowed, allowed) == 0 ? CPU_COUNT(allowed) : 0;
}

static inline void keep_within(fnn_place *place, pthread_t thread, const fnn_processors *processors) {
    if (CPU_COUNT(processors) == 0 || pthread_setaffinity_np(thread, sizeof *processors, processors) != 0) return;
    place->may = *processors;
    place->kept = true;
}

/* Before a call: says where the caller is. */
static inline void place_caller(fnn_place *caller) {
    const int here = sched_getcpu();
    atomic_store_explicit(&caller->seen, here >= 0 && here < CPU_SETSIZE ? here + 1 : 0, memory_order_relaxed);
}

/* Before a sleeping worker is woken. same: the caller may run where it might the last time; apart: there is a processor
 * for every thread. */
static inline void place_worker(fnn_place *worker, pthread_t thread, const fnn_place *caller,
                                const fnn_processors *allowed, bool same, bool apart) {
    const int there = atomic_load_explicit(&caller->seen, memory_order_relaxed) - 1;
    fnn_processors wanted = *allowed;
    atomic_store_explicit(&worker->seen, 0, memory_order_relaxed);
    if (apart && there >= 0) CPU_CLR((size_t)there, &wanted);
    if (worker->kept && same && apart && there >= 0 && !CPU_ISSET((size_t)there, &worker->may)) return;
    if (worker->kept && CPU_EQUAL(&wanted, &worker->may)) return;
    keep_within(worker, thread, &wanted);
}

/* The calling thread, number `self` of a team, has just woken up: where it is, and away from the others. Returns whether
 * it had to move. */
static inline bool place_woken(fnn_place *const *team, int threads, int self, const fnn_processors *allowed) {
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE) return false;
    fnn_processors free = *allowed;
    bool shared = false;
    for (int i = 0; i < threads; i++) {
        const int there = i == self ? -1 : atomic_load_explicit(&team[i]->seen, memory_order_relaxed) - 1;
        if (there >= 0) CPU_CLR((size_t)there, &free);
        shared |= there == here;
    }
    if (shared) keep_within(team[self], pthread_self(), &free);
    atomic_store_explicit(&team[self]->seen, sched_getcpu() + 1, memory_order_relaxed);
    return shared;
}

/* After a call: the caller may run where it might before it, unless somebody else has changed that meanwhile. */
static inline void release_caller(fnn_place *caller, const fnn_processors *allowed) {
    fnn_processors now;
    if (!caller->kept) return;
    caller->kept = false;
    if (processors_allowed(&now) > 0 && CPU_EQUAL(&now, &caller->may)) sched_setaffinity(0, sizeof *allowed, allowed);
}

static inline bool same_processors(const fnn_processors *a, const fnn_processors *b) { return CPU_EQUAL(a, b); }

#else

static inline int processors_allowed(fnn_processors *allowed) {
    *allowed = 0;
    return 0;
}

static inline void place_caller(fnn_place *caller) { (void)caller; }

static inline void place_worker(fnn_place *worker, pthread_t thread, const fnn_place *caller,
                                const fnn_processors *allowed, bool same, bool apart) {
    (void)worker, (void)thread, (void)caller, (void)allowed, (void)same, (void)apart;
}

static inline bool place_woken(fnn_place *const *team, int threads, int self, const fnn_processors *allowed) {
    (void)team, (void)threads, (void)self, (void)allowed;
    return false;
}

static inline void release_caller(fnn_place *caller, const fnn_processors *allowed) { (void)caller, (void)allowed; }

static inline bool same_processors(const fnn_processors *a, const fnn_processors *b) { return *a == *b; }

#endif

#endif
