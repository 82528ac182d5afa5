/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is left of a request behind the HTTP parser: the first line is the target, each further one a header.
 * Whatever it is, it is let in by the rules or refused with one line that says why. */

#include "api/rest/routes.h"
#include "lib/tests.h"
#include "util/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fault(const struct fault *fault) {
        ASSERT_TRUE(fault->status >= 400 && fault->code && fault->title);
        ASSERT_TRUE(fault->detail[0] != '\0');
        for (const char *position = fault->detail; *position != '\0'; position++)
                ASSERT_TRUE((unsigned char) *position >= 0x20 && *position != 0x7f);

        _cleanup_answer_ struct answer answer = {};
        ASSERT_OK(answer_from_fault(&answer, fault));
        ASSERT_TRUE(utf8_is_valid(answer.body.data, answer.body.size));
        ASSERT_TRUE(
                memchr(answer.body.data, '\n', answer.body.size) == answer.body.data + answer.body.size - 1);
}

static void check_parameters(const struct endpoint *endpoint, const char *query) {
        struct client client = { .request.endpoint = endpoint };
        struct request *request = &client.request;
        struct parameter parameter;
        struct fault fault;
        bool wrong = false;

        request->list = (struct store_list){ .limit = OPS_LIST_DEFAULT, .before = UINT64_MAX };
        while (!wrong && target_next_parameter(&query, &parameter) == PARAMETER_FOUND) {
                if (!endpoint->parameter)
                        return;
                wrong = endpoint->parameter(request, &parameter, &fault) == PARAMETER_WRONG;
        }
        if (wrong) {
                check_fault(&fault);
                return;
        }
        ASSERT_TRUE(request->list.limit >= 1 && request->list.limit <= OPS_LIST_MAX);
        ASSERT_LE(request->wait_usec, OPS_WAIT_MAX_USEC);
        ASSERT_EQ(request->list.status_mask & 1u << JOB_UNKNOWN, 0);
}

static void check_target(const char *target) {
        static const enum http_method methods[] = { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OTHER };
        const char *query = strchr(target, '?'), *id, *allow;
        size_t path_size = strcspn(target, "?"), id_size;

        for (size_t i = 0; i < ELEMENTSOF(methods); i++) {
                const struct endpoint *endpoint =
                        endpoint_find(target, path_size, methods[i], &id, &id_size, &allow);
                if (!endpoint)
                        continue;
                ASSERT_TRUE(!id || (id > target && id + id_size <= target + path_size && id_size > 0));
                ASSERT_EQ(id != NULL, strstr(endpoint->path, "{id}") != NULL);
                check_parameters(endpoint, query ? query + 1 : NULL);
        }
}

static void check_headers(const struct gate_headers *headers) {
        static const struct gate_door doors[] = { { .port = 3000 }, { .is_unix = true } };
        enum job_format format;
        struct fault fault;

        for (size_t i = 0; i < ELEMENTSOF(doors); i++)
                if (!gate_admits(&doors[i], headers, i % 2 == 0, &fault))
                        check_fault(&fault);
        if (!gate_framing(headers, &fault))
                check_fault(&fault);
        if (!gate_job_format(headers->content_type, &format, &fault))
                check_fault(&fault);
        if (!gate_no_content(headers->content_type, &fault))
                check_fault(&fault);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct gate_headers headers = {};
        _cleanup_free_ char *text = strndup((const char *) data, size);
        ASSERT_NOT_NULL(text);
        char *saved = NULL;
        const char *known;

        for (char *line = strtok_r(text, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved)) {
                char *colon = strchr(line, ':');

                if (line == text) {
                        check_target(line);
                        continue;
                }
                if (!colon)
                        continue;
                const char **field = gate_header(&headers, line, (size_t) (colon - line), &known);
                if (field && *field)
                        headers.repeated = known;
                else if (field)
                        *field = colon + 1 + strspn(colon + 1, " ");
        }
        check_headers(&headers);
        return 0;
}
