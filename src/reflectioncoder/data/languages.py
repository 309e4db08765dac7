"""Lists the languages that reflection data can be written in: their names in words, in fences and in MultiPL-E."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CodeLanguage:
    name: str
    title: str
    fence: str
    other_fences: tuple[str, ...] = ()


PYTHON = CodeLanguage("py", "Python", "python", ("py", "python3"))
CODE_LANGUAGES = {
    language.name: language
    for language in (
        PYTHON,
        CodeLanguage("js", "JavaScript", "javascript", ("js", "node")),
        CodeLanguage("cpp", "C++", "cpp", ("c++", "cc", "cxx")),
    )
}
