"""Ways out: privileges, namespaces, and the parts of the kernel that a program has no business with."""

import contextlib
import functools
import os
import re
import stat
import threading
from pathlib import Path

import pytest

from reflectioncoder.sandbox.forkserver import SERVERS
from tests.attacks.conftest import (
    PROGRAM_USER,
    ROOT,
    X86_64,
    assert_lost,
    attack,
    attempt,
    needs_x86_64,
    new_mark,
    survivors,
    unconfined,
    wait_for,
)

# name: (number on x86_64, arguments). All of these are refused before the kernel looks at the arguments.
CALLS = {
    "ptrace": (101, "0, 0, 0, 0"),
    "process_vm_readv": (310, "os.getpid(), 0, 0, 0, 0, 0"),
    "process_vm_writev": (311, "os.getpid(), 0, 0, 0, 0, 0"),
    "kcmp": (312, "os.getpid(), os.getpid(), 1, 0, 0"),
    "pidfd_getfd": (438, "os.pidfd_open(os.getpid()), 0, 0"),
    "process_madvise": (440, "-1, 0, 0, 0, 0"),
    "process_mrelease": (448, "-1, 0"),
    "perf_event_open": (298, "(ctypes.c_uint64 * 16)(1 | 128 << 32), 0, -1, -1, 0"),
    "migrate_pages": (256, "0, 0, 0, 0"),
    "move_pages": (279, "0, 0, 0, 0, 0, 0"),
    "shmget": (29, "0, 4096, 0o1600"),
    "shmat": (30, "0, 0, 0"),
    "shmctl": (31, "0, 0, 0"),
    "semget": (64, "0, 1, 0o1600"),
    "semop": (65, "0, 0, 0"),
    "semctl": (66, "0, 0, 0"),
    "semtimedop": (220, "0, 0, 0, 0"),
    "msgget": (68, "0, 0o1600"),
    "msgsnd": (69, "0, 0, 0, 0"),
    "msgrcv": (70, "0, 0, 0, 0, 0"),
    "msgctl": (71, "0, 0, 0"),
    "mq_open": (240, "b'x', 0o102, 0o600, 0"),
    "mq_unlink": (241, "b'x'"),
    "memfd_create": (319, "b'x', 0"),
    "memfd_secret": (447, "0"),
    "setns": (308, "os.open('.', 0), 0"),
    "mount": (165, "b'none', b'.', b'tmpfs', 0, 0"),
    "bind mount": (165, "b'/', b'.', 0, 4096, 0"),
    "remount": (165, "b'none', b'/', 0, 32 | 4096, 0"),
    "umount2": (166, "b'/proc', 2"),
    "pivot_root": (155, "b'.', b'.'"),
    "chroot": (161, "b'.'"),
    "open_tree": (428, "-100, b'/', 1"),
    "move_mount": (429, "-100, b'/', -100, b'.', 0"),
    "fsopen": (430, "b'tmpfs', 0"),
    "fsconfig": (431, "-1, 0, 0, 0, 0"),
    "fsmount": (432, "-1, 0, 0"),
    "fspick": (433, "-100, b'/', 0"),
    "mount_setattr": (442, "-100, b'/', 0, 0, 0"),
    "open_tree_attr": (467, "-100, b'/', 1, 0, 0"),
    "name_to_handle_at": (303, "-100, b'/', (ctypes.c_uint32 * 34)(128), (ctypes.c_int * 1)(), 0"),
    "open_by_handle_at": (304, "os.open('.', 0), (ctypes.c_uint32 * 34)(8, 1, 2), 0"),
    "mknod": (133, "b'x', 0o20666, 259"),
    "mknodat": (259, "-100, b'x', 0o20666, 259"),
    "quotactl": (179, "0x80000001 - 2**32, 0, 0, 0"),
    "quotactl_fd": (443, "0, 0, 0, 0"),
    "fanotify_init": (300, "0x200, 0"),
    "bpf": (321, "0, (ctypes.c_uint32 * 32)(1, 4, 4, 1), 128"),
    "userfaultfd": (323, "1"),
    "keyctl": (250, "0, -3, 1"),
    "add_key": (248, "b'user', b'x', b'x', 1, -3"),
    "request_key": (249, "b'user', b'x', 0, -3"),
    "io_uring_setup": (425, "1, (ctypes.c_uint32 * 30)()"),
    "io_uring_enter": (426, "0, 0, 0, 0, 0"),
    "io_uring_register": (427, "0, 0, 0, 0"),
    "modify_ldt": (154, "0, 0, 0"),
    "lookup_dcookie": (212, "0, 0, 0"),
    "nfsservctl": (180, "0, 0, 0"),
    "uselib": (134, "b'x'"),
    "vmsplice": (278, "1, 0, 0, 0"),
    "kexec_load": (246, "0, 0, 0, 0"),
    "kexec_file_load": (320, "-1, -1, 0, 0, 0"),
    "init_module": (175, "0, 0, 0"),
    "finit_module": (313, "-1, 0, 0"),
    "delete_module": (176, "b'none', 0"),
    "reboot": (169, "0, 0, 0, 0"),
    "swapon": (167, "b'none', 0"),
    "swapoff": (168, "b'none'"),
    "acct": (163, "b'none'"),
    "syslog": (103, "10, 0, 0"),
    "sethostname": (170, "b'x', 1"),
    "setdomainname": (171, "b'x', 1"),
    "settimeofday": (164, "0, 0"),
    "clock_settime": (227, "1, 0"),
    "clock_adjtime": (305, "0, 0"),
    "adjtimex": (159, "0"),
    "iopl": (172, "0"),
    "ioperm": (173, "0, 1, 0"),
    "vhangup": (153, ""),
    "personality": (135, "0x0040000"),
    "clone3": (435, "(ctypes.c_uint64 * 11)(0, 0, 0, 0, 17), 88"),
    "a call that does not exist yet": (600, ""),
    "a call of x32": (0x40000000 + 39, ""),
}


@needs_x86_64
@pytest.mark.parametrize("name", CALLS)
def test_the_kernel_refuses_a_program(name, isolation):
    number, arguments = CALLS[name]
    assert_lost(attempt(f"syscall({number}, {arguments})", isolation), "EPERM", "ENOSYS")


_NAMESPACES = {
    "mounts": 0x00020000,
    "control groups": 0x02000000,
    "host name": 0x04000000,
    "IPC": 0x08000000,
    "users": 0x10000000,
    "processes": 0x20000000,
    "network": 0x40000000,
    "time": 0x00000080,
    "users and all others": 0x7E020080,
}


@needs_x86_64
@pytest.mark.parametrize("kind", _NAMESPACES)
def test_a_program_cannot_unshare_its(kind, isolation):
    assert_lost(attempt(f"syscall(272, {_NAMESPACES[kind]})", isolation), "EPERM")


@needs_x86_64
@pytest.mark.parametrize("kind", [kind for kind in _NAMESPACES if kind != "time"])
def test_a_program_cannot_clone_itself_into_new(kind, isolation):
    body = f"if syscall(56, {_NAMESPACES[kind]} | 17, 0, 0, 0, 0) == 0: os._exit(0)"
    assert_lost(attempt(body, isolation), "EPERM")


@needs_x86_64
def test_the_upper_half_of_an_argument_does_not_hide_what_is_asked_for(isolation):
    body = "if syscall(56, 0xFFFFFFFF << 32 | 0x10000000 | 17, 0, 0, 0, 0) == 0: os._exit(0)"
    assert_lost(attempt(body, isolation), "EPERM")


def test_a_command_cannot_make_a_user_namespace(isolation):
    body = "import subprocess\nif subprocess.run(['/usr/bin/unshare', '-Ur', '/bin/true'], stderr=-3).returncode: check(-1)"
    assert_lost(attempt(body, isolation))


@needs_x86_64
def test_a_call_of_32_bit_kills_the_program(isolation):
    """int 0x80: getpid of another architecture, whose numbers the filter does not know."""
    body = """
    import mmap
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000" "cd80" "c3"))
    print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))())
    """
    result = attack(f"def f():{body}\nf()", isolation)
    assert (result.status, result.stdout) == ("crashed", "")


@needs_x86_64
def test_numbers_of_system_calls_have_no_upper_half(isolation):
    """The kernel takes 32 bits of the register on some paths and 64 on others; the filter sees 32."""
    assert_lost(attempt("syscall(1 << 32 | 41, 2, 1, 0)", isolation), "EPERM", "ENOSYS")


IDENTITIES = {
    "root": "os.setuid(0)",
    "root for files": "os.seteuid(0)",
    "root, all": "os.setresuid(0, 0, 0)",
    "somebody else": "os.setuid(1000)",
    "root's group": "os.setgid(0)",
    "root's group, all": "os.setresgid(0, 0, 0)",
    "more groups": "os.setgroups([0])",
    "no groups": "os.setgroups([])",
    "the names of groups": "os.initgroups('root', 0)",
}


@pytest.mark.parametrize("who", IDENTITIES)
def test_a_program_cannot_become(who, isolation):
    assert_lost(attempt(IDENTITIES[who], isolation), "EPERM", "EINVAL")


def test_a_program_is_not_root(isolation):
    result = attack("print(0 in (*os.getresuid(), *os.getresgid()), os.getgroups())", isolation)
    # Within a user namespace what an ordinary user has of groups cannot be given up, only its meaning is gone.
    assert re.fullmatch(r"False \[\]\n" if ROOT and not isolation.wrapper else r"False .*\n", result.stdout), result


def test_a_program_has_no_capabilities(isolation):
    source = """
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    check(libc.capget(header, data))
    print(list(data), [n for n in range(41) if libc.prctl(47, 1, n, 0, 0) == 1])
    """
    assert attack(source, isolation).stdout == "[0, 0, 0, 0, 0, 0] []\n"


def test_a_program_cannot_raise_a_capability(isolation):
    source = """
    raised = []
    for capability in range(41):
        header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        for i in range(3): data[3 * (capability // 32) + i] = 1 << capability % 32
        if libc.capset(header, data) == 0: raised.append(capability)
    print(raised)
    """
    assert attack(source, isolation).stdout == "[]\n"


def test_a_program_cannot_read_what_only_its_capability_would_let_it(isolation):
    """A file of the system that is closed to other users, in a folder that programs may read."""
    closed = _closed_files("/usr")
    if not closed:
        pytest.skip("there is none on this machine")
    body = "for path in paths:\n    try: return open(path, 'rb').read(1)\n    except OSError as error: last = error\nraise last"
    assert_lost(attempt(body, isolation, {"paths": closed[:20]}))


@functools.cache
def _closed_files(folder):
    found = []
    for directory, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                is_ = os.lstat(os.path.join(directory, name))
                if stat.S_ISREG(is_.st_mode) and not is_.st_mode & stat.S_IROTH and is_.st_uid not in (PROGRAM_USER, os.getuid() or -1):
                    found.append(os.path.join(directory, name))
    return found


_STATE = {
    "no new privileges": ("libc.prctl(39, 0, 0, 0, 0)", "1"),
    "a filter of system calls": ("libc.prctl(21, 0, 0, 0, 0)", "2"),
    "death with its parent": ("(s := ctypes.c_int(), libc.prctl(2, ctypes.byref(s), 0, 0, 0))[0].value", "9"),
    "no core dumps": ("__import__('resource').getrlimit(4)", "(0, 0)"),
    "the usual mask of modes": ("oct(os.umask(0))", "0o22"),
    "no controlling terminal": ("os.path.exists('/dev/tty') and os.access('/dev/tty', 4)", "False"),
}


@pytest.mark.parametrize("what", _STATE)
def test_a_program_runs_with(what, isolation):
    expression, expected = _STATE[what]
    if what == "no core dumps":  # 1 is as good: nothing fits into it, and the kernel then spares a helper of the host the dump
        assert attack(f"print({expression})", isolation).stdout.strip() in ("(0, 0)", "(1, 1)")
    elif what == "no controlling terminal" and not isolation.namespaces:
        assert_lost(attempt("os.open('/dev/tty', os.O_RDWR)", isolation))
    else:
        assert attack(f"print({expression})", isolation).stdout.strip() == expected


@pytest.mark.parametrize("resource", ["CPU", "AS", "FSIZE", "NOFILE", "NPROC", "CORE", "MEMLOCK", "MSGQUEUE", "SIGPENDING", "STACK"])
def test_a_program_cannot_raise_its_limit(resource, isolation):
    body = f"""
    import resource
    kind = resource.RLIMIT_{resource} if hasattr(resource, "RLIMIT_{resource}") else {{"SIGPENDING": 11}}.get("{resource}")
    hard = resource.getrlimit(kind)[1]
    if hard == resource.RLIM_INFINITY: return "unlimited"
    try: resource.setrlimit(kind, (hard, hard + 1))
    except ValueError as error: raise OSError(errno.EPERM, str(error))
    """
    assert_lost(attempt(body, isolation), "EPERM")


@pytest.mark.parametrize("resource", ["RTPRIO", "NICE"])
def test_a_program_has_no_right_to_urgency(resource, isolation):
    assert attack(f"import resource; print(resource.getrlimit(resource.RLIMIT_{resource}))", isolation).stdout == "(0, 0)\n"


_PRCTL = {
    "forget its parent's death": "libc.prctl(1, 0, 0, 0, 0)",
    "get back its privileges": "libc.prctl(38, 0, 0, 0, 0)",
    "leave its filter": "libc.prctl(22, 0, 0, 0, 0)",
    "change how root counts": "libc.prctl(28, 0x2f, 0, 0, 0)",
    "change its memory map": "libc.prctl(35, 1, 0x1000, 0, 0)",
    "keep a capability": "libc.prctl(47, 2, 2, 0, 0)",
}


@pytest.mark.parametrize("what", _PRCTL)
def test_a_program_cannot(what, isolation):
    assert_lost(attempt(f"check({_PRCTL[what]})", isolation))


TERMINAL = {"type into a terminal": 0x5412, "paste into a console": 0x541C}


@pytest.mark.parametrize("what", TERMINAL)
@pytest.mark.parametrize("upper", [0, 1 << 32])
def test_a_program_cannot_by_ioctl(what, upper, isolation):
    body = f"check(libc.ioctl(0, ctypes.c_ulong({TERMINAL[what] | upper}), b'x'))"
    assert_lost(attempt(body, isolation), "EPERM")


@pytest.mark.parametrize(
    "command", ["/usr/bin/su", "/usr/bin/mount", "/usr/bin/passwd", "/usr/bin/newgrp", "/usr/bin/sudo", "/usr/bin/chsh"]
)
def test_a_program_gains_nothing_from_the_setuid_program(command, isolation):
    if not os.path.exists(command) or not os.stat(command).st_mode & stat.S_ISUID:
        pytest.skip("this machine has no such setuid program")
    arguments = {
        "/usr/bin/su": ["-c", "id -u", "root"],
        "/usr/bin/mount": ["-t", "tmpfs", "none", "/box"],
        "/usr/bin/passwd": ["-d", "root"],
        "/usr/bin/newgrp": ["root"],
        "/usr/bin/sudo": ["-n", "id", "-u"],
        "/usr/bin/chsh": ["-s", "/bin/sh", "root"],
    }[command]
    shadow = Path("/etc/passwd").read_bytes(), Path("/etc/shadow").read_bytes() if ROOT else b"", Path("/proc/mounts").read_bytes()
    body = """
    import subprocess
    done = subprocess.run([command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if done.returncode: check(-1)
    return done.stdout
    """
    verdict = attempt(body, isolation, {"command": command, "arguments": arguments})
    assert "b'0\\n'" not in verdict
    if "newgrp" not in command:  # it starts a shell all the same, in the old group
        assert_lost(verdict)
    after = Path("/etc/passwd").read_bytes(), Path("/etc/shadow").read_bytes() if ROOT else b"", Path("/proc/mounts").read_bytes()
    assert after == shadow


def test_a_setuid_program_of_its_own_making_gains_nothing(isolation):
    source = """
    import shutil, subprocess
    try:
        shutil.copyfile("/usr/bin/id", "id"); os.chmod("id", 0o6755)
    except OSError: print("lost"); sys.exit()
    print(subprocess.run(["./id", "-u"], capture_output=True, text=True).stdout.strip() == str(os.getuid()) and "lost")
    """
    assert attack(source, isolation).stdout == "lost\n"


@pytest.mark.parametrize("file", ["uid_map", "gid_map", "setgroups", "mem", "attr/current", "projid_map"])
def test_a_program_cannot_write_of_itself(file, isolation):
    assert_lost(attempt(f"os.open('/proc/self/{file}', os.O_WRONLY)", isolation))


def test_every_mount_but_its_own_disk_is_locked(hidden_world):
    """Read-only, or a single device; and nothing of it counts as setuid. Seen from outside: the program itself may not look."""
    mark, mounts = new_mark(), {}

    def look():
        if found := wait_for(lambda: survivors(mark)):
            table = wait_for(lambda: read_or_nothing(f"/proc/{found[0].split()[0]}/mountinfo"))
            mounts.update({line.split()[4]: line for line in table.splitlines()})  # of those at one place the last is seen

    looking = threading.Thread(target=look)
    looking.start()
    attack("time.sleep(1.5)", hidden_world, mark=mark)
    looking.join()
    assert {"/", "/usr", "/box/work", "/proc"} <= mounts.keys()
    for point, line in mounts.items():
        options = line.split()[5].split(",")
        assert "ro" in options or point in ("/box/work", "/box/tmp") or point.startswith("/dev/"), line
        assert "nosuid" in options or point.startswith("/dev/"), line


def read_or_nothing(path):
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""


def test_the_root_directory_is_the_end_of_the_way_up(hidden_world, host):
    body = "for _ in range(50): os.chdir('..')\nreturn os.listdir(folder.lstrip('/'))"
    assert_lost(attempt(body, hidden_world, host.given), "ENOENT")


@pytest.mark.skipif(not X86_64 or not ROOT, reason="needs root, x86_64")
@pytest.mark.parametrize("name", ["memfd_create", "shmget", "add_key", "inotify"])
def test_without_confinement_the_kernel_says_yes_to(name):
    number, arguments = {**CALLS, "inotify": (294, "0")}[name]
    assert unconfined(f"syscall({number}, {arguments})").startswith("won ")


def test_servers_stay_whole_after_all_of_this(isolation):
    assert attack("print(6 * 7)", isolation).stdout == "42\n"
    with SERVERS.lend(isolation) as server:
        assert server.process.poll() is None
