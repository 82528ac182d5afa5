/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-check.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "store/store-schema.h"
#include "store/store-thread.h"
#include "util/log.h"
#include "util/message-ids.h"

struct store_check {
        char *path;
        int wake_fd;
        sqlite3 *db;
        struct store_thread *thread;
        atomic_int outcome; /* see store_check_outcome() */
};

static int check_file(struct store_check *check) {
        _cleanup_(sqlite_finalize_p) sqlite3_stmt *statement = NULL;
        const char *text;
        int r;

        r = sqlite_error(
                check->db, sqlite3_prepare_v2(check->db, "PRAGMA quick_check(1)", -1, &statement, NULL));
        if (r >= 0)
                r = sqlite_step(statement);
        if (r == 0)
                return -ENODATA;
        if (r == -EUCLEAN)
                return log_event_errno(
                        LOG_ERR, r, MESSAGE_DATABASE_DAMAGED, "The job database %s is damaged.",
                        check->path);
        if (r == -ECANCELED)
                return r;
        if (r < 0)
                return log_warning_errno(
                        r, "Cannot check %s after an unclean stop, ignoring: %m", check->path);

        text = (const char *) sqlite3_column_text(statement, 0);
        if (!text)
                return -ENOMEM;
        if (!streq(text, "ok"))
                return log_event_errno(
                        LOG_ERR, -EUCLEAN, MESSAGE_DATABASE_DAMAGED, "The job database %s is damaged: %s",
                        check->path, text);
        return 1;
}

static void *check_main(void *userdata) {
        struct store_check *check = userdata;

        /* Only when the machine has nothing else to do. */
        (void) sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){});

        atomic_store(&check->outcome, check_file(check));
        (void) eventfd_write(check->wake_fd, 1);
        return NULL;
}

int store_check_start(const char *path, int wake_fd, struct store_check **ret) {
        _cleanup_(store_check_stop_p) struct store_check *check = calloc(1, sizeof(*check));
        int r;

        if (!check)
                return -ENOMEM;
        check->wake_fd = wake_fd;
        check->path = strdup(path);
        if (!check->path)
                return -ENOMEM;
        r = store_schema_open_reader(path, &check->db);
        if (r < 0)
                return r;
        r = store_thread_start("store-check", check_main, check, &check->thread);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(check);
        return 0;
}

struct store_check *store_check_stop(struct store_check *check) {
        if (!check)
                return NULL;
        if (check->thread)
                sqlite3_interrupt(check->db);
        store_thread_join(check->thread);
        sqlite_close(check->db);
        free(check->path);
        free(check);
        return NULL;
}

int store_check_outcome(const struct store_check *check) {
        return atomic_load(&check->outcome);
}
