"""Any program comes out of any wrapping, and no text takes the reader down or long."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectioncoder.data import markdown
from reflectioncoder.data.answer_reasons import REASONS, WITHOUT_PROGRAM
from reflectioncoder.data.answers import read_answer
from tests.data.wrapped_programs import DRAFT, PREFILL, assert_same_program, fenced, indented, quoted
from tests.tiers import examples


@pytest.mark.parametrize(
    "text",
    ["```python\n" * 3000, "> " * 20_000, "- " * 20_000 + "\n```python\nf", "<think>" * 5000, "</think>" * 5000,
     "(" * 100_000, "`" * 100_000,
     "```python\n" + "(" * 100_000, "def f(\n" * 3000, "def f(x): return 1\nword's\n" * 2000, "\x00", "\ud800```python\n\ud800\n```",
     "```\n'''\n" * 2000, "x = 1\n" * 50_000],
    ids=range(14),
)  # fmt: skip
@pytest.mark.timeout(60)
def test_no_text_takes_the_reader_down(text):
    for prefill in ("", PREFILL):
        assert read_answer(text, "f", prefill=prefill).reason in REASONS


NAMES = st.from_regex(r"[a-z]{1,3}", fullmatch=True).filter(
    lambda name: name.isidentifier() and name not in ("f", "if", "in", "is", "or", "as")
)
BODIES = st.lists(
    st.one_of(
        st.builds("    {} = {}\n".format, NAMES.map("v_{}".format), st.integers(0, 99)),
        st.builds("    # {}\n".format, st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), max_size=12)),
        st.builds("    v_s = {!r}\n".format, st.text(alphabet="`~ab\n'\"<>/think", max_size=20)),
        st.just('    """A note.\n\n    ```python\n    f(1)\n    ```\n    """\n'),
        st.just("    v_t = '''\n```\n~~~~\n'''\n"),
        st.just("\n"),
        st.just("    if x:\n        return [x]\n"),
    ),
    max_size=6,
)
PROGRAMS = st.builds(
    "{}def f(x):\n{}    return x\n".format,
    st.sampled_from(["", "import math\n\n\n", "# Title.\n\n", "from __future__ import annotations\n"]),
    BODIES.map("".join),
)
WRAPPINGS = st.sampled_from(
    [
        lambda code: code,
        fenced,
        lambda code: fenced(code, fence="~~~~"),
        lambda code: fenced(code, "{.python}", "`````"),
        lambda code: f"Words.\n\n{fenced(code, ' Python3.11')}\nMore words.",
        lambda code: f"1. So:\n\n{indented(fenced(code))}\n2. Done.",
        lambda code: quoted(f"So:\n\n{fenced(code)}"),
        lambda code: f"<think>\n{fenced(DRAFT)}\nno</think>\n{fenced(code)}",
        lambda code: f"{fenced(DRAFT)}Better:\n\n{fenced(code)}\nSo:\n{fenced('print(f(1))')}",
        lambda code: fenced(code).removesuffix("```\n"),
        lambda code: fenced(code).replace("\n", "\r\n"),
    ]
)  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(PROGRAMS, WRAPPINGS)
def test_any_program_comes_out_of_any_wrapping(program, wrap):
    assert_same_program(read_answer(wrap(program), "f").solution, program)


@settings(max_examples=examples(200), deadline=None)
@given(st.text(alphabet="`~>\n \t-1.def f():x=</think>python\"'#", max_size=120), st.sampled_from(["", PREFILL]))
def test_any_text_is_read(text, prefill):
    read = read_answer(text, "f", prefill=prefill)
    assert read.reason in REASONS
    assert read.has_program == (read.reason not in WITHOUT_PROGRAM)


BROKEN = "```python\ndef f(x):\n    return x\n  oops (\n```\nwords\n"


@pytest.mark.parametrize(
    "answer",
    [BROKEN * 1500, BROKEN * 20_000, (BROKEN * 30 + "</think>\n") * 24, ("> " + BROKEN.replace("\n", "\n> ") + "\n") * 1500],
    ids=["broken fences", "more of them", "among ends of thoughts", "in quotes"],
)
def test_the_characters_that_are_read_to_find_a_program_are_bounded(answer, monkeypatch):
    read = []
    parse = markdown._PARSER.parse
    monkeypatch.setattr(markdown._PARSER, "parse", lambda text: read.append(len(text)) or parse(text))
    read_answer(answer, "f")
    assert sum(read) <= 10 * markdown._MAX_REREAD_CHARS + 10 * len(answer)
