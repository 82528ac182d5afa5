/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/protobuf-writer.h"

#include "lib/tests.h"

enum wire_type {
        WIRE_VARINT = 0,
        WIRE_FIXED64 = 1,
        WIRE_BYTES = 2,
};

void write_bytes(struct protobuf_writer *writer, const void *bytes, size_t size) {
        ASSERT_TRUE(size <= sizeof(writer->bytes) - writer->size);
        if (size > 0)
                memcpy(writer->bytes + writer->size, bytes, size);
        writer->size += size;
}

void write_varint(struct protobuf_writer *writer, uint64_t value) {
        do {
                uint8_t byte = (uint8_t) ((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
                write_bytes(writer, &byte, 1);
                value >>= 7;
        } while (value > 0);
}

static void write_tag(struct protobuf_writer *writer, unsigned number, enum wire_type type) {
        write_varint(writer, (uint64_t) number << 3 | type);
}

void write_varint_field(struct protobuf_writer *writer, unsigned number, uint64_t value) {
        write_tag(writer, number, WIRE_VARINT);
        write_varint(writer, value);
}

void write_fixed64_field(struct protobuf_writer *writer, unsigned number, uint64_t value) {
        write_tag(writer, number, WIRE_FIXED64);
        for (int i = 0; i < 8; i++) {
                uint8_t byte = (uint8_t) (value >> 8 * i);
                write_bytes(writer, &byte, 1);
        }
}

void write_bytes_field(struct protobuf_writer *writer, unsigned number, const void *bytes, size_t size) {
        write_tag(writer, number, WIRE_BYTES);
        write_varint(writer, size);
        write_bytes(writer, bytes, size);
}

void write_text_field(struct protobuf_writer *writer, unsigned number, const char *text) {
        write_bytes_field(writer, number, text, strlen(text));
}

void write_message_field(
        struct protobuf_writer *writer, unsigned number, const struct protobuf_writer *message) {
        write_bytes_field(writer, number, message->bytes, message->size);
}

void write_timestamp_field(struct protobuf_writer *writer, unsigned number, int64_t seconds, int64_t nanos) {
        struct protobuf_writer timestamp = { .size = 0 };

        write_varint_field(&timestamp, 1, (uint64_t) seconds);
        write_varint_field(&timestamp, 2, (uint64_t) nanos);
        write_message_field(writer, number, &timestamp);
}

void write_entry_field(struct protobuf_writer *writer, unsigned number, const char *key, const char *value) {
        struct protobuf_writer entry = { .size = 0 };

        write_text_field(&entry, 1, key);
        write_text_field(&entry, 2, value);
        write_message_field(writer, number, &entry);
}
