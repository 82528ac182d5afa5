/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the node tells of its machine in heartbeats and status. */

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "node/internal.h"
#include "util/strv.h"

static void add(struct mesh_config *config, const char *key, const char *value) {
        struct metadata_entry *entry;

        if (config->n_metadata == METADATA_MAX)
                return;
        entry = &config->metadata[config->n_metadata++];
        (void) snprintf(entry->key, sizeof(entry->key), "%s", key);
        (void) snprintf(entry->value, sizeof(entry->value), "%.*s", (int) METADATA_VALUE_MAX, value);
}

static bool is_chosen(char *const *interfaces, const char *name) {
        if (strv_length(interfaces) == 0)
                return true;
        STRV_FOREACH(interface, interfaces)
                if (streq(*interface, name))
                        return true;
        return false;
}

/* The first address that others may reach; loopback where there is none. For people: peers use the address
 * that datagrams come from. */
static void find_address(char *const *interfaces, char *buffer, size_t size) {
        struct in_addr address = { .s_addr = htonl(INADDR_LOOPBACK) };
        struct ifaddrs *list = NULL;

        if (getifaddrs(&list) >= 0)
                for (const struct ifaddrs *i = list; i; i = i->ifa_next)
                        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP) &&
                            !(i->ifa_flags & IFF_LOOPBACK) && is_chosen(interfaces, i->ifa_name)) {
                                address =
                                        ((const struct sockaddr_in *) (const void *) i->ifa_addr)->sin_addr;
                                break;
                        }
        freeifaddrs(list);
        (void) inet_ntop(AF_INET, &address, buffer, (socklen_t) size);
}

void about_fill(struct mesh_config *config, char *const *interfaces, bool open) {
        char host[INET_ADDRSTRLEN] = "127.0.0.1", cpus[16];
        struct utsname names;

        find_address(interfaces, host, sizeof(host));
        (void) snprintf(config->address, sizeof(config->address), "%s:%u", host, config->node_port);
        (void) snprintf(config->version, sizeof(config->version), "%s", VERSION);

        if (open)
                add(config, "security", "open"); /* all others show it */
        if (uname(&names) < 0)
                return;
        add(config, "hostname", names.nodename);
        add(config, "os", names.sysname);
        add(config, "arch", names.machine);
        (void) snprintf(cpus, sizeof(cpus), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
        add(config, "cpus", cpus);
}
