"""C++."""

from reflectioncoder.languages.language import (
    AssertionSyntax,
    AuthorsCut,
    BraceSyntax,
    HarnessRule,
    Language,
    MultiplE,
    Recorder,
    TaskFile,
)
from reflectioncoder.sandbox.toolchain import Toolchain

CPP = Language(
    name="cpp",
    fence="cpp",
    other_fences=("c++", "cc", "cxx"),
    toolchain=Toolchain(
        title="C++",
        needs=("g++",),
        install="apt install g++",
        source="main.cpp",
        build=("g++", "-std=c++17", "-include", "{warm}/all.h", "main.cpp", "-o", "main"),
        outputs=("main",),
        run=("./main",),
        # Parsing the standard library's headers is two thirds of a compilation, so they are precompiled.
        warm="echo '#include <bits/stdc++.h>' > all.h && g++ -std=c++17 all.h -o all.h.gch",
    ),
    multipl_e=MultiplE(
        files={"cpp": TaskFile("humaneval-cpp.jsonl", "8717eabdf202137158c84506144b0fb1e73d5ecccbe5363ec79009ca014df629", 161)},
        assertions=AssertionSyntax(r"\bassert\("),
        recorder=Recorder(
            row="{name}({row}, static_cast<bool>({condition}));",
            start='auto {name} = [](int row, bool held) {{ if (std::FILE* file = std::fopen(std::getenv("{file}"), "a")) '
            '{{ std::fprintf(file, "%d %d\\n", row, held); std::fclose(file); }} }};',
        ),
        wrong_answer=r"Assertion .* failed",
        syntax_error=None,
        harness=HarnessRule(),
        authors_cut=AuthorsCut(("\nint main",)),
    ),
    braces=BraceSyntax(
        frame="{program}\n\n#include <cassert>\n#include <iostream>\n\nint main() {{\n{tests}\n"
        '    std::cout << "All tests passed." << std::endl;\n}}',
        indent="    ",
        function=r"(?:\b{name}\s*\([^;{{}}]*\)\s*(?:const\s*)?(?:noexcept\s*)?\{{|(?:struct|class)\s+{name}\b)",
        test=r"(?:int|void|auto)\s+main\s*\(|(?:void|bool|int)\s+(?:run_)?(?:test|check)\w*\s*\(",
        outside=r"<(?:fstream|filesystem|unistd\.h|sys/|netinet/|thread)|\bcin\b|\b(?:system|popen|fork|getenv)\s*\(|\b[io]?fstream\b",
        broken=r"^main\.cpp:\d+:\d+: ((?:fatal )?error: .*)",
        raised=r"terminate called after throwing an instance of '([^']*)'",
        asserted=r"Assertion [`'‘]",
    ),
)
