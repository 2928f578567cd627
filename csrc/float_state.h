/* float_state.h: the floating-point state all arithmetic of the library runs in, set on entry and put back on exit.
 *
 * Round to nearest, every exception masked, denormals read and written as zero. So the caller's state cannot change
 * our results and ours cannot leak: what fnn_float_leave() restores is every bit it found, sticky flags included.
 * fnn_team_run() does this for each of its threads; an entry point that computes without a team does it itself.
 * To add a processor: define the two functions; one without such a state gets functions that do nothing.
 *
 * The pair must stand in another function than the arithmetic (call a function between them): compilers move
 * floating-point operations past a change of state they cannot see.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FNN_FLOAT_STATE_H
#define FNN_FLOAT_STATE_H

#include <stdint.h>

typedef struct {
    uint64_t control; /* x86: MXCSR, flags and all; AArch64: FPCR */
    uint64_t flags;   /* AArch64: FPSR */
} fnn_float_state;

#if defined(__SSE__) || defined(_M_X64) || (defined(_M_IX86_FP) && _M_IX86_FP >= 1)

#include <xmmintrin.h>

/* Flush to zero (0x8000), all six exceptions masked (0x1f80), denormals are zero (0x0040); round to nearest is 0. */
#define FNN_MXCSR 0x9fc0u

static inline fnn_float_state fnn_float_enter(void) {
    fnn_float_state found = {_mm_getcsr(), 0};
    _mm_setcsr(FNN_MXCSR);
    return found;
}

static inline void fnn_float_leave(fnn_float_state found) { _mm_setcsr((unsigned)found.control); }

#elif defined(__aarch64__) || defined(_M_ARM64)

/* Flush to zero, inputs and results (FZ, bit 24); round to nearest and no traps are 0. */
#define FNN_FPCR ((uint64_t)1 << 24)

#if defined(_MSC_VER)

#include <intrin.h>

static inline fnn_float_state fnn_float_enter(void) {
    fnn_float_state found = {(uint64_t)_ReadStatusReg(ARM64_FPCR), (uint64_t)_ReadStatusReg(ARM64_FPSR)};
    _WriteStatusReg(ARM64_FPCR, (__int64)FNN_FPCR);
    return found;
}

static inline void fnn_float_leave(fnn_float_state found) {
    _WriteStatusReg(ARM64_FPCR, (__int64)found.control);
    _WriteStatusReg(ARM64_FPSR, (__int64)found.flags);
}

#else

static inline fnn_float_state fnn_float_enter(void) {
    fnn_float_state found;
    __asm__ volatile("mrs %0, fpcr" : "=r"(found.control) : : "memory");
    __asm__ volatile("mrs %0, fpsr" : "=r"(found.flags) : : "memory");
    __asm__ volatile("msr fpcr, %0" : : "r"(FNN_FPCR) : "memory");
    return found;
}

static inline void fnn_float_leave(fnn_float_state found) {
    __asm__ volatile("msr fpcr, %0" : : "r"(found.control) : "memory");
    __asm__ volatile("msr fpsr, %0" : : "r"(found.flags) : "memory");
}

#endif

#else

static inline fnn_float_state fnn_float_enter(void) {
    fnn_float_state found = {0, 0};
    return found;
}

static inline void fnn_float_leave(fnn_float_state found) { (void)found; }

#endif

#endif
