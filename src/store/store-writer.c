/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-writer.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>

#include "store/store-records.h"
#include "store/store-schema.h"
#include "store/store-thread.h"
#include "util/log.h"

/* Bytes in one transaction. A single larger batch still goes as one. */
#define GROUP_SIZE_MAX (32u * 1024 * 1024)

/* Pages in the write-ahead log from which on it is copied into the file: as soon as nobody waits, and in any
 * case. */
#define CHECKPOINT_PAGES 1000
#define CHECKPOINT_PAGES_MAX 4096

/* So long nothing came, and the writer tidies up. */
#define QUIET_USEC USEC_PER_SEC
#define PROBE_INTERVAL_USEC USEC_PER_SEC
#define PRUNE_INTERVAL_USEC USEC_PER_MINUTE
/* … and after as many ends of jobs, and after as many bytes; after some times as many also while others
 * wait. */
#define PRUNE_FINISHED_MAX 1000u
#define PRUNE_SIZE_MAX (64u * 1024 * 1024)
#define PRUNE_SIZE_EXCESS (4u * PRUNE_SIZE_MAX)

/* Less than this free, and the disk still counts as full: otherwise the state would change with every small
 * job. */
#define FREE_SPACE_MIN (1024u * 1024)

enum chore {
        CHORE_PROBE,
        CHORE_CHECKPOINT,
        CHORE_PRUNE,
        CHORE_RELEASE_MEMORY,
        _CHORE_MAX,
};

enum action {
        ACTION_COMMIT,
        ACTION_CHORE,
        ACTION_STOP,
};

struct store_writer {
        struct store_writer_config config;
        struct store_thread *thread;
        pthread_mutex_t mutex;
        pthread_cond_t something_to_do;

        /* Under the mutex. */
        struct list incoming;
        bool incoming_urgent;
        usec_t incoming_since; /* CLOCK_MONOTONIC: when the first of them came */
        struct list done;
        bool stopping;
        int error; /* the state of the file, as it is to be told */
        bool error_changed;
        struct history_limits new_limits;
        bool limits_changed;
        struct ended_counts count;
        bool count_known;

        /* The thread's own. */
        sqlite3 *db;
        struct store_records *records;
        struct store_history *history;
        int pages_in_log;
        uint64_t n_ended, size_written; /* since the last pruning */
        usec_t due[_CHORE_MAX];
};

const char *store_error_reason(int error) {
        switch (-error) {
        case ENOSPC:
                return "the disk that holds the job database is full";
        case EIO:
                return "reading or writing the job database failed with an I/O error";
        case EROFS:
        case EACCES:
                return "the job database cannot be written";
        case EBUSY:
                return "another program keeps the job database locked";
        case ENOMEM:
                return "out of memory while writing the job database";
        case EUCLEAN:
                return "the job database is damaged; it is set aside at the next start";
        default:
                return "the job database cannot be used";
        }
}

static void set_error(struct store_writer *writer, int error) {
        bool changed;

        (void) pthread_mutex_lock(&writer->mutex);
        /* Damage does not go away because a commit went well. */
        changed = error != writer->error && writer->error != -EUCLEAN;
        if (changed) {
                writer->error = error;
                writer->error_changed = true;
        }
        (void) pthread_mutex_unlock(&writer->mutex);

        writer->due[CHORE_PROBE] =
                error == 0 ? USEC_INFINITY : usec_add(now_usec(CLOCK_MONOTONIC), PROBE_INTERVAL_USEC);
        if (!changed)
                return;
        if (error == -EUCLEAN)
                store_schema_mark_damaged(writer->config.path);
        (void) eventfd_write(writer->config.wake_fd, 1);
}

static bool has_room(const struct store_writer *writer) {
        struct statvfs st;

        return statvfs(writer->config.path, &st) < 0 ||
               (uint64_t) st.f_bavail * st.f_frsize >= FREE_SPACE_MIN;
}

/* Copies from the log into the file what no reader still needs in the log. The log keeps its size for the
 * next commits, unless that is the room which the disk lacks. */
static void checkpoint(struct store_writer *writer) {
        int in_log = 0, copied = 0, code;

        code = sqlite3_wal_checkpoint_v2(writer->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, &copied);
        if (code == SQLITE_OK && copied == in_log && !has_room(writer))
                code = sqlite3_wal_checkpoint_v2(
                        writer->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, &in_log, &copied);
        if (code == SQLITE_OK && copied == in_log) {
                writer->pages_in_log = 0;
                writer->due[CHORE_CHECKPOINT] = USEC_INFINITY;
                return;
        }
        if (code != SQLITE_OK)
                log_debug_errno(
                        sqlite_error(writer->db, code), "Cannot copy the log into %s now: %m",
                        writer->config.path);
        writer->due[CHORE_CHECKPOINT] = usec_add(now_usec(CLOCK_MONOTONIC), QUIET_USEC);
}

/* Whether a commit would work again. */
static int probe(struct store_writer *writer) {
        if (!has_room(writer)) {
                checkpoint(writer);
                if (!has_room(writer))
                        return -ENOSPC;
        }
        return store_records_touch(writer->records);
}

static void prune(struct store_writer *writer) {
        int r = store_history_prune(writer->history);

        if (r < 0)
                set_error(writer, r);
        if (r <= 0)
                writer->n_ended = writer->size_written = 0;
        writer->due[CHORE_PRUNE] = r > 0 ? 0 : usec_add(now_usec(CLOCK_MONOTONIC), PRUNE_INTERVAL_USEC);
}

/* A node that has nothing to do should not be seen in the memory of the machine. */
static void release_memory(struct store_writer *writer) {
        (void) sqlite3_db_release_memory(writer->db);
        (void) malloc_trim(0);
        writer->due[CHORE_RELEASE_MEMORY] = USEC_INFINITY;
}

static void do_chore(struct store_writer *writer) {
        usec_t now = now_usec(CLOCK_MONOTONIC);

        for (enum chore chore = 0; chore < _CHORE_MAX; chore++) {
                if (writer->due[chore] > now)
                        continue;
                switch (chore) {
                case CHORE_PROBE:
                        set_error(writer, probe(writer));
                        break;
                case CHORE_CHECKPOINT:
                        checkpoint(writer);
                        break;
                case CHORE_PRUNE:
                        prune(writer);
                        break;
                case CHORE_RELEASE_MEMORY:
                        release_memory(writer);
                        break;
                case _CHORE_MAX:
                        break;
                }
                return;
        }
}

static int note_pages_in_log(void *userdata, sqlite3 *db, const char *name, int n_pages) {
        struct store_writer *writer = userdata;

        writer->pages_in_log = n_pages;
        return SQLITE_OK;
}

/* What a commit leaves to be done: when nobody waits, or, where that does not come, now. */
static void plan_chores(struct store_writer *writer, const struct ended_counts *n_ended) {
        usec_t now = now_usec(CLOCK_MONOTONIC);

        store_history_add(writer->history, n_ended);
        writer->n_ended += n_ended->jobs + n_ended->copies;
        if (writer->n_ended >= PRUNE_FINISHED_MAX || writer->size_written >= PRUNE_SIZE_MAX)
                writer->due[CHORE_PRUNE] = MIN(writer->due[CHORE_PRUNE], now);
        if (store_history_is_excessive(writer->history) || writer->size_written >= PRUNE_SIZE_EXCESS)
                prune(writer);

        if (writer->pages_in_log >= CHECKPOINT_PAGES_MAX)
                checkpoint(writer);
        else
                writer->due[CHORE_CHECKPOINT] =
                        writer->pages_in_log >= CHECKPOINT_PAGES ? now : usec_add(now, QUIET_USEC);
        writer->due[CHORE_RELEASE_MEMORY] = usec_add(now, QUIET_USEC);
}

static void move_all(struct list *from, struct list *to) {
        struct list_link *link;

        while ((link = list_first(from))) {
                list_remove(link);
                list_append(to, link);
        }
}

static void commit_group(struct store_writer *writer, struct list *group) {
        struct ended_counts n_ended;
        int r;

        r = store_records_commit(writer->records, group, &n_ended);
        /* What is written in the room that the log gave back does not make the disk less full. */
        if (r < 0 || writer->error != -ENOSPC || has_room(writer))
                set_error(writer, r);

        (void) pthread_mutex_lock(&writer->mutex);
        move_all(group, &writer->done);
        (void) pthread_mutex_unlock(&writer->mutex);
        (void) eventfd_write(writer->config.wake_fd, 1);

        plan_chores(writer, &n_ended);
}

/* With the mutex. */
static void take_group(struct store_writer *writer, struct list *group) {
        struct record_batch *batch;
        size_t size = 0;

        while ((batch = LIST_FIRST(&writer->incoming, struct record_batch, link))) {
                if (size > 0 && size + batch->size > GROUP_SIZE_MAX)
                        return;
                size += batch->size;
                writer->size_written += batch->size;
                list_remove(&batch->link);
                list_append(group, &batch->link);
        }
        writer->incoming_urgent = false;
}

/* With the mutex: what the other threads left for this one. */
static void take_settings(struct store_writer *writer) {
        if (writer->limits_changed) {
                store_history_set_limits(writer->history, &writer->new_limits);
                writer->limits_changed = false;
                writer->due[CHORE_PRUNE] = 0;
        }
        if (writer->count_known) {
                store_history_set_count(writer->history, &writer->count);
                writer->count_known = false;
                writer->due[CHORE_PRUNE] = 0;
        }
}

static usec_t next_chore(const struct store_writer *writer) {
        usec_t next = USEC_INFINITY;

        for (enum chore chore = 0; chore < _CHORE_MAX; chore++)
                next = MIN(next, writer->due[chore]);
        return next;
}

/* Waits, with the mutex, until there is something to do. */
static enum action wait_for_action(struct store_writer *writer, struct list *group) {
        for (;;) {
                bool waiting = !list_is_empty(&writer->incoming);
                usec_t now = now_usec(CLOCK_MONOTONIC), deadline;

                take_settings(writer);

                if (!waiting && writer->stopping)
                        return ACTION_STOP;

                /* While batches gather they come next: a chore could keep them for longer than they may
                 * wait. */
                deadline =
                        waiting ? usec_add(writer->incoming_since, RECORD_LINGER_USEC) : next_chore(writer);
                if (waiting && (writer->incoming_urgent || writer->stopping || now >= deadline)) {
                        take_group(writer, group);
                        return ACTION_COMMIT;
                }
                if (now >= deadline)
                        return ACTION_CHORE;

                store_condition_wait(&writer->something_to_do, &writer->mutex, deadline);
        }
}

static void *writer_main(void *userdata) {
        struct store_writer *writer = userdata;

        for (;;) {
                struct list group;
                enum action action;

                list_init(&group);
                (void) pthread_mutex_lock(&writer->mutex);
                action = wait_for_action(writer, &group);
                (void) pthread_mutex_unlock(&writer->mutex);

                switch (action) {
                case ACTION_COMMIT:
                        commit_group(writer, &group);
                        break;
                case ACTION_CHORE:
                        do_chore(writer);
                        break;
                case ACTION_STOP:
                        return NULL;
                }
        }
}

int store_writer_new(const struct store_writer_config *config, sqlite3 *db, struct store_writer **ret) {
        _cleanup_(store_writer_stop_p) struct store_writer *writer = calloc(1, sizeof(*writer));
        usec_t now = now_usec(CLOCK_MONOTONIC);
        int r;

        if (!writer)
                return -ENOMEM;
        writer->config = *config;
        list_init(&writer->incoming);
        list_init(&writer->done);
        (void) pthread_mutex_init(&writer->mutex, NULL);
        store_condition_init(&writer->something_to_do);
        writer->due[CHORE_PROBE] = USEC_INFINITY;
        writer->due[CHORE_CHECKPOINT] = USEC_INFINITY;
        writer->due[CHORE_PRUNE] = usec_add(now, PRUNE_INTERVAL_USEC);
        writer->due[CHORE_RELEASE_MEMORY] = usec_add(now, QUIET_USEC);

        r = store_records_new(db, config->node_id, &writer->records);
        if (r < 0)
                return r;
        r = store_history_new(db, &config->limits, &writer->history);
        if (r < 0)
                return r;
        (void) sqlite3_wal_hook(db, note_pages_in_log, writer);

        writer->db = db;
        r = store_thread_start("store-writer", writer_main, writer, &writer->thread);
        if (r < 0) {
                writer->db = NULL;
                return r;
        }
        *ret = TAKE_PTR(writer);
        return 0;
}

static void drop_batches(struct list *list) {
        struct record_batch *batch;

        LIST_FOREACH(list, batch, struct record_batch, link) {
                list_remove(&batch->link);
                record_batch_free(batch);
        }
}

struct store_writer *store_writer_stop(struct store_writer *writer) {
        if (!writer)
                return NULL;

        (void) pthread_mutex_lock(&writer->mutex);
        writer->stopping = true;
        (void) pthread_cond_signal(&writer->something_to_do);
        (void) pthread_mutex_unlock(&writer->mutex);
        store_thread_join(writer->thread);

        drop_batches(&writer->incoming);
        drop_batches(&writer->done);
        store_history_free(writer->history);
        store_records_free(writer->records);
        sqlite_close(writer->db);
        (void) pthread_cond_destroy(&writer->something_to_do);
        (void) pthread_mutex_destroy(&writer->mutex);
        free(writer);
        return NULL;
}

void store_writer_hand_in(struct store_writer *writer, struct record_batch *batch) {
        bool first;

        (void) pthread_mutex_lock(&writer->mutex);
        first = list_is_empty(&writer->incoming);
        if (first)
                writer->incoming_since = now_usec(CLOCK_MONOTONIC);
        list_append(&writer->incoming, &batch->link);
        /* The thread sleeps until the first one's time is over, or until one comes that cannot wait. */
        if (first || (batch->urgent && !writer->incoming_urgent))
                (void) pthread_cond_signal(&writer->something_to_do);
        writer->incoming_urgent = writer->incoming_urgent || batch->urgent;
        (void) pthread_mutex_unlock(&writer->mutex);
}

void store_writer_take_done(struct store_writer *writer, struct list *list) {
        (void) pthread_mutex_lock(&writer->mutex);
        move_all(&writer->done, list);
        (void) pthread_mutex_unlock(&writer->mutex);
}

bool store_writer_take_health(struct store_writer *writer, int *ret_error, const char **ret_reason) {
        bool changed;

        (void) pthread_mutex_lock(&writer->mutex);
        changed = writer->error_changed;
        writer->error_changed = false;
        *ret_error = writer->error;
        (void) pthread_mutex_unlock(&writer->mutex);

        *ret_reason = *ret_error < 0 ? store_error_reason(*ret_error) : NULL;
        return changed;
}

void store_writer_set_limits(struct store_writer *writer, const struct history_limits *limits) {
        (void) pthread_mutex_lock(&writer->mutex);
        writer->new_limits = *limits;
        writer->limits_changed = true;
        (void) pthread_cond_signal(&writer->something_to_do);
        (void) pthread_mutex_unlock(&writer->mutex);
}

void store_writer_set_count(struct store_writer *writer, const struct ended_counts *n_ended) {
        (void) pthread_mutex_lock(&writer->mutex);
        writer->count = *n_ended;
        writer->count_known = true;
        (void) pthread_cond_signal(&writer->something_to_do);
        (void) pthread_mutex_unlock(&writer->mutex);
}
