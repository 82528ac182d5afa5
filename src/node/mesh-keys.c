/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where the keys of the mesh come from: a file that somebody names, a credential of the service manager, or
 * the file that the first node of this host makes and all of them share. */

#include <stdio.h>
#include <sys/inotify.h>

#include "net/links.h"
#include "node/internal.h"
#include "trust/invitations.h"
#include "trust/key-file.h"
#include "util/file.h"
#include "util/hex.h"
#include "util/log.h"
#include "util/message-ids.h"

#define CREDENTIAL_NAME "mesh.key"

/* NULL: the service manager has given none. -ENOMEM. */
static int find_credential(char **ret) {
        const char *folder = getenv("CREDENTIALS_DIRECTORY");
        _cleanup_free_ char *path = NULL;

        *ret = NULL;
        if (!folder || *folder != '/')
                return 0;
        if (asprintf(&path, "%s/" CREDENTIAL_NAME, folder) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        /* One that is there and cannot be used is an error, and no reason to make a mesh of our own. */
        if (access(path, F_OK) >= 0 || errno != ENOENT)
                *ret = TAKE_PTR(path);
        return 0;
}

/* Where the file really is: one that is replaced by its link would be another one. */
static int copy_path(struct node *node, const char *path) {
        node->key_path = realpath(path, NULL);
        if (!node->key_path && errno != ENOMEM)
                node->key_path = strdup(path);
        return node->key_path ? 0 : -ENOMEM;
}

static int choose_path(struct node *node) {
        const struct config *config = node->config;

        node->key_kind = KEY_FILE_OWN;
        if (config->key_file)
                return copy_path(node, config->key_file);
        int r = find_credential(&node->key_path);
        if (r < 0)
                return r;
        if (!node->key_path)
                return copy_path(node, config->key_file_default);
        node->key_kind = KEY_FILE_CREDENTIAL;
        return 0;
}

static char *folder_of_keys(const struct node *node) {
        return strndup(
                node->key_path, MAX((size_t) (strrchr(node->key_path, '/') - node->key_path), (size_t) 1));
}

static int make_folder(const struct node *node) {
        _cleanup_free_ char *folder = folder_of_keys(node);

        return folder ? make_directories(folder, 0700) : -ENOMEM;
}

static int read_keys(struct node *node, struct mesh_keys *ret, bool *ret_made, char **ret_problem) {
        *ret_made = false;
        *ret_problem = NULL;
        if (node->key_kind == KEY_FILE_CREDENTIAL)
                return key_file_read(node->key_path, KEY_FILE_CREDENTIAL, ret, ret_problem);
        int r = make_folder(node);
        if (r < 0)
                return r;
        return key_file_read_or_make(node->key_path, ret, ret_made, ret_problem);
}

static int fail(const struct node *node, int error, const char *problem) {
        if (problem)
                return log_error_errno(error, "%s", problem);
        return log_error_errno(
                error, "Failed to read or make the key file %s: %m; another one is chosen with --key-file.",
                node->key_path);
}

static void name_mesh(struct node *node) {
        *hex_write(node->mesh_id, node->keys.mesh_id, sizeof(node->keys.mesh_id)) = '\0';
}

int mesh_keys_load(struct node *node) {
        _cleanup_free_ char *problem = NULL;
        bool made;
        int r;

        if (node->config->security == SECURITY_OPEN) {
                log_event(
                        LOG_WARNING, MESSAGE_SECURITY_OPEN,
                        "Security=open: whoever reaches this node over the network can run commands on it, "
                        "and read all that is sent.");
                return 0;
        }
        r = choose_path(node);
        if (r < 0)
                return log_oom();
        r = read_keys(node, &node->keys, &made, &problem);
        if (r < 0) {
                (void) fail(node, r, problem);
                return r == -EBADMSG || r == -EPERM || r == -EACCES ? -ENOKEY : r;
        }
        name_mesh(node);
        if (made)
                log_info(
                        "Made the key of a new mesh, %s, in %s; a node belongs to it that has this file.",
                        node->mesh_id, node->key_path);
        return 0;
}

/* Links over a key that is not accepted any more go down, and whoever is in the mesh now is asked to say so.
 */
void mesh_keys_adopt(struct node *node, const struct mesh_keys *keys) {
        if (memcmp(keys, &node->keys, sizeof(*keys)) == 0)
                return;
        /* Whoever was invited was invited to the mesh that it was. */
        if (memcmp(keys->mesh_id, node->keys.mesh_id, MESH_ID_SIZE) != 0)
                invitations_erase(membership_invitations(node));
        node->keys = *keys;
        name_mesh(node);
        log_info(
                "The keys of mesh %s count from now on, %zu of them, from %s.", node->mesh_id, keys->n_keys,
                node->key_path);
        links_check_keys(node->links);
        mesh_network_changed(node->mesh);
}

/* The old keys stay where the new ones are wrong. */
void mesh_keys_reload(struct node *node) {
        _cleanup_mesh_keys_ struct mesh_keys keys = {};
        _cleanup_free_ char *problem = NULL;

        if (!node_keys(node))
                return;
        int r = key_file_read(node->key_path, node->key_kind, &keys, &problem);
        if (r < 0)
                (void) fail(node, r, problem);
        else
                mesh_keys_adopt(node, &keys);
}

bool mesh_keys_can_be_written(const struct node *node) {
        _cleanup_free_ char *folder = folder_of_keys(node);

        if (folder && access(folder, W_OK) >= 0)
                return true;
        log_warning_errno(-errno, "The key file %s cannot be replaced: %m", node->key_path);
        return false;
}

static int on_key_folder(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        struct node *node = userdata;

        if (event->len > 0 && streq(event->name, strrchr(node->key_path, '/') + 1))
                mesh_keys_reload(node);
        return 0;
}

/* Of several nodes of a host that share the file one changes it. A file that is replaced can only be watched
 * by its folder; where that cannot be, a reload does it. */
int mesh_keys_watch(struct node *node) {
        _cleanup_free_ char *folder = NULL;

        if (!node_keys(node))
                return 0;
        folder = folder_of_keys(node);
        if (!folder)
                return log_oom();
        int r = sd_event_add_inotify(
                node->event, &node->key_source, folder, IN_MOVED_TO | IN_ONLYDIR, on_key_folder, node);
        if (r < 0)
                log_debug_errno(r, "Cannot watch %s, ignoring: %m", folder);
        else
                (void) sd_event_source_set_description(node->key_source, "mesh-keys");
        return 0;
}

const struct mesh_keys *node_keys(const struct node *node) {
        return node->keys.n_keys > 0 ? &node->keys : NULL;
}
