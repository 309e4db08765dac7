"""Attempts that fail are found by their output, and with `train.failed_attempts: context` their code alone is no target."""

import pytest

from reflectioncoder.builder.programs import run_as_cell
from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.failed_attempts import LOST_STATE, failed_attempts, reports_failure
from reflectioncoder.data.render import IGNORE_INDEX, TokenRenderer
from reflectioncoder.data.rendered import SpanTable
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.method.views import teacher_view
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.session import Session
from tests.conftest import make_tokenizer

TRACEBACK = 'Traceback (most recent call last):\n  File "main.py", line 4, in <module>\n    assert f(1) == 2\nAssertionError'
FAILURES = (
    TRACEBACK,
    f"a value\n{TRACEBACK}: said",
    "  File \"main.py\", line 1\n    def f(:\n          ^\nSyntaxError: invalid syntax",
    "ValueError",
    "KeyboardInterrupt",
    "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    "main.js:3\n  throw new Error('x');\n  ^\n\nError: x\n    at f (main.js:3:9)\n    at Object.<anonymous> (main.js:5:1)",
    "AssertionError [ERR_ASSERTION]: 1 == 2\n    at Object.<anonymous> (main.js:9:8)",
    "main.cpp:3:5: error: expected ';' before 'return'",
    "main: main.cpp:9: int main(): Assertion `f(1) == 2' failed.",
    "terminate called after throwing an instance of 'std::out_of_range'",
)  # fmt: skip
SUCCESSES = (
    "the program ran too long and was stopped\n3 others ended",
    "",
    "All tests passed.",
    "None",
    "['ValueError', 'KeyError']",
    "ValueError is raised for an empty list\nAll tests passed.",
    "the error: none\n0",
    "total=3, error=0.5",
    "caught: ZeroDivisionError('division by zero')",
)


@pytest.mark.parametrize("output", FAILURES)
def test_a_failure_is_recognised(output):
    assert reports_failure(output)
    assert reports_failure(f"{output}\n")


@pytest.mark.parametrize("output", SUCCESSES)
def test_what_only_mentions_an_error_is_no_failure(output):
    assert not reports_failure(output)


def ran_in_session(code):
    with Session(Limits(wall_s=0.1, cpu_s=20), detect_isolation()) as session:
        result = session.run(code)
    assert result.status != "ok"
    return result.output


@pytest.mark.parametrize("code", ["import os; os.kill(os.getpid(), 9)", "import os; os._exit(3)", "while True: pass"])
def test_what_a_session_says_of_a_cell_that_it_has_ended_is_a_failure(code):
    assert reports_failure(ran_in_session(code))


def test_every_cell_that_is_lost_is_said_to_be_in_the_same_words():
    assert ran_in_session("import os; os._exit(3)").rstrip("\n").endswith(LOST_STATE)
    for reason in ("the cell ran longer than 3.5 s", "the interpreter ended with signal 9", "the cell wrote too much"):
        assert reports_failure(f"{reason}{LOST_STATE}\n")


@pytest.mark.parametrize(
    ("language", "program"),
    [
        ("js", "console.log(1);\nwhile (true) {}"),
        ("js", "process.abort()"),
        ("js", "require('node:assert')(false)"),
        ("js", "f("),
    ],
)
def test_what_is_said_of_a_program_that_was_stopped_is_a_failure(language, program):
    if missing := LANGUAGES[language].toolchain.missing():
        pytest.skip(f"{missing} is missing here")
    ran = run_as_cell(program, language, 0.5)
    assert not ran.passed
    assert reports_failure(ran.output)


def sample(*outputs):
    blocks = [Block("text", "I begin.")]
    for number, output in enumerate(outputs):
        blocks += [Block("code", f"def f(x): return x + {number}"), Block("execution", output), Block("text", f"So {number}.")]
    answer = assistant(Block("text", "```python\ndef f(x): return x + 1\n```"))
    return Sample((user("Write f."), assistant(*blocks), user("Write f, once."), answer), "reflection", {"id": "s"})


def renderer():
    tokenizer = make_tokenizer()
    from reflectioncoder.models.tokens import add_tokens_to

    add_tokens_to(tokenizer)
    return TokenRenderer(tokenizer)


def test_the_failed_attempts_of_a_sample_are_its_code_before_a_failure():
    assert failed_attempts(sample(TRACEBACK, "7", "All tests passed.")) == {(1, 1)}
    assert failed_attempts(sample("All tests passed.")) == frozenset()


def test_context_leaves_out_the_targets_of_failed_code_and_nothing_else():
    rendered = renderer().render(sample(TRACEBACK, "All tests passed."))
    trained, context = teacher_view(rendered, "train"), teacher_view(rendered, "context")
    assert trained.labels == rendered.teacher_labels
    assert (trained.input_ids, trained.position_ids, trained.kl_rows) == (context.input_ids, context.position_ids, context.kl_rows)
    changed = {p for p, (a, b) in enumerate(zip(trained.labels, context.labels, strict=True)) if a != b}
    (failed,) = [span for span in rendered.spans if span.failed]
    assert (failed.kind, failed.message, failed.block) == ("code", 1, 1)
    assert changed == set(range(failed.start, failed.end))
    assert all(context.labels[p] == IGNORE_INDEX for p in changed)


def test_the_teacher_may_learn_the_answer_alone():
    rendered = renderer().render(sample(TRACEBACK, "All tests passed."))
    whole, answer = teacher_view(rendered), teacher_view(rendered, targets="answer")
    assert (whole.input_ids, whole.position_ids, whole.kl_rows) == (answer.input_ids, answer.position_ids, answer.kl_rows)
    assert answer.labels == rendered.student_labels != whole.labels
    last = [p for span in rendered.spans if span.message == 3 for p in range(span.start, span.end)]
    assert {p for p, label in enumerate(answer.labels) if label != IGNORE_INDEX} == set(last)


def test_a_plan_counts_what_is_left():
    rendered = [renderer().render(sample(TRACEBACK, "All tests passed.")), renderer().render(sample("All tests passed."))]
    plans = {choice: RunPlan(rendered, TrainConfig(failed_attempts=choice), seed=3) for choice in ("train", "context")}
    failed = SpanTable.of(rendered)
    lost = int((failed.end - failed.start)[failed.failed].sum())
    assert (plans["train"].sizes.num_ce - plans["context"].sizes.num_ce).tolist() == [lost, 0]
    assert plans["train"].costs().tolist() == plans["context"].costs().tolist()


def test_the_table_of_spans_keeps_what_failed():
    rendered = renderer().render(sample(TRACEBACK, "All tests passed."))
    assert SpanTable.of([rendered]).spans(0) == list(rendered.spans)
