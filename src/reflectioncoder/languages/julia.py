"""Julia: its rules were written without Julia and never run (docs/multipl-e.md)."""

from reflectioncoder.languages.language import ANYTHING, AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile, Words
from reflectioncoder.sandbox.toolchain import Toolchain

JULIA = Language(
    name="jl",
    fence="julia",
    toolchain=Toolchain(
        title="Julia",
        needs=("julia",),
        install="julia is not among Debian's packages: julialang.org",
        source="main.jl",
        run=("julia", "main.jl"),
        reserves=True,
        run_s=30.0,
    ),
    multipl_e=MultiplE(
        files={"jl": TaskFile("humaneval-jl.jsonl", "ef21bd920889c9c1ab0e87a825cc26bd895e7a715f569f8ba7de577f870b6815", 159)},
        assertions=AssertionSyntax(r"@test\(", tail=""),
        recorder=Recorder(
            row="{name}({row}, {condition})",
            start='{name}(row, held) = open(ENV["{file}"], "a") do file; print(file, row, " ", held, "\\n"); end',
        ),
        wrong_answer=r"Test Failed",
        syntax_error=r"syntax:|ParseError",
        harness=HarnessRule(failures=((Words(ANYTHING, "stderr"), "SyntaxError"),)),
    ),
)
