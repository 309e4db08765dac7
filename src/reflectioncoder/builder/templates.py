"""The prompts of a dialogue: versioned templates of the package, or the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateError, TemplateNotFound

from reflectioncoder.errors import UsageError


class Prompts:
    """The templates reflect, feedback and answer.

    Args:
        name: a version of the package's templates, or a folder with all three; UsageError if it is neither.
    """

    def __init__(self, name: str):
        fields = {"reflect": {"problem": ""}, "feedback": {"output": ""}, "answer": {}}
        (self.reflect, self.feedback, self.answer), self.digest = _templates(name, fields, "a folder with the three")


class CriticPrompt:
    """The template critic, which asks a model to reword a diagnosis.

    Args:
        name: a version of the package's templates, or a folder with this one; UsageError if it is neither.
    """

    def __init__(self, name: str):
        fields = {"problem": "", "attempt": "", "output": "", "looks": (), "diagnosis": ""}
        (self._template,), self.digest = _templates(name, {"critic": fields}, "a folder with critic.jinja")

    def render(self, **fields: object) -> str:
        """Return the request. `fields`: problem, attempt, output, looks (cell and output of each), diagnosis."""
        return self._template.render(fields)


def _templates(name: str, fields: Mapping[str, Mapping[str, object]], allowed: str) -> tuple[list[Template], str]:
    """Return the templates of a folder and the hash of their texts. `fields`: values to try-render each template with."""
    bundled = Path(__file__).parent / "prompts"
    folder = bundled / name if (bundled / name).is_dir() else Path(name)
    environment = Environment(loader=FileSystemLoader(folder), undefined=StrictUndefined, keep_trailing_newline=False)
    try:
        templates = [environment.get_template(f"{part}.jinja") for part in fields]
        for template, known in zip(templates, fields.values(), strict=True):
            template.render(known)
    except TemplateNotFound as error:
        versions = sorted(path.name for path in bundled.iterdir() if path.is_dir())
        raise UsageError.for_value(f"no template {error}", "build.prompts", name, [*versions, allowed]) from error
    except (TemplateError, UnicodeDecodeError) as error:
        raise UsageError(f"build.prompts: a template of {folder} is malformed: {error}") from error
    sources = [(folder / f"{part}.jinja").read_text(encoding="utf-8") for part in fields]
    return templates, hashlib.sha256("\0".join(sources).encode()).hexdigest()[:16]
