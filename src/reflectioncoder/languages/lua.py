"""Lua, tested with LuaUnit."""

from reflectioncoder.languages.language import AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile
from reflectioncoder.sandbox.toolchain import Toolchain

LUA = Language(
    name="lua",
    fence="lua",
    toolchain=Toolchain(
        title="Lua",
        needs=("lua5.4",),
        ask_version=("-v",),
        files=("/usr/share/lua/5.4/luaunit.lua",),
        install="apt install lua5.4 lua-unit",
        source="main.lua",
        run=("lua5.4", "main.lua"),
    ),
    multipl_e=MultiplE(
        files={"lua": TaskFile("humaneval-lua.jsonl", "d2e91f3603f6aee63db2c2d5754d165397603a8c9bd6130842af7988b27a96fc", 161)},
        assertions=AssertionSyntax(r"\blu\.assertEquals\(", tail=""),
        recorder=Recorder(
            row="{name}({row}, pcall(function() lu.assertEquals({condition}) end))",
            start='local function {name}(row, held) local file = io.open(os.getenv("{file}"), "a"); '
            'file:write(row, held and " 1\\n" or " 0\\n"); file:close() end',
        ),
        wrong_answer=r"expected: (.|\n)*?actual: ",
        syntax_error=r"^\S*lua\S*: main\.lua:\d+: .* near ",
        out_of_memory=r"attempt to index a string value \(local 'err'\)",  # LuaUnit fails on Lua's own out-of-memory error
        harness=HarnessRule(),
    ),
)
