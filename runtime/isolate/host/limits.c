/* host/limits.c - what the child may not do: limits, then a filter over its system calls.
 *
 * The filter allows what its turns, malloc and the pipe need, by number; memory cannot be made executable any more. Everything
 * else ends the process with SIGSYS, which the node tells from other ends.
 *
 * SPDX-License-Identifier: Apache-2.0 */
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
    done = done && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0;
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

stoa_err stoa_host_seal(void)
{
    static struct sock_filter rules[] = {
        LOAD(DATA(arch)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0), KILL,
        LOAD(DATA(nr)),
        MAY(recvmsg), MAY(sendto), MAY(ppoll),            /* the pipe */
#ifdef __NR_poll
        MAY(poll),
#endif
        MAY(futex), MAY(brk), MAY(munmap), MAY(mremap), MAY(madvise), /* malloc */
        MAY(clock_gettime), MAY(getrandom), MAY(sched_yield),
        MAY(rt_sigreturn), MAY(restart_syscall), MAY(exit), MAY(exit_group),
        MAY_WITHOUT(mmap, PROT_EXEC), MAY_WITHOUT(mprotect, PROT_EXEC),
        KILL,
    };
    struct sock_fprog program = {.len = sizeof rules / sizeof rules[0], .filter = rules};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 ? STOA_OK : STOA_E_IO;
}
