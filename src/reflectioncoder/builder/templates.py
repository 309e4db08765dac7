"""The prompts of a dialogue: templates that come with the package by version, or are the user's own."""

from __future__ import annotations

import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound

from reflectioncoder.errors import UsageError


class Prompts:
    """The templates reflect, feedback and answer.

    Raises:
        UsageError: neither a version of the package nor a folder with the three.
    """

    def __init__(self, name: str):
        bundled = Path(__file__).parent / "prompts"
        folder = bundled / name if (bundled / name).is_dir() else Path(name)
        environment = Environment(loader=FileSystemLoader(folder), undefined=StrictUndefined, keep_trailing_newline=False)
        try:
            self.reflect, self.feedback, self.answer = (
                environment.get_template(f"{part}.jinja") for part in ("reflect", "feedback", "answer")
            )
            for template, fields in ((self.reflect, {"problem": ""}), (self.feedback, {"output": ""}), (self.answer, {})):
                template.render(fields)
        except TemplateNotFound as error:
            known = sorted(path.name for path in bundled.iterdir() if path.is_dir())
            raise UsageError.for_value(f"no template {error}", "build.prompts", name, [*known, "a folder with the three"]) from error
        except (TemplateError, UnicodeDecodeError) as error:
            raise UsageError(f"build.prompts: a template of {folder} is malformed: {error}") from error
        sources = [(folder / f"{part}.jinja").read_text(encoding="utf-8") for part in ("reflect", "feedback", "answer")]
        self.digest = hashlib.sha256("\0".join(sources).encode()).hexdigest()[:16]
