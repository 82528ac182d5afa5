/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The decoder alone, with bytes that were not made by our encoder. */

#include <malloc.h>

#include "lib/protobuf-writer.h"
#include "lib/tests.h"
#include "util/macros.h"
#include "wire/codec.h"

/* A heartbeat as nodes sent it before there were fields above 6, byte by byte. */
static void test_original_heartbeat(void) {
        static const char heartbeat[] = "\x08\x01" /* type = HEARTBEAT */
                                        "\x12\x46" /* node_info */
                                        "\x0a\x08"
                                        "node-123" /* node_id */
                                        "\x12\x0c"
                                        "192.168.1.10"             /* address */
                                        "\x18\x02"                 /* status = BUSY */
                                        "\x22\x0c"                 /* last_heartbeat */
                                        "\x08\x80\x8c\x8d\xb2\x06" /* seconds = 1715684864 */
                                        "\x10\x80\xca\xb5\xee\x01" /* nanos = 500000000 */
                                        "\x2a\x0d"                 /* metadata */
                                        "\x0a\x02"
                                        "os" /* key */
                                        "\x12\x07"
                                        "linux-6"  /* value */
                                        "\x2a\x06" /* metadata with an empty value */
                                        "\x0a\x04"
                                        "arch" /* key */
                                        "\x32\x05"
                                        "0.9.1"                    /* version */
                                        "\x2a\x08"                 /* timestamp */
                                        "\x08\x80\x8c\x8d\xb2\x06" /* seconds = 1715684864 */
                                        "\x10\x01"                 /* nanos = 1 */
                                        "\x32\x08"
                                        "node-123"; /* sender_node_id */
        struct mesh_message decoded;

        ASSERT_OK(mesh_message_decode(heartbeat, sizeof(heartbeat) - 1, &decoded));
        ASSERT_EQ(decoded.type, MESSAGE_HEARTBEAT);
        ASSERT_STREQ(decoded.sender_node_id, "node-123");
        ASSERT_EQ(decoded.timestamp_usec, UINT64_C(1715684864000000));
        ASSERT_TRUE(decoded.has_node_info);
        ASSERT_STREQ(decoded.node_info.node_id, "node-123");
        ASSERT_STREQ(decoded.node_info.address, "192.168.1.10");
        ASSERT_EQ(decoded.node_info.status, NODE_BUSY);
        ASSERT_EQ(decoded.node_info.last_heartbeat_usec, UINT64_C(1715684864500000));
        ASSERT_STREQ(decoded.node_info.version, "0.9.1");
        ASSERT_EQ(decoded.node_info.n_metadata, 2);
        ASSERT_STREQ(decoded.node_info.metadata[0].key, "os");
        ASSERT_STREQ(decoded.node_info.metadata[0].value, "linux-6");
        ASSERT_STREQ(decoded.node_info.metadata[1].key, "arch");
        ASSERT_STREQ(decoded.node_info.metadata[1].value, "");

        /* What it does not say. */
        ASSERT_EQ(decoded.incarnation, 0);
        ASSERT_EQ(decoded.sequence, 0);
        ASSERT_EQ(decoded.instance, 0);
        ASSERT_FALSE(decoded.has_nonce);
        ASSERT_FALSE(decoded.has_echo);
        ASSERT_EQ(decoded.node_info.node_port, 0);
        ASSERT_EQ(decoded.node_info.heartbeat_interval_usec, 0);
}

static void begin_message(struct protobuf_writer *writer, uint64_t type) {
        writer->size = 0;
        write_varint_field(writer, 1, type);
        write_text_field(writer, 6, "node-1");
}

static int decode_writer(const struct protobuf_writer *writer, struct mesh_message *ret) {
        return mesh_message_decode(writer->bytes, writer->size, ret);
}

/* A message whose node_info is the given one. */
static int decode_with_info(const struct protobuf_writer *info, struct mesh_message *ret) {
        struct protobuf_writer writer;

        begin_message(&writer, MESSAGE_HEARTBEAT);
        write_message_field(&writer, 2, info);
        return decode_writer(&writer, ret);
}

static void begin_info(struct protobuf_writer *info) {
        info->size = 0;
        write_text_field(info, 1, "node-1");
}

static void test_unknown(void) {
        struct protobuf_writer writer, info;
        struct mesh_message decoded;

        begin_message(&writer, 4711);
        write_varint_field(&writer, 100, 1);
        write_fixed64_field(&writer, 101, 2);
        write_text_field(&writer, 536870911, "the highest number that a field can have");
        ASSERT_OK(decode_writer(&writer, &decoded));
        ASSERT_EQ(decoded.type, 4711);
        ASSERT_FALSE(decoded.has_node_info);

        begin_message(&writer, UINT64_MAX); /* -1 */
        ASSERT_OK(decode_writer(&writer, &decoded));

        begin_info(&info);
        write_varint_field(&info, 3, 77);
        write_text_field(&info, 99, "later");
        ASSERT_OK(decode_with_info(&info, &decoded));
        ASSERT_EQ(decoded.node_info.status, NODE_UNKNOWN);
}

/* A message that carries a job is one without node_info here. */
static void test_other_payload(void) {
        struct protobuf_writer writer, part;
        struct mesh_message decoded;

        begin_message(&writer, MESSAGE_JOB_ASSIGNMENT);
        part.size = 0;
        write_text_field(&part, 3, "uptime");
        write_message_field(&writer, 3, &part);
        ASSERT_OK(decode_writer(&writer, &decoded));
        ASSERT_EQ(decoded.type, MESSAGE_JOB_ASSIGNMENT);
        ASSERT_FALSE(decoded.has_node_info);

        /* Of several payloads the last one counts. */
        begin_info(&part);
        write_message_field(&writer, 2, &part);
        ASSERT_OK(decode_writer(&writer, &decoded));
        ASSERT_TRUE(decoded.has_node_info);
}

static void test_not_a_message(void) {
        static const uint8_t field_zero[] = { 0x00, 0x01 };
        static const uint8_t endless_varint[] = { 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                  0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
        static const uint8_t past_the_end[] = { 0x32, 0x7f, 'a' };
        static const uint8_t huge_length[] = { 0x32, 0xff, 0xff, 0xff, 0xff, 0x0f, 'a' };
        static const uint8_t wrong_wire_type[] = { 0x30, 0x01 }; /* sender_node_id as a number */
        struct mesh_message decoded;

        ASSERT_ERROR(mesh_message_decode("", 0, &decoded), EBADMSG);
        ASSERT_ERROR(mesh_message_decode(field_zero, sizeof(field_zero), &decoded), EBADMSG);
        ASSERT_ERROR(mesh_message_decode(endless_varint, sizeof(endless_varint), &decoded), EBADMSG);
        ASSERT_ERROR(mesh_message_decode(past_the_end, sizeof(past_the_end), &decoded), EBADMSG);
        ASSERT_ERROR(mesh_message_decode(huge_length, sizeof(huge_length), &decoded), EBADMSG);
        ASSERT_ERROR(mesh_message_decode(wrong_wire_type, sizeof(wrong_wire_type), &decoded), EBADMSG);
}

static void test_too_large(void) {
        struct protobuf_writer writer;
        struct mesh_message decoded;
        static const uint8_t padding[DATAGRAM_MAX];

        begin_message(&writer, MESSAGE_HEARTBEAT);
        write_bytes_field(&writer, 13, padding, DATAGRAM_MAX - writer.size - 3);
        ASSERT_EQ(writer.size, DATAGRAM_MAX);
        ASSERT_OK(decode_writer(&writer, &decoded));

        begin_message(&writer, MESSAGE_HEARTBEAT);
        write_bytes_field(&writer, 13, padding, DATAGRAM_MAX - writer.size - 2);
        ASSERT_EQ(writer.size, DATAGRAM_MAX + 1);
        ASSERT_ERROR(decode_writer(&writer, &decoded), EBADMSG);
}

static void test_ids(void) {
        static const char *const wrong[] = { "", "a b", "node\n1", "n\xc3\xb6", "\xff" };
        struct protobuf_writer writer;
        struct mesh_message decoded;
        char text[NODE_ID_MAX + 2];

        memset(text, 'x', sizeof(text));
        text[NODE_ID_MAX + 1] = '\0';

        for (size_t i = 0; i <= ELEMENTSOF(wrong); i++) {
                const char *id = i < ELEMENTSOF(wrong) ? wrong[i] : text;

                writer.size = 0;
                write_text_field(&writer, 6, id);
                ASSERT_ERROR(decode_writer(&writer, &decoded), EBADMSG);

                writer.size = 0;
                write_text_field(&writer, 1, id);
                ASSERT_ERROR(decode_with_info(&writer, &decoded), EBADMSG);
        }

        text[NODE_ID_MAX] = '\0';
        writer.size = 0;
        write_text_field(&writer, 6, text);
        ASSERT_OK(decode_writer(&writer, &decoded));
        ASSERT_STREQ(decoded.sender_node_id, text);
}

static void test_nonce_length(void) {
        static const uint8_t nonce[2 * NONCE_SIZE];
        struct protobuf_writer writer;
        struct mesh_message decoded;

        for (size_t size = 0; size <= sizeof(nonce); size++)
                for (unsigned number = 10; number <= 11; number++) {
                        begin_message(&writer, MESSAGE_PROBE);
                        write_bytes_field(&writer, number, nonce, size);
                        int r = decode_writer(&writer, &decoded);
                        if (size != 0 && size != NONCE_SIZE) {
                                ASSERT_ERROR(r, EBADMSG);
                                continue;
                        }
                        ASSERT_OK(r);
                        ASSERT_EQ(decoded.has_nonce, size > 0 && number == 10);
                        ASSERT_EQ(decoded.has_echo, size > 0 && number == 11);
                }
}

static void test_timestamps(void) {
        static const usec_t last_usec = UINT64_C(253402300799) * USEC_PER_SEC;
        static const struct {
                int64_t seconds, nanos;
                usec_t expected;
        } cases[] = {
                { 0, 0, 0 },
                { 1, 999, USEC_PER_SEC },
                { 1, 1000, USEC_PER_SEC + 1 },
                { -1, 0, 0 },
                { -1, 999999999, 0 },
                { INT64_MIN, INT32_MIN, 0 },
                { 5, -1, 5 * USEC_PER_SEC },
                { 5, 1000000000, 5 * USEC_PER_SEC + 999999 },
                { 5, INT32_MAX, 5 * USEC_PER_SEC + 999999 },
                { 5, INT64_MAX, 5 * USEC_PER_SEC }, /* -1 in 32 bits */
                { 253402300799, 999999999, last_usec + 999999 },
                { 253402300800, 0, last_usec },
                { INT64_MAX, INT32_MAX, last_usec + 999999 },
        };
        struct protobuf_writer writer, info;
        struct mesh_message decoded;
        char text[TIME_TEXT_MAX];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                begin_info(&info);
                write_timestamp_field(&info, 4, cases[i].seconds, cases[i].nanos);
                begin_message(&writer, MESSAGE_HEARTBEAT);
                write_message_field(&writer, 2, &info);
                write_timestamp_field(&writer, 5, cases[i].seconds, cases[i].nanos);

                ASSERT_OK(decode_writer(&writer, &decoded));
                ASSERT_EQ(decoded.timestamp_usec, cases[i].expected);
                ASSERT_EQ(decoded.node_info.last_heartbeat_usec, cases[i].expected);
                ASSERT_NOT_NULL(format_time(text, sizeof(text), decoded.timestamp_usec, 6));
                ASSERT_EQ(strlen(text), TIME_TEXT_MAX - 1);
        }
}

static void test_text(void) {
        static const char *const wrong[] = {
                "\xff",        "a\xc3",    "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80",
                "line\nbreak", "\x1b[31m", "\x7f",
        };
        struct protobuf_writer info;
        struct mesh_message decoded;

        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                begin_info(&info);
                write_text_field(&info, 2, wrong[i]);
                ASSERT_ERROR(decode_with_info(&info, &decoded), EBADMSG);
                begin_info(&info);
                write_text_field(&info, 6, wrong[i]);
                ASSERT_ERROR(decode_with_info(&info, &decoded), EBADMSG);
                begin_info(&info);
                write_entry_field(&info, 5, "key", wrong[i]);
                ASSERT_ERROR(decode_with_info(&info, &decoded), EBADMSG);
                begin_info(&info);
                write_entry_field(&info, 5, wrong[i], "value");
                ASSERT_ERROR(decode_with_info(&info, &decoded), EBADMSG);
        }
}

/* Address and version are cut at a whole character. */
static void test_long_text_is_cut(void) {
        struct protobuf_writer info;
        struct mesh_message decoded;
        char text[201] = "x";

        for (size_t i = 1; i + 2 < sizeof(text); i += 2)
                memcpy(text + i, "\xc3\xa9", 2);
        begin_info(&info);
        write_text_field(&info, 2, text);
        write_text_field(&info, 6, text + 1);
        ASSERT_OK(decode_with_info(&info, &decoded));
        ASSERT_EQ(strlen(decoded.node_info.address), ADDRESS_TEXT_MAX);
        ASSERT_EQ(strlen(decoded.node_info.version), VERSION_TEXT_MAX - 1);
        ASSERT_EQ(strncmp(decoded.node_info.address, text, ADDRESS_TEXT_MAX), 0);
}

static void test_node_port_range(void) {
        struct protobuf_writer info;
        struct mesh_message decoded;

        begin_info(&info);
        write_varint_field(&info, 7, 65535);
        ASSERT_OK(decode_with_info(&info, &decoded));
        ASSERT_EQ(decoded.node_info.node_port, 65535);

        begin_info(&info);
        write_varint_field(&info, 7, 65536);
        ASSERT_ERROR(decode_with_info(&info, &decoded), EBADMSG);
}

static void test_metadata_limits(void) {
        struct protobuf_writer info;
        struct mesh_message decoded;
        char text[METADATA_VALUE_MAX + 2], key[8];

        memset(text, 'k', sizeof(text));
        text[METADATA_VALUE_MAX + 1] = '\0';

        begin_info(&info);
        write_entry_field(&info, 5, "", "no key");
        write_entry_field(&info, 5, "long", text);                                      /* 64 bytes */
        write_entry_field(&info, 5, text + METADATA_VALUE_MAX - METADATA_KEY_MAX, "v"); /* 32 bytes */
        write_entry_field(&info, 5, text + METADATA_VALUE_MAX - METADATA_KEY_MAX + 1, text + 1);
        ASSERT_OK(decode_with_info(&info, &decoded));
        ASSERT_EQ(decoded.node_info.n_metadata, 1);
        ASSERT_EQ(strlen(decoded.node_info.metadata[0].key), METADATA_KEY_MAX);
        ASSERT_EQ(strlen(decoded.node_info.metadata[0].value), METADATA_VALUE_MAX);

        begin_info(&info);
        for (int i = 0; i < 60; i++) {
                snprintf(key, sizeof(key), "k%d", i);
                write_entry_field(&info, 5, key, "v");
        }
        write_entry_field(&info, 5, "k3", "changed, though the room is full");
        ASSERT_OK(decode_with_info(&info, &decoded));
        ASSERT_EQ(decoded.node_info.n_metadata, METADATA_MAX);
        ASSERT_STREQ(decoded.node_info.metadata[METADATA_MAX - 1].key, "k15");
        ASSERT_STREQ(decoded.node_info.metadata[3].value, "changed, though the room is full");
}

static void test_metadata_duplicates(void) {
        struct protobuf_writer info;
        struct mesh_message decoded;

        begin_info(&info);
        write_entry_field(&info, 5, "a", "1");
        write_entry_field(&info, 5, "b", "2");
        write_entry_field(&info, 5, "a", "3");
        ASSERT_OK(decode_with_info(&info, &decoded));
        ASSERT_EQ(decoded.node_info.n_metadata, 2);
        ASSERT_STREQ(decoded.node_info.metadata[0].key, "a");
        ASSERT_STREQ(decoded.node_info.metadata[0].value, "3");
        ASSERT_STREQ(decoded.node_info.metadata[1].value, "2");
}

/* What is no label is left out; what is no text spoils the message, as everywhere. */
static void test_labels(void) {
        struct protobuf_writer info;
        struct mesh_message decoded;
        char key[8];

        begin_info(&info);
        write_entry_field(&info, 15, "arch", "x86");
        write_entry_field(&info, 15, "", "x");
        write_entry_field(&info, 15, "a b", "x");
        write_entry_field(&info, 15, "gpu", "a 100");
        write_entry_field(&info, 15, "os", "debian, or so");
        write_entry_field(&info, 15, "arch", "x86_64");
        ASSERT_OK(decode_with_info(&info, &decoded));
        ASSERT_EQ(decoded.node_info.n_labels, 1);
        ASSERT_STREQ(decoded.node_info.labels[0].value, "x86_64");
        ASSERT_EQ(decoded.node_info.n_metadata, 0);
        ASSERT_FALSE(decoded.node_info.pressure.known);

        begin_info(&info);
        write_entry_field(&info, 15, "arch", "x\n");
        ASSERT_ERROR(decode_with_info(&info, &decoded), EBADMSG);

        begin_info(&info);
        for (unsigned i = 0; i < LABELS_MAX + 5; i++) {
                (void) snprintf(key, sizeof(key), "k%u", i);
                write_entry_field(&info, 15, key, "v");
        }
        ASSERT_OK(decode_with_info(&info, &decoded));
        ASSERT_EQ(decoded.node_info.n_labels, LABELS_MAX);
}

static void test_pressure(void) {
        struct protobuf_writer info, pressure = {};
        struct mesh_message decoded;

        begin_info(&info);
        write_message_field(&info, 16, &pressure);
        ASSERT_OK(decode_with_info(&info, &decoded));
        ASSERT_TRUE(decoded.node_info.pressure.known);
        ASSERT_EQ(decoded.node_info.pressure.cpu, 0);

        write_varint_field(&pressure, 1, 999);
        write_varint_field(&pressure, 2, 1001);
        write_varint_field(&pressure, 3, UINT32_MAX);
        begin_info(&info);
        write_message_field(&info, 16, &pressure);
        ASSERT_OK(decode_with_info(&info, &decoded));
        ASSERT_EQ(decoded.node_info.pressure.cpu, 999);
        ASSERT_EQ(decoded.node_info.pressure.memory, PRESSURE_FULL);
        ASSERT_EQ(decoded.node_info.pressure.io, PRESSURE_FULL);
}

/* The most expensive message there can be costs no memory that is not given back, and none of the heap. */
static void test_decode_is_bounded(void) {
        struct protobuf_writer writer;
        struct mesh_message decoded;
        uint8_t bytes[DATAGRAM_MAX];

        /* Hundreds of unknown fields. */
        begin_message(&writer, MESSAGE_HEARTBEAT);
        while (writer.size + 3 <= DATAGRAM_MAX)
                write_varint_field(&writer, 20, 1);
        size_t before = mallinfo2().uordblks;
        ASSERT_OK(decode_writer(&writer, &decoded));
        ASSERT_EQ(mallinfo2().uordblks, before);

        /* Hundreds of empty node_infos that are merged, of jobs that replace each other, of empty entries.
         */
        for (uint8_t tag = 0x12; tag <= 0x22; tag += 8) {
                memset(bytes, 0, sizeof(bytes));
                for (size_t i = 0; i < sizeof(bytes); i += 2)
                        bytes[i] = tag;
                ASSERT_ERROR(mesh_message_decode(bytes, sizeof(bytes), &decoded), EBADMSG);
        }
        ASSERT_EQ(mallinfo2().uordblks, before);

        writer.size = 0;
        write_text_field(&writer, 1, "node-1");
        while (writer.size + 2 <= DATAGRAM_MAX - 20)
                write_bytes_field(&writer, 5, NULL, 0);
        ASSERT_OK(decode_with_info(&writer, &decoded));
        ASSERT_EQ(decoded.node_info.n_metadata, 0);
        ASSERT_EQ(mallinfo2().uordblks, before);
}

int main(void) {
        RUN(test_original_heartbeat);
        RUN(test_unknown);
        RUN(test_other_payload);
        RUN(test_not_a_message);
        RUN(test_too_large);
        RUN(test_ids);
        RUN(test_nonce_length);
        RUN(test_timestamps);
        RUN(test_text);
        RUN(test_long_text_is_cut);
        RUN(test_node_port_range);
        RUN(test_metadata_limits);
        RUN(test_metadata_duplicates);
        RUN(test_labels);
        RUN(test_pressure);
        RUN(test_decode_is_bounded);
        return EXIT_SUCCESS;
}
