/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net/interfaces.h"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "util/log.h"
#include "util/strv.h"
#include "util/time.h"

/* Changes come in groups (link, address, routes, carrier); the list is made once for a group. */
#define GATHER_USEC (100 * USEC_PER_MSEC)
#define CHANGES_PER_WAKEUP 64u

struct address_list {
        size_t n;
        struct interface_address addresses[INTERFACE_ADDRESSES_MAX];
};

struct interfaces {
        char **names; /* NULL: all */
        struct address_list list;
        int netlink_fd;
        sd_event_source *netlink_source;
        sd_event_source *timer; /* on while changes are gathered */
        void (*appeared)(void *userdata);
        void *userdata;
};

/* The label of an address may be "eth0:1": a second name of eth0. */
static bool is_label_of(const char *label, const char *name) {
        size_t size = strlen(name);
        return strncmp(label, name, size) == 0 && (label[size] == '\0' || label[size] == ':');
}

static bool is_chosen(const struct interfaces *interfaces, const char *label) {
        if (!interfaces->names)
                return true;
        STRV_FOREACH(name, interfaces->names)
                if (is_label_of(label, *name))
                        return true;
        return false;
}

static struct in_addr in_addr_of(const struct sockaddr *address) {
        return ((const struct sockaddr_in *) address)->sin_addr;
}

/* INADDR_ANY where the address has none. The last address of the network is taken rather than the configured
 * one: the kernel treats it as a broadcast address in any case, and getifaddrs() has another address in that
 * place where none is configured. */
static struct in_addr broadcast_of(const struct ifaddrs *entry) {
        struct in_addr local = in_addr_of(entry->ifa_addr), broadcast = { INADDR_ANY };

        if (entry->ifa_flags & IFF_LOOPBACK) {
                if (ntohl(local.s_addr) >> 24 == IN_LOOPBACKNET)
                        broadcast.s_addr = htonl((uint32_t) IN_LOOPBACKNET << 24 | IN_CLASSA_HOST);
        } else if ((entry->ifa_flags & IFF_BROADCAST) && entry->ifa_netmask) {
                struct in_addr mask = in_addr_of(entry->ifa_netmask);
                if (ntohl(~mask.s_addr) > 1) /* networks of one or two addresses have none to spare */
                        broadcast.s_addr = local.s_addr | ~mask.s_addr;
        }
        return broadcast;
}

static bool list_has_broadcast(const struct address_list *list, const struct interface_address *address) {
        for (size_t i = 0; i < list->n; i++)
                if (list->addresses[i].index == address->index &&
                    list->addresses[i].broadcast.s_addr == address->broadcast.s_addr)
                        return true;
        return false;
}

static int list_fill(const struct interfaces *interfaces, struct address_list *ret) {
        struct ifaddrs *entries;

        if (getifaddrs(&entries) < 0)
                return -errno;

        ret->n = 0;
        for (struct ifaddrs *entry = entries; entry && ret->n < INTERFACE_ADDRESSES_MAX;
             entry = entry->ifa_next) {
                if (!entry->ifa_addr || entry->ifa_addr->sa_family != AF_INET ||
                    !(entry->ifa_flags & IFF_UP) || !is_chosen(interfaces, entry->ifa_name))
                        continue;
                struct interface_address address = {
                        .index = if_nametoindex(entry->ifa_name),
                        .local = in_addr_of(entry->ifa_addr),
                        .broadcast = broadcast_of(entry),
                };
                if (address.index == 0) /* gone meanwhile */
                        continue;
                if (list_has_broadcast(ret, &address))
                        address.broadcast.s_addr = INADDR_ANY;
                ret->addresses[ret->n++] = address;
        }
        freeifaddrs(entries);
        return 0;
}

static bool list_contains(const struct address_list *list, const struct interface_address *address) {
        for (size_t i = 0; i < list->n; i++)
                if (list->addresses[i].index == address->index &&
                    list->addresses[i].local.s_addr == address->local.s_addr &&
                    list->addresses[i].broadcast.s_addr == address->broadcast.s_addr)
                        return true;
        return false;
}

static bool list_has_more_than(const struct address_list *list, const struct address_list *before) {
        for (size_t i = 0; i < list->n; i++)
                if (list->addresses[i].broadcast.s_addr != INADDR_ANY &&
                    !list_contains(before, &list->addresses[i]))
                        return true;
        return false;
}

static int on_gathered(sd_event_source *source, uint64_t usec, void *userdata) {
        struct interfaces *interfaces = userdata;
        struct address_list list;

        int r = list_fill(interfaces, &list);
        if (r < 0) {
                log_warning_errno(r, "Cannot list the network interfaces, going on with those known: %m");
                return 0;
        }
        bool more = list_has_more_than(&list, &interfaces->list);
        interfaces->list = list;
        if (more)
                interfaces->appeared(interfaces->userdata);
        return 0;
}

/* What changed is not read from the message: messages are lost when there are too many (ENOBUFS), and the
 * list has to be made anew then in any case. */
static int on_changed(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        struct interfaces *interfaces = userdata;
        char message[64];
        int enabled, r;

        for (unsigned i = 0; i < CHANGES_PER_WAKEUP; i++)
                if (recv(fd, message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC) < 0 && errno == EAGAIN)
                        break;

        r = sd_event_source_get_enabled(interfaces->timer, &enabled);
        if (r < 0 || enabled != SD_EVENT_OFF)
                return r;
        r = sd_event_source_set_time_relative(interfaces->timer, GATHER_USEC);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(interfaces->timer, SD_EVENT_ONESHOT);
}

static int open_netlink(int *ret) {
        const struct sockaddr_nl address = {
                .nl_family = AF_NETLINK,
                .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR,
        };
        _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

        if (fd < 0 || bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

static int watch_changes(struct interfaces *interfaces, sd_event *event) {
        int r;

        r = open_netlink(&interfaces->netlink_fd);
        if (r < 0)
                return r;
        r = sd_event_add_io(
                event, &interfaces->netlink_source, interfaces->netlink_fd, EPOLLIN, on_changed, interfaces);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(interfaces->netlink_source, "interface-changes");

        r = sd_event_add_time_relative(
                event, &interfaces->timer, CLOCK_MONOTONIC, GATHER_USEC, USEC_PER_MSEC, on_gathered,
                interfaces);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(interfaces->timer, "interface-changes-gathered");
        return sd_event_source_set_enabled(interfaces->timer, SD_EVENT_OFF);
}

static void tell_missing(const struct interfaces *interfaces) {
        STRV_FOREACH(name, interfaces->names)
                if (if_nametoindex(*name) == 0)
                        log_notice(
                                "There is no network interface %s now; it is used once it appears.", *name);
}

int interfaces_new(
        char *const *names, sd_event *event, void (*appeared)(void *userdata), void *userdata,
        struct interfaces **ret) {
        _cleanup_(interfaces_free_p) struct interfaces *interfaces = NULL;
        int r;

        interfaces = calloc(1, sizeof(*interfaces));
        if (!interfaces)
                return -ENOMEM;
        interfaces->netlink_fd = -EBADF;
        interfaces->appeared = appeared;
        interfaces->userdata = userdata;
        STRV_FOREACH(name, names) {
                r = strv_append(&interfaces->names, *name);
                if (r < 0)
                        return r;
        }

        /* First watch, then list: nothing can come between unseen. */
        r = watch_changes(interfaces, event);
        if (r < 0)
                return r;
        r = list_fill(interfaces, &interfaces->list);
        if (r < 0)
                return r;
        tell_missing(interfaces);

        *ret = TAKE_PTR(interfaces);
        return 0;
}

struct interfaces *interfaces_free(struct interfaces *interfaces) {
        if (!interfaces)
                return NULL;
        sd_event_source_disable_unref(interfaces->timer);
        sd_event_source_disable_unref(interfaces->netlink_source);
        close_fd(interfaces->netlink_fd);
        strv_free(interfaces->names);
        free(interfaces);
        return NULL;
}

size_t interfaces_get(const struct interfaces *interfaces, const struct interface_address **ret) {
        *ret = interfaces->list.addresses;
        return interfaces->list.n;
}

bool interfaces_may_hear(const struct interfaces *interfaces, unsigned index, struct in_addr source) {
        const struct address_list *list = &interfaces->list;

        if (!interfaces->names)
                return true;
        for (size_t i = 0; i < list->n; i++)
                if (list->addresses[i].index == index || list->addresses[i].local.s_addr == source.s_addr)
                        return true;
        return false;
}
