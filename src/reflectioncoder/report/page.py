"""Renders a page: a template with inlined styles and scripts, data as JSON, and a Content-Security-Policy that allows nothing else.

The policy names the hashes of the page's own style sheet and script, so that model text that became markup by mistake could neither run
nor load anything.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateRuntimeError
from markupsafe import Markup

from reflectioncoder import __version__
from reflectioncoder.config.yaml_text import one_line
from reflectioncoder.errors import UsageError
from reflectioncoder.progress import format_duration
from reflectioncoder.report.charts import difference_mark
from reflectioncoder.report.embedded import embedded_json
from reflectioncoder.report.sequences import RATES

ASSETS = Path(__file__).parent / "assets"
STYLES = ("page", "charts", "tasks", "sequence")
SCRIPTS = ("dom", "theme", "highlight", "diff", "tasks", "sequence")


def render_page(template: str, data: dict[str, Any], **values: Any) -> str:
    """Return the page of a template.

    Args:
        data: the scripts' data: `benchmarks` and `programs` (`tasks.for_page`), `viewers` (samples of each viewer).

    Raises:
        UsageError: a value that the template needs is missing, because a file of a run is damaged.
    """
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.filters["points"] = lambda value: f"{100 * value:+.1f}"
    environment.filters["measured"] = lambda value, kind: f"{100 * value:.1f} %" if kind == "pass@1" else f"{value:.4f}"
    environment.globals["difference_mark"] = lambda found, reach: Markup(difference_mark(found, reach))
    environment.filters["thousands"] = lambda value: f"{value:,}"
    environment.filters["duration"] = format_duration
    environment.filters["yaml"] = one_line
    style, script = (_joined(kind, names) for kind, names in (("css", STYLES), ("js", SCRIPTS)))
    own = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {own}; img-src data:; base-uri 'none'; form-action 'none'"
    try:
        return environment.get_template(template).render(
            version=__version__,
            policy=policy,
            style=Markup(style),
            script=Markup(script),
            data=embedded_json({"rates": RATES, "benchmarks": [], "programs": [], "viewers": [], **data}),
            **values,
        )
    except TemplateRuntimeError as error:
        names = ", ".join(run["name"] for run in values.get("runs", ()))
        raise UsageError(f"a file in one of the runs ({names}) is not as reflectioncoder wrote it: {error}") from error


def _joined(kind: str, names: tuple[str, ...]) -> str:
    return "\n".join((ASSETS / kind / f"{name}.{kind}").read_text(encoding="utf-8").strip() for name in names)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
