/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Controllers and limits over a made-up tree: plain files with the names of the kernel's. What is written
 * stands in them as it was written; what the kernel would make of it is for a real machine. */

#include <fcntl.h>
#include <sys/stat.h>

#include "executor/cgroup.h"
#include "executor/controllers.h"
#include "executor/leaf-limits.h"
#include "lib/folder.h"
#include "lib/tests.h"
#include "util/file.h"

struct tree {
        struct folder folder;
        char own[160], subtree[192], list[160];
        struct controllers_place place;
};

static void make_folder(const struct tree *tree, const char *name) {
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/%s", tree->folder.path, name);
        ASSERT_OK(make_directories(path, 0755));
}

static void put(const struct tree *tree, const char *name, const char *text) {
        folder_write(&tree->folder, name, text);
}

static void check_file(const struct tree *tree, const char *name, const char *expected) {
        _cleanup_free_ char *text = NULL;
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/%s", tree->folder.path, name);
        ASSERT_OK(read_file(AT_FDCWD, path, 4096, &text, NULL));
        ASSERT_STREQ(text, expected);
}

/* own/ is the cgroup of the executor, own/tree/ its subtree. */
static void tree_init(struct tree *tree, const char *own_controllers, const char *tree_controllers) {
        *tree = (struct tree){};
        folder_make(&tree->folder);
        (void) snprintf(tree->own, sizeof(tree->own), "%s/own", tree->folder.path);
        (void) snprintf(tree->subtree, sizeof(tree->subtree), "%s/tree", tree->own);
        (void) snprintf(tree->list, sizeof(tree->list), "%s/list", tree->folder.path);
        make_folder(tree, "own/tree");
        make_folder(tree, "own/" SUPERVISOR_NAME);
        put(tree, "own/cgroup.controllers", own_controllers);
        put(tree, "own/cgroup.subtree_control", "");
        put(tree, "own/cgroup.procs", "");
        put(tree, "own/" SUPERVISOR_NAME "/cgroup.procs", "");
        put(tree, "own/tree/cgroup.controllers", tree_controllers);
        put(tree, "own/tree/cgroup.subtree_control", "");
        put(tree, "list", "0::/own\n");
        tree->place = (struct controllers_place){
                .own_path = tree->own, .tree_path = tree->subtree, .delegated = true, .v1_list = tree->list
        };
}

static void tree_done(struct tree *tree) {
        folder_remove(&tree->folder);
}

static void check_obstacles(
        const struct tree *tree, enum limit_obstacle memory, enum limit_obstacle cpu,
        enum limit_obstacle tasks) {
        struct limit_support support;

        controllers_enable(&tree->place, &support);
        ASSERT_EQ(limit_support_obstacle(&support, LIMIT_MEMORY), memory);
        ASSERT_EQ(limit_support_obstacle(&support, LIMIT_CPU), cpu);
        ASSERT_EQ(limit_support_obstacle(&support, LIMIT_TASKS), tasks);
}

static void test_delegated(void) {
        _cleanup_(tree_done) struct tree tree;

        tree_init(&tree, "cpuset cpu io memory pids\n", "cpu memory pids\n");
        check_obstacles(&tree, OBSTACLE_NONE, OBSTACLE_NONE, OBSTACLE_NONE);
        check_file(&tree, "own/supervisor/cgroup.procs", "0");
        check_file(&tree, "own/cgroup.subtree_control", "+memory +cpu +pids");
        check_file(&tree, "own/tree/cgroup.subtree_control", "+memory +cpu +pids");
}

/* The supervisor leaf is made where there is none; that there is no kernel to fill it is no reason to give
 * up. */
static void test_supervisor_is_made(void) {
        _cleanup_(tree_done) struct tree tree;
        struct stat status;
        char path[256];

        tree_init(&tree, "pids\n", "pids\n");
        (void) snprintf(path, sizeof(path), "%s/" SUPERVISOR_NAME "/cgroup.procs", tree.own);
        ASSERT_EQ(unlink(path), 0);
        (void) snprintf(path, sizeof(path), "%s/" SUPERVISOR_NAME, tree.own);
        ASSERT_EQ(rmdir(path), 0);
        check_obstacles(&tree, OBSTACLE_ABSENT, OBSTACLE_ABSENT, OBSTACLE_NONE);
        ASSERT_EQ(stat(path, &status), 0);
        check_file(&tree, "own/cgroup.subtree_control", "+pids");
}

/* A group that is not ours stays as it is, and so does this process in it. */
static void test_not_delegated(void) {
        _cleanup_(tree_done) struct tree tree;

        tree_init(&tree, "cpu memory pids\n", "pids\n");
        tree.place.delegated = false;
        check_obstacles(&tree, OBSTACLE_NOT_DELEGATED, OBSTACLE_NOT_DELEGATED, OBSTACLE_NONE);
        check_file(&tree, "own/supervisor/cgroup.procs", "");
        check_file(&tree, "own/cgroup.subtree_control", "");
        check_file(&tree, "own/tree/cgroup.subtree_control", "+pids");
}

static void test_absent_or_v1(void) {
        _cleanup_(tree_done) struct tree tree;

        tree_init(&tree, "pids\n", "pids\n");
        put(&tree, "list", "5:cpu,cpuacct:/user.slice\n4:name=systemd:/memory\n0::/own\n");
        check_obstacles(&tree, OBSTACLE_ABSENT, OBSTACLE_V1, OBSTACLE_NONE);
        check_file(&tree, "own/cgroup.subtree_control", "+pids");
}

/* Ours, and the kernel did not take what was written: nothing has arrived in the subtree. */
static void test_refused(void) {
        _cleanup_(tree_done) struct tree tree;
        char path[256];

        tree_init(&tree, "cpu memory pids\n", "\n");
        check_obstacles(&tree, OBSTACLE_REFUSED, OBSTACLE_REFUSED, OBSTACLE_REFUSED);

        /* The subtree has it, and cannot hand it on. */
        put(&tree, "own/tree/cgroup.controllers", "memory\n");
        (void) snprintf(path, sizeof(path), "%s/cgroup.subtree_control", tree.subtree);
        ASSERT_EQ(unlink(path), 0);
        check_obstacles(&tree, OBSTACLE_REFUSED, OBSTACLE_REFUSED, OBSTACLE_REFUSED);
}

static void test_nothing_there(void) {
        const struct controllers_place place = { .own_path = "/nonexistent/own",
                                                 .tree_path = "/nonexistent/own/tree",
                                                 .delegated = true,
                                                 .v1_list = "/nonexistent/list" };
        struct limit_support support;

        controllers_enable(&place, &support);
        ASSERT_EQ(limit_support_kinds(&support), 0);
        ASSERT_EQ(limit_support_obstacle(&support, LIMIT_MEMORY), OBSTACLE_ABSENT);
        ASSERT_FALSE(cgroup_is_delegated("/nonexistent/own"));
}

static void make_leaf(const struct tree *tree, unsigned number) {
        static const char *const files[][2] = {
                { "cgroup.events", "populated 0\nfrozen 0\n" },
                { "cgroup.procs", "" },
                { "memory.max", "max" },
                { "memory.swap.max", "max" },
                { "memory.oom.group", "0" },
                { "memory.current", "0\n" },
                { "memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n" },
                { "cpu.weight", "100" },
                { "cpu.max", "max 100000" },
                { "pids.max", "max" },
        };
        char name[64];

        (void) snprintf(name, sizeof(name), "own/tree/job-%u", number);
        make_folder(tree, name);
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                (void) snprintf(name, sizeof(name), "own/tree/job-%u/%s", number, files[i][0]);
                put(tree, name, files[i][1]);
        }
}

static const struct job_limits none = {};
static const struct job_limits all = { .memory_max = 64 << 20,
                                       .cpu_weight = 10,
                                       .cpu_quota = 150,
                                       .tasks_max = 20 };

static void test_limits_are_written(void) {
        _cleanup_(tree_done) struct tree tree;
        _cleanup_close_ int fd = -EBADF;
        char path[256];

        tree_init(&tree, "\n", "\n");
        make_leaf(&tree, 0);
        (void) snprintf(path, sizeof(path), "%s/job-0", tree.subtree);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_OK(fd);

        ASSERT_OK(leaf_limits_write(fd, &none, &all));
        check_file(&tree, "own/tree/job-0/memory.max", "67108864");
        check_file(&tree, "own/tree/job-0/memory.swap.max", "0");
        check_file(&tree, "own/tree/job-0/memory.oom.group", "1");
        check_file(&tree, "own/tree/job-0/cpu.weight", "10");
        check_file(&tree, "own/tree/job-0/cpu.max", "150000 100000");
        check_file(&tree, "own/tree/job-0/pids.max", "20");

        ASSERT_OK(leaf_limits_write(fd, &all, &none));
        check_file(&tree, "own/tree/job-0/memory.max", "max");
        check_file(&tree, "own/tree/job-0/memory.swap.max", "max");
        check_file(&tree, "own/tree/job-0/memory.oom.group", "0");
        check_file(&tree, "own/tree/job-0/cpu.weight", "100");
        check_file(&tree, "own/tree/job-0/cpu.max", "max 100000");
        check_file(&tree, "own/tree/job-0/pids.max", "max");

        /* What is the same already is not written. */
        put(&tree, "own/tree/job-0/pids.max", "untouched");
        ASSERT_OK(leaf_limits_write(fd, &all, &(struct job_limits){ .cpu_quota = 1, .tasks_max = 20 }));
        check_file(&tree, "own/tree/job-0/cpu.max", "1000 100000");
        check_file(&tree, "own/tree/job-0/pids.max", "untouched");

        /* A kernel without swap has no such file; one without the controller has none at all. */
        ASSERT_EQ(unlinkat(fd, "memory.swap.max", 0), 0);
        ASSERT_OK(leaf_limits_write(fd, &none, &all));
        ASSERT_EQ(unlinkat(fd, "memory.max", 0), 0);
        ASSERT_ERROR(leaf_limits_write(fd, &none, &all), ENOENT);
}

static struct cgroup_leaf *take(struct cgroup_tree *groups, const struct job_limits *limits) {
        struct cgroup_leaf *leaf;

        ASSERT_OK(cgroup_tree_take(groups, limits, &leaf));
        ASSERT_TRUE(job_limits_equal(&leaf->limits, limits));
        return leaf;
}

static void test_leaves_are_reused(void) {
        const struct job_limits light = { .cpu_weight = 5 },
                                light_too = { .cpu_weight = 5, .best_effort = true };
        _cleanup_(tree_done) struct tree tree;
        struct cgroup_tree *groups;
        struct cgroup_leaf *plain, *limited, *other;

        tree_init(&tree, "\n", "\n");
        for (unsigned i = 0; i < 4; i++)
                make_leaf(&tree, i);
        ASSERT_OK(cgroup_tree_adopt(tree.subtree, &groups));
        cgroup_tree_set_enforceable(groups, LIMITS_ALL);

        plain = take(groups, &none);
        limited = take(groups, &light);
        cgroup_leaf_give_back(limited, 10);
        cgroup_leaf_give_back(plain, 10);

        /* Each kind of job gets its own again, and nothing is written for it. */
        put(&tree, "own/tree/job-1/cpu.weight", "untouched");
        ASSERT_TRUE(take(groups, &light_too) == limited);
        ASSERT_TRUE(take(groups, &none) == plain);
        check_file(&tree, "own/tree/job-1/cpu.weight", "untouched");

        /* Where the other kind is all there is, it is set back. */
        cgroup_leaf_give_back(limited, 10);
        ASSERT_TRUE(take(groups, &none) == limited);
        check_file(&tree, "own/tree/job-1/cpu.weight", "100");
        cgroup_leaf_give_back(limited, 10);

        /* A limit of memory begins with a new one, and stays with it. */
        other = take(groups, &all);
        ASSERT_EQ(other->number, 2);
        cgroup_leaf_give_back(other, 10);
        ASSERT_TRUE(take(groups, &all) == other);
        /* But not when the last job has left much behind. */
        put(&tree, "own/tree/job-2/memory.current", "4194305\n");
        cgroup_leaf_give_back(other, 10);
        other = take(groups, &all);
        ASSERT_EQ(other->number, 3);

        cgroup_leaf_give_back(other, 10);
        cgroup_leaf_give_back(plain, 10);
        (void) cgroup_tree_free(groups);
}

static void test_limits_that_cannot_be_set(void) {
        _cleanup_(tree_done) struct tree tree;
        struct cgroup_tree *groups;
        struct cgroup_leaf *leaf;
        char path[256];

        tree_init(&tree, "\n", "\n");
        make_leaf(&tree, 0);
        make_leaf(&tree, 1);
        (void) snprintf(path, sizeof(path), "%s/job-0/pids.max", tree.subtree);
        ASSERT_EQ(unlink(path), 0);
        ASSERT_OK(cgroup_tree_adopt(tree.subtree, &groups));
        cgroup_tree_set_enforceable(groups, LIMITS_ALL);
        ASSERT_ERROR(cgroup_tree_take(groups, &(struct job_limits){ .tasks_max = 3 }, &leaf), ENOENT);
        /* The half-done leaf is not given to anybody. */
        leaf = take(groups, &none);
        ASSERT_EQ(leaf->number, 1);
        cgroup_leaf_give_back(leaf, 1);
        (void) cgroup_tree_free(groups);
}

static void test_oom(void) {
        _cleanup_(tree_done) struct tree tree;
        struct cgroup_tree *groups;
        struct cgroup_leaf *leaf;

        tree_init(&tree, "\n", "\n");
        make_leaf(&tree, 0);
        ASSERT_OK(cgroup_tree_adopt(tree.subtree, &groups));
        cgroup_tree_set_enforceable(groups, LIMIT_MEMORY);
        leaf = take(groups, &none);
        /* Other counters do not matter, nor does what the last run was told of. */
        put(&tree, "own/tree/job-0/memory.events", "low 0\nhigh 0\nmax 9\noom 9\noom_kill 0\n");
        ASSERT_FALSE(cgroup_leaf_take_oom(leaf));
        put(&tree, "own/tree/job-0/memory.events", "max 9\noom 9\noom_kill 2\noom_group_kill 1\n");
        ASSERT_TRUE(cgroup_leaf_take_oom(leaf));
        ASSERT_FALSE(cgroup_leaf_take_oom(leaf));
        put(&tree, "own/tree/job-0/memory.events", "oom_kill 3");
        ASSERT_TRUE(cgroup_leaf_take_oom(leaf));
        put(&tree, "own/tree/job-0/memory.events", "nonsense");
        ASSERT_FALSE(cgroup_leaf_take_oom(leaf));
        cgroup_leaf_give_back(leaf, 1);
        (void) cgroup_tree_free(groups);
}

/* Without the controller there is nothing to read. */
static void test_no_oom_without_controller(void) {
        _cleanup_(tree_done) struct tree tree;
        struct cgroup_tree *groups;
        struct cgroup_leaf *leaf;

        tree_init(&tree, "\n", "\n");
        make_leaf(&tree, 0);
        ASSERT_OK(cgroup_tree_adopt(tree.subtree, &groups));
        leaf = take(groups, &none);
        ASSERT_EQ(leaf->memory_events_fd, -EBADF);
        ASSERT_FALSE(cgroup_leaf_take_oom(leaf));
        cgroup_leaf_give_back(leaf, 1);
        (void) cgroup_tree_free(groups);
}

int main(void) {
        RUN(test_delegated);
        RUN(test_supervisor_is_made);
        RUN(test_not_delegated);
        RUN(test_absent_or_v1);
        RUN(test_refused);
        RUN(test_nothing_there);
        RUN(test_limits_are_written);
        RUN(test_leaves_are_reused);
        RUN(test_limits_that_cannot_be_set);
        RUN(test_oom);
        RUN(test_no_oom_without_controller);
        return 0;
}
