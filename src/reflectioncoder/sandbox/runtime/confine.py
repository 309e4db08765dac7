"""Confines the server and its programs, in two halves.

`enter_world` runs once, in the warm server, and does everything that is the same for all programs: namespaces without network, a
read-only root with the interpreter and the system's libraries, the Landlock rules. `confine_program` runs in every program's own
process before the program's first line: private process ids, /proc and disk, limits, the rules, the system-call filter.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from dataclasses import dataclass, field

from reflectioncoder.sandbox.runtime import kernel, seccomp

LINUX = sys.platform == "linux"
BOX = "/box"
WORK = "/box/work"
TMP = "/box/tmp"  # the program's disk if bound files lie below /tmp: /tmp links here
_BELOW_TMP = "/box/below-tmp"
_PROGRAM = f"{TMP}/.program"  # the folder on that disk that becomes WORK
_STACK_BYTES = 128 * 2**20  # a higher limit has no effect: the gap below the stack is fixed when the interpreter starts
_DEVICES = ("null", "zero", "full", "random", "urandom")
_LINKS = {"/tmp": WORK, "/dev/shm": WORK, "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0"}


@dataclass(frozen=True)
class World:
    """The configuration of the confinement. Made by `reflectioncoder.sandbox.isolation`, sent as JSON.

    Attributes:
        namespaces, landlock, seccomp: the mechanisms in use.
        box: a private host directory; programs without namespaces work in its subdirectory `work`.
        bind: directories and files that programs may read, at their own paths.
        hide: directories below `bind` that programs must not see (installed packages may include benchmark data).
        show: exceptions from `hide`.
        packages: the importable part of `show`.
        readable_proc: with namespaces, let programs read /proc.
        readable: `bind` without `hide` and with `show`, as a list for Landlock, which cannot exclude paths.
        user: (uid, gid) to run as if root starts the server; None otherwise.
        keep_read_search: the interpreter lies in a directory that `user` cannot enter; Landlock still limits what is read.
        cgroup_files: `cgroup.procs` files that the server writes to in order to join its control group.
    """

    namespaces: bool
    landlock: bool
    seccomp: bool
    box: str
    bind: list[str] = field(default_factory=list)
    hide: list[str] = field(default_factory=list)
    show: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    readable_proc: bool = False
    readable: list[str] = field(default_factory=list)
    user: tuple[int, int] | None = None
    keep_read_search: bool = False
    cgroup_files: list[str] = field(default_factory=list)

    @property
    def has_files_below_tmp(self) -> bool:
        return any(path.startswith("/tmp/") for path in (*self.bind, *self.show))

    @property
    def work(self) -> str:
        return WORK if self.namespaces else os.path.join(self.box, "work")


@dataclass
class Entered:
    """The state of the server after `enter_world`."""

    world: World
    ruleset: int = -1
    seccomp_program: bytes = b""


def enter_world(world: World) -> Entered:
    """Confine the server as far as possible for all programs at once. Raises OSError if this machine does not allow it."""
    entered = Entered(world)
    for path in world.cgroup_files:  # forked programs inherit the group; moving each one would cost milliseconds
        with open(path, "w") as handle:
            handle.write("0")
    if not LINUX:
        return entered
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    if world.namespaces:
        _enter_namespaces(world)
    if world.landlock:
        if world.namespaces:
            # Not /proc: its mount lists reveal the host. Listing its names and opening descriptors through it stays possible.
            readable = ["/"] if world.readable_proc else [f"/{name}" for name in os.listdir("/") if name != "proc"]
            entered.ruleset = kernel.landlock_ruleset(readable, [BOX], ["/dev/null"], listable=["/"])
        else:
            devices = [f"/dev/{name}" for name in _DEVICES]
            entered.ruleset = kernel.landlock_ruleset([*world.readable, *devices[1:]], [world.work], devices[:1])
    if world.seccomp and (world.namespaces or kernel.landlock_abi() >= 6):
        entered.seccomp_program = seccomp.filter_program(private_mounts=world.namespaces, own_pid=None)
    return entered


def _enter_namespaces(world: World) -> None:
    others = kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
    if world.user is not None:
        # Root builds the root file system (it may enter every directory), then continues as an ordinary user: the limit on
        # processes does not apply to root, not even inside a user namespace.
        kernel.unshare(kernel.CLONE_NEWNS)
        _build_root(world)
        os.setgroups([])
        os.setresgid(world.user[1], world.user[1], world.user[1])
        os.setresuid(world.user[0], world.user[0], world.user[0])
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # makes /proc/self accessible again
        _enter_user_namespace(others | kernel.CLONE_NEWNS)
    else:
        _enter_user_namespace(others | kernel.CLONE_NEWNS)
        _build_root(world)


def _enter_user_namespace(more: int) -> None:
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(kernel.CLONE_NEWUSER | more)
    for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as handle:
            handle.write(content)


def _build_root(world: World) -> None:
    """Build a new read-only root on a small tmpfs, with read-only binds of the files that programs may see."""
    root = world.box
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
    locked = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID
    links = dict(_LINKS)
    if world.has_files_below_tmp:
        links["/tmp"] = TMP
        os.makedirs(root + TMP)
        os.symlink(TMP[1:], root + "/tmp")  # relative, so that it is valid before the pivot
    for path in world.bind:
        target = root + path
        if os.path.islink(path):  # /bin → usr/bin
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.readlink(path), target)
            continue
        _bind(path, target)
        kernel.lock_mount(target, locked)
    hidden = [root + path for path in world.hide if os.path.isdir(root + path)]
    for target in hidden:
        kernel.mount("tmpfs", target, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
    for path in world.show:
        _bind(path, root + path)
        kernel.lock_mount(root + path, locked)
    for target in hidden:
        kernel.lock_mount(target, locked, recursive=False)
    if world.has_files_below_tmp:
        _bind(root + TMP, root + _BELOW_TMP)
        kernel.lock_mount(root + _BELOW_TMP, locked)
    _bind("/proc", root + "/proc")  # each program mounts its own over it; the kernel requires that one is already visible
    for name in _DEVICES:
        _bind(f"/dev/{name}", f"{root}/dev/{name}")
    os.makedirs(root + WORK)
    os.makedirs(root + "/etc", exist_ok=True)
    uid, gid = world.user or (os.getuid(), os.getgid())
    with open(root + "/etc/passwd", "w") as handle:
        handle.write(f"sandbox:x:{uid}:{gid}::{WORK}:/bin/sh\n")
    with open(root + "/etc/group", "w") as handle:
        handle.write(f"sandbox:x:{gid}:\n")
    for link, target in links.items():
        if not os.path.lexists(root + link):
            os.symlink(target, root + link)
    kernel.pivot_into(root)
    kernel.lock_mount("/", locked, recursive=False)


def _bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "a"):
            pass
    kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)


def fork_program(entered: Entered) -> int:
    """Fork the process of one program, with namespaces as process 1 of its own process namespace; return 0 in the child."""
    if entered.world.namespaces:
        return kernel.fork_into(kernel.CLONE_NEWPID | kernel.CLONE_NEWNS)
    return os.fork()


def confine_program(entered: Entered, limits: dict[str, float], *, hidden: bool = False) -> None:
    """Complete the confinement in the program's process, before the program runs. After an OSError, nothing may run.

    `hidden`: make this process not dumpable, so that the program's other processes cannot reach its memory and descriptors.
    """
    world = entered.world
    if world.cgroup_files:
        with open("/proc/self/oom_score_adj", "w") as handle:
            handle.write("1000")  # out of memory in the group kills the program, not the server
    if world.namespaces:
        flags = kernel.MS_NOSUID | kernel.MS_NODEV
        _mount_disk(world, flags, f"size={int(limits['disk_bytes'])},nr_inodes={int(limits['disk_files'])},mode=700")
        kernel.mount("proc", "/proc", "proc", flags | kernel.MS_NOEXEC | kernel.MS_RDONLY, "subset=pid")
    os.setsid()  # a separate process group, for killing all of it, and so that kill(0, ...) reaches nothing else
    set_limits(limits, world)
    os.chdir(world.work)
    if not LINUX:
        return
    # After the limits; no_new_privs first, because Landlock and the filter require it.
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    _drop_privileges(world)
    if hidden:
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # set last: a change of user clears it
    if entered.ruleset >= 0:
        kernel.landlock_restrict(entered.ruleset)
    if world.seccomp:
        program = entered.seccomp_program or seccomp.filter_program(world.namespaces, own_pid=os.getpid())
        seccomp.install(seccomp.for_process(program, os.getpid()))


def _mount_disk(world: World, flags: int, size: str) -> None:
    if not world.has_files_below_tmp:
        kernel.mount("tmpfs", WORK, "tmpfs", flags, size)
        return
    kernel.mount("tmpfs", TMP, "tmpfs", flags, size)
    for name in os.listdir(_BELOW_TMP):
        _bind(f"{_BELOW_TMP}/{name}", f"{TMP}/{name}")
    os.mkdir(_PROGRAM, 0o700)
    kernel.mount(_PROGRAM, WORK, None, kernel.MS_BIND)


def _drop_privileges(world: World) -> None:
    if world.user is not None and not world.namespaces:
        uid, gid = world.user
        kept = 1 << kernel.CAP_DAC_READ_SEARCH if world.keep_read_search else 0
        kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        kernel.set_capabilities(kept)
        if kept:
            kernel.keep_capability_over_exec(kernel.CAP_DAC_READ_SEARCH)
    else:
        kernel.set_capabilities(0)


def set_limits(limits: dict[str, float], world: World) -> None:
    cpu = max(1, int(limits["cpu_s"] + 0.999))
    pairs = [
        # Soft = hard limit, hence SIGKILL: a program could ignore SIGXCPU, and process 1 of a namespace does so anyway.
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, int(limits.get("address_space_bytes") or limits["memory_bytes"])),
        (resource.RLIMIT_FSIZE, int(limits["file_bytes"])),
        (resource.RLIMIT_NOFILE, int(limits["open_files"])),
        (resource.RLIMIT_CORE, 1),  # not 0: the kernel ignores 0 if the core pattern is a pipe, but 1 disables dumps
    ]
    if LINUX:
        pairs += [(resource.RLIMIT_MEMLOCK, 65536), (resource.RLIMIT_MSGQUEUE, 0), (resource.RLIMIT_SIGPENDING, 1024)]
        pairs.append((resource.RLIMIT_STACK, _STACK_BYTES))
        if world.namespaces:  # counts only this user namespace: the server and this program
            pairs.append((resource.RLIMIT_NPROC, int(limits["processes"]) + 1))
        elif os.getuid() != 0 or world.user is not None:  # the limit does not apply to root; the parent's watch enforces it
            uid = world.user[0] if world.user else os.getuid()
            pairs.append((resource.RLIMIT_NPROC, count_tasks(uid) + int(limits["processes"])))
    for kind, value in pairs:
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            value = min(value, ceiling)
        resource.setrlimit(kind, (value, value))


def count_tasks(uid: int) -> int:
    """Count the user's current threads, all of which count against RLIMIT_NPROC."""
    count = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry}").st_uid == uid:
                    count += len(os.listdir(f"/proc/{entry}/task"))
    return count
