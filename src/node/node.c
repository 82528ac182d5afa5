/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Builds a node from its parts, in the order in which they need each other, and takes it apart in reverse.
 */

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "node/internal.h"
#include "node/labels.h"
#include "node/state-lock.h"
#include "util/file.h"
#include "util/log-loop.h"
#include "util/log.h"
#include "util/message-ids.h"
#include "util/random.h"

#define ROOM_WAIT_USEC USEC_PER_SEC

static int lock_state(struct node *node) {
        const char *path = node->config->state_directory;
        pid_t holder = 0;

        node->lock_fd = state_lock(node->state_fd, &holder);
        if (node->lock_fd == -EBUSY)
                return log_event_errno(
                        LOG_ERR, -EBUSY, MESSAGE_STATE_IN_USE,
                        "Another worker-mesh (pid %d) uses the state directory %s; choose another one "
                        "with --state-dir, or another --api-port.",
                        (int) holder, path);
        if (node->lock_fd < 0)
                return log_error_errno(node->lock_fd, "Failed to lock the state directory %s: %m", path);
        return 0;
}

static int open_state(struct node *node) {
        const char *path = node->config->state_directory;
        char machine[IDENTITY_MACHINE_SIZE];
        int r;

        r = make_directories(path, 0700);
        if (r < 0)
                return log_error_errno(r, "Failed to make the state directory %s: %m", path);

        node->state_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (node->state_fd < 0)
                return log_error_errno(-errno, "Failed to open the state directory %s: %m", path);

        r = lock_state(node);
        if (r < 0)
                return r;

        r = identity_load_or_create(node->state_fd, identity_machine(machine), &node->identity);
        if (r < 0)
                return log_error_errno(r, "Failed to read or make the identity in %s: %m", path);
        return 0;
}

#define SOCKET_PATH_MAX 107u /* unix(7), without the final NUL */

/* In the state directory, where the next daemon finds it, unless somebody else runs the executor. */
static int set_executor_socket(struct node *node) {
        if (node->config->executor_socket) {
                node->executor_socket = strdup(node->config->executor_socket);
                return node->executor_socket ? 0 : log_oom();
        }
        if (asprintf(&node->executor_socket, "%s/executor.sock", node->config->state_directory) < 0)
                return log_oom();
        if (strlen(node->executor_socket) > SOCKET_PATH_MAX)
                return log_error_errno(
                        -ENAMETOOLONG,
                        "The path of the state directory is too long: the executor's socket in it, %s, "
                        "would be "
                        "longer than %u characters. Choose a shorter one with --state-dir.",
                        node->executor_socket, SOCKET_PATH_MAX);
        return 0;
}

static void fill_executor_config(const struct node *node, struct executor_config *ret) {
        *ret = (struct executor_config){
                .socket_path = node->executor_socket,
                .program = node->config->executor_socket ? NULL : node->config->executor_program,
                .node_id = node->identity.node_id,
                .slots = node->config->slots,
                .output_max = (size_t) node->config->output_max_bytes,
                .kill_grace_usec = node->config->kill_grace_usec,
                .default_limits = node->config->job_limits,
        };
}

static void fill_mesh_config(struct node *node) {
        struct mesh_config *config = &node->mesh_config;

        *config = (struct mesh_config){
                .incarnation = node->identity.incarnation,
                .slots = node->config->slots,
                .queue_max = node->config->queue_max,
                .peers_max = node->config->peers_max,
                .index_max = node->config->index_max,
                .heartbeat_interval_usec = node->config->heartbeat_interval_usec,
                .peer_timeout_usec = node->config->peer_timeout_usec,
                .keeper_wait_usec = node->config->keeper_wait_usec,
                .node_port = discovery_node_port(node->discovery),
        };
        (void) snprintf(config->node_id, sizeof(config->node_id), "%s", node->identity.node_id);
        random_bytes(&config->instance, sizeof(config->instance));
        about_fill(config, node->config->interfaces, !node_keys(node));
        labels_fill(node->config->labels, config->labels, &config->n_labels);
}

static int on_mesh_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        struct node *node = userdata;

        mesh_timer_due(node->mesh);
        return 0;
}

static int make_discovery(struct node *node, struct inherited_sockets *sockets) {
        struct discovery_handlers handlers = world_discovery_handlers;
        _cleanup_free_ char *problem = NULL;
        struct discovery_config config = {
                .discovery_port = node->config->discovery_port,
                .node_port = node->config->node_port,
                .interfaces = node->config->interfaces,
                .keys = node_keys(node),
                .discovery_fd = TAKE_FD(sockets->discovery_fd),
                .node_fd = TAKE_FD(sockets->node_fd),
        };
        int r;

        handlers.userdata = node;
        r = discovery_new(&config, node->event, &handlers, &node->discovery, &problem);
        if (r < 0)
                return log_error_errno(r, "%s", problem ? problem : "Failed to open the discovery sockets.");
        return 0;
}

static void tell_pressure(struct node *node) {
        struct node_pressure pressure;

        pressure_read(&node->pressure, &pressure);
        mesh_set_pressure(node->mesh, &pressure);
}

/* As often as it is told of. */
static int on_pressure(sd_event_source *source, uint64_t usec, void *userdata) {
        struct node *node = userdata;

        tell_pressure(node);
        (void) sd_event_source_set_time_relative(source, node->config->heartbeat_interval_usec);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int watch_pressure(struct node *node) {
        int r;

        pressure_open("/proc/pressure", &node->pressure);
        tell_pressure(node);
        r = sd_event_add_time_relative(
                node->event, &node->pressure_timer, CLOCK_BOOTTIME, node->config->heartbeat_interval_usec,
                50 * USEC_PER_MSEC, on_pressure, node);
        if (r >= 0)
                (void) sd_event_source_set_description(node->pressure_timer, "pressure");
        return r;
}

static int make_mesh(struct node *node) {
        int r;

        r = sd_event_add_time(
                node->event, &node->mesh_timer, CLOCK_BOOTTIME, 0, USEC_PER_MSEC, on_mesh_timer, node);
        if (r < 0)
                return log_error_errno(r, "Failed to make the mesh timer: %m");
        (void) sd_event_source_set_description(node->mesh_timer, "mesh-timer");
        (void) sd_event_source_set_enabled(node->mesh_timer, SD_EVENT_OFF);

        fill_mesh_config(node);
        r = mesh_new(&node->mesh_config, &world_mesh_ops, node, &node->mesh);
        if (r < 0)
                return log_error_errno(r, "Failed to make the mesh: %m");
        return 0;
}

static int make_links(struct node *node, struct inherited_sockets *sockets) {
        int fd = discovery_take_stream_fd(node->discovery), r;

        r = world_links_new(node, fd >= 0 ? fd : TAKE_FD(sockets->node_stream_fd));
        if (r < 0)
                return log_error_errno(r, "Failed to listen for other nodes: %m");
        return 0;
}

static int make_ops(struct node *node) {
        struct ops_config config = {
                .node_id = node->mesh_config.node_id,
                .version = node->mesh_config.version,
                .address = node->mesh_config.address,
                .metadata = node->mesh_config.metadata,
                .n_metadata = node->mesh_config.n_metadata,
                .group = "worker-mesh",
                .job_user = "worker-mesh-job",
                .mesh_id = node->mesh_id,
        };
        int r;

        r = ops_new(&config, node->event, &node->ops);
        if (r < 0)
                return log_error_errno(r, "Failed to make the operations: %m");
        ops_set_limits(node->ops, &node->config->job_limits, &node->config->job_ceilings);
        /* From a terminal nobody expects a group. */
        if (log_is_journal() && !getgrnam(config.group))
                log_event(
                        LOG_WARNING, MESSAGE_GROUP_MISSING,
                        "There is no group %s: only root and the user of this node may use it.",
                        config.group);
        return 0;
}

/* A service manager would start us again a few times, and then not any more: so a full disk is waited out
 * here, and whoever asks meanwhile waits at the sockets. From a terminal a person is told at once. False:
 * asked to stop, or nobody extends our time. */
static bool wait_for_room(const struct node *node, int error, bool *said) {
        const struct timespec wait = { .tv_sec = ROOM_WAIT_USEC / USEC_PER_SEC };
        sigset_t stop;

        if (!node->managed || (error != -ENOSPC && error != -EDQUOT))
                return false;
        if (!*said)
                log_event_errno(
                        LOG_ERR, error, MESSAGE_DATABASE_FAILING,
                        "The database in %s cannot be opened, waiting for room: %m",
                        node->config->state_directory);
        *said = true;
        (void) sd_notifyf(
                /* unset_environment= */ false,
                "STATUS=No room for the database\nEXTEND_TIMEOUT_USEC=%" PRIu64, 10 * ROOM_WAIT_USEC);
        (void) sigemptyset(&stop);
        (void) sigaddset(&stop, SIGTERM);
        (void) sigaddset(&stop, SIGINT);
        return sigtimedwait(&stop, NULL, &wait) < 0;
}

static bool nothing_restored(const struct node *node) {
        struct mesh_state state;

        mesh_get_state(node->mesh, &state);
        return state.queued == 0 && state.running == 0;
}

static int make_store(struct node *node) {
        struct store_handlers handlers = world_store_handlers;
        struct store_config config = {
                .directory = node->config->state_directory,
                .node_id = node->identity.node_id,
                .history_max_age_usec = node->config->history_max_age_usec,
                .history_max_jobs = node->config->history_max_jobs,
                .history_max_bytes = node->config->history_max_bytes,
        };
        bool said = false;
        int r;

        handlers.userdata = node;
        do
                r = store_open(&config, node->event, &handlers, world_restore_job, node, &node->store);
        while (r < 0 && nothing_restored(node) && wait_for_room(node, r, &said));
        if (r == -EPROTONOSUPPORT)
                return log_event_errno(
                        LOG_ERR, r, MESSAGE_DATABASE_NEWER,
                        "The database worker_%s.db in %s was made by a newer version of worker-mesh; run "
                        "that one, or "
                        "choose another state directory with --state-dir.",
                        config.node_id, config.directory);
        if (r < 0)
                return log_error_errno(r, "Failed to open the database in %s: %m", config.directory);
        return 0;
}

static int make_executor(struct node *node) {
        struct executor_handlers handlers = world_executor_handlers;
        struct executor_config config;
        int r;

        handlers.userdata = node;
        fill_executor_config(node, &config);
        r = executor_client_new(&config, node->event, &handlers, &node->executor);
        if (r < 0)
                return log_error_errno(r, "Failed to make the executor's client: %m");
        return 0;
}

static int make_rest(struct node *node, struct inherited_sockets *sockets) {
        _cleanup_free_ char *problem = NULL;
        struct rest_config config = {
                .node_id = node->identity.node_id,
                .port = node->config->api_port,
                .socket_path = node->config->api_socket,
                .inherited_fds = sockets->rest_fds,
                .n_inherited_fds = sockets->n_rest_fds,
                .connections_max = node->config->connections_max,
        };
        int r;

        sockets->n_rest_fds = 0; /* the descriptors are the server's now */
        r = rest_new(&config, node->event, node->ops, &node->rest, &problem);
        if (r < 0)
                return log_error_errno(r, "%s", problem ? problem : "Failed to open the REST API.");
        return 0;
}

static int make_dbus(struct node *node) {
        struct dbus_config config = {
                .bus = (enum dbus_bus) node->config->bus,
                .node_id = node->identity.node_id,
        };
        int r;

        r = dbus_new(&config, node->event, node->ops, &node->dbus);
        if (r < 0)
                return log_error_errno(r, "Failed to make the D-Bus interface: %m");
        return 0;
}

static int make_journal(struct node *node) {
        int r;

        r = log_watch(node->event, &node->log_source);
        if (r < 0)
                return log_error_errno(r, "Failed to watch the journal's socket: %m");
        r = journal_new(node->identity.node_id, node->config->journal_output, node->event, &node->journal);
        if (r < 0)
                return log_error_errno(r, "Failed to make what writes to the journal: %m");
        return 0;
}

/* The executor is launched before the store brings threads: it is forked. */
static int build(struct node *node, struct inherited_sockets *sockets) {
        struct executor_config executor;
        int r;

        r = make_discovery(node, sockets);
        if (r < 0)
                return r;
        r = make_mesh(node);
        if (r < 0)
                return r;
        r = membership_new(node);
        if (r < 0)
                return log_error_errno(r, "Failed to make what invites other nodes: %m");
        r = make_links(node, sockets);
        if (r < 0)
                return r;
        r = mesh_keys_watch(node);
        if (r < 0)
                return r;
        r = make_journal(node);
        if (r < 0)
                return r;
        r = make_ops(node);
        if (r < 0)
                return r;
        r = make_rest(node, sockets);
        if (r < 0)
                return r;
        r = status_new(node);
        if (r < 0)
                return log_error_errno(r, "Failed to make the status source: %m");
        r = watch_pressure(node);
        if (r < 0)
                return log_error_errno(r, "Failed to make the pressure timer: %m");

        fill_executor_config(node, &executor);
        r = executor_client_launch(&executor);
        if (r < 0)
                return log_error_errno(r, "Failed to start the executor %s: %m", executor.program);
        r = make_store(node);
        if (r < 0)
                return r;
        r = make_executor(node);
        if (r < 0)
                return r;
        return make_dbus(node);
}

int node_new(const struct config *config, sd_event *event, struct node **ret) {
        _cleanup_(inherited_sockets_done) struct inherited_sockets sockets = INHERITED_SOCKETS_NONE;
        _cleanup_(node_free_p) struct node *node = NULL;
        int r;

        node = calloc(1, sizeof(*node));
        if (!node)
                return log_oom();
        node->config = config;
        node->event = sd_event_ref(event);
        node->state_fd = node->lock_fd = -EBADF;
        node->pressure = PRESSURE_FILES_NONE;
        node->strangers = (struct ratelimit){ .interval_usec = 10 * USEC_PER_SEC, .burst = 100 };
        node->executors = (struct ratelimit){ .interval_usec = EXECUTOR_GONE_USEC, .burst = 2 };

        r = inherited_sockets_take(&sockets);
        if (r < 0)
                return r;
        r = open_state(node);
        if (r < 0)
                return r;
        r = set_executor_socket(node);
        if (r < 0)
                return r;
        r = mesh_keys_load(node);
        if (r < 0)
                return r;
        r = build(node, &sockets);
        if (r < 0)
                return r;
        ops_connect(node->ops, node->mesh, node->store, node->executor);
        world_links_connect(node);
        membership_connect(node);
        journal_connect(node->journal, node->mesh, node->store, node->executor, node->ops);

        *ret = TAKE_PTR(node);
        return 0;
}

/* Calls of clients go first, since they refer to everything; what is queued for the disk is written last. */
struct node *node_free(struct node *node) {
        if (!node)
                return NULL;

        rest_free(node->rest);
        dbus_free(node->dbus);
        journal_free(node->journal);
        ops_free(node->ops);
        sd_event_source_disable_unref(node->key_source);
        world_links_done(node);
        membership_done(node);
        discovery_free(node->discovery);
        executor_client_free(node->executor);
        store_close(node->store);
        mesh_free(node->mesh);

        if (node->incarnation > node->identity.incarnation &&
            identity_raise_incarnation(node->state_fd, &node->identity, node->incarnation - 1) < 0)
                log_warning("Failed to write the raised start counter, ignoring: peers will tell it again.");

        sd_event_source_disable_unref(node->log_source);
        sd_event_source_disable_unref(node->mesh_timer);
        sd_event_source_disable_unref(node->recent_timer);
        sd_event_source_disable_unref(node->status_source);
        sd_event_source_disable_unref(node->status_timer);
        sd_event_source_disable_unref(node->trim_timer);
        sd_event_source_disable_unref(node->stop_timer);
        sd_event_source_disable_unref(node->pressure_timer);
        pressure_close(&node->pressure);
        sd_event_unref(node->event);
        free(node->executor_socket);
        free(node->key_path);
        mesh_keys_erase(&node->keys);
        close_fd(node->lock_fd);
        close_fd(node->state_fd);
        free(node);
        return NULL;
}

void node_start(struct node *node) {
        mesh_start(node->mesh);
        recent_jobs_read(node);
        status_print_start(node);
}
