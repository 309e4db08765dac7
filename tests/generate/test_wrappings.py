"""Right programs of a scripted server in thirty wrappings: `evaluate` and `build` see all of them; answers without one are counted."""

import json
import re
from dataclasses import dataclass, field

import pytest

from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.cli import main
from reflectioncoder.config.building import BuildConfig, EndpointConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import answer_program
from tests.builder.server import Script, serving
from tests.data.wrapped_programs import DRAFT, fenced, indented, quoted

PROBLEMS = bundled_problems("test_seen")
WRAPPINGS = [
    lambda code: fenced(code),
    lambda code: fenced(code).replace("\n", "\r\n"),
    lambda code: f"\ufeff{fenced(code)}",
    lambda code: fenced(code, fence="~~~"),
    lambda code: fenced(code, " python", "~~~~"),
    lambda code: fenced(code, " python"),
    lambda code: fenced(code, "Python3.11"),
    lambda code: fenced(code, "{python}"),
    lambda code: fenced(code, "{.python .numberLines}"),
    lambda code: fenced(code, 'python title="a.py"'),
    lambda code: fenced(code, ""),
    lambda code: fenced(code, "py"),
    lambda code: f"```python\n{code}`````\nThat is it.",
    lambda code: f"```python\n{code}",
    lambda code: f"1. The program:\n\n{indented(fenced(code))}\n2. It is linear.",
    lambda code: f"* So:\n{indented(fenced(code), '  ')}",
    lambda code: quoted(f"So:\n\n{fenced(code)}"),
    lambda code: indented(fenced(code), "  "),
    lambda code: f"So:\n\n{indented(fenced(code), '    ')}",
    lambda code: code,
    lambda code: f"Here's the function.\n\n{code}\n\nIt's linear.",
    lambda code: f"<answer>\n{fenced(code)}</answer>",
    lambda code: f"<think>\nPerhaps\n{fenced(DRAFT)}no\n</think>\n\n{fenced(code)}",
    lambda code: f"Perhaps\n{fenced(code.split(chr(10))[0] + ' return 0', '')}no.</think>{fenced(code)}",
    lambda code: f"<|channel|>analysis<|message|>{fenced(DRAFT)}<|end|><|channel|>final<|message|>{fenced(code)}<|return|>",
    lambda code: f"{fenced('pip install nothing', 'bash')}\n{fenced(code)}",
    lambda code: f"{fenced(code)}For example:\n{fenced('print(1)')}which prints\n{fenced('1', 'output')}",
    lambda code: fenced(f'"""Solution.\n\n```python\nprint(1)\n```\n"""\nfrom __future__ import annotations\n{code}'),
    lambda code: f"The program: ```python\n{code}```",
    lambda code: fenced(code).rstrip() + "<|im_end|>",
]  # fmt: skip


@dataclass
class Wrapped(Script):
    """Answers with the right program of the problem in the wrapping of its number."""

    wrappings: list = field(default_factory=list)

    def reply(self, payload):
        asked = payload["messages"][0]["content"]
        number = next(number for number, problem in enumerate(self.problems) if problem.prompt.strip() in asked)
        return self.wrappings[number % len(self.wrappings)](answer_program(self.problems[number]))


def evaluate(url, output, *options):
    command = ["evaluate", "m", "--backend", "openai", "--base-url", url, "--benchmark", f"bundled/seen:{len(PROBLEMS)}"]
    return main([*command, "--output", str(output), *options])


def test_thirty_programs_in_thirty_wrappings_are_all_seen(tmp_path, capsys):
    problems = [PROBLEMS[number % len(PROBLEMS)] for number in range(len(WRAPPINGS))]
    assert len(WRAPPINGS) == 30
    passed = 0
    for part in range(0, len(WRAPPINGS), len(PROBLEMS)):
        wrappings = WRAPPINGS[part : part + len(PROBLEMS)]
        count = len(wrappings)
        with serving(Wrapped(problems[part : part + count], wrappings=wrappings)) as url:
            assert evaluate(url, tmp_path / str(part), "--limit", str(count)) == 0
        results = json.loads((tmp_path / str(part) / "bundled/seen" / "results.json").read_text())
        passed += results["counts"].get("passed", 0)
        assert results["answers"]["num_without_program"] == 0
    assert passed == len(WRAPPINGS)
    assert "hold no program" not in capsys.readouterr().out


def test_answers_without_a_program_are_counted_and_named(tmp_path, capsys):
    wrappings = [fenced, lambda _: "", lambda _: "I cannot.", lambda _: "<think>hm", lambda _: "```python\nprint(1)\n```"]
    with serving(Wrapped(PROBLEMS[:5], wrappings=wrappings)) as url:
        assert evaluate(url, tmp_path, "--limit", "5") == 0
    answers = json.loads((tmp_path / "bundled/seen" / "results.json").read_text())["answers"]
    assert (answers["num_answers"], answers["num_without_program"], answers["num_empty"], answers["num_refused"]) == (5, 3, 1, 0)
    assert answers["reasons"] == {"fenced": 1, "other_name": 1, "no_code": 1, "unfinished_thought": 1, "empty": 1}
    said = capsys.readouterr().out
    assert "3 of 5 answers hold no program (no_code 1, unfinished_thought 1, empty 1)" in said
    assert "1 of 5 answers hold a program that does not define what was asked for (other_name 1)" in said


@pytest.mark.parametrize("command", ["evaluate", "generate"])
def test_no_program_at_all_is_a_failed_check(command, tmp_path, capsys):
    with serving(Wrapped(PROBLEMS[:3], wrappings=[lambda _: "Sorry, no."])) as url:
        options = ["--backend", "openai", "--base-url", url, "--benchmark", "bundled/seen:3", "--output", str(tmp_path)]
        assert main([command, "m", *options]) == 1
    assert "3 of 3 answers hold no program (no_code 3)" in capsys.readouterr().out


def explained(answer):
    """The answer with an explanation behind its thought."""
    found = re.match(r"(?s)(?:(.*)(</think>|final<\|message\|>))?(.*)", answer)
    assert found is not None
    thought, mark, rest = found.groups()
    return f"{thought or ''}{mark or ''}The function returned None where a value was asserted.\n\n{rest}"


@dataclass
class WrappedDialogue(Wrapped):
    """A first attempt that fails, a second that passes, the final program: each in the wrapping of the problem's number."""

    def reply(self, payload):
        messages = payload["messages"]
        number = next(n for n, problem in enumerate(self.problems) if problem.prompt.strip() in messages[0]["content"])
        problem = self.problems[number]
        program, wrap = answer_program(problem), self.wrappings[number % len(self.wrappings)]
        if "All tests pass" in messages[-1]["content"]:
            return wrap(program)
        tests = "\n".join(problem.tests)
        if len(messages) > 1:
            return explained(wrap(f"{program}{tests}\n"))
        header = program.split("\n")[[line.startswith("def ") for line in program.split("\n")].index(True)]
        return wrap(f"{header}\n    return None\n{tests}\n")


@pytest.mark.long
def test_a_build_sees_the_programs_as_well(tmp_path):
    wrappings = [wrap for wrap in WRAPPINGS if "output" not in wrap("")]  # which nobody printed
    problems = [*PROBLEMS, *bundled_problems("test_unseen")][: len(wrappings)]
    with serving(WrappedDialogue(problems, wrappings=wrappings)) as url:
        endpoint = EndpointConfig(base_url=url, model="scripted", max_in_flight=4)
        path = tmp_path / "problems.jsonl"
        path.write_text("".join(json.dumps(problem.to_json()) + "\n" for problem in problems))
        build = BuildConfig(author="openai", problems=(str(path),), min_samples=0, min_killed_mutants=0.0, endpoint=endpoint)
        summary = build_reflections(Recipe("r", ModelConfig("none"), build=build), tmp_path / "build")
    assert (tmp_path / "build" / "rejected.jsonl").read_text() == ""
    assert summary["num_accepted"] == len(problems)
