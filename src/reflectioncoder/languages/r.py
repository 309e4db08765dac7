"""R."""

from reflectioncoder.languages.language import ANYTHING, AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile, Words
from reflectioncoder.sandbox.toolchain import Toolchain

R = Language(
    name="r",
    fence="r",
    toolchain=Toolchain(title="R", needs=("Rscript",), install="apt install r-base-core", source="main.r", run=("Rscript", "main.r")),
    multipl_e=MultiplE(
        files={"r": TaskFile("humaneval-r.jsonl", "c2a3268ea54d2bfb8ce65bb2c808437ac0d9934c6caf99fcf75d6b6a4fb3f911", 161)},
        assertions=AssertionSyntax(r"\bstopifnot\(", tail=""),
        recorder=Recorder(
            row="{name}({row}, {condition})",
            start='{name} <- function(row, held) {{ force(held); base::cat(row, " ", as.integer(held), "\\n", sep = "", '
            'file = Sys.getenv("{file}"), append = TRUE) }}',
        ),
        wrong_answer=r"isTRUE\(all\.equal",
        syntax_error=r"^Error: (unexpected|invalid)",
        harness=HarnessRule(
            failures=((Words("unexpected"), "SyntaxError"), (Words(ANYTHING, "stderr"), "Exception")), otherwise="AssertionError"
        ),
    ),
)
