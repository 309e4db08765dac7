"""Recipes: YAML → closed, frozen, documented dataclasses, with dotted overrides and the provenance of every value.

Each field is declared once with its meaning, unit and range; that line is the help text, the comment in a run's `config.yaml`
and the reference in `docs/recipes.md`. An unknown key is an error with a suggestion, never ignored.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from reflectioncoder.choices import RULES, Api, AssistantPrefix, Rules
from reflectioncoder.errors import UsageError

RECIPES_DIR = Path(__file__).parent / "recipes"


def doc(text: str, default: Any = dataclasses.MISSING, *, low: float | None = None, high: float | None = None) -> Any:
    """A documented field: its meaning and unit, its default, its inclusive range."""
    metadata = {"doc": text, "low": low, "high": high}
    if isinstance(default, (list, dict)):
        raise TypeError("use a tuple")
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ModelConfig:
    name: str = doc("model hub id or local directory of a causal language model")
    revision: str | None = doc("hub revision; null takes the default branch", None)
    rendering: Literal["token", "chat"] = doc(
        "how dialogues become tokens: seven added tokens (the paper's), or the model's own chat template", "chat"
    )
    dtype: Literal["auto", "float32", "bfloat16"] = doc("of the weights; auto: float32 on a CPU, bfloat16 arithmetic on a GPU", "auto")
    device: str = doc("auto, cpu, cuda or cuda:N", "auto")


@dataclass(frozen=True)
class SandboxConfig:
    wall_s: float = doc("wall-clock limit of one program, seconds", 10.0, low=0.1)
    cpu_s: float = doc("CPU-time limit of one program, seconds", 5.0, low=0.1)
    memory_bytes: int = doc("address space of one process, bytes", 2**30, low=2**26)
    output_bytes: int = doc("kept of stdout and of stderr each, bytes", 64 * 1024, low=256)
    file_bytes: int = doc("largest file that a program may write, bytes", 16 * 2**20, low=0)
    processes: int = doc("processes and threads of one program", 32, low=1)
    workers: int = doc("programs run at the same time; 0: number of cores", 0, low=0)
    floor: int = doc("weakest isolation tier that programs may run at (docs/sandbox.md)", 1, low=0, high=3)
    rules: Rules = doc("whose verdicts on HumanEval(+) and MBPP(+)", RULES[0])


@dataclass(frozen=True)
class EndpointConfig:
    base_url: str = doc("of an OpenAI-compatible server", "http://127.0.0.1:8080/v1")
    model: str = doc("the model's name there", "")
    revision: str = doc("of the model, where the name does not say it: answers of another one are not taken from the log", "")
    api_key_env: str = doc("environment variable that holds the key; empty: no key is sent", "")
    api: Api = doc("what the server is asked for; completion: plain text, for base models", "chat")
    assistant_prefix: AssistantPrefix = doc(
        "chat: how the server is told to go on with an unfinished assistant message; the whole of stage one is then one turn, with "
        "what the interpreter prints in it; none: feedback is a user turn",
        "none",
    )
    temperature: float = doc("of the sampling", 0.7, low=0.0)
    top_p: float = doc("nucleus of the sampling", 0.95, low=0.0, high=1.0)
    max_tokens: int = doc("longest answer, tokens", 1024, low=16)
    timeout_s: float = doc("longest wait for an answer, seconds", 600.0, low=1.0)
    retries: int = doc("how often a request that failed is made again", 6, low=0)
    input_usd: float = doc("price of a million tokens read", 0.0, low=0.0)
    output_usd: float = doc("price of a million tokens written", 0.0, low=0.0)
    max_in_flight: int = doc("requests at a time at most; fewer where the server complains", 16, low=1)


@dataclass(frozen=True)
class BuildConfig:
    author: Literal["mutation", "openai", "local", "vllm", "attempts"] = doc(
        "who writes the reflection sequences; mutation: injected slips, offline; openai: a model behind an OpenAI-compatible server; "
        "local: a model (endpoint.model: a GGUF file, or one that comes in packages) that is served here, on the CPU; "
        "vllm: a model (endpoint.model: hub id or folder) that is served here, on GPUs; attempts: completions in a file (attempts), "
        "the failing ones repaired by the reference solutions",
        "mutation",
    )
    endpoint: EndpointConfig = field(default_factory=EndpointConfig, metadata={"doc": "openai, local: the server"})
    hybrid: bool = doc("models: take one attempt from the model and the repair from the reference solution; for weak models", False)
    attempts: str = doc("attempts: completions (JSON Lines, of generate or EvalPlus) by the model that endpoint.model names", "")
    rollouts: int = doc("models: dialogues per problem", 1, low=1)
    max_executions: int = doc("models: attempts in a dialogue at most", 5, low=1)
    keep_first_try: bool = doc("models: keep dialogues whose first attempt passes; they hold no reflection", False)
    min_killed_mutants: float = doc(
        "openai: share of slips in the final program that its own tests must notice", 0.5, low=0.0, high=1.0
    )
    budget_tokens: int | None = doc("models: tokens, read and written, that the build may use; null: no bound", None, low=1)
    budget_usd: float | None = doc("models: what the build may cost at the prices of the endpoint; null: no bound", None, low=0.0)
    prompts: str = doc("models: a version that comes with the package, or a folder with reflect, feedback and answer.jinja", "v1")
    problems: tuple[str, ...] = doc("problem files, or bundled:<split>", ("bundled:train",))
    samples_per_problem: int = doc("reflection samples kept per problem at most", 4, low=1)
    two_slip_share: float = doc("share of sequences that take two corrections", 0.25, low=0.0, high=1.0)
    max_operator_share: float = doc("largest share of one kind of slip among the samples", 0.15, low=0.05, high=1.0)
    max_chars: int = doc("longest sample, characters; a token of a program has about three", 16_000, low=100)
    near_duplicates: float = doc(
        "samples this similar (Jaccard of five-word shingles) to an earlier one are left out; 1: off; mutation: of other problems only",
        0.85,
        low=0.1,
        high=1.0,
    )
    shown_tests: int = doc("assertions in an attempt's code block", 3, low=1)
    cell_timeout_s: float = doc("wall-clock limit of one attempt, seconds", 3.0, low=0.1)
    min_samples: int = doc("fewer accepted samples than this is an error", 1, low=0)


@dataclass(frozen=True)
class LoraConfig:
    rank: int = doc("rank of the update", 16, low=1)
    alpha: int = doc("scale of the update (alpha / rank)", 32, low=1)
    target_modules: tuple[str, ...] | None = doc("names of the adapted layers; null: all linear layers", None)
    quantization: Literal["none", "nf4"] = doc("of the base weights while training; nf4: 4 bits each (QLoRA)", "none")


@dataclass(frozen=True)
class TrainConfig:
    max_tokens: int | None = doc("token budget: teacher and student tokens that go through the model; null: all epochs", None, low=1)
    epochs: float = doc("passes over the data, an upper bound when max_tokens is set", 2.0, low=0.001)
    reflection_data: tuple[str, ...] = doc("further reflection samples (JSON Lines) beside the built ones", ())
    generation_data: tuple[str, ...] = doc("plain instruction samples (JSON Lines)", ())
    generation_from_problems: bool = doc("also train on the problems' reference solutions as plain one-off answers", False)
    reflection_upsampling: int = doc("how often each reflection sample counts in an epoch", 1, low=1)
    generation_upsampling: int = doc("how often each plain one-off sample counts in an epoch", 1, low=1)
    max_length: int = doc("longest sample, tokens; longer ones are dropped and counted", 4096, low=16)
    global_batch_size: int = doc("samples per optimizer step", 8, low=1)
    micro_batch_tokens: int = doc(
        "tokens (of both views) that several samples packed into one forward may have; 0: one sample each", 0, low=0
    )
    mask_strategy: tuple[str, ...] = doc(
        "what the student does not see of the reflection sequence; several are drawn uniformly per sample",
        ("block_type",),
    )
    mask_block_order: tuple[str, ...] = doc("block_type: the order in which types vanish", ("execution", "text", "code"))
    mask_schedule: Literal["linear", "cosine", "step", "constant"] = doc("growth of the mask rate over the run", "linear")
    mask_constant_rate: float = doc("the rate of the constant schedule", 1.0, low=0.0, high=1.0)
    student_positions: Literal["gap", "dense"] = doc(
        "gap: kept tokens keep their positions, BOS is hidden (the paper's); dense: BOS kept, renumbered as at inference",
        "gap",
    )
    normalization: Literal["global", "per_sample"] = doc(
        "global: sums of the optimizer step divided once; per_sample: mean of the samples' means (the authors' script)",
        "global",
    )
    kl_weight: float = doc("weight of KL(teacher ‖ student)", 1.0, low=0.0)
    learning_rate: float = doc("peak learning rate of AdamW", 5e-5, low=0.0)
    lr_scheduler: Literal["cosine", "linear", "constant_with_warmup"] = doc("learning-rate schedule", "cosine")
    warmup_ratio: float = doc("share of the steps that warm up", 0.05, low=0.0, high=1.0)
    weight_decay: float = doc("decoupled weight decay", 0.0, low=0.0)
    max_grad_norm: float = doc("gradient clipping; 0: off", 1.0, low=0.0)
    lora: LoraConfig | None = doc("train a LoRA instead of all weights; null: off", None)
    freeze_layers: int = doc("number of lowest transformer layers kept fixed; above 0 the embeddings are fixed too", 0, low=0)
    gradient_checkpointing: Literal["auto", "always", "never"] = doc(
        "recompute activations in the backward pass to save memory; auto: only where the forecast does not fit without", "auto"
    )
    sharding: Literal["none", "fsdp2", "zero1", "zero3"] = doc(
        "of several processes: none: each holds everything; fsdp2, zero3: parameters, gradients and optimizer state are spread; "
        "zero1: the optimizer state alone",
        "none",
    )
    torch_compile: bool = doc("compile the kernels of the output layer (torch.compile); for GPUs", False)
    eval_data: tuple[str, ...] = doc("held-out samples (JSON Lines): the loss of their one-off answers is taken while training", ())
    eval_steps: int = doc("optimizer steps between two evaluations of eval_data", 50, low=1)
    offload_activations: bool = doc("activations wait in the machine's memory for the backward instead of the GPU's", False)
    save_steps: int = doc("optimizer steps between checkpoints", 50, low=1)
    keep_checkpoints: int = doc("how many of the newest checkpoints are kept", 2, low=1)
    report_to: tuple[str, ...] = doc("trackers beside metrics.jsonl, as transformers names them: tensorboard, wandb, trackio, …", ())
    dataloader_workers: int = doc("processes that prepare batches; 0: in the trainer", 0, low=0)


@dataclass(frozen=True)
class GenerateConfig:
    batch_size: int = doc("completions decoded at once", 20, low=1)
    max_new_tokens: int = doc("longest completion, tokens", 512, low=1)
    temperature: float = doc("0: greedy; above: sampling", 0.0, low=0.0)
    top_p: float = doc("nucleus of sampling", 0.95, low=0.0, high=1.0)
    num_samples: int = doc("completions per problem; above 1 needs a temperature", 1, low=1)


@dataclass(frozen=True)
class EvaluateConfig:
    benchmarks: tuple[str, ...] = doc(
        "what is measured before and after; name or name:N for its first N tasks", ("bundled/seen", "bundled/unseen")
    )
    confidence: float = doc("level of the intervals", 0.95, low=0.5, high=0.999)
    allow_contaminated: bool = doc("also print numbers on benchmarks that the training data holds tasks of", False)


@dataclass(frozen=True)
class ImproveConfig:
    rounds: int = doc("rounds at most", 3, low=1)
    problems_per_round: int = doc("fresh problems of build.problems that each round attempts", 100, low=1)
    samples: int = doc("attempts at each problem", 1, low=1)
    temperature: float = doc("of the attempts; 0: greedy", 0.8, low=0.0)
    patience: int = doc("rounds without a better held-out score after which it ends", 1, low=1)


@dataclass(frozen=True)
class Recipe:
    name: str = doc("name of the run; its folder is runs/<name>")
    model: ModelConfig = doc("the base model")
    description: str = doc("one line for people", "")
    seed: int = doc("seed of everything that is drawn", 3407, low=0)
    build: BuildConfig = field(default_factory=BuildConfig, metadata={"doc": "reflection data"})
    train: TrainConfig = field(default_factory=TrainConfig, metadata={"doc": "fine-tuning"})
    generate: GenerateConfig = field(default_factory=GenerateConfig, metadata={"doc": "one-off generation"})
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig, metadata={"doc": "benchmarks"})
    improve: ImproveConfig = field(default_factory=ImproveConfig, metadata={"doc": "rounds on the model's own attempts"})
    sandbox: SandboxConfig = field(default_factory=SandboxConfig, metadata={"doc": "limits of programs that are run"})


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with the origin of every value: dotted key → "recipe FILE:LINE", "--set", or "default" (absent)."""

    recipe: Recipe
    provenance: dict[str, str]

    def to_yaml(self) -> str:
        """The whole configuration, each line with its origin and meaning; loads as a recipe again."""
        lines: list[str] = []
        _dump(self.recipe, "", self.provenance, lines)
        return "\n".join(lines) + "\n"


# --- YAML with line numbers ---------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys and reads 1e-4 as a number (YAML 1.2), not as text (YAML 1.1)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$"),
    list("-+0123456789."),
)


def _parse_yaml(text: str, where: str) -> tuple[Any, dict[str, int]]:
    """The value, and the line number of every dotted key."""
    lines: dict[str, int] = {}

    def walk(node: yaml.Node, prefix: str) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        seen: set[str] = set()
        for key, value in node.value:
            dotted = f"{prefix}{key.value}"
            if dotted in seen:
                raise UsageError(f"{where}:{key.start_mark.line + 1}: the key {dotted!r} is given twice")
            seen.add(dotted)
            lines[dotted] = key.start_mark.line + 1
            walk(value, dotted + ".")

    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        walk(node, "")
        return loader.construct_document(node), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{where}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None
    finally:
        loader.dispose()


# --- typed construction -------------------------------------------------------------------------------------------------


def _describe(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(str(a) for a in args)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _describe(a) for a in args)
    if origin is tuple:
        return f"a list of {_describe(args[0])}"
    if is_dataclass(annotation):
        return "a section"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(annotation, str(annotation))


def _convert(value: Any, annotation: Any, key: str, where: dict[str, str]) -> Any:
    """`value` as `annotation` says, or a UsageError that names key, place, value and what is allowed."""
    origin, args = get_origin(annotation), get_args(annotation)
    place = f"{key} ({where.get(key, 'default')})"
    if isinstance(annotation, type) and is_dataclass(annotation):
        if isinstance(value, dict):
            return _construct(annotation, value, key + ".", where)
    elif origin in (Union, types.UnionType):
        if value is None:
            return None
        return _convert(value, next(a for a in args if a is not type(None)), key, where)
    elif origin is Literal:
        if value in args:
            return value
        raise UsageError.for_value("this value is not allowed", place, value, [str(a) for a in args])
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_convert(item, args[0], key, where) for item in value)
    elif (annotation is float and isinstance(value, (int, float)) and not isinstance(value, bool)) or (type(value) is annotation):
        return annotation(value)
    elif annotation is int and isinstance(value, float) and value.is_integer():
        return int(value)
    raise UsageError.for_value("this value has the wrong type", place, value, _describe(annotation))


def _construct(cls: type, values: dict[str, Any], prefix: str, where: dict[str, str]) -> Any:
    known = {f.name: f for f in fields(cls)}
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in known:
            dotted = f"{prefix}{name}"
            raise UsageError.for_value(
                "unknown key in the recipe", where.get(dotted, "recipe"), dotted, known, _suggest(name, known, prefix)
            )
    result: dict[str, Any] = {}
    for name, spec in known.items():
        key = f"{prefix}{name}"
        if name not in values:
            if spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
                raise UsageError(f"the recipe lacks {key}\n  what:    {spec.metadata['doc']}")
            continue
        result[name] = _convert(values[name], hints[name], key, where)
        low, high = spec.metadata.get("low"), spec.metadata.get("high")
        number = result[name]
        if isinstance(number, (int, float)) and ((low is not None and number < low) or (high is not None and number > high)):
            span = f"{low if low is not None else '-∞'} to {high if high is not None else '∞'}"
            raise UsageError.for_value("this value is out of range", f"{key} ({where.get(key, '?')})", number, span)
    return cls(**result)


def _suggest(name: str, known: dict[str, Any], prefix: str) -> str | None:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {prefix}{close[0]}?"
    elsewhere = [key for key in field_docs() if key.rsplit(".", 1)[-1] == name]
    return f"did you mean {elsewhere[0]}?" if elsewhere else None


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, name = dotted.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            inner = values[section] = {}
        values = inner
    values[name] = value


def load_recipe(source: str | Path, overrides: list[str] | None = None) -> ResolvedRecipe:
    """Load a recipe file, or a shipped recipe by its name, and apply `a.b=value` overrides (values are YAML).

    Raises:
        UsageError: no such recipe; bad YAML; unknown key; wrong type; out of range.
    """
    path = find_recipe(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the recipe {path}: {error}") from None
    values, lines = _parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise UsageError(f"{path}: a recipe is a mapping, got {type(values).__name__}")
    where = {key: f"{path}:{line}" for key, line in lines.items()}
    for override in overrides or []:
        dotted, equals, raw = override.partition("=")
        if not equals or not dotted:
            raise UsageError.for_value("malformed override", "--set", override, "key.subkey=value")
        value, _ = _parse_yaml(raw, f"--set {dotted}")
        _set(values, dotted, None if raw.strip() in ("", "null", "~") else value)
        where[dotted] = f"--set {override}"
    return ResolvedRecipe(_construct(Recipe, values, "", where), where)


def find_recipe(source: str | Path) -> Path:
    """A recipe's path from a path or the name of a shipped recipe."""
    path = Path(source)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    name = str(source).removeprefix("recipes/").removesuffix(".yaml")
    if name in shipped:
        return shipped[name]
    raise UsageError.for_value("no such recipe", "RECIPE", str(source), [*shipped, "or the path of a YAML file"])


def shipped_recipes() -> dict[str, Path]:
    return {path.stem: path for path in sorted(RECIPES_DIR.glob("*.yaml"))}


# --- printing -----------------------------------------------------------------------------------------------------------


def _scalar(value: Any) -> str:
    if isinstance(value, tuple):
        value = list(value)
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _dump(section: Any, prefix: str, provenance: dict[str, str], lines: list[str]) -> None:
    indent = "  " * prefix.count(".")
    for spec in fields(section):
        value, key = getattr(section, spec.name), f"{prefix}{spec.name}"
        if is_dataclass(value):
            lines.append(f"{indent}{spec.name}:")
            _dump(value, key + ".", provenance, lines)
        else:
            lines.append(f"{indent}{spec.name}: {_scalar(value)}  # [{provenance.get(key, 'default')}] {spec.metadata['doc']}")


def field_docs() -> dict[str, tuple[str, str, str]]:
    """Every key of a recipe: dotted name → (type, default, meaning). The source of `docs/recipes.md`."""
    result: dict[str, tuple[str, str, str]] = {}

    def walk(cls: type, prefix: str) -> None:
        hints = typing.get_type_hints(cls)
        for spec in fields(cls):
            annotation, key = hints[spec.name], f"{prefix}{spec.name}"
            inner = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and is_dataclass(a)]
            default = "" if spec.default is dataclasses.MISSING else _scalar(spec.default)
            if inner:
                if default:
                    result[key] = ("section or null", default, spec.metadata["doc"])
                walk(inner[0], key + ".")
            else:
                required = spec.default is dataclasses.MISSING
                result[key] = (_describe(annotation), "required" if required else default, spec.metadata["doc"])

    walk(Recipe, "")
    return result
