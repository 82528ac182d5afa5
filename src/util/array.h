/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Arrays that grow, each with a number of elements and a number of those that there is room for. */

#include "util/macros.h"

/* Makes room for so many elements: what grows doubles, and begins with least. -ENOMEM: all is as it was. */
#define ARRAY_RESERVE(array, wanted, n_allocated, least) \
        array_reserve(&(array), sizeof(*(array)), (wanted), &(n_allocated), (least))

/* array: the address of the pointer. */
int array_reserve(void *array, size_t element_size, size_t wanted, size_t *n_allocated, size_t least);
