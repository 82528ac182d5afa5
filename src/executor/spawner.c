/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* clone3() with CLONE_VM but without CLONE_VFORK: until it calls execve() the child runs beside us in our
 * own memory, on a stack of its own, while we go on to serve others. posix_spawn() would stand still
 * meanwhile, which with few slots leaves processors idle.
 *
 * The price: the child may write nothing but its place, read nothing that we change, and call nothing of the
 * C library that sets errno, which would be ours. So it makes its system calls itself. It begins without
 * handlers (CLONE_CLEAR_SIGHAND) and in its cgroup; when it leaves our memory the kernel clears its place's
 * word (CLONE_CHILD_CLEARTID), which is how we know that the place is free again.
 *
 * Where the architecture is not known below, the child gets a copy of our memory, of which only the place is
 * shared. So it does where a filter of system calls does not know clone3(): then it enters its cgroup by
 * itself, too. */

#include "executor/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "executor/job-user.h"
#include "util/list.h"

#define SHELL "/bin/sh"
#define SHELL_NAME "sh"
#define PLACE_SIZE (32u * 1024) /* of memory; all but the struct is the child's stack */

#if defined(__x86_64__) || defined(__aarch64__)
#define CHILD_SHARES_MEMORY 1
#else
#define CHILD_SHARES_MEMORY 0
#endif

struct spawner {
        struct rlimit descriptors; /* for what is started */
        bool limit_raised;
        const struct job_user *user; /* NULL: our own */
        bool no_clone3;              /* it was tried */
        struct list places;
        uint64_t n_started;
};

/* Where a child is until it is a program: at the lower end of a mapping whose upper end is its stack. */
struct spawn_place {
        _Alignas(16) struct list_link link; /* so that the stack, which begins behind, is aligned as well */
        uint32_t occupied;                  /* cleared by the kernel when the child leaves our memory */
        int error;                          /* an errno that nobody has asked for yet; 0: none */
        enum spawn_step step;
        uint64_t number; /* of the child that came last */
        pid_t parent;
        bool limit_raised;
        struct rlimit descriptors;
        const struct job_user *user;
        struct spawn_request request;
};

const char *spawn_step_to_text(enum spawn_step step) {
        static const char *const texts[_SPAWN_STEP_MAX] = {
                [SPAWN_CLONE] = "cannot create a process",
                [SPAWN_SESSION] = "cannot begin a session",
                [SPAWN_STDIO] = "cannot set up its input and output",
                [SPAWN_CGROUP] = "cannot set up its cgroup",
                [SPAWN_LIMITS] = "cannot restore its limits",
                [SPAWN_USER] = "cannot become the user of jobs",
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
        list_init(&spawner->places);
        ignored_signals_reset();
        r = descriptor_limit_raise(spawner);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(spawner);
        return 0;
}

void spawner_set_user(struct spawner *spawner, const struct job_user *user) {
        spawner->user = user;
}

static bool place_is_occupied(const struct spawn_place *place) {
        return __atomic_load_n(&place->occupied, __ATOMIC_ACQUIRE) != 0;
}

struct spawner *spawner_free(struct spawner *spawner) {
        struct spawn_place *place;

        if (!spawner)
                return NULL;
        LIST_FOREACH(&spawner->places, place, struct spawn_place, link) {
                list_remove(&place->link);
                /* Should a child still be there, it keeps its stack. */
                if (!place_is_occupied(place))
                        (void) munmap(place, PLACE_SIZE);
        }
        free(spawner);
        return NULL;
}

/* A free place, or a new one: there are as many as children were ever on their way at once. */
static int place_take(struct spawner *spawner, struct spawn_place **ret) {
        struct spawn_place *place;

        LIST_FOREACH(&spawner->places, place, struct spawn_place, link)
                if (!place_is_occupied(place) && place->error == 0) {
                        *ret = place;
                        return 0;
                }
        place = mmap(NULL, PLACE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (place == MAP_FAILED)
                return -errno;
        list_append(&spawner->places, &place->link);
        *ret = place;
        return 0;
}

/* For code of the child: no sanitizer may add to it. */
#define CHILD_CODE __attribute__((__no_sanitize__("address", "undefined", "thread")))

/* System calls as the kernel answers them, and clone3() whose child continues in function(argument) on the
 * stack that is named in arguments and never comes back. */
#if defined(__x86_64__)
CHILD_CODE static inline long kernel_call5(long number, long a, long b, long c, long d, long e) {
        register long d_register __asm__("r10") = d;
        register long e_register __asm__("r8") = e;
        long result;

        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "a"(number), "D"(a), "S"(b), "d"(c), "r"(d_register), "r"(e_register)
                         : "rcx", "r11", "memory");
        return result;
}

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
CHILD_CODE static inline long kernel_call5(long number, long a, long b, long c, long d, long e) {
        register long number_register __asm__("x8") = number;
        register long a_register __asm__("x0") = a;
        register long b_register __asm__("x1") = b;
        register long c_register __asm__("x2") = c;
        register long d_register __asm__("x3") = d;
        register long e_register __asm__("x4") = e;

        __asm__ volatile("svc #0"
                         : "+r"(a_register)
                         : "r"(number_register), "r"(b_register), "r"(c_register), "r"(d_register),
                           "r"(e_register)
                         : "memory");
        return a_register;
}

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
CHILD_CODE static inline long kernel_call5(long number, long a, long b, long c, long d, long e) {
        long result = syscall(number, a, b, c, d, e);

        return result < 0 ? -errno : result;
}

static long clone_onto_stack(struct clone_args *arguments, void (*function)(void *), void *argument) {
        long result = syscall(SYS_clone3, arguments, sizeof(*arguments));

        if (result == 0)
                function(argument);
        return result < 0 ? -errno : result;
}
#endif

/* Of those that take fewer arguments the kernel looks at no more. */
CHILD_CODE static inline long kernel_call(long number, long a, long b, long c, long d) {
        return kernel_call5(number, a, b, c, d, 0);
}

CHILD_CODE static inline void child_exit(void) {
        for (;;)
                (void) kernel_call(SYS_exit_group, 127, 0, 0, 0);
}

CHILD_CODE static inline void child_check(struct spawn_place *place, enum spawn_step step, long result) {
        if (result >= 0)
                return;
        place->step = step;
        __atomic_store_n(&place->error, (int) -result, __ATOMIC_RELEASE);
        child_exit();
}

CHILD_CODE static inline long child_duplicate(int from, int to) {
        return kernel_call(SYS_dup3, from, to, 0, 0);
}

/* Between two users that are not root, setresuid() clears no capability set: it is done here, and what is
 * left is read back. */
CHILD_CODE static inline long child_drop_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {}, left[_LINUX_CAPABILITY_U32S_3];
        long result;

        result = kernel_call5(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        if (result >= 0)
                result = kernel_call(SYS_capset, (long) &header, (long) none, 0, 0);
        if (result >= 0)
                result = kernel_call(SYS_capget, (long) &header, (long) left, 0, 0);
        if (result < 0)
                return result;
        for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
                if (left[i].effective != 0 || left[i].permitted != 0 || left[i].inheritable != 0)
                        return -EPERM;
        return 0;
}

/* The library's functions would change all threads, and those of us; these change the caller alone. */
CHILD_CODE static inline long child_become(const struct job_user *user) {
        long result = 0;

        for (size_t i = 0; i < user->n_capabilities && result >= 0; i++)
                result = kernel_call5(SYS_prctl, PR_CAPBSET_DROP, user->capabilities[i], 0, 0, 0);
        if (result >= 0)
                result = kernel_call(SYS_setgroups, (long) user->n_groups, (long) user->groups, 0, 0);
        if (result >= 0)
                result = kernel_call(SYS_setresgid, user->gid, user->gid, user->gid, 0);
        if (result >= 0)
                result = kernel_call(SYS_setresuid, user->uid, user->uid, user->uid, 0);
        return result >= 0 ? child_drop_capabilities() : result;
}

CHILD_CODE static inline long child_chdir(const struct spawn_request *request) {
        long result;

        if (request->cwd)
                return kernel_call(SYS_chdir, (long) request->cwd, 0, 0, 0);
        result = kernel_call(SYS_chdir, (long) request->home, 0, 0, 0);
        return result < 0 ? kernel_call(SYS_chdir, (long) "/", 0, 0, 0) : result;
}

CHILD_CODE static void child_main(void *userdata) {
        struct spawn_place *place = userdata;
        const struct spawn_request *request = &place->request;
        const char *arguments[] = { SHELL_NAME, "-c", request->command, NULL };
        const unsigned long no_signals[KERNEL_SIGSET_SIZE / sizeof(unsigned long)] = {};

        /* The job must not outlive the executor; should that have died meanwhile, the signal never comes. */
        child_check(place, SPAWN_SESSION, kernel_call(SYS_setsid, 0, 0, 0, 0));
        if (place->limit_raised)
                child_check(
                        place, SPAWN_LIMITS,
                        kernel_call(SYS_prlimit64, 0, RLIMIT_NOFILE, (long) &place->descriptors, 0));
        /* Before the signal is asked for, which a change of the user would clear. */
        if (place->user)
                child_check(place, SPAWN_USER, child_become(place->user));
        child_check(place, SPAWN_SESSION, kernel_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0));
        if (kernel_call(SYS_getppid, 0, 0, 0, 0) != place->parent)
                child_exit();

        child_check(place, SPAWN_STDIO, child_duplicate(request->stdin_fd, STDIN_FILENO));
        child_check(place, SPAWN_STDIO, child_duplicate(request->stdout_fd, STDOUT_FILENO));
        child_check(place, SPAWN_STDIO, child_duplicate(request->stderr_fd, STDERR_FILENO));
        child_check(place, SPAWN_STDIO, kernel_call(SYS_close_range, STDERR_FILENO + 1, ~0U, 0, 0));
        child_check(place, SPAWN_CHDIR, child_chdir(request));
        /* What was sent since is delivered here. */
        (void) kernel_call(SYS_rt_sigprocmask, SIG_SETMASK, (long) no_signals, 0, KERNEL_SIGSET_SIZE);
        child_check(
                place, SPAWN_EXEC,
                kernel_call(SYS_execve, (long) SHELL, (long) arguments, (long) request->environment, 0));
}

/* prlimit64() takes the struct as the kernel has it, which is that of the library where a long has 64 bits.
 */
_Static_assert(sizeof(rlim_t) == sizeof(uint64_t), "struct rlimit is not that of prlimit64()");

/* As fork() does it, but with a descriptor for the process. What is wrong with the cgroup shows before there
 * is a child, as with clone3(). */
static long clone_copy(struct spawn_place *place, int *ret_pidfd) {
        _cleanup_close_ int processes_fd = -EBADF;
        long pid;

        if (place->request.cgroup_fd >= 0) {
                processes_fd = openat(place->request.cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
                if (processes_fd < 0)
                        return -errno;
        }
        pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, ret_pidfd, 0, 0);
        if (pid != 0)
                return pid < 0 ? -errno : pid;
        if (processes_fd >= 0)
                child_check(place, SPAWN_CGROUP, kernel_call(SYS_write, processes_fd, (long) "0", 1, 0));
        child_main(place);
        child_exit();
        return 0;
}

static long clone_child(
        struct spawner *spawner, struct clone_args *arguments, struct spawn_place *place, int *ret_pidfd) {
        long pid = spawner->no_clone3 ? -ENOSYS : clone_onto_stack(arguments, child_main, place);

        if (pid != -ENOSYS)
                return pid;
        spawner->no_clone3 = true;
        return clone_copy(place, ret_pidfd);
}

int spawner_start(struct spawner *spawner, const struct spawn_request *request, struct spawned *ret) {
        struct clone_args arguments = {
                .flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND | CLONE_CHILD_CLEARTID,
                .exit_signal = SIGCHLD,
        };
        struct spawn_place *place = NULL;
        int pidfd = -EBADF, r;
        long pid;

        r = place_take(spawner, &place);
        if (r < 0)
                return r;
        place->number = ++spawner->n_started;
        place->parent = getpid();
        place->limit_raised = spawner->limit_raised;
        place->descriptors = spawner->descriptors;
        place->user = spawner->user;
        place->request = *request;
        __atomic_store_n(&place->occupied, 1, __ATOMIC_RELEASE);

        arguments.pidfd = (uint64_t) (uintptr_t) &pidfd;
        arguments.child_tid = (uint64_t) (uintptr_t) &place->occupied;
        if (CHILD_SHARES_MEMORY) {
                arguments.flags |= CLONE_VM;
                arguments.stack = (uint64_t) (uintptr_t) (place + 1);
                arguments.stack_size = PLACE_SIZE - sizeof(*place);
        }
        if (request->cgroup_fd >= 0) {
                arguments.flags |= CLONE_INTO_CGROUP;
                arguments.cgroup = (uint64_t) request->cgroup_fd;
        }
        pid = clone_child(spawner, &arguments, place, &pidfd);
        if (pid < 0) {
                place->occupied = 0;
                return (int) pid;
        }
        *ret = (struct spawned){
                .pid = (pid_t) pid, .pidfd = pidfd, .place = place, .number = place->number
        };
        return 0;
}

bool spawned_has_left(const struct spawned *spawned) {
        const struct spawn_place *place = spawned->place;

        return place->number != spawned->number || (!place_is_occupied(place) && place->error == 0);
}

int spawned_result(const struct spawned *spawned, enum spawn_step *ret_step) {
        struct spawn_place *place = spawned->place;
        int error;

        if (place->number != spawned->number)
                return 0;
        /* Where memory is not shared the kernel has not cleared it. */
        place->occupied = 0;
        error = __atomic_exchange_n(&place->error, 0, __ATOMIC_ACQUIRE);
        *ret_step = place->step;
        return -error;
}
