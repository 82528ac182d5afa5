/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Text that strangers wrote, for messages. sd-bus takes no noncharacters (U+FFFE and its like), neither does
 * it read them; commands and what peers say of themselves may have some. One of them must not keep a whole
 * list from being told. */

#include "api/dbus/internal.h"
#include "util/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD; no longer than what it stands for */

/* U+FDD0 to U+FDEF, and the last two of each plane. */
static bool is_noncharacter(const char *sequence, size_t length) {
        const unsigned char *bytes = (const unsigned char *) sequence;

        if (length == 3)
                return bytes[0] == 0xef && ((bytes[1] == 0xb7 && bytes[2] >= 0x90 && bytes[2] <= 0xaf) ||
                                            (bytes[1] == 0xbf && bytes[2] >= 0xbe));
        return length == 4 && (bytes[1] & 0x0f) == 0x0f && bytes[2] == 0xbf && bytes[3] >= 0xbe;
}

void bus_text_make_plain(char *text) {
        size_t size = strlen(text), used = 0, length;

        for (size_t i = 0; i < size; i += MAX(length, (size_t) 1)) {
                length = utf8_sequence(text + i, size - i);
                if (length == 0)
                        text[used++] = '?';
                else if (is_noncharacter(text + i, length)) {
                        memcpy(text + used, REPLACEMENT, strlen(REPLACEMENT));
                        used += strlen(REPLACEMENT);
                } else {
                        memmove(text + used, text + i, length);
                        used += length;
                }
        }
        text[used] = '\0';
}

int bus_append_text(sd_bus_message *message, const char *text) {
        _cleanup_free_ char *plain = NULL;

        /* With one of these bytes begins whatever is not taken. */
        if (strpbrk(text, "\xef\xf0\xf1\xf2\xf3\xf4")) {
                plain = strdup(text);
                if (!plain)
                        return -ENOMEM;
                bus_text_make_plain(plain);
        }
        return sd_bus_message_append_basic(message, 's', plain ? plain : text);
}

int bus_append_pressure(sd_bus_message *message, const struct node_pressure *pressure) {
        if (!pressure->known)
                return sd_bus_message_append(message, "a{sd}", 0);
        return sd_bus_message_append(
                message, "a{sd}", 3, "cpu", pressure->cpu / 10.0, "memory", pressure->memory / 10.0, "io",
                pressure->io / 10.0);
}

int bus_append_metadata(sd_bus_message *message, const struct metadata_entry *metadata, size_t n) {
        int r;

        r = sd_bus_message_open_container(message, 'a', "{ss}");
        for (size_t i = 0; r >= 0 && i < n; i++) {
                r = sd_bus_message_open_container(message, 'e', "ss");
                if (r >= 0)
                        r = bus_append_text(message, metadata[i].key);
                if (r >= 0)
                        r = bus_append_text(message, metadata[i].value);
                if (r >= 0)
                        r = sd_bus_message_close_container(message);
        }
        return r < 0 ? r : sd_bus_message_close_container(message);
}
