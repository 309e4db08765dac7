"""A value is read as it comes out of a sandbox."""

from __future__ import annotations

from typing import Any

from reflectioncoder.sandbox.answers import read_value
from reflectioncoder.sandbox.runtime.encoding import encode_answer


def sent(value: Any) -> tuple[str, Any]:
    letter, content = encode_answer(value, False, True, False)
    return read_value(letter.decode(), content)
