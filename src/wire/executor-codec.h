/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Batches between daemon and executor: built part by part, since encoded protobuf messages put one behind
 * the other are the encoding of all their parts. Decoders check everything: lengths, ids, ranges, UTF-8,
 * descriptors. */

#include <stddef.h>

#include "util/macros.h"
#include "wire/executor-message.h"

/* Each adds one part. -ENOSPC: it does not fit behind what is there already; the message is unchanged.
 * -EMSGSIZE: it does not fit into any message. */
int executor_message_add_hello(struct executor_message *message, const struct executor_hello *hello);
int executor_message_add_slots(struct executor_message *message, uint32_t slots);
int executor_message_add_awake(struct executor_message *message, usec_t awake_usec);
int executor_message_add_start(struct executor_message *message, const struct executor_start *start);
int executor_message_add_kill(struct executor_message *message, const struct run_id *run);
int executor_message_add_withdrawal(struct executor_message *message, const struct run_id *run);
int executor_message_add_acknowledgement(struct executor_message *message, const struct run_id *run);
int executor_message_add_read(struct executor_message *message, const struct executor_read_request *read);
int executor_message_add_cancel_read(struct executor_message *message, uint64_t id);
int executor_message_add_journalled(
        struct executor_message *message, const struct executor_journalled *journalled);
int executor_message_add_stop(struct executor_message *message, enum executor_stop stop);

int executor_message_add_welcome(struct executor_message *message, const struct executor_welcome *welcome);
int executor_message_add_known(struct executor_message *message, const struct executor_known *known);
int executor_message_add_synchronised(struct executor_message *message);
int executor_message_add_started(struct executor_message *message, const struct executor_started *started);
int executor_message_add_ended(struct executor_message *message, const struct executor_ended *ended);
int executor_message_add_data(struct executor_message *message, const struct executor_data *data);
int executor_message_add_stopping(struct executor_message *message);
int executor_message_add_held(struct executor_message *message);

/* -EBADMSG, -ENOMEM: *ret is then empty. n_descriptors came with the message. */
int executor_commands_decode(
        const void *data, size_t size, size_t n_descriptors, struct executor_commands *ret);
void executor_commands_done(struct executor_commands *commands);
#define _cleanup_executor_commands_ _cleanup_(executor_commands_done)

int executor_events_decode(const void *data, size_t size, size_t n_descriptors, struct executor_events *ret);
void executor_events_done(struct executor_events *events);
#define _cleanup_executor_events_ _cleanup_(executor_events_done)

/* A body that travels in a memory file. Encoding allocates; -E2BIG above EXECUTOR_BODY_MAX. What a decoded
 * body points to lives until executor_body_release(storage). */
size_t executor_body_size(const struct executor_body *body);
int executor_body_encode(const struct executor_body *body, void **ret_data, size_t *ret_size);
int executor_body_decode(const void *data, size_t size, struct executor_body *ret, void **ret_storage);
void executor_body_release(void *storage);
