/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every setting of the node, from (weakest first) built-in default, worker-mesh.conf and its drop-ins,
 * environment, command line. The table in config-table.c names each setting once: key, variable, option,
 * limits, help. Each has an option, whose name is the key in another spelling: PeerTimeout=, PEER_TIMEOUT,
 * --peer-timeout. */

#include <stdbool.h>
#include <stdint.h>

#include "util/macros.h"
#include "util/time.h"
#include "wire/types.h"

/* Exit statuses of the daemon. */
enum {
        EXIT_USAGE = 2,  /* the command line is wrong */
        EXIT_CONFIG = 6, /* a setting is wrong (as systemd's EXIT_NOTCONFIGURED) */
};

/* With whom jobs are exchanged. */
enum security {
        SECURITY_CLOSED, /* with every node that has a key of the mesh */
        SECURITY_OPEN,   /* with every node that is found; nothing is encrypted */
        _SECURITY_MAX,
};

struct config {
        uint16_t api_port;       /* ApiPort=, API_PORT, --api-port: 3000 */
        char *api_socket;        /* ApiSocket=, API_SOCKET, --api-socket: none */
        uint16_t discovery_port; /* DiscoveryPort=, DISCOVERY_PORT, --discovery-port: 8080 */
        uint16_t node_port;      /* NodePort=, NODE_PORT, --node-port: 0, the first free one from 8081 on */
        char **interfaces;     /* Interfaces= (space separated, several lines add, empty resets), INTERFACES,
                                * --interface (repeatable): all */
        char *state_directory; /* StateDirectory=, STATE_DIRECTORY, --state-dir; else
                                * $XDG_STATE_HOME/worker-mesh/<api port>/ (~/.local/state without the
                                * variable) */
        unsigned slots; /* Slots=, SLOTS, --slots: the CPUs this process may use; 0: accept, run nothing */
        char **labels;  /* Labels= (space separated, several lines add, empty resets), LABELS, --label
                         * (repeatable): "key=value" or "key", each key once */
        usec_t heartbeat_interval_usec; /* HeartbeatInterval=, HEARTBEAT_INTERVAL: 5s; 100ms … 1h */
        usec_t peer_timeout_usec;       /* PeerTimeout=, PEER_TIMEOUT: 30s; more than the interval */
        usec_t keeper_wait_usec;        /* KeeperWait=, KEEPER_WAIT: 100ms; 10ms … 1min */
        usec_t drain_timeout_usec;      /* DrainTimeout=, DRAIN_TIMEOUT: 30s */
        usec_t kill_grace_usec;         /* KillGrace=, KILL_GRACE: 5s: from SIGTERM to SIGKILL */
        unsigned queue_max;             /* QueueMax=, QUEUE_MAX: 1,000,000 unfinished jobs */
        uint64_t output_max_bytes;      /* OutputMax=, OUTPUT_MAX: 1M for each stream of a job; 4K … 64M */
        struct job_limits job_limits; /* JobMemoryMax=, JobCpuWeight=, JobCpuQuota=, JobTasksMax= and so on:
                                       * for jobs that do not ask; 0: none */
        struct job_limits
                job_ceilings;        /* JobMemoryMaxCeiling=, …: the most that they may ask for; 0: none */
        usec_t history_max_age_usec; /* HistoryMaxAge=, HISTORY_MAX_AGE: 30 days */
        uint64_t history_max_jobs;   /* HistoryMaxJobs=, HISTORY_MAX_JOBS: 2,000,000 */
        uint64_t history_max_bytes;  /* HistoryMaxUse=, HISTORY_MAX_USE: 4G */
        unsigned connections_max;    /* ConnectionsMax=, CONNECTIONS_MAX: 2048 a door */
        unsigned peers_max;          /* PeersMax=, PEERS_MAX: 1024 */
        unsigned index_max;          /* IndexMax=, INDEX_MAX: 100,000 recent jobs of the mesh */
        char *executor_program;      /* ExecutorProgram=, EXECUTOR_PROGRAM: beside this program, else the
                                      * installed one */
        char *executor_socket;       /* ExecutorSocket=, EXECUTOR_SOCKET: where an executor listens that the
                                      * service manager starts and stops; none: the node starts its own */
        char *config_path;           /* --config: this file instead of the search path, without drop-ins */
        int security;                /* Security=, SECURITY, --security: closed; enum security */
        char *key_file;              /* KeyFile=, KEY_FILE, --key-file; NULL: the credential mesh.key, else
                                      * key_file_default */
        char *key_file_default; /* where the nodes of this host find the key that one of them has made */
        int bus;                /* Bus=, BUS, --bus: auto; enum dbus_bus */
        bool journal_output;    /* JournalOutput=, JOURNAL_OUTPUT: yes: also what jobs print, line by line */
        int log_level;          /* LogLevel=, LOG_LEVEL, --log-level: info */
};

void config_done(struct config *config);
#define _cleanup_config_ _cleanup_(config_done)

enum config_outcome {
        CONFIG_OK = 0,
        CONFIG_HELP = 1,    /* --help or --version was printed: exit 0 */
        CONFIG_USAGE = 2,   /* a wrong command line; the message has been printed to stderr */
        CONFIG_INVALID = 3, /* a wrong value in a file or the environment; likewise */
};

/* Reads everything. A negative errno, or one of enum config_outcome; *ret is written for CONFIG_OK only.
 * What is wrong has been said on stderr then; what is merely unknown gave a warning. */
int config_load(int argc, char *argv[], struct config *ret);

/* Reads file and environment once more for a reload, over the same command line; prints what is wrong and
 * leaves *ret untouched then. */
int config_reload(int argc, char *argv[], struct config *ret);

/* The keys, as "ApiPort, OutputMax", of what differs and is not taken up before the next start; NULL:
 * nothing. -ENOMEM. */
int config_list_changes_for_start(const struct config *old, const struct config *new, char **ret);
