/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who is let in by the headers: everything that is not listed is out. */

#include "api/rest/gate.h"
#include "lib/tests.h"

static const struct gate_door tcp = { .port = 3000 };
static const struct gate_door file = { .is_unix = true };

static void assert_gate(
        const struct gate_door *door, const struct gate_headers *headers, bool http_1_0, const char *code) {
        struct fault fault;
        bool in = gate_admits(door, headers, http_1_0, &fault);

        if (in != !code || (code && !streq(fault.code, code)))
                _TEST_FAIL(
                        "Host %s, Origin %s, Sec-Fetch-Site %s: %s, expected %s", headers->host ?: "-",
                        headers->origin ?: "-", headers->fetch_site ?: "-", in ? "in" : fault.code,
                        code ?: "in");
}

static void test_hosts(void) {
        static const struct {
                const char *host;
                const char *code;
        } cases[] = {
                { "localhost", NULL },
                { "localhost:3000", NULL },
                { "LocalHost:3000", NULL },
                { "127.0.0.1", NULL },
                { "127.0.0.1:3000", NULL },
                { "127.8.9.1:3000", NULL },
                { "[::1]", NULL },
                { "[::1]:3000", NULL },
                { "ip6-localhost:3000", NULL },
                { NULL, "bad_request" },
                { "", "forbidden_host" },
                { "localhost:3001", "forbidden_host" },
                { "localhost:", "forbidden_host" },
                { "localhost:3000:3000", "forbidden_host" },
                { "localhost:03000x", "forbidden_host" },
                { "localhost.", "forbidden_host" },
                { "localhost.evil.example", "forbidden_host" },
                { "evil.example", "forbidden_host" },
                { "evil.example:3000", "forbidden_host" },
                { "127.0.0.1.evil.example", "forbidden_host" },
                { "127.evil.example", "forbidden_host" },
                { "127.0.0.1x", "forbidden_host" },
                { "127.0.0", "forbidden_host" },
                { "127...1", "forbidden_host" },
                { "127.0.0.1.", "forbidden_host" },
                { "127.0.0.0001", "forbidden_host" },
                { "10.0.0.1", "forbidden_host" },
                { "[::2]", "forbidden_host" },
                { "[::1", "forbidden_host" },
                { "::1", "forbidden_host" },
                { "user@localhost", "forbidden_host" },
                { "localhost/", "forbidden_host" },
                { "localhost\xff", "forbidden_host" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const struct gate_headers headers = { .host = cases[i].host };

                assert_gate(&tcp, &headers, false, cases[i].code);
                assert_gate(&file, &headers, false, cases[i].host ? NULL : "bad_request");
        }
        assert_gate(&tcp, &(struct gate_headers){}, true, NULL);
}

static void test_origins(void) {
        static const struct {
                const char *host, *origin, *code;
        } cases[] = {
                { "localhost:3000", "http://localhost:3000", NULL },
                { "127.0.0.1:3000", "http://127.0.0.1:3000", NULL },
                { "[::1]:3000", "http://[::1]:3000", NULL },
                { "localhost:3000", "HTTP://LOCALHOST:3000", NULL },
                { "localhost:3000", "null", "forbidden_origin" },
                { "localhost:3000", "", "forbidden_origin" },
                { "localhost:3000", "https://localhost:3000", "forbidden_origin" },
                { "localhost:3000", "http://localhost", "forbidden_origin" },
                { "localhost:3000", "http://localhost:3001", "forbidden_origin" },
                { "localhost:3000", "http://127.0.0.1:3000", "forbidden_origin" },
                { "localhost:3000", "http://localhost:3000.evil.example", "forbidden_origin" },
                { "localhost:3000", "http://evil.example", "forbidden_origin" },
                { "localhost:3000", "file://", "forbidden_origin" },
                { "localhost:3000", "chrome-extension://abc", "forbidden_origin" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_gate(
                        &tcp, &(struct gate_headers){ .host = cases[i].host, .origin = cases[i].origin },
                        false, cases[i].code);
        assert_gate(&tcp, &(struct gate_headers){ .origin = "http://localhost" }, true, "forbidden_origin");
        assert_gate(
                &file, &(struct gate_headers){ .host = "x", .origin = "http://evil.example" }, false,
                "forbidden_origin");
}

static void test_fetch_sites(void) {
        static const struct {
                const char *site, *code;
        } cases[] = {
                { "same-origin", NULL },
                { "none", NULL },
                { "same-site", "forbidden_origin" },
                { "cross-site", "forbidden_origin" },
                { "", "forbidden_origin" },
                { "none, none", "forbidden_origin" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_gate(
                        &tcp, &(struct gate_headers){ .host = "localhost", .fetch_site = cases[i].site },
                        false, cases[i].code);
}

static void test_repeated_headers(void) {
        struct gate_headers headers = { .host = "localhost", .repeated = "Host" };

        assert_gate(&tcp, &headers, false, "bad_request");
}

static void test_header_names(void) {
        struct gate_headers headers = {};
        const char *name;

        const char **field = gate_header(&headers, "hOST", 4, &name);
        ASSERT_TRUE(field == &headers.host);
        ASSERT_STREQ(name, "Host");
        ASSERT_TRUE(gate_header(&headers, "idempotency-key", 15, &name) == &headers.idempotency_key);
        ASSERT_NULL(gate_header(&headers, "Hos", 3, &name));
        ASSERT_NULL(gate_header(&headers, "Hostx", 5, &name));
        ASSERT_NULL(gate_header(&headers, "X-Forwarded-Host", 16, &name));
}

static void test_framing(void) {
        struct fault fault;

        ASSERT_TRUE(gate_framing(&(struct gate_headers){}, &fault));
        ASSERT_TRUE(gate_framing(&(struct gate_headers){ .content_length = "5" }, &fault));
        ASSERT_TRUE(gate_framing(&(struct gate_headers){ .transfer_encoding = "Chunked" }, &fault));
        ASSERT_FALSE(gate_framing(
                &(struct gate_headers){ .content_length = "5", .transfer_encoding = "chunked" }, &fault));
        ASSERT_EQ(fault.status, 400);
        ASSERT_FALSE(gate_framing(&(struct gate_headers){ .transfer_encoding = "gzip, chunked" }, &fault));
        ASSERT_EQ(fault.status, 501);
        ASSERT_FALSE(gate_framing(&(struct gate_headers){ .transfer_encoding = "" }, &fault));
}

static void test_content_types(void) {
        static const struct {
                const char *type;
                int format; /* -1: refused */
                bool harmless;
        } cases[] = {
                { "application/json", JOB_FORMAT_JSON, true },
                { "Application/JSON", JOB_FORMAT_JSON, true },
                { "application/json; charset=utf-8", JOB_FORMAT_JSON, true },
                { "application/json ;charset=\"UTF-8\"", JOB_FORMAT_JSON, true },
                { "application/json;", JOB_FORMAT_JSON, true },
                { "application/x-ndjson", JOB_FORMAT_NDJSON, false },
                { NULL, -1, true },
                { "", -1, false },
                { "application/jsonx", -1, false },
                { "application/json, text/plain", -1, false },
                { "application/json; charset=latin1", -1, false },
                { "application/problem+json", -1, false },
                { "text/plain", -1, false },
                { "text/json", -1, false },
                { "application/x-www-form-urlencoded", -1, false },
                { "multipart/form-data; boundary=x", -1, false },
        };
        enum job_format format;
        struct fault fault;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                if (gate_job_format(cases[i].type, &format, &fault))
                        ASSERT_EQ((int) format, cases[i].format);
                else {
                        ASSERT_EQ(cases[i].format, -1);
                        ASSERT_EQ(fault.status, 415);
                        ASSERT_NOT_NULL(strstr(fault.detail, "application/json"));
                }
                ASSERT_EQ(gate_no_content(cases[i].type, &fault), cases[i].harmless);
        }
}

int main(void) {
        RUN(test_hosts);
        RUN(test_origins);
        RUN(test_fetch_sites);
        RUN(test_repeated_headers);
        RUN(test_header_names);
        RUN(test_framing);
        RUN(test_content_types);
        return 0;
}
