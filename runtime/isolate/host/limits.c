/* host/limits.c - what the child may not do: limits, then a filter over its system calls.
 *
 * The filter allows what its turns, malloc and the pipe need, by number; memory cannot be made executable any more.
 * While the library is loaded, and with it whatever it runs then, files may be read as well (those that files.c left)
 * and code mapped, and the next filter put on, which only takes away. Everything else, tracing and reading of other
 * processes among it, ends the process with SIGSYS, which the node tells from other ends. What runs while the library
 * is loaded can keep the next filter from being put on, so nothing may rest on that one alone.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/isolate/host/host.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "which system calls has this machine?"
#endif

static bool limit(__rlimit_resource_t what, uint64_t soft, uint64_t hard)
{
    return setrlimit(what, &(struct rlimit){.rlim_cur = soft, .rlim_max = hard}) == 0;
}

stoa_err stoa_host_limit(uint64_t memory_bytes, uint64_t cpu_s, int parent)
{
    bool done = limit(RLIMIT_AS, memory_bytes, memory_bytes) && limit(RLIMIT_CPU, cpu_s, cpu_s + 1) &&
                limit(RLIMIT_CORE, 0, 0) && limit(RLIMIT_NPROC, 0, 0) && limit(RLIMIT_NOFILE, 16, 16) &&
                limit(RLIMIT_FSIZE, 64 << 20, 64 << 20) && limit(RLIMIT_MEMLOCK, 0, 0);
    done = done && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 &&
           prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
    return done && getppid() == parent ? STOA_OK : STOA_E_IO;
}

#define DATA(member) ((uint32_t)offsetof(struct seccomp_data, member))
#define LOAD(at)     BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (at))
#define KILL         BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define ALLOW        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define MAY(name)    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), ALLOW
/* The third argument has not this bit; its upper half means nothing to the kernel. */
#define MAY_WITHOUT(name, bit)                                                                                         \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4), LOAD(DATA(args[2])),                                       \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bit), 0, 1), KILL, ALLOW

#ifdef __NR_poll
#define MAY_POLL MAY(ppoll), MAY(poll)
#else
#define MAY_POLL MAY(ppoll)
#endif
#define HERE LOAD(DATA(arch)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0), KILL, LOAD(DATA(nr))
#define TURNS                                                                                                          \
    MAY(recvmsg), MAY(sendto), MAY_POLL,                              /* the pipe */                                   \
        MAY(futex), MAY(brk), MAY(munmap), MAY(mremap), MAY(madvise), /* malloc */                                     \
        MAY(clock_gettime), MAY(getrandom), MAY(sched_yield), MAY(rt_sigreturn), MAY(restart_syscall), MAY(exit), MAY(exit_group)

/* On every thread that there is. */
static stoa_err put_on(struct sock_filter *rules, size_t count)
{
    struct sock_fprog program = {.len = (unsigned short)count, .filter = rules};
    return syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0 ? STOA_OK : STOA_E_IO;
}

stoa_err stoa_host_seal_for_loading(void)
{
    static struct sock_filter rules[] = {
        HERE, TURNS,
        MAY_WITHOUT(openat, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND), MAY(read), MAY(pread64), MAY(newfstatat), MAY(fstat),
        MAY(close), MAY(mmap), MAY(mprotect), MAY(seccomp),
        KILL,
    };
    return put_on(rules, sizeof rules / sizeof rules[0]);
}

stoa_err stoa_host_seal(void)
{
    static struct sock_filter rules[] = {HERE, TURNS, MAY_WITHOUT(mmap, PROT_EXEC), MAY_WITHOUT(mprotect, PROT_EXEC), KILL};
    return put_on(rules, sizeof rules / sizeof rules[0]);
}
