"""Frames are read whole, wherever their bytes are split, and never beyond the cap."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectioncoder.sandbox.answers import MAX_FRAME_BYTES, BrokenAnswerError, FrameReader
from tests.evaluate.plain_values import often

pytestmark = pytest.mark.filterwarnings("ignore")  # of numpy, about numbers that overflow


# Frames


def framed(frames: list[tuple[str, bytes]]) -> bytes:
    return b"".join(letter.encode("latin-1") + struct.pack("<I", len(content)) + content for letter, content in frames)


@often
@given(st.lists(st.tuples(st.characters(max_codepoint=255), st.binary(max_size=30)), max_size=8), st.data())
def test_frames_are_the_same_wherever_the_bytes_are_split(frames, data):
    whole = framed(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    reader = FrameReader()
    read = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        read += reader.feed(whole[start:end])
    assert read == frames
    assert list(FrameReader().feed(whole)) == frames


@often
@given(st.lists(st.tuples(st.sampled_from("LVDPE"), st.binary(max_size=10)), min_size=1, max_size=5), st.integers(1, 15))
def test_a_frame_that_is_not_all_there_is_not_given(frames, missing):
    whole = framed(frames)
    missing = min(missing, 5 + len(frames[-1][1]))
    reader = FrameReader()
    assert list(reader.feed(whole[:-missing])) == frames[:-1]
    assert list(reader.feed(whole[-missing:])) == frames[-1:]


@pytest.mark.parametrize("length", [MAX_FRAME_BYTES + 1, 2**31, 2**32 - 1])
def test_a_frame_longer_than_the_cap_is_refused_before_it_comes(length):
    reader = FrameReader()
    assert list(reader.feed(framed([("V", b"N")]))) == [("V", b"N")]
    with pytest.raises(BrokenAnswerError):
        list(reader.feed(b"V" + struct.pack("<I", length)))
