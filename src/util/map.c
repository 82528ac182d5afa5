/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* uthash appears here only. Keys may come from the network, so the hash is keyed with a secret of this
 * process: nobody outside can make keys that all meet in one bucket. */

#include "util/map.h"

#include <limits.h>
#include <pthread.h>
#include <stdint.h>

#include "util/macros.h"
#include "util/random.h"

static unsigned hash_bytes(const void *key, size_t size);

#define HASH_FUNCTION(key, size, hash) ((hash) = hash_bytes((key), (size)))
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(entry) ((entry)->hh.tbl = NULL)
#include <uthash.h>

/* What a map_link really is. It comes first, so that the addresses are the same. */
struct entry {
        UT_hash_handle hh;
};

_Static_assert(sizeof(struct entry) <= sizeof(struct map_link), "struct map_link is too small for uthash");
_Static_assert(
        _Alignof(struct entry) <= _Alignof(struct map_link), "struct map_link is not aligned for uthash");

static uint64_t hash_secret[2];
static pthread_once_t hash_secret_once = PTHREAD_ONCE_INIT;

static void hash_secret_draw(void) {
        random_bytes(hash_secret, sizeof(hash_secret));
        /* A factor of zero would map everything to one value. */
        hash_secret[0] |= 1;
        hash_secret[1] |= 1;
}

/* Both halves of the 128-bit product, folded: every bit of the input reaches every bit of the output. */
static uint64_t mix(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128) a * b;
        return (uint64_t) product ^ (uint64_t) (product >> 64);
}

static uint64_t load(const uint8_t *bytes, size_t size) {
        uint64_t word = 0;

        memcpy(&word, bytes, size);
        return word;
}

static unsigned hash_bytes(const void *key, size_t size) {
        const uint8_t *bytes = key;
        uint64_t state;

        (void) pthread_once(&hash_secret_once, hash_secret_draw);

        state = hash_secret[1] ^ size;
        for (; size >= 16; bytes += 16, size -= 16)
                state = mix(load(bytes, 8) ^ hash_secret[0], load(bytes + 8, 8) ^ state);
        if (size >= 8) {
                state = mix(load(bytes, 8) ^ hash_secret[0], load(bytes + 8, size - 8) ^ state);
                size = 0;
        }
        if (size > 0)
                state = mix(load(bytes, size) ^ hash_secret[0], state);
        state = mix(state ^ hash_secret[0], hash_secret[1]);
        return (unsigned) (state ^ state >> 32);
}

int map_add(struct map *map, struct map_link *link, const void *key, size_t key_size) {
        struct entry *head = (struct entry *) map->head, *entry = (struct entry *) link, *found;
        unsigned hash;

        assert(key_size <= UINT_MAX);

        HASH_VALUE(key, key_size, hash);
        HASH_FIND_BYHASHVALUE(hh, head, key, key_size, hash, found);
        if (found)
                return -EEXIST;

        HASH_ADD_KEYPTR_BYHASHVALUE(hh, head, key, (unsigned) key_size, hash, entry);
        map->head = (struct map_link *) head;
        return entry->hh.tbl ? 0 : -ENOMEM;
}

void map_remove(struct map *map, struct map_link *link) {
        struct entry *head = (struct entry *) map->head, *entry = (struct entry *) link;

        if (!entry->hh.tbl)
                return;
        HASH_DELETE(hh, head, entry);
        map->head = (struct map_link *) head;
        memset(link, 0, sizeof(*link));
}

struct map_link *map_find(const struct map *map, const void *key, size_t key_size) {
        struct entry *head = (struct entry *) map->head, *found;

        HASH_FIND(hh, head, key, key_size, found);
        return (struct map_link *) found;
}

size_t map_size(const struct map *map) {
        const struct entry *head = (const struct entry *) map->head;

        return head ? head->hh.tbl->num_items : 0;
}

struct map_link *map_first(const struct map *map) {
        return map->head;
}

struct map_link *map_next(const struct map_link *link) {
        return ((const struct entry *) link)->hh.next;
}
