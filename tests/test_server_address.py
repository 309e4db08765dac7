"""No credential of a server reaches a message or a file, whatever it looks like and whoever repeats it."""

import base64
import html
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from reflectioncoder.cli import main
from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.problems import load_problems
from reflectioncoder.errors import ReflectionCoderError, UsageError
from reflectioncoder.generate.backends import asked_model
from reflectioncoder.generate.endpoint import Endpoint
from reflectioncoder.server_address import Secrets, ServerAddress, read_key, scrub_urls, without_credentials
from tests.builder.server import Script
from tests.generate.raw_server import answering, completion, said

PASSWORD, KEY = "p%40ss/w0rd-Zebra+9", "Sk-Quokka_123.45/67+89=="
ENCODED = urllib.parse.quote(PASSWORD, safe="")
PRINTABLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=60)


# --- addresses ----------------------------------------------------------------------------------------------------------


@given(user=PRINTABLE, password=PRINTABLE, key=PRINTABLE, version=st.from_regex(r"[0-9]{4}", fullmatch=True))
def test_credentials_of_a_url_are_taken_and_not_shown(user, password, key, version):
    quoted = [urllib.parse.quote(text, safe="") for text in (user, password, key)]
    url = f"https://{quoted[0]}:{quoted[1]}@host.example:8443/api/v1/?key={quoted[2]}&api-version={version}"
    address = ServerAddress.parse(url)
    assert address.user == (user, password)
    assert address.shown == without_credentials(url) == "https://host.example:8443/api/v1"
    assert address.identity == f"https://host.example:8443/api/v1?api-version={version}"
    assert address.url("x") == f"https://host.example:8443/api/v1/x?key={quoted[2]}&api-version={version}"
    assert {password, key} <= set(address.secrets)
    assert scrub_urls(f"--set a={url} b") == "--set a=https://host.example:8443/api/v1 b"


@pytest.mark.parametrize("text", ["a" * 10**6, "a://" * 250_000, "x " * 500_000])
def test_long_texts_are_scrubbed_in_time_proportional_to_their_length(text):
    assert scrub_urls(text) == text


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/v1", "https://h/v1/", "HTTP://Host", "http://[::1]:80/v1", " http://h/v1\n"])
def test_a_plain_url_is_its_own_identity(url):
    address = ServerAddress.parse(url)
    assert address.identity == url.strip()
    assert address.shown == without_credentials(url)
    assert address.secrets == ()


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8080/v1", "127.0.0.1/v1", "api.example.com/v1", "ftp://h/v1", "file:///etc/passwd", "unix:/x", "http://",
        "http:///v1", "http:/h/v1", "//h/v1", "http://h:99999/v1", "http://h:x/v1", "http://[::1/v1", "http://a b/v1", "http://h/\nx",
        "htp://h", "http//h/v1", "ws://h/v1",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_server_is_refused_at_once(url):
    with pytest.raises(UsageError, match=r"not the URL of a server.*\n.*where: +endpoint.base_url"):
        Endpoint(EndpointConfig(base_url=url, model="m"))
    with pytest.raises(UsageError, match="not the URL of a server"):
        asked_model(ModelConfig("m"), "openai", EndpointConfig(base_url=url))


TORN = ["http://u:{}@h/v1", "{}", "u:{}@h/v1", "htp://u:{}@h", "http://h/v1?key={}", "h?k={}"]


@given(password=PRINTABLE, shape=st.sampled_from(TORN))
def test_a_url_is_never_shown_with_what_may_be_a_password(password, shape):
    """Passwords that are not percent-encoded tear URLs in all ways."""
    assume(password not in "this is not the URL of a server" and not password.isdigit() and "h/v1" not in password)
    try:
        message = ServerAddress.parse(shape.format(password)).shown
    except UsageError as error:
        message = str(error)
    assert password not in message
    assert shape == "{}" or password[:6] not in message


# --- keys ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blanks", ["\n", " ", "\r\n", "\t\n "])
def test_blanks_around_a_key_are_not_sent(blanks, monkeypatch):
    monkeypatch.setenv("MY_KEY", f"{blanks}{KEY}{blanks}")
    with answering(lambda _: completion()) as server:
        endpoint = Endpoint(EndpointConfig(base_url=server.url, model="m", api_key_env="MY_KEY"), trust_env=False)
        endpoint.ask({"messages": [], "max_tokens": 20})
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"


@given(st.text(min_size=1).filter(lambda key: "\0" not in key and not any("\ud800" <= char <= "\udfff" for char in key)))
def test_a_key_is_sent_or_refused_by_the_name_of_its_variable(key):
    os.environ["MY_KEY"] = key
    try:
        if key.strip() and all("!" <= char <= "~" for char in key.strip()):
            assert read_key("MY_KEY") == key.strip()
        else:
            with pytest.raises(ReflectionCoderError, match="the environment variable MY_KEY") as raised:
                read_key("MY_KEY")
            assert len(key) < 5 or key not in str(raised.value)
    finally:
        del os.environ["MY_KEY"]


@pytest.mark.parametrize("key", ["sk-proj-abcdef1234567890", "gsk_AbCdEf", "hf_xyz", "A" * 60])
def test_a_key_in_the_place_of_its_variable_is_not_shown(key):
    with pytest.raises(ReflectionCoderError) as raised:
        read_key(key)
    assert key not in str(raised.value)


# --- what others say ----------------------------------------------------------------------------------------------------


@given(PRINTABLE)
def test_a_secret_is_found_in_all_forms_in_which_it_is_repeated(secret):
    scrub = Secrets([secret]).scrub
    forms = [
        secret, secret.upper(), repr(secret), repr(secret.encode()), json.dumps({"key": secret}), html.escape(secret),
        urllib.parse.quote(secret), urllib.parse.quote_plus(secret), base64.b64encode(secret.encode()).decode(),
    ]  # fmt: skip
    for form in forms:
        scrubbed = scrub(f"<{form}>")
        assert secret not in scrubbed
        assert form == html.escape(secret) or form not in scrubbed


def echo(asked):
    """A server that repeats all that it was sent, in an error."""
    headers = json.dumps(asked.headers)
    words = f"bad request {asked.path} {headers} {headers!r} {urllib.parse.unquote(asked.path)}"
    return said({"error": {"message": words}}, 400 if asked.number % 2 else 500)


def places(url):
    """A base URL with credentials in user, password and query."""
    return url.replace("http://", f"http://someone:{ENCODED}@") + f"?key={urllib.parse.quote(KEY, safe='')}&v=1"


SHAPES = {
    "user and query": (places, ""),
    "variable": (lambda url: url, "MY_KEY"),
    "query and variable": (lambda url: f"{url}?token={ENCODED}", "MY_KEY"),
}


def everything_in(directory):
    return b"\0".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def assert_clean(data):
    data = data if isinstance(data, bytes) else data.encode()
    for secret in (PASSWORD, ENCODED, KEY, urllib.parse.quote(KEY, safe="")):
        assert secret.encode() not in data
    assert base64.b64encode(f"someone:{PASSWORD}".encode()) not in data


@pytest.mark.parametrize("respond", [echo, lambda _: completion("```python\ndef f(): pass\n```")], ids=["echo", "answers"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("command", ["generate", "evaluate", "build"])
def test_no_credential_is_in_a_file_or_message_of_a_command(command, shape, respond, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")
    monkeypatch.setattr("reflectioncoder.generate.endpoint._FIRST_DELAY_S", 0.001)
    with answering(respond) as server:
        make, variable = SHAPES[shape]
        url = make(server.url)
        if command == "build":
            recipe = {"name": "r", "model": {"name": "none"}, "build": {"author": "openai", "endpoint": {"model": "m", "retries": 1}}}
            (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
            settings = ["--set", f"build.endpoint.base_url={url}", "--set", f"build.endpoint.api_key_env='{variable}'"]
            argv = ["build", str(tmp_path / "r.yaml"), "--runs-dir", str(tmp_path / "runs"), "--limit", "3", *settings]
        else:
            argv = [command, "m", "--backend", "openai", "--benchmark", "bundled/seen:2", "--output", str(tmp_path / "out")]
            argv += ["--base-url", url, *(["--api-key-env", variable] if variable else [])]
        code = main([*argv, "--verbose"])
        assert server.asked
        assert code == (0 if respond is not echo and command != "build" else code)
        asked = server.asked[0]
        assert KEY in asked.headers.get("authorization", "") + urllib.parse.unquote(asked.path)
    said_here = capsys.readouterr()
    assert_clean(said_here.out + said_here.err)
    assert_clean(everything_in(tmp_path))


def test_no_credential_is_in_the_configuration_of_a_run(tmp_path, capsys):
    from reflectioncoder.config.loading import load_recipe

    url = places("http://127.0.0.1:9/v1")
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"name": "r", "model": {"name": "none"}, "build": {"endpoint": {"base_url": url}}}))
    for overrides in ([], [f"build.endpoint.base_url={url}"]):
        text = load_recipe(tmp_path / "r.yaml", overrides).to_yaml()
        assert_clean(text)
        assert "base_url: http://127.0.0.1:9/v1 " in text
    for wrong in (f"build.endpoint.base_ur={url}", f"build.endpoint.base_url=[{url}]"):
        assert main(["build", str(tmp_path / "r.yaml"), "--set", wrong]) == 2
        assert_clean(capsys.readouterr().err)


@pytest.mark.parametrize("setting", ["api_key_env=" + KEY, "base_url=" + places("127.0.0.1:9/v1")])
def test_a_run_with_a_credential_in_a_wrong_place_writes_nothing(setting, tmp_path, capsys):
    recipe = {"name": "r", "model": {"name": "none"}, "build": {"author": "openai", "endpoint": {"model": "m"}}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["run", str(tmp_path / "r.yaml"), "--runs-dir", str(tmp_path / "runs"), "--set", f"build.endpoint.{setting}"]) in (2, 3)
    assert_clean(capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


def test_two_credentials_for_one_header_are_one_too_many(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with pytest.raises(UsageError, match="one of them") as raised:
        Endpoint(EndpointConfig(base_url=f"http://someone:{ENCODED}@h/v1", model="m", api_key_env="MY_KEY"))
    assert_clean(str(raised.value))


@pytest.mark.parametrize("proxy", [f"socks9://someone:{ENCODED}@h:1", f"http://someone:{ENCODED}@h:notaport"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ReflectionCoderError, match="HTTP_PROXY") as raised:
        Endpoint(EndpointConfig(base_url="http://h.example/v1", model="m"))
    assert_clean(str(raised.value))


def test_a_model_is_the_same_with_another_password(tmp_path):
    keys = [
        asked_model(ModelConfig("m"), "openai", EndpointConfig(base_url=url)).key
        for url in ("https://h/v1", "https://a:b@h/v1", "https://a:c@h/v1?api_key=d", "https://h/v1?deployment=x")
    ]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_how_to_continue_is_said_without_credentials(tmp_path):
    def interrupt(asked):
        if asked.number == 0:
            child.send_signal(signal.SIGINT)
        time.sleep(5)
        return completion()

    with answering(interrupt) as server:
        argv = ["generate", "m", "--backend", "openai", "--benchmark", "bundled/seen:2", "--output", str(tmp_path / "out")]
        command = [sys.executable, "-m", "reflectioncoder", *argv, "--base-url", places(server.url)]
        child = subprocess.Popen(
            command, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
        )
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"to continue" in err
    assert_clean(err)
    assert_clean(everything_in(tmp_path))


def test_the_scripted_server_of_the_other_tests_is_asked_with_credentials_too(tmp_path, monkeypatch):
    """A whole build behind a password: accepted samples, and nothing of it in the folder."""
    from reflectioncoder.builder.pipeline import build_reflections
    from tests.builder.scripted_recipe import make_recipe
    from tests.builder.server import serving

    monkeypatch.setenv("MY_KEY", KEY)
    problems = load_problems(("bundled:train",))
    with serving(Script(problems)) as url:
        assert build_reflections(make_recipe(places(url)), tmp_path, limit=3)["num_accepted"] >= 1
    assert_clean(everything_in(tmp_path))


def net(secret):
    """As .NET writes it in JSON."""
    return "".join(f"\\u{ord(char):04X}" if char in "+&<>'\"`" else char for char in secret)


def go(secret):
    """As Go writes it in JSON."""
    return "".join(f"\\u{ord(char):04x}" if char in "&<>" else char for char in secret)


@pytest.mark.parametrize(
    "write",
    [
        net, go, lambda s: json.dumps(net(s)), lambda s: net(s).lower(), lambda s: s.replace("'", "&#39;").replace("&e", "&amp;e"),
        lambda s: urllib.parse.quote(urllib.parse.quote(s)), lambda s: json.dumps(json.dumps(s)), lambda s: s.replace("/", "\\/"),
        lambda s: "".join(f"&#{ord(c)};" if not c.isalnum() else c for c in s), lambda s: s.replace("+", "%2b"),
    ],
)  # fmt: skip
def test_a_secret_is_found_in_the_escapes_of_other_libraries(write):
    secret = "sk-A+b/c=d&e<f'9Zx"
    assert Secrets([secret]).scrub(f"bad key: {write(secret)}.") in ("bad key: ***.", 'bad key: "***".', 'bad key: "\\"***\\"".')


@pytest.mark.parametrize(
    "respond",
    [
        lambda asked: completion(f"```python\n# {asked.headers['authorization']}\ndef f(): pass\n```"),
        lambda asked: completion(reason="x" * 270 + asked.headers["authorization"]),
        lambda asked: completion(reason=[asked.headers["authorization"]]),
        lambda asked: (302, {"Location": "http://other.example/" + urllib.parse.quote(asked.headers["authorization"])}, b""),
        lambda asked: (302, {"Location": "http://other.example/?" + asked.headers["authorization"]}, b""),
        lambda asked: (302, {}, asked.headers["authorization"].encode()),
        lambda asked: (400, {}, asked.headers["authorization"].encode("utf-16")),
    ],
    ids=["content", "cut reason", "reason", "redirect", "redirect query", "no location", "UTF-16"],
)
def test_a_key_that_a_server_repeats_anywhere_is_not_kept(respond, tmp_path, capsys, monkeypatch):
    key = "sk-verysecret-12"
    monkeypatch.setenv("ODDLY_NAMED", key)
    monkeypatch.setattr("reflectioncoder.generate.endpoint._FIRST_DELAY_S", 0.001)
    with answering(respond) as server:
        argv = ["generate", "m", "--backend", "openai", "--benchmark", "bundled/seen:1", "--output", str(tmp_path / "out")]
        assert main([*argv, "--base-url", server.url, "--api-key-env", "ODDLY_NAMED", "-v"]) != 70
        assert key in server.asked[0].headers["authorization"]
    shown = capsys.readouterr()
    for text in (shown.out, shown.err, everything_in(tmp_path).decode()):
        assert "sk-very" not in text.replace("\0", "").replace("\\x00", "")


@pytest.mark.parametrize(
    "argv",
    [
        ["generate", "m", "--base", "http://u:hunter2-x@h/v1"],
        ["generate", "m", "--api-key", "hunter2-x"],
        ["export", "x", "--output", "o", "--format", "http://u:hunter2-x@h/v1"],
        ["build", "http:/u:hunter2-x@h/v1"],
        ["score", "http://u:hunter2-x@h/v1", "--benchmark", "bundled/seen:1", "--output", "o"],
        ["http://u:hunter2-x@h/v1"],
        *(
            ["build", "demo", "--set", f"build.endpoint{setting}"]
            for setting in (
                ".api_key=hunter2-x", ".api_key_env=[hunter2-x]", ".api_key_env={a: hunter2-x}", ".extra_body=hunter2-x",
                "={api_key: hunter2-x}", ".base_url={a: hunter2-x}", ".base_url=http:/u:hunter2-x@h",
                ".extra_body={max_tokens: hunter2-x}",
            )
        ),
        ["build", "demo", "--set", "build={endpoint: {api_key: hunter2-x}}"],
    ],
    ids=lambda argv: " ".join(argv)[:60],
)  # fmt: skip
def test_no_message_about_a_command_line_shows_a_credential(argv, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(argv)
    except SystemExit as ended:
        code = ended.code
    assert code in (2, 3)
    assert "hunter2" not in capsys.readouterr().err
