/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the node knows, as JSON: the shapes that clients see. */

#include <stdbool.h>

#include "api/ops.h"
#include "api/rest/json-write.h"

/* A job by itself or in a list; in_list: the outputs are the beginnings of what is kept. may_read: with
 * command and outputs. key: as in json-write.h. */
void write_job(
        struct writer *writer, const char *key, const struct stored_job *job, bool may_read, bool in_list);

/* One of a list of OPS_SCOPE_MESH. */
void write_recent_job(struct writer *writer, const struct mesh_index_item *job);

void write_status(struct writer *writer, const struct ops_status *status);
void write_peer(struct writer *writer, const struct ops_peer *peer);
