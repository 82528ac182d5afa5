/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The executor's end of the socket: takes connections, carries out what the daemon says, tells it what
 * happens. */

#include "executor/executor.h"

/* Accepts connections from now on. Takes the descriptor. */
int executor_listen(struct executor *executor, int listen_fd);
/* Drops all of them, and listens no more. */
void executor_connections_close(struct executor *executor);

/* Sends what there is to say, as far as the socket takes it. */
void connection_flush(struct connection *connection);
