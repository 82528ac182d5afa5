/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The asynchronous face: hands work to the threads, and brings what they did back to the loop, where all
 * handlers are called. Everything here runs on the loop thread; the threads share with it only what their
 * own files guard. */

#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "store/store-check.h"
#include "store/store-reader.h"
#include "store/store-records.h"
#include "store/store-schema.h"
#include "store/store-start.h"
#include "store/store-writer.h"
#include "util/log.h"

/* Told in one turn of the loop, so that others get theirs. */
#define BATCHES_PER_TURN 256u
#define ANSWERS_PER_TURN 64u

/* One piece of an output in an answer. */
#define OUTPUT_PIECE_MAX (1024u * 1024)

struct store {
        struct store_handlers handlers;
        char *path, *node_id;
        int wake_fd;
        sd_event_source *wake_source;
        struct store_writer *writer;
        struct store_reader *reader;
        struct store_check *check;
        struct list done; /* batches whose outcome is to be told */
        size_t backlog;
        bool damaged;
};

/* Once damaged, the file stays that until the next start, whatever the writer says. */
static void note_damage(struct store *store) {
        if (store->damaged)
                return;
        store->damaged = true;
        store_schema_mark_damaged(store->path);
        store->handlers.health_changed(store->handlers.userdata, -EUCLEAN, store_error_reason(-EUCLEAN));
}

static void take_check(struct store *store) {
        int outcome = store->check ? store_check_outcome(store->check) : 0;

        if (outcome == 0)
                return;
        store->check = store_check_stop(store->check);
        if (outcome == -EUCLEAN)
                note_damage(store);
}

static void tell_health(struct store *store) {
        const char *reason;
        int error;

        if (!store_writer_take_health(store->writer, &error, &reason) || store->damaged)
                return;
        if (error == -EUCLEAN)
                note_damage(store);
        else
                store->handlers.health_changed(store->handlers.userdata, error, reason);
}

/* Both return whether there is more to tell. */
static bool tell_written(struct store *store) {
        struct record_batch *batch;

        store_writer_take_done(store->writer, &store->done);
        for (size_t i = 0; i < BATCHES_PER_TURN; i++) {
                batch = LIST_FIRST(&store->done, struct record_batch, link);
                if (!batch)
                        return false;
                list_remove(&batch->link);
                store->backlog -= batch->size;
                store->handlers.written(store->handlers.userdata, batch, batch->error);
        }
        return !list_is_empty(&store->done);
}

static bool tell_answers(struct store *store) {
        int error;

        for (size_t i = 0; i < ANSWERS_PER_TURN; i++) {
                if (!store_reader_tell_one(store->reader, &error))
                        return false;
                if (error == -EUCLEAN)
                        note_damage(store);
        }
        return true;
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct store *store = userdata;
        eventfd_t value;
        bool more;

        (void) eventfd_read(fd, &value);

        take_check(store);
        tell_health(store);
        more = tell_written(store);
        more = tell_answers(store) || more;
        if (more)
                (void) eventfd_write(fd, 1);
        return 0;
}

static void on_counted(void *userdata, const struct ended_counts *n_ended) {
        struct store *store = userdata;

        store_writer_set_count(store->writer, n_ended);
}

static int give_guests(struct store_guests *guests, const struct store_handlers *handlers) {
        int r = 0;

        for (size_t i = 0; i < guests->n && r >= 0 && handlers->guest; i++) {
                struct store_guest guest = guests->guests[i];

                guests->guests[i] = (struct store_guest){}; /* the callee's */
                r = handlers->guest(handlers->userdata, &guest);
        }
        return r;
}

static int give_copies(struct store_copies *copies, const struct store_handlers *handlers) {
        int r = 0;

        for (size_t i = 0; i < copies->n && r >= 0 && handlers->copy; i++) {
                struct store_copy copy = copies->copies[i];

                copies->copies[i] = (struct store_copy){}; /* the callee's */
                r = handlers->copy(handlers->userdata, &copy);
        }
        for (size_t i = 0; i < copies->n_sweeps && r >= 0 && handlers->swept; i++) {
                const struct store_sweep *sweep = &copies->sweeps[i];

                r = handlers->swept(
                        handlers->userdata, sweep->owner_node_id, sweep->term, sweep->owner_instance);
        }
        for (size_t i = 0; i < copies->n_holders && r >= 0 && handlers->holder; i++)
                r = handlers->holder(
                        handlers->userdata, copies->holders[i].node_id, copies->holders[i].term);
        return r;
}

static int give_unfinished(struct unfinished_jobs *jobs, store_unfinished_t unfinished, void *userdata) {
        int r = 0;

        for (size_t i = 0; i < jobs->n && r >= 0 && unfinished; i++) {
                r = unfinished(userdata, &jobs->jobs[i]);
                jobs->jobs[i].spec = NULL; /* the callee's */
        }
        return r;
}

/* The threads start last, and the reader's first look at the file comes before the writer changes anything.
 */
static int start_threads(struct store *store, const struct store_config *config, sqlite3 **db, bool check) {
        int r;

        r = store_reader_new(
                store->path,
                &(struct store_reader_config){
                        .counted = on_counted,
                        .userdata = store,
                        .wake_fd = store->wake_fd,
                },
                &store->reader);
        if (r < 0)
                return r;

        r = store_writer_new(
                &(struct store_writer_config){
                        .path = store->path,
                        .node_id = store->node_id,
                        .limits = {
                                .max_age_usec = config->history_max_age_usec,
                                .max_jobs = config->history_max_jobs,
                                .max_bytes = config->history_max_bytes,
                        },
                        .wake_fd = store->wake_fd,
                },
                *db, &store->writer);
        if (r < 0)
                return r;
        *db = NULL;

        r = store_reader_start(store->reader);
        if (r < 0)
                return r;

        return check ? store_check_start(store->path, store->wake_fd, &store->check) : 0;
}

static int watch_wake_fd(struct store *store, sd_event *event) {
        int r;

        store->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (store->wake_fd < 0)
                return -errno;
        r = sd_event_add_io(event, &store->wake_source, store->wake_fd, EPOLLIN, on_wake, store);
        if (r < 0)
                return r;
        return sd_event_source_set_description(store->wake_source, "store");
}

int store_open(
        const struct store_config *config, sd_event *event, const struct store_handlers *handlers,
        store_unfinished_t unfinished, void *unfinished_userdata, struct store **ret) {
        _cleanup_(store_found_done) struct store_found found = {};
        _cleanup_(store_close_p) struct store *store = NULL;
        _cleanup_(sqlite_close_p) sqlite3 *db = NULL;
        bool left_open;
        int r;

        if (!node_id_is_valid(config->node_id))
                return -EINVAL;
        store = calloc(1, sizeof(*store));
        if (!store)
                return -ENOMEM;
        store->handlers = *handlers;
        store->wake_fd = -EBADF;
        list_init(&store->done);
        store->node_id = strdup(config->node_id);
        if (!store->node_id)
                return -ENOMEM;
        r = store_schema_path(config->directory, config->node_id, &store->path);
        if (r < 0)
                return r;
        r = watch_wake_fd(store, event);
        if (r < 0)
                return r;

        left_open = store_schema_was_left_open(store->path);
        r = store_start(store->path, store->node_id, &db, &found);
        if (r < 0)
                return r;
        /* Whom this node heard before is not whom it hears now. */
        r = sqlite_execute(db, "DELETE FROM worker_nodes");
        if (r < 0)
                return r;
        r = give_unfinished(&found.jobs, unfinished, unfinished_userdata);
        if (r < 0)
                return r;
        r = give_guests(&found.guests, handlers);
        if (r < 0)
                return r;
        r = give_copies(&found.copies, handlers);
        if (r < 0)
                return r;
        if (found.drained && handlers->drain)
                handlers->drain(handlers->userdata, &found.drain);
        r = start_threads(store, config, &db, left_open);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(store);
        return 0;
}

struct store *store_close(struct store *store) {
        struct record_batch *batch;

        if (!store)
                return NULL;
        sd_event_source_disable_unref(store->wake_source);
        /* The reader tells the writer its count, and the last one to close the file tidies up its log. */
        store_check_stop(store->check);
        store_reader_stop(store->reader);
        store_writer_stop(store->writer);
        LIST_FOREACH(&store->done, batch, struct record_batch, link) {
                list_remove(&batch->link);
                record_batch_free(batch);
        }
        close_fd(store->wake_fd);
        free(store->path);
        free(store->node_id);
        free(store);
        return NULL;
}

const char *store_path(const struct store *store) {
        return store->path;
}

void store_set_history_limits(
        struct store *store, usec_t max_age_usec, uint64_t max_jobs, uint64_t max_bytes) {
        store_writer_set_limits(
                store->writer, &(struct history_limits){
                                       .max_age_usec = max_age_usec,
                                       .max_jobs = max_jobs,
                                       .max_bytes = max_bytes,
                               });
}

void store_write(struct store *store, struct record_batch *batch) {
        batch->size = record_batch_size(batch);
        store->backlog += batch->size;
        store_writer_hand_in(store->writer, batch);
}

size_t store_backlog(const struct store *store) {
        return store->backlog;
}

int store_list_jobs(
        struct store *store, const struct store_list *list, store_answer_t handler, void *userdata,
        struct store_query **ret_query) {
        if (list->limit == 0 || list->limit > STORE_LIST_MAX)
                return -EINVAL;
        return store_reader_ask(
                store->reader, &(struct query_question){ .kind = QUERY_LIST, .list = *list }, handler,
                userdata, ret_query);
}

static int list_recent(
        struct store *store, enum query_kind kind, uint64_t before, size_t limit, store_answer_t handler,
        void *userdata, struct store_query **ret_query) {
        const struct store_list list = { .limit = limit, .before = before };

        if (limit == 0 || limit > STORE_LIST_MAX)
                return -EINVAL;
        return store_reader_ask(
                store->reader, &(struct query_question){ .kind = kind, .list = list }, handler, userdata,
                ret_query);
}

int store_list_recent(
        struct store *store, uint64_t before, size_t limit, store_answer_t handler, void *userdata,
        struct store_query **ret_query) {
        return list_recent(store, QUERY_RECENT, before, limit, handler, userdata, ret_query);
}

int store_list_recent_copies(
        struct store *store, uint64_t before, size_t limit, store_answer_t handler, void *userdata,
        struct store_query **ret_query) {
        return list_recent(store, QUERY_RECENT_COPIES, before, limit, handler, userdata, ret_query);
}

int store_get_jobs(
        struct store *store, const struct uuid *ids, size_t n_ids, bool with_output, store_answer_t handler,
        void *userdata, struct store_query **ret_query) {
        _cleanup_free_ struct uuid *copy = NULL;
        int r;

        if (n_ids == 0 || n_ids > JOBS_PER_REQUEST_MAX)
                return -EINVAL;
        copy = malloc(n_ids * sizeof(*copy));
        if (!copy)
                return -ENOMEM;
        memcpy(copy, ids, n_ids * sizeof(*copy));

        r = store_reader_ask(
                store->reader,
                &(struct query_question){
                        .kind = QUERY_JOBS, .ids = copy, .n_ids = n_ids, .with_output = with_output },
                handler, userdata, ret_query);
        if (r >= 0)
                (void) TAKE_PTR(copy);
        return r;
}

int store_read_output(
        struct store *store, const struct uuid *id, int stream, uint64_t offset, size_t size,
        store_answer_t handler, void *userdata, struct store_query **ret_query) {
        if (stream != 1 && stream != 2)
                return -EINVAL;
        return store_reader_ask(
                store->reader,
                &(struct query_question){
                        .kind = QUERY_OUTPUT,
                        .id = *id,
                        .stream = stream,
                        .offset = offset,
                        .size = MIN(size, (size_t) OUTPUT_PIECE_MAX),
                },
                handler, userdata, ret_query);
}
