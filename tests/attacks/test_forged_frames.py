"""Forged verdicts: frames by hand, types with chosen names, bytes that cost more than they are worth."""

from __future__ import annotations

import marshal
import math
from typing import Any

import pytest

from reflectioncoder.evaluate.judges.evalplus.oracles import matches
from reflectioncoder.sandbox.answers import BrokenAnswerError, read_value
from reflectioncoder.sandbox.runtime.encoding import portable
from tests.attacks.judges import (
    END,
    INPUTS,
    JUDGES,
    KINDS,
    SET_ENTRY_POINT,
    SET_KIND,
    Attack,
    assert_repelled,
    both,
    solution,
)

# Frames by hand


FRAMES = {
    "right number of wrong answers": "send(LOADED + answers(plain(GUESS), 3))",
    "too many answers": "send(LOADED + answers(plain(GUESS), 5000))",
    "too few answers": "send(LOADED + answers(plain(GUESS), 1))",
    "nothing but loaded": "send(LOADED)",
    "loaded many times": "send(LOADED * 5000)",
    "answers before loaded": "send(answers(plain(GUESS), 3) + LOADED)",
    "an end of reference": "send(LOADED + frame(b'T', marshal.dumps([0.0] * 3, 2)))",
    "answers and an end of reference": "send(LOADED + answers(plain(GUESS), 3) + frame(b'T', marshal.dumps([0.0] * 3, 2)))",
    "an end of reference at once": "send(frame(b'T', b'['))",
    "an error": "send(LOADED + frame(b'E', b'passed'))",
    "an error at once": "send(frame(b'E', b'passed'))",
    "an error without a text": "send(frame(b'E') * 9)",
    "a lack of memory": "send(frame(b'E', b'MemoryError: passed'))",
    "does not compile": "send(frame(b'C', b'passed') + LOADED)",
    "does not compile, later": "send(LOADED + frame(b'C', b'passed') * 9)",
    "errors and answers": "send(LOADED + (frame(b'E', b'ValueError: x') + plain(GUESS)) * 9)",
    "arguments": "send(LOADED + frame(b'B', marshal.dumps([INPUTS[0]], 2)) * 9)",
    "letters unknown": "send(LOADED + b''.join(frame(bytes([n]), b'T') for n in range(256) if n not in b'LVDPEC'))",
    "each letter first": "for n in range(256): send(frame(bytes([n]), b''))",
    "no content": "send(LOADED + frame(b'V') * 9)",
    "no content of a tree": "send(LOADED + frame(b'P') * 9)",
    "no content of a digest": "send(LOADED + frame(b'D') * 9)",
    "a digest alone": "send(LOADED + frame(b'D', bytes(16)) * 9)",
    "half a digest": "send(LOADED + frame(b'D', bytes(8)) * 9)",
    "a digest and nothing": "send(LOADED + frame(b'D', bytes(16) + b'N') * 9)",
    "a digest and a number": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(5, 2)) * 9)",
    "a digest and too little": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('str',), 2)) * 9)",
    "a digest and a description": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('str', 39, False, True), 2)) * 9)",
    "a digest and other types": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('str', 'x', (), None), 2)) * 9)",
    "a digest and types that are none": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(([], {}, (), None), 2)) * 9)",
    "a digest and a huge length": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('list', 10**30, True, True), 2)) * 9)",
    "a digest and a negative length": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('list', -1, True, True), 2)) * 9)",
    "a digest and an odd name": "send(LOADED + frame(b'D', bytes(16) + marshal.dumps(('\\ud800', 1, True, True), 2)) * 9)",
    "a digest of nothing": "import hashlib\nsend(LOADED + frame(b'D', hashlib.blake2b(b'', digest_size=16).digest() + "
    "marshal.dumps(('str', 39, False, True), 2)) * 9)",
    "an end as a value": "send(LOADED + frame(b'V', b'0') * 9)",
    "an end in a list": "send(LOADED + frame(b'V', b'[\\x01\\0\\0\\00') * 9)",
    "a negative length": "send(LOADED + frame(b'V', b'u\\xff\\xff\\xff\\xff') * 9)",
    "a length beyond": "send(LOADED + frame(b'V', b'u\\xff\\xff\\xff\\x7f') * 9)",
    "a list beyond": "send(LOADED + frame(b'V', b'[\\xff\\xff\\xff\\x7f') * 9)",
    "an integer beyond": "send(LOADED + frame(b'V', b'l\\xff\\xff\\xff\\x7f') * 9)",
    "the smallest integer": "send(LOADED + frame(b'V', b'l\\0\\0\\0\\x80') * 9)",
    "digits beyond": "send(LOADED + frame(b'V', b'l\\x01\\0\\0\\0\\xff\\xff') * 9)",
    "bytes after the value": "send(LOADED + frame(b'V', marshal.dumps(GUESS, 2) + b'T') * 9)",
    "references": "send(LOADED + frame(b'V', marshal.dumps([GUESS] * 3, 4)) * 9)",
    "code": "send(LOADED + frame(b'V', marshal.dumps(solve.__code__, 2)) * 9)",
    "pickle": "import pickle\nclass X:\n    def __reduce__(self): return (eval, ('__import__(\"os\")._exit(0)',))\n"
    "send(LOADED + frame(b'V', pickle.dumps(X())) * 9 + frame(b'P', pickle.dumps(X())) * 9)",
    "unhashable keys": "send(LOADED + frame(b'V', b'{[\\0\\0\\0\\0N0') * 9)",
    "an unhashable item": "send(LOADED + frame(b'V', b'<\\x01\\0\\0\\0[\\0\\0\\0\\0') * 9)",
    "no UTF-8": "send(LOADED + frame(b'V', b'u\\x02\\0\\0\\0\\xff\\xfe') * 9)",
    "every tag": "send(LOADED + b''.join(frame(b'V', bytes([n]) + bytes(16)) for n in range(256)))",
    "a length that is not kept": "send(LOADED + b'V\\xff\\0\\0\\0short')",
    "a length of four thousand million": "send(LOADED + b'V\\xff\\xff\\xff\\xff')",
    "the longest length, and no more": "send(LOADED + b'V\\0\\0\\0\\x04')",
    "zeros": "send(bytes(10**6))",
    "chance": "import random\nsend(LOADED + random.Random(5).randbytes(10**5))",
    "rows of a verdict": "send(b'{\"test\": 0, \"passed\": true, \"detail\": \"\"}\\n' * 6 + b'{\"done\": true}\\n')",
    "loaded and rows": "send(LOADED + b'{\"test\": 0, \"passed\": true, \"detail\": \"\"}\\n' * 6 + b'{\"done\": true}\\n')",
    "rows as content": "send(frame(b'E', b'x\\n{\"test\": 0, \"passed\": true, \"detail\": \"\"}\\n{\"done\": true}\\n'))",
    "messages of the server": "send(b'{\"exit\": 0, \"signal\": null, \"cpu_s\": 0, \"peak_memory_bytes\": "
    "0}\\n{\"unavailable\": \"x\"}\\n{\"ready\": true}\\n')",
}  # fmt: skip


@both(FRAMES)
def test_frames_written_by_hand_do_not_pass(how, name, judge):
    source = "def solve(xs): return GUESS\n" + FRAMES[how] + END
    assert_repelled(judge, name, Attack(source, ("failed", "compile_error", "memory")))


_TREES = {
    "nothing": "()",
    "a text": "'v'",
    "a list": "['v', 1]",
    "a kind alone": "('v',)",
    "an unknown kind": "('true', True)",
    "a kind that is no text": "(5, 5)",
    "a long kind": "('x' * 10**6, 5)",
    "a kind that is a list": "([], 5)",
    "a subclass of nothing": "('subclass', 'str')",
    "a subclass of a subclass": "('subclass', 'float', ('subclass', 'str', ('v', GUESS)))",
    "a name that is no text": "('subclass', [], ('v', GUESS))",
    "a name with a lone surrogate": "('subclass', '\\ud800', ('v', GUESS))",
    "a long name": "('subclass', 'x' * 10**6, ('v', GUESS))",
    "an object": "('object', 'str')",
    "an object without a name": "('object', None)",
    "an iterator": "('iterator', [('v', 0.0), ('v', 0.0)])",
    "an iterator of nothing": "('iterator', [])",
    "an iterator with a name": "('iterator', 'float', [])",
    "a counter of a number": "('counter', 'collections.Counter', ('v', 5))",
    "a counter of lists": "('counter', 'collections.Counter', ('v', [[]]))",
    "a counter by the name of dict": "('counter', 'dict', ('dict', []))",
    "an array of a list": "('ndarray', 'float64', ('list', [('v', 0.0), ('v', 0.0)]))",
    "an array of nothing": "('ndarray', 'float64', ('list', []))",
    "an array of lists of nothing": "('ndarray', 'float64', ('list', [('list', []), ('list', [])]))",
    "an array of bits of nothing": "('ndarray', 'bool', ('list', [('list', [])]))",
    "an array of one truth": "('ndarray', 'bool', ('list', [('v', True)]))",
    "an array of no texts": "('ndarray', 'str', ('list', []))",
    "a dictionary of halves": "('dict', [('v', 1)])",
    "a set of lists": "('set', [('list', [])])",
    "a number": "('numpy', 'float64', 'nan')",
    "a number of a long name": "('numpy', 'f' * 10**6, 0)",
    "a number of a list": "('numpy', 'float64', [])",
    "a number of lists": "('numpy', 'float64', [[], []])",
    "a number of objects": "('numpy', 'O', 0)",
    "a number of fields": "('numpy', 'f8,f8', 0)",
    "a number of a type that is no text": "('numpy', 5, 0)",
    "bytes of a size": "('numpy', 'S9', 5)",
    "an empty array": "('ndarray', 'float64', ('list', []))",
    "an array of empty arrays": "('ndarray', 'float64', ('list', [('list', []), ('list', [])]))",
    "an array of fields": "('ndarray', '(2,0)f8', ('list', [('v', 0.0), ('v', 0.0)]))",
    "an array of objects": "('ndarray', 'O', ('list', [('v', 0.0), ('v', 0.0)]))",
    "an array of texts": "('ndarray', 'str', ('list', [('v', GUESS)]))",
    "an array of not a number": "('ndarray', 'float64', ('list', [('v', 'nan'), ('v', 'inf')]))",
    "an array of bits": "('ndarray', 'bool', ('v', True))",
    "an array of structure": "('ndarray', '|V0', ('list', []))",
    "an array of a ragged list": "('ndarray', 'float64', ('list', [('list', [('v', 0.0)]), ('list', [])]))",
    "a fraction of nothing": "('fraction', None, None)",
    "a fraction by zero": "('fraction', 0, 0)",
    "a fraction of not a number": "('fraction', float('nan'), None)",
    "a decimal": "('decimal', 'NaN')",
    "a decimal that signals": "('decimal', 'sNaN')",
    "a decimal of a tuple": "('decimal', (0, (1,), 'F'))",
    "a decimal of an odd text": "('decimal', '\\ud800')",
    "a list of empty lists": "('list', [('list', []), ('list', [])])",
    "a list of empty arrays": "('list', [('ndarray', 'float64', ('list', [])), ('ndarray', 'float64', ('list', []))])",
}  # fmt: skip
# The name of a type is the sender's to choose: under each of them, values that are equal or close to all, or hollow.
_HOLLOW = ("[]", "()", "{}", "[[]]", "[[], []]", "''", "b''", "None", "set()", "float('nan')", "float('inf')", "[0.0, []]", "[[[]]]")
for _name in ("float", "int", "list", "str", "dict", "numpy.float64"):
    for _hollow in _HOLLOW:
        _TREES[f"{_name} that is {_hollow}"] = f"('subclass', {_name!r}, {portable(eval(_hollow))!r})"
for _name in ("float", "list"):
    for _hollow in ("[]", "[[]]", "[[], []]", "[[[], []]]", "0.0"):
        _array = f"('ndarray', 'float64', {portable(eval(_hollow))!r})"
        _TREES |= {f"an array like {_hollow}": _array, f"{_name} that is an array like {_hollow}": f"('subclass', {_name!r}, {_array})"}


@pytest.mark.parametrize("how", _TREES)
def test_a_tree_written_by_hand_does_not_pass(how, judge):
    source = f"def solve(xs): return GUESS\nsend(LOADED + tree({_TREES[how]}) * 3){END}"
    outcome = assert_repelled(judge, "answers", source, "real")
    assert outcome.detail.encode("utf-8", "strict")


@pytest.mark.parametrize("kind", [*KINDS, SET_KIND])
def test_no_tree_is_equal_or_close_to_what_is_expected(kind):
    """The same trees, against every type of answer, with and without a tolerance."""
    scope: dict[str, Any] = {}
    exec(solution(kind), scope)
    entry_point, family = (SET_ENTRY_POINT, "mbpp") if kind == SET_KIND else ("solve", "humaneval")
    arguments = [INPUTS["base"][0]]
    expected = scope[entry_point](*arguments)
    names = {"GUESS": "answer-" + "0" * 32, "nan": math.nan, "inf": math.inf}
    for how, text in _TREES.items():
        if kind == "one real" and how in ("list that is [[]]", "list that is [[[]]]"):
            continue  # EvalPlus takes these for any list of one float: broadcast, then compared item by item, of which there are none
        try:
            answer = read_value("P", marshal.dumps(eval(text, names), 2))
        except BrokenAnswerError:
            continue
        for atol in (0, 1e-6):
            wanted = (type(expected).__name__, expected)
            assert not matches(family, entry_point, arguments, answer, wanted, atol), how


# Bytes that cost more than they are worth. Each frame is within the limit on its length.

_COLLIDING = "[n * (2**61 - 1) for n in range(1, 60_000)]"
BOMBS = {
    "depth of lists": "frame(b'V', b'[\\x01\\0\\0\\0' * 2_000_000 + b'N')",
    "depth of dictionaries": "frame(b'V', b'{' * 5_000_000)",
    "depth of trees": "frame(b'P', b'(\\x02\\0\\0\\0' * 2_000_000)",
    "depth of subclasses": "frame(b'P', (b'(\\x03\\0\\0\\0' + marshal.dumps('subclass', 2) + b'N') * 395 + marshal.dumps(('v', 5), 2))",
    "depth of lists of a tree": "frame(b'P', (b'(\\x02\\0\\0\\0' + marshal.dumps('list', 2) + b'[\\x01\\0\\0\\0') * 150 + "
    "marshal.dumps(('v', 5), 2))",
    "a list of nothing": "frame(b'V', b'[' + struct.pack('<i', 20_000_000) + b'N' * 20_000_000)",
    "a list of empty lists": "frame(b'V', b'[' + struct.pack('<i', 4_000_000) + b'[\\0\\0\\0\\0' * 4_000_000)",
    "a dictionary of one key": "frame(b'V', b'{' + b'NN' * 10_000_000 + b'0')",
    "an integer": "frame(b'V', b'l' + struct.pack('<i', 10_000_000) + b'\\xff\\x7f' * 10_000_000)",
    "a text": "frame(b'V', b'u' + struct.pack('<i', 20_000_000) + b'x' * 20_000_000)",
    "keys that collide": f"frame(b'V', b'{{' + b''.join(marshal.dumps(k, 2) + b'N' for k in {_COLLIDING}) + b'0')",
    "items that collide": f"frame(b'V', b'<' + marshal.dumps({_COLLIDING}, 2)[1:])",
    "items of which half collide": f"frame(b'V', b'<' + marshal.dumps({_COLLIDING} + list(range(1, 60_002)), 2)[1:])",
    "keys of which half collide": f"frame(b'V', b'{{' + b''.join(marshal.dumps(k, 2) + b'N' for k in {_COLLIDING}"
    " + list(range(1, 60_002))) + b'0')",
    "tuples that collide": "frame(b'V', b'<' + marshal.dumps([(n * (2**61 - 1),) for n in range(1, 60_000)], 2)[1:])",
    "a set of a tree that collides": f"tree(('set', [('v', n) for n in {_COLLIDING}]))",
    "half of a set of a tree": f"tree(('set', [('v', n) for n in {_COLLIDING} + list(range(1, 60_002))]))",
    "a counter that collides": f"tree(('counter', 'x', ('dict', [(('v', n), ('v', 1)) for n in {_COLLIDING}])))",
    "half of a counter": f"tree(('counter', 'x', ('dict', [(('v', n), ('v', 1)) for n in {_COLLIDING} + list(range(1, 60_002))])))",
    "a fraction of a text": "tree(('fraction', '1e100000000', None))",
    "a fraction of huge numbers": "tree(('fraction', 3 ** 600_000, 7 ** 350_000))",
    "a decimal of a huge number": "tree(('decimal', (1 << 10_000_000) - 1))",
    "a decimal of a huge exponent": "tree(('decimal', '1e999999999999999999'))",
    "an array of long bytes": "tree(('ndarray', 'S400000000', ('v', [''] * 20)))",
    "an array of long texts": "tree(('ndarray', 'U100000000', ('v', [''] * 20)))",
    "an array without an end": "tree(('ndarray', 'S2000000000', ('v', [''] * 100_000)))",
    "bytes of a number": "tree(('numpy', 'S', 2_000_000_000))",
    "bytes of a number without an end": "tree(('numpy', 'S', 10**15))",
    "an array of many": "tree(('ndarray', 'complex128', ('list', [('v', 0)] * 400_000)))",
    "an array of texts of all lengths": "tree(('ndarray', 'str', ('list', [('v', 'x' * 3_000_000)] + [('v', '')] * 5000)))",
    "an array of lists of texts": "tree(('ndarray', 'str', ('list', [('list', [('v', 'x' * 3_000_000)])] "
    "+ [('list', [('v', '')])] * 99)))",
    "an iterator of many": "tree(('iterator', [('v', 0)] * 500_000))",
    "a name": "tree(('object', 'x' * 10_000_000))",
    "a list as a name": "tree(('object', [0] * 3_000_000))",
    "a description": "frame(b'D', bytes(16) + b'[' + struct.pack('<i', 4_000_000) + b'[\\0\\0\\0\\0' * 4_000_000)",
    "an error's text": "frame(b'E', b'x' * 20_000_000)",
}  # fmt: skip
_LITTLE = 7_900_000  # bytes: below the limit on the length of an answer that was not asked for in full
_HUGE = "[('v', 5 + ((2**61 - 1) * k << 2_900_000)) for k in range(1, 20)]"  # their hash is that of 5
BOMBS |= {
    "a shorter list of nothing": f"frame(b'V', b'[' + struct.pack('<i', {_LITTLE}) + b'N' * {_LITTLE})",
    "a shorter list of empty lists": f"frame(b'V', b'[' + struct.pack('<i', {_LITTLE // 5}) + b'[\\0\\0\\0\\0' * {_LITTLE // 5})",
    "a shorter dictionary of one key": f"frame(b'V', b'{{' + b'NN' * {_LITTLE // 2} + b'0')",
    "integers": f"frame(b'V', b'[' + struct.pack('<i', {_LITTLE // 15}) + marshal.dumps(1 << 62, 2) * {_LITTLE // 15})",
    "a shorter decimal of a huge number": "tree(('decimal', (1 << 2_900_000) - 1))",
    "a shorter fraction of huge numbers": "tree(('fraction', 3 ** 1_800_000, 7 ** 1_000_000))",
    "a decimal among huge integers": f"tree(('set', [('decimal', '5')] + {_HUGE}))",
    "a decimal among huge keys": f"tree(('dict', [(k, ('v', 0)) for k in [('decimal', '5')] + {_HUGE}]))",
    "a real among huge integers": f"tree(('set', [('numpy', 'float64', 5.0)] + {_HUGE}))",
    "a fraction among huge integers": f"tree(('set', [('fraction', 5, 1)] + {_HUGE}))",
    "long tuples that collide": "frame(b'V', b'<' + struct.pack('<i', 1000) + b''.join(b'(' + struct.pack('<i', 5900) + b'N' * 5899 "
    "+ marshal.dumps(n * (2**61 - 1), 2) for n in range(1, 1001)))",
    "groups that collide": "frame(b'V', b'<' + struct.pack('<i', 460_000) + b''.join(marshal.dumps(g + (2**61 - 1) * k, 2) "
    "for g in range(460) for k in range(1, 1001)))",
    "a name of lists": "frame(b'P', b'(\\x02\\0\\0\\0' + marshal.dumps('object', 2) + b'[' + struct.pack('<i', 500_000) "
    "+ b'[\\0\\0\\0\\0' * 500_000)",
}  # fmt: skip
_SENDING = "def solve(xs): return GUESS\ndata = {}\nsend(LOADED + data)" + END


@pytest.mark.parametrize("how", BOMBS)
def test_an_answer_that_is_a_bomb_fails_in_little_time_and_memory(how, judge):
    source = _SENDING.replace("{}", BOMBS[how])
    assert_repelled(judge, "answers", Attack(source, ("failed", "memory", "crashed", "compile_error")))


# What is long is sent as a digest first; where that does not decide, the judge asks once more for all of it.
_ASKED_IN_FULL = """
above = sys._getframe()
while "payload" not in above.f_locals: above = above.f_back
if not above.f_locals["payload"]["in_full"]:
    send(LOADED + frame(b"D", bytes(16) + marshal.dumps(("list", 2000, False, True), 2)))
    posix._exit(0)
"""
_FULL_BOMBS = {
    "a list of nothing": "frame(b'V', b'[' + struct.pack('<i', 33_000_000) + b'N' * 33_000_000)",
    "empty lists": "frame(b'V', b'[' + struct.pack('<i', 6_600_000) + b'[\\0\\0\\0\\0' * 6_600_000)",
    "integers": "frame(b'V', b'[' + struct.pack('<i', 2_200_000) + marshal.dumps(1 << 62, 2) * 2_200_000)",
    "huge integers": "frame(b'V', b'[' + struct.pack('<i', 80) + marshal.dumps(1 << 2_900_000, 2) * 80)",
    "groups that collide": "frame(b'V', b'<' + struct.pack('<i', 1_900_000) + b''.join(marshal.dumps(g + (2**61 - 1) * k, 2) "
    "for g in range(1900) for k in range(1, 1001)))",
    "another digest": "frame(b'D', bytes(16) + marshal.dumps(('list', 2000, False, True), 2)) * 9",
    "no answer": "b''",
}  # fmt: skip


@pytest.mark.parametrize("how", _FULL_BOMBS)
def test_an_answer_in_full_that_is_a_bomb_fails_in_little_time_and_memory(how, judge):
    source = _ASKED_IN_FULL + _SENDING.replace("{}", _FULL_BOMBS[how])
    assert_repelled(judge, "answers", Attack(source, ("failed", "memory", "crashed", "timeout")), "many items")


@pytest.mark.parametrize("kind", ["many reals", "many items"])
def test_texts_are_not_compared_with_numbers_as_an_array_of_texts(kind, judge):
    """Each of which would be as long as the longest."""
    length = {"many reals": 1500, "many items": 2000}[kind]
    source = f"def solve(xs): return ['x' * 1_000_000] + [''] * {length - 1}"
    for each in (source, _SENDING.replace("{}", f"plain(['x' * 1_000_000] + [''] * {length - 1})")):
        assert_repelled(judge, "answers", Attack(each, ("failed", "memory")), kind)


@pytest.mark.parametrize("rows", [70_000, 20_000])
def test_a_column_against_a_long_row_is_not_compared_item_by_item(rows, judge):
    """By hand, and as an array that the program returns."""
    by_hand = f"frame(b'P', marshal.dumps(('ndarray', 'float64', ('list', [('list', [('v', 0.0)])] * {rows})), 2))"
    returned = f"import numpy\ndef solve(xs): return numpy.zeros(({rows}, 1))"
    for source in (_SENDING.replace("{}", by_hand), returned):
        assert_repelled(judge, "answers", Attack(source, ("failed", "memory")), "thousands of reals")


@pytest.mark.parametrize(
    "how", ["items of which half collide", "a list of nothing", "a decimal of a huge number", "an array of long texts"]
)
def test_a_bomb_for_the_tests_process_ends_there(how, judge):
    source = _SENDING.replace("{}", BOMBS[how])
    assert_repelled(judge, "asserts", Attack(source, ("failed", "memory", "crashed", "timeout")))


@pytest.mark.parametrize("how", ["a list that collides", "a tuple that collides", "an iterator that collides", "half of them"])
def test_a_bomb_for_the_comparison_of_sets_fails(how, judge):
    items = f"{_COLLIDING} + list(range(1, 60_002))" if how == "half of them" else _COLLIDING
    data = {
        "a tuple that collides": f"frame(b'V', marshal.dumps(tuple({items}), 2))",
        "an iterator that collides": f"tree(('iterator', [('v', n) for n in {items}]))",
    }.get(how, f"frame(b'V', marshal.dumps({items}, 2))")
    source = _SENDING.replace("{}", data)
    assert_repelled(judge, "answers", Attack(source, ("failed", "memory", "crashed")), SET_KIND)


def test_a_slow_flood_of_half_a_frame_ends_at_the_limit(judge):
    source = "send(LOADED + b'V\\0\\0\\x10\\0')\nwhile True:\n    send(b'x'); time.sleep(0.001)\n"
    assert_repelled(judge, "answers", Attack(source, ("timeout",)))


def test_a_flood_without_an_end_ends(judge):
    source = "data = LOADED * 10_000\nwhile True: send(data)\n"
    for name in JUDGES:
        assert_repelled(judge, name, Attack(source, ("failed", "crashed", "timeout")))
