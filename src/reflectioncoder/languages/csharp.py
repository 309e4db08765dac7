"""C#, compiled with Mono: the tests call the function by its own name."""

from reflectioncoder.languages.language import DIRECT_CALL, AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile, Words
from reflectioncoder.sandbox.toolchain import Toolchain

CSHARP = Language(
    name="cs",
    fence="csharp",
    toolchain=Toolchain(
        title="C#",
        needs=("mcs", "mono"),
        install="apt install mono-mcs mono-runtime",
        source="main.cs",
        build=("mcs", "-d:DEBUG", "-r:System.Numerics.dll", "main.cs", "-out:main.exe"),
        outputs=("main.exe",),
        run=("mono", "main.exe"),
        env={"MONO_TRACE_LISTENER": "Console.Error"},
        reserves=True,
        reads_proc=True,
    ),
    multipl_e=MultiplE(
        files={
            "cs": TaskFile("humaneval-cs.jsonl", "1c3fe18be10addc2d0b96311f4db192ae3232e08628d17768d889d6ab87be224", 158),
            # The file that the authors' README recommends: 45 of its tasks compare references, and correct programs fail them.
            "cs-bu": TaskFile("humaneval-cs-bu.jsonl", "d281b53b24e0f44cb76f1b1a8702b1ca668ff2a29c7621276ee8b658f5c124c6", 158),
        },
        assertions=AssertionSyntax(r"\bDebug\.Assert\(", call=DIRECT_CALL),
        recorder=Recorder(
            row="{name}({row}, {condition});",
            start="System.Action<int, bool> {name} = (row, held) => System.IO.File.AppendAllText("
            'System.Environment.GetEnvironmentVariable("{file}"), row + " " + held + "\\n");',
        ),
        wrong_answer=r"Debug\.Assert|Assertion Failed|Fail:",
        syntax_error=None,
        harness=HarnessRule(fails_with=Words(r"System\.Diagnostics\.DefaultTraceListener\.Fail|Unhandled Exception", "stderr")),
    ),
)
