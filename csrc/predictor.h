/* predictor.h: what every frozen network begins with, whatever its type.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_PREDICTOR_H
#define FASTNN_PREDICTOR_H

#include <stdint.h>

struct fnn_predictor {
    int32_t real_type;
};

#endif
