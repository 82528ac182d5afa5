/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* clone3() with CLONE_VFORK: the executor stands still until the child has called execve() or has failed, so
 * the child may use the executor's memory; where the architecture is known it really does (CLONE_VM), on a
 * stack of its own. Between clone3() and execve() only plain system calls: no memory is taken, no lock,
 * nothing is written but the report. Compared with posix_spawn() this saves a query for each of 64 signals
 * and a mapping for the stack, and it can begin in a cgroup. */

#include "executor/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SHELL "/bin/sh"
#define SHELL_NAME "sh"
#define CHILD_STACK_SIZE (64u * 1024)

#if defined(__x86_64__) || defined(__aarch64__)
#define CHILD_SHARES_MEMORY 1
#else
#define CHILD_SHARES_MEMORY 0
#endif

/* In memory that parent and child share, whether or not the rest is. */
struct report {
        int error; /* an errno; 0: the program runs */
        enum spawn_step step;
};

struct spawner {
        struct rlimit descriptors; /* for what is started */
        bool limit_raised;
        void *stack;
        struct report *report;
};

/* What the child is given. */
struct child {
        const struct spawner *spawner;
        const struct spawn_request *request;
        pid_t parent;
};

const char *spawn_step_to_text(enum spawn_step step) {
        static const char *const texts[_SPAWN_STEP_MAX] = {
                [SPAWN_CLONE] = "cannot create a process",
                [SPAWN_SESSION] = "cannot begin a session",
                [SPAWN_STDIO] = "cannot set up its input and output",
                [SPAWN_LIMITS] = "cannot restore its limits",
                [SPAWN_CHDIR] = "cannot change to folder",
                [SPAWN_EXEC] = ("cannot run " SHELL),
        };

        return texts[step];
}

/* What the kernel takes: the handler, and more that is zero for the default action. */
struct kernel_sigaction {
        uintptr_t handler;
        unsigned long rest[7];
};
#define KERNEL_SIGSET_SIZE (_NSIG / 8)

/* Past the library, which hides two signals of its own, and whose posix_spawn() leaves them ignored.
 * Handlers need no attention: clone3() drops them. */
static void ignored_signals_reset(void) {
        const struct kernel_sigaction initial = { .handler = (uintptr_t) SIG_DFL };

        for (int i = 1; i < _NSIG; i++) {
                struct kernel_sigaction current = {};

                if (syscall(SYS_rt_sigaction, i, NULL, &current, KERNEL_SIGSET_SIZE) == 0 &&
                    current.handler == (uintptr_t) SIG_IGN)
                        (void) syscall(SYS_rt_sigaction, i, &initial, NULL, KERNEL_SIGSET_SIZE);
        }
}

static int descriptor_limit_raise(struct spawner *spawner) {
        struct rlimit raised;

        if (getrlimit(RLIMIT_NOFILE, &spawner->descriptors) < 0)
                return -errno;
        raised = spawner->descriptors;
        if (raised.rlim_cur >= raised.rlim_max)
                return 0;
        raised.rlim_cur = raised.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &raised) < 0)
                return -errno;
        spawner->limit_raised = true;
        return 0;
}

int spawner_new(struct spawner **ret) {
        _cleanup_(spawner_free_p) struct spawner *spawner = calloc(1, sizeof(*spawner));
        int r;

        if (!spawner)
                return -ENOMEM;
        spawner->stack = spawner->report = MAP_FAILED;
        ignored_signals_reset();
        r = descriptor_limit_raise(spawner);
        if (r < 0)
                return r;

        spawner->stack =
                mmap(NULL, CHILD_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK,
                     -1, 0);
        spawner->report =
                mmap(NULL, sizeof(struct report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (spawner->stack == MAP_FAILED || spawner->report == MAP_FAILED)
                return -errno;
        *ret = TAKE_PTR(spawner);
        return 0;
}

struct spawner *spawner_free(struct spawner *spawner) {
        if (!spawner)
                return NULL;
        if (spawner->stack != MAP_FAILED)
                (void) munmap(spawner->stack, CHILD_STACK_SIZE);
        if (spawner->report != MAP_FAILED)
                (void) munmap(spawner->report, sizeof(struct report));
        free(spawner);
        return NULL;
}

_noreturn_ static void child_fail(const struct child *child, enum spawn_step step) {
        child->spawner->report->step = step;
        child->spawner->report->error = errno;
        _exit(127);
}

static int child_chdir(const struct spawn_request *request) {
        if (request->cwd)
                return chdir(request->cwd);
        return chdir(request->home) < 0 ? chdir("/") : 0;
}

/* Runs in the child. */
_noreturn_ static void child_main(void *userdata) {
        const struct child *child = userdata;
        const struct spawn_request *request = child->request;
        const char *const arguments[] = { SHELL_NAME, "-c", request->command, NULL };
        sigset_t none;

        /* The job must not outlive the executor; should that have died meanwhile, the signal never comes. */
        if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                child_fail(child, SPAWN_SESSION);
        if (getppid() != child->parent)
                _exit(127);

        if (dup2(request->stdin_fd, STDIN_FILENO) < 0 || dup2(request->stdout_fd, STDOUT_FILENO) < 0 ||
            dup2(request->stderr_fd, STDERR_FILENO) < 0 || close_range(STDERR_FILENO + 1, ~0U, 0) < 0)
                child_fail(child, SPAWN_STDIO);
        if (child->spawner->limit_raised && setrlimit(RLIMIT_NOFILE, &child->spawner->descriptors) < 0)
                child_fail(child, SPAWN_LIMITS);
        if (child_chdir(request) < 0)
                child_fail(child, SPAWN_CHDIR);

        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) execve(SHELL, (char *const *) arguments, request->environment);
        child_fail(child, SPAWN_EXEC);
}

/* clone3() whose child continues in function(argument) on the stack named in arguments and never comes back.
 */
#if defined(__x86_64__)
static long clone_onto_stack(struct clone_args *arguments, void (*function)(void *), void *argument) {
        register void (*function_register)(void *) __asm__("r12") = function;
        register void *argument_register __asm__("r13") = argument;
        long result;

        __asm__ volatile("syscall\n\t"
                         "testq %%rax, %%rax\n\t"
                         "jnz 1f\n\t"
                         "xorl %%ebp, %%ebp\n\t"
                         "movq %%r13, %%rdi\n\t"
                         "callq *%%r12\n\t"
                         "ud2\n"
                         "1:"
                         : "=a"(result)
                         : "a"((long) SYS_clone3), "D"(arguments), "S"(sizeof(*arguments)),
                           "r"(function_register), "r"(argument_register)
                         : "rcx", "r11", "cc", "memory");
        return result;
}
#elif defined(__aarch64__)
static long clone_onto_stack(struct clone_args *arguments, void (*function)(void *), void *argument) {
        register long number __asm__("x8") = SYS_clone3;
        register long first __asm__("x0") = (long) arguments;
        register long second __asm__("x1") = sizeof(*arguments);
        register void (*function_register)(void *) __asm__("x20") = function;
        register void *argument_register __asm__("x21") = argument;

        __asm__ volatile("svc #0\n\t"
                         "cbnz x0, 1f\n\t"
                         "mov x29, xzr\n\t"
                         "mov x0, x21\n\t"
                         "blr x20\n\t"
                         "brk #1\n"
                         "1:"
                         : "+r"(first)
                         : "r"(number), "r"(second), "r"(function_register), "r"(argument_register)
                         : "x30", "cc", "memory");
        return first;
}
#else
static long clone_onto_stack(struct clone_args *arguments, void (*function)(void *), void *argument) {
        long result = syscall(SYS_clone3, arguments, sizeof(*arguments));

        if (result == 0)
                function(argument);
        return result < 0 ? -errno : result;
}
#endif

static int clone_child(struct child *child, int *ret_pidfd, pid_t *ret_pid) {
        const struct spawn_request *request = child->request;
        struct clone_args arguments = {
                .flags = CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
                .pidfd = (uint64_t) (uintptr_t) ret_pidfd,
                .exit_signal = SIGCHLD,
        };
        long pid;

        if (CHILD_SHARES_MEMORY) {
                arguments.flags |= CLONE_VM;
                arguments.stack = (uint64_t) (uintptr_t) child->spawner->stack;
                arguments.stack_size = CHILD_STACK_SIZE;
        }
        if (request->cgroup_fd >= 0) {
                arguments.flags |= CLONE_INTO_CGROUP;
                arguments.cgroup = (uint64_t) request->cgroup_fd;
        }
        pid = clone_onto_stack(&arguments, child_main, child);
        if (pid < 0)
                return (int) pid;
        *ret_pid = (pid_t) pid;
        return 0;
}

/* The child has failed before it became the program: nobody else hears of it. */
static void reap_failed(int pidfd) {
        siginfo_t info;
        int r;

        do
                r = waitid(P_PIDFD, (id_t) pidfd, &info, WEXITED);
        while (r < 0 && errno == EINTR);
}

int spawner_start(
        struct spawner *spawner, const struct spawn_request *request, pid_t *ret_pid, int *ret_pidfd,
        enum spawn_step *ret_step) {

        struct child child = { .spawner = spawner, .request = request, .parent = getpid() };
        _cleanup_close_ int pidfd = -EBADF;
        sigset_t all, before;
        pid_t pid = -1;
        int r;

        *spawner->report = (struct report){ .step = SPAWN_CLONE };
        *ret_step = SPAWN_CLONE;
        (void) sigfillset(&all);
        (void) sigprocmask(SIG_SETMASK, &all, &before);
        r = clone_child(&child, &pidfd, &pid);
        (void) sigprocmask(SIG_SETMASK, &before, NULL);
        if (r < 0)
                return r;

        if (*(volatile int *) &spawner->report->error != 0) {
                *ret_step = spawner->report->step;
                reap_failed(pidfd);
                return -spawner->report->error;
        }
        *ret_pid = pid;
        *ret_pidfd = TAKE_FD(pidfd);
        return 0;
}
