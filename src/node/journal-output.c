/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Lines of output, and what is left to be written of it when a run has ended. */

#include "node/journal-entry.h"
#include "node/journal-internal.h"
#include "util/log.h"

#define IDENTIFIER "worker-mesh-job" /* SYSLOG_IDENTIFIER= of what jobs print */

/* What was not written. */
struct left_out {
        uint64_t bytes, lines;
        bool unknown_lines; /* some of the bytes were never seen */
};

void journal_output_begin(
        struct journal_entry *entry, const struct uuid *job, uint32_t attempt, int stream) {
        char id[UUID_TEXT_SIZE];

        journal_entry_begin(entry);
        journal_entry_add(entry, "PRIORITY=%d", LOG_INFO);
        journal_entry_add(entry, "SYSLOG_IDENTIFIER=" IDENTIFIER);
        journal_entry_add(entry, "JOB_ID=%s", uuid_to_text(job, id));
        journal_entry_add(entry, "ATTEMPT=%u", attempt);
        journal_entry_add(entry, "STREAM=%s", stream == 1 ? "stdout" : "stderr");
}

bool journal_output_line(
        struct journal_entry *entry, const char *text, size_t size, const char *line_break) {
        size_t n_fields = entry->n_fields;

        /* The journal leaves empty lines of services out, too. */
        if (size == 0)
                return false;
        journal_entry_add_value(entry, "MESSAGE=", text, size, JOURNAL_LINE_MAX);
        if (line_break)
                journal_entry_add(entry, "LINE_BREAK=%s", line_break);
        journal_entry_send(entry, /* bulk= */ true);
        journal_entry_cut(entry, n_fields);
        return true;
}

/* Writes lines up to limits; returns how many bytes of the text that were. */
static size_t
write_some(struct journal *journal, struct journal_entry *entry, const char *data, size_t size, bool all) {
        size_t written = 0, limit = JOURNAL_END_BYTES_MAX / 2;
        struct text_line line;

        for (unsigned n = 0; all || (n < JOURNAL_END_LINES_MAX / 2 && written < limit);) {
                if (!budget_has_some(&journal->budget) ||
                    !text_line_next(data + written, size - written, /* ended= */ true, &line))
                        break;
                if (journal_output_line(entry, line.text, line.size, line_break_to_text(line.line_break))) {
                        budget_spend(&journal->budget, line.consumed);
                        n++;
                }
                written += line.consumed;
        }
        return written;
}

/* Where the last lines of a text begin. */
static size_t find_tail(const char *data, size_t size) {
        size_t earliest = size > JOURNAL_END_BYTES_MAX / 2 ? size - JOURNAL_END_BYTES_MAX / 2 : 0;
        size_t start = size;
        unsigned n = 0;

        for (size_t i = size; i > earliest; i--)
                if (i < size && data[i - 1] == '\n') {
                        start = i;
                        if (++n == JOURNAL_END_LINES_MAX / 2)
                                return start;
                }
        return earliest == 0 ? 0 : start;
}

/* The first lines and the last ones. */
static void write_text(
        struct journal *journal, struct journal_entry *entry, const char *data, size_t size,
        struct left_out *left_out) {
        size_t head = write_some(journal, entry, data, size, /* all= */ false);
        size_t tail = head + find_tail(data + head, size - head);
        size_t end = tail + write_some(journal, entry, data + tail, size - tail, /* all= */ true);

        left_out->bytes += tail - head + (size - end);
        left_out->lines +=
                text_count_lines(data + head, tail - head) + text_count_lines(data + end, size - end);
}

static void write_rest(
        struct journal *journal, struct journal_entry *entry, const struct journal_stream *stream,
        const struct job_output *output, struct left_out *left_out) {
        uint64_t offset = stream ? stream->offset : 0;
        size_t gap, position;

        /* A run that is lost has told its last by us. */
        if (stream && output->total < offset + stream->text.size) {
                write_text(journal, entry, stream->text.data, stream->text.size, left_out);
                return;
        }
        if (offset >= output->total)
                return;
        gap = (size_t) job_output_gap(output->size, output->total, output->truncated);
        position = (size_t) job_output_position(output->size, output->total, output->truncated, offset);
        if (position > (output->size - gap) / 2)
                gap = 0;
        if (output->total - offset > output->size - position - gap) {
                left_out->bytes += output->total - offset - (output->size - position - gap);
                left_out->unknown_lines = true;
        }
        write_text(journal, entry, output->data + position, output->size - position, left_out);
}

void journal_output_rest(
        struct journal *journal, const struct uuid *id, struct journal_run *run,
        const struct job_result *result) {
        static const struct job_output none = { .data = NULL };
        const struct job_output *outputs[2] = { result ? &result->stdout_output : &none,
                                                result ? &result->stderr_output : &none };
        struct left_out left_out = { .bytes = run ? run->n_missed : 0,
                                     .unknown_lines = run && run->n_missed > 0 };
        struct journal_entry entry;

        if (!journal_output_is_wanted(journal) || (!run && outputs[0]->total == 0 && outputs[1]->total == 0))
                return;
        budget_fill(&journal->budget, now_usec(CLOCK_BOOTTIME));
        for (int i = 0; i < 2; i++) {
                journal_output_begin(
                        &entry, id, result ? result->run.attempt : run->run.attempt, /* stream= */ i + 1);
                write_rest(journal, &entry, run ? &run->streams[i] : NULL, outputs[i], &left_out);
        }
        if (left_out.bytes > 0)
                journal_tell_left_out(id, left_out.bytes, left_out.unknown_lines ? 0 : left_out.lines);
}
