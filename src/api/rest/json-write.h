/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* JSON text into a buffer, without a tree in between. The first failure sticks: what is written after it is
 * dropped, and writer_finish() tells. Keys are constants of the program and need no escapes; key is NULL
 * inside of an array. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"
#include "util/time.h"

struct writer {
        struct buffer buffer;
        int error;
        bool after_value; /* a comma is due */
};

void writer_done(struct writer *writer);
#define _cleanup_writer_ _cleanup_(writer_done)

/* Ends the text with a newline, for terminals, and hands the buffer over. 0 or a negative errno. */
int writer_finish(struct writer *writer, struct buffer *ret);

void writer_open(struct writer *writer, const char *key, char bracket); /* '{' or '[' */
void writer_close(struct writer *writer, char bracket);                 /* '}' or ']' */

void writer_text(struct writer *writer, const char *key, const char *text); /* NULL: null */
/* Any bytes: what is not UTF-8 becomes U+FFFD, one for each wrong byte. Returns whether that was needed. */
bool writer_bytes(struct writer *writer, const char *key, const char *data, size_t size);
void writer_unsigned(struct writer *writer, const char *key, uint64_t value);
void writer_integer(struct writer *writer, const char *key, int64_t value);
void writer_tenths(struct writer *writer, const char *key, uint64_t tenths); /* 15: 1.5 */
void writer_boolean(struct writer *writer, const char *key, bool value);
void writer_null(struct writer *writer, const char *key);
void writer_time(struct writer *writer, const char *key, usec_t realtime_usec); /* 0: null */
/* A member whose key is a stranger's text. */
void writer_pair(struct writer *writer, const char *key, const char *text);
