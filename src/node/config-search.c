/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which files are read, in which order: worker-mesh.conf from the first folder that has it, then the
 * drop-ins of all folders, sorted by name. Of two drop-ins with one name, the one in the earlier folder
 * counts; so a link to /dev/null there takes the other out. */

#include <dirent.h>
#include <fcntl.h>
#include <syslog.h>

#include "node/config-internal.h"
#include "util/buffer.h"
#include "util/file.h"
#include "util/strv.h"

#define FILE_NAME "worker-mesh.conf"
#define DROP_IN_FOLDER "worker-mesh.conf.d"
#define DROP_IN_SUFFIX ".conf"

static const char *const system_folders[] = {
        "/etc/worker-mesh",
        "/run/worker-mesh",
        "/usr/local/lib/worker-mesh",
        "/usr/lib/worker-mesh",
};

struct drop_in {
        char *path;
        const char *name; /* the end of path */
};

struct drop_ins {
        struct drop_in *items;
        size_t count;
};

static void drop_ins_done(struct drop_ins *drop_ins) {
        for (size_t i = 0; i < drop_ins->count; i++)
                free(drop_ins->items[i].path);
        free(drop_ins->items);
}

static int compare_drop_ins(const void *a, const void *b) {
        return strcmp(((const struct drop_in *) a)->name, ((const struct drop_in *) b)->name);
}

/* The folder of a user other than root. NULL: there is none, or it is not ours to look into, as where $HOME
 * was left behind by another user. */
static int user_folder(char **ret) {
        _cleanup_buffer_ struct buffer path = {};
        const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
        int r;

        *ret = NULL;
        if (geteuid() == 0)
                return 0;
        if (config && *config == '/')
                r = buffer_printf(&path, "%s/worker-mesh", config);
        else if (home && *home == '/')
                r = buffer_printf(&path, "%s/.config/worker-mesh", home);
        else
                return 0;
        if (r < 0)
                return r;

        if (faccessat(AT_FDCWD, path.data, R_OK | X_OK, AT_EACCESS) >= 0)
                *ret = TAKE_PTR(path.data);
        return 0;
}

int config_search_folders(char ***ret) {
        _cleanup_strv_free_ char **folders = NULL;
        _cleanup_free_ char *user = NULL;

        int r = user_folder(&user);
        if (r >= 0 && user)
                r = strv_append(&folders, user);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(system_folders); i++)
                r = strv_append(&folders, system_folders[i]);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(folders);
        return 0;
}

/* 1: read. 0: there is no such file. A file that cannot be read is reported, and counts as read. */
static int read_one(struct config_builder *builder, const char *path) {
        _cleanup_free_ char *data = NULL;
        size_t size;

        int r = read_file(AT_FDCWD, path, CONFIG_FILE_MAX, &data, &size);
        if (r == -ENOENT || r == -ENOTDIR)
                return 0;
        if (r == -ENOMEM)
                return r;
        if (r == -EFBIG)
                config_report(
                        builder, LOG_ERR, "%s: The file is larger than %d bytes.", path, CONFIG_FILE_MAX);
        else if (r < 0)
                config_report(builder, LOG_ERR, "%s: Cannot read: %s.", path, strerror(-r));
        else
                r = config_parse(builder, path, data, size);
        return r == -ENOMEM ? r : 1;
}

static int read_main_file(struct config_builder *builder, const char *const *folders) {
        for (; *folders; folders++) {
                _cleanup_buffer_ struct buffer path = {};

                int r = buffer_printf(&path, "%s/" FILE_NAME, *folders);
                if (r < 0)
                        return r;
                r = read_one(builder, path.data);
                if (r != 0)
                        return r;
        }
        return 0;
}

static bool is_drop_in(const char *name) {
        size_t size = strlen(name), suffix = strlen(DROP_IN_SUFFIX);

        return *name != '.' && size > suffix && streq(name + size - suffix, DROP_IN_SUFFIX);
}

static bool drop_ins_contain(const struct drop_ins *drop_ins, const char *name) {
        for (size_t i = 0; i < drop_ins->count; i++)
                if (streq(drop_ins->items[i].name, name))
                        return true;
        return false;
}

static int drop_ins_add(struct drop_ins *drop_ins, const char *folder, const char *name) {
        _cleanup_buffer_ struct buffer path = {};

        int r = buffer_printf(&path, "%s/%s", folder, name);
        if (r < 0)
                return r;
        struct drop_in *longer = reallocarray(drop_ins->items, drop_ins->count + 1, sizeof(*longer));
        if (!longer)
                return -ENOMEM;
        drop_ins->items = longer;
        struct drop_in *drop_in = &longer[drop_ins->count++];
        drop_in->path = TAKE_PTR(path.data);
        drop_in->name = drop_in->path + strlen(folder) + 1;
        return 0;
}

/* Adds the names in one folder that no earlier folder has. */
static int collect_drop_ins(struct config_builder *builder, struct drop_ins *drop_ins, const char *folder) {
        _cleanup_buffer_ struct buffer path = {};
        struct dirent *entry;
        int r;

        r = buffer_printf(&path, "%s/" DROP_IN_FOLDER, folder);
        if (r < 0)
                return r;
        DIR *directory = opendir(path.data);
        if (!directory) {
                if (errno != ENOENT && errno != ENOTDIR)
                        config_report(builder, LOG_ERR, "%s: Cannot read: %s.", path.data, strerror(errno));
                return 0;
        }

        while (r >= 0 && (entry = readdir(directory))) {
                if (!is_drop_in(entry->d_name) || drop_ins_contain(drop_ins, entry->d_name))
                        continue;
                if (drop_ins->count >= CONFIG_DROP_INS_MAX) {
                        config_report(
                                builder, LOG_ERR, "%s: More than %d files.", path.data, CONFIG_DROP_INS_MAX);
                        break;
                }
                r = drop_ins_add(drop_ins, path.data, entry->d_name);
        }
        (void) closedir(directory);
        return r;
}

static int read_drop_ins(struct config_builder *builder, const char *const *folders) {
        _cleanup_(drop_ins_done) struct drop_ins drop_ins = {};

        for (; *folders; folders++) {
                int r = collect_drop_ins(builder, &drop_ins, *folders);
                if (r < 0)
                        return r;
        }
        if (drop_ins.count > 0)
                qsort(drop_ins.items, drop_ins.count, sizeof(*drop_ins.items), compare_drop_ins);

        for (size_t i = 0; i < drop_ins.count; i++) {
                int r = read_one(builder, drop_ins.items[i].path);
                if (r < 0)
                        return r;
                if (r == 0)
                        config_report(
                                builder, LOG_ERR, "%s: Cannot read: it leads nowhere.",
                                drop_ins.items[i].path);
        }
        return 0;
}

int config_read_files(struct config_builder *builder) {
        _cleanup_strv_free_ char **own = NULL;
        const char *const *folders = builder->context->folders;
        int r;

        if (builder->config.config_path) {
                r = read_one(builder, builder->config.config_path);
                if (r == 0)
                        config_report(
                                builder, LOG_ERR, "%s: There is no such file.", builder->config.config_path);
                return MIN(r, 0);
        }

        if (!folders) {
                r = config_search_folders(&own);
                if (r < 0)
                        return r;
                folders = (const char *const *) own;
        }
        r = read_main_file(builder, folders);
        return r < 0 ? r : read_drop_ins(builder, folders);
}
