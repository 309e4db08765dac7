"""Plain values that come out of a sandbox are read as they were sent, and bytes of any other kind are refused."""

from __future__ import annotations

import marshal
import struct
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reflectioncoder.sandbox.answers import BrokenAnswerError, decode, read_value
from reflectioncoder.sandbox.runtime.encoding import encode_answer
from tests.evaluate.plain_values import is_plain_by_the_book, often, plain_values

pytestmark = pytest.mark.filterwarnings("ignore")  # of numpy, about numbers that overflow


def exact(value: Any) -> Any:
    """Hashable, and equal for values of the same types and bits only; in dictionaries the order counts."""
    kind = type(value)
    if kind in (list, tuple):
        return kind, tuple(map(exact, value))
    if kind in (set, frozenset):
        return kind, frozenset(Counter(map(exact, value)).items())
    if kind is dict:
        return kind, tuple((exact(key), exact(item)) for key, item in value.items())
    if kind is float:
        return kind, struct.pack("<d", value)
    if kind is complex:
        return kind, struct.pack("<dd", value.real, value.imag)
    return kind, value


def read_or_refused(data: bytes) -> Any:
    """The value, plain all the way down; None if it was refused. Nothing else can happen."""
    try:
        value = decode(data)
    except BrokenAnswerError:
        return None
    assert is_plain_by_the_book(value), value
    return value


@often
@given(plain_values)
def test_a_plain_value_is_read_as_it_was_sent_to_the_bit_and_the_type(value):
    assert exact(decode(marshal.dumps(value, 2))) == exact(value)


@often
@given(plain_values)
def test_an_answer_of_plain_values_travels_as_such_with_its_type(value):
    letter, content = encode_answer(value, False, True, False)
    name, read = read_value(letter.decode(), content)
    assert letter == b"V"
    assert name == type(value).__name__
    assert exact(read) == exact(value)


@pytest.mark.parametrize(
    "value",
    [
        *(2**power + shift for power in (0, 14, 15, 16, 29, 30, 31, 32, 60, 63, 64, 10_000) for shift in (-1, 0, 1)),
        *(-(2**power) + shift for power in (15, 30, 31, 60, 63, 10_000) for shift in (-1, 0, 1)),
        "x" * 70_000,
        "\U0010ffff\ud800",
        list(range(70_000)),
        set(range(70_000)),
        dict.fromkeys(range(70_000)),
        [[]] * 1000,
    ],
    ids=lambda value: f"{value!r:.20}" if not isinstance(value, int) else hex(value)[:12],
)
def test_values_at_the_edges_of_the_format_are_read_as_they_were_sent(value):
    assert exact(decode(marshal.dumps(value, 2))) == exact(value)


@often
@given(st.binary(max_size=60))
@example(b"")
@example(b"0")
@example(b"[\x01\x00\x00\x000")
@example(b"{N0")
@example(b"{[\x00\x00\x00\x00N0")
@example(b"r\x00\x00\x00\x00")
@example(b"c" + bytes(60))
def test_bytes_of_any_kind_are_read_as_a_plain_value_or_refused(data):
    read_or_refused(data)


@often
@given(st.lists(st.sampled_from([*b"NTFiglysu[({<>0St.\x00\x01\x02\x03\xff\x80"]), max_size=40).map(bytes))
def test_tags_in_any_order_are_read_as_a_plain_value_or_refused(data):
    read_or_refused(data)


@often
@given(plain_values, st.data())
def test_a_damaged_value_is_read_as_a_plain_value_or_refused(value, data):
    damaged = bytearray(marshal.dumps(value, 2))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        match data.draw(st.sampled_from(["change", "cut", "insert", "delete", "repeat"])):
            case "change" if at < len(damaged):
                damaged[at] = data.draw(st.integers(0, 255))
            case "cut":
                del damaged[at:]
            case "insert":
                damaged[at:at] = data.draw(st.binary(max_size=6))
            case "delete":
                del damaged[at : at + data.draw(st.integers(1, 6))]
            case "repeat":
                damaged[at:at] = damaged[: min(at, 12)]
    read_or_refused(bytes(damaged))


@often
@given(plain_values, st.binary(min_size=1, max_size=3))
def test_a_value_with_too_few_or_too_many_bytes_is_refused(value, more):
    data = marshal.dumps(value, 2)
    with pytest.raises(BrokenAnswerError):
        decode(data + more)
    with pytest.raises(BrokenAnswerError):
        decode(data[:-1])


@pytest.mark.parametrize("tag", [*b"silu[({<>"])
@pytest.mark.parametrize("length", [2**31 - 1, 2**24, -1, -(2**31), 5])
def test_a_length_beyond_the_bytes_that_are_there_is_refused(tag, length):
    data = bytes([tag]) + struct.pack("<i", length) + b"NN"
    if tag in b"i{l":
        data = data[:-1]
    with pytest.raises(BrokenAnswerError):
        decode(data)


@pytest.mark.parametrize("version", [0, 1, 3, 4])
def test_of_the_other_versions_of_the_format_only_what_is_the_same_is_read(version):
    for value in (1.5, "abc", [1, 1], ["ab", "ab"], (1, "x" * 300), 2**70):
        read = read_or_refused(marshal.dumps(value, version))
        assert read is None or exact(read) == exact(value)


@pytest.mark.parametrize("code", ["x", "lambda: 1"])
def test_code_is_refused(code):
    for version in range(5):
        with pytest.raises(BrokenAnswerError):
            decode(marshal.dumps(compile(code, "", "eval"), version))


LAYERS = {
    "lists": b"[\x01\x00\x00\x00",
    "tuples": b"(\x01\x00\x00\x00",
    "frozen sets": b">\x01\x00\x00\x00",
    "values of dictionaries": b"{N",
    "keys of dictionaries": b"{",
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("depth", [401, 1000, 5000, 1_000_000])
def test_a_value_nested_too_deep_is_refused(layer, depth):
    ends = b"0" * depth if layer == b"{N" else b"N0" * depth if layer == b"{" else b""
    with pytest.raises(BrokenAnswerError):
        decode(layer * depth + b"N" + ends)


@pytest.mark.parametrize("depth", [10, 150, 198])
def test_whatever_depth_is_sent_as_plain_can_be_read(depth):
    value: Any = []
    for _ in range(depth):
        value = [value]
    letter, content = encode_answer(value, False, False, False)
    assert letter == b"V"
    assert read_value("V", content) == ("list", value)


@pytest.mark.parametrize("depth", [10, 98])
def test_whatever_depth_is_sent_as_a_tree_can_be_read(depth):
    value: Any = Fraction(1, 2)
    for _ in range(depth):
        value = [value]
    letter, content = encode_answer(value, False, False, False)
    assert letter == b"P"
    assert read_value("P", content) == ("list", value)
