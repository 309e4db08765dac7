"""Reflection data from a model behind a server: the dialogue, the checks, retries, budget, and that nothing is lost or asked twice."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from reflectioncoder.builder import checks
from reflectioncoder.builder.authors.attempts import AttemptsFile
from reflectioncoder.builder.authors.dialogue import DialogueWriter
from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.filters import NearDuplicates, filter_outcomes
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.outcomes import Outcomes, Rejection
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.reasons import REASONS
from reflectioncoder.builder.templates import Prompts
from reflectioncoder.cli import main
from reflectioncoder.config.declarations import BuildConfig, EndpointConfig, ModelConfig, Recipe, SandboxConfig
from reflectioncoder.contamination.overlap import BENCHMARK_IDS, KnownTasks
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import load_problems
from reflectioncoder.data.prompts import answer_program, one_off_answer
from reflectioncoder.data.samples import Block, Sample, assistant, read_samples, user
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.generate.budget import Budget, BudgetError
from reflectioncoder.generate.endpoint import Endpoint
from reflectioncoder.generate.limiter import EndpointError, Limiter
from reflectioncoder.progress import Reporter, reporting
from tests.builder.server import Script, serving

PROBLEMS = load_problems(("bundled:train",))
ENDPOINT = EndpointConfig(model="scripted", max_in_flight=4, timeout_s=1.0, retries=6)


def make_recipe(url, **build):
    settings = {"author": "openai", "endpoint": replace(ENDPOINT, base_url=url) if url else ENDPOINT, "min_samples": 0, **build}
    if settings["author"] != "attempts" and not settings.get("hybrid"):
        settings.setdefault("min_killed_mutants", 0.0)
    return Recipe("r", ModelConfig("none"), build=BuildConfig(**settings), sandbox=SandboxConfig(workers=2))


def payload(content="x"):
    return {"model": "m", "messages": [{"role": "user", "content": PROBLEMS[0].prompt + content}], "max_tokens": 100, "seed": 1}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.endpoint._FIRST_DELAY_S", 0.01)


def test_a_dialogue_becomes_a_sample_with_what_the_interpreter_really_printed(tmp_path):
    with serving(Script(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url), tmp_path, limit=6)
    samples = list(read_samples(tmp_path / "reflections.jsonl"))
    assert summary["num_accepted"] == len(samples) >= 4
    assert summary["num_accepted"] + sum(summary["rejected"].values()) == 6
    assert summary["input_tokens"] == 100 * summary["num_requests"]
    for sample in samples:
        blocks = sample.messages[1].content
        assert [block.type for block in blocks] == ["text", "code", "execution", "text", "code", "execution"]
        assert "Error" in blocks[2].content or "interrupted" in blocks[2].content
        assert blocks[5].content == ""
        assert sample.messages[2].text.startswith("Write a complete Python function")
        assert sample.extra["metadata"]["passes"] == [False, True]


def test_a_build_that_is_run_again_asks_nothing_and_writes_the_same_bytes(tmp_path):
    script = Script(PROBLEMS)
    with serving(script) as url:
        build_reflections(make_recipe(url), tmp_path, limit=4)
        asked, first = script.num_requests, (tmp_path / "reflections.jsonl").read_bytes()
        summary = build_reflections(make_recipe(url), tmp_path, limit=4)
        assert script.num_requests == asked
        assert summary["num_requests"] == summary["num_executions"] == 0
        assert (tmp_path / "reflections.jsonl").read_bytes() == first


@pytest.mark.parametrize(
    ("where", "reason"),
    [("attempt", None), ("final program", "not_understood"), ("assertion", "no_assertion")],
)
def test_an_integer_that_is_too_long_to_be_written_in_decimal_costs_one_sample(where, reason, tmp_path):
    class LongIntegers(Script):
        def reply(self, payload):
            text, huge = super().reply(payload), f"0x{'f' * 5000}"
            is_final = text.startswith("```python")
            if where == "assertion":
                return text.replace("\nassert ", f"\nassert {huge}\nassert ", 1) if text.startswith("I try it.") else text
            if (where == "final program") == is_final:
                return text.replace("```python\n", f"```python\nHUGE = {huge}\n")
            return text

    with serving(LongIntegers(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url), tmp_path, limit=2)
    assert summary["num_accepted"] + sum(summary["rejected"].values()) == 2
    assert reason is None or reason in summary["rejected"]


def test_benchmark_tasks_are_left_out_by_id_text_and_code(tmp_path):
    by_id, by_text, by_code, by_answer, other = PROBLEMS[:5]
    known = KnownTasks()
    known.names.append("some benchmark")
    known.add(by_id.task_id, "", "")
    known.add("B/text", by_text.prompt.upper(), "")
    known.add("B/code", "", answer_program(by_code))
    known.add("B/answer", "", f"{answer_program(by_answer)}")
    with serving(Script(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url), tmp_path, limit=5, known=known)
    rows = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    details = {row["task_id"]: row["detail"] for row in rows if row["reason"] == "contaminated"}
    assert details[by_id.task_id] == f"{by_id.task_id}, by its id"
    assert details[by_text.task_id].startswith("B/text, by its text: ")
    assert details[by_code.task_id].startswith("B/code, by its code: ")
    assert other.task_id not in details
    assert summary["decontamination"] == {"against": ["some benchmark"], "words": 10, "behaviour": False}
    assert {sample.extra["metadata"]["task_id"] for sample in read_samples(tmp_path / "reflections.jsonl")} <= {other.task_id}


def test_the_programs_of_a_data_set_are_run_again_and_compared(tmp_path, capsys):
    with serving(Script(PROBLEMS)) as url:
        build_reflections(make_recipe(url), tmp_path, limit=3)
    data = tmp_path / "reflections.jsonl"
    assert main(["check", str(data)]) == 0
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    execution = next(block for block in rows[0]["messages"][1]["content"] if block["type"] == "execution")
    execution["content"] = "NameError: another one"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["check", str(data)]) == 1
    assert "NameError: another one" in capsys.readouterr().err


def test_a_failing_attempt_of_the_model_is_repaired_by_the_reference(tmp_path):
    with serving(Script(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url, hybrid=True, rollouts=2), tmp_path, limit=5)
    samples = list(read_samples(tmp_path / "reflections.jsonl"))
    assert summary["num_requests"] == 10  # one for each
    assert summary["num_accepted"] + sum(summary["rejected"].values()) == 10
    assert len(samples) >= 4
    for sample in samples:
        blocks = sample.messages[1].content
        assert [block.type for block in blocks] == ["text", "code", "execution"] * 2
        assert blocks[5].content == "All tests passed."
        tests = sample.extra["metadata"]["shown_tests"]
        assert all(test in blocks[1].content and test in blocks[4].content for test in tests)
        assert sample.messages[3].text.removeprefix("```python\n").split("\n```")[0] in blocks[4].content
    assert main(["check", str(tmp_path / "reflections.jsonl")]) == 0


def test_what_is_turned_away_has_a_reason_that_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "building.md").read_text()
    for reason, meaning in REASONS.items():
        assert f"| `{reason}` | {meaning} |" in page


def test_other_settings_are_refused_unless_forked(tmp_path):
    script = Script(PROBLEMS)
    with serving(script) as url:
        build_reflections(make_recipe(url), tmp_path, limit=1)
        changed = make_recipe(url, max_executions=3)
        with pytest.raises(UsageError, match=r"setting: build.max_executions\n  before:  5\n  now:     3"):
            build_reflections(changed, tmp_path, limit=1)
        asked = script.num_requests
        build_reflections(changed, tmp_path, limit=1, fork=True)
        assert script.num_requests == asked  # the questions are the same
        build_reflections(replace(changed, build=replace(changed.build, rollouts=2)), tmp_path, limit=1, fork=True)
        assert script.num_requests > asked


FAULTS = [429, 500, 502, 503, "garbage", "cut", "reset", "hang"]


@pytest.mark.usefixtures("quick")
def test_faults_of_the_server_lose_nothing_and_never_reach_the_text(tmp_path):
    with serving(Script(PROBLEMS)) as url:
        build_reflections(make_recipe(url), tmp_path / "good", limit=8)
    faults = {number: FAULTS[number // 2 % len(FAULTS)] for number in range(0, 40, 2)}
    script = Script(PROBLEMS, faults=faults)
    with serving(script) as url:  # every second request fails, so one may meet all of them
        patient = replace(ENDPOINT, base_url=url, retries=len(faults))
        build_reflections(make_recipe(url, endpoint=patient), tmp_path / "bad", limit=8)
    assert (tmp_path / "bad" / "reflections.jsonl").read_bytes() == (tmp_path / "good" / "reflections.jsonl").read_bytes()
    assert set(script.answered.values()) == {1}


@pytest.mark.usefixtures("quick")
def test_a_server_that_takes_few_requests_at_a_time_is_found_out(tmp_path):
    script = Script(PROBLEMS, latency_s=0.02, most_at_once=3)
    with serving(script) as url:
        recipe = make_recipe(url, endpoint=replace(ENDPOINT, base_url=url, max_in_flight=32, retries=20))
        summary = build_reflections(recipe, tmp_path, limit=20)
    assert summary["num_accepted"] + sum(summary["rejected"].values()) == 20
    assert set(script.answered.values()) == {1}
    assert script.num_requests < 1.5 * len(script.answered)


@pytest.mark.usefixtures("quick")
def test_a_server_that_is_gone_is_one_error_and_the_build_goes_on_later(tmp_path):
    recipe = make_recipe("http://127.0.0.1:9/v1", endpoint=replace(ENDPOINT, base_url="http://127.0.0.1:9/v1", retries=2))
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:9/v1 gives no good answer: ConnectError"):
        build_reflections(recipe, tmp_path, limit=2)
    with serving(Script(PROBLEMS)) as url:  # another address of the same model
        assert build_reflections(make_recipe(url), tmp_path, limit=2)["num_problems"] == 2


def test_a_refused_request_is_not_made_again():
    script = Script(PROBLEMS, faults={0: 401})
    with serving(script) as url, pytest.raises(UsageError, match="status 401"):
        Endpoint(replace(ENDPOINT, base_url=url)).ask(payload())
    assert script.num_requests == 1


def test_the_budget_is_asked_before_every_request(tmp_path):
    script = Script(PROBLEMS)
    with serving(script) as url:
        recipe = make_recipe(url, budget_tokens=6000)
        with pytest.raises(BudgetError, match="6000"):
            build_reflections(recipe, tmp_path, limit=40)
        spent = 150 * script.num_requests
        assert 0 < spent <= 6000
        with pytest.raises(BudgetError):  # what is in the log counts
            build_reflections(make_recipe(url, budget_tokens=spent + 100), tmp_path, limit=40)


@pytest.mark.slow
def test_a_price_bounds_the_build_too(tmp_path):
    script = Script(PROBLEMS)
    endpoint = replace(ENDPOINT, input_usd=10.0, output_usd=20.0)  # 0.002 for each answer of the script
    with serving(script) as url:
        recipe = make_recipe(url, budget_usd=0.2, endpoint=replace(endpoint, base_url=url))
        with pytest.raises(BudgetError, match=r"0\.2 USD"):
            build_reflections(recipe, tmp_path, limit=100)
        assert 0 < 0.002 * script.num_requests <= 0.2
        enough = replace(recipe, build=replace(recipe.build, budget_usd=None))
        summary = build_reflections(enough, tmp_path, limit=2)
        assert summary["usd"] == pytest.approx(0.002 * script.num_requests, abs=1e-4)


def test_the_whole_is_forecast_after_twenty_dialogues(tmp_path, capsys):
    with serving(Script(PROBLEMS)) as url, reporting(Reporter()):
        build_reflections(make_recipe(url), tmp_path, limit=24)
    line = next(line for line in capsys.readouterr().err.splitlines() if "looks like" in line)
    forecast = int(re.search(r"([\d,]+) tokens", line)[1].replace(",", ""))
    with BuildLog(tmp_path / "log.sqlite") as log:
        used = sum(reply["input_tokens"] + reply["output_tokens"] for _, reply in log.entries("request"))
    assert forecast == pytest.approx(used, rel=0.35)


def test_a_missing_key_and_a_missing_model_are_named(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(MachineError, match="NO_SUCH_KEY"):
        Endpoint(replace(ENDPOINT, api_key_env="NO_SUCH_KEY"))
    with pytest.raises(UsageError, match="model is empty"):
        Endpoint(EndpointConfig())
    with pytest.raises(UsageError, match=r"no template .*reflect"):
        Prompts("v0")


def test_the_limiter_grows_with_success_and_shrinks_when_told():
    limiter = Limiter(16)
    for _ in range(200):
        with limiter.permit():
            pass
        limiter.succeeded()
    assert limiter.permits == 16
    asked_at = time.monotonic()
    for _ in range(5):  # of one overload
        limiter.too_many(asked_at, 0.0)
    assert limiter.permits == 12
    limiter.too_many(time.monotonic(), 0.0)
    assert limiter.permits == 9


def test_a_limit_that_is_fixed_neither_grows_nor_shrinks():
    limiter = Limiter(6, adapts=False)
    assert limiter.permits == 6
    limiter.too_many(time.monotonic(), 0.0)
    limiter.succeeded()
    assert limiter.permits == 6


def test_hundreds_of_requests_at_a_time_cost_hardly_any_cpu_to_arrange():
    limiter = Limiter(128, adapts=False)

    def work(order):
        for _ in range(4):
            with limiter.permit(order):
                time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(order,)) for order in range(512)]
    before = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.process_time() - before < 5.0  # waking all for each took 9


def test_a_budget_that_is_only_set_aside_is_waited_for():
    budget = Budget(ENDPOINT, max_tokens=1000)
    budget.take(100, 800)
    taken = threading.Event()
    threading.Thread(target=lambda: (budget.take(100, 500), taken.set()), daemon=True).start()
    assert not taken.wait(0.2)
    budget.settle((100, 800), (100, 50))
    assert taken.wait(5)
    budget.settle((100, 500), (100, 500))
    with pytest.raises(BudgetError):
        budget.take(100, 200)


def test_what_a_refusing_server_says_is_not_kept(tmp_path):
    """A resumed build meets a request that is too long first, and a server that is put right is asked again."""
    script = Script(PROBLEMS, faults=dict.fromkeys(range(3, 10**4), 400))
    with serving(script) as url:
        recipe = make_recipe(url, endpoint=replace(ENDPOINT, base_url=url, max_in_flight=1))
        first = build_reflections(recipe, tmp_path, limit=4)
        assert first["rejected"]["refused"] >= 3
        again = build_reflections(recipe, tmp_path, limit=4)  # answered before: these are not like the others
        assert again["rejected"] == first["rejected"]
        with pytest.raises(UsageError, match="status 400"):
            build_reflections(recipe, tmp_path, limit=60)
        script.faults.clear()
        assert "refused" not in build_reflections(recipe, tmp_path, limit=4)["rejected"]


def test_answers_that_were_made_and_lost_count_against_the_budget(tmp_path):
    script = Script(PROBLEMS, faults={number: "cut" for number in range(10**4) if number % 5})
    with serving(script) as url:
        recipe = make_recipe(url, budget_tokens=30_000)
        with pytest.raises(BudgetError):
            build_reflections(recipe, tmp_path, limit=60)
    with BuildLog(tmp_path / "log.sqlite") as log:
        lost = log.entries("lost")
        assert len(lost) >= 5
        assert sum(log.used()) <= 30_000


@pytest.mark.parametrize("name", ["check", "test_it", "main"])
def test_an_entry_point_may_be_named_like_a_test(tmp_path, name):
    problem = PROBLEMS[0]
    renamed = {key: re.sub(rf"\b{problem.entry_point}\b", name, getattr(problem, key)) for key in ("prompt", "canonical_solution")}
    tests = tuple(re.sub(rf"\b{problem.entry_point}\b", name, test) for test in problem.tests)
    other = replace(problem, **renamed, tests=tests, entry_point=name, task_id="x")
    write_jsonl(tmp_path / "p.jsonl", [other.to_json()])
    with serving(Script([other])) as url:
        for hybrid in (False, True):
            recipe = make_recipe(url, problems=(str(tmp_path / "p.jsonl"),), rollouts=6, hybrid=hybrid, near_duplicates=1.0)
            assert build_reflections(recipe, tmp_path / str(hybrid))["num_accepted"] >= 1


def test_of_those_that_wait_the_lowest_order_is_next():
    limiter, entered = Limiter(1), []

    def enter(order):
        with limiter.permit(order):
            entered.append(order)

    with limiter.permit():
        threads = [threading.Thread(target=enter, args=(order,)) for order in (5, 3, 9, 1)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 10
        while len(limiter._waiting) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert entered == [1, 3, 5, 9]


@pytest.mark.parametrize(
    "change", [{"api": "completion"}, {"assistant_prefix": "vllm"}, {"assistant_prefix": "llama.cpp"}, {"assistant_prefix": "deepseek"}]
)
def test_stage_one_can_be_one_growing_turn_or_plain_text(tmp_path, change):
    with serving(Script(PROBLEMS)) as url:
        build_reflections(make_recipe(url), tmp_path / "turns", limit=5)
        grown = make_recipe(url, endpoint=replace(ENDPOINT, base_url=url, **change))
        build_reflections(grown, tmp_path / "grown", limit=5)
    # What is said is the same, so are the samples; what the server was sent is not.
    assert (tmp_path / "grown/reflections.jsonl").read_bytes() == (tmp_path / "turns/reflections.jsonl").read_bytes() != b""
    with BuildLog(tmp_path / "grown/log.sqlite") as log:
        payloads = [request["payload"] for request, _ in log.entries("request")]
    continued = [p for p in payloads if "```output\n" in (p["prompt"] if "prompt" in p else p["messages"][-1]["content"])]
    assert continued
    for asked in continued:
        if "messages" in asked and asked["messages"][-1]["role"] == "assistant":
            assert asked.get("continue_final_message", False) == (change.get("assistant_prefix") == "vllm")
            assert asked["messages"][-1].get("prefix", False) == (change.get("assistant_prefix") == "deepseek")
    assert all(("prompt" in p) == ("api" in change) for p in payloads)


def test_attempts_of_a_file_are_repaired(tmp_path):
    wrong, right, unknown = PROBLEMS[:3]
    rows = [
        {"task_id": wrong.task_id, "solution": f"def {wrong.entry_point}(*args):\n    return None\n"},
        {"task_id": right.task_id, "completion": answer_program(right)},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    endpoint = EndpointConfig(model="somebody")
    recipe = make_recipe("", author="attempts", attempts=str(tmp_path / "a.jsonl"), endpoint=endpoint)
    summary = build_reflections(recipe, tmp_path / "out", limit=3)
    assert summary["rejected"] == {"first_try": 1, "no_code": 1}
    (sample,) = read_samples(tmp_path / "out/reflections.jsonl")
    assert sample.extra["metadata"]["task_id"] == wrong.task_id
    assert sample.extra["metadata"]["model"] == "somebody"
    assert unknown.task_id in (tmp_path / "out/rejected.jsonl").read_text()
    body = wrong.canonical_solution.rstrip() + "  # EvalPlus's completions are bodies\n"
    assert AttemptsFile._whole(body, wrong).startswith(wrong.prompt)
    assert AttemptsFile._whole(f"```python\n{answer_program(wrong)}```", wrong) == answer_program(wrong).strip("\n")
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(UsageError, match=r"a\.jsonl:1: expected task_id"):
        build_reflections(recipe, tmp_path / "other", limit=3)


def test_a_problem_without_tests_is_judged_by_the_models_own(tmp_path):
    bare = replace(PROBLEMS[0], tests=(), canonical_solution="", task_id="bare")
    write_jsonl(tmp_path / "p.jsonl", [bare.to_json()])
    with serving(Script(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url, problems=(str(tmp_path / "p.jsonl"),), rollouts=6), tmp_path)
        hybrid = make_recipe(url, problems=(str(tmp_path / "p.jsonl"),), hybrid=True)
        assert build_reflections(hybrid, tmp_path / "hybrid")["rejected"] == {"no_reference": 1}
    assert summary["num_accepted"] >= 1


def sample_of(problem, task_id, program):
    blocks = (Block("text", "I try it."), Block("code", program), Block("execution", "AssertionError"))
    answer = assistant(Block("text", one_off_answer(program)))
    extra = {"id": f"llm:{task_id}:0", "metadata": {"task_id": task_id, "operators": []}}
    return Sample((user("Solve it."), assistant(*blocks), user("Write it."), answer), "reflection", extra)


def test_near_duplicates_are_left_out_and_named():
    program = max(map(answer_program, PROBLEMS), key=len)
    one = sample_of(PROBLEMS[0], "one", program)
    twin = sample_of(PROBLEMS[0], "twin", program.replace("return", "return  ", 1) + "# the end\n")
    other = sample_of(PROBLEMS[1], "other", answer_program(PROBLEMS[1]))
    variant = sample_of(PROBLEMS[0], "one", program + "# the end\n")
    near = NearDuplicates(0.85, same_problem=False)
    assert near.find_or_add(one) is None
    assert near.find_or_add(other) is None
    assert near.find_or_add(twin).startswith("llm:one:0 (0.")
    assert near.find_or_add(variant) is None
    assert NearDuplicates(0.85, same_problem=True).find_or_add(variant) is None
    outcomes = Outcomes()
    for position, sample in enumerate((one, twin, other)):
        outcomes.accept(position, sample)
    filtered = list(
        filter_outcomes(
            outcomes,
            KnownTasks(),
            lambda p: "B/1" if p == program.strip("\n") else None,
            max_chars=10**6,
            near_duplicates=1.0,
            same_problem=True,
        )
    )
    assert [row.reason if isinstance(row, Rejection) else row.id for row in filtered] == [
        "behaves_like_benchmark", "llm:twin:0", "llm:other:0",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_build_killed_at_ten_random_points_ends_with_the_same_bytes_and_asks_hardly_more(tmp_path):
    script = Script(PROBLEMS, latency_s=0.03)
    with serving(script) as url:
        recipe = tmp_path / "r.yaml"

        def write(name):
            build = {
                "author": "openai", "min_killed_mutants": 0.3,
                "endpoint": {"base_url": url, "model": "scripted", "max_in_flight": 4},
            }  # fmt: skip
            recipe.write_text(yaml.safe_dump({"name": name, "model": {"name": "none"}, "build": build}))
            return [sys.executable, "-m", "reflectioncoder", "build", str(recipe), "--limit", "40", "--runs-dir", str(tmp_path)]

        subprocess.run(write("whole"), check=True, capture_output=True)
        needed, script.num_requests = script.num_requests, 0
        command, rng, killed = write("cut"), random.Random(7), 0
        for _ in range(10):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            before = script.num_requests
            wanted = before + rng.randrange(1, max(2, needed // 10))
            while process.poll() is None and script.num_requests < wanted:
                time.sleep(0.002)
            time.sleep(rng.random() * 0.03)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
            process.wait()
        subprocess.run(command, check=True, capture_output=True)
    assert killed >= 8
    for name in ("reflections.jsonl", "rejected.jsonl"):
        assert (tmp_path / "cut/build" / name).read_bytes() == (tmp_path / "whole/build" / name).read_bytes()
    # Only what was in flight at a kill is asked again.
    assert needed <= script.num_requests <= needed + 4 * killed
    cut, whole = (json.loads((tmp_path / name / "build/build.json").read_text()) for name in ("cut", "whole"))
    for key in ("input_tokens", "output_tokens", "num_accepted", "rejected"):
        assert cut[key] == whole[key]


def test_assertions_are_compared_as_syntax():
    before = checks.assertions('def f(x):\n    assert x\n    return x\nassert f("a")  ==  1, "no"\nassert f(2) == 2')
    assert before == ["f('a') == 1", "f(2) == 2"]
    assert checks.no_longer_asserted(before, checks.assertions("assert f('a') == 1\nassert f(2)==2\nassert f(3)")) == []
    assert checks.no_longer_asserted(before, checks.assertions("assert f('a') == 1")) == ["f(2)"]
    assert checks.no_longer_asserted(before, checks.assertions("assert f('a') == 1\nassert not f(2)")) == []  # corrected
    assert checks.no_longer_asserted(["f(1) < 3"], ["f(1) < 4"]) == ["f(1) < 3"]
    assert checks.assertions("def test_f():\n    assert f(1)\ntest_f()") == ["f(1)"]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import socket", True),
        ("from urllib.request import urlopen", True),
        ("x = input()", True),
        ("open('f')", True),
        ("import re", False),
    ],
)
def test_programs_that_need_the_outside_world_are_seen(code, found):
    assert checks.uses_outside_world(code) == found


@pytest.mark.slow
def test_a_real_model_on_this_machine_holds_dialogues(tmp_path):
    """SmolLM2-135M on the CPU: hardly a dialogue is accepted, but all of them are held, judged and replayed."""
    pytest.importorskip("xllamacpp")
    endpoint = EndpointConfig(model="HuggingFaceTB/SmolLM2-135M-Instruct", max_in_flight=2, max_tokens=300)
    recipe = make_recipe("", author="local", endpoint=endpoint, max_executions=2)
    first = build_reflections(recipe, tmp_path, limit=4)
    assert first["num_accepted"] + sum(first["rejected"].values()) == 4
    assert first["output_tokens"] > 50
    again = build_reflections(recipe, tmp_path, limit=4)
    assert again["num_requests"] == 0
    assert again["rejected"] == first["rejected"]


@pytest.mark.parametrize(
    ("code", "left"),
    [
        (
            "import sys\nsys.setrecursionlimit(500)\nm = {}\nfor i in range(3):\n    m[i] = i\ndef f(n):\n    return n\nprint(f(1))",
            7,
        ),
        ("def run_transfers(x):\n    return x\nassert run_transfers(1) == 1", 2),
        ("def f():\n    return 1\ndef test_f():\n    assert f() == 1\nif __name__ == '__main__':\n    test_f()", 2),
    ],
)
def test_tests_are_taken_out_and_nothing_else(code, left):
    assert len(checks.without_tests(code).strip().split("\n")) == left


def test_samples_that_are_too_long_are_left_out(tmp_path):
    with serving(Script(PROBLEMS)) as url:
        summary = build_reflections(make_recipe(url, max_chars=100), tmp_path, limit=3)
    assert summary["num_accepted"] == 0
    assert summary["rejected"]["too_long"] >= 1


def test_ids_of_benchmark_tasks_are_known_without_their_data():
    known = KnownTasks()
    assert len(BENCHMARK_IDS) == 164 + 378
    assert known.find("Mbpp/809", "", "") == "Mbpp/809, by its id"
    assert known.find("HumanEval/163", "", "") is not None
    assert known.find("mbpp/601", "", "") is None


def test_every_reference_is_left_whole_without_its_tests():
    for problem in PROBLEMS:
        program = answer_program(problem)
        assert checks.without_tests(program).strip() == "\n".join(line for line in program.split("\n") if line.strip()).strip() or all(
            line in checks.without_tests(program) for line in program.split("\n") if not line.startswith("#")
        ), problem.task_id
        assert not checks.has_usage(program), problem.task_id


def test_tests_run_in_their_context_with_the_final_program():
    assertions = "for a, b in cases:\n    assert f(a) == b\ntry:\n    f('x')\n    assert False\nexcept TypeError:\n    pass"
    attempt = f"def f(x):\n    return 0\ncases = [(1, 1), (2, 4)]\n{assertions}"
    program = "def f(x):\n    return x ** 2"
    tests = checks.tests_for(program, attempt)
    assert "def f" not in tests
    exec(f"{program}\n{tests}", {})
    with pytest.raises(AssertionError):
        exec(f"def f(x):\n    return x ** 3\n{tests}", {})


@pytest.mark.usefixtures("quick")
def test_a_request_that_gets_no_text_is_turned_away_and_asked_again_by_another_run_only(tmp_path):
    with serving(Script(PROBLEMS, faults={6: 400, 9: 400})) as url:
        summary = build_reflections(make_recipe(url), tmp_path, limit=6)
        assert summary["rejected"]["refused"] == 2
        assert summary["num_retries"] == 0
        again = build_reflections(make_recipe(url), tmp_path, limit=6)  # it has cost nothing, and the server may be another
        assert again["num_requests"] >= 2
        assert "refused" not in again["rejected"]


def test_two_builds_in_one_folder_are_one_too_many(tmp_path):
    with BuildLog(tmp_path / "log.sqlite"), pytest.raises(MachineError, match="another build"):
        BuildLog(tmp_path / "log.sqlite")


def test_ctrl_c_does_not_wait_for_the_dialogues(tmp_path):
    with serving(Script(PROBLEMS, latency_s=0.5)) as url:
        recipe = tmp_path / "r.yaml"
        endpoint = {"base_url": url, "model": "scripted", "max_in_flight": 4}
        recipe.write_text(yaml.safe_dump({"name": "r", "model": {"name": "none"}, "build": {"author": "openai", "endpoint": endpoint}}))
        command = [sys.executable, "-m", "reflectioncoder", "build", str(recipe), "--runs-dir", str(tmp_path)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        time.sleep(6)
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "to continue" in log


@pytest.mark.parametrize("code", ["def f(c):\n    return(c)", "def f(a):\n    if(not a):\n        return not(a)\n    return a"])
def test_programs_with_odd_spacing_can_be_searched_for_slips(code):
    writer = DialogueWriter(BuildConfig(), None, lambda cells: [Execution("failed", "")])
    assert writer._share_of_killed_mutants(code, "") == 1.0
