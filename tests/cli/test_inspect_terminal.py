"""What `inspect` shows on a terminal, which is a real one here (a pty): wrapped lines, a legend, a pager for what is long."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios

from reflectioncoder.data.files import write_jsonl
from tests.conftest import reflection_sample

STYLES = re.compile(r"\x1b\[[0-9;]*m")


def shown_on_terminal(argv, rows, columns, pager):
    """Run the program on a terminal of a size and return all that it shows."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "PAGER": pager, "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        os.execve(sys.executable, [sys.executable, "-m", "reflectioncoder", *argv], environment)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown
    return shown.decode().replace("\r\n", "\n")


def test_a_long_sample_is_wrapped_and_goes_through_the_pager(tmp_path):
    data = write_jsonl(tmp_path / "s.jsonl", [reflection_sample(1).to_json()])
    pager = "sed 's/^/paged:/'"
    shown = shown_on_terminal(["inspect", str(data)], 10, 60, pager)
    lines = [STYLES.sub("", line) for line in shown.splitlines()]
    assert all(line.startswith("paged:") for line in lines)
    assert max(map(len, lines)) <= len("paged:") + 60
    assert "hidden by the mask" in " ".join(line.removeprefix("paged:") for line in lines[:5])
    assert "paged:" not in shown_on_terminal(["inspect", str(data)], 500, 60, pager), "it fits on the screen"
