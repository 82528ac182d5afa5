/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* json-c is fast and has no holes, but is lenient where a submission should not be: it keeps the last of two
 * equal keys, lets integers saturate, and takes doubles for integers. The scan before it and the checks here
 * close that. */

#include "api/rest/json.h"

#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>

#include "api/rest/json-scan.h"
#include "util/utf8.h"
#include "wire/job-limits.h"

#define KEY_SHOWN_MAX 60 /* characters of a stranger's key in a message */

struct json_parser {
        struct json_tokener *tokener;
};

int json_parser_new(struct json_parser **ret) {
        _cleanup_(json_parser_free_p) struct json_parser *parser = calloc(1, sizeof(*parser));
        if (!parser)
                return -ENOMEM;

        /* One level more than the scan allows: json-c counts the innermost value too. */
        parser->tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 1);
        if (!parser->tokener)
                return -ENOMEM;
        json_tokener_set_flags(parser->tokener, JSON_TOKENER_STRICT);

        *ret = TAKE_PTR(parser);
        return 0;
}

struct json_parser *json_parser_free(struct json_parser *parser) {
        if (!parser)
                return NULL;
        if (parser->tokener)
                json_tokener_free(parser->tokener);
        free(parser);
        return NULL;
}

int json_problem_set(
        struct json_problem *problem, enum json_refusal refusal, const char *field, const char *format,
        ...) {
        va_list arguments;

        problem->refusal = refusal;
        problem->field = field;
        va_start(arguments, format);
        (void) vsnprintf(problem->detail, sizeof(problem->detail), format, arguments);
        va_end(arguments);
        return -EBADMSG;
}

static const char *kind_of(struct json_object *value) {
        switch (json_object_get_type(value)) {
        case json_type_null:
                return "null";
        case json_type_boolean:
                return "a boolean";
        case json_type_double:
                return "a number with a fraction or exponent";
        case json_type_int:
                return "a number";
        case json_type_object:
                return "an object";
        case json_type_array:
                return "an array";
        case json_type_string:
                return "a string";
        }
        return "something else";
}

/* As much of a key as a message has room for, cut between characters. */
static const char *key_to_show(const char *key, char buffer[static KEY_SHOWN_MAX + 4]) {
        size_t left = strlen(key), size = 0;

        while (left > 0) {
                size_t sequence = utf8_sequence(key, left);
                if (sequence == 0 || size + sequence > KEY_SHOWN_MAX)
                        break;
                memcpy(buffer + size, key, sequence);
                size += sequence;
                key += sequence;
                left -= sequence;
        }
        memcpy(buffer + size, left > 0 ? "..." : "", left > 0 ? 4 : 1);
        return buffer;
}

static int copy_text(struct json_object *value, struct arena *arena, const char **ret, size_t *ret_size) {
        size_t size = (size_t) json_object_get_string_len(value);

        char *copy = arena_allocate(arena, size + 1);
        if (!copy)
                return -ENOMEM;
        memcpy(copy, json_object_get_string(value), size);
        copy[size] = '\0';

        *ret = copy;
        *ret_size = size;
        return 0;
}

static int read_text(
        const char *field, struct json_object *value, struct arena *arena, const char **ret,
        size_t *ret_size, struct json_problem *problem) {
        if (!json_object_is_type(value, json_type_string))
                return json_problem_set(
                        problem, JSON_WRONG_TYPE, field, "%s must be a string, not %s", field,
                        kind_of(value));
        return copy_text(value, arena, ret, ret_size);
}

static int read_env(
        struct json_object *value, struct arena *arena, struct job_request *ret,
        struct json_problem *problem) {
        char shown[KEY_SHOWN_MAX + 4];
        int r;

        if (!json_object_is_type(value, json_type_object))
                return json_problem_set(
                        problem, JSON_WRONG_TYPE, "env",
                        "env must be an object of strings, such as {\"NAME\":\"value\"}, not %s",
                        kind_of(value));

        size_t n = (size_t) json_object_object_length(value);
        struct job_env *env = arena_allocate(arena, MAX(n, (size_t) 1) * sizeof(*env));
        if (!env)
                return -ENOMEM;

        n = 0;
        json_object_object_foreach(value, key, entry) {
                if (!json_object_is_type(entry, json_type_string))
                        return json_problem_set(
                                problem, JSON_WRONG_TYPE, "env", "env \"%s\" must be a string, not %s",
                                key_to_show(key, shown), kind_of(entry));
                size_t name_size = strlen(key);
                char *name = arena_allocate(arena, name_size + 1);
                if (!name)
                        return -ENOMEM;
                memcpy(name, key, name_size + 1);
                env[n] = (struct job_env){ .name = name, .name_size = name_size };
                r = copy_text(entry, arena, &env[n].value, &env[n].value_size);
                if (r < 0)
                        return r;
                n++;
        }

        ret->env = env;
        ret->n_env = n;
        return 0;
}

/* json-c lets what is outside of 64 bits saturate, which is far outside of what is allowed, too. */
static int
read_timeout(struct json_object *value, bool *ret_has, int64_t *ret, struct json_problem *problem) {
        if (!json_object_is_type(value, json_type_int))
                return json_problem_set(
                        problem, JSON_WRONG_TYPE, "timeout_seconds",
                        "timeout_seconds must be a whole number of seconds, such as 300, not %s",
                        kind_of(value));
        *ret_has = true;
        *ret = json_object_get_int64(value);
        return 0;
}

/* Numbers that are no integers are refused here, what is out of range by job_request_check(). */
static int
read_number(const char *field, struct json_object *value, int64_t *ret, struct json_problem *problem) {
        if (!json_object_is_type(value, json_type_int))
                return json_problem_set(
                        problem, JSON_WRONG_TYPE, field, "%s must be a whole number, not %s", field,
                        kind_of(value));
        *ret = json_object_get_int64(value);
        return 0;
}

static int read_limit(
        enum limit_field field, struct json_object *value, struct job_request_limits *ret,
        struct json_problem *problem) {
        int64_t number = 0;
        int r;

        r = read_number(limit_field_to_text(field), value, &number, problem);
        if (r < 0)
                return r;
        switch (field) {
        case LIMIT_MEMORY_MAX:
                ret->has_memory_max = true;
                ret->memory_max = number;
                break;
        case LIMIT_CPU_WEIGHT:
                ret->has_cpu_weight = true;
                ret->cpu_weight = number;
                break;
        case LIMIT_CPU_QUOTA:
                ret->has_cpu_quota = true;
                ret->cpu_quota = number;
                break;
        case LIMIT_TASKS_MAX:
                ret->has_tasks_max = true;
                ret->tasks_max = number;
                break;
        case _LIMIT_FIELD_MAX:
                break;
        }
        return 0;
}

static int
read_best_effort(struct json_object *value, struct job_request *ret, struct json_problem *problem) {
        if (!json_object_is_type(value, json_type_boolean))
                return json_problem_set(
                        problem, JSON_WRONG_TYPE, "best_effort", "best_effort must be true or false, not %s",
                        kind_of(value));
        ret->limits.best_effort = json_object_get_boolean(value);
        return 0;
}

static int read_requires(
        struct json_object *value, struct arena *arena, struct job_request *ret,
        struct json_problem *problem) {
        struct job_label *labels;
        size_t n;
        int r;

        if (!json_object_is_type(value, json_type_array))
                return json_problem_set(
                        problem, JSON_WRONG_TYPE, "requires",
                        "requires must be an array of labels, such as [\"arch=x86_64\"], not %s",
                        kind_of(value));
        n = json_object_array_length(value);
        labels = arena_allocate(arena, MAX(n, (size_t) 1) * sizeof(*labels));
        if (!labels)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                struct json_object *entry = json_object_array_get_idx(value, i);

                if (!json_object_is_type(entry, json_type_string))
                        return json_problem_set(
                                problem, JSON_WRONG_TYPE, "requires",
                                "requires must be an array of strings; one of them is %s", kind_of(entry));
                r = copy_text(entry, arena, &labels[i].text, &labels[i].size);
                if (r < 0)
                        return r;
        }
        ret->requires = labels;
        ret->n_requires = n;
        return 0;
}

/* 1: it is none of these fields. */
static int read_rule(
        const char *key, struct json_object *value, struct arena *arena, struct job_request *ret,
        struct json_problem *problem) {
        struct job_request_rules *rules = &ret->rules;

        if (streq(key, "priority"))
                return value ? read_number("priority", value, &rules->priority, problem) : 0;
        if (streq(key, "retries"))
                return value ? read_number("retries", value, &rules->retries, problem) : 0;
        if (streq(key, "on_node_loss"))
                return value ? read_text(
                                       "on_node_loss", value, arena, &rules->on_node_loss,
                                       &rules->on_node_loss_size, problem)
                             : 0;
        if (streq(key, "requires"))
                return value ? read_requires(value, arena, ret, problem) : 0;
        return 1;
}

/* null stands for a field that was left out, except for the command; so does an empty target_node_id, which
 * is how a program in a language without absent strings says "any node". */
static int read_field(
        const char *key, struct json_object *value, struct arena *arena, struct job_request *ret,
        struct json_problem *problem) {
        char shown[KEY_SHOWN_MAX + 4];
        int r;

        if (streq(key, "command"))
                return read_text("command", value, arena, &ret->command, &ret->command_size, problem);
        if (streq(key, "env"))
                return value ? read_env(value, arena, ret, problem) : 0;
        if (streq(key, "timeout_seconds"))
                return value ? read_timeout(value, &ret->has_timeout, &ret->timeout_seconds, problem) : 0;
        if (streq(key, "cwd"))
                return value ? read_text("cwd", value, arena, &ret->cwd, &ret->cwd_size, problem) : 0;
        if (streq(key, "stdin"))
                return value ? read_text("stdin", value, arena, &ret->stdin_data, &ret->stdin_size, problem)
                             : 0;
        if (streq(key, "target_node_id")) {
                if (!value)
                        return 0;
                r = read_text(
                        "target_node_id", value, arena, &ret->target_node_id, &ret->target_node_id_size,
                        problem);
                if (r >= 0 && ret->target_node_id_size == 0)
                        ret->target_node_id = NULL;
                return r;
        }
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++)
                if (streq(key, limit_field_to_text(field)))
                        return value ? read_limit(field, value, &ret->limits, problem) : 0;
        if (streq(key, "best_effort"))
                return value ? read_best_effort(value, ret, problem) : 0;
        r = read_rule(key, value, arena, ret, problem);
        if (r <= 0)
                return r;
        return json_problem_set(
                problem, JSON_UNKNOWN_FIELD, NULL,
                "unknown field \"%s\"; a job has command, target_node_id, env, timeout_seconds, cwd, stdin, "
                "memory_max, cpu_weight, cpu_quota, tasks_max, best_effort, priority, retries, on_node_loss "
                "and requires",
                key_to_show(key, shown));
}

/* The scan counted every member that was written; json-c keeps one of each name. Only a job of known fields
 * comes here, so that env is the one object in it. */
static int check_members(
        struct json_object *object, const char *text, size_t size, size_t n_members,
        struct json_problem *problem) {
        struct json_object *env = NULL;
        size_t key_size;

        size_t n = (size_t) json_object_object_length(object);
        if (json_object_object_get_ex(object, "env", &env) && env)
                n += (size_t) json_object_object_length(env);
        if (n == n_members)
                return 0;

        const char *key = json_find_repeated_key(text, size, &key_size);
        if (!key)
                return json_problem_set(
                        problem, JSON_NOT_JSON, NULL, "a field, or a name in env, is given more than once");
        return json_problem_set(
                problem, JSON_NOT_JSON, NULL, "\"%.*s\" is given more than once",
                (int) MIN(key_size, (size_t) KEY_SHOWN_MAX), key);
}

static int
parse(struct json_parser *parser, const char *text, size_t size, size_t offset, struct json_object **ret,
      struct json_problem *problem) {
        json_tokener_reset(parser->tokener);
        struct json_object *object = json_tokener_parse_ex(parser->tokener, text, (int) size);
        enum json_tokener_error error = json_tokener_get_error(parser->tokener);
        size_t end = json_tokener_get_parse_end(parser->tokener);

        if (error == json_tokener_success && end == size) {
                *ret = object;
                return 0;
        }
        json_object_put(object);
        return json_problem_set(
                problem, JSON_NOT_JSON, NULL, "not valid JSON at byte %zu: %s", offset + end,
                error == json_tokener_success    ? "something follows the object"
                : error == json_tokener_continue ? "the object is not complete"
                                                 : json_tokener_error_desc(error));
}

static int check_utf8(const char *text, size_t size, size_t offset, struct json_problem *problem) {
        size_t i = 0, sequence;

        if (utf8_is_valid(text, size))
                return 0;
        while (i < size && (sequence = utf8_sequence(text + i, size - i)) > 0)
                i += sequence;
        return json_problem_set(problem, JSON_NOT_JSON, NULL, "not valid UTF-8 at byte %zu", offset + i);
}

int json_parser_read_job(
        struct json_parser *parser, const char *text, size_t size, size_t n_members, size_t offset,
        struct arena *arena, struct job_request *ret, struct json_problem *ret_problem) {
        struct json_object *object = NULL;

        *ret = (struct job_request){};
        int r = check_utf8(text, size, offset, ret_problem);
        if (r < 0)
                return r;
        r = parse(parser, text, size, offset, &object, ret_problem);
        if (r < 0)
                return r;

        json_object_object_foreach(object, key, value) {
                r = read_field(key, value, arena, ret, ret_problem);
                if (r < 0)
                        break;
        }
        if (r >= 0)
                r = check_members(object, text, size, n_members, ret_problem);
        json_object_put(object);
        return r;
}

static size_t skip_white(const char *text, size_t size, size_t from) {
        while (from < size && memchr(" \t\r\n", text[from], 4))
                from++;
        return from;
}

/* The one object of a small body. *ret: NULL: there is none. */
static int parse_body(
        struct json_parser *parser, const char *text, size_t size, struct json_object **ret,
        size_t *ret_members, struct json_problem *problem) {
        size_t start = skip_white(text, size, 0), end;
        struct json_scan scan = {};
        int r;

        *ret = NULL;
        if (start == size)
                return 0;
        if (text[start] != '{')
                return json_problem_set(
                        problem, JSON_NOT_JSON, NULL, "not valid JSON at byte %zu: expected an object",
                        start);
        end = start + json_scan_feed(&scan, text + start, size - start);
        if (scan.fault != JSON_SCAN_FINE)
                return json_problem_set(
                        problem, JSON_NOT_JSON, NULL, "not valid JSON at byte %zu: %s", end,
                        json_scan_fault_to_text(scan.fault));
        if (!scan.done || skip_white(text, size, end) < size)
                return json_problem_set(
                        problem, JSON_NOT_JSON, NULL, "not valid JSON at byte %zu: expected %s", end,
                        scan.done ? "nothing more" : "the rest of the object, not the end of the body");
        r = check_utf8(text + start, end - start, start, problem);
        if (r < 0)
                return r;
        *ret_members = scan.members;
        return parse(parser, text + start, end - start, start, ret, problem);
}

static int
read_small_field(const struct json_field *field, struct json_object *value, struct json_problem *problem) {
        if (field->seconds) {
                if (!json_object_is_type(value, json_type_int))
                        return json_problem_set(
                                problem, JSON_WRONG_TYPE, field->name,
                                "%s must be a whole number of seconds, such as 300, not %s", field->name,
                                kind_of(value));
                *field->has = true;
                *field->seconds = json_object_get_int64(value);
                return 0;
        }
        if (!json_object_is_type(value, json_type_string))
                return json_problem_set(
                        problem, JSON_WRONG_TYPE, field->name, "%s must be a string, not %s", field->name,
                        kind_of(value));
        const char *text = json_object_get_string(value);
        size_t size = (size_t) json_object_get_string_len(value);
        if (size >= field->text_size || strlen(text) != size)
                return json_problem_set(
                        problem, JSON_WRONG_TYPE, field->name, "%s may have %zu characters at most",
                        field->name, field->text_size - 1);
        memcpy(field->text, text, size + 1);
        return 0;
}

static int unknown_field(
        const struct json_field *fields, size_t n_fields, const char *what, const char *key,
        struct json_problem *problem) {
        char shown[KEY_SHOWN_MAX + 4];

        return json_problem_set(
                problem, JSON_UNKNOWN_FIELD, NULL, "unknown field \"%s\"; %s has %s%s%s",
                key_to_show(key, shown), what, fields[0].name, n_fields > 1 ? " and " : "",
                n_fields > 1 ? fields[1].name : "");
}

int json_parser_read_fields(
        struct json_parser *parser, const char *text, size_t size, const struct json_field *fields,
        size_t n_fields, const char *what, struct json_problem *ret_problem) {
        struct json_object *object;
        size_t n_members = 0, i;
        int r;

        assert(n_fields == 1 || n_fields == 2);
        r = parse_body(parser, text, size, &object, &n_members, ret_problem);
        if (r < 0 || !object)
                return r;
        json_object_object_foreach(object, key, value) {
                for (i = 0; i < n_fields && !streq(key, fields[i].name); i++)
                        ;
                if (i == n_fields)
                        r = unknown_field(fields, n_fields, what, key, ret_problem);
                else if (value)
                        r = read_small_field(&fields[i], value, ret_problem);
                if (r < 0)
                        break;
        }
        if (r >= 0 && (size_t) json_object_object_length(object) != n_members)
                r = json_problem_set(ret_problem, JSON_NOT_JSON, NULL, "a field is given more than once");
        json_object_put(object);
        return r;
}
