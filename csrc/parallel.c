/* parallel.c: teams of threads, in one of three backends chosen when the library is compiled.
 *
 *   FNN_THREADS_POSIX    our own threads: the default wherever there are POSIX threads
 *   FNN_THREADS_OPENMP   the compiler's threads: the default with MSVC and /openmp, elsewhere a build option
 *   FNN_THREADS_SERIAL   the calling thread alone: the default for other compilers on Windows
 *
 * POSIX threads are the default because libgomp ends the process when it cannot make a thread, hangs after a fork and
 * keeps its threads spinning after a call (12.6 ms of processor time after each parallel region, measured with gcc 12
 * on two cores). The rules here: no thread of ours runs between calls (but for some tens of microseconds in a loop of
 * them), a thread that cannot be had costs speed and
 * never correctness, and no call waits for another. To add a backend: define fnn_team_run() and cpus_available().
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#if !defined(_WIN32)
#define _GNU_SOURCE /* pthread_setaffinity_np, syscall */
#endif

#include "parallel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "fastnn.h"
#include "float_state.h"

#if !defined(FNN_THREADS_POSIX) && !defined(FNN_THREADS_OPENMP) && !defined(FNN_THREADS_SERIAL)
#if defined(_MSC_VER) && defined(_OPENMP)
#define FNN_THREADS_OPENMP
#elif defined(_WIN32)
#define FNN_THREADS_SERIAL
#else
#define FNN_THREADS_POSIX
#endif
#endif

/* ---- the cost model ------------------------------------------------------------------------------------------- */

/* More threads than this are never started: a mistaken threads=100000 shall not take the machine down. */
enum { MAX_THREADS = 1024 };

/* Each further thread lengthens a barrier: two transfers of a cache line under contention, and uneven arrival
 * (0.3-1 us for two threads with 10-100 us of work between barriers). */
#define SECONDS_PER_THREAD 1e-6
/* Threads must save this much between two barriers to be worth the disturbance of other programs. Training looks
 * whether they really do (pace.h), so this may be little. */
#define SECONDS_WORTH 0.5e-6
/* Workers sleep between calls, and waking them takes 20-60 us; measured by the model's slow clock, on which work on a
 * fast core looks 2-3 times longer, they must save this much more in a call that does its work once. */
#define SECONDS_TO_WAKE 140e-6

/* T(n) = T(1)/n + c.(n - 1): take threads as long as the next one saves more than c, then see whether it is enough. */
int fnn_threads_worth(double work, int limit, int once) {
    double alone = work / FNN_MULTIPLY_ADDS_PER_SECOND;
    int threads = 1;
    if (limit > MAX_THREADS) limit = MAX_THREADS;
    while (threads < limit && alone / threads / (threads + 1) > SECONDS_PER_THREAD) threads++;
    double saved = alone / threads * (threads - 1) - SECONDS_PER_THREAD * (threads - 1); /* T(1) - T(threads) */
    return saved >= SECONDS_WORTH + (once ? SECONDS_TO_WAKE : 0) ? threads : 1;
}

#if defined(FNN_THREADS_SERIAL)

/* ---- serial: teams of one ------------------------------------------------------------------------------------- */

struct fnn_team {
    int threads;
};

const char *fnn_threads_backend(void) { return "serial"; }

int fnn_team_run(int threads, fnn_work work, void *context) {
    fnn_team team = {1};
    (void)threads;
    fnn_float_state found = fnn_float_enter();
    work(context, &team, 0, team.threads);
    fnn_float_leave(found);
    return team.threads;
}

void fnn_team_barrier(fnn_team *team, int thread) {
    (void)team;
    (void)thread;
}

fnn_team *fnn_team_alone(void) {
    static fnn_team alone = {1};
    return &alone;
}

#else

#include "gate.h"

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#endif
#if defined(FNN_THREADS_POSIX)
#include "apart.h"
#endif

/* ---- the team and its barrier --------------------------------------------------------------------------------- */

/* Looks at a gate before falling asleep, while there is a processor for every thread: some tens of microseconds. A
 * wake-up costs about 20 us, an open gate seen while spinning 0.3; phases of 100 us on two threads end several
 * microseconds apart, so 200 looks were too few (3-15 us per barrier). */
enum { SPINS = 2000 };

/* The same in a call in which a thread had to move: longer than a move takes, lest the next thread falls asleep over it,
 * is woken where it should not be, and so on. */
enum { PATIENT_SPINS = 4 * SPINS };

#if defined(FNN_THREADS_POSIX)
typedef struct worker worker;
#endif

struct fnn_team {
    /* Written by the caller before the team starts. */
    int threads;
    _Atomic int spins;
    int linger; /* looks for the next call before workers sleep */
    fnn_work work; /* NULL: workers end */
    void *context;

    alignas(CACHE_LINE) _Atomic int arrived; /* at the barrier */
    fnn_gate barrier;

#if defined(FNN_THREADS_POSIX)
    alignas(CACHE_LINE) _Atomic int working; /* workers that have not returned from work */
    fnn_gate finished;
    worker **workers;
    int n_workers;
    fnn_whereabouts caller;
    fnn_whereabouts **places; /* of the caller and of each worker */
    fnn_processors allowed; /* those the last caller could use */
    _Atomic bool disturbed; /* somebody else tells threads where they may run */
    unsigned process; /* the process the workers live in */
    double ended;     /* when its last call did */
    fnn_team *next;   /* in the list of idle teams */
#endif
};

static void find_processor(fnn_team *team, int thread);

/* The last to arrive lets all others pass. The number of the gate cannot change before this thread has arrived. */
void fnn_team_barrier(fnn_team *team, int thread) {
    if (team->threads == 1) return;
    uint32_t seen = gate_number(&team->barrier);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) == team->threads - 1) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        gate_open(&team->barrier);
    } else if (gate_wait(&team->barrier, seen, team->spins)) {
        find_processor(team, thread);
    }
}

/* Its barrier reads the number of threads and nothing else, so one is enough for everybody. */
fnn_team *fnn_team_alone(void) {
    static fnn_team alone = {.threads = 1};
    return &alone;
}

/* One thread's part of a call. */
static void team_share(fnn_team *team, int thread) {
    fnn_float_state found = fnn_float_enter();
    team->work(team->context, team, thread, team->threads);
    fnn_float_leave(found);
}

static int run_alone(fnn_work work, void *context) {
    fnn_team team = {.threads = 1, .work = work, .context = context};
    team_share(&team, 0);
    return 1;
}

#if defined(FNN_THREADS_POSIX)

/* ---- POSIX threads -------------------------------------------------------------------------------------------- */

/* A call takes a team from the list of idle ones, or makes one, and puts it back at the end; its workers sleep in
 * between. So calls made at once never wait for each other, and threads are made only when there were never so many. */

struct worker {
    fnn_gate start;
    fnn_team *team;
    int thread; /* its number in the team, from 1 */
    fnn_whereabouts place;
};

/* This thread has slept: woken where another of its team is, it moves, and the others wait longer meanwhile. */
static void find_processor(fnn_team *team, int thread) {
    if (team->spins == 0) return;
    if (place_woken(team->places, team->threads, thread, &team->allowed, &team->disturbed))
        atomic_store_explicit(&team->spins, PATIENT_SPINS, memory_order_relaxed);
}

/* Kernels keep a few kilobytes on the stack; 8 MB for each worker would count against limits of address space. */
enum { STACK_BYTES = 512 * 1024 };

/* Calls that follow each other as closely as this are taken for a loop, in which workers wait for the next one as they
 * wait at a barrier: some tens of microseconds, once, after the last. */
#define SECONDS_BETWEEN_CALLS 100e-6

/* What is kept idle besides the team used last: teams, and workers in all of them (a sleeping worker holds about
 * 16 KB). Enough for a pool of 8 Python threads that all use 32. */
enum { IDLE_TEAMS = 8, IDLE_WORKERS = 256 };

static struct {
    pthread_mutex_t lock;
    fnn_team *idle;   /* last used first */
    unsigned process; /* raised in each forked child */
    bool guarded;     /* the handlers of fork are in place */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

const char *fnn_threads_backend(void) { return "posix"; }

static void *worker_main(void *argument) {
    worker *self = argument;
    fnn_team *team = self->team;
    int linger = 0;
    for (uint32_t calls = 0;; calls++) {
        gate_wait(&self->start, calls, linger);
        if (team->work == NULL) return NULL;
        find_processor(team, self->thread);
        linger = team->linger; /* once all have returned, the team may be another call's */
        team_share(team, self->thread);
        if (atomic_fetch_sub_explicit(&team->working, 1, memory_order_acq_rel) == 1) gate_open(&team->finished);
    }
}

static void *allocate_aligned(size_t bytes) {
    void *memory = NULL;
    return posix_memalign(&memory, CACHE_LINE, bytes) == 0 ? memory : NULL;
}

static bool worker_add(fnn_team *team, const pthread_attr_t *attributes) {
    worker *added = allocate_aligned(sizeof *added);
    if (added == NULL) return false;
    gate_init(&added->start);
    added->place = (fnn_whereabouts){.told = false};
    added->team = team;
    added->thread = team->n_workers + 1;
    if (pthread_create(&added->place.thread, attributes, worker_main, added) != 0) {
        gate_destroy(&added->start);
        free(added);
        return false;
    }
    team->workers[team->n_workers++] = added;
    team->places[team->n_workers] = &added->place;
    return true;
}

/* Signals belong to the program's own threads, except those a thread's own fault raises. */
static void block_signals(sigset_t *before) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, before);
}

/* Adds workers for a call of `threads` threads; as many as the system gives. */
static void team_grow(fnn_team *team, int threads) {
    if (team->n_workers >= threads - 1) return;
    worker **workers = realloc(team->workers, (size_t)(threads - 1) * sizeof *workers);
    if (workers == NULL) return;
    team->workers = workers;
    fnn_whereabouts **places = realloc(team->places, (size_t)threads * sizeof *places);
    if (places == NULL) return;
    team->places = places;
    team->places[0] = &team->caller;

    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return;
    pthread_attr_setstacksize(&attributes, STACK_BYTES); /* refused: the default, which is larger */
    sigset_t before;
    block_signals(&before); /* a thread starts with the mask of the one that makes it */
    while (team->n_workers < threads - 1 && worker_add(team, &attributes)) continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

static fnn_team *team_new(void) {
    fnn_team *team = allocate_aligned(sizeof *team);
    if (team == NULL) return NULL;
    *team = (fnn_team){.threads = 1, .process = pool.process};
    gate_init(&team->barrier);
    gate_init(&team->finished);
    return team;
}

static void team_dissolve(fnn_team *team) {
    team->work = NULL;
    for (int i = 0; i < team->n_workers; i++) gate_open(&team->workers[i]->start);
    for (int i = 0; i < team->n_workers; i++) {
        pthread_join(team->workers[i]->place.thread, NULL);
        gate_destroy(&team->workers[i]->start);
        free(team->workers[i]);
    }
    free(team->workers);
    free(team->places);
    gate_destroy(&team->barrier);
    gate_destroy(&team->finished);
    free(team);
}

/* A child has one thread: the one that called fork(). The parent's teams are memory without threads there; they are
 * forgotten, not freed, because what another thread was doing with them at that moment is unknown. The list itself is
 * whole, since fork() waits for its lock. */
static void before_fork(void) { pthread_mutex_lock(&pool.lock); }
static void after_fork_in_parent(void) { pthread_mutex_unlock(&pool.lock); }
static void after_fork_in_child(void) {
    pool.idle = NULL;
    pool.process++;
    pthread_mutex_unlock(&pool.lock);
}

static void guard_forks(void) {
    pool.guarded = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
}

/* The smallest idle team that is large enough, else the largest (to grow), else a new one. NULL: none to be had. */
static fnn_team *team_take(int threads) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, guard_forks);
    if (!pool.guarded) return NULL;

    pthread_mutex_lock(&pool.lock);
    fnn_team **best = &pool.idle;
    for (fnn_team **link = &pool.idle; *link != NULL; link = &(*link)->next) {
        int size = (*link)->n_workers, best_size = (*best)->n_workers;
        if (best_size < threads - 1 ? size > best_size : size >= threads - 1 && size < best_size) best = link;
    }
    fnn_team *team = *best;
    if (team != NULL) *best = team->next;
    pthread_mutex_unlock(&pool.lock);
    return team != NULL ? team : team_new();
}

/* Puts a team back in front, and ends those used longest ago that are too many. */
static void team_put_back(fnn_team *team) {
    fnn_team *excess = NULL;
    pthread_mutex_lock(&pool.lock);
    if (team->process == pool.process) { /* else work() forked, and this is the child */
        team->next = pool.idle;
        pool.idle = team;
        int teams = 1, workers = team->n_workers;
        for (fnn_team **link = &team->next; *link != NULL; link = &(*link)->next) {
            workers += (*link)->n_workers;
            if (++teams <= IDLE_TEAMS && workers <= IDLE_WORKERS) continue;
            excess = *link;
            *link = NULL;
            break;
        }
    }
    pthread_mutex_unlock(&pool.lock);
    while (excess != NULL) {
        fnn_team *next = excess->next;
        team_dissolve(excess);
        excess = next;
    }
}

/* Where threads run, and how long they look before they sleep. */
static void team_place(fnn_team *team) {
    fnn_processors allowed;
    int processors = processors_allowed(&allowed);
    if (processors == 0) processors = (int)sysconf(_SC_NPROCESSORS_ONLN); /* -1 when that is not known either */
    const bool apart = team->threads <= processors, same = same_processors(&team->allowed, &allowed);
    team->allowed = allowed;
    team->spins = apart ? SPINS : 0;
    atomic_store_explicit(&team->disturbed, false, memory_order_relaxed);
    place_caller(&team->caller, &allowed);
    for (int i = 0; i < team->threads - 1; i++)
        place_worker(&team->workers[i]->place, &team->caller, &allowed, same, apart);
}

int fnn_team_run(int threads, fnn_work work, void *context) {
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads <= 1) return run_alone(work, context);
    fnn_team *team = team_take(threads);
    if (team == NULL) return run_alone(work, context);
    team_grow(team, threads);
    if (threads > team->n_workers + 1) threads = team->n_workers + 1;

    team->threads = threads;
    team_place(team);
    team->linger = fnn_seconds() - team->ended < SECONDS_BETWEEN_CALLS ? team->spins : 0;
    team->work = work;
    team->context = context;
    atomic_store_explicit(&team->working, threads - 1, memory_order_relaxed);
    uint32_t seen = gate_number(&team->finished);
    for (int i = 0; i < threads - 1; i++) gate_open(&team->workers[i]->start);

    team_share(team, 0);
    if (threads > 1) {
        gate_wait(&team->finished, seen, team->spins);
        release_caller(team->places, threads, &team->allowed);
    }
    team->ended = fnn_seconds();
    team_put_back(team);
    return threads;
}

#else

/* ---- OpenMP --------------------------------------------------------------------------------------------------- */

/* The subset of OpenMP 2.0, which is what MSVC has. The number of threads is always given, so that the program's own
 * settings do not reach us; how many there are is taken from inside. Idle threads spin as the run-time library likes
 * (OMP_WAIT_POLICY), which is one reason why this is not the default. */

#include <omp.h>

const char *fnn_threads_backend(void) { return "openmp"; }

static int cpus_available(void) { return omp_get_num_procs(); }

static void find_processor(fnn_team *team, int thread) { /* the run-time library's threads are its own */
    (void)team;
    (void)thread;
}

#if defined(_WIN32)

static int threads_to_be_had(int threads) { return threads; }

#else

/* In a forked child the run-time library would wait for threads that only its parent had. */
static _Atomic bool forked;
static void after_fork_in_child(void) { atomic_store(&forked, true); }
__attribute__((constructor)) static void guard_forks(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }

static void *wait_at_gate(void *argument) {
    gate_wait(argument, 0, 0);
    return NULL;
}

/* How many more threads the system gives, up to `wanted`: makes them all, counts, and lets them end. */
static int probe(int wanted) {
    static const int most = MAX_THREADS;
    pthread_t *handles = malloc((size_t)most * sizeof *handles);
    fnn_gate end;
    int made = 0;
    if (handles == NULL) return 0;
    gate_init(&end);
    while (made < wanted && pthread_create(&handles[made], NULL, wait_at_gate, &end) == 0) made++;
    gate_open(&end);
    for (int i = 0; i < made; i++) pthread_join(handles[i], NULL);
    gate_destroy(&end);
    free(handles);
    return made;
}

/* libgomp ends the process when it cannot make a thread, so it is never asked for one that could not be made a moment
 * before. Each calling thread has a team of its own there, as large as its last region. */
static int threads_to_be_had(int threads) {
    static _Thread_local int last = 1;
    if (atomic_load(&forked)) return 1;
    if (threads > last) threads = last + probe(threads - last);
    last = threads;
    return threads;
}

#endif

int fnn_team_run(int threads, fnn_work work, void *context) {
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads > 1) threads = threads_to_be_had(threads);
    if (threads <= 1) return run_alone(work, context);

    fnn_team team = {.work = work, .context = context};
    gate_init(&team.barrier);
#pragma omp parallel num_threads(threads)
    {
#pragma omp master
        {
            team.threads = omp_get_num_threads();
            team.spins = team.threads <= cpus_available() ? SPINS : 0;
        }
#pragma omp barrier
        team_share(&team, omp_get_thread_num());
    }
    gate_destroy(&team.barrier);
    return team.threads;
}

#endif

#endif
