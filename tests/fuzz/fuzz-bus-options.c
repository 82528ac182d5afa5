/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The arguments of SubmitJob() and SubmitJobs(), as messages with options of any name and type. The input
 * is a byte, odd for a list of jobs, and then, for each job, its command and its options, each of them a
 * byte for the key, one for the type and the value. Texts end in a NUL, numbers have eight bytes, the least
 * significant first, and a key of 0 ends the options of a job.
 *
 * Whatever comes: it is read as jobs whose texts lie in the message, or refused with one line. */

#include <endian.h>
#include <sys/socket.h>

#include "api/dbus/submission.h"
#include "lib/tests.h"
#include "util/utf8.h"

#define ENTRIES_MAX 300u /* of a dictionary or an array: more than a job may have */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* NULL: one that is read from the input. */
static const char *const keys[] = {
        "target_node_id", "env",       "timeout_seconds", "cwd",         "stdin",           "memory_max",
        "cpu_weight",     "cpu_quota", "tasks_max",       "best_effort", "idempotency_key", NULL,
        "priority",       "retries",   "on_node_loss",    "requires",
};

static const char *const types[] = {
        "s", "b", "y", "n", "q", "i", "u", "x", "t", "d", "o", "g", "ay", "as", "a{ss}", "a{sv}", "v",
};

struct input {
        const uint8_t *data;
        size_t size;
};

static uint8_t take_byte(struct input *input) {
        if (input->size == 0)
                return 0;
        input->size--;
        return *input->data++;
}

static uint64_t take_number(struct input *input) {
        uint64_t number = 0;

        for (unsigned i = 0; i < 8; i++)
                number |= (uint64_t) take_byte(input) << 8 * i;
        return number;
}

/* Freed by the caller. */
static char *take_text(struct input *input) {
        size_t size = strnlen((const char *) input->data, input->size);
        char *text = strndup((const char *) input->data, size);

        ASSERT_NOT_NULL(text);
        input->data += size;
        input->size -= size;
        (void) take_byte(input);
        return text;
}

static int append_text(sd_bus_message *message, char type, struct input *input) {
        _cleanup_free_ char *text = take_text(input);

        return sd_bus_message_append_basic(message, type, text);
}

static int append_bytes(sd_bus_message *message, struct input *input) {
        _cleanup_free_ char *text = take_text(input);

        return sd_bus_message_append_array(message, 'y', text, strlen(text));
}

/* A byte tells how many; those that repeat the last texts when there are no more are wanted, too. */
static int append_strings(sd_bus_message *message, bool pairs, struct input *input) {
        unsigned n = MIN(take_byte(input) * 2u, ENTRIES_MAX);
        int r = sd_bus_message_open_container(message, 'a', pairs ? "{ss}" : "s");

        for (unsigned i = 0; r >= 0 && i < n; i++) {
                if (pairs)
                        r = sd_bus_message_open_container(message, 'e', "ss");
                if (r >= 0)
                        r = append_text(message, 's', input);
                if (r >= 0 && pairs)
                        r = append_text(message, 's', input);
                if (r >= 0 && pairs)
                        r = sd_bus_message_close_container(message);
        }
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int append_plain(sd_bus_message *message, char type, struct input *input) {
        uint64_t number;
        int boolean;

        if (strchr("sog", type))
                return append_text(message, type, input);
        /* Least significant byte first: on such a machine a shorter number is at the beginning. */
        number = htole64(take_number(input));
        boolean = number & 1;
        return sd_bus_message_append_basic(
                message, type, type == 'b' ? (void *) &boolean : (void *) &number);
}

static int append_value(sd_bus_message *message, const char *type, struct input *input) {
        int r = sd_bus_message_open_container(message, 'v', type);

        if (r < 0)
                return r;
        if (streq(type, "ay"))
                r = append_bytes(message, input);
        else if (streq(type, "as") || streq(type, "a{ss}"))
                r = append_strings(message, type[1] == '{', input);
        else if (streq(type, "a{sv}"))
                r = sd_bus_message_append(message, "a{sv}", 1, "key", "s", "value");
        else if (streq(type, "v"))
                r = sd_bus_message_append(message, "v", "s", "value");
        else
                r = append_plain(message, type[0], input);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int append_option(sd_bus_message *message, uint8_t key, struct input *input) {
        const char *known = keys[(key - 1) % ELEMENTSOF(keys)];
        const char *type = types[take_byte(input) % ELEMENTSOF(types)];
        int r = sd_bus_message_open_container(message, 'e', "sv");

        if (r >= 0)
                r = known ? sd_bus_message_append_basic(message, 's', known)
                          : append_text(message, 's', input);
        if (r >= 0)
                r = append_value(message, type, input);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int append_options(sd_bus_message *message, struct input *input) {
        uint8_t key;
        int r = sd_bus_message_open_container(message, 'a', "{sv}");

        while (r >= 0 && (key = take_byte(input)) > 0)
                r = append_option(message, key, input);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int append_job(sd_bus_message *message, struct input *input) {
        int r = append_text(message, 's', input);

        return r < 0 ? r : append_options(message, input);
}

static int append_jobs(sd_bus_message *message, struct input *input) {
        int r = sd_bus_message_open_container(message, 'a', "(sa{sv})");

        while (r >= 0 && input->size > 0 && *input->data != '\0') {
                r = sd_bus_message_open_container(message, 'r', "sa{sv}");
                if (r >= 0)
                        r = append_job(message, input);
                if (r >= 0)
                        r = sd_bus_message_close_container(message);
        }
        (void) take_byte(input);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        return r < 0 ? r : append_options(message, input);
}

static void check_text(const char *text, size_t size) {
        if (!text)
                return;
        ASSERT_EQ(strlen(text), size);
        ASSERT_TRUE(utf8_is_valid(text, size));
}

static void check_job(const struct job_request *job) {
        struct job_problem problem;

        ASSERT_NOT_NULL(job->command);
        check_text(job->command, job->command_size);
        check_text(job->cwd, job->cwd_size);
        check_text(job->target_node_id, job->target_node_id_size);
        ASSERT_TRUE(job->stdin_data || job->stdin_size == 0);
        if (job_request_check(job, &problem) < 0) {
                ASSERT_TRUE(problem.detail[0] != '\0');
                return;
        }
        for (size_t i = 0; i < job->n_env; i++) {
                check_text(job->env[i].name, job->env[i].name_size);
                check_text(job->env[i].value, job->env[i].value_size);
        }
}

static void check_fault(const struct bus_fault *fault) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        ASSERT_TRUE(fault->name[0] != '\0' && fault->detail[0] != '\0');
        ASSERT_TRUE(utf8_is_valid(fault->detail, strlen(fault->detail)));
        for (const char *position = fault->detail; *position != '\0'; position++)
                ASSERT_TRUE((unsigned char) *position >= 0x20 && *position != 0x7f);
        ASSERT_LT(sd_bus_error_set(&error, fault->name, fault->detail), 0);
}

static void read_back(sd_bus_message *message, bool is_list) {
        _cleanup_(submission_free_p) struct submission *submission = NULL;
        struct bus_fault fault = {};
        int r;

        ASSERT_OK(sd_bus_message_seal(message, 1, 0));
        ASSERT_OK(sd_bus_message_rewind(message, true));
        r = submission_read(message, is_list, &submission, &fault);
        if (r < 0) {
                ASSERT_EQ(r, -EINVAL);
                check_fault(&fault);
                return;
        }
        ASSERT_GT(sd_bus_message_at_end(message, true), 0);
        ASSERT_TRUE(is_list || submission->n_jobs == 1);
        for (size_t i = 0; i < submission->n_jobs; i++)
                check_job(&submission->jobs[i]);
}

/* A message needs a connection that has begun; nobody is at its other end. */
static sd_bus *make_bus(void) {
        sd_bus *bus;
        int fds[2];

        ASSERT_OK(sd_bus_new(&bus));
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
        ASSERT_OK(sd_bus_set_fd(bus, fds[0], fds[0]));
        ASSERT_OK(sd_bus_start(bus));
        return bus;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        struct input input = { .data = data, .size = size };
        static sd_bus *bus = NULL;
        bool is_list;

        if (!bus)
                bus = make_bus();
        is_list = take_byte(&input) % 2 == 1;
        ASSERT_OK(sd_bus_message_new_method_call(
                bus, &message, BUS_NAME, "/org/workermesh/Mesh1", BUS_NAME ".Manager",
                is_list ? "SubmitJobs" : "SubmitJob"));
        /* What the library refuses to say, nobody can say. */
        if ((is_list ? append_jobs(message, &input) : append_job(message, &input)) >= 0)
                read_back(message, is_list);
        return 0;
}
