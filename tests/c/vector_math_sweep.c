/* vector_math_sweep.c: the largest error of every function in csrc/simd/vector_math.h, and a hash of all its results.
 *
 * Compile once per instruction set and real type, and run with a stride; for example
 *   cc -O3 -std=c11 -ffp-contract=off -fno-math-errno -Icsrc/simd -DFNN_REAL=32 \
 *      -DFNN_ISA_AVX2=1 -mavx2 -mfma   tests/c/vector_math_sweep.c -o sweep -lm
 *      -DFNN_ISA_AVX512=1 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma
 *      -DFNN_ISA_NEON=1
 *      -DFNN_ISA_GENERIC=1
 *   ./sweep 257        all functions
 *   ./sweep 1 log      one
 * float32: every stride-th of the 2^32 bit patterns (1: all of them), against the double functions of the C library.
 * float64: 2^32 / stride bit patterns, half of them near the interesting exponents, against long double: the errors
 *   count only where that has at least 64 bits and a C library to match (glibc on x86), the hashes everywhere.
 * Runs with denormals flushed to zero, as the kernels do. Prints, per function: largest error in units in the last
 * place of the exact result, where, steps against monotony (float32), hash. Equal strides must give equal hashes on
 * every instruction set. Exits 1 when an error exceeds its bound.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vector_math.h"

#if FNN_REAL == 32
typedef double exact; /* the reference: at least 8 bits more than real */
typedef uint32_t real_pattern;
#define EXACT(f) f
#else
typedef long double exact;
typedef uint64_t real_pattern;
#define EXACT(f) f##l
#endif

/* ---- the functions and their references ---------------------------------------------------------------------- */

enum { BLOCK = 4096 };

#define FOR_BLOCK for (int i = 0; i < BLOCK; i += VF_LANES)
static void block_exp(const real *x, real *y) { FOR_BLOCK vf_store(y + i, vf_exp(vf_load(x + i))); }
static void block_log(const real *x, real *y) { FOR_BLOCK vf_store(y + i, vf_log(vf_load(x + i))); }
static void block_log1p(const real *x, real *y) { FOR_BLOCK vf_store(y + i, vf_log1p(vf_load(x + i))); }
static void block_tanh(const real *x, real *y) { FOR_BLOCK vf_store(y + i, vf_tanh(vf_load(x + i))); }
static void block_sigmoid(const real *x, real *y) { FOR_BLOCK vf_store(y + i, vf_sigmoid(vf_load(x + i))); }

static void block_quantile(const real *x, real *y)
{
    FOR_BLOCK vf_store(y + i, vf_normal_quantile(vf_load(x + i)));
}

static exact exact_exp(exact x) { return EXACT(exp)(x); }
static exact exact_log(exact x) { return EXACT(log)(x); }
static exact exact_log1p(exact x) { return EXACT(log1p)(x); }
static exact exact_tanh(exact x) { return EXACT(tanh)(x); }
static exact exact_sigmoid(exact x) { return 1 / (1 + EXACT(exp)(-x)); }

/* The x with P(x) = u, by Newton's method on a concave function of |x|, which nears the root from one side: in the
 * middle erf(x / sqrt 2) = 2 u - 1, further out log P(-x) = log(min(u, 1 - u)). */
static exact exact_quantile(exact u)
{
    if (!(u > 0 && u < 1)) return u == 0 ? -(exact)INFINITY : u == 1 ? (exact)INFINITY : (exact)NAN;
    const exact q = u - (exact)0.5, tail = u < 1 - u ? u : 1 - u, root_half = EXACT(sqrt)((exact)0.5);
    const exact density = (exact)0.39894228040143267793994605993438L; /* at 0: 1 / sqrt(2 pi) */
    const int middle = EXACT(fabs)(q) < (exact)0.25;
    exact x = middle ? 0 : EXACT(sqrt)(-2 * EXACT(log)(tail));
    for (int i = 0; i < 30; i++) {
        const exact phi = density * EXACT(exp)(-x * x / 2), below = EXACT(erfc)(x * root_half) / 2;
        const exact step = middle ? (EXACT(fabs)(q) - EXACT(erf)(x * root_half) / 2) / phi
                                  : (EXACT(log)(below) - EXACT(log)(tail)) * below / phi;
        x += step;
        if (!(EXACT(fabs)(step) > EXACT(fabs)(x) * (exact)1e-10)) break; /* quadratic: the next would change no bit */
    }
    return EXACT(copysign)(x, q);
}

typedef struct {
    const char *name;
    void (*block)(const real *x, real *y);
    exact (*reference)(exact x);
    double bound;         /* units in the last place */
    real lowest, highest; /* its domain; inputs outside are replaced by lowest */
} function;

static const function FUNCTIONS[] = {
    {"exp", block_exp, exact_exp, 1.0, (real)-INFINITY, (real)INFINITY},
    {"log", block_log, exact_log, 1.0, (real)-INFINITY, (real)INFINITY},
    {"log1p", block_log1p, exact_log1p, 1.0, 0, 1},
    {"tanh", block_tanh, exact_tanh, 2.0, (real)-INFINITY, (real)INFINITY},
    {"sigmoid", block_sigmoid, exact_sigmoid, 2.0, (real)-INFINITY, (real)INFINITY},
    {"quantile", block_quantile, exact_quantile, 7.0, 0, 1},
};

/* ---- bits ---------------------------------------------------------------------------------------------------- */

static void flush_denormals(void)
{
#if defined(__x86_64__) || defined(_M_X64)
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040); /* FTZ, DAZ */
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr | (uint64_t)1 << 24)); /* FZ */
#endif
}

static real real_of_pattern(real_pattern bits)
{
    real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static real_pattern pattern_of_real(real x)
{
    real_pattern bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The index-th input, 0 <= index < 2^32. */
#if FNN_REAL == 32
static real input(uint64_t index) { return real_of_pattern((uint32_t)index); }
#else
static uint64_t mixed(uint64_t x) /* the finalizer of SplitMix64 */
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static real input(uint64_t index)
{
    uint64_t noise = mixed(index), bits = index << 32 | (noise & 0xffffffffu);
    if (index % 32 == 0) { /* few significant bits: integers, powers of 2, infinity */
        bits &= (uint64_t)0xffffff00 << 32;
    } else if (noise >> 63) { /* exponents from -60 to 10 */
        uint64_t exponent = 1023 - 60 + (noise >> 32) % 71;
        bits = (bits & ~((uint64_t)0x7ff << 52)) | exponent << 52;
    }
    return real_of_pattern(bits);
}
#endif

/* |result - expected| in units in the last place of expected. Subnormal expected values allow a result of 0, values
 * that round to infinity demand it. */
static double error_in_ulps(real result, exact expected)
{
    const exact smallest = (exact)REAL_MIN_NORMAL, infinite = (exact)INFINITY;
    const exact overflow = (exact)REAL_MAX * (1 + EXACT(ldexp)(1, -VF_SIGNIFICAND_BITS - 2)); /* half a unit more */
    exact magnitude = EXACT(fabs)(expected), error = EXACT(fabs)((exact)result - expected);
    if (expected != expected) return result != result ? 0 : INFINITY;
    if (magnitude >= overflow) return (exact)result == EXACT(copysign)(infinite, expected) ? 0 : INFINITY;
    if (magnitude < smallest && result == 0) return 0;
    if (!(error < infinite)) return INFINITY;
    int exponent;
    (void)EXACT(frexp)(magnitude > smallest ? magnitude : smallest, &exponent);
    return (double)EXACT(ldexp)(error, VF_SIGNIFICAND_BITS + 1 - exponent);
}

/* ---- the sweep ----------------------------------------------------------------------------------------------- */

static int sweep(const function *f, uint64_t stride)
{
    static real x[BLOCK], y[BLOCK];
    const uint64_t end = (uint64_t)1 << 32;
    double largest = 0;
    real where = 0, last_x = 0, last_y = 0;
    uint64_t hash = 0xcbf29ce484222325u, steps_down = 0;
    for (uint64_t index = 0; index < end;) {
        int count = 0;
        for (; count < BLOCK && index < end; index += stride) {
            real value = input(index);
            x[count++] = value < f->lowest || value > f->highest ? f->lowest : value;
        }
        for (int i = count; i < BLOCK; i++) x[i] = 0;
        f->block(x, y);
        for (int i = 0; i < count; i++) {
            int subnormal = x[i] > -REAL_MIN_NORMAL && x[i] < REAL_MIN_NORMAL; /* or 0: the functions see 0 */
            double error = error_in_ulps(y[i], f->reference(subnormal ? 0 : (exact)x[i]));
            if (!(error <= largest)) largest = error, where = x[i];
            if ((x[i] > last_x && y[i] < last_y) || (x[i] < last_x && y[i] > last_y)) steps_down++;
            last_x = x[i], last_y = y[i];
            hash = (hash ^ (y[i] != y[i] ? 1 : (uint64_t)pattern_of_real(y[i]))) * 0x100000001b3u;
        }
    }
    int passed = largest <= f->bound;
    printf("%-8s largest error %.4f ulp at %a (%.9g), bound %.0f; steps against monotony %" PRIu64 "; hash %016" PRIx64
           "%s\n",
           f->name, largest, (double)where, (double)where, f->bound, steps_down, hash, passed ? "" : " FAILED");
    fflush(stdout);
    return passed;
}

int main(int argc, char **argv)
{
    uint64_t stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 257;
    if (stride == 0) {
        fprintf(stderr, "usage: %s [stride >= 1 [function]]\n", argv[0]);
        return 2;
    }
    flush_denormals();
    int passed = 1;
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++)
        if (argc < 3 || strcmp(argv[2], FUNCTIONS[i].name) == 0) passed &= sweep(&FUNCTIONS[i], stride);
    return passed ? 0 : 1;
}
