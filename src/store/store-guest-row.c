/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-guest-row.h"

#include <errno.h>
#include <limits.h>

#include "mesh/job-link.h"
#include "store/store-link-blob.h"

#define _GUEST_NAME(name, sql) [name] = sql,
static const char *const column_names[] = { GUEST_COLUMN_TABLE(_GUEST_NAME)[GUEST_STDOUT] = "stdout" };

static bool is_run_of(const struct store_guest *guest, const struct run_id *run) {
        return run_id_equal(run, &guest->run);
}

static void read_assignment(struct row *row, struct store_guest *guest) {
        _cleanup_link_message_ struct link_message message = {};
        int r;

        r = row_link_message(row, GUEST_ASSIGNMENT, &message);
        if (r >= 0)
                r = message.n_assignments == 1 && is_run_of(guest, &message.assignments[0].run)
                            ? job_spec_from_link(&message.assignments[0].job, &guest->spec)
                            : -EBADMSG;
        if (r < 0)
                row_fail(row, GUEST_ASSIGNMENT, r == -ENOMEM ? r : -EBADMSG);
}

/* An end says how much is kept of each output; the column has all of it. */
static void read_output(struct row *row, enum guest_column column, struct link_output *output) {
        size_t size;
        const void *data = row_bytes(row, column, &size);

        if (size != output->size) {
                row_fail(row, column, -EBADMSG);
                return;
        }
        output->data = data;
        output->data_size = size;
}

static void read_ending(struct row *row, struct store_guest *guest) {
        _cleanup_link_message_ struct link_message message = {};
        int r;

        r = row_link_message(row, GUEST_ENDING, &message);
        if (r >= 0 && (message.n_ended != 1 || !is_run_of(guest, &message.ended[0].run)))
                r = -EBADMSG;
        if (r >= 0) {
                read_output(row, GUEST_STDOUT, &message.ended[0].stdout_output);
                read_output(row, GUEST_STDERR, &message.ended[0].stderr_output);
                if (row->error < 0)
                        return;
                r = job_result_from_link(&message.ended[0], LINK_OUTPUT_MAX, &guest->result);
        }
        if (r < 0)
                row_fail(row, GUEST_ENDING, r == -ENOMEM ? r : -EBADMSG);
}

int store_guest_read(sqlite3_stmt *statement, struct store_guest *ret, const char **ret_what) {
        struct row row = { .statement = statement };
        struct store_guest guest = {
                .run.job = row_uuid(&row, GUEST_JOB_ID),
                .run.epoch = row_number(&row, GUEST_EPOCH, INT64_MAX),
                .run.attempt = (uint32_t) row_number(&row, GUEST_ATTEMPT, UINT32_MAX),
                .executor = row_uuid(&row, GUEST_EXECUTOR),
        };

        row_node_id(&row, GUEST_OWNER, guest.owner_node_id);
        if (guest.owner_node_id[0] == '\0')
                row_fail(&row, GUEST_OWNER, -EBADMSG);
        read_assignment(&row, &guest);
        if (!row_is_null(&row, GUEST_ENDING))
                read_ending(&row, &guest);

        if (row.error < 0) {
                store_guest_done(&guest);
                *ret_what = column_names[row.where];
                return row.error;
        }
        *ret = guest;
        return 0;
}

void store_guest_done(struct store_guest *guest) {
        guest->spec = job_spec_unref(guest->spec);
        guest->result = job_result_unref(guest->result);
}
