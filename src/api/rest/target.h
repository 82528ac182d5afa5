/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The target of a request, "/path?query", as it came over the wire: which path of a table it is, the job id
 * in it, and the parameters. Nothing is decoded that need not be: a path with an escape is not one of ours.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/time.h"
#include "util/uuid.h"

#define TARGET_MAX 2048u /* bytes of path and query */
#define PARAMETER_VALUE_MAX 255u

/* pattern: a path in which "{id}" stands for one segment without '/'. *ret_segment: that segment, or NULL.
 */
bool target_matches(
        const char *pattern, const char *path, size_t path_size, const char **ret_segment,
        size_t *ret_segment_size);

/* A parameter, decoded. */
struct parameter {
        char name[32];
        char value[PARAMETER_VALUE_MAX + 1];
};

enum parameter_outcome {
        PARAMETER_END = 0,
        PARAMETER_FOUND = 1,
        PARAMETER_MALFORMED = 2, /* too long, a broken escape, or a NUL */
};

/* Takes the next "name=value" off *query, which may be NULL. */
enum parameter_outcome target_next_parameter(const char **query, struct parameter *ret);

/* A cursor is a number that clients should not think about, and the kind of list that it belongs to. */
#define CURSOR_TEXT_SIZE 18
#define CURSOR_NODE 'c'
#define CURSOR_MESH 'm'
char *cursor_to_text(char kind, uint64_t before, char buffer[static CURSOR_TEXT_SIZE]);
int cursor_from_text(const char *text, char *ret_kind, uint64_t *ret); /* -EINVAL */
