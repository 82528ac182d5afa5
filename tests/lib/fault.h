/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Makes allocations fail, one after the other: the linker sends malloc() and its relatives of our code here.
 * A test runs its scenario with the first allocation failing, then the second, until one passes whole:
 *
 *         FAULT_LOOP(r = scenario());
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/tests.h"

/* The allocation number from now (0: the next one) fails, and only that one. */
void fault_arm(uint64_t allocation);
/* Back to normal. Whether one has failed. */
bool fault_disarm(void);

#define FAULT_LOOP_MAX 10000

/* statement sets r; a run in which an allocation failed must end in -ENOMEM, the last one in success.
 * Returns how many allocations were made to fail. */
#define FAULT_LOOP(statement)                                   \
        ({                                                      \
                uint64_t _allocation = 0;                       \
                for (;; _allocation++) {                        \
                        int r;                                  \
                        ASSERT_LT(_allocation, FAULT_LOOP_MAX); \
                        fault_arm(_allocation);                 \
                        statement;                              \
                        if (!fault_disarm()) {                  \
                                ASSERT_GE(r, 0);                \
                                break;                          \
                        }                                       \
                        ASSERT_EQ(r, -ENOMEM);                  \
                }                                               \
                _allocation;                                    \
        })
