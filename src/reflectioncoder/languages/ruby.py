"""Ruby."""

from reflectioncoder.languages.language import ANYTHING, AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile, Words
from reflectioncoder.sandbox.toolchain import Toolchain

RUBY = Language(
    name="rb",
    fence="ruby",
    toolchain=Toolchain(
        title="Ruby",
        needs=("ruby",),
        install="apt install ruby ruby-test-unit",
        source="main.rb",
        run=("ruby", "main.rb"),
        reserves=True,
    ),
    multipl_e=MultiplE(
        files={"rb": TaskFile("humaneval-rb.jsonl", "4204395b835019e32d55513325a0fad01c6d382fd1eb97b516f0458d00058302", 161)},
        assertions=AssertionSyntax(r"\bassert_equal\(", call=r"\bcandidate\.call\(", tail=""),
        recorder=Recorder(
            row="{name}.call({row}, begin; assert_equal({condition}); 1; rescue ::StandardError; 0; end)",
            start='{name} = lambda {{ |row, held| ::File.write(::ENV["{file}"], "#{{row}} #{{held}}\\n", mode: "a") }}',
        ),
        wrong_answer=r"^Failure:",
        syntax_error=r"syntax error|\(SyntaxError\)",
        harness=HarnessRule(failures=((Words(ANYTHING, "stderr"), "SyntaxError"),)),
    ),
)
