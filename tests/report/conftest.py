"""A run folder that the tests of the report share."""

import pytest

from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.answer_reasons import count_answers
from reflectioncoder.data.files import write_json, write_jsonl
from reflectioncoder.data.render import RenderReport, TokenRenderer
from reflectioncoder.data.words import WordTokenizer
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.results import summarize
from reflectioncoder.evaluate.score import Scorer, read_samples_to_score, score_samples
from reflectioncoder.train.data import RenderedData, preview
from tests.conftest import reflection_sample

NASTY = "x = '</script><script>document.title = 1</script><!--'\n"


@pytest.fixture(scope="package")
def run_dir(tmp_path_factory):
    """A run folder with real scores, a real preview and a program that tries to break out of the page."""
    run = tmp_path_factory.mktemp("runs") / "nasty & <b>run"
    run.mkdir()
    (run / "config.yaml").write_text("name: x  # </pre><script>alert(1)</script>\n")
    write_json(run / "env.json", {"python": "3", "packages": {"torch": None}, "cpus": 2})
    benchmark = load_benchmark("bundled/seen:5")
    for which in ("base", "trained"):
        folder = run / "eval" / "bundled" / "seen" / which
        solved = 2 if which == "trained" else 0
        programs = [NASTY + (task.canonical_solution if n < solved else "") for n, task in enumerate(benchmark.tasks)]
        rows = [
            {"task_id": task.task_id, "completion": program, "solution": program, "extraction": "fenced"}
            for task, program in zip(benchmark.tasks, programs, strict=True)
        ]
        path = write_jsonl(folder / "completions.jsonl", rows)
        scorer = Scorer(benchmark)
        scored = score_samples(read_samples_to_score(path, benchmark), folder / "samples.jsonl", scorer)
        answers = count_answers(["fenced", "other_name", "no_code", "refused", "empty"])
        write_json(folder / "results.json", {**summarize(scorer, scored), **({"answers": answers} if which == "trained" else {})})
    samples = [reflection_sample(n, steps=1 + n % 2) for n in range(3)]
    tokenizer = WordTokenizer()
    rendered = [TokenRenderer(tokenizer).render(sample) for sample in samples]
    data = RenderedData(rendered, [f"sample-{n}" for n in range(3)], [[]] * 3, RenderReport(3, (), 0))
    write_json(run / "train" / "preview.json", preview(tokenizer, data, TrainConfig()))
    history = [{"step": n, "loss": 2 / n, "ce": 1 / n, "kl": 0.1 * n, "mask_rate": n / 9, "tokens": 10} for n in range(1, 10)]
    write_json(run / "train" / "train.json", {
        "history": history, "num_tokens": 90, "total_steps": 9, "tokens_per_s": 5.0, "device": "cpu", "duration_s": 70.0,
        "reflection_visits": 9, "resumed_from_step": 0,
        "generation_visits": 0, "num_too_long": 1, "trained_parameters": 10, "parameters": 20,
    })  # fmt: skip
    return run
