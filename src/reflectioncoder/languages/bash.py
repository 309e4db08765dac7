"""Bash: its tests end with an exit code and print nothing."""

from reflectioncoder.languages.language import AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile, Words
from reflectioncoder.sandbox.toolchain import Toolchain

BASH = Language(
    name="sh",
    fence="bash",
    toolchain=Toolchain(title="Bash", needs=("bash",), install="apt install bash", source="main.sh", run=("bash", "main.sh")),
    multipl_e=MultiplE(
        files={"sh": TaskFile("humaneval-sh.jsonl", "2f702106e9ce4aa7385de568d9248d6c57c90382d782b162cb9e072fbd01ccf8", 158)},
        assertions=AssertionSyntax(r"^\s*\[(?=\[ )", call=r"\$\(", tail="", quotes='"'),
        recorder=Recorder(
            row="if [{condition}]; then {name} '{row} 1'; else {name} '{row} 0'; fi",
            start='{name}() {{ builtin printf \'%s\\n\' "$1" >> "${file}"; }}',
        ),
        wrong_answer=None,
        syntax_error=r"syntax error",
        harness=HarnessRule(failures=((Words("syntax error", "stderr"), "SyntaxError"),)),
    ),
)
