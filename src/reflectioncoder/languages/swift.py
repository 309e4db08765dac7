"""Swift: its rules were written without Swift and never run (docs/multipl-e.md)."""

from reflectioncoder.languages.language import DIRECT_CALL, AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile
from reflectioncoder.sandbox.toolchain import Toolchain

SWIFT = Language(
    name="swift",
    fence="swift",
    toolchain=Toolchain(
        title="Swift",
        needs=("swiftc",),
        install="swift is not among Debian's packages: swift.org",
        source="main.swift",
        build=("swiftc", "main.swift", "-o", "main"),
        outputs=("main",),
        run=("./main",),
        build_s=60.0,
        reserves=True,
    ),
    multipl_e=MultiplE(
        files={"swift": TaskFile("humaneval-swift.jsonl", "e4418d6f532e4298969e727690cda80dc88b94e4abf836f8ff79ac18a737eaaa", 158)},
        assertions=AssertionSyntax(r"^assert\(", call=DIRECT_CALL, tail=""),
        recorder=Recorder(
            row="{name}({row}, {condition})",
            start='import Foundation\nfunc {name}(_ row: Int, _ held: Bool) {{ let file = fopen(getenv("{file}"), "a")!; '
            'fputs("\\(row) \\(held)\\n", file); fclose(file) }}',
        ),
        wrong_answer=r"Assertion failed",
        syntax_error=None,
        harness=HarnessRule(tells_slow_builds=True),
    ),
)
