"""Pairs of an answer and an expected value that is a container, a text or a complex number, short and long."""

from __future__ import annotations

from tests.evaluate.number_pairs import spread

CONTAINER_PAIRS: list[tuple[str, str]] = [
    *spread(
        """
        [1, 2]
        (1, 2)
        {1, 2}
        {1: 2}
        [2, 1]
        [1, 2, 3]
        [1]
        []
        [1.0, 2.0]
        [True, 2]
        [1, 2.0000001]
        [1.0, 2.0000001]
        (1.0, 2.0000001)
        ["1", "2"]
        "12"
        [[1, 2]]
        [np.int64(1), np.int64(2)]
        [np.float64(1), np.float32(2)]
        (np.int64(1), 2)
        [np.array(1), np.array([2])]
        [np.array([1, 1]), 2]
        np.array([1, 2])
        np.array([1.0, 2.0])
        np.array([1, 2.0000001])
        np.array([[1], [2]])
        np.array([[1, 2]])
        np.array([1, 2, 3])
        np.array([1, 2, 2])
        np.array([1, 2], dtype=object)
        np.array([1, 2], dtype="datetime64[D]")
        np.array([(1, 2)], dtype="i4,i4")
        np.array(["1", "2"])
        np.array([True, False])
        np.array([1, 2], dtype=np.longdouble)
        np.unique([2, 1, 2])
        np.ma.array([1, 2])
        np.matrix([1, 2])
        List([1, 2])
        List([1.0, 2.0000001])
        Tuple((1, 2))
        Point(1, 2)
        Point(1.0, 2.0000001)
        YesList([3])
        YesTuple((3,))
        NoList([1, 2])
        Shown([1, 2])
        [Yes(), Yes()]
        [YesInt(5), YesInt(6)]
        [Int(1), Float(2)]
        [Fraction(1), Decimal(2)]
        [Fraction(1), Fraction(20000001, 10000000)]
        deque([1, 2])
        array.array("i", [1, 2])
        collections.UserList([1, 2])
        range(1, 3)
        generated(1, 2)
        generated(2, 1, 1)
        map(int, "12")
        filter(None, [1, 2])
        zip([1, 2])
        iter([1, 2])
        reversed([2, 1])
        enumerate([1, 2])
        dict.fromkeys([1, 2])
        dict.fromkeys([1, 2]).keys()
        {1: 1, 2: 2}.values()
        {1: 2}.items()
        OrderedDict.fromkeys([1, 2]).keys()
        Counter([1, 2])
        frozenset({1, 2})
        b"\\x01\\x02"
        bytearray(b"\\x01\\x02")
        memoryview(b"\\x01\\x02")
        types.SimpleNamespace(a=1)
        [[1], [2]]
        ([1], [2])
        generated([1], [2])
        [1, [2]]
        {1, 2, 3}
        """,
        "[1, 2]",
        "(1, 2)",
        "{1, 2}",
        "[1.0, 2.0]",
        "(1.0, 2.0)",
        "[1, 2.0]",
        "{1: 2}",
    ),
    *spread(
        """
        []
        ()
        set()
        frozenset()
        {}
        ""
        b""
        [[]]
        [()]
        np.array([])
        np.array([], dtype=int)
        np.zeros((0, 3))
        np.array([[]])
        deque()
        range(0)
        generated()
        iter(())
        Counter()
        Counter(a=0)
        defaultdict(list)
        OrderedDict()
        {}.keys()
        {}.values()
        types.MappingProxyType({})
        List()
        None
        """,
        "[]",
        "()",
        "set()",
        "{}",
        '""',
    ),
    *spread(
        """
        {"a": 1, "b": 2}
        {"b": 2, "a": 1}
        {"a": 1}
        {"a": 1, "b": 3}
        {"a": 1.0, "b": True + 1}
        {"a": 1, "b": 2.0000001}
        {"a": np.int64(1), "b": np.float64(2)}
        {np.str_("a"): 1, Str("b"): 2}
        {Str("a"): Int(1), "b": 2}
        {YesStr("c"): 1, "d": 2}
        {"a": Yes(), "b": Yes()}
        Counter(a=1, b=2)
        Counter(a=1, b=2, c=0)
        Counter("abb")
        Count("abb")
        Count(a=1, b=2, c=0)
        OrderedDict(a=1, b=2)
        OrderedDict(b=2, a=1)
        defaultdict(int, a=1, b=2)
        Dict(a=1, b=2)
        YesDict()
        collections.ChainMap({"a": 1}, {"b": 2})
        collections.UserDict(a=1, b=2)
        types.MappingProxyType({"a": 1, "b": 2})
        [("a", 1), ("b", 2)]
        {"a": 1, "b": 2}.items()
        {"a": 1, "b": 2}.keys()
        ["a", "b"]
        {"a": [1], "b": 2}.items()
        np.array(["a", "b"])
        """,
        '{"a": 1, "b": 2}',
        "Counter(a=1, b=2)",
        '{("a", 1), ("b", 2)}',
        '["a", "b"]',
    ),
    *spread(
        """
        "ab"
        "ba"
        "ab\\x00"
        "AB"
        Str("ab")
        YesStr("ba")
        np.str_("ab")
        Text.AB
        np.array("ab")
        np.array(["ab"])
        b"ab"
        bytearray(b"ab")
        np.bytes_(b"ab")
        collections.UserString("ab")
        ["a", "b"]
        ("a", "b")
        {"a", "b"}
        None
        """,
        '"ab"',
        '["a", "b"]',
    ),
    *[(text, text) for text in ('"é漢😀"', '"\\ud800"', '"\\x00"', '"x" * 5000', '"é" * 5000', '"\\ud800" * 3000')],
    ('"x" * 4999 + "y"', '"x" * 5000'),
    ('"x" * 5001', '"x" * 5000'),
    ('"e\\u0301"', '"é"'),
    ('Str("x" * 5000)', '"x" * 5000'),
    *spread(
        """
        1j
        complex(0, 1)
        complex(-0.0, 1)
        complex(1e-9, 1)
        complex(0, nan)
        np.complex64(1j)
        1
        "1j"
        """,
        "1j",
        "(1j, 2.0)",
        "complex(0, nan)",
    ),
    *spread(
        """
        [(1, 2.5), (3, 4.5)]
        [[1, 2.5], [3, 4.5]]
        ((1, 2.5), (3, 4.5))
        [(1, 2.5000001), (3, 4.5)]
        [(3, 4.5), (1, 2.5)]
        np.array([[1, 2.5], [3, 4.5]])
        [np.array([1, 2.5]), np.array([3, 4.5])]
        [Point(1, 2.5), Point(3, 4.5)]
        {1: 2.5, 3: 4.5}
        {1: 2.5, 3: 4.5}.items()
        zip([1, 3], [2.5, 4.5])
        [(1, 2.5), (3, None)]
        """,
        "[(1, 2.5), (3, 4.5)]",
        "[[1, 2.5], [3, 4.5]]",
        "{(1, 2.5), (3, 4.5)}",
    ),
    *[(f"nested({depth})", f"nested({depth})") for depth in (10, 90, 150)],
    ("nested(10, 1)", "nested(10, 1.0)"),
    ("nested(9)", "nested(10)"),
    ("nested(90, Int(1))", "nested(90, 1)"),
    ("nested(190, Int(1))", "nested(190, 1)"),
    ("nested(5000)", "[[]]"),
    ("(lambda items: items.append(items) or items)([])", "[[]]"),
    # Long ones: only a digest is sent at first.
    *spread(
        """
        steps(3000)
        tuple(steps(3000))
        steps(3000, 1e-9)
        steps(3000, 1e-5)
        steps(2999)
        steps(3001)
        [*steps(2999), 428.4285714]
        [*steps(2999), 429.0]
        [*steps(2999), nan]
        [-0.0, *steps(3000)[1:]]
        [0, *steps(3000)[1:]]
        [1e-7, *steps(3000)[1:]]
        [None, *steps(3000)[1:]]
        ["0.0", *steps(3000)[1:]]
        [[0.0], *steps(3000)[1:]]
        [Fraction(0), *steps(3000)[1:]]
        [np.float64(0), *steps(3000)[1:]]
        [np.float64(1e-7), *steps(3000)[1:]]
        np.array(steps(3000))
        np.array(steps(3000, 1e-9))
        list(np.array(steps(3000)))
        List(steps(3000))
        set(steps(3000))
        dict.fromkeys(steps(3000))
        deque(steps(3000))
        (x for x in steps(3000))
        YesList()
        [Yes()] * 3000
        []
        0.0
        """,
        "steps(3000)",
        "tuple(steps(3000))",
        "set(steps(3000))",
        "[1, *steps(3000)[1:]]",
    ),
    ("steps(9000)", "steps(9000)"),
    ("steps(9000, 1e-9)", "steps(9000)"),
    ("steps(9000)[::-1]", "steps(9000)"),
    ("[*steps(9000)[:-1], np.float64(8999 / 7)]", "steps(9000)"),
    ("[nan, *steps(3000)]", "[nan, *steps(3000)]"),
    ("[[nan, 1.0], *steps(3000)]", "[[nan, 1.0], *steps(3000)]"),
    ("{nan: 1}", "{nan: 1}"),
    ("[nan]", "[nan]"),
    ("(nan, 1.0)", "(nan, 1.0)"),
    ("[None, nan]", "[None, nan]"),
    ("list(range(5000))", "list(range(5000))"),
    ("list(map(float, range(5000)))", "list(range(5000))"),
    ("list(map(np.int64, range(5000)))", "list(range(5000))"),
    ("[True, *range(2, 5000)]", "list(range(1, 5000))"),
    ("list(range(5000))[::-1]", "list(range(5000))"),
    ("range(5000)", "list(range(5000))"),
    ("np.arange(5000)", "list(range(5000))"),
    ("tuple(range(5000))", "list(range(5000))"),
    ("set(range(5000))", "set(range(5000))"),
    ("set(range(4999, -1, -1))", "set(range(5000))"),
    ("frozenset(range(5000))", "set(range(5000))"),
    ("{str(n) for n in range(2000)}", "{str(n) for n in range(2000)}"),
    ("dict.fromkeys(range(4000))", "dict.fromkeys(range(3999, -1, -1))"),
    ("{n: n + 1 for n in range(4000)}", "{n: n for n in range(4000)}"),
    ("Counter(range(2000))", "Counter(range(2000))"),
    ("dict(Counter(range(2000)))", "Counter(range(2000))"),
    ("Counter(range(2001))", "Counter(range(2000))"),
    ("dict.fromkeys(range(2000), 1)", "Counter(range(2000))"),
    ("Counter(range(2000))", "dict.fromkeys(range(2000), 1)"),
    ("same(0.5, 3000)", "same(0.5, 3000)"),
    ("same(0.5, 3000)", "same(0.50000001, 3000)"),
    ("same('a', 3000)", "same('b', 3000)"),
]  # fmt: skip
