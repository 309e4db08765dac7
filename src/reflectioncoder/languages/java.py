"""Java: the tests call the function by its own name; tuples come from the library javatuples."""

from reflectioncoder.languages.language import DIRECT_CALL, AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile
from reflectioncoder.sandbox.toolchain import Toolchain

_JAVATUPLES = "/usr/share/java/javatuples.jar"
_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xss64m", "-Xmx512m")

JAVA = Language(
    name="java",
    fence="java",
    toolchain=Toolchain(
        title="Java",
        needs=("javac", "java"),
        files=(_JAVATUPLES,),
        install="apt install default-jdk-headless libjavatuples-java",
        source="Problem.java",
        build=("javac", "-encoding", "UTF8", "-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC", "-cp", _JAVATUPLES, "Problem.java"),
        outputs=("*.class",),
        run=("java", "-ea", *_JVM, "-cp", f"{_JAVATUPLES}:.", "Problem"),
        reserves=True,
    ),
    multipl_e=MultiplE(
        files={"java": TaskFile("humaneval-java.jsonl", "b21b015763452ec4f9f4e0e6425148ec331ace4da1232c8b4d441186185f6265", 158)},
        assertions=AssertionSyntax(r"\bassert\(", call=DIRECT_CALL),
        recorder=Recorder(
            row="{name}.accept({row}, {condition});",
            start="java.util.function.BiConsumer<Integer, Boolean> {name} = (row, held) -> {{ "
            'try (java.io.FileWriter file = new java.io.FileWriter(System.getenv("{file}"), true)) '
            '{{ file.write(row + " " + (held ? 1 : 0) + "\\n"); }} '
            "catch (java.io.IOException e) {{ throw new RuntimeException(e); }} }};",
        ),
        wrong_answer=r"AssertionError",
        syntax_error=None,
        harness=HarnessRule(),
    ),
)
