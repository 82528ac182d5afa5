/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Messages between nodes as plain structs with everything inside; codec.h turns them into bytes and back. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/time.h"
#include "wire/types.h"

#define DATAGRAM_MAX 1200u /* fits every link without fragments */
#define PROBE_SIZE 192u    /* an answer without node information is never larger */
#define NONCE_SIZE 16u
#define SEAL_MESH_ID_SIZE 16u
#define SEAL_KEY_ID_SIZE 4u
#define SEAL_MAC_SIZE 16u
#define ADDRESS_TEXT_MAX 63u
#define VERSION_TEXT_MAX 31u
#define METADATA_MAX 16u
#define METADATA_KEY_MAX 31u
#define METADATA_VALUE_MAX 63u

/* What a node says of itself for jobs that ask for it: "arch=x86_64". */
#define LABELS_MAX 24u
#define LABELS_SIZE_MAX 512u /* bytes of all keys and values together: a heartbeat has to hold them */

#define PRESSURE_FULL 1000u

enum message_type {
        MESSAGE_UNKNOWN = 0,
        MESSAGE_HEARTBEAT = 1,
        MESSAGE_JOB_ASSIGNMENT = 2,
        MESSAGE_JOB_RESULT = 3,
        MESSAGE_PROBE = 4,
        MESSAGE_PROBE_ACK = 5,
        MESSAGE_GOODBYE = 6,
};

struct metadata_entry {
        char key[METADATA_KEY_MAX + 1];
        char value[METADATA_VALUE_MAX + 1];
};

struct node_info {
        char node_id[NODE_ID_MAX + 1];
        char address[ADDRESS_TEXT_MAX + 1];
        enum node_status status;
        usec_t last_heartbeat_usec; /* CLOCK_REALTIME of the sender: shown, never used */
        struct metadata_entry metadata[METADATA_MAX];
        size_t n_metadata;
        char version[VERSION_TEXT_MAX + 1];
        uint16_t node_port; /* 0: the node does not say */
        uint32_t slots;
        uint32_t running;
        uint32_t queued;
        uint32_t backlog;               /* of those queued, what any node may run */
        usec_t heartbeat_interval_usec; /* 0: the node does not say */
        usec_t uptime_usec;
        struct metadata_entry labels[LABELS_MAX];
        size_t n_labels;
        struct node_pressure {
                bool known;
                uint16_t cpu, memory, io; /* parts of PRESSURE_FULL of the last ten seconds; see PSI */
        } pressure;
        uint64_t index_head; /* the number of the last change of a job that it owns */
};

/* What a datagram says of the key with which it was sealed. The MAC itself is the last SEAL_MAC_SIZE bytes
 * of the datagram, over all that come before: for whoever has the key to write and to check. */
struct message_seal {
        bool present;
        uint8_t mesh_id[SEAL_MESH_ID_SIZE];
        uint8_t key_id[SEAL_KEY_ID_SIZE];
};

struct mesh_message {
        enum message_type type; /* a number that this version does not know is kept as it came */
        char sender_node_id[NODE_ID_MAX + 1];
        usec_t timestamp_usec; /* CLOCK_REALTIME of the sender: shown, never used */
        uint64_t incarnation;
        uint64_t sequence;
        uint64_t instance;
        uint64_t known_incarnation;
        bool has_nonce;
        bool has_echo;
        uint8_t nonce[NONCE_SIZE];
        uint8_t echo[NONCE_SIZE];
        bool has_node_info;
        struct node_info node_info;
        struct message_seal seal;
};
