/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "executor/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define DESCRIPTORS_SPACE CMSG_SPACE(sizeof(int) * EXECUTOR_DESCRIPTORS_MAX)

/* Room for ancillary data, aligned as the kernel's macros expect it. */
union control_buffer {
        struct cmsghdr header;
        char bytes[DESCRIPTORS_SPACE];
};

void channel_received_done(struct channel_received *received) {
        for (size_t i = 0; i < received->n_descriptors; i++)
                (void) close_fd(received->descriptors[i]);
        received->n_descriptors = 0;
}

static void collect_descriptors(struct msghdr *message, struct channel_received *received) {
        for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
                size_t n;

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                /* The control buffer has room for no more than the array. */
                assert(n <= EXECUTOR_DESCRIPTORS_MAX - received->n_descriptors);
                memcpy(received->descriptors + received->n_descriptors, CMSG_DATA(c), n * sizeof(int));
                received->n_descriptors += n;
        }
}

int channel_receive(int fd, void *buffer, size_t buffer_size, struct channel_received *ret) {
        union control_buffer control;
        struct iovec iov = { .iov_base = buffer, .iov_len = buffer_size };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        ssize_t n;

        ret->n_descriptors = 0;
        ret->size = 0;
        do
                n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;

        collect_descriptors(&message, ret);
        if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
                channel_received_done(ret);
                return -EBADMSG;
        }
        /* Nobody sends an empty message: that is the end. */
        if (n == 0) {
                channel_received_done(ret);
                return -ECONNRESET;
        }
        ret->size = (size_t) n;
        return 0;
}

int channel_send(int fd, const void *data, size_t size, const int *descriptors, size_t n_descriptors) {
        union control_buffer control;
        struct iovec iov = { .iov_base = (void *) data, .iov_len = size };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        assert(n_descriptors <= EXECUTOR_DESCRIPTORS_MAX);
        if (n_descriptors > 0) {
                memset(&control, 0, sizeof(control));
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(n_descriptors * sizeof(int));
                memcpy(CMSG_DATA(&control.header), descriptors, n_descriptors * sizeof(int));
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n_descriptors * sizeof(int));
        }
        do
                n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

int outbox_init(struct outbox *outbox) {
        *outbox = (struct outbox){ .message.data = malloc(EXECUTOR_MESSAGE_MAX) };
        return outbox->message.data ? 0 : -ENOMEM;
}

void outbox_forget_descriptors(struct outbox *outbox, size_t position) {
        while (outbox->n_descriptors > position)
                (void) close_fd(outbox->descriptors[--outbox->n_descriptors]);
}

void outbox_clear(struct outbox *outbox) {
        outbox_forget_descriptors(outbox, 0);
        outbox->message.size = 0;
}

void outbox_done(struct outbox *outbox) {
        outbox_clear(outbox);
        free(outbox->message.data);
        *outbox = (struct outbox){};
}

int outbox_add_descriptor(struct outbox *outbox, int fd) {
        assert(outbox_has_room_for(outbox, 1));
        outbox->descriptors[outbox->n_descriptors] = fd;
        return (int) outbox->n_descriptors++;
}

int outbox_send(struct outbox *outbox, int fd) {
        int r = channel_send(
                fd, outbox->message.data, outbox->message.size, outbox->descriptors, outbox->n_descriptors);

        if (r != -EAGAIN)
                outbox_clear(outbox);
        return r;
}

int channel_check_peer(int fd, uid_t allowed, uid_t *ret_uid) {
        struct ucred credentials;
        socklen_t size = sizeof(credentials);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
                return -errno;
        *ret_uid = credentials.uid;
        if (credentials.uid == 0 || credentials.uid == geteuid())
                return 0;
        return allowed != (uid_t) -1 && credentials.uid == allowed ? 0 : -EPERM;
}

pid_t channel_peer_pid(int fd) {
        struct ucred credentials;
        socklen_t size = sizeof(credentials);

        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0 ? 0 : credentials.pid;
}

int channel_connect(const char *path, int *ret_fd) {
        _cleanup_close_ int fd = -EBADF;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        size_t size = strlen(path);

        if (size == 0 || size > SOCKET_PATH_MAX)
                return -EINVAL;
        memcpy(address.sun_path, path, size + 1);

        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int write_pieces(int fd, const struct iovec *pieces, size_t n_pieces) {
        for (size_t i = 0; i < n_pieces; i++)
                for (size_t done = 0; done < pieces[i].iov_len;) {
                        ssize_t n = write(
                                fd, (const char *) pieces[i].iov_base + done, pieces[i].iov_len - done);

                        if (n < 0 && errno != EINTR)
                                return -errno;
                        if (n > 0)
                                done += (size_t) n;
                }
        return 0;
}

int memory_file_new(const struct iovec *pieces, size_t n_pieces, int *ret_fd) {
        _cleanup_close_ int fd = memfd_create("worker-mesh", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        int r;

        if (fd < 0)
                return -errno;
        r = write_pieces(fd, pieces, n_pieces);
        if (r < 0)
                return r;
        /* Sealed, the receiver need not fear that it changes or shrinks under it. */
        if (lseek(fd, 0, SEEK_SET) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int memory_file_size(int fd, size_t max, size_t *ret_size) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || (uint64_t) st.st_size > max)
                return -EBADMSG;
        *ret_size = (size_t) st.st_size;
        return 0;
}

int memory_file_read(int fd, uint64_t offset, void *buffer, size_t size) {
        for (size_t done = 0; done < size;) {
                ssize_t n = pread(fd, (char *) buffer + done, size - done, (off_t) (offset + done));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                done += (size_t) n;
        }
        return 0;
}
