"""What the library leaves alone in the process of whoever calls it."""

import subprocess
import sys

_STATE = """
import os, signal, sys

def state():
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return handlers, mask, os.getpgrp(), os.getsid(0), os.getcwd(), dict(os.environ), sys.stdout, sys.stderr, sys.getrecursionlimit()

before = state()
"""
_CALLS = """
import tempfile
from pathlib import Path
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.score import SampleToScore, Scorer, score_samples
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import run_python
from reflectioncoder.sandbox.session import Session

isolation = detect_isolation()
assert run_python("print(1)", Limits(), isolation).stdout == "1\\n"
assert run_python("while True: pass", Limits(cpu_s=1), isolation).status == "timeout"
with Session(Limits(wall_s=1), isolation) as session:
    assert session.run("while True: pass").status == "timeout"
benchmark = load_benchmark("bundled/seen:1")
with tempfile.TemporaryDirectory() as folder:
    samples = [SampleToScore(benchmark.tasks[0], 0, "raise KeyboardInterrupt")]
    assert len(score_samples(samples, Path(folder) / "samples.jsonl", Scorer(benchmark))) == 1
"""
_END = """
assert state() == before
"""


def test_running_programs_and_scoring_leave_the_caller_s_process_as_it_was():
    """No signal handlers, no other process group, nothing on the terminal; what a program does to itself ends nobody else."""
    script = _STATE + _CALLS + _END
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, start_new_session=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_control_a_handler_that_is_left_is_seen():
    script = f"{_STATE}signal.signal(signal.SIGTERM, lambda *_: None)\n{_END}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr
