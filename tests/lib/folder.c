/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/folder.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/tests.h"

void folder_make(struct folder *folder) {
        const char *parent = getenv("TMPDIR");

        ASSERT_LT(
                snprintf(folder->path, sizeof(folder->path), "%s/worker-mesh-test-XXXXXX", parent ?: "/tmp"),
                sizeof(folder->path));
        ASSERT_NOT_NULL(mkdtemp(folder->path));
        folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_GE(folder->fd, 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        return remove(path);
}

void folder_remove(struct folder *folder) {
        (void) close(folder->fd);
        ASSERT_EQ(nftw(folder->path, remove_one, /* nopenfd= */ 16, FTW_DEPTH | FTW_PHYS), 0);
}

void folder_write(const struct folder *folder, const char *name, const char *text) {
        char path[256];

        ASSERT_LT(snprintf(path, sizeof(path), "%s/%s", folder->path, name), sizeof(path));
        for (char *slash = strchr(path + strlen(folder->path) + 1, '/'); slash;
             slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                ASSERT_TRUE(mkdir(path, 0700) >= 0 || errno == EEXIST);
                *slash = '/';
        }

        FILE *file = fopen(path, "we");
        ASSERT_NOT_NULL(file);
        ASSERT_GE(fputs(text, file), 0);
        ASSERT_EQ(fclose(file), 0);
}
