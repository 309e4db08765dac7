"""Pairs of an attempt and its reference, written by hand, with the place where they part."""

from typing import Any, NamedTuple


class Case(NamedTuple):
    """`expected`: fields of the divergence. Lines count from 1: the sources begin after their first newline."""

    name: str
    attempt: str
    reference: str
    test: str
    expected: dict[str, Any]
    before: str = ""


def value(line: int | None, variable: str, ours: str, theirs: str, **more: Any) -> dict[str, Any]:
    return {"kind": "value", "line_attempt": line, "variable": variable, "value_attempt": ours, "value_reference": theirs, **more}


SUM = """
def total(xs):
    result = 0
    for i in range(len(xs)):
        result += xs[i]
    return result
"""
FACTORIAL = """
def factorial(n):
    if n == 0:
        return 1
    return n * factorial(n - 1)
"""
GCD = """
def gcd(a, b):
    while b:
        a, b = b, a % b
    return a
"""
GRADE = """
def grade(points):
    if points >= 90:
        letter = "A"
    elif points >= 80:
        letter = "B"
    else:
        letter = "C"
    return letter
"""
STACK = """
class Stack:
    def __init__(self):
        self.items = []
        self.size = 0

    def push(self, item):
        self.items.append(item)
        self.size += 1

    def pop(self):
        self.size -= 1
        return self.items.pop()


def last_two(xs):
    stack = Stack()
    for x in xs:
        stack.push(x)
    return [stack.pop(), stack.pop(), stack.size]
"""
HELPERS = """
def square(x):
    return x * x


def norm(xs):
    total = 0
    for x in xs:
        total += square(x)
    return total


def longest(rows):
    best = None
    for row in rows:
        if best is None or norm(row) > norm(best):
            best = row
    return best
"""
GENERATOR = """
def evens(limit):
    n = 0
    while n < limit:
        yield n
        n += 2


def sum_of_evens(limit):
    return sum(evens(limit))
"""
SEARCH = """
def find(xs, wanted):
    low, high = 0, len(xs) - 1
    while low <= high:
        middle = (low + high) // 2
        if xs[middle] == wanted:
            return middle
        if xs[middle] < wanted:
            low = middle + 1
        else:
            high = middle - 1
    return -1
"""
COUNTS = """
def commonest(words):
    counts = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return ordered[0]
"""
GREETING = """
def greeting(name):
    return ' '.join(
        ['Hello,', name]
    )
"""
EVENS = """
def evens(xs):
    found = []
    for x in xs:
        if x % 2 == 0:
            found.append(x)
    return found
"""
FIBONACCI = """
memo = {}


def fib(n):
    if n < 2:
        return n
    if n not in memo:
        memo[n] = fib(n - 1) + fib(n - 2)
    return memo[n]
"""


def changed(source: str, old: str, new: str) -> str:
    assert source.count(old) == 1, (old, source.count(old))
    return source.replace(old, new)


CASES = [
    Case(
        "a loop starts one too late",
        changed(SUM, "range(len(xs))", "range(1, len(xs))"),
        SUM,
        "assert total([5, 1]) == 6",
        value(4, "i", "1", "0", iteration=1, function="total"),
    ),
    Case(
        "a loop ends one too early",
        changed(SUM, "range(len(xs))", "range(len(xs) - 1)"),
        SUM,
        "assert total([5, 1]) == 6",
        {"kind": "rounds", "line_attempt": 4, "variable": "i", "value_attempt": None, "value_reference": "1", "iteration": 2},
    ),
    Case(
        "a loop goes on for too long",
        changed(SUM, "range(len(xs))", "range(len(xs) + 1)"),
        SUM,
        "assert total([5, 1]) == 6",
        {"kind": "rounds", "line_attempt": 4, "variable": "i", "value_attempt": "2", "value_reference": None, "iteration": 3},
    ),
    Case(
        "a wrong operator",
        changed(SUM, "result += xs[i]", "result -= xs[i]"),
        SUM,
        "assert total([0, 7]) == 7",
        value(5, "result", "-7", "7", iteration=2, inputs=(("result", "0"), ("xs", "[0, 7]"), ("i", "1"))),
    ),
    Case(
        "a wrong initial value", changed(SUM, "result = 0", "result = 1"), SUM, "assert total([3]) == 3", value(3, "result", "1", "0")
    ),
    Case(
        "a missing return",
        changed(SUM, "return result", "result"),
        SUM,
        "assert total([3]) == 3",
        {"kind": "return", "line_attempt": 6, "value_attempt": "None", "value_reference": "3", "function": "total"},
    ),
    Case(
        "a return within the loop",
        changed(SUM, "    return result", "        return result"),
        SUM,
        "assert total([3, 4]) == 7",
        {"kind": "path", "line_attempt": 6, "line_reference": 4, "statement": "return result", "iteration": 1},
    ),
    Case(
        "a return within the loop that a condition hides at first",
        changed(EVENS, "    return found", "        return found"),
        EVENS,
        "assert evens([1, 2]) == [2]",
        {"kind": "path", "line_attempt": 7, "line_reference": 4, "statement": "return found", "iteration": 1},
    ),
    Case(
        "the wrong branch at the boundary",
        changed(GRADE, "points >= 80", "points > 80"),
        GRADE,
        "assert grade(80) == 'B'",
        {"kind": "branch", "line_attempt": 5, "variable": "points > 80", "value_attempt": "False", "value_reference": "True"},
    ),
    Case(
        "a negated condition",
        changed(GRADE, "if points >= 90", "if not points >= 90"),
        GRADE,
        "assert grade(95) == 'A'",
        {"kind": "branch", "line_attempt": 3, "value_attempt": "False", "value_reference": "True", "inputs": (("points", "95"),)},
    ),
    Case(
        "a missing branch",
        changed(GRADE, '    elif points >= 80:\n        letter = "B"\n', ""),
        GRADE,
        "assert grade(85) == 'B'",
        {"kind": "branch", "line_attempt": None, "line_reference": 5, "variable": "points >= 80", "value_reference": "True"},
    ),
    Case(
        "a recursion without its base",
        changed(FACTORIAL, "    if n == 0:\n        return 1\n", ""),
        FACTORIAL,
        "assert factorial(2) == 2",
        {"kind": "branch", "line_attempt": None, "line_reference": 3, "variable": "n == 0", "call_path": ("factorial",) * 3},
    ),
    Case(
        "a recursion that skips a number",
        changed(FACTORIAL, "factorial(n - 1)", "factorial(n - 2)"),
        FACTORIAL,
        "assert factorial(4) == 24",
        {"kind": "argument", "line_attempt": 5, "variable": "factorial(n)", "value_attempt": "2", "value_reference": "3"},
    ),
    Case(
        "a wrong value at the base of a recursion",
        changed(FACTORIAL, "return 1", "return 0"),
        FACTORIAL,
        "assert factorial(3) == 6",
        {"kind": "return", "line_attempt": 4, "value_attempt": "0", "value_reference": "1", "call_path": ("factorial",) * 4},
    ),
    Case(
        "an infinite loop",
        changed(SEARCH, "low = middle + 1", "low = middle"),
        SEARCH,
        "assert find([1, 3, 5, 7], 7) == 3",
        value(9, "low", "1", "2", iteration=1),
    ),
    Case(
        "a loop that does not count",
        changed(GENERATOR, "        n += 2\n", ""),
        GENERATOR,
        "assert sum_of_evens(5) == 6",
        value(None, "n", "0", "2", line_reference=6, statement_reference="n += 2", iteration=1),
    ),
    Case(
        "a call that hangs in the interpreter",
        "\nimport time\n\n\ndef f(x):\n    y = x + 1\n    time.sleep(60 * y)\n    return y\n",
        "\nimport time\n\n\ndef f(x):\n    y = x + 1\n    time.sleep(0 * y)\n    return y\n",
        "assert f(1) == 2",
        {"kind": "endless", "line_attempt": 7},
    ),
    Case(
        "an index out of range",
        changed(SUM, "xs[i]", "xs[i + 1]"),
        SUM,
        "assert total([0, 0, 5]) == 5",
        value(5, "result", "5", "0", iteration=2),
    ),
    Case(
        "an exception",
        changed(COUNTS, "counts.get(word, 0)", "counts[word]"),
        COUNTS,
        "assert commonest(['b', 'a']) == 'a'",
        {"kind": "exception", "line_attempt": 5, "value_attempt": "KeyError: 'b'", "value_reference": None, "iteration": 1},
    ),
    Case(
        "an exception that should be raised",
        "\ndef root(x):\n    if x < 0:\n        x = 0\n    return x\n",
        "\ndef root(x):\n    if x < 0:\n        raise ValueError('negative')\n    return x\n",
        "try:\n    root(-1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError",
        {"kind": "exception", "value_attempt": None, "value_reference": "ValueError: negative", "line_reference": 4},
    ),
    Case(
        "a misspelt name",
        changed(GCD, "return a", "return aa"),
        GCD,
        "assert gcd(4, 6) == 2",
        {"kind": "exception", "line_attempt": 5, "value_attempt": "NameError: name 'aa' is not defined"},
    ),
    Case(
        "an argument that is changed",
        "\ndef ordered(xs):\n    xs.sort()\n    return xs\n",
        "\ndef ordered(xs):\n    xs = sorted(xs)\n    return xs\n",
        "given = [2, 1]\nassert ordered(given) == [1, 2] and given == [2, 1]",
        {"kind": "outcome", "value_attempt": "AssertionError"},
    ),
    Case(
        "a list that is reversed in place",
        "\ndef mirrored(xs):\n    back = xs\n    back.reverse()\n    return xs + back\n",
        "\ndef mirrored(xs):\n    back = list(xs)\n    back.reverse()\n    return xs + back\n",
        "assert mirrored([1, 2]) == [1, 2, 2, 1]",
        value(4, "xs", "[2, 1]", "[1, 2]", inputs=(("back", "[1, 2]"),)),
    ),
    Case(
        "a wrong sort key",
        changed(COUNTS, "(-counts[word], word)", "(counts[word], word)"),
        COUNTS,
        "assert commonest(['a', 'b', 'b']) == 'b'",
        value(6, "ordered", "['a', 'b']", "['b', 'a']"),
    ),
    Case(
        "a slip in one of several functions",
        changed(HELPERS, "return x * x", "return x + x"),
        HELPERS,
        "assert longest([[2, 2], [3, 1]]) == [3, 1]",
        {
            "kind": "return",
            "function": "square",
            "line_attempt": 3,
            "value_attempt": "6",
            "value_reference": "9",
            "call_path": ("longest", "norm", "square"),
        },
    ),
    Case(
        "a helper that is called with the wrong argument",
        changed(HELPERS, "norm(row) > norm(best)", "norm(row) > norm(row)"),
        HELPERS,
        "assert longest([[1], [2]]) == [2]",
        {"kind": "argument", "function": "longest", "variable": "norm(xs)", "value_attempt": "[2]", "value_reference": "[1]"},
    ),
    Case(
        "a generator that gives another value",
        changed(GENERATOR, "yield n", "yield n + 1"),
        GENERATOR,
        "assert sum_of_evens(5) == 6",
        {"kind": "yield", "function": "evens", "line_attempt": 5, "value_attempt": "1", "value_reference": "0", "iteration": 1},
    ),
    Case(
        "a generator that ends too late",
        changed(GENERATOR, "n < limit", "n <= limit"),
        GENERATOR,
        "assert sum_of_evens(4) == 2",
        {"kind": "branch", "function": "evens", "line_attempt": 4, "value_attempt": "True", "value_reference": "False", "iteration": 3},
    ),
    Case(
        "a comprehension with another condition",
        "\ndef odd_squares(xs):\n    squares = [x * x for x in xs if x % 2 == 0]\n    return sorted(squares)\n",
        "\ndef odd_squares(xs):\n    squares = [x * x for x in xs if x % 2 == 1]\n    return sorted(squares)\n",
        "assert odd_squares([3, 2]) == [9]",
        value(3, "squares", "[4]", "[9]"),
    ),
    Case(
        "an attribute that is not kept up to date",
        changed(STACK, "self.size -= 1", "self.size -= 2"),
        STACK,
        "assert last_two([1, 2, 3]) == [3, 2, 1]",
        value(12, "self.size", "1", "2", function="Stack.pop", inputs=(("self.size", "3"),)),
    ),
    Case(
        "a method that leaves out a step",
        changed(STACK, "        self.size += 1\n", ""),
        STACK,
        "assert last_two([1, 2]) == [2, 1, 0]",
        value(None, "self.size", "0", "1", line_reference=9, call_path=("last_two", "Stack.push")),
    ),
    Case(
        "a default argument that lives on",
        "\ndef collect(x, found=[]):\n    found.append(x)\n    return found\n",
        "\ndef collect(x):\n    found = []\n    found.append(x)\n    return found\n",
        "assert collect(2) == [2]",
        value(None, "found", "[1]", "[]", line_reference=3),
        before="assert collect(1) == [1]",
    ),
    Case(
        "a wrong constant at module level",
        "\nVOWELS = 'aeio'\n\n\ndef vowels(text):\n    return [c for c in text if c in VOWELS]\n",
        "\nVOWELS = 'aeiou'\n\n\ndef vowels(text):\n    return [c for c in text if c in VOWELS]\n",
        "assert vowels('up') == ['u']",
        value(2, "VOWELS", "'aeio'", "'aeiou'", function=""),
    ),
    Case(
        "a memo that calls share",
        changed(FIBONACCI, "fib(n - 1) + fib(n - 2)", "fib(n - 1) + fib(n - 1)"),
        FIBONACCI,
        "assert fib(2) == 1",
        {"kind": "argument", "line_attempt": 9, "variable": "fib(n)", "value_attempt": "1", "value_reference": "0"},
    ),
    Case(
        "names that are renamed",
        "\ndef mean(values):\n    acc = 0\n    for v in values:\n        acc += v\n    return acc / (len(values) + 1)\n",
        "\ndef mean(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total / len(xs)\n",
        "assert mean([2, 4]) == 3",
        {"kind": "return", "line_attempt": 6, "line_reference": 6, "value_attempt": "2.0", "value_reference": "3.0"},
    ),
    Case(
        "renamed names of which one gets another value",
        "\ndef mean(values):\n    acc = 1\n    for v in values:\n        acc += v\n    return acc / len(values)\n",
        "\ndef mean(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total / len(xs)\n",
        "assert mean([2, 4]) == 3",
        value(3, "acc", "1", "0"),
    ),
    Case(
        "programs that have nothing in common",
        "\ndef count(xs):\n    seen = []\n    for x in xs:\n        if x not in seen:\n            seen.append(x)\n    return seen\n",
        "\ndef count(xs):\n    return len(set(xs))\n",
        "assert count([1, 1]) == 1",
        {"kind": "return", "function": "count", "value_attempt": "[1]", "value_reference": "1"},
    ),
    Case(
        "something else is printed",
        "\ndef greet(name):\n    print('Hello,' + name)\n",
        "\ndef greet(name):\n    print('Hello, ' + name)\n",
        "greet('Ann')",
        {"kind": "output", "line_attempt": 3, "value_attempt": "Hello,Ann\n", "value_reference": "Hello, Ann\n"},
    ),
    Case(
        "a program that is no Python",
        "\ndef f(x)\n    return x\n",
        "\ndef f(x):\n    return x\n",
        "assert f(1) == 1",
        {"kind": "syntax", "line_attempt": 2, "value_attempt": "SyntaxError: expected ':'"},
    ),
    Case(
        "a space too many in a string",
        changed(GREETING, "'Hello,'", "'Hello, '"),
        GREETING,
        "assert greeting('Ann') == 'Hello, Ann'",
        {"kind": "return", "statement": "return ' '.join( ['Hello, ', name] )", "value_attempt": "'Hello,  Ann'"},
    ),
    Case(
        "a wrong default value",
        "\ndef padded(text, width=4):\n    return text.ljust(width)\n",
        "\ndef padded(text, width=5):\n    return text.ljust(width)\n",
        "assert padded('ab') == 'ab   '",
        {"kind": "argument", "line_attempt": 2, "variable": "padded(width)", "value_attempt": "4", "value_reference": "5"},
    ),
    Case(
        "a missing import",
        "\ndef f(x):\n    return math.floor(x)\n",
        "\nimport math\n\n\ndef f(x):\n    return math.floor(x)\n",
        "assert f(1.5) == 1",
        {"kind": "exception", "line_attempt": 3, "value_attempt": "NameError: name 'math' is not defined"},
    ),
    Case(
        "a statement that stands on the line of its condition",
        "\ndef sign(x):\n    if x < 0: return -1\n    if x > 0: return 0\n    return 0\n",
        "\ndef sign(x):\n    if x < 0: return -1\n    if x > 0: return 1\n    return 0\n",
        "assert sign(5) == 1",
        {"kind": "return", "line_attempt": 4, "statement": "return 0", "value_attempt": "0", "value_reference": "1"},
    ),
]
