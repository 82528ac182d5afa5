/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The jobs of SubmitJob() and SubmitJobs() as requests of the mind, and the reading of dictionaries of
 * options. Strings point into the message. */

#include "api/dbus/internal.h"

struct submission {
        struct job_request *jobs;
        size_t n_jobs, n_allocated;
        const char *idempotency_key; /* NULL: none */
        bool is_list;
};

/* Reads the message up to its end. 0; -EINVAL: *ret_fault says what is wrong; or another negative errno. */
int submission_read(
        sd_bus_message *message, bool is_list, struct submission **ret, struct bus_fault *ret_fault);
struct submission *submission_free(struct submission *submission); /* accepts NULL */
DEFINE_CLEANUP(struct submission *, submission_free)

/* Walks an "a{sv}". For each option the function reads the value, which message stands at and signature
 * describes, and returns 0, -EINVAL with *ret_fault, or -ENOENT for a key that it does not know. */
typedef int (*option_t)(
        sd_bus_message *message, const char *key, const char *signature, void *userdata,
        struct bus_fault *ret_fault);
int options_read(
        sd_bus_message *message, option_t function, const char *const *keys, const char *what,
        void *userdata, struct bus_fault *ret_fault);

/* -EINVAL: it is of another type; *ret_fault says so. */
int option_read_text(
        sd_bus_message *message, const char *key, const char *signature, const char **ret, size_t *ret_size,
        struct bus_fault *ret_fault);
/* Any integer type; what does not fit becomes the nearest that does, which is out of every range. wanted:
 * what it must be, in words. */
int option_read_integer(
        sd_bus_message *message, const char *key, const char *signature, const char *wanted, int64_t *ret,
        struct bus_fault *ret_fault);
int option_read_boolean(
        sd_bus_message *message, const char *key, const char *signature, bool *ret,
        struct bus_fault *ret_fault);
