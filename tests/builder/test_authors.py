"""The registry of authors is complete: names, parts, options; an author is told apart by its samples, and not by its name."""

import ast
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from reflectioncoder import builder
from reflectioncoder.builder.author import Author, Traits
from reflectioncoder.builder.authors.registry import AUTHORS, COMMON_OPTIONS, HYBRIDS, author_of
from reflectioncoder.choices import AuthorName
from reflectioncoder.config.declarations import BuildConfig, EndpointConfig

ROWS = {**AUTHORS, **{f"{name}, hybrid": author for name, author in HYBRIDS.items()}}
OPTIONS = {f.name for f in fields(BuildConfig)} - {"endpoint"} | {f"endpoint.{f.name}" for f in fields(EndpointConfig)}
PARTS = ("traits", "check", "names_in_samples", "write")
SOURCES = Path(builder.__file__).parents[1]


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
    traits = {"options": frozenset(), "python_only": True, "needs_reference": True, "varies_one_program": False}
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
