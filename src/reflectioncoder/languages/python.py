"""Python as MultiPL-E tests it: run by the machine's own interpreter, program and tests in one file."""

from reflectioncoder.languages.language import HarnessRule, Language, MultiplE, Recorder, TaskFile, Words
from reflectioncoder.sandbox.toolchain import Toolchain

PYTHON = Language(
    name="py",
    fence="python",
    other_fences=("py", "python3"),
    toolchain=Toolchain(
        title="Python", needs=("python3",), install="apt install python3", source="main.py", run=("python3", "main.py")
    ),
    multipl_e=MultiplE(
        files={"py": TaskFile("humaneval-python.jsonl", "0eae07adadbb00d51962fdb78b9e2a26bfa8ade85dc54eb57cae9bffed2f5c54", 164)},
        assertions=None,
        recorder=Recorder(
            row="{name}({row}, True if ({condition}) else False)",
            start="def {name}(row, held, os=__import__('os')):\n"
            "    file = os.open(os.environ['{file}'], os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
            "    os.write(file, b'%d %d\\n' % (row, held))\n    os.close(file)",
            insert_before=r"\A",
        ),
        wrong_answer=r"AssertionError",
        syntax_error=r"^(SyntaxError|IndentationError|TabError)",
        harness=HarnessRule(failures=((Words("SyntaxError", "stderr"), "SyntaxError"),)),
    ),
)
