/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "lib/fault.h"
#include "lib/folder.h"
#include "util/file.h"
#include "util/macros.h"

static unsigned count_entries(const struct folder *folder) {
        unsigned count = 0;
        DIR *directory = opendir(folder->path);

        ASSERT_NOT_NULL(directory);
        for (struct dirent *entry; (entry = readdir(directory));)
                count += !streq(entry->d_name, ".") && !streq(entry->d_name, "..");
        ASSERT_EQ(closedir(directory), 0);
        return count;
}

static void test_read(void) {
        _cleanup_folder_ struct folder folder;
        _cleanup_free_ char *data = NULL, *empty = NULL, *big = NULL, *status = NULL, *null = NULL;
        static char text[100001];
        size_t size;

        folder_make(&folder);
        folder_write(&folder, "small", "twelve bytes");
        folder_write(&folder, "empty", "");
        memset(text, 'x', sizeof(text) - 1);
        folder_write(&folder, "big", text);

        ASSERT_OK(read_file(folder.fd, "small", 12, &data, &size));
        ASSERT_STREQ(data, "twelve bytes");
        ASSERT_EQ(size, 12);
        ASSERT_OK(read_file(folder.fd, "empty", 0, &empty, &size));
        ASSERT_STREQ(empty, "");
        ASSERT_EQ(size, 0);
        ASSERT_OK(read_file(folder.fd, "big", 100000, &big, NULL));
        ASSERT_STREQ(big, text);
        /* Files whose size is not known before they were read. */
        ASSERT_OK(read_file(AT_FDCWD, "/proc/self/status", 1 << 20, &status, &size));
        ASSERT_EQ(strlen(status), size);
        ASSERT_GT(size, 100);
        ASSERT_OK(read_file(AT_FDCWD, "/dev/null", 10, &null, &size));
        ASSERT_EQ(size, 0);
}

static void test_read_refused(void) {
        _cleanup_folder_ struct folder folder;
        char *data = NULL;

        folder_make(&folder);
        folder_write(&folder, "small", "twelve bytes");
        ASSERT_ERROR(read_file(folder.fd, "small", 11, &data, NULL), EFBIG);
        ASSERT_ERROR(read_file(AT_FDCWD, "/dev/zero", 100000, &data, NULL), EFBIG);
        ASSERT_ERROR(read_file(AT_FDCWD, "/proc/self/status", 10, &data, NULL), EFBIG);
        ASSERT_ERROR(read_file(folder.fd, "missing", 11, &data, NULL), ENOENT);
        ASSERT_ERROR(read_file(folder.fd, ".", 11, &data, NULL), EISDIR);
        uint64_t failed = FAULT_LOOP(r = read_file(folder.fd, "small", 12, &data, NULL));
        ASSERT_EQ(failed, 1);
        ASSERT_STREQ(data, "twelve bytes");
        free(data);
}

static void test_write(void) {
        _cleanup_folder_ struct folder folder;
        _cleanup_free_ char *data = NULL, *again = NULL, *below = NULL;
        struct stat st;
        char path[256];

        folder_make(&folder);
        umask(0077);
        ASSERT_OK(write_file_atomic(folder.fd, "file", "first", 5, 0644));
        ASSERT_EQ(fstatat(folder.fd, "file", &st, 0), 0);
        ASSERT_EQ(st.st_mode & 07777, 0644);
        ASSERT_OK(read_file(folder.fd, "file", 100, &data, NULL));
        ASSERT_STREQ(data, "first");
        ASSERT_OK(write_file_atomic(folder.fd, "file", "", 0, 0600));
        ASSERT_OK(read_file(folder.fd, "file", 100, &again, NULL));
        ASSERT_STREQ(again, "");

        (void) snprintf(path, sizeof(path), "%s/file", folder.path);
        ASSERT_OK(write_file_atomic(AT_FDCWD, path, "below", 5, 0600));
        ASSERT_OK(read_file(folder.fd, "file", 100, &below, NULL));
        ASSERT_STREQ(below, "below");
        ASSERT_EQ(count_entries(&folder), 1);
}

/* What fails leaves the old file and no other. */
static void test_write_fails(void) {
        _cleanup_folder_ struct folder folder;
        _cleanup_free_ char *data = NULL;
        static char big[4096];
        char name[300];

        folder_make(&folder);
        ASSERT_OK(write_file_atomic(folder.fd, "file", "old", 3, 0600));
        folder_write(&folder, "folder/inside", "");

        ASSERT_ERROR(write_file_atomic(folder.fd, "missing/file", "x", 1, 0600), ENOENT);
        ASSERT_ERROR(write_file_atomic(folder.fd, "folder/", "x", 1, 0600), EISDIR);
        ASSERT_ERROR(write_file_atomic(folder.fd, "folder", "x", 1, 0600), EISDIR);
        memset(name, 'n', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        ASSERT_ERROR(write_file_atomic(folder.fd, name, "x", 1, 0600), ENAMETOOLONG);

        struct rlimit limit, small = { 1000, RLIM_INFINITY };
        ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
        small.rlim_max = limit.rlim_max;
        ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
        ASSERT_ERROR(write_file_atomic(folder.fd, "file", big, sizeof(big), 0600), EFBIG);
        ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);

        ASSERT_OK(read_file(folder.fd, "file", 100, &data, NULL));
        ASSERT_STREQ(data, "old");
        ASSERT_EQ(count_entries(&folder), 2);
}

static void test_make_directories(void) {
        _cleanup_folder_ struct folder folder;
        struct stat st;
        char path[256];

        folder_make(&folder);
        umask(0);
        (void) snprintf(path, sizeof(path), "%s/a//b/c/", folder.path);
        ASSERT_OK(make_directories(path, 0750));
        ASSERT_OK(make_directories(path, 0700));
        ASSERT_EQ(fstatat(folder.fd, "a/b/c", &st, 0), 0);
        ASSERT_EQ(st.st_mode & 07777, 0750);

        folder_write(&folder, "file", "");
        (void) snprintf(path, sizeof(path), "%s/file", folder.path);
        ASSERT_ERROR(make_directories(path, 0700), ENOTDIR);
        (void) snprintf(path, sizeof(path), "%s/file/below", folder.path);
        ASSERT_ERROR(make_directories(path, 0700), ENOTDIR);
        ASSERT_ERROR(make_directories("", 0700), ENOENT);
        ASSERT_OK(make_directories("/", 0700));
        ASSERT_ERROR(make_directories("/proc/none/such", 0700), ENOENT);
}

/* Who comes second changes nothing, and leaves nothing behind. */
static void test_write_new(void) {
        _cleanup_folder_ struct folder folder;
        _cleanup_free_ char *data = NULL;
        struct stat st;

        folder_make(&folder);
        ASSERT_OK(write_file_new(folder.fd, "new", "first", 5, 0600));
        ASSERT_ERROR(write_file_new(folder.fd, "new", "second", 6, 0644), EEXIST);
        ASSERT_EQ(count_entries(&folder), 1);
        ASSERT_OK(read_file(folder.fd, "new", 100, &data, NULL));
        ASSERT_STREQ(data, "first");
        ASSERT_EQ(fstatat(folder.fd, "new", &st, 0), 0);
        ASSERT_EQ(st.st_mode & 07777, 0600);
        ASSERT_ERROR(write_file_new(folder.fd, "none/new", "x", 1, 0600), ENOENT);
}

int main(void) {
        signal(SIGXFSZ, SIG_IGN);
        RUN(test_read);
        RUN(test_read_refused);
        RUN(test_write);
        RUN(test_write_fails);
        RUN(test_make_directories);
        RUN(test_write_new);
        return 0;
}
