/* guarded.h: memory between two pages that must not be touched, so that one element read or written too far ends the
 * program.
 *
 * An array lies flush with one of the pages, or with the other: the test chooses, and tries both. Where there is no
 * mmap(), it is ordinary memory and sanitizers have to do.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef GUARDED_H
#define GUARDED_H

#include <stddef.h>

/* Tests do less in a build that sanitizers make slow. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

typedef struct {
    unsigned char *begin, *end; /* what may be touched: whole pages */
    size_t mapped;              /* bytes with the guards */
} guarded;

/* At least so many bytes, all 0xff: read as a number, that is NaN. */
guarded guarded_new(size_t bytes);
void guarded_delete(guarded memory);
/* From now on a write ends the program. */
void guarded_protect(guarded memory);

/* The first, or the last, so many bytes. */
static inline void *guarded_first(guarded memory) { return memory.begin; }
static inline void *guarded_last(guarded memory, size_t bytes) { return memory.end - bytes; }

/* Arrays that end at a guard page and live until guarded_release(), which takes what guarded_mark() gave. */
void *guarded_array(size_t bytes);
int guarded_mark(void);
void guarded_release(int mark);

#endif
