/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The way of log.c to the journal: its native protocol over a datagram socket of our own that never blocks.
 * What the journal does not take at once waits in a queue with a limit; what finds no place there is
 * counted, and the count is said when there is room again. Thread-safe. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"
#define LOG_QUEUE_MAX (8u * 1024 * 1024)       /* bytes that wait for the journal */
#define LOG_QUEUE_BULK_MAX (LOG_QUEUE_MAX / 2) /* beyond, what is merely plenty is left out */
#define LOG_FLUSH_MAX 256u                     /* messages that one call of log_flush() sends */
#define LOG_ENTRY_FIELDS_MAX 48u               /* fields of one message */

/* The socket that is talked to from now on. What waits in the queue stays there. */
void log_journal_set_path(const char *path);

/* Each field is "NAME=value"; the value may hold any byte. 0: sent, waiting or counted. -ENOENT,
 * -ECONNREFUSED, …: there is no journal, and the caller has to find another way. */
int log_journal_send(const struct iovec *fields, size_t n_fields, bool bulk);

/* See log.h. */
int log_journal_queue_fd(void);
size_t log_journal_queue_size(void);
void log_journal_flush(void);
