/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An intrusive hash map over uthash. The object embeds a map_link and its key; the map owns nothing. Keys
 * are bytes of any length that stay in place and unchanged while the object is in the map. Running out of
 * memory is an error of map_add(), never an exit. A zeroed link is in no map, and removing it is harmless.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/macros.h"

struct map_link;

struct map {
        struct map_link *head;
};

/* Room for uthash's handle; its layout is checked against the real one in map.c. */
struct map_link {
        _Alignas(8) unsigned char opaque[56];
};

/* -EEXIST: the key is there already. -ENOMEM. */
int map_add(struct map *map, struct map_link *link, const void *key, size_t key_size);
void map_remove(struct map *map, struct map_link *link);
struct map_link *map_find(const struct map *map, const void *key, size_t key_size);
size_t map_size(const struct map *map);
struct map_link *map_first(const struct map *map);
struct map_link *map_next(const struct map_link *link);

#define MAP_GET(map, key, key_size, type, member)                             \
        ({                                                                    \
                struct map_link *_found = map_find((map), (key), (key_size)); \
                _found ? CONTAINER_OF(_found, type, member) : NULL;           \
        })

/* Walks all objects in the order they were added; the current one may be removed by the body. May be nested.
 */
#define MAP_FOREACH(map, variable, type, member) _MAP_FOREACH(__COUNTER__, map, variable, type, member)
#define _MAP_FOREACH(number, map, variable, type, member) \
        __MAP_FOREACH(CONCATENATE(_link, number), CONCATENATE(_next, number), map, variable, type, member)
#define __MAP_FOREACH(link, following, map, variable, type, member)                             \
        for (struct map_link *link = map_first(map), *following = link ? map_next(link) : NULL; \
             link && ((variable = CONTAINER_OF(link, type, member)), true);                     \
             link = following, following = link ? map_next(link) : NULL)
