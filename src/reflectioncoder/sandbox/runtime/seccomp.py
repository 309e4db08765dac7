"""The system-call filter: what no program needs and what Landlock and namespaces do not cover is refused.

A refused call fails with EPERM (ENOSYS where the C library then falls back), so that programs see an error, not a crash. Calls
newer than this table are unknown to us and fail with ENOSYS. Another architecture's calls (32 bit, x32) kill the process.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

from reflectioncoder.sandbox.runtime import kernel

_NEWEST = 470  # the largest number of the tables below and of Linux 6.17; anything above is unknown
_NEW_NAMESPACES = 0x7E020080  # the CLONE_NEW* flags

# name: (x86_64, aarch64); None where the architecture has no such call. Without an entry in the tables below: always refused.
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # other processes and their memory
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448), "perf_event_open": (298, 241),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
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
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "fanotify_init": (300, 262),
    # parts of the kernel with a large attack surface
    "bpf": (321, 280), "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "modify_ldt": (154, None),
    "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "uselib": (134, None), "vmsplice": (278, 75),
    # the machine
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "syslog": (103, 116), "sethostname": (170, 161), "setdomainname": (171, 162), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "iopl": (172, None), "ioperm": (173, None),
    "vhangup": (153, 58), "personality": (135, 92),
}  # fmt: skip

# Refused without private mounts, where they could touch what others own: Landlock does not know these (as of ABI 7).
_METADATA: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setxattrat": (463, 463),
    "removexattrat": (466, 466), "file_setattr": (469, 469),
    # watching what others do with files
    "inotify_init": (253, None), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
    # leaving the process group, by which everything is killed there
    "setsid": (112, 157), "setpgid": (109, 154),
}  # fmt: skip

# Allowed for the process itself only: the argument that names a process must be 0 (`own`: or its own number).
_SELF_ONLY: dict[str, tuple[tuple[int | None, int | None], int]] = {
    "prlimit64": ((302, 261), 0), "sched_setaffinity": ((203, 122), 0), "sched_setparam": ((142, 118), 0),
    "sched_setscheduler": ((144, 119), 0), "sched_setattr": ((314, 274), 0),
}  # fmt: skip
# The same with a kind before it: one process, not a group or all of a user.
_SELF_ONLY_BY_KIND: dict[str, tuple[tuple[int | None, int | None], int]] = {
    "setpriority": ((141, 140), 0), "ioprio_set": ((251, 30), 1),
}  # fmt: skip
# Pairs of connected Unix stream sockets only: one that takes datagrams could send to any path.
_SOCKETPAIR, _UNIX, _STREAM = (53, 199), 1, 1
_SIGNALS: dict[str, tuple[tuple[int | None, int | None], int]] = {
    "kill": ((62, 129), 0), "tkill": ((200, 130), 0), "tgkill": ((234, 131), 0), "rt_sigqueueinfo": ((129, 138), 0),
    "rt_tgsigqueueinfo": ((297, 240), 0),
}  # fmt: skip
_PIDFD_SEND_SIGNAL = (424, 424)
_CLONE, _CLONE3, _PRCTL, _IOCTL = (56, 220), (435, 435), (157, 167), (16, 29)
_FCNTL = (72, 25)
# Questions about terminals and pipes, and two flags of descriptors. Others change files through a descriptor that may only read
# (FS_IOC_SETFLAGS), or type into terminals.
_ALLOWED_IOCTLS = (0x5401, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# F_SETOWN, F_SETSIG, F_SETOWN_EX: signals by way of descriptors; F_SETLEASE, F_NOTIFY: hold up and watch writers.
_REFUSED_FCNTLS = (8, 10, 15, 1024, 1026)

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT, _RETURN, _AND = 0x20, 0x15, 0x25, 0x45, 0x06, 0x54
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def supported() -> bool:
    return platform.machine() in _ARCHITECTURES


def _argument(index: int) -> int:
    """Offset of the low half of a system call's argument in `struct seccomp_data`, little endian."""
    return 16 + 8 * index


def _each(numbers: tuple[int, ...], then: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    return [step for number in numbers for step in ((_JUMP_EQUAL, 0, 1, number), then)]


def _refused_calls(private_mounts: bool) -> dict[str, tuple[int | None, int | None]]:
    return _NUMBERS if private_mounts else {**_NUMBERS, **_METADATA}


def filter_program(private_mounts: bool, own_pid: int | None) -> bytes:
    """The BPF program.

    Args:
        private_mounts: the program sees no file system but its own; it may then change modes and times.
        own_pid: signals may go to this process only (no pid namespace and no Landlock scope confines them); None: anywhere.
    """
    column, architecture = _ARCHITECTURES[platform.machine()]
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_JUMP_GREATER, 0, 1, _NEWEST),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)

    def on(numbers: tuple[int | None, int | None], *block: tuple[int, int, int, int]) -> None:
        if numbers[column] is not None:
            code.append((_JUMP_EQUAL, 0, len(block), numbers[column] or 0))
            code.extend(block)

    for numbers in _refused_calls(private_mounts).values():
        on(numbers, refuse)
    on(_CLONE3, (_RETURN, 0, 0, _ERRNO | errno.ENOSYS))
    on(_CLONE, (_LOAD, 0, 0, _argument(0)), (_JUMP_ANY_BIT, 0, 1, _NEW_NAMESPACES), refuse, allow)
    on(_PRCTL, (_LOAD, 0, 0, _argument(0)), (_JUMP_EQUAL, 0, 1, kernel.PR_SET_PDEATHSIG), refuse, allow)
    on(_IOCTL, (_LOAD, 0, 0, _argument(1)), *_each(_ALLOWED_IOCTLS, allow), refuse)
    on(_FCNTL, (_LOAD, 0, 0, _argument(1)), *_each(_REFUSED_FCNTLS, refuse), allow)
    for numbers, index in _SELF_ONLY.values():
        on(numbers, (_LOAD, 0, 0, _argument(index)), (_JUMP_EQUAL, 1, 0, 0), refuse, allow)
    for numbers, kind in _SELF_ONLY_BY_KIND.values():
        own = (_LOAD, 0, 0, _argument(1)), (_JUMP_EQUAL, 1, 0, 0)
        on(numbers, (_LOAD, 0, 0, _argument(0)), (_JUMP_EQUAL, 1, 0, kind), refuse, *own, refuse, allow)
    stream = (_LOAD, 0, 0, _argument(1)), (_AND, 0, 0, 0xF), (_JUMP_EQUAL, 1, 0, _STREAM)
    on(_SOCKETPAIR, (_LOAD, 0, 0, _argument(0)), (_JUMP_EQUAL, 1, 0, _UNIX), refuse, *stream, refuse, allow)
    if own_pid is not None:
        on(_PIDFD_SEND_SIGNAL, refuse)
        for numbers, index in _SIGNALS.values():
            on(numbers, (_LOAD, 0, 0, _argument(index)), (_JUMP_EQUAL, 1, 0, own_pid), refuse, allow)
    code.append(allow)
    return b"".join(struct.pack("=HBBI", *step) for step in code)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def install(program: bytes) -> None:
    """Filter this process and everything that it starts from now on. Needs no-new-privileges."""
    kernel.filter_system_calls(ctypes.byref(_Program(len(program) // 8, program)))
