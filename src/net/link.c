/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One connection: bytes into frames, frames into messages, and the queue of what is to be written.
 * Everything is bounded a turn of the loop; what is left then comes in the next one. A handler may close any
 * link, this one included: after each call of one its state is looked at again. */

#include <limits.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/links-internal.h"
#include "wire/link-codec.h"

#define READ_SIZE (64u * 1024)          /* at once; of a large frame as much again as there is already */
#define WRITE_BUDGET (1u * 1024 * 1024) /* to one node in one turn */

int link_new(struct links *links, enum link_state state, struct link **ret) {
        struct link *link = calloc(1, sizeof(*link));

        if (!link)
                return -ENOMEM;
        link->links = links;
        link->stream.fd = -EBADF;
        link_queue_init(&link->out);
        link->deadline = usec_add(links_now(links), links->limits.handshake_usec);
        links_enter(link, state);
        links_wake_at(links, link->deadline);
        *ret = link;
        return 0;
}

struct link *link_free(struct link *link) {
        if (!link)
                return NULL;
        link_detach(link);
        buffer_done(&link->in);
        free(link);
        return NULL;
}

static void link_watch(struct link *link, uint32_t events) {
        if (events == link->events)
                return;
        if (sd_event_source_set_io_events(link->source, events) >= 0)
                link->events = events;
}

/* Connected, and through the handshake of the stream? An opener then says hello; whoever was asked waits to
 * hear who asks. */
static void link_establish(struct link *link) {
        int error = 0;
        socklen_t size = sizeof(error);

        if (link->state == LINK_CONNECTING &&
            (getsockopt(link->stream.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0)) {
                links_end(link, error != 0 ? -error : -errno);
                return;
        }
        int r = link->stream.operations->handshake(&link->stream);
        if (r == -EAGAIN) {
                link_watch(link, link->stream.operations->wants(&link->stream));
                return;
        }
        if (r == -EKEYREJECTED || r == -EPROTO) {
                link->links->counters.strangers += r == -EKEYREJECTED;
                links_refuse(
                        link, r,
                        r == -EPROTO ? "it does not speak TLS as we do" : "it has no key of this mesh");
                return;
        }
        if (r < 0) {
                links_end(link, r);
                return;
        }
        link->established = true;
        link_watch(link, EPOLLIN);
        if (links_admit(link) || link->state != LINK_CONNECTING)
                return;
        links_enter(link, LINK_GREETING);
        r = links_say_hello(link);
        if (r < 0)
                links_end(link, r);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct link *link = userdata;

        if (!link->established)
                link_establish(link);
        if (link->established && (revents & EPOLLOUT))
                link_flush(link);
        if (link->established && (revents & ~(uint32_t) EPOLLOUT))
                link_take_turn(link);
        return 0;
}

static bool on_key_name(void *userdata, const char *name, uint8_t ret_secret[static TLS_SECRET_SIZE]) {
        struct link *link = userdata;
        const struct mesh_key *key = mesh_keys_find_name(link->links->keys, name);

        if (!key)
                return links_find_invitation(link, name, ret_secret);
        memcpy(ret_secret, key->link, TLS_SECRET_SIZE);
        return true;
}

static int link_begin_stream(struct link *link, int fd) {
        const struct mesh_keys *keys = link->links->keys;
        char name[MESH_KEY_NAME_SIZE];

        if (!keys) {
                link_stream_init_plain(&link->stream, fd);
                return 0;
        }
        if (link->state != LINK_CONNECTING)
                return link_stream_init_listener(&link->stream, fd, on_key_name, link);
        return link_stream_init_opener(
                &link->stream, fd, mesh_key_name(keys, &keys->keys[0], name), keys->keys[0].link);
}

int link_attach(struct link *link, int fd) {
        link->events = link->state == LINK_CONNECTING ? EPOLLOUT : EPOLLIN;
        int r = link_begin_stream(link, fd);
        if (r < 0)
                return r;
        r = sd_event_add_io(link->links->event, &link->source, fd, link->events, on_io, link);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(link->source, "link");
        return 0;
}

void link_detach(struct link *link) {
        list_remove(&link->turn_place);
        list_remove(&link->flush_place);
        link_queue_clear(&link->out);
        link->source = sd_event_source_disable_unref(link->source);
        link_stream_close(&link->stream);
        link->established = false;
}

static void link_take_message(struct link *link, struct link_message *message) {
        struct links *links = link->links;

        links->counters.messages_received++;
        if (link->state == LINK_UP) {
                if (message->has_hello) {
                        links_refuse(link, -EBADMSG, "it has said hello twice");
                        return;
                }
        } else {
                if (!message->has_hello) {
                        links_refuse(link, -EBADMSG, "it has not said hello");
                        return;
                }
                links_greet(link, &message->hello);
                if (link->state != LINK_UP || link_message_is_empty(message))
                        return;
                message->has_hello = false;
        }
        links_touch(link, links_now(links));
        links->handlers.received(links->handlers.userdata, link->node_id, message);
}

static void link_take_frame(struct link *link, const char *frame, size_t size) {
        _cleanup_link_message_ struct link_message message = {};

        int r = link_message_decode(frame + LINK_FRAME_HEADER_SIZE, size - LINK_FRAME_HEADER_SIZE, &message);
        if (r == -EBADMSG)
                links_refuse(link, r, "it sends what is not a message");
        else if (r < 0)
                links_end(link, r);
        else
                link_take_message(link, &message);
}

/* How long the frame is that begins at offset; 0: not known yet. */
static int link_next_frame(const struct link *link, size_t offset, size_t *ret_size) {
        *ret_size = 0;
        if (link->in.size == offset)
                return 0;
        int r = link_frame_size(link->in.data + offset, link->in.size - offset, ret_size);
        if (r >= 0 && link->state != LINK_UP && *ret_size > LINK_HELLO_FRAME_MAX)
                return -EBADMSG;
        return r;
}

/* Hands on up to *left frames that are there as a whole. True: a whole one is left. */
static bool link_take_frames(struct link *link, unsigned *left) {
        size_t taken = 0, size = 0;
        bool more = false;

        while (link->established) {
                if (link_next_frame(link, taken, &size) < 0) {
                        links_refuse(link, -EBADMSG, "its frame is too long");
                        break;
                }
                more = size > 0 && size <= link->in.size - taken;
                if (!more || *left == 0)
                        break;
                (*left)--;
                link_take_frame(link, link->in.data + taken, size);
                taken += size;
        }
        if (!link->established)
                return false;
        buffer_consume(&link->in, taken);
        return more;
}

/* Room grows with what has really arrived: a header alone reserves nothing. *ret_more, where something was
 * read: there may be more, of which the loop need not tell. */
static ssize_t link_read(struct link *link, bool *ret_more) {
        size_t size = 0, room = READ_SIZE;

        (void) link_next_frame(link, 0, &size);
        if (size > link->in.size + READ_SIZE)
                room = MIN(size - link->in.size, MAX(link->in.size, (size_t) READ_SIZE));
        int r = buffer_reserve(&link->in, room);
        if (r < 0)
                return r;
        ssize_t n = link->stream.operations->read(&link->stream, link->in.data + link->in.size, room);
        if (n <= 0)
                return n;
        *ret_more = (size_t) n == room || link->stream.operations->pending(&link->stream);
        link->in.size += (size_t) n;
        link->links->counters.bytes_received += (uint64_t) n;
        return n;
}

/* What a burst has made it grow to is given back. */
static void link_shrink(struct link *link) {
        size_t size = 0;

        if (link->in.size == 0) {
                buffer_done(&link->in);
                return;
        }
        if (link->in.allocated <= 4 * READ_SIZE || link->in.size > READ_SIZE)
                return;
        (void) link_next_frame(link, 0, &size);
        if (size > READ_SIZE)
                return;
        char *data = realloc(link->in.data, READ_SIZE + 1);
        if (data) {
                link->in.data = data;
                link->in.allocated = READ_SIZE + 1;
        }
}

/* The other end is gone: what has arrived as a whole still counts. */
static void link_take_last(struct link *link, int error) {
        unsigned left = UINT_MAX;

        if (link->state == LINK_UP)
                (void) link_take_frames(link, &left);
        if (!link->established)
                return;
        if (error == 0 && link->in.size > 0)
                error = -ECONNRESET;
        links_end(link, error);
}

/* A stranger that has hung up already is not worth a greeting: it may be left from an attempt that was given
 * up for another one, which has come and gone since. */
static ssize_t stranger_read(struct link *link, bool *ret_more) {
        ssize_t n = link_read(link, ret_more);

        if (n <= 0)
                return n;
        ssize_t following = link_read(link, ret_more);
        return following > 0 || following == -EAGAIN ? n : following;
}

void link_take_turn(struct link *link) {
        unsigned left = link->links->limits.frames_per_turn;
        ssize_t n = 0;

        list_remove(&link->turn_place);
        bool unread = false, more = link->in.size > 0 && link_take_frames(link, &left);
        if (!link->established)
                return;
        if (!more) {
                n = link->state == LINK_STRANGER ? stranger_read(link, &unread) : link_read(link, &unread);
                if (n <= 0 && n != -EAGAIN) {
                        link_take_last(link, (int) n);
                        return;
                }
                more = n > 0 && link_take_frames(link, &left);
                if (!link->established)
                        return;
        }
        link_shrink(link);
        if (more || unread) {
                list_append(&link->links->turns, &link->turn_place);
                links_wake(link->links);
        }
}

void link_flush(struct link *link) {
        struct links *links = link->links;

        list_remove(&link->flush_place);
        ssize_t n = link_queue_write(&link->out, &link->stream, WRITE_BUDGET);
        if (n < 0) {
                links_end(link, (int) n);
                return;
        }
        links->counters.bytes_sent += (uint64_t) n;
        if (n > 0)
                link->taken_at = links_now(links);
        link_watch(link, EPOLLIN | (link->out.size > 0 ? (uint32_t) EPOLLOUT : 0));
        if (link->out.size > 0)
                links_wake_at(links, usec_add(link->taken_at, links->limits.stall_usec));
        if (link->was_full && link->out.size <= links->limits.queue_low) {
                link->was_full = false;
                links->handlers.writable(links->handlers.userdata, link->node_id);
        }
}

int link_send(struct link *link, const struct link_message *message) {
        struct links *links = link->links;
        bool was_empty = link->out.size == 0;

        int r = link_queue_add(&link->out, message, links->limits.queue_max);
        if (r == -ENOBUFS)
                link->was_full = true;
        if (r < 0)
                return r;
        links->counters.messages_sent++;
        if (link->out.size > links->limits.queue_low)
                link->was_full = true;
        if (was_empty)
                link->taken_at = links_now(links);
        /* While the socket is full, the loop tells when it is not. */
        if (!(link->events & EPOLLOUT) && !list_is_linked(&link->flush_place)) {
                list_append(&links->flushes, &link->flush_place);
                links_wake(links);
        }
        return 0;
}
