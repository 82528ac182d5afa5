/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lines about a job, one function each, and the fields that they share. */

#include <inttypes.h>
#include <stdio.h>

#include "node/journal-entry.h"
#include "node/journal-internal.h"
#include "util/log.h"
#include "util/message-ids.h"

/* "340us", "12ms", "1.2s", "3min 20s": as exact as a person wants it. Returns buffer. */
static char *format_duration(char buffer[static SPAN_TEXT_MAX], usec_t usec) {
        if (usec >= USEC_PER_MINUTE)
                return format_span(
                        buffer, SPAN_TEXT_MAX, (usec + USEC_PER_SEC / 2) / USEC_PER_SEC * USEC_PER_SEC);
        if (usec >= USEC_PER_SEC)
                (void) snprintf(
                        buffer, SPAN_TEXT_MAX, "%u.%us", (unsigned) (usec / USEC_PER_SEC),
                        (unsigned) (usec % USEC_PER_SEC / (USEC_PER_SEC / 10)));
        else if (usec >= USEC_PER_MSEC)
                (void) snprintf(buffer, SPAN_TEXT_MAX, "%ums", (unsigned) (usec / USEC_PER_MSEC));
        else
                (void) snprintf(buffer, SPAN_TEXT_MAX, "%uus", (unsigned) usec);
        return buffer;
}

/* "512B", "9.8M": base 1024. Returns buffer. */
static char *format_size(char buffer[static SPAN_TEXT_MAX], uint64_t size) {
        static const char units[] = "KMGTPE";
        unsigned unit = 0;

        if (size < 1024) {
                (void) snprintf(buffer, SPAN_TEXT_MAX, "%" PRIu64 "B", size);
                return buffer;
        }
        for (; size >= UINT64_C(1024) * 1024; size /= 1024)
                unit++;
        (void) snprintf(
                buffer, SPAN_TEXT_MAX, "%" PRIu64 ".%" PRIu64 "%c", size / 1024, size % 1024 * 10 / 1024,
                units[unit]);
        return buffer;
}

static void begin(struct journal_entry *entry, int priority, const char *message_id, const char *id) {
        journal_entry_begin(entry);
        journal_entry_add(entry, "MESSAGE_ID=%s", message_id);
        journal_entry_add(entry, "PRIORITY=%d", priority);
        journal_entry_add(entry, "SYSLOG_IDENTIFIER=%s", log_program_name());
        journal_entry_add(entry, "JOB_ID=%s", id);
}

static void
add_request(struct journal_entry *entry, const char *command, const char *submitter, uid_t submitter_uid) {
        if (submitter && *submitter)
                journal_entry_add(entry, "SUBMITTER=%s", submitter);
        if (submitter_uid != (uid_t) -1)
                journal_entry_add(entry, "SUBMITTER_UID=%u", (unsigned) submitter_uid);
        if (command)
                journal_entry_add_value(entry, "COMMAND=", command, strlen(command), JOURNAL_COMMAND_MAX);
}

void journal_tell_start(const struct journal_run *run) {
        struct journal_entry entry;
        char id[UUID_TEXT_SIZE];

        if (log_max_level() < LOG_INFO)
                return;
        begin(&entry, LOG_INFO, MESSAGE_JOB_STARTED, uuid_to_text(&run->run.job, id));
        journal_entry_add(&entry, "MESSAGE=Job %s has started, and goes on.", id);
        journal_entry_add(&entry, "NODE_ID=%s", run->journal->node_id);
        journal_entry_add(&entry, "EXECUTOR=%s", run->journal->node_id);
        journal_entry_add(&entry, "ATTEMPT=%u", run->run.attempt);
        journal_entry_add(&entry, "STARTED_AT_USEC=%" PRIu64, run->started_at);
        add_request(&entry, run->spec->command, run->spec->submitter, run->spec->submitter_uid);
        journal_entry_send(&entry, /* bulk= */ false);
}

/* What an administrator wants to see without looking for it has a higher level. */
static int level_of_end(const struct journal_end *end) {
        switch (end->status) {
        case JOB_COMPLETED:
        case JOB_CANCELLED:
                return LOG_INFO;
        case JOB_TIMEOUT:
                return LOG_WARNING;
        case JOB_FAILED:
                /* An exit status is the job's own affair; anything else is not what it meant to do. */
                return end->result && end->result->outcome == RUN_EXITED && !end->result->oom_killed
                               ? LOG_NOTICE
                               : LOG_WARNING;
        case JOB_UNKNOWN:
        case JOB_PENDING:
        case JOB_RUNNING:
        case _JOB_STATUS_MAX:
                break;
        }
        return LOG_WARNING;
}

static void add_end_message(struct journal_entry *entry, const struct journal_end *end, const char *id) {
        char span[SPAN_TEXT_MAX], after[SPAN_TEXT_MAX + 8] = "";
        const char *why = end->error_message ? end->error_message : "for no known reason";

        if (end->result && end->result->started_at > 0)
                (void) snprintf(
                        after, sizeof(after), " after %s",
                        format_duration(span, end->result->duration_usec));
        if (end->status == JOB_COMPLETED)
                journal_entry_add(entry, "MESSAGE=Job %s completed (exit status 0)%s.", id, after);
        else if (end->result && end->result->oom_killed)
                journal_entry_add(
                        entry, "MESSAGE=Job %s was killed%s, since it took too much memory.", id, after);
        else if (end->status == JOB_TIMEOUT)
                journal_entry_add(
                        entry, "MESSAGE=Job %s ran into its timeout of %s, and was ended%s.", id,
                        format_span(span, sizeof(span), end->timeout_usec), after);
        else if (end->status == JOB_CANCELLED)
                journal_entry_add(
                        entry, "MESSAGE=Job %s was cancelled%s.", id, *after ? after : " before it started");
        else
                journal_entry_add(entry, "MESSAGE=Job %s failed%s: %s.", id, after, why);
}

static void add_result(struct journal_entry *entry, const struct job_result *result) {
        if (result->outcome == RUN_EXITED)
                journal_entry_add(entry, "EXIT_CODE=%d", result->exit_code);
        if (result->signal > 0) {
                const char *name = sigabbrev_np(result->signal);

                if (name)
                        journal_entry_add(entry, "SIGNAL=SIG%s", name);
                else
                        journal_entry_add(entry, "SIGNAL=%d", result->signal);
        }
        if (result->started_at > 0)
                journal_entry_add(entry, "DURATION_USEC=%" PRIu64, result->duration_usec);
}

void journal_tell_end(struct journal *journal, const struct journal_end *end) {
        int level = level_of_end(end);
        struct journal_entry entry;
        char id[UUID_TEXT_SIZE];

        if (level > log_max_level())
                return;
        begin(&entry, level,
              end->result && end->result->oom_killed ? MESSAGE_JOB_OOM_KILLED : MESSAGE_JOB_FINISHED,
              uuid_to_text(end->id, id));
        add_end_message(&entry, end, id);
        journal_entry_add(&entry, "NODE_ID=%s", journal->node_id);
        if (end->attempt > 0)
                journal_entry_add(&entry, "EXECUTOR=%s", end->executor ? end->executor : journal->node_id);
        journal_entry_add(&entry, "ATTEMPT=%u", end->attempt);
        journal_entry_add(&entry, "JOB_STATUS=%s", job_status_to_text(end->status));
        if (end->result)
                add_result(&entry, end->result);
        add_request(&entry, end->command, end->submitter, end->submitter_uid);
        journal_entry_send(&entry, /* bulk= */ false);
}

static void add_attempt_message(struct journal_entry *entry, const struct record *record, const char *text) {
        const struct job_result *result = record->result;
        const char *why = result && result->error_message           ? result->error_message
                          : result && result->outcome == RUN_EXITED ? "exit status 0"
                                                                    : "for no known reason";

        switch (record->fate) {
        case ATTEMPT_LOST:
                journal_entry_add(
                        entry, "MESSAGE=%s was lost, with the node or by it; the job begins again.", text);
                break;
        case ATTEMPT_EXECUTOR_LOST:
                journal_entry_add(
                        entry, "MESSAGE=%s was lost with its executor; the job begins again.", text);
                break;
        case ATTEMPT_DRAINED:
                journal_entry_add(
                        entry, "MESSAGE=%s was ended, since its node is drained; the job begins again.",
                        text);
                break;
        case ATTEMPT_FAILED:
                journal_entry_add(entry, "MESSAGE=%s failed: %s. The job is tried again.", text, why);
                break;
        case ATTEMPT_LATE:
                journal_entry_add(
                        entry, "MESSAGE=%s had been given up, and has ended: %s. That changes nothing.",
                        text, why);
                break;
        case ATTEMPT_NEVER_BEGAN:
        case _ATTEMPT_FATE_MAX:
                break;
        }
}

void journal_tell_attempt(struct journal *journal, const struct record *record) {
        const char *executor = record->node ? record->node->text : journal->node_id;
        bool late = record->fate == ATTEMPT_LATE;
        struct journal_entry entry;
        char id[UUID_TEXT_SIZE], text[UUID_TEXT_SIZE + NODE_ID_MAX + 64];

        if (log_max_level() < LOG_NOTICE)
                return;
        begin(&entry, LOG_NOTICE, late ? MESSAGE_JOB_ATTEMPT_LATE : MESSAGE_JOB_ATTEMPT_OVER,
              uuid_to_text(&record->run.job, id));
        (void) snprintf(text, sizeof(text), "Attempt %u of job %s on %s", record->run.attempt, id, executor);
        add_attempt_message(&entry, record, text);
        journal_entry_add(&entry, "NODE_ID=%s", journal->node_id);
        journal_entry_add(&entry, "EXECUTOR=%s", executor);
        journal_entry_add(&entry, "ATTEMPT=%u", record->run.attempt);
        if (record->result)
                add_result(&entry, record->result);
        journal_entry_send(&entry, /* bulk= */ false);
}

void journal_tell_cancel(struct journal *journal, const struct uuid *id, const struct caller *caller) {
        struct journal_entry entry;
        char text[UUID_TEXT_SIZE];

        if (log_max_level() < LOG_INFO)
                return;
        begin(&entry, LOG_INFO, MESSAGE_JOB_CANCEL, uuid_to_text(id, text));
        if (caller->uid_known && caller->node_id)
                journal_entry_add(
                        &entry, "MESSAGE=User %u of node %s asked to cancel job %s.", (unsigned) caller->uid,
                        caller->node_id, text);
        else if (caller->uid_known)
                journal_entry_add(
                        &entry, "MESSAGE=User %u asked to cancel job %s.", (unsigned) caller->uid, text);
        else
                journal_entry_add(&entry, "MESSAGE=Somebody asked to cancel job %s.", text);
        journal_entry_add(&entry, "NODE_ID=%s", journal->node_id);
        if (caller->uid_known)
                journal_entry_add(&entry, "CANCELLED_BY_UID=%u", (unsigned) caller->uid);
        if (caller->node_id)
                journal_entry_add(&entry, "CANCELLED_BY_NODE=%s", caller->node_id);
        journal_entry_send(&entry, /* bulk= */ false);
}

void journal_tell_left_out(const struct uuid *id, uint64_t bytes, uint64_t lines) {
        char text[UUID_TEXT_SIZE], size[SPAN_TEXT_MAX], what[2 * SPAN_TEXT_MAX];
        struct journal_entry entry;

        if (log_max_level() < LOG_NOTICE)
                return;
        (void) format_size(size, bytes);
        if (lines > 0)
                (void) snprintf(what, sizeof(what), "%" PRIu64 " lines (%s)", lines, size);
        else
                (void) snprintf(what, sizeof(what), "%s", size);
        begin(&entry, LOG_NOTICE, MESSAGE_JOB_OUTPUT_LEFT_OUT, uuid_to_text(id, text));
        journal_entry_add(
                &entry,
                "MESSAGE=Left out %s of the output of job %s; what is kept of it is in GET "
                "/api/v1/jobs/%s/stdout and …/stderr.",
                what, text, text);
        journal_entry_add(&entry, "LEFT_OUT_BYTES=%" PRIu64, bytes);
        if (lines > 0)
                journal_entry_add(&entry, "LEFT_OUT_LINES=%" PRIu64, lines);
        journal_entry_send(&entry, /* bulk= */ false);
}
