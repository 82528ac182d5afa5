/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <systemd/sd-id128.h>

#include "util/file.h"
#include "util/log.h"
#include "util/message-ids.h"
#include "util/parse.h"
#include "util/random.h"

#define FILE_NAME "identity"
#define FILE_MAX 4096
#define FILE_MODE 0600
#define FILE_VERSION 1

static const char node_id_prefix[] = "node-";

/* Makes the machine's id another one for each program; never to be changed. */
#define APPLICATION_ID SD_ID128_MAKE(5d, 0c, 1e, 7a, 93, 44, 4f, 0b, a6, 2b, c1, 38, e7, 90, 5f, 12)

char *identity_machine(char buffer[static IDENTITY_MACHINE_SIZE]) {
        sd_id128_t machine;

        if (sd_id128_get_machine_app_specific(APPLICATION_ID, &machine) < 0)
                buffer[0] = '\0';
        else
                (void) sd_id128_to_string(machine, buffer);
        return buffer;
}

static bool is_lower_hex(const char *text, size_t size) {
        return strspn(text, "0123456789abcdef") == size && text[size] == '\0';
}

static bool node_id_is_ours(const char *text) {
        size_t prefix = strlen(node_id_prefix);

        return strncmp(text, node_id_prefix, prefix) == 0 &&
               is_lower_hex(text + prefix, IDENTITY_NODE_ID_SIZE - 1 - prefix);
}

/* Which lines were there; each exactly once. */
enum {
        HAS_VERSION = 1 << 0,
        HAS_NODE_ID = 1 << 1,
        HAS_MACHINE = 1 << 2,
        HAS_INCARNATION = 1 << 3,
        HAS_ALL = HAS_VERSION | HAS_NODE_ID | HAS_MACHINE | HAS_INCARNATION,
};

/* One "key=value". Returns which it was; -EBADMSG, -EPROTONOSUPPORT. */
static int parse_line(const char *key, const char *value, struct identity *identity) {
        uint64_t version;

        if (streq(key, "version")) {
                if (parse_u64(value, &version) < 0 || version == 0)
                        return -EBADMSG;
                return version > FILE_VERSION ? -EPROTONOSUPPORT : HAS_VERSION;
        }
        if (streq(key, "node_id")) {
                if (!node_id_is_ours(value))
                        return -EBADMSG;
                memcpy(identity->node_id, value, sizeof(identity->node_id));
                return HAS_NODE_ID;
        }
        if (streq(key, "machine")) {
                if (*value != '\0' && !is_lower_hex(value, IDENTITY_MACHINE_SIZE - 1))
                        return -EBADMSG;
                memcpy(identity->machine, value, strlen(value) + 1);
                return HAS_MACHINE;
        }
        if (streq(key, "incarnation")) {
                if (parse_u64(value, &identity->incarnation) < 0 || identity->incarnation == 0 ||
                    identity->incarnation >= IDENTITY_INCARNATION_MAX)
                        return -EBADMSG;
                return HAS_INCARNATION;
        }
        return -EBADMSG;
}

/* data is changed. -EBADMSG: damaged. */
static int parse_identity(char *data, size_t size, struct identity *ret) {
        struct identity identity = {};
        int seen = 0;

        if (size == 0 || data[size - 1] != '\n' || strlen(data) != size)
                return -EBADMSG;
        data[size - 1] = '\0';

        for (char *line; (line = strsep(&data, "\n"));) {
                char *equals = strchr(line, '=');
                if (*line == '#')
                        continue;
                if (!equals)
                        return -EBADMSG;
                *equals = '\0';
                int r = parse_line(line, equals + 1, &identity);
                if (r < 0)
                        return r;
                if (seen & r)
                        return -EBADMSG;
                seen |= r;
        }
        if (seen != HAS_ALL)
                return -EBADMSG;

        *ret = identity;
        return 0;
}

/* IDENTITY_LOADED, IDENTITY_CREATED: there is none yet. IDENTITY_REPLACED: it is damaged. */
static int read_identity(int state_fd, struct identity *ret) {
        _cleanup_free_ char *data = NULL;
        size_t size;

        int r = read_file(state_fd, FILE_NAME, FILE_MAX, &data, &size);
        if (r == -ENOENT)
                return IDENTITY_CREATED;
        if (r >= 0)
                r = parse_identity(data, size, ret);
        else if (r == -EFBIG)
                r = -EBADMSG;
        if (r == -EBADMSG)
                return IDENTITY_REPLACED;
        return r < 0 ? r : IDENTITY_LOADED;
}

/* It takes no further block, and is less than a sector, which a disk writes as a whole. */
static int write_over(int state_fd, const char *text, size_t size) {
        _cleanup_close_ int fd = openat(state_fd, FILE_NAME, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        if (pwrite(fd, text, size, 0) != (ssize_t) size || ftruncate(fd, (off_t) size) < 0)
                return -ENOSPC;
        return fsync(fd) < 0 ? -errno : 0;
}

static int write_identity(int state_fd, const struct identity *identity) {
        char text[FILE_MAX];

        int size = snprintf(
                text, sizeof(text),
                "# Written by worker-mesh at each start; do not copy it to another node.\n"
                "version=%d\nnode_id=%s\nmachine=%s\nincarnation=%" PRIu64 "\n",
                FILE_VERSION, identity->node_id, identity->machine, identity->incarnation);
        int r = write_file_atomic(state_fd, FILE_NAME, text, (size_t) size, FILE_MODE);
        /* A node that is restarted on a full disk still has jobs to take care of. */
        if ((r == -ENOSPC || r == -EDQUOT) && write_over(state_fd, text, (size_t) size) >= 0)
                return 0;
        return r;
}

static void make_identity(const char *machine, struct identity *ret) {
        uint64_t number;

        *ret = (struct identity){};
        random_bytes(&number, sizeof(number));
        (void) snprintf(ret->node_id, sizeof(ret->node_id), "%s%016" PRIx64, node_id_prefix, number);
        (void) snprintf(ret->machine, sizeof(ret->machine), "%s", machine);
}

static int set_aside(int state_fd) {
        char name[64], time_text[TIME_TEXT_MAX];

        (void) snprintf(
                name, sizeof(name), FILE_NAME ".damaged-%s",
                format_time(time_text, sizeof(time_text), now_usec(CLOCK_REALTIME), 6));
        if (renameat(state_fd, FILE_NAME, state_fd, name) < 0)
                return -errno;
        log_error(
                "The file \"" FILE_NAME "\" in the state directory is damaged and was renamed to \"%s\"; "
                "this node takes a new name.",
                name);
        return 0;
}

static void
log_outcome(enum identity_outcome outcome, const struct identity *old, const struct identity *fresh) {
        switch (outcome) {
        case IDENTITY_CLONED:
                log_event(
                        LOG_NOTICE, MESSAGE_IDENTITY_COPIED,
                        "The state directory comes from another machine: %s becomes %s, the jobs of the old "
                        "name stay as history.",
                        old->node_id, fresh->node_id);
                break;
        case IDENTITY_CREATED:
        case IDENTITY_REPLACED:
                log_info("This node is called %s from now on.", fresh->node_id);
                break;
        case IDENTITY_LOADED:
                break;
        }
}

int identity_load_or_create(int state_fd, const char *machine, struct identity *ret) {
        struct identity old = {}, identity;

        int outcome = read_identity(state_fd, &old);
        if (outcome < 0)
                return outcome;
        /* Where either is unknown there is nothing to compare. */
        if (outcome == IDENTITY_LOADED && *old.machine && *machine && !streq(old.machine, machine))
                outcome = IDENTITY_CLONED;
        if (outcome == IDENTITY_REPLACED) {
                int r = set_aside(state_fd);
                if (r < 0)
                        return r;
        }

        if (outcome == IDENTITY_LOADED) {
                identity = old;
                if (*identity.machine == '\0')
                        (void) snprintf(identity.machine, sizeof(identity.machine), "%s", machine);
        } else
                make_identity(machine, &identity);
        int r = identity_raise_incarnation(state_fd, &identity, identity.incarnation);
        if (r < 0)
                return r;

        log_outcome(outcome, &old, &identity);
        *ret = identity;
        return outcome;
}

int identity_raise_incarnation(int state_fd, struct identity *identity, uint64_t above) {
        struct identity raised = *identity;

        raised.incarnation = MAX(identity->incarnation, above) + 1;
        if (raised.incarnation > IDENTITY_INCARNATION_MAX || above == UINT64_MAX)
                return -ERANGE;
        int r = write_identity(state_fd, &raised);
        if (r < 0)
                return r;

        *identity = raised;
        return 0;
}
