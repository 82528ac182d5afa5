/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One line a message, to stderr; to the journal, with its fields, when stderr is the journal
 * ($JOURNAL_STREAM). Levels are those of syslog(3). A function either logs or returns an error, never both:
 * log_*_errno() return the error they were given, so that "return log_error_errno(r, ...)" is one expression
 * at the edge. */

#include <errno.h>
#include <stdbool.h>
#include <syslog.h>

#include "util/macros.h"
#include "util/time.h"

/* Sets the program's name, and the level from $SYSTEMD_LOG_LEVEL where it is set. Default: LOG_INFO. */
void log_setup(const char *program);
bool log_is_journal(void); /* true after log_setup() where stderr is the journal */
void log_set_max_level(int level);
int log_max_level(void);
int log_level_from_text(const char *text); /* "debug", "info", … or "0".."7"; -EINVAL */

/* error is a negative errno or 0; %m in format prints it. Returns error. Thread-safe. */
int log_internal(
        int level, int error, const char *file, int line, const char *function, const char *format, ...)
        _printf_(6, 7);

/* A message with fields for the journal, each "NAME=value", the last one NULL; on a terminal the message
 * alone. At most 32 fields; further ones are left out. */
int log_fields(int level, int error, const char *message, const char *const *fields);

#define log_full_errno(level, error, ...)                                                         \
        ({                                                                                        \
                int _level = (level), _error = (error);                                           \
                _level <= log_max_level()                                                         \
                        ? log_internal(_level, _error, __FILE__, __LINE__, __func__, __VA_ARGS__) \
                        : _error;                                                                 \
        })

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
