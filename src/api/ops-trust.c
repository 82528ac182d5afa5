/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who belongs to the mesh: invitations are given out, and the node joins another mesh or leaves its own. One
 * change at a time. */

#include "api/ops-internal.h"

void ops_set_trust(struct ops *ops, const struct ops_trust *trust) {
        ops->trust = *trust;
        ops->has_trust = true;
}

/* In the words of the person who asked. */
static void membership_problem(struct problem *problem, int error) {
        switch (error) {
        case -ENOTSUP:
                problem_set(
                        problem, PROBLEM_CONFLICT,
                        "this node has no keys (Security=open): everybody belongs to its mesh");
                break;
        case -EROFS:
                problem_set(
                        problem, PROBLEM_CONFLICT,
                        "the keys come from a credential of the service manager: change them there");
                break;
        case -EBUSY:
                problem_set(problem, PROBLEM_CONFLICT, "the keys are being changed already");
                break;
        case -ENOSPC:
                problem_set(
                        problem, PROBLEM_CONFLICT,
                        "too many invitations are still good; wait for one to expire");
                break;
        case -EBADMSG:
        case -EPROTONOSUPPORT:
                problem_set(
                        problem, PROBLEM_INVALID,
                        error == -EBADMSG ? "that is no invitation: it was mistyped, or is not complete"
                                          : "the invitation is of another version of worker-mesh");
                problem->field = "token";
                break;
        case -EINVAL:
                problem_set(
                        problem, PROBLEM_INVALID,
                        "peer must be an address such as \"192.0.2.7\" or \"192.0.2.7:8081\"");
                problem->field = "peer";
                break;
        case -ENOENT:
                problem_set(
                        problem, PROBLEM_INVITER_AWAY,
                        "the node that invites is not heard here; say where it is with \"peer\"");
                break;
        case -EIO:
                problem_set(
                        problem, PROBLEM_STORAGE,
                        "the key file cannot be written; the log of the node says why");
                break;
        case -ECANCELED:
                problem_set(
                        problem, PROBLEM_CONFLICT,
                        "another node of this machine has changed the keys meanwhile");
                break;
        case -EKEYREJECTED:
                problem_set(
                        problem, PROBLEM_INVITATION_UNKNOWN,
                        "the node that invites does not know this invitation: it was used, has expired, or "
                        "its "
                        "daemon was started anew; ask for another one");
                break;
        default:
                problem_set(
                        problem, PROBLEM_INVITER_AWAY, "the keys could not be fetched: %s",
                        strerror(-error));
        }
}

int ops_invite(
        struct ops *ops, const struct caller *caller, int64_t expires_seconds, struct ops_invitation *ret,
        struct problem *ret_problem) {
        const char *reason = NULL;
        int r;

        *ret_problem = (struct problem){};
        if (!(ops_access(ops, caller, &reason) & ACCESS_MANAGE)) {
                problem_set(ret_problem, PROBLEM_FORBIDDEN, "%s", reason);
                return 0;
        }
        if (expires_seconds < 1 || expires_seconds > OPS_INVITATION_MAX_SEC) {
                problem_set(
                        ret_problem, PROBLEM_INVALID, "expires_seconds must be from 1 to %d",
                        OPS_INVITATION_MAX_SEC);
                ret_problem->field = "expires_seconds";
                return 0;
        }
        r = ops->has_trust
                    ? ops->trust.invite(ops->trust.userdata, (usec_t) expires_seconds * USEC_PER_SEC, ret)
                    : -ENOTSUP;
        if (r < 0)
                membership_problem(ret_problem, r);
        return r == -ENOMEM ? r : 0;
}

/* r: what became of the beginning. */
static void settle(struct ops_call *call, int r) {
        call->done.waits = r >= 0;
        if (r >= 0)
                return;
        if (r != -EALREADY)
                membership_problem(&call->problem, r);
        call_later(call, managing_call_answer);
}

static int membership_call_new(
        struct ops *ops, const struct caller *caller, ops_done_t handler, void *userdata,
        struct ops_call **ret) {
        int r = managing_call_new(ops, CALL_MEMBERSHIP, caller, handler, userdata, ret);

        if (r >= 0 && (*ret)->problem.code != PROBLEM_NONE)
                call_later(*ret, managing_call_answer);
        return r;
}

int ops_join(
        struct ops *ops, const struct caller *caller, const char *token, const char *peer,
        ops_done_t handler, void *userdata, struct ops_call **ret) {
        int r = membership_call_new(ops, caller, handler, userdata, ret);

        if (r >= 0 && (*ret)->problem.code == PROBLEM_NONE)
                settle(*ret, ops->has_trust ? ops->trust.join(ops->trust.userdata, token, peer) : -ENOTSUP);
        return r;
}

int ops_leave(
        struct ops *ops, const struct caller *caller, ops_done_t handler, void *userdata,
        struct ops_call **ret) {
        int r = membership_call_new(ops, caller, handler, userdata, ret);

        if (r >= 0 && (*ret)->problem.code == PROBLEM_NONE)
                settle(*ret, ops->has_trust ? ops->trust.leave(ops->trust.userdata) : -ENOTSUP);
        return r;
}

void ops_membership_changed(struct ops *ops, int error) {
        struct ops_call *call;

        LIST_FOREACH(&ops->calls, call, struct ops_call, link)
                if (call->type == CALL_MEMBERSHIP && call->done.waits) {
                        call->done.waits = false;
                        if (error < 0)
                                membership_problem(&call->problem, error);
                        call_later(call, managing_call_answer);
                }
}
