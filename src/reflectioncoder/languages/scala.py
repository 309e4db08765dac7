"""Scala: the tests call the function by its own name."""

from reflectioncoder.languages.language import (
    ANYTHING,
    DIRECT_CALL,
    AssertionSyntax,
    HarnessRule,
    Language,
    MultiplE,
    Recorder,
    TaskFile,
    Words,
)
from reflectioncoder.sandbox.toolchain import Toolchain

SCALA = Language(
    name="scala",
    fence="scala",
    toolchain=Toolchain(
        title="Scala",
        needs=("scalac", "scala"),
        ask_version=("-version",),
        install="apt install scala",
        source="main.scala",
        build=("scalac", "-d", ".", "main.scala"),
        outputs=("*.class",),
        run=("scala", "-cp", ".", "Problem"),
        reserves=True,
        build_s=45.0,
        run_s=30.0,
    ),
    multipl_e=MultiplE(
        files={"scala": TaskFile("humaneval-scala.jsonl", "482b72a16613a563755d642e37792da68471399789b069fba5b1249e831445f3", 160)},
        assertions=AssertionSyntax(r"\bassert\(", call=DIRECT_CALL),
        recorder=Recorder(
            row="{name}({row}, {condition});",
            start="def {name}(row: Int, held: Boolean): Unit = {{ "
            'val file = new _root_.java.io.FileWriter(System.getenv("{file}"), true); '
            'file.write(row.toString + " " + held.toString + "\\n"); file.close() }}',
        ),
        wrong_answer=r"assertion failed",
        syntax_error=None,
        harness=HarnessRule(fails_with=Words(ANYTHING, "stderr")),
    ),
)
