/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/rest/json-scan.h"

#include <string.h>

#include "util/hex.h"
#include "util/macros.h"

static bool is_plain(char byte) {
        return (unsigned char) byte >= 0x20 && byte != '"' && byte != '\\';
}

/* Judges a complete \u escape: surrogates come in pairs, high before low, and nothing in between. */
static enum json_scan_fault escape_finish(struct json_scan *scan) {
        bool low = scan->code >= 0xdc00 && scan->code <= 0xdfff;

        if (scan->code == 0)
                return JSON_SCAN_NUL;
        if (low != scan->awaits_low_surrogate)
                return JSON_SCAN_SURROGATE;
        scan->awaits_low_surrogate = scan->code >= 0xd800 && scan->code <= 0xdbff;
        return JSON_SCAN_FINE;
}

static enum json_scan_fault escape_byte(struct json_scan *scan, char byte) {
        if (scan->hex_digits_left > 0) {
                int value = hex_digit(byte);
                if (value < 0)
                        return JSON_SCAN_ESCAPE;
                scan->code = (uint16_t) (scan->code << 4 | value);
                return --scan->hex_digits_left > 0 ? JSON_SCAN_FINE : escape_finish(scan);
        }

        scan->after_backslash = false;
        if (byte == 'u') {
                scan->hex_digits_left = 4;
                scan->code = 0;
                return JSON_SCAN_FINE;
        }
        if (scan->awaits_low_surrogate)
                return JSON_SCAN_SURROGATE;
        return byte != '\0' && strchr("\"\\/bfnrt", byte) ? JSON_SCAN_FINE : JSON_SCAN_ESCAPE;
}

static enum json_scan_fault string_byte(struct json_scan *scan, char byte) {
        if (scan->after_backslash || scan->hex_digits_left > 0)
                return escape_byte(scan, byte);
        if (byte == '\\') {
                scan->after_backslash = true;
                return JSON_SCAN_FINE;
        }
        if (scan->awaits_low_surrogate)
                return JSON_SCAN_SURROGATE;
        if (byte == '"') {
                scan->in_string = false;
                return JSON_SCAN_FINE;
        }
        return is_plain(byte) ? JSON_SCAN_FINE : JSON_SCAN_CONTROL;
}

static enum json_scan_fault outside_byte(struct json_scan *scan, char byte) {
        switch (byte) {
        case '"':
                scan->in_string = true;
                return JSON_SCAN_FINE;
        case '{':
        case '[':
                return ++scan->depth > JSON_DEPTH_MAX ? JSON_SCAN_DEPTH : JSON_SCAN_FINE;
        case '}':
        case ']':
                scan->done = --scan->depth == 0;
                return JSON_SCAN_FINE;
        case ':':
                scan->members++;
                return JSON_SCAN_FINE;
        default:
                /* White space, numbers, and the letters of true, false and null. */
                return byte != '\0' && strchr(" \t\r\n,-+.0123456789Eaeflnrstu", byte) ? JSON_SCAN_FINE
                                                                                       : JSON_SCAN_CHARACTER;
        }
}

size_t json_scan_feed(struct json_scan *scan, const char *data, size_t size) {
        size_t i = 0;

        while (i < size && !scan->done && scan->fault == JSON_SCAN_FINE) {
                if (scan->in_string && !scan->after_backslash && scan->hex_digits_left == 0 &&
                    !scan->awaits_low_surrogate)
                        while (i < size && is_plain(data[i]))
                                i++;
                if (i == size)
                        break;

                scan->fault = scan->in_string ? string_byte(scan, data[i]) : outside_byte(scan, data[i]);
                if (scan->fault == JSON_SCAN_FINE)
                        i++;
        }

        scan->offset += i;
        return i;
}

const char *json_scan_fault_to_text(enum json_scan_fault fault) {
        switch (fault) {
        case JSON_SCAN_FINE:
                return "nothing is wrong";
        case JSON_SCAN_CHARACTER:
                return "a character that has no place outside of a string";
        case JSON_SCAN_CONTROL:
                return "a control character in a string; write it as \\n, \\t or \\u00XX";
        case JSON_SCAN_ESCAPE:
                return "an escape that JSON does not have";
        case JSON_SCAN_NUL:
                return "a NUL character (\\u0000), which no command can receive";
        case JSON_SCAN_SURROGATE:
                return "half of a surrogate pair";
        case JSON_SCAN_DEPTH:
                return "nested too deep";
        }
        return "unknown";
}

/* Behind the closing quote of the string that begins at text. */
static size_t skip_string(const char *text, size_t size) {
        size_t i = 1;

        while (i < size && text[i] != '"')
                i += text[i] == '\\' ? 2 : 1;
        return MIN(i + 1, size);
}

struct key {
        const char *text;
        size_t size;
        unsigned object; /* which one it is in, by number */
};

static bool key_is_among(const struct key *keys, size_t n, const struct key *key) {
        for (size_t i = 0; i < n; i++)
                if (keys[i].object == key->object && keys[i].size == key->size &&
                    memcmp(keys[i].text, key->text, key->size) == 0)
                        return true;
        return false;
}

const char *json_find_repeated_key(const char *text, size_t size, size_t *ret_size) {
        struct key keys[JSON_KEYS_COMPARED];
        unsigned open[JSON_DEPTH_MAX + 1] = {}, depth = 0, objects = 0;
        size_t n = 0, i = 0;

        while (i < size && n < ELEMENTSOF(keys)) {
                if ((text[i] == '{' || text[i] == '[') && depth < JSON_DEPTH_MAX)
                        open[++depth] = ++objects;
                else if ((text[i] == '}' || text[i] == ']') && depth > 0)
                        depth--;
                if (text[i] != '"') {
                        i++;
                        continue;
                }

                size_t begin = i;
                i += skip_string(text + i, size - i);
                keys[n] = (struct key){ text + begin + 1, i - begin - 2, open[depth] };
                while (i < size && strchr(" \t\r\n", text[i]))
                        i++;
                if (i == size || text[i] != ':')
                        continue;
                if (key_is_among(keys, n, &keys[n])) {
                        *ret_size = keys[n].size;
                        return keys[n].text;
                }
                n++;
        }
        return NULL;
}
