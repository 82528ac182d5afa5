/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "link-messages.h"

#include "lib/tests.h"

struct run_id run_of(uint8_t number) {
        struct run_id run = { .epoch = 1000u + number, .attempt = 2000u + number };

        memset(run.job.bytes, number, sizeof(run.job.bytes));
        return run;
}

struct link_job job_of(uint8_t number) {
        return (struct link_job){
                .id = run_of(number).job,
                .timeout_usec = USEC_INFINITY,
                .command = "true",
                .created_by_node = "node-0123456789abcdef",
                .submitter_uid = (uid_t) -1,
                .submitter = "",
        };
}

static void fill_assignment(struct link_assignment *assignment) {
        static char *const env[] = { (char *) "A=1", (char *) "B=", (char *) "C=x=y" };
        static char *const requires[] = { (char *) "arch=x86_64", (char *) "gpu" };

        *assignment = (struct link_assignment){
                .run = run_of(2),
                .job = {
                        .id = run_of(2).job,
                        .created_at = UINT64_C(1715684864500001),
                        .timeout_usec = 300 * USEC_PER_SEC,
                        .command = "echo größer",
                        .cwd = "/srv/app",
                        .target_node_id = "node-1111111111111111",
                        .created_by_node = "node-2222222222222222",
                        .env = env,
                        .n_env = ELEMENTSOF(env),
                        .stdin_data = "in\0put",
                        .stdin_size = 6,
                        .limits = { .memory_max = JOB_MEMORY_MIN,
                                    .cpu_weight = 200,
                                    .cpu_quota = 150,
                                    .tasks_max = 7,
                                    .best_effort = true },
                        .rules = { .priority = -7, .retries = 3, .loss_is_failure = true },
                        .requires = requires,
                        .n_requires = ELEMENTSOF(requires),
                        .submitter_uid = 0,
                        .submitter = "uid:0",
                        .has_digest = true,
                },
        };
        for (size_t i = 0; i < sizeof(assignment->job.digest); i++)
                assignment->job.digest[i] = (uint8_t) i;
}

static void fill_ended(struct link_ended *ended) {
        *ended = (struct link_ended){
                .run = run_of(8),
                .outcome = LINK_SIGNALLED,
                .exit_code = 3,
                .signal = 9,
                .started_at = 11,
                .finished_at = 12,
                .duration_usec = 13,
                .stdout_output = { .data = "out",
                                   .data_size = 3,
                                   .size = 100,
                                   .total = 200,
                                   .truncated = true },
                .stderr_output = { .total = 5 },
                .error_message = "killed for want of memory",
                .oom_killed = true,
                .drained = true,
        };
}

static void fill_call(struct link_call *call) {
        *call = (struct link_call){
                .id = 24,
                .kind = LINK_CALL_OUTPUT,
                .run = run_of(11),
                .wait_usec = 25,
                .with_output = true,
                .stream = 2,
                .position = { .offset = 26, .end = 27, .kept = true },
                .follow = true,
                .uid = 1000,
        };
}

static void fill_answer(struct link_answer *answer, const struct link_job *job) {
        *answer = (struct link_answer){
                .id = 28,
                .problem = "not_found",
                .detail = "größer",
                .has_record = true,
                .record = { .job = *job,
                            .status = JOB_FAILED,
                            .epoch = 29,
                            .attempt = 30,
                            .executor_node_id = "node-3333333333333333",
                            .started_at = 31,
                            .finished_at = 32,
                            .updated_at = 33,
                            .duration_usec = 34,
                            .has_exit_code = true,
                            .exit_code = 0,
                            .signal = 15,
                            .cancel_requested = true,
                            .oom_killed = true,
                            .error_message = "exited",
                            .stdin_size = 35,
                            .stdout_output = { .data = "out",
                                               .data_size = 3,
                                               .size = 36,
                                               .total = 37,
                                               .truncated = true },
                            .stderr_output = { .total = 38 },
                            .retries_used = 44,
                            .pending_reason = "no free slot" },
                .data = "answer",
                .size = 6,
                .offset = 39,
                .total = 40,
                .next = { .offset = 41, .end = 42, .kept = true },
                .ended = true,
        };
}

static void fill_message(struct full_message *full) {
        full->message = (struct link_message){
                .has_hello = true,
                .hello = { .protocol = LINK_PROTOCOL,
                           .node_id = "node-0123456789abcdef",
                           .version = "0.1.0",
                           .incarnation = 21,
                           .instance = UINT64_C(0xfedcba9876543210),
                           .ordinal = 22 },
                .n_held = 1,
                .held = &full->held,
                .held_complete = true,
                .held_version = UINT64_MAX - 62,
                .compared = true,
                .ping = true,
                .pong = true,
                .n_assignments = 1,
                .assignments = &full->assignment,
                .n_taken = 1,
                .taken = &full->taken,
                .n_refused = 1,
                .refused = &full->refusal,
                .n_started = 1,
                .started = &full->started,
                .n_ended = 1,
                .ended = &full->ended,
                .n_kills = 1,
                .kills = &full->kill,
                .n_withdrawn = 1,
                .withdrawn = &full->withdrawn,
                .n_retired = 1,
                .retired = &full->retired,
                .room = 23,
                .n_reads = 1,
                .reads = &full->read,
                .n_pieces = 1,
                .pieces = &full->piece,
                .n_cancelled_reads = ELEMENTSOF(full->cancelled_reads),
                .cancelled_reads = full->cancelled_reads,
                .has_index_ask = true,
                .index_ask = { .generation = UINT64_MAX, .after = 30, .room = 31, .since = 32 },
                .has_index_part = true,
                .index_part = { .generation = 33, .head = 35, .through = 34 },
                .n_index_nodes = ELEMENTSOF(full->index_nodes),
                .index_nodes = full->index_nodes,
                .n_index_entries = ELEMENTSOF(full->index_entries),
                .index_entries = full->index_entries,
                .n_overruled = ELEMENTSOF(full->overruled),
                .overruled = full->overruled,
        };
}

static void fill_questions(struct full_message *full) {
        struct link_message *message = &full->message;

        full->cancelled_calls[0] = 43;
        full->cancelled_calls[1] = UINT64_MAX;
        fill_call(&full->call);
        fill_answer(&full->answer, &full->assignment.job);
        full->attempts[0] = (struct link_attempt){ .epoch = 45,
                                                   .attempt = 46,
                                                   .node_id = "node-4444444444444444",
                                                   .fate = "failed",
                                                   .started_at = 47,
                                                   .finished_at = 48,
                                                   .has_exit_code = true,
                                                   .exit_code = 49,
                                                   .signal = 9,
                                                   .error_message = "exited" };
        full->attempts[1] = (struct link_attempt){ .node_id = "b", .fate = "lost" };
        full->answer.record.attempts = full->attempts;
        full->answer.record.n_attempts = ELEMENTSOF(full->attempts);
        message->n_calls = 1;
        message->calls = &full->call;
        message->n_answers = 1;
        message->answers = &full->answer;
        message->n_cancelled_calls = ELEMENTSOF(full->cancelled_calls);
        message->cancelled_calls = full->cancelled_calls;
}

void full_message_init(struct full_message *full) {
        *full = (struct full_message){
                .held = { .run = run_of(1), .state = LINK_HELD_RUNNING, .started_at = 10 },
                .taken = run_of(3),
                .kill = run_of(4),
                .withdrawn = run_of(5),
                .retired = run_of(6),
                .refusal = { .run = run_of(7), .reason = LINK_REFUSED_STALE },
                .started = { .run = run_of(9), .started_at = 14 },
                .read = { .id = 15, .run = run_of(10), .stream = 2, .offset = 16, .wait = true },
                .piece = { .id = 17,
                           .error = -ENOENT,
                           .offset = 18,
                           .data = "piece",
                           .size = 5,
                           .ended = true,
                           .total = 19 },
                .cancelled_reads = { 20, UINT64_MAX },
                .index_nodes = { "node-0123456789abcdef", "b" },
                .index_entries = { { .job = run_of(11).job,
                                     .number = 24,
                                     .epoch = 25,
                                     .status = JOB_FAILED,
                                     .executor = 2,
                                     .has_exit_code = true,
                                     .exit_code = 255,
                                     .created_at = 26,
                                     .started_at = 27,
                                     .finished_at = 28,
                                     .kept = true },
                                   { .job = run_of(12).job,
                                     .number = 29,
                                     .status = JOB_PENDING,
                                     .created_at = LINK_USEC_MAX } },
                .overruled = { { .job = run_of(13).job,
                                 .epoch = LINK_EPOCH_MAX,
                                 .status = JOB_TIMEOUT,
                                 .owner = "node-5555555555555555" },
                               { .job = run_of(14).job,
                                 .status = JOB_COMPLETED,
                                 .owner = "b",
                                 .kept = true } },
        };
        fill_assignment(&full->assignment);
        fill_ended(&full->ended);
        fill_message(full);
        fill_questions(full);
        fill_keeping(full);
}

void assert_run_equal(const struct run_id *a, const struct run_id *b) {
        ASSERT_EQ(a->job.bytes[0], b->job.bytes[0]);
        ASSERT_TRUE(run_id_equal(a, b));
}

static void assert_runs_equal(const struct run_id *a, size_t n_a, const struct run_id *b, size_t n_b) {
        ASSERT_EQ(n_a, n_b);
        for (size_t i = 0; i < n_a; i++)
                assert_run_equal(&a[i], &b[i]);
}

void assert_text_equal(const char *a, const char *b) {
        if (a || b)
                ASSERT_STREQ(a, b);
}

static void assert_hellos_equal(const struct link_hello *a, const struct link_hello *b) {
        ASSERT_EQ(a->protocol, b->protocol);
        ASSERT_STREQ(a->node_id, b->node_id);
        ASSERT_STREQ(a->version, b->version);
        ASSERT_EQ(a->incarnation, b->incarnation);
        ASSERT_EQ(a->instance, b->instance);
        ASSERT_EQ(a->ordinal, b->ordinal);
}

void assert_jobs_equal(const struct link_job *a, const struct link_job *b) {
        ASSERT_TRUE(uuid_equal(&a->id, &b->id));
        ASSERT_EQ(a->created_at, b->created_at);
        ASSERT_EQ(a->timeout_usec, b->timeout_usec);
        ASSERT_STREQ(a->command, b->command);
        assert_text_equal(a->cwd, b->cwd);
        assert_text_equal(a->target_node_id, b->target_node_id);
        ASSERT_STREQ(a->created_by_node, b->created_by_node);
        ASSERT_EQ(a->n_env, b->n_env);
        for (size_t i = 0; i < a->n_env; i++)
                ASSERT_STREQ(a->env[i], b->env[i]);
        ASSERT_EQ(a->stdin_data == NULL, b->stdin_data == NULL);
        ASSERT_EQ(a->stdin_size, b->stdin_size);
        if (a->stdin_size > 0)
                ASSERT_EQ(memcmp(a->stdin_data, b->stdin_data, a->stdin_size), 0);
        ASSERT_TRUE(job_limits_equal(&a->limits, &b->limits));
        ASSERT_EQ(a->limits.best_effort, b->limits.best_effort);
        ASSERT_EQ(a->rules.priority, b->rules.priority);
        ASSERT_EQ(a->rules.retries, b->rules.retries);
        ASSERT_EQ(a->rules.loss_is_failure, b->rules.loss_is_failure);
        ASSERT_EQ(a->n_requires, b->n_requires);
        for (size_t i = 0; i < a->n_requires; i++)
                ASSERT_STREQ(a->requires[i], b->requires[i]);
        ASSERT_EQ(a->submitter_uid, b->submitter_uid);
        ASSERT_STREQ(a->submitter, b->submitter);
        ASSERT_EQ(a->has_digest, b->has_digest);
        ASSERT_EQ(memcmp(a->digest, b->digest, sizeof(a->digest)), 0);
}

static void assert_outputs_equal(const struct link_output *a, const struct link_output *b) {
        ASSERT_EQ(a->data_size, b->data_size);
        if (a->data_size > 0)
                ASSERT_EQ(memcmp(a->data, b->data, a->data_size), 0);
        ASSERT_EQ(a->size, b->size);
        ASSERT_EQ(a->total, b->total);
        ASSERT_EQ(a->truncated, b->truncated);
}

void assert_ends_equal(const struct link_ended *a, const struct link_ended *b) {
        assert_run_equal(&a->run, &b->run);
        ASSERT_EQ(a->outcome, b->outcome);
        ASSERT_EQ(a->exit_code, b->exit_code);
        ASSERT_EQ(a->signal, b->signal);
        ASSERT_EQ(a->started_at, b->started_at);
        ASSERT_EQ(a->finished_at, b->finished_at);
        ASSERT_EQ(a->duration_usec, b->duration_usec);
        assert_outputs_equal(&a->stdout_output, &b->stdout_output);
        assert_outputs_equal(&a->stderr_output, &b->stderr_output);
        assert_text_equal(a->error_message, b->error_message);
        ASSERT_EQ(a->drained, b->drained);
        ASSERT_EQ(a->oom_killed, b->oom_killed);
}

static void assert_reads_equal(const struct link_message *a, const struct link_message *b) {
        ASSERT_EQ(a->n_reads, b->n_reads);
        for (size_t i = 0; i < a->n_reads; i++) {
                ASSERT_EQ(a->reads[i].id, b->reads[i].id);
                assert_run_equal(&a->reads[i].run, &b->reads[i].run);
                ASSERT_EQ(a->reads[i].stream, b->reads[i].stream);
                ASSERT_EQ(a->reads[i].offset, b->reads[i].offset);
                ASSERT_EQ(a->reads[i].wait, b->reads[i].wait);
        }
        ASSERT_EQ(a->n_pieces, b->n_pieces);
        for (size_t i = 0; i < a->n_pieces; i++) {
                const struct link_piece *x = &a->pieces[i], *y = &b->pieces[i];

                ASSERT_EQ(x->id, y->id);
                ASSERT_EQ(x->error, y->error);
                ASSERT_EQ(x->offset, y->offset);
                ASSERT_EQ(x->size, y->size);
                if (x->size > 0)
                        ASSERT_EQ(memcmp(x->data, y->data, x->size), 0);
                ASSERT_EQ(x->ended, y->ended);
                ASSERT_EQ(x->total, y->total);
        }
        ASSERT_EQ(a->n_cancelled_reads, b->n_cancelled_reads);
        for (size_t i = 0; i < a->n_cancelled_reads; i++)
                ASSERT_EQ(a->cancelled_reads[i], b->cancelled_reads[i]);
}

static void assert_positions_equal(const struct link_position *a, const struct link_position *b) {
        ASSERT_EQ(a->offset, b->offset);
        ASSERT_EQ(a->end, b->end);
        ASSERT_EQ(a->kept, b->kept);
}

static void assert_calls_equal(const struct link_call *a, const struct link_call *b) {
        ASSERT_EQ(a->id, b->id);
        ASSERT_EQ(a->kind, b->kind);
        assert_run_equal(&a->run, &b->run);
        ASSERT_EQ(a->wait_usec, b->wait_usec);
        ASSERT_EQ(a->with_output, b->with_output);
        ASSERT_EQ(a->stream, b->stream);
        assert_positions_equal(&a->position, &b->position);
        ASSERT_EQ(a->follow, b->follow);
        ASSERT_EQ(a->uid, b->uid);
}

static void assert_attempts_equal(const struct link_attempt *a, const struct link_attempt *b) {
        ASSERT_EQ(a->epoch, b->epoch);
        ASSERT_EQ(a->attempt, b->attempt);
        ASSERT_STREQ(a->node_id, b->node_id);
        ASSERT_STREQ(a->fate, b->fate);
        ASSERT_EQ(a->started_at, b->started_at);
        ASSERT_EQ(a->finished_at, b->finished_at);
        ASSERT_EQ(a->has_exit_code, b->has_exit_code);
        ASSERT_EQ(a->exit_code, b->exit_code);
        ASSERT_EQ(a->signal, b->signal);
        assert_text_equal(a->error_message, b->error_message);
}

static void assert_records_equal(const struct link_record *a, const struct link_record *b) {
        assert_jobs_equal(&a->job, &b->job);
        ASSERT_EQ(a->status, b->status);
        ASSERT_EQ(a->epoch, b->epoch);
        ASSERT_EQ(a->attempt, b->attempt);
        assert_text_equal(a->executor_node_id, b->executor_node_id);
        ASSERT_EQ(a->started_at, b->started_at);
        ASSERT_EQ(a->finished_at, b->finished_at);
        ASSERT_EQ(a->updated_at, b->updated_at);
        ASSERT_EQ(a->duration_usec, b->duration_usec);
        ASSERT_EQ(a->has_exit_code, b->has_exit_code);
        ASSERT_EQ(a->exit_code, b->exit_code);
        ASSERT_EQ(a->signal, b->signal);
        ASSERT_EQ(a->cancel_requested, b->cancel_requested);
        ASSERT_EQ(a->oom_killed, b->oom_killed);
        assert_text_equal(a->error_message, b->error_message);
        ASSERT_EQ(a->stdin_size, b->stdin_size);
        assert_outputs_equal(&a->stdout_output, &b->stdout_output);
        assert_outputs_equal(&a->stderr_output, &b->stderr_output);
        ASSERT_EQ(a->retries_used, b->retries_used);
        assert_text_equal(a->pending_reason, b->pending_reason);
        ASSERT_EQ(a->n_attempts, b->n_attempts);
        for (size_t i = 0; i < a->n_attempts; i++)
                assert_attempts_equal(&a->attempts[i], &b->attempts[i]);
}

static void assert_answers_equal(const struct link_answer *a, const struct link_answer *b) {
        ASSERT_EQ(a->id, b->id);
        assert_text_equal(a->problem, b->problem);
        ASSERT_STREQ(a->detail ? a->detail : "", b->detail ? b->detail : "");
        ASSERT_EQ(a->has_record, b->has_record);
        if (a->has_record)
                assert_records_equal(&a->record, &b->record);
        ASSERT_EQ(a->size, b->size);
        if (a->size > 0)
                ASSERT_EQ(memcmp(a->data, b->data, a->size), 0);
        ASSERT_EQ(a->offset, b->offset);
        ASSERT_EQ(a->total, b->total);
        assert_positions_equal(&a->next, &b->next);
        ASSERT_EQ(a->ended, b->ended);
}

static void assert_questions_equal(const struct link_message *a, const struct link_message *b) {
        ASSERT_EQ(a->n_calls, b->n_calls);
        for (size_t i = 0; i < a->n_calls; i++)
                assert_calls_equal(&a->calls[i], &b->calls[i]);
        ASSERT_EQ(a->n_answers, b->n_answers);
        for (size_t i = 0; i < a->n_answers; i++)
                assert_answers_equal(&a->answers[i], &b->answers[i]);
        ASSERT_EQ(a->n_cancelled_calls, b->n_cancelled_calls);
        for (size_t i = 0; i < a->n_cancelled_calls; i++)
                ASSERT_EQ(a->cancelled_calls[i], b->cancelled_calls[i]);
}

void assert_helds_equal(const struct link_held *a, size_t n_a, const struct link_held *b, size_t n_b) {
        ASSERT_EQ(n_a, n_b);
        for (size_t i = 0; i < n_a; i++) {
                assert_run_equal(&a[i].run, &b[i].run);
                ASSERT_EQ(a[i].state, b[i].state);
                ASSERT_EQ(a[i].started_at, b[i].started_at);
        }
}

static void assert_reports_equal(const struct link_message *a, const struct link_message *b) {
        assert_helds_equal(a->held, a->n_held, b->held, b->n_held);
        ASSERT_EQ(a->held_complete, b->held_complete);
        ASSERT_EQ(a->held_version, b->held_version);
        ASSERT_EQ(a->compared, b->compared);
        ASSERT_EQ(a->ping, b->ping);
        ASSERT_EQ(a->pong, b->pong);
        ASSERT_EQ(a->n_refused, b->n_refused);
        for (size_t i = 0; i < a->n_refused; i++) {
                assert_run_equal(&a->refused[i].run, &b->refused[i].run);
                ASSERT_EQ(a->refused[i].reason, b->refused[i].reason);
        }
        ASSERT_EQ(a->n_started, b->n_started);
        for (size_t i = 0; i < a->n_started; i++) {
                assert_run_equal(&a->started[i].run, &b->started[i].run);
                ASSERT_EQ(a->started[i].started_at, b->started[i].started_at);
        }
        ASSERT_EQ(a->n_ended, b->n_ended);
        for (size_t i = 0; i < a->n_ended; i++)
                assert_ends_equal(&a->ended[i], &b->ended[i]);
}

static void assert_indexes_equal(const struct link_message *a, const struct link_message *b) {
        ASSERT_EQ(a->has_index_ask, b->has_index_ask);
        ASSERT_EQ(a->index_ask.generation, b->index_ask.generation);
        ASSERT_EQ(a->index_ask.after, b->index_ask.after);
        ASSERT_EQ(a->index_ask.room, b->index_ask.room);
        ASSERT_EQ(a->index_ask.since, b->index_ask.since);
        ASSERT_EQ(a->has_index_part, b->has_index_part);
        ASSERT_EQ(a->index_part.generation, b->index_part.generation);
        ASSERT_EQ(a->index_part.head, b->index_part.head);
        ASSERT_EQ(a->index_part.through, b->index_part.through);
        ASSERT_EQ(a->index_part.complete, b->index_part.complete);
        ASSERT_EQ(a->n_index_nodes, b->n_index_nodes);
        for (size_t i = 0; i < a->n_index_nodes; i++)
                ASSERT_STREQ(a->index_nodes[i], b->index_nodes[i]);
        ASSERT_EQ(a->n_index_entries, b->n_index_entries);
        for (size_t i = 0; i < a->n_index_entries; i++) {
                const struct link_index_entry *x = &a->index_entries[i], *y = &b->index_entries[i];

                ASSERT_TRUE(uuid_equal(&x->job, &y->job));
                ASSERT_EQ(x->number, y->number);
                ASSERT_EQ(x->epoch, y->epoch);
                ASSERT_EQ(x->status, y->status);
                ASSERT_EQ(x->executor, y->executor);
                ASSERT_EQ(x->has_exit_code, y->has_exit_code);
                ASSERT_EQ(x->exit_code, y->exit_code);
                ASSERT_EQ(x->created_at, y->created_at);
                ASSERT_EQ(x->started_at, y->started_at);
                ASSERT_EQ(x->finished_at, y->finished_at);
                ASSERT_EQ(x->kept, y->kept);
        }
}

static void assert_overruled_equal(const struct link_message *a, const struct link_message *b) {
        ASSERT_EQ(a->n_overruled, b->n_overruled);
        for (size_t i = 0; i < a->n_overruled; i++) {
                ASSERT_TRUE(uuid_equal(&a->overruled[i].job, &b->overruled[i].job));
                ASSERT_EQ(a->overruled[i].epoch, b->overruled[i].epoch);
                ASSERT_EQ(a->overruled[i].status, b->overruled[i].status);
                ASSERT_STREQ(a->overruled[i].owner, b->overruled[i].owner);
                ASSERT_EQ(a->overruled[i].kept, b->overruled[i].kept);
        }
}

void assert_messages_equal(const struct link_message *a, const struct link_message *b) {
        assert_indexes_equal(a, b);
        assert_overruled_equal(a, b);
        assert_keeping_equal(a, b);
        ASSERT_EQ(a->has_hello, b->has_hello);
        if (a->has_hello)
                assert_hellos_equal(&a->hello, &b->hello);
        ASSERT_EQ(a->n_assignments, b->n_assignments);
        for (size_t i = 0; i < a->n_assignments; i++) {
                assert_run_equal(&a->assignments[i].run, &b->assignments[i].run);
                assert_jobs_equal(&a->assignments[i].job, &b->assignments[i].job);
        }
        assert_reports_equal(a, b);
        assert_runs_equal(a->taken, a->n_taken, b->taken, b->n_taken);
        assert_runs_equal(a->kills, a->n_kills, b->kills, b->n_kills);
        assert_runs_equal(a->withdrawn, a->n_withdrawn, b->withdrawn, b->n_withdrawn);
        assert_runs_equal(a->retired, a->n_retired, b->retired, b->n_retired);
        ASSERT_EQ(a->room, b->room);
        assert_reads_equal(a, b);
        assert_questions_equal(a, b);
}

void round_trip(const struct link_message *message, struct link_message *ret) {
        _cleanup_buffer_ struct buffer buffer = {};
        size_t size;

        ASSERT_OK(link_message_encode(message, &buffer));
        ASSERT_OK(link_frame_size(buffer.data, buffer.size, &size));
        ASSERT_EQ(size, buffer.size);
        ASSERT_OK(link_message_decode(
                buffer.data + LINK_FRAME_HEADER_SIZE, buffer.size - LINK_FRAME_HEADER_SIZE, ret));
}
