"""Programs that know every answer of a task by heart: the n-th call returns what the n-th assertion expects.

They are right, so they have to stand every challenge, whatever is drawn. `FRAMES` has for each language the body of such a function:
`CASES` are its answers, each made by the first of the two texts out of `ROW` and `ANSWER`.
"""

import re

from reflectioncoder.evaluate.judges.multipl_e.assertions import assertions_of
from reflectioncoder.languages import LANGUAGES

SWITCH = "case ROW: return ANSWER;"
FRAMES = {
    "cpp": (SWITCH, 'static int calls = 0;\n switch (calls++) { CASES }\n throw std::runtime_error("called again");'),
    "java": (
        SWITCH,
        'switch (calls++) { CASES }\n throw new RuntimeException("called again"); }\n static int calls = 0; static void unused() {',
    ),
    "cs": (
        SWITCH,
        'switch (calls++) { CASES }\n throw new Exception("called again"); }\n static int calls = 0; static void Unused() {',
    ),
    "scala": (
        "case ROW => ANSWER",
        'calls += 1\n (calls - 1) match { CASES\n case _ => throw new Exception("called again") } }\n'
        "var calls = 0; def unused(): Unit = {",
    ),
    "js": ("() => (ANSWER),", "return [CASES][globalThis.calls++](); }\nglobalThis.calls = 0;"),
    "ts": ("() => (ANSWER),", "return ([CASES] as any)[calls++](); }\nvar calls = 0;"),
    "sh": (
        "ROW) printf %s ANSWER ;;",
        "local calls=0; [ -f calls ] && read -r calls < calls\n echo $((calls + 1)) > calls\n case $calls in\nCASES\n esac",
    ),
    "pl": ("sub { ANSWER },", "our $calls; my @answers = (CASES); return $answers[$calls++]->(); }"),
    "php": (SWITCH, 'static $calls = 0;\n switch ($calls++) { CASES }\n throw new Error("called again"); }'),
    "py": ("lambda: ANSWER,", "\n    return [CASES][next(calls)]()\nimport itertools\ncalls = itertools.count()\n"),
    "rb": ("-> { ANSWER },", "  $calls = ($calls || -1) + 1\n  [CASES][$calls].call\nend"),
    "lua": ("function() return ANSWER end,", "calls = (calls or 0) + 1\n local answers = {CASES}\n return answers[calls]() end"),
    "rs": (
        "ROW => ANSWER,",
        "static CALLS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);\n"
        'match CALLS.fetch_add(1, std::sync::atomic::Ordering::SeqCst) { CASES _ => panic!("called again") }',
    ),
    "go": (SWITCH, 'calls++\n switch calls - 1 { CASES }\n panic("called again")\n}\nvar calls = 0\n'),
    "d": (SWITCH, '{ static int calls; switch (calls++) { CASES default: throw new Exception("called again"); } }'),
    "r": ("function() ANSWER", "calls <<- calls + 1\n list(CASES)[[calls]]() }\ncalls <- 0"),
    "rkt": ("(lambda () ANSWER)", "(set! calls (+ calls 1)) ((list-ref (list CASES) (- calls 1))))\n(define calls 0)"),
}
BETWEEN = {"r": ", ", "scala": "\n", "sh": "\n"}
ANSWERS = {  # what an assertion expects, out of its condition
    "sh": r"\[ \0 = (?P<answer>.*) \]",
    "pl": r"eq_deeply\(\0,(?P<answer>.*)\)",
    "rb": r"(?P<answer>.*), \0",
    "go": r" actual: \0, expected: (?P<answer>.*) ",
    "r": r"isTRUE\(all\.equal\(\0, (?P<answer>.*)\)\)",
    "rkt": r"check-within \0 (?P<answer>.*) 0\.001",
}
USUAL = r"\0(?: == |\.equals|\.Equals|\.SequenceEqual|,| !== )(?P<answer>.*)"


def program_by_heart(task, language):
    """None where the answers cannot be read off: D's that may be null, and Python's that are computed in the tests."""
    case, body = FRAMES[language]
    cases = []
    for row, assertion in enumerate(assertions_of(task.tests.tests, LANGUAGES[language])):
        found = re.fullmatch(ANSWERS.get(language, USUAL), assertion.shape, re.DOTALL)
        if found is None:
            return None
        cases.append(case.replace("ROW", str(row)).replace("ANSWER", found["answer"]))
    return task.prompt + body.replace("CASES", BETWEEN.get(language, " ").join(cases))
