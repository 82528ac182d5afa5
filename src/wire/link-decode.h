/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The parts of a link's messages, out of what protobuf-c has unpacked: what the files behind link-codec.h
 * share. Each *_decode() returns false for what must not be believed. */

#include "link.pb-c.h"
#include "wire/link-message.h"
#include "wire/unpack-memory.h"

#define EXIT_CODE_MAX 255
#define SIGNAL_MAX 127
#define OFFSET_MAX ((uint64_t) INT64_MAX)

static inline usec_t usec_decode(uint64_t usec) {
        return MIN(usec, LINK_USEC_MAX);
}

static inline const char *text_or_null(const char *text) {
        return text[0] != '\0' ? text : NULL;
}

/* What parts of several kinds have in them. */
bool link_text_is_valid(const char *text, size_t max);
/* Words for people: they may not begin a line of their own in a log, and too many of them are cut. */
bool link_words_cut(char *text, size_t max);
bool link_uuid_decode(const ProtobufCBinaryData *in, struct uuid *ret);
bool link_run_decode(const Link__RunId *in, struct run_id *ret);
bool link_job_decode(const Link__Job *in, struct link_job *ret);
bool link_output_decode(const Link__Output *in, struct link_output *ret);

/* Of runs; a keeper is told of them, too. */
bool link_held_decode(const Link__Held *in, struct link_held *ret);
bool link_assignment_decode(const Link__Assignment *in, struct link_assignment *ret);
bool link_ended_decode(const Link__Ended *in, struct link_ended *ret);

/* All that a message says of one subject. What is decoded points into memory, and into in. */
bool link_run_parts_decode(
        const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message);
bool link_call_parts_decode(
        const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message);
bool link_keeping_parts_decode(
        const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message);
bool link_index_parts_decode(
        const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message);

/* kind##_list_decode(): all parts of one kind. */
#define DEFINE_LIST_DECODE(kind, in_type, out_type)                                         \
        static bool kind##_list_decode(                                                     \
                struct unpack_memory *memory, in_type *const *in, size_t n, out_type **ret, \
                size_t *ret_n) {                                                            \
                                                                                            \
                if (n > LINK_PARTS_MAX)                                                     \
                        return false;                                                       \
                if (n == 0)                                                                 \
                        return true;                                                        \
                out_type *parts = unpack_memory_take(memory, n * sizeof(*parts));           \
                if (!parts)                                                                 \
                        return false;                                                       \
                for (size_t i = 0; i < n; i++)                                              \
                        if (!kind##_decode(in[i], &parts[i]))                               \
                                return false;                                               \
                *ret = parts;                                                               \
                *ret_n = n;                                                                 \
                return true;                                                                \
        }
