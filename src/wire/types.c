/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/types.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "util/macros.h"

static const char *const node_status_words[_NODE_STATUS_MAX] = {
        [NODE_UNKNOWN] = "UNKNOWN",   [NODE_IDLE] = "IDLE",     [NODE_BUSY] = "BUSY",
        [NODE_DRAINING] = "DRAINING", [NODE_FAILED] = "FAILED",
};

static const char *const job_status_words[_JOB_STATUS_MAX] = {
        [JOB_UNKNOWN] = "JOB_UNKNOWN",     [JOB_PENDING] = "JOB_PENDING", [JOB_RUNNING] = "JOB_RUNNING",
        [JOB_COMPLETED] = "JOB_COMPLETED", [JOB_FAILED] = "JOB_FAILED",   [JOB_TIMEOUT] = "JOB_TIMEOUT",
        [JOB_CANCELLED] = "JOB_CANCELLED",
};

#define JOB_PREFIX "JOB_"
#define JOB_PREFIX_SIZE (sizeof(JOB_PREFIX) - 1)

const char *node_status_to_text(enum node_status status) {
        if ((unsigned) status >= _NODE_STATUS_MAX)
                status = NODE_UNKNOWN;
        return node_status_words[status];
}

int node_status_from_text(const char *text) {
        for (int i = 0; i < _NODE_STATUS_MAX; i++)
                if (strcasecmp(text, node_status_words[i]) == 0)
                        return i;
        return -EINVAL;
}

const char *job_status_to_text(enum job_status status) {
        if ((unsigned) status >= _JOB_STATUS_MAX)
                status = JOB_UNKNOWN;
        return job_status_words[status];
}

int job_status_from_text(const char *text) {
        if (strncasecmp(text, JOB_PREFIX, JOB_PREFIX_SIZE) == 0)
                text += JOB_PREFIX_SIZE;
        for (int i = 0; i < _JOB_STATUS_MAX; i++)
                if (strcasecmp(text, job_status_words[i] + JOB_PREFIX_SIZE) == 0)
                        return i;
        return -EINVAL;
}

static bool is_node_id_character(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
               c == '_' || c == '.';
}

bool node_id_is_valid(const char *text) {
        size_t size = 0;

        while (text[size])
                if (size == NODE_ID_MAX || !is_node_id_character(text[size++]))
                        return false;
        return size > 0;
}
