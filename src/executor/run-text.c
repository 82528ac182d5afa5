/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How a run ended, and the one line that says so to a person. */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "executor/channel.h"
#include "executor/executor.h"
#include "util/utf8.h"

#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127
#define HINT_MAX 200u

enum run_outcome run_outcome_of(const struct run *run, int *ret_exit_code, int *ret_signal) {
        *ret_exit_code = run->wait_code == CLD_EXITED ? run->wait_status : 0;
        *ret_signal = run->wait_code == CLD_EXITED ? 0 : run->wait_status;
        switch (run->ending) {
        case RUN_ENDING_NONE:
                return run->wait_code == CLD_EXITED ? RUN_EXITED : RUN_SIGNALLED;
        case RUN_ENDING_TIMEOUT:
                return RUN_TIMED_OUT;
        case RUN_ENDING_KILL:
        case RUN_ENDING_STOP:
                return RUN_KILLED;
        }
        assert(!"a way to end that is none");
        return RUN_LOST;
}

/* The last line of the job's stderr, printable and not too long: the shell's own words. Empty where there is
 * none. */
static void last_line(const struct kept_outputs *outputs, char buffer[static HINT_MAX + 1]) {
        const struct kept_stream *stream = &outputs->streams[1];
        char text[HINT_MAX];
        uint64_t from = stream->total > sizeof(text) ? stream->total - sizeof(text) : 0, offset;
        ssize_t n = kept_outputs_read(outputs, 2, from, text, sizeof(text), &offset);
        size_t begin, end = n > 0 ? (size_t) n : 0, size = 0;

        while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == ' '))
                end--;
        for (begin = end; begin > 0 && text[begin - 1] != '\n'; begin--)
                ;
        while (begin < end) {
                size_t length = utf8_sequence(text + begin, end - begin);

                if (length > 1 ||
                    (length == 1 && (unsigned char) text[begin] >= ' ' && text[begin] != 0x7f)) {
                        memcpy(buffer + size, text + begin, length);
                        size += length;
                } else
                        length = 1;
                begin += length;
        }
        buffer[size] = '\0';
}

static char *exit_message(const struct run *run, const struct kept_outputs *outputs) {
        char hint[HINT_MAX + 1], *text = NULL;
        const char *what;
        int r;

        switch (run->wait_status) {
        case 0:
                return NULL;
        case EXIT_NOT_FOUND:
                what = "command not found";
                break;
        case EXIT_NOT_EXECUTABLE:
                what = "not executable";
                break;
        default:
                r = asprintf(&text, "exited with status %d", run->wait_status);
                return r < 0 ? NULL : text;
        }
        last_line(outputs, hint);
        r = hint[0] != '\0' ? asprintf(&text, "%s (%s)", what, hint) : asprintf(&text, "%s", what);
        return r < 0 ? NULL : text;
}

static char *signal_message(int number) {
        const char *name = sigabbrev_np(number);
        char *text;
        int r;

        if (name)
                r = asprintf(&text, "killed by signal %d (SIG%s)", number, name);
        else
                r = asprintf(&text, "killed by signal %d (SIGRTMIN+%d)", number, number - SIGRTMIN);
        return r < 0 ? NULL : text;
}

/* Takes how, what would have been said else. Where the job had no limit it was one above, or the machine. */
static char *oom_message(const struct run *run, char *how) {
        _cleanup_free_ char *text = how;
        char *message;
        int r;

        if (run->wait_code != CLD_EXITED && run->wait_status == SIGKILL)
                r = run->limits.memory_max > 0
                            ? asprintf(
                                      &message, "killed: out of memory (memory_max is %" PRIu64 " bytes)",
                                      run->limits.memory_max)
                            : asprintf(&message, "killed: out of memory (the machine's, not the job's own)");
        else
                r = asprintf(&message, "%s; a part of it was killed: out of memory", text);
        return r < 0 ? NULL : message;
}

static char *end_message(const struct run *run, char *how) {
        return run->end.oom_killed && how ? oom_message(run, how) : how;
}

char *
run_error_message(const struct run *run, enum run_outcome outcome, const struct kept_outputs *outputs) {
        char span[SPAN_TEXT_MAX], *text;

        switch (outcome) {
        case RUN_EXITED:
                return end_message(run, exit_message(run, outputs));
        case RUN_SIGNALLED:
                return end_message(run, signal_message(run->wait_status));
        case RUN_TIMED_OUT:
                format_span(span, sizeof(span), run->timeout_usec);
                return asprintf(&text, "timed out after %s", span) < 0 ? NULL : text;
        case RUN_KILLED:
                return strdup(
                        run->ending == RUN_ENDING_STOP ? "killed: the executor was stopped"
                                                       : "killed on request");
        case RUN_NOT_STARTED:
        case RUN_LOST:
        case _RUN_OUTCOME_MAX:
                break;
        }
        return NULL;
}
