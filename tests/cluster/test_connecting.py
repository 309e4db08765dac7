"""How Ray is asked to connect: with which address and folder, and what becomes of signals. Ray itself is a stand-in that notes it."""

import os
import signal
import types
from concurrent.futures import Future
from typing import cast

import pytest

from reflectioncoder.cluster import ray_cluster
from reflectioncoder.errors import MachineError, UsageError


class Ray:
    """`during`: is called in the middle of `init`, with the stand-in."""

    def __init__(self, during):
        self.during, self.options, self.environment, self.num_shutdowns = during, {}, {}, 0
        self._private = types.SimpleNamespace(utils=types.SimpleNamespace(), worker=types.SimpleNamespace())
        self._private.worker.print_to_stdstream = print
        self._private.utils.get_entrypoint_name = lambda: "reflectioncoder --set=build.endpoint.extra_body=secret"
        self._private.utils.set_sigterm_handler = lambda handler: signal.signal(signal.SIGTERM, handler)
        self.entrypoint = ""

    def init(self, **options):
        self.options, self.environment = options, dict(os.environ)
        self._private.utils.set_sigterm_handler(lambda number, frame: exit(number))
        self.entrypoint = self._private.utils.get_entrypoint_name()
        self.during(self)

    def shutdown(self):
        self.num_shutdowns += 1


@pytest.fixture
def ray(monkeypatch):
    made = Ray(lambda ray: None)
    monkeypatch.setattr(ray_cluster, "require", lambda *names: made)
    monkeypatch.setattr(ray_cluster, "_require_answer", lambda source, address: None)
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_AUTO_CONNECT", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "RAY_worker_niceness"):
        monkeypatch.setenv(name, os.environ.get(name, "0"))
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return made


def test_auto_is_the_cluster_of_this_machine_whatever_the_environment_says(ray, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "other:6379")
    with ray_cluster.connected("auto"):
        assert ray.options["address"] == "auto"
        assert "RAY_ADDRESS" not in ray.environment
        assert os.environ["RAY_ADDRESS"] == "other:6379"
    with ray_cluster.connected(""):
        assert ray.options["address"] == "other:6379"
    assert ray.environment["RAY_ENABLE_AUTO_CONNECT"] == "0"


def test_a_cluster_of_this_machine_has_a_token_of_its_own_that_nobody_finds_later(ray, monkeypatch):
    tokens = set()
    for _ in range(2):
        with ray_cluster.connected(""):
            tokens.add(ray.environment["RAY_AUTH_TOKEN"])
        assert "RAY_AUTH_TOKEN" not in os.environ
    assert len(tokens) == 2
    with ray_cluster.connected("head:6379"):
        assert "RAY_AUTH_TOKEN" not in ray.environment
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the user's")
    with ray_cluster.connected(""):
        assert ray.environment["RAY_AUTH_TOKEN"] == "the user's"


def test_nothing_that_ray_tells_gets_among_the_results(ray, capsys):
    with ray_cluster.connected("auto"):
        ray._private.worker.print_to_stdstream("(raylet) Raylet is terminated")
    assert ray._private.worker.print_to_stdstream is print
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("warning", "said"),
    [("InvalidAuthToken: missing", "wants its token: .*RAY_AUTH_MODE=token"), ("no answer", "there is no cluster at")],
)
def test_a_cluster_that_refuses_is_told_from_none(warning, said, ray, capfd):
    def fail(ray):
        os.write(2, f"gcs_client: {warning}".encode())
        raise ConnectionError("Failed to connect")

    ray.during = fail
    with pytest.raises(MachineError, match=f"(?s){said}"), ray_cluster.connected("head:6379"):
        pass
    assert "gcs_client" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "The actor died unexpectedly before finishing this task. The actor died because its node has died. Node Id: 8f",
            "the node is gone",
        ),
        ("The actor died unexpectedly before finishing this task. class_name: Node actor_id: 3c", "its process has ended"),
    ],
)
def test_what_ray_says_at_length_is_said_in_a_few_words(text, said):
    assert ray_cluster._why_lost(RuntimeError(text)) == said


def test_the_variable_is_named_where_the_address_is_its(ray, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://one:10001")
    with pytest.raises(UsageError, match=r"where:   \$RAY_ADDRESS"), ray_cluster.connected(""):
        pass
    monkeypatch.setenv("RAY_ADDRESS", "one:6379")
    ray.during = lambda ray: exit(1)
    with pytest.raises(MachineError, match=r"there is no cluster at one:6379.*\n  where:   \$RAY_ADDRESS"), ray_cluster.connected(""):
        pass
    assert ray.num_shutdowns == 1


def test_the_command_line_is_not_told_to_others(ray):
    with ray_cluster.connected("one:6379"):
        assert ray.entrypoint == "reflectioncoder"
    assert "secret" in ray._private.utils.get_entrypoint_name()


def test_a_signal_while_a_cluster_starts_is_an_interrupt_and_ends_what_was_begun(ray):
    ray.during = lambda ray: os.kill(os.getpid(), signal.SIGTERM)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), ray_cluster.connected(""):
            pass
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ray.num_shutdowns == 1
    assert not os.path.exists(ray.options["_temp_dir"])


def test_sockets_get_a_short_folder_where_the_temporary_directory_is_long(ray, tmp_path, monkeypatch):
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with ray_cluster.connected(""):
        assert len(ray.options["_temp_dir"]) <= ray_cluster._MAX_FOLDER_BYTES
    assert not os.path.exists(ray.options["_temp_dir"])
    assert not list(long.iterdir())


def test_closing_many_nodes_has_one_deadline(monkeypatch):
    """None of them answers."""
    monkeypatch.setattr(ray_cluster, "_CLOSE_S", 0.2)
    waited, killed = [], []

    class Silent(ray_cluster.Process):
        def __init__(self):
            pass

        def call(self, method, *arguments):
            return cast("Future", self)

        def result(self, seconds):
            waited.append(seconds)
            now[0] += seconds
            raise TimeoutError

        def kill(self):
            killed.append(self)

    now = [100.0]
    monkeypatch.setattr(ray_cluster.time, "monotonic", lambda: now[0])
    ray_cluster.close_all([Silent() for _ in range(3)])
    assert waited == pytest.approx([0.2, 0, 0])
    assert len(killed) == 3
