"""Descriptors: a program has three, and by none of them reaches its server or the world."""

import pytest

from tests.attacks.conftest import (
    SOON_S,
    assert_lost,
    attack,
    attempt,
    needs_x86_64,
)

# Descriptors


def test_a_program_inherits_three_descriptors(isolation):
    source = """
    found = []
    for fd in range(4096):
        try: os.fstat(fd); found.append(fd)
        except OSError: pass
    print(found)
    """
    assert attack(source, isolation).stdout == "[0, 1, 2]\n"


def test_another_program_inherits_three_descriptors(isolation):
    """Bash itself uses 10 and 255."""
    command = 'for fd in {0..9} {11..254}; do { true <&$fd; } 2>/dev/null && echo -n "$fd "; done'
    assert set(attack(f"os.execv('/bin/bash', ['bash', '-c', {command!r}])", isolation).stdout.split()) == {"0", "1", "2"}


def test_the_inherited_descriptors_are_what_they_should_be(isolation):
    source = """
    import stat
    print([stat.S_IFMT(os.fstat(fd).st_mode) == kind for fd, kind in ((0, stat.S_IFCHR), (1, stat.S_IFIFO), (2, stat.S_IFIFO))])
    """
    assert attack(source, isolation).stdout == "[True, True, True]\n"


def test_the_server_s_socket_is_out_of_reach_of_the_objects_in_memory(isolation):
    source = """
    import gc
    gc.unfreeze()
    won = []
    for thing in gc.get_objects():
        if isinstance(thing, socket.socket) and thing.fileno() >= 0:
            try: thing.send(b'{"exit": 0}\\n'); won.append(thing)
            except OSError: pass
    print(won)
    """
    assert attack(source, isolation).stdout == "[]\n"


def test_a_program_cannot_forge_its_result_by_a_descriptor(isolation):
    """Whatever it writes to whatever it has, the result is about its own end."""
    source = """
    for fd in range(3, 4096):
        for data in (b'{"exit": 0, "signal": null, "cpu_s": 0, "peak_memory_bytes": 0}\\n', b'{"unavailable": "no"}\\n'):
            try: os.write(fd, data)
            except OSError: pass
    os._exit(7)
    """
    result = attack(source, isolation)
    assert (result.status, result.exit_code) == ("failed", 7)


def test_a_program_cannot_block_its_server_by_a_descriptor(isolation, own_servers):
    """It fills every pipe that it finds, after making it wait: who writes to it next, waits for ever."""
    source = """
    import fcntl
    for fd in range(3, 4096):
        try:
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
            try:
                while True: os.write(fd, bytes(65536))
            except BlockingIOError:
                while True: os.write(fd, b"x")
        except OSError: pass
        try: fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
        except OSError: pass
    time.sleep(0.3)
    print("end", flush=True)
    """
    for _ in range(3):
        result = attack(source, isolation, wall_s=2)
        assert (result.status, result.stdout) == ("ok", "end\n")
        assert result.duration_s < SOON_S


@needs_x86_64
@pytest.mark.parametrize("secret", ["public_secret", "private_secret", "own_secret"])
def test_a_program_cannot_open_the_world_for_the_next_one(secret, isolation, host, own_servers):
    """A Landlock ruleset is a descriptor: who holds that of the server can add "/" to what the next program may read and write."""
    open_up = """
    rights = 1 << 16
    while rights > 1:
        rights >>= 1
        for path in (b"/", folder.encode()):
            for fd in range(3, 4096):
                rule = ctypes.create_string_buffer(12)
                ctypes.c_uint64.from_buffer(rule, 0).value = rights
                try: place = os.open(path, os.O_PATH)
                except FileNotFoundError: break
                ctypes.c_int32.from_buffer(rule, 8).value = place
                libc.syscall(445, fd, 1, rule, 0)
                os.close(place)
                if fd > 70: break
    print("end")
    """
    assert attack(open_up, isolation, host.given).stdout == "end\n"
    assert_lost(attempt("return open(path).read()", isolation, {"path": host.given[secret]}))
    assert_lost(attempt("open(open_folder + '/planted', 'w')", isolation, host.given))
    host.assert_untouched()
