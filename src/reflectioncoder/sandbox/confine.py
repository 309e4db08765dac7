"""The first program in a sandboxed process tree: confines itself, starts the untrusted program, reports how it ended.

Run as a script by a fresh interpreter (`python -I -S confine.py CONFIG_JSON`), standard library only, never imported by the
parent. With namespaces the tree is  this script → init of a new pid namespace → the program; init's end kills whatever the
program left behind, detached daemons too. Without them this script adopts detached processes and kills them before it reports.

Report on `status_fd`, one JSON line: {"exit": code | null, "signal": n | null, "cpu_s", "peak_memory_bytes"}, or
{"unavailable": reason} if confinement failed (then nothing untrusted has run).
"""

import ctypes
import json
import os
import resource
import signal
import sys

CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38


def _checked(name, result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def enter_namespaces(libc):
    """No network (not even loopback), own process ids and IPC; as an ordinary user through a user namespace."""
    flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        _checked("unshare", libc.unshare(flags))
        return
    _checked("unshare", libc.unshare(flags | CLONE_NEWUSER))
    for path, content in (
        ("/proc/self/setgroups", "deny"),
        ("/proc/self/uid_map", f"{uid} {uid} 1"),
        ("/proc/self/gid_map", f"{gid} {gid} 1"),
    ):
        with open(path, "w") as handle:
            handle.write(content)


def count_tasks_of_user():
    """Threads that the user runs now: RLIMIT_NPROC counts them all, so the limit is set on top of them."""
    count = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.stat(f"/proc/{entry}").st_uid == os.getuid():
                    count += len(os.listdir(f"/proc/{entry}/task"))
            except OSError:
                continue
    return count


def apply_limits(limits):
    cpu = int(limits["cpu_s"] + 0.999)
    pairs = [
        (resource.RLIMIT_CPU, (cpu, cpu + 1)),
        (resource.RLIMIT_AS, (limits["memory_bytes"],) * 2),
        (resource.RLIMIT_FSIZE, (limits["file_bytes"],) * 2),
        (resource.RLIMIT_NOFILE, (limits["open_files"],) * 2),
        (resource.RLIMIT_CORE, (0, 0)),
    ]
    if os.getuid() != 0 and sys.platform == "linux":  # root is never counted; the parent's watchdog counts instead
        pairs.append((resource.RLIMIT_NPROC, (count_tasks_of_user() + limits["processes"],) * 2))
    for kind, (soft, hard) in pairs:
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(kind, (soft, hard))


def run_program(config, libc):
    """In the forked child: last confinement, then exec. Never returns."""
    os.set_inheritable(config["status_fd"], False)
    try:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        os.chdir(config["cwd"])
        apply_limits(config["limits"])
        os.execve(config["argv"][0], config["argv"], config["env"])
    except OSError as error:
        report(config["status_fd"], {"unavailable": f"cannot start the program: {error}"})
    os._exit(125)


def report(fd, value):
    os.write(fd, json.dumps(value).encode() + b"\n")


def kill_leftovers():
    """Kill and reap what the program has left behind; as subreaper this process is the parent of all of it."""
    while True:
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as handle:
                for pid in handle.read().split():
                    os.kill(int(pid), signal.SIGKILL)
            os.wait()
        except (ChildProcessError, FileNotFoundError):
            return
        except ProcessLookupError:
            continue


def supervise(config, libc):
    """Start the program, reap everything until it ends, report."""
    child = os.fork()
    if child == 0:
        run_program(config, libc)
    while True:
        pid, status, usage = os.wait4(-1, 0)
        if pid == child:
            break
    if libc is not None and not config["namespaces"]:
        kill_leftovers()
    code = os.waitstatus_to_exitcode(status)
    everyone = resource.getrusage(resource.RUSAGE_CHILDREN)
    report(
        config["status_fd"],
        {
            "exit": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "cpu_s": everyone.ru_utime + everyone.ru_stime,
            "peak_memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        },
    )


def main():
    config = json.loads(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if libc is not None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if not config["namespaces"]:
        if libc is not None:
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        supervise(config, libc)
        os._exit(0)
    try:
        enter_namespaces(libc)
    except OSError as error:
        report(config["status_fd"], {"unavailable": f"namespaces refused: {error}"})
        os._exit(125)
    init = os.fork()
    if init == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The program runs under the same user id: it must not be able to attach to init and forge the report.
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        supervise(config, libc)
        os._exit(0)
    os.waitpid(init, 0)
    os._exit(0)


if __name__ == "__main__":
    main()
