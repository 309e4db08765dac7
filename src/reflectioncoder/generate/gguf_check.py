"""Checks a GGUF file against the model folder that it was exported from: llama.cpp and transformers get the same requests.

Three things are compared. First, texts have the same tokens. Second, llama.cpp's chat template and tokenizer build the request that the
model was trained on. Third, llama.cpp's greedy answers are those of the float32 model: its tokens are the most likely ones there, with
the same log-probabilities. Both compute every position after the same beginning of the answer, so one forward pass of transformers
checks a whole answer.
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
from reflectioncoder.terminal import in_line

TOLERANCE = 0.02
"""Tokens with natural log-probabilities closer than this are a tie; with f16 no answer token may differ by more."""

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
        num_ties: answer tokens that are not the most likely one in float32 but less than TOLERANCE behind it.
        num_others: answer tokens further behind it.
        max_difference: the largest difference of an answer token's log-probability.
        max_difference_likely: the largest among all tokens of at least 1 % (llama.cpp computes in 16 bits).
        faults: descriptions of what is wrong.
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
        folder: the model folder that the file was exported from.
        dtype: of the file's weights. For f16, answers and log-probabilities must agree; for q8_0 they are only measured.

    Raises:
        CheckFailedError: the answers or log-probabilities disagree, or a text or request has other tokens.
        MachineError: the llama.cpp package is not installed, or does not load the file.
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
    """An answer's tokens, whether an end token ended it, and by position the log-probabilities of the most likely tokens."""

    tokens: list[int]
    has_ended: bool
    likely: dict[int, dict[int, float]]


class _Server:
    """A client of llama.cpp's native API, which it serves beside the OpenAI-compatible one."""

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
        """Return the tokens of a text; `begins`: tokenize it as a prompt, with BOS if the file says so."""
        return self._ask("/tokenize", {"content": text, "add_special": begins, "parse_special": True})["tokens"]

    def dialogue(self, messages: Sequence[dict[str, Any]]) -> str:
        """Return messages rendered with the file's chat template."""
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
    """Return the positions in `tokens` of the tokens with probabilities (`some`); None where the position is ambiguous.

    llama.cpp omits the probabilities of tokens that end in the middle of a character.
    """

    def first_fit(some: Sequence[int], tokens: Sequence[int]) -> list[int]:
        found: list[int] = []
        for token in some:
            found.append(tokens.index(token, found[-1] + 1 if found else 0))
        return found

    early, late = first_fit(some, tokens), first_fit(some[::-1], tokens[::-1])
    return [one if one == len(tokens) - 1 - other else None for one, other in zip(early, late[::-1], strict=True)]


def _compare_texts(server: _Server, tokenizer: Any, found: Verification) -> None:
    """Compare tokens of texts inside a dialogue. For a base model a text starts with a letter and contains no added tokens."""
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
    """Compare a request with llama.cpp's rendering of its message, or of its text for a base model."""
    if requests.name == "plain":
        ours = requests.render_request(request.instruction, request.prefill)
        text = f"{request.instruction}\n\n{request.prefill}"
    else:
        ours = requests.render_request(request.instruction)
        text = server.dialogue([{"role": "user", "content": request.instruction}])
    theirs = server.tokens(text, begins=True)
    found.num_requests += 1
    if ours != theirs:
        found.faults.append(f"other tokens for the request {in_line(request.task_id)}: {_first_difference(ours, theirs)}")


def _log_probabilities(model: Any, prompt: list[int]) -> Callable[[list[int]], Any]:
    """Return a function from an answer's tokens to log-probabilities of all tokens at its positions and the next one, (T + 1, V)."""
    torch = require("torch", "train")

    def compute(answer: list[int]) -> Any:
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *answer]]), logits_to_keep=len(answer) + 1).logits[0]
        return logits.float().log_softmax(-1)

    return compute


def _compare_answer(answer: _Answer, log_probabilities: Callable[[list[int]], Any], ends: set[int], found: Verification) -> None:
    """Compare an answer with the model's log-probabilities at each position."""
    expected = log_probabilities(answer.tokens)
    for position, token in enumerate(answer.tokens):
        row = expected[position]
        _count(row, [token], found)
        likely = answer.likely.get(position, {})
        differences = {other: abs(row[other].item() - value) for other, value in likely.items() if value >= _LIKELY or other == token}
        found.max_difference = max(found.max_difference, differences.get(token, 0.0))
        found.max_difference_likely = max(found.max_difference_likely, *differences.values(), 0.0)
    if answer.has_ended and (not answer.tokens or answer.tokens[-1] not in ends):  # the end token is not in the answer
        _count(expected[-1], sorted(ends), found)
    if not answer.has_ended and not ends.isdisjoint(answer.tokens):
        found.faults.append("llama.cpp writes on behind a token that ends an answer")


def _count(row: Any, chosen: list[int], found: Verification) -> None:
    """Count a position at which llama.cpp has chosen one of the tokens `chosen`."""
    behind = (row.max() - row[chosen].max()).item()
    found.num_tokens += 1
    found.num_ties += 0 < behind <= TOLERANCE
    found.num_others += behind > TOLERANCE


def _first_difference(ours: Sequence[int], theirs: Sequence[int]) -> str:
    at = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    return f"from token {at} on {list(theirs[at : at + 6])} instead of {list(ours[at : at + 6])}"


def _listed(value: Any) -> list[int]:
    return value if isinstance(value, list) else [] if value is None else [value]
