"""The stateful interpreter of the author."""

import subprocess
import sys

from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.session import Session

LIMITS = Limits(wall_s=1.0, cpu_s=20)


def test_state_is_kept_over_fifty_cells():
    with Session(LIMITS) as session:
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
    with Session(LIMITS) as session:
        result = session.run(program)
    assert (result.status, result.error) == ("failed", "ZeroDivisionError")
    assert result.output == expected


def test_a_syntax_error_shows_the_line_and_no_frames_of_ours():
    with Session(LIMITS) as session:
        result = session.run("x = (\n")
    assert result.error == "SyntaxError"
    assert result.output.startswith('  File "main.py", line 1\n')
    assert "session_worker" not in result.output
    assert "ast.py" not in result.output


def test_an_endless_cell_is_interrupted_and_the_state_stays():
    with Session(LIMITS) as session:
        session.run("kept = 1")
        result = session.run("while True: pass")
        assert result.status == "timeout"
        assert "longer than 1 seconds" in result.output
        after = session.run("kept")
        assert (after.output, after.restarted) == ("1\n", False)


def test_a_cell_that_cannot_be_interrupted_is_killed_and_the_next_one_says_that_state_is_lost():
    stubborn = "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nkept = 1\nwhile True: pass"
    with Session(LIMITS) as session:
        assert session.run(stubborn).status == "timeout"
        after = session.run("kept")
        assert after.restarted
        assert after.error == "NameError"


def test_a_dying_interpreter_is_a_crash_of_the_cell_not_of_the_sandbox():
    with Session(LIMITS) as session:
        result = session.run("import os; os._exit(7)")
        assert result.status == "crashed"
        assert "exit code 7" in result.output
        assert session.run("1 + 1").output == "2\n"


def test_exit_print_and_stderr_are_shown_in_order():
    with Session(LIMITS) as session:
        result = session.run("import sys\nprint('a')\nprint('b', file=sys.stderr)\nsys.exit('bye')")
    assert result.output.startswith("a\nb\n")
    assert result.output.endswith("SystemExit: bye\n")


def test_output_is_capped_with_its_true_length():
    with Session(Limits(wall_s=5, output_bytes=1000)) as session:
        output = session.run("print('x' * 50_000)").output
    assert len(output) < 1200
    assert "49001 bytes left out" in output
