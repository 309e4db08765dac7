"""Every line has one remedy where something is missing; the last lines say what this machine can do as it is.

Exit code 3 if programs cannot be confined on this machine at all; 1 if the model that you named cannot be
trained, or if a language is judged wrongly.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.commands import Outcome, add_data_dir_argument
from reflectioncoder.errors import (
    EXIT_CHECK_FAILED,
    EXIT_DONE,
    EXIT_ENVIRONMENT,
    MachineError,
    SandboxUnavailableError,
    UsageError,
    require,
)

if TYPE_CHECKING:
    from reflectioncoder.sandbox.isolation import Isolation

_DEMO_EXTRAS = frozenset({"train", "local"})  # the demo needs these to start


@dataclass
class Section:
    """Collects the findings on one topic: rows for the user (mark, name, text), and their part of the JSON."""

    title: str
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    value: dict[str, Any] = field(default_factory=dict)

    def has(self, name: str, text: str) -> None:
        self.rows.append(("ok", name, text))

    def lacks(self, name: str, text: str, remedy: str = "") -> None:
        self.rows.append(("--", name, f"{text}: {remedy}" if remedy else text))

    def lines(self) -> list[str]:
        width = max(len(name) for _, name, _ in self.rows)
        return [self.title, *(f"  {mark}  {name:<{width}}  {text}" for mark, name, text in self.rows)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="M", help="also try whether this model can be trained exactly (folder or hub id)")
    add_data_dir_argument(parser)
    parser.add_argument("--languages", action="store_true", help="also judge known programs in every language; takes minutes")


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.environment import environment
    from reflectioncoder.sandbox.readable import keep_secret

    if args.data_dir:
        keep_secret(Path(args.data_dir))
    strongest, programs = _programs()
    sections = [
        programs,
        _languages(strongest, try_out=args.languages),
        _models(args.model),
        _benchmarks(args.data_dir),
        _extras(),
    ]
    value = environment()
    for section in sections:
        value |= section.value
    verdict = _verdict(value)
    exit_code = EXIT_DONE if strongest else EXIT_ENVIRONMENT
    wrongly_judged = any(language.get("wrongly_judged") for language in value["languages"].values())
    if exit_code == EXIT_DONE and (wrongly_judged or (args.model and not value["model"]["trainable"])):
        exit_code = EXIT_CHECK_FAILED
    lines = [f"reflectioncoder {value['reflectioncoder']}, Python {value['python']}, {value['platform']}, {value['cpus']} CPUs"]
    for section in sections:
        lines += ["", *section.lines()]
    return Outcome({**value, "verdict": verdict}, [*lines, "", *verdict], exit_code=exit_code)


def _programs() -> tuple[Isolation | None, Section]:
    """Try every isolation; return the strongest that works, and the findings."""
    import shutil

    from reflectioncoder.paths import cache_dir
    from reflectioncoder.sandbox.detect import FLOOR, probe
    from reflectioncoder.sandbox.isolation import ISOLATIONS
    from reflectioncoder.sandbox.readable import PROGRAM_PACKAGES, readable_paths

    problems: dict[str, str | None] = {}
    for name, isolation in ISOLATIONS.items():
        try:
            problems[name] = probe(isolation)
        except SandboxUnavailableError as error:
            problems[name] = str(error)
    strongest = next((ISOLATIONS[name] for name, problem in problems.items() if problem is None), None)
    section = Section("Running programs: build, check, score")
    if strongest is None:
        section.lacks("sandbox", "no isolation works here", "docs/sandbox.md says what each needs")
    elif strongest.tier < FLOOR:
        section.lacks(
            "sandbox",
            f"{strongest.name} (tier {strongest.tier}) is UNSAFE: programs could read your files and use the network",
            "score refuses to run them without --floor 0",
        )
    else:
        section.has("sandbox", f"{strongest.name} (tier {strongest.tier}), network: {strongest.network}")
    for name, problem in problems.items():
        text = f"tier {ISOLATIONS[name].tier}: {problem or 'works'}"
        (section.lacks if problem else section.has)(name, text)
    imports = sorted({name for path in readable_paths().packages if (name := path.rpartition("/")[2]) in PROGRAM_PACKAGES})
    section.has("imports", f"the standard library, {', '.join(imports) or 'nothing else'}")
    cache = cache_dir()
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    section.has("disk", f"{free / 1e9:.1f} GB free at {existing}")
    section.value = {
        "isolation": strongest.name if strongest else None,
        "tier": strongest.tier if strongest else None,
        "isolation_checks": {name: problem or "works" for name, problem in problems.items()},
        "network": strongest.network if strongest else None,
        "program_packages": imports,
        "disk_free_bytes": free,
    }
    return strongest, section


def _languages(strongest: Isolation | None, *, try_out: bool) -> Section:
    from reflectioncoder.languages import LANGUAGES

    section = Section("Languages of benchmarks: score, evaluate")
    languages: dict[str, dict[str, Any]] = {}
    for name, language in LANGUAGES.items():
        toolchain = language.toolchain
        version, missing = toolchain.version(), toolchain.missing()
        languages[name] = {"version": version, "missing": missing, "install": toolchain.install if missing else None}
        title = f"{language.title} ({name})"
        if missing is not None:
            section.lacks(title, f"{missing} is missing", toolchain.install)
            continue
        text = f"{toolchain.needs[0]} {version}"
        if try_out and strongest:
            languages[name]["wrongly_judged"] = wrong = _wrongly_judged(name, strongest)
            text += "; judged rightly" if wrong is None else f"; JUDGED WRONGLY: {wrong}"
        section.has(title, text)
    section.value = {"languages": languages}
    return section


def _models(model: str | None) -> Section:
    from reflectioncoder.extras import extra

    section = Section("Models on this machine: train, run, generate, evaluate")
    train = extra("train")
    gpu, amx = _gpu_and_amx()
    if train.problem is None:
        section.has("packages", ", ".join(f"{name} {train.versions[name]}" for name in ("torch", "transformers", "accelerate", "peft")))
    else:
        section.lacks("packages", train.problem, train.install)
    if gpu:
        section.has("GPU", gpu)
    else:
        section.lacks("GPU", "torch finds none; the CPU trains models of a few hundred million parameters")
    if amx and not gpu:
        section.has("CPU", "has AMX: model.dtype: mixed trains about twice as fast")
    section.value = {"gpu": gpu, "amx": amx}
    if model:
        reason = _why_not_trainable(model)
        section.value["model"] = {"name": model, "trainable": reason is None, "reason": reason}
        if reason is None:
            section.has("model", f"{model}: can be trained exactly")
        else:
            section.lacks("model", f"{model}: CANNOT be trained: {reason}")
    return section


def _benchmarks(data_dir: str | None) -> Section:
    from reflectioncoder.evaluate.benchmarks import EVALPLUS_FILES, HUMANEVAL

    section = Section("Data of the main benchmarks (all: reflectioncoder benchmarks)")
    data = {file.pattern: file.find(data_dir) for file in (HUMANEVAL, *EVALPLUS_FILES.values())}
    for pattern, path in data.items():
        if path:
            section.has(pattern, str(path))
        else:
            section.lacks(pattern, "not here; it is downloaded when it is first needed")
    section.value = {"data": {pattern: str(path) if path else None for pattern, path in data.items()}}
    return section


def _extras() -> Section:
    from reflectioncoder.extras import extras

    section = Section("Extras")
    for extra in extras():
        if extra.problem is None:
            section.has(extra.name, extra.purpose)
        else:
            section.lacks(extra.name, f"{extra.purpose}: {extra.problem}", extra.install)
    section.value = {"extras": {extra.name: {"versions": extra.versions, "problem": extra.problem} for extra in extras()}}
    return section


def _verdict(value: dict[str, Any]) -> list[str]:
    """Return a few lines on what this machine can do as it is, and the next step."""
    from reflectioncoder.sandbox.detect import FLOOR

    if value["isolation"] is None:
        return ["Programs cannot be confined here, so nothing can be built or scored. See docs/sandbox.md."]
    languages = value["languages"]
    num_languages = sum(language["missing"] is None for language in languages.values())
    if value["tier"] < FLOOR:
        lines = ["Programs can be run here only at your own risk (--floor 0)."]
    else:
        lines = [f"This machine can build data and score programs, in {num_languages} of {len(languages)} languages."]
    missing = {name for name, extra in value["extras"].items() if extra["problem"]}
    if "train" in missing:
        lines.append("It cannot train yet.")
    else:
        lines.append(f"It can train on {value['gpu'] or 'the CPU'}.")
    install = "pip install 'reflectioncoder[demo]', then: " if missing & _DEMO_EXTRAS else ""
    return [*lines, f"Next: {install}reflectioncoder run demo"]


def _wrongly_judged(language: str, isolation: Isolation) -> str | None:
    from reflectioncoder.evaluate.judges.multipl_e.preflight import require_preflight

    try:
        require_preflight(language, isolation)
    except MachineError as error:
        return str(error)
    return None


def _why_not_trainable(name: str) -> str | None:
    from reflectioncoder.config.declarations import ModelConfig
    from reflectioncoder.models.load import load_config
    from reflectioncoder.models.sources import resolve_model

    try:
        require("torch", "train")
        from reflectioncoder.train.selfcheck import why_not_exact

        return why_not_exact(load_config(resolve_model(ModelConfig(name)).path))
    except (UsageError, MachineError) as error:  # the rest of the diagnosis is shown all the same
        return str(error).partition("\n")[0]


def _gpu_and_amx() -> tuple[str | None, bool]:
    """Return the GPU's name and whether the CPU has AMX, as far as there is a torch that can be imported and says so."""
    from reflectioncoder.models.load import has_amx

    try:
        import torch
    except ImportError:
        return None, False
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None, has_amx()
