/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The parts of a link's messages, into protobuf: what the files behind link-codec.h share. */

#include "link.pb-c.h"
#include "wire/link-message.h"

struct link_encoder {
        uint8_t *to; /* NULL: measures */
        size_t size;
};

/* protobuf-c has no const; the packer changes nothing. */
static inline char *unconst(const char *text) {
        return (char *) (text ? text : "");
}

static inline ProtobufCBinaryData bytes(const void *data, size_t size) {
        return (ProtobufCBinaryData){ .len = data ? size : 0, .data = (uint8_t *) data };
}

void link_encoder_add(struct link_encoder *encoder, const Link__LinkMessage *part);

/* What parts of several kinds have in them; it points to what it was made of. */
Link__RunId link_run_encoding(const struct run_id *run);
Link__Limits link_limits_encoding(const struct job_limits *limits);
/* Limits stay in the caller's hands: the job only points to them. */
Link__Job link_job_encoding(const struct link_job *job, Link__Limits *limits);
Link__Output link_output_encoding(const struct link_output *output);

/* Of runs; a keeper is told of them, too. Into one of the fields of *out that list such parts. */
void link_add_held(
        struct link_encoder *encoder, const struct link_held *held, Link__LinkMessage *out, size_t *n_field,
        Link__Held ***field);
void link_add_assignment(
        struct link_encoder *encoder, const struct link_assignment *assignment, Link__LinkMessage *out,
        size_t *n_field, Link__Assignment ***field);
void link_add_ended(
        struct link_encoder *encoder, const struct link_ended *ended, Link__LinkMessage *out,
        size_t *n_field, Link__Ended ***field);

/* All that a message says of one subject. */
void link_add_run_parts(struct link_encoder *encoder, const struct link_message *message);
void link_add_call_parts(struct link_encoder *encoder, const struct link_message *message);
void link_add_keeping_parts(struct link_encoder *encoder, const struct link_message *message);
void link_add_index_parts(struct link_encoder *encoder, const struct link_message *message);
