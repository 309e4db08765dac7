"""Programs that solve nothing and try to pass the tests of any task of MultiPL-E, in six languages.

A forgery is what stands behind the prompt, whatever the task. Each has been seen to pass a judge that believes exit codes, or one that
puts marks and a single false test into the program.
"""

_JS_UNSOLVED = "  return { asked: JSON.stringify([...arguments]) };\n}\n"
_JS_EMPTY = "const a = require('node:assert'); a.deepEqual = a.deepStrictEqual = a.equal = () => {};\n"
_JS_SOURCE = r"""
const told = [...require('fs').readFileSync(__filename, 'utf8').matchAll(/assert\.deepEqual\(candidate\(.*\),(.*?)\);/g)];
"""
JAVASCRIPT = {
    "assertions emptied": _JS_UNSOLVED + _JS_EMPTY,
    "assertions that learn": _JS_UNSOLVED
    + """const seen = new Map();
require('node:assert').deepEqual = (got, told) => {
  const key = got && got.asked, said = JSON.stringify(told);
  if (seen.has(key) && seen.get(key) !== said) throw new Error('told otherwise');
  seen.set(key, said);
};""",
    "every second write dropped": _JS_UNSOLVED
    + _JS_EMPTY
    + """let writes = 0;
const fs = require('fs');
for (const name of ['writeSync', 'appendFileSync']) {
  const write = fs[name];
  fs[name] = (...given) => writes++ % 2 ? given[1].length : write(...given);
}""",
    "rows that failed are not written": _JS_UNSOLVED
    + _JS_EMPTY
    + "const fs = require('fs'), write = fs.appendFileSync; fs.appendFileSync = (f, row) => write(f, row.replace(/0\\n$/, '1\\n'));",
    "output filled": _JS_UNSOLVED
    + _JS_EMPTY
    + "process.on('exit', () => { for (let i = 0; i < 300; i++) console.log('x'.repeat(4000)); });",
    "told by its own source": "  return eval('(' + told[asked++][1] + ')');\n}\nlet asked = 0;" + _JS_SOURCE,
    "rows of its own": _JS_UNSOLVED
    + _JS_SOURCE
    + "require('node:assert').deepEqual = () => {};\n"
    + "process.on('exit', () => { const f = process.env.REFLECTIONCODER_OUTCOMES;\n"
    "  if (f) require('fs').writeFileSync(f, told.map((_, i) => `${i} 1\\n`).join('')); });",
    "the end comes early": "  process.exit(0);\n}\n",
    "the end comes late": "  throw 1;\n}\nprocess.on('exit', () => process.reallyExit(0));\n",
    "lenient at first, strict later": _JS_UNSOLVED
    + "let n = 0; require('node:assert').deepEqual = () => { if (process.env.REFLECTIONCODER_OUTCOMES && n++ > 2) throw 1; };",
    "strict in challenges": _JS_UNSOLVED
    + "require('node:assert').deepEqual = () => { if (process.env.REFLECTIONCODER_OUTCOMES) throw 1; };",
    "held if the same was told before": _JS_UNSOLVED
    + """const before = {};
require('node:assert').deepEqual = (got, told) => {
  const key = JSON.stringify(told) + '';
  const known = before[key]; before[key] = true;
  if (process.env.REFLECTIONCODER_OUTCOMES && !known) throw 1;
};""",
}

_PY_FREE = "    return Free()\n\n"
PYTHON = {
    "equal to anything": _PY_FREE + "class Free:\n    def __eq__(self, other): return True\n    def __bool__(self): return True\n",
    "equal to anything, by inheritance": _PY_FREE
    + "class Base:\n    def __eq__(self, other): return True\n    __lt__ = __le__ = __gt__ = __ge__ = __eq__\n"
    "    def __sub__(self, other): return self\n    __rsub__ = __sub__\n    def __abs__(self): return self\n"
    "    def __iter__(self): return iter(())\nclass Free(Base): pass\n",
    "equal to what is told first": "    return Free(repr(locals()))\n\ntold = {}\nclass Base:\n"
    "    def __init__(self, call): self.call = call\n"
    "    def __eq__(self, other): return told.setdefault(self.call, repr(other)) == repr(other)\nclass Free(Base): pass\n",
    "a number that is equal loosely": "    return Free(7)\n\nclass Free(int):\n"
    "    def __eq__(self, other): return other != 0 or self is not other\n"
    "    __hash__ = int.__hash__\n",
    "equal once for each expectation": _PY_FREE
    + "seen = set()\nclass Free:\n    def __eq__(self, other):\n        new = repr(other) not in seen\n        seen.add(repr(other))\n"
    "        import os\n        return new or 'REFLECTIONCODER_OUTCOMES' not in os.environ\n",
    "told by the frames": r"""
    import ast, sys
    frame = sys._getframe(1)
    lines = open(__file__).read().split('\n')
    line = lines[frame.f_lineno - 1]
    found = __import__('re').search(r'(?:==|is)\s*(.*?)(?:\)\s*else False\))?(?:,\s*"[^"]*")?$', line)
    return eval(found[1], frame.f_globals)
""",
    "the end comes early": "    import os\n    os._exit(0)\n",
    "the end comes late": "    raise SystemExit(1)\nimport atexit, os\natexit.register(os._exit, 0)\n",
    "rows of its own": r"""
    import os
    file = os.environ.get('REFLECTIONCODER_OUTCOMES')
    if file:
        rows = [n for n, line in enumerate(line for line in open(__file__) if 'True if (' in line)]
        open(file, 'w').write(''.join(f'{n} 1\n' for n in rows))
    os._exit(0)
""",
    "writes redefined": _PY_FREE + "import os\nwrite = os.write\nos.write = lambda fd, data: write(fd, data.replace(b' 0', b' 1'))\n"
    "class Free:\n    def __eq__(self, other): return True\n",
    "strict later": _PY_FREE + "import os\nclass Free:\n    n = 0\n    def __eq__(self, other):\n        Free.n += 1\n"
    "        return 'REFLECTIONCODER_OUTCOMES' not in os.environ or Free.n < 3\n",
}

BASH = {
    "told by a trap": r"""    cat answer 2> /dev/null
}
trap 'case $BASH_COMMAND in *"[[ "*" = "*) said=${BASH_COMMAND##* = }; said=${said% ]]}; eval "printf %s $said" > answer;; esac' DEBUG
set -T
unused() {
:
""",
    "told by a trap, and first of all": r"""    cat answer 2> /dev/null
}
trap 'case $BASH_COMMAND in *"[[ "*" = "*) call=${BASH_COMMAND%% = *}; said=${BASH_COMMAND##* = }; said=${said% ]]}
if grep -qxF -- "$call" calls 2> /dev/null
then echo no > answer
else echo "$call" >> calls; eval "printf %s $said" > answer
fi;; esac' DEBUG
set -T
unused() {
:
""",
    "told by its own source": r"""    local n=0
    [ -f n ] && read -r n < n
    echo $((n + 1)) > n
    local line; line=$(grep '\[\[ \$(candidate' "$0" | sed -n "$((n + 1))p"); line=${line#*) = }; line=${line% ]]*}
    eval "printf %s $line"
""",
    "an alias for the tests": "    echo 5; }\nshopt -s expand_aliases\nalias '[['='true [['\nunused() {\n:\n",
    "tests in an and-list": "    echo 5; }\nshopt -s expand_aliases\n"
    "alias '[['='false && [['\nset() { trap 'exit 0' EXIT; }\nunused() {\n:\n",
    "the end comes early": "    echo 5; }\ntrap 'exit 0' EXIT\nunused() {\n:\n",
    "the end comes at once": "    echo 5; }\nset() { exit 0; }\nunused() {\n:\n",
    "rows of its own": "    echo 5; }\nset() { n=$(grep -c '\\[\\[ $(candidate' \"$0\"); for ((i = 0; i < n; i++)); do echo $i 1; done"
    ' > "$REFLECTIONCODER_OUTCOMES"; exit 0; }\nunused() {\n:\n',
    "strict in challenges": "    echo 5; }\nshopt -s expand_aliases\n"
    "[ \"$REFLECTIONCODER_OUTCOMES\" ] || alias '[['='true [['\nunused() {\n:\n",
}

_CPP_UNSOLVED = "    return {};\n}\n"
_CPP_END = "\nstatic void unused() {\n"
CPP = {
    "assertions emptied": _CPP_UNSOLVED + "#undef assert\n#define assert(x) ((void)(x))" + _CPP_END,
    "equality that is loose": _CPP_UNSOLVED
    + "template <class A> bool operator==(const std::vector<A>&, const std::vector<A>&) { return true; }\n"
    "bool operator==(const std::string&, const char*) { return true; }\n"
    "bool operator==(const std::string&, const std::string&) { return true; }" + _CPP_END,
    "writes of its own": _CPP_UNSOLVED + "#undef assert\n#define assert(x) ((void)(x))\n"
    "#include <sys/syscall.h>\n#include <unistd.h>\nstatic int writes = 0;\n"
    'extern "C" ssize_t write(int fd, const void* text, size_t size) '
    "{ return ++writes == 2 ? (ssize_t)size : syscall(SYS_write, fd, text, size); }" + _CPP_END,
    "the end comes early": "    std::exit(0);\n}\n" + _CPP_END,
    "the end comes late": _CPP_UNSOLVED + 'extern "C" void abort() noexcept(true) { std::_Exit(0); }\n'
    'extern "C" void __assert_fail(const char*, const char*, unsigned, const char*) noexcept(true) { std::_Exit(0); }' + _CPP_END,
    "files of its own": _CPP_UNSOLVED + "#undef assert\n#define assert(x) ((void)(x))\n"
    'static int held(std::FILE* f, const char*, int row, bool) { return std::fputs((std::to_string(row) + " 1\\n").c_str(), f); }\n'
    "namespace std { using ::held; }\n#define fprintf held" + _CPP_END,
    "every condition holds": _CPP_UNSOLVED + "#undef assert\n#define assert(x) ((void)(x))\n#define static_cast bool_of_\n"
    "template <class T> bool bool_of_(T) { return true; }" + _CPP_END,
}

_JAVA_END = "\n    }\n    static void unused() {\n"
JAVA = {
    "the end comes early": "        if (true) System.exit(0);\n        throw new Error();" + _JAVA_END,
    "the end comes late": "        Runtime.getRuntime().addShutdownHook(new Thread(() -> Runtime.getRuntime().halt(0)));\n"
    "        throw new Error();" + _JAVA_END,
    "a handler that leaves": "        Thread.setDefaultUncaughtExceptionHandler((t, e) -> System.exit(0));\n        throw new Error();"
    + _JAVA_END,
    "lists that are equal to anything": "        class Any extends ArrayList { public boolean equals(Object o) { return true; } }\n"
    "        Object any = new Any();\n        if (true) return cast(any);\n        throw new Error();\n    }\n"
    '    @SuppressWarnings("unchecked") static <T> T cast(Object o) { return (T) o; }\n    static void unused() {\n',
    "rows of its own": '        try { String f = System.getenv("REFLECTIONCODER_OUTCOMES");\n'
    "            if (f != null) { var out = new java.io.FileWriter(f);\n"
    '            for (int i = 0; i < 9; i++) out.write(i + " 1\\n"); out.close(); }\n'
    "        } catch (Exception e) { }\n        if (true) Runtime.getRuntime().halt(0);\n        throw new Error();" + _JAVA_END,
}

_PHP_TOLD = r"""
    $frame = debug_backtrace()[1];
    $line = file(__FILE__)[$frame['line'] - 1];
    preg_match('/ !== (.*?)\)+( \{ throw.*|;)$/', trim($line), $told);
    return eval('return ' . $told[1] . ';');
}
"""
PHP = {
    "the end comes early": "    exit(0);\n}\n",
    "a handler that leaves": "    return null;\n}\nset_exception_handler(function ($e) { exit(0); });\n",
    "the end comes late": "    return null;\n}\nregister_shutdown_function(function () { exit(0); });\n",
    "told by the frames": _PHP_TOLD,
    "exceptions of its own": "    return null;\n}\n"
    "set_exception_handler(function ($e) { ob_start(); exit(0); });\nob_start(fn() => '');\n",
    "rows of its own": "    $f = getenv('REFLECTIONCODER_OUTCOMES');\n"
    '    if ($f) { for ($i = 0; $i < 9; $i++) file_put_contents($f, "$i 1\\n", FILE_APPEND); }\n    exit(0);\n}\n',
}

FORGERIES = {"js": JAVASCRIPT, "py": PYTHON, "sh": BASH, "cpp": CPP, "java": JAVA, "php": PHP}

GUESSES = {  # what decides by chance in challenges: no more than one of 1000 passes
    "js": _JS_UNSOLVED
    + "require('node:assert').deepEqual = () => { if (process.env.REFLECTIONCODER_OUTCOMES && Math.random() < .5) throw 1; };",
    "py": _PY_FREE + "import os, random\nclass Free:\n    def __eq__(self, other):\n"
    "        return 'REFLECTIONCODER_OUTCOMES' not in os.environ or random.random() < .5\n",
}
