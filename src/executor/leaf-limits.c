/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "executor/leaf-limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "util/file.h"
#include "util/macros.h"
#include "util/parse.h"

#define VALUE_MAX 64u
#define EVENTS_MAX 512u
#define CPU_PERIOD_USEC 100000u /* the kernel's */
#define CPU_USEC_PER_PERCENT (CPU_PERIOD_USEC / 100)

static int write_value(int directory_fd, const char *name, const char *format, ...) _printf_(3, 4);

static int write_value(int directory_fd, const char *name, const char *format, ...) {
        _cleanup_close_ int fd = openat(directory_fd, name, O_WRONLY | O_TRUNC | O_CLOEXEC);
        char text[VALUE_MAX];
        va_list arguments;
        int n;

        if (fd < 0)
                return -errno;
        va_start(arguments, format);
        n = vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        return write(fd, text, (size_t) n) < 0 ? -errno : 0;
}

static int write_or_max(int directory_fd, const char *name, uint64_t value) {
        return value > 0 ? write_value(directory_fd, name, "%" PRIu64, value)
                         : write_value(directory_fd, name, "max");
}

/* What not every kernel has, and makes the limit only milder. */
static int write_optional(int directory_fd, const char *name, const char *text) {
        int r = write_value(directory_fd, name, "%s", text);

        return r == -ENOENT ? 0 : r;
}

/* Without swap, so that the limit is one of all memory; and when it does not suffice, the job ends as a
 * whole rather than in pieces. */
static int write_memory(int directory_fd, uint64_t memory_max) {
        int r;

        r = write_or_max(directory_fd, "memory.max", memory_max);
        if (r >= 0)
                r = write_optional(directory_fd, "memory.swap.max", memory_max > 0 ? "0" : "max");
        if (r >= 0)
                r = write_optional(directory_fd, "memory.oom.group", memory_max > 0 ? "1" : "0");
        return r;
}

static int write_quota(int directory_fd, uint32_t percent) {
        return percent > 0 ? write_value(
                                     directory_fd, "cpu.max", "%" PRIu64 " %u",
                                     (uint64_t) percent * CPU_USEC_PER_PERCENT, CPU_PERIOD_USEC)
                           : write_value(directory_fd, "cpu.max", "max %u", CPU_PERIOD_USEC);
}

int leaf_limits_write(int directory_fd, const struct job_limits *old, const struct job_limits *new) {
        int r = 0;

        if (old->memory_max != new->memory_max)
                r = write_memory(directory_fd, new->memory_max);
        if (r >= 0 && old->cpu_weight != new->cpu_weight)
                r = write_value(
                        directory_fd, "cpu.weight", "%u",
                        new->cpu_weight > 0 ? new->cpu_weight : JOB_CPU_WEIGHT_DEFAULT);
        if (r >= 0 && old->cpu_quota != new->cpu_quota)
                r = write_quota(directory_fd, new->cpu_quota);
        if (r >= 0 && old->tasks_max != new->tasks_max)
                r = write_or_max(directory_fd, "pids.max", new->tasks_max);
        return r;
}

int leaf_oom_kills_read(int events_fd, uint64_t *ret) {
        static const char name[] = "oom_kill ";
        char text[EVENTS_MAX], *line, *saved = NULL;
        ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);

        if (n < 0)
                return -errno;
        text[n] = '\0';
        for (line = strtok_r(text, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved))
                if (strncmp(line, name, strlen(name)) == 0)
                        return parse_u64(line + strlen(name), ret);
        return -EBADMSG;
}

int leaf_memory_read(int directory_fd, uint64_t *ret) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_file(directory_fd, "memory.current", VALUE_MAX, &text, NULL);
        if (r < 0)
                return r;
        text[strcspn(text, "\n")] = '\0';
        return parse_u64(text, ret);
}
