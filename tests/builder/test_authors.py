"""The registry of authors is complete: names, parts, options; an author is told apart by its samples, and not by its name."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from reflectioncoder import builder
from reflectioncoder.builder.author import Author, Traits
from reflectioncoder.builder.authors.registry import AUTHORS, COMMON_OPTIONS, HYBRIDS, author_of
from reflectioncoder.choices import AuthorName
from reflectioncoder.config.building import BuildConfig, EndpointConfig
from reflectioncoder.data.samples import read_samples

ROWS = {**AUTHORS, **{f"{name}, hybrid": author for name, author in HYBRIDS.items()}}
OPTIONS = {f.name for f in fields(BuildConfig)} - {"endpoint"} | {f"endpoint.{f.name}" for f in fields(EndpointConfig)}
PARTS = ("traits", "check", "names_in_samples", "write")
SOURCES = Path(builder.__file__).parents[1]
ROOT = Path(__file__).parents[2]


def test_every_author_of_the_configuration_has_a_row_and_every_row_is_one():
    assert set(AUTHORS) == set(get_args(AuthorName))
    assert set(HYBRIDS) < set(AUTHORS)


def test_every_option_is_used_by_some_author_and_every_used_option_exists():
    used = [COMMON_OPTIONS, *(author.traits.options for author in ROWS.values())]
    assert set().union(*used) == OPTIONS


@pytest.mark.parametrize("name", ROWS)
def test_an_author_names_only_what_not_every_build_uses(name):
    assert not ROWS[name].traits.options & COMMON_OPTIONS


@pytest.mark.parametrize("missing", PARTS)
def test_an_author_that_lacks_a_part_cannot_be_made(missing):
    parts = {name: (lambda self, *args: None) for name in PARTS if name != missing}
    with pytest.raises(TypeError, match=missing):
        type("Lacking", (Author,), parts)()
    type("Complete", (Author,), {**parts, missing: lambda self, *args: None})()


@pytest.mark.parametrize("missing", [spec.name for spec in fields(Traits)])
def test_traits_have_no_defaults(missing):
    traits = {"options": frozenset(), "languages": None, "needs_reference": True, "varies_one_program": False}
    traits["heeds_other_problems"] = False
    Traits(**traits)
    del traits[missing]
    with pytest.raises(TypeError, match=missing):
        Traits(**traits)


def test_hybrid_is_another_author_only_where_a_model_is_asked():
    for name in AUTHORS:
        plain, hybrid = author_of(BuildConfig(author=name)), author_of(BuildConfig(author=name, hybrid=True))
        assert (hybrid is plain) == (name not in HYBRIDS)


def names_of_authors_in_comparisons(tree):
    """Names of authors that code compares something with, or looks for in a literal collection."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any("author" in ast.unparse(side) for side in (node.left, *node.comparators)):
            texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            yield from (text for text in texts if text in get_args(AuthorName))


def test_no_code_asks_for_an_author_by_its_name():
    assert list(names_of_authors_in_comparisons(ast.parse("if config.author in ('local', 'vllm'): pass"))) == ["local", "vllm"]
    asked = {str(path): list(names_of_authors_in_comparisons(ast.parse(path.read_text("utf-8")))) for path in SOURCES.rglob("*.py")}
    assert len(asked) > 100
    assert {path: names for path, names in asked.items() if names} == {}


def test_the_author_that_the_page_adds_works(tmp_path):
    """The page's diff applies to a copy of the sources, and a build with it writes samples."""
    page = (ROOT / "docs" / "adding" / "author.md").read_text(encoding="utf-8")
    diff = re.search(r"^```diff\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert diff is not None
    (tmp_path / "author.diff").write_text(diff[1], encoding="utf-8")
    shutil.copytree(SOURCES, tmp_path / "src" / "reflectioncoder", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests" / "builder").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "builder" / "test_options.py", tmp_path / "tests" / "builder")
    subprocess.run(["git", "apply", "author.diff"], cwd=tmp_path, check=True)
    (tmp_path / "r.yaml").write_text("{name: r, model: {name: none}, build: {author: stub}}")
    command = [sys.executable, "-m", "reflectioncoder", "build", "r.yaml", "--runs-dir", ".", "--limit", "3", "--data-dir", "."]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": "src"}, check=True)
    assert json.loads((tmp_path / "r" / "build" / "build.json").read_text())["author"] == "stub"
    samples = list(read_samples(tmp_path / "r" / "build" / "reflections.jsonl"))
    assert len(samples) == 3
    assert all("return None" in sample.messages[1].content[1].content for sample in samples)
