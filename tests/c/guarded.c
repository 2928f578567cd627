/* guarded.c: see guarded.h.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#if !defined(_WIN32)
#define _GNU_SOURCE
#endif

#include "guarded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(_WIN32)
#include <sys/mman.h>
#include <unistd.h>
#endif

enum { ALIGNMENT = 64, MOST_ARRAYS = 4096 };

static void give_up(void) {
    printf("the tests have no memory\n");
    exit(1);
}

#if !defined(_WIN32)

guarded guarded_new(size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = (bytes + page - 1) / page * page, mapped = inner + 2 * page;
    unsigned char *memory = mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) give_up();
    if (inner && mprotect(memory + page, inner, PROT_READ | PROT_WRITE)) give_up();
    memset(memory + page, 0xff, inner);
    return (guarded){memory + page, memory + page + inner, mapped};
}

void guarded_delete(guarded memory) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap(memory.begin - page, memory.mapped);
}

void guarded_protect(guarded memory) { mprotect(memory.begin, (size_t)(memory.end - memory.begin), PROT_READ); }

#else

guarded guarded_new(size_t bytes) {
    const size_t inner = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    unsigned char *memory = _aligned_malloc(inner + ALIGNMENT, ALIGNMENT);
    if (!memory) give_up();
    memset(memory, 0xff, inner);
    return (guarded){memory, memory + inner, inner};
}

void guarded_delete(guarded memory) { _aligned_free(memory.begin); }

void guarded_protect(guarded memory) { (void)memory; }

#endif

static guarded arrays[MOST_ARRAYS];
static int n_arrays;

void *guarded_array(size_t bytes) {
    if (n_arrays == MOST_ARRAYS) give_up();
    arrays[n_arrays] = guarded_new(bytes);
    return guarded_last(arrays[n_arrays++], bytes);
}

int guarded_mark(void) { return n_arrays; }

void guarded_release(int mark) {
    while (n_arrays > mark) guarded_delete(arrays[--n_arrays]);
}
