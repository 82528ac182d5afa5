/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The links to other nodes, of the mind and of the operations. */

#include <arpa/inet.h>

#include "net/links.h"
#include "node/internal.h"
#include "util/log.h"
#include "util/message-ids.h"
#include "util/strv.h"

void world_link_open(void *userdata, const char *node_id, const struct sockaddr_in *address) {
        struct node *node = userdata;
        int r;

        r = links_open(node->links, node_id, address);
        if (r < 0)
                log_debug_errno(r, "Cannot open a link to %s, trying again later: %m", node_id);
}

int world_link_send(void *userdata, const char *node_id, const struct link_message *message) {
        struct node *node = userdata;

        return links_send(node->links, node_id, message);
}

/* The mind must not be told anything before it has returned: it hears of it in the next turn of the loop. */
void world_link_close(void *userdata, const char *node_id) {
        struct node *node = userdata;

        if (!links_is_up(node->links, node_id))
                return; /* it has been told, or is about to be */
        links_close(node->links, node_id);
        if (strv_append(&node->closed_links, node_id) < 0) {
                (void) log_oom();
                return;
        }
        (void) sd_event_source_set_enabled(node->closed_source, SD_EVENT_ONESHOT);
}

static int on_closed(sd_event_source *source, void *userdata) {
        struct node *node = userdata;
        _cleanup_strv_free_ char **closed = TAKE_PTR(node->closed_links);

        STRV_FOREACH(node_id, closed) {
                mesh_link_down(node->mesh, *node_id);
                ops_link_down(node->ops, *node_id, /* opening= */ true);
        }
        return 0;
}

static int on_up(void *userdata, const char *node_id, const struct link_hello *hello) {
        struct node *node = userdata;
        int r;

        log_debug("Link to %s is up.", node_id);
        r = mesh_link_up(node->mesh, node_id, hello);
        if (r >= 0)
                ops_link_up(node->ops, node_id);
        return r;
}

static void on_received(void *userdata, const char *node_id, const struct link_message *message) {
        struct node *node = userdata;

        mesh_link_received(node->mesh, node_id, message);
        ops_link_received(node->ops, node_id, message);
}

static void on_down(void *userdata, const char *node_id, int error) {
        struct node *node = userdata;

        log_debug_errno(error, "Link to %s is down: %m", node_id);
        mesh_link_down(node->mesh, node_id);
        ops_link_down(node->ops, node_id, /* opening= */ false);
}

static void on_writable(void *userdata, const char *node_id) {
        struct node *node = userdata;

        mesh_link_writable(node->mesh, node_id);
        ops_link_writable(node->ops, node_id);
}

static void on_admitted(void *userdata, const struct sockaddr_in *address) {
        char text[INET_ADDRSTRLEN];

        log_event(
                LOG_NOTICE, MESSAGE_NODE_INVITED,
                "A node at %s has used an invitation: it has the keys of the mesh.",
                inet_ntop(AF_INET, &address->sin_addr, text, sizeof(text)));
}

static int ops_open(void *userdata, const char *node_id, const struct sockaddr_in *address) {
        struct node *node = userdata;

        return links_open(node->links, node_id, address);
}

static bool ops_is_up(void *userdata, const char *node_id) {
        struct node *node = userdata;

        return links_is_up(node->links, node_id);
}

void world_links_connect(struct node *node) {
        const struct ops_links links = {
                .open = ops_open,
                .is_up = ops_is_up,
                .send = world_link_send,
                .userdata = node,
        };

        ops_set_links(node->ops, &links);
}

int world_links_new(struct node *node, int stream_fd) {
        const struct links_handlers handlers = {
                .up = on_up,
                .received = on_received,
                .down = on_down,
                .writable = on_writable,
                .admitted = on_admitted,
                .userdata = node,
        };
        struct links_config config = {
                .node_id = node->identity.node_id,
                .version = VERSION,
                .incarnation = node->mesh_config.incarnation,
                .instance = node->mesh_config.instance,
                .keys = node_keys(node),
                .invitations = membership_invitations(node),
                .listen_fd = stream_fd,
        };
        int r;

        r = sd_event_add_defer(node->event, &node->closed_source, on_closed, node);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(node->closed_source, "links-closed");
        r = sd_event_source_set_enabled(node->closed_source, SD_EVENT_OFF);
        if (r < 0)
                return r;
        return links_new(&config, node->event, &handlers, &node->links);
}

void world_links_done(struct node *node) {
        node->closed_source = sd_event_source_disable_unref(node->closed_source);
        node->links = links_free(node->links);
        strv_free(node->closed_links);
        node->closed_links = NULL;
}
