/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each setting once. A key is the option in another spelling (--peer-timeout, $PEER_TIMEOUT, PeerTimeout=);
 * the three that are not, --interface, --label and --state-dir, are named so in --help. */

#include <limits.h>
#include <sys/un.h>

#include "api/dbus/dbus.h"
#include "node/config-internal.h"

static const char *const bus_choices[] = {
        [DBUS_BUS_AUTO] = "auto", [DBUS_BUS_SYSTEM] = "system", [DBUS_BUS_SESSION] = "session",
        [DBUS_BUS_NONE] = "none", [_DBUS_BUS_MAX] = NULL,
};

static const char *const security_choices[] = {
        [SECURITY_CLOSED] = "closed",
        [SECURITY_OPEN] = "open",
        [_SECURITY_MAX] = NULL,
};

/* clang-format off */
const struct setting settings[_SETTING_MAX] = {
        [SETTING_API_PORT] = {
                "ApiPort", "API_PORT", "api-port", "PORT", "REST on 127.0.0.1, this TCP port",
                GROUP_CLIENTS, SETTING_PORT, offsetof(struct config, api_port),
                .low = 1, .high = UINT16_MAX, .value = "3000",
        },
        [SETTING_API_SOCKET] = {
                "ApiSocket", "API_SOCKET", "api-socket", "PATH", "REST on a unix socket as well",
                GROUP_CLIENTS, SETTING_PATH, offsetof(struct config, api_socket),
                .high = sizeof(((struct sockaddr_un *) NULL)->sun_path) - 1, .shown = "none",
        },
        [SETTING_CONNECTIONS_MAX] = {
                "ConnectionsMax", "CONNECTIONS_MAX", "connections-max", "N", "clients on each of the two",
                GROUP_CLIENTS, SETTING_UNSIGNED, offsetof(struct config, connections_max),
                .low = 1, .high = 65536, .value = "2048",
        },
        [SETTING_BUS] = {
                "Bus", "BUS", "bus", "BUS", "D-Bus: auto, system, session or none",
                GROUP_CLIENTS, SETTING_CHOICE, offsetof(struct config, bus),
                .choices = bus_choices, .value = "auto",
        },
        [SETTING_SECURITY] = {
                "Security", "SECURITY", "security", "WHO", "closed: who has the key; open: everybody",
                GROUP_MESH, SETTING_CHOICE, offsetof(struct config, security),
                .choices = security_choices, .value = "closed",
        },
        [SETTING_KEY_FILE] = {
                "KeyFile", "KEY_FILE", "key-file", "PATH", "the keys of the mesh; made if missing",
                GROUP_MESH, SETTING_PATH, offsetof(struct config, key_file),
                .shown = "see below",
        },
        [SETTING_DISCOVERY_PORT] = {
                "DiscoveryPort", "DISCOVERY_PORT", "discovery-port", "PORT", "UDP, the same on all nodes",
                GROUP_MESH, SETTING_PORT, offsetof(struct config, discovery_port),
                .low = 1, .high = UINT16_MAX, .value = "8080",
        },
        [SETTING_NODE_PORT] = {
                "NodePort", "NODE_PORT", "node-port", "PORT", "UDP and TCP, this node's own",
                GROUP_MESH, SETTING_PORT, offsetof(struct config, node_port),
                .low = 0, .high = UINT16_MAX, .value = "0", .shown = "first free from 8081",
        },
        [SETTING_INTERFACES] = {
                "Interfaces", "INTERFACES", "interface", "NAME", "look for nodes here only; repeatable",
                GROUP_MESH, SETTING_NAMES, offsetof(struct config, interfaces),
                .shown = "all",
        },
        [SETTING_HEARTBEAT_INTERVAL] = {
                "HeartbeatInterval", "HEARTBEAT_INTERVAL", "heartbeat-interval", "TIME", "how often to say: alive",
                GROUP_MESH, SETTING_SPAN, offsetof(struct config, heartbeat_interval_usec),
                .low = 100 * USEC_PER_MSEC, .high = USEC_PER_HOUR, .value = "5s", .reloads = true,
        },
        [SETTING_PEER_TIMEOUT] = {
                "PeerTimeout", "PEER_TIMEOUT", "peer-timeout", "TIME", "forget a node after this silence",
                GROUP_MESH, SETTING_SPAN, offsetof(struct config, peer_timeout_usec),
                .low = 200 * USEC_PER_MSEC, .high = USEC_PER_DAY, .value = "30s", .reloads = true,
        },
        [SETTING_PEERS_MAX] = {
                "PeersMax", "PEERS_MAX", "peers-max", "N", "nodes to know at most",
                GROUP_MESH, SETTING_UNSIGNED, offsetof(struct config, peers_max),
                .low = 1, .high = 65536, .value = "1024",
        },
        [SETTING_INDEX_MAX] = {
                "IndexMax", "INDEX_MAX", "index-max", "N", "recent jobs of all nodes to list",
                GROUP_MESH, SETTING_UNSIGNED, offsetof(struct config, index_max),
                .low = 1, .high = 10000000, .value = "100000",
        },
        [SETTING_KEEPER_WAIT] = {
                "KeeperWait", "KEEPER_WAIT", "keeper-wait", "TIME", "clients wait for the second disk",
                GROUP_MESH, SETTING_SPAN, offsetof(struct config, keeper_wait_usec),
                .low = 10 * USEC_PER_MSEC, .high = USEC_PER_MINUTE, .value = "100ms",
        },
        [SETTING_SLOTS] = {
                "Slots", "SLOTS", "slots", "N", "jobs at once; 0: accept, run none",
                GROUP_JOBS, SETTING_UNSIGNED, offsetof(struct config, slots),
                .low = 0, .high = CONFIG_SLOTS_MAX, .shown = "CPUs", .reloads = true,
        },
        [SETTING_LABELS] = {
                "Labels", "LABELS", "label", "KEY=VALUE", "what jobs may ask for; repeatable",
                GROUP_JOBS, SETTING_LABEL_LIST, offsetof(struct config, labels),
                .shown = "host, arch, os", .reloads = true,
        },
        [SETTING_QUEUE_MAX] = {
                "QueueMax", "QUEUE_MAX", "queue-max", "N", "unfinished jobs to hold",
                GROUP_JOBS, SETTING_UNSIGNED, offsetof(struct config, queue_max),
                .low = 1, .high = 10000000, .value = "1000000",
        },
        [SETTING_OUTPUT_MAX] = {
                "OutputMax", "OUTPUT_MAX", "output-max", "SIZE", "kept of each stdout and stderr",
                GROUP_JOBS, SETTING_SIZE, offsetof(struct config, output_max_bytes),
                .low = 4096, .high = 64 * 1024 * 1024, .value = "1M",
        },
        [SETTING_KILL_GRACE] = {
                "KillGrace", "KILL_GRACE", "kill-grace", "TIME", "between SIGTERM and SIGKILL",
                GROUP_JOBS, SETTING_SPAN, offsetof(struct config, kill_grace_usec),
                .low = 0, .high = USEC_PER_HOUR, .value = "5s",
        },
        [SETTING_DRAIN_TIMEOUT] = {
                "DrainTimeout", "DRAIN_TIMEOUT", "drain-timeout", "TIME", "running jobs have this on a stop",
                GROUP_JOBS, SETTING_SPAN, offsetof(struct config, drain_timeout_usec),
                .low = 0, .high = 7 * USEC_PER_DAY, .value = "30s", .reloads = true,
        },
        [SETTING_JOB_MEMORY_MAX] = {
                "JobMemoryMax", "JOB_MEMORY_MAX", "job-memory-max", "SIZE", "memory of a job that does not ask",
                GROUP_JOBS, SETTING_SIZE, offsetof(struct config, job_limits.memory_max),
                .low = JOB_MEMORY_MIN, .high = JOB_MEMORY_MAX, .shown = "none", .reloads = true,
        },
        [SETTING_JOB_MEMORY_MAX_CEILING] = {
                "JobMemoryMaxCeiling", "JOB_MEMORY_MAX_CEILING", "job-memory-max-ceiling", "SIZE", "the most it may ask for",
                GROUP_JOBS, SETTING_SIZE, offsetof(struct config, job_ceilings.memory_max),
                .low = JOB_MEMORY_MIN, .high = JOB_MEMORY_MAX, .shown = "none", .reloads = true,
        },
        [SETTING_JOB_CPU_WEIGHT] = {
                "JobCpuWeight", "JOB_CPU_WEIGHT", "job-cpu-weight", "N", "CPU against other jobs, likewise",
                GROUP_JOBS, SETTING_UNSIGNED, offsetof(struct config, job_limits.cpu_weight),
                .low = JOB_CPU_WEIGHT_MIN, .high = JOB_CPU_WEIGHT_MAX, .shown = "none", .reloads = true,
        },
        [SETTING_JOB_CPU_WEIGHT_CEILING] = {
                "JobCpuWeightCeiling", "JOB_CPU_WEIGHT_CEILING", "job-cpu-weight-ceiling", "N", "the most it may ask for",
                GROUP_JOBS, SETTING_UNSIGNED, offsetof(struct config, job_ceilings.cpu_weight),
                .low = JOB_CPU_WEIGHT_MIN, .high = JOB_CPU_WEIGHT_MAX, .shown = "none", .reloads = true,
        },
        [SETTING_JOB_CPU_QUOTA] = {
                "JobCpuQuota", "JOB_CPU_QUOTA", "job-cpu-quota", "PERCENT", "of one CPU, likewise",
                GROUP_JOBS, SETTING_PERCENT, offsetof(struct config, job_limits.cpu_quota),
                .low = JOB_CPU_QUOTA_MIN, .high = JOB_CPU_QUOTA_MAX, .shown = "none", .reloads = true,
        },
        [SETTING_JOB_CPU_QUOTA_CEILING] = {
                "JobCpuQuotaCeiling", "JOB_CPU_QUOTA_CEILING", "job-cpu-quota-ceiling", "PERCENT", "the most it may ask for",
                GROUP_JOBS, SETTING_PERCENT, offsetof(struct config, job_ceilings.cpu_quota),
                .low = JOB_CPU_QUOTA_MIN, .high = JOB_CPU_QUOTA_MAX, .shown = "none", .reloads = true,
        },
        [SETTING_JOB_TASKS_MAX] = {
                "JobTasksMax", "JOB_TASKS_MAX", "job-tasks-max", "N", "processes and threads, likewise",
                GROUP_JOBS, SETTING_UNSIGNED, offsetof(struct config, job_limits.tasks_max),
                .low = JOB_TASKS_MIN, .high = JOB_TASKS_MAX, .shown = "none", .reloads = true,
        },
        [SETTING_JOB_TASKS_MAX_CEILING] = {
                "JobTasksMaxCeiling", "JOB_TASKS_MAX_CEILING", "job-tasks-max-ceiling", "N", "the most it may ask for",
                GROUP_JOBS, SETTING_UNSIGNED, offsetof(struct config, job_ceilings.tasks_max),
                .low = JOB_TASKS_MIN, .high = JOB_TASKS_MAX, .shown = "none", .reloads = true,
        },
        [SETTING_EXECUTOR_PROGRAM] = {
                "ExecutorProgram", "EXECUTOR_PROGRAM", "executor-program", "PATH", "the program that runs jobs",
                GROUP_JOBS, SETTING_PATH, offsetof(struct config, executor_program),
                .shown = "beside this",
        },
        [SETTING_EXECUTOR_SOCKET] = {
                "ExecutorSocket", "EXECUTOR_SOCKET", "executor-socket", "PATH", "of one that somebody else starts",
                GROUP_JOBS, SETTING_PATH, offsetof(struct config, executor_socket),
                .high = sizeof(((struct sockaddr_un *) NULL)->sun_path) - 1, .shown = "none",
        },
        [SETTING_STATE_DIRECTORY] = {
                "StateDirectory", "STATE_DIRECTORY", "state-dir", "PATH", "identity and database",
                GROUP_STATE, SETTING_PATH, offsetof(struct config, state_directory),
                .shown = "see below",
        },
        [SETTING_HISTORY_MAX_AGE] = {
                "HistoryMaxAge", "HISTORY_MAX_AGE", "history-max-age", "TIME", "keep finished jobs this long",
                GROUP_STATE, SETTING_SPAN, offsetof(struct config, history_max_age_usec),
                .low = USEC_PER_SEC, .high = USEC_INFINITY, .value = "30d", .reloads = true,
        },
        [SETTING_HISTORY_MAX_JOBS] = {
                "HistoryMaxJobs", "HISTORY_MAX_JOBS", "history-max-jobs", "N", "keep so many of them",
                GROUP_STATE, SETTING_COUNT, offsetof(struct config, history_max_jobs),
                .low = 1, .high = 1000000000, .value = "2000000", .reloads = true,
        },
        [SETTING_HISTORY_MAX_USE] = {
                "HistoryMaxUse", "HISTORY_MAX_USE", "history-max-use", "SIZE", "let them take so much of the disk",
                GROUP_STATE, SETTING_SIZE, offsetof(struct config, history_max_bytes),
                .low = 1024 * 1024, .high = UINT64_MAX, .value = "4G", .reloads = true,
        },
        [SETTING_JOURNAL_OUTPUT] = {
                "JournalOutput", "JOURNAL_OUTPUT", "journal-output", "YESNO", "what jobs print, in the journal",
                GROUP_STATE, SETTING_BOOLEAN, offsetof(struct config, journal_output),
                .value = "yes", .reloads = true,
        },
        [SETTING_LOG_LEVEL] = {
                "LogLevel", "LOG_LEVEL", "log-level", "LEVEL", "debug, info, notice, warning, error",
                GROUP_STATE, SETTING_LEVEL, offsetof(struct config, log_level),
                .shown = "info", .reloads = true,
        },
};
/* clang-format on */
