/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where a message goes is decided by log_setup(), and may be changed later. Each message is one write(2) or
 * one datagram, so that lines of several threads and processes never mix. */

#include "util/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "util/log-journal.h"
#include "util/parse.h"
#include "util/utf8.h"

#define LOG_MESSAGE_MAX 4096 /* bytes; what is longer is cut, and ends in "..." */
#define LOG_FIELDS_MAX 32    /* fields that log_fields() passes on, besides our own */

enum log_target {
        LOG_TARGET_CONSOLE,
        LOG_TARGET_JOURNAL,
        LOG_TARGET_NULL,
};

static const char *const target_names[] = {
        [LOG_TARGET_CONSOLE] = "console",
        [LOG_TARGET_JOURNAL] = "journal",
        [LOG_TARGET_NULL] = "null",
};

static atomic_int max_level = LOG_INFO;
static atomic_int target = LOG_TARGET_CONSOLE;
static enum log_target chosen_target = LOG_TARGET_CONSOLE; /* by log_setup() */
static bool terminal = false; /* stderr is a person: time of day and text, without program and pid */
static bool colours = false;
static const char *program_name = "worker-mesh";

static const char *const level_names[] = {
        [LOG_EMERG] = "emerg",     [LOG_ALERT] = "alert",   [LOG_CRIT] = "crit", [LOG_ERR] = "error",
        [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice", [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

void log_set_max_level(int level) {
        atomic_store_explicit(&max_level, level, memory_order_relaxed);
}

int log_max_level(void) {
        return atomic_load_explicit(&max_level, memory_order_relaxed);
}

int log_level_from_text(const char *text) {
        unsigned number;

        for (size_t i = 0; i < ELEMENTSOF(level_names); i++)
                if (streq(text, level_names[i]))
                        return (int) i;
        if (streq(text, "err")) /* the name that systemd has */
                return LOG_ERR;
        return parse_unsigned(text, LOG_EMERG, LOG_DEBUG, &number) < 0 ? -EINVAL : (int) number;
}

/* $JOURNAL_STREAM names the device and inode of the socket that the service manager gave us; it is
 * inherited, so a stderr that was redirected since does not match. */
static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        char expected[64];
        struct stat st;

        if (!stream || fstat(STDERR_FILENO, &st) < 0)
                return false;
        (void) snprintf(expected, sizeof(expected), "%ju:%ju", (uintmax_t) st.st_dev, (uintmax_t) st.st_ino);
        return streq(stream, expected);
}

void log_setup(const char *program) {
        const char *socket_path = getenv("WORKER_MESH_JOURNAL");

        program_name = program;
        log_journal_set_path(socket_path && *socket_path ? socket_path : LOG_JOURNAL_SOCKET);
        chosen_target = (socket_path && *socket_path) || stderr_is_journal() ? LOG_TARGET_JOURNAL
                                                                             : LOG_TARGET_CONSOLE;
        atomic_store(&target, chosen_target);

        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
        terminal = isatty(STDERR_FILENO);
        colours = terminal && !(no_color && *no_color) && term && !streq(term, "dumb");

        const char *level = getenv("SYSTEMD_LOG_LEVEL");
        int number = level ? log_level_from_text(level) : -EINVAL;
        if (number >= 0)
                log_set_max_level(number);
}

bool log_is_journal(void) {
        return atomic_load_explicit(&target, memory_order_relaxed) == LOG_TARGET_JOURNAL;
}

int log_set_target(const char *name) {
        if (streq(name, "auto")) {
                atomic_store(&target, chosen_target);
                return 0;
        }
        for (size_t i = 0; i < ELEMENTSOF(target_names); i++)
                if (streq(name, target_names[i])) {
                        atomic_store(&target, (int) i);
                        return 0;
                }
        return -EINVAL;
}

const char *log_target(void) {
        return target_names[atomic_load(&target)];
}

const char *log_program_name(void) {
        return program_name;
}

int log_queue_fd(void) {
        return log_journal_queue_fd();
}

void log_flush(void) {
        log_journal_flush();
}

size_t log_queue_size(void) {
        return log_journal_queue_size();
}

int log_entry(const struct iovec *fields, size_t n_fields, bool bulk) {
        return log_journal_send(fields, n_fields, bulk);
}

static const char *level_colour(int level) {
        if (!colours)
                return "";
        if (level <= LOG_ERR)
                return "\x1b[1;31m";
        if (level == LOG_WARNING)
                return "\x1b[1;33m";
        return level >= LOG_DEBUG ? "\x1b[2m" : "";
}

/* What stands before the text on stderr. */
static void format_prefix(char *buffer, size_t size, int level) {
        char time_text[TIME_TEXT_MAX];
        usec_t now = now_usec(CLOCK_REALTIME);
        /* Most lines are plain information; only what differs says its level. */
        const char *name = level == LOG_INFO ? "" : level_names[level];
        const char *colon = level == LOG_INFO ? "" : ": ";

        if (!terminal) {
                (void) snprintf(
                        buffer, size, "%s %s[%d]: %s%s", format_time(time_text, sizeof(time_text), now, 3),
                        program_name, (int) getpid(), name, colon);
                return;
        }

        time_t seconds = (time_t) (now / USEC_PER_SEC);
        struct tm local;
        if (!localtime_r(&seconds, &local))
                local = (struct tm){};
        (void) snprintf(
                buffer, size, "%02d:%02d:%02d.%03u %s%s%s", local.tm_hour, local.tm_min, local.tm_sec,
                (unsigned) (now / USEC_PER_MSEC % 1000), level_colour(level), name, colon);
}

/* Messages quote what strangers sent: a line break or an escape sequence in it must not forge lines or steer
 * the terminal. */
static void make_printable(char *text) {
        size_t size = strlen(text);

        for (size_t i = 0; i < size;) {
                size_t length = utf8_sequence(text + i, size - i);
                unsigned char first = (unsigned char) text[i];
                /* U+0080 to U+009F are control characters too. */
                bool control = first < 0x20 || first == 0x7f ||
                               (length == 2 && first == 0xc2 && (unsigned char) text[i + 1] < 0xa0);

                if (length == 0 || control) {
                        memset(text + i, first == '\n' || first == '\t' ? ' ' : '?',
                               MAX(length, (size_t) 1));
                        length = MAX(length, (size_t) 1);
                }
                i += length;
        }
}

static void write_stderr(int level, char *message) {
        char prefix[128];
        const char *end = *level_colour(level) ? "\x1b[0m\n" : "\n";

        format_prefix(prefix, sizeof(prefix), level);
        make_printable(message);
        struct iovec parts[] = {
                { prefix, strlen(prefix) },
                { message, strlen(message) },
                { (char *) end, strlen(end) },
        };
        const struct msghdr datagram = { .msg_iov = parts, .msg_iovlen = ELEMENTSOF(parts) };
        ssize_t n;

        /* Where it is a socket, as under a service manager, who reads it may have stopped. */
        n = sendmsg(STDERR_FILENO, &datagram, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0 || errno != ENOTSOCK)
                return;
        do
                n = writev(STDERR_FILENO, parts, ELEMENTSOF(parts));
        while (n < 0 && errno == EINTR);
}

/* A journal field "NAME=value" in a piece of memory of its own. */
struct log_field {
        char text[256];
};

static struct iovec __attribute__((__format__(printf, 2, 3)))
format_field(struct log_field *field, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        int length = vsnprintf(field->text, sizeof(field->text), format, arguments);
        va_end(arguments);
        length = CLAMP(length, 0, (int) sizeof(field->text) - 1);
        return (struct iovec){ field->text, (size_t) length };
}

/* The compiler knows our sources by the way from the build folder; a person knows them by their place in the
 * tree. */
static const char *source_path(const char *file) {
        size_t size = strlen(__FILE__) - strlen("src/util/log.c");

        return strncmp(file, __FILE__, size) == 0 ? file + size : file;
}

/* Where a message comes from. */
struct log_origin {
        const char *message_id, *file, *function; /* any may be NULL */
        int line;
};

static int send_journal(
        int level, int error, const struct log_origin *origin, const char *message,
        const char *const *fields) {
        static const char name[] = "MESSAGE=";
        struct log_field id, priority, code_file, code_line, code_function, number, identifier;
        char text[LOG_MESSAGE_MAX + sizeof(name)];
        struct iovec parts[LOG_FIELDS_MAX + 8];
        size_t n = 0;

        (void) snprintf(text, sizeof(text), "%s%s", name, message);
        parts[n++] = (struct iovec){ text, strlen(text) };
        if (origin->message_id)
                parts[n++] = format_field(&id, "MESSAGE_ID=%s", origin->message_id);
        parts[n++] = format_field(&priority, "PRIORITY=%d", level);
        parts[n++] = format_field(&identifier, "SYSLOG_IDENTIFIER=%s", program_name);
        if (origin->file) {
                parts[n++] = format_field(&code_file, "CODE_FILE=%s", source_path(origin->file));
                parts[n++] = format_field(&code_line, "CODE_LINE=%d", origin->line);
                parts[n++] = format_field(&code_function, "CODE_FUNC=%s", origin->function);
        }
        if (error < 0)
                parts[n++] = format_field(&number, "ERRNO=%d", -error);
        for (size_t i = 0; fields && fields[i] && i < LOG_FIELDS_MAX; i++)
                parts[n++] = (struct iovec){ (char *) fields[i], strlen(fields[i]) };
        return log_journal_send(parts, n, /* bulk= */ false);
}

static void
dispatch(int level, int error, const struct log_origin *origin, char *message, const char *const *fields) {
        switch ((enum log_target) atomic_load_explicit(&target, memory_order_relaxed)) {
        case LOG_TARGET_JOURNAL:
                if (send_journal(level, error, origin, message, fields) >= 0)
                        return;
                break;
        case LOG_TARGET_CONSOLE:
                break;
        case LOG_TARGET_NULL:
                return;
        }
        write_stderr(level, message);
}

/* The end of a message that did not fit: cut between characters. */
static void mark_cut(char *message, size_t size) {
        static const char mark[] = "...";
        size_t end = size - sizeof(mark);

        while (end > 0 && ((unsigned char) message[end] & 0xc0) == 0x80)
                end--;
        memcpy(message + end, mark, sizeof(mark));
}

int log_internal(
        int level, int error, const char *message_id, const char *file, int line, const char *function,
        const char *format, ...) {
        const struct log_origin origin = {
                .message_id = message_id, .file = file, .line = line, .function = function
        };
        char message[LOG_MESSAGE_MAX];
        int saved = errno;
        va_list arguments;

        assert(level >= LOG_EMERG && level <= LOG_DEBUG);

        errno = -error; /* for %m */
        va_start(arguments, format);
        int length = vsnprintf(message, sizeof(message), format, arguments);
        va_end(arguments);
        if (length < 0)
                message[0] = '\0';
        else if ((size_t) length >= sizeof(message))
                mark_cut(message, sizeof(message));

        dispatch(level, error, &origin, message, /* fields= */ NULL);
        errno = saved;
        return error;
}

int log_fields(int level, int error, const char *message, const char *const *fields) {
        static const struct log_origin nowhere = { .file = NULL };
        char copy[LOG_MESSAGE_MAX];
        int saved = errno;

        assert(level >= LOG_EMERG && level <= LOG_DEBUG);
        if (level > log_max_level())
                return error;

        int length = snprintf(copy, sizeof(copy), "%s", message);
        if ((size_t) length >= sizeof(copy))
                mark_cut(copy, sizeof(copy));
        dispatch(level, error, &nowhere, copy, fields);
        errno = saved;
        return error;
}

bool ratelimit_below(struct ratelimit *limit, usec_t now) {
        if (limit->used == 0 || usec_sub(now, limit->begin_usec) >= limit->interval_usec) {
                limit->begin_usec = now;
                limit->used = 0;
        }
        if (limit->used < limit->burst) {
                limit->used++;
                return true;
        }
        limit->suppressed++;
        return false;
}
