"""Every table of languages knows every language, so that a new one cannot be half there."""

import tomllib

import pytest
from reflectioncoder.evaluate.witness import WITNESSES

from reflectioncoder.build.coding import coding_of
from reflectioncoder.data.languages import CODE_LANGUAGES
from reflectioncoder.data.problems import BUNDLED_LANGUAGES, Problem
from reflectioncoder.evaluate import harness, multipl_e
from reflectioncoder.evaluate.preflight import preflight_programs, text_of
from reflectioncoder.generate import extract
from reflectioncoder.sandbox.languages import LANGUAGES

FILES = {name.partition("-")[0] for name in multipl_e.FILES}


def test_toolchains_data_and_witnesses_are_of_the_same_languages():
    assert set(LANGUAGES) == FILES == set(WITNESSES)
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
        extract._AUTHORS_STOPS,
        extract._AUTHORS_REPLACE,
        extract._AUTHORS_CLOSING,
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
