/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One pool a thread, so that there is nothing to lock. A process that forks and goes on without exec would
 * share the rest of its pool with the child; neither of our programs does that. */

#include "util/random.h"

#include <errno.h>
#include <stdint.h>
#include <sys/random.h>

#include "util/macros.h"

#define POOL_SIZE 1024

static void draw(void *buffer, size_t size) {
        uint8_t *position = buffer;

        while (size > 0) {
                ssize_t n = getrandom(position, size, 0);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        abort(); /* no getrandom(2) at all: guessable ids are worse than none */
                }
                position += n;
                size -= (size_t) n;
        }
}

void random_bytes(void *buffer, size_t size) {
        static _Thread_local uint8_t pool[POOL_SIZE];
        static _Thread_local size_t left;

        if (size > POOL_SIZE / 2) {
                draw(buffer, size);
                return;
        }
        if (size > left) {
                draw(pool, POOL_SIZE);
                left = POOL_SIZE;
        }
        left -= size;
        memcpy(buffer, pool + left, size);
        /* What was handed out must not be found in our memory later. */
        explicit_bzero(pool + left, size);
}
