"""What is put into the tests of a program of MultiPL-E so that an exit code of 0 is not the only witness.

Two lines of output that nobody can know who writes a program. The first is printed where the tests are over and all of them held: a
program that ends before, by `exit(0)` say, does not print it. The second is printed if the program passes a test that is false, and
so shows that the tests hold it to nothing: that is how redefined assertions and results that are equal to everything are found.
The false test is the call of one assertion in the frame of another that expects something else (`assert f(1) == 3` of `assert f(1)
== 2` and `assert f(2) == 3`); it runs after everything else and is caught, so that the program ends as it would have.

A program that reads its own source or memory can still find both lines and print the one without the other, or find what the tests
expect; one that counts its calls can know which is which.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reflectioncoder.errors import MachineError
from reflectioncoder.places import cache_dir


@dataclass(frozen=True)
class Witness:
    """Of one language. `{mark}`, `{unchecked}`: the two lines; `{name}`: an identifier; `{wrong}`: the false test, `{called}`
    its call, `{row}`: which test's expectation it has; `{count}`: the number of tests, `{tally}` as many times an x.

    `call`: a pattern for the call of the function under test, with the group `open` at its bracket; `place`: for what stands behind the
    last test; `edits`: (pattern, replacement) within the tests; `start`: in front of the first test; `last`: behind everything.
    """

    over: str
    place: str = r"\Z"
    control: str = ""
    call: str = r"\bcandidate(?P<open>\()"
    start: str = ""
    last: str = ""
    edits: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Marks:
    """`held`: all tests held; `unchecked`: so did a false one; `name`: an identifier that the program does not use."""

    held: str
    unchecked: str
    name: str

    @classmethod
    def of(cls, language: str, tests: str, solution: str) -> Marks:
        """Those of a program: always the same, so that its build can be kept, and known to this user's processes only."""
        held, unchecked, name = (_sign(what, language, tests, solution) for what in ("held", "unchecked", "name"))
        return cls(held, unchecked, f"rc_{name[:10]}")


def _sign(*parts: str) -> str:
    return hmac.new(_key(cache_dir() / "marks.key"), repr(parts).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


@cache
def _key(place: Path) -> bytes:
    with contextlib.suppress(FileExistsError):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent)
        with open(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            os.link(temporary, place)
        finally:
            os.unlink(temporary)
    return place.read_bytes()


_IN_ASSERT = r"(?<=[aA]ssert\()\w+(?P<open>\()"
_IN_TEST = r"\}\s*test\(\);\s*\Z"
_IN_MAIN = r"\}\s*\}\s*\Z"
_CPP_PRINT = 'if (::write(1, "\\nLINE\\n", sizeof("\\nLINE\\n") - 1)) {{ }}'  # stdout may have become a wide stream
_CONSOLE = Witness(
    over='require("fs").writeSync(1, "\\n{mark}\\n");',  # `console.log` may have been silenced
    control='try {{ {wrong} require("fs").writeSync(1, "\\n{unchecked}\\n"); }} catch ({name}) {{ }}',
    place=_IN_TEST,
)

WITNESSES: dict[str, Witness] = {
    "cpp": Witness(
        over=_CPP_PRINT.replace("LINE", "{mark}"),
        control="{{ static std::jmp_buf {name}; std::signal(SIGABRT, [](int) {{ std::longjmp({name}, 1); }});\n"
        "if (setjmp({name}) == 0) try {{ {wrong} " + _CPP_PRINT.replace("LINE", "{unchecked}") + " }} catch (...) {{ }}\n"
        "std::signal(SIGABRT, SIG_DFL); }}",
        place=r"\}\s*\Z",
    ),
    "java": Witness(
        over='System.out.println("\\n{mark}");',
        control='try {{ {wrong} System.out.println("\\n{unchecked}"); }} catch (Throwable {name}) {{ }}',
        place=_IN_MAIN,
        call=_IN_ASSERT,
    ),
    "js": _CONSOLE,
    "ts": _CONSOLE,
    "sh": Witness(
        # How many tests held and whether one did not, without words that can be functions or aliases of the program.
        over="printf '\\n%s\\n' \"${{{name}/#{tally}/{mark}}}\"",
        control="if {wrong}; then printf '\\n%s\\n' {unchecked}; fi",
        last="[[ ${name} != *-* ]]",
        place=r"\}\s*run_test\s*\Z",
        call=r"\$(?P<open>\()candidate",
        edits=((r"\]\]$", "]] && {name}=${{{name}-}}x || {{ {name}=${{{name}-}}-; [[ held = not ]]; }}"),),
    ),
    "pl": Witness(
        over='print STDOUT "\\n{mark}\\n" unless $::{name};',
        control='eval {{ {wrong} print STDOUT "\\n{unchecked}\\n"; }} }};',
        place=r"\}\s*testhumaneval\(\);\s*\Z",
        call=r"\$candidate->(?P<open>\()",
        edits=((r"exit 1;", "$::{name} = 1; exit 1;"),),  # `exit` can be the program's
    ),
    "php": Witness(
        over='echo "\\n{mark}\\n";',
        control='try {{ {wrong} echo "\\n{unchecked}\\n"; }} catch (\\Throwable ${name}) {{ }}',
        place=_IN_TEST,
        call=r"(?<=if \()candidate(?P<open>\()",
    ),
    "py": Witness(
        over='__import__("os").write(1, b"\\n{mark}\\n")',
        # A class of the program's that compares as it likes can be right about a false test and wrong about all others.
        control="try:\n    {name} = type({called})\n"
        '    if {name}.__module__ == "__main__" and {{"__eq__", "__lt__", "__sub__"}} & {{*vars({name})}}:\n'
        '        __import__("os").write(1, b"\\n{unchecked}\\n")\n'
        '    {wrong}\n    __import__("os").write(1, b"\\n{unchecked}\\n")\nexcept BaseException:\n    pass',
        call=r"(?<=assert )\w+(?P<open>\()",
    ),
    "rb": Witness(
        over='STDOUT.puts "\\n{mark}"; STDOUT.flush',
        control='begin; {wrong}; STDOUT.puts "\\n{unchecked}"; rescue Exception; end',
        place=r"end\s*end\s*\Z",
        call=r"\bcandidate\.call(?P<open>\()",
    ),
    "lua": Witness(
        over='io.stdout:write("\\n{mark}\\n")',
        control='if pcall(function() {wrong} end) then io.stdout:write("\\n{unchecked}\\n") end',
        place=r"end\s*os\.exit\(lu\.LuaUnit\.run\(\)\)\s*\Z",
    ),
    "rs": Witness(
        over='println!("\\n{mark}");',
        control='if std::panic::catch_unwind(|| {{ {wrong} }}).is_ok() {{ println!("\\n{unchecked}"); }}',
        place=r"\}\s*\Z",
    ),
    "go": Witness(  # `true` can be the program's, so that all tests expect the same
        over='if !t.Failed() {{ fmt.Println("\\n{mark}") }}',
        control='if fmt.Sprintf("%v", tests[0].actual) == fmt.Sprintf("%v", tests[{row}].expected) {{ fmt.Println("\\n{unchecked}") }}',
        place=r"\}\s*\Z",
    ),
    "d": Witness(
        over='{{ static import std.stdio; std.stdio.writeln("\\n{mark}"); }}',
        control='try {{ static import std.stdio; {wrong} std.stdio.writeln("\\n{unchecked}"); }} catch (Throwable {name}) {{ }}',
        place=r"\}\s*void main\(\)\s*\{\s*\}\s*\Z",
        call=r"(?<=assert\()candidate(?P<open>\()",
    ),
    "jl": Witness(over='println("\\n{mark}")'),
    "r": Witness(
        over='cat("\\n{mark}\\n")',
        control='try({{ {wrong}; cat("\\n{unchecked}\\n") }}, silent = TRUE)',
        place=r"\}\s*test_humaneval\(\)\s*\Z",
    ),
    "rkt": Witness(  # a check that fails says so and goes on; a program may have switched its log off
        over="(let ([r ({name} #:display? #f #:exit? #f)]) (when (and (zero? (car r)) (>= (cdr r) {count}))"
        ' (write-string "\\n{mark}\\n" (current-output-port))))',
        control="(with-handlers ([void void]) (parameterize ([current-check-handler raise] [{name}-enabled? #f])"
        ' {wrong} (write-string "\\n{unchecked}\\n" (current-output-port))))',
        place=r"\)\s*\)\s*\(test-humaneval\)\s*\Z",
        call=r"(?P<open>\()candidate\b",
        edits=(
            (
                r"\(require rackunit\)",
                "(require rackunit (only-in rackunit/log [test-log {name}] [test-log-enabled? {name}-enabled?]))",
            ),
        ),
    ),
    "scala": Witness(
        over='scala.Predef.println("\\n{mark}")',
        control='try {{ {wrong} scala.Predef.println("\\n{unchecked}") }} catch {{ case {name}: Throwable => }}',
        place=_IN_MAIN,
        call=_IN_ASSERT,
    ),
    "cs": Witness(  # an assertion that fails says so and goes on
        start="var {name} = new System.IO.StringWriter(); var {name}l = new System.Diagnostics.TextWriterTraceListener({name}); "
        "System.Diagnostics.Debug.Listeners.Add({name}l);",
        over='if (!{name}.ToString().Contains("Fail:") && System.Diagnostics.Debug.Listeners.Contains({name}l)) '
        'System.Console.WriteLine("\\n{mark}");',
        control="System.Diagnostics.Debug.Listeners.Clear(); {name} = new System.IO.StringWriter();\n"
        "System.Diagnostics.Debug.Listeners.Add(new System.Diagnostics.TextWriterTraceListener({name}));\n"
        'try {{ {wrong} if (!{name}.ToString().Contains("Fail:")) System.Console.WriteLine("\\n{unchecked}"); }}'
        " catch (System.Exception) {{ }}",
        place=_IN_MAIN,
        call=_IN_ASSERT,
    ),
    "swift": Witness(over='print("\\n{mark}")'),
}


def with_witness(tests: str, language: str, marks: Marks, *, control: bool = True) -> str:
    """The tests of a task, with what makes them bear witness; without the false test if it is not wanted.

    Raises:
        MachineError: they do not end as the tests of this language do.
    """
    witness = WITNESSES[language]
    frames = list(_frames(tests, witness.call))
    row = _other_row(frames) if witness.control and control else None
    end = re.search(witness.place, tests)
    if end is None:
        raise MachineError(f"these tests do not end as those of {language} do: …{tests[-200:]!r}")
    head, tail = tests[: end.start()].rstrip("\n"), tests[end.start() :]
    num_edits = sum(len(re.findall(pattern, head, re.MULTILINE)) for pattern, _ in witness.edits)
    values: dict[str, object] = {"mark": marks.held, "unchecked": marks.unchecked, "name": marks.name, "count": len(frames), "row": row}
    values["tally"] = "x" * num_edits
    added = [witness.over]
    if row is not None:
        values["wrong"] = (frames[row].before + frames[0].call + frames[row].after).strip()
        values["called"] = frames[0].call
        added += [witness.control, witness.over]  # said again: what the false test prints may push the first out of what is kept
    added += [witness.last] if witness.last else []
    for pattern, replacement in witness.edits:
        head = re.sub(pattern, lambda _, text=replacement: text.format(**values), head, flags=re.MULTILINE)
    if witness.start and frames:
        first = frames[0].line
        lines = head.split("\n")
        head = "\n".join([*lines[:first], witness.start.format(**values), *lines[first:]])
    return "\n".join([head, *(text.format(**values) for text in added), tail])


@dataclass(frozen=True)
class _Frame:
    """A line of the tests with a call of the function under test."""

    line: int
    before: str
    call: str
    after: str

    @property
    def expects(self) -> list[str]:
        """What it expects: `1` and `1.0` are the same, one map in two orders as well; messages of Python do not count."""
        after = re.sub(r",\s*([\"']).*\1\s*$", "", self.after)
        return sorted(re.sub(r"\.0\b|[\s()]", "", self.before + after))


def _frames(tests: str, call: str) -> Iterator[_Frame]:
    for number, line in enumerate(tests.split("\n")):
        found = re.search(call, line)
        end = _closing(line, found.start("open")) if found else None
        if found and end:
            yield _Frame(number, line[: found.start()], line[found.start() : end], line[end:])


def _other_row(frames: list[_Frame]) -> int | None:
    """The first test that expects something else than the first does; None if there is none."""
    return next((row for row, frame in enumerate(frames) if frame.expects != frames[0].expects), None)


def _closing(line: str, opening: int) -> int | None:
    """The place behind the bracket that closes the one at `opening`; None if it is not in this line."""
    depth, quote, at = 0, "", opening
    while at < len(line):
        character = line[at]
        if quote:
            at += character == "\\"
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return None
