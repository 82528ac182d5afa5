/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Parts of messages of links, field by field, for bytes that no encoder of ours makes. */

#include "lib/protobuf-writer.h"
#include "lib/tests.h"
#include "link-messages.h"

static const uint8_t job_id[16] = { 1, 2, 3 };

/* A message with this one part. */
static inline int
decode_part(unsigned number, const struct protobuf_writer *part, struct link_message *ret) {
        struct protobuf_writer message = {};

        write_message_field(&message, number, part);
        return link_message_decode(message.bytes, message.size, ret);
}

static inline void assert_right(unsigned number, const struct protobuf_writer *part) {
        _cleanup_link_message_ struct link_message decoded = {};

        ASSERT_OK(decode_part(number, part, &decoded));
        ASSERT_NOT_NULL(decoded.storage);
}

static inline void assert_wrong(unsigned number, const struct protobuf_writer *part) {
        struct link_message decoded = {};

        ASSERT_ERROR(decode_part(number, part, &decoded), EBADMSG);
        ASSERT_NULL(decoded.storage);
        ASSERT_EQ(decoded.n_held + decoded.n_assignments + decoded.n_ended + decoded.n_pieces, 0);
}

static inline struct protobuf_writer run_part(const void *id, size_t size) {
        struct protobuf_writer run = {};

        write_bytes_field(&run, 1, id, size);
        write_varint_field(&run, 2, 5);
        write_varint_field(&run, 3, 6);
        return run;
}

static inline void write_run(struct protobuf_writer *part, unsigned number) {
        const struct protobuf_writer run = run_part(job_id, sizeof(job_id));

        write_message_field(part, number, &run);
}

static inline struct protobuf_writer job_part(void) {
        struct protobuf_writer job = {};

        write_bytes_field(&job, 1, job_id, sizeof(job_id));
        write_text_field(&job, 4, "true");
        write_text_field(&job, 11, "node-a");
        return job;
}

/* So many parts of a kind pass in one message, behind what has to be there for them, and one more does not.
 */
static inline void assert_at_most(
        size_t max, const struct protobuf_writer *before, unsigned number,
        const struct protobuf_writer *part) {
        struct protobuf_writer field = {};
        uint8_t *data = malloc(LINK_FRAME_MAX);
        struct link_message decoded = {};
        size_t size = before->size;

        ASSERT_NOT_NULL(data);
        write_message_field(&field, number, part);
        ASSERT_LE(size + (max + 1) * field.size, LINK_FRAME_MAX);
        memcpy(data, before->bytes, before->size);
        for (size_t i = 0; i <= max; i++, size += field.size)
                memcpy(data + size, field.bytes, field.size);
        ASSERT_ERROR(link_message_decode(data, size, &decoded), EBADMSG);
        ASSERT_OK(link_message_decode(data, size - field.size, &decoded));
        link_message_done(&decoded);
        free(data);
}

#define ASSERT_WITH(check, number, part, statement) \
        ({                                          \
                struct protobuf_writer with = part; \
                statement;                          \
                check(number, &with);               \
        })
