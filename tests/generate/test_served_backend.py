"""Generation by a server: what is asked, what becomes of the answers, what faults cost."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from reflectioncoder.cli import main
from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.config.declarations import GenerateConfig, ModelConfig, Recipe
from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.files import read_jsonl
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluation import completions_key
from reflectioncoder.generate.backends import asked_model
from reflectioncoder.generate.base import generate
from reflectioncoder.generate.limiter import EndpointError
from reflectioncoder.generate.served_backend import ServedBackend
from tests.builder.server import Script, serving
from tests.generate.raw_server import answering, completion

PYTHON = [Request(f"T/{number}", 0, f"Write f{number}.", f"f{number}", "import math") for number in range(30)]
JAVASCRIPT = Request(
    "js/0", 0, "Write twice.", "twice", "function twice(x){\n", "```javascript\nfunction twice(x){\n", "js", ("\nfunction ",)
)
CONFIG = GenerateConfig(max_new_tokens=100)


@dataclass
class Answers(Script):
    """Answers each request with what `says` says of its payload; keeps all payloads."""

    says: Any = None
    payloads: list = field(default_factory=list)
    too_long: set = field(default_factory=set)
    """Numbers of requests that it does not take."""
    ends: list = field(default_factory=list)
    """Finish reasons of the first answers."""

    def reply(self, payload):
        with self.lock:
            self.payloads.append(payload)
        return self.says(payload)

    def fault(self, payload):
        return 400 if number_of(payload) in self.too_long else None

    def finish_reason(self):
        with self.lock:
            return self.ends.pop(0) if self.ends else "stop"


def number_of(payload):
    asked = payload.get("prompt") or payload["messages"][0]["content"]
    return asked.partition("Write f")[2].partition(".")[0]


def whole(payload):
    return f"Here it is.\n\n```python\ndef f{number_of(payload)}(): return 1\n```\n\nIt returns 1."


def rest(payload):
    """What follows the opening fence, up to the stop text."""
    return f"def f{number_of(payload)}(): return 1"


def make(url, **settings):
    return ServedBackend(EndpointConfig(base_url=url, model="m", max_in_flight=4, **settings), "openai")


def rows_of(path):
    return {row["task_id"]: row for _, row in read_jsonl(path)}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, whole),
        ({"assistant_prefix": "vllm"}, rest),
        ({"assistant_prefix": "llama.cpp"}, lambda payload: "```python\n" + rest(payload)),
        ({"assistant_prefix": "deepseek"}, rest),
        ({"api": "completion"}, rest),
    ],
    ids=["whole answers", "vllm", "llama.cpp", "deepseek", "completion"],
)
def test_the_program_is_found_however_the_server_is_asked(settings, says, tmp_path):
    with serving(Answers([], says=says)) as url, make(url, **settings) as backend:
        generate(backend, PYTHON, CONFIG, 1, tmp_path / "completions.jsonl", "test")
    rows = rows_of(tmp_path / "completions.jsonl")
    assert rows.keys() == {request.task_id for request in PYTHON}
    for request in PYTHON:
        row = rows[request.task_id]
        assert row["solution"] == f"import math\n\n\ndef {request.entry_point}(): return 1\n"
        assert (row["extraction"], row["finish_reason"], row["num_tokens"]) == ("fenced", "stop", 50)


def test_what_a_server_is_asked(tmp_path):
    shapes = {}
    for settings in ({}, {"assistant_prefix": "vllm"}, {"assistant_prefix": "deepseek"}, {"api": "completion"}):
        script = Answers([], says=rest)
        with serving(script) as url, make(url, **settings) as backend:
            list(backend.complete(PYTHON[:1], set(), CONFIG, 1))
        shapes[str(settings)] = script.payloads[0]
    none, vllm, deepseek, plain = shapes.values()
    assert none["messages"] == [{"role": "user", "content": "Write f0."}]
    assert "stop" not in none, "it would end the answer at its opening fence"
    assert vllm["messages"][1:] == [{"role": "assistant", "content": "```python\n"}]
    assert (vllm["stop"], vllm["continue_final_message"], vllm["add_generation_prompt"]) == (["\n```"], True, False)
    assert deepseek["messages"][1]["prefix"] is True
    assert (plain["prompt"], plain["stop"]) == ("Write f0.\n\n```python\n", ["\n```"])
    for payload in shapes.values():
        assert (payload["temperature"], payload["max_tokens"], payload["model"]) == (0, 100, "m")
        assert "top_p" not in payload


def test_samples_of_a_task_are_asked_with_seeds_of_their_own(tmp_path):
    requests = [replace(PYTHON[0], sample=sample) for sample in range(8)]
    sampling = GenerateConfig(max_new_tokens=100, temperature=0.8, num_samples=8)
    seeds = []
    for seed in (1, 1, 2):
        script = Answers([], says=whole)
        with serving(script) as url, make(url) as backend:
            list(backend.complete(requests, set(), sampling, seed))
        seeds.append({payload["seed"] for payload in script.payloads})
        assert all(payload["top_p"] == 0.95 for payload in script.payloads)
    assert len(seeds[0]) == 8
    assert seeds[0] == seeds[1]
    assert not seeds[0] & seeds[2]


def test_another_language_is_prefilled_with_its_prompt(tmp_path):
    with serving(Answers([], says=lambda _: "  return 2 * x;\n}\nfunction other() {}")) as url:
        with make(url, assistant_prefix="vllm") as backend:
            generate(backend, [JAVASCRIPT], CONFIG, 1, tmp_path / "completions.jsonl", "test")
        with make(url) as backend, pytest.raises(UsageError, match="--assistant-prefix"):
            generate(backend, [JAVASCRIPT], CONFIG, 1, tmp_path / "none.jsonl", "test")
    assert rows_of(tmp_path / "completions.jsonl")["js/0"]["solution"] == "function twice(x){\n  return 2 * x;\n}"


def test_faults_lose_nothing_and_double_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.endpoint._FIRST_DELAY_S", 0.01)
    script = Answers([], says=whole, faults={0: 500, 3: "garbage", 5: 429, 8: "cut", 9: "reset", 12: 503})
    with serving(script) as url, make(url) as backend:
        generate(backend, PYTHON, CONFIG, 1, tmp_path / "completions.jsonl", "test")
    rows = [row["task_id"] for _, row in read_jsonl(tmp_path / "completions.jsonl")]
    assert Counter(rows) == Counter(request.task_id for request in PYTHON)


def test_what_was_answered_before_a_server_died_is_not_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.endpoint._FIRST_DELAY_S", 0.001)
    path = tmp_path / "completions.jsonl"
    dying = Answers([], says=whole, faults=dict.fromkeys(range(11, 10_000), 500))
    with serving(dying) as url, make(url, retries=1) as backend, pytest.raises(EndpointError, match="run again"):
        generate(backend, PYTHON, CONFIG, 1, path, "test")
    kept = len(path.read_text().splitlines())
    assert kept == 11, "all that was answered"
    alive = Answers([], says=whole)
    with serving(alive) as url, make(url) as backend:
        generate(backend, PYTHON, CONFIG, 1, path, "test")
    assert len(alive.payloads) == len(PYTHON) - kept
    assert rows_of(path).keys() == {request.task_id for request in PYTHON}


@pytest.mark.parametrize("refused", [[0], [0, 1, 2], [7], [29]], ids=["the first", "the first three", "a later one", "the last"])
def test_a_request_that_is_refused_is_a_row_without_a_program(refused, tmp_path):
    """Also if it is the first one, when it is not known yet whether the server takes any."""
    script = Answers([], says=whole, too_long={str(number) for number in refused})
    with serving(script) as url, make(url) as backend:
        counts = generate(backend, PYTHON, CONFIG, 1, tmp_path / "completions.jsonl", "test")
    rows = rows_of(tmp_path / "completions.jsonl")
    assert {row["task_id"] for row in rows.values() if row["finish_reason"] == "refused"} == {f"T/{number}" for number in refused}
    assert all((row["solution"], row["extraction"]) == ("", "refused") for row in rows.values() if row["finish_reason"] == "refused")
    assert counts["finish_reasons"] == {"stop": len(PYTHON) - len(refused), "refused": len(refused)}


@pytest.mark.parametrize("never", [500, "garbage"])
@pytest.mark.parametrize("unanswered", [[0], [0, 1, 2], [7, 20]])
def test_a_request_that_always_fails_is_named_and_the_others_are_kept(unanswered, never, tmp_path, monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.endpoint._FIRST_DELAY_S", 0.001)
    path = tmp_path / "completions.jsonl"
    script = Answers([], says=whole)
    script.fault = lambda payload: never if number_of(payload) in map(str, unanswered) else None
    with serving(script) as url, make(url, retries=1) as backend, pytest.raises(EndpointError) as raised:
        generate(backend, PYTHON, CONFIG, 1, path, "test")
    assert f"{len(unanswered)} requests got no answer, {30 - len(unanswered)} others did" in str(raised.value)
    assert all(f"T/{number} " in str(raised.value) for number in unanswered)
    assert len(rows_of(path)) == 30 - len(unanswered)
    script = Answers([], says=whole)
    with serving(script) as url, make(url) as backend:
        generate(backend, PYTHON, CONFIG, 1, path, "test")
    assert {number_of(payload) for payload in script.payloads} == set(map(str, unanswered))


@pytest.mark.parametrize(("ends", "content"), [("stop", None), ("length", None), ("stop", ""), ("stop", "  \n")])
def test_empty_answers_are_counted_and_said(ends, content, tmp_path, capsys):
    def respond(asked):
        reasoning = {"reasoning_content": "I think."}
        return completion(content, ends, **reasoning) if asked.number % 2 else completion(whole(asked.payload))

    with answering(respond) as server:
        argv = ["m", "--backend", "openai", "--base-url", server.url, "--benchmark", "bundled/seen:4", "--batch-size", "1"]
        for command in ("generate", "evaluate"):
            main([command, *argv, "--output", str(tmp_path / command)])
            assert "2 of 4 answers hold no program (empty 2)" in capsys.readouterr().out
    results = json.loads((tmp_path / "evaluate/bundled/seen/results.json").read_text())
    assert results["answers"]["num_empty"] == 2
    assert "refused" not in results["sampling"]["finish_reasons"]


def test_the_command_line_says_the_shape_of_requests(tmp_path, capsys):
    with answering(lambda asked: completion(whole(asked.payload))) as server:
        argv = ["generate", "m", "--backend", "openai", "--base-url", f"{server.url}?v=1", "--benchmark", "bundled/seen:1"]
        shape = ["--extra-body", '{"top_k": 20}', "--omit", "seed", "temperature", "--max-tokens-field", "max_completion_tokens"]
        assert main([*argv, "--output", str(tmp_path / "a"), *shape, "--timeout", "60"]) == 0
        (asked,) = server.asked
        assert asked.path == "/v1/chat/completions?v=1"
        assert {"top_k": 20, "max_completion_tokens": 512}.items() <= asked.payload.items()
        assert not {"seed", "temperature", "max_tokens"} & asked.payload.keys()
        assert main([*argv, "--output", str(tmp_path / "a")]) == 2, "completions of other requests"
        assert "other settings" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            main([*argv, "--output", str(tmp_path / "b"), "--extra-body", "[1]"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_generation_and_the_answers_before_are_kept(number, tmp_path):
    def respond(asked):
        if asked.number == 3:
            path, deadline = tmp_path / "completions.jsonl", time.monotonic() + 20
            while path.read_text().count("\n") < 3 and time.monotonic() < deadline:  # the last one may not be written yet
                time.sleep(0.01)
            child.send_signal(number)
        time.sleep(60 if asked.number >= 3 else 0)
        return completion(whole(asked.payload))

    with answering(respond) as server:
        argv = ["m", "--backend", "openai", "--base-url", server.url, "--benchmark", "bundled/seen:6", "--batch-size", "1"]
        command = [sys.executable, "-m", "reflectioncoder", "generate", *argv, "--output", str(tmp_path)]
        reset = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=reset)
        _, err = child.communicate(timeout=50)
    assert child.returncode == 130
    assert "to continue: reflectioncoder generate" in err
    assert len(rows_of(tmp_path / "completions.jsonl")) == 3


@pytest.mark.parametrize("fault", [400, 401, 404])
def test_a_server_that_refuses_everything_is_not_asked_for_long(fault: int, tmp_path):
    script = Answers([], says=whole, faults=dict.fromkeys(range(2000), fault))
    requests = [replace(PYTHON[0], sample=sample) for sample in range(1000)]
    with serving(script) as url, make(url) as backend, pytest.raises(UsageError, match=str(fault)):
        generate(backend, requests, CONFIG, 1, tmp_path / "completions.jsonl", "test")
    assert script.num_requests < 500


def test_a_server_that_suddenly_refuses_everything_is_not_asked_for_ever(tmp_path):
    script = Answers([], says=whole, faults=dict.fromkeys(range(10, 1000), 401))
    with serving(script) as url, make(url) as backend, pytest.raises(UsageError, match="401"):
        generate(backend, PYTHON, CONFIG, 1, tmp_path / "completions.jsonl", "test")
    assert len(rows_of(tmp_path / "completions.jsonl")) == 10


@pytest.mark.parametrize("status", [400, 403])
def test_what_a_server_refuses_that_takes_nothing_any_more_is_no_row(status: int, tmp_path):
    """A key that was withdrawn: the tasks are asked again, and do not count as unsolved."""
    path = tmp_path / "completions.jsonl"
    script = Answers([], says=whole, faults=dict.fromkeys(range(5, 1000), status))
    with (
        serving(script) as url,
        ServedBackend(EndpointConfig(base_url=url, model="m", max_in_flight=1), "openai") as backend,
        pytest.raises(UsageError, match=str(status)),
    ):
        generate(backend, PYTHON, CONFIG, 1, path, "test")
    assert [row["finish_reason"] for row in rows_of(path).values()] == ["stop"] * 5


def test_a_server_of_our_own_has_to_take_everything(tmp_path):
    script = Answers([], says=whole, too_long={"5"})
    config = EndpointConfig(model="m", max_in_flight=4)
    with (
        serving(script) as url,
        ServedBackend(replace(config, base_url=url), "local", own=True) as backend,
        pytest.raises(MachineError, match="T/5"),
    ):
        generate(backend, PYTHON, CONFIG, 1, tmp_path / "completions.jsonl", "test")


def test_an_answer_that_was_aborted_is_asked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.endpoint._FIRST_DELAY_S", 0.01)
    script = Answers([], says=whole, ends=["abort", "insufficient_system_resource", "unheard-of", "stop"])
    with serving(script) as url, make(url) as backend:
        counts = generate(backend, PYTHON[:1], CONFIG, 1, tmp_path / "completions.jsonl", "test")
    assert counts["finish_reasons"] == {"stop": 1}
    assert script.num_requests == 4


@pytest.mark.parametrize("number", [1, 20])
def test_an_interrupt_does_not_wait_for_what_is_under_way(number, tmp_path):
    with serving(Answers([], says=whole, latency_s=600)) as url, make(url) as backend:
        answers = backend.complete(PYTHON[:number], set(), CONFIG, 1)
        threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            next(answers)
        answers.close()
        assert time.monotonic() - started < 300


def test_models_are_told_apart_by_what_their_answers_depend_on(tmp_path, model_dir):
    ours = EndpointConfig()
    others = [replace(ours, api="completion"), replace(ours, assistant_prefix="vllm"), replace(ours, base_url="http://elsewhere/v1")]
    keys = [asked_model(ModelConfig(name), "openai", endpoint).key for name in ("a", "b") for endpoint in (ours, *others)]
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    keys += [asked_model(ModelConfig(str(tmp_path / "a.gguf")), "local", endpoint).key for endpoint in (ours, others[0])]
    keys += [asked_model(ModelConfig(str(model_dir)), "vllm", endpoint).key for endpoint in (ours, others[0])]
    assert len(set(keys)) == len(keys)
    assert asked_model(ModelConfig("a"), "openai", replace(ours, max_in_flight=3)).key == keys[0]


def test_how_many_go_at_a_time_is_no_other_setting(model_dir):
    benchmark = load_benchmark("bundled/seen:2")
    recipes = [Recipe("r", ModelConfig("m"), generate=GenerateConfig(batch_size=size)) for size in (4, 8)]
    here = asked_model(ModelConfig(str(model_dir)), "transformers", EndpointConfig())
    served = asked_model(ModelConfig("m"), "openai", EndpointConfig())
    assert len({completions_key(benchmark, recipe, here) for recipe in recipes}) == 2
    assert len({completions_key(benchmark, recipe, served) for recipe in recipes}) == 1


@pytest.mark.parametrize(
    ("temperature", "omit", "num_keys"), [(0.0, (), 1), (0.0, ("seed",), 1), (0.0, ("temperature",), 2), (0.8, (), 2)]
)
def test_answers_depend_on_the_seed_unless_they_are_greedy(temperature, omit, num_keys):
    """A server that is not told the temperature draws its answers at its own."""
    model = asked_model(ModelConfig("m"), "openai", EndpointConfig(omit=omit))
    benchmark, settings = load_benchmark("bundled/seen:2"), GenerateConfig(temperature=temperature)
    recipes = [Recipe("r", ModelConfig("m"), seed=seed, generate=settings) for seed in (1, 2)]
    assert len({completions_key(benchmark, recipe, model) for recipe in recipes}) == num_keys


@pytest.mark.parametrize(
    "options",
    [
        ["--base-url", "http://127.0.0.1/v1"],
        ["--backend", "local", "--assistant-prefix", "vllm"],
        ["--backend", "openai", "--device", "cpu"],
    ],
    ids=lambda options: " ".join(options),
)
def test_options_of_another_backend_are_refused(options, tmp_path, capsys):
    assert main(["generate", "m", "--benchmark", "bundled/seen:2", "--output", str(tmp_path), *options]) == 2
    assert "is not for this backend" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_said_before_anything_is_started(tmp_path):
    with pytest.raises(UsageError, match="no such embedded model"):
        asked_model(ModelConfig("no/such"), "local", EndpointConfig())
    with pytest.raises(UsageError, match="no such file"):
        asked_model(ModelConfig(str(tmp_path / "no.gguf")), "local", EndpointConfig())
    with pytest.raises(MachineError, match="NO_SUCH_KEY"):
        asked_model(ModelConfig("m"), "openai", EndpointConfig(api_key_env="NO_SUCH_KEY")).open(10, 10)


@pytest.mark.slow
def test_a_real_model_on_this_machine_is_asked_and_scored(tmp_path, data_dir):
    pytest.importorskip("xllamacpp")
    names = ["humaneval", "multipl-e/sh"]
    command = ["evaluate", "HuggingFaceTB/SmolLM2-135M-Instruct", "--backend", "local", "--benchmark", *names, "--limit", "3"]
    assert main([*command, "--data-dir", str(data_dir), "--max-new-tokens", "100", "--output", str(tmp_path)]) == 0
    for name in names:
        results = json.loads((tmp_path / name / "results.json").read_text())
        assert results["benchmark"]["num_tasks"] == 3
        assert results["model"]["backend"] == "local"
        assert results["counts"].get("sandbox_error", 0) == 0
