/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/fake-journal.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lib/tests.h"
#include "util/macros.h"

void fake_journal_open(struct fake_journal *journal, const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        (void) unlink(path);
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        journal->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_GE(journal->fd, 0);
        ASSERT_EQ(bind(journal->fd, (const struct sockaddr *) &address, sizeof(address)), 0);
}

void fake_journal_close(struct fake_journal *journal) {
        journal->fd = close_fd(journal->fd);
}

static const char *parse_field(const char *at, const char *end, struct journal_value *ret) {
        const char *line_end = memchr(at, '\n', (size_t) (end - at));
        const char *equals;
        uint64_t size;

        ASSERT_NOT_NULL(line_end);
        equals = memchr(at, '=', (size_t) (line_end - at));
        ret->name = at;
        if (equals) {
                ret->name_size = (size_t) (equals - at);
                ret->value = equals + 1;
                ret->size = (size_t) (line_end - equals - 1);
                return line_end + 1;
        }
        ret->name_size = (size_t) (line_end - at);
        ASSERT_GE(end - line_end - 1, (ptrdiff_t) sizeof(size));
        memcpy(&size, line_end + 1, sizeof(size));
        size = le64toh(size);
        ret->value = line_end + 1 + sizeof(size);
        ASSERT_GT((uint64_t) (end - ret->value), size);
        ret->size = (size_t) size;
        ASSERT_EQ(ret->value[size], '\n');
        return ret->value + size + 1;
}

static void take_file(int fd, struct journal_message *message) {
        const int sealed = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
        struct stat st;

        ASSERT_EQ(fcntl(fd, F_GET_SEALS) & sealed, sealed);
        ASSERT_EQ(fstat(fd, &st), 0);
        message->size = (size_t) st.st_size;
        free(message->data);
        message->data = malloc(message->size + 1);
        ASSERT_EQ(pread(fd, message->data, message->size, 0), st.st_size);
        message->from_file = true;
        close(fd);
}

bool fake_journal_receive(struct fake_journal *journal, struct journal_message *ret) {
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(sizeof(int))];
        } control;
        ssize_t n = recv(journal->fd, NULL, 0, MSG_PEEK | MSG_TRUNC);
        struct iovec part = { .iov_base = malloc((size_t) MAX(n, (ssize_t) 0) + 1),
                              .iov_len = (size_t) MAX(n, (ssize_t) 0) };
        struct msghdr datagram = {
                .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        const struct cmsghdr *header;

        if (n >= 0)
                n = recvmsg(journal->fd, &datagram, MSG_CMSG_CLOEXEC);
        if (n < 0) {
                ASSERT_EQ(errno, EAGAIN);
                free(part.iov_base);
                return false;
        }
        ASSERT_EQ(datagram.msg_flags & (MSG_TRUNC | MSG_CTRUNC), 0);
        *ret = (struct journal_message){ .data = part.iov_base, .size = (size_t) n };
        header = CMSG_FIRSTHDR(&datagram);
        if (header) {
                int fd;

                memcpy(&fd, CMSG_DATA(header), sizeof(fd));
                take_file(fd, ret);
        }
        ret->data[ret->size] = '\0';
        for (const char *at = ret->data, *end = at + ret->size; at < end;) {
                ASSERT_LT(ret->n_fields, ELEMENTSOF(ret->fields));
                at = parse_field(at, end, &ret->fields[ret->n_fields++]);
        }
        return true;
}

void journal_message_done(struct journal_message *message) {
        free(message->data);
        *message = (struct journal_message){};
}

const struct journal_value *journal_message_get(const struct journal_message *message, const char *name) {
        for (size_t i = 0; i < message->n_fields; i++)
                if (message->fields[i].name_size == strlen(name) &&
                    memcmp(message->fields[i].name, name, strlen(name)) == 0)
                        return &message->fields[i];
        return NULL;
}

bool journal_message_has(const struct journal_message *message, const char *name, const char *value) {
        const struct journal_value *found = journal_message_get(message, name);

        return found && found->size == strlen(value) && memcmp(found->value, value, found->size) == 0;
}
