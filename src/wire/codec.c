/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/codec.h"

#include <string.h>

#include "mesh.pb-c.h"
#include "util/macros.h"
#include "util/utf8.h"
#include "wire/label.h"

/* The end of the year 9999: the last second that RFC 3339 can write. */
#define TIMESTAMP_SECONDS_MAX INT64_C(253402300799)
#define NSEC_PER_USEC 1000
#define NSEC_PER_SEC 1000000000

#define PADDING_MIN 2u /* bytes of an empty padding field */

/* How field 16 begins, where its value is a MAC: number and type, length. */
static const uint8_t mac_head[] = { 0x82, 0x01, SEAL_MAC_SIZE };
#define MAC_FIELD_SIZE (sizeof(mac_head) + SEAL_MAC_SIZE)

/* What one datagram may cost to unpack. A rich message takes 13 KiB, and hundreds of empty map entries or
 * unknown fields some 64 KiB; hundreds of submessages that are merged into one would take more, and are
 * refused. */
#define ARENA_SIZE (96u * 1024)

/* Memory for one decode: handed out from the front, given back all at once by leaving the function. */
struct arena {
        ProtobufCAllocator allocator;
        size_t used;
        _Alignas(max_align_t) uint8_t bytes[ARENA_SIZE];
};

static void *arena_allocate(void *userdata, size_t size) {
        struct arena *arena = userdata;
        const size_t alignment = _Alignof(max_align_t);

        if (size > ARENA_SIZE - arena->used)
                return NULL;
        void *block = arena->bytes + arena->used;
        arena->used = MIN((arena->used + size + alignment - 1) / alignment * alignment, (size_t) ARENA_SIZE);
        return block;
}

static void arena_free(void *userdata, void *block) {
}

static void arena_init(struct arena *arena) {
        arena->allocator =
                (ProtobufCAllocator){ .alloc = arena_allocate, .free = arena_free, .allocator_data = arena };
        arena->used = 0;
}

/* Everything that the generated structs only point to. */
struct encoding {
        Mesh__MeshMessage message;
        Mesh__NodeInfo info;
        Google__Protobuf__Timestamp timestamp, last_heartbeat;
        Mesh__NodeInfo__MetadataEntry entries[METADATA_MAX];
        Mesh__NodeInfo__MetadataEntry *entry_pointers[METADATA_MAX];
        Mesh__NodeInfo__LabelsEntry labels[LABELS_MAX];
        Mesh__NodeInfo__LabelsEntry *label_pointers[LABELS_MAX];
        Mesh__Pressure pressure;
};

/* protobuf-c has no const; the packer changes nothing. */
static char *unconst(const char *text) {
        return (char *) text;
}

static ProtobufCBinaryData to_binary(bool present, const uint8_t *data, size_t size) {
        return present ? (ProtobufCBinaryData){ .len = size, .data = (uint8_t *) data }
                       : (ProtobufCBinaryData){ 0 };
}

/* The field for a time, in the given room; no field at all for a time that is not known. */
static Google__Protobuf__Timestamp *timestamp_from_usec(usec_t usec, Google__Protobuf__Timestamp *room) {
        if (usec == 0)
                return NULL;
        google__protobuf__timestamp__init(room);
        room->seconds = (int64_t) MIN(usec / USEC_PER_SEC, (usec_t) TIMESTAMP_SECONDS_MAX);
        room->nanos = (int32_t) (usec % USEC_PER_SEC) * NSEC_PER_USEC;
        return room;
}

static void encoding_fill_labels(struct encoding *encoding, const struct node_info *info) {
        Mesh__NodeInfo *out = &encoding->info;

        out->n_labels = MIN(info->n_labels, (size_t) LABELS_MAX);
        out->labels = encoding->label_pointers;
        for (size_t i = 0; i < out->n_labels; i++) {
                mesh__node_info__labels_entry__init(&encoding->labels[i]);
                encoding->labels[i].key = unconst(info->labels[i].key);
                encoding->labels[i].value = unconst(info->labels[i].value);
                encoding->label_pointers[i] = &encoding->labels[i];
        }
}

static Mesh__Pressure *pressure_encoding(const struct node_pressure *pressure, Mesh__Pressure *room) {
        if (!pressure->known)
                return NULL;
        mesh__pressure__init(room);
        room->cpu = pressure->cpu;
        room->memory = pressure->memory;
        room->io = pressure->io;
        return room;
}

static void encoding_fill_info(struct encoding *encoding, const struct node_info *info) {
        Mesh__NodeInfo *out = &encoding->info;

        mesh__node_info__init(out);
        out->node_id = unconst(info->node_id);
        out->address = unconst(info->address);
        out->status = (Mesh__NodeStatus) info->status;
        out->last_heartbeat = timestamp_from_usec(info->last_heartbeat_usec, &encoding->last_heartbeat);
        out->version = unconst(info->version);
        out->node_port = info->node_port;
        out->slots = info->slots;
        out->running = info->running;
        out->queued = info->queued;
        out->backlog = info->backlog;
        out->heartbeat_interval_usec = info->heartbeat_interval_usec;
        out->uptime_usec = info->uptime_usec;
        out->pressure = pressure_encoding(&info->pressure, &encoding->pressure);
        encoding_fill_labels(encoding, info);
        out->index_head = info->index_head;

        out->n_metadata = MIN(info->n_metadata, (size_t) METADATA_MAX);
        out->metadata = encoding->entry_pointers;
        for (size_t i = 0; i < out->n_metadata; i++) {
                mesh__node_info__metadata_entry__init(&encoding->entries[i]);
                encoding->entries[i].key = unconst(info->metadata[i].key);
                encoding->entries[i].value = unconst(info->metadata[i].value);
                encoding->entry_pointers[i] = &encoding->entries[i];
        }
}

static void encoding_fill(struct encoding *encoding, const struct mesh_message *message) {
        Mesh__MeshMessage *out = &encoding->message;

        mesh__mesh_message__init(out);
        out->type = (Mesh__MessageType) message->type;
        out->timestamp = timestamp_from_usec(message->timestamp_usec, &encoding->timestamp);
        out->sender_node_id = unconst(message->sender_node_id);
        out->incarnation = message->incarnation;
        out->sequence = message->sequence;
        out->instance = message->instance;
        out->known_incarnation = message->known_incarnation;
        out->nonce = to_binary(message->has_nonce, message->nonce, NONCE_SIZE);
        out->echo = to_binary(message->has_echo, message->echo, NONCE_SIZE);
        out->mesh_id = to_binary(message->seal.present, message->seal.mesh_id, SEAL_MESH_ID_SIZE);
        out->key_id = to_binary(message->seal.present, message->seal.key_id, SEAL_KEY_ID_SIZE);
        if (message->has_node_info) {
                encoding_fill_info(encoding, &message->node_info);
                out->payload_case = MESH__MESH_MESSAGE__PAYLOAD_NODE_INFO;
                out->node_info = &encoding->info;
        }
}

/* Fills the room behind a message with field 13, written by hand: its length takes two bytes even where one
 * would do, which every reader accepts, since otherwise there were sizes that cannot be filled to the last
 * byte. */
static void write_padding(uint8_t *bytes, size_t room) {
        memset(bytes, 0, room);
        bytes[0] = 13 << 3 | 2;
        if (room > PADDING_MIN) {
                bytes[1] = (uint8_t) (0x80 | ((room - 3) & 0x7f));
                bytes[2] = (uint8_t) ((room - 3) >> 7);
        }
}

/* Metadata is there to be shown: better a node without the last of it than no node. Labels decide where jobs
 * run and stay; within LABELS_SIZE_MAX there is room for them beside everything else. */
static bool encoding_drop_one(struct encoding *encoding) {
        if (encoding->info.n_metadata > 0)
                encoding->info.n_metadata--;
        else if (encoding->info.n_labels > 0)
                encoding->info.n_labels--;
        else
                return false;
        return true;
}

static bool fits(size_t size, bool pad) {
        return size == DATAGRAM_MAX || size <= DATAGRAM_MAX - (pad ? PADDING_MIN : 0);
}

/* The last field, with a value that is to be filled in. */
static void write_mac_field(uint8_t *bytes) {
        memcpy(bytes, mac_head, sizeof(mac_head));
        memset(bytes + sizeof(mac_head), 0, SEAL_MAC_SIZE);
}

int mesh_message_encode(const struct mesh_message *message, bool pad, uint8_t buffer[static DATAGRAM_MAX]) {
        bool may_be_answered = message->has_nonce || message->type == MESSAGE_HEARTBEAT;
        size_t target = pad ? DATAGRAM_MAX : may_be_answered ? PROBE_SIZE : 0, room = 0;
        size_t tail = message->seal.present ? MAC_FIELD_SIZE : 0;
        struct encoding encoding;

        encoding_fill(&encoding, message);
        size_t size = mesh__mesh_message__get_packed_size(&encoding.message);
        while (!fits(size + tail, pad) && message->has_node_info && encoding_drop_one(&encoding))
                size = mesh__mesh_message__get_packed_size(&encoding.message);
        if (!fits(size + tail, pad))
                return -EMSGSIZE;

        (void) mesh__mesh_message__pack(&encoding.message, buffer);
        if (size + tail < target) {
                room = MAX(target - size - tail, (size_t) PADDING_MIN);
                write_padding(buffer + size, room);
        }
        if (tail > 0)
                write_mac_field(buffer + size + room);
        return (int) (size + room + tail);
}

static usec_t timestamp_to_usec(const Google__Protobuf__Timestamp *timestamp) {
        if (!timestamp || timestamp->seconds < 0)
                return 0;
        usec_t seconds = (usec_t) MIN(timestamp->seconds, TIMESTAMP_SECONDS_MAX);
        int32_t nanos = CLAMP(timestamp->nanos, 0, NSEC_PER_SEC - 1);
        return seconds * USEC_PER_SEC + (usec_t) nanos / NSEC_PER_USEC;
}

static bool is_control_character(char c) {
        return (unsigned char) c < 0x20 || c == 0x7f;
}

/* Text that will be shown to people: valid UTF-8 without control characters, so that a stranger's words
 * cannot begin a line of their own in a log. -EBADMSG otherwise; -E2BIG with as many whole characters as max
 * bytes hold. */
static int copy_text(const char *from, size_t max, char *to) {
        size_t size = strlen(from), copied = 0, length;

        for (size_t i = 0; i < size; i += length) {
                length = utf8_sequence(from + i, size - i);
                if (length == 0 || is_control_character(from[i]))
                        return -EBADMSG;
                if (i + length <= max)
                        copied = i + length;
        }
        memcpy(to, from, copied);
        to[copied] = '\0';
        return size > max ? -E2BIG : 0;
}

/* As copy_text(), but a text that is only too long is cut. */
static int copy_text_or_cut(const char *from, size_t max, char *to) {
        int r = copy_text(from, max, to);
        return r == -E2BIG ? 0 : r;
}

static int copy_node_id(const char *from, char to[static NODE_ID_MAX + 1]) {
        if (!node_id_is_valid(from))
                return -EBADMSG;
        strcpy(to, from); /* valid means that it fits */
        return 0;
}

static int copy_nonce(const ProtobufCBinaryData *from, bool *ret_present, uint8_t to[static NONCE_SIZE]) {
        *ret_present = from->len > 0;
        if (from->len == 0)
                return 0;
        if (from->len != NONCE_SIZE)
                return -EBADMSG;
        memcpy(to, from->data, NONCE_SIZE);
        return 0;
}

/* A MAC that is not at the very end would leave bytes that it does not speak of. */
static void
copy_seal(const Mesh__MeshMessage *from, const uint8_t *data, size_t size, struct message_seal *to) {
        if (from->mesh_id.len != SEAL_MESH_ID_SIZE || from->key_id.len != SEAL_KEY_ID_SIZE ||
            size < MAC_FIELD_SIZE || memcmp(data + size - MAC_FIELD_SIZE, mac_head, sizeof(mac_head)) != 0)
                return;
        to->present = true;
        memcpy(to->mesh_id, from->mesh_id.data, SEAL_MESH_ID_SIZE);
        memcpy(to->key_id, from->key_id.data, SEAL_KEY_ID_SIZE);
}

static struct metadata_entry *find_metadata(struct node_info *info, const char *key) {
        for (size_t i = 0; i < info->n_metadata; i++)
                if (streq(info->metadata[i].key, key))
                        return &info->metadata[i];
        return NULL;
}

/* As in every map of a message, the last entry of a key counts. */
static int decode_metadata_entry(const Mesh__NodeInfo__MetadataEntry *from, struct node_info *info) {
        struct metadata_entry entry;

        int key_outcome = copy_text(from->key, METADATA_KEY_MAX, entry.key);
        int value_outcome = copy_text(from->value, METADATA_VALUE_MAX, entry.value);
        if (key_outcome == -EBADMSG || value_outcome == -EBADMSG)
                return -EBADMSG;
        if (key_outcome < 0 || value_outcome < 0 || entry.key[0] == '\0')
                return 0;

        struct metadata_entry *place = find_metadata(info, entry.key);
        if (!place) {
                if (info->n_metadata == METADATA_MAX)
                        return 0;
                place = &info->metadata[info->n_metadata++];
        }
        *place = entry;
        return 0;
}

/* What is no label here may be one to another version: it is left out. */
static int decode_label(const Mesh__NodeInfo__LabelsEntry *from, struct node_info *info) {
        struct metadata_entry entry;

        if (copy_text(from->key, METADATA_KEY_MAX, entry.key) == -EBADMSG ||
            copy_text(from->value, METADATA_VALUE_MAX, entry.value) == -EBADMSG)
                return -EBADMSG;
        (void) label_set(
                info->labels, &info->n_labels, from->key, strlen(from->key), from->value,
                strlen(from->value));
        return 0;
}

static uint16_t decode_share(uint32_t share) {
        return (uint16_t) MIN(share, PRESSURE_FULL);
}

static struct node_pressure decode_pressure(const Mesh__Pressure *from) {
        if (!from)
                return (struct node_pressure){};
        return (struct node_pressure){
                .known = true,
                .cpu = decode_share(from->cpu),
                .memory = decode_share(from->memory),
                .io = decode_share(from->io),
        };
}

static enum node_status decode_node_status(Mesh__NodeStatus status) {
        return (unsigned) status < _NODE_STATUS_MAX ? (enum node_status) status : NODE_UNKNOWN;
}

static int decode_node_info(const Mesh__NodeInfo *from, struct node_info *ret) {
        int r;

        r = copy_node_id(from->node_id, ret->node_id);
        if (r < 0)
                return r;
        r = copy_text_or_cut(from->address, ADDRESS_TEXT_MAX, ret->address);
        if (r < 0)
                return r;
        r = copy_text_or_cut(from->version, VERSION_TEXT_MAX, ret->version);
        if (r < 0)
                return r;
        for (size_t i = 0; i < from->n_metadata; i++) {
                r = decode_metadata_entry(from->metadata[i], ret);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < from->n_labels; i++) {
                r = decode_label(from->labels[i], ret);
                if (r < 0)
                        return r;
        }
        if (from->node_port > UINT16_MAX)
                return -EBADMSG;

        ret->status = decode_node_status(from->status);
        ret->last_heartbeat_usec = timestamp_to_usec(from->last_heartbeat);
        ret->node_port = (uint16_t) from->node_port;
        ret->slots = from->slots;
        ret->running = from->running;
        ret->queued = from->queued;
        ret->backlog = from->backlog;
        ret->heartbeat_interval_usec = from->heartbeat_interval_usec;
        ret->uptime_usec = from->uptime_usec;
        ret->pressure = decode_pressure(from->pressure);
        ret->index_head = from->index_head;
        return 0;
}

static int decode_message(const Mesh__MeshMessage *from, struct mesh_message *ret) {
        int r;

        r = copy_node_id(from->sender_node_id, ret->sender_node_id);
        if (r < 0)
                return r;
        r = copy_nonce(&from->nonce, &ret->has_nonce, ret->nonce);
        if (r < 0)
                return r;
        r = copy_nonce(&from->echo, &ret->has_echo, ret->echo);
        if (r < 0)
                return r;
        if (from->payload_case == MESH__MESH_MESSAGE__PAYLOAD_NODE_INFO) {
                r = decode_node_info(from->node_info, &ret->node_info);
                if (r < 0)
                        return r;
                ret->has_node_info = true;
        }

        ret->type = (enum message_type) from->type;
        ret->timestamp_usec = timestamp_to_usec(from->timestamp);
        ret->incarnation = from->incarnation;
        ret->sequence = from->sequence;
        ret->instance = from->instance;
        ret->known_incarnation = from->known_incarnation;
        return 0;
}

int mesh_message_decode(const void *data, size_t size, struct mesh_message *ret) {
        struct arena arena;

        *ret = (struct mesh_message){ 0 };
        if (size > DATAGRAM_MAX)
                return -EBADMSG;

        arena_init(&arena);
        Mesh__MeshMessage *message = mesh__mesh_message__unpack(&arena.allocator, size, data);
        if (!message)
                return -EBADMSG;
        copy_seal(message, data, size, &ret->seal);
        return decode_message(message, ret);
}
