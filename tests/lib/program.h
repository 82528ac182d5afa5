/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A program beside a test that does not outlive it, also when the test fails. Include as "lib/program.h". */

#include <sys/types.h>

/* Begins it with these arguments, the path first. The kernel kills it when the thread that called this
 * ends. */
pid_t program_start(const char *const *arguments);
