/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/array.h"

int array_reserve(void *array, size_t element_size, size_t wanted, size_t *n_allocated, size_t least) {
        void **elements = array, *larger;
        size_t n;

        if (wanted <= *n_allocated)
                return 0;
        n = MAX(MAX(wanted, least), *n_allocated * 2);
        if (n > SIZE_MAX / element_size)
                return -ENOMEM;
        larger = reallocarray(*elements, n, element_size);
        if (!larger)
                return -ENOMEM;
        *elements = larger;
        *n_allocated = n;
        return 0;
}
