/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The limits that submissions are held against: SQLite alone with the node's own table, write-ahead log and
 * synchronous=FULL. "group": submitters, each a thread, hand one row at a time to a writer that commits all
 * that has gathered, and wait for the commit. "batch": prepared inserts in one transaction. */

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>

#include "bench/measure.h"
#include "bench/options.h"
#include "bench/template.h"
#include "util/random.h"

#define SUBMITTERS_MAX 256u

struct bench {
        sqlite3 *database;
        sqlite3_stmt *insert, *begin, *commit;
        struct template template;
        size_t n_keys;
        struct template_key *keys;
        struct samples *commits; /* how long each transaction of submitters took */
};

static void bench_done(struct bench *bench) {
        (void) sqlite3_finalize(bench->insert);
        (void) sqlite3_finalize(bench->begin);
        (void) sqlite3_finalize(bench->commit);
        (void) sqlite3_close(bench->database);
        template_done(&bench->template);
        free(bench->keys);
        free(bench->commits);
}

static int row_insert(struct bench *bench, const struct template_key *key) {
        int r;

        r = template_bind(&bench->template, bench->insert, key);
        if (r == 0 && sqlite3_step(bench->insert) != SQLITE_DONE)
                r = sql_problem(bench->database, "Cannot insert");
        (void) sqlite3_reset(bench->insert);
        return r;
}

static int step(struct bench *bench, sqlite3_stmt *statement) {
        int r = sqlite3_step(statement);

        (void) sqlite3_reset(statement);
        return r == SQLITE_DONE ? 0 : sql_problem(bench->database, "Cannot commit");
}

static int insert_all(struct bench *bench) {
        int r;

        r = step(bench, bench->begin);
        for (size_t i = 0; i < bench->n_keys && r == 0; i++)
                r = row_insert(bench, &bench->keys[i]);
        return r == 0 ? step(bench, bench->commit) : r;
}

/* One row at a time from each submitter to the writer. */
struct group {
        struct bench *bench;
        pthread_mutex_t lock;
        pthread_cond_t gathered;
        size_t next;   /* key to be taken */
        size_t n_done; /* rows that are durable; writer only */
        size_t n_waiting;
        struct submitter *waiting[SUBMITTERS_MAX];
};

struct submitter {
        struct group *group;
        pthread_t thread;
        size_t key;
        sem_t durable;
};

static void *submitter_main(void *userdata) {
        struct submitter *submitter = userdata;
        struct group *group = submitter->group;

        for (;;) {
                (void) pthread_mutex_lock(&group->lock);
                if (group->next == group->bench->n_keys) {
                        (void) pthread_mutex_unlock(&group->lock);
                        return NULL;
                }
                submitter->key = group->next++;
                group->waiting[group->n_waiting++] = submitter;
                if (group->n_waiting == 1)
                        (void) pthread_cond_signal(&group->gathered);
                (void) pthread_mutex_unlock(&group->lock);
                (void) sem_wait(&submitter->durable);
        }
}

static size_t group_take(struct group *group, struct submitter *ret[static SUBMITTERS_MAX]) {
        size_t n;

        (void) pthread_mutex_lock(&group->lock);
        while (group->n_waiting == 0)
                (void) pthread_cond_wait(&group->gathered, &group->lock);
        n = group->n_waiting;
        memcpy(ret, group->waiting, n * sizeof(ret[0]));
        group->n_waiting = 0;
        (void) pthread_mutex_unlock(&group->lock);
        return n;
}

static int group_write(struct group *group) {
        struct submitter *taken[SUBMITTERS_MAX];
        struct bench *bench = group->bench;

        while (group->n_done < bench->n_keys) {
                size_t n = group_take(group, taken);
                uint64_t begin_nsec = monotonic_nsec();
                int r;

                r = step(bench, bench->begin);
                for (size_t i = 0; i < n && r == 0; i++)
                        r = row_insert(bench, &bench->keys[taken[i]->key]);
                if (r == 0)
                        r = step(bench, bench->commit);
                if (r < 0)
                        return r;
                samples_add(bench->commits, monotonic_nsec() - begin_nsec);
                group->n_done += n;
                for (size_t i = 0; i < n; i++)
                        (void) sem_post(&taken[i]->durable);
        }
        return 0;
}

/* A failure leaves the submitters waiting; the program ends with it. */
static int commit_groups(struct bench *bench, size_t n_submitters) {
        static struct submitter submitters[SUBMITTERS_MAX];
        static struct group group = {
                .lock = PTHREAD_MUTEX_INITIALIZER,
                .gathered = PTHREAD_COND_INITIALIZER,
        };
        int r;

        group.bench = bench;
        for (size_t i = 0; i < n_submitters; i++) {
                submitters[i].group = &group;
                if (sem_init(&submitters[i].durable, 0, 0) < 0)
                        return -errno;
                r = pthread_create(&submitters[i].thread, NULL, submitter_main, &submitters[i]);
                if (r != 0)
                        return -r;
        }
        r = group_write(&group);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_submitters; i++)
                (void) pthread_join(submitters[i].thread, NULL);
        return 0;
}

static int template_read(const char *path, struct template *ret) {
        sqlite3 *database = NULL;
        int r;

        if (sqlite3_open_v2(path, &database, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK)
                r = template_load(database, ret);
        else
                r = sql_problem(database, path);
        (void) sqlite3_close(database);
        return r;
}

static int prepare(struct bench *bench, const char *text, sqlite3_stmt **ret) {
        return sqlite3_prepare_v2(bench->database, text, -1, ret, NULL) == SQLITE_OK
                       ? 0
                       : sql_problem(bench->database, text);
}

/* Opens the database, or makes it. Durable, and beyond that as fast as settings make it. */
static int database_open(struct bench *bench, const char *path) {
        static const char settings[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                                       "PRAGMA cache_size = -64000; PRAGMA wal_autocheckpoint = 4096";
        bool fresh = access(path, F_OK) < 0;
        int r;

        if (sqlite3_open_v2(
                    path, &bench->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                    NULL) != SQLITE_OK)
                return sql_problem(bench->database, path);
        r = sql_run(bench->database, settings);
        if (r == 0 && fresh)
                r = sql_run(bench->database, bench->template.schema);
        if (r == 0)
                r = prepare(bench, "BEGIN IMMEDIATE", &bench->begin);
        if (r == 0)
                r = prepare(bench, "COMMIT", &bench->commit);
        if (r == 0)
                r = prepare(bench, bench->template.insert, &bench->insert);
        return r;
}

/* Keys that are not in the table yet. */
static int keys_make(struct bench *bench, size_t n_keys) {
        sqlite3_stmt *statement = NULL;
        int64_t first;
        int r;

        r = prepare(bench, "SELECT coalesce(max(rowid), 0) + 1 FROM jobs", &statement);
        if (r < 0)
                return r;
        first = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 1;
        (void) sqlite3_finalize(statement);

        bench->keys = calloc(n_keys, sizeof(bench->keys[0]));
        if (!bench->keys)
                return -ENOMEM;
        bench->n_keys = n_keys;
        for (size_t i = 0; i < n_keys; i++) {
                bench->keys[i].number = first + (int64_t) i;
                random_bytes(bench->keys[i].id.bytes, sizeof(bench->keys[i].id.bytes));
                uuid_set_version(&bench->keys[i].id, 4);
                (void) uuid_to_text(&bench->keys[i].id, bench->keys[i].text);
        }
        return 0;
}

static int
measure(struct bench *bench, const char *template_path, const char *database_path, size_t n_rows,
        size_t n_submitters) {
        uint64_t begin_nsec;
        int r;

        r = template_read(template_path, &bench->template);
        if (r < 0)
                return r;
        r = database_open(bench, database_path);
        if (r < 0)
                return r;
        r = keys_make(bench, n_rows);
        if (r >= 0)
                r = samples_new(n_rows, &bench->commits);
        if (r < 0)
                return r;
        begin_nsec = monotonic_nsec();
        r = n_submitters > 0 ? commit_groups(bench, n_submitters) : insert_all(bench);
        if (r < 0)
                return r;
        rate_print(n_rows, monotonic_nsec() - begin_nsec);
        samples_print(bench->commits);
        return 0;
}

int main(int argc, char *argv[]) {
        unsigned count = 10000, submitters = 0;
        const char *template_path = NULL, *database_path = NULL;
        const struct bench_option options[] = {
                { "template", "A database of the node, with a job in it.", 0, 0, NULL, &template_path,
                  NULL },
                { "database", "Where to write; made when it is not there.", 0, 0, NULL, &database_path,
                  NULL },
                { "count", "How many rows (10000).", 1, 10000000, &count, NULL, NULL },
                { "submitters", "How many hand in one row at a time; 0: one transaction (0).", 0,
                  SUBMITTERS_MAX, &submitters, NULL, NULL },
        };
        struct bench bench = {};
        int r;

        r = bench_options_parse(
                argc, argv, "Inserts rows like those of the node with SQLite alone.", options,
                ELEMENTSOF(options));
        if (r != 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        if (!template_path || !database_path) {
                fprintf(stderr, "--template and --database are needed.\n");
                return EXIT_FAILURE;
        }

        r = measure(&bench, template_path, database_path, count, submitters);
        bench_done(&bench);
        if (r < 0)
                fprintf(stderr, "Cannot measure: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
