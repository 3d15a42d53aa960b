/*
 * What the kernel refuses to a program that gets a mail, by a seccomp filter that it cannot take
 * off (seccomp(2)): to leave its process group, because the group is what is killed when its time
 * is over; to look into other processes; and ways into the kernel that no reader of mail needs.
 * Calls of another architecture, whose numbers mean something else, are refused all together.
 *
 * Runs in the child between fork() and execve(), where only async-signal-safe calls are allowed.
 */
#include "bouncer/actions_private.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define NUMBERS_END 0x40000000u /* those of x32 begin here */
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define NUMBERS_END 0x80000000u
#endif

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, (value))
#define REFUSE(number)                                                                             \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1),                                           \
        ANSWER(SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA))

bool action_sandbox_enter(void)
{
#ifdef ARCHITECTURE
    struct sock_filter filter[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, NUMBERS_END, 0, 1),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        REFUSE(SYS_setsid),
        REFUSE(SYS_setpgid),
        REFUSE(SYS_ptrace),
        REFUSE(SYS_process_vm_readv),
        REFUSE(SYS_process_vm_writev),
        REFUSE(SYS_pidfd_getfd),
        REFUSE(SYS_unshare),
        REFUSE(SYS_setns),
        REFUSE(SYS_mount),
        REFUSE(SYS_bpf),
        REFUSE(SYS_userfaultfd),
        REFUSE(SYS_perf_event_open),
        REFUSE(SYS_io_uring_setup),
        REFUSE(SYS_keyctl),
        ANSWER(SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {ARRAY_LEN(filter), filter};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
#else
    return true; /* the numbers of this machine's calls are not known here */
#endif
}
