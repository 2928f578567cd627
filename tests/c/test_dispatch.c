/* test_dispatch.c: the list of instruction sets, and choosing one by name.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include <string.h>

#include "check.h"
#include "fastnn.h"

/* A sum that every set computes to the same bits, so that a set that cannot run would show. */
static int computes(void) {
    float x[40], y[40];
    for (int i = 0; i < 40; i++) x[i] = (float)i / 8 - 2;
    memset(y, 0xff, sizeof y);
    fnn_vector(FNN_FLOAT32, FNN_EXP, 40, x, y);
    return y[16] == 1.0f && fabsf(y[24] - 2.7182818f) < 1e-6f;
}

static void the_list(void) {
    int n = 0, n_generic = 0;
    for (; fnn_isa_name(n); n++) {
        for (int other = 0; other < n; other++) CHECK(strcmp(fnn_isa_name(n), fnn_isa_name(other)) != 0);
        if (strcmp(fnn_isa_name(n), "generic") != 0) continue;
        n_generic++;
        CHECK(fnn_isa_supported(n));
        CHECK(fnn_isa_name(n + 1) == NULL); /* the last resort */
    }
    CHECK_EQUAL(n_generic, 1);
    CHECK(fnn_isa_name(n + 1) == NULL);
    CHECK(fnn_isa_name(-1) == NULL);
    CHECK_EQUAL(fnn_isa_supported(-1), 0);
    CHECK_EQUAL(fnn_isa_supported(n), 0);
    CHECK_EQUAL(fnn_isa_supported(1000), 0);
}

static void select_each(void) {
    for (int i = 0; fnn_isa_name(i); i++) {
        char name[32]; /* an equal string elsewhere in memory */
        strcpy(name, fnn_isa_name(i));
        fnn_isa_select("generic");
        if (fnn_isa_supported(i)) {
            CHECK_EQUAL(fnn_isa_select(name), 0);
            CHECK(strcmp(fnn_isa(), name) == 0);
            CHECK(computes());
        } else {
            CHECK_EQUAL(fnn_isa_select(name), -1);
            CHECK(strcmp(fnn_isa(), "generic") == 0);
        }
    }
}

static void unknown_names(void) {
    static const char *const unknown[] = {"",      " ",   "Generic", "GENERIC", "generic ",
                                          "gener", "avx", "avx2x",   "sse9",    "best"};
    for (int i = 0; fnn_isa_name(i); i++) {
        if (!fnn_isa_supported(i)) continue;
        fnn_isa_select(fnn_isa_name(i));
        for (size_t u = 0; u < sizeof unknown / sizeof *unknown; u++) {
            CHECK_EQUAL(fnn_isa_select(unknown[u]), -1);
            CHECK(strcmp(fnn_isa(), fnn_isa_name(i)) == 0);
        }
        CHECK(computes());
    }
}

static void the_best(void) {
    int best = 0;
    while (!fnn_isa_supported(best)) best++;
    fnn_isa_select("generic");
    CHECK_EQUAL(fnn_isa_select(NULL), 0);
    CHECK(strcmp(fnn_isa(), fnn_isa_name(best)) == 0);
}

static void lists_end(void) {
    int n = 0;
    while (fnn_activation_name(n)) n++;
    CHECK(n > 0 && fnn_activation_name(n + 1) == NULL && fnn_activation_name(-1) == NULL);
    for (n = 0; fnn_loss_name(n);) n++;
    CHECK(n > 0 && fnn_loss_name(n + 1) == NULL && fnn_loss_name(-1) == NULL);
    for (n = 0; fnn_optimizer_name(n); n++) {
        int n_hyper = 0;
        while (fnn_optimizer_hyper_name(n, n_hyper)) n_hyper++;
        CHECK(n_hyper <= 8 && fnn_optimizer_hyper_name(n, -1) == NULL && fnn_optimizer_hyper_name(n, 8) == NULL);
        CHECK(fnn_optimizer_states(n) >= 0 && fnn_optimizer_states(n) <= FNN_MAX_STATES);
    }
    CHECK(n > 0 && fnn_optimizer_name(n + 1) == NULL && fnn_optimizer_name(-1) == NULL);
    CHECK(fnn_optimizer_hyper_name(n, 0) == NULL && fnn_optimizer_hyper_name(-1, 0) == NULL);
}

void test_dispatch(void);
void test_dispatch(void) {
    the_list();
    select_each();
    unknown_names();
    the_best();
    lists_end();
}
