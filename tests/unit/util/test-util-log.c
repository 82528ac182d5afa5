/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* stderr is a pipe, a terminal, or what looks like the journal; each case logs into it and reads what came.
 */

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "lib/tests.h"
#include "util/log.h"

int sd_journal_sendv(const struct iovec *parts, int count);

/* What the journal was sent last, a field a line. It stands here in place of the one in libsystemd. */
static char journal[16384];
static int journal_result;

int sd_journal_sendv(const struct iovec *parts, int count) {
        char *position = journal;

        for (int i = 0; i < count; i++) {
                ASSERT_LT(
                        position - journal + (ptrdiff_t) parts[i].iov_len + 2, (ptrdiff_t) sizeof(journal));
                position = mempcpy(position, parts[i].iov_base, parts[i].iov_len);
                *position++ = '\n';
        }
        *position = '\0';
        return journal_result;
}

/* stderr while a case runs, and the way back. */
struct capture {
        int read_fd, saved_fd;
        char text[16384];
};

static void capture_begin(struct capture *capture, int read_fd, int write_fd) {
        capture->read_fd = read_fd;
        capture->saved_fd = dup(STDERR_FILENO);
        ASSERT_GE(capture->saved_fd, 0);
        ASSERT_GE(dup2(write_fd, STDERR_FILENO), 0);
        close(write_fd);
}

static void capture_pipe(struct capture *capture) {
        int fds[2];

        ASSERT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
        capture_begin(capture, fds[0], fds[1]);
}

static void capture_terminal(struct capture *capture) {
        int main_fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

        ASSERT_GE(main_fd, 0);
        ASSERT_EQ(grantpt(main_fd), 0);
        ASSERT_EQ(unlockpt(main_fd), 0);
        int terminal_fd = open(ptsname(main_fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
        ASSERT_GE(terminal_fd, 0);
        capture_begin(capture, main_fd, terminal_fd);
}

/* What was written since the last call. */
static const char *capture_read(struct capture *capture) {
        ssize_t size = read(capture->read_fd, capture->text, sizeof(capture->text) - 1);

        capture->text[size > 0 ? size : 0] = '\0';
        return capture->text;
}

/* As capture_read(), until so many lines are there: a terminal passes them on one by one. */
static void capture_read_lines(struct capture *capture, size_t n_lines) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;
        size_t size = 0, n = 0;

        while (n < n_lines) {
                ssize_t got = read(capture->read_fd, capture->text + size, sizeof(capture->text) - 1 - size);

                ASSERT_LT(now_usec(CLOCK_MONOTONIC), deadline);
                for (ssize_t i = 0; i < got; i++)
                        n += capture->text[size + (size_t) i] == '\n';
                if (got > 0)
                        size += (size_t) got;
                else
                        (void) poll(&(struct pollfd){ .fd = capture->read_fd, .events = POLLIN }, 1, 100);
        }
        capture->text[size] = '\0';
}

static void capture_end(struct capture *capture) {
        ASSERT_GE(dup2(capture->saved_fd, STDERR_FILENO), 0);
        close(capture->saved_fd);
        close(capture->read_fd);
}

static void clear_environment(void) {
        unsetenv("JOURNAL_STREAM");
        unsetenv("NO_COLOR");
        unsetenv("SYSTEMD_LOG_LEVEL");
        setenv("TERM", "xterm", 1);
        log_set_max_level(LOG_INFO);
}

static void test_levels(void) {
        ASSERT_EQ(log_level_from_text("debug"), LOG_DEBUG);
        ASSERT_EQ(log_level_from_text("error"), LOG_ERR);
        ASSERT_EQ(log_level_from_text("err"), LOG_ERR);
        ASSERT_EQ(log_level_from_text("0"), LOG_EMERG);
        ASSERT_EQ(log_level_from_text("7"), LOG_DEBUG);
        ASSERT_ERROR(log_level_from_text("8"), EINVAL);
        ASSERT_ERROR(log_level_from_text(""), EINVAL);
        ASSERT_ERROR(log_level_from_text("loud"), EINVAL);

        clear_environment();
        setenv("SYSTEMD_LOG_LEVEL", "warning", 1);
        log_setup("test");
        ASSERT_EQ(log_max_level(), LOG_WARNING);
        setenv("SYSTEMD_LOG_LEVEL", "nonsense", 1);
        log_setup("test");
        ASSERT_EQ(log_max_level(), LOG_WARNING);
}

static void test_pipe(void) {
        struct capture capture;

        clear_environment();
        capture_pipe(&capture);
        log_setup("test");
        errno = EPERM;
        int r = log_warning_errno(-ENOENT, "Cannot open %s: %m", "file");
        int after = errno;
        (void) capture_read(&capture);
        log_debug("not shown");
        bool silent = capture_read(&capture)[0] == '\0';
        capture_end(&capture);

        ASSERT_EQ(r, -ENOENT);
        ASSERT_EQ(after, EPERM);
        ASSERT_TRUE(silent);
}

static void test_pipe_text(void) {
        struct capture capture;
        char pid[32];

        clear_environment();
        capture_pipe(&capture);
        log_setup("test");
        log_error_errno(-ENOENT, "Cannot open %s: %m", "file");
        (void) capture_read(&capture);
        capture_end(&capture);

        (void) snprintf(pid, sizeof(pid), " test[%d]: ", (int) getpid());
        const char *rest = strstr(capture.text, pid);
        ASSERT_NOT_NULL(rest);
        ASSERT_EQ(rest - capture.text, TIME_TEXT_MAX - 4); /* "2026-01-01T00:00:00.000Z" */
        ASSERT_STREQ(rest + strlen(pid), "error: Cannot open file: No such file or directory\n");
}

/* What strangers sent makes no second line and no escape sequence. */
static void test_hostile_text(void) {
        struct capture capture;

        clear_environment();
        capture_pipe(&capture);
        log_setup("test");
        log_info(
                "%s", "a\nb\rc\x1b[2Jd\te\xff\xc2\x9b"
                      "f\u00e4\u20ac\x7f");
        (void) capture_read(&capture);
        capture_end(&capture);
        ASSERT_STREQ(strstr(capture.text, "]: ") + 3, "a b?c?[2Jd e???f\u00e4\u20ac?\n");
}

static void test_long_text(void) {
        struct capture capture;
        static char text[10001];

        clear_environment();
        for (unsigned i = 0; i < sizeof(text) - 1; i += 2)
                memcpy(text + i, "\u00e4", 2);
        capture_pipe(&capture);
        log_setup("test");
        log_info("%s", text);
        (void) capture_read(&capture);
        capture_end(&capture);

        size_t size = strlen(capture.text);
        ASSERT_LT(size, 4200);
        ASSERT_GT(size, 4000);
        ASSERT_STREQ(capture.text + size - 4, "...\n");
        ASSERT_NULL(strchr(capture.text, '?')); /* not cut within a character */
}

static void log_two(struct capture *capture) {
        capture_terminal(capture);
        log_setup("test");
        log_info("plain");
        log_warning("loud");
        capture_read_lines(capture, 2);
        capture_end(capture);
}

static void test_terminal(void) {
        struct capture capture;

        clear_environment();
        log_two(&capture);
        /* "12:03:04.123 plain\r\n" */
        ASSERT_EQ(capture.text[2], ':');
        ASSERT_EQ(capture.text[8], '.');
        ASSERT_EQ(strncmp(capture.text + 12, " plain\r\n", 8), 0);
        ASSERT_STREQ(capture.text + 20 + 12, " \x1b[1;33mwarning: loud\x1b[0m\r\n");

        setenv("NO_COLOR", "1", 1);
        log_two(&capture);
        ASSERT_STREQ(capture.text + 20 + 12, " warning: loud\r\n");

        clear_environment();
        setenv("TERM", "dumb", 1);
        log_two(&capture);
        ASSERT_STREQ(capture.text + 20 + 12, " warning: loud\r\n");
}

/* $JOURNAL_STREAM names the pipe that stderr is. */
static void capture_journal(struct capture *capture) {
        char stream[64];
        struct stat st;

        capture_pipe(capture);
        ASSERT_EQ(fstat(STDERR_FILENO, &st), 0);
        (void) snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t) st.st_dev, (uintmax_t) st.st_ino);
        setenv("JOURNAL_STREAM", stream, 1);
        log_setup("test");
}

static bool journal_has(const char *line) {
        const char *found = strstr(journal, line);

        return found && (found == journal || found[-1] == '\n') && found[strlen(line)] == '\n';
}

static void test_journal(void) {
        static const char *const fields[] = { "JOB_ID=7", "MESSAGE_ID=b", NULL };
        struct capture capture;

        clear_environment();
        capture_journal(&capture);
        journal_result = 0;
        log_error_errno(-ENOENT, "Gone:\n%m");
        bool silent = capture_read(&capture)[0] == '\0';
        capture_end(&capture);
        ASSERT_TRUE(silent);
        ASSERT_TRUE(log_is_journal());
        ASSERT_NOT_NULL(strstr(journal, "MESSAGE=Gone:\nNo such file or directory\n"));
        ASSERT_TRUE(journal_has("PRIORITY=3"));
        ASSERT_TRUE(journal_has("ERRNO=2"));
        ASSERT_TRUE(journal_has("SYSLOG_IDENTIFIER=test"));
        ASSERT_TRUE(journal_has("CODE_FUNC=test_journal"));
        ASSERT_NOT_NULL(strstr(journal, "CODE_FILE=tests/unit/util/test-util-log.c\n"));

        ASSERT_EQ(log_fields(LOG_INFO, 0, "Job 7 ended.", fields), 0);
        ASSERT_TRUE(journal_has("MESSAGE=Job 7 ended."));
        ASSERT_TRUE(journal_has("PRIORITY=6"));
        ASSERT_TRUE(journal_has("JOB_ID=7"));
        ASSERT_TRUE(journal_has("MESSAGE_ID=b"));
        ASSERT_NULL(strstr(journal, "ERRNO="));

        journal[0] = '\0';
        ASSERT_EQ(log_fields(LOG_DEBUG, -EIO, "below the level", fields), -EIO);
        ASSERT_STREQ(journal, "");
}

static void test_journal_fails(void) {
        struct capture capture;

        clear_environment();
        capture_journal(&capture);
        journal_result = -ENOBUFS;
        log_info("by another way");
        (void) capture_read(&capture);
        capture_end(&capture);
        ASSERT_NOT_NULL(strstr(capture.text, "by another way\n"));

        /* An inherited variable that speaks of another file. */
        clear_environment();
        setenv("JOURNAL_STREAM", "1:1", 1);
        log_setup("test");
        ASSERT_FALSE(log_is_journal());
}

static void test_ratelimit(void) {
        struct ratelimit limit = { .interval_usec = 100, .burst = 2 };

        ASSERT_TRUE(ratelimit_below(&limit, 0));
        ASSERT_TRUE(ratelimit_below(&limit, 50));
        ASSERT_FALSE(ratelimit_below(&limit, 60));
        ASSERT_FALSE(ratelimit_below(&limit, 99));
        ASSERT_EQ(limit.suppressed, 2);
        ASSERT_TRUE(ratelimit_below(&limit, 100));
        ASSERT_TRUE(ratelimit_below(&limit, 100));
        ASSERT_FALSE(ratelimit_below(&limit, 199));
        ASSERT_TRUE(ratelimit_below(&limit, 200));
        ASSERT_EQ(limit.suppressed, 3);
}

int main(void) {
        RUN(test_levels);
        RUN(test_pipe);
        RUN(test_pipe_text);
        RUN(test_hostile_text);
        RUN(test_long_text);
        RUN(test_terminal);
        RUN(test_journal);
        RUN(test_journal_fails);
        RUN(test_ratelimit);
        return 0;
}
