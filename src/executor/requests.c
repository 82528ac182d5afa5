/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Wishes of the daemon to read what a run prints: each waits with its run until there is something, then
 * among those to be answered until the connection has room. */

#include <errno.h>

#include "executor/client.h"
#include "executor/executor.h"

/* A daemon that goes on asking although it is told -EBUSY. */
#define REFUSALS_MAX 1024u

void output_request_free(struct executor *executor, struct output_request *request) {
        list_remove(&request->link);
        list_remove(&request->all);
        executor->n_requests--;
        free(request);
}

static uint64_t run_total(const struct run *run, int stream) {
        return run->state == RUN_ENDED ? run->end.outputs.streams[stream - 1].total
                                       : run->streams[stream - 1].output.total;
}

static bool has_answer(const struct output_request *request) {
        return !request->run || !request->wait || request->run->state == RUN_ENDED ||
               run_total(request->run, request->stream) > request->offset;
}

static void request_is_answerable(struct executor *executor, struct output_request *request) {
        list_remove(&request->link);
        list_append(&executor->answers, &request->link);
        executor_wants_flush(executor);
}

int executor_request_output(struct executor *executor, const struct executor_read_request *read) {
        struct output_request *request;

        if (executor->n_requests >= EXECUTOR_READS_MAX + REFUSALS_MAX)
                return -ENOBUFS;
        request = malloc(sizeof(*request));
        if (!request)
                return -ENOMEM;
        *request = (struct output_request){
                .id = read->id, .stream = read->stream, .offset = read->offset, .wait = read->wait
        };
        list_append(&executor->requests, &request->all);
        executor->n_requests++;
        if (executor->n_requests > EXECUTOR_READS_MAX)
                request->error = -EBUSY;
        else {
                request->run = MAP_GET(&executor->runs, &read->run, RUN_KEY_SIZE, struct run, by_id);
                request->error = request->run ? 0 : -ENOENT;
        }
        if (has_answer(request))
                request_is_answerable(executor, request);
        else
                list_append(&request->run->reads, &request->link);
        return 0;
}

void executor_cancel_request(struct executor *executor, uint64_t id) {
        struct output_request *request;

        LIST_FOREACH(&executor->requests, request, struct output_request, all)
                if (request->id == id) {
                        output_request_free(executor, request);
                        return;
                }
}

void executor_requests_wake(struct executor *executor, struct run *run) {
        struct output_request *request;

        LIST_FOREACH(&run->reads, request, struct output_request, link)
                if (has_answer(request))
                        request_is_answerable(executor, request);
}

void executor_requests_orphan(struct executor *executor, struct run *run) {
        struct output_request *request;

        LIST_FOREACH(&executor->requests, request, struct output_request, all)
                if (request->run == run) {
                        request->run = NULL;
                        request->error = -ENOENT;
                        request_is_answerable(executor, request);
                }
}

void executor_requests_drop(struct executor *executor) {
        struct output_request *request;

        while ((request = LIST_FIRST(&executor->requests, struct output_request, all)))
                output_request_free(executor, request);
}

static void answer_from_end(
        const struct output_request *request, char buffer[static EXECUTOR_DATA_MAX],
        struct executor_data *ret) {

        const struct kept_outputs *outputs = &request->run->end.outputs;
        ssize_t n = kept_outputs_read(
                outputs, request->stream, request->offset, buffer, EXECUTOR_DATA_MAX, &ret->offset);

        if (n < 0) {
                ret->error = (int) n;
                return;
        }
        ret->data = n > 0 ? buffer : NULL;
        ret->size = (size_t) n;
        ret->ended = ret->offset + ret->size >= outputs->streams[request->stream - 1].total;
}

bool output_request_answer(
        const struct output_request *request, char buffer[static EXECUTOR_DATA_MAX],
        struct executor_data *ret) {

        const char *data;

        *ret = (struct executor_data){ .id = request->id,
                                       .error = request->error,
                                       .offset = request->offset };
        if (request->error < 0)
                return true;
        ret->total = run_total(request->run, request->stream);
        if (request->run->state == RUN_ENDED) {
                answer_from_end(request, buffer, ret);
                return true;
        }
        ret->size = output_read(
                &request->run->streams[request->stream - 1].output, request->offset, &ret->offset, &data);
        if (ret->size == 0)
                return !request->wait;
        ret->size = MIN(ret->size, (size_t) EXECUTOR_DATA_MAX);
        ret->data = data;
        return true;
}
