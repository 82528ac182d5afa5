/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A full disk: a small file system of its own, which needs root. Nothing that was told as written is lost,
 * the state is told once, and comes back by itself when there is room again. */

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "fixture.h"

/* Room for 4 MiB beside the filler. Without it the log, and what is copied from it, leave less than what
 * counts as room: it must be cut. */
#define DISK_SIZE "size=8400k"
#define OUTPUT_SIZE (200u * 1024)
#define FILLER_SIZE (4304u * 1024)
#define FREE_SPACE_MIN (1024u * 1024)

static bool mount_disk(const struct fixture *f) {
        /* In a name space of our own, so that nothing stays behind. */
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return false;
        return mount("tmpfs", f->directory, "tmpfs", MS_NOSUID | MS_NODEV, DISK_SIZE) >= 0;
}

static void make_filler(const struct fixture *f) {
        char path[256];
        _cleanup_close_ int fd = -EBADF;

        (void) snprintf(path, sizeof(path), "%s/filler", f->directory);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ASSERT_OK(fd);
        ASSERT_EQ(posix_fallocate(fd, 0, FILLER_SIZE), 0);
}

static void remove_filler(const struct fixture *f) {
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/filler", f->directory);
        ASSERT_EQ(unlink(path), 0);
}

static uint64_t free_space(const struct fixture *f) {
        struct statvfs st;

        ASSERT_OK(statvfs(f->directory, &st));
        return (uint64_t) st.f_bavail * st.f_frsize;
}

static bool is_copied_from_log(const struct fixture *f) {
        struct stat st;

        ASSERT_OK(stat(database_path(f), &st));
        return st.st_size > 3 * 1024 * 1024;
}

/* Whether it was told as written. */
static bool write_large(struct fixture *f, uint64_t n) {
        struct job_spec *spec = spec_make(n);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };
        _cleanup_free_ char *output = calloc(1, OUTPUT_SIZE);
        struct record_batch *batch = batch_accept(spec);
        struct record *record = record_batch_add(batch, RECORD_FINISHED);
        int r;

        record->spec = job_spec_ref(spec);
        record->run = run;
        record->result = result_make(&run, 0, output, OUTPUT_SIZE);
        record->status = JOB_COMPLETED;
        r = write_and_wait(f, batch);
        if (r < 0)
                ASSERT_ERROR(r, ENOSPC);
        return r >= 0;
}

static void check_jobs(struct fixture *f, const bool *written, uint64_t n) {
        for (uint64_t i = 0; i < n; i++) {
                ask_job(f, i, true);
                ASSERT_OK(f->answer.error);
                ASSERT_EQ(f->answer.n_jobs, written[i]);
                if (written[i])
                        ASSERT_EQ(f->answer.jobs->stdout_size, OUTPUT_SIZE);
        }
}

static void test_full_disk(struct fixture *f) {
        bool written[200] = {};
        uint64_t n = 0;

        make_filler(f);
        ASSERT_OK(fixture_open(f));
        while (f->n_failed == 0) {
                ASSERT_LT(n, ELEMENTSOF(written));
                written[n] = write_large(f, n);
                n++;
        }
        WAIT_UNTIL(f, f->health == -ENOSPC);
        ASSERT_GT(strlen(f->reason), 0);

        /* It stays full, is told once, and reading goes on. */
        for (unsigned i = 0; i < 10; i++, n++)
                written[n] = write_large(f, n);
        ASSERT_EQ(f->n_health, 1);
        ask_list(f, 50, UINT64_MAX, 0);
        ASSERT_OK(f->answer.error);

        /* Room again: found out without anybody writing. */
        remove_filler(f);
        WAIT_UNTIL(f, is_copied_from_log(f) && free_space(f) >= FREE_SPACE_MIN);
        WAIT_UNTIL(f, f->health == 0);
        for (unsigned i = 0; i < 5; i++, n++) {
                written[n] = write_large(f, n);
                ASSERT_TRUE(written[n]);
        }
        check_jobs(f, written, n);

        fixture_close(f);
        ASSERT_OK(fixture_open(f));
        check_jobs(f, written, n);
        ASSERT_EQ(f->n_unfinished, 0);
}

int main(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        if (!mount_disk(&f)) {
                fprintf(stderr, "Cannot mount a small file system, which needs root; skipping.\n");
                return TEST_SKIPPED;
        }
        fprintf(stderr, "test_full_disk\n");
        test_full_disk(&f);
        fixture_close(&f);
        ASSERT_EQ(umount2(f.directory, MNT_DETACH), 0);
        return 0;
}
