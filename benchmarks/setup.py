"""Measures how a run starts: rendering N rows of the paper's lengths for the first time, and every start after that.

First rendering is compared with `datasets.map` that tokenizes the same text with the same number of processes, alternately. CPU time is
that of the process and its children, imports aside. A later start is timed from the program's first line to the first step's batches.
Memory is what a process has resident after its first batches, beside what it had after its imports.

    python benchmarks/setup.py --rows 1000 10000 100000 200000
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REFLECTIONS = 45 / 201  # of all rows: 2 x 22.7k of 201k in the paper
_INSTRUCTION, _SEQUENCE, _ANSWER, _PLAIN_ANSWER = 250, 900, 350, 560  # tokens, about


def texts(seed: int) -> Iterator[str]:
    """Yield lines of programs and prose, from the bundled problems."""
    from reflectioncoder.data.problems import bundled_problems

    lines = [line for p in bundled_problems("train") for line in (p.prompt + p.reference).splitlines() if line.strip()]
    rng = random.Random(seed)
    while True:
        yield rng.choice(lines)


class Writer:
    """Writes rows whose lengths vary as those of real data do (log-normal, sigma 0.5)."""

    def __init__(self, seed: int):
        self._lines = texts(seed)
        self._rng = random.Random(seed)

    def _text(self, tokens: float) -> str:
        wanted = tokens * 3.2 * self._rng.lognormvariate(-0.125, 0.5)  # characters
        lines: list[str] = []
        while wanted > 0:
            lines.append(next(self._lines))
            wanted -= len(lines[-1]) + 1
        return "\n".join(lines)

    def row(self, number: int) -> dict[str, Any]:
        def message(role: str, *blocks: tuple[str, str]) -> dict[str, Any]:
            return {"role": role, "content": [{"type": kind, "content": content} for kind, content in blocks]}

        if self._rng.random() >= REFLECTIONS:
            asked, answered = self._text(_INSTRUCTION / 2), self._text(_PLAIN_ANSWER)
            return {"messages": [message("user", ("text", asked)), message("assistant", ("text", answered))], "type": "generation"}
        kinds = ("text", "code", "execution", "text", "code", "execution", "text")
        sequence = [(kind, self._text(_SEQUENCE / len(kinds))) for kind in kinds]
        asked = self._text(_INSTRUCTION)
        messages = [
            message("user", ("text", asked)),
            message("assistant", *sequence),
            message("user", ("text", asked)),
            message("assistant", ("text", self._text(_ANSWER))),
        ]
        return {"messages": messages, "type": "reflection", "id": str(number)}


def write_rows(count: int, folder: Path) -> Path:
    path, writer = folder / f"rows-{count}.jsonl", Writer(count)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps(writer.row(number), ensure_ascii=False) + "\n")
    return path


def cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def resident_bytes() -> dict[str, int]:
    """Return what is resident, and how much of it is this process's own."""
    said = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    sizes = {name: int(value.split()[0]) * 1024 for name, value in said.items()}
    return {"resident": sizes["Rss"], "own": sizes["Private_Clean"] + sizes["Private_Dirty"]}


def recipe_for(rows: Path, model: str, rendering: str) -> Any:
    from reflectioncoder.config.declarations import ModelConfig, Recipe, TrainConfig

    train = TrainConfig(epochs=2, reflection_data=(str(rows),), global_batch_size=512, micro_batch_tokens=8192)
    return Recipe("setup", ModelConfig(model, rendering=rendering), train=train)  # pyright: ignore[reportArgumentType]


def start(rows: Path, model: str, rendering: str) -> dict[str, Any]:
    """Find the data, render or map it, plan, and make the first step's batches."""
    started = time.monotonic()
    import datasets  # noqa: F401
    import transformers  # noqa: F401

    from reflectioncoder.models.tokens import training_tokenizer
    from reflectioncoder.train.data import plan_run, training_samples

    recipe = recipe_for(rows, model, rendering)
    tokenizer = training_tokenizer(Path(model), rendering)
    before, cpu_before, imported = resident_bytes(), cpu_s(), time.monotonic()
    plan, _ = plan_run(recipe, Path(model), tokenizer, training_samples(recipe, None))
    planned = time.monotonic()
    plan.batches(0)
    num_tokens = plan.num_tokens
    after = resident_bytes()
    return {
        "cpu_s": cpu_s() - cpu_before,
        "render_or_map_s": planned - imported,
        "to_first_batch_s": time.monotonic() - started,
        "sample_tokens": int(plan.samples.spans.num_tokens.sum()),  # pyright: ignore[reportAttributeAccessIssue]
        "visit_tokens": num_tokens,
        **{name: after[name] - before[name] for name in after},
    }


def tokenize(rows: Path, model: str, num_proc: int) -> dict[str, Any]:
    """Tokenize the same text by `datasets.map`."""
    import datasets

    from reflectioncoder.models.load import load_tokenizer

    tokenizer = load_tokenizer(Path(model))
    datasets.disable_progress_bars()
    with open(rows, encoding="utf-8") as file:
        joined = ["\n".join(b["content"] for m in json.loads(line)["messages"] for b in m["content"]) for line in file]
    with tempfile.TemporaryDirectory() as folder:
        datasets.Dataset.from_dict({"text": joined}).save_to_disk(folder)  # so that it is mapped from a file, as a loaded set is
        data: Any = datasets.load_from_disk(folder)
        del joined
        cpu_before, started = cpu_s(), time.monotonic()
        made = data.map(
            lambda batch: tokenizer(batch["text"], add_special_tokens=False),
            batched=True,
            num_proc=num_proc if num_proc > 1 else None,
            remove_columns=["text"],
            cache_file_name=f"{folder}/tokens.arrow",
        )
        wall = time.monotonic() - started
        return {"cpu_s": cpu_s() - cpu_before, "wall_s": wall, "rows": made.num_rows}


def in_child(mode: str, rows: Path, model: str, cache: Path, *more: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", mode, str(rows), model, *more]
    env = os.environ | {"REFLECTIONCODER_CACHE": str(cache), "HF_HOME": str(cache / "hf"), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=5, help="at sizes above 20,000 rows one round is made")
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--rendering", choices=("token", "chat"), default="token")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        mode, rows, model, *more = args.child
        value = start(Path(rows), model, *more) if mode == "start" else tokenize(Path(rows), model, int(more[0]))
        print(json.dumps(value))
        return
    from reflectioncoder.config.declarations import ModelConfig
    from reflectioncoder.models.sources import resolve_model
    from reflectioncoder.sandbox.pool import default_workers
    from reflectioncoder.train.rendered_files import num_render_processes

    model = str(resolve_model(ModelConfig(args.model)).path)
    print(f"{args.model}, rendering {args.rendering}, {default_workers()} cores\n")
    print("| rows | tokens | processes | datasets.map, CPU-s | first rendering, CPU-s | ratio | second start to the first batches, s "
          "| resident, GB | own, GB |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for count in args.rows:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            rows = write_rows(count, folder)
            num_proc = num_render_processes(rows.stat().st_size)
            ratios, ours, theirs, later, last = [], [], [], [], {}
            for _ in range(args.rounds if count <= 20_000 else 1):
                shutil.rmtree(folder / "cache", ignore_errors=True)
                theirs.append(in_child("map", rows, model, folder / "cache", str(num_proc))["cpu_s"])
                ours.append(in_child("start", rows, model, folder / "cache", args.rendering)["cpu_s"])
                ratios.append(ours[-1] / theirs[-1])
                last = in_child("start", rows, model, folder / "cache", args.rendering)
                later.append(last["to_first_batch_s"])
            median = statistics.median
            cells = [f"{count:,}", f"{last['sample_tokens']:,}", num_proc, f"{median(theirs):.1f}", f"{median(ours):.1f}"]
            cells += [f"{median(ratios):.2f}", f"{median(later):.1f}", *(f"{last[name] / 1e9:.2f}" for name in ("resident", "own"))]
            print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    main()
