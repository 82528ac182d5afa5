/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net/seal.h"

#include "wire/codec.h"

static_assert(SEAL_MESH_ID_SIZE == MESH_ID_SIZE, "what keys have is what datagrams carry");
static_assert(SEAL_KEY_ID_SIZE == MESH_KEY_ID_SIZE, "likewise");
static_assert(SEAL_MAC_SIZE == MESH_MAC_SIZE, "likewise");

int seal_encode(
        const struct mesh_keys *keys, const struct mesh_message *message, bool pad,
        uint8_t buffer[static DATAGRAM_MAX]) {
        struct mesh_message sealed = *message;
        const struct mesh_key *key;

        if (!keys || keys->n_keys == 0)
                return mesh_message_encode(message, pad, buffer);
        key = &keys->keys[0];
        sealed.seal.present = true;
        memcpy(sealed.seal.mesh_id, keys->mesh_id, SEAL_MESH_ID_SIZE);
        memcpy(sealed.seal.key_id, key->id, SEAL_KEY_ID_SIZE);
        int size = mesh_message_encode(&sealed, pad, buffer);
        if (size < 0)
                return size;
        size_t covered = (size_t) size - SEAL_MAC_SIZE;
        int r = mesh_key_mac(key, buffer, covered, buffer + covered);
        return r < 0 ? r : size;
}

enum seal seal_check(
        const struct mesh_keys *keys, const struct mesh_message *message, const uint8_t *data, size_t size) {
        const struct mesh_key *key;

        if (!message->seal.present)
                return SEAL_NONE;
        if (!keys || memcmp(message->seal.mesh_id, keys->mesh_id, SEAL_MESH_ID_SIZE) != 0)
                return SEAL_FOREIGN;
        key = mesh_keys_find(keys, message->seal.key_id);
        if (!key)
                return SEAL_FOREIGN;
        size_t covered = size - SEAL_MAC_SIZE;
        return mesh_key_mac_is_right(key, data, covered, data + covered) ? SEAL_RIGHT : SEAL_WRONG;
}
