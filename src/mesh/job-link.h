/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Jobs and results as they travel over a link, and back. */

#include "mesh/job.h"
#include "wire/link-message.h"

/* Borrows from spec. */
void job_spec_to_link(const struct job_spec *spec, struct link_job *ret);
/* -EINVAL: not a job that this node would accept from a client either. */
int job_spec_from_link(const struct link_job *job, struct job_spec **ret);

/* Borrows from result; of each output the first LINK_OUTPUT_INLINE_MAX bytes. */
void job_result_to_link(const struct job_result *result, struct link_ended *ret);
/* The outputs have room for all that is kept; what came inline is there, the rest is to be filled in.
 * -E2BIG: the other side keeps more than max bytes of an output. */
int job_result_from_link(const struct link_ended *ended, size_t max, struct job_result **ret);
