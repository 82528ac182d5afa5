/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* worker-mesh-executor: arguments, signals, the socket, the loop. */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "executor/channel.h"
#include "executor/claim.h"
#include "executor/connection.h"
#include "executor/executor.h"
#include "executor/job-user.h"
#include "util/log-loop.h"
#include "util/log.h"
#include "util/random.h"

#define EXIT_USAGE 2
#define IDLE_TIMEOUT_DEFAULT_USEC (60 * USEC_PER_SEC)
/* Larger blocks are mappings of their own, and go back to the system as soon as they are freed. */
#define LARGE_BLOCK (64 * 1024)

struct arguments {
        const char *socket_path;
        const char *daemon_user, *job_user;
        bool cgroups;
        usec_t idle_timeout_usec;
};

static void help(void) {
        puts("worker-mesh-executor [OPTION...]\n"
             "\n"
             "Runs the jobs of a Worker Mesh node, apart from the daemon, so that they\n"
             "outlive it. Usually started by the daemon or the service manager.\n"
             "\n"
             "  --socket PATH        Listen here; without it, on the socket that the\n"
             "                       service manager passes\n"
             "  --cgroup auto|no     Contain each job in a cgroup where possible (auto),\n"
             "                       or always in a process group (no)\n"
             "  --idle-timeout TIME  Leave after so long without a daemon and without a\n"
             "                       job: \"60s\", \"5min\", \"infinity\" (default: 60s)\n"
             "  --job-user NAME      Run jobs as this user, without any capability; takes\n"
             "                       CAP_SETUID and CAP_SETGID (default: as ourselves)\n"
             "  --daemon-user NAME   Take commands from this user, besides root and\n"
             "                       ourselves\n"
             "  -h, --help           Show this help\n"
             "  --version            Show the version\n"
             "\n"
             "See worker-mesh-executor(8).");
}

static int usage_error(const char *option, const char *value, const char *allowed) {
        fprintf(stderr, "worker-mesh-executor: %s: \"%s\" is not %s\n", option, value, allowed);
        return -EINVAL;
}

enum {
        OPTION_SOCKET = 256,
        OPTION_CGROUP,
        OPTION_IDLE_TIMEOUT,
        OPTION_JOB_USER,
        OPTION_DAEMON_USER,
        OPTION_VERSION,
};

static int parse_option(int option, struct arguments *arguments) {
        switch (option) {
        case OPTION_SOCKET:
                if (strlen(optarg) > SOCKET_PATH_MAX || optarg[0] != '/')
                        return usage_error("--socket", optarg, "an absolute path of at most 107 bytes");
                arguments->socket_path = optarg;
                return 0;
        case OPTION_CGROUP:
                if (!streq(optarg, "auto") && !streq(optarg, "no"))
                        return usage_error("--cgroup", optarg, "auto or no");
                arguments->cgroups = streq(optarg, "auto");
                return 0;
        case OPTION_IDLE_TIMEOUT:
                if (parse_span(optarg, &arguments->idle_timeout_usec) < 0)
                        return usage_error("--idle-timeout", optarg, "a time such as 60s, 5min or infinity");
                return 0;
        case OPTION_JOB_USER:
                arguments->job_user = optarg;
                return 0;
        case OPTION_DAEMON_USER:
                arguments->daemon_user = optarg;
                return 0;
        default:
                /* getopt has said what is wrong. */
                return -EINVAL;
        }
}

/* 1: go on. 0: done. */
static int parse_arguments(int argc, char *argv[], struct arguments *ret) {
        static const struct option options[] = {
                { "socket", required_argument, NULL, OPTION_SOCKET },
                { "cgroup", required_argument, NULL, OPTION_CGROUP },
                { "idle-timeout", required_argument, NULL, OPTION_IDLE_TIMEOUT },
                { "help", no_argument, NULL, 'h' },
                { "job-user", required_argument, NULL, OPTION_JOB_USER },
                { "daemon-user", required_argument, NULL, OPTION_DAEMON_USER },
                { "version", no_argument, NULL, OPTION_VERSION },
                {},
        };
        int option, r;

        *ret = (struct arguments){ .cgroups = true, .idle_timeout_usec = IDLE_TIMEOUT_DEFAULT_USEC };
        while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
                if (option == 'h') {
                        help();
                        return 0;
                }
                if (option == OPTION_VERSION) {
                        puts("worker-mesh-executor " VERSION);
                        return 0;
                }
                r = parse_option(option, ret);
                if (r < 0)
                        return r;
        }
        if (optind < argc)
                return usage_error("argument", argv[optind], "expected");
        return 1;
}

/* Descriptors 0 to 2 exist, so that no other gets these numbers, and nothing is read from where we were
 * started. */
static int stdio_init(void) {
        int fd;

        do {
                fd = open("/dev/null", O_RDWR);
                if (fd < 0)
                        return -errno;
        } while (fd <= STDERR_FILENO);
        if (dup2(fd, STDIN_FILENO) < 0)
                return -errno;
        (void) close_fd(fd);
        return 0;
}

/* Nothing is ever printed to stdout, so it is let go when the socket is there: whoever started this program
 * can wait for the end of a pipe. */
static int stdout_close(void) {
        return dup2(STDIN_FILENO, STDOUT_FILENO) < 0 ? -errno : 0;
}

/* The socket that the service manager passes, and the path beside which lock and state file lie: its own, or
 * one in the folder that the service manager made for us. 0: none. */
static int inherited_socket(int *ret_fd, char path[static SOCKET_PATH_MAX + 1]) {
        struct sockaddr_un address = {};
        socklen_t size = sizeof(address);
        const char *folder;
        int n = sd_listen_fds(/* unset_environment= */ true), fd = SD_LISTEN_FDS_START, r;

        if (n <= 0)
                return n;
        if (n > 1)
                return -E2BIG;
        r = sd_is_socket(fd, AF_UNIX, SOCK_SEQPACKET, /* listening= */ true);
        if (r <= 0)
                return r < 0 ? r : -ENOTSOCK;
        if (getsockname(fd, (struct sockaddr *) &address, &size) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        if (address.sun_path[0] != '/')
                return -EADDRNOTAVAIL;
        folder = getenv("RUNTIME_DIRECTORY");
        n = folder ? snprintf(path, SOCKET_PATH_MAX + 1, "%s/executor", folder)
                   : snprintf(path, SOCKET_PATH_MAX + 1, "%.*s", (int) SOCKET_PATH_MAX, address.sun_path);
        if (n > (int) SOCKET_PATH_MAX)
                return -ENAMETOOLONG;
        *ret_fd = fd;
        return 1;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        executor_terminate(userdata);
        return 0;
}

/* SIGPIPE is blocked rather than ignored: an ignored signal would be ignored by jobs too. */
static int signals_block(void) {
        sigset_t signals;

        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGTERM);
        (void) sigaddset(&signals, SIGINT);
        (void) sigaddset(&signals, SIGCHLD);
        (void) sigaddset(&signals, SIGPIPE);
        (void) sigaddset(&signals, SIGHUP);
        return sigprocmask(SIG_SETMASK, &signals, NULL) < 0 ? -errno : 0;
}

/* Where the subtree is to be; *ret stays NULL where there can be none. */
static int choose_cgroup(const struct arguments *arguments, const struct uuid *instance, char **ret) {
        char name[CLAIM_TREE_NAME_MAX];
        int r;

        *ret = NULL;
        if (!arguments->cgroups)
                return 0;
        r = cgroup_tree_path(claim_tree_name(instance, name), ret);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        cgroup_tree_remove_stale(*ret, CLAIM_TREE_PREFIX);
        return 0;
}

/* Who the daemon is and as whom jobs run; *ret_job_user stays NULL where that is ourselves. */
static int
find_users(const struct arguments *arguments, uid_t *ret_daemon_uid, struct job_user **ret_job_user) {
        int r;

        *ret_daemon_uid = (uid_t) -1;
        if (arguments->daemon_user) {
                const struct passwd *entry = getpwnam(arguments->daemon_user);

                if (!entry) {
                        log_error("There is no user %s (--daemon-user).", arguments->daemon_user);
                        return -ESRCH;
                }
                *ret_daemon_uid = entry->pw_uid;
        }
        if (!arguments->job_user)
                return 0;
        r = job_user_new(arguments->job_user, ret_job_user);
        if (r == -ESRCH)
                return log_error_errno(r, "There is no user %s (--job-user).", arguments->job_user);
        if (r == -EPERM)
                return log_error_errno(r, "Jobs cannot run as root (--job-user=%s).", arguments->job_user);
        return r < 0 ? log_error_errno(r, "Cannot look up user %s: %m", arguments->job_user) : 0;
}

static int
prepare(const struct arguments *arguments, sd_event *event, struct claim *claim,
        struct executor_settings *chosen, struct executor **ret) {
        struct executor_settings settings = *chosen;
        _cleanup_(executor_free_p) struct executor *executor = NULL;
        _cleanup_free_ char *cgroup_path = NULL;
        int r;

        r = claim_clear_predecessor(claim);
        if (r < 0)
                log_warning_errno(r, "Cannot end what the executor before left behind, ignoring: %m");
        random_bytes(&settings.instance, sizeof(settings.instance));
        uuid_set_version(&settings.instance, 4);
        r = choose_cgroup(arguments, &settings.instance, &cgroup_path);
        if (r < 0)
                return log_oom();
        settings.cgroup_path = cgroup_path;
        r = claim_record(claim, &settings.instance, cgroup_path);
        if (r < 0)
                log_warning_errno(r, "Cannot write down what to clear after a crash, ignoring: %m");

        r = executor_new(event, &settings, &executor);
        if (r < 0)
                return log_error_errno(r, "Cannot set up: %m");
        if (settings.job_user) {
                r = executor_try_user(executor);
                if (r < 0)
                        return log_error_errno(r, "Cannot run jobs as user %s: %m", arguments->job_user);
        }
        if (sd_event_add_signal(event, NULL, SIGTERM, on_signal, executor) < 0 ||
            sd_event_add_signal(event, NULL, SIGINT, on_signal, executor) < 0)
                return log_oom();
        *ret = TAKE_PTR(executor);
        return 0;
}

static int serve(const struct arguments *arguments, sd_event *event, struct claim *claim, int inherited_fd) {
        _cleanup_(job_user_free_p) struct job_user *job_user = NULL;
        _cleanup_(sd_event_source_unrefp) sd_event_source *log_source = NULL;
        _cleanup_(executor_free_p) struct executor *executor = NULL;
        struct executor_settings settings = {
                .cgroups = arguments->cgroups,
                .idle_timeout_usec = arguments->idle_timeout_usec,
                .managed = inherited_fd >= 0,
        };
        int listen_fd = inherited_fd, r;

        r = log_watch(event, &log_source);
        if (r < 0)
                return log_error_errno(r, "Cannot watch the journal's socket: %m");
        r = find_users(arguments, &settings.daemon_uid, &job_user);
        if (r < 0)
                return r;
        settings.job_user = job_user;
        r = prepare(arguments, event, claim, &settings, &executor);
        if (r < 0)
                return r;
        if (listen_fd < 0) {
                r = claim_listen(claim, &listen_fd);
                if (r < 0)
                        return log_error_errno(r, "Cannot listen on %s: %m", arguments->socket_path);
        }
        r = executor_listen(executor, listen_fd);
        if (r >= 0)
                r = stdout_close();
        if (r < 0)
                return log_error_errno(r, "Cannot set up the socket: %m");
        (void) sd_notify(/* unset_environment= */ false, "READY=1");
        r = sd_event_loop(event);
        (void) sd_notify(/* unset_environment= */ false, "STOPPING=1");
        return r < 0 ? log_error_errno(r, "The loop failed: %m") : 0;
}

static int run(struct arguments *arguments) {
        _cleanup_(claim_free_p) struct claim *claim = NULL;
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        char path[SOCKET_PATH_MAX + 1];
        int inherited_fd = -EBADF, r;

        r = stdio_init();
        if (r >= 0)
                r = signals_block();
        if (r < 0)
                return log_error_errno(r, "Cannot set up: %m");
        r = inherited_socket(&inherited_fd, path);
        if (r < 0)
                return log_error_errno(r, "What the service manager passes is no unix socket for us: %m");
        if (r > 0)
                arguments->socket_path = path;
        else if (!arguments->socket_path) {
                log_error("--socket is needed, or a socket from the service manager.");
                return -EINVAL;
        }

        r = claim_new(arguments->socket_path, &claim);
        if (r < 0)
                return log_error_errno(r, "Cannot lock %s: %m", arguments->socket_path);
        if (r == CLAIM_TAKEN) {
                log_info("Another executor serves %s already.", arguments->socket_path);
                return 0;
        }
        r = sd_event_new(&event);
        if (r < 0)
                return log_error_errno(r, "Cannot make a loop: %m");
        return serve(arguments, event, claim, inherited_fd);
}

int main(int argc, char *argv[]) {
        struct arguments arguments;
        int r;

        (void) mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
        r = parse_arguments(argc, argv, &arguments);
        if (r <= 0)
                return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
        log_setup("worker-mesh-executor");
        return run(&arguments) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
