"""The programming languages: one module and one entry in `LANGUAGES` each (docs/adding/language.md)."""

from __future__ import annotations

from reflectioncoder.languages.bash import BASH
from reflectioncoder.languages.cpp import CPP
from reflectioncoder.languages.csharp import CSHARP
from reflectioncoder.languages.d import D
from reflectioncoder.languages.go import GO
from reflectioncoder.languages.java import JAVA
from reflectioncoder.languages.javascript import JAVASCRIPT, TYPESCRIPT
from reflectioncoder.languages.julia import JULIA
from reflectioncoder.languages.language import Language
from reflectioncoder.languages.lua import LUA
from reflectioncoder.languages.perl import PERL
from reflectioncoder.languages.php import PHP
from reflectioncoder.languages.python import PYTHON
from reflectioncoder.languages.r import R
from reflectioncoder.languages.racket import RACKET
from reflectioncoder.languages.ruby import RUBY
from reflectioncoder.languages.rust import RUST
from reflectioncoder.languages.scala import SCALA
from reflectioncoder.languages.swift import SWIFT

LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        *(CPP, JAVA, JAVASCRIPT, TYPESCRIPT, BASH, PERL, PHP, PYTHON, RUBY, LUA),
        *(RUST, GO, D, JULIA, R, RACKET, SCALA, CSHARP, SWIFT),
    )
}
"""All languages, by MultiPL-E's names."""

CODE_LANGUAGES: dict[str, Language] = {language.name: language for language in (PYTHON, JAVASCRIPT, CPP)}
"""The languages for building and reading reflections: Python and those with `braces`."""
