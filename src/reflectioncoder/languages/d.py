"""D."""

from reflectioncoder.languages.language import AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile
from reflectioncoder.sandbox.toolchain import Toolchain

D = Language(
    name="d",
    fence="d",
    toolchain=Toolchain(
        title="D",
        needs=("ldc2",),
        install="apt install ldc",
        source="main.d",
        build=("ldc2", "-unittest", "-of=main", "main.d"),
        outputs=("main",),
        run=("./main",),
        reads_proc=True,
    ),
    multipl_e=MultiplE(
        files={"d": TaskFile("humaneval-d.jsonl", "226938c015f90d713a3e30d8f174f4a6d2c88820cf50512379a16890dda70332", 156)},
        assertions=AssertionSyntax(r"\bassert\(", call=r"\bcandidate\(|\bresult(\[\d\])?"),
        recorder=Recorder(
            row="{{ static import core.stdc.stdio, core.stdc.stdlib; "
            'auto {name} = core.stdc.stdio.fopen(core.stdc.stdlib.getenv("{file}"), "a"); '
            'core.stdc.stdio.fputs(({condition}) ? "{row} 1\\n" : "{row} 0\\n", {name}); core.stdc.stdio.fclose({name}); }}',
            start="",
        ),
        wrong_answer=r"\[unittest\]|AssertError",
        syntax_error=None,
        harness=HarnessRule(),
    ),
)
