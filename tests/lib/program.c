/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/program.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/tests.h"

#define EXIT_EXEC 127

pid_t program_start(const char *const *arguments) {
        pid_t parent = getpid(), pid = fork();

        ASSERT_GE(pid, 0);
        if (pid > 0)
                return pid;
        /* Should the test have ended meanwhile, the signal never comes. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(EXIT_EXEC);
        (void) execv(arguments[0], (char *const *) arguments);
        _exit(EXIT_EXEC);
}
