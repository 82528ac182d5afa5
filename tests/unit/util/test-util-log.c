/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* stderr is a pipe, a terminal, or what looks like the journal; each case logs into it and reads what came.
 */

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>

#include "lib/fake-journal.h"
#include "lib/folder.h"
#include "lib/tests.h"
#include "util/log.h"

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
        unsetenv("WORKER_MESH_JOURNAL");
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

static struct folder folder;
static char socket_path[160];

static void begin_journal(struct fake_journal *journal) {
        folder_make(&folder);
        (void) snprintf(socket_path, sizeof(socket_path), "%s/journal", folder.path);
        fake_journal_open(journal, socket_path);
        clear_environment();
        setenv("WORKER_MESH_JOURNAL", socket_path, 1);
}

static void end_journal(struct fake_journal *journal) {
        fake_journal_close(journal);
        unsetenv("WORKER_MESH_JOURNAL");
        folder_remove(&folder);
}

static void test_journal(void) {
        static const char *const fields[] = { "JOB_ID=7", "MESSAGE_ID=b", NULL };
        struct journal_message message;
        struct fake_journal journal;
        struct capture capture;

        begin_journal(&journal);
        capture_pipe(&capture);
        log_setup("test");
        log_event_errno(LOG_ERR, -ENOENT, "a", "Gone:\n%m");
        bool silent = capture_read(&capture)[0] == '\0';
        capture_end(&capture);
        ASSERT_TRUE(silent);
        ASSERT_TRUE(log_is_journal());
        ASSERT_TRUE(fake_journal_receive(&journal, &message));
        ASSERT_TRUE(journal_message_has(&message, "MESSAGE", "Gone:\nNo such file or directory"));
        ASSERT_TRUE(journal_message_has(&message, "MESSAGE_ID", "a"));
        ASSERT_TRUE(journal_message_has(&message, "PRIORITY", "3"));
        ASSERT_TRUE(journal_message_has(&message, "ERRNO", "2"));
        ASSERT_TRUE(journal_message_has(&message, "SYSLOG_IDENTIFIER", "test"));
        ASSERT_TRUE(journal_message_has(&message, "CODE_FUNC", "test_journal"));
        ASSERT_TRUE(journal_message_has(&message, "CODE_FILE", "tests/unit/util/test-util-log.c"));
        journal_message_done(&message);

        ASSERT_EQ(log_fields(LOG_INFO, 0, "Job 7 ended.", fields), 0);
        ASSERT_TRUE(fake_journal_receive(&journal, &message));
        ASSERT_TRUE(journal_message_has(&message, "MESSAGE", "Job 7 ended."));
        ASSERT_TRUE(journal_message_has(&message, "PRIORITY", "6"));
        ASSERT_TRUE(journal_message_has(&message, "JOB_ID", "7"));
        ASSERT_TRUE(journal_message_has(&message, "MESSAGE_ID", "b"));
        ASSERT_NULL(journal_message_get(&message, "ERRNO"));
        journal_message_done(&message);

        ASSERT_EQ(log_fields(LOG_DEBUG, -EIO, "below the level", fields), -EIO);
        ASSERT_FALSE(fake_journal_receive(&journal, &message));
        end_journal(&journal);
}

/* Any byte in a value, and messages that no datagram can hold. */
static void test_entries(void) {
        static const char bytes[] = "MESSAGE=a\nb\0c=\xff\x1b";
        static char large[20 * 1024 * 1024];
        const struct iovec fields[] = { { (char *) bytes, sizeof(bytes) - 1 },
                                        { (char *) "PRIORITY=6", 10 },
                                        { (char *) "no field", 8 } };
        const struct iovec large_field = { large, sizeof(large) };
        const struct journal_value *value;
        struct journal_message message;
        struct fake_journal journal;

        begin_journal(&journal);
        log_setup("test");
        ASSERT_EQ(log_entry(fields, ELEMENTSOF(fields), false), 0);
        ASSERT_TRUE(fake_journal_receive(&journal, &message));
        ASSERT_EQ(message.n_fields, 2);
        value = journal_message_get(&message, "MESSAGE");
        ASSERT_NOT_NULL(value);
        ASSERT_EQ(value->size, sizeof(bytes) - 1 - strlen("MESSAGE="));
        ASSERT_EQ(memcmp(value->value, bytes + strlen("MESSAGE="), value->size), 0);
        journal_message_done(&message);

        memset(large, 'x', sizeof(large));
        memcpy(large, "MESSAGE=", strlen("MESSAGE="));
        ASSERT_EQ(log_entry(&large_field, 1, false), 0);
        ASSERT_TRUE(fake_journal_receive(&journal, &message));
        ASSERT_TRUE(message.from_file);
        ASSERT_EQ(journal_message_get(&message, "MESSAGE")->size, sizeof(large) - strlen("MESSAGE="));
        journal_message_done(&message);
        end_journal(&journal);
}

static bool queue_is_ready(void) {
        return poll(&(struct pollfd){ .fd = log_queue_fd(), .events = POLLIN }, 1, 0) == 1;
}

/* Receives all that comes, flushing as a loop would; returns how many, all in order. */
static unsigned receive_all(struct fake_journal *journal, unsigned *ret_left_out) {
        struct journal_message message;
        unsigned n = 0, number, last = 0;

        *ret_left_out = 0;
        for (;;) {
                while (fake_journal_receive(journal, &message)) {
                        const struct journal_value *text = journal_message_get(&message, "MESSAGE");

                        ASSERT_NOT_NULL(text);
                        if (sscanf(text->value, "%u messages were left out", ret_left_out) != 1) {
                                ASSERT_EQ(sscanf(text->value, "Number %u", &number), 1);
                                ASSERT_GT(number, last);
                                last = number;
                                n++;
                        }
                        journal_message_done(&message);
                }
                if (!queue_is_ready())
                        return n;
                log_flush();
        }
}

/* Nobody reads: it goes on at once, and nothing is lost below the limit. */
static void test_stuck_journal(void) {
        const unsigned n_messages = 5000;
        struct fake_journal journal;
        unsigned n, left_out;
        usec_t begin;

        begin_journal(&journal);
        log_setup("test");
        ASSERT_FALSE(queue_is_ready());
        begin = now_usec(CLOCK_MONOTONIC);
        for (unsigned i = 1; i <= n_messages; i++)
                log_info("Number %u", i);
        ASSERT_LT(now_usec(CLOCK_MONOTONIC) - begin, 5 * USEC_PER_SEC);
        ASSERT_GT(log_queue_size(), 0);
        ASSERT_FALSE(queue_is_ready());

        n = receive_all(&journal, &left_out);
        ASSERT_EQ(n, n_messages);
        ASSERT_EQ(left_out, 0);
        ASSERT_EQ(log_queue_size(), 0);
        ASSERT_FALSE(queue_is_ready());
        end_journal(&journal);
}

/* Beyond the limit: counted and said, and what is merely plenty goes first. */
static void test_full_queue(void) {
        static char padding[64 * 1024];
        const struct iovec bulk[] = { { (char *) "MESSAGE=Number 0", 16 }, { padding, sizeof(padding) } };
        struct fake_journal journal;
        unsigned n = 1, left_out, n_received, n_bulk;
        size_t size;

        begin_journal(&journal);
        log_setup("test");
        memset(padding, 'x', sizeof(padding));
        memcpy(padding, "PADDING=", strlen("PADDING="));
        for (n_bulk = 0; n_bulk < 1000; n_bulk++) {
                char text[32];
                const struct iovec fields[] = {
                        { text, (size_t) snprintf(text, sizeof(text), "MESSAGE=Number %u", n++) }, bulk[1]
                };

                ASSERT_EQ(log_entry(fields, ELEMENTSOF(fields), /* bulk= */ true), 0);
        }
        size = log_queue_size();
        ASSERT_GT(size, 3 * 1024 * 1024);
        ASSERT_LT(size, 4 * 1024 * 1024 + 1);
        log_info("Number %u", n++);
        ASSERT_GT(log_queue_size(), size);

        n_received = receive_all(&journal, &left_out);
        ASSERT_GT(left_out, 0);
        ASSERT_EQ(n_received + left_out, n - 1);
        end_journal(&journal);
}

#define N_THREADS 4u
#define N_MESSAGES 1000u

static void *log_many(void *userdata) {
        const unsigned *number = userdata;

        for (unsigned i = 0; i < N_MESSAGES; i++)
                log_info("Thread %u, number %u", *number, i);
        return NULL;
}

/* All of them arrive, each thread's in order. */
static void test_threads(void) {
        unsigned numbers[N_THREADS], next[N_THREADS] = {}, n = 0;
        struct journal_message message;
        struct fake_journal journal;
        pthread_t threads[N_THREADS];

        begin_journal(&journal);
        log_setup("test");
        for (unsigned i = 0; i < N_THREADS; i++) {
                numbers[i] = i;
                ASSERT_EQ(pthread_create(&threads[i], NULL, log_many, &numbers[i]), 0);
        }
        for (usec_t deadline = now_usec(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC; n < N_THREADS * N_MESSAGES;) {
                unsigned thread, number;

                ASSERT_LT(now_usec(CLOCK_MONOTONIC), deadline);
                log_flush();
                while (fake_journal_receive(&journal, &message)) {
                        ASSERT_EQ(
                                sscanf(journal_message_get(&message, "MESSAGE")->value,
                                       "Thread %u, number %u", &thread, &number),
                                2);
                        ASSERT_EQ(number, next[thread]++);
                        journal_message_done(&message);
                        n++;
                }
        }
        for (unsigned i = 0; i < N_THREADS; i++)
                ASSERT_EQ(pthread_join(threads[i], NULL), 0);
        ASSERT_EQ(log_queue_size(), 0);
        end_journal(&journal);
}

/* A journal that comes back under the same path. */
static void test_restarted_journal(void) {
        struct journal_message message;
        struct fake_journal journal;

        begin_journal(&journal);
        log_setup("test");
        log_info("before");
        fake_journal_close(&journal);
        fake_journal_open(&journal, socket_path);
        log_info("after");
        ASSERT_TRUE(fake_journal_receive(&journal, &message));
        ASSERT_TRUE(journal_message_has(&message, "MESSAGE", "after"));
        journal_message_done(&message);
        end_journal(&journal);
}

static void test_no_journal(void) {
        struct fake_journal journal;
        struct capture capture;

        begin_journal(&journal);
        end_journal(&journal);
        setenv("WORKER_MESH_JOURNAL", socket_path, 1);
        capture_pipe(&capture);
        log_setup("test");
        log_info("by another way");
        (void) capture_read(&capture);
        capture_end(&capture);
        ASSERT_NOT_NULL(strstr(capture.text, "by another way\n"));
        unsetenv("WORKER_MESH_JOURNAL");
}

/* $JOURNAL_STREAM names what stderr is, or another file. */
static void test_journal_stream(void) {
        struct capture capture;
        bool is_journal;

        clear_environment();
        capture_journal(&capture);
        is_journal = log_is_journal();
        capture_end(&capture);
        ASSERT_TRUE(is_journal);

        setenv("JOURNAL_STREAM", "1:1", 1);
        log_setup("test");
        ASSERT_FALSE(log_is_journal());
        ASSERT_STREQ(log_target(), "console");
}

static void test_target(void) {
        struct journal_message message;
        struct fake_journal journal;
        struct capture capture;

        begin_journal(&journal);
        log_setup("test");
        ASSERT_STREQ(log_target(), "journal");
        ASSERT_ERROR(log_set_target("printer"), EINVAL);
        ASSERT_EQ(log_set_target("null"), 0);
        log_info("to nobody");
        ASSERT_FALSE(log_is_journal());

        capture_pipe(&capture);
        int r = log_set_target("console");
        log_info("to stderr");
        (void) capture_read(&capture);
        capture_end(&capture);
        ASSERT_EQ(r, 0);
        ASSERT_NOT_NULL(strstr(capture.text, "to stderr\n"));
        ASSERT_NULL(strstr(capture.text, "nobody"));

        ASSERT_EQ(log_set_target("auto"), 0);
        log_info("to the journal");
        ASSERT_TRUE(fake_journal_receive(&journal, &message));
        ASSERT_TRUE(journal_message_has(&message, "MESSAGE", "to the journal"));
        journal_message_done(&message);
        end_journal(&journal);
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
        RUN(test_entries);
        RUN(test_stuck_journal);
        RUN(test_full_queue);
        RUN(test_threads);
        RUN(test_restarted_journal);
        RUN(test_no_journal);
        RUN(test_journal_stream);
        RUN(test_target);
        RUN(test_ratelimit);
        return 0;
}
