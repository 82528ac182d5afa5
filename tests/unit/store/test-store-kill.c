/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* kill -9 at any moment: a child writes jobs, its own and those of another node, and says which records it
 * was told are written; the parent kills it, and finds all of those in the file. */

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "fixture.h"
#include "util/random.h"

#define ROUNDS 12
#define IN_FLIGHT 40
#define LIFE_MIN_USEC (5 * USEC_PER_MSEC)
#define LIFE_MAX_USEC (120 * USEC_PER_MSEC)

/* What the child writes into the pipe. */
struct told {
        uint64_t job;
        enum record_type type;
};

/* Every third job is a guest, and half of these go when they have ended. */
static bool is_guest(uint64_t job) {
        return job % 3 == 0;
}

static bool goes(uint64_t job) {
        return job % 6 == 0;
}

struct writer {
        struct fixture f;
        int fd;
        uint64_t next;
        size_t in_flight;
};

static void hand_in(struct writer *writer, struct record_batch *batch, uint64_t job) {
        batch->owner = (void *) (uintptr_t) (job + 1);
        batch->urgent = job % 2 == 0;
        writer->in_flight++;
        store_write(writer->f.store, batch);
}

static void child_written(void *userdata, struct record_batch *batch, int error) {
        struct writer *writer = userdata;
        struct told told = {
                .job = (uintptr_t) batch->owner - 1,
                .type = batch->records[0].type,
        };
        struct job_spec *spec = job_spec_ref(batch->records[0].spec);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };

        ASSERT_OK(error);
        writer->in_flight--;
        ASSERT_EQ(write(writer->fd, &told, sizeof(told)), (ssize_t) sizeof(told));
        if (told.type == RECORD_ACCEPTED)
                hand_in(writer, batch_finish(job_spec_ref(spec), result_make(&run, 0, "some output", 11)),
                        told.job);
        else if (told.type == RECORD_GUEST_TAKEN)
                hand_in(writer,
                        batch_guest(
                                RECORD_GUEST_ENDED, job_spec_ref(spec),
                                result_make(&run, 0, "some output", 11)),
                        told.job);
        else if (told.type == RECORD_GUEST_ENDED && goes(told.job))
                hand_in(writer, batch_guest(RECORD_GUEST_GONE, job_spec_ref(spec), NULL), told.job);
        job_spec_unref(spec);
        record_batch_free(batch);
}

static void child_health(void *userdata, int error, const char *reason) {
        _TEST_FAIL("health %d: %s", error, reason ? reason : "");
}

static _Noreturn void child_main(const struct fixture *parent, int fd, uint64_t first) {
        struct writer writer = { .fd = fd, .next = first };
        struct store_handlers handlers = { .written = child_written,
                                           .health_changed = child_health,
                                           .userdata = &writer };

        ASSERT_OK(sd_event_new(&writer.f.event));
        ASSERT_OK(store_open(&parent->config, writer.f.event, &handlers, NULL, NULL, &writer.f.store));
        for (;;) {
                for (; writer.in_flight < IN_FLIGHT; writer.next++)
                        hand_in(&writer,
                                is_guest(writer.next)
                                        ? batch_guest(RECORD_GUEST_TAKEN, spec_make(writer.next), NULL)
                                        : batch_accept(spec_make(writer.next)),
                                writer.next);
                ASSERT_OK(sd_event_run(writer.f.event, UINT64_MAX));
        }
}

static size_t read_all(int fd, struct told *told, size_t n_max) {
        size_t n = 0;
        ssize_t size;

        while (n < n_max && (size = read(fd, &told[n], sizeof(told[n]))) > 0) {
                ASSERT_EQ(size, (ssize_t) sizeof(told[n]));
                n++;
        }
        return n;
}

/* What was told of a guest that goes may be followed by more. */
static void check_guest(struct fixture *f, const struct told *told) {
        const struct store_guest *guest = find_guest(f, told->job);

        ASSERT_TRUE(guest || goes(told->job));
        if (told->type == RECORD_GUEST_GONE)
                ASSERT_NULL(guest);
        if (guest && told->type == RECORD_GUEST_ENDED)
                ASSERT_EQ(guest->result->stdout_output.size, 11);
}

static void check(struct fixture *f, const struct told *told, size_t n) {
        for (size_t i = 0; i < n; i++) {
                if (is_guest(told[i].job)) {
                        check_guest(f, &told[i]);
                        continue;
                }
                ask_job(f, told[i].job, true);
                ASSERT_EQ(f->answer.n_jobs, 1);
                if (told[i].type == RECORD_FINISHED) {
                        ASSERT_EQ(f->answer.jobs->status, JOB_COMPLETED);
                        ASSERT_EQ(f->answer.jobs->stdout_size, 11);
                }
        }
}

static size_t kill_one(struct fixture *f, uint64_t first) {
        static struct told told[200000];
        int fds[2], status;
        uint32_t random;
        size_t n;
        pid_t pid;

        ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
        ASSERT_OK(fcntl(fds[1], F_SETPIPE_SZ, 1024 * 1024));
        pid = fork();
        ASSERT_OK(pid);
        if (pid == 0) {
                close(fds[0]);
                child_main(f, fds[1], first);
        }
        close(fds[1]);

        random_bytes(&random, sizeof(random));
        (void) usleep((useconds_t) (LIFE_MIN_USEC + random % (LIFE_MAX_USEC - LIFE_MIN_USEC)));
        ASSERT_EQ(kill(pid, SIGKILL), 0);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        n = read_all(fds[0], told, ELEMENTSOF(told));
        close(fds[0]);

        ASSERT_OK(fixture_open(f));
        check(f, told, n);
        /* Those that wait are found, too, and no more than were handed in. */
        ASSERT_LE(f->n_unfinished, IN_FLIGHT * 2);
        for (size_t i = 0; i < f->n_unfinished; i++) {
                struct record_batch *batch =
                        batch_of(RECORD_FINISHED, job_spec_ref(f->unfinished[i].spec), 1);

                batch->records[0].status = JOB_CANCELLED;
                ASSERT_OK(write_and_wait(f, batch));
        }
        for (size_t i = 0; i < f->n_guests; i++)
                ASSERT_OK(write_and_wait(
                        f, batch_guest(RECORD_GUEST_GONE, job_spec_ref(f->guests[i].spec), NULL)));
        ASSERT_EQ(sql_number(f, "SELECT count(*) FROM guests"), 0);
        ASSERT_EQ(f->health, 0);
        fixture_close(f);
        return n;
}

int main(void) {
        _cleanup_fixture_ struct fixture f;
        size_t n = 0;

        fixture_init(&f);
        for (uint64_t i = 0; i < ROUNDS; i++)
                n += kill_one(&f, i * 1000000);
        fprintf(stderr, "%zu outcomes told before %d kills\n", n, ROUNDS);
        ASSERT_GT(n, 0);
        ASSERT_EQ(
                sql_number(&f, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check != 'ok'"),
                0);
        return 0;
}
