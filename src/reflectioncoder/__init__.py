"""ReflectionCoder: better one-off code generation by learning from reflection sequences (arXiv 2405.17057).

The names below are imported when they are first used: `import reflectioncoder` itself is nearly free. docs/api.md describes them.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it as true; saves importing `typing`
if TYPE_CHECKING:
    from typing import Any

    from reflectioncoder.api.building import build_reflections
    from reflectioncoder.api.rendering import render
    from reflectioncoder.api.running import Session, run_python
    from reflectioncoder.api.scoring import compare, score
    from reflectioncoder.config.declarations import Recipe
    from reflectioncoder.config.loading import load_recipe
    from reflectioncoder.data.problems import Problem, load_problems
    from reflectioncoder.data.samples import Block, Message, Sample, read_samples
    from reflectioncoder.evaluate.benchmarks import load_benchmark
    from reflectioncoder.pipeline import Run
    from reflectioncoder.train.trainer import ReflectionTrainer

__version__ = "0.1.0"

__all__ = [
    "Block",
    "Message",
    "Problem",
    "Recipe",
    "ReflectionTrainer",
    "Run",
    "Sample",
    "Session",
    "build_reflections",
    "compare",
    "load_benchmark",
    "load_problems",
    "load_recipe",
    "read_samples",
    "render",
    "run_python",
    "score",
]

_MODULES = {
    "api.building": ("build_reflections",),
    "api.rendering": ("render",),
    "api.running": ("Session", "run_python"),
    "api.scoring": ("compare", "score"),
    "config.declarations": ("Recipe",),
    "config.loading": ("load_recipe",),
    "data.problems": ("Problem", "load_problems"),
    "data.samples": ("Block", "Message", "Sample", "read_samples"),
    "evaluate.benchmarks": ("load_benchmark",),
    "pipeline": ("Run",),
    "train.trainer": ("ReflectionTrainer",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
