/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node/config-internal.h"

static const char *const group_titles[_GROUP_MAX] = {
        [GROUP_CLIENTS] = "Clients",
        [GROUP_MESH] = "Other nodes",
        [GROUP_JOBS] = "Jobs",
        [GROUP_STATE] = "State and log",
};

#define OPTION_WIDTH 29

static void print_line(FILE *file, const char *option, const char *argument, const char *help) {
        int used = fprintf(file, "  --%s%s%s", option, argument ? "=" : "", argument ?: "");
        if (used >= OPTION_WIDTH) {
                fputc('\n', file);
                used = 0;
        }
        fprintf(file, "%*s%s", OPTION_WIDTH - used, "", help);
}

void config_print_help(FILE *file) {
        fputs("Usage: worker-mesh [OPTION...]\n"
              "\n"
              "Run shell jobs on this machine and on those that it finds on the network.\n",
              file);

        for (enum setting_group group = 0; group < _GROUP_MAX; group++) {
                fprintf(file, "\n%s:\n", group_titles[group]);
                for (enum setting_id id = 0; id < _SETTING_MAX; id++) {
                        const struct setting *setting = &settings[id];
                        if (setting->group != group)
                                continue;
                        print_line(file, setting->option, setting->argument, setting->help);
                        fprintf(file, " [%s]\n", setting->shown ?: setting->value);
                }
        }

        fputs("\nGeneral:\n", file);
        print_line(file, "config", "FILE", "read this file only, not worker-mesh.conf\n");
        print_line(file, "help", NULL, "print this and exit\n");
        print_line(file, "version", NULL, "print the version and exit\n");

        fputs("\n"
              "An option is also a variable and a line in section [Mesh] of a file:\n"
              "--peer-timeout is $PEER_TIMEOUT and PeerTimeout=. Three have longer names there:\n"
              "$INTERFACES and Interfaces=, $LABELS and Labels=, $STATE_DIRECTORY and\n"
              "StateDirectory=.\n"
              "Options win over variables, and these over files. The files are\n"
              "worker-mesh.conf and worker-mesh.conf.d/*.conf in /etc/worker-mesh,\n"
              "/run/worker-mesh, /usr/local/lib/worker-mesh and /usr/lib/worker-mesh.\n"
              "Without a state directory: $XDG_STATE_HOME/worker-mesh/PORT, where\n"
              "$XDG_STATE_HOME is ~/.local/state if it is not set; the keys of the mesh are in\n"
              "mesh.key, one folder up.\n"
              "Times are 5s or 1min 30s, sizes 64K or 1.5M. One dash will do: -api-port 3001.\n"
              "\n"
              "See worker-mesh(8) and worker-mesh.conf(5).\n",
              file);
}

void config_print_version(FILE *file) {
        fputs("worker-mesh " VERSION "\n", file);
}
