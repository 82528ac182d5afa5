/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/rest/door.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "api/rest/http.h"
#include "api/rest/routes.h"
#include "util/log.h"
#include "util/peer-uid.h"

#define BACKLOG 1024
#define ACCEPTS_PER_TURN 64 /* so that a crowd at the door does not keep those inside waiting */
#define ACCEPT_PAUSE_USEC (1 * USEC_PER_SEC) /* when there are no descriptors left */
#define GROUPS_MAX 65536                     /* NGROUPS_MAX of Linux */

struct door {
        struct rest *rest;
        int fd;
        struct gate_door gate;
        char *address;
        char *made_path; /* a unix socket that is ours to remove */
        unsigned n_clients, connections_max;
        struct buffer refusal; /* for one connection too many */
        struct ratelimit refusals, pauses;
        sd_event_source *source, *pause_source;
};

union address {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
};

static bool is_loopback(const union address *address) {
        switch (address->any.sa_family) {
        case AF_INET:
                return ntohl(address->in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
        case AF_INET6:
                return IN6_IS_ADDR_LOOPBACK(&address->in6.sin6_addr);
        default:
                return false;
        }
}

static int problem(char **ret_problem, int error, const char *format, ...) _printf_(3, 4);

static int problem(char **ret_problem, int error, const char *format, ...) {
        va_list arguments;

        if (!ret_problem)
                return error;
        va_start(arguments, format);
        if (vasprintf(ret_problem, format, arguments) < 0)
                *ret_problem = NULL;
        va_end(arguments);
        return error;
}

static int make_refusal(struct door *door) {
        _cleanup_answer_ struct answer answer = {};
        struct fault fault;

        fault_set(
                &fault, FAULT_TOO_MANY_CONNECTIONS,
                "%u connections are open, which is the limit; try again later", door->connections_max);
        int r = answer_from_fault(&answer, &fault);
        if (r < 0)
                return r;
        return answer_format(&answer, door->rest->node_id, &door->refusal);
}

/* Takes fd, also on failure. */
static int door_new(struct rest *rest, int fd, unsigned connections_max, struct door **ret) {
        _cleanup_close_ int owned_fd = fd;

        _cleanup_(door_free_p) struct door *door = malloc(sizeof(*door));
        if (!door)
                return -ENOMEM;
        *door = (struct door){
                .rest = rest,
                .fd = TAKE_FD(owned_fd),
                .connections_max = connections_max,
                .refusals = { .interval_usec = USEC_PER_MINUTE, .burst = 1 },
                .pauses = { .interval_usec = USEC_PER_MINUTE, .burst = 1 },
        };
        int r = make_refusal(door);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(door);
        return 0;
}

int door_new_tcp(
        struct rest *rest, uint16_t port, unsigned connections_max, struct door **ret, char **ret_problem) {
        const struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        const int on = 1;

        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* For connections of the last process that linger; two listeners are refused all the same. */
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
                return -errno;
        if (bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0) {
                if (errno == EADDRINUSE)
                        return problem(
                                ret_problem, -EADDRINUSE,
                                "Port %u of 127.0.0.1 is taken by another program; choose another one with "
                                "--api-port, or see who it is with: ss -ltnp 'sport = :%u'",
                                port, port);
                if (errno == EACCES)
                        return problem(
                                ret_problem, -EACCES,
                                "Port %u of 127.0.0.1 is reserved for root; choose one from 1024 on with "
                                "--api-port",
                                port);
                return -errno;
        }
        return door_new_inherited(rest, TAKE_FD(fd), connections_max, ret, ret_problem);
}

/* A socket that nobody listens on any more was left by a process that was killed. */
static int remove_stale_socket(const struct sockaddr_un *address, char **ret_problem) {
        struct stat status;

        if (lstat(address->sun_path, &status) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISSOCK(status.st_mode))
                return problem(
                        ret_problem, -EEXIST,
                        "%s is there already and is not a socket; choose another path with --api-socket",
                        address->sun_path);

        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *) address, sizeof(*address)) >= 0 || errno != ECONNREFUSED)
                return problem(
                        ret_problem, -EADDRINUSE,
                        "Another program listens on %s; choose another path with --api-socket",
                        address->sun_path);
        return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

int door_new_unix(
        struct rest *rest, const char *path, unsigned connections_max, struct door **ret,
        char **ret_problem) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        if (strlen(path) >= sizeof(address.sun_path))
                return problem(
                        ret_problem, -ENAMETOOLONG,
                        "The path of the API socket is longer than %zu bytes: %s",
                        sizeof(address.sun_path) - 1, path);
        memcpy(address.sun_path, path, strlen(path) + 1);

        int r = remove_stale_socket(&address, ret_problem);
        if (r < 0)
                return r;
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* Everybody may connect, since everybody is asked who he is; nobody can before listen(2). */
        if (bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 || chmod(path, 0666) < 0 ||
            listen(fd, BACKLOG) < 0)
                return problem(
                        ret_problem, -errno, "Cannot make the API socket %s: %s", path, strerror(errno));

        _cleanup_free_ char *made_path = strdup(path);
        if (!made_path)
                return -ENOMEM;
        r = door_new_inherited(rest, TAKE_FD(fd), connections_max, ret, ret_problem);
        if (r >= 0)
                (*ret)->made_path = TAKE_PTR(made_path);
        return r;
}

/* What a person would type. */
static int describe(struct door *door, const union address *address, socklen_t size) {
        char text[INET6_ADDRSTRLEN] = "";
        int r = 0;

        switch (address->any.sa_family) {
        case AF_UNIX:
                door->gate.is_unix = true;
                if (size <= offsetof(struct sockaddr_un, sun_path))
                        r = asprintf(&door->address, "(unnamed)");
                else if (address->un.sun_path[0] == '\0')
                        r = asprintf(
                                &door->address, "@%.*s",
                                (int) (size - offsetof(struct sockaddr_un, sun_path) - 1),
                                address->un.sun_path + 1);
                else
                        r = asprintf(
                                &door->address, "%.*s", (int) sizeof(address->un.sun_path),
                                address->un.sun_path);
                break;
        case AF_INET:
                (void) inet_ntop(AF_INET, &address->in.sin_addr, text, sizeof(text));
                door->gate.port = ntohs(address->in.sin_port);
                r = asprintf(&door->address, "%s:%u", text, door->gate.port);
                break;
        case AF_INET6:
                (void) inet_ntop(AF_INET6, &address->in6.sin6_addr, text, sizeof(text));
                door->gate.port = ntohs(address->in6.sin6_port);
                r = asprintf(&door->address, "[%s]:%u", text, door->gate.port);
                break;
        default:
                break;
        }
        if (r < 0)
                door->address = NULL;
        return r < 0 ? -ENOMEM : 0;
}

static int set_nonblocking(int fd) {
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
                return -errno;
        return 0;
}

int door_new_inherited(
        struct rest *rest, int fd, unsigned connections_max, struct door **ret, char **ret_problem) {
        _cleanup_(door_free_p) struct door *door = NULL;
        union address address = {};
        socklen_t size = sizeof(address);
        int listens = 0, type = 0;
        socklen_t listens_size = sizeof(listens), type_size = sizeof(type);

        int r = door_new(rest, fd, connections_max, &door);
        if (r < 0)
                return r;
        if (getsockname(fd, &address.any, &size) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) < 0)
                return -errno;
        r = describe(door, &address, size);
        if (r < 0)
                return r;

        if (!listens || type != SOCK_STREAM)
                return problem(
                        ret_problem, -ENOTSOCK, "An inherited descriptor is not a listening stream socket.");
        if (address.any.sa_family != AF_UNIX && !is_loopback(&address))
                return problem(
                        ret_problem, -EADDRNOTAVAIL,
                        "The API would be open to the network at %s; it listens on loopback (127.0.0.1, "
                        "[::1]) and "
                        "unix sockets only.",
                        door->address ?: "an address that is not loopback");
        r = set_nonblocking(fd);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(door);
        return 0;
}

/* Peer credentials are those of the moment of connect(2), and cannot be lied about. */
static int ask_unix_peer(struct client *client) {
        struct ucred credentials;
        socklen_t size = sizeof(credentials);

        if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
                return -errno;

        gid_t some[64];
        socklen_t groups_size = sizeof(some);
        int r = getsockopt(client->fd, SOL_SOCKET, SO_PEERGROUPS, some, &groups_size);
        if (r < 0 && errno != ERANGE)
                return -errno;
        if (groups_size > GROUPS_MAX * sizeof(gid_t))
                return -EMSGSIZE;
        client->groups = malloc(MAX((size_t) groups_size, sizeof(gid_t)));
        if (!client->groups)
                return -ENOMEM;
        if (r >= 0)
                memcpy(client->groups, some, groups_size);
        else if (getsockopt(client->fd, SOL_SOCKET, SO_PEERGROUPS, client->groups, &groups_size) < 0)
                return -errno;

        client->caller = (struct caller){
                .uid_known = true,
                .uid = credentials.uid,
                .gid = credentials.gid,
                .groups = client->groups,
                .n_groups = groups_size / sizeof(gid_t),
        };
        return 0;
}

static int ask_tcp_peer(struct door *door, struct client *client, const union address *address) {
        union address own = {};
        socklen_t size = sizeof(own);

        if (!door->rest->peer_uid)
                return -EOPNOTSUPP;
        if (getsockname(client->fd, &own.any, &size) < 0)
                return -errno;
        int r = peer_uid_ask(door->rest->peer_uid, &address->any, &own.any, &client->caller.uid);
        client->caller.uid_known = r >= 0;
        client->caller.gid = (gid_t) -1;
        return r;
}

/* A client whose user is not known comes in all the same: it is told why it may do nothing. */
static int admit_client(struct door *door, int fd, const union address *address) {
        const int on = 1;
        int r;

        _cleanup_(client_free_p) struct client *client = calloc(1, sizeof(*client));
        if (!client) {
                close_fd(fd);
                return -ENOMEM;
        }
        client->fd = fd;
        client->rest = door->rest;
        client->door = door->gate;
        client->n_clients = &door->n_clients;
        door->n_clients++;

        if (door->gate.is_unix)
                r = ask_unix_peer(client);
        else {
                /* Answers go out in one piece; waiting for another to fill the segment would only delay
                 * them. */
                (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                r = ask_tcp_peer(door, client, address);
        }
        /* Coming again may help, which somebody whose user cannot be known would not be told. */
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                log_debug_errno(r, "Cannot tell which user is connected to %s: %m", door->address);
        return http_add_client(door->rest->http, TAKE_PTR(client));
}

static void refuse_client(struct door *door, int fd) {
        char scratch[4096];

        (void) send(fd, door->refusal.data, door->refusal.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void) shutdown(fd, SHUT_WR);
        /* Closing over a request that was not read would reset the connection, and the answer with it. */
        (void) recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT);
        close_fd(fd);
        if (ratelimit_below(&door->refusals, now_usec(CLOCK_MONOTONIC)))
                log_warning(
                        "%u connections to %s are open, which is the limit; more are refused.",
                        door->n_clients, door->address);
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
        struct door *door = userdata;

        (void) sd_event_source_set_enabled(door->source, SD_EVENT_ON);
        return 0;
}

/* Without descriptors the connection stays at the door, and the loop would be told of it again and again. */
static void pause_accepting(struct door *door, int error) {
        if (ratelimit_below(&door->pauses, now_usec(CLOCK_MONOTONIC)))
                log_warning_errno(
                        error, "Cannot accept connections to %s, trying again in a second: %m",
                        door->address);
        if (sd_event_source_set_time_relative(door->pause_source, ACCEPT_PAUSE_USEC) < 0 ||
            sd_event_source_set_enabled(door->pause_source, SD_EVENT_ONESHOT) < 0)
                return;
        (void) sd_event_source_set_enabled(door->source, SD_EVENT_OFF);
}

static int on_knock(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct door *door = userdata;

        for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
                union address address = {};
                socklen_t size = sizeof(address);

                int client_fd = accept4(fd, &address.any, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (client_fd < 0) {
                        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                                pause_accepting(door, -errno);
                        /* Anything else is about this one connection, or says that there are no more. */
                        return 0;
                }
                if (!door->gate.is_unix && !is_loopback(&address))
                        close_fd(client_fd);
                else if (door->n_clients >= door->connections_max)
                        refuse_client(door, client_fd);
                else if (admit_client(door, client_fd, &address) < 0)
                        log_debug("No memory for a connection to %s.", door->address);
        }
        return 0;
}

int door_open(struct door *door, sd_event *event) {
        int r = sd_event_add_io(event, &door->source, door->fd, EPOLLIN, on_knock, door);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(
                event, &door->pause_source, CLOCK_MONOTONIC, 0, 0, on_pause_over, door);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(door->pause_source, SD_EVENT_OFF);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(door->source, "rest-door");
        (void) sd_event_source_set_description(door->pause_source, "rest-door-pause");
        return 0;
}

void door_close(struct door *door) {
        door->source = sd_event_source_disable_unref(door->source);
        door->pause_source = sd_event_source_disable_unref(door->pause_source);
        if (door->made_path)
                (void) unlink(door->made_path);
        free(TAKE_PTR(door->made_path));
        door->fd = close_fd(door->fd);
}

struct door *door_free(struct door *door) {
        if (!door)
                return NULL;
        assert(door->n_clients == 0);
        door_close(door);
        buffer_done(&door->refusal);
        free(door->address);
        free(door);
        return NULL;
}

const char *door_address(const struct door *door) {
        return door->address;
}
