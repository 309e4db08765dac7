"""How programs of each language of MultiPL-E are built and run: one row a language.

A program is one source file. Compiled once (`build`, whose `outputs` are carried over), run once. Commands are looked for where
the sandbox's programs find them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from reflectioncoder.sandbox.limits import Limits

PATH = "/usr/bin:/bin"
_MB, _GB = 2**20, 2**30
_UNBOUNDED = 2**45  # address space: the resident memory is what is limited


@dataclass(frozen=True)
class Language:
    """`needs`: commands, the first is asked for its version with `version`; `files`: what must be there too.

    `env`: {work} is the program's own directory. `beside`: further files of the directory in which it runs, name to content.

    `warm`: a shell command that makes, in an empty directory and once for each version, what makes building fast; `build` and `env`
    name that directory as {warm}.
    """

    name: str
    title: str
    source: str
    needs: tuple[str, ...]
    install: str
    run: tuple[str, ...]
    build: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    version: tuple[str, ...] = ("--version",)
    files: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    warm: str = ""
    build_s: float = 15.0
    run_s: float = 15.0
    memory_bytes: int = _GB
    reserves: bool = False  # far more address space than it uses
    reads_proc: bool = False  # its runtime does: /proc/self/maps

    @property
    def lowest_tier(self) -> int:
        """Return the lowest tier of isolation in which the language works at all: below, /proc is the machine's."""
        return 2 if self.reads_proc else 0

    @property
    def limits(self) -> Limits:
        """Of the run."""
        return self._limits(self.run_s, self.memory_bytes)

    @property
    def build_limits(self) -> Limits:
        return self._limits(self.build_s, 2 * _GB)

    def _limits(self, seconds: float, memory_bytes: int) -> Limits:
        return Limits(
            wall_s=seconds,
            cpu_s=2 * seconds,  # of all threads
            memory_bytes=memory_bytes,
            file_bytes=64 * _MB,
            disk_bytes=256 * _MB,
            processes=128,
            open_files=512,
            address_space_bytes=_UNBOUNDED if self.reserves else None,
        )

    def missing(self) -> str | None:
        """What is not there of the toolchain; None if all of it is."""
        absent = [name for name in self.needs if which(name) is None]
        absent += [file for file in self.files if not Path(file).exists()]
        return ", ".join(absent) or None

    def command(self, argv: tuple[str, ...]) -> list[str]:
        """`argv` with the command's place."""
        place = argv[0] if argv[0].startswith(("/", "./")) else which(argv[0])
        return [place or f"/usr/bin/{argv[0]}", *argv[1:]]


def which(name: str) -> str | None:
    return shutil.which(name, path=PATH)


@cache
def version_of(name: str) -> str | None:
    """The version that a language's command tells; None if something of the toolchain is missing."""
    language = LANGUAGES[name]
    command = which(language.needs[0])
    if language.missing() or command is None:
        return None
    told = subprocess.run([command, *language.version], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
    return found[0] if found else "unknown version"


_JAVATUPLES = "/usr/share/java/javatuples.jar"
_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xss64m", "-Xmx512m")
_STANDARD_HEADER = "echo '#include <bits/stdc++.h>' > all.h && g++ -std=c++17 all.h -o all.h.gch"  # two thirds of a compilation

_NODE = {"OPENSSL_CONF": "/dev/null"}  # the system's cannot be read
# Node makes pipes non-blocking: `fs.writeSync(1)` after `console.log` would fail with EAGAIN whenever the reader is slower.
_BLOCKING = {"blocking.js": "for (const stream of [process.stdout, process.stderr]) stream._handle?.setBlocking?.(true);\n"}
_RUN_NODE = ("node", "--require", "./blocking.js", "main.js")

_TABLE = (
    Language(
        "cpp", "C++", "main.cpp", ("g++",), "apt install g++",
        build=("g++", "-std=c++17", "-include", "{warm}/all.h", "main.cpp", "-o", "main"), outputs=("main",), run=("./main",),
        warm=_STANDARD_HEADER,
    ),
    Language(
        "java", "Java", "Problem.java", ("javac", "java"), "apt install default-jdk-headless libjavatuples-java",
        build=("javac", "-encoding", "UTF8", "-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC", "-cp", _JAVATUPLES, "Problem.java"),
        outputs=("*.class",), run=("java", "-ea", *_JVM, "-cp", f"{_JAVATUPLES}:.", "Problem"), files=(_JAVATUPLES,), reserves=True,
    ),
    Language(
        "js", "JavaScript", "main.js", ("node",), "apt install nodejs", run=_RUN_NODE, env=_NODE, beside=_BLOCKING, reserves=True,
    ),
    Language(
        "ts", "TypeScript", "main.ts", ("tsc", "node"), "npm install --global typescript",
        build=("tsc", "--target", "esnext", "--strict", "false", "main.ts"), outputs=("main.js",), run=_RUN_NODE, env=_NODE,
        beside=_BLOCKING, reserves=True,
    ),
    Language("sh", "Bash", "main.sh", ("bash",), "apt install bash", run=("bash", "main.sh")),
    Language(
        "pl", "Perl", "main.pl", ("perl",), "apt install perl libtest-deep-perl", run=("perl", "main.pl"),
        files=("/usr/share/perl5/Test/Deep.pm",),
    ),
    Language("php", "PHP", "main.php", ("php",), "apt install php-cli", run=("php", "main.php"), reserves=True),
    Language("py", "Python", "main.py", ("python3",), "apt install python3", run=("python3", "main.py")),
    Language("rb", "Ruby", "main.rb", ("ruby",), "apt install ruby ruby-test-unit", run=("ruby", "main.rb"), reserves=True),
    Language(
        "lua", "Lua", "main.lua", ("lua5.4",), "apt install lua5.4 lua-unit", version=("-v",), run=("lua5.4", "main.lua"),
        files=("/usr/share/lua/5.4/luaunit.lua",),
    ),
    Language(
        "rs", "Rust", "main.rs", ("rustc",), "apt install rustc", build=("rustc", "--edition", "2021", "-o", "main", "main.rs"),
        outputs=("main",), run=("./main",),
    ),
    Language(
        "go", "Go", "main_test.go", ("go",), "apt install golang-go", version=("version",),
        build=("go", "test", "-vet=off", "-c", "-o", "main", "main_test.go"), outputs=("main",), run=("./main", "-test.v"),
        env={"GO111MODULE": "off", "GOCACHE": "{work}/go", "GOFLAGS": "-p=2"}, build_s=30.0, reserves=True,
    ),
    Language(
        "d", "D", "main.d", ("ldc2",), "apt install ldc", build=("ldc2", "-unittest", "-of=main", "main.d"), outputs=("main",),
        run=("./main",), reads_proc=True,
    ),
    Language(
        "jl", "Julia", "main.jl", ("julia",), "julia is not among Debian's packages: julialang.org", run=("julia", "main.jl"),
        reserves=True, run_s=30.0,
    ),
    Language("r", "R", "main.r", ("Rscript",), "apt install r-base-core", run=("Rscript", "main.r")),
    Language("rkt", "Racket", "main.rkt", ("racket",), "apt install racket", run=("racket", "main.rkt"), reserves=True),
    Language(
        "scala", "Scala", "main.scala", ("scalac", "scala"), "apt install scala", version=("-version",),
        build=("scalac", "-d", ".", "main.scala"), outputs=("*.class",), run=("scala", "-cp", ".", "Problem"),
        reserves=True, build_s=45.0, run_s=30.0,
    ),
    Language(
        "cs", "C#", "main.cs", ("mcs", "mono"), "apt install mono-mcs mono-runtime",
        build=("mcs", "-d:DEBUG", "-r:System.Numerics.dll", "main.cs", "-out:main.exe"),
        outputs=("main.exe",), run=("mono", "main.exe"), reserves=True, env={"MONO_TRACE_LISTENER": "Console.Error"},
        reads_proc=True,
    ),
    Language(
        "swift", "Swift", "main.swift", ("swiftc",), "swift is not among Debian's packages: swift.org",
        build=("swiftc", "main.swift", "-o", "main"), outputs=("main",), run=("./main",), build_s=60.0, reserves=True,
    ),
)  # fmt: skip

LANGUAGES: dict[str, Language] = {language.name: language for language in _TABLE}
"""By MultiPL-E's names."""
