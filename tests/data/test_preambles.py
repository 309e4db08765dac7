"""The preamble of a task stands behind what has to be first in a program."""

import pytest

from reflectioncoder.data.answers import read_answer
from reflectioncoder.data.python_source import with_preamble
from tests.data.wrapped_programs import F, fenced

PREAMBLE = "from typing import List\nimport math\n\n\ndef helper(x):\n    return x"


@pytest.mark.parametrize(
    ("program", "preamble", "expected"),
    [
        (F, PREAMBLE, f"{PREAMBLE}\n\n\n{F}"),
        (f"from __future__ import annotations\n\n{F}", PREAMBLE, f"from __future__ import annotations\n\n\n{PREAMBLE}\n\n\n{F}"),
        (f'"""Doc."""\nfrom __future__ import annotations\n{F}', PREAMBLE,
         f'"""Doc."""\nfrom __future__ import annotations\n\n\n{PREAMBLE}\n\n\n{F}'),
        (f"#!/usr/bin/env python\n# coding: utf-8\n{F}", PREAMBLE, f"#!/usr/bin/env python\n# coding: utf-8\n\n\n{PREAMBLE}\n\n\n{F}"),
        (f"# A title.\n\n{F}", PREAMBLE, f"# A title.\n\n\n{PREAMBLE}\n\n\n{F}"),
        (F, f"from __future__ import annotations\n{PREAMBLE}", f"from __future__ import annotations\n\n\n{PREAMBLE}\n\n\n{F}"),
        (
            f"from __future__ import division\n{F}", f"from __future__ import annotations\n{PREAMBLE}",
            f"from __future__ import division\nfrom __future__ import annotations\n\n\n{PREAMBLE}\n\n\n{F}",
        ),
        (f"from __future__ import annotations; import re\n{F}", PREAMBLE,
         f"from __future__ import annotations\n\n\n{PREAMBLE}\n\n\nimport re\n{F}"),
        (f'"""Doc."""; X = 1\n{F}', PREAMBLE, f'{PREAMBLE}\n\n\n"""Doc."""; X = 1\n{F}'),
        (
            f"from __future__ import (\n    annotations,\n    division,\n)\n{F}", PREAMBLE,
            f"from __future__ import annotations, division\n\n\n{PREAMBLE}\n\n\n{F}",
        ),
        (F, "", F),
    ],
)  # fmt: skip
def test_the_preamble_stands_behind_what_has_to_be_first(program, preamble, expected):
    assert with_preamble(program, preamble) == expected
    compile(expected, "program", "exec")
    read = read_answer(fenced(program), "f", preamble=preamble)
    assert read.solution == expected


def test_a_program_that_does_not_parse_keeps_its_future_imports_in_front():
    program = with_preamble("from __future__ import annotations\ndef f(x) return", "import math")
    assert program.startswith("from __future__ import annotations\n\n\nimport math\n")
