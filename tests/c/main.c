/* main.c: the C test program. Without arguments it runs every test; with arguments, those named; "-name" leaves one out.
 *
 * Built from tests/c and csrc alone, so that sanitizers and other compilers see the library without Python.
 * To add a test file: its function below, once as a declaration and once in the list.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include <stdio.h>
#include <string.h>

#include "check.h"

void test_apart(void);
void test_data(void);
void test_dispatch(void);
void test_gradients(void);
void test_kernels_f32(void);
void test_kernels_f64(void);
void test_layers_f32(void);
void test_layers_f64(void);
void test_matmul_f32(void);
void test_matmul_f64(void);
void test_network(void);
void test_pace(void);
void test_parallel(void);
void test_pieces(void);
void test_predictor(void);
void test_random(void);
void test_shares(void);

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    {"data", test_data},
    {"random", test_random},
    {"parallel", test_parallel},
    {"apart", test_apart},
    {"pace", test_pace},
    {"dispatch", test_dispatch},
    {"matmul", test_matmul_f32},
    {"matmul_f64", test_matmul_f64},
    {"kernels", test_kernels_f32},
    {"kernels_f64", test_kernels_f64},
    {"layers", test_layers_f32},
    {"layers_f64", test_layers_f64},
    {"pieces", test_pieces},
    {"shares", test_shares},
    {"gradients", test_gradients},
    {"network", test_network},
    {"predictor", test_predictor},
};

long checks_passed, checks_failed;

static int wanted(const char *name, int argc, char **argv) {
    int named = 0, some_are = 0;
    for (int i = 1; i < argc; i++) {
        if (*argv[i] == '-') {
            if (strcmp(name, argv[i] + 1) == 0) return 0;
        } else {
            named |= strcmp(name, argv[i]) == 0;
            some_are = 1;
        }
    }
    return named || !some_are;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* nothing is lost, or printed twice, when a test forks or crashes */
    int ran = 0;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (!wanted(tests[i].name, argc, argv)) continue;
        long passed = checks_passed, failed = checks_failed;
        tests[i].run();
        printf("%-10s %ld passed, %ld failed\n", tests[i].name, checks_passed - passed, checks_failed - failed);
        ran++;
    }
    printf("%ld passed, %ld failed\n", checks_passed, checks_failed);
    return checks_failed != 0 || ran == 0;
}
