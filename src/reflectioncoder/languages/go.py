"""Go: its tests are a table of cases that one loop compares."""

from reflectioncoder.languages.language import AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile
from reflectioncoder.sandbox.toolchain import Toolchain

GO = Language(
    name="go",
    fence="go",
    toolchain=Toolchain(
        title="Go",
        needs=("go",),
        ask_version=("version",),
        install="apt install golang-go",
        source="main_test.go",
        build=("go", "test", "-vet=off", "-c", "-o", "main", "main_test.go"),
        outputs=("main",),
        run=("./main", "-test.v"),
        env={"GO111MODULE": "off", "GOCACHE": "{work}/go", "GOFLAGS": "-p=2"},
        build_s=30.0,
        reserves=True,
    ),
    multipl_e=MultiplE(
        files={"go": TaskFile("humaneval-go.jsonl", "7f5dfe3ff001049b1221e9d21a8119b5cbc38eb87c97fefc5d57fa7adc1df888", 154)},
        assertions=AssertionSyntax(r"^\s*\{(?= actual: )", tail=","),
        recorder=Recorder(
            row="{{{condition}}},",
            start='{name} := func(row int, held bool) {{ file, _ := {name}_os.OpenFile({name}_os.Getenv("{file}"), '
            "{name}_os.O_APPEND|{name}_os.O_CREATE|{name}_os.O_WRONLY, 0600)\n"
            'fmt.Fprintf(file, "%d %t\\n", row, held)\nfile.Close() }}',
            insert_before=r"^\s*type test struct",
            edits=((r"if (fmt\.Sprintf\(.*\)) != (fmt\.Sprintf\(.*\)) \{{", r"{name}(i, \1 == \2)\nif false {{"),),
            program_edit=(r"^\s*package\s+\w+", r'\g<0>; import {name}_os "os"'),
        ),
        wrong_answer=r"expected '.*', got '",
        syntax_error=None,
        harness=HarnessRule(),
    ),
)
