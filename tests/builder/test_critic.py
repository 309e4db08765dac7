"""A critic's words replace a diagnosis only if they keep the change and state nothing that was not seen; nothing is asked twice."""

import json
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import pytest

from reflectioncoder.builder.claims import count_claims
from reflectioncoder.builder.critic.counts import REFUSALS, Refusal
from reflectioncoder.builder.critic.diagnoses import diagnoses_of
from reflectioncoder.builder.critic.gates import needed_code, refusal
from reflectioncoder.builder.log import LOG_NAME
from reflectioncoder.builder.mutation.stated_words import num_statements
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.replay import replay
from reflectioncoder.config.building import BuildConfig, EndpointConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.samples import Block, read_samples
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.sandbox.limits import Limits
from tests.builder.server import Script, serving

FILES = ("reflections.jsonl", "rejected.jsonl")
TRAIN = bundled_problems("train")
# One statement leaves no room for two slips, and so for two diagnoses.
PROBLEMS = [
    *[problem for problem in TRAIN if problem.grade == 1][:2],
    *[problem for problem in TRAIN if num_statements(answer_program(problem)) > 3 and len(problem.canonical_solution) < 300][:2],
]


@dataclass
class Words(Script):
    """Says diagnoses anew: `say` makes a text of the old one. `asked`: the requests."""

    say: Callable[[str], Any] = str
    asked: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, payload) -> Any:
        request = payload["messages"][0]["content"]
        with self.guard:
            self.asked.append(request)
        old = re.search(r"This is what I found out:\n\n(.*?)\n\nWrite that last paragraph", request, re.DOTALL)
        assert old is not None
        return self.say(old[1])


def anew(text):
    return f"Looking at what was printed, I see it clearly. {text}"


def recipe_of(folder, url, **build):
    write_jsonl(folder / "problems.jsonl", [problem.to_json() for problem in PROBLEMS])
    endpoint = EndpointConfig(base_url=url, model="critic-1", max_in_flight=4, timeout_s=2.0, retries=1)
    settings = {"diagnoses": "traced", "critic": "openai", "samples_per_problem": 2, "endpoint": endpoint, **build}
    if settings.get("author", "mutation") == "mutation":
        settings = {"two_slip_share": 0.5, "max_operator_share": 1.0, **settings}
    config = BuildConfig(problems=(str(folder / "problems.jsonl"),), min_samples=0, **settings)
    return Recipe("c", ModelConfig("none"), build=config, sandbox=SandboxConfig(workers=2))


def num_diagnoses(sample):
    return len(list(diagnoses_of(sample.messages[1].content)))


def build_with(folder, say, **build):
    return build_by(Words(PROBLEMS, say=say), folder, **build)


def build_by(script, folder, **build):
    """Build in a folder; with the log of the samples without a critic there, their programs are not run again."""
    with serving(script) as url:
        summary = build_reflections(recipe_of(folder, url, **build), folder, fork=(folder / LOG_NAME).exists())
    return summary, list(read_samples(folder / "reflections.jsonl")), script


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    recipe = recipe_of(folder, "")
    build_reflections(replace(recipe, build=replace(recipe.build, critic="none", endpoint=EndpointConfig())), folder)
    return folder


@pytest.fixture(scope="module")
def plain(plain_folder):
    """The same samples without a critic."""
    return list(read_samples(plain_folder / "reflections.jsonl"))


@pytest.fixture
def begun(plain_folder, tmp_path):
    """A folder in which the programs of these samples have been run, and no critic has been asked."""
    shutil.copyfile(plain_folder / LOG_NAME, tmp_path / LOG_NAME)
    return tmp_path


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("said")
    return folder, *build_with(folder, anew)


def test_every_diagnosis_is_said_anew_and_the_rest_stays(plain, said):
    _, summary, samples, script = said
    counts = summary["critic"]
    assert counts["model"] == "critic-1"
    assert counts["num_accepted"] == counts["num_asked"] == len(script.asked) == sum(map(num_diagnoses, plain)) > len(samples)
    assert counts["refused"] == {}
    for old, new in zip(plain, samples, strict=True):
        assert new.id == f"{old.id}:critic-1"
        assert new.metadata["critic"] == {"model": "critic-1", "num_diagnoses": num_diagnoses(old)}
        for before, after in zip(old.messages[1].content, new.messages[1].content, strict=True):
            assert after.content in (before.content, anew(before.content))
            assert before.type == "text" or after == before
        assert sum(block.content.startswith("Looking at") for block in new.messages[1].content) == num_diagnoses(old)


def test_a_critics_samples_state_nothing_unsupported_and_replay(said):
    *_, samples, _ = said
    assert count_claims(samples).statuses["unsupported"] == 0
    assert [drift for result in replay(samples, Limits(wall_s=3.0), 2) for drift in result.drifts] == []


def test_the_request_shows_problem_attempt_output_look_and_diagnosis(plain, said):
    *_, script = said
    sample = next(sample for sample in plain if len(sample.messages[1].content) == 9)
    _, attempt, output, _, look, printed, text, _, _ = (block.content for block in sample.messages[1].content)
    request = next(request for request in script.asked if text in request)
    for part in (sample.messages[0].text, attempt, output, look, printed):
        assert part in request


def test_nothing_is_asked_again(said):
    folder, summary, *_ = said
    first = [(folder / name).read_bytes() for name in FILES]
    again, _, script = build_with(folder, anew)
    assert script.asked == []
    assert [(folder / name).read_bytes() for name in FILES] == first
    assert again["critic"] == summary["critic"]
    assert again["num_requests"] == 0
    assert again["output_tokens"] == summary["output_tokens"] > 0


def test_a_build_that_is_out_of_budget_goes_on_with_more(begun, said):
    folder, summary, *_ = said
    script = Words(PROBLEMS, say=anew)
    with serving(script) as url:
        with pytest.raises(MachineError, match=r"budget of \d+ tokens"):
            build_reflections(recipe_of(begun, url, budget_tokens=2500), begun, fork=True)
        num_asked = len(script.asked)
        assert 0 < num_asked < summary["critic"]["num_asked"]
        build_reflections(recipe_of(begun, url, budget_tokens=10_000_000), begun)
    assert len(script.asked) == summary["critic"]["num_asked"]
    assert (begun / "reflections.jsonl").read_bytes() == (folder / "reflections.jsonl").read_bytes()


HYBRID = {"hybrid": True, "two_slip_share": 0.25, "max_operator_share": 0.15}
CASES = {
    "empty_answer": lambda text: "  \n",
    "special_tokens": lambda text: f"I see <|im_start|> it. {text}",
    "has_code_block": lambda text: f"{text}\n\n- and this",
    "unchanged": lambda text: text,
    "no_diagnosis": lambda text: "I apologize for the confusion. Let me fix it.",
    "other_language": lambda text: "Der Fehler war, dass die Bedingung nicht für diesen Fall gilt, und das ist nun anders.",
    "speaks_of_the_task": lambda text: f"Here is the explanation in my own words. {text}",
    "too_long": lambda text: f"{text} " + "The loop needs another look, as it goes over the items one by one. " * 12,
    "code_lost": lambda text: "The expression in that line computes something else than the statement asks for.",
    "invented_output": lambda text: f"{text} When I ran it, it printed 31415926.",
    "unsupported_claim": lambda text: f"{text} The helper `frobnicate` is to blame.",
}


@pytest.mark.parametrize("reason", CASES)
def test_a_text_that_may_not_take_a_diagnosis_place_leaves_it_as_it_was(reason, plain, begun):
    summary, samples, _ = build_with(begun, CASES[reason])
    assert summary["critic"]["num_accepted"] == 0
    assert summary["critic"]["refused"] == {reason: summary["critic"]["num_asked"]}
    assert [json.dumps(sample.to_json()) for sample in samples] == [json.dumps(sample.to_json()) for sample in plain]


@dataclass
class CutOff(Words):
    def finish_reason(self):
        return "length"


@dataclass
class Fails(Words):
    """Answers nothing about one problem and takes no request about another."""

    def fault(self, payload):
        request = payload["messages"][0]["content"]
        return 500 if PROBLEMS[1].prompt in request else 400 if PROBLEMS[2].prompt in request else None


@dataclass
class Attempts(Words):
    """Writes wrong programs, and says diagnoses anew."""

    def reply(self, payload) -> Any:
        request = payload["messages"][0]["content"]
        if "This is what I found out" in request:
            return super().reply(payload)
        problem = next(p for p in PROBLEMS if p.prompt.strip() in request)
        return f"```python\ndef {problem.entry_point}(*values):\n    return 'wrong'\n```"


def test_an_answer_that_is_cut_off_is_refused(begun):
    summary, *_ = build_by(CutOff(PROBLEMS, say=anew), begun)
    assert summary["critic"]["refused"] == {"answer_cut_off": summary["critic"]["num_asked"]}


def test_what_the_server_does_not_answer_stays_as_it_was(begun):
    summary, samples, _ = build_by(Fails(PROBLEMS, say=anew), begun)
    counts = summary["critic"]
    assert set(counts["refused"]) <= {"no_answer", "refused"}
    assert counts["num_accepted"] + sum(counts["refused"].values()) == counts["num_asked"]
    for sample in samples:
        assert ("critic" in sample.metadata) == (sample.metadata["task_id"] in (PROBLEMS[0].task_id, PROBLEMS[3].task_id))


def test_the_model_that_attempts_may_be_the_critic_too(tmp_path):
    script = Attempts(PROBLEMS, say=anew)
    with serving(script) as url:
        summary = build_reflections(recipe_of(tmp_path, url, author="openai", hybrid=True, near_duplicates=1.0), tmp_path)
    assert summary["critic"]["num_accepted"] == summary["num_accepted"] == len(PROBLEMS)
    assert summary["num_requests"] == 2 * len(PROBLEMS)


def test_a_server_that_never_answers_ends_the_build(begun):
    with pytest.raises(MachineError, match="500"):
        build_by(Words(PROBLEMS, say=anew, faults=dict.fromkeys(range(1000), 500)), begun)


def test_every_reason_has_a_meaning_and_a_test():
    assert set(REFUSALS) == set(get_args(Refusal))
    assert set(REFUSALS) - set(CASES) == {"answer_cut_off", "no_answer", "refused"}


def test_diagnoses_from_templates_are_said_anew_too(tmp_path):
    summary, samples, _ = build_with(tmp_path, anew, diagnoses="templates")
    assert summary["critic"]["num_accepted"] > len(samples) / 2
    assert set(summary["critic"]["refused"]) <= {"invented_output"}


def test_completions_of_a_file_are_not_named_after_the_critic(tmp_path):
    rows = [{"task_id": p.task_id, "solution": f"def {p.entry_point}(*values):\n    return 'wrong'\n"} for p in PROBLEMS]
    write_jsonl(tmp_path / "mine.jsonl", rows)
    options = {"author": "attempts", "attempts": str(tmp_path / "mine.jsonl"), "near_duplicates": 1.0}
    summary, samples, _ = build_with(tmp_path, anew, **options)
    assert summary["critic"]["num_accepted"] == summary["critic"]["num_asked"] == len(samples) > 0
    assert all(str(sample.id).startswith("attempts:mine@") and sample.metadata["model"] == "" for sample in samples)


def test_settings_of_the_critic_are_checked_before_any_work(tmp_path):
    recipe = recipe_of(tmp_path, "http://127.0.0.1:1/v1")
    refused = [
        (
            {"author": "openai", "diagnoses": "templates", "two_slip_share": 0.25, "max_operator_share": 0.15},
            "does not use this option",
        ),
        (
            {**HYBRID, "author": "openai", "critic": "local", "endpoint": EndpointConfig(model="m")},
            "author and critic",
        ),
        ({"prompts": str(tmp_path / "nowhere")}, "no template"),
        ({"budget_usd": 1.0}, "bounds nothing"),
        ({"critic": "none"}, "does not use"),
    ]
    for settings, message in refused:
        with pytest.raises(UsageError, match=message):
            build_reflections(replace(recipe, build=replace(recipe.build, **settings)), tmp_path)


def test_other_settings_of_the_critic_are_refused_unless_forked(begun):
    build_with(begun, anew)
    with serving(Words(PROBLEMS, say=anew)) as url:
        recipe = recipe_of(begun, url)
        warmer = replace(recipe, build=replace(recipe.build, endpoint=replace(recipe.build.endpoint, temperature=1.0)))
        with pytest.raises(UsageError, match="other settings"):
            build_reflections(warmer, begun)
        build_reflections(warmer, begun, fork=True)


def test_a_prompt_of_the_users_own_is_taken(begun):
    prompts = begun / "prompts"
    prompts.mkdir()
    (prompts / "critic.jinja").write_text(
        "MINE {{ problem }}\nThis is what I found out:\n\n{{ diagnosis }}\n\nWrite that last paragraph."
    )
    _, _, script = build_with(begun, anew, prompts=str(prompts))
    assert script.asked
    assert all(request.startswith("MINE ") for request in script.asked)


FAILS = 'Traceback (most recent call last):\n  File "main.py", line 4, in <module>\n    assert f(1) == 2\nAssertionError'
BLOCKS = [
    Block("text", "I write it."),
    Block("code", "def f(x):\n    return x - 1\n\nassert f(1) == 2"),
    Block("execution", FAILS),
    Block("text", "I look."),
    Block("code", "print(f(1))"),
    Block("execution", "0"),
    Block("text", "`f(1)` gives `0`. I replace `x - 1` by `x + 1`."),
    Block("code", "def f(x):\n    return x + 1\n\nassert f(1) == 2"),
    Block("execution", ""),
]


def test_the_diagnosis_is_the_text_before_the_next_attempt():
    (found,) = diagnoses_of(BLOCKS)
    assert (found.block, found.output) == (6, FAILS)
    assert [(look.cell, look.output) for look in found.looks] == [("print(f(1))", "0")]
    assert needed_code(found) == {"x - 1", "x + 1"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Since `f(1)` comes out as `0`, `x - 1` makes way for `x + 1`.", None),
        ("I subtract where I have to add: `x + 1` and not `x - 1`.", None),
        ("The sign in `x - 1` is wrong; it has to be `x  +  1`.", None),
        ("The sign in `x - 1` is wrong.", "code_lost"),
        ("`f(1)` gives `2`, so I put `x + 1` for `x - 1`.", "invented_output"),
        ("`f(1)` gave `7`, so I put `x + 1` for `x - 1`.", "invented_output"),
        ("I put `x + 1` for `x - 1`, as `y` demands.", "unsupported_claim"),
        ("Sure! I replace `x - 1` by `x + 1`.", "speaks_of_the_task"),
    ],
)
def test_words_of_the_critics_own_pass_if_they_say_the_same(text, reason):
    (found,) = diagnoses_of(BLOCKS)
    assert refusal("Write `f(x)`, the successor of x.", BLOCKS, found, text) == reason
