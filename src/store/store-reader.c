/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-reader.h"

#include <errno.h>
#include <malloc.h>
#include <sys/eventfd.h>

#include "store/store-schema.h"
#include "store/store-thread.h"
#include "util/list.h"
#include "util/log.h"

/* After so long without a question the memory is given back. */
#define QUIET_USEC USEC_PER_SEC

enum query_state {
        QUERY_WAITING,
        QUERY_RUNNING,
        QUERY_ANSWERED,
        QUERY_CANCELLED, /* while it ran: nobody wants the answer */
};

struct store_query {
        struct store_reader *reader;
        struct list_link link; /* in waiting or answered, or in none while it runs */
        enum query_state state;
        struct query_question question;
        store_answer_t handler;
        void *userdata;
        struct store_answer answer;
        size_t answer_size;
};

struct store_reader {
        struct store_reader_config config;
        struct store_thread *thread;
        pthread_mutex_t mutex;
        pthread_cond_t something_to_do;

        /* Under the mutex. */
        struct list waiting, answered;
        size_t n_queries;     /* that were not told or cancelled */
        size_t answered_size; /* bytes in answered */
        bool stopping;

        /* The thread's own. */
        sqlite3 *db;
        struct store_queries *queries;
        bool memory_released;
};

static void query_free(struct store_query *query) {
        free(query->question.ids);
        store_answer_done(&query->answer);
        free(query);
}

static void drop_queries(struct list *list) {
        struct store_query *query;

        LIST_FOREACH(list, query, struct store_query, link) {
                list_remove(&query->link);
                query_free(query);
        }
}

static void release_memory(struct store_reader *reader) {
        (void) sqlite3_db_release_memory(reader->db);
        (void) malloc_trim(0);
        reader->memory_released = true;
}

/* Waits, with the mutex, for a question. NULL: the thread is to end. */
static struct store_query *wait_for_question(struct store_reader *reader) {
        usec_t quiet =
                reader->memory_released ? USEC_INFINITY : usec_add(now_usec(CLOCK_MONOTONIC), QUIET_USEC);

        for (;;) {
                struct store_query *query = LIST_FIRST(&reader->waiting, struct store_query, link);

                if (reader->stopping)
                        return NULL;
                if (query && reader->answered_size < READER_ANSWERS_MAX) {
                        list_remove(&query->link);
                        query->state = QUERY_RUNNING;
                        return query;
                }

                store_condition_wait(&reader->something_to_do, &reader->mutex, quiet);
                if (now_usec(CLOCK_MONOTONIC) >= quiet) {
                        (void) pthread_mutex_unlock(&reader->mutex);
                        release_memory(reader);
                        (void) pthread_mutex_lock(&reader->mutex);
                        quiet = USEC_INFINITY;
                }
        }
}

static void count_ended(struct store_reader *reader) {
        struct ended_counts n_ended;
        int r;

        r = store_queries_count_ended(reader->queries, &n_ended);
        if (r >= 0)
                reader->config.counted(reader->config.userdata, &n_ended);
        else if (r != -ECANCELED)
                log_warning_errno(r, "Cannot count the finished jobs, not limiting their number: %m");
}

static void *reader_main(void *userdata) {
        struct store_reader *reader = userdata;
        struct store_query *query;

        count_ended(reader);

        (void) pthread_mutex_lock(&reader->mutex);
        while ((query = wait_for_question(reader))) {
                (void) pthread_mutex_unlock(&reader->mutex);
                store_queries_answer(reader->queries, &query->question, &query->answer, &query->answer_size);
                reader->memory_released = false;
                (void) pthread_mutex_lock(&reader->mutex);

                if (query->state == QUERY_CANCELLED)
                        query_free(query);
                else {
                        query->state = QUERY_ANSWERED;
                        list_append(&reader->answered, &query->link);
                        reader->answered_size += query->answer_size;
                        (void) eventfd_write(reader->config.wake_fd, 1);
                }
        }
        (void) pthread_mutex_unlock(&reader->mutex);
        return NULL;
}

int store_reader_new(const char *path, const struct store_reader_config *config, struct store_reader **ret) {
        _cleanup_(store_reader_stop_p) struct store_reader *reader = calloc(1, sizeof(*reader));
        int r;

        if (!reader)
                return -ENOMEM;
        reader->config = *config;
        list_init(&reader->waiting);
        list_init(&reader->answered);
        (void) pthread_mutex_init(&reader->mutex, NULL);
        store_condition_init(&reader->something_to_do);

        r = store_schema_open_reader(path, &reader->db);
        if (r < 0)
                return r;
        r = store_queries_new(reader->db, &reader->queries);
        if (r < 0)
                return r;
        r = store_queries_begin_count(reader->queries);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(reader);
        return 0;
}

int store_reader_start(struct store_reader *reader) {
        return store_thread_start("store-reader", reader_main, reader, &reader->thread);
}

struct store_reader *store_reader_stop(struct store_reader *reader) {
        if (!reader)
                return NULL;

        (void) pthread_mutex_lock(&reader->mutex);
        reader->stopping = true;
        (void) pthread_cond_signal(&reader->something_to_do);
        (void) pthread_mutex_unlock(&reader->mutex);
        if (reader->thread)
                sqlite3_interrupt(reader->db);
        store_thread_join(reader->thread);

        drop_queries(&reader->waiting);
        drop_queries(&reader->answered);
        store_queries_free(reader->queries);
        sqlite_close(reader->db);
        (void) pthread_cond_destroy(&reader->something_to_do);
        (void) pthread_mutex_destroy(&reader->mutex);
        free(reader);
        return NULL;
}

int store_reader_ask(
        struct store_reader *reader, const struct query_question *question, store_answer_t handler,
        void *userdata, struct store_query **ret) {
        struct store_query *query;

        (void) pthread_mutex_lock(&reader->mutex);
        bool full = reader->n_queries >= STORE_QUERIES_MAX;
        (void) pthread_mutex_unlock(&reader->mutex);
        if (full)
                return -EBUSY;

        query = malloc(sizeof(*query));
        if (!query)
                return -ENOMEM;
        *query = (struct store_query){
                .reader = reader,
                .state = QUERY_WAITING,
                .question = *question,
                .handler = handler,
                .userdata = userdata,
        };
        if (ret)
                *ret = query;

        (void) pthread_mutex_lock(&reader->mutex);
        reader->n_queries++;
        list_append(&reader->waiting, &query->link);
        (void) pthread_cond_signal(&reader->something_to_do);
        (void) pthread_mutex_unlock(&reader->mutex);
        return 0;
}

/* With the mutex. The thread may have waited for room. */
static void forget_answer(struct store_reader *reader, struct store_query *query) {
        list_remove(&query->link);
        reader->answered_size -= query->answer_size;
        (void) pthread_cond_signal(&reader->something_to_do);
}

bool store_reader_tell_one(struct store_reader *reader, int *ret_error) {
        struct store_query *query;

        (void) pthread_mutex_lock(&reader->mutex);
        query = LIST_FIRST(&reader->answered, struct store_query, link);
        if (query) {
                forget_answer(reader, query);
                reader->n_queries--;
        }
        (void) pthread_mutex_unlock(&reader->mutex);
        if (!query)
                return false;

        *ret_error = query->answer.error;
        query->handler(query->userdata, &query->answer);
        query_free(query);
        return true;
}

void store_query_cancel(struct store_query *query) {
        struct store_reader *reader = query->reader;
        bool running;

        (void) pthread_mutex_lock(&reader->mutex);
        reader->n_queries--;
        running = query->state == QUERY_RUNNING;
        if (running)
                query->state = QUERY_CANCELLED; /* freed by the thread */
        else if (query->state == QUERY_ANSWERED)
                forget_answer(reader, query);
        else
                list_remove(&query->link);
        (void) pthread_mutex_unlock(&reader->mutex);

        if (!running)
                query_free(query);
}
