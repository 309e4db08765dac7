"""What the executions of a sample say is believed only if the program before them prints it."""

import json

import pytest

from reflectioncoder.builder.replay import NO_PROGRAM, replay_sample
from reflectioncoder.cli import main
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.sandbox.limits import Limits


def sample(*blocks):
    answer = assistant(Block("text", "```python\ndef f(): pass\n```"))
    return Sample((user("Write f."), assistant(*blocks), user("Write f, once."), answer), "reflection", {"id": "s"})


TEXT, CODE, PRINTED = Block("text", "I begin."), Block("code", "print(1)"), Block("execution", "1")


@pytest.mark.parametrize(
    ("blocks", "wrong"),
    [
        ([TEXT, CODE, PRINTED], []),
        ([TEXT, CODE, TEXT, CODE, PRINTED], []),
        ([TEXT, Block("execution", "lies")], [1]),
        ([TEXT, Block("execution", "I never ran"), CODE, PRINTED], [1]),
        ([TEXT, CODE, PRINTED, PRINTED], [3]),
        ([TEXT, CODE, TEXT, PRINTED], [3]),
        ([TEXT, Block("execution", NO_PROGRAM)], [1]),
        ([TEXT, CODE, Block("execution", "2")], [2]),
    ],
    ids=lambda value: "-".join(block.type for block in value) if value and isinstance(value[0], Block) else None,
)
def test_an_execution_without_a_program_right_before_it_is_a_drift(blocks, wrong):
    found = replay_sample(sample(*blocks), Limits(wall_s=3.0))
    assert [drift.block for drift in found.drifts] == wrong
    assert found.num_executions == sum(block.type == "execution" for block in blocks)


def test_check_fails_on_outputs_that_no_program_printed(tmp_path, capsys):
    write_jsonl(tmp_path / "d.jsonl", [sample(TEXT, Block("execution", "lies")).to_json()])
    assert main(["check", str(tmp_path / "d.jsonl"), "-q"]) == 1
    assert json.dumps(NO_PROGRAM)[1:-1] in capsys.readouterr().err
