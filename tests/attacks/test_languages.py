"""Programs of other languages have no more rights than Python's, when they run and when they are compiled.

Each is known from outside by its environment, which its children inherit.
"""

import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reflectioncoder.languages import LANGUAGES
from reflectioncoder.sandbox import readable
from reflectioncoder.sandbox.execution import Execution, execute, warm_up
from reflectioncoder.sandbox.forkserver import SERVERS
from reflectioncoder.sandbox.isolation import RLIMITS, Isolation
from reflectioncoder.sandbox.limits import RunResult
from tests.attacks.conftest import ROOT, SOON_S, Host, Watch, new_mark, wait_for
from tests.attacks.languages import ATTACKS, COMPILED_READS, COMPILER_BOMBS, FRAMES, OWN_FILE, program

PROCESSES = LANGUAGES["sh"].toolchain.limits.processes
OUTPUT_BYTES = LANGUAGES["sh"].toolchain.limits.output_bytes
START_S = {"java": 0.5, "js": 0.2}  # what a runtime takes before it gets to the program
ENDED = ("failed", "crashed", "timeout", "memory")

_NO_FILE = "No such file|NoSuchFile|ENOENT"
_NO_RIGHT = "Permission denied|AccessDenied|EACCES|Operation not permitted|EPERM"
REFUSALS = {
    "file": f"{_NO_FILE}|file not found|{_NO_RIGHT}|Read-only file system|EROFS",
    "call": "Operation not permitted|EPERM",
    "signal": "No such process|ESRCH|Operation not permitted|EPERM",
}


@pytest.fixture(scope="module", autouse=True)
def cache():
    """Builds and precompiled headers of this module, in a place that everybody may enter and that is not `/tmp`, the program's own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)
        patch.setenv("REFLECTIONCODER_CACHE", folder)
        patch.setattr(readable, "_shared", frozenset())
        yield
        SERVERS.close()


@pytest.fixture(params=FRAMES)
def language(request):
    return available(request.param)


def available(language: str) -> str:
    if missing := LANGUAGES[language].toolchain.missing():
        pytest.skip(f"{missing} is missing here: {LANGUAGES[language].toolchain.install}")
    return language


def bearers(mark: str) -> list[str]:
    """What on the host has the mark in its environment."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and mark.encode() in Path(f"/proc/{entry}/environ").read_bytes():
                found.append(entry)
        except OSError:  # gone, or of another user
            continue
    return found


def run(
    language: str,
    source: str,
    isolation: Isolation,
    given: dict[str, str] | None = None,
    run_s: float = 5.0,
    mark: str = "",
    **changes: Any,
) -> Execution:
    """Compile a program and run it to its end; nothing of it may be left on the host. `changes`: of the toolchain."""
    mark = mark or new_mark()
    toolchain = LANGUAGES[language].toolchain
    env = {**toolchain.env, "MARK": mark, **(given or {})}
    execution = execute(replace(toolchain, env=env, **changes), source, isolation, run_s=run_s)
    assert bearers(mark) == [], "processes of the program are left on the host"
    return execution


def ran(language: str, attack: str, isolation: Isolation, given: dict[str, str] | None = None, **options: Any) -> RunResult:
    if language not in ATTACKS[attack]:
        pytest.skip(f"no means for it in {LANGUAGES[language].title}")
    execution = run(language, program(language), isolation, {"ATTACK": attack, **(given or {})}, **options)
    assert execution.ran, execution.built
    return execution.ran


def watched(language: str, attack: str, isolation: Isolation, given: dict[str, str] | None = None, **options: Any):
    """The run and what was seen of it; the compiler is not."""
    mark = new_mark()
    if LANGUAGES[language].toolchain.build:
        attempt(language, "list", isolation, ".")
    with Watch(mark, bearers) as watch:
        result = ran(language, attack, isolation, given, mark=mark, **options)
    return result, watch


def last_line(result: RunResult) -> str:
    assert result.status == "ok", result
    return result.stdout.rstrip().rpartition("\n")[2]


def attempt(language: str, attack: str, isolation: Isolation, target: object, **given: str) -> tuple[str, str]:
    """The verdict and all output of an attempt."""
    result = ran(language, attack, isolation, {"TARGET": str(target), **given})
    verdict = last_line(result)
    assert verdict == "won" or verdict.startswith("lost "), result
    return verdict, result.stdout + result.stderr


TARGETS = {
    "read": ("public_secret", "private_secret", "own_secret", "environment"),
    "read over a link": ("own_secret",),
    "write": ("target", "open_folder/planted"),
    "delete": ("open_folder/file",),
    "list": ("open_folder",),
    "call by TCP": ("tcp_port",),
    "call by UDP": ("udp_port",),
    "call by a path": ("stream_path",),
    "signal": ("victim of ours", "victim"),
}


def target_of(host: Host, name: str) -> object:
    places = {
        "environment": f"/proc/{host.given['victims'][-1]}/environ",
        "victim of ours": host.given["victims"][0],
        "victim": host.given["victims"][-1],
    }
    return places.get(name) or host.given.get(name) or host.folder / name


@pytest.mark.sampled(6)
@pytest.mark.parametrize(("attack", "name"), [(attack, name) for attack, names in TARGETS.items() for name in names])
def test_a_program_cannot(attack, name, language, isolation, host):
    verdict, output = attempt(language, attack, isolation, target_of(host, name), SIGNAL="9")
    host.assert_untouched()
    assert re.search(REFUSALS.get(attack.split()[0], REFUSALS["file"]), verdict), verdict
    assert verdict.startswith("lost ")
    assert host.secret not in output
    assert "empty" not in output  # in open_folder


@pytest.mark.sampled(6)
@pytest.mark.parametrize("attack", TARGETS)
def test_without_confinement_the_same_program_can(attack, language, host):
    """With what is ours: without capabilities not even root can read or signal what is another user's."""
    verdict, output = attempt(language, attack, RLIMITS, target_of(host, TARGETS[attack][0].replace("own_", "public_")), SIGNAL="9")
    assert verdict == "won"
    if attack == "list":
        assert "empty" in output
    elif attack.startswith("read"):
        assert host.secret in output
    else:
        wait_for(lambda: attack != "signal" or host.victims["ours"].poll() is not None)
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            host.assert_untouched()


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("attack", "target"),
    [("read", "own file"), ("write", "mine"), ("delete", "own file"), ("list", "."), ("signal", "0")],
    ids=lambda value: value,
)
def test_with_what_is_its_own_the_same_program_can(attack, target, language, isolation):
    target = OWN_FILE[language] if target == "own file" else target
    verdict, output = attempt(language, attack, isolation, target, SIGNAL="0")
    assert verdict == "won"
    assert attack != "list" or OWN_FILE[language] in output


def test_a_program_cannot_change_what_others_are_compiled_with(language, isolation):
    shared = warm_up(LANGUAGES[available("cpp")].toolchain)
    assert shared is not None
    for path in (shared / "all.h.gch", shared / "all.h", shared / "planted"):
        assert re.search(REFUSALS["file"], attempt(language, "write", isolation, path)[0])
    assert {path.name for path in shared.iterdir()} == {"all.h", "all.h.gch"}
    assert b"planted" not in (shared / "all.h").read_bytes()


def test_a_daemon_ends_with_the_program(language, isolation):
    result, watch = watched(language, "daemon", isolation, {"PAUSE": "1.2"})
    assert watch.most_processes >= 2
    assert last_line(result) == "won"
    assert result.duration_s < SOON_S


def test_a_daemon_ends_at_the_time_limit(language, ending):
    result, watch = watched(language, "daemon", ending, {"PAUSE": "60"}, run_s=0.5 + START_S.get(language, 0))
    assert watch.most_processes >= 2
    assert result.status == "timeout"
    assert result.duration_s < SOON_S


def assert_well(isolation):
    """The next program runs, in a directory of its own."""
    result = run("sh", "ls -A", isolation).ran
    assert result is not None
    assert result.stdout == "main.sh\n"


def most_tasks(isolation) -> int:
    """As in `test_bombs.most_processes`."""
    if ROOT and isolation.wrapper:
        pytest.skip("not promised for root: the number of its processes is watched, not limited")
    return (PROCESSES + 2) * (1 if isolation.namespaces else 2)


def test_a_process_bomb_goes_out(language, isolation):
    endless = language not in ("java", "js")
    result, watch = watched(language, "processes", isolation, run_s=0.5 if endless else 5)
    assert re.search("full|EAGAIN|Resource temporarily unavailable", result.stdout) or "started more than" in result.reason, result
    assert not endless or result.status in ENDED
    assert watch.most_processes <= most_tasks(isolation)
    assert result.duration_s < SOON_S
    assert_well(isolation)


def test_a_thread_bomb_goes_out(language, isolation):
    result, watch = watched(language, "threads", isolation)
    refusals = (
        "Resource temporarily unavailable|unable to create native thread|Fatal glibc error: failed to register TLS"
        "|memory allocation of .* failed"  # each thread reserves an arena: now and then the address space is full first
    )
    assert re.search(refusals, result.stdout + result.stderr) or "started more than" in result.reason, result
    assert watch.most_tasks <= most_tasks(isolation)
    assert result.duration_s < SOON_S


def test_a_memory_bomb_goes_out(language, isolation):
    """Where the address space is limited, the program is refused more memory and ends by itself."""
    result, watch = watched(language, "memory", isolation, memory_bytes=2**28)
    refused = {"cpp": "bad_alloc", "rs": "memory allocation of", "sh": "cannot allocate"}.get(language)
    assert result.status == "memory" or (refused and refused in result.stdout + result.stderr), result
    assert 2**25 < watch.most_resident <= 2**29


def test_a_memory_bomb_over_many_processes_goes_out(language, isolation):
    result = ran(language, "memory of children", isolation, memory_bytes=2**28)
    assert result.status == "memory", result


@pytest.mark.parametrize("stream", [1, 2])
def test_a_flood_of_output_is_capped(stream, language, ending):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    result = ran(language, "output", ending, {"STREAM": str(stream)}, run_s=0.5 + START_S.get(language, 0))
    assert result.status == "timeout"
    assert (result.stdout_length, result.stderr_length)[stream - 1] > 2**20
    assert max(len(result.stdout), len(result.stderr)) <= OUTPUT_BYTES + 100
    assert resident() - before < 2**25
    assert result.duration_s < SOON_S


@pytest.mark.parametrize(("files", "mib"), [(1, 80), (6, 60)], ids=["one large file", "many files"])
def test_a_disk_bomb_goes_out(files, mib, language, ending):
    result = ran(language, "disk", ending, {"FILES": str(files), "MIB": str(mib)})
    if files == 1:
        assert re.search("File too large|EFBIG", last_line(result))
    elif ending.namespaces:
        assert re.search("No space left on device|ENOSPC", last_line(result))
    else:
        assert (result.status, result.reason) == ("crashed", "wrote too much to disk")
    assert_well(ending)


READS = [(language, how) for language, ways in COMPILED_READS.items() for how in ways]
BOMBS = [(language, kind) for language, bombs in COMPILER_BOMBS.items() for kind in bombs]


@pytest.mark.parametrize(("language", "how"), READS)
def test_the_compiler_gives_away_no_file_of_the_host(language, how, isolation, host):
    available(language)
    execution = run(language, COMPILED_READS[language][how].replace("TARGET", host.given["own_secret"]), isolation)
    assert execution.ran is None
    assert execution.built is not None
    assert execution.built.status == "failed"
    assert re.search(REFUSALS["file"], execution.built.stderr), execution.built
    assert host.secret not in execution.built.stderr
    host.assert_untouched()


@pytest.mark.parametrize(("language", "how"), READS)
def test_without_confinement_the_compiler_gives_it_away(language, how, host):
    available(language)
    execution = run(language, COMPILED_READS[language][how].replace("TARGET", host.given["public_secret"]), RLIMITS)
    said = [execution.built and execution.built.stderr, execution.ran and execution.ran.stdout]
    assert any(host.secret in text for text in said if text)


@pytest.mark.parametrize(("language", "kind"), BOMBS)
def test_a_bomb_for_the_compiler_goes_out(language, kind, ending):
    available(language)
    mark = new_mark()
    with Watch(mark, bearers) as watch:
        execution = run(language, COMPILER_BOMBS[language][kind], ending, mark=mark, build_s=0.6)
    built = execution.built
    assert execution.ran is None
    assert built is not None
    assert built.status == "timeout" or (built.status == "failed" and re.search("File too large|memory", built.stderr)), built
    assert built.duration_s < SOON_S
    assert len(built.stderr) <= OUTPUT_BYTES + 100
    assert watch.most_resident <= LANGUAGES[language].toolchain.build_limits.memory_bytes * 1.25
    assert_well(ending)
