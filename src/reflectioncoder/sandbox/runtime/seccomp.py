"""Builds the system-call filter, which refuses calls that no program needs and that Landlock and namespaces do not cover.

A refused call fails with EPERM (ENOSYS if the C library then falls back), so that programs see an error, not a crash. Calls newer than
this table fail with ENOSYS. Calls of another architecture (32 bit, x32) kill the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from reflectioncoder.sandbox.runtime import kernel

_NEWEST = 470  # the largest number in the tables below and in Linux 6.17; anything above is unknown
_NEW_NAMESPACES = 0x7E020080  # the CLONE_NEW* flags

# name: (x86_64, aarch64); None if the architecture has no such call. These are always refused, unless a table below says otherwise.
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # other processes and their memory
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448), "perf_event_open": (298, 241),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # the program's share of the processors, which own time is measured against
    "sched_setaffinity": (203, 122), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    # the page cache, which all programs share: querying it, and adding or dropping pages
    "mincore": (27, 232), "cachestat": (451, 451), "fadvise64": (221, 223), "readahead": (187, 213), "sync_file_range": (277, 84),
    "sync": (162, 81), "syncfs": (306, 267),
    # resources with a fixed number per machine or per user
    "io_setup": (206, 0), "inotify_init": (253, None), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    # unlimited kernel memory: rules of rule sets, larger socket buffers
    "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446),
    "setsockopt": (54, 208),
    # the network and every other socket; socketpair stays
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    # memory and queues that outlive the program or escape its limits
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191),
    "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # namespaces, mounts, roots
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "mknod": (133, None), "mknodat": (259, 33),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "statmount": (457, 457), "listmount": (458, 458),
    # kernel subsystems with a large attack surface
    "bpf": (321, 280), "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "modify_ldt": (154, None),
    "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "uselib": (134, None), "vmsplice": (278, 75),
    # machine-wide operations
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "syslog": (103, 116), "sethostname": (170, 161), "setdomainname": (171, 162), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "iopl": (172, None), "ioperm": (173, None),
    "vhangup": (153, 58), "personality": (135, 92),
}  # fmt: skip

# Refused without private mounts, where they could change files of others: Landlock (as of ABI 7) does not cover them.
_METADATA: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setxattrat": (463, 463),
    "removexattrat": (466, 466), "file_setattr": (469, 469),
    # leaving the process group, which is the means of killing everything there
    "setsid": (112, 157), "setpgid": (109, 154),
}  # fmt: skip

# Refused there with ENOTSUP, which programs that copy files with their attributes ignore.
_ATTRIBUTES: dict[str, tuple[int | None, int | None]] = {
    "getxattr": (191, 8), "lgetxattr": (192, 9), "fgetxattr": (193, 10), "listxattr": (194, 11), "llistxattr": (195, 12),
    "flistxattr": (196, 13), "getxattrat": (464, 464), "listxattrat": (465, 465), "file_getattr": (468, 468),
}  # fmt: skip

# Allowed only for the process itself: the argument with a process id must be 0.
_SELF_ONLY: dict[str, tuple[tuple[int | None, int | None], int]] = {"prlimit64": ((302, 261), 0)}
# The same if no namespace hides other processes; the process's own id is allowed too.
_QUESTIONS: dict[str, tuple[tuple[int | None, int | None], int]] = {
    "getpgid": ((121, 155), 0), "getsid": ((124, 156), 0), "getpriority": ((140, 141), 1), "ioprio_get": ((252, 31), 1),
    "sched_getscheduler": ((145, 120), 0), "sched_getparam": ((143, 121), 0), "sched_getattr": ((315, 275), 0),
    "sched_rr_get_interval": ((148, 127), 0), "get_robust_list": ((274, 100), 0),
}  # fmt: skip
_GET_AFFINITY = (204, 123)  # the C library calls it for threads, and does without it after ENOSYS
_PIDFD_OPEN = (434, 434)
_CLOCKS = ((228, 113), (229, 114), (230, 115), (222, 107))  # clock_gettime, clock_getres, clock_nanosleep, timer_create
_FIRST_OTHER_CLOCK, _FIRST_OWN_CLOCK = 0x80000000, 0xFFFFFFF8  # clock ids in between are derived from process ids
_SETPRIORITY = (141, 140)
_PREADV2, _MMAP = (327, 286), (9, 222)
_MAP_SHARED, _MAP_ANONYMOUS = 1, 0x20
# Anonymous shared memory stays allocated after unmapping, so the watch counts this much for each mapping of which it sees a part.
# /dev/zero provides such memory too, but only with write access to it.
MAX_SHARED_BYTES = 2**20
OWN_PID = 0x7FFFFFF1  # placeholder for the process's own id, which is unknown when the filter is built
# Only pairs of connected Unix stream sockets: a datagram socket could send to any path.
_SOCKETPAIR, _UNIX, _STREAM = (53, 199), 1, 1
_SIGNALS: dict[str, tuple[tuple[int | None, int | None], int]] = {
    "kill": ((62, 129), 0), "tkill": ((200, 130), 0), "tgkill": ((234, 131), 0), "rt_sigqueueinfo": ((129, 138), 0),
    "rt_tgsigqueueinfo": ((297, 240), 0),
}  # fmt: skip
_PIDFD_SEND_SIGNAL = (424, 424)
_CLONE, _CLONE3, _PRCTL, _IOCTL = (56, 220), (435, 435), (157, 167), (16, 29)
_FCNTL = (72, 25)
# Queries about terminals and pipes, and two descriptor flags. Others change files through a read-only descriptor (FS_IOC_SETFLAGS), or
# type into terminals.
_ALLOWED_IOCTLS = (0x5401, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# F_SETOWN, F_SETSIG, F_SETOWN_EX: signals through descriptors; F_SETLEASE, F_NOTIFY: delaying and watching writers; F_SETPIPE_SZ: the
# memory limit for pipes is shared by all processes of a user.
_REFUSED_FCNTLS = (8, 10, 15, 1024, 1026, 1031)

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT, _RETURN, _AND = 0x20, 0x15, 0x25, 0x45, 0x06, 0x54
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def _argument(index: int) -> int:
    """Return the offset of the low half of a system call's argument in `struct seccomp_data`, little endian."""
    return 16 + 8 * index


def _upper_half(index: int) -> int:
    return _argument(index) + 4


def _each(numbers: tuple[int, ...], then: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    return [step for number in numbers for step in ((_JUMP_EQUAL, 0, 1, number), then)]


def _refused_calls(private_mounts: bool) -> dict[str, tuple[int | None, int | None]]:
    return _NUMBERS if private_mounts else {**_NUMBERS, **_METADATA}


Step = tuple[int, int, int, int]
_REFUSE: Step = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
_PASS: Step = (_RETURN, 0, 0, _ALLOW)


def _fail(number: int) -> Step:
    return (_RETURN, 0, 0, _ERRNO | number)


class _Code:
    """A BPF program under construction: rules that test a system call's number and say what to do with the call."""

    def __init__(self) -> None:
        self._column, architecture = _ARCHITECTURES[platform.machine()]
        self.steps: list[Step] = [
            (_LOAD, 0, 0, 4),
            (_JUMP_EQUAL, 1, 0, architecture),
            (_RETURN, 0, 0, _KILL),
            (_LOAD, 0, 0, 0),
            (_JUMP_GREATER, 0, 1, _NEWEST),
            _fail(errno.ENOSYS),
        ]

    def on(self, numbers: tuple[int | None, int | None], *block: Step) -> None:
        number = numbers[self._column]
        if number is not None:
            self.steps += [(_JUMP_EQUAL, 0, len(block), number), *block]


def _only(index: int, *values: int, otherwise: Step = _REFUSE) -> tuple[Step, ...]:
    """Allow a call if an argument is one of the values."""
    return ((_LOAD, 0, 0, _argument(index)), *_each(values, _PASS), otherwise)


def _all_but(index: int, *values: int) -> tuple[Step, ...]:
    return ((_LOAD, 0, 0, _argument(index)), *_each(values, _REFUSE), _PASS)


def filter_program(private_mounts: bool, own_pid: int | None) -> bytes:
    """Return the BPF program.

    Args:
        private_mounts: the program sees only its own file system and processes, so it may change modes and times, and query processes.
        own_pid: signals may go only to this process (neither a pid namespace nor a Landlock scope confines them); None: anywhere.
    """
    code = _Code()
    for numbers in _refused_calls(private_mounts).values():
        code.on(numbers, _REFUSE)
    code.on(_CLONE3, _fail(errno.ENOSYS))
    code.on(_CLONE, (_LOAD, 0, 0, _argument(0)), (_JUMP_ANY_BIT, 0, 1, _NEW_NAMESPACES), _REFUSE, _PASS)
    # A process that is not dumpable hides its memory from the watch, so PR_SET_DUMPABLE may only be set to 1.
    dumpable = (_JUMP_EQUAL, 0, 3, kernel.PR_SET_DUMPABLE), (_LOAD, 0, 0, _argument(1)), (_JUMP_EQUAL, 1, 0, 1), _REFUSE
    code.on(_PRCTL, (_LOAD, 0, 0, _argument(0)), *_each((kernel.PR_SET_PDEATHSIG,), _REFUSE), *dumpable, _PASS)
    code.on(_IOCTL, *_only(1, *_ALLOWED_IOCTLS))
    code.on(_FCNTL, *_all_but(1, *_REFUSED_FCNTLS))
    for numbers, index in _SELF_ONLY.values():
        code.on(numbers, *_only(index, 0))
    # setpriority is allowed only as a no-op: for the process itself, with the niceness that it has, as `os.nice(0)` asks.
    same = (0, 0, os.getpriority(os.PRIO_PROCESS, 0) & 0xFFFFFFFF)
    nothing = [step for index in range(3) for step in ((_LOAD, 0, 0, _argument(index)), (_JUMP_EQUAL, 1, 0, same[index]), _REFUSE)]
    code.on(_SETPRIORITY, *nothing, _PASS)
    stream = (_LOAD, 0, 0, _argument(1)), (_AND, 0, 0, 0xF), (_JUMP_EQUAL, 1, 0, _STREAM)
    code.on(_SOCKETPAIR, (_LOAD, 0, 0, _argument(0)), (_JUMP_EQUAL, 1, 0, _UNIX), _REFUSE, *stream, _REFUSE, _PASS)
    code.on(_PREADV2, *_only(5, 0, otherwise=_fail(errno.EOPNOTSUPP)))  # RWF_NOWAIT reveals what is in the page cache
    _limit_shared_memory(code)
    if not private_mounts:
        _refuse_questions(code)
        if own_pid is None:  # Landlock confines real signals; signal 0 queries existence
            exists = (_LOAD, 0, 0, _argument(1)), (_JUMP_EQUAL, 1, 0, 0), _PASS
            code.on(_SIGNALS["kill"][0], *exists, *_only(0, 0, OWN_PID))
    if own_pid is not None:
        code.on(_PIDFD_SEND_SIGNAL, _REFUSE)
        for numbers, index in _SIGNALS.values():
            code.on(numbers, *_only(index, own_pid))
    code.steps.append(_PASS)
    return b"".join(struct.pack("=HBBI", *step) for step in code.steps)


def _limit_shared_memory(code: _Code) -> None:
    refuse = _fail(errno.ENOMEM)
    code.on(
        _MMAP,
        (_LOAD, 0, 0, _argument(3)),
        (_JUMP_ANY_BIT, 0, 1, _MAP_ANONYMOUS),
        (_JUMP_ANY_BIT, 1, 0, _MAP_SHARED),
        _PASS,
        (_LOAD, 0, 0, _upper_half(1)),
        (_JUMP_EQUAL, 1, 0, 0),
        refuse,
        (_LOAD, 0, 0, _argument(1)),
        (_JUMP_GREATER, 0, 1, MAX_SHARED_BYTES),
        refuse,
        _PASS,
    )


def _refuse_questions(code: _Code) -> None:
    """Refuse queries about other processes and about unreadable files."""
    for numbers in _ATTRIBUTES.values():
        code.on(numbers, _fail(errno.ENOTSUP))
    for numbers, index in _QUESTIONS.values():
        code.on(numbers, *_only(index, 0, OWN_PID))
    code.on(_GET_AFFINITY, *_only(0, 0, OWN_PID, otherwise=_fail(errno.ENOSYS)))
    code.on(_PIDFD_OPEN, *_only(0, OWN_PID))
    clock = (_LOAD, 0, 0, _argument(0)), (_JUMP_GREATER, 0, 2, _FIRST_OTHER_CLOCK - 1), (_JUMP_GREATER, 1, 0, _FIRST_OWN_CLOCK - 1)
    for numbers in _CLOCKS:
        code.on(numbers, *clock, _fail(errno.EINVAL), _PASS)


def for_process(program: bytes, pid: int) -> bytes:
    """Return the program with the placeholder replaced by its process's id."""
    return program.replace(struct.pack("=I", OWN_PID), struct.pack("=I", pid))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def install(program: bytes) -> None:
    """Install the filter for this process and its future children. Requires no-new-privileges."""
    kernel.filter_system_calls(ctypes.byref(_Program(len(program) // 8, program)))
