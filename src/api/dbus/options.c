/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Dictionaries of options: every key is known, comes once, and has a value of its type, or the call is
 * refused with the key's name. */

#include <stdio.h>

#include "api/dbus/submission.h"
#include "util/utf8.h"

#define KEY_SHOWN_MAX 60u /* bytes of a stranger's key in a message */
#define KEYS_MAX 32u

/* As much of a key as a message has room for, cut between characters. */
static const char *key_to_show(const char *key, char buffer[static KEY_SHOWN_MAX + 4]) {
        size_t left = strlen(key), size = 0, sequence;

        while (left > 0 && (sequence = utf8_sequence(key + size, left)) > 0 &&
               size + sequence <= KEY_SHOWN_MAX) {
                size += sequence;
                left -= sequence;
        }
        memcpy(buffer, key, size);
        (void) snprintf(buffer + size, 4, "%s", left > 0 ? "..." : "");
        return buffer;
}

/* "target_node_id, env and cwd" */
static void list_keys(const char *const *keys, char *ret, size_t size) {
        size_t used = 0;

        ret[0] = '\0';
        for (size_t i = 0; keys[i] && used < size; i++)
                used += (size_t) snprintf(
                        ret + used, size - used, "%s%s",
                        i == 0        ? ""
                        : keys[i + 1] ? ", "
                                      : " and ",
                        keys[i]);
}

static int
refuse_unknown(const char *key, const char *const *keys, const char *what, struct bus_fault *ret_fault) {
        char shown[KEY_SHOWN_MAX + 4], known[256];

        list_keys(keys, known, sizeof(known));
        bus_fault_set(
                ret_fault, ERROR_PREFIX "UnknownField", "unknown option \"%s\"; %s has %s",
                key_to_show(key, shown), what, known);
        return -EINVAL;
}

static int note_key(const char *key, const char *const *keys, uint32_t *seen, struct bus_fault *ret_fault) {
        for (size_t i = 0; keys[i] && i < KEYS_MAX; i++) {
                if (!streq(keys[i], key))
                        continue;
                if (*seen & (1u << i)) {
                        bus_fault_set(
                                ret_fault, ERROR_PREFIX "Invalid", "\"%s\" is given more than once", key);
                        return -EINVAL;
                }
                *seen |= 1u << i;
                return 0;
        }
        return -ENOENT;
}

static int read_option(
        sd_bus_message *message, option_t function, const char *const *keys, const char *what,
        uint32_t *seen, void *userdata, struct bus_fault *ret_fault) {
        const char *key, *signature;
        int r;

        r = sd_bus_message_read_basic(message, 's', &key);
        if (r < 0)
                return r;
        r = note_key(key, keys, seen, ret_fault);
        if (r == -ENOENT)
                return refuse_unknown(key, keys, what, ret_fault);
        if (r < 0)
                return r;
        r = sd_bus_message_peek_type(message, NULL, &signature);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(message, 'v', signature);
        if (r < 0)
                return r;
        r = function(message, key, signature, userdata, ret_fault);
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(message);
}

int options_read(
        sd_bus_message *message, option_t function, const char *const *keys, const char *what,
        void *userdata, struct bus_fault *ret_fault) {
        uint32_t seen = 0;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = read_option(message, function, keys, what, &seen, userdata, ret_fault);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int
wrong_type(const char *key, const char *wanted, const char *signature, struct bus_fault *ret_fault) {
        bus_fault_set(
                ret_fault, ERROR_PREFIX "Invalid", "%s must be %s, not %s", key, wanted,
                bus_type_to_text(signature));
        return -EINVAL;
}

int option_read_text(
        sd_bus_message *message, const char *key, const char *signature, const char **ret, size_t *ret_size,
        struct bus_fault *ret_fault) {
        int r;

        if (!streq(signature, "s"))
                return wrong_type(key, "a string", signature, ret_fault);
        r = sd_bus_message_read_basic(message, 's', ret);
        if (r < 0)
                return r;
        *ret_size = strlen(*ret);
        return 0;
}

int option_read_boolean(
        sd_bus_message *message, const char *key, const char *signature, bool *ret,
        struct bus_fault *ret_fault) {
        int value, r;

        if (!streq(signature, "b"))
                return wrong_type(key, "true or false", signature, ret_fault);
        r = sd_bus_message_read_basic(message, 'b', &value);
        if (r < 0)
                return r;
        *ret = value;
        return 0;
}

int option_read_integer(
        sd_bus_message *message, const char *key, const char *signature, const char *wanted, int64_t *ret,
        struct bus_fault *ret_fault) {
        union {
                uint8_t y;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
        } value;
        int r;

        if (strlen(signature) != 1 || !strchr("ynqiuxt", signature[0]))
                return wrong_type(key, wanted, signature, ret_fault);
        r = sd_bus_message_read_basic(message, signature[0], &value);
        if (r < 0)
                return r;
        switch (signature[0]) {
        case 'y':
                *ret = value.y;
                break;
        case 'n':
                *ret = value.n;
                break;
        case 'q':
                *ret = value.q;
                break;
        case 'i':
                *ret = value.i;
                break;
        case 'u':
                *ret = value.u;
                break;
        case 'x':
                *ret = value.x;
                break;
        default:
                *ret = (int64_t) MIN(value.t, (uint64_t) INT64_MAX);
        }
        return 0;
}
