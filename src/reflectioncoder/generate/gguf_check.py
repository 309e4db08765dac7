"""Checks a GGUF file against the model folder that it was written from: llama.cpp and transformers are given the same requests.

Three things are compared. Texts have the same tokens. A request as llama.cpp's own chat template and tokenizer make it is what the
model was trained on. And llama.cpp's greedy answers are those of the model in float32: its tokens are the most likely ones there, with
the same log-probabilities. Both are computed for the same beginning of the answer at every position, so one forward pass of
transformers judges a whole answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2

from reflectioncoder.choices import GgufDtype
from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.completion_requests import Request, python_request
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import CheckFailedError, MachineError, require
from reflectioncoder.generate.body import continuation_message
from reflectioncoder.generate.embedded import embedded_server
from reflectioncoder.models.load import load_model, plain_generation_config
from reflectioncoder.models.tokens import make_requests
from reflectioncoder.progress import Progress

TOLERANCE = 0.02
"""Of natural log-probabilities: tokens that are nearer than this are a tie, and no token of an answer differs by more with f16."""

_NUM_REQUESTS, _NUM_TOKENS, _NUM_PROBABLE = 20, 64, 10
_LIKELY = math.log(0.01)
_CONTEXT_TOKENS = 4096
_TIMEOUT_S = 3600.0
_MAX_SHOWN = 5
_ODD_TEXTS = (
    "def f(x):\n\treturn  x\t+ 1   \n\n\n\n    # tab, blanks\r\n  y = [ 1,2 , 3 ]\n",
    " " * 3 + "a" + " " * 17 + "b\n" + "\n" * 3 + "\t" * 5 + "c ",
    "x1234567890 = 3.14159e-10 + 0x7fff_ffff; it's we'LL I'VE don't",
    "日本語のコメント — Größe, naïve, Ελλάδα, हिन्दी, עברית, ½ ² 😀👩‍👩‍👧 \u200b\u00a0\u3000\ufeff \x7f \x01",
    "!!!??? ...---=== <<>> ::= !=== &&|| ^^ ~~ @@ ## $$ %% ** // \\\\ `` ''' \"\"\" {}[]() ;;,,",
)


@dataclass
class Verification:
    """The result of a check.

    Attributes:
        num_texts, num_requests, num_tokens: how many were compared.
        num_ties: tokens that are not the most likely one in float32, but less than TOLERANCE behind it.
        num_others: tokens that are further behind it.
        max_difference: the largest difference of the log-probability of a token of an answer.
        max_difference_likely: the largest one among all tokens of at least 1 % (llama.cpp computes in 16 bits).
        faults: what is wrong, in words.
    """

    num_texts: int = 0
    num_requests: int = 0
    num_tokens: int = 0
    num_ties: int = 0
    num_others: int = 0
    max_difference: float = 0.0
    max_difference_likely: float = 0.0
    faults: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def lines(self) -> list[str]:
        return [
            f"{self.num_texts} texts and {self.num_requests} requests have the same tokens in llama.cpp and transformers",
            f"of {self.num_tokens} tokens of greedy answers {self.num_ties} are ties and {self.num_others} others than in float32",
            f"their log-probabilities differ by at most {self.max_difference:.4f}, those of all tokens above 1 % by at most "
            f"{self.max_difference_likely:.4f}",
        ]


def verify_gguf(
    folder: Path, gguf: Path, dtype: GgufDtype, num_requests: int = _NUM_REQUESTS, num_tokens: int = _NUM_TOKENS
) -> Verification:
    """Compare llama.cpp's tokens, answers and log-probabilities with those of transformers in float32.

    Args:
        folder: what the file was written from.
        dtype: of its weights. Answers and log-probabilities have to be the same for f16; for q8_0 they are measured.

    Raises:
        CheckFailedError: they are not the same; the tokens of a text or request are not.
        MachineError: llama.cpp's package is not installed, or does not take the file.
    """
    model, tokenizer = load_model(ModelConfig(str(folder), device="cpu", dtype="float32"), folder)
    requests = make_requests(folder, tokenizer)
    asked = [python_request(p.task_id, 0, p.prompt, p.entry_point, p.instruction) for p in bundled_problems("train")[:num_requests]]
    found = Verification()
    with embedded_server(gguf, 1, _CONTEXT_TOKENS) as url, _Server(url) as server:
        _compare_texts(server, tokenizer, found)
        ends = {*requests.stop_token_ids, *_listed(plain_generation_config(folder).eos_token_id)}
        with Progress(f"checking {gguf.name}", len(asked)) as progress:
            for number, request in enumerate(asked, start=1):
                prompt = requests.render_request(request.instruction, request.prefill)
                _compare_request(server, request, prompt, requests.name == "plain", found)
                _compare_answer(server.answer(prompt, num_tokens), _log_probabilities(model, prompt), ends, found)
                progress.update(number)
    if dtype == "f16":
        if found.num_others:
            found.faults.append(f"{found.num_others} tokens of {found.num_tokens} are not those of the model in float32")
        if found.max_difference > TOLERANCE:
            found.faults.append(
                f"the log-probability of a token differs by {found.max_difference:.4f}; by rounding at most {TOLERANCE}"
            )
    if found.faults:
        shown = found.faults[:_MAX_SHOWN]
        raise CheckFailedError(f"{gguf} is not the model of {folder}\n  " + "\n  ".join(shown))
    return found


@dataclass(frozen=True)
class _Step:
    """A token of an answer, and the log-probabilities of the most likely tokens there, by their ids."""

    token: int
    probable: dict[int, float]


@dataclass(frozen=True)
class _Answer:
    steps: list[_Step]
    has_ended: bool


class _Server:
    """llama.cpp's own interface, beside the OpenAI-compatible one."""

    def __init__(self, url: str):
        self._client = httpx2.Client(base_url=url.removesuffix("/v1"), timeout=_TIMEOUT_S, trust_env=False)

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()

    def _ask(self, path: str, payload: dict[str, Any]) -> dict[str, Any]:
        reply = self._client.post(path, json=payload)
        if reply.status_code != 200:
            raise MachineError(f"llama.cpp does not answer {path}: {reply.text[:300]}")
        return reply.json()

    def tokens(self, text: str, *, begins: bool) -> list[int]:
        """Return the tokens of a text; `begins`: as a prompt, with BOS if the file says so."""
        return self._ask("/tokenize", {"content": text, "add_special": begins, "parse_special": True})["tokens"]

    def dialogue(self, messages: Sequence[dict[str, Any]]) -> str:
        """Return messages in the file's chat template."""
        return self._ask("/apply-template", {"messages": messages})["prompt"]

    def answer(self, prompt: list[int], num_tokens: int) -> _Answer:
        sampling = {"temperature": 0.0, "n_predict": num_tokens, "n_probs": _NUM_PROBABLE, "return_tokens": True}
        reply = self._ask("/completion", {"prompt": prompt, "cache_prompt": False, **sampling})
        steps = [
            _Step(step["id"], {top["id"]: top["logprob"] for top in step["top_logprobs"]}) for step in reply["completion_probabilities"]
        ]
        return _Answer(steps, reply["stop_type"] == "eos")


def _compare_texts(server: _Server, tokenizer: Any, found: Verification) -> None:
    """Compare the tokens of texts, with every added token in one of them. None begins with a blank: beginnings are the requests'."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    programs = [problem.reference for problem in islice(bundled_problems("test_unseen"), _NUM_REQUESTS)]
    for text in (*programs, *_ODD_TEXTS, *(f"a{token} b{token}{token}\n{token}" for token in added)):
        text = f"x{text}"
        ours, theirs = tokenizer.encode(text, add_special_tokens=False), server.tokens(text, begins=False)
        found.num_texts += 1
        if ours != theirs:
            found.faults.append(f"other tokens for {text[:60]!r}: {_first_difference(ours, theirs)}")


def _compare_request(server: _Server, request: Request, prompt: list[int], plain: bool, found: Verification) -> None:
    """Compare a request with what llama.cpp makes of its messages, or of its text for a base model."""
    if plain:
        text = f"{request.instruction}\n\n{request.prefill}"
    else:
        begun, _ = continuation_message(request.prefill, "llama.cpp")
        text = server.dialogue([{"role": "user", "content": request.instruction}, begun])
    theirs = server.tokens(text, begins=True)
    found.num_requests += 1
    if theirs != prompt:
        found.faults.append(f"other tokens for the request {request.task_id}: {_first_difference(prompt, theirs)}")


def _log_probabilities(model: Any, prompt: list[int]) -> Callable[[list[int]], Any]:
    """Return a function of an answer's tokens: log-probabilities of all tokens at each of its positions and the next, (T + 1, V)."""
    torch = require("torch", "train")

    def compute(answer: list[int]) -> Any:
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *answer]]), logits_to_keep=len(answer) + 1).logits[0]
        return logits.float().log_softmax(-1)

    return compute


def _compare_answer(answer: _Answer, log_probabilities: Callable[[list[int]], Any], ends: set[int], found: Verification) -> None:
    """Compare an answer with the model's log-probabilities behind each of its tokens."""
    tokens = [step.token for step in answer.steps]
    expected = log_probabilities(tokens)
    for position, step in enumerate(answer.steps):
        row = expected[position]
        differences = {token: abs(row[token].item() - value) for token, value in step.probable.items()}
        likely = [differences[token] for token, value in step.probable.items() if value >= _LIKELY]
        found.max_difference = max(found.max_difference, differences[step.token])
        found.max_difference_likely = max(found.max_difference_likely, *likely, 0.0)
        _count(row, [step.token], found)
    if answer.has_ended and (not tokens or tokens[-1] not in ends):  # the token that ended it is not among them
        _count(expected[-1], sorted(ends), found)
    if not answer.has_ended and not ends.isdisjoint(tokens):
        found.faults.append("llama.cpp writes on behind a token that ends an answer")


def _count(row: Any, chosen: list[int], found: Verification) -> None:
    """Count a position at which llama.cpp has chosen one of some tokens."""
    behind = (row.max() - row[chosen].max()).item()
    found.num_tokens += 1
    found.num_ties += 0 < behind <= TOLERANCE
    found.num_others += behind > TOLERANCE


def _first_difference(ours: Sequence[int], theirs: Sequence[int]) -> str:
    at = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    return f"from token {at} on {list(theirs[at : at + 6])} instead of {list(ours[at : at + 6])}"


def _listed(value: Any) -> list[int]:
    return value if isinstance(value, list) else [] if value is None else [value]
