/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who belongs to the mesh, and the small bodies of requests about the node. */

#include "api/rest/json-write.h"
#include "api/rest/json.h"
#include "api/rest/routes.h"

#define PEER_TEXT_MAX 63u

void small_body(struct request *request, const char *data, size_t size) {
        struct fault fault;
        int r;

        request->small.limit = SMALL_BODY_MAX;
        r = buffer_append(&request->small, data, size);
        if (r == -E2BIG)
                request_fail(
                        request, fault_set(
                                         &fault, FAULT_BODY_TOO_LARGE, "the body is longer than %u bytes",
                                         SMALL_BODY_MAX));
        else if (r < 0)
                request_fail_memory(request);
}

/* A token may have been in it. */
void small_body_gone(struct request *request) {
        if (request->small.data)
                explicit_bzero(request->small.data, request->small.size);
        buffer_done(&request->small);
}

bool small_body_read(
        struct request *request, const struct json_field *fields, size_t n_fields, const char *what) {
        struct rest *rest = request_client(request)->rest;
        struct json_problem problem;
        struct fault fault;
        int r;

        r = json_parser_read_fields(
                rest->parser, request->small.data, request->small.size, fields, n_fields, what, &problem);
        if (r == -EBADMSG) {
                fault_from_json(&fault, &problem);
                request_fail(request, &fault);
        } else if (r < 0)
                request_fail_memory(request);
        return r >= 0;
}

static void answer_invitation(struct request *request, const struct ops_invitation *invitation) {
        _cleanup_writer_ struct writer writer = {};
        struct rest *rest = request_client(request)->rest;
        struct ops_status status;

        ops_get_status(rest->ops, &status);
        writer_open(&writer, NULL, '{');
        writer_text(&writer, "token", invitation->token);
        writer_text(&writer, "node_id", rest->node_id);
        writer_text(&writer, "mesh_id", status.mesh_id);
        writer_time(&writer, "expires_at", invitation->expires_at);
        writer_close(&writer, '}');
        request_answer(request, 200, &writer, NULL);
}

void route_invite(struct request *request) {
        int64_t expires_seconds = OPS_INVITATION_DEFAULT_SEC;
        bool has_expires;
        const struct json_field fields[] = {
                { .name = "expires_seconds", .seconds = &expires_seconds, .has = &has_expires },
        };
        struct ops_invitation invitation = {};
        struct problem problem;

        if (!small_body_read(request, fields, ELEMENTSOF(fields), "an invitation"))
                return;
        int r = ops_invite(
                request_client(request)->rest->ops, request_caller(request), expires_seconds, &invitation,
                &problem);
        if (r < 0)
                request_fail_memory(request);
        else if (problem.code != PROBLEM_NONE)
                request_fail_problem(request, &problem);
        else
                answer_invitation(request, &invitation);
        explicit_bzero(&invitation, sizeof(invitation));
}

void route_join(struct request *request) {
        char token[OPS_INVITATION_TEXT_MAX + 1] = "", peer[PEER_TEXT_MAX + 1] = "";
        const struct json_field fields[] = {
                { .name = "token", .text = token, .text_size = sizeof(token) },
                { .name = "peer", .text = peer, .text_size = sizeof(peer) },
        };

        if (!small_body_read(request, fields, ELEMENTSOF(fields), "a request to join"))
                return;
        int r = ops_join(
                request_client(request)->rest->ops, request_caller(request), token,
                *peer != '\0' ? peer : NULL, node_changed, request, &request->call);
        explicit_bzero(token, sizeof(token));
        if (r < 0)
                request_fail_memory(request);
}

void route_leave(struct request *request) {
        int r;

        r = ops_leave(
                request_client(request)->rest->ops, request_caller(request), node_changed, request,
                &request->call);
        if (r < 0)
                request_fail_memory(request);
}
