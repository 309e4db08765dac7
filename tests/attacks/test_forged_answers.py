"""No answer passes for its claim to be equal, nor for being odd."""

from __future__ import annotations

from tests.attacks.judges import (
    SET_KIND,
    Attack,
    assert_repelled,
    both,
    equal,
)

# Answers that claim to be equal


_CLASS = "    __class__ = property(lambda self: {})"
LIARS = {
    "an object": Attack(equal()),
    "an object of the type type": Attack(equal("type", "Liar('X', (), {})")),
    "a text": Attack(equal("str", "Liar(GUESS)")),
    "a text that is a key": Attack(equal("str", "{Liar(GUESS): 1}"), kind="table"),
    "an integer": Attack(equal("int", "Liar(1)"), kind="integer"),
    "a real": Attack(equal("float", "Liar(1.0)"), kind="real"),
    "not a number": Attack(equal("float", "Liar('nan')"), kind="real"),
    "infinity": Attack(equal("float", "Liar('inf')"), kind="real"),
    "a complex number": Attack(equal("complex", "Liar(1)"), kind="real"),
    "bytes": Attack(equal("bytes", "Liar(GUESS.encode())")),
    "a list": Attack(equal("list", "Liar([0] * 9)"), kind="items"),
    "an empty list": Attack(equal("list", "Liar()"), kind="items"),
    "a list of reals": Attack(equal("list", "Liar([0.0, 0.0])"), kind="reals"),
    "a list of one real": Attack(equal("list", "Liar([0.0])"), kind="one real"),
    "an empty list for one real": Attack(equal("list", "Liar()"), kind="one real"),
    "a tuple": Attack(equal("tuple", "Liar([0] * 9)"), kind="items"),
    "a dictionary": Attack(equal("dict", "Liar()"), kind="table"),
    "a set": Attack(equal("set", "Liar()"), kind="set"),
    "a frozen set": Attack(equal("frozenset", "Liar()"), kind="set"),
    "a set for a set": Attack(equal("set", "Liar()"), kind=SET_KIND),
    "a list for a set": Attack(equal("list", "Liar()"), kind=SET_KIND),
    "a counter": Attack("import collections\n" + equal("collections.Counter", "Liar()"), kind="table"),
    "an ordered dictionary": Attack("import collections\n" + equal("collections.OrderedDict", "Liar()"), kind="table"),
    "a string of another kind": Attack("import collections\n" + equal("collections.UserString", "Liar(GUESS)")),
    "a fraction": Attack("import fractions\n" + equal("fractions.Fraction", "Liar(1)"), kind="real"),
    "a decimal": Attack("import decimal\n" + equal("decimal.Decimal", "Liar(1)"), kind="real"),
    "a number by registration": Attack("import numbers\n" + equal() + "\nnumbers.Real.register(Equal)", kind="real"),
    "a mock": Attack("from unittest import mock\ndef solve(xs): return mock.ANY"),
    "a mock of all": Attack("from unittest import mock\ndef solve(xs): return mock.MagicMock(__eq__=lambda *a: True)"),
    "an item of a list": Attack(equal(make="[Equal()] * 9"), kind="items"),
    "an item of a list of reals": Attack(equal(make="[Equal()] * 2"), kind="reals"),
    "an item of a set": Attack(equal(make="{Equal()}"), kind="set"),
    "a key": Attack(equal(make="{Equal(): Equal()}"), kind="table"),
    "items of a text": Attack(equal("str", "[Liar('1')] * 9"), kind="items"),
    "many items": Attack(equal("int", "[Liar(n) for n in range(2000)]"), kind="many items"),
    "many reals": Attack(equal("float", "[Liar(n) for n in range(1500)]"), kind="many reals"),
    "a class that lies for a text": Attack(equal(make="Liar()", more=_CLASS.format("str"))),
    "a class that lies for a real": Attack(equal(make="Liar()", more=_CLASS.format("float")), kind="real"),
    "a class that lies for a list": Attack(equal(make="Liar()", more=_CLASS.format("list")), kind="items"),
    "a class by the name of str": Attack(equal() + "\nEqual.__name__ = Equal.__qualname__ = 'str'; Equal.__module__ = 'builtins'"),
    "a class by the name of float": Attack(
        equal() + "\nEqual.__name__ = Equal.__qualname__ = 'float'; Equal.__module__ = 'builtins'", kind="real"
    ),
    "a class by the name of ndarray": Attack(
        equal() + "\nEqual.__name__ = Equal.__qualname__ = 'ndarray'; Equal.__module__ = 'numpy'", kind="reals"
    ),
    "a class by the name of Fraction": Attack(
        equal() + "\nEqual.__qualname__ = 'Fraction'; Equal.__module__ = 'fractions'; Equal.numerator = Equal.denominator = "
        "0", kind="real"
    ),
    "a class by the name of Decimal": Attack(
        equal() + "\nEqual.__qualname__ = 'Decimal'; Equal.__module__ = 'decimal'; Equal.__str__ = lambda s: 'sNaN'", kind="real"
    ),
    "a class without a name": Attack(equal() + "\nEqual.__module__ = 5"),
    "a metaclass that lies": Attack(
        "class M(type):\n    def __eq__(c, o): return True\n    def __hash__(c): return hash(str)\n"
        "    __instancecheck__ = __subclasscheck__ = __eq__\n"
        "class X(metaclass=M): pass\ndef solve(xs): return X()"
    ),
    "the type itself": Attack("class M(type):\n    def __eq__(c, o): return True\n    __hash__ = None\n"
    "class X(metaclass=M): pass\ndef solve(xs): return X"),
    "a weak reference": Attack("import weakref\n" + equal(make="weakref.proxy(KEPT)") + "\nKEPT = Equal()"),
    "an array": Attack("import numpy\ndef solve(xs): return numpy.zeros(9)", kind="items"),
    "an empty array": Attack("import numpy\ndef solve(xs): return numpy.zeros(0)", kind="real"),
    "an empty array for reals": Attack("import numpy\ndef solve(xs): return numpy.zeros((2, 0))", kind="reals"),
    "an array of objects": Attack("import numpy\n" + equal(make="numpy.array([Equal()] * 9, dtype=object)"), kind="items"),
    "an array of a subclass": Attack(
        "import numpy\nclass A(numpy.ndarray):\n    def __eq__(self, o): return True\n"
        "    def __array_ufunc__(self, *a, **k): return True\n"
        "def solve(xs): return numpy.zeros(9).view(A)",
        kind="items",
    ),
    "a masked array": Attack("import numpy.ma\ndef solve(xs): return numpy.ma.masked_all(9)", kind="items"),
    "a masked value": Attack("import numpy.ma\ndef solve(xs): return numpy.ma.masked", kind="real"),
    "a numpy scalar of a subclass": Attack(
        "import numpy\nclass F(numpy.float64):\n    def __eq__(self, o): return True\n    def item(self): return Equal()\n"
        + equal(make="F(1)"),
        kind="real",
    ),
    "a list of empty arrays": Attack("import numpy\ndef solve(xs): return [numpy.zeros(0)] * 2", kind="reals"),
    "a list of empty lists": Attack("def solve(xs): return [[], []]", kind="reals"),
    "a matrix": Attack("import numpy\ndef solve(xs): return numpy.matrix([[True]])", kind="real"),
    "a generator of all": Attack(equal(make="(Equal() for _ in range(9))"), kind="items"),
}  # fmt: skip


@both(LIARS)
def test_an_answer_that_claims_to_be_equal_does_not_pass(how, name, judge):
    assert_repelled(judge, name, LIARS[how])


ANSWERS = {
    "nothing": "def solve(xs): pass",
    "not a number": "def solve(xs): return float('nan')",
    "a list of nothing": "def solve(xs): return [float('nan')] * len(xs)",
    "infinity": "def solve(xs): return float('inf')",
    "minus infinity": "def solve(xs): return [float('-inf'), float('-inf')]",
    "truth": "def solve(xs): return True",
    "everything": "def solve(xs): return ...",
    "not implemented": "def solve(xs): return NotImplemented",
    "a generator": "def solve(xs): yield GUESS",
    "a generator without an end": "import itertools\ndef solve(xs): return itertools.repeat(GUESS)",
    "a generator that leaves": "def solve(xs):\n    posix._exit(0)\n    yield",
    "a coroutine": "async def solve(xs): return GUESS",
    "the argument": "def solve(xs): return xs",
    "the argument, emptied": "def solve(xs):\n    xs.clear()\n    return xs",
    "the argument, extended by itself": "def solve(xs):\n    xs.append(xs)\n    return xs",
    "a list within itself": "x = []\nx.append(x)\ndef solve(xs): return x",
    "a dictionary within itself": "x = {}\nx[0] = x\ndef solve(xs): return x",
    "a deep list": "x = []\nfor _ in range(100_000): x = [x]\ndef solve(xs): return x",
    "a list of one list many times": "x = [0]\nfor _ in range(60): x = [x, x]\ndef solve(xs): return x",
    "a huge integer": "def solve(xs): return 1 << 10**7",
    "a huge text": "def solve(xs): return GUESS * 10**6",
    "a text with a lone surrogate": "def solve(xs): return 'answer-\\ud800'",
    "a huge list": "def solve(xs): return list(range(2 * 10**5))",
    "a huge dictionary": "def solve(xs): return dict.fromkeys(range(10**5))",
    "keys that collide": "def solve(xs): return dict.fromkeys(n * (2**61 - 1) for n in range(1, 3000))",
    "a huge representation": "class X:\n    def __repr__(self): return 'x' * 10**8\ndef solve(xs): return X()",
    "itself": "def solve(xs): return solve",
    "a class": "def solve(xs): return str",
    "a module": "def solve(xs): return os",
    "the built-in names": "def solve(xs): return __builtins__",
    "its own frame": "def solve(xs): return sys._getframe()",
    "a memory view": "def solve(xs): return memoryview(GUESS.encode())",
    "an array of bytes": "def solve(xs): return bytearray(GUESS.encode())",
    "a range without an end": "def solve(xs): return range(10**18)",
    "a decimal that signals": "import decimal\ndef solve(xs): return decimal.Decimal('sNaN')",
    "a decimal of a huge size": "import decimal\ndef solve(xs): return decimal.Decimal('1e999999')",
    "a huge fraction": "import fractions\ndef solve(xs): return fractions.Fraction(3 ** 10**5, 7 ** 10**5)",
    "an array of no size": "import numpy\ndef solve(xs): return numpy.lib.stride_tricks.as_strided(numpy.zeros(1), (10**9,), (0,))",
    "an answer that empties itself": "class X(list):\n    def __iter__(self):\n        while True: yield 0\n"
    "def solve(xs): return X([1])",
    "an iterator without an end": "class X:\n    def __iter__(self): return self\n    def __next__(self): return 0\n"
    "def solve(xs): return X()",
    "an entry point that is a class": "class solve:\n    def __init__(self, xs): pass\n    def __eq__(self, o): return True",
    "an entry point that is a text": "solve = GUESS",
    "an entry point that is not there": "def other(xs): return GUESS",
    "an entry point that leaves when looked up": "class D(dict):\n    def __getitem__(self, name): posix._exit(0)\nsolve = D()",
    "globals that lie": "globals().clear()",
}  # fmt: skip


@both(ANSWERS)
def test_an_odd_answer_does_not_pass(how, name, judge):
    assert_repelled(judge, name, Attack(ANSWERS[how], ("failed", "memory", "crashed", "timeout")), "reals")
