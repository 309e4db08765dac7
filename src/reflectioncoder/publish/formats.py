"""Makes the rows that other trainers read, each by a pure function of a sample; writes and renders nothing.

A format has two parts: `select` picks a sample's conversations for the row (or says why there is no row), `build` makes the row from
them. All contents of a row go through `build`, so that the same row can be made with other contents (`exactly_once`). Field names were
checked against the documentation of the readers:

* TRL: "Dataset formats and types" (`messages`, `tools`, `prompt`, `completion`, `chosen`, `rejected`; arguments of a tool call are an
  object), and `trl.data_utils` 1.16.
* axolotl: docs/dataset-formats/conversation.qmd, "Content parts with per-part training control" (pull request 3592: `type`, `text`,
  `train`; white space belongs to the beginning of the next part) and "Using tool use" (`tools`, `tool_calls`, `tool_call_id`, `name`).
* LLaMA-Factory: data/README.md, sharegpt format (`conversations`, `human`, `function_call`, `observation`, `gpt`; the first and third
  at odd positions), and `FunctionFormatter`: text between `<think>` and `</think>` before the call is kept.
"""

from __future__ import annotations

import ast
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from reflectioncoder.builder.checks import without_tests
from reflectioncoder.data.failed_attempts import failed_attempts
from reflectioncoder.data.prompts import one_off_answer
from reflectioncoder.data.python_source import parse
from reflectioncoder.data.render_chat import chat_block
from reflectioncoder.data.samples import Block, Message, Sample, assistant
from reflectioncoder.languages import PYTHON

Row = dict[str, Any]
Conversation = tuple[Message, ...]

TOOL_NAME = "python"
TOOL = {
    "type": "function",
    "function": {
        "name": TOOL_NAME,
        "description": "Runs a Python program in a session that keeps its state, and returns what it prints.",
        "parameters": {
            "type": "object",
            "properties": {"code": {"type": "string", "description": "The program."}},
            "required": ["code"],
        },
    },
}
_GAP = "\n\n"


@dataclass(frozen=True)
class Skipped:
    """The reason why a sample has no row in a format; reasons are counted."""

    reason: str


@dataclass(frozen=True)
class Format:
    """A format. `build` gets the conversations from `select`, or the same with other contents; `extra` adds fields that are not
    rendered.

    `chats` returns the conversations in a row that a template renders. `as_context` marks a sample's failing programs in its row as
    not trained; None: the format cannot express that.
    """

    name: str
    readers: str
    description: str
    select: Callable[[Sample], tuple[Conversation, ...] | Skipped]
    build: Callable[[tuple[Conversation, ...]], Row]
    chats: Callable[[Row], list[list[dict[str, Any]]]]
    extra: Callable[[Sample], Row]
    as_context: Callable[[Row, Sample], Row] | None = None


def metadata_of(sample: Sample) -> dict[str, Any]:
    """Return a sample's metadata about its origin; an exported sample carries it as a JSON string."""
    return {**sample.metadata, **{key: value for key, value in sample.extra.items() if key not in ("id", "metadata")}}


def fold(message: Message) -> str:
    """Join all blocks into one text, with programs and outputs in fences and without empty texts."""
    return _GAP.join(chat_block(block) for block in message.content if not _is_blank(block))


def _is_blank(block: Block) -> bool:
    return block.type == "text" and not block.content.strip()


# canonical


def _canonical(conversations: tuple[Conversation, ...]) -> Row:
    return {key: value for key, value in Sample(conversations[0]).to_json().items() if key == "messages"}


def _canonical_extra(sample: Sample) -> Row:
    """Return a sample's other metadata as one JSON string, so that all authors share one schema."""
    return {"type": sample.type, "id": sample.id or "", "metadata": json.dumps(metadata_of(sample), ensure_ascii=False)}


# tool


def _tool_select(sample: Sample) -> tuple[Conversation, ...] | Skipped:
    """Select samples of the form (text* code execution)* text*, in which every tool call has an answer. The tool runs Python."""
    if sample.metadata.get("language", PYTHON.name) != PYTHON.name:
        return Skipped("its programs are not Python, which is what the tool runs")
    for message in sample.messages:
        open_call = False
        for block in message.content:
            if open_call != (block.type == "execution"):
                return Skipped("a program without an execution, or an execution without a program")
            open_call = block.type == "code"
        if open_call:
            return Skipped("a program without an execution, or an execution without a program")
    return (sample.messages,)


def _steps(message: Message) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield (text, program, output) for each call, and at the end (text, None, None) if the message ends in text."""
    texts: list[str] = []
    program = ""
    for block in message.content:
        if block.type == "text":
            texts += [] if _is_blank(block) else [block.content]
        elif block.type == "code":
            program = block.content
        else:
            yield _GAP.join(texts), program, block.content
            texts = []
    if texts:
        yield _GAP.join(texts), None, None


def _tool(conversations: tuple[Conversation, ...]) -> Row:
    messages: list[dict[str, Any]] = []
    number = 0
    for message in conversations[0]:
        if message.role == "user":
            messages.append({"role": "user", "content": fold(message)})
            continue
        for text, program, output in _steps(message):
            turn: dict[str, Any] = {"role": "assistant", "content": text}
            messages.append(turn)
            if program is not None:
                number += 1
                name = f"call{number:05d}"  # nine alphanumeric characters, as Mistral's templates require
                call = {"id": name, "type": "function", "function": {"name": TOOL_NAME, "arguments": {"code": program}}}
                turn["tool_calls"] = [call]
                messages.append({"role": "tool", "tool_call_id": name, "name": TOOL_NAME, "content": output})
    return {"messages": messages, "tools": [TOOL]}


# llama-factory


def _llama_factory_select(sample: Sample) -> tuple[Conversation, ...] | Skipped:
    """Select conversations with a model turn after each output, as the reader requires; the final answer's request is dropped."""
    selected = _tool_select(sample)
    if isinstance(selected, Skipped) or sample.type == "generation":
        return selected
    if sample.messages[1].content[-1].type != "execution":
        return Skipped("the dialogue does not end in an execution")
    return ((sample.messages[0], Message("assistant", (*sample.messages[1].content, *sample.messages[-1].content))),)


def _llama_factory(conversations: tuple[Conversation, ...]) -> Row:
    turns: list[dict[str, str]] = []
    for message in conversations[0]:
        if message.role == "user":
            turns.append({"from": "human", "value": fold(message)})
            continue
        for text, program, output in _steps(message):
            if program is None or output is None:
                turns.append({"from": "gpt", "value": text})
                continue
            call = json.dumps({"name": TOOL_NAME, "arguments": {"code": program}}, ensure_ascii=False)
            turns.append({"from": "function_call", "value": f"<think>\n{text}\n</think>{_GAP}{call}" if text else call})
            turns.append({"from": "observation", "value": output})
    return {"conversations": turns, "tools": json.dumps([TOOL])}


# axolotl


def _axolotl(conversations: tuple[Conversation, ...]) -> Row:
    return {"messages": [{"role": m.role, "content": list(_parts(m))} for m in conversations[0]]}


def _parts(message: Message) -> Iterator[dict[str, Any]]:
    blocks = [block for block in message.content if not _is_blank(block)] or [Block("text", "")]
    for index, block in enumerate(blocks):
        part: dict[str, Any] = {"type": "text", "text": chat_block(block) if index == 0 else _GAP + chat_block(block)}
        if message.role == "assistant":  # axolotl trains the end of every turn that has a part with `train`
            part["train"] = block.type != "execution"
        yield part


def _axolotl_as_context(row: Row, sample: Sample) -> Row:
    """Set `train: false` in the parts that hold the code of failing attempts."""
    failed = failed_attempts(sample)
    messages = []
    for number, (turn, message) in enumerate(zip(row["messages"], sample.messages, strict=True)):
        shown = [index for index, block in enumerate(message.content) if not _is_blank(block)]
        parts = [
            {**part, "train": False} if (number, index) in failed else part
            for part, index in itertools.zip_longest(turn["content"], shown)
        ]
        messages.append({**turn, "content": parts})
    return {**row, "messages": messages}


# chat, prompt-completion, preference


def _unchanged(row: Row, sample: Sample) -> Row:
    """Return the row unchanged: no failing attempt is a target in it."""
    return row


def _turn(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": fold(message)}


def _chat(conversations: tuple[Conversation, ...]) -> Row:
    return {"messages": [_turn(message) for message in conversations[0]]}


def _prompt_completion(conversations: tuple[Conversation, ...]) -> Row:
    *prompt, completion = conversations[0]
    return {"prompt": [_turn(message) for message in prompt], "completion": [_turn(completion)]}


def first_failing_attempt(sample: Sample) -> str | None:
    """Return the program of the first execution that failed.

    Uses `metadata.passes` (one verdict per program); without it, all executions but the last failed, as in all reflection samples.
    """
    if sample.type != "reflection":
        return None
    programs = [block.content for block in sample.messages[1].content if block.type == "code"]
    passes = metadata_of(sample).get("passes")
    if not isinstance(passes, list) or len(passes) != len(programs):
        passes = [False] * (len(programs) - 1) + [True]
    return next((program for program, passed in zip(programs, passes, strict=True) if not passed), None)


def _preference_select(sample: Sample) -> tuple[Conversation, ...] | Skipped:
    attempt = first_failing_attempt(sample)
    if attempt is None:
        return Skipped("no failing attempt")
    if parse(attempt) is None:
        return Skipped("the failing attempt is no valid Python: its tests cannot be taken off")
    program = without_tests(attempt.replace(str(sample.metadata.get("setup") or "\0").strip(), ""))
    chosen = sample.messages[-1]
    rejected = one_off_answer(program)
    if not program.strip():
        return Skipped("the failing attempt holds nothing but tests")
    if _same_program(rejected, fold(chosen)):
        return Skipped("the failing attempt's program is the final one: its tests were wrong")
    prompt = sample.messages[-2]
    return ((prompt, chosen), (prompt, assistant(Block("text", rejected))))


def _same_program(first: str, second: str) -> bool:
    trees = [parse(text.removeprefix("```python\n").removesuffix("\n```")) for text in (first, second)]
    return first == second or (None not in trees and len({ast.dump(tree) for tree in trees if tree}) == 1)


def _preference(conversations: tuple[Conversation, ...]) -> Row:
    (prompt, chosen), (_, rejected) = conversations
    return {"prompt": [_turn(prompt)], "chosen": [_turn(chosen)], "rejected": [_turn(rejected)]}


def _messages(row: Row) -> list[list[dict[str, Any]]]:
    return [row["messages"]]


def _joined_parts(row: Row) -> list[list[dict[str, Any]]]:
    return [[{"role": m["role"], "content": "".join(part["text"] for part in m["content"])} for m in row["messages"]]]


def _with_id(sample: Sample) -> Row:
    return {"id": sample.id or ""}


def _all(sample: Sample) -> tuple[Conversation, ...]:
    return (sample.messages,)


FORMATS = {
    f.name: f
    for f in (
        Format(
            "canonical",
            "ReflectionCoder, the authors' training script",
            "typed blocks, as in the published ReflectionSeq data sets; what else is known of a sample is JSON in `metadata`",
            _all,
            _canonical,
            _messages,
            _canonical_extra,
        ),
        Format(
            "tool",
            "TRL, axolotl (`chat_template`)",
            "programs are calls of a tool `python` (arguments are an object, as TRL documents it), outputs are its answers",
            _tool_select,
            _tool,
            _messages,
            _with_id,
        ),
        Format(
            "llama-factory",
            "LLaMA-Factory (`formatting: sharegpt`)",
            "`human`, `function_call`, `observation`, `gpt`; texts before a call in `<think>`; the final answer ends the dialogue",
            _llama_factory_select,
            _llama_factory,
            lambda row: [row["conversations"]],
            _with_id,
        ),
        Format(
            "axolotl",
            "axolotl (`chat_template`)",
            "messages of parts; the assistant's programs and texts have `train: true`, what the interpreter printed has `train: false`",
            _all,
            _axolotl,
            _joined_parts,
            _with_id,
            _axolotl_as_context,
        ),
        Format(
            "chat",
            "whatever reads `messages`",
            "the reflection sequence folded into one turn: programs in `python` fences, outputs in `output` fences",
            _all,
            _chat,
            _messages,
            _with_id,
        ),
        Format(
            "prompt-completion",
            "TRL",
            "the one-off round alone: the plain request and the final answer",
            lambda sample: (sample.messages[-2:] if sample.type == "reflection" else sample.messages,),
            _prompt_completion,
            lambda row: [[*row["prompt"], *row["completion"]]],
            _with_id,
            _unchanged,
        ),
        Format(
            "preference",
            "TRL (DPO)",
            "the one-off request; chosen: the final answer, rejected: the program of the first failing attempt, without its tests",
            _preference_select,
            _preference,
            lambda row: [[*row["prompt"], *row["chosen"]], [*row["prompt"], *row["rejected"]]],
            _with_id,
            _unchanged,
        ),
    )
}
