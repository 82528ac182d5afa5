/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net/join.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/link-stream.h"
#include "util/time.h"

struct join {
        struct link_stream stream;
        uint8_t mesh_id[MESH_ID_SIZE];
        sd_event_source *io_source, *timer_source;
        bool connected, established;
        char text[MESH_KEYS_TEXT_MAX];
        size_t size;
        join_handler_t handler;
        void *userdata;
};

/* The handler may free it. */
static void tell(struct join *join, int error, const struct mesh_keys *keys) {
        join->io_source = sd_event_source_disable_unref(join->io_source);
        join->timer_source = sd_event_source_disable_unref(join->timer_source);
        join->handler(join->userdata, error, keys);
}

static void take_keys(struct join *join) {
        _cleanup_mesh_keys_ struct mesh_keys keys = {};
        struct mesh_keys_problem problem;

        /* Closed in order, and without a word: somebody else was faster. */
        int r = join->size == 0 ? -EKEYREJECTED : mesh_keys_parse(join->text, join->size, &keys, &problem);
        if (r >= 0 && memcmp(keys.mesh_id, join->mesh_id, MESH_ID_SIZE) != 0)
                r = -EBADMSG;
        tell(join, r, r < 0 ? NULL : &keys);
}

/* 0: there is more to come. 1: that was all. */
static int read_text(struct join *join) {
        for (;;) {
                if (join->size == sizeof(join->text))
                        return -EBADMSG;
                ssize_t n = join->stream.operations->read(
                        &join->stream, join->text + join->size, sizeof(join->text) - join->size);
                if (n == -EAGAIN)
                        return 0;
                if (n <= 0)
                        return n == 0 ? 1 : (int) n;
                join->size += (size_t) n;
        }
}

static int connect_error(const struct join *join) {
        int error = 0;
        socklen_t size = sizeof(error);

        if (getsockopt(join->stream.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
                return -errno;
        return -error;
}

/* As read_text(). */
static int go_on(struct join *join) {
        int r;

        if (!join->connected) {
                r = connect_error(join);
                if (r < 0)
                        return r;
                join->connected = true;
        }
        if (!join->established) {
                r = join->stream.operations->handshake(&join->stream);
                if (r == -EAGAIN)
                        return sd_event_source_set_io_events(
                                join->io_source, join->stream.operations->wants(&join->stream));
                if (r < 0)
                        return r;
                join->established = true;
                r = sd_event_source_set_io_events(join->io_source, EPOLLIN);
                if (r < 0)
                        return r;
        }
        return read_text(join);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        struct join *join = userdata;
        int r = go_on(join);

        if (r < 0)
                tell(join, r, NULL);
        else if (r > 0)
                take_keys(join);
        return 0;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        tell(userdata, -ETIMEDOUT, NULL);
        return 0;
}

static int
begin(struct join *join, const struct token *token, const struct sockaddr_in *address, sd_event *event) {
        struct token_key key;

        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        int r = token_derive(token, &key);
        if (r < 0)
                close_fd(fd);
        else
                r = link_stream_init_opener(&join->stream, fd, key.name, key.secret);
        explicit_bzero(&key, sizeof(key));
        if (r < 0)
                return r;
        if (connect(fd, (const struct sockaddr *) address, sizeof(*address)) < 0 && errno != EINPROGRESS)
                return -errno;
        r = sd_event_add_io(event, &join->io_source, fd, EPOLLOUT, on_io, join);
        if (r < 0)
                return r;
        return sd_event_add_time_relative(
                event, &join->timer_source, CLOCK_BOOTTIME, JOIN_WAIT_USEC, 0, on_time, join);
}

int join_new(
        const struct token *token, const struct sockaddr_in *address, sd_event *event,
        join_handler_t handler, void *userdata, struct join **ret) {
        _cleanup_(join_free_p) struct join *join = calloc(1, sizeof(*join));

        if (!join)
                return -ENOMEM;
        join->stream.fd = -EBADF;
        join->handler = handler;
        join->userdata = userdata;
        memcpy(join->mesh_id, token->mesh_id, MESH_ID_SIZE);
        int r = begin(join, token, address, event);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(join);
        return 0;
}

struct join *join_free(struct join *join) {
        if (!join)
                return NULL;
        sd_event_source_disable_unref(join->io_source);
        sd_event_source_disable_unref(join->timer_source);
        link_stream_close(&join->stream);
        explicit_bzero(join->text, sizeof(join->text));
        free(join);
        return NULL;
}
