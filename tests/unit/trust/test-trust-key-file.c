/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/folder.h"
#include "lib/tests.h"
#include "trust/key-file.h"

#define STARTERS 20

static char *path_in(const struct folder *folder, char buffer[static 256]) {
        snprintf(buffer, 256, "%s/mesh.key", folder->path);
        return buffer;
}

static void test_made_once(void) {
        _cleanup_folder_ struct folder folder;
        _cleanup_mesh_keys_ struct mesh_keys first, second;
        _cleanup_free_ char *problem = NULL;
        char path[256];
        struct stat st;
        bool made;

        folder_make(&folder);
        path_in(&folder, path);
        ASSERT_ERROR(key_file_read(path, KEY_FILE_OWN, &first, &problem), ENOENT);
        ASSERT_OK(key_file_read_or_make(path, &first, &made, &problem));
        ASSERT_TRUE(made);
        ASSERT_EQ(stat(path, &st), 0);
        ASSERT_EQ(st.st_mode & 07777, 0600);
        ASSERT_OK(key_file_read_or_make(path, &second, &made, &problem));
        ASSERT_FALSE(made);
        ASSERT_EQ(memcmp(&first, &second, sizeof(first)), 0);
        ASSERT_ERROR(key_file_read_or_make("/does/not/exist", &second, &made, &problem), ENOENT);
        ASSERT_NULL(problem);
}

/* Each says through its exit status whether it made the file, and through a pipe what it then had. */
static pid_t start(const char *path, const int gate[static 2], int answer_fd) {
        pid_t pid = fork();

        ASSERT_OK(pid);
        if (pid > 0)
                return pid;
        _cleanup_mesh_keys_ struct mesh_keys keys;
        char *problem, byte;
        bool made;

        close(gate[1]);
        ASSERT_EQ(read(gate[0], &byte, 1), 0);
        ASSERT_OK(key_file_read_or_make(path, &keys, &made, &problem));
        ASSERT_EQ(write(answer_fd, keys.keys[0].secret, MESH_KEY_SIZE), MESH_KEY_SIZE);
        _exit(made);
}

static void test_many_starts_at_once(void) {
        _cleanup_folder_ struct folder folder;
        uint8_t first[MESH_KEY_SIZE], other[MESH_KEY_SIZE];
        int gate[2], answers[2], n_made = 0;
        pid_t pids[STARTERS];
        char path[256];

        folder_make(&folder);
        path_in(&folder, path);
        ASSERT_EQ(pipe2(gate, O_CLOEXEC), 0);
        ASSERT_EQ(pipe2(answers, O_CLOEXEC), 0);
        for (int i = 0; i < STARTERS; i++)
                pids[i] = start(path, gate, answers[1]);
        close(gate[1]); /* now all read the end of it */
        for (int i = 0; i < STARTERS; i++) {
                int status;

                ASSERT_EQ(waitpid(pids[i], &status, 0), pids[i]);
                ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
                n_made += WEXITSTATUS(status);
                ASSERT_EQ(read(answers[0], i == 0 ? first : other, MESH_KEY_SIZE), MESH_KEY_SIZE);
                if (i > 0)
                        ASSERT_EQ(memcmp(first, other, MESH_KEY_SIZE), 0);
        }
        ASSERT_EQ(n_made, 1);
        close(gate[0]);
        close(answers[0]);
        close(answers[1]);
}

static void test_refused(void) {
        _cleanup_folder_ struct folder folder;
        _cleanup_mesh_keys_ struct mesh_keys keys;
        char path[256], expected[512], *problem = NULL;
        bool made;

        folder_make(&folder);
        path_in(&folder, path);
        folder_write(&folder, "mesh.key", "rubbish\n");
        ASSERT_EQ(chmod(path, 0640), 0);
        ASSERT_ERROR(key_file_read_or_make(path, &keys, &made, &problem), EPERM);
        ASSERT_NOT_NULL(strstr(problem, "mode 0640"));
        free(problem);

        /* Who may read a credential is for the service manager to say. */
        ASSERT_ERROR(key_file_read(path, KEY_FILE_CREDENTIAL, &keys, &problem), EBADMSG);
        snprintf(expected, sizeof(expected), "%s:1: the id of a mesh is 32 hexadecimal digits.", path);
        ASSERT_STREQ(problem, expected);
        free(problem);

        ASSERT_EQ(chmod(path, 0600), 0);
        folder_write(&folder, "mesh.key", "");
        ASSERT_ERROR(key_file_read_or_make(path, &keys, &made, &problem), EBADMSG);
        snprintf(expected, sizeof(expected), "%s is no key file: there is no id of a mesh in it.", path);
        ASSERT_STREQ(problem, expected);
        free(problem);

        ASSERT_EQ(unlink(path), 0);
        ASSERT_EQ(mkdir(path, 0700), 0);
        ASSERT_ERROR(key_file_read_or_make(path, &keys, &made, &problem), EBADMSG);
        ASSERT_NOT_NULL(strstr(problem, "is not a regular file"));
        free(problem);
}

/* Nobody waits for a pipe, and nobody's file is taken. */
static void test_of_others(void) {
        _cleanup_folder_ struct folder folder;
        _cleanup_mesh_keys_ struct mesh_keys keys;
        char path[256], *problem = NULL;
        bool made;

        folder_make(&folder);
        path_in(&folder, path);
        ASSERT_EQ(mkfifo(path, 0600), 0);
        ASSERT_ERROR(key_file_read_or_make(path, &keys, &made, &problem), EBADMSG);
        free(problem);
        ASSERT_EQ(unlink(path), 0);
        if (geteuid() != 0)
                return;
        ASSERT_OK(key_file_read_or_make(path, &keys, &made, &problem));
        ASSERT_EQ(chown(path, 65534, 65534), 0);
        ASSERT_ERROR(key_file_read_or_make(path, &keys, &made, &problem), EPERM);
        ASSERT_NOT_NULL(strstr(problem, "belongs to another user (uid 65534)"));
        free(problem);
}

static void test_replaced(void) {
        _cleanup_folder_ struct folder folder;
        _cleanup_mesh_keys_ struct mesh_keys first, second, read;
        _cleanup_free_ char *problem = NULL;
        char path[256];
        struct stat st;
        bool made;

        folder_make(&folder);
        path_in(&folder, path);
        ASSERT_OK(key_file_read_or_make(path, &first, &made, &problem));
        ASSERT_OK(mesh_keys_make(&second));
        ASSERT_OK(key_file_replace(path, &second));
        ASSERT_OK(key_file_read(path, KEY_FILE_OWN, &read, &problem));
        ASSERT_EQ(memcmp(&second, &read, sizeof(read)), 0);
        ASSERT_EQ(stat(path, &st), 0);
        ASSERT_EQ(st.st_mode & 07777, 0600);
}

int main(void) {
        RUN(test_made_once);
        RUN(test_many_starts_at_once);
        RUN(test_refused);
        RUN(test_of_others);
        RUN(test_replaced);
        return 0;
}
