/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which bus, and where it is. Only sockets of this host: other kinds of addresses resolve names or start
 * programs, and the loop does neither. */

#include <stdio.h>

#include "api/dbus/internal.h"
#include "util/buffer.h"
#include "util/parse.h"

#define SYSTEM_ADDRESS "unix:path=/run/dbus/system_bus_socket"

/* Every alternative of an address is a unix socket. */
static bool is_local(const char *address) {
        for (; *address != '\0'; address += strcspn(address, ";"), address += *address == ';')
                if (strncmp(address, "unix:", strlen("unix:")) != 0)
                        return false;
        return true;
}

/* As the D-Bus specification has values in addresses. */
static int append_escaped(struct buffer *buffer, const char *text) {
        int r = 0;

        for (; *text != '\0' && r >= 0; text++) {
                unsigned char c = (unsigned char) *text;
                bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                             strchr("-_/.\\*", c);

                r = plain ? buffer_append(buffer, text, 1) : buffer_printf(buffer, "%%%02x", c);
        }
        return r;
}

static int session_address(char **ret) {
        const char *address = getenv("DBUS_SESSION_BUS_ADDRESS"), *runtime = getenv("XDG_RUNTIME_DIR");
        _cleanup_buffer_ struct buffer text = {}, path = {};
        int r;

        *ret = NULL;
        if (address && *address != '\0') {
                *ret = strdup(address);
                return *ret ? 0 : -ENOMEM;
        }
        if (!runtime || *runtime != '/')
                return 0;
        r = buffer_printf(&path, "%s/bus", runtime);
        if (r < 0)
                return r;
        if (access(path.data, F_OK) < 0)
                return 0;
        r = buffer_append_text(&text, "unix:path=");
        if (r >= 0)
                r = append_escaped(&text, path.data);
        if (r >= 0)
                r = buffer_append(&text, "", 1);
        if (r >= 0)
                *ret = TAKE_PTR(text.data);
        return r;
}

/* A shell below a service inherits the invocation's id, but not that this very process was started; and what
 * the manager of a user starts belongs to that user's bus. */
static bool is_system_service(void) {
        const char *pid = getenv("SYSTEMD_EXEC_PID");
        uint64_t number = 0;
        bool started = pid && parse_u64(pid, &number) >= 0 && number == (uint64_t) getpid();

        return (started || getenv("NOTIFY_SOCKET")) && !getenv("MANAGERPID");
}

int bus_address(enum dbus_bus bus, char **ret, const char **ret_kind, const char **ret_reason) {
        _cleanup_free_ char *address = NULL;
        int r = 0;

        *ret = NULL;
        *ret_reason = NULL;
        if (bus == DBUS_BUS_AUTO)
                bus = is_system_service() ? DBUS_BUS_SYSTEM : DBUS_BUS_SESSION;

        *ret_kind = bus == DBUS_BUS_SYSTEM ? "system" : "session";
        if (bus == DBUS_BUS_NONE) {
                *ret_reason = "Bus=none";
                return 0;
        }
        if (bus == DBUS_BUS_SYSTEM) {
                const char *given = getenv("DBUS_SYSTEM_BUS_ADDRESS");

                address = strdup(given && *given != '\0' ? given : SYSTEM_ADDRESS);
                if (!address)
                        return -ENOMEM;
        } else
                r = session_address(&address);
        if (r < 0)
                return r;

        if (!address)
                *ret_reason = "there is no session bus";
        else if (!is_local(address))
                *ret_reason = "the address of the bus is not a unix socket of this host";
        else
                *ret = TAKE_PTR(address);
        return 0;
}
