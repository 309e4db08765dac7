"""PHP."""

from reflectioncoder.languages.language import AssertionSyntax, AuthorsCut, HarnessRule, Language, MultiplE, Recorder, TaskFile, Words
from reflectioncoder.sandbox.toolchain import Toolchain

PHP = Language(
    name="php",
    fence="php",
    toolchain=Toolchain(
        title="PHP", needs=("php",), install="apt install php-cli", source="main.php", run=("php", "main.php"), reserves=True
    ),
    multipl_e=MultiplE(
        files={"php": TaskFile("humaneval-php.jsonl", "bebd86875b1d8e65a8b7e692ed7bdf64612b44aa388825ea4dab40c7047c786b", 161)},
        assertions=AssertionSyntax(r"\bif \((?=candidate)", tail=r' \{ throw new Exception\("Test failed!"\); \}'),
        recorder=Recorder(
            row="${name}({row}, !({condition}));",
            start="${name} = function ($row, $held) {{ "
            '\\file_put_contents(\\getenv("{file}"), "$row " . (int) $held . "\\n", \\FILE_APPEND); }};',
        ),
        wrong_answer=r"Test failed!",
        syntax_error=r"Parse error:",
        harness=HarnessRule(failures=((Words("PHP Parse error", "stdout"), "SyntaxError"),)),
        authors_cut=AuthorsCut(("\n}",), instead=True, closes=True),
    ),
)
