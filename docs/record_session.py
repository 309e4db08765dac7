"""Records a terminal session: carries out real commands in an empty folder and writes what they print, in colour, as two SVG pictures.

    python docs/record_session.py

docs/session-light.svg and session-dark.svg are shown in README. Written anew only by hand: times and paths differ between
machines.
"""

import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI
from rich.text import Text

FOLDER = Path(__file__).parent
THEMES = {"light": DEFAULT_TERMINAL_THEME, "dark": DIMMED_MONOKAI}
COLUMNS = 118
# Each command, and which of its lines are shown; the rest is cut with a word.
COMMANDS = (
    ("reflectioncoder build demo --limit 6 --set name=tour --set build.min_samples=1 --set build.diagnoses=traced -q", slice(0, 4)),
    ("reflectioncoder inspect runs/tour/build/reflections.jsonl --mask-rate 0.5 --limit 1", slice(0, 70)),
    ("reflectioncoder check runs/tour/build/reflections.jsonl -q", slice(0, 3)),
)


def printed(command: str, folder: Path) -> list[str]:
    """Carry out a command whose output is a terminal, and return the lines that it prints."""
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", *shlex.split(command)]
    env = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "PAGER": "cat"}
    with subprocess.Popen(argv, cwd=folder, stdout=theirs, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=env) as process:
        os.close(theirs)
        chunks = []
        while chunk := _read(ours):
            chunks.append(chunk)
    os.close(ours)
    if process.returncode != 0:
        raise SystemExit(f"{command}: exit code {process.returncode}")
    return b"".join(chunks).decode().replace("\r\n", "\n").splitlines()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""


def session() -> Text:
    """Return the whole session as coloured text."""
    shown = Text()
    with tempfile.TemporaryDirectory() as folder:
        for command, wanted in COMMANDS:
            lines = printed(command, Path(folder))
            shown.append(f"$ {command}\n", style="bold")
            shown.append_text(Text.from_ansi("\n".join(lines[wanted])))
            shown.append("\n")
            if len(lines) > wanted.stop:
                shown.append(f"… {len(lines) - wanted.stop} more lines\n", style="dim")
            shown.append("\n")
    return shown


def main() -> None:
    text = session()
    for name, theme in THEMES.items():
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
            console.print(text)
        svg = console.export_svg(title="reflectioncoder", theme=theme, unique_id=f"session-{name}")
        # No web font is fetched by a picture.
        (FOLDER / f"session-{name}.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
