/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who belongs to the mesh: Invite(), Join() and Leave() of the manager. */

#include "api/dbus/internal.h"

static void run_invite(struct bus_request *request) {
        struct ops_invitation invitation = {};
        struct problem problem;

        int r = ops_invite(
                request->dbus->ops, &request->caller, request->expires_seconds, &invitation, &problem);
        if (r < 0)
                bus_request_fail_errno(request, r);
        else if (problem.code != PROBLEM_NONE)
                bus_request_fail_problem(request, &problem);
        else {
                (void) sd_bus_reply_method_return(
                        request->message, "st", invitation.token, invitation.expires_at);
                bus_request_free(request);
        }
        explicit_bzero(&invitation, sizeof(invitation));
}

int manager_invite(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = bus_request_new(userdata, message);
        uint64_t seconds;

        if (!request)
                return 1;
        int r = sd_bus_message_read(message, "t", &seconds);
        if (r < 0) {
                bus_request_fail_errno(request, r);
                return 1;
        }
        request->expires_seconds =
                seconds == 0 ? OPS_INVITATION_DEFAULT_SEC : (int64_t) MIN(seconds, (uint64_t) INT64_MAX);
        return bus_request_begin(request, ACCESS_MANAGE, POLKIT_MANAGE_PEERS, run_invite);
}

static void run_join(struct bus_request *request) {
        int r;

        r = ops_join(
                request->dbus->ops, &request->caller, request->token,
                *request->inviter != '\0' ? request->inviter : NULL, bus_request_done, request,
                &request->call);
        if (r < 0)
                bus_request_fail_errno(request, r);
}

int manager_join(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = bus_request_new(userdata, message);

        if (!request)
                return 1;
        /* Both are in the message, which stays until it is answered. */
        int r = sd_bus_message_read(message, "ss", &request->token, &request->inviter);
        if (r < 0) {
                bus_request_fail_errno(request, r);
                return 1;
        }
        return bus_request_begin(request, ACCESS_MANAGE, POLKIT_MANAGE_PEERS, run_join);
}

static void run_leave(struct bus_request *request) {
        int r;

        r = ops_leave(request->dbus->ops, &request->caller, bus_request_done, request, &request->call);
        if (r < 0)
                bus_request_fail_errno(request, r);
}

int manager_leave(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = bus_request_new(userdata, message);

        return request ? bus_request_begin(request, ACCESS_MANAGE, POLKIT_MANAGE_PEERS, run_leave) : 1;
}
