/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Peer objects, and what is told of them: what is now is compared with what was told last, so that any
 * number of changes costs one look at the peers, and nothing is told that is over already. */

#include "api/dbus/internal.h"
#include "util/array.h"

/* A peer that the bus has been told of, as it was then. */
struct bus_peer {
        struct map_link by_id;
        char node_id[NODE_ID_MAX + 1];
        char address[ADDRESS_TEXT_MAX + 1];
        char version[VERSION_TEXT_MAX + 1];
        enum node_status status;
        uint32_t slots, running, queued;
        bool verified, trusted;
        bool present; /* during a comparison */
};

static int get_text(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        _cleanup_free_ char *node_id = NULL;
        struct ops_peer peer;
        const char *text = "";

        if (sd_bus_path_decode(path, PEER_PATH_PREFIX, &node_id) <= 0 ||
            !ops_get_peer(dbus->ops, node_id, &peer))
                return -ENOENT;
        if (streq(property, "NodeId"))
                text = peer.info->node_id;
        else if (streq(property, "Address"))
                text = peer.info->address;
        else if (streq(property, "Version"))
                text = peer.info->version;
        else if (streq(property, "Status"))
                text = node_status_to_text(peer.info->status);
        return bus_append_text(reply, text);
}

static int get_count(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        _cleanup_free_ char *node_id = NULL;
        struct ops_peer peer;
        uint32_t number = 0;

        if (sd_bus_path_decode(path, PEER_PATH_PREFIX, &node_id) <= 0 ||
            !ops_get_peer(dbus->ops, node_id, &peer))
                return -ENOENT;
        if (streq(property, "Slots"))
                number = peer.info->slots;
        else if (streq(property, "RunningJobs"))
                number = peer.info->running;
        else if (streq(property, "QueuedJobs"))
                number = peer.info->queued;
        return sd_bus_message_append(reply, "u", number);
}

static int get_other(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        _cleanup_free_ char *node_id = NULL;
        struct ops_peer peer;

        if (sd_bus_path_decode(path, PEER_PATH_PREFIX, &node_id) <= 0 ||
            !ops_get_peer(dbus->ops, node_id, &peer))
                return -ENOENT;
        if (streq(property, "Verified"))
                return sd_bus_message_append(reply, "b", peer.verified);
        if (streq(property, "Trusted"))
                return sd_bus_message_append(reply, "b", peer.trusted);
        if (streq(property, "LastHeardAt"))
                return sd_bus_message_append(reply, "t", peer.last_heard_at);
        if (streq(property, "Labels"))
                return bus_append_metadata(reply, peer.info->labels, peer.info->n_labels);
        if (streq(property, "Pressure"))
                return bus_append_pressure(reply, &peer.info->pressure);
        return bus_append_metadata(reply, peer.info->metadata, peer.info->n_metadata);
}

static const sd_bus_vtable peer_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("NodeId", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Address", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Version", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Status", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Slots", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("RunningJobs", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("QueuedJobs", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Verified", "b", get_other, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Trusted", "b", get_other, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("LastHeardAt", "t", get_other, 0, 0),
        SD_BUS_PROPERTY("Metadata", "a{ss}", get_other, 0, 0),
        SD_BUS_PROPERTY("Labels", "a{ss}", get_other, 0, 0),
        SD_BUS_PROPERTY("Pressure", "a{sd}", get_other, 0, 0),
        SD_BUS_VTABLE_END,
};

static int find_peer(
        sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
        sd_bus_error *error) {
        struct dbus *dbus = userdata;
        _cleanup_free_ char *node_id = NULL;
        struct ops_peer peer;

        *ret_found = userdata;
        return sd_bus_path_decode(path, PEER_PATH_PREFIX, &node_id) > 0 &&
               ops_get_peer(dbus->ops, node_id, &peer);
}

struct path_list {
        char **paths;
        size_t n, allocated;
        int error;
};

static void add_path(void *userdata, const struct ops_peer *peer) {
        struct path_list *list = userdata;

        if (list->error < 0)
                return;
        list->error = ARRAY_RESERVE(list->paths, list->n + 2, list->allocated, 16);
        if (list->error < 0)
                return;
        list->paths[list->n] = NULL;
        list->error = sd_bus_path_encode(PEER_PATH_PREFIX, peer->info->node_id, &list->paths[list->n]);
        if (list->error >= 0)
                list->paths[++list->n] = NULL;
}

static int
enumerate_peers(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        struct path_list list = {};

        ops_foreach_peer(dbus->ops, add_path, &list);
        if (list.error < 0) {
                for (size_t i = 0; i < list.n; i++)
                        free(list.paths[i]);
                free(list.paths);
                return list.error;
        }
        *ret_nodes = list.paths;
        return 0;
}

int peers_register(struct dbus *dbus) {
        int r;

        r = sd_bus_add_fallback_vtable(
                dbus->bus, NULL, PEER_PATH_PREFIX, PEER_INTERFACE, peer_vtable, find_peer, dbus);
        if (r < 0)
                return r;
        r = sd_bus_add_node_enumerator(dbus->bus, NULL, PEER_PATH_PREFIX, enumerate_peers, dbus);
        if (r < 0)
                return r;
        return sd_bus_add_object_manager(dbus->bus, NULL, MANAGER_PATH);
}

struct peer_reply {
        sd_bus_message *message;
        int error;
};

static void append_peer(void *userdata, const struct ops_peer *peer) {
        const struct node_info *info = peer->info;
        struct peer_reply *reply = userdata;
        _cleanup_free_ char *path = NULL;

        if (reply->error < 0)
                return;
        reply->error = sd_bus_path_encode(PEER_PATH_PREFIX, info->node_id, &path);
        if (reply->error >= 0)
                reply->error = sd_bus_message_append(
                        reply->message, "(soss)", info->node_id, path, info->address,
                        node_status_to_text(info->status));
}

static void run_list_peers(struct bus_request *request) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        struct peer_reply reply;

        if (bus_request_new_reply(request, &message) < 0)
                return;
        reply.message = message;
        reply.error = sd_bus_message_open_container(message, 'a', "(soss)");
        ops_foreach_peer(request->dbus->ops, append_peer, &reply);
        if (reply.error >= 0)
                reply.error = sd_bus_message_close_container(message);
        if (reply.error < 0)
                bus_request_fail_errno(request, reply.error);
        else
                bus_request_reply(request, message);
}

int manager_list_peers(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = bus_request_new(userdata, message);

        return request ? bus_request_begin(request, ACCESS_READ_STATE, NULL, run_list_peers) : 1;
}

struct comparison {
        struct dbus *dbus;
        bool quiet;
        unsigned n_told;
        bool more;
};

static void tell_presence(struct comparison *comparison, const char *node_id, bool present) {
        sd_bus *bus = comparison->dbus->bus;
        _cleanup_free_ char *path = NULL;

        if (sd_bus_path_encode(PEER_PATH_PREFIX, node_id, &path) < 0)
                return;
        if (present)
                (void) sd_bus_emit_interfaces_added(bus, path, PEER_INTERFACE, NULL);
        (void) sd_bus_emit_signal(
                bus, MANAGER_PATH, MANAGER_INTERFACE, present ? "PeerAdded" : "PeerRemoved", "so", node_id,
                path);
        if (!present)
                (void) sd_bus_emit_interfaces_removed(bus, path, PEER_INTERFACE, NULL);
}

/* The names of what differs; *known becomes what is now. */
static size_t note_changes(struct bus_peer *known, const struct ops_peer *peer, const char *ret[static 9]) {
        const struct node_info *info = peer->info;
        size_t n = 0;

        if (!streq(known->address, info->address))
                ret[n++] = "Address";
        if (!streq(known->version, info->version))
                ret[n++] = "Version";
        if (known->status != info->status)
                ret[n++] = "Status";
        if (known->slots != info->slots)
                ret[n++] = "Slots";
        if (known->running != info->running)
                ret[n++] = "RunningJobs";
        if (known->queued != info->queued)
                ret[n++] = "QueuedJobs";
        if (known->verified != peer->verified)
                ret[n++] = "Verified";
        if (known->trusted != peer->trusted)
                ret[n++] = "Trusted";
        ret[n] = NULL;

        memcpy(known->address, info->address, sizeof(known->address));
        memcpy(known->version, info->version, sizeof(known->version));
        known->status = info->status;
        known->slots = info->slots;
        known->running = info->running;
        known->queued = info->queued;
        known->verified = peer->verified;
        known->trusted = peer->trusted;
        return n;
}

static void add_peer(struct comparison *comparison, const struct ops_peer *peer) {
        const char *changes[9];
        struct bus_peer *known = calloc(1, sizeof(*known));

        if (!known)
                return;
        memcpy(known->node_id, peer->info->node_id, sizeof(known->node_id));
        (void) note_changes(known, peer, changes);
        known->present = true;
        if (map_add(&comparison->dbus->peers, &known->by_id, known->node_id, strlen(known->node_id)) < 0) {
                free(known);
                return;
        }
        if (!comparison->quiet)
                tell_presence(comparison, known->node_id, /* present= */ true);
}

static void compare_peer(void *userdata, const struct ops_peer *peer) {
        const char *node_id = peer->info->node_id, *changes[9];
        struct comparison *comparison = userdata;
        struct dbus *dbus = comparison->dbus;
        struct bus_peer *known = MAP_GET(&dbus->peers, node_id, strlen(node_id), struct bus_peer, by_id);
        _cleanup_free_ char *path = NULL;

        if (known)
                known->present = true;
        if (comparison->n_told >= BUS_PEERS_PER_CHANGE && !comparison->quiet) {
                comparison->more = true;
                return;
        }
        if (!known) {
                add_peer(comparison, peer);
                comparison->n_told++;
                return;
        }
        if (note_changes(known, peer, changes) == 0 || comparison->quiet)
                return;
        comparison->n_told++;
        if (sd_bus_path_encode(PEER_PATH_PREFIX, node_id, &path) >= 0)
                (void) sd_bus_emit_properties_changed_strv(
                        dbus->bus, path, PEER_INTERFACE, (char **) changes);
}

bool peers_tell_changes(struct dbus *dbus, bool quiet) {
        struct comparison comparison = { .dbus = dbus, .quiet = quiet };
        struct bus_peer *known;

        MAP_FOREACH(&dbus->peers, known, struct bus_peer, by_id)
                known->present = false;
        ops_foreach_peer(dbus->ops, compare_peer, &comparison);
        MAP_FOREACH(&dbus->peers, known, struct bus_peer, by_id) {
                if (known->present)
                        continue;
                if (!quiet)
                        tell_presence(&comparison, known->node_id, /* present= */ false);
                map_remove(&dbus->peers, &known->by_id);
                free(known);
        }
        return !comparison.more;
}

void peers_forget(struct dbus *dbus) {
        struct bus_peer *known;

        MAP_FOREACH(&dbus->peers, known, struct bus_peer, by_id) {
                map_remove(&dbus->peers, &known->by_id);
                free(known);
        }
}
