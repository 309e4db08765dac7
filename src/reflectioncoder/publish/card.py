"""Writes the card of an exported data set: its origin, the samples rejected, its content.

Numbers come from the samples and from each build's `build.json`; values missing from both are called unknown or left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

import yaml

from reflectioncoder.builder.reasons import REASONS
from reflectioncoder.builder.text_measures import TextMeasures
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.publish.export import CARD_SIGN, Exported, Source, Tally
from reflectioncoder.publish.formats import FORMATS

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
UNKNOWN = "unknown"
_MEANINGS: dict[str, str] = {reason: meaning for reason, meaning in REASONS.items()}  # noqa: C416 (other builds have other reasons)
_LICENSE_ID = re.compile(r"[a-z0-9][a-z0-9.\-]*")
_FIELDS = {
    "canonical": (
        "`messages` (`role`; `content`: a list of `type`, one of `text`, `code`, `execution`, and `content`), "
        "`type` (`reflection`: two rounds; `generation`: one), `id`, `metadata` (a JSON object as text)"
    ),
    "tool": "`messages` (`role`, `content`, `tool_calls`, `tool_call_id`, `name`), `tools` (JSON schemas), `id`",
    "llama-factory": "`conversations` (`from`, `value`), `tools` (JSON schemas as text), `id`",
    "axolotl": "`messages` (`role`; `content`: a list of `type`, `text`, `train`), `id`",
    "chat": "`messages` (`role`, `content`), `id`",
    "prompt-completion": "`prompt`, `completion` (lists of one message), `id`",
    "preference": "`prompt`, `chosen`, `rejected` (lists of one message), `id`",
}


def card(exported: Exported) -> str:
    """Return the text of README.md, with the front matter that the hub and `datasets` read."""
    sections = [
        _front_matter(exported),
        _introduction(exported),
        f"## Origin\n\n{origin_text(exported.tally)}",
        *[
            f"## How {as_text(source.name)} was built\n\n{build_text(source)}"
            for source in exported.sources
            if source.build is not None
        ],
        _contents(exported),
        *_texts(exported.tally.texts),
        _usage(exported),
        _limits(exported),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(exported: Exported) -> str:
    names = _written(exported)
    licenses = sorted({license_id(license) for _, license in exported.tally.origins})
    value = {
        "license": licenses,
        "language": ["en", "code"],
        "size_categories": [next((name for limit, name in _SIZES if exported.num_samples < limit), "n>10M")],
        "tags": ["code", "self-distillation", "reflection", "execution-feedback"],
        "configs": [
            {"config_name": name, "data_files": f"{name}.jsonl", **({"default": True} if index == 0 else {})}
            for index, name in enumerate(names)
        ],
    }
    return f"---\n{yaml.safe_dump(value, sort_keys=False)}---"


def license_id(license: str | None) -> str:
    """Return a licence as the hub accepts it, as a short identifier; other wordings appear only in the table of origins."""
    if license is None:
        return UNKNOWN
    return license.lower() if _LICENSE_ID.fullmatch(license.lower()) else "other"


def _introduction(exported: Exported) -> str:
    types = exported.tally.types
    title = ", ".join(as_text(source.name) for source in exported.sources)
    first = f", the first {exported.limit} at most" if exported.limit else ""
    return (
        f"# Reflection data: {title}\n\n"
        f"{CARD_SIGN}: {exported.num_samples} samples{first}, {types['reflection']} of the type `reflection` and "
        f"{types['generation']} of the type `generation`.\n\n"
        "A reflection sample is a dialogue of two rounds about one programming problem. In the first the assistant writes a program "
        "with tests, runs it, reads what the interpreter printed, and corrects the program until its tests pass. In the second it "
        "answers the plain request with the final program alone. A generation sample is one request and its answer."
    )


def origin_text(tally: Tally) -> str:
    """Describe who wrote the samples and where their problems come from."""
    writers = [[as_text(author), as_text(model, "not named"), count] for (author, model), count in tally.writers.most_common()]
    origins = [[as_text(source), as_text(license), count] for (source, license), count in tally.origins.most_common()]
    about = [f"The samples are about {len(tally.tasks)} problems."] if tally.tasks else []
    about += [f"{tally.num_without_task} samples do not name their problem."] if tally.num_without_task else []
    return (
        "Who wrote the samples (the author `mutation` works by rules, without a model):\n\n"
        f"{table(['author', 'model', 'samples'], writers)}\n\n"
        f"{' '.join(about)} Where the problems come from, as the samples say it:\n\n"
        f"{table(['source', 'licence', 'samples'], origins)}"
    )


def build_text(source: Source) -> str:
    """Describe how samples were built: author, funnel, decontamination, cost.

    Raises:
        UsageError: build.json was changed since reflectioncoder wrote it.
    """
    with expected_form(f"the build.json of {source.name}"):
        return _build(source)


def _build(source: Source) -> str:
    build = source.build or {}
    rejected: dict[str, int] = build.get("rejected", {})
    rows = [["candidates", build.get("num_candidates", UNKNOWN), ""]]
    rows += [[f"rejected: `{reason}`", count, _MEANINGS.get(reason, "")] for reason, count in rejected.items()]
    rows.append(["accepted", build.get("num_accepted", UNKNOWN), ""])
    parts = [
        f"Author `{build.get('author', UNKNOWN)}`, seed {build.get('seed', UNKNOWN)}, "
        f"{build.get('num_problems', UNKNOWN)} problems, Python {build.get('python', UNKNOWN)}. "
        "Programs ran in a sandbox; every stored output is what the interpreter printed.",
        table(["", "number", ""], rows),
    ]
    parts += [text for text in (_decontamination(build), _cost(build)) if text]
    return "\n\n".join(parts)


def _decontamination(build: dict[str, Any]) -> str:
    found = build.get("decontamination")
    if found is None:
        return "Decontamination: unknown."
    if not found["against"]:
        return "Decontamination: overlap with benchmarks was not looked for; their data was not there."
    rejected = build.get("rejected", {})
    compared = found.get("behaviour")
    of = ", ".join(compared) if isinstance(compared, list) else "the benchmarks"
    num_alike = rejected.get("behaves_like_benchmark", 0)
    behaviour = (
        f"and by what final programs do with the inputs and tests of {of} ({num_alike} left out)."
        if compared
        else "not by what programs do: tasks that were reworded and rewritten are not recognised."
    )
    return (
        f"Decontamination: problems and final programs were compared with {', '.join(found['against'])}, by task id and by "
        f"{found['words']} words in a row ({rejected.get('contaminated', 0)} left out), {behaviour}"
    )


def _cost(build: dict[str, Any]) -> str:
    """Describe the cost of the build, next to its forecast if there is one."""
    fact = {
        "tokens": sum(build.get(name, 0) for name in ("input_tokens", "output_tokens", "lost_tokens")),
        "usd": build.get("usd"),
        "duration_s": build.get("duration_s"),
        "accepted": build.get("num_accepted"),
    }
    forecast, session = build.get("forecast"), build.get("session")
    if forecast and session:
        rows = [[name, _number(forecast.get(name)), _number(session.get(name))] for name in fact]
        of = f"the {forecast['total']:,} dialogues of the last session of the build"
        return f"Forecast against fact, for {of}:\n\n{table(['', 'forecast', 'fact'], rows)}"
    if not fact["tokens"]:
        return ""
    price = f", {fact['usd']:.2f} USD" if fact["usd"] else ""
    return f"The authors' models took {build.get('input_tokens', 0):,} tokens in and {build.get('output_tokens', 0):,} out{price}."


def _contents(exported: Exported) -> str:
    rows, skipped = [], []
    for name, counts in exported.formats.items():
        rows.append([f"`{name}`", counts.num_rows, _spread(counts.num_chars), _spread(counts.num_tokens), FORMATS[name].readers])
        skipped += [f"- `{name}`: {count} samples have no row: {reason}." for reason, count in counts.skipped.items()]
        if counts.unsupported:
            skipped.append(f"- `{name}`: no rows: the tokenizer's chat template cannot show them ({as_text(counts.unsupported)}).")
    parts = [
        "## Contents",
        "Lengths are smallest / median / largest of a row as it was rendered for the check: by the chat template of the tokenizer, "
        "if one was given. Tokens are not counted where the reader brings a template of its own.",
        table(["format", "rows", "characters", "tokens", "for"], rows),
    ]
    if skipped:
        parts.append("\n".join(skipped))
    written = _written(exported)
    parts.append("\n".join(f"- `{name}`: {FORMATS[name].description}. Fields: {_FIELDS[name]}." for name in written))
    if exported.failed_attempts == "context":
        parts.append("No row trains the code of attempts that fail: where it is part of an answer, it has `train: false`.")
    return "\n\n".join(parts)


def _texts(measures: TextMeasures) -> Iterator[str]:
    """Yield the section that characterises the reflection samples, if there are any."""
    if not measures.num_samples:
        return
    texts = measures.to_json()
    share = texts["share_of_10_commonest_patterns"]
    rows = [
        ["lines changed by a repair, smallest / median / largest", _range(texts["lines_changed_per_repair"])],
        ["characters of a sample, smallest / median / largest", _range(texts["chars"])],
        ["words in the texts", f"{texts['num_words']:,}, {texts['num_distinct_words']:,} of them different"],
        ["sentences in the texts", f"{texts['num_sentences']:,}"],
        ["share of the ten commonest sentence patterns", "none" if share is None else f"{share:.1%}"],
    ]
    executions = [[number, count] for number, count in sorted(measures.executions.items())]
    yield (
        "## Reflection samples\n\n"
        f"Programs run in a reflection sample:\n\n{table(['executions', 'samples'], executions)}\n\n"
        "Texts are those between the programs, without code, numbers and quotations. A sentence pattern is a sentence with a "
        f"placeholder for each of these.\n\n{table(['measure', 'value'], rows)}"
    )
    if texts["claims"]["num_samples"]:
        yield _claims(texts["claims"])


def _claims(claims: dict[str, Any]) -> str:
    meanings = {"output": "said to be an output", "expected": "said to be expected", "none": "other values"}
    rows = [
        [meaning, counts["num"], counts["num_shown"], counts["num_unsupported"]]
        for role, meaning in meanings.items()
        for counts in [claims["values"][role]]
    ]
    share = claims["share_of_values_shown"]
    total = "" if share is None else f" Executions show {share:.1%} of all stated values."
    return (
        f"What the texts of the {claims['num_samples']} Python samples state was compared with what stands before it: an execution "
        f"shows it, or the problem or a program has it; otherwise it is unsupported. {claims['num_claims']:,} names, values and pieces "
        f"of code are stated, {claims['num_unsupported']:,} of them unsupported; {claims['num_supported_samples']} samples state "
        f"nothing unsupported.{total}\n\n{table(['values', 'number', 'shown by an execution', 'unsupported'], rows)}"
    )


def _range(spread: dict[str, float] | None) -> str:
    return "none" if spread is None else f"{spread['min']:,} / {spread['median']:,.0f} / {spread['max']:,}"


def _usage(exported: Exported) -> str:
    names = _written(exported)
    text = (
        f'## Use\n\n```python\nfrom datasets import load_dataset\n\nrows = load_dataset("DIRECTORY", "{names[0]}", split="train")\n```'
    )
    if "canonical" in names:
        text += (
            "\n\nTo run every program again and compare what it prints with what is stored:\n\n"
            "```\nreflectioncoder check canonical.jsonl\n```"
        )
    if "axolotl" in names:
        text += (
            "\n\naxolotl, with the loss on what the assistant wrote:\n\n"
            "```yaml\ndatasets:\n  - path: axolotl.jsonl\n    ds_type: json\n    type: chat_template\n"
            '    roles_to_train: ["assistant"]\n```'
        )
    if "llama-factory" in names:
        text += (
            "\n\nLLaMA-Factory, in `dataset_info.json`:\n\n"
            '```json\n"reflection": {"file_name": "llama-factory.jsonl", "formatting": "sharegpt", '
            '"columns": {"messages": "conversations", "tools": "tools"}}\n```'
        )
    return text


def _limits(exported: Exported) -> str:
    limits = [
        "The tests in a dialogue are those that its author wrote or was shown: a program that passes them can be wrong.",
        f"Programs are {_languages(exported)}.",
    ]
    names = _written(exported)
    if "tool" in names:
        limits.append(
            "`tool`: a request follows the last output without a turn of the assistant; templates that forbid this refuse it."
        )
    if "llama-factory" in names:
        limits.append("`llama-factory`: templates of reasoning models can drop what stands in `<think>` before the last turn.")
    if "preference" in names:
        limits.append("`preference`: a rejected program failed the tests of its attempt; these can have been wrong.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _languages(exported: Exported) -> str:
    counts = exported.tally.languages.most_common()
    if len(counts) == 1:
        return counts[0][0]
    return ", ".join(f"{title} ({count} samples)" for title, count in counts)


def _written(exported: Exported) -> list[str]:
    return [name for name, counts in exported.formats.items() if counts.num_rows]


def _spread(lengths: Sequence[int]) -> str:
    return f"{min(lengths):,} / {median(lengths):,.0f} / {max(lengths):,}" if lengths else "not counted"


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def as_text(value: str | None, missing: str = UNKNOWN) -> str:
    """Return a value from a user's file as one line of Markdown, safe inside and outside tables."""
    return missing if value is None else re.sub(r"([\\|`*_<>\[\]#])", r"\\\1", " ".join(str(value).split()))


def table(head: list[str], rows: Iterable[list[Any]]) -> str:
    """Return a Markdown table; cells are not escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
