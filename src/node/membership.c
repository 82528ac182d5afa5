/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The node invites others to its mesh, joins another one, and leaves: each time its keys are others
 * afterwards, on the disk first. */

#include <arpa/inet.h>
#include <stdio.h>

#include "net/join.h"
#include "node/internal.h"
#include "trust/invitations.h"
#include "util/off-loop.h"
#include "util/parse.h"

/* For the node that invites to be heard of: it says that it is there within so long. */
#define INVITER_WAIT_USEC (12 * USEC_PER_SEC)

struct membership {
        struct node *node;
        struct invitations invitations;
        /* Of the change that is under way. */
        bool busy;
        struct token token;
        bool looks; /* for the node that invites, since nobody has said where it is */
        bool waits; /* for it to be heard */
        int error;  /* of the last attempt */
        sd_event_source *timer;
        struct join *join;
        struct off_loop *write;
        struct mesh_keys keys;
};

static void finish(struct membership *membership, int error) {
        membership->busy = membership->looks = membership->waits = false;
        token_erase(&membership->token);
        mesh_keys_erase(&membership->keys);
        (void) sd_event_source_set_enabled(membership->timer, SD_EVENT_OFF);
        ops_membership_changed(membership->node->ops, error);
}

static int write_keys(void *data) {
        struct membership *membership = data;

        return key_file_replace(membership->node->key_path, &membership->keys);
}

/* What is in the file counts: of two nodes of a host that change it at once one was later. */
static void on_written(void *userdata, int result) {
        struct membership *membership = userdata;
        struct node *node = membership->node;

        membership->write = off_loop_free(membership->write);
        if (result < 0) {
                log_warning_errno(result, "Failed to write the key file %s: %m", node->key_path);
                finish(membership, -EIO);
                return;
        }
        mesh_keys_reload(node);
        finish(membership,
               memcmp(node->keys.mesh_id, membership->keys.mesh_id, MESH_ID_SIZE) == 0 ? 0 : -ECANCELED);
}

/* Others see the change when it is on the disk. */
static int adopt(struct membership *membership, const struct mesh_keys *keys) {
        membership->keys = *keys;
        int r = off_loop_new(
                membership->node->event, write_keys, on_written, membership, membership, &membership->write);
        if (r < 0) {
                mesh_keys_erase(&membership->keys);
                log_warning_errno(r, "Failed to begin to write the key file: %m");
        }
        return r < 0 ? -EIO : 0;
}

/* Anybody can say that he is the node that invites: where that came to nothing, the next one who says so is
 * asked, as long as there is time. */
static void on_joined(void *userdata, int error, const struct mesh_keys *keys) {
        struct membership *membership = userdata;

        if (error >= 0)
                error = adopt(membership, keys);
        else if (error == -EBADMSG)
                error = -EPROTO;
        membership->join = join_free(membership->join);
        if (error >= 0)
                return;
        membership->error = error;
        membership->waits = membership->looks && error != -EKEYREJECTED && error != -EIO;
        if (!membership->waits)
                finish(membership, error);
}

static int begin_join(struct membership *membership, const struct sockaddr_in *address) {
        membership->waits = false;
        return join_new(
                &membership->token, address, membership->node->event, on_joined, membership,
                &membership->join);
}

static int on_inviter_missing(sd_event_source *source, uint64_t usec, void *userdata) {
        struct membership *membership = userdata;

        membership->looks = false;
        if (membership->waits)
                finish(membership, membership->error);
        return 0;
}

/* "192.0.2.7", "192.0.2.7:8081". */
static int read_address(const char *text, struct sockaddr_in *ret) {
        char host[INET_ADDRSTRLEN];
        const char *colon = strchrnul(text, ':');
        unsigned port = NODE_PORT_FIRST;

        if ((size_t) (colon - text) >= sizeof(host))
                return -EINVAL;
        *stpncpy(host, text, (size_t) (colon - text)) = '\0';
        *ret = (struct sockaddr_in){ .sin_family = AF_INET };
        if (inet_pton(AF_INET, host, &ret->sin_addr) != 1 ||
            (*colon == ':' && parse_unsigned(colon + 1, 1, UINT16_MAX, &port) < 0))
                return -EINVAL;
        ret->sin_port = htons((uint16_t) port);
        return 0;
}

/* 0: the answer follows. */
static int look_for_inviter(struct membership *membership, const char *peer) {
        const struct mesh_peer *inviter = mesh_get_listed(membership->node->mesh, membership->token.node_id);
        struct sockaddr_in address;
        int r;

        if (peer) {
                r = read_address(peer, &address);
                return r < 0 ? r : begin_join(membership, &address);
        }
        membership->error = -ENOENT;
        membership->looks = membership->waits = true;
        r = sd_event_source_set_time_relative(membership->timer, INVITER_WAIT_USEC);
        if (r >= 0)
                r = sd_event_source_set_enabled(membership->timer, SD_EVENT_ONESHOT);
        if (r >= 0 && inviter)
                r = begin_join(membership, &inviter->address);
        if (r < 0)
                membership->looks = membership->waits = false;
        return r;
}

void membership_heard(
        struct node *node, const struct mesh_message *message, const struct sockaddr_in *source) {
        struct membership *membership = node->membership;
        struct sockaddr_in address = *source;

        if (!membership->waits || message->type != MESSAGE_HEARTBEAT || message->node_info.node_port == 0 ||
            !streq(message->sender_node_id, membership->token.node_id))
                return;
        address.sin_port = htons(message->node_info.node_port);
        int r = begin_join(membership, &address);
        if (r < 0)
                finish(membership, r);
}

/* Why keys cannot be changed here; 0: they can. */
static int may_change(const struct node *node) {
        if (!node_keys(node))
                return -ENOTSUP;
        if (node->key_kind == KEY_FILE_CREDENTIAL)
                return -EROFS;
        if (node->membership->busy)
                return -EBUSY;
        /* An invitation is good once: better not to use it where its keys cannot be kept. */
        return mesh_keys_can_be_written(node) ? 0 : -EIO;
}

static int begin_with_token(struct membership *membership, const char *text) {
        int r = token_parse(text, &membership->token);

        if (r < 0)
                return r;
        if (memcmp(membership->token.mesh_id, membership->node->keys.mesh_id, MESH_ID_SIZE) == 0)
                return -EALREADY;
        return 0;
}

static int on_ask_join(void *userdata, const char *token, const char *peer) {
        struct node *node = userdata;
        struct membership *membership = node->membership;

        int r = may_change(node);
        if (r < 0)
                return r;
        r = begin_with_token(membership, token);
        if (r >= 0)
                r = look_for_inviter(membership, peer);
        if (r < 0)
                token_erase(&membership->token);
        membership->busy = r >= 0;
        return r;
}

static int on_ask_leave(void *userdata) {
        _cleanup_mesh_keys_ struct mesh_keys keys;
        struct node *node = userdata;

        int r = may_change(node);
        if (r < 0)
                return r;
        r = mesh_keys_make(&keys);
        if (r >= 0)
                r = adopt(node->membership, &keys);
        node->membership->busy = r >= 0;
        return r;
}

static int on_ask_invite(void *userdata, usec_t lifetime_usec, struct ops_invitation *ret) {
        _cleanup_token_ struct token token = {};
        struct node *node = userdata;

        if (!node_keys(node))
                return -ENOTSUP;
        int r = token_make(node->keys.mesh_id, node->identity.node_id, &token);
        if (r >= 0)
                r = invitations_add(
                        &node->membership->invitations, &token, now_usec(CLOCK_BOOTTIME), lifetime_usec);
        if (r < 0)
                return r;
        static_assert(sizeof(ret->token) >= TOKEN_TEXT_SIZE, "it fits");
        token_format(&token, ret->token);
        ret->expires_at = usec_add(now_usec(CLOCK_REALTIME), lifetime_usec);
        return 0;
}

int membership_new(struct node *node) {
        struct membership *membership = calloc(1, sizeof(*membership));

        if (!membership)
                return -ENOMEM;
        node->membership = membership;
        membership->node = node;
        int r = sd_event_add_time(
                node->event, &membership->timer, CLOCK_BOOTTIME, USEC_INFINITY, 0, on_inviter_missing,
                membership);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(membership->timer, "membership");
        return sd_event_source_set_enabled(membership->timer, SD_EVENT_OFF);
}

struct invitations *membership_invitations(struct node *node) {
        return &node->membership->invitations;
}

void membership_connect(struct node *node) {
        const struct ops_trust trust = {
                .invite = on_ask_invite,
                .join = on_ask_join,
                .leave = on_ask_leave,
                .userdata = node,
        };

        ops_set_trust(node->ops, &trust);
}

void membership_done(struct node *node) {
        struct membership *membership = node->membership;

        if (!membership)
                return;
        join_free(membership->join);
        off_loop_free(membership->write);
        sd_event_source_disable_unref(membership->timer);
        invitations_erase(&membership->invitations);
        token_erase(&membership->token);
        mesh_keys_erase(&membership->keys);
        free(membership);
        node->membership = NULL;
}
