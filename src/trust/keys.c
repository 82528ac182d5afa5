/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust/keys.h"

#include <gnutls/crypto.h>
#include <stdio.h>

#include "trust/derive.h"
#include "util/hex.h"
#include "util/random.h"

static const char comment[] =
        "# Who has a key of this file belongs to the mesh and may run anything in it.\n"
        "# The id of the mesh, then its keys: the first is used, all are accepted.\n";

static int derive(const uint8_t mesh_id[static MESH_ID_SIZE], struct mesh_key *key) {
        struct derivation derivation;

        int r = derive_begin(&derivation, key->secret, sizeof(key->secret), mesh_id, MESH_ID_SIZE);
        if (r >= 0)
                r = derive_next(&derivation, "worker-mesh key id", key->id, sizeof(key->id));
        if (r >= 0)
                r = derive_next(&derivation, "worker-mesh datagram", key->datagram, sizeof(key->datagram));
        if (r >= 0)
                r = derive_next(&derivation, "worker-mesh link", key->link, sizeof(key->link));
        derive_end(&derivation);
        return r;
}

int mesh_keys_add(struct mesh_keys *keys, const uint8_t secret[static MESH_KEY_SIZE]) {
        struct mesh_key *key;

        for (size_t i = 0; i < keys->n_keys; i++)
                if (gnutls_memcmp(keys->keys[i].secret, secret, MESH_KEY_SIZE) == 0)
                        return -EEXIST;
        if (keys->n_keys == MESH_KEYS_MAX)
                return -ENOSPC;
        key = &keys->keys[keys->n_keys];
        memcpy(key->secret, secret, MESH_KEY_SIZE);
        int r = derive(keys->mesh_id, key);
        if (r < 0) {
                explicit_bzero(key, sizeof(*key));
                return r;
        }
        keys->n_keys++;
        return 0;
}

int mesh_keys_make(struct mesh_keys *ret) {
        uint8_t secret[MESH_KEY_SIZE];

        *ret = (struct mesh_keys){};
        random_bytes(ret->mesh_id, sizeof(ret->mesh_id));
        random_bytes(secret, sizeof(secret));
        int r = mesh_keys_add(ret, secret);
        explicit_bzero(secret, sizeof(secret));
        return r;
}

bool mesh_keys_remove(struct mesh_keys *keys, const uint8_t id[static MESH_KEY_ID_SIZE]) {
        const struct mesh_key *key = mesh_keys_find(keys, id);

        if (!key)
                return false;
        size_t i = (size_t) (key - keys->keys);
        keys->n_keys--;
        memmove(&keys->keys[i], &keys->keys[i + 1], (keys->n_keys - i) * sizeof(keys->keys[0]));
        explicit_bzero(&keys->keys[keys->n_keys], sizeof(keys->keys[0]));
        return true;
}

void mesh_keys_erase(struct mesh_keys *keys) {
        explicit_bzero(keys, sizeof(*keys));
}

const struct mesh_key *
mesh_keys_find(const struct mesh_keys *keys, const uint8_t id[static MESH_KEY_ID_SIZE]) {
        for (size_t i = 0; i < keys->n_keys; i++)
                if (memcmp(keys->keys[i].id, id, MESH_KEY_ID_SIZE) == 0)
                        return &keys->keys[i];
        return NULL;
}

char *mesh_key_name(
        const struct mesh_keys *keys, const struct mesh_key *key, char buffer[static MESH_KEY_NAME_SIZE]) {
        char *position = hex_write(buffer, keys->mesh_id, sizeof(keys->mesh_id));

        *position++ = '/';
        position = hex_write(position, key->id, sizeof(key->id));
        *position = '\0';
        return buffer;
}

const struct mesh_key *mesh_keys_find_name(const struct mesh_keys *keys, const char *name) {
        char text[MESH_KEY_NAME_SIZE];

        for (size_t i = 0; i < keys->n_keys; i++)
                if (streq(mesh_key_name(keys, &keys->keys[i], text), name))
                        return &keys->keys[i];
        return NULL;
}

static int fail(struct mesh_keys_problem *problem, unsigned line, const char *text) {
        *problem = (struct mesh_keys_problem){ .line = line, .text = text };
        return -EBADMSG;
}

static int read_key(
        const char *text, size_t length, struct mesh_keys *keys, unsigned line,
        struct mesh_keys_problem *ret_problem) {
        uint8_t secret[MESH_KEY_SIZE];
        int r;

        if (!hex_read(text, length, secret, sizeof(secret)))
                r = fail(ret_problem, line, "a key is 64 hexadecimal digits");
        else
                r = mesh_keys_add(keys, secret);
        explicit_bzero(secret, sizeof(secret));
        if (r == -EEXIST)
                return fail(ret_problem, line, "this key is there already");
        if (r == -ENOSPC)
                return fail(ret_problem, line, "there may be 8 keys at most");
        return r;
}

static int
parse_lines(const char *text, size_t size, struct mesh_keys *keys, struct mesh_keys_problem *ret_problem) {
        const char *end = text + size;
        bool has_id = false;

        for (unsigned line = 1; text < end; line++) {
                const char *next = memchr(text, '\n', (size_t) (end - text));
                size_t length = (size_t) ((next ?: end) - text);
                const char *content = text;

                text = next ? next + 1 : end;
                while (length > 0 && (content[length - 1] == ' ' || content[length - 1] == '\r'))
                        length--;
                if (length == 0 || *content == '#')
                        continue;
                if (!has_id) {
                        has_id = hex_read(content, length, keys->mesh_id, sizeof(keys->mesh_id));
                        if (!has_id)
                                return fail(ret_problem, line, "the id of a mesh is 32 hexadecimal digits");
                        continue;
                }
                int r = read_key(content, length, keys, line, ret_problem);
                if (r < 0)
                        return r;
        }
        if (!has_id)
                return fail(ret_problem, 0, "there is no id of a mesh in it");
        return keys->n_keys > 0 ? 0 : fail(ret_problem, 0, "there is no key in it");
}

int mesh_keys_parse(
        const char *text, size_t size, struct mesh_keys *ret, struct mesh_keys_problem *ret_problem) {
        int r;

        *ret = (struct mesh_keys){};
        if (size >= MESH_KEYS_TEXT_MAX)
                r = fail(ret_problem, 0, "it is too large for one");
        else
                r = parse_lines(text, size, ret, ret_problem);
        if (r < 0)
                mesh_keys_erase(ret);
        return r;
}

static char *write_line(char *position, const uint8_t *data, size_t size) {
        position = hex_write(position, data, size);
        *position++ = '\n';
        return position;
}

char *mesh_keys_format(const struct mesh_keys *keys, char buffer[static MESH_KEYS_TEXT_MAX]) {
        char *position = stpcpy(buffer, comment);

        static_assert(
                sizeof(comment) + MESH_ID_SIZE * 2 + 1 + MESH_KEYS_MAX * (MESH_KEY_SIZE * 2 + 1) <
                        MESH_KEYS_TEXT_MAX,
                "all keys fit");
        position = write_line(position, keys->mesh_id, sizeof(keys->mesh_id));
        for (size_t i = 0; i < keys->n_keys; i++)
                position = write_line(position, keys->keys[i].secret, MESH_KEY_SIZE);
        *position = '\0';
        return buffer;
}

int mesh_key_mac(
        const struct mesh_key *key, const void *data, size_t size, uint8_t ret[static MESH_MAC_SIZE]) {
        uint8_t whole[MESH_KEY_SIZE];

        if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, key->datagram, sizeof(key->datagram), data, size, whole) < 0)
                return -EIO;
        memcpy(ret, whole, MESH_MAC_SIZE);
        return 0;
}

bool mesh_key_mac_is_right(
        const struct mesh_key *key, const void *data, size_t size, const uint8_t mac[static MESH_MAC_SIZE]) {
        uint8_t expected[MESH_MAC_SIZE];

        return mesh_key_mac(key, data, size, expected) >= 0 &&
               gnutls_memcmp(expected, mac, MESH_MAC_SIZE) == 0;
}
