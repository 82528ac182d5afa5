/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust/token.h"

#include <inttypes.h>
#include <stdio.h>

#include "trust/derive.h"
#include "util/hash.h"
#include "util/hex.h"
#include "util/random.h"

#define NAME_ID_SIZE 8u
#define NUMBER_SIZE 8u /* of the node */
#define CHECK_SIZE 5u
#define BODY_SIZE (MESH_ID_SIZE + NUMBER_SIZE + TOKEN_SECRET_SIZE)
#define WHOLE_SIZE (BODY_SIZE + CHECK_SIZE) /* a multiple of 5 bytes, which 8 letters hold */
#define LETTERS (WHOLE_SIZE / 5 * 8)

static const char prefix[] = "wm1";
static const char node_prefix[] = "node-";

static_assert(WHOLE_SIZE % 5 == 0, "no bits are left over");
static_assert(sizeof(prefix) + LETTERS == TOKEN_TEXT_SIZE, "it fits exactly");

/* Crockford's 32 letters and digits: none that looks like another one. */
static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";

static int value_of(char letter) {
        if (letter >= 'A' && letter <= 'Z')
                letter = (char) (letter - 'A' + 'a');
        if (letter == 'o')
                letter = '0';
        if (letter == 'i' || letter == 'l')
                letter = '1';
        const char *found = letter == '\0' ? NULL : strchr(letters, letter);
        return found ? (int) (found - letters) : -1;
}

static void encode(const uint8_t *data, size_t size, char *text) {
        for (size_t i = 0; i < size; i += 5) {
                uint64_t bits = 0;

                for (size_t j = 0; j < 5; j++)
                        bits = bits << 8 | data[i + j];
                for (int j = 7; j >= 0; j--)
                        *text++ = letters[bits >> (j * 5) & 31];
        }
        *text = '\0';
}

static int decode(const char *text, uint8_t *data, size_t size) {
        for (size_t i = 0; i < size; i += 5) {
                uint64_t bits = 0;

                for (size_t j = 0; j < 8; j++) {
                        int value = value_of(*text++);

                        if (value < 0)
                                return -EBADMSG;
                        bits = bits << 5 | (uint64_t) value;
                }
                for (int j = 4; j >= 0; j--)
                        data[i + 4 - (size_t) j] = (uint8_t) (bits >> (j * 8));
        }
        return *text == '\0' ? 0 : -EBADMSG;
}

static int check_of(const uint8_t body[static BODY_SIZE], uint8_t ret[static CHECK_SIZE]) {
        uint8_t digest[SHA256_SIZE];
        struct sha256 *hash;

        int r = sha256_new(&hash);
        if (r < 0)
                return r;
        r = sha256_update(hash, body, BODY_SIZE);
        if (r >= 0) {
                sha256_finish(hash, digest);
                memcpy(ret, digest, CHECK_SIZE);
        }
        sha256_free(hash);
        return r;
}

int token_make(const uint8_t mesh_id[static MESH_ID_SIZE], const char *node_id, struct token *ret) {
        uint8_t number[NUMBER_SIZE];

        if (strlen(node_id) != TOKEN_NODE_ID_SIZE - 1 ||
            strncmp(node_id, node_prefix, strlen(node_prefix)) != 0 ||
            !hex_read(node_id + strlen(node_prefix), 2 * NUMBER_SIZE, number, sizeof(number)))
                return -EINVAL;
        memcpy(ret->mesh_id, mesh_id, MESH_ID_SIZE);
        strcpy(ret->node_id, node_id);
        random_bytes(ret->secret, sizeof(ret->secret));
        return 0;
}

void token_erase(struct token *token) {
        explicit_bzero(token, sizeof(*token));
}

char *token_format(const struct token *token, char buffer[static TOKEN_TEXT_SIZE]) {
        uint8_t whole[WHOLE_SIZE], *number = whole + MESH_ID_SIZE, *secret = number + NUMBER_SIZE;

        memcpy(whole, token->mesh_id, MESH_ID_SIZE);
        (void) hex_read(token->node_id + strlen(node_prefix), 2 * NUMBER_SIZE, number, NUMBER_SIZE);
        memcpy(secret, token->secret, TOKEN_SECRET_SIZE);
        if (check_of(whole, whole + BODY_SIZE) < 0)
                memset(whole + BODY_SIZE, 0, CHECK_SIZE); /* nobody will take it */
        encode(whole, sizeof(whole), stpcpy(buffer, prefix));
        explicit_bzero(whole, sizeof(whole));
        return buffer;
}

static int read_whole(const char *text, uint8_t whole[static WHOLE_SIZE]) {
        uint8_t check[CHECK_SIZE];

        if (strncasecmp(text, prefix, 2) != 0)
                return -EBADMSG;
        if (text[2] >= '2' && text[2] <= '9')
                return -EPROTONOSUPPORT;
        if (text[2] != prefix[2] || strlen(text) != strlen(prefix) + LETTERS)
                return -EBADMSG;
        int r = decode(text + strlen(prefix), whole, WHOLE_SIZE);
        if (r >= 0)
                r = check_of(whole, check);
        if (r < 0)
                return r;
        return memcmp(check, whole + BODY_SIZE, CHECK_SIZE) == 0 ? 0 : -EBADMSG;
}

int token_parse(const char *text, struct token *ret) {
        uint8_t whole[WHOLE_SIZE];

        *ret = (struct token){};
        int r = read_whole(text, whole);
        if (r >= 0) {
                memcpy(ret->mesh_id, whole, MESH_ID_SIZE);
                *hex_write(stpcpy(ret->node_id, node_prefix), whole + MESH_ID_SIZE, NUMBER_SIZE) = '\0';
                memcpy(ret->secret, whole + MESH_ID_SIZE + NUMBER_SIZE, TOKEN_SECRET_SIZE);
        }
        explicit_bzero(whole, sizeof(whole));
        return r;
}

int token_derive(const struct token *token, struct token_key *ret) {
        uint8_t id[NAME_ID_SIZE];
        struct derivation derivation;

        *ret = (struct token_key){};
        int r = derive_begin(
                &derivation, token->secret, sizeof(token->secret), token->mesh_id, MESH_ID_SIZE);
        if (r >= 0)
                r = derive_next(&derivation, "worker-mesh invitation id", id, sizeof(id));
        if (r >= 0)
                r = derive_next(&derivation, "worker-mesh invitation", ret->secret, sizeof(ret->secret));
        derive_end(&derivation);
        if (r < 0)
                return r;
        char *position = hex_write(ret->name, token->mesh_id, MESH_ID_SIZE);
        *hex_write(stpcpy(position, TOKEN_NAME_MIDDLE), id, sizeof(id)) = '\0';
        return 0;
}
