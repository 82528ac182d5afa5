/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node/pressure.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>

#include "util/macros.h"

static const char *const names[_PRESSURE_FILES] = {
        [PRESSURE_CPU] = "cpu",
        [PRESSURE_MEMORY] = "memory",
        [PRESSURE_IO] = "io",
};

void pressure_open(const char *folder, struct pressure_files *ret) {
        _cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        for (size_t i = 0; i < _PRESSURE_FILES; i++)
                ret->fds[i] = fd >= 0 ? openat(fd, names[i], O_RDONLY | O_CLOEXEC) : -EBADF;
}

void pressure_close(struct pressure_files *files) {
        for (size_t i = 0; i < _PRESSURE_FILES; i++)
                files->fds[i] = close_fd(files->fds[i]);
}

/* "some avg10=1.23 …" is the first line: percent. */
static bool parse(const char *text, uint16_t *ret) {
        static const char prefix[] = "some avg10=";
        unsigned percent, hundredths, parts;

        /* %u would take a sign. */
        if (strncmp(text, prefix, strlen(prefix)) != 0 || !isdigit((unsigned char) text[strlen(prefix)]) ||
            sscanf(text + strlen(prefix), "%3u.%2u", &percent, &hundredths) != 2)
                return false;
        parts = percent * (PRESSURE_FULL / 100) + hundredths / 10;
        *ret = (uint16_t) MIN(parts, PRESSURE_FULL);
        return true;
}

static bool read_one(int fd, uint16_t *ret) {
        char text[256];
        ssize_t size;

        if (fd < 0)
                return false;
        size = pread(fd, text, sizeof(text) - 1, 0);
        if (size <= 0)
                return false;
        text[size] = '\0';
        return parse(text, ret);
}

void pressure_read(const struct pressure_files *files, struct node_pressure *ret) {
        struct node_pressure pressure = { .known = true };

        pressure.known = read_one(files->fds[PRESSURE_CPU], &pressure.cpu) &&
                         read_one(files->fds[PRESSURE_MEMORY], &pressure.memory) &&
                         read_one(files->fds[PRESSURE_IO], &pressure.io);
        *ret = pressure.known ? pressure : (struct node_pressure){};
}
