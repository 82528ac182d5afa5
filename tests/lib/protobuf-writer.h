/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Writes protobuf fields by hand, right and wrong ones, so that a test of the decoder does not rest on the
 * encoder. Include as "lib/protobuf-writer.h". */

#include <stddef.h>
#include <stdint.h>

struct protobuf_writer {
        uint8_t bytes[4096];
        size_t size;
};

/* Aborts when the room does not do: it is the test that is wrong then. */
void write_bytes(struct protobuf_writer *writer, const void *bytes, size_t size);
void write_varint(struct protobuf_writer *writer, uint64_t value);

/* Whole fields, with their tags. */
void write_varint_field(struct protobuf_writer *writer, unsigned number, uint64_t value);
void write_fixed64_field(struct protobuf_writer *writer, unsigned number, uint64_t value);
void write_bytes_field(struct protobuf_writer *writer, unsigned number, const void *bytes, size_t size);
void write_text_field(struct protobuf_writer *writer, unsigned number, const char *text);
void write_message_field(
        struct protobuf_writer *writer, unsigned number, const struct protobuf_writer *message);
void write_timestamp_field(struct protobuf_writer *writer, unsigned number, int64_t seconds, int64_t nanos);
/* One entry of a map<string, string>. */
void write_entry_field(struct protobuf_writer *writer, unsigned number, const char *key, const char *value);
