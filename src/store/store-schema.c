/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-schema.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>

/* The write-ahead log is cut back to this size when it begins anew. Space that it already has costs no
 * change of the file's length, and so less for each commit. */
#define JOURNAL_SIZE_LIMIT 16777216 /* bytes; becomes part of a statement */

/* "WMsh", so that file(1) and a reader can tell whose file it is. */
#define APPLICATION_ID 0x574d7368

/* What a person asks for comes first; what may be large comes last and in the order of likely size, so that
 * the columns before it are read without walking the pages behind it. The sizes of the large ones are
 * columns of their own for the same reason.
 *
 * job_id: every change of a job finds its row by it.
 * jobs_by_status: lists of one status, the unfinished jobs at start, and the oldest finished ones for
 * pruning. */
static const char schema_1[] = "CREATE TABLE jobs ("
                               "  seq INTEGER PRIMARY KEY,"
                               "  job_id TEXT NOT NULL UNIQUE,"
                               "  status TEXT NOT NULL,"
                               "  exit_code INTEGER,"
                               "  signal INTEGER,"
                               "  created_at TEXT NOT NULL,"
                               "  started_at TEXT,"
                               "  finished_at TEXT,"
                               "  updated_at TEXT NOT NULL,"
                               "  duration_usec INTEGER,"
                               "  timeout_seconds INTEGER NOT NULL,"
                               "  epoch INTEGER NOT NULL,"
                               "  attempt INTEGER NOT NULL,"
                               "  cancel_requested INTEGER NOT NULL DEFAULT 0,"
                               "  target_node_id TEXT,"
                               "  created_by_node TEXT NOT NULL,"
                               "  executor_node_id TEXT,"
                               "  executor_instance TEXT,"
                               "  submitter TEXT,"
                               "  submitter_uid INTEGER,"
                               "  digest BLOB,"
                               "  stdin_size INTEGER,"
                               "  stdout_size INTEGER,"
                               "  stderr_size INTEGER,"
                               "  stdout_total INTEGER,"
                               "  stderr_total INTEGER,"
                               "  stdout_truncated INTEGER NOT NULL DEFAULT 0,"
                               "  stderr_truncated INTEGER NOT NULL DEFAULT 0,"
                               "  error_message TEXT,"
                               "  cwd TEXT,"
                               "  command TEXT NOT NULL,"
                               "  env TEXT NOT NULL,"
                               "  stderr ANY,"
                               "  stdout ANY,"
                               "  stdin ANY"
                               ") STRICT;"
                               "CREATE INDEX jobs_by_status ON jobs (status, seq);"
                               "CREATE TABLE worker_nodes ("
                               "  node_id TEXT PRIMARY KEY NOT NULL,"
                               "  address TEXT NOT NULL,"
                               "  status TEXT NOT NULL,"
                               "  last_heartbeat TEXT,"
                               "  metadata TEXT NOT NULL,"
                               "  version TEXT NOT NULL,"
                               "  created_at TEXT NOT NULL,"
                               "  updated_at TEXT NOT NULL"
                               ") STRICT;"
                               "PRAGMA application_id = " MACRO_TEXT(APPLICATION_ID) ";";

/* Limits of jobs have a table of their own, with rows for those jobs only that have any or that the kernel
 * ended for want of memory. A new column of jobs would stand behind the outputs, and reading it would walk
 * through all of their pages; putting it before them would copy the whole table, in which time the node does
 * not start (seen: 23 s for a million jobs of 3.4 GB, without the indexes). This costs one look into a small
 * tree for each job that is read, less than a microsecond of ten. Rows go together with their jobs; triggers
 * would see to it, but our connections have none. */
static const char schema_2[] = "CREATE TABLE job_limits ("
                               "  seq INTEGER PRIMARY KEY,"
                               "  memory_max INTEGER,"
                               "  cpu_weight INTEGER,"
                               "  cpu_quota INTEGER,"
                               "  tasks_max INTEGER,"
                               "  best_effort INTEGER NOT NULL DEFAULT 0,"
                               "  oom_killed INTEGER NOT NULL DEFAULT 0"
                               ") STRICT;";

/* Runs of jobs that other nodes own: what a restart needs of them, and no history. A job, and the end of its
 * run, are what a link carries, since they came over one or go over one: what travels is what is kept, and
 * reading it back has the checks of a link. The command is there for people. Outputs may be larger than a
 * frame, and stay readable beside it. */
static const char schema_3[] = "CREATE TABLE guests ("
                               "  seq INTEGER PRIMARY KEY,"
                               "  job_id TEXT NOT NULL UNIQUE,"
                               "  owner_node_id TEXT NOT NULL,"
                               "  epoch INTEGER NOT NULL,"
                               "  attempt INTEGER NOT NULL,"
                               "  executor_instance TEXT,"
                               "  created_at TEXT NOT NULL,"
                               "  updated_at TEXT NOT NULL,"
                               "  command TEXT NOT NULL,"
                               "  ending BLOB,"
                               "  assignment BLOB NOT NULL,"
                               "  stderr ANY,"
                               "  stdout ANY"
                               ") STRICT;";

/* What is to happen with a job beside being run, and what it asks of its node: rows for those jobs only that
 * have any of it, for the reasons of job_limits. requires: NULL, or an array of strings. */
#define TABLE_JOB_OPTIONS                               \
        "CREATE TABLE job_options ("                    \
        "  seq INTEGER PRIMARY KEY,"                    \
        "  priority INTEGER NOT NULL DEFAULT 0,"        \
        "  retries INTEGER NOT NULL DEFAULT 0,"         \
        "  retries_used INTEGER NOT NULL DEFAULT 0,"    \
        "  loss_is_failure INTEGER NOT NULL DEFAULT 0," \
        "  requires TEXT"                               \
        ") STRICT;"

/* Attempts that did not decide their job: given up with a lost node, or tried again. Rows go together with
 * their jobs. */
#define TABLE_ATTEMPTS                        \
        "CREATE TABLE attempts ("             \
        "  seq INTEGER NOT NULL,"             \
        "  epoch INTEGER NOT NULL,"           \
        "  attempt INTEGER NOT NULL,"         \
        "  node_id TEXT NOT NULL,"            \
        "  started_at TEXT,"                  \
        "  finished_at TEXT,"                 \
        "  outcome TEXT NOT NULL,"            \
        "  exit_code INTEGER,"                \
        "  signal INTEGER,"                   \
        "  error_message TEXT,"               \
        "  PRIMARY KEY (seq, epoch, attempt)" \
        ") STRICT, WITHOUT ROWID;"
/* Copies of other nodes' jobs, for which this node is the keeper: of an unfinished one what taking it over
 * needs, of one that has ended what can be told of it when its owner is gone; that is history here, too.
 * status: NULL while it has not ended. epoch is that of the ownership, run_epoch that of the run. The blobs
 * are as in guests; outputs are cut to what a link carries at once.
 *
 * copies_by_status: the unfinished ones, and the oldest ended ones for pruning. */
#define TABLE_COPIES                                     \
        "CREATE TABLE copies ("                          \
        "  seq INTEGER PRIMARY KEY,"                     \
        "  job_id TEXT NOT NULL UNIQUE,"                 \
        "  owner_node_id TEXT NOT NULL,"                 \
        "  term INTEGER NOT NULL,"                       \
        "  epoch INTEGER NOT NULL,"                      \
        "  run_epoch INTEGER NOT NULL,"                  \
        "  attempt INTEGER NOT NULL,"                    \
        "  executor_node_id TEXT,"                       \
        "  cancel_requested INTEGER NOT NULL DEFAULT 0," \
        "  retries_used INTEGER NOT NULL DEFAULT 0,"     \
        "  status TEXT,"                                 \
        "  created_at TEXT NOT NULL,"                    \
        "  updated_at TEXT NOT NULL,"                    \
        "  command TEXT NOT NULL,"                       \
        "  assignment BLOB NOT NULL,"                    \
        "  ending BLOB"                                  \
        ") STRICT;"                                      \
        "CREATE INDEX copies_by_status ON copies (status, seq);"

/* Jobs that another node owned before; all others have the first epoch. */
#define TABLE_TAKEOVERS              \
        "CREATE TABLE takeovers ("   \
        "  seq INTEGER PRIMARY KEY," \
        "  epoch INTEGER NOT NULL,"  \
        "  from_node_id TEXT"        \
        ") STRICT;"

/* Nodes that may have copies of this node's jobs, of this term or before. */
#define TABLE_HOLDERS                          \
        "CREATE TABLE holders ("               \
        "  node_id TEXT PRIMARY KEY NOT NULL," \
        "  term INTEGER NOT NULL"              \
        ") STRICT;"

/* clang-format off */
static const char schema_4[] =
        TABLE_JOB_OPTIONS
        TABLE_ATTEMPTS
        TABLE_COPIES
        TABLE_TAKEOVERS
        TABLE_HOLDERS;
/* clang-format on */

/* That this node is drained, as somebody asked for: one row, or none. until: NULL: without a limit. */
static const char schema_5[] = "CREATE TABLE drain ("
                               "  one INTEGER PRIMARY KEY CHECK (one = 1),"
                               "  since TEXT NOT NULL,"
                               "  until TEXT,"
                               "  uid INTEGER"
                               ") STRICT;";

/* Owners of which this node had everything, under which term of which of their processes:
 * against an earlier keeper, which has less, that counts also when it was taken over since. */
static const char schema_6[] = "CREATE TABLE swept ("
                               "  owner_node_id TEXT PRIMARY KEY NOT NULL,"
                               "  term INTEGER NOT NULL,"
                               "  instance INTEGER NOT NULL"
                               ") STRICT;";

/* migrations[n] leads from version n to n + 1. */
static const char *const migrations[STORE_SCHEMA_VERSION] = { schema_1, schema_2, schema_3,
                                                              schema_4, schema_5, schema_6 };

/* Files of SQLite beside the main one. */
static const char *const companions[] = { "-shm", "-wal" };

int store_schema_path(const char *directory, const char *node_id, char **ret) {
        return asprintf(ret, "%s/worker_%s.db", directory, node_id) < 0 ? -ENOMEM : 0;
}

/* SQLite would make the file readable for everybody; commands and environments are not everybody's business.
 */
static int make_file(const char *path) {
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0640);

        return fd < 0 ? -errno : 0;
}

static int use_wal(sqlite3 *db) {
        _cleanup_(sqlite_finalize_p) sqlite3_stmt *statement = NULL;
        const char *mode;
        int r;

        r = sqlite_error(db, sqlite3_prepare_v2(db, "PRAGMA journal_mode = WAL", -1, &statement, NULL));
        if (r < 0)
                return r;
        r = sqlite_step(statement);
        if (r < 0)
                return r;
        mode = r > 0 ? (const char *) sqlite3_column_text(statement, 0) : NULL;
        /* File systems without shared memory cannot have it. */
        return mode && streq(mode, "wal") ? 0 : -EOPNOTSUPP;
}

static int migrate_one(sqlite3 *db, unsigned version) {
        char pragma[64];
        int r;

        (void) snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %u", version + 1);

        r = sqlite_execute(db, "BEGIN IMMEDIATE");
        if (r < 0)
                return r;
        r = sqlite_execute(db, migrations[version]);
        if (r == 0)
                r = sqlite_execute(db, pragma);
        if (r == 0)
                r = sqlite_execute(db, "COMMIT");
        if (r < 0)
                sqlite_rollback(db);
        return r;
}

static int migrate(sqlite3 *db) {
        uint64_t version, n_objects;
        int r;

        r = sqlite_query_u64(db, "PRAGMA user_version", &version);
        if (r < 0)
                return r;
        if (version > STORE_SCHEMA_VERSION)
                return -EPROTONOSUPPORT;

        if (version == 0) {
                /* A new file is empty. One with tables and without our version number is somebody else's. */
                r = sqlite_query_u64(db, "SELECT count(*) FROM sqlite_schema", &n_objects);
                if (r < 0)
                        return r;
                if (n_objects > 0)
                        return -EUCLEAN;
        }

        for (; version < STORE_SCHEMA_VERSION; version++) {
                r = migrate_one(db, (unsigned) version);
                if (r < 0)
                        return r;
        }
        return 0;
}

int store_schema_open(const char *path, sqlite3 **ret) {
        _cleanup_(sqlite_close_p) sqlite3 *db = NULL;
        uint64_t n_objects;
        int r;

        r = make_file(path);
        if (r < 0)
                return r;
        r = sqlite_open(path, SQLITE_OPEN_READWRITE, STORE_WRITER_CACHE_KIB, &db);
        if (r < 0)
                return r;

        /* A damaged file is left as it was found. */
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);

        /* Reads the header, the log and the schema: a file that is none fails here. */
        r = sqlite_query_u64(db, "SELECT count(*) FROM sqlite_schema", &n_objects);
        if (r < 0)
                return r;
        r = use_wal(db);
        if (r < 0)
                return r;

        /* The writer makes its checkpoints itself, when nobody waits. */
        r = sqlite_execute(
                db,
                "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = FAST;"
                "PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = " MACRO_TEXT(JOURNAL_SIZE_LIMIT));
        if (r < 0)
                return r;

        r = migrate(db);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(db);
        return 0;
}

void store_schema_accept(sqlite3 *db) {
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
}

int store_schema_open_reader(const char *path, sqlite3 **ret) {
        return sqlite_open(path, SQLITE_OPEN_READONLY, STORE_READER_CACHE_KIB, ret);
}

static int companion_path(const char *path, const char *suffix, char **ret) {
        return asprintf(ret, "%s%s", path, suffix) < 0 ? -ENOMEM : 0;
}

bool store_schema_was_left_open(const char *path) {
        _cleanup_free_ char *log = NULL;
        struct stat st;

        return companion_path(path, "-wal", &log) >= 0 && lstat(log, &st) >= 0 && st.st_size > 0;
}

void store_schema_mark_damaged(const char *path) {
        _cleanup_free_ char *mark = NULL;
        _cleanup_close_ int fd = -EBADF;

        /* Without it the damage is found again, only later. */
        if (companion_path(path, ".is-damaged", &mark) >= 0)
                fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
}

bool store_schema_is_marked_damaged(const char *path) {
        _cleanup_free_ char *mark = NULL;

        return companion_path(path, ".is-damaged", &mark) >= 0 && access(mark, F_OK) >= 0;
}

static int rename_companion(const char *path, const char *new_path, const char *suffix) {
        _cleanup_free_ char *from = NULL, *to = NULL;

        if (companion_path(path, suffix, &from) < 0 || companion_path(new_path, suffix, &to) < 0)
                return -ENOMEM;
        return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0 && errno != ENOENT ? -errno : 0;
}

static int sync_directory_of(const char *path) {
        _cleanup_free_ char *copy = strdup(path);
        _cleanup_close_ int fd = -EBADF;

        if (!copy)
                return -ENOMEM;
        fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return fsync(fd) < 0 ? -errno : 0;
}

int store_schema_set_aside(const char *path, char **ret) {
        _cleanup_free_ char *new_path = NULL, *mark = NULL;
        usec_t now = now_usec(CLOCK_REALTIME);
        time_t seconds = (time_t) (now / USEC_PER_SEC);
        char text[sizeof("20260101T000000")];
        struct tm tm;
        int r;

        if (!gmtime_r(&seconds, &tm) || strftime(text, sizeof(text), "%Y%m%dT%H%M%S", &tm) == 0)
                return -EOVERFLOW;
        if (asprintf(&new_path, "%s.damaged-%s.%06uZ", path, text, (unsigned) (now % USEC_PER_SEC)) < 0)
                return -ENOMEM;

        /* The main file last: as long as it is there, the next start does the same again. */
        for (size_t i = 0; i < ELEMENTSOF(companions); i++) {
                r = rename_companion(path, new_path, companions[i]);
                if (r < 0)
                        return r;
        }
        r = rename_companion(path, new_path, "");
        if (r < 0)
                return r;

        r = companion_path(path, ".is-damaged", &mark);
        if (r < 0)
                return r;
        if (unlink(mark) < 0 && errno != ENOENT)
                return -errno;
        r = sync_directory_of(path);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(new_path);
        return 0;
}
