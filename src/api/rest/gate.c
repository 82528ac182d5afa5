/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/rest/gate.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/macros.h"
#include "util/parse.h"

static const struct {
        const char *name;
        size_t offset;
} known_headers[] = {
        { "Host", offsetof(struct gate_headers, host) },
        { "Origin", offsetof(struct gate_headers, origin) },
        { "Sec-Fetch-Site", offsetof(struct gate_headers, fetch_site) },
        { "Content-Type", offsetof(struct gate_headers, content_type) },
        { "Content-Length", offsetof(struct gate_headers, content_length) },
        { "Transfer-Encoding", offsetof(struct gate_headers, transfer_encoding) },
        { "Expect", offsetof(struct gate_headers, expect) },
        { "Idempotency-Key", offsetof(struct gate_headers, idempotency_key) },
};

const char **
gate_header(struct gate_headers *headers, const char *name, size_t name_size, const char **ret_name) {
        for (size_t i = 0; i < ELEMENTSOF(known_headers); i++)
                if (name_size == strlen(known_headers[i].name) &&
                    strncasecmp(name, known_headers[i].name, name_size) == 0) {
                        *ret_name = known_headers[i].name;
                        return (const char **) ((char *) headers + known_headers[i].offset);
                }
        return NULL;
}

/* 127.0.0.0/8 in the usual form: digits and three dots, so that no name can look like it. */
static bool is_loopback_address(const char *text, size_t size) {
        unsigned dots = 0, digits = 0;

        if (size < strlen("127.") || strncmp(text, "127.", 4) != 0)
                return false;
        for (size_t i = 0; i < size; i++)
                if (text[i] == '.') {
                        if (digits == 0)
                                return false;
                        dots++;
                        digits = 0;
                } else if (text[i] >= '0' && text[i] <= '9' && digits < 3)
                        digits++;
                else
                        return false;
        return dots == 3 && digits > 0;
}

/* Names that mean this machine everywhere, so that nobody else can give them a meaning. */
static bool is_own_name(const char *text, size_t size) {
        static const char *const names[] = { "localhost", "[::1]", "localhost.localdomain", "ip6-localhost",
                                             "ip6-loopback" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (size == strlen(names[i]) && strncasecmp(text, names[i], size) == 0)
                        return true;
        return is_loopback_address(text, size);
}

static bool host_is_ours(const char *host, uint16_t port) {
        const char *after_brackets = host[0] == '[' ? strchr(host, ']') : NULL;
        const char *colon = strchr(after_brackets ? after_brackets : host, ':');
        size_t name_size = colon ? (size_t) (colon - host) : strlen(host);
        unsigned number;

        if (!is_own_name(host, name_size))
                return false;
        return !colon || (parse_unsigned(colon + 1, 1, UINT16_MAX, &number) >= 0 && number == port);
}

/* A page of this node itself may ask it; the host was checked before. */
static bool origin_is_ours(const char *origin, const char *host) {
        static const char scheme[] = "http://";

        return strncasecmp(origin, scheme, strlen(scheme)) == 0 && host &&
               strcasecmp(origin + strlen(scheme), host) == 0;
}

static bool fetch_site_is_ours(const char *site) {
        return strcasecmp(site, "same-origin") == 0 || strcasecmp(site, "none") == 0;
}

bool gate_admits(
        const struct gate_door *door, const struct gate_headers *headers, bool http_1_0,
        struct fault *ret_fault) {
        if (headers->repeated) {
                fault_set(
                        ret_fault, FAULT_BAD_REQUEST, "the header %s came more than once",
                        headers->repeated);
                return false;
        }
        if (!headers->host && !http_1_0) {
                fault_set(ret_fault, FAULT_BAD_REQUEST, "the header Host is missing");
                return false;
        }
        if (headers->host && !door->is_unix && !host_is_ours(headers->host, door->port)) {
                fault_set(
                        ret_fault, FAULT_FORBIDDEN_HOST,
                        "Host \"%.80s\" is not this node; use localhost:%u, 127.0.0.1:%u or [::1]:%u",
                        headers->host, door->port, door->port, door->port);
                return false;
        }
        if (headers->origin && !origin_is_ours(headers->origin, headers->host)) {
                fault_set(
                        ret_fault, FAULT_FORBIDDEN_ORIGIN,
                        "Origin \"%.80s\" is another web site; only pages of this node may ask it",
                        headers->origin);
                return false;
        }
        if (headers->fetch_site && !fetch_site_is_ours(headers->fetch_site)) {
                fault_set(
                        ret_fault, FAULT_FORBIDDEN_ORIGIN,
                        "Sec-Fetch-Site \"%.80s\" is a request for another web site; only same-origin and "
                        "none "
                        "are let in",
                        headers->fetch_site);
                return false;
        }
        return true;
}

bool gate_framing(const struct gate_headers *headers, struct fault *ret_fault) {
        if (streq_ptr(headers->repeated, "Content-Length") ||
            streq_ptr(headers->repeated, "Transfer-Encoding")) {
                fault_set(
                        ret_fault, FAULT_BAD_REQUEST, "the header %s came more than once",
                        headers->repeated);
                return false;
        }
        if (!headers->transfer_encoding)
                return true;
        if (headers->content_length) {
                fault_set(
                        ret_fault, FAULT_BAD_REQUEST,
                        "the headers Content-Length and Transfer-Encoding exclude each other");
                return false;
        }
        if (strcasecmp(headers->transfer_encoding, "chunked") != 0) {
                fault_set(
                        ret_fault, FAULT_NOT_IMPLEMENTED,
                        "the only Transfer-Encoding understood is chunked");
                return false;
        }
        return true;
}

/* Whether a Content-Type is this media type, with no parameter but "charset=utf-8". */
static bool is_media_type(const char *content_type, const char *media_type) {
        size_t size = strlen(media_type);

        if (strncasecmp(content_type, media_type, size) != 0)
                return false;
        content_type += size + strspn(content_type + size, " \t");
        if (*content_type == '\0')
                return true;
        if (*content_type != ';')
                return false;
        content_type++;
        content_type += strspn(content_type, " \t");
        return *content_type == '\0' || strcasecmp(content_type, "charset=utf-8") == 0 ||
               strcasecmp(content_type, "charset=\"utf-8\"") == 0;
}

bool gate_job_format(const char *content_type, enum job_format *ret, struct fault *ret_fault) {
        if (!content_type) {
                fault_set(
                        ret_fault, FAULT_UNSUPPORTED_MEDIA_TYPE,
                        "the header Content-Type is missing; send application/json for an object or an "
                        "array, "
                        "application/x-ndjson for one object a line");
                return false;
        }
        if (is_media_type(content_type, "application/json"))
                *ret = JOB_FORMAT_JSON;
        else if (is_media_type(content_type, "application/x-ndjson"))
                *ret = JOB_FORMAT_NDJSON;
        else {
                fault_set(
                        ret_fault, FAULT_UNSUPPORTED_MEDIA_TYPE,
                        "Content-Type \"%.80s\" is not understood; send application/json for an object or "
                        "an "
                        "array, application/x-ndjson for one object a line",
                        content_type);
                return false;
        }
        return true;
}

bool gate_no_content(const char *content_type, struct fault *ret_fault) {
        if (!content_type || is_media_type(content_type, "application/json"))
                return true;
        fault_set(
                ret_fault, FAULT_UNSUPPORTED_MEDIA_TYPE,
                "Content-Type \"%.80s\" is not understood; this needs no body, and no type but "
                "application/json",
                content_type);
        return false;
}
