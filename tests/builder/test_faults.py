"""Builds whose server fails: one request of many, all of them, for a while; builds that are killed, terminated, or resumed."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import yaml

from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.cli import main
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.budget import BudgetError
from reflectioncoder.generate.limiter import EndpointError
from reflectioncoder.progress import Reporter, reporting
from tests.builder.scripted_recipe import ENDPOINT, PROBLEMS, make_recipe
from tests.builder.server import Script, serving
from tests.generate.raw_server import answering, completion, said

PROMPT = PROBLEMS[0].prompt.strip()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.endpoint._FIRST_DELAY_S", 0.001)


class Picky(Script):
    """Answers all as `Script` does, but those about some problems with `answer`."""

    def __init__(self, answer, refused=PROBLEMS[:1]):
        super().__init__(PROBLEMS)
        self.answer, self.prompts = answer, [problem.prompt.strip() for problem in refused]

    def __call__(self, asked):
        with self.lock:
            self.num_requests += 1
        if any(prompt in asked.payload["messages"][0]["content"] for prompt in self.prompts):
            return self.answer
        return completion(self.reply(asked.payload), usage={"prompt_tokens": 100, "completion_tokens": 50})


def rejected(directory):
    return {row["task_id"]: row for row in map(json.loads, (directory / "rejected.jsonl").read_text().splitlines())}


def recipe_for(url, **endpoint):
    return make_recipe(url, endpoint=replace(ENDPOINT, base_url=url, retries=2, **endpoint))


# --- one of many --------------------------------------------------------------------------------------------------------

NEVER = {
    "500": said({"error": "it crashed"}, 500),
    "unknown finish reason": completion("x", "unheard-of"),
    "no content": said({"choices": [{"message": {}, "finish_reason": None}]}),
    "an error with 200": said({"error": {"message": "it crashed"}}),
    "html": said(b"<html>it crashed</html>"),
    "too deep": said(b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
}


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("never", NEVER)
def test_a_request_that_always_fails_is_turned_away_by_name_and_the_others_go_on(never, hybrid, tmp_path):
    with answering(Picky(NEVER[never])) as server:
        recipe = make_recipe(server.url, hybrid=hybrid, endpoint=replace(ENDPOINT, base_url=server.url, retries=2))
        summary = build_reflections(recipe, tmp_path, limit=4)
        assert summary["rejected"]["no_answer"] == 1
        row = rejected(tmp_path)[PROBLEMS[0].task_id]
        assert row["reason"] == "no_answer"
        assert server.url in row["detail"]
        assert "status" in row["detail"]
        about_it = sum(PROMPT in asked.payload["messages"][0]["content"] for asked in server.asked)
        assert about_it == 3
        files = [(tmp_path / name).read_bytes() for name in ("reflections.jsonl", "rejected.jsonl")]
        again = build_reflections(recipe, tmp_path, limit=4)  # nothing but this one is asked again
        assert again["rejected"]["no_answer"] == 1
        assert [(tmp_path / name).read_bytes() for name in ("reflections.jsonl", "rejected.jsonl")] == files


def test_an_answer_without_a_text_is_counted_as_such(tmp_path):
    with answering(Picky(completion(None, "stop", reasoning_content="I think."))) as server:
        assert build_reflections(recipe_for(server.url), tmp_path, limit=3)["rejected"]["empty_answer"] == 1


@pytest.mark.parametrize("never", ["500", "unknown finish reason", "html"])
def test_where_everything_fails_the_build_ends_and_names_the_first(never, tmp_path):
    with answering(lambda _: NEVER[never]) as server, pytest.raises(EndpointError, match="nothing was answered") as raised:
        build_reflections(recipe_for(server.url), tmp_path, limit=3)
    assert any(problem.task_id in str(raised.value) for problem in PROBLEMS[:3])
    assert not (tmp_path / "reflections.jsonl").exists()


def test_a_server_that_fails_for_good_is_not_asked_for_ever(tmp_path):
    script = Script(PROBLEMS, faults=dict.fromkeys(range(10, 10_000), 500))
    with serving(script) as url, pytest.raises(EndpointError, match="status 500"):
        build_reflections(recipe_for(url), tmp_path, limit=60)
    assert script.num_requests < 200


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("num_refused", [1, 5])
def test_the_first_problems_may_be_the_ones_that_are_refused(num_refused, at_once, status, tmp_path):
    """Before anything is answered it is not known whether it is they or the server."""
    picky = Picky(said({"error": "context length exceeded"}, status), PROBLEMS[:num_refused])
    with answering(picky) as server:
        summary = build_reflections(recipe_for(server.url, max_in_flight=at_once), tmp_path, limit=8)
    assert summary["rejected"]["refused"] == num_refused
    assert {name for name, row in rejected(tmp_path).items() if row["reason"] == "refused"} == {
        problem.task_id for problem in PROBLEMS[:num_refused]
    }


def test_a_server_that_refuses_everything_ends_the_build_soon(tmp_path):
    with answering(lambda _: said({"error": "no such model"}, 400)) as server:
        with pytest.raises(UsageError, match=r"nothing was answered.*\n.*no such model"):
            build_reflections(recipe_for(server.url), tmp_path)
        assert len(server.asked) < 60
        with pytest.raises(UsageError, match=r"status 400: .*no such model"):
            build_reflections(recipe_for(server.url), tmp_path / "two", limit=2)


# --- budgets ------------------------------------------------------------------------------------------------------------


def test_counts_that_cannot_be_do_not_move_the_budget(tmp_path):
    def respond(asked):
        return completion(Script(PROBLEMS).reply(asked.payload), usage={"prompt_tokens": -26_000_000, "completion_tokens": -5})

    with answering(respond) as server:
        recipe = make_recipe(server.url, budget_tokens=9000, endpoint=replace(ENDPOINT, base_url=server.url))
        with pytest.raises(BudgetError):
            build_reflections(recipe, tmp_path)
        with BuildLog(tmp_path / "log.sqlite") as log:
            assert 5000 < sum(log.used()) <= 9000


def test_failures_that_generate_nothing_do_not_use_the_budget_up(tmp_path):
    faults: dict[int, int | str] = {number: (500, 503, 502)[number // 2 % 3] for number in range(0, 60, 2)}
    with serving(Script(PROBLEMS, faults=faults, retry_after="0.001")) as url:
        recipe = make_recipe(url, budget_tokens=30_000, endpoint=replace(ENDPOINT, base_url=url, max_tokens=5000))
        summary = build_reflections(recipe, tmp_path, limit=8)
    assert summary["lost_tokens"] == 0
    assert summary["num_retries"] >= 5


def command(tmp_path, url, **build):
    endpoint = {"base_url": url, "model": "scripted", "max_in_flight": 4, **build.pop("endpoint", {})}
    recipe = {"name": "r", "model": {"name": "none"}, "build": {"author": "openai", "min_samples": 0, "endpoint": endpoint, **build}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    return [sys.executable, "-m", "reflectioncoder", "build", str(tmp_path / "r.yaml"), "--runs-dir", str(tmp_path)]


def until(true, process):
    deadline = time.monotonic() + 60
    while not true() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)


@pytest.mark.long
def test_a_budget_holds_over_kills(tmp_path):
    """Every answer is paid for by the server's own count, however often the asker dies before it arrives."""
    script, rng, killed = Script(PROBLEMS, latency_s=0.1), random.Random(3), 0
    with serving(script) as url:
        argv = command(tmp_path, url, budget_tokens=9000, endpoint={"max_tokens": 500})
        for _ in range(6):
            before = script.num_requests
            process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until(lambda before=before: script.num_requests > before + 3, process)
            time.sleep(rng.random() * 0.05)
            if process.poll() is None:
                process.kill()
                killed += 1
            process.wait()
        last = subprocess.run(argv, capture_output=True, text=True)
    assert killed >= 3
    assert last.returncode == 3, last.stderr
    assert "budget of 9000 tokens" in last.stderr
    assert 150 * script.num_requests <= 9000
    with BuildLog(tmp_path / "r/build/log.sqlite") as log:
        assert 150 * script.num_requests <= sum(log.used()) <= 9000
        assert sum(log.used("lost")) > 0


def test_a_build_without_problems_is_one_error(tmp_path, capsys):
    (tmp_path / "r.yaml").write_text("name: r\nmodel: {name: none}\nbuild: {problems: []}\n")
    assert main(["build", str(tmp_path / "r.yaml"), "--runs-dir", str(tmp_path), "-q"]) == 2
    assert "nothing to write about" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_the_answers_that_are_under_way(number, tmp_path):
    script = Script(PROBLEMS, latency_s=1.0)
    with serving(script) as url:
        process = subprocess.Popen(
            command(tmp_path, url),
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: (signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)),
        )
        until(lambda: script.at_once == 4, process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "to continue: reflectioncoder build" in err
    with BuildLog(tmp_path / "r/build/log.sqlite") as log:
        assert len(log.entries("request")) == script.num_requests >= 4
        assert log.used("lost") == (0, 0)


# --- forecast -----------------------------------------------------------------------------------------------------------


def looks_like(text: str) -> tuple[int, str, int] | None:
    found = re.search(r"after 20 of (\d+) dialogues(.*) the whole looks like ([\d,]+) tokens.* (\d+) samples", text)
    return None if found is None else (int(found[1]), found[2].strip(), int(found[3].replace(",", "")))


@pytest.mark.long
def test_the_forecast_of_a_resumed_build_is_of_what_is_left(tmp_path, capsys):
    with serving(Script(PROBLEMS)) as url, reporting(Reporter()):
        whole = build_reflections(make_recipe(url), tmp_path, limit=25)
        first = capsys.readouterr().err
        forecast = looks_like(first)
        assert forecast is not None
        assert forecast[:2] == (25, "")
        resumed = build_reflections(make_recipe(url), tmp_path, limit=60)
        forecast = looks_like(capsys.readouterr().err)
        assert forecast is not None
        total, what, tokens = forecast
        assert (total, what) == (35, "that are left")
        session, forecast = resumed["session"], resumed["forecast"]
        assert session["tokens"] == resumed["input_tokens"] + resumed["output_tokens"] - whole["input_tokens"] - whole["output_tokens"]
        assert (session["dialogues"], forecast["total"]) == (35, 35)
        assert tokens == forecast["tokens"] == pytest.approx(session["tokens"], rel=0.35)
        again = build_reflections(make_recipe(url), tmp_path, limit=60)
    assert again["forecast"] is None
    assert again["session"] == {"dialogues": 0, "tokens": 0, "usd": 0.0, "duration_s": 0.0, "accepted": 0}
    assert looks_like(capsys.readouterr().err) is None


# --- shapes -------------------------------------------------------------------------------------------------------------


def test_the_shape_of_requests_is_a_setting_and_part_of_the_question(tmp_path):
    shape = {"extra_body": {"top_k": 20}, "omit": ("temperature", "top_p"), "max_tokens_field": "max_completion_tokens"}
    with answering(Picky(None, [])) as server:
        first = build_reflections(recipe_for(server.url), tmp_path, limit=2)
        payload = server.asked[0].payload
        assert {"temperature", "top_p", "seed", "max_tokens"} <= payload.keys()
        with pytest.raises(UsageError, match=r"setting: build\.endpoint\.extra_body"):
            build_reflections(recipe_for(server.url, extra_body={"top_k": 20}), tmp_path, limit=2)
        num_asked = len(server.asked)
        shaped = build_reflections(recipe_for(server.url, **shape), tmp_path, limit=2, fork=True)
        assert len(server.asked) == 2 * num_asked
        assert shaped["num_requests"] == first["num_requests"]
        payload = server.asked[-1].payload
    assert payload["top_k"] == 20
    assert payload["max_completion_tokens"] == ENDPOINT.max_tokens
    assert not {"temperature", "top_p", "max_tokens"} & payload.keys()


def test_a_recipe_says_the_shape_of_requests(tmp_path):
    with answering(Picky(None, [])) as server:
        argv = command(tmp_path, server.url, endpoint={"extra_body": {"top_k": 20, "deep": {"a": [1]}}, "omit": ["seed"]})[3:]
        assert main([*argv, "--limit", "1"]) == 0
        assert server.asked[0].payload["deep"] == {"a": [1]}
        assert "seed" not in server.asked[0].payload
        for wrong in ("extra_body=3", "omit=[messages]", "max_tokens_field=tokens", "extra_body={temperature: 1}"):
            assert main([*argv, "--limit", "1", "--set", f"build.endpoint.{wrong}"]) == 2
