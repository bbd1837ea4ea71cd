//! System calls: seccomp. What a daemon here never does is refused with EPERM, all else is let through.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// Other programs, other processes, mounts, the kernel itself, ways round Landlock and round this filter; and what
/// Landlock leaves to a process: owners, modes, attributes and times of any file of its user, memory that programs share
/// by numbers, and how other programs of its user run.
const NEVER: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_setpgid,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_personality,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// The same numbers on all machines; not every version of the library names them: fchmodat2, setxattrat, removexattrat,
/// file_setattr.
const NEVER_OF_LATE: [c_long; 4] = [452, 463, 466, 469];

/// A call that carries this bit takes its number from another table, which the kernel may have as well.
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;
/// Numbers of that table alone: execve, ptrace, kexec_load, process_vm_readv, process_vm_writev, execveat, ioctl, sendmsg,
/// sendmmsg.
#[cfg(target_arch = "x86_64")]
const X32_ALONE: [c_long; 9] = [520, 521, 528, 539, 540, 545, 514, 518, 538];

/// As F_SETOWN, of a thread or a group of processes.
const F_SETOWN_EX: i32 = 15;

/// What `socket` makes: the bits of its type beside flags.
const TYPE_BITS: u64 = 0xf;
/// Connects and sends in one call, which Landlock does not see.
const FAST_OPEN: u64 = 0x2000_0000;
/// Namespaces that `clone` can make: of mounts, groups of processes, names, messages, users, processes, networks.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Filters can be made for some machines.
const MACHINE: &str = if cfg!(target_arch = "x86_64") {
    "x86_64"
} else if cfg!(target_arch = "aarch64") {
    "aarch64"
} else if cfg!(target_arch = "riscv64") {
    "riscv64"
} else {
    "none of these"
};

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

pub(super) fn restrict(may_listen: bool) -> Result<(), Error> {
    let refused = u32::try_from(libc::EPERM).unwrap_or(1);
    let mut rules = rules()?;
    if !may_listen {
        // Without a port of its own a socket takes any.
        rules.insert(libc::SYS_listen, Vec::new());
    }
    apply_filter(&program(rules, refused)?)?;
    // Its flags lie in memory, where no filter sees them. Whoever is told that there is no such call takes `clone`.
    refuse_as_unknown(libc::SYS_clone3)
}

/// As if the kernel did not have this call.
pub(super) fn refuse_as_unknown(call: c_long) -> Result<(), Error> {
    let unknown = u32::try_from(libc::ENOSYS).unwrap_or(38);
    apply_filter(&program(Rules::from([(call, Vec::new())]), unknown)?)
}

fn program(rules: Rules, errno: u32) -> Result<BpfProgram, BackendError> {
    let machine = TargetArch::try_from(MACHINE)?;
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), machine)?.try_into()
}

fn rules() -> Result<Rules, BackendError> {
    let mut rules: Rules = NEVER.iter().copied().chain(NEVER_OF_LATE).map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_socket, sockets()?);
    for (call, flags_at) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
        rules.insert(call, vec![when(&[(flags_at, MaskedEq(FAST_OPEN), FAST_OPEN)])?]);
    }
    let made = NAMESPACES.iter().map(|&flag| u64::from(flag.unsigned_abs()));
    let mut copies: Vec<_> = made.map(|flag| when(&[(0, MaskedEq(flag), flag)])).collect::<Result<_, _>>()?;
    // Threads alone: another process could keep a mount alive that its keeper has ended.
    copies.push(when(&[(0, MaskedEq(u64::from(libc::CLONE_THREAD.unsigned_abs())), 0)])?);
    rules.insert(libc::SYS_clone, copies);
    // Typing into the terminal that the program was started in, or taking it.
    let typing = [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSPGRP, libc::TIOCSCTTY];
    let typing = typing.map(|request| when(&[(1, Eq, request & 0xffff_ffff)]));
    rules.insert(libc::SYS_ioctl, typing.into_iter().collect::<Result<_, _>>()?);
    // Signals to others, by the kernel as well, and limits of theirs.
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![when(&[(0, Ne, std::process::id().into())])?]);
    }
    rules.insert(libc::SYS_prlimit64, vec![when(&[(0, Ne, 0)])?]);
    let owners = [libc::F_SETOWN, F_SETOWN_EX].map(|what| when(&[(1, Eq, u64::from(what.unsigned_abs()))]));
    rules.insert(libc::SYS_fcntl, owners.into_iter().collect::<Result<_, _>>()?);
    // Times of files by name: those that are open are their own.
    let named = SeccompCondition::new(1, SeccompCmpArgLen::Qword, Ne, 0)?;
    rules.insert(libc::SYS_utimensat, vec![SeccompRule::new(vec![named])?]);
    #[cfg(target_arch = "x86_64")]
    {
        let others: Vec<_> = rules.keys().map(|call| call | X32).collect();
        rules.extend(others.into_iter().chain(X32_ALONE.map(|call| call | X32)).map(|call| (call, Vec::new())));
    }
    Ok(rules)
}

/// Sockets other than TCP and UDP: other protocols pass by Landlock.
fn sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let number = |of: i32| u64::from(of.unsigned_abs());
    let is_none_of = |argument, of: &[i32]| {
        let all: Vec<_> = of.iter().map(|&of| (argument, Ne, number(of))).collect();
        when(&all)
    };
    let other_types = (0..=TYPE_BITS).filter(|&of| of != number(libc::SOCK_STREAM) && of != number(libc::SOCK_DGRAM));
    let mut rules: Vec<_> =
        other_types.map(|of| when(&[(1, MaskedEq(TYPE_BITS), of)])).collect::<Result<_, BackendError>>()?;
    rules.push(is_none_of(0, &[libc::AF_INET, libc::AF_INET6])?);
    rules.push(is_none_of(2, &[0, libc::IPPROTO_TCP, libc::IPPROTO_UDP])?);
    Ok(rules)
}

/// A rule that holds if all of these do: argument, comparison, value.
fn when(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, BackendError> {
    let all = conditions.iter().map(|(argument, compare, value)| {
        SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, compare.clone(), *value)
    });
    SeccompRule::new(all.collect::<Result<_, _>>()?)
}
