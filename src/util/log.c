/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where a message goes is decided once, by log_setup(). Each message is one write(2) or one datagram, so
 * that lines of several threads and processes never mix. */

#define SD_JOURNAL_SUPPRESS_LOCATION
#include "util/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#include "util/parse.h"
#include "util/utf8.h"

#define LOG_MESSAGE_MAX 4096 /* bytes; what is longer is cut, and ends in "..." */
#define LOG_FIELDS_MAX 32    /* fields that log_fields() passes on, besides our own */

enum log_target {
        LOG_TARGET_PLAIN,    /* a file or a pipe: full time, program and pid */
        LOG_TARGET_TERMINAL, /* a person: time of day and text */
        LOG_TARGET_JOURNAL,
};

static atomic_int max_level = LOG_INFO;
static enum log_target target = LOG_TARGET_PLAIN;
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
        program_name = program;

        if (stderr_is_journal())
                target = LOG_TARGET_JOURNAL;
        else
                target = isatty(STDERR_FILENO) ? LOG_TARGET_TERMINAL : LOG_TARGET_PLAIN;

        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
        colours = target == LOG_TARGET_TERMINAL && !(no_color && *no_color) && term && !streq(term, "dumb");

        const char *level = getenv("SYSTEMD_LOG_LEVEL");
        int number = level ? log_level_from_text(level) : -EINVAL;
        if (number >= 0)
                log_set_max_level(number);
}

bool log_is_journal(void) {
        return target == LOG_TARGET_JOURNAL;
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

        if (target != LOG_TARGET_TERMINAL) {
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
        ssize_t n;
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

static int send_journal(
        int level, int error, const char *file, int line, const char *function, const char *message,
        const char *const *fields) {
        static const char name[] = "MESSAGE=";
        struct log_field priority, code_file, code_line, code_function, number, identifier;
        char text[LOG_MESSAGE_MAX + sizeof(name)];
        struct iovec parts[LOG_FIELDS_MAX + 7];
        int n = 0;

        (void) snprintf(text, sizeof(text), "%s%s", name, message);
        parts[n++] = (struct iovec){ text, strlen(text) };
        parts[n++] = format_field(&priority, "PRIORITY=%d", level);
        parts[n++] = format_field(&identifier, "SYSLOG_IDENTIFIER=%s", program_name);
        if (file) {
                parts[n++] = format_field(&code_file, "CODE_FILE=%s", source_path(file));
                parts[n++] = format_field(&code_line, "CODE_LINE=%d", line);
                parts[n++] = format_field(&code_function, "CODE_FUNC=%s", function);
        }
        if (error < 0)
                parts[n++] = format_field(&number, "ERRNO=%d", -error);
        for (size_t i = 0; fields && fields[i] && i < LOG_FIELDS_MAX; i++)
                parts[n++] = (struct iovec){ (char *) fields[i], strlen(fields[i]) };
        return sd_journal_sendv(parts, n);
}

static void dispatch(
        int level, int error, const char *file, int line, const char *function, char *message,
        const char *const *fields) {
        if (target == LOG_TARGET_JOURNAL &&
            send_journal(level, error, file, line, function, message, fields) >= 0)
                return;
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
        int level, int error, const char *file, int line, const char *function, const char *format, ...) {
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

        dispatch(level, error, file, line, function, message, /* fields= */ NULL);
        errno = saved;
        return error;
}

int log_fields(int level, int error, const char *message, const char *const *fields) {
        char copy[LOG_MESSAGE_MAX];
        int saved = errno;

        assert(level >= LOG_EMERG && level <= LOG_DEBUG);
        if (level > log_max_level())
                return error;

        int length = snprintf(copy, sizeof(copy), "%s", message);
        if ((size_t) length >= sizeof(copy))
                mark_cut(copy, sizeof(copy));
        dispatch(level, error, /* file= */ NULL, /* line= */ 0, /* function= */ NULL, copy, fields);
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
