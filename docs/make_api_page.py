"""Writes docs/api.md from the docstrings of `reflectioncoder.__all__`: the page can never disagree with the code."""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import reflectioncoder

INTRODUCTION = """# Python API

Written by `make docs` from the docstrings. Each name is imported when it is first used, so `import reflectioncoder` loads nothing
heavy. All names are typed. The examples are run by the tests.

Everything else of the package can be imported from its module, and may change without notice.

Errors derive from `reflectioncoder.errors.ReflectionCoderError`. `UsageError` is a `ValueError`: wrong settings or data.
`CheckFailedError`: what was checked is wrong. `MachineError`: the machine lacks something. `SandboxUnavailableError`, a `MachineError`:
the sandbox failed, which is never a verdict on a program. `StoppedError`: work was stopped because somebody asked for it.

Long work reports its progress on stderr. No call installs a signal handler, and none ends a process group of torch.distributed that
it has not made.
"""

_MAX_DEFAULT_CHARS = 24
_MAX_LINE_CHARS = 100


def signature(name: str, value: Any) -> str:
    """Write a signature as in the source; defaults that are long or made anew are left out."""
    parameters = []
    star = False
    for parameter in inspect.signature(value).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parameters.append("*")
            star = True
        default = repr(parameter.default).replace("'", '"')
        written = f"{'**' if parameter.kind is parameter.VAR_KEYWORD else ''}{parameter.name}: {parameter.annotation}"
        if parameter.default is not parameter.empty:
            written += f" = {default if len(default) <= _MAX_DEFAULT_CHARS and not default.startswith('<') else '...'}"
        parameters.append(written)
    head = f"class {name}" if inspect.isclass(value) else f"def {name}"
    end = "" if inspect.isclass(value) else f" -> {inspect.signature(value).return_annotation}"
    line = f"{head}({', '.join(parameters)}){end}"
    return line if len(line) <= _MAX_LINE_CHARS else "\n".join([f"{head}(", *(f"    {p}," for p in parameters), f"){end}"])


def markdown(docstring: str) -> str:
    """Turn a docstring into Markdown: sections become lists, examples become code blocks."""
    parts = []
    for paragraph in re.split(r"\n(?=[A-Z]\w*(?: \([^)]*\))?:\n)", inspect.cleandoc(docstring)):
        title, _, body = paragraph.partition("\n")
        if not title.endswith(":") or not body.startswith("    "):
            parts.append(paragraph.strip())
        elif title == "Example:":
            parts.append(f"```pycon\n{inspect.cleandoc(body)}\n```")
        else:
            entries = (" ".join(entry.split()) for entry in re.split(r"\n(?=\S)", inspect.cleandoc(body)))
            parts.append("\n".join([f"**{title[:-1]}**", "", *(re.sub(r"^([\w, ]*\w)", r"- `\1`", entry) for entry in entries)]))
    return "\n\n".join(parts)


def returned(value: Any) -> str:
    """Describe the dataclass that a function returns, if it returns one."""
    found = get_type_hints(value).get("return") if inspect.isfunction(value) else None
    found = get_origin(found) or found
    if isinstance(found, type) and dataclasses.is_dataclass(found):
        return f"\n\n**Returns** `{found.__name__}`: {markdown(found.__doc__ or '')}"
    return ""


def section(name: str) -> str:
    value = getattr(reflectioncoder, name)
    text, example, code = markdown(value.__doc__).partition("\n\n```pycon")
    return f"## {name}\n\n```python\n{signature(name, value)}\n```\n\n{text}{returned(value)}{example}{code}\n"


def page() -> str:
    names = sorted(reflectioncoder.__all__, key=str.lower)
    contents = "\n".join(f"- [`{name}`](#{name.lower()})" for name in names)
    return "\n".join([INTRODUCTION, contents, "", *map(section, names)])


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(page(), encoding="utf-8")
