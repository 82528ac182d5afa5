/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Walks over the text of one JSON object as it arrives, to find where it ends, and refuses what the parser
 * behind it would let pass: quotes of another kind, comments, NaN, control characters and half surrogates in
 * strings, "\u0000", deep nesting. It counts the members, so that a key given twice shows as one member too
 * few in the parsed object. What it lets pass need not be JSON. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 16u /* of a request; a job has two */

enum json_scan_fault {
        JSON_SCAN_FINE = 0,
        JSON_SCAN_CHARACTER, /* has no place outside of a string */
        JSON_SCAN_CONTROL,   /* a control character in a string */
        JSON_SCAN_ESCAPE,    /* a backslash before something that is no escape */
        JSON_SCAN_NUL,
        JSON_SCAN_SURROGATE,
        JSON_SCAN_DEPTH,
};

struct json_scan {
        size_t members;
        size_t offset; /* bytes walked over; of the wrong byte when there is a fault */
        unsigned depth;
        bool done;
        enum json_scan_fault fault;
        bool in_string;
        bool after_backslash;
        bool awaits_low_surrogate;
        uint8_t hex_digits_left; /* of a \u escape */
        uint16_t code;           /* what was read of it */
};

/* A fresh scan is all zero; the first byte must be '{'. Returns how many bytes belong to the object; fewer
 * than size when it is done or has a fault. */
size_t json_scan_feed(struct json_scan *scan, const char *data, size_t size);

/* One phrase that follows "at byte N: "; never NULL. */
const char *json_scan_fault_to_text(enum json_scan_fault fault);

/* The first key of an object, valid JSON, that the same object has before in the same spelling; NULL: there
 * is none among the first JSON_KEYS_COMPARED. Without the quotes. */
#define JSON_KEYS_COMPARED 512u
const char *json_find_repeated_key(const char *text, size_t size, size_t *ret_size);
