"""Every language is complete: what building, running, judging and, where there is `braces`, reflecting need of it is there."""

import re
import tomllib
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import pytest

from reflectioncoder import languages
from reflectioncoder.builder.coding import CODINGS
from reflectioncoder.data.problems import BUNDLED_DIR, BUNDLED_LANGUAGES
from reflectioncoder.evaluate.judges.multipl_e.assertions import assertions_of
from reflectioncoder.evaluate.judges.multipl_e.challenge import challenges
from reflectioncoder.evaluate.judges.multipl_e.preflight import EXPECTED, preflight_programs
from reflectioncoder.evaluate.judges.multipl_e.programs import FILES, judging_key, language_of, prefill
from reflectioncoder.languages import CODE_LANGUAGES, LANGUAGES, PYTHON
from reflectioncoder.languages.language import Language, Words

ROOT = Path(__file__).parents[2]
every_language = pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)


def test_every_module_of_the_package_is_registered():
    """A language whose module nobody lists would be there for nobody."""
    folder = files("reflectioncoder.languages")
    modules = {path.name.removesuffix(".py") for path in folder.iterdir() if path.name.endswith(".py")} - {"__init__", "language"}
    defined = {
        id(row): (module, row.name)
        for module in modules
        for row in vars(import_module(f"{languages.__name__}.{module}")).values()
        if isinstance(row, Language)
    }
    assert {module for module, _ in defined.values()} == modules
    assert sorted(name for _, name in defined.values()) == sorted(LANGUAGES)
    assert all(LANGUAGES[row.name] is row for row in LANGUAGES.values())


@every_language
def test_its_programs_can_be_built_and_run(language):
    toolchain = language.toolchain
    assert toolchain.title
    assert toolchain.needs
    assert toolchain.install
    assert toolchain.source
    assert toolchain.run
    assert bool(toolchain.build) == bool(toolchain.outputs)
    made = toolchain.build or toolchain.run
    assert any(toolchain.source in part for part in made), "neither the compiler nor the interpreter is given the program"


@every_language
def test_make_toolchains_gets_what_debian_has_of_it(language):
    recipe = (ROOT / "Makefile").read_text().partition("\ntoolchains:\n")[2].partition("\n\n")[0].split()
    command, _, packages = language.toolchain.install.partition("apt install ")
    assert command or set(packages.split()) <= {*recipe, "python3"}


@every_language
def test_its_answers_have_a_fence(language):
    assert re.fullmatch(r"[a-z+#]+", language.fence)
    assert prefill(language.name, "x") == f"```{language.fence}\nx"
    words = [word for other in LANGUAGES.values() for word in {other.fence, *other.other_fences}]
    assert words.count(language.fence) == 1, "two languages have this fence"


@every_language
def test_its_data_files_are_known_by_content(language):
    assert language.multipl_e.files
    for name, file in language.multipl_e.files.items():
        assert language_of(name) == language.name
        assert FILES[name] is file
        assert re.fullmatch(r"humaneval-[\w-]+\.jsonl", file.name)
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert 100 < file.num_tasks <= 164


@every_language
def test_its_verdicts_have_words(language):
    rules = language.multipl_e
    assert rules.syntax_error or language.toolchain.build, "nothing tells a program that is none from one that fails"
    harness = [words for words, _ in rules.harness.failures] + ([rules.harness.fails_with] if rules.harness.fails_with else [])
    assert all(isinstance(words, Words) for words in harness)
    for pattern in (rules.wrong_answer, rules.syntax_error, rules.out_of_memory, *(words.pattern for words in harness)):
        assert pattern is None or not re.search(pattern, ""), "found where nothing is said"
        re.compile(pattern or "")


@every_language
def test_its_preflight_has_five_tasks_and_programs_of_every_kind(language):
    programs = preflight_programs(language.name)
    assert len({program.task for program in programs}) >= 5
    assert {program.kind for program in programs} == {*EXPECTED}


@every_language
def test_the_tests_of_its_preflight_are_read_and_can_be_challenged(language):
    for program in preflight_programs(language.name):
        assert len(assertions_of(program.tests.tests, language)) >= 3
        challenge = next(challenges(program.program, program.tests.tests, language))
        written = challenge.program.removeprefix(program.program)
        assert "REFLECTIONCODER_OUTCOMES" in written
        assert len({*re.findall(r"rc_[0-9a-f]{10}", challenge.program)}) == 1


def test_there_are_no_preflight_programs_of_languages_that_are_not_there():
    folder = files("reflectioncoder.languages") / "preflight_programs"
    named = {path.name: tomllib.loads(path.read_text()) for path in folder.iterdir()}
    assert set(named) == {f"{name}.toml" for name in LANGUAGES}


def test_verdicts_of_two_languages_have_different_keys():
    assert len({judging_key(name) for name in LANGUAGES}) == len(LANGUAGES)


def test_reflections_can_be_built_in_python_and_languages_of_braces():
    assert {*CODE_LANGUAGES} == {*CODINGS} == {PYTHON.name} | {name for name, language in LANGUAGES.items() if language.braces}
    assert all(language is LANGUAGES[name] for name, language in CODE_LANGUAGES.items())
    assert all(coding.language is CODE_LANGUAGES[name] for name, coding in CODINGS.items())


def test_the_bundled_problems_are_in_languages_of_reflections():
    assert {*BUNDLED_LANGUAGES} == {*CODE_LANGUAGES} - {PYTHON.name}
    assert all((BUNDLED_DIR / f"{name}.jsonl").exists() for name in BUNDLED_LANGUAGES)


@every_language
def test_its_patterns_for_the_builder_hold_what_the_builder_puts_in(language):
    if braces := language.braces:
        assert "{program}" in braces.frame
        assert "{tests}" in braces.frame
        assert "{name}" in braces.function
        for pattern in (
            braces.function.format(name=r"\w+"),
            braces.test,
            braces.outside,
            braces.broken,
            braces.raised,
            braces.asserted,
        ):
            assert not re.search(pattern, "")
        assert re.compile(braces.broken).groups == re.compile(braces.raised).groups == 1
