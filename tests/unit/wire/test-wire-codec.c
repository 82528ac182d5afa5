/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "util/macros.h"
#include "wire/codec.h"
#include "wire/label.h"

static struct mesh_message full_message(void) {
        struct mesh_message message = {
                .type = MESSAGE_PROBE_ACK,
                .sender_node_id = "node-0123456789abcdef",
                .timestamp_usec = UINT64_C(1764000000123456),
                .incarnation = UINT64_MAX,
                .sequence = 7,
                .instance = UINT64_C(0xfedcba9876543210),
                .known_incarnation = 300,
                .has_nonce = true,
                .has_echo = true,
                .has_node_info = true,
                .node_info = {
                        .node_id = "node-0123456789abcdef",
                        .address = "192.0.2.7:3000",
                        .status = NODE_BUSY,
                        .last_heartbeat_usec = UINT64_C(1764000000000001),
                        .metadata = { { "hostname", "caf\xc3\xa9" }, { "os", "" } },
                        .n_metadata = 2,
                        .version = "1.2.3",
                        .node_port = 65535,
                        .slots = UINT32_MAX,
                        .running = 3,
                        .queued = 1000000,
                        .heartbeat_interval_usec = 5 * USEC_PER_SEC,
                        .uptime_usec = UINT64_MAX,
                        .labels = { { "arch", "x86_64" }, { "gpu", "" } },
                        .n_labels = 2,
                        .pressure = { .known = true, .cpu = PRESSURE_FULL, .memory = 0, .io = 7 },
                        .index_head = UINT64_MAX - 1,
                },
        };

        for (size_t i = 0; i < NONCE_SIZE; i++) {
                message.nonce[i] = (uint8_t) i; /* a NUL first: a nonce is no string */
                message.echo[i] = (uint8_t) (255 - i);
        }
        return message;
}

static void assert_info_equal(const struct node_info *a, const struct node_info *b) {
        ASSERT_STREQ(a->node_id, b->node_id);
        ASSERT_STREQ(a->address, b->address);
        ASSERT_EQ(a->status, b->status);
        ASSERT_EQ(a->last_heartbeat_usec, b->last_heartbeat_usec);
        ASSERT_EQ(a->n_metadata, b->n_metadata);
        for (size_t i = 0; i < a->n_metadata; i++) {
                ASSERT_STREQ(a->metadata[i].key, b->metadata[i].key);
                ASSERT_STREQ(a->metadata[i].value, b->metadata[i].value);
        }
        ASSERT_EQ(a->n_labels, b->n_labels);
        for (size_t i = 0; i < a->n_labels; i++) {
                ASSERT_STREQ(a->labels[i].key, b->labels[i].key);
                ASSERT_STREQ(a->labels[i].value, b->labels[i].value);
        }
        ASSERT_EQ(a->pressure.known, b->pressure.known);
        ASSERT_EQ(a->pressure.cpu, b->pressure.cpu);
        ASSERT_EQ(a->pressure.memory, b->pressure.memory);
        ASSERT_EQ(a->pressure.io, b->pressure.io);
        ASSERT_STREQ(a->version, b->version);
        ASSERT_EQ(a->node_port, b->node_port);
        ASSERT_EQ(a->slots, b->slots);
        ASSERT_EQ(a->running, b->running);
        ASSERT_EQ(a->queued, b->queued);
        ASSERT_EQ(a->heartbeat_interval_usec, b->heartbeat_interval_usec);
        ASSERT_EQ(a->uptime_usec, b->uptime_usec);
        ASSERT_EQ(a->index_head, b->index_head);
}

static void assert_message_equal(const struct mesh_message *a, const struct mesh_message *b) {
        ASSERT_EQ(a->type, b->type);
        ASSERT_STREQ(a->sender_node_id, b->sender_node_id);
        ASSERT_EQ(a->timestamp_usec, b->timestamp_usec);
        ASSERT_EQ(a->incarnation, b->incarnation);
        ASSERT_EQ(a->sequence, b->sequence);
        ASSERT_EQ(a->instance, b->instance);
        ASSERT_EQ(a->known_incarnation, b->known_incarnation);
        ASSERT_EQ(a->has_nonce, b->has_nonce);
        ASSERT_EQ(a->has_echo, b->has_echo);
        ASSERT_EQ(memcmp(a->nonce, b->nonce, NONCE_SIZE), 0);
        ASSERT_EQ(memcmp(a->echo, b->echo, NONCE_SIZE), 0);
        ASSERT_EQ(a->has_node_info, b->has_node_info);
        assert_info_equal(&a->node_info, &b->node_info);
}

static void test_round_trip(void) {
        const struct mesh_message message = full_message();
        struct mesh_message decoded;
        uint8_t buffer[DATAGRAM_MAX];

        int size = (int) ASSERT_OK(mesh_message_encode(&message, /* pad= */ false, buffer));
        ASSERT_OK(mesh_message_decode(buffer, (size_t) size, &decoded));
        assert_message_equal(&message, &decoded);

        size = (int) ASSERT_OK(mesh_message_encode(&message, /* pad= */ true, buffer));
        ASSERT_EQ(size, DATAGRAM_MAX);
        ASSERT_OK(mesh_message_decode(buffer, (size_t) size, &decoded));
        assert_message_equal(&message, &decoded);
}

static void test_round_trip_least(void) {
        const struct mesh_message message = { .type = MESSAGE_GOODBYE, .sender_node_id = "a" };
        struct mesh_message decoded;
        uint8_t buffer[DATAGRAM_MAX];

        int size = (int) ASSERT_OK(mesh_message_encode(&message, /* pad= */ false, buffer));
        ASSERT_EQ(size, 2 + 3);
        ASSERT_OK(mesh_message_decode(buffer, (size_t) size, &decoded));
        assert_message_equal(&message, &decoded);
}

/* The fields that an old node reads are where it looks for them. */
static void test_encoded_bytes(void) {
        static const char expected[] = "\x08\x01" /* type */
                                       "\x12\x0d" /* node_info */
                                       "\x0a\x02"
                                       "n1" /* node_id */
                                       "\x12\x03"
                                       "a:1"          /* address */
                                       "\x18\x01"     /* status */
                                       "\x38\x05"     /* node_port */
                                       "\x2a\x05"     /* timestamp */
                                       "\x08\x01"     /* one second */
                                       "\x10\xe8\x07" /* and 1000 nanoseconds */
                                       "\x32\x02"
                                       "n1"                                    /* sender_node_id */
                                       "\x38\x02"                              /* incarnation */
                                       "\x40\x03"                              /* sequence */
                                       "\x49\x04\x00\x00\x00\x00\x00\x00\x00"; /* instance */
        const struct mesh_message message = {
                .type = MESSAGE_HEARTBEAT,
                .sender_node_id = "n1",
                .timestamp_usec = USEC_PER_SEC + 1,
                .incarnation = 2,
                .sequence = 3,
                .instance = 4,
                .has_node_info = true,
                .node_info = { .node_id = "n1", .address = "a:1", .status = NODE_IDLE, .node_port = 5 },
        };
        uint8_t buffer[DATAGRAM_MAX];

        /* What follows is padding. */
        ASSERT_EQ(mesh_message_encode(&message, /* pad= */ false, buffer), PROBE_SIZE);
        ASSERT_EQ(memcmp(buffer, expected, (sizeof(expected) - 1)), 0);
        ASSERT_EQ(buffer[sizeof(expected) - 1], 13 << 3 | 2);
}

static void test_absurd_time_is_sent_as_the_last_one(void) {
        const struct mesh_message message = {
                .type = MESSAGE_HEARTBEAT,
                .sender_node_id = "a",
                .timestamp_usec = USEC_INFINITY,
        };
        struct mesh_message decoded;
        uint8_t buffer[DATAGRAM_MAX];

        int size = (int) ASSERT_OK(mesh_message_encode(&message, /* pad= */ false, buffer));
        ASSERT_OK(mesh_message_decode(buffer, (size_t) size, &decoded));
        ASSERT_EQ(decoded.timestamp_usec / USEC_PER_SEC, 253402300799);
}

static void fill_text(char *text, size_t size) {
        memset(text, 'm', size);
        text[size] = '\0';
}

/* The largest message that the structs can hold: all but some metadata arrives. */
static void test_encode_drops_metadata(void) {
        struct mesh_message message = full_message(), decoded;
        struct node_info *info = &message.node_info;
        uint8_t buffer[DATAGRAM_MAX];

        fill_text(message.sender_node_id, NODE_ID_MAX);
        fill_text(info->node_id, NODE_ID_MAX);
        fill_text(info->address, ADDRESS_TEXT_MAX);
        fill_text(info->version, VERSION_TEXT_MAX);
        info->n_metadata = METADATA_MAX;
        for (size_t i = 0; i < METADATA_MAX; i++) {
                fill_text(info->metadata[i].key, METADATA_KEY_MAX);
                info->metadata[i].key[0] = (char) ('a' + i);
                fill_text(info->metadata[i].value, METADATA_VALUE_MAX);
        }

        int size = (int) ASSERT_OK(mesh_message_encode(&message, /* pad= */ false, buffer));
        ASSERT_LE(size, DATAGRAM_MAX);
        ASSERT_GT(size, DATAGRAM_MAX - 110); /* not one more than necessary */
        ASSERT_OK(mesh_message_decode(buffer, (size_t) size, &decoded));
        ASSERT_GT(decoded.node_info.n_metadata, 0);
        ASSERT_LT(decoded.node_info.n_metadata, METADATA_MAX);
        info->n_metadata = decoded.node_info.n_metadata;
        assert_message_equal(&message, &decoded);
}

/* As many labels as there may be, of as many bytes as there may be, in the largest message beside. */
static void fill_labels(struct node_info *info) {
        size_t left = LABELS_SIZE_MAX;

        info->n_labels = LABELS_MAX;
        for (size_t i = 0; i < LABELS_MAX; i++) {
                size_t share = MIN(left / (LABELS_MAX - i), (size_t) LABEL_TEXT_MAX);

                fill_text(info->labels[i].key, MIN(share / 2, (size_t) LABEL_KEY_MAX));
                info->labels[i].key[0] = (char) ('A' + i);
                fill_text(info->labels[i].value, share - strlen(info->labels[i].key));
                left -= share;
        }
        ASSERT_EQ(labels_size(info->labels, info->n_labels), LABELS_SIZE_MAX);
}

static void fill_everything(struct mesh_message *message) {
        struct node_info *info = &message->node_info;

        fill_text(message->sender_node_id, NODE_ID_MAX);
        fill_text(info->node_id, NODE_ID_MAX);
        fill_text(info->address, ADDRESS_TEXT_MAX);
        fill_text(info->version, VERSION_TEXT_MAX);
        message->type = MESSAGE_HEARTBEAT;
        message->timestamp_usec = info->last_heartbeat_usec = UINT64_C(253402300799999999);
        message->incarnation = message->sequence = message->known_incarnation = UINT64_MAX;
        info->slots = info->running = info->queued = info->backlog = UINT32_MAX;
        info->heartbeat_interval_usec = info->uptime_usec = UINT64_MAX;
        info->pressure = (struct node_pressure){ true, PRESSURE_FULL, PRESSURE_FULL, PRESSURE_FULL };
        info->n_metadata = METADATA_MAX;
        for (size_t i = 0; i < METADATA_MAX; i++) {
                fill_text(info->metadata[i].key, METADATA_KEY_MAX);
                info->metadata[i].key[0] = (char) ('a' + i);
                fill_text(info->metadata[i].value, METADATA_VALUE_MAX);
        }
}

/* What is shown gives way to what decides where jobs run: of that nothing is lost. */
static void test_labels_stay(void) {
        struct mesh_message message = full_message(), decoded;
        uint8_t buffer[DATAGRAM_MAX];

        fill_everything(&message);
        fill_labels(&message.node_info);
        for (int pad = 0; pad <= 1; pad++) {
                int size = (int) ASSERT_OK(mesh_message_encode(&message, pad, buffer));

                ASSERT_OK(mesh_message_decode(buffer, (size_t) size, &decoded));
                ASSERT_LT(decoded.node_info.n_metadata, 3);
                ASSERT_EQ(decoded.node_info.n_labels, LABELS_MAX);
                message.node_info.n_metadata = decoded.node_info.n_metadata;
                assert_message_equal(&message, &decoded);
        }

        /* Room is left for what later versions say. */
        message.node_info.n_metadata = 0;
        ASSERT_LE(ASSERT_OK(mesh_message_encode(&message, /* pad= */ false, buffer)), DATAGRAM_MAX - 40);
}

/* More labels than any setting allows: the last of them go, too, once there is no metadata left. */
static void test_encode_drops_labels(void) {
        struct mesh_message message = full_message(), decoded;
        struct node_info *info = &message.node_info;
        uint8_t buffer[DATAGRAM_MAX];

        fill_everything(&message);
        info->n_labels = LABELS_MAX;
        for (size_t i = 0; i < LABELS_MAX; i++) {
                fill_text(info->labels[i].key, LABEL_KEY_MAX);
                info->labels[i].key[0] = (char) ('A' + i);
                fill_text(info->labels[i].value, LABEL_VALUE_MAX);
        }
        int size = (int) ASSERT_OK(mesh_message_encode(&message, /* pad= */ false, buffer));
        ASSERT_OK(mesh_message_decode(buffer, (size_t) size, &decoded));
        ASSERT_EQ(decoded.node_info.n_metadata, 0);
        ASSERT_GT(decoded.node_info.n_labels, 0);
        ASSERT_LT(decoded.node_info.n_labels, LABELS_MAX);
        info->n_metadata = 0;
        info->n_labels = decoded.node_info.n_labels;
        assert_message_equal(&message, &decoded);
}

/* One more byte of metadata each time, from none to more than fits. */
static void assert_padded(struct mesh_message *message, bool seen[static DATAGRAM_MAX + 1]) {
        struct node_info *info = &message->node_info;
        struct mesh_message decoded;
        uint8_t buffer[DATAGRAM_MAX];

        memset(info->metadata, 0, sizeof(info->metadata));
        info->n_metadata = METADATA_MAX;
        for (size_t i = 0; i < METADATA_MAX; i++)
                info->metadata[i].key[0] = (char) ('a' + i);
        for (size_t i = 0; i < METADATA_MAX * METADATA_VALUE_MAX; i++) {
                strcat(info->metadata[i / METADATA_VALUE_MAX].value, "v");
                seen[ASSERT_OK(mesh_message_encode(message, /* pad= */ false, buffer))] = true;
                ASSERT_EQ(mesh_message_encode(message, /* pad= */ true, buffer), DATAGRAM_MAX);
                ASSERT_OK(mesh_message_decode(buffer, DATAGRAM_MAX, &decoded));
                ASSERT_STREQ(decoded.node_info.metadata[0].value, info->metadata[0].value);
        }
}

/* A question is as long as a datagram can be, whatever it holds. */
static void test_padding(void) {
        struct mesh_message message = full_message();
        bool seen[DATAGRAM_MAX + 1] = { false };

        for (size_t i = 1; i <= 4; i++) {
                fill_text(message.node_info.address, i);
                assert_padded(&message, seen);
        }
        for (unsigned size = DATAGRAM_MAX - 140; size <= DATAGRAM_MAX; size++)
                if (!seen[size])
                        _TEST_FAIL("not tried: %u bytes", size);
}

/* Whatever carries a nonce is as long as an answer may be, and the answer is not longer. */
static void test_probe_size(void) {
        struct mesh_message message = full_message();
        uint8_t buffer[DATAGRAM_MAX];

        message.has_node_info = false;
        fill_text(message.sender_node_id, NODE_ID_MAX);
        message.incarnation = message.sequence = message.known_incarnation = UINT64_MAX;
        message.timestamp_usec = USEC_INFINITY;
        message.has_nonce = false;
        message.type = MESSAGE_PROBE_ACK;
        ASSERT_LE(ASSERT_OK(mesh_message_encode(&message, /* pad= */ false, buffer)), PROBE_SIZE);
        message.has_nonce = true;
        message.has_echo = false;
        ASSERT_EQ(mesh_message_encode(&message, /* pad= */ false, buffer), PROBE_SIZE);
        ASSERT_EQ(mesh_message_encode(&message, /* pad= */ true, buffer), DATAGRAM_MAX);
}

/* Whoever has the key writes the last bytes; a reader takes them for a MAC only where they are the last. */
static void test_seal(void) {
        static const uint8_t zero[SEAL_MAC_SIZE];
        struct mesh_message message = full_message(), decoded;
        uint8_t buffer[DATAGRAM_MAX + 2];

        message.seal.present = true;
        memset(message.seal.mesh_id, 0xab, SEAL_MESH_ID_SIZE);
        memset(message.seal.key_id, 0xcd, SEAL_KEY_ID_SIZE);
        for (int pad = 0; pad <= 1; pad++) {
                size_t size = (size_t) ASSERT_OK(mesh_message_encode(&message, pad, buffer));
                ASSERT_EQ(memcmp(buffer + size - SEAL_MAC_SIZE, zero, SEAL_MAC_SIZE), 0);
                ASSERT_TRUE(!pad || size == DATAGRAM_MAX);
                ASSERT_OK(mesh_message_decode(buffer, size, &decoded));
                ASSERT_TRUE(decoded.seal.present);
                ASSERT_EQ(memcmp(&decoded.seal, &message.seal, sizeof(decoded.seal)), 0);
                ASSERT_EQ(decoded.node_info.n_metadata, message.node_info.n_metadata);
                if (pad)
                        continue;
                memcpy(buffer + size, (const uint8_t[]){ 56, 1 }, 2);
                ASSERT_OK(mesh_message_decode(buffer, size + 2, &decoded));
                ASSERT_FALSE(decoded.seal.present);
        }
        message.seal.present = false;
        size_t size = (size_t) ASSERT_OK(mesh_message_encode(&message, /* pad= */ false, buffer));
        ASSERT_OK(mesh_message_decode(buffer, size, &decoded));
        ASSERT_FALSE(decoded.seal.present);
}

int main(void) {
        RUN(test_round_trip);
        RUN(test_round_trip_least);
        RUN(test_encoded_bytes);
        RUN(test_absurd_time_is_sent_as_the_last_one);
        RUN(test_encode_drops_metadata);
        RUN(test_labels_stay);
        RUN(test_encode_drops_labels);
        RUN(test_padding);
        RUN(test_probe_size);
        RUN(test_seal);
        return EXIT_SUCCESS;
}
