"""Calls, through ctypes, the Linux system calls for confinement that Python lacks: namespaces, mounts, Landlock, capabilities.

Every function raises OSError with the name of the call. Numbers are from the kernel headers (uapi) for x86_64 and aarch64.
"""

from __future__ import annotations

import ctypes
import os
import platform

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP = 1, 4, 8, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWCGROUP = 0x10000000, 0x20000000, 0x40000000, 0x02000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 1, 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
CAP_DAC_READ_SEARCH = 2

# Landlock: rights on files, by the ABI that introduced them.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
_FS_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15
_RULESET_ATTR_SIZE = {1: 8, 4: 16, 6: 24}
_NET_BIND_AND_CONNECT = 3
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3

_ARM = platform.machine() == "aarch64"
_CLONE = 220 if _ARM else 56
_PIVOT_ROOT = 41 if _ARM else 155
_CAPSET = 91 if _ARM else 126
_MOUNT_SETATTR = 442
_LANDLOCK_CREATE, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT = 444, 445, 446

_CAP_HEADER, _CAP_DATA = ctypes.c_uint32 * 2, ctypes.c_uint32 * 6  # created once: a new type is slow in a fresh process

# PyDLL keeps the GIL: a raw clone made without it could record another holder in the child.
_libc = ctypes.PyDLL(None, use_errno=True)


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _syscall(name: str, number: int, *arguments: object) -> int:
    # Pass each argument as a full register: ctypes passes a bare int as 32 bits and leaves the upper half undefined.
    return _checked(name, _libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))


def prctl(option: int, *arguments: object) -> None:
    values = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in (*arguments, 0, 0, 0, 0)]
    _checked("prctl", _libc.prctl(option, *values[:4]))


def filter_system_calls(program: object) -> None:
    """Install a system-call filter. `program`: reference to a `struct sock_fprog`."""
    prctl(PR_SET_SECCOMP, 2, program)


def unshare(flags: int) -> None:
    _checked("unshare", _libc.unshare(flags))


def fork_into(flags: int) -> int:
    """Fork into new namespaces; return 0 in the child. Only for single-threaded processes."""
    pid = _syscall("clone", _CLONE, flags | 17, 0, 0, 0, 0)  # 17: SIGCHLD
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()  # as os.fork() does: locks, thread state, random's seed
    return pid


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    def text(value: str | None) -> bytes | None:
        return None if value is None else os.fsencode(value)

    result = _libc.mount(text(source), text(target), text(kind), ctypes.c_ulong(flags), text(data))
    _checked(f"mount {target}", result)


def lock_mount(target: str, attributes: int, recursive: bool = True) -> None:
    """Add attributes (read-only, no setuid) to a mount and all below it."""
    attr = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    _syscall("mount_setattr", _MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), flags, attr, ctypes.sizeof(attr))


def pivot_into(new_root: str) -> None:
    """Make `new_root` (a mount point) the root and detach the old one."""
    os.chdir(new_root)
    _syscall("pivot_root", _PIVOT_ROOT, b".", b".")
    _checked("umount2", _libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def set_capabilities(permitted: int = 0) -> None:
    """Set the permitted, effective and inheritable capabilities to `permitted`, a bit mask below 2**32."""
    _syscall("capset", _CAPSET, _CAP_HEADER(0x20080522, 0), _CAP_DATA(permitted, permitted, permitted, 0, 0, 0))


def keep_capability_over_exec(capability: int) -> None:
    prctl(PR_CAP_AMBIENT, 2, capability)


def landlock_abi() -> int:
    """Return the kernel's Landlock ABI version; 0 without Landlock."""
    try:
        return _syscall("landlock", _LANDLOCK_CREATE, None, 0, 1)
    except OSError:
        return 0


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_ruleset(readable: list[str], writable: list[str], devices: list[str], listable: list[str] | None = None) -> int:
    """Make a ruleset: read and execute below `readable`, all rights below `writable`, read and write `devices`, list below `listable`.

    It forbids TCP (ABI 4), and signals to and abstract sockets of outside processes (ABI 6). Missing paths are skipped.
    """
    abi = landlock_abi()
    rights = sum(bits for since, bits in _FS_RIGHTS_BY_ABI.items() if since <= abi)
    attr = (ctypes.c_uint64 * 3)(rights, _NET_BIND_AND_CONNECT, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)
    size = max(size for since, size in _RULESET_ATTR_SIZE.items() if since <= abi)
    ruleset = _syscall("landlock_create_ruleset", _LANDLOCK_CREATE, attr, size, 0)
    for paths, allowed in (
        (readable, EXECUTE | READ_FILE | READ_DIR),
        (writable, rights),
        (devices, READ_FILE | WRITE_FILE),
        (listable or [], READ_DIR),
    ):
        for path in paths:
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                within = allowed & rights if os.path.isdir(path) else allowed & rights & _FILE_RIGHTS
                rule = _PathBeneath(within, fd)
                _syscall("landlock_add_rule", _LANDLOCK_ADD_RULE, ruleset, 1, ctypes.byref(rule), 0)
            finally:
                os.close(fd)
    return ruleset


def landlock_restrict(ruleset: int) -> None:
    _syscall("landlock_restrict_self", _LANDLOCK_RESTRICT, ruleset, 0)
