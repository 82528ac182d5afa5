/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The bytes of a configuration file. */

#include "lib/tests.h"
#include "node/config-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count_report(int level, const char *message, void *userdata) {
        unsigned *n_reports = userdata;

        ASSERT_GT(strlen(message), 0);
        (*n_reports)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        unsigned n_reports = 0;
        const struct config_context context = { .report = count_report, .userdata = &n_reports };
        _cleanup_config_builder_ struct config_builder builder;

        ASSERT_OK(config_builder_init(&builder, &context));
        ASSERT_OK(config_parse(&builder, "fuzz.conf", (const char *) data, size));

        /* What is wrong is said, and what is right is within the limits. */
        ASSERT_TRUE(!builder.is_invalid || n_reports > 0);
        ASSERT_LE(n_reports, CONFIG_MESSAGES_MAX + 1);
        ASSERT_GT(builder.config.api_port, 0);
        ASSERT_GT(builder.config.discovery_port, 0);
        ASSERT_LE(builder.config.slots, CONFIG_SLOTS_MAX);
        ASSERT_TRUE(builder.config.peers_max > 0 && builder.config.queue_max > 0);
        return 0;
}
