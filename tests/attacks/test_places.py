"""Where programs may read and write, and what they may import, wherever the project and its data lie: the same at every tier.

Expected values and benchmark data stay secret below /usr and inside of the standard library too.
"""

import subprocess
import sysconfig
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.judges.evalplus.world import ABSENT_NAMES
from reflectioncoder.sandbox import readable
from reflectioncoder.sandbox.asserted import run_tests
from reflectioncoder.sandbox.detect import probe
from reflectioncoder.sandbox.forkserver import SERVERS
from reflectioncoder.sandbox.functions import Calls, call
from reflectioncoder.sandbox.process import run_python
from tests.attacks.conftest import LIMITS, ROOT, assert_lost, attempt

ROOMY = replace(LIMITS, cpu_s=30, wall_s=30, memory_bytes=2**30)


@pytest.fixture(params=["/usr/share", "/usr/local", sysconfig.get_path("stdlib")])
def visible_folder(request):
    """A new folder at a place that programs may read, with a file for everybody."""
    try:
        folder = Path(tempfile.mkdtemp(dir=request.param))
    except OSError:
        pytest.skip(f"{request.param} cannot be written")
    folder.chmod(0o755)
    try:
        (folder / "inner").mkdir()
        (folder / "inner" / "secret").write_text("secret")
        SERVERS.close()  # those that other tests have left know nothing of the folder, and Landlock shows only what a server knows
        yield folder
    finally:
        SERVERS.close()
        subprocess.run(["rm", "-rf", str(folder)], check=False)


@pytest.fixture
def forgetting(monkeypatch):
    """What is registered in a test is forgotten after it."""
    monkeypatch.setattr(readable, "_secret", readable._secret)
    monkeypatch.setattr(readable, "_shared", readable._shared)


_READ = """
for action in (
    lambda: open(folder + "/inner/secret").read(), lambda: os.listdir(folder)[0], lambda: os.listdir(folder + "/inner")[0],
    lambda: open(f"/proc/self/root{folder}/inner/secret").read(),
    lambda: os.read(os.open("secret", os.O_RDONLY, dir_fd=os.open(folder + "/inner", os.O_PATH)), 9),
):
    try: return action()
    except (OSError, IndexError) as error: last = error
raise OSError(errno.EACCES, str(last))
"""


def use_as_cache(folder, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(folder))


def use_as_data(folder, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_DATA", str(folder))


def use_as_data_dir(folder, monkeypatch):
    load_benchmark("bundled/seen", str(folder))


def use_by_a_link(folder, monkeypatch):
    link = Path(tempfile.mkdtemp()) / "link"
    link.symlink_to(folder)
    monkeypatch.setenv("REFLECTIONCODER_DATA", str(link))


def use_below(folder, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(folder / "inner"))


USES = {"cache": use_as_cache, "data": use_as_data, "data-dir": use_as_data_dir, "link": use_by_a_link}


@pytest.mark.parametrize("use", USES)
def test_a_program_cannot_read_data_of_ours(use, visible_folder, isolation, monkeypatch, forgetting):
    given = {"folder": str(visible_folder)}
    assert attempt(_READ, isolation, given).startswith("won ")  # the control: any other folder there may be read
    USES[use](visible_folder, monkeypatch)
    assert_lost(attempt(_READ, isolation, given))


def test_a_cache_that_is_made_later_cannot_be_read(visible_folder, isolation, monkeypatch):
    """Servers start before the first expected values are stored."""
    cache = visible_folder / "cache"
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(cache))
    assert run_python("print(1)", LIMITS, isolation).status == "ok"
    (cache / "expected").mkdir(parents=True)
    (cache / "expected" / "values").write_text("secret")
    assert_lost(attempt("return open(path).read()", isolation, {"path": str(cache / "expected" / "values")}))


def test_the_probe_looks_for_data_of_ours(visible_folder, isolation, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(visible_folder))
    assert probe(isolation) is None
    SERVERS.close()
    monkeypatch.setattr(readable, "_hidden_folders", lambda *_: set())
    readable._readable_paths.cache_clear()
    assert "data that answers are compared with" in (probe(isolation) or "")
    readable._readable_paths.cache_clear()
    SERVERS.close()


def test_data_where_programs_find_their_interpreter_is_refused(monkeypatch):
    for folder in (sysconfig.get_path("stdlib"), "/usr", "/usr/lib", "/usr/bin"):
        monkeypatch.setenv("REFLECTIONCODER_DATA", folder)
        with pytest.raises(UsageError, match="benchmark data"):
            readable.readable_paths()
    monkeypatch.setenv("REFLECTIONCODER_DATA", "/")  # of it nothing is seen but what is bound
    readable.readable_paths()


# Temporary files


TEMPORARY = {
    "a file": "with tempfile.TemporaryFile() as f: f.write(b'x'); f.seek(0); result = f.read() == b'x'",
    "a file with a name": "with tempfile.NamedTemporaryFile('w+') as f: f.write('x'); f.seek(0); result = f.read() == 'x'",
    "a file that is kept": "f = tempfile.NamedTemporaryFile(delete=False); f.write(b'x'); f.close()\n"
    "    result = io.open(f.name).read() == 'x'",
    "mkstemp": "fd, name = tempfile.mkstemp(); result = io.open(fd, 'w').write('x') == 1",
    "mkdtemp": "result = io.open(tempfile.mkdtemp() + '/x', 'w').write('x') == 1",
    "a spooled file": "with tempfile.SpooledTemporaryFile(10) as f: f.write(b'x' * 99); f.seek(0); result = len(f.read()) == 99",
    "the place": "result = tempfile.gettempdir() == os.environ['TMPDIR']",
}  # fmt: skip


@pytest.mark.parametrize("absent", [ABSENT_NAMES, ()], ids=["as EvalPlus has it", "plain"])
@pytest.mark.parametrize("what", TEMPORARY)
def test_temporary_files_work(what, absent, isolation):
    source = f"import io, os, tempfile\ndef f():\n    {TEMPORARY[what]}\n    return result\n"
    assert answer(source, isolation, absent) == ("V", b"T")
    assert run_python(f"{source}print(f())", ROOMY, isolation).stdout == "True\n"


def answer(source, isolation, absent=ABSENT_NAMES):
    """The frame of the answer of `f()`."""
    frames = []
    calls = Calls(source, "f", b"[\x01\x00\x00\x00[\x00\x00\x00\x00", absent_names=absent)
    call(calls, ROOMY, isolation, lambda *frame: frames.append(frame) or len(frames) < 2, lambda _: 30.0)
    return frames[-1]


@pytest.fixture(params=["elsewhere", "below /tmp"])
def installed(request, forgetting):
    """Where something that programs read lies: what is installed or built there is bound into their world."""
    if request.param == "elsewhere":
        yield None
        return
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    (folder / "inner").mkdir()
    (folder / "inner" / "file").write_text("shared")
    readable.share(folder)
    try:
        yield folder
    finally:
        SERVERS.close()
        subprocess.run(["rm", "-rf", str(folder)], check=False)


def test_a_program_may_write_to_tmp(installed, hidden_world):
    source = """
import os
with open("/tmp/x", "w") as handle: handle.write("x" * 1000)
os.mkdir("/tmp/y"); os.rename("/tmp/x", "/tmp/y/x"); os.symlink("y/x", "/tmp/z")
print(os.path.getsize("/tmp/z"), os.getcwd(), set(os.listdir()) - {"y", "z"})
"""
    result = run_python(source, LIMITS, hidden_world)
    assert (result.status, result.stdout) == ("ok", "1000 /box/work {'main.py'}\n"), result.stderr
    assert run_python("import os; print(os.path.exists('/tmp/y'))", LIMITS, hidden_world).stdout == "False\n"


def test_what_is_installed_below_tmp_can_be_read_and_not_changed(hidden_world, forgetting):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    (folder / "file").write_text("shared")
    (folder / "file").chmod(0o666)
    readable.share(folder)
    body = """
    assert open(folder + "/file").read() == "shared"
    for action in (
        lambda: open(folder + "/file", "w"), lambda: open(folder + "/new", "w"), lambda: os.unlink(folder + "/file"),
        lambda: os.chmod(folder, 0o700), lambda: os.rename(folder, "/tmp/moved"), lambda: os.utime(folder + "/file", (1, 1)),
        lambda: os.link(folder + "/file", "/tmp/link"), lambda: os.rmdir(folder),
        lambda: open("/box/below-tmp" + folder[4:] + "/file", "w"),
    ):
        try: action()
        except OSError as error: last = error
        else: return "changed"
    raise last
    """
    try:
        assert_lost(attempt(body, hidden_world, {"folder": str(folder)}))
        assert (folder / "file").read_text() == "shared"
        assert [path.name for path in folder.iterdir()] == ["file"]
    finally:
        SERVERS.close()
        subprocess.run(["rm", "-rf", str(folder)], check=False)


def test_the_disk_s_limit_holds_for_tmp_and_the_own_directory_together(installed, hidden_world):
    source = """
import errno
written = 0
try:
    for n in range(100):
        for place in ("/tmp/", ""):
            with open(f"{place}file{n}-{len(place)}", "wb") as handle: handle.write(bytes(2**20)); handle.flush()
            written += 1
except OSError as error: print(written, errno.errorcode[error.errno])
"""
    result = run_python(source, LIMITS, hidden_world)
    count, error = result.stdout.split()
    assert error == "ENOSPC"
    assert int(count) <= LIMITS.disk_bytes / 2**20


# Packages


PACKAGES = (
    "numpy", "pandas", "sympy", "mpmath", "networkx", "sortedcontainers", "regex", "dateutil", "more_itertools", "scipy", "sklearn",
)  # fmt: skip
WAYS = {
    "import": "import {name} as module",
    "import_module": "import importlib; module = importlib.import_module('{begin}' + '{end}')",
    "__import__": "module = __import__('{begin}' + '{end}')",
}


def importing(name, way):
    return WAYS[way].format(name=name, begin=name[:2], end=name[2:])


def installed_packages():
    return {Path(path).name for path in readable.readable_paths().packages}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_can_be_imported(name, way, isolation):
    if name not in installed_packages():
        pytest.skip(f"{name} is not installed")
    source = f"{importing(name, way)}\ndef f(): return module.__name__ == '{name}'\n"
    if name != "sklearn":  # it sets an environment variable when it is imported, which EvalPlus's guard forbids
        assert answer(source, isolation) == ("V", b"T")
    assert run_python(f"{source}print(f())", ROOMY, isolation).stdout == "True\n"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["numpy", "sympy", "networkx"])
def test_a_package_can_be_imported_in_tests_that_are_programs(name, way, isolation):
    """By the solution, by what the tests find defined, and by a test."""
    if name not in installed_packages():
        pytest.skip(f"{name} is not installed")
    source = importing(name, way)
    test = f"{source}\nassert f() == module.__name__ == other.__name__ == '{name}'"
    report = run_tests(f"{source}\ndef f(): return module.__name__\n", "f", f"{source}\nother = module", [test], ROOMY, isolation)
    assert report.rows[-1] == {"done": True}, report
    assert report.rows[0]["passed"], report


@pytest.mark.parametrize("how", ["import pyarrow", "import pip", "import pytest", "import importlib; importlib.import_module('torch')"])
def test_no_other_package_can_be_imported(how, isolation):
    result = run_python(f"import pandas\ntry: {how}\nexcept ImportError: print('lost')", ROOMY, isolation)
    assert result.stdout == "lost\n", result


def test_packages_of_a_warm_server_are_those_of_its_programs(isolation):
    """Where the server itself could read more: what pandas does depends on whether pyarrow is there."""
    result = run_python(
        "import sys, pandas\nprint([m for m in ('pyarrow', 'numexpr', 'bottleneck') if m in sys.modules])", ROOMY, isolation
    )
    assert result.stdout == "[]\n", result


@pytest.mark.skipif(not ROOT, reason="only root's programs have a user of their own")
def test_the_environment_names_the_program_s_own_directory(isolation):
    result = run_python("import os; print(os.environ['TMPDIR'] == os.environ['HOME'] == os.getcwd())", ROOMY, isolation)
    assert result.stdout == "True\n"
