"""Exit code 3 if programs cannot be confined here at all."""

from __future__ import annotations

import argparse

from reflectioncoder.commands import Outcome
from reflectioncoder.errors import EXIT_DONE, EXIT_ENVIRONMENT, MachineError, SandboxUnavailableError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", metavar="DIR", help="folder with benchmark files, searched first")


def run(args: argparse.Namespace) -> Outcome:
    import shutil

    from reflectioncoder.evaluate.benchmarks import HUMANEVAL_FILE, find_data
    from reflectioncoder.model_source import cache_dir
    from reflectioncoder.pipeline import environment
    from reflectioncoder.sandbox.isolation import ISOLATIONS, probe

    checks: dict[str, str | None] = {}
    for name, isolation in ISOLATIONS.items():
        try:
            checks[name] = probe(isolation)
        except SandboxUnavailableError as error:
            checks[name] = str(error)
    working = [name for name, problem in checks.items() if problem is None]
    try:
        data = str(find_data(HUMANEVAL_FILE, args.data_dir))
    except MachineError:
        data = None
    cache = cache_dir()
    existing = next(p for p in (cache, *cache.parents) if p.exists())
    value = {
        **environment(),
        "isolation": working[0] if working else None,
        "isolation_checks": {name: problem or "works" for name, problem in checks.items()},
        "network": ISOLATIONS[working[0]].network if working else None,
        "gpu": _gpu(),
        "disk_free_bytes": shutil.disk_usage(existing).free,
        "humaneval_data": data,
    }
    lines = [
        f"python       {value['python']} on {value['platform']}, {value['cpus']} CPUs",
        f"isolation    {value['isolation'] or 'NONE'} (network: {value['network']})",
        *(f"  {name:<10} {result}" for name, result in value["isolation_checks"].items()),
        f"gpu          {value['gpu'] or 'none'}",
        f"disk free    {value['disk_free_bytes'] / 1e9:.1f} GB at {existing}",
        f"humaneval    {data or 'not found'}",
        *(f"{name:<12} {version or 'not installed'}" for name, version in value["packages"].items()),
    ]
    return Outcome(value, lines, exit_code=EXIT_DONE if working else EXIT_ENVIRONMENT)


def _gpu() -> str | None:
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
