"""Racket."""

from reflectioncoder.languages.language import ANYTHING, AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile, Words
from reflectioncoder.sandbox.toolchain import Toolchain

RACKET = Language(
    name="rkt",
    fence="racket",
    toolchain=Toolchain(
        title="Racket",
        needs=("racket",),
        install="apt install racket",
        source="main.rkt",
        run=("racket", "main.rkt"),
        reserves=True,
    ),
    multipl_e=MultiplE(
        files={"rkt": TaskFile("humaneval-rkt.jsonl", "083325daf55daf431ae6d6d17cf017afb18a6ec790d4c841b7c2b4752c5807ff", 161)},
        assertions=AssertionSyntax(r"\((?=check-within )", call=r"\((?=candidate\b)", tail="", quotes='"'),
        recorder=Recorder(
            row="({name} {row} (with-handlers ([void (lambda (_) 0)]) (parameterize ([current-check-handler raise]) ({condition})) 1))",
            start='(define ({name} row held) (with-output-to-file (getenv "{file}") #:exists \'append '
            '(lambda () (printf "~a ~a\\n" row held))))',
        ),
        wrong_answer=r"FAILURE",
        syntax_error=r"read-syntax|unbound identifier|bad syntax",
        harness=HarnessRule(failures=((Words("read-syntax", "stderr"), "SyntaxError"),), fails_with=Words(ANYTHING, "stderr")),
    ),
)
