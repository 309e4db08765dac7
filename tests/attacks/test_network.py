"""A program has no network and no socket but pairs of its own."""

import socket
from pathlib import Path

import pytest

from tests.attacks.conftest import assert_lost, attack, attempt, needs_x86_64, new_mark, unconfined

_INET6, _NETLINK, _PACKET, _TIPC, _ALG, _VSOCK, _XDP = 10, 16, 17, 30, 38, 40, 44
SOCKETS = {
    "TCP": (socket.AF_INET, socket.SOCK_STREAM, 0),
    "TCP over IPv6": (_INET6, socket.SOCK_STREAM, 0),
    "UDP": (socket.AF_INET, socket.SOCK_DGRAM, 0),
    "UDP over IPv6": (_INET6, socket.SOCK_DGRAM, 0),
    "multipath TCP": (socket.AF_INET, socket.SOCK_STREAM, 262),
    "SCTP": (socket.AF_INET, socket.SOCK_SEQPACKET, 132),
    "ping": (socket.AF_INET, socket.SOCK_DGRAM, 1),
    "raw": (socket.AF_INET, socket.SOCK_RAW, 255),
    "unix stream": (socket.AF_UNIX, socket.SOCK_STREAM, 0),
    "unix datagram": (socket.AF_UNIX, socket.SOCK_DGRAM, 0),
    "unix packets": (socket.AF_UNIX, socket.SOCK_SEQPACKET, 0),
    "routes": (_NETLINK, socket.SOCK_RAW, 0),
    "audit": (_NETLINK, socket.SOCK_RAW, 9),
    "packet filter": (_NETLINK, socket.SOCK_RAW, 12),
    "device events": (_NETLINK, socket.SOCK_RAW, 15),
    "crypto of the kernel": (_ALG, socket.SOCK_SEQPACKET, 0),
    "virtual machine": (_VSOCK, socket.SOCK_STREAM, 0),
    "packets of a device": (_PACKET, socket.SOCK_RAW, 0),
    "express data path": (_XDP, socket.SOCK_RAW, 0),
    "key management": (15, socket.SOCK_RAW, 2),
    "CAN": (29, socket.SOCK_RAW, 1),
    "TIPC": (_TIPC, socket.SOCK_SEQPACKET, 0),
    "bluetooth": (31, socket.SOCK_RAW, 1),
    "shared memory over RDMA": (43, socket.SOCK_STREAM, 0),
}


@pytest.mark.parametrize("kind", SOCKETS)
def test_a_program_cannot_open_a_socket_for(kind, isolation):
    assert_lost(attempt("socket.socket(*kind)", isolation, {"kind": tuple(map(int, SOCKETS[kind]))}), "EPERM")


@pytest.mark.parametrize("kind", [kind for kind, (family, _, _) in SOCKETS.items() if family != socket.AF_UNIX])
def test_a_program_cannot_make_the_kernel_create_by_a_pair_a_socket_for(kind, isolation):
    """The kernel creates both sockets, with all the code that belongs to the family, before it finds that they cannot be a pair."""
    body = "check(libc.socketpair(*kind, (ctypes.c_int * 2)()))"
    assert_lost(attempt(body, isolation, {"kind": tuple(map(int, SOCKETS[kind]))}), "EPERM", "ENOSYS")


_TCP = "socket.create_connection(('127.0.0.1', tcp_port), timeout=2)"
CALLS = {
    "TCP": _TCP,
    "TCP, over another thread": f"seen = []; t = threading.Thread(target=lambda: seen.append(can(lambda: {_TCP})))\n"
    "t.start(); t.join()\nif not seen[0]: check(-1)",
    "TCP, from a child": f"if (child := os.fork()) == 0: os._exit(0 if can(lambda: {_TCP}) else 1)\n"
    f"if os.waitpid(child, 0)[1]: check(-1)",
    "TCP, by the shell": "import subprocess\ncommand = ['/bin/bash', '-c', f'echo > /dev/tcp/127.0.0.1/{tcp_port}']\n"
    "if subprocess.run(command, stderr=subprocess.DEVNULL).returncode: check(-1)",
    "TCP, by another interpreter": "import subprocess\ncode = f'import socket; socket.create_connection((\"127.0.0.1\", {tcp_port}))'\n"
    "if subprocess.run([interpreter, '-S', '-c', code], stderr=subprocess.DEVNULL).returncode: check(-1)",
    "TCP, fast open": "socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', tcp_port))",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', udp_port))",
    "a path, stream": "socket.socket(socket.AF_UNIX).connect(stream_path)",
    "a path, datagram": "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', datagram_path)",
    "an abstract name, stream": "socket.socket(socket.AF_UNIX).connect(stream_name)",
    "an abstract name, datagram": "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', datagram_name)",
    "a path, from a pair": "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', datagram_path)",
    "a path, from a pair, by sendmsg": "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendmsg([b'x'], [], 0, datagram_path)",
    "an abstract name, from a pair": "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', datagram_name)",
    "a path, from a reconnected pair": "socket.socketpair(type=socket.SOCK_DGRAM)[0].connect(datagram_path)",
    "a path, from a stream pair": "socket.socketpair()[0].sendto(b'x', stream_path)",
    "a path, from a pair of packets": "a, b = socket.socketpair(type=socket.SOCK_SEQPACKET); a.sendto(b'x', datagram_path); "
    "b.recv(1); check(-1)",
}
_CAN = """
def can(action):
    try:
        action()
        return True
    except OSError:
        return False
"""


@pytest.mark.parametrize("how", CALLS)
def test_a_program_cannot_call_the_host_by(how, isolation, host):
    import sys

    verdict = attempt(_CAN + CALLS[how], isolation, {**host.given, "interpreter": getattr(sys, "_base_executable", sys.executable)})
    host.assert_untouched()
    assert_lost(verdict)


_REFUSED_ANYWAY = {"a path, from a stream pair", "a path, from a pair of packets"}


@pytest.mark.parametrize("how", sorted(CALLS.keys() - _REFUSED_ANYWAY))
def test_without_confinement_the_host_is_called_by(how, host):
    import sys

    given = {**host.given, "interpreter": getattr(sys, "_base_executable", sys.executable)}
    assert unconfined(_CAN + CALLS[how], given).startswith("won ")
    if "reconnected" not in how:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            host.assert_untouched()


NAMES = {
    "a name": "socket.getaddrinfo('example.com', 80)",
    "an address": "socket.gethostbyaddr('127.0.0.1')",
    "the older call": "socket.gethostbyname('example.com')",
    "a web page": "import urllib.request; urllib.request.urlopen('http://127.0.0.1:%d/' % tcp_port, timeout=2)",
}


@pytest.mark.parametrize("what", NAMES)
def test_a_program_cannot_look_up(what, isolation, host):
    assert_lost(attempt(NAMES[what], isolation, host.given))
    host.assert_untouched()


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::1"])
def test_a_program_cannot_listen_on(address, isolation):
    body = (
        "s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET); s.bind((address, 0)); s.listen(); "
        "return s.getsockname()"
    )
    assert_lost(attempt(body, isolation, {"address": address}), "EPERM")


def test_a_program_cannot_listen_on_a_path(isolation):
    assert_lost(attempt("s = socket.socket(socket.AF_UNIX); s.bind('here'); s.listen()", isolation), "EPERM")


def test_a_program_cannot_listen_on_an_abstract_name(isolation):
    mark = new_mark()
    assert_lost(attempt(f"socket.socketpair()[0].bind('\\0{mark}')", isolation), "EPERM")
    assert mark not in Path("/proc/net/unix").read_text()


def test_a_program_sees_no_network_device_of_the_host(isolation):
    for place in ("/proc/net/dev", "/proc/self/net/dev", "/sys/class/net/lo/mtu"):
        assert_lost(attempt(f"return open({place!r}).read()", isolation))


def test_a_program_can_still_talk_within_itself(isolation):
    source = "a, b = socket.socketpair(); a.send(b'x'); r, w = os.pipe(); os.write(w, b'y'); print(b.recv(1), os.read(r, 1))"
    assert attack(source, isolation).stdout == "b'x' b'y'\n"


@needs_x86_64
@pytest.mark.parametrize(("name", "number"), [("connect", 42), ("bind", 49), ("listen", 50)])
def test_a_program_cannot_use_a_pair_to(name, number, isolation):
    assert_lost(attempt(f"syscall({number}, socket.socketpair()[0].fileno(), b'', 0)", isolation), "EPERM")
