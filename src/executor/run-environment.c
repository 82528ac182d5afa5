/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The environment of a job: a small clean base, the job's own variables over it, and what identifies the
 * run, which the job cannot change. */

#include <inttypes.h>
#include <stdio.h>

#include "executor/executor.h"
#include "executor/orphans.h"

#define PATH_ENTRY "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define LANG_ENTRY "LANG=C.UTF-8"
#define BASE_MAX 10u

struct run_environment {
        char job_id[sizeof("JOB_ID=") + UUID_TEXT_SIZE];
        char epoch[sizeof("EPOCH=18446744073709551615")];
        char attempt[sizeof("ATTEMPT=4294967295")];
        char marker[sizeof(ORPHAN_MARKER "=") + RUN_MARKER_MAX];
        size_t n_entries;
        char *entries[];
};

/* Both begin with the same "NAME=". */
static bool same_name(const char *a, const char *b) {
        size_t size = (size_t) (strchr(b, '=') - b) + 1;

        return strncmp(a, b, size) == 0;
}

static bool is_in(char *const *entries, size_t n_entries, const char *entry) {
        for (size_t i = 0; i < n_entries; i++)
                if (same_name(entry, entries[i]))
                        return true;
        return false;
}

char *run_marker(const struct run *run, char buffer[static RUN_MARKER_MAX]) {
        (void) snprintf(buffer, RUN_MARKER_MAX, "%s:%" PRIu64, run->executor->instance_text, run->serial);
        return buffer;
}

static void fill_fixed(const struct run *run, struct run_environment *environment) {
        char marker[RUN_MARKER_MAX];

        uuid_to_text(&run->id.job, stpcpy(environment->job_id, "JOB_ID="));
        (void) snprintf(environment->epoch, sizeof(environment->epoch), "EPOCH=%" PRIu64, run->id.epoch);
        (void) snprintf(
                environment->attempt, sizeof(environment->attempt), "ATTEMPT=%" PRIu32, run->id.attempt);
        environment->entries[environment->n_entries++] = environment->job_id;
        environment->entries[environment->n_entries++] = run->executor->node_id;
        environment->entries[environment->n_entries++] = environment->epoch;
        environment->entries[environment->n_entries++] = environment->attempt;

        /* Where cgroups tell what belongs to a job, nothing in its environment has to. */
        if (!run->executor->cgroups) {
                (void) snprintf(
                        environment->marker, sizeof(environment->marker), ORPHAN_MARKER "=%s",
                        run_marker(run, marker));
                environment->entries[environment->n_entries++] = environment->marker;
        }
}

int run_environment_new(const struct run *run, struct run_environment **ret) {
        const struct run_command *command = run->command;
        char *const base[] = {
                (char *) PATH_ENTRY,      (char *) LANG_ENTRY,  run->executor->home,
                run->executor->user_name, run->executor->login,
        };
        struct run_environment *environment;
        size_t n_fixed;

        environment = malloc(sizeof(*environment) + (BASE_MAX + command->n_env + 1) * sizeof(char *));
        if (!environment)
                return -ENOMEM;
        environment->n_entries = 0;
        fill_fixed(run, environment);
        n_fixed = environment->n_entries;

        for (size_t i = 0; i < command->n_env; i++)
                if (!is_in(environment->entries, n_fixed, command->env[i]))
                        environment->entries[environment->n_entries++] = command->env[i];
        for (size_t i = 0; i < ELEMENTSOF(base); i++)
                if (base[i] && !is_in(command->env, command->n_env, base[i]))
                        environment->entries[environment->n_entries++] = base[i];
        environment->entries[environment->n_entries] = NULL;
        *ret = environment;
        return 0;
}

char *const *run_environment_entries(const struct run_environment *environment) {
        return environment->entries;
}

struct run_environment *run_environment_free(struct run_environment *environment) {
        free(environment);
        return NULL;
}
