/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A journal of the test's own: a datagram socket at a path, and what arrives there, read as the journal
 * reads it. */

#include <stdbool.h>
#include <stddef.h>

struct fake_journal {
        int fd;
};

/* A message as it was received: fields, with values of any bytes. */
struct journal_message {
        char *data; /* owned */
        size_t size;
        bool from_file; /* it came in a memory file */
        size_t n_fields;
        struct journal_value {
                const char *name, *value; /* name is not terminated */
                size_t name_size, size;
        } fields[64];
};

void fake_journal_open(struct fake_journal *journal, const char *path);
void fake_journal_close(struct fake_journal *journal);
/* The next message that is there; false: none. A message that is not well-formed fails the test. */
bool fake_journal_receive(struct fake_journal *journal, struct journal_message *ret);
void journal_message_done(struct journal_message *message);

/* NULL: there is no such field. The value is followed by a NUL or a line break. */
const struct journal_value *journal_message_get(const struct journal_message *message, const char *name);
bool journal_message_has(const struct journal_message *message, const char *name, const char *value);
