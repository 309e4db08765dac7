"""Pairs of an answer and an expected value that is a number, True, False or None, or holds one."""

from __future__ import annotations


def spread(answers: str, *expected: str) -> list[tuple[str, str]]:
    """Each answer (one a line) with each expected value."""
    return [(answer.strip(), wanted) for wanted in expected for answer in answers.strip().splitlines()]


NUMBER_PAIRS: list[tuple[str, str]] = [
    *spread(
        """
        1
        True
        1.0
        1 + 0j
        "1"
        [1]
        (1,)
        None
        0
        False
        2
        -1
        1.0000001
        1.00001
        np.int64(1)
        np.int8(1)
        np.uint64(1)
        np.float64(1)
        np.float32(1)
        np.float16(1)
        np.complex128(1)
        np.bool_(True)
        np.longdouble(1)
        np.clongdouble(1)
        np.timedelta64(1)
        np.datetime64("1970-01-02", "D")
        np.int64(2)
        np.array(1)
        np.array([1])
        np.array([[1]])
        np.array([1.0000001])
        np.array([])
        np.array([1, 1])
        np.array([1, 2])
        Int(1)
        Int(2)
        Float(1)
        Color.RED
        Fraction(1)
        Fraction(2, 2)
        Fraction(1, 2)
        Decimal(1)
        Decimal("1.0")
        Decimal("1.1")
        Decimal("sNaN")
        Ratio(1)
        Amount(1)
        Number(1)
        b"1"
        range(1)
        generated(1)
        lambda: 1
        int
        object()
        ...
        NotImplemented
        math
        Yes()
        YesInt(2)
        YesFloat(2.0)
        NoInt(1)
        Raises()
        Spoofed()
        fail(ValueError())
        fail(SystemExit(0))
        fail(KeyboardInterrupt())
        fail(GeneratorExit())
        fail(StopIteration())
        fail(AssertionError())
        """,
        "1",
        "True",
        "1.0",
    ),
    *spread(
        """
        0
        False
        0.0
        -0.0
        0j
        -0j
        ""
        []
        None
        1e-7
        1e-6
        1.1e-6
        9e-4
        np.int64(0)
        np.float64(-0.0)
        np.float32(1e-7)
        np.bool_(False)
        np.array(0)
        np.array([0])
        np.array([])
        np.array([0, 0])
        Fraction(0)
        Decimal("-0")
        """,
        "0",
        "0.0",
        "False",
    ),
    *spread(
        """
        None
        False
        True
        0
        1
        ""
        "a"
        []
        nan
        object()
        generated()
        generated(1)
        np.bool_(False)
        np.bool_(True)
        np.array([])
        np.array([None])
        Yes()
        lambda: None
        """,
        "None",
        "False",
        "True",
    ),
    *spread(
        """
        nan
        -nan
        math.nan
        inf
        -inf
        1e308
        1e309
        0.0
        np.float64("nan")
        np.float32("inf")
        np.float64("inf")
        Decimal("inf")
        Decimal("nan")
        10**400
        complex(nan, 0)
        [nan]
        None
        """,
        "nan",
        "inf",
        "-inf",
    ),
    *spread(
        """
        0.1 + 0.2
        0.3
        0.3 + 1e-6
        0.3 - 1e-6
        0.3 + 1.03e-6
        0.3 + 1.02e-6
        0.3 + 1.04e-6
        0.3 + 9.9e-5
        0.3 + 1.1e-4
        0.299999
        np.float64(0.3)
        np.float32(0.3)
        np.float64(0.1) + 0.2
        Fraction(3, 10)
        Decimal("0.3")
        Float(0.3)
        Float(0.30000001)
        0.3 + 0j
        complex(0.3, 1e-9)
        [0.3]
        [0.3, 0.3]
        [[]]
        []
        "0.3"
        """,
        "0.3",
        "[0.3]",
        "(0.3,)",
    ),
    *spread(
        """
        1e10
        1e10 + 1
        1e10 + 999
        1e10 + 1001
        1e10 * (1 + 1e-7)
        1e10 * (1 + 1.01e-7)
        10**10
        10**10 + 1
        10**10 + 1001
        np.int64(10**10)
        """,
        "1e10",
        "10**10",
    ),
    *spread(
        """
        10**30
        10**30 + 1
        1e30
        2**63
        2**63 - 1
        -2**63
        2**64
        2**31
        np.uint64(2**63)
        np.float64(2**63)
        Int(10**30)
        Decimal(10)**30
        """,
        "10**30",
        "2**63",
        "2**31",
    ),
    *[(whole, whole) for whole in ("2**15 - 1", "2**15", "-2**15", "2**30", "-2**31", "-2**31 - 1", "2**60", "-3**5000", "7**9000")],
    ("7**9000 + 1", "7**9000"),
    ("-(7**9000)", "7**9000"),
]  # fmt: skip
