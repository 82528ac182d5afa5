/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/fault.h"
#include "lib/folder.h"
#include "node/identity.h"
#include "node/state-lock.h"
#include "util/file.h"
#include "util/log.h"

#define MACHINE "0123456789abcdef0123456789abcdef"
#define OTHER_MACHINE "ffffffffffffffffffffffffffffffff"
#define HEAD "version=1\nnode_id=node-00000000000000ab\nmachine=" MACHINE "\n"

/* How many files have this prefix. */
static unsigned count_files(const struct folder *folder, const char *prefix) {
        unsigned count = 0;
        DIR *directory = opendir(folder->path);

        ASSERT_NOT_NULL(directory);
        for (struct dirent *entry; (entry = readdir(directory));)
                count += entry->d_type == DT_REG && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
        ASSERT_EQ(closedir(directory), 0);
        return count;
}

static void test_starts(void) {
        _cleanup_folder_ struct folder folder;
        struct identity first, identity;
        struct stat st;

        folder_make(&folder);
        ASSERT_EQ(identity_load_or_create(folder.fd, MACHINE, &first), IDENTITY_CREATED);
        ASSERT_EQ(first.incarnation, 1);
        ASSERT_EQ(strlen(first.node_id), 21);
        ASSERT_EQ(strncmp(first.node_id, "node-", 5), 0);
        ASSERT_EQ(strspn(first.node_id + 5, "0123456789abcdef"), 16);
        ASSERT_EQ(fstatat(folder.fd, "identity", &st, 0), 0);
        ASSERT_EQ(st.st_mode & 07777, 0600);

        for (unsigned start = 2; start < 5; start++) {
                ASSERT_EQ(identity_load_or_create(folder.fd, MACHINE, &identity), IDENTITY_LOADED);
                ASSERT_STREQ(identity.node_id, first.node_id);
                ASSERT_EQ(identity.incarnation, start);
        }
        ASSERT_EQ(count_files(&folder, ""), 1);

        _cleanup_folder_ struct folder other;
        folder_make(&other);
        ASSERT_EQ(identity_load_or_create(other.fd, MACHINE, &identity), IDENTITY_CREATED);
        ASSERT_TRUE(strcmp(identity.node_id, first.node_id) != 0);
}

static void test_cloned(void) {
        _cleanup_folder_ struct folder folder;
        struct identity first, identity;

        folder_make(&folder);
        ASSERT_EQ(identity_load_or_create(folder.fd, MACHINE, &first), IDENTITY_CREATED);
        ASSERT_EQ(identity_load_or_create(folder.fd, MACHINE, &first), IDENTITY_LOADED);
        ASSERT_EQ(identity_load_or_create(folder.fd, OTHER_MACHINE, &identity), IDENTITY_CLONED);
        ASSERT_TRUE(strcmp(identity.node_id, first.node_id) != 0);
        ASSERT_STREQ(identity.machine, OTHER_MACHINE);
        ASSERT_EQ(identity.incarnation, 1);
        first = identity;
        ASSERT_EQ(identity_load_or_create(folder.fd, OTHER_MACHINE, &identity), IDENTITY_LOADED);
        ASSERT_STREQ(identity.node_id, first.node_id);
}

/* Without a machine id there is nothing to compare; once there is one, it is remembered. */
static void test_no_machine(void) {
        _cleanup_folder_ struct folder folder;
        struct identity first, identity;

        folder_make(&folder);
        ASSERT_EQ(identity_load_or_create(folder.fd, "", &first), IDENTITY_CREATED);
        ASSERT_STREQ(first.machine, "");
        ASSERT_EQ(identity_load_or_create(folder.fd, "", &identity), IDENTITY_LOADED);
        ASSERT_EQ(identity_load_or_create(folder.fd, MACHINE, &identity), IDENTITY_LOADED);
        ASSERT_STREQ(identity.machine, MACHINE);
        ASSERT_EQ(identity_load_or_create(folder.fd, "", &identity), IDENTITY_LOADED);
        ASSERT_STREQ(identity.machine, MACHINE);
        ASSERT_STREQ(identity.node_id, first.node_id);
        ASSERT_EQ(identity_load_or_create(folder.fd, OTHER_MACHINE, &identity), IDENTITY_CLONED);

        char machine[IDENTITY_MACHINE_SIZE];
        (void) identity_machine(machine);
        ASSERT_TRUE(strlen(machine) == 0 || strspn(machine, "0123456789abcdef") == 32);
}

static void test_raise(void) {
        _cleanup_folder_ struct folder folder;
        struct identity identity;

        folder_make(&folder);
        ASSERT_EQ(identity_load_or_create(folder.fd, MACHINE, &identity), IDENTITY_CREATED);
        ASSERT_OK(identity_raise_incarnation(folder.fd, &identity, 100));
        ASSERT_EQ(identity.incarnation, 101);
        ASSERT_OK(identity_raise_incarnation(folder.fd, &identity, 7));
        ASSERT_EQ(identity.incarnation, 102);
        ASSERT_ERROR(identity_raise_incarnation(folder.fd, &identity, IDENTITY_INCARNATION_MAX), ERANGE);
        ASSERT_ERROR(identity_raise_incarnation(folder.fd, &identity, UINT64_MAX), ERANGE);
        ASSERT_EQ(identity.incarnation, 102);
        ASSERT_EQ(identity_load_or_create(folder.fd, MACHINE, &identity), IDENTITY_LOADED);
        ASSERT_EQ(identity.incarnation, 103);
}

static void test_files(void) {
        static const char *const good[] = {
                HEAD "incarnation=6\n",
                "# a comment\nincarnation=6\nmachine=\nnode_id=node-00000000000000ab\nversion=1\n",
        };
        static const char *const bad[] = {
                "",
                "\n",
                HEAD,
                HEAD "incarnation=6",
                HEAD "incarnation=6\n\n",
                HEAD "incarnation=6\nincarnation=6\n",
                HEAD "incarnation=6\nother=1\n",
                HEAD "incarnation=0\n",
                HEAD "incarnation=-1\n",
                HEAD "incarnation=4611686018427387904\n",
                HEAD "incarnation=6\nnonsense\n",
                "version=0\nnode_id=node-00000000000000ab\nmachine=\nincarnation=6\n",
                "version=1\nnode_id=node-00000000000000AB\nmachine=\nincarnation=6\n",
                "version=1\nnode_id=node-00000000000000a\nmachine=\nincarnation=6\n",
                "version=1\nnode_id=node-00000000000000abc\nmachine=\nincarnation=6\n",
                "version=1\nnode_id=other\nmachine=\nincarnation=6\n",
                "version=1\nnode_id=node-00000000000000ab\nmachine=12\nincarnation=6\n",
        };

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                _cleanup_folder_ struct folder folder;
                struct identity identity;

                folder_make(&folder);
                folder_write(&folder, "identity", good[i]);
                ASSERT_EQ(identity_load_or_create(folder.fd, MACHINE, &identity), IDENTITY_LOADED);
                ASSERT_STREQ(identity.node_id, "node-00000000000000ab");
                ASSERT_EQ(identity.incarnation, 7);
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_folder_ struct folder folder;
                struct identity identity;

                folder_make(&folder);
                folder_write(&folder, "identity", bad[i]);
                if (identity_load_or_create(folder.fd, MACHINE, &identity) != IDENTITY_REPLACED)
                        _TEST_FAIL("file %zu", i);
                ASSERT_EQ(identity.incarnation, 1);
                ASSERT_EQ(count_files(&folder, "identity.damaged-"), 1);
                ASSERT_EQ(count_files(&folder, ""), 2);
                ASSERT_EQ(identity_load_or_create(folder.fd, MACHINE, &identity), IDENTITY_LOADED);
        }
}

static void test_odd_files(void) {
        static char big[10000];
        _cleanup_folder_ struct folder folder;
        _cleanup_free_ char *data = NULL;
        struct identity identity;

        folder_make(&folder);
        memset(big, '#', sizeof(big) - 1);
        folder_write(&folder, "identity", big);
        ASSERT_EQ(identity_load_or_create(folder.fd, MACHINE, &identity), IDENTITY_REPLACED);
        ASSERT_OK(write_file_atomic(
                folder.fd, "identity", HEAD "incarnation=6\n\0\n", sizeof(HEAD) + 15, 0600));
        ASSERT_EQ(identity_load_or_create(folder.fd, MACHINE, &identity), IDENTITY_REPLACED);
        ASSERT_EQ(count_files(&folder, "identity.damaged-"), 2);

        /* One of a later version is not ours to replace. */
        folder_write(&folder, "identity", "version=2\nname=x\n");
        ASSERT_ERROR(identity_load_or_create(folder.fd, MACHINE, &identity), EPROTONOSUPPORT);
        ASSERT_OK(read_file(folder.fd, "identity", 100, &data, NULL));
        ASSERT_STREQ(data, "version=2\nname=x\n");
}

/* An incarnation that could not be written is not used. */
/* A file system of two pages is full with the identity and one more. */
static void test_full_disk(void) {
        _cleanup_folder_ struct folder folder;
        _cleanup_close_ int disk = -EBADF, ballast = -EBADF;
        struct identity first, identity;

        folder_make(&folder);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", folder.path, "tmpfs", MS_NOSUID | MS_NODEV, "size=8k") < 0) {
                fprintf(stderr, "Cannot mount a small file system, which needs root; skipping.\n");
                return;
        }
        disk = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_GE(disk, 0);
        ASSERT_EQ(identity_load_or_create(disk, MACHINE, &first), IDENTITY_CREATED);
        ballast = openat(disk, "ballast", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ASSERT_GE(ballast, 0);
        while (write(ballast, HEAD, sizeof(HEAD)) > 0)
                ;
        ASSERT_EQ(errno, ENOSPC);

        for (unsigned start = 2; start < 12; start++) {
                ASSERT_EQ(identity_load_or_create(disk, MACHINE, &identity), IDENTITY_LOADED);
                ASSERT_STREQ(identity.node_id, first.node_id);
                ASSERT_EQ(identity.incarnation, start);
        }
        /* There is nothing that it could be written over. */
        ASSERT_EQ(unlinkat(disk, "identity", 0), 0);
        while (write(ballast, HEAD, sizeof(HEAD)) > 0)
                ;
        ASSERT_ERROR(identity_load_or_create(disk, MACHINE, &identity), ENOSPC);
        ASSERT_EQ(umount2(folder.path, MNT_DETACH), 0);
}

static void test_no_folder(void) {
        struct identity identity = { .incarnation = 5 };

        ASSERT_ERROR(identity_load_or_create(-1, MACHINE, &identity), EBADF);
        ASSERT_ERROR(identity_raise_incarnation(-1, &identity, 9), EBADF);
        ASSERT_EQ(identity.incarnation, 5);
}

static void test_lock(void) {
        _cleanup_folder_ struct folder folder;
        pid_t holder = -1;
        int ready[2], status;
        char byte;

        folder_make(&folder);
        ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
        pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
                pid_t other;
                int fd = state_lock(folder.fd, &other);
                if (fd < 0 || write(ready[1], "x", 1) != 1)
                        _exit(1);
                (void) pause();
                _exit(0);
        }
        ASSERT_EQ(read(ready[0], &byte, 1), 1);
        ASSERT_ERROR(state_lock(folder.fd, &holder), EBUSY);
        ASSERT_EQ(holder, child);

        /* However the holder ends, the lock goes with it. */
        ASSERT_EQ(kill(child, SIGKILL), 0);
        ASSERT_EQ(waitpid(child, &status, 0), child);
        int fd = state_lock(folder.fd, &holder);
        ASSERT_GE(fd, 0);
        ASSERT_ERROR(state_lock(folder.fd, &holder), EBUSY);
        ASSERT_EQ(holder, getpid());
        ASSERT_EQ(ftruncate(fd, 0), 0);
        ASSERT_ERROR(state_lock(folder.fd, &holder), EBUSY);
        ASSERT_EQ(holder, 0);
        close(fd);
        close(ready[0]);
        close(ready[1]);

        ASSERT_EQ(unlinkat(folder.fd, "lock", 0), 0);
        ASSERT_EQ(symlinkat("/dev/null", folder.fd, "lock"), 0);
        ASSERT_ERROR(state_lock(folder.fd, &holder), ELOOP);
}

int main(void) {
        log_set_max_level(LOG_CRIT); /* what it says is not looked at here */
        RUN(test_starts);
        RUN(test_cloned);
        RUN(test_no_machine);
        RUN(test_raise);
        RUN(test_files);
        RUN(test_odd_files);
        RUN(test_full_disk);
        RUN(test_no_folder);
        RUN(test_lock);
        return 0;
}
