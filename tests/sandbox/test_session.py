"""The stateful interpreter of the author."""

import subprocess
import sys

import pytest

from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.session import Session

LIMITS = Limits(wall_s=1.0, cpu_s=20)


def test_state_is_kept_over_fifty_cells():
    with Session(LIMITS, detect_isolation()) as session:
        session.run("total = 0")
        for number in range(48):
            assert session.run(f"total += {number}").status == "ok"
        assert session.run("total").output == f"{sum(range(48))}\n"


def test_tracebacks_are_those_of_cpython(tmp_path):
    program = "def f(x):\n    return 1 / x\n\nassert f(1) == 1\nf(0)\n"
    path = tmp_path / "main.py"
    path.write_text(program)
    expected = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False).stderr
    expected = expected.replace(str(path), "main.py")
    with Session(LIMITS, detect_isolation()) as session:
        result = session.run(program)
    assert (result.status, result.error) == ("failed", "ZeroDivisionError")
    assert result.output == expected


def test_a_syntax_error_shows_the_line_and_no_frames_of_ours():
    with Session(LIMITS, detect_isolation()) as session:
        result = session.run("x = (\n")
    assert result.error == "SyntaxError"
    assert result.output.startswith('  File "main.py", line 1\n')
    assert "session_worker" not in result.output
    assert "ast.py" not in result.output


def test_an_endless_cell_is_interrupted_and_the_state_stays():
    with Session(LIMITS, detect_isolation()) as session:
        session.run("kept = 1")
        result = session.run("while True: pass")
        assert result.status == "timeout"
        assert "longer than 1 seconds" in result.output
        after = session.run("kept")
        assert (after.output, after.restarted) == ("1\n", False)


def test_a_cell_that_cannot_be_interrupted_is_killed_and_the_next_one_says_that_state_is_lost():
    stubborn = "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nkept = 1\nwhile True: pass"
    with Session(LIMITS, detect_isolation()) as session:
        assert session.run(stubborn).status == "timeout"
        after = session.run("kept")
        assert after.restarted
        assert after.error == "NameError"


def test_a_dying_interpreter_is_a_crash_of_the_cell_not_of_the_sandbox():
    with Session(LIMITS, detect_isolation()) as session:
        result = session.run("import os; os._exit(7)")
        assert result.status == "crashed"
        assert "exit code 7" in result.output
        assert session.run("1 + 1").output == "2\n"


def test_exit_print_and_stderr_are_shown_in_order():
    with Session(LIMITS, detect_isolation()) as session:
        result = session.run("import sys\nprint('a')\nprint('b', file=sys.stderr)\nsys.exit('bye')")
    assert result.output.startswith("a\nb\n")
    assert result.output.endswith("SystemExit: bye\n")


def test_output_is_in_order_with_that_of_child_processes_and_of_a_kept_stream():
    with Session(LIMITS, detect_isolation()) as session:
        cell = "import subprocess, sys\nout = sys.stdout\nprint('a')\nsubprocess.run(['echo', 'b'])\nprint('c')"
        assert session.run(cell).output == "a\nb\nc\n"
        assert "kept" in session.run("print('kept', file=out)").output


@pytest.mark.parametrize("name", ["my error", "", "1", "a\\nb", "é"])
def test_an_error_may_have_any_name(name):
    with Session(LIMITS, detect_isolation()) as session:
        result = session.run(f"raise type('{name}', (Exception,), {{}})('said')")
        assert (result.status, result.error) == ("failed", name if name.isidentifier() else "Exception")
        assert "said" in result.output
        assert not session.run("1").restarted


def test_output_is_capped_with_its_true_length():
    with Session(Limits(wall_s=5, output_bytes=1000), detect_isolation()) as session:
        output = session.run("print('x' * 50_000)").output
    assert len(output) < 1200
    assert "49001 bytes left out" in output


@pytest.mark.parametrize(
    "program",
    [
        "def f(n):\n    return f(n + 1)\n\nf(0)\n",
        "def depth(n):\n    try:\n        return depth(n + 1)\n    except RecursionError:\n        return n\n\nassert depth(0) == -1\n",
        "try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('b') from error\n",
        "class A:\n    def __call__(self):\n        assert self is None, 'long\\nmessage'\n\nA()()\n",
        "exec('1 / 0')\n",
        "def g():\n    yield 1\n    raise StopIteration\n\nlist(g())\n",
        "raise ExceptionGroup('many', [ValueError(1), TypeError('é')])\n",
        "def first(values):\n    return values[0]\n\nprint(first([]))",  # the last line ends without a line break
        "def first(values):\n    return values[0]\n\nfor values in ([1], []):\n    first(values)",
    ],
)
def test_tracebacks_are_those_of_cpython_for(program, tmp_path):
    (tmp_path / "main.py").write_text(program)
    expected = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False).stderr
    with Session(LIMITS, detect_isolation()) as session:
        assert session.run(program).output == expected.replace(str(tmp_path / "main.py"), "main.py")


def test_random_numbers_go_on_over_cells_as_in_one_process():
    program = "import random\nrandom.seed(7)", "first = random.random()", "print(first, random.random())"
    expected = subprocess.run([sys.executable, "-c", "\n".join(program)], capture_output=True, text=True, check=True).stdout
    with Session(LIMITS, detect_isolation()) as session:
        assert [session.run(cell).status for cell in program[:2]] == ["ok", "ok"]
        assert session.run(program[2]).output == expected


def test_files_are_there_for_later_cells_and_a_cell_finds_them_as_the_one_before_has_left_them():
    with Session(LIMITS, detect_isolation()) as session:
        session.run("import os, pathlib\npathlib.Path('a').write_text('1')")
        for number in range(6):
            result = session.run(
                "with open('a', 'a') as handle: handle.write('1')\n"
                f"os.mkdir('folder{number}')\nos.symlink('a', 'link{number}')\n"
                "assert os.path.getsize('a') == len(os.listdir()) // 2 + 1\nprint(os.path.getsize('a'))"
            )
            assert (result.status, result.output) == ("ok", f"{number + 2}\n")


@pytest.mark.parametrize(
    ("first", "second", "output", "third"),
    [
        ("open('d', 'w').write('1\\n2\\n')\nf = open('d')", "s = 0\nfor line in f: s += int(line)\nprint(s)", "3\n", "assert s == 3"),
        ("f = open('d', 'w+')", "f.write('a')\nf.flush()\nprint(f.tell())", "1\n", "f.seek(0)\nassert f.read() == 'a'"),
        ("f = open('d', 'a+b', 0)", "f.write(b'a')\nprint(f.tell())", "1\n", "f.seek(0)\nassert f.read() == b'a'"),
        ("import tempfile\nf = tempfile.TemporaryFile('w+')",
         "f.write('a')\nf.flush()\nprint(f.tell())", "1\n", "f.seek(0)\nassert f.read() == 'a'"),
        ("import mmap\nm = mmap.mmap(-1, 10)", "m[0] += 1\nprint(m[0])", "1\n", "assert m[0] == 1"),
        ("import os\nr, w = os.pipe()\nn = os.write(w, b'hello')", "print(os.read(r, 2))", "b'he'\n", "assert os.read(r, 9) == b'llo'"),
        ("import subprocess\np = subprocess.Popen(['cat'])", "p.kill()\nprint(1)", "1\n", "assert p"),
        ("import sqlite3\nc = sqlite3.connect('a.db')\nn = c.execute('create table t(x)')\nc.commit()",
         "n = c.execute('insert into t values(1)')\nc.commit()\nprint(c.execute('select count(*) from t').fetchall())", "[(1,)]\n",
         "assert c.execute('select count(*) from t').fetchall() == [(1,)]"),
    ],
)  # fmt: skip
def test_what_a_cell_leaves_open_is_used_once_by_the_next_one(first, second, output, third):
    for _ in range(3):  # which run comes first is drawn
        with Session(LIMITS, detect_isolation()) as session:
            assert session.run(first).status == "ok"
            assert session.run(second).output == output
            assert session.run(third).status == "ok"


def test_a_cell_that_leaves_threads_says_that_they_end():
    with Session(LIMITS, detect_isolation()) as session:
        kept = session.run(
            "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\nprint(list(pool.map(abs, [-1])))"
        )
        assert kept.output.startswith("[1]\n[1 thread of this cell still running: ended with it")
        closed = session.run("with ThreadPoolExecutor(1) as other:\n    print(list(other.map(abs, [-1])))")
        assert (closed.status, closed.output) == ("ok", "[1]\n")


def test_names_of_a_cell_that_fails_half_way_stay():
    with Session(LIMITS, detect_isolation()) as session:
        for number in range(4):
            assert session.run(f"a = {number}\nraise KeyError").error == "KeyError"
            assert session.run("a").output == f"{number}\n"


def test_a_cell_that_does_not_repeat_itself_is_no_reason_to_lose_a_session():
    with Session(LIMITS, detect_isolation()) as session:
        session.run("import itertools, os, time\ncounter = itertools.count()\ndrawn = iter([3, 4, 5])")
        for number in range(3):
            assert session.run(f"assert next(counter) == {number}").status == "ok"
            assert session.run(f"assert next(drawn) == {number + 3}, 'no'").status == "ok"
        assert session.run("assert os.urandom(8) != os.urandom(8)\nassert time.time() > 1").status == "ok"


@pytest.mark.parametrize(
    "cell",
    [
        "assert (x := 3) == 3\nassert x == 3",
        "assert(f(1) == 2)",
        "assert (\n    f(1)\n    == 2\n), 'a message'",
        "assert f(1) == 2 and f(2) == 3",
        "assert 'é' == 'é' == \"é\"; assert f(1) == 2 # é",
        "assert f",
        "assert not f(-1)",
        "assert [f(n) for n in range(3)] == [1, 2, 3]",
        "assert {'a': f(1)} == {'a': 2}",
        "assert (f(1), 'x') == (2, 'x')",
        "assert f(1.5) == 2.5\nassert f(10 ** 400) == 10 ** 400 + 1",
        "assert str(f(1)) == '''2'''\nassert 'a\\nb' == '''a\nb'''",
        "assert f(True) is not None",
        "assert f(1) != 3 or 1 / 0",
        "def test():\n    assert f(1) == 2\n\ntest()",
        "for n in range(3):\n    assert f(n) == n + 1",
        "if True:\n  assert f(1) == 2\nelse:\n  assert f(1) == 5 # never",
        "async def g(): return 2\nimport asyncio\nassert asyncio.run(g()) == f(1)",
        "try:\n    assert f(1) == 3\nexcept AssertionError:\n    pass",
        "",
        "# nothing",
        "assert f(1) == 2\\\n  ",
        "f(1)\n",
        "x = '''\nassert 1 == 2\n'''",
        "class A:\n    assert f(1) == 2\n    def g(self): return 1",
        "print('a' * 10**5)\nassert f(1) == 2",
        "if 1:\n\tassert f(1) == 2",
        "from __future__ import annotations\nassert f(1) == 2",
        f"x = 0x{'f' * 5000}\nassert x == 0x{'f' * 5000}",
        "x = 1\rassert x == 1\r\nassert x == 1\n\rassert x == 1",
        "class Near(int):\n    def __eq__(self, other): return abs(int(self) - other) < 100\nassert Near(5) == 5",
    ],
)
def test_a_cell_that_is_right_passes_whatever_it_is_made_of(cell):
    with Session(LIMITS, detect_isolation()) as session:
        session.run("def f(x):\n    return x + 1")
        for _ in range(3):
            result = session.run(cell)
            assert result.status == "ok", result
