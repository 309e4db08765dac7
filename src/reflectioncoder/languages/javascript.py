"""JavaScript and TypeScript, both run with Node."""

from dataclasses import replace

from reflectioncoder.languages.language import (
    AssertionSyntax,
    AuthorsCut,
    BraceSyntax,
    HarnessRule,
    Language,
    MultiplE,
    Recorder,
    TaskFile,
    Words,
)
from reflectioncoder.sandbox.toolchain import Toolchain

# Node makes pipes non-blocking: `fs.writeSync(1)` after `console.log` would fail with EAGAIN if the reader is slower.
_BLOCKING = {"blocking.js": "for (const stream of [process.stdout, process.stderr]) stream._handle?.setBlocking?.(true);\n"}

_NODE = Toolchain(
    title="JavaScript",
    needs=("node",),
    install="apt install nodejs",
    source="main.js",
    run=("node", "--require", "./blocking.js", "main.js"),
    env={"OPENSSL_CONF": "/dev/null"},  # the system's configuration cannot be read
    beside=_BLOCKING,
    reserves=True,
)

JAVASCRIPT = Language(
    name="js",
    fence="javascript",
    other_fences=("js", "node"),
    toolchain=_NODE,
    multipl_e=MultiplE(
        files={"js": TaskFile("humaneval-js.jsonl", "634e2eee8d6e22de07c121b972207683dd96be76256bf44bdfc1a3386b739287", 161)},
        assertions=AssertionSyntax(r"\bassert\.deepEqual\("),
        recorder=Recorder(
            row="try {{ assert.deepEqual({condition}); {name}({row}, 1); }} catch {{ {name}({row}, 0); }}",
            start='const {name} = (row, held) => require("fs").appendFileSync(require("process").env.{file}, `${{row}} ${{held}}\\n`);',
        ),
        wrong_answer=r"AssertionError|ERR_ASSERTION",
        syntax_error=r"^SyntaxError",
        harness=HarnessRule(
            failures=(
                (Words("ERR_ASSERTION"), "AssertionError"),
                (Words("SyntaxError"), "SyntaxError"),
                (Words("ReferenceError"), "ReferenceError"),
            )
        ),
        authors_cut=AuthorsCut(("\n}",), instead=True, closes=True),
    ),
    braces=BraceSyntax(
        frame="{program}\n\nconst assert = require('node:assert');\n{tests}\nconsole.log(\"All tests passed.\");",
        function=r"(?:function\*?\s+{name}\s*\(|(?:const|let|var)\s+{name}\s*=|class\s+{name}\b)",
        test=r"console\.|assert|(?:const|let|var)\s+assert\b|(?:test|check|main)\w*\(|function\s+(?:test|check|main)\w*\s*\(|module\.exports",
        outside=r"require\(\s*['\"](?:node:)?(?:fs|net|http|https|child_process|os|dgram|tls|dns|cluster|worker_threads|readline)\b"
        r"|process\.(?:stdin|exit|kill)|\bfetch\(|^import\b",
        broken=r"^(SyntaxError: .*)$(?!\n +at )",  # an error thrown while the program runs has a stack trace
        raised=r"^(?:Uncaught )?(\w*Error\b.*: .*)",
        asserted=r"^AssertionError|ERR_ASSERTION",
        footer=r"(?:\(Use `node .*\n)?\s*^Node\.js v.*",
    ),
)

TYPESCRIPT = Language(
    name="ts",
    fence="typescript",
    toolchain=replace(
        _NODE,
        title="TypeScript",
        needs=("tsc", "node"),
        install="npm install --global typescript",
        source="main.ts",
        build=("tsc", "--target", "esnext", "--strict", "false", "main.ts"),
        outputs=("main.js",),
    ),
    multipl_e=replace(
        JAVASCRIPT.multipl_e,
        files={"ts": TaskFile("humaneval-ts.jsonl", "4b1af1050c9f226335d54a8c80553c39454a525cace3e67bdcfcc9092ba02637", 159)},
        authors_cut=AuthorsCut(("\n}",), closes=True),
    ),
)
