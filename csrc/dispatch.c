/* dispatch.c: which instruction sets this processor runs, and the kernels in use.
 *
 * The list is best first. A set counts as supported only when the processor has every feature its kernels were
 * compiled with and the system saves the registers (own cpuid and xgetbv: the compiler's builtin answers 0 on some
 * targets). Compiled once; FNN_HAVE_<SET> says which sets are linked in. To add a set: a row here, a file in simd/,
 * and a row in the build plan.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "fastnn.h"

#if defined(__x86_64__) || defined(_M_X64)
#define FNN_X86_64 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

/* The tables are only handed on here, so their type does not matter. */
typedef struct fnn_table fnn_table;
#define DECLARE(isa) extern const fnn_table fnn_kernels_##isa##_f32, fnn_kernels_##isa##_f64;
#define ENTRY(isa) {#isa, supports_##isa, &fnn_kernels_##isa##_f32, &fnn_kernels_##isa##_f64}

#ifdef FNN_X86_64
/* eax, ebx, ecx, edx of a cpuid leaf; zeros beyond the last leaf. */
static void cpuid(unsigned leaf, unsigned out[4]) {
#if defined(_MSC_VER)
    int registers[4];
    __cpuid(registers, 0);
    for (int i = 0; i < 4; i++) out[i] = 0;
    if (leaf > (unsigned)registers[0]) return;
    __cpuidex(registers, (int)leaf, 0);
    for (int i = 0; i < 4; i++) out[i] = (unsigned)registers[i];
#else
    for (int i = 0; i < 4; i++) out[i] = 0;
    if (!__get_cpuid_count(leaf, 0, &out[0], &out[1], &out[2], &out[3]))
        for (int i = 0; i < 4; i++) out[i] = 0;
#endif
}

/* Bits of XCR0: which registers the system saves. */
static unsigned saved_registers(void) {
#if defined(_MSC_VER)
    return (unsigned)_xgetbv(0);
#else
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
#endif
}

static int has_bits(unsigned value, unsigned bits) { return (value & bits) == bits; }

static int supports_avx2(void) {
    unsigned leaf1[4], leaf7[4];
    cpuid(1, leaf1);
    if (!has_bits(leaf1[2], 1u << 27 | 1u << 28 | 1u << 12)) return 0; /* OSXSAVE, AVX, FMA */
    if (!has_bits(saved_registers(), 0x6)) return 0;                    /* xmm and ymm */
    cpuid(7, leaf7);
    return has_bits(leaf7[1], 1u << 5); /* AVX2 */
}

static int supports_avx512(void) {
    unsigned leaf7[4];
    if (!supports_avx2() || !has_bits(saved_registers(), 0xe6)) return 0; /* and k, zmm, upper zmm */
    cpuid(7, leaf7);
    return has_bits(leaf7[1], 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31); /* F, DQ, BW, VL */
}
#endif

#ifdef FNN_HAVE_NEON
static int supports_neon(void) { return 1; } /* part of every AArch64 */
#endif
static int supports_generic(void) { return 1; }

#ifdef FNN_HAVE_AVX512
DECLARE(avx512)
#endif
#ifdef FNN_HAVE_AVX2
DECLARE(avx2)
#endif
#ifdef FNN_HAVE_NEON
DECLARE(neon)
#endif
DECLARE(generic)

static const struct {
    const char *name;
    int (*supported)(void);
    const fnn_table *f32, *f64;
} sets[] = {
#ifdef FNN_HAVE_AVX512
    ENTRY(avx512),
#endif
#ifdef FNN_HAVE_AVX2
    ENTRY(avx2),
#endif
#ifdef FNN_HAVE_NEON
    ENTRY(neon),
#endif
    ENTRY(generic),
};
#define N_SETS ((int)(sizeof sets / sizeof sets[0]))

/* Index of the set in use; -1: not chosen yet. */
static atomic_int in_use = -1;

static int best(void) {
    int i = 0;
    while (!sets[i].supported()) i++;
    return i;
}

static int current(void) {
    int i = atomic_load_explicit(&in_use, memory_order_acquire);
    if (i < 0) {
        i = best();
        atomic_store_explicit(&in_use, i, memory_order_release);
    }
    return i;
}

const char *fnn_isa_name(int index) { return index >= 0 && index < N_SETS ? sets[index].name : NULL; }

int fnn_isa_supported(int index) { return index >= 0 && index < N_SETS && sets[index].supported(); }

int fnn_isa_select(const char *name) {
    int chosen = -1;
    if (!name) chosen = best();
    for (int i = 0; name && i < N_SETS; i++)
        if (!strcmp(name, sets[i].name) && sets[i].supported()) chosen = i;
    if (chosen < 0) return -1;
    atomic_store_explicit(&in_use, chosen, memory_order_release);
    return 0;
}

const char *fnn_isa(void) { return sets[current()].name; }

const fnn_table *fnn_kernels_in_use_f32(void);
const fnn_table *fnn_kernels_in_use_f64(void);
const fnn_table *fnn_kernels_in_use_f32(void) { return sets[current()].f32; }
const fnn_table *fnn_kernels_in_use_f64(void) { return sets[current()].f64; }
