/* gate.h: the one thing threads of a team wait at, on a futex (Linux) or a lock and a condition (elsewhere).
 *
 * Private to parallel.c. Waiting looks a while and then sleeps; what is not open soon costs no processor time.
 * To add a system: gate_init, gate_destroy, gate_sleep, gate_wake.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FNN_GATE_H
#define FNN_GATE_H

#include <limits.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
#elif defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <pthread.h>
#endif
#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#endif

/* Two cache lines of 64 bytes are fetched together on x86, one has 128 bytes on some AArch64. */
enum { CACHE_LINE = 128 };

/* A gate counts how often it was opened. A thread that has seen `number` waits until it is another; opening costs a
 * system call only when somebody sleeps. Sleeper and opener each write (sleepers, number) before they read the
 * other's (number, sleepers), all in one total order: one of the two always sees the other. */
typedef struct {
    alignas(CACHE_LINE) _Atomic uint32_t number;
    _Atomic uint32_t sleepers;
#if defined(_WIN32)
    SRWLOCK lock;
    CONDITION_VARIABLE opened;
#elif !defined(__linux__)
    pthread_mutex_t lock;
    pthread_cond_t opened;
#endif
} fnn_gate;

#if defined(__linux__)

static inline void gate_init(fnn_gate *gate) {
    atomic_init(&gate->number, 0);
    atomic_init(&gate->sleepers, 0);
}

static inline void gate_destroy(fnn_gate *gate) { (void)gate; }

/* Sleeps while number == seen; may return early. The kernel compares and falls asleep in one step. */
static inline void gate_sleep(fnn_gate *gate, uint32_t seen) {
    syscall(SYS_futex, (void *)&gate->number, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static inline void gate_wake(fnn_gate *gate) {
    syscall(SYS_futex, (void *)&gate->number, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

#elif defined(_WIN32)

static inline void gate_init(fnn_gate *gate) {
    atomic_init(&gate->number, 0);
    atomic_init(&gate->sleepers, 0);
    InitializeSRWLock(&gate->lock);
    InitializeConditionVariable(&gate->opened);
}

static inline void gate_destroy(fnn_gate *gate) { (void)gate; }

/* The lock is what makes comparing and falling asleep one step. */
static inline void gate_sleep(fnn_gate *gate, uint32_t seen) {
    AcquireSRWLockExclusive(&gate->lock);
    if (atomic_load(&gate->number) == seen) SleepConditionVariableSRW(&gate->opened, &gate->lock, INFINITE, 0);
    ReleaseSRWLockExclusive(&gate->lock);
}

static inline void gate_wake(fnn_gate *gate) {
    AcquireSRWLockExclusive(&gate->lock); /* whoever compared before the opening is asleep by now */
    ReleaseSRWLockExclusive(&gate->lock);
    WakeAllConditionVariable(&gate->opened);
}

#else

static inline void gate_init(fnn_gate *gate) {
    atomic_init(&gate->number, 0);
    atomic_init(&gate->sleepers, 0);
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->opened, NULL);
}

static inline void gate_destroy(fnn_gate *gate) {
    pthread_cond_destroy(&gate->opened);
    pthread_mutex_destroy(&gate->lock);
}

/* The lock is what makes comparing and falling asleep one step. */
static inline void gate_sleep(fnn_gate *gate, uint32_t seen) {
    pthread_mutex_lock(&gate->lock);
    if (atomic_load(&gate->number) == seen) pthread_cond_wait(&gate->opened, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

/* Broadcast under the lock, so that the gate is not used any more once the last sleeper has passed. */
static inline void gate_wake(fnn_gate *gate) {
    pthread_mutex_lock(&gate->lock);
    pthread_cond_broadcast(&gate->opened);
    pthread_mutex_unlock(&gate->lock);
}

#endif

/* Tells the processor that this thread only waits: some 40-140 cycles on x86, about 20 on AArch64. */
static inline void pause_briefly(void) {
#if defined(__SSE2__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` does nothing on most cores */
#endif
}

static inline uint32_t gate_number(fnn_gate *gate) { return atomic_load_explicit(&gate->number, memory_order_acquire); }

static inline void gate_open(fnn_gate *gate) {
    atomic_fetch_add(&gate->number, 1);
    if (atomic_load(&gate->sleepers) != 0) gate_wake(gate);
}

/* Waits until number is not `seen` any more: looks `spins` times, then sleeps. Returns whether it slept. */
static inline int gate_wait(fnn_gate *gate, uint32_t seen, int spins) {
    for (; spins > 0; spins--) {
        if (gate_number(gate) != seen) return 0;
        pause_briefly();
    }
    if (gate_number(gate) != seen) return 0;
    atomic_fetch_add(&gate->sleepers, 1);
    while (atomic_load(&gate->number) == seen) gate_sleep(gate, seen);
    atomic_fetch_sub(&gate->sleepers, 1);
    return 1;
}

#endif
