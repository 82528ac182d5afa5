/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A run that goes on for a while: both its outputs are read from the executor as they come, and written line
 * by line as fast as its budget allows. What it prints faster waits with the executor, which keeps only so
 * much of it. */

#include "node/journal-entry.h"
#include "node/journal-internal.h"
#include "util/log.h"

#define LINES_PER_TURN 256u /* of one stream; then the others have their turn */
/* While so much waits for the journal nothing is added that can wait elsewhere. */
#define QUEUE_BUSY (64u * 1024)

bool journal_output_is_wanted(const struct journal *journal) {
        return journal->output && log_is_journal() && log_max_level() >= LOG_INFO;
}

void journal_unfollow(struct journal_run *run) {
        if (!run->followed)
                return;
        for (size_t i = 0; i < 2; i++) {
                executor_read_cancel(run->streams[i].read);
                run->streams[i].read = NULL;
                buffer_done(&run->streams[i].text);
        }
        list_remove(&run->slow_link);
        run->followed = false;
        run->journal->n_followed--;
}

/* What waits for the journal is not there yet. */
static void note_offsets(struct journal_run *run) {
        const uint64_t offsets[2] = { run->streams[0].offset, run->streams[1].offset };

        if (!run->note)
                return;
        if (log_queue_size() > 0) {
                journal_run_is_slow(run);
                return;
        }
        run->note = false;
        /* Lost, it costs lines that are written twice. */
        (void) executor_client_journalled(run->journal->executor, &run->run, offsets);
}

static bool may_write(struct journal_run *run) {
        return budget_has_some(&run->budget) && budget_has_some(&run->journal->budget) &&
               run->n_written < JOURNAL_JOB_BYTES_MAX;
}

/* Writes the lines that are there. all: what is behind the last one, too. False: some have to wait. */
static bool write_lines(struct journal_stream *stream, bool all) {
        struct journal_run *run = stream->run;
        struct journal_entry entry;
        struct text_line line;
        size_t written = 0;
        unsigned n = 0;

        if (stream->text.size == 0)
                return true;
        journal_output_begin(&entry, &run->run.job, run->run.attempt, stream->number);
        while (text_line_next(stream->text.data + written, stream->text.size - written, all, &line)) {
                if (!may_write(run) || n == LINES_PER_TURN)
                        break;
                if (journal_output_line(&entry, line.text, line.size, line_break_to_text(line.line_break))) {
                        budget_spend(&run->budget, line.consumed);
                        budget_spend(&run->journal->budget, line.consumed);
                        n++;
                }
                run->n_written += line.consumed;
                written += line.consumed;
        }
        stream->offset += written;
        buffer_consume(&stream->text, written);
        run->note = run->note || written > 0;
        if (stream->text.size > 0)
                return !text_line_next(stream->text.data, stream->text.size, all, &line);
        buffer_done(&stream->text);
        return true;
}

/* The executor did not keep what comes next: what is there is a line, and the rest is missing. */
static void skip_to(struct journal_stream *stream, uint64_t offset) {
        (void) write_lines(stream, /* all= */ true);
        stream->run->n_missed += offset - stream->offset;
        stream->offset = offset;
        buffer_done(&stream->text);
}

static void on_output(void *userdata, const struct executor_output *output) {
        struct journal_stream *stream = userdata;

        stream->read = NULL;
        if (output->error == -EBUSY) {
                journal_run_is_slow(stream->run);
                return;
        }
        /* Its end is on the way, or the connection is lost and comes back. */
        if (output->error < 0)
                return;
        if (output->offset > stream->offset + stream->text.size)
                skip_to(stream, output->offset);
        stream->ended = output->ended;
        if (output->size > 0 && buffer_append(&stream->text, output->data, output->size) < 0) {
                journal_run_is_slow(stream->run);
                return;
        }
        journal_follow_on(stream->run);
}

static void read_on(struct journal_stream *stream) {
        struct journal_run *run = stream->run;

        if (stream->read || stream->ended)
                return;
        if (executor_client_read(
                    run->journal->executor, &run->run, stream->number, stream->offset + stream->text.size,
                    /* wait= */ true, on_output, stream, &stream->read) == -EBUSY)
                journal_run_is_slow(run);
}

void journal_follow_on(struct journal_run *run) {
        struct journal *journal = run->journal;
        usec_t now = now_usec(CLOCK_BOOTTIME);

        if (run->n_written >= JOURNAL_JOB_BYTES_MAX || !journal_output_is_wanted(journal)) {
                journal_unfollow(run);
                return;
        }
        if (log_queue_size() > QUEUE_BUSY) {
                journal_run_is_slow(run);
                return;
        }
        budget_fill(&run->budget, now);
        budget_fill(&journal->budget, now);
        for (size_t i = 0; i < 2; i++)
                /* Nothing more is read before what is there has been written. */
                if (write_lines(&run->streams[i], /* all= */ false))
                        read_on(&run->streams[i]);
                else
                        journal_run_is_slow(run);
        note_offsets(run);
}

void journal_follow(struct journal_run *run) {
        struct journal *journal = run->journal;

        /* due_usec of 0: it is not known to run. */
        if (run->followed || !run->spec || run->due_usec == 0 || list_is_linked(&run->due_link) ||
            journal->n_followed >= JOURNAL_FOLLOWED_MAX || run->n_written >= JOURNAL_JOB_BYTES_MAX ||
            !journal_output_is_wanted(journal))
                return;
        run->followed = true;
        journal->n_followed++;
        budget_init(&run->budget, &budget_of_job, now_usec(CLOCK_BOOTTIME));
        journal_follow_on(run);
}
