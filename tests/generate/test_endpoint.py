"""A server's answers in every shape that servers give them: read, or refused with a message that says what the server said."""

import json
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectioncoder.config.building import EndpointConfig
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.body import request_body
from reflectioncoder.generate.budget import Budget
from reflectioncoder.generate.endpoint import Endpoint, UnansweredError
from reflectioncoder.generate.limiter import EndpointError
from reflectioncoder.generate.reply import NoCompletionError, clean, excerpt, read_reply
from reflectioncoder.progress import Reporter, reporting
from tests.generate.raw_server import answering, completion, said

MOST = (40, 100)
PAYLOAD = {"model": "m", "messages": [{"role": "user", "content": "Write f."}], "max_tokens": 100, "temperature": 0.0, "seed": 1}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.endpoint._FIRST_DELAY_S", 0.001)


def ask(url, payload=PAYLOAD, **settings):
    config = EndpointConfig(base_url=url, model="m", **{"retries": 1, "timeout_s": 5.0, **settings})
    endpoint = Endpoint(config, trust_env=False)
    try:
        return endpoint.ask(request_body(config, payload))
    finally:
        endpoint.close()


def ask_once(answer, **settings):
    """The reply to a server that always answers so."""
    with answering(lambda _: answer) as server:
        return ask(server.url, **settings)


class Bill:
    """An account that keeps what it is told."""

    def __init__(self):
        self.told = []

    def sent(self, input_tokens, output_tokens):
        self.told.append(("sent", input_tokens, output_tokens))

    def answered(self, reply):
        self.told.append(("answered", reply.input_tokens, reply.output_tokens))

    def failed(self, input_tokens, output_tokens):
        self.told.append(("failed", input_tokens, output_tokens))


# --- contents -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "output_text", "text": "a", "annotations": []}], "a"),
        ([{"type": "reasoning", "text": "no"}, {"type": "thinking", "thinking": "no"}, {"type": "text", "text": "yes"}], "yes"),
        (["a", "b"], "ab"),
        ([{"text": "a"}, None, 3, {"type": "text"}, {"type": "text", "text": None}], "a"),
        ([], ""),
        (None, ""),
        ("", ""),
        ("a\ud800b\0c", "a\ufffdb\ufffdc"),
        ("\ud83d\ude00", "\U0001f600"),
    ],
)
def test_the_text_of_a_content_in_any_form(content, text):
    reply = ask_once(completion(content))
    assert (reply.text, reply.finish_reason) == (text, "stop")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, "", []])
def test_an_answer_that_is_all_reasoning_is_empty_and_not_refused(name, content):
    for reason in ("stop", "length"):
        reply = ask_once(completion(content, reason, **{name: "I think and think."}))
        assert (reply.text, reply.finish_reason) == ("", reason)


def test_a_refusal_is_a_refusal():
    assert ask_once(completion(None, refusal="I cannot help with that.")).finish_reason == "refused"
    assert ask_once(completion("half", "content_filter")).text == ""


@pytest.mark.parametrize(
    ("said_by_server", "reason"),
    [
        *((name, "stop") for name in ("eos_token", "end_turn", "STOP", "eos", "stop_sequence", "COMPLETE", "FinishReason.STOP")),
        *((name, "stop") for name in ("FINISH_REASON_STOP", " Stop ", "stop-sequence", None, "")),
        *((name, "length") for name in ("length", "MAX_TOKENS", "max_tokens", "max_output_tokens", "model_length")),
        *((name, "refused") for name in ("SAFETY", "content_filter", "tool_calls", "content-filter", "RECITATION")),
    ],
)
def test_finish_reasons_of_all_servers_are_understood(said_by_server, reason):
    assert ask_once(completion("x", said_by_server)).finish_reason == reason


def test_without_a_finish_reason_the_limit_tells_what_was_cut_off():
    assert ask_once(completion("x", None, {"prompt_tokens": 3, "completion_tokens": 100})).finish_reason == "length"
    body = {"choices": [{"message": {"content": "x"}}]}
    assert ask_once(said(body)).finish_reason == "stop"


@pytest.mark.parametrize("reason", ["abort", "unheard-of", 3, ["stop"], {"type": "stop"}, True])
def test_an_unknown_finish_reason_is_asked_again_and_then_named(reason):
    with answering(lambda asked: completion("x", reason if asked.number < 1 else "stop")) as server:
        assert ask(server.url).text == "x"
    with pytest.raises(UnansweredError, match="its finish_reason is"):
        ask_once(completion("x", reason))


# --- what is no completion ----------------------------------------------------------------------------------------------

DEEP = b'{"choices": ' + b"[" * 200_000


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"error": {"message": "the model has left"}}, "it reports an error: .*the model has left"),
        ({"error": "the model has left"}, "it reports an error: .*the model has left"),
        ({"choices": None, "note": "no GPU"}, "no choices: .*no GPU"),
        ({"choices": []}, "no choices"),
        ({"choices": [None]}, "no choices"),
        ({"choices": {"0": {}}}, "no choices"),
        ({"object": "list"}, "no choices: .*list"),
        ([1, 2], "no JSON object"),
        (None, "no JSON object: null"),
        (b"<html><title>Sign in</title></html>", "not JSON: <html><title>Sign in</title></html>"),
        (b"", r"not JSON: \(nothing\)"),
        (b"\xff\xfe\x00", "not JSON"),
        (b'{"choices": [{"message"', "not JSON"),
        (b"data: {}\n\ndata: [DONE]\n\n", r"not JSON: data: \{\} data: \[DONE\]"),
        (b'{"n": ' + b"9" * 6000 + b"}", "not JSON"),
        (DEEP, "not JSON|nested too deeply"),
        (DEEP + b"]" * 200_000 + b"}", "nested too deeply"),
        ({"choices": [{"message": {"content": {"a": 1}}, "finish_reason": "stop"}]}, "neither text nor a list"),
        ({"choices": [{"message": {"content": None}, "finish_reason": None}]}, "neither a text nor a finish_reason"),
    ],
)
def test_a_body_without_a_completion_is_an_error_with_the_servers_words(body, what):
    with pytest.raises(UnansweredError, match=f"status 200, but .*(?:{what})"):
        ask_once(said(body))


def test_the_first_300_characters_of_a_server_are_shown_and_nothing_that_a_terminal_obeys():
    words = "\x1b[31mred\x1b]0;title\x07 \u202eright-to-left\r\n" + "long " * 1000
    with pytest.raises(UnansweredError) as raised:
        ask_once(said(words.encode(), 500))
    message = str(raised.value)
    assert "\\x1b[31mred\\x1b]0;title\\x07 \\u202eright-to-left long long" in message
    assert all(char.isprintable() or char == "\n" for char in message)
    assert len(message) < 700
    assert "hint:" in message


def test_an_error_with_status_200_counts_as_the_status_that_it_reports():
    with answering(lambda asked: said({"error": {"code": 401, "message": "who are you?"}})) as server:
        with pytest.raises(UsageError, match=r"reports status 401: .*who are you\?"):
            ask(server.url)
        assert len(server.asked) == 1
    busy = said({"error": {"code": "429", "message": "slowly"}})
    with answering(lambda asked: busy if asked.number < 5 else completion()) as server:
        assert ask(server.url, retries=0).text == "x = 1", "a busy server is waited for"


NAMES = st.sampled_from(["choices", "message", "content", "text", "finish_reason", "usage", "error", "code"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner))


@given(st.binary(max_size=400) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_read_or_named(body):
    try:
        reply = read_reply(body, MOST)
    except NoCompletionError:
        return
    assert reply.finish_reason in ("stop", "length", "refused")
    assert reply.input_tokens >= 0 <= reply.output_tokens
    reply.text.encode()


@given(st.text(st.characters(exclude_categories=[])))
def test_received_text_can_be_written_and_shown(text):
    assert "\0" not in clean(text)
    clean(text).encode()
    assert excerpt(text).isprintable()


def test_an_answer_without_end_is_not_read_to_the_end(monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.transfer._MAX_BODY_BYTES", 2**20)
    with pytest.raises(UnansweredError, match="more than 1 MiB"):
        ask_once(said(b" " * (2**20 + 1)))


# --- usage --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd", ["12", [3], {"n": 1}, float("inf"), float("-inf"), float("nan"), -1, -26_000_000, True, None, 10**9, 10**400, 1.5]
)
def test_odd_counts_of_tokens_are_not_believed(odd):
    for usage in ({"prompt_tokens": odd, "completion_tokens": odd}, odd if odd is not None else [], {}):
        body = {"choices": [{"message": {"content": "x" * 7}, "finish_reason": "stop"}], "usage": usage}
        reply = ask_once(said(json.dumps(body).encode()))
        assert reply.text == "x" * 7
        assert 0 < reply.input_tokens < 100
        assert reply.output_tokens == 7, "a token has a byte at least"


def test_counts_that_can_be_are_believed():
    assert ask_once(completion(usage={"prompt_tokens": 30.0, "completion_tokens": 90})).output_tokens == 90
    reply = ask_once(completion(usage={"prompt_tokens": 3000, "completion_tokens": 900}))  # a system prompt, a reasoning
    assert (reply.input_tokens, reply.output_tokens) == (3000, 900)


def bill_of(respond, retries=2):
    """What a request is told to have cost, and how many times it was asked."""
    bill = Bill()
    with answering(respond) as server:
        config = EndpointConfig(base_url=server.url, model="m", retries=retries, timeout_s=1.0)
        budget = Budget(config, 100_000)
        endpoint = Endpoint(config, budget, trust_env=False)
        with pytest.raises((EndpointError, UsageError)):
            endpoint.ask({**PAYLOAD, "max_tokens": 5000}, account=bill)
        assert budget._used == tuple(sum(told[1 + kind] for told in bill.told if told[0] == "failed") for kind in (0, 1))
        assert budget._set_aside == (0, 0)
    assert [told[0] for told in bill.told] == ["sent", "failed"] * (len(bill.told) // 2)
    return [told[1:] for told in bill.told if told[0] == "failed"]


def reset(asked):
    asked.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    asked.handler.connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        said({"error": {"message": "out of memory"}}),
        said(b"<html>busy</html>"),
        said({"error": "x"}, 500),
        said(b"x", 502),
        said({}, 401),
        (302, {"Location": "http://127.0.0.2:9/v1/chat/completions"}, b""),
        (307, {"Location": "/v1/chat/completions"}, b""),
    ],
    ids=["error", "html", "500", "502", "401", "elsewhere", "circle"],
)
def test_what_generates_nothing_costs_nothing(answer):
    assert set(bill_of(lambda _: answer)[:1]) == {(0, 0)}


def test_what_can_have_been_generated_is_bounded_by_time_and_bytes():
    assert all(written < 2500 for _, written in bill_of(reset)), "nobody writes 5000 tokens at once"
    torn = b'{"choices": [{"message": {"content": "' + b"x" * 50
    assert {written for _, written in bill_of(lambda _: said(torn))} == {len(torn)}

    def cut(asked):
        asked.handler.send_response(200)
        asked.handler.send_header("Content-Length", "5000")
        asked.handler.end_headers()
        asked.handler.wfile.write(torn)

    assert {written for _, written in bill_of(cut)} == {5000}, "it was whole where it was made"
    hang = bill_of(lambda _: time.sleep(1.5), retries=0)
    assert hang == [(hang[0][0], 5000)]


def test_a_server_that_is_not_there_costs_nothing_and_is_no_matter_of_the_request():
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    bill = Bill()
    endpoint = Endpoint(EndpointConfig(base_url=url, model="m", retries=1), trust_env=False)
    with pytest.raises(EndpointError, match="ConnectError") as raised:
        endpoint.ask(PAYLOAD, account=bill)
    assert not isinstance(raised.value, UnansweredError)
    assert {told[1:] for told in bill.told if told[0] == "failed"} == {(0, 0)}


# --- time ---------------------------------------------------------------------------------------------------------------


def trickle(asked, head):
    """An answer that never ends, a byte at a time: every one of them comes in time."""
    write = asked.handler.connection.sendall
    write(head)
    while True:
        write(b"a")
        time.sleep(0.05)


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HT"]
)
def test_the_timeout_bounds_an_answer_that_trickles(head):
    with answering(lambda asked: trickle(asked, head)) as server:
        result = []

        def run():
            try:
                result.append(ask(server.url, timeout_s=1.0, retries=0))
            except EndpointError as error:
                result.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(60)
        assert result, "it hangs"
    assert "no whole answer within 1 s" in str(result[0]) or "RemoteProtocolError" in str(result[0])


def test_a_server_that_stays_busy_is_spoken_of(monkeypatch, capsys):
    monkeypatch.setattr("reflectioncoder.generate.endpoint._TOLD_EVERY_S", 0.05)
    monkeypatch.setattr("reflectioncoder.generate.endpoint._MAX_BUSY_S", 0.4)
    with answering(lambda _: (429, {"Retry-After": "0.02"}, b'{"error": "quota exceeded"}')) as server:
        with pytest.raises(EndpointError, match=r"status 429: .*quota exceeded") as raised, reporting(Reporter()):
            ask(server.url)
        assert not isinstance(raised.value, UnansweredError), "it is the server, not the request"
    lines = [line for line in capsys.readouterr().err.splitlines() if "no answer for" in line]
    assert len(lines) >= 2
    assert all(server.url in line and "quota exceeded" in line for line in lines)


@pytest.mark.parametrize("value", ["nan", "inf", "-5", "1e400", "soon", "", "Wed, 99 Foo 2026", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_an_odd_retry_after_is_survived(value, monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.endpoint._MAX_DELAY_S", 0.01)
    with answering(lambda asked: (503, {"Retry-After": value}, b"") if not asked.number else completion()) as server:
        assert ask(server.url).text == "x = 1"


# --- redirects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_on_the_same_host_with_the_request_and_the_key(status, monkeypatch):
    monkeypatch.setenv("MY_KEY", "the-secret-key")

    def respond(asked):
        return completion() if asked.path == "/v2/chat" else (status, {"Location": "/v2/chat"}, b"")

    with answering(respond) as server:
        assert ask(server.url, api_key_env="MY_KEY").text == "x = 1"
        assert [asked.path for asked in server.asked] == ["/v1/chat/completions", "/v2/chat"]
        assert server.asked[1].payload == PAYLOAD
        assert server.asked[1].headers["authorization"] == "Bearer the-secret-key"


@pytest.mark.parametrize("status", [301, 307])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])  # another name; another port
def test_neither_the_key_nor_the_request_reaches_another_server(status, host, monkeypatch):
    monkeypatch.setenv("MY_KEY", "the-secret-key")
    with answering(lambda _: completion()) as other:
        port = other.url.rpartition(":")[2].partition("/")[0]
        target = f"http://{host}:{port}/v1/chat/completions?key=the-secret-key"
        with answering(lambda _: (status, {"Location": target}, b"")) as server:
            with pytest.raises(UsageError, match=f"redirects to another server.*\n.*got: +http://{host}:{port}/v1/chat") as raised:
                ask(server.url, api_key_env="MY_KEY")
            assert len(server.asked) == 1
        assert not other.asked
    assert "the-secret-key" not in str(raised.value)


@pytest.mark.parametrize("location", ["", "://", "http://[", "javascript:alert(1)", "//evil.example/x", "http://user@127.0.0.1:1/"])
def test_an_odd_redirect_is_one_error(location):
    with (
        answering(lambda _: (302, {"Location": location}, b"")) as server,
        pytest.raises(UsageError, match=r"redirect|cannot be asked"),
    ):
        ask(server.url)


# --- what is sent -------------------------------------------------------------------------------------------------------


def test_a_request_has_the_shape_that_the_server_wants():
    settings = {
        "extra_body": {"reasoning_effort": "low", "provider": {"order": ["a"]}},
        "omit": ("seed", "temperature"),
        "max_tokens_field": "max_completion_tokens",
    }
    with answering(lambda _: completion()) as server:
        ask(server.url, **settings)
        (asked,) = server.asked
    assert asked.payload == {
        "model": "m",
        "messages": PAYLOAD["messages"],
        "max_completion_tokens": 100,
        "reasoning_effort": "low",
        "provider": {"order": ["a"]},
    }
    assert request_body(EndpointConfig(), PAYLOAD) == PAYLOAD


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"temperature": 1}, "temperature"),
        ({"stream": True, "n": 2}, "n, stream"),
        ({"x": float("nan")}, r"extra_body\.x\n.*\n  allowed: a number"),
        ({"x": {1, 2}}, r"extra_body\.x\n"),
        ({1: 2}, r"extra_body\n.*\n  allowed: text"),
    ],
)
def test_what_cannot_go_with_a_request_is_refused_before_any(extra, message):
    with pytest.raises(UsageError, match=message):
        Endpoint(EndpointConfig(model="m", extra_body=extra))


@pytest.mark.parametrize(
    ("suffix", "path"),
    [
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/openai/deployments/gpt?api-version=2024-10-21", "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"),
        ("/v1/?a=1&b=%20x", "/v1/chat/completions?a=1&b=%20x"),
        ("?k=v", "/chat/completions?k=v"),
        ("", "/chat/completions"),
    ],
)
def test_the_query_of_the_base_url_stays_a_query(suffix, path):
    with answering(lambda _: completion()) as server:
        ask(server.url.removesuffix("/v1") + suffix)
        assert [asked.path for asked in server.asked] == [path]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_a_reasoning_with_a_lone_surrogate_is_read(name):
    assert ask_once(completion("x = 1", usage={}, **{name: "\ud83d"})).text == "x = 1"


@pytest.mark.parametrize("value", ["0", "-1", "Mon, 01 Jan 2020 00:00:00 GMT", "0.0"])
def test_a_server_that_is_busy_and_names_no_time_is_not_hammered(value, monkeypatch):
    monkeypatch.setattr("reflectioncoder.generate.endpoint._FIRST_DELAY_S", 0.2)
    with answering(lambda _: (429, {"Retry-After": value}, b"busy")) as server:
        endpoint = Endpoint(EndpointConfig(base_url=server.url, model="m", timeout_s=5.0), trust_env=False)
        timer = threading.Timer(1.0, endpoint.stop)
        timer.start()
        with pytest.raises(EndpointError):
            endpoint.ask(request_body(EndpointConfig(model="m"), PAYLOAD))
        endpoint.close()
        timer.cancel()
        assert len(server.asked) < 10


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.2"])
def test_a_redirect_elsewhere_is_said_once(host):
    with pytest.raises(UsageError, match=r"^http://\S+ redirects to another server, which is not followed\n") as error:
        ask_once((302, {"Location": f"http://{host}/v1"}, b""))
    assert str(error.value).count("redirects to") == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_nowhere_is_said_with_the_server_s_words(status):
    with pytest.raises(UsageError, match=rf"redirects \(status {status}\) to nowhere: moved, says the server"):
        ask_once((status, {}, b"moved, says\n the server"))
