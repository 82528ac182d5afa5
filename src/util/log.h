/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One line a message, to stderr; to the journal, with its fields, when stderr is the journal
 * ($JOURNAL_STREAM). Levels are those of syslog(3). A function either logs or returns an error, never both:
 * log_*_errno() return the error they were given, so that "return log_error_errno(r, ...)" is one expression
 * at the edge.
 *
 * Writing to the journal never waits: what it does not take at once is kept in a bounded queue
 * (log-journal.h), sent by log_flush(), and what does not fit there is counted and said later. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>
#include <syslog.h>

#include "util/macros.h"
#include "util/time.h"

/* Sets the program's name, and the level from $SYSTEMD_LOG_LEVEL where it is set. Default: LOG_INFO.
 * $WORKER_MESH_JOURNAL names a socket that is talked to as if it were the journal's. */
void log_setup(const char *program);
bool log_is_journal(void);
/* "journal", "console" (stderr), "null"; "auto": what log_setup() chose. -EINVAL: none of these. */
int log_set_target(const char *target);
const char *log_target(void);       /* never "auto" */
const char *log_program_name(void); /* SYSLOG_IDENTIFIER= */
void log_set_max_level(int level);
int log_max_level(void);
int log_level_from_text(const char *text); /* "debug", "info", … or "0".."7"; -EINVAL */

/* error is a negative errno or 0; %m in format prints it. message_id: see message-ids.h; NULL: none. Returns
 * error. Thread-safe. */
int log_internal(
        int level, int error, const char *message_id, const char *file, int line, const char *function,
        const char *format, ...) _printf_(7, 8);

/* A message with fields for the journal, each "NAME=value", the last one NULL; on a terminal the message
 * alone. At most 32 fields; further ones are left out. */
int log_fields(int level, int error, const char *message, const char *const *fields);

/* An entry of the journal as it is: each field "NAME=value", the value any bytes; MESSAGE=, PRIORITY= and
 * SYSLOG_IDENTIFIER= among them. Only where log_is_journal(). bulk: is left out before anything else when
 * the journal does not keep up. -ENOENT, …: there is no journal. */
int log_entry(const struct iovec *fields, size_t n_fields, bool bulk);

/* For the loop of a program (log-loop.h): a descriptor that is readable when log_flush() has something to
 * do, and always the same; bytes that wait. */
int log_queue_fd(void);
void log_flush(void);
size_t log_queue_size(void);

#define log_event_errno(level, error, message_id, ...)                                                   \
        ({                                                                                               \
                int _level = (level), _error = (error);                                                  \
                _level <= log_max_level()                                                                \
                        ? log_internal(                                                                  \
                                  _level, _error, message_id, __FILE__, __LINE__, __func__, __VA_ARGS__) \
                        : _error;                                                                        \
        })

/* An event with an id of message-ids.h, and an entry in the catalog. */
#define log_event(level, message_id, ...) ((void) log_event_errno(level, 0, message_id, __VA_ARGS__))

#define log_full_errno(level, error, ...) log_event_errno(level, error, NULL, __VA_ARGS__)

#define log_debug(...) ((void) log_full_errno(LOG_DEBUG, 0, __VA_ARGS__))
#define log_info(...) ((void) log_full_errno(LOG_INFO, 0, __VA_ARGS__))
#define log_notice(...) ((void) log_full_errno(LOG_NOTICE, 0, __VA_ARGS__))
#define log_warning(...) ((void) log_full_errno(LOG_WARNING, 0, __VA_ARGS__))
#define log_error(...) ((void) log_full_errno(LOG_ERR, 0, __VA_ARGS__))

#define log_debug_errno(error, ...) log_full_errno(LOG_DEBUG, error, __VA_ARGS__)
#define log_info_errno(error, ...) log_full_errno(LOG_INFO, error, __VA_ARGS__)
#define log_notice_errno(error, ...) log_full_errno(LOG_NOTICE, error, __VA_ARGS__)
#define log_warning_errno(error, ...) log_full_errno(LOG_WARNING, error, __VA_ARGS__)
#define log_error_errno(error, ...) log_full_errno(LOG_ERR, error, __VA_ARGS__)
#define log_oom() log_full_errno(LOG_ERR, -ENOMEM, "Out of memory.")

/* At most burst messages in interval; what is left out is counted in suppressed, until the caller has said
 * so and sets it to 0. */
struct ratelimit {
        usec_t interval_usec;
        unsigned burst;
        usec_t begin_usec;
        unsigned used;
        unsigned suppressed;
};

/* true: go ahead. now_usec is any clock that does not go back. */
bool ratelimit_below(struct ratelimit *limit, usec_t now_usec);
