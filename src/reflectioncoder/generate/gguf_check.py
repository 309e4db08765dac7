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
from pathlib import Path
from typing import Any

import httpx2

from reflectioncoder.choices import GgufDtype
from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.chat_template import ChatTemplate
from reflectioncoder.data.completion_requests import Request, python_request
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import CheckFailedError, MachineError, require
from reflectioncoder.generate.embedded import embedded_server
from reflectioncoder.models.load import load_model, plain_generation_config
from reflectioncoder.models.tokens import Requests, make_requests
from reflectioncoder.progress import Progress

TOLERANCE = 0.02
"""Tokens whose natural log-probabilities are nearer than this are a tie, and no token of an answer differs by more with f16."""

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
        with Progress("llama.cpp against transformers", len(asked)) as progress:
            for number, request in enumerate(asked, start=1):
                prompt = requests.render_request(request.instruction, request.prefill)
                _compare_request(server, requests, request, found)
                _compare_answer(server.answer(prompt, num_tokens), _log_probabilities(model, prompt), ends, found)
                progress.update(number)
    if dtype == "f16":
        if found.num_others:
            found.faults.append(f"{found.num_others} tokens of {found.num_tokens} are not those of the model in float32")
        if found.max_difference > TOLERANCE:
            found.faults.append(f"the log-probability of a token differs by {found.max_difference:.4f}, allowed: {TOLERANCE}")
    if found.faults:
        shown = found.faults[:_MAX_SHOWN]
        raise CheckFailedError(f"{gguf} is not the model of {folder}\n  " + "\n  ".join(shown))
    return found


@dataclass(frozen=True)
class _Answer:
    """Tokens of an answer, whether a token ended it, and by position the log-probabilities of the most likely tokens there."""

    tokens: list[int]
    has_ended: bool
    likely: dict[int, dict[int, float]]


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
        said, steps = reply["tokens"], reply.get("completion_probabilities", [])
        places = _places([step["id"] for step in steps], said)
        likely = {
            place: {top["id"]: top["logprob"] for top in step["top_logprobs"]}
            for place, step in zip(places, steps, strict=True)
            if place is not None
        }
        return _Answer(said, reply["stop_type"] == "eos", likely)


def _places(some: Sequence[int], tokens: Sequence[int]) -> list[int | None]:
    """Return where in an answer the tokens stand of which llama.cpp gives probabilities; None if it is not certain.

    It leaves out tokens that end in the middle of a character.
    """

    def first_fit(some: Sequence[int], tokens: Sequence[int]) -> list[int]:
        found: list[int] = []
        for token in some:
            found.append(tokens.index(token, found[-1] + 1 if found else 0))
        return found

    early, late = first_fit(some, tokens), first_fit(some[::-1], tokens[::-1])
    return [one if one == len(tokens) - 1 - other else None for one, other in zip(early, late[::-1], strict=True)]


def _compare_texts(server: _Server, tokenizer: Any, found: Verification) -> None:
    """Compare the tokens of texts, as they stand in a dialogue. A base model's begin with a letter and spell no added token."""
    template = ChatTemplate(tokenizer) if tokenizer.chat_template else None
    programs = [problem.reference for problem in bundled_problems("test_unseen")[:_NUM_REQUESTS]]
    added = [token.content for token in tokenizer.added_tokens_decoder.values()] if template else []
    for content in (*programs, *_ODD_TEXTS, *(f"a{token} b{token}{token}\n{token}" for token in added)):
        text = template([{"role": "user", "content": content}], ask=True) if template else f"x{content}"
        ours, theirs = tokenizer.encode(text, add_special_tokens=False), server.tokens(text, begins=False)
        found.num_texts += 1
        if ours != theirs:
            found.faults.append(f"other tokens for {content[:60]!r}: {_first_difference(ours, theirs)}")


def _compare_request(server: _Server, requests: Requests, request: Request, found: Verification) -> None:
    """Compare a request with what llama.cpp makes of its message, or of its text for a base model."""
    if requests.name == "plain":
        ours = requests.render_request(request.instruction, request.prefill)
        text = f"{request.instruction}\n\n{request.prefill}"
    else:
        ours = requests.render_request(request.instruction)
        text = server.dialogue([{"role": "user", "content": request.instruction}])
    theirs = server.tokens(text, begins=True)
    found.num_requests += 1
    if ours != theirs:
        found.faults.append(f"other tokens for the request {request.task_id}: {_first_difference(ours, theirs)}")


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
    expected = log_probabilities(answer.tokens)
    for position, token in enumerate(answer.tokens):
        row = expected[position]
        _count(row, [token], found)
        likely = answer.likely.get(position, {})
        differences = {other: abs(row[other].item() - value) for other, value in likely.items() if value >= _LIKELY or other == token}
        found.max_difference = max(found.max_difference, differences.get(token, 0.0))
        found.max_difference_likely = max(found.max_difference_likely, *differences.values(), 0.0)
    if answer.has_ended and (not answer.tokens or answer.tokens[-1] not in ends):  # the token that ended it is not among them
        _count(expected[-1], sorted(ends), found)
    if not answer.has_ended and not ends.isdisjoint(answer.tokens):
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
