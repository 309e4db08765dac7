"""Finds where a model's thoughts end and its answer begins, by the marks that reasoning models write.

It knows tags (`<think>`, `<thinking>`, `<thought>`, `<seed:think>`, `[THINK]`, `◁think▷`, `<|START_THINKING|>`, …) and the channels of
gpt-oss ("harmony") and Gemma. Marks inside programs or quotation marks do not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_NAME = r"(?!end_)(?:[a-z]+[:_])?(?:begin_of_|start_)?(?:think(?:ing)?|thoughts?)(?:_start)?(?:\s[^<>\[\]\n]*)?"
_END = r"(?:end_(?:of_)?(?:think(?:ing)?|thoughts?)|(?:think(?:ing)?|thoughts?)_end)"
_TAG = re.compile(
    rf"(?P<open>(?<!\w)<\|?{_NAME}\|?>|\[{_NAME}\]|◁{_NAME}▷|<\|channel>thought\b|<\|inner_prefix\|>|<unused94>)"
    rf"|(?:<\|?/{_NAME}\|?>|<\|{_END}\|>|\[/{_NAME}\]|◁/{_NAME}▷|<channel\|>|<\|inner_suffix\|>|<unused95>)",
    re.IGNORECASE,
)
_LEADING = re.compile(r"\s*<(?P<name>reasoning|analysis|reflection|scratchpad|reason|cot)>", re.IGNORECASE)
_CHANNEL = re.compile(r"<\|channel\|>\s*(?P<name>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_BARE_CHANNELS = re.compile(r"\Aanalysis(?=\S).*assistant\s?final", re.DOTALL)  # the server has dropped the marks
_ENDS = re.compile(
    r"(?:\s*(?:<\|(?!\w*(?:think|thought|inner_))\w+\|>|<｜[\w▁]+｜>|</s>|<eos>|<end_of_turn>|<turn\|>|<file_sep>))+\s*\Z",
    re.IGNORECASE,
)
_QUOTES = ("'", '"', "`", "“", "”", "‘", "’")
_MAX_THOUGHTS = 4  # after this many thoughts, marks count even inside programs


def after_thoughts(text: str, programs: Callable[[str], list[tuple[int, int]]]) -> str | None:
    """Return the text after the last thought; None if the text ends within a thought. Nothing before the end of a thought is an answer.

    Args:
        programs: returns the (start, end) character ranges of programs in a text.
    """
    text = _ENDS.sub("", text)
    channels = list(_CHANNEL.finditer(text))
    if channels and not _within(programs(text), channels[0].start()):
        final = [match for match in channels if match["name"] == "final"]
        return re.split(r"<\|(?:end|return|start|channel)\|>", text[final[-1].end() :], maxsplit=1)[0] if final else None
    if bare := _BARE_CHANNELS.match(text):
        return text[bare.end() :]
    if leading := _LEADING.match(text):
        closing = re.search(rf"</{leading['name']}>", text, re.IGNORECASE)
        if closing is None:
            return None
        text = text[closing.end() :]
    marks = [mark for mark in _TAG.finditer(text) if not _is_quoted(text, mark)]
    start, num_thoughts, within_thought = 0, 0, False
    code = programs(text) if marks else []
    for mark in marks:
        if _within(code, mark.start() - start) or (mark["open"] and not _begins_line(text, mark)):
            continue
        within_thought = mark["open"] is not None
        if not within_thought:
            start, num_thoughts = mark.end(), num_thoughts + 1
            code = programs(text[start:]) if num_thoughts < _MAX_THOUGHTS else []
    return None if within_thought else text[start:]


def _begins_line(text: str, mark: re.Match[str]) -> bool:
    """Tell whether only other marks stand before the mark on its line: prose may mention a mark."""
    before = text[text.rfind("\n", 0, mark.start()) + 1 : mark.start()].rstrip()
    return not before or before.endswith((">", "]", "▷"))


def _within(ranges: list[tuple[int, int]], position: int) -> bool:
    return any(start <= position < end for start, end in ranges)


def _is_quoted(text: str, mark: re.Match[str]) -> bool:
    """Tell whether the mark, or a longer part of its line with it, is in quotation marks."""
    before, after = text[: mark.start()][-1:], text[mark.end() : mark.end() + 1]
    if before in _QUOTES and after in _QUOTES:
        return not text[: mark.start()].endswith("```")
    line = text[text.rfind("\n", 0, mark.start()) + 1 : mark.start()]
    fenced = line.endswith("```") or text[mark.end() :].startswith("```")
    return not fenced and any(quote and quote in _QUOTES and line.count(quote) % 2 == 1 for quote in (before, after))
