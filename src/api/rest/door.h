/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A listening socket, on loopback or in the file system: who comes in, how many at once, and who they are.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "api/rest/request.h"
#include "util/macros.h"

struct door;
struct rest;

/* Each opens one, without accepting yet. *ret_problem: a sentence, when there is something better to say
 * than the error. connections_max: more are answered 503 and closed. */
int door_new_tcp(
        struct rest *rest, uint16_t port, unsigned connections_max, struct door **ret, char **ret_problem);
int door_new_unix(
        struct rest *rest, const char *path, unsigned connections_max, struct door **ret,
        char **ret_problem);
/* A socket that was made by somebody else; taken, also on failure. Refuses one that is not loopback or unix.
 */
int door_new_inherited(
        struct rest *rest, int fd, unsigned connections_max, struct door **ret, char **ret_problem);

int door_open(struct door *door, sd_event *event); /* begins to accept */
void door_close(struct door *door);                /* no new connections */
struct door *door_free(struct door *door); /* after the last of its clients; returns NULL; accepts NULL */
DEFINE_CLEANUP(struct door *, door_free)

/* "127.0.0.1:3001", or the path. */
const char *door_address(const struct door *door);
