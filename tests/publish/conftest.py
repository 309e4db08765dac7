"""Fixtures of several files: a run with a build, its export in all formats, and a tokenizer whose template shows tools."""

import pytest

from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.cli import main
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import bundled_problems
from tests.conftest import make_tokenizer

TOOL_TEMPLATE = (
    "{% if tools %}{{ '<|im_start|>system\nFunctions, one in a line:' }}"
    "{% for tool in tools %}{{ '\n' }}{{ tool | tojson }}{% endfor %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'tool' %}{{ '<output>\n' + message.content + '\n</output>' }}"
    "{% else %}{{ (message.content or '') | trim }}{% endif %}"
    "{% for call in message.tool_calls or [] %}"
    "{{ '\n<call>' + call.function.name + ' ' }}{{ call.function.arguments | tojson }}{{ '</call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Shows tools, calls and outputs; trims what is said."""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run folder with a build by the mutation author."""
    directory = tmp_path_factory.mktemp("runs") / "small"
    problems = bundled_problems("train")[::24]
    path = directory / "problems.jsonl"
    write_jsonl(path, [problem.to_json() for problem in problems])
    config = BuildConfig(problems=(str(path),), samples_per_problem=2, two_slip_share=0.4, max_operator_share=0.5)
    recipe = Recipe("small", ModelConfig("none"), build=config, sandbox=SandboxConfig(workers=2))
    build_reflections(recipe, directory / "build")
    return directory


@pytest.fixture(scope="module")
def tool_tokenizer():
    return make_tokenizer(template=TOOL_TEMPLATE)


@pytest.fixture(scope="module")
def exported_dir(run_dir, tool_tokenizer, tmp_path_factory):
    """All formats, by the command, checked with a template that shows tools."""
    directory = tmp_path_factory.mktemp("export")
    tool_tokenizer.save_pretrained(directory / "tokenizer")
    target = directory / "data"
    assert main(["export", str(run_dir), "--output", str(target), "--tokenizer", str(directory / "tokenizer"), "--verify"]) == 0
    return target
