"""The sections of a recipe: closed, frozen, documented dataclasses that check themselves (`settings`); `recipe_files` reads them.

Each field is declared once with its meaning, unit and range; that line is the help text, the comment in a run's `config.yaml`,
the reference in `docs/recipes.md` and the description in the JSON Schema.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from reflectioncoder.choices import (
    MAX_TOKENS_FIELDS,
    RULES,
    Api,
    AssistantPrefix,
    AuthorName,
    MaskSchedule,
    MaskStrategy,
    MaxTokensField,
    Omittable,
    Rendering,
    Rules,
    StudentPositions,
)
from reflectioncoder.config.settings import Settings, doc
from reflectioncoder.data.samples import BLOCK_TYPES, BlockType
from reflectioncoder.errors import UsageError

MAX_SECONDS = 1_000_000.0
MAX_SEED = 2**32 - 1  # numpy's


def _device(value: str) -> str | None:
    return None if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value) else "auto, cpu, cuda or cuda:N"


def _folder_name(value: str) -> str | None:
    """Check that a run's name is one folder below `--runs-dir` on every file system: it leads nowhere else and is no device's name."""
    bad = re.search(r'[\x00-\x1f/\\<>:"|?*]|^[.\s-]|[.\s]$', value) or re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", value)
    return "the name of a folder, without a path" if bad or not 1 <= len(value.encode()) <= 200 else None


def _each_block_type_once(value: tuple[str, ...]) -> str | None:
    return None if sorted(value) == sorted(BLOCK_TYPES) else f"{', '.join(BLOCK_TYPES)}, each once, in any order"


def _not_empty(value: tuple[str, ...]) -> str | None:
    return None if value else "at least one; [none] hides nothing"


@dataclass(frozen=True)
class ModelConfig(Settings):
    name: str = doc("model hub id or local directory of a causal language model")
    revision: str | None = doc("hub revision; null takes the default branch", None)
    rendering: Rendering = doc(
        "how dialogues become tokens: seven added tokens (the paper's), or the model's own chat template", "chat"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = doc(
        "weight dtype; auto: float32, and on a GPU bfloat16 for generation and float32 weights with bfloat16 autocast for training;"
        " float64: for comparing runs exactly on a CPU",
        "auto",
    )
    device: str = doc("device that the model runs on: cpu, cuda or cuda:N; auto: a GPU if there is one", "auto", check=_device)


@dataclass(frozen=True)
class SandboxConfig(Settings):
    wall_s: float = doc(
        "wall-clock limit of one program that is scored with its tests (bundled benchmarks), seconds; attempts: build.cell_timeout_s",
        10.0,
        low=0.1,
        high=MAX_SECONDS,
    )
    cpu_s: float = doc("CPU-time limit of one program, seconds; raise it if right programs are stopped", 5.0, low=0.1, high=MAX_SECONDS)
    memory_bytes: int = doc("address space of one process, bytes", 2**30, low=2**26)
    output_bytes: int = doc("kept of stdout and of stderr each, bytes", 64 * 1024, low=256)
    file_bytes: int = doc("largest file that a program may write, bytes", 16 * 2**20, low=0)
    processes: int = doc("processes and threads of one program", 32, low=1)
    workers: int = doc("programs run at the same time; 0: number of cores", 0, low=0)
    floor: int = doc("weakest isolation tier that programs may run at (docs/sandbox.md)", 1, low=0, high=3)
    rules: Rules = doc("whose verdicts on HumanEval(+) and MBPP(+)", RULES[0])


@dataclass(frozen=True)
class EndpointConfig(Settings):
    base_url: str = doc(
        "URL of an OpenAI-compatible server, http or https; user, password and query are sent, and never shown or stored",
        "http://127.0.0.1:8080/v1",
    )
    model: str = doc(
        "name of the model at the server; local: a GGUF file or packaged model; vllm: hub id or folder; attempts: "
        "the model that wrote the completions",
        "",
    )
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
    timeout_s: float = doc(
        "longest time from a request to the end of its answer, seconds; raise it for slow servers and long answers",
        600.0,
        low=1.0,
        high=MAX_SECONDS,
    )
    retries: int = doc("how often a request that failed is made again", 6, low=0)
    input_usd: float = doc("price of a million tokens read", 0.0, low=0.0)
    output_usd: float = doc("price of a million tokens written", 0.0, low=0.0)
    max_in_flight: int = doc("requests at a time at most; fewer where the server complains", 16, low=1)
    extra_body: dict[str, Any] = field(
        default_factory=dict,
        metadata={"doc": "further parameters of every request, such as {reasoning_effort: low}; they are logged, so put no key there"},
    )
    omit: tuple[Omittable, ...] = doc("parameters that are left out of requests; name those that the server refuses", ())
    max_tokens_field: MaxTokensField = doc(
        "name of the parameter that bounds an answer's tokens; newer models of OpenAI want max_completion_tokens", MAX_TOKENS_FIELDS[0]
    )


@dataclass(frozen=True)
class BuildConfig(Settings):
    author: AuthorName = doc(
        "who writes the reflection sequences; mutation: injected slips, offline; openai: a model behind an OpenAI-compatible server; "
        "local: a model (endpoint.model: a GGUF file, or one that comes in packages) that is served here, on the CPU; "
        "vllm: a model (endpoint.model: hub id or folder) that is served here, on GPUs; attempts: completions in a file (attempts), "
        "the failing ones repaired by the reference solutions",
        "mutation",
    )
    endpoint: EndpointConfig = field(
        default_factory=EndpointConfig,
        metadata={"doc": "models: the server, or the model that is served here; attempts: the name of the model that wrote them"},
    )
    hybrid: bool = doc("models: take one attempt from the model and the repair from the reference solution; for weak models", False)
    attempts: str = doc("attempts: completions (JSON Lines, of generate or EvalPlus) by the model that endpoint.model names", "")
    rollouts: int = doc("models: dialogues per problem; attempts: completions that are taken of each problem, at most", 1, low=1)
    max_executions: int = doc("models: attempts in a dialogue at most", 5, low=1)
    keep_first_try: bool = doc("models: keep dialogues whose first attempt passes; they hold no reflection", False)
    min_killed_mutants: float = doc(
        "models: smallest share of slips put into the final program that its own tests have to notice", 0.5, low=0.0, high=1.0
    )
    budget_tokens: int | None = doc("models: tokens, read and written, that the build may use; null: no bound", None, low=1)
    budget_usd: float | None = doc("models: what the build may cost at the prices of the endpoint; null: no bound", None, low=0.0)
    prompts: str = doc("models: a version that comes with the package, or a folder with reflect, feedback and answer.jinja", "v1")
    problems: tuple[str, ...] = doc("problem files, or bundled:<split>", ("bundled:train",))
    samples_per_problem: int | None = doc(
        "largest number of reflection samples kept per problem; null: 4 for mutation, all for the others", None, low=1
    )
    two_slip_share: float = doc(
        "mutation: probability that a sequence takes two corrections, if its slips allow it", 0.25, low=0.0, high=1.0
    )
    max_operator_share: float = doc(
        "mutation: largest share that one kind of slip may have in all slips of the samples; 1: no bound", 0.15, low=0.05, high=1.0
    )
    max_chars: int = doc("longest sample, characters; a token of a program has about three", 16_000, low=100)
    near_duplicates: float = doc(
        "samples this similar (Jaccard of five-word shingles) to an earlier one are left out; 1: off; mutation: of other problems only",
        0.85,
        low=0.1,
        high=1.0,
    )
    shown_tests: int = doc("mutation, hybrid, attempts: largest number of assertions in an attempt's code block", 3, low=1)
    cell_timeout_s: float = doc(
        "wall-clock limit of one attempt, or of a program with all its tests, while building, seconds", 3.0, low=0.1, high=MAX_SECONDS
    )
    min_samples: int = doc("fewer accepted samples than this is an error", 1, low=0)


@dataclass(frozen=True)
class LoraConfig(Settings):
    rank: int = doc("rank of the update", 16, low=1)
    alpha: int = doc("scale of the update (alpha / rank)", 32, low=1)
    target_modules: tuple[str, ...] | None = doc("names of the adapted layers; null: all linear layers", None)
    quantization: Literal["none", "nf4"] = doc("of the base weights while training; nf4: 4 bits each (QLoRA)", "none")


@dataclass(frozen=True)
class TrainConfig(Settings):
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
    mask_strategy: tuple[MaskStrategy, ...] = doc(
        "what the student does not see of the reflection sequence; several are drawn uniformly per sample",
        ("block_type",),
        check=_not_empty,
    )
    mask_block_order: tuple[BlockType, ...] = doc(
        "block_type: order in which the types of blocks vanish from the student's view",
        ("execution", "text", "code"),
        check=_each_block_type_once,
    )
    mask_schedule: MaskSchedule = doc(
        "growth of the mask rate from step to step; linear: to 1 at the end; step: linear, rounded down to quarters; "
        "cosine: slow at both ends; constant: mask_constant_rate",
        "linear",
    )
    mask_constant_rate: float = doc("the rate of the constant schedule", 1.0, low=0.0, high=1.0)
    mask_frame: bool = doc(
        "hide round one's instruction, headers and closing token (gap: BOS too) from the student as well, at every mask rate; "
        "false: the mask strategy alone decides, and none shows the student everything (the authors' script without a mask)",
        True,
    )
    student_positions: StudentPositions = doc(
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lora is not None and self.freeze_layers:
            raise UsageError("train.lora and train.freeze_layers exclude each other: a LoRA freezes all base weights already")


@dataclass(frozen=True)
class GenerateConfig(Settings):
    batch_size: int = doc("completions decoded at once", 20, low=1)
    max_new_tokens: int = doc("longest completion, tokens", 512, low=1)
    temperature: float = doc("0: greedy; above: sampling", 0.0, low=0.0)
    top_p: float = doc("nucleus of sampling", 0.95, low=0.0, high=1.0)
    num_samples: int = doc("completions per problem; above 1 needs a temperature", 1, low=1)


@dataclass(frozen=True)
class EvaluateConfig(Settings):
    benchmarks: tuple[str, ...] = doc(
        "what is measured before and after; name or name:N for its first N tasks", ("bundled/seen", "bundled/unseen")
    )
    confidence: float = doc("level of the intervals", 0.95, low=0.5, high=0.999)
    allow_contaminated: bool = doc("also print numbers on benchmarks that the training data holds tasks of", False)


@dataclass(frozen=True)
class ImproveConfig(Settings):
    rounds: int = doc("rounds at most", 3, low=1)
    problems_per_round: int = doc("fresh problems of build.problems that each round attempts", 100, low=1)
    samples: int = doc("attempts at each problem", 1, low=1)
    temperature: float = doc("of the attempts; 0: greedy", 0.8, low=0.0)
    patience: int = doc("rounds without a better held-out score after which it ends", 1, low=1)


@dataclass(frozen=True)
class Recipe(Settings):
    """The configuration of a whole run, in typed, frozen sections that check themselves; docs/recipes.md has every key.

    Raises:
        UsageError: a value of the wrong type, out of its range or not allowed; the message names it and what is allowed.

    Example:
        >>> from dataclasses import replace
        >>> from reflectioncoder import Recipe
        >>> from reflectioncoder.config.declarations import ModelConfig
        >>> recipe = Recipe("mine", ModelConfig("HuggingFaceTB/SmolLM2-135M-Instruct"))
        >>> replace(recipe.train, learning_rate=1e-4).learning_rate
        0.0001
        >>> replace(recipe.train, learning_rate=-1)
        Traceback (most recent call last):
            ...
        reflectioncoder.errors.UsageError: this value is out of range...
    """

    name: str = doc("name of the run; its folder is runs/<name>", check=_folder_name)
    model: ModelConfig = doc("the base model")
    description: str = doc("one line for people", "")
    seed: int = doc(
        "seed of everything that the run draws at random; change it to repeat a run independently", 3407, low=0, high=MAX_SEED
    )
    build: BuildConfig = field(default_factory=BuildConfig, metadata={"doc": "reflection data"})
    train: TrainConfig = field(default_factory=TrainConfig, metadata={"doc": "fine-tuning"})
    generate: GenerateConfig = field(default_factory=GenerateConfig, metadata={"doc": "one-off generation"})
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig, metadata={"doc": "benchmarks"})
    improve: ImproveConfig = field(default_factory=ImproveConfig, metadata={"doc": "rounds on the model's own attempts"})
    sandbox: SandboxConfig = field(default_factory=SandboxConfig, metadata={"doc": "limits of programs that are run"})
