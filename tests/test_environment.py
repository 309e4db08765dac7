"""What a process inherits from the shell, the machine or the user: signals, caches, how threads wait."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reflectioncoder import environment
from reflectioncoder.paths import cache_dir
from reflectioncoder.waiting import SETTINGS, wait_briefly
from tests.conftest import make_model, make_tokenizer, reflection_sample

BRIEFLY = ("PASSIVE", "3000")  # the policy, and the spins of GNU's library


def ignoring(*numbers):
    def prepare():
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

    return prepare


def test_programs_do_not_inherit_what_the_shell_ignores():
    """As under `nohup … &` in a script."""
    seen = "import signal; print([signal.getsignal(n) for n in (1, 2, 3, 10, 15)], signal.pthread_sigmask(0, []))"
    script = (
        "from reflectioncoder.sandbox.detect import detect_isolation\nfrom reflectioncoder.sandbox.limits import Limits\n"
        "from reflectioncoder.sandbox.process import run_python\n"
        f"print(run_python({seen!r}, Limits(), detect_isolation()).stdout)"
    )
    shown = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, preexec_fn=prepare).stdout
        for prepare in (None, ignoring(signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM))
    ]
    assert "default_int_handler" in shown[0]
    assert re.sub(r" at 0x\w+", "", shown[1]) == re.sub(r" at 0x\w+", "", shown[0])


def test_the_tests_children_can_be_interrupted():
    """Also where the tests themselves were started with SIGINT ignored."""
    script = (
        "import signal, subprocess, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nfrom tests import conftest\n"
        "import types\nconftest.pytest_configure(types.SimpleNamespace(getoption=lambda name: 'all'))\n"
        "child = 'import signal; print(signal.getsignal(2))'\n"
        "print(subprocess.run([sys.executable, '-c', child], capture_output=True, text=True).stdout)"
    )
    root = Path(__file__).parent.parent
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert "default_int_handler" in told.stdout


def test_the_tests_leave_the_user_s_caches_alone(tmp_path):
    home = Path(os.path.expanduser("~"))
    for place in (cache_dir(), *(Path(os.environ[name]) for name in ("XDG_CACHE_HOME", "HF_HOME", "TORCHINDUCTOR_CACHE_DIR"))):
        assert not place.is_relative_to(home / ".cache")
    child = "from reflectioncoder.paths import cache_dir; print(cache_dir())"
    assert subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout.strip() == str(cache_dir())


def test_a_driver_that_cannot_be_read_tells_no_gpu(tmp_path, monkeypatch):
    (tmp_path / "0000:17:00.0" / "information").mkdir(parents=True)  # as a file that gives an error when it is read
    monkeypatch.setattr(environment, "_NVIDIA_GPUS", tmp_path)
    assert environment.environment()["gpus"] == []


# --- how OpenMP's threads wait ----------------------------------------------------------------------------------------------


def openmp_says(argv, **user):
    """What the OpenMP library that torch has loaded says of itself, once for each process that loaded it."""
    env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    told = subprocess.run(argv, capture_output=True, text=True, check=True, env={**env, "OMP_DISPLAY_ENV": "VERBOSE", **user})
    found = [
        dict(re.findall(r"(\w+) = '([^']*)'", block))
        for block in re.findall(
            r"OPENMP DISPLAY ENVIRONMENT BEGIN(.*?)OPENMP DISPLAY ENVIRONMENT END", told.stdout + told.stderr, re.DOTALL
        )
    ]
    if not found:
        pytest.skip("this torch has no OpenMP library that tells its settings")
    return [(said["OMP_WAIT_POLICY"], said.get("GOMP_SPINCOUNT")) for said in found]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from reflectioncoder.data.files import write_jsonl

    folder = tmp_path_factory.mktemp("model")
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    write_jsonl(folder / "samples.jsonl", [reflection_sample(n).to_json() for n in range(2)])
    (folder / "r.yaml").write_text(
        f"name: r\nmodel: {{name: {folder}/model, device: cpu}}\ntrain: {{reflection_data: [{folder}/samples.jsonl], epochs: 1}}\n"
        'evaluate: {benchmarks: ["bundled/seen:1"]}\ngenerate: {max_new_tokens: 4}\nbuild: {problems: ["bundled:js"]}\n'
    )
    return folder


def command(*argv):
    return [sys.executable, "-m", "reflectioncoder", *argv]


@pytest.mark.long
@pytest.mark.parametrize("name", ["doctor", "train", pytest.param("generate", marks=pytest.mark.slow), "evaluate"])
def test_threads_wait_briefly_in_every_command_that_loads_torch(model, tmp_path, name):
    on = ["--benchmark", "bundled/seen:1", "--output", str(tmp_path / "out"), "--max-new-tokens", "4"]
    argv = {
        "doctor": ["doctor"],
        "train": ["train", str(model / "r.yaml"), "--runs-dir", str(tmp_path)],
        "generate": ["generate", str(model / "model"), *on],
        "evaluate": ["evaluate", str(model / "model"), *on],
    }[name]
    assert set(openmp_says(command(*argv))) == {BRIEFLY}


@pytest.mark.long
def test_ranks_of_torchrun_wait_briefly():
    argv = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "reflectioncoder", "doctor", "-q"]
    assert openmp_says(argv).count(BRIEFLY) == 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ("ACTIVE", None)),
        ({"GOMP_SPINCOUNT": "1234"}, (None, "1234")),
        ({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "77"}, ("PASSIVE", "77")),
    ],
)
def test_what_the_user_says_is_kept(user, expected):
    (found,) = set(openmp_says(command("doctor"), **user))
    assert all(wanted in (None, value) for wanted, value in zip(expected, found, strict=True))


@pytest.mark.parametrize("name", SETTINGS)
def test_any_setting_of_the_user_s_is_enough(monkeypatch, name):
    for other in SETTINGS:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "7")
    wait_briefly()
    assert [os.environ.get(other) for other in SETTINGS] == ["7" if other == name else None for other in SETTINGS]


def test_nothing_loads_torch_before_the_command_line_is_read():
    script = (
        "import sys\nfrom reflectioncoder import __main__, cli\nassert 'torch' not in sys.modules\n"
        "import os\nassert 'OMP_WAIT_POLICY' not in os.environ\ncli.main(['recipes', 'list'])\n"
        "assert (os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT']) == ('PASSIVE', '3000')"
    )
    env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, env=env)
