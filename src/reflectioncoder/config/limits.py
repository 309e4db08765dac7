"""Converts a recipe's `sandbox` section into the limits of one program."""

from __future__ import annotations

from reflectioncoder.config.declarations import SandboxConfig
from reflectioncoder.sandbox.limits import Limits


def limits_from(config: SandboxConfig) -> Limits:
    return Limits(
        wall_s=config.wall_s,
        cpu_s=config.cpu_s,
        memory_bytes=config.memory_bytes,
        output_bytes=config.output_bytes,
        file_bytes=config.file_bytes,
        processes=config.processes,
    )
