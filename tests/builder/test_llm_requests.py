"""Requests to a model's server lose nothing to its faults, keep to the budget and find out how many it takes at a time."""

import re
import threading
import time
from dataclasses import replace

import pytest

from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.templates import Prompts
from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.generate.budget import Budget, BudgetError
from reflectioncoder.generate.endpoint import Endpoint
from reflectioncoder.generate.limiter import EndpointError, Limiter
from reflectioncoder.progress import Reporter, reporting
from tests.builder.scripted_recipe import ENDPOINT, PROBLEMS, make_recipe, payload
from tests.builder.server import Script, serving


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.endpoint._FIRST_DELAY_S", 0.01)


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


@pytest.mark.long
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


@pytest.mark.long
def test_the_whole_is_forecast_after_twenty_dialogues(tmp_path, capsys):
    with serving(Script(PROBLEMS)) as url, reporting(Reporter()):
        build_reflections(make_recipe(url), tmp_path, limit=24)
    line = next(line for line in capsys.readouterr().err.splitlines() if "looks like" in line)
    found = re.search(r"([\d,]+) tokens", line)
    assert found is not None
    forecast = int(found[1].replace(",", ""))
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


@pytest.mark.usefixtures("quick")
def test_a_request_that_gets_no_text_is_turned_away_and_asked_again_by_another_run_only(tmp_path):
    with serving(Script(PROBLEMS, faults={6: 400, 9: 400})) as url:
        summary = build_reflections(make_recipe(url), tmp_path, limit=6)
        assert summary["rejected"]["refused"] == 2
        assert summary["num_retries"] == 0
        again = build_reflections(make_recipe(url), tmp_path, limit=6)  # it has cost nothing, and the server may be another
        assert again["num_requests"] >= 2
        assert "refused" not in again["rejected"]
