"""The form of HumanEvalPack's programs in a language: how solution and tests become one file, and how it is built, run and challenged.

A solution is joined with its tests as bigcode-evaluation-harness does: imports that it may omit are added, and text after the requested
function is cut off. Facts from its `tasks/humanevalpack.py` and `custom_metrics/code_eval` (arXiv 2308.07124).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from reflectioncoder.evaluate.judges.humanevalpack.assertions import TestSyntax
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.languages.language import ANYTHING, HarnessRule, Language, Recorder, Words

_CPP_HEADERS = (
    *("stdlib.h", "algorithm", "cmath", "math.h", "numeric", "stdio.h", "vector", "set", "map", "queue", "stack", "list", "deque"),
    *("boost/any.hpp", "string", "climits", "cstring", "iostream", "sstream", "fstream"),
)
_GO_PACKAGES = ("math", "strings", "fmt", "strconv", "time", "bytes", "regexp", "sort", "math/rand", "crypto/md5")
_RUST_CRATES = {"use rand::Rng;": "rng|rand", "use regex::Regex;": "Regex", "use md5;": "md5::"}
_PYTHON_IMPORTS = (
    *("import math", "import re", "import sys", "import copy", "import datetime", "import itertools", "import collections"),
    *("import heapq", "import statistics", "import functools", "import hashlib", "import string"),
    *("from typing import *", "from collections import *"),
)
_NUMPY = ("import numpy", "import numpy as np")
_JAVA_STUB = "public class Main {\n    }"
_TESTIFY = '"github.com/stretchr/testify/assert"'
# The part of testify that the tests use: `assert.New` and `Equal`, which compares like reflect.DeepEqual.
_GO_ASSERT = """
type packAssert struct{ t *testing.T }

var assert packAssert

func (packAssert) New(t *testing.T) packAssert { return packAssert{t} }

func (a packAssert) Equal(expected, actual interface{}, _ ...interface{}) bool {
	a.t.Helper()
	held := packEqual(expected, actual)
	if !held {
		a.t.Errorf("Not equal: expected %v, got %v", expected, actual)
	}
	return held
}

func packEqual(expected, actual interface{}) bool { return packReflect.DeepEqual(expected, actual) }
"""


@dataclass(frozen=True)
class PackForm:
    """A language's form.

    `language`: the toolchain and the patterns of failures. `closing`: number of closing braces that end the requested code, after which
    the text is cut off; 0 if later text does no harm.
    """

    language: Language
    syntax: TestSyntax
    recorder: Recorder
    head: Callable[[str, str], str]
    """Returns the file's part before the tests, from the solution and the task's setup lines."""
    closing: int = 0


def python_program(solution: str) -> str:
    """Return the solution after the imports that it may omit; numpy, which loads slowly, only if the solution names it."""
    imports = (*_PYTHON_IMPORTS, *(_NUMPY if re.search(r"\bn(?:umpy|p)\b", solution) else ()))
    return "\n".join((*imports, solution)).strip()


def cut(solution: str, beginning: str, closing: int) -> str:
    """Return the solution up to the brace that closes the code opened by `beginning`; braces are counted as in the harness."""
    lines = [line.strip() for line in beginning.split("\n") if line.strip()]
    at = solution.find(lines[-1]) if lines and closing else -1
    if at < 0:
        return solution
    for place in range(at + len(lines[-1]), len(solution)):
        closing += (solution[place] == "{") - (solution[place] == "}")
        if closing == 0:
            return solution[: place + 1]
    return solution


def _as_it_is(solution: str, setup: str) -> str:
    return solution


def _cpp(solution: str, setup: str) -> str:
    return solution.split("int main")[0]


def _java(solution: str, setup: str) -> str:
    return solution.replace(_JAVA_STUB, "")


def _go(solution: str, setup: str) -> str:
    """Return package, imports and solution. Go rejects a package that is imported twice or unused."""
    body = solution.replace("package main", "")
    given = [line.strip() for line in setup.split("\n") if line.strip().startswith('"')]
    wanted = [line for line in given if line != _TESTIFY and line not in body]
    code = "\n".join(line for line in body.split("\n") if not line.strip().startswith("//"))
    for package in _GO_PACKAGES:
        quoted = f'"{package}"'
        if quoted not in body and quoted not in wanted and f"{package.split('/')[-1]}." in code:
            wanted.append(quoted)
    return "\n".join(
        ("package main", "import (", '    packReflect "reflect"', *(f"    {line}" for line in wanted), ")", body, _GO_ASSERT)
    )


def _rust(solution: str, setup: str) -> str:
    """Return the solution with one `main` and without unused crates, since rustc alone has no crates."""
    program = "fn main()".join(solution.split("fn main()")[:2])
    program = program if "fn main()" in program else f"fn main(){{}}\n{program}"
    for line, used in _RUST_CRATES.items():
        rest = program.replace(line, "")
        program = program if re.search(rf"\b(?:{used})", rest) else rest
    return program


def _derived(name: str, *, wrong_answer: str, harness: HarnessRule | None = None, **toolchain: object) -> Language:
    row = LANGUAGES[name]
    rules = replace(row.multipl_e, wrong_answer=wrong_answer, harness=harness or HarnessRule())
    return replace(row, toolchain=replace(row.toolchain, **toolchain), multipl_e=rules)  # pyright: ignore[reportArgumentType]


def _without_javatuples(command: tuple[str, ...]) -> tuple[str, ...]:
    place = command.index("-cp")
    return (*command[:place], *command[place + 2 :])


_JAVA = LANGUAGES["java"].toolchain
_WARM_CPP = (
    "if ! test -e /usr/include/boost/any.hpp; then mkdir boost && "
    "printf '#include <any>\\nnamespace boost { using std::any; using std::any_cast; }\\n' > boost/any.hpp; fi; "
    "{ echo 'using namespace std;'; printf '#include<%s>\\n' " + " ".join(_CPP_HEADERS) + "; } > all.h && "
    "g++ -std=c++17 -I. all.h -o all.h.gch && echo 'int main() {}' > main.cpp && : > libraries && "
    "if g++ main.cpp -lcrypto -o main 2> errors; then echo -lcrypto > libraries; fi"
)

FORMS: dict[str, PackForm] = {
    "js": PackForm(
        _derived("js", wrong_answer="Assertion failed", harness=HarnessRule(fails_with=Words(ANYTHING))),
        TestSyntax(opening=r"\bconsole\.assert\(", tail=r"(?:\s*;)?", truth="!!{} === {}"),
        replace(LANGUAGES["js"].multipl_e.recorder, row="{name}({row}, ({condition}) ? 1 : 0);", insert_before=r"\A"),
        _as_it_is,
        closing=1,
    ),
    "java": PackForm(
        _derived(
            "java",
            wrong_answer="AssertionError",
            files=(),
            install="apt install default-jdk-headless",
            source="Main.java",
            build=(*_without_javatuples(_JAVA.build)[:-1], "Main.java"),
            run=("java", *(part for part in _JAVA.run if part.startswith("-X")), "-cp", ".", "Main"),
        ),
        TestSyntax(
            opening=r"List<Boolean> correct = Arrays\.asList\(",
            listed=True,
            raised=r"if \((.*)\) \{\s*throw new AssertionError\(\);\s*\}",
        ),
        Recorder(
            row="{name}({row}, ({condition}))",
            start="static boolean {name}(int row, boolean held) {{ "
            'try (java.io.FileWriter file = new java.io.FileWriter(System.getenv("{file}"), true)) '
            '{{ file.write(row + " " + (held ? 1 : 0) + "\\n"); }} '
            "catch (java.io.IOException e) {{ throw new RuntimeException(e); }} return held; }}",
            insert_before=r"^\s*public static void main",
            edits=((r"({name}\(\d+, .*\))(?=\s*\}})", r"\1;"),),  # an assertion that is a statement, not in a list
        ),
        _java,
        closing=2,
    ),
    "cpp": PackForm(
        _derived(
            "cpp",
            wrong_answer=r"Assertion .* failed",
            build=("g++", "-std=c++17", "-I{warm}", "-include", "{warm}/all.h", "main.cpp", "-o", "main", "@{warm}/libraries"),
            warm=_WARM_CPP,
            build_s=30.0,
        ),
        TestSyntax(opening=r"\bassert\s*\(", tail=r"\s*;", truth="!!{} == {}"),
        Recorder(
            row="{name}({row}, static_cast<bool>({condition}));",
            start='static void {name}(int row, bool held) {{ if (std::FILE* file = std::fopen(std::getenv("{file}"), "a")) '
            '{{ std::fprintf(file, "%d %d\\n", row, held); std::fclose(file); }} }}',
            insert_before=r"^\s*int main",
        ),
        _cpp,
    ),
    "go": PackForm(
        _derived("go", wrong_answer="Not equal:"),
        TestSyntax(opening=r"\bassert\.Equal\(", pair=(r"Equal", "packEqual({}, {})")),
        Recorder(
            row="_ = assert; {name}({row}, {condition})",  # Go does not compile an unused variable
            start='func {name}(row int, held bool) {{ file, _ := {name}_os.OpenFile({name}_os.Getenv("{file}"), '
            "{name}_os.O_APPEND|{name}_os.O_CREATE|{name}_os.O_WRONLY, 0600)\n"
            'file.WriteString({name}_fmt.Sprintf("%d %t\\n", row, held))\nfile.Close() }}',
            insert_before=r"^func Test",
            program_edit=(r"^\s*package\s+\w+", r'\g<0>; import {name}_os "os"; import {name}_fmt "fmt"'),
        ),
        _go,
    ),
    "rs": PackForm(
        _derived("rs", wrong_answer=r"assertion .*failed", build=("rustc", "--test", "--edition", "2021", "-o", "main", "main.rs")),
        TestSyntax(opening=r"\bassert(?:_eq)?!\s*\(", tail=r"\s*;", pair=(r"_eq", "{} == {}")),
        Recorder(
            row="{name}({row}, {condition});",
            start="fn {name}(row: usize, held: bool) {{ use std::io::Write; "
            'let path = std::env::var("{file}").unwrap(); '
            "let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap(); "
            'file.write_all(format!("{{}} {{}}\\n", row, held as u8).as_bytes()).unwrap(); }}',
            insert_before=r"^\s*#\[cfg\(test\)\]",
        ),
        _rust,
    ),
}
"""The forms by language name (`LANGUAGES`). Python needs none: its tests run in another process."""
