/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One lock around socket and queue: sending takes microseconds, since it never waits. Messages leave in the
 * order in which they came, so while some wait every further one waits behind them.
 *
 * The socket is connected, since only then poll tells when the journal's queue has room. The epoll
 * descriptor holds it just as long as something waits, so that a loop can watch one descriptor that never
 * changes. */

#include "util/log-journal.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>

#include "util/list.h"
#include "util/macros.h"
#include "util/message-ids.h"

#define SEND_BUFFER_SIZE (8 * 1024 * 1024) /* asked for; the kernel gives what it allows */

/* A message as it is on the wire. */
struct waiting {
        struct list_link link;
        size_t size;
        char data[];
};

static struct {
        pthread_mutex_t lock;
        struct sockaddr_un address;
        int fd, epoll_fd;
        bool watched; /* fd is in epoll_fd */
        struct list queue;
        size_t queue_size; /* bytes, with what each message takes besides */
        uint64_t n_left_out;
} journal = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .address = { .sun_family = AF_UNIX, .sun_path = LOG_JOURNAL_SOCKET },
        .fd = -EBADF,
        .epoll_fd = -EBADF,
        .queue = { .root = { &journal.queue.root, &journal.queue.root } },
};

/* The name in front of the first '='; 0: it is no field. */
static size_t name_size(const struct iovec *field) {
        const char *equals = memchr(field->iov_base, '=', field->iov_len);

        return equals ? (size_t) (equals - (const char *) field->iov_base) : 0;
}

#define PARTS_PER_FIELD 5u
#define PARTS_MAX (PARTS_PER_FIELD * LOG_ENTRY_FIELDS_MAX)

/* The wire form: "NAME=value\n"; for a value with line breaks the name, a line break, its size in 64 bits,
 * the value and a line break. sizes has to live as long as parts. */
static size_t
encode(const struct iovec *fields, size_t n_fields, uint64_t sizes[], struct iovec parts[static PARTS_MAX]) {
        static char line_break[] = "\n";
        const struct iovec end = { line_break, 1 };
        size_t n = 0;

        for (size_t i = 0; i < MIN(n_fields, (size_t) LOG_ENTRY_FIELDS_MAX); i++) {
                size_t name = name_size(&fields[i]);
                char *value = (char *) fields[i].iov_base + name + 1;
                size_t size = fields[i].iov_len - name - 1;

                if (name == 0)
                        continue;
                if (memchr(value, '\n', size)) {
                        sizes[i] = htole64(size);
                        parts[n++] = (struct iovec){ fields[i].iov_base, name };
                        parts[n++] = end;
                        parts[n++] = (struct iovec){ &sizes[i], sizeof(sizes[i]) };
                        parts[n++] = (struct iovec){ value, size };
                } else
                        parts[n++] = fields[i];
                parts[n++] = end;
        }
        return n;
}

static void disconnect(void) {
        journal.fd = close_fd(journal.fd); /* which takes it out of epoll_fd, too */
        journal.watched = false;
}

static int connect_journal(void) {
        int size = SEND_BUFFER_SIZE;

        if (journal.fd >= 0)
                return 0;
        journal.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (journal.fd < 0)
                return -errno;
        /* What the journal has is not lost with us. */
        (void) setsockopt(journal.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        if (connect(journal.fd, (const struct sockaddr *) &journal.address, sizeof(journal.address)) < 0) {
                int r = -errno;

                disconnect();
                return r;
        }
        return 0;
}

static int send_datagram(const struct msghdr *message) {
        return sendmsg(journal.fd, message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* What is larger than a datagram may be travels as a sealed memory file. */
static int send_as_file(const struct iovec *parts, size_t n_parts) {
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        const struct msghdr message = { .msg_control = &control, .msg_controllen = sizeof(control) };
        _cleanup_close_ int fd = memfd_create("journal-message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        size_t size = 0;

        if (fd < 0)
                return -errno;
        for (size_t i = 0; i < n_parts; i++)
                size += parts[i].iov_len;
        if (writev(fd, parts, (int) n_parts) != (ssize_t) size ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                return -EIO;
        control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                           .cmsg_type = SCM_RIGHTS,
                                           .cmsg_len = CMSG_LEN(sizeof(int)) };
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
        return send_datagram(&message);
}

static bool is_disconnection(int error) {
        return error == -ECONNREFUSED || error == -ENOTCONN || error == -ECONNRESET || error == -EPIPE;
}

/* -EAGAIN: it does not take it now. */
static int send_parts(struct iovec *parts, size_t n_parts) {
        const struct msghdr message = { .msg_iov = parts, .msg_iovlen = n_parts };
        int r = 0;

        /* A journal that was restarted may have a new socket. */
        for (unsigned i = 0; i < 2; i++) {
                r = connect_journal();
                if (r < 0)
                        return r;
                r = send_datagram(&message);
                if (r == -EMSGSIZE || r == -ENOBUFS)
                        r = send_as_file(parts, n_parts);
                if (!is_disconnection(r))
                        break;
                disconnect();
        }
        return r;
}

/* Whoever watches the epoll descriptor is to be woken when the journal takes more, as long as something
 * waits. */
static void watch(bool wanted) {
        struct epoll_event event = { .events = EPOLLOUT };

        if (journal.epoll_fd < 0 || journal.fd < 0 || journal.watched == wanted)
                return;
        if (epoll_ctl(journal.epoll_fd, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, journal.fd, &event) >= 0)
                journal.watched = wanted;
}

static void enqueue(const struct iovec *parts, size_t n_parts, bool bulk) {
        struct waiting *waiting;
        size_t size = 0;

        for (size_t i = 0; i < n_parts; i++)
                size += parts[i].iov_len;
        if (journal.queue_size + sizeof(*waiting) + size > (bulk ? LOG_QUEUE_BULK_MAX : LOG_QUEUE_MAX) ||
            !(waiting = malloc(sizeof(*waiting) + size))) {
                journal.n_left_out++;
                return;
        }
        *waiting = (struct waiting){ .size = size };
        for (size_t i = 0, at = 0; i < n_parts; at += parts[i++].iov_len)
                memcpy(waiting->data + at, parts[i].iov_base, parts[i].iov_len);
        list_append(&journal.queue, &waiting->link);
        journal.queue_size += sizeof(*waiting) + size;
}

/* So many messages were left out; true: that has been said. */
static bool say_left_out(void) {
        char text[512];
        struct iovec part = { .iov_base = text };

        part.iov_len = (size_t) snprintf(
                text, sizeof(text),
                "MESSAGE=%" PRIu64 " messages were left out: the journal did not take them in time.\n"
                "MESSAGE_ID=" MESSAGE_LOG_LEFT_OUT "\nPRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nLEFT_OUT=%" PRIu64
                "\n",
                journal.n_left_out, LOG_WARNING, program_invocation_short_name, journal.n_left_out);
        if (send_parts(&part, 1) < 0)
                return false;
        journal.n_left_out = 0;
        return true;
}

/* True: nothing waits any more. */
static bool flush(size_t limit) {
        struct waiting *waiting;

        while ((waiting = LIST_FIRST(&journal.queue, struct waiting, link))) {
                struct iovec part = { waiting->data, waiting->size };
                int r;

                if (limit-- == 0)
                        return false;
                r = send_parts(&part, 1);
                /* Anything else than "not now" and "no journal" is about this message, and stays so. */
                if (r == -EAGAIN || r == -ENOENT || is_disconnection(r))
                        return false;
                if (r < 0)
                        journal.n_left_out++;
                list_remove(&waiting->link);
                journal.queue_size -= sizeof(*waiting) + waiting->size;
                free(waiting);
        }
        return journal.n_left_out == 0 || say_left_out();
}

int log_journal_send(const struct iovec *fields, size_t n_fields, bool bulk) {
        uint64_t sizes[LOG_ENTRY_FIELDS_MAX];
        struct iovec parts[PARTS_MAX];
        size_t n_parts = encode(fields, n_fields, sizes, parts);
        int r = -EAGAIN;

        (void) pthread_mutex_lock(&journal.lock);
        if (flush(LOG_FLUSH_MAX))
                r = send_parts(parts, n_parts);
        if (r == -EAGAIN) {
                enqueue(parts, n_parts, bulk);
                r = 0;
        }
        watch(journal.queue_size > 0 || journal.n_left_out > 0);
        (void) pthread_mutex_unlock(&journal.lock);
        return r;
}

void log_journal_flush(void) {
        (void) pthread_mutex_lock(&journal.lock);
        watch(!flush(LOG_FLUSH_MAX));
        (void) pthread_mutex_unlock(&journal.lock);
}

int log_journal_queue_fd(void) {
        int fd;

        (void) pthread_mutex_lock(&journal.lock);
        if (journal.epoll_fd < 0) {
                journal.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
                if (journal.epoll_fd < 0)
                        journal.epoll_fd = -errno;
                watch(journal.queue_size > 0 || journal.n_left_out > 0);
        }
        fd = journal.epoll_fd;
        (void) pthread_mutex_unlock(&journal.lock);
        return fd;
}

size_t log_journal_queue_size(void) {
        size_t size;

        (void) pthread_mutex_lock(&journal.lock);
        size = journal.queue_size;
        (void) pthread_mutex_unlock(&journal.lock);
        return size;
}

void log_journal_set_path(const char *path) {
        (void) pthread_mutex_lock(&journal.lock);
        disconnect();
        (void) snprintf(journal.address.sun_path, sizeof(journal.address.sun_path), "%s", path);
        (void) pthread_mutex_unlock(&journal.lock);
}
