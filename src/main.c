/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <malloc.h>
#include <signal.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "node/config.h"
#include "node/node.h"
#include "util/log.h"
#include "util/message-ids.h"

struct program {
        int argc;
        char **argv;
        struct config config;
        struct node *node;
        bool stopping;
};

/* The first one asks to stop, the second one insists. */
static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        struct program *program = userdata;

        if (program->stopping)
                node_abort(program->node);
        else
                node_stop(program->node);
        program->stopping = true;
        return 0;
}

static int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        struct program *program = userdata;
        struct config config = { 0 };
        int r;

        (void) sd_notify(/* unset_environment= */ false, "RELOADING=1");
        r = config_reload(program->argc, program->argv, &config);
        if (r == CONFIG_OK) {
                struct config old = program->config;

                program->config = config;
                node_reload(program->node, &old, &program->config);
                config_done(&old);
                log_info("Configuration reloaded.");
        } else
                log_event(
                        LOG_ERR, MESSAGE_CONFIG_WRONG,
                        "The configuration is wrong; going on with the old one.");
        (void) sd_notify(/* unset_environment= */ false, "READY=1");
        return 0;
}

static int add_signals(struct program *program, sd_event *event) {
        static const int stop_signals[] = { SIGTERM, SIGINT };
        sigset_t blocked;
        int r;

        (void) sigemptyset(&blocked);
        (void) sigaddset(&blocked, SIGTERM);
        (void) sigaddset(&blocked, SIGINT);
        (void) sigaddset(&blocked, SIGHUP);
        if (sigprocmask(SIG_BLOCK, &blocked, NULL) < 0)
                return -errno;
        (void) signal(SIGPIPE, SIG_IGN);

        for (size_t i = 0; i < ELEMENTSOF(stop_signals); i++) {
                r = sd_event_add_signal(event, NULL, stop_signals[i], on_stop_signal, program);
                if (r < 0)
                        return r;
        }
        return sd_event_add_signal(event, NULL, SIGHUP, on_reload_signal, program);
}

/* One arena: three threads that allocate little are not worth the memory of more. Large blocks come from the
 * kernel and go back to it. */
static void set_up_heap(void) {
        (void) mallopt(M_ARENA_MAX, 1);
        (void) mallopt(M_MMAP_THRESHOLD, 256 * 1024);
        (void) mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
}

static int run(struct program *program) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(node_free_p) struct node *node = NULL;
        int r;

        r = sd_event_default(&event);
        if (r < 0)
                return log_error_errno(r, "Failed to make the event loop: %m");
        r = add_signals(program, event);
        if (r < 0)
                return log_error_errno(r, "Failed to set up signals: %m");
        r = sd_event_set_watchdog(event, true);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the watchdog: %m");

        r = node_new(&program->config, event, &node);
        if (r < 0)
                return r;
        program->node = node;
        node_start(node);
        (void) sd_notify(/* unset_environment= */ false, "READY=1");

        r = sd_event_loop(event);
        if (r < 0)
                return log_error_errno(r, "The event loop failed: %m");
        return 0;
}

int main(int argc, char *argv[]) {
        struct program program = { .argc = argc, .argv = argv };
        int r;

        set_up_heap();
        log_setup("worker-mesh");

        r = config_load(argc, argv, &program.config);
        if (r == CONFIG_HELP)
                return EXIT_SUCCESS;
        if (r == CONFIG_USAGE)
                return EXIT_USAGE;
        if (r == CONFIG_INVALID)
                return EXIT_CONFIG;
        if (r < 0) {
                (void) log_error_errno(r, "Failed to read the configuration: %m");
                return EXIT_FAILURE;
        }
        log_set_max_level(program.config.log_level);

        r = run(&program);
        config_done(&program.config);
        if (r == -ENOKEY)
                return EXIT_CONFIG;
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
