/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests of copies of other nodes' jobs do. */

#include "fixture.h"

void copying_begin(struct fixture *f); /* an empty store */
void reopen(struct fixture *f);

/* What the write came to. */
int write_copy(struct fixture *f, struct job_spec *spec);
int end_copy(struct fixture *f, struct job_spec *spec, enum job_status status, struct job_result *result);

/* Job n of OWNER_ID, and one that has ended. */
void keep(struct fixture *f, uint64_t n);
void keep_ended(struct fixture *f, uint64_t n);
/* Of the owner's copies; n: of which one, where the type is of one. */
void say(struct fixture *f, enum record_type type, uint64_t n, const char *owner, uint64_t term);
void hold(struct fixture *f, enum record_type type, const char *node, uint64_t term);
