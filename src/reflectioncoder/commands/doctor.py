"""Exit code 3 if programs cannot be confined on this machine at all; 1 if the model that you named
cannot be trained, or if a language is judged wrongly.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from reflectioncoder.commands import Outcome, add_data_dir_argument
from reflectioncoder.errors import EXIT_CHECK_FAILED, EXIT_DONE, EXIT_ENVIRONMENT, MachineError, SandboxUnavailableError, require

if TYPE_CHECKING:
    from reflectioncoder.sandbox.isolation import Isolation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="M", help="also try whether this model can be trained exactly (folder or hub id)")
    add_data_dir_argument(parser)
    parser.add_argument("--languages", action="store_true", help="also judge known programs in every language; takes minutes")


def run(args: argparse.Namespace) -> Outcome:
    import shutil

    from reflectioncoder.environment import environment
    from reflectioncoder.evaluate.benchmarks import EVALPLUS_FILES, HUMANEVAL
    from reflectioncoder.languages import LANGUAGES
    from reflectioncoder.paths import cache_dir
    from reflectioncoder.sandbox.detect import FLOOR, probe
    from reflectioncoder.sandbox.isolation import ISOLATIONS
    from reflectioncoder.sandbox.readable import PROGRAM_PACKAGES, keep_secret, readable_paths

    if args.data_dir:
        keep_secret(Path(args.data_dir))
    checks: dict[str, str | None] = {}
    for name, isolation in ISOLATIONS.items():
        try:
            checks[name] = probe(isolation)
        except SandboxUnavailableError as error:
            checks[name] = str(error)
    strongest = next((ISOLATIONS[name] for name, problem in checks.items() if problem is None), None)
    data = {file.pattern: file.find(args.data_dir) for file in (HUMANEVAL, *EVALPLUS_FILES.values())}
    cache = cache_dir()
    existing = next(p for p in (cache, *cache.parents) if p.exists())
    imports = sorted({name for path in readable_paths().packages if (name := path.rpartition("/")[2]) in PROGRAM_PACKAGES})
    value = {
        **environment(),
        "isolation": strongest.name if strongest else None,
        "tier": strongest.tier if strongest else None,
        "isolation_checks": {name: problem or "works" for name, problem in checks.items()},
        "network": strongest.network if strongest else None,
        "program_packages": imports,
        "gpu": _gpu(),
        "disk_free_bytes": shutil.disk_usage(existing).free,
        "languages": {},
        "data": {pattern: str(path) if path else None for pattern, path in data.items()},
    }
    languages = []
    lines = [
        f"python       {value['python']} on {value['platform']}, {value['cpus']} CPUs",
        f"isolation    {value['isolation'] or 'NONE'}"
        + (f" (tier {strongest.tier}, network: {strongest.network})" if strongest else ""),
        *(f"  tier {ISOLATIONS[name].tier}: {name:<11} {result}" for name, result in value["isolation_checks"].items()),
    ]
    for name, language in LANGUAGES.items():
        toolchain = language.toolchain
        version, missing = toolchain.version(), toolchain.missing()
        value["languages"][name] = {"version": version, "missing": missing, "install": toolchain.install if missing else None}
        found = f"{toolchain.needs[0]} {version}" if missing is None else f"{missing} is missing: {toolchain.install}"
        if args.languages and strongest and missing is None:
            value["languages"][name]["wrongly_judged"] = wrong = _wrongly_judged(name, strongest)
            found += "; judged rightly" if wrong is None else f"; JUDGED WRONGLY: {wrong}"
        languages.append(f"language     {name:<6} {language.title:<11} {found}")
    if strongest and strongest.tier < FLOOR:
        lines.append("  UNSAFE: programs could read your files and use the network; score refuses to run them without --floor 0")
    lines += [
        f"  programs may import: the standard library, {', '.join(imports) or 'nothing else'}",
        f"gpu          {value['gpu'] or 'none'}",
        f"disk free    {value['disk_free_bytes'] / 1e9:.1f} GB at {existing}",
        *(f"data         {pattern:<24} {path or 'not found'}" for pattern, path in value["data"].items()),
        *languages,
        *(f"{name:<12} {version or 'not installed'}" for name, version in value["packages"].items()),
    ]
    exit_code = EXIT_DONE if strongest else EXIT_ENVIRONMENT
    if args.model:
        reason = _why_not_trainable(args.model)
        value["model"] = {"name": args.model, "trainable": reason is None, "reason": reason}
        lines.append(f"model        {args.model}: {'can be trained exactly' if reason is None else f'CANNOT be trained: {reason}'}")
        exit_code = exit_code or (EXIT_CHECK_FAILED if reason else EXIT_DONE)
    if any(language.get("wrongly_judged") for language in value["languages"].values()):
        exit_code = exit_code or EXIT_CHECK_FAILED
    return Outcome(value, lines, exit_code=exit_code)


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

    require("torch", "train")
    from reflectioncoder.train.selfcheck import why_not_exact

    return why_not_exact(load_config(resolve_model(ModelConfig(name)).path))


def _gpu() -> str | None:
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
