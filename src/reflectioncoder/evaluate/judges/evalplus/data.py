"""Reads HumanEval+ and MBPP+ as EvalPlus publishes them: makes tasks with base and plus inputs from rows.

MBPP+'s inputs are stored as JSON, which has no tuples, sets or complex numbers; `restore_inputs` restores them task by task
(evalplus 0.3.1, `mbpp_deserialize_inputs`).
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from reflectioncoder.data.files import content_hash

Family = Literal["humaneval", "mbpp"]
PartName = Literal["base", "plus"]


@dataclass(frozen=True)
class Part:
    """The inputs of one part, marshalled to save memory: MBPP+ and HumanEval+ have 160,000 of them."""

    inputs: bytes
    num_inputs: int

    def arguments(self) -> list[list[Any]]:
        return marshal.loads(self.inputs)


@dataclass(frozen=True)
class FunctionTests:
    """The tests of a task's solutions; the expected answers are the canonical solution's."""

    family: Family
    canonical_solution: str
    base: Part
    plus: Part
    atol: float

    def part(self, name: PartName) -> Part:
        return self.base if name == "base" else self.plus

    def key(self) -> str:
        """Return a key of exactly what the expected values depend on."""
        return content_hash(self.canonical_solution, self.base.inputs.hex(), self.plus.inputs.hex())


def _tuple(value: Any) -> Any:
    return tuple(value)


def _tuples(values: Any) -> Any:
    return [tuple(value) for value in values]


def _deep_tuple(value: Any) -> Any:
    return tuple(_deep_tuple(item) for item in value) if isinstance(value, list) else value


def _each(change: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    return lambda arguments: [change(argument) for argument in arguments]


def _first(change: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    return lambda arguments: [change(arguments[0]), *arguments[1:]]


def _second(change: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    return lambda arguments: [arguments[0], change(arguments[1])]


def _set_or_dict(item: Any) -> Any:
    # EvalPlus turns an empty list into an empty dictionary, where `{}` was meant as a set.
    return set(item) if isinstance(item, list) and item else {}


_RESTORE: dict[Callable[[list[Any]], Any], tuple[int, ...]] = {
    _each(_tuple): (2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809),
    _each(_tuples): (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780),
    _first(_tuples): (75, 413, 444, 753),
    _second(_tuple): (106, 750),
    _first(_tuple): (250, 307, 405, 446, 617, 720, 763, 808),
    _each(lambda rows: tuple(_tuples(rows))): (259, 401, 445),
    lambda a: [tuple(tuple(item) if isinstance(item, list) else item for item in a[0])]: (278,),
    lambda a: [[_set_or_dict(item) for item in a[0]]]: (115,),
    lambda a: (float(a[0]), complex(a[1])): (124,),
    lambda a: [complex(a[0])]: (252,),
    _first(lambda rows: {key: tuple(value) for key, value in rows.items()}): (722,),
    _deep_tuple: (580, 615, 791),
}
_RESTORE_BY_TASK = {f"Mbpp/{number}": change for change, numbers in _RESTORE.items() for number in numbers}


def restore_inputs(task_id: str, inputs: list[Any]) -> list[Any]:
    """Return the Python values that the JSON values stand for."""
    change = _RESTORE_BY_TASK.get(task_id)
    return inputs if change is None else [change(arguments) for arguments in inputs]


def serializable_inputs(task_id: str, inputs: list[Any]) -> list[Any]:
    """Return inputs as JSON can hold them (evalplus 0.3.1, `mbpp_serialize_inputs`)."""
    if task_id == "Mbpp/115":
        return [[[list(item) for item in arguments[0]]] for arguments in inputs]
    if task_id in ("Mbpp/124", "Mbpp/252"):
        return [[str(argument) for argument in arguments] for arguments in inputs]
    return inputs


def function_tests(family: Family, row: dict[str, Any]) -> FunctionTests:
    def part(name: str) -> Part:
        # One task has an empty dictionary in place of an empty list.
        inputs = restore_inputs(row["task_id"], list(row[name]))
        return Part(marshal.dumps(inputs, 2), len(inputs))

    canonical = row["prompt"] + row["canonical_solution"]
    return FunctionTests(family, canonical, part("base_input"), part("plus_input"), row["atol"])
