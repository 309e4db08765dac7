"""Every table of languages knows every language, so that a new one cannot be half there."""

import tomllib

import pytest

from reflectioncoder.builder.coding import coding_of
from reflectioncoder.data import completions
from reflectioncoder.data.languages import CODE_LANGUAGES
from reflectioncoder.data.problems import BUNDLED_LANGUAGES, Problem
from reflectioncoder.evaluate.judges.multipl_e import harness
from reflectioncoder.evaluate.judges.multipl_e import programs as multipl_e
from reflectioncoder.evaluate.judges.multipl_e.assertions import SYNTAX
from reflectioncoder.evaluate.judges.multipl_e.challenge import RECORDERS
from reflectioncoder.evaluate.judges.multipl_e.preflight import preflight_programs, text_of
from reflectioncoder.sandbox.languages import LANGUAGES

FILES = {name.partition("-")[0] for name in multipl_e.FILES}


def test_toolchains_data_assertions_and_recorders_are_of_the_same_languages():
    assert set(LANGUAGES) == FILES == set(RECORDERS) == set(SYNTAX) | {"py"}
    assert all(language.name == name for name, language in LANGUAGES.items())


def test_every_language_has_words_for_wrong_answers_and_for_syntax_errors():
    assert set(multipl_e._WRONG) | multipl_e._SILENT == set(LANGUAGES)
    assert not set(multipl_e._WRONG) & multipl_e._SILENT
    interpreted = {name for name, language in LANGUAGES.items() if not language.build}
    assert interpreted <= set(multipl_e._SYNTAX) <= set(LANGUAGES)


@pytest.mark.parametrize(
    "table",
    [
        harness._FAILURES,
        harness._OK_UNLESS,
        multipl_e._FENCES,
        completions._AUTHORS_STOPS,
        completions._AUTHORS_REPLACE,
        completions._AUTHORS_CLOSING,
    ],
    ids=["failures", "ok unless", "fences", "the authors' stops", "the authors' replacements", "the authors' closings"],
)
def test_tables_of_exceptions_name_languages_that_there_are(table):
    assert set(table) <= set(LANGUAGES)


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_language_has_programs_with_known_verdicts(name):
    assert tomllib.loads(text_of(name))
    assert {program.kind for program in preflight_programs(name)}


@pytest.mark.parametrize("name", CODE_LANGUAGES)
def test_every_language_of_reflection_data_can_be_run_and_checked(name):
    assert name in LANGUAGES
    assert coding_of(Problem("x", "p", "f", language=name)).language is CODE_LANGUAGES[name]
    assert set(BUNDLED_LANGUAGES) <= set(CODE_LANGUAGES)
