/* parallel.h: teams of threads and their barrier; the only place in the library that knows what a thread is.
 *
 * A driver hands one function to a team: every thread of the team, the caller among them, runs it from end to end,
 * meeting the others at barriers. How many take part may be fewer than asked, so the split of the work must come
 * from the number handed to the function, and results must not depend on it.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FNN_PARALLEL_H
#define FNN_PARALLEL_H

/* A core's speed in multiply-adds, as the cost model sees it: what AVX2 reaches near 2.5 GHz. A faster core makes the
 * work look longer than it is, by at most 2-3 times; the model's thresholds leave room for that. */
#define FNN_MULTIPLY_ADDS_PER_SECOND 40e9

typedef struct fnn_team fnn_team;

/* What each thread of a team runs: thread is 0 (the caller) .. threads - 1; threads is how many really take part. */
typedef void (*fnn_work)(void *context, fnn_team *team, int thread, int threads);

/* Runs work(context, team, thread, threads) on `threads` threads and returns when all have returned; the result is
 * how many took part: 1 <= result <= threads, fewer than asked only when the system gives no more. Never fails.
 * May be called from any number of threads at once (each call has a team of its own), and in a forked child.
 * Inside work, floating-point state is that of float_state.h; each thread gets back what it had. */
int fnn_team_run(int threads, fnn_work work, void *context);

/* Returns once every thread of the team has called it: all that was written before, by any of them, is then visible
 * to all. Every thread of the team must make the same calls. Does nothing in a team of one. */
void fnn_team_barrier(fnn_team *team, int thread);

/* A team of the calling thread alone, for work it does while the rest of its team waits. */
fnn_team *fnn_team_alone(void);

#endif
