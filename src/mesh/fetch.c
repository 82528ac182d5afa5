/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Results of our jobs from other nodes: an end tells all but the rest of a long output, which is read piece
 * by piece before the end counts. A link that is lost meanwhile drops what is half there: the end is told
 * again. */

#include "mesh/internal.h"
#include "mesh/job-link.h"

struct fetch {
        struct list_link link; /* in place.fetches */
        struct job_result *result;
        uint64_t id;
        int stream;
        size_t offset; /* of that stream, that is there */
};

static struct job_output *output_of(struct fetch *fetch) {
        return fetch->stream == 1 ? &fetch->result->stdout_output : &fetch->result->stderr_output;
}

static void fetch_free(struct fetch *fetch) {
        list_remove(&fetch->link);
        job_result_unref(fetch->result);
        free(fetch);
}

void fetches_drop(struct place *place) {
        struct fetch *fetch;

        LIST_FOREACH(&place->fetches, fetch, struct fetch, link)
                fetch_free(fetch);
}

static struct fetch *fetch_of_run(struct place *place, const struct run_id *run) {
        struct fetch *fetch;

        LIST_FOREACH(&place->fetches, fetch, struct fetch, link)
                if (run_id_equal(&fetch->result->run, run))
                        return fetch;
        return NULL;
}

static void conclude(struct mesh *mesh, struct place *place, struct job_result *result) {
        struct mesh_job *job = job_at(mesh, place, &result->run);

        if (!job || !job_is_out(job))
                return;
        run_concluded(mesh, job, job_result_ref(result));
        place_run_ended(mesh, place);
}

/* Asks for what is missing next, or ends. */
static void fetch_go_on(struct mesh *mesh, struct place *place, struct fetch *fetch) {
        struct link_read read;
        struct link_message message = { .n_reads = 1, .reads = &read };

        while (fetch->stream <= 2 && fetch->offset >= output_of(fetch)->size) {
                fetch->stream++;
                fetch->offset = LINK_OUTPUT_INLINE_MAX;
        }
        if (fetch->stream > 2) {
                conclude(mesh, place, fetch->result);
                fetch_free(fetch);
                return;
        }
        fetch->id = ++mesh->n_fetches;
        read = (struct link_read){
                .id = fetch->id, .run = fetch->result->run, .stream = fetch->stream, .offset = fetch->offset
        };
        place_send_or_close(mesh, place, &message);
}

int job_result_from_end(const struct link_ended *ended, struct job_result **ret) {
        struct link_ended bare = *ended;

        bare.stdout_output.size = bare.stdout_output.data_size = 0;
        bare.stderr_output.size = bare.stderr_output.data_size = 0;
        bare.stdout_output.truncated = bare.stdout_output.total > 0;
        bare.stderr_output.truncated = bare.stderr_output.total > 0;
        return job_result_from_link(&bare, 0, ret);
}

static void begin(struct mesh *mesh, struct place *place, const struct link_ended *ended) {
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct fetch *fetch;

        /* Too large for us, or for our memory: better an end without output than none. */
        if (job_result_from_link(ended, MESH_OUTPUT_MAX, &result) < 0 &&
            job_result_from_end(ended, &result) < 0)
                return; /* told again with the next link */
        fetch = calloc(1, sizeof(*fetch));
        if (!fetch)
                return;
        fetch->result = TAKE_PTR(result);
        fetch->stream = 1;
        fetch->offset = LINK_OUTPUT_INLINE_MAX;
        list_append(&place->fetches, &fetch->link);
        fetch_go_on(mesh, place, fetch);
}

void fetch_ended(struct mesh *mesh, struct place *place, const struct link_ended *ended) {
        struct mesh_job *job = job_at(mesh, place, &ended->run);

        if (!job || !job_is_out(job))
                late_ended(mesh, place, ended);
        else if (!fetch_of_run(place, &ended->run))
                begin(mesh, place, ended);
}

void fetch_piece(struct mesh *mesh, struct place *place, const struct link_piece *piece) {
        struct job_output *output;
        struct fetch *fetch;

        LIST_FOREACH(&place->fetches, fetch, struct fetch, link) {
                if (fetch->id != piece->id)
                        continue;
                output = output_of(fetch);
                if (piece->error < 0 || piece->size == 0 || piece->offset != fetch->offset ||
                    piece->size > output->size - fetch->offset) {
                        /* It does not have what it said it had: what came is what there is. */
                        output->size = fetch->offset;
                        output->truncated = true;
                } else {
                        memcpy(output->data + fetch->offset, piece->data, piece->size);
                        fetch->offset += piece->size;
                }
                fetch_go_on(mesh, place, fetch);
                return;
        }
}
