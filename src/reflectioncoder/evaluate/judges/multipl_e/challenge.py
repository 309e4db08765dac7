"""Challenges programs: tests hold a program to something only if it fails exactly those of them that are wrong on purpose.

An exit code of 0 shows little. A program can end before its tests do, empty the assertions, learn from them what they expect, or give
back what is equal to anything. So each is challenged first: which of its assertions have a wrong expectation is drawn anew
for each run, each of them is evaluated and says whether it held, and that has to be what was drawn. Nothing in the program's process
tells right expectations from wrong ones: it may read its source and its memory, and write the answers itself; to write the right ones
it has to know which expectations are right. A second run takes the complement, so that no constant answer is right in both; guessing
is right in one of 1000 cases at most (`num_pairs`).

The outcomes are in a file of their own, which the program's output cannot push out, one line for each assertion: its number and
whether it held.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import Literal

from reflectioncoder.evaluate.judges.multipl_e.assertions import Assertion, assertions_of, wrong_shape
from reflectioncoder.sandbox.toolchain import OUTCOMES_VARIABLE

Missed = Literal["early exit", "unchecked"]

_GUESSED_BITS = 10  # 1 of 1024


@dataclass(frozen=True)
class Recorder:
    """A language's way to record outcomes in its tests.

    `row` stands in place of an assertion; `{condition}` is what the assertion's bracket holds, `{row}` its number. `start` defines
    what the rows use, in front of the line of the first assertion or of what `before` matches. `{name}` is an identifier that the
    program does not use, `{file}` the environment variable that names the file. `edits`: (pattern, replacement) within the tests,
    `program_edit`: one within the program.
    """

    row: str
    start: str
    before: str = ""
    edits: tuple[tuple[str, str], ...] = ()
    program_edit: tuple[str, str] | None = None


_NODE = Recorder(
    row="try {{ assert.deepEqual({condition}); {name}({row}, 1); }} catch {{ {name}({row}, 0); }}",
    start='const {name} = (row, held) => require("fs").appendFileSync(require("process").env.{file}, `${{row}} ${{held}}\\n`);',
)
RECORDERS: dict[str, Recorder] = {
    "cpp": Recorder(
        row="{name}({row}, static_cast<bool>({condition}));",
        start='auto {name} = [](int row, bool held) {{ if (std::FILE* file = std::fopen(std::getenv("{file}"), "a")) '
        '{{ std::fprintf(file, "%d %d\\n", row, held); std::fclose(file); }} }};',
    ),
    "java": Recorder(
        row="{name}.accept({row}, {condition});",
        start="java.util.function.BiConsumer<Integer, Boolean> {name} = (row, held) -> {{ "
        'try (java.io.FileWriter file = new java.io.FileWriter(System.getenv("{file}"), true)) '
        '{{ file.write(row + " " + (held ? 1 : 0) + "\\n"); }} catch (java.io.IOException e) {{ throw new RuntimeException(e); }} }};',
    ),
    "js": _NODE,
    "ts": _NODE,
    "sh": Recorder(
        row="if [{condition}]; then {name} '{row} 1'; else {name} '{row} 0'; fi",
        start='{name}() {{ builtin printf \'%s\\n\' "$1" >> "${file}"; }}',
    ),
    "pl": Recorder(
        row="${name}->({row}, scalar({condition}));",
        start='my ${name} = sub {{ my ($row, $held) = @_; local ($\\, $,); open(my $file, ">>", $ENV{{{file}}}); '
        'print {{$file}} "$row ", $held ? 1 : 0, "\\n"; close($file); }};',
    ),
    "php": Recorder(
        row="${name}({row}, !({condition}));",
        start="${name} = function ($row, $held) {{ "
        '\\file_put_contents(\\getenv("{file}"), "$row " . (int) $held . "\\n", \\FILE_APPEND); }};',
    ),
    "py": Recorder(
        row="{name}({row}, True if ({condition}) else False)",
        start="def {name}(row, held, os=__import__('os')):\n"
        "    file = os.open(os.environ['{file}'], os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "    os.write(file, b'%d %d\\n' % (row, held))\n    os.close(file)",
        before=r"\A",
    ),
    "rb": Recorder(
        row="{name}.call({row}, begin; assert_equal({condition}); 1; rescue ::StandardError; 0; end)",
        start='{name} = lambda {{ |row, held| ::File.write(::ENV["{file}"], "#{{row}} #{{held}}\\n", mode: "a") }}',
    ),
    "lua": Recorder(
        row="{name}({row}, pcall(function() lu.assertEquals({condition}) end))",
        start='local function {name}(row, held) local file = io.open(os.getenv("{file}"), "a"); '
        'file:write(row, held and " 1\\n" or " 0\\n"); file:close() end',
    ),
    "rs": Recorder(
        row="{name}({row}, {name}!({condition}));",
        start="macro_rules! {name} {{ ($left:expr, $right:expr $(,)?) => {{ "
        "match (&$left, &$right) {{ (left, right) => *left == *right }} }} }}\n"
        'fn {name}(row: usize, held: bool) {{ use std::io::Write; let path = std::env::var("{file}").unwrap(); '
        "let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap(); "
        'file.write_all(format!("{{}} {{}}\\n", row, held as u8).as_bytes()).unwrap(); }}',
    ),
    "go": Recorder(
        row="{{{condition}}},",
        start='{name} := func(row int, held bool) {{ file, _ := {name}_os.OpenFile({name}_os.Getenv("{file}"), '
        "{name}_os.O_APPEND|{name}_os.O_CREATE|{name}_os.O_WRONLY, 0600)\n"
        'fmt.Fprintf(file, "%d %t\\n", row, held)\nfile.Close() }}',
        before=r"^\s*type test struct",
        edits=((r"if (fmt\.Sprintf\(.*\)) != (fmt\.Sprintf\(.*\)) \{{", r"{name}(i, \1 == \2)\nif false {{"),),
        program_edit=(r"^\s*package\s+\w+", r'\g<0>; import {name}_os "os"'),
    ),
    "d": Recorder(
        row="{{ static import core.stdc.stdio, core.stdc.stdlib; "
        'auto {name} = core.stdc.stdio.fopen(core.stdc.stdlib.getenv("{file}"), "a"); '
        'core.stdc.stdio.fputs(({condition}) ? "{row} 1\\n" : "{row} 0\\n", {name}); core.stdc.stdio.fclose({name}); }}',
        start="",
    ),
    "jl": Recorder(
        row="{name}({row}, {condition})",
        start='{name}(row, held) = open(ENV["{file}"], "a") do file; print(file, row, " ", held, "\\n"); end',
    ),
    "r": Recorder(
        row="{name}({row}, {condition})",
        start='{name} <- function(row, held) {{ force(held); base::cat(row, " ", as.integer(held), "\\n", sep = "", '
        'file = Sys.getenv("{file}"), append = TRUE) }}',
    ),
    "rkt": Recorder(
        row="({name} {row} (with-handlers ([void (lambda (_) 0)]) (parameterize ([current-check-handler raise]) ({condition})) 1))",
        start='(define ({name} row held) (with-output-to-file (getenv "{file}") #:exists \'append '
        '(lambda () (printf "~a ~a\\n" row held))))',
    ),
    "scala": Recorder(
        row="{name}({row}, {condition});",
        start='def {name}(row: Int, held: Boolean): Unit = {{ val file = new _root_.java.io.FileWriter(System.getenv("{file}"), true); '
        'file.write(row.toString + " " + held.toString + "\\n"); file.close() }}',
    ),
    "cs": Recorder(
        row="{name}({row}, {condition});",
        start="System.Action<int, bool> {name} = (row, held) => System.IO.File.AppendAllText("
        'System.Environment.GetEnvironmentVariable("{file}"), row + " " + held + "\\n");',
    ),
    "swift": Recorder(
        row="{name}({row}, {condition})",
        start='import Foundation\nfunc {name}(_ row: Int, _ held: Bool) {{ let file = fopen(getenv("{file}"), "a")!; '
        'fputs("\\(row) \\(held)\\n", file); fclose(file) }}',
    ),
}


@dataclass(frozen=True)
class Challenge:
    """A challenge. `program`: solution and tests in one; `drawn`: for each assertion, whether its expectation is right."""

    program: str
    drawn: tuple[bool, ...]

    def missed_by(self, outcomes: str) -> Missed | None:
        """Say what is wrong with the outcomes of the run: "early exit" or "unchecked"; None if they are as drawn.

        An assertion in a loop says several times whether it held.
        """
        said: dict[str, set[str]] = {}
        for line in outcomes.splitlines():
            row, _, held = line.partition(" ")
            said.setdefault(row, set()).add(held.lower())
        rows = [said.pop(str(row), set()) for row in range(len(self.drawn))]
        if any(held - _HELD[right] for held, right in zip(rows, self.drawn, strict=True)) or said:
            return "unchecked"
        return None if all(rows) else "early exit"


_HELD = {True: {"1", "true"}, False: {"0", "false"}}


def num_pairs(num_assertions: int) -> int:
    """Return how many pairs of challenges it takes until guesses are right in one of 1000 cases at most."""
    return math.ceil(_GUESSED_BITS / (2 * num_assertions))


def challenges(solution: str, tests: str, language: str, random: Random | None = None) -> Iterator[Challenge]:
    """Yield all challenges that a program has to stand besides its tests.

    Raises:
        MachineError: the tests are not written as those of this language are.
    """
    random = random or SystemRandom()
    assertions = assertions_of(tests, language)
    for _ in range(num_pairs(len(assertions))):
        drawn = tuple(random.random() < 0.5 for _ in assertions)
        for right in (drawn, tuple(not held for held in drawn)):
            name = f"rc_{random.getrandbits(40):010x}"
            shapes = [
                own.shape if held else wrong_shape(row, assertions, random)
                for row, (own, held) in enumerate(zip(assertions, right, strict=True))
            ]
            yield Challenge(_recorded(solution, tests, language, assertions, shapes, name), right)


def _recorded(solution: str, tests: str, language: str, assertions: Sequence[Assertion], shapes: Sequence[str], name: str) -> str:
    """Return the program with tests that record their outcomes."""
    recorder = RECORDERS[language]
    words = {"name": name, "file": OUTCOMES_VARIABLE}
    parts, at = [], 0
    for row, (assertion, shape) in enumerate(zip(assertions, shapes, strict=True)):
        indent = re.match(r"\s*", tests[assertion.start : assertion.end])
        parts += [tests[at : assertion.start], indent[0] if indent else ""]
        parts += [recorder.row.format(condition=assertion.condition(shape), row=row, **words)]
        at = assertion.end
    text = "".join([*parts, tests[at:]])
    before = re.search(recorder.before, tests, re.MULTILINE) if recorder.before else None
    place = before.start() if before else tests.rfind("\n", 0, assertions[0].start + 1) + 1
    text = f"{text[:place]}{recorder.start.format(**words)}\n{text[place:]}"
    for pattern, replacement in recorder.edits:
        text = re.sub(pattern.format(**words), replacement.format(**words), text)
    if recorder.program_edit:
        pattern, replacement = recorder.program_edit
        solution = re.sub(pattern, replacement.format(**words), solution, count=1, flags=re.MULTILINE)
    return f"{solution}\n{text}"
