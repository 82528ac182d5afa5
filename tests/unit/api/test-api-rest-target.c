/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Paths, parameters, cursors; and which endpoint a path is. */

#include "api/rest/routes.h"
#include "api/rest/target.h"
#include "lib/tests.h"

static void test_paths(void) {
        static const struct {
                const char *pattern, *path;
                const char *segment; /* NULL: no match; "": no segment */
        } cases[] = {
                { "/", "/", "" },
                { "/", "", NULL },
                { "/", "//", NULL },
                { "/api/v1/jobs", "/api/v1/jobs", "" },
                { "/api/v1/jobs", "/api/v1/jobs/", NULL },
                { "/api/v1/jobs", "/api/v1/job", NULL },
                { "/api/v1/jobs", "/API/v1/jobs", NULL },
                { "/api/v1/jobs/{id}", "/api/v1/jobs/x", "x" },
                { "/api/v1/jobs/{id}", "/api/v1/jobs/", NULL },
                { "/api/v1/jobs/{id}", "/api/v1/jobs", NULL },
                { "/api/v1/jobs/{id}", "/api/v1/jobs/x/", NULL },
                { "/api/v1/jobs/{id}/stdout", "/api/v1/jobs/x/stdout", "x" },
                { "/api/v1/jobs/{id}/stdout", "/api/v1/jobs//stdout", NULL },
                { "/api/v1/jobs/{id}/stdout", "/api/v1/jobs/x/stdou", NULL },
                { "/api/v1/jobs/{id}/stdout", "/api/v1/jobs/x/stdouts", NULL },
                { "/api/v1/jobs/{id}/stdout", "/api/v1/jobs/x/y/stdout", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const char *segment;
                size_t size;
                bool found = target_matches(
                        cases[i].pattern, cases[i].path, strlen(cases[i].path), &segment, &size);

                if (found != (cases[i].segment != NULL))
                        _TEST_FAIL("%s, %s: %d", cases[i].pattern, cases[i].path, found);
                if (found && cases[i].segment[0] != '\0')
                        ASSERT_TRUE(
                                size == strlen(cases[i].segment) &&
                                memcmp(segment, cases[i].segment, size) == 0);
                else
                        ASSERT_EQ(size, 0);
        }
}

static void test_parameters(void) {
        const char *query = "limit=5&status=A%2cB+C&&empty&x=%41=&";
        struct parameter parameter;

        ASSERT_EQ(target_next_parameter(&query, &parameter), PARAMETER_FOUND);
        ASSERT_STREQ(parameter.name, "limit");
        ASSERT_STREQ(parameter.value, "5");
        ASSERT_EQ(target_next_parameter(&query, &parameter), PARAMETER_FOUND);
        ASSERT_STREQ(parameter.name, "status");
        ASSERT_STREQ(parameter.value, "A,B C");
        ASSERT_EQ(target_next_parameter(&query, &parameter), PARAMETER_FOUND);
        ASSERT_STREQ(parameter.name, "");
        ASSERT_EQ(target_next_parameter(&query, &parameter), PARAMETER_FOUND);
        ASSERT_STREQ(parameter.name, "empty");
        ASSERT_STREQ(parameter.value, "");
        ASSERT_EQ(target_next_parameter(&query, &parameter), PARAMETER_FOUND);
        ASSERT_STREQ(parameter.value, "A=");
        ASSERT_EQ(target_next_parameter(&query, &parameter), PARAMETER_END);

        query = NULL;
        ASSERT_EQ(target_next_parameter(&query, &parameter), PARAMETER_END);
}

static void test_malformed_parameters(void) {
        static const char *const queries[] = { "a=%", "a=%4", "a=%4g", "a=%00", "%zz=1", "a%=1" };
        struct parameter parameter;
        char longest[400];
        const char *query;

        for (size_t i = 0; i < ELEMENTSOF(queries); i++) {
                query = queries[i];
                ASSERT_EQ(target_next_parameter(&query, &parameter), PARAMETER_MALFORMED);
        }
        memset(longest, 'a', sizeof(longest) - 1);
        longest[sizeof(longest) - 1] = '\0';
        query = longest;
        ASSERT_EQ(target_next_parameter(&query, &parameter), PARAMETER_MALFORMED);
        longest[1] = '=';
        query = longest;
        ASSERT_EQ(target_next_parameter(&query, &parameter), PARAMETER_MALFORMED);
        longest[2 + PARAMETER_VALUE_MAX] = '\0';
        query = longest;
        ASSERT_EQ(target_next_parameter(&query, &parameter), PARAMETER_FOUND);
}

static void test_cursors(void) {
        static const uint64_t values[] = { 0, 1, 1234567, UINT64_MAX };
        static const char *const wrong[] = { "",
                                             "c",
                                             "1",
                                             "d0000000000000001",
                                             "c000000000000000g",
                                             "c00000000000000001",
                                             "c000000000000000" };
        static const char kinds[] = { CURSOR_NODE, CURSOR_MESH };
        char text[CURSOR_TEXT_SIZE], kind;
        uint64_t value;

        for (size_t i = 0; i < ELEMENTSOF(values) * 2; i++) {
                ASSERT_OK(
                        cursor_from_text(cursor_to_text(kinds[i % 2], values[i / 2], text), &kind, &value));
                ASSERT_EQ(kind, kinds[i % 2]);
                ASSERT_TRUE(value == values[i / 2]);
        }
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
                ASSERT_ERROR(cursor_from_text(wrong[i], &kind, &value), EINVAL);
}

static void test_endpoints(void) {
        const char *id, *allow;
        size_t size, n;
        const struct endpoint *all = endpoints(&n);

        for (size_t i = 0; i < n; i++) {
                ASSERT_TRUE(all[i].handle && all[i].summary && all[i].access != 0);
                ASSERT_TRUE(
                        endpoint_find(all[i].path, strlen(all[i].path), all[i].method, &id, &size, &allow) ==
                                &all[i] ||
                        strstr(all[i].path, "{id}"));
        }
        ASSERT_NULL(endpoint_find("/api/v1/jobs", 12, HTTP_OTHER, &id, &size, &allow));
        ASSERT_STREQ(allow, "GET, HEAD, POST");
        ASSERT_NULL(endpoint_find("/api/v1/jobs/x/cancel", 21, HTTP_GET, &id, &size, &allow));
        ASSERT_STREQ(allow, "POST");
        ASSERT_NULL(endpoint_find("/x", 2, HTTP_GET, &id, &size, &allow));
        ASSERT_NULL(allow);
        ASSERT_NOT_NULL(endpoint_find("/api/v1/health", 14, HTTP_HEAD, &id, &size, &allow));
}

int main(void) {
        RUN(test_paths);
        RUN(test_parameters);
        RUN(test_malformed_parameters);
        RUN(test_cursors);
        RUN(test_endpoints);
        return 0;
}
