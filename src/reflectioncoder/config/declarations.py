"""Declares the sections of a recipe: closed, frozen, self-checking dataclasses (`settings`), which `loading` reads from YAML.

Each field is declared once, with its meaning, unit, range and, for a choice, a sentence about each value. `recipes keys`, the comments
in a run's `config.yaml`, `docs/recipes.md` and the JSON Schema are generated from these declarations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from reflectioncoder.choices import (
    CHECKPOINTINGS_HELP,
    DTYPES_HELP,
    FAILED_ATTEMPTS_HELP,
    GGUF_CHOICES_HELP,
    LR_SCHEDULERS_HELP,
    MASK_SCHEDULES_HELP,
    MASK_STRATEGIES_HELP,
    MEASURES_HELP,
    NORMALIZATIONS_HELP,
    QUANTIZATIONS_HELP,
    RENDERINGS_HELP,
    RULES,
    RULES_HELP,
    RUN_BACKENDS_HELP,
    SHARDINGS_HELP,
    STUDENT_POSITIONS_HELP,
    TEACHER_TARGETS_HELP,
    TEXT_NORMALIZATIONS_HELP,
    Checkpointing,
    Dtype,
    FailedAttempts,
    GgufChoice,
    LrScheduler,
    MaskSchedule,
    MaskStrategy,
    Measure,
    Normalization,
    Quantization,
    Rendering,
    Rules,
    RunBackend,
    Sharding,
    StudentPositions,
    TeacherTargets,
    TextNormalization,
)
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.checks import (
    MAX_AT_ONCE,
    MAX_BYTES,
    MAX_SAMPLES,
    MAX_SECONDS,
    MAX_SEED,
    MAX_WORKERS,
    day,
    device,
    each_block_type_once,
    folder_name,
    not_empty,
    pass_rates,
    seeds,
    useful_share,
)
from reflectioncoder.config.settings import Settings, doc
from reflectioncoder.data.samples import BLOCK_TYPES_HELP, BlockType
from reflectioncoder.errors import UsageError

MAX_PROCESSES = 1024
MAX_UPSAMPLING = 1000


@dataclass(frozen=True)
class ModelConfig(Settings):
    name: str = doc("Base model: a hub id, or a local folder with a causal language model.")
    revision: str | None = doc("Hub revision (branch, tag or commit) to load; null takes the default branch.", None)
    rendering: Rendering = doc("How dialogues become tokens.", "chat", values=RENDERINGS_HELP)
    dtype: Dtype = doc("Weight dtype.", "auto", values=DTYPES_HELP)
    device: str = doc("Device that runs the model: cpu, cuda or cuda:N; auto takes a GPU if there is one.", "auto", check=device)


@dataclass(frozen=True)
class SandboxConfig(Settings):
    wall_s: float = doc(
        "Time limit of a program that is scored with its tests (bundled benchmarks), seconds. Attempts of a build have "
        "build.cell_timeout_s, HumanEval(+) and MBPP(+) have EvalPlus's limits.",
        10.0,
        low=0.1,
        high=MAX_SECONDS,
    )
    cpu_s: float = doc(
        "CPU-time limit of one process, seconds; raise it if correct programs are stopped.", 5.0, low=0.1, high=MAX_SECONDS
    )
    memory_bytes: int = doc(
        "Memory limit of one program, bytes; raise it if correct programs run out of memory.", 2**30, low=2**26, high=MAX_BYTES
    )
    output_bytes: int = doc(
        "How much is kept of stdout and of stderr each, bytes; of longer output the head and the tail.", 64 * 1024, low=256, high=2**30
    )
    file_bytes: int = doc("Size limit of any file that a program writes, bytes.", 16 * 2**20, low=0, high=MAX_BYTES)
    processes: int = doc("Maximum number of processes and threads of one program.", 32, low=1, high=2**22)
    workers: int = doc(
        "Programs run at once; 0 means one per core. Lower it if the machine is short of memory.", 0, low=0, high=MAX_WORKERS
    )
    floor: int = doc(
        "Weakest isolation tier (0 to 3) at which programs may run. At 0 they can read your files and use the network; docs/sandbox.md "
        "describes the tiers.",
        1,
        low=0,
        high=3,
    )
    rules: Rules = doc("Rules by which answers to HumanEval(+) and MBPP(+) are judged.", RULES[0], values=RULES_HELP)


@dataclass(frozen=True)
class LoraConfig(Settings):
    rank: int = doc("Rank of the low-rank update; higher learns more and takes more memory.", 16, low=1)
    alpha: int = doc("Scale of the update, which is multiplied by alpha / rank.", 32, low=1)
    target_modules: tuple[str, ...] | None = doc("Names of the layers to adapt; null adapts all linear layers.", None)
    quantization: Quantization = doc("How the frozen base weights are stored while training.", "none", values=QUANTIZATIONS_HELP)


@dataclass(frozen=True)
class TrainConfig(Settings):
    max_tokens: int | None = doc(
        "Token budget of the run: teacher and student tokens that go through the model. null trains all epochs.", None, low=1
    )
    epochs: float = doc("Passes over the data; an upper bound if max_tokens is set.", 2.0, low=0.001, high=1e9)
    reflection_data: tuple[str, ...] = doc(
        "Further reflection samples to train on besides the built ones: files (.jsonl, .jsonl.gz, .parquet), folders of such files, or "
        "data sets of the Hugging Face Hub, hub:NAME[:CONFIG][:SPLIT][@REVISION].",
        (),
    )
    generation_data: tuple[str, ...] = doc(
        "Plain instruction samples to mix in; files, folders and data sets of the Hub, as in reflection_data.", ()
    )
    text_normalization: TextNormalization = doc(
        "What is changed in the texts of reflection_data, generation_data and eval_data; built samples stay as they are.",
        "none",
        values=TEXT_NORMALIZATIONS_HELP,
    )
    generation_from_problems: bool = doc("Also train on the problems' reference solutions as plain one-off answers.", False)
    self_samples: int = doc(
        "Answers to each problem, sampled from the base model and not verified, that generation_from_problems takes in place of the "
        "reference solutions; 0 takes these. A control: it shows how much of a gain comes from training on the model's own answers.",
        0,
        low=0,
        high=MAX_SAMPLES,
    )
    self_temperature: float = doc("Sampling temperature of self_samples.", 0.8, low=0.01)
    reflection_upsampling: int = doc(
        "How often each reflection sample is visited in an epoch (the paper: 2); 0 leaves them out, for a control without them.",
        1,
        low=0,
        high=MAX_UPSAMPLING,
    )
    generation_upsampling: int = doc(
        "How often each plain one-off sample is visited in an epoch; 0 leaves them out.", 1, low=0, high=MAX_UPSAMPLING
    )
    reflection_token_share: float | None = doc(
        "Share of the run's tokens, teacher and student, that go into reflection samples (0, or 0.001 to 1), in place of the "
        "up-samplings; an epoch is then a pass over the reflection samples, with 0 over the one-off samples. null leaves the share to "
        "the up-samplings. Set it to compare samples of different lengths.",
        None,
        low=0.0,
        high=1.0,
        check=useful_share,
    )
    max_length: int = doc("Length limit of a sample, tokens. Longer samples are left out and counted, never cut.", 4096, low=16)
    global_batch_size: int = doc("Samples per optimizer step, over all processes together (the paper: 512).", 8, low=1)
    micro_batch_tokens: int = doc(
        "Maximum number of tokens (both views) of several samples packed into one forward pass; 0 runs each sample alone. Set 8192 or "
        "more on a GPU, 2048 on a CPU with model.dtype: mixed; it does not help on other CPUs.",
        0,
        low=0,
    )
    mask_strategy: tuple[MaskStrategy, ...] = doc(
        "Which parts of the reflection sequence are hidden from the student at a given mask rate. With several strategies one is drawn "
        "uniformly for each visit of a sample.",
        ("block_type",),
        check=not_empty,
        values=MASK_STRATEGIES_HELP,
    )
    mask_block_order: tuple[BlockType, ...] = doc(
        "The order in which block_type hides the types of blocks.",
        ("execution", "text", "code"),
        check=each_block_type_once,
        values=BLOCK_TYPES_HELP,
    )
    mask_schedule: MaskSchedule = doc(
        "How the mask rate grows over the optimizer steps of the run.", "linear", values=MASK_SCHEDULES_HELP
    )
    mask_constant_rate: float = doc("Mask rate (0 to 1) of mask_schedule: constant.", 1.0, low=0.0, high=1.0)
    mask_frame: bool = doc(
        "Also hide the rest of round one from the student at every mask rate: its instruction, headers and closing token, and BOS with "
        "student_positions: gap. With false the mask strategy alone decides; with strategy none the student then sees everything, "
        "as in the authors' script without a mask.",
        True,
    )
    student_view: bool = doc(
        "Train reflection samples in two views, as teacher and as student. false trains them as plain dialogues with cross-entropy "
        "alone, for a control without distillation; kl_weight must then be 0, and the mask has no effect.",
        True,
    )
    teacher_targets: TeacherTargets = doc(
        "Targets of the teacher's cross-entropy in reflection samples.", "dialogue", values=TEACHER_TARGETS_HELP
    )
    failed_attempts: FailedAttempts = doc(
        "Whether the cross-entropy of the teacher includes the code of attempts whose output reports a failure.",
        "train",
        values=FAILED_ATTEMPTS_HELP,
    )
    student_positions: StudentPositions = doc("Which position ids the student's tokens have.", "gap", values=STUDENT_POSITIONS_HELP)
    normalization: Normalization = doc("How the losses of an optimizer step are averaged.", "global", values=NORMALIZATIONS_HELP)
    kl_weight: float = doc("Weight of KL(teacher ‖ student) beside the cross-entropy; 0 turns distillation off.", 1.0, low=0.0)
    learning_rate: float = doc("Peak learning rate of AdamW. Raise it for a LoRA (the demo recipe: 5e-4).", 5e-5, low=0.0)
    lr_scheduler: LrScheduler = doc("Learning-rate schedule after the warm-up.", "cosine", values=LR_SCHEDULERS_HELP)
    warmup_ratio: float = doc(
        "Share of the optimizer steps in which the learning rate rises from 0 to its peak; rounded up.", 0.05, low=0.0, high=1.0
    )
    weight_decay: float = doc("Decoupled weight decay of AdamW.", 0.0, low=0.0)
    max_grad_norm: float = doc("Clip gradients to this norm; 0 turns clipping off.", 1.0, low=0.0)
    lora: LoraConfig | None = doc("Train a LoRA instead of all weights; null trains all weights.", None)
    freeze_layers: int = doc(
        "Number of lowest transformer layers to keep fixed, which saves time and memory; above 0 the embeddings are fixed too.",
        0,
        low=0,
    )
    gradient_checkpointing: Checkpointing = doc(
        "Whether activations are recomputed in the backward pass, which saves memory and costs time.",
        "auto",
        values=CHECKPOINTINGS_HELP,
    )
    sharding: Sharding = doc(
        "How training state is split across processes; for models that do not fit on one device.", "none", values=SHARDINGS_HELP
    )
    processes: Literal["auto"] | int = doc(
        "Number of processes that train, each on a GPU of its own; auto takes one for each visible GPU, at most global_batch_size, and "
        "one on a CPU. It changes speed and memory, not the result. Under torchrun or accelerate it has no effect: all of their "
        "processes train.",
        "auto",
        low=1,
        high=MAX_PROCESSES,
    )
    torch_compile: bool = doc("Compile the output layer with torch.compile; meant for GPUs, gains nothing on a CPU.", False)
    eval_data: tuple[str, ...] = doc(
        "Held-out samples, named as in reflection_data; the loss of their one-off answers is measured while training.", ()
    )
    eval_steps: int = doc("Optimizer steps between two measurements on eval_data.", 50, low=1)
    offload_activations: bool = doc(
        "Keep activations in the machine's memory instead of the GPU's until the backward pass: slower, and exact.", False
    )
    save_steps: int = doc("Optimizer steps between two checkpoints; lower it if steps are slow or interruptions frequent.", 50, low=1)
    keep_checkpoints: int = doc("Number of newest checkpoints to keep.", 2, low=1)
    report_to: tuple[str, ...] = doc(
        "Trackers to report to besides metrics.jsonl, by their names in transformers: tensorboard, wandb, trackio, …", ()
    )
    dataloader_workers: int = doc("Processes that prepare batches; 0 prepares them in the training process.", 0, low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lora is not None and self.freeze_layers:
            raise UsageError("train.lora and train.freeze_layers exclude each other: a LoRA freezes all base weights already")
        if self.reflection_token_share is not None and (self.reflection_upsampling, self.generation_upsampling) != (1, 1):
            found = f"{self.reflection_upsampling}, {self.generation_upsampling}"
            where = "train.reflection_upsampling, train.generation_upsampling"
            raise UsageError.for_value("up-sampling has no effect beside train.reflection_token_share", where, found, "1, 1")
        if not self.student_view and self.kl_weight:
            raise UsageError.for_value(
                "without a student there is nobody to distil into",
                "train.kl_weight",
                self.kl_weight,
                "0 with train.student_view: false",
            )
        if self.self_samples and not self.generation_from_problems:
            raise UsageError.for_value(
                "the model's own answers replace the reference solutions, which are not trained on",
                "train.self_samples", self.self_samples, "0, or train.generation_from_problems: true",
            )  # fmt: skip


@dataclass(frozen=True)
class GenerateConfig(Settings):
    batch_size: int = doc(
        "Completions decoded at once, or requests sent at once to a server; lower it if the device runs out of memory.",
        20,
        low=1,
        high=MAX_AT_ONCE,
    )
    max_new_tokens: int = doc("Length limit of a completion, tokens. Raise it if completions are reported as cut off.", 512, low=1)
    temperature: float = doc("Sampling temperature; 0 is greedy.", 0.0, low=0.0)
    top_p: float = doc(
        "Nucleus sampling: only the most likely tokens whose probabilities add up to this share are drawn.", 0.95, low=0.0, high=1.0
    )
    num_samples: int = doc("Completions per problem; more than 1 needs a temperature above 0.", 1, low=1, high=MAX_SAMPLES)
    backend: RunBackend = doc(
        "What runs the models of `run` and `improve`. A server elsewhere does not have the model that was just trained: "
        "`evaluate --backend openai` asks one that has it.",
        "transformers",
        values=RUN_BACKENDS_HELP,
    )


@dataclass(frozen=True)
class EvaluateConfig(Settings):
    benchmarks: tuple[str, ...] = doc(
        "Benchmarks to score before and after training: NAME, NAME:N for its first N tasks, file:PATH for problems of your own.",
        ("bundled/seen", "bundled/unseen"),
    )
    measures: tuple[Measure, ...] = doc(
        "What is measured before and after training. Add reference_loss to see differences that are too small for the pass rates of a "
        "few hundred tasks; take it alone for quick pilots.",
        ("pass_rate",),
        check=not_empty,
        values=MEASURES_HELP,
    )
    confidence: float = doc("Confidence level of the intervals.", 0.95, low=0.5, high=0.999)
    from_date: str = doc(
        "First day of the tasks of dated benchmarks (leetcode, livecodebench), YYYY-MM-DD; empty sets no limit. Benchmarks without "
        "dates are taken whole.",
        "",
        check=day,
    )
    to_date: str = doc("Last day of the tasks of dated benchmarks, YYYY-MM-DD; empty sets no limit.", "", check=day)
    allow_contaminated: bool = doc("Also print numbers on benchmarks of which the training data contains tasks.", False)
    known: dict[str, Any] = doc(
        "Results from elsewhere to show beside this run's, {NAME: {BENCHMARK: pass@1 in %}}, such as {the paper: {humaneval+: 68.9}}. "
        "Benchmarks are written as in evaluate.benchmarks, for the same tasks. Give those of a control, or of a paper to repeat.",
        factory=dict,
        check=pass_rates,
    )


@dataclass(frozen=True)
class ImproveConfig(Settings):
    rounds: int = doc("Maximum number of rounds.", 3, low=1)
    problems_per_round: int = doc("Fresh problems of build.problems to attempt in each round.", 100, low=1)
    samples: int = doc("Attempts per problem; more than 1 needs a temperature above 0.", 1, low=1, high=MAX_SAMPLES)
    temperature: float = doc("Sampling temperature of the attempts; 0 is greedy.", 0.8, low=0.0)
    patience: int = doc("Stop after this many rounds without a better held-out score.", 1, low=1)


@dataclass(frozen=True)
class AblateConfig(Settings):
    arms: dict[str, Any] = doc(
        "Arms that `ablate` compares: name → settings that differ from the recipe, {train.kl_weight: 0}; {} is the recipe "
        "as it stands. What an arm says of a section, {train: {kl_weight: 0}}, leaves the section's other settings as they are.",
        factory=dict,
    )
    grid: dict[str, Any] = doc(
        "Settings with the values to try, {train.mask_strategy: [[none], [block_type]]}; each arm takes each of them. Arms "
        "that have one of these settings themselves are refused.",
        factory=dict,
    )
    control: str = doc("Name of the arm that all others are compared with; empty takes the first.", "")
    seeds: tuple[int, ...] = doc(
        "Seeds; every arm is run with each. Empty takes the recipe's seed alone; three or more show how much depends on chance.",
        (),
        check=seeds,
    )


@dataclass(frozen=True)
class ExportConfig(Settings):
    gguf: GgufChoice = doc("Write the trained model as RUN/gguf/model-TYPE.gguf too, and check it.", "none", values=GGUF_CHOICES_HELP)


@dataclass(frozen=True)
class Recipe(Settings):
    """The configuration of a whole run, in typed, frozen sections that check themselves; docs/recipes.md has every key.

    Raises:
        UsageError: a value has the wrong type, is out of range or not allowed; the message names it and what is allowed.

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

    name: str = doc("Name of the run; its folder is runs/<name>.", check=folder_name)
    model: ModelConfig = doc("The base model, at least its name: {name: HuggingFaceTB/SmolLM2-135M-Instruct}.")
    description: str = doc("One line about the recipe, shown by `recipes list`.", "")
    seed: int = doc("Seed of everything that is drawn at random; change it to repeat a run independently.", 3407, low=0, high=MAX_SEED)
    build: BuildConfig = doc("How reflection data is made.", factory=BuildConfig)
    train: TrainConfig = doc("How the model is fine-tuned.", factory=TrainConfig)
    generate: GenerateConfig = doc("How one-off programs are generated.", factory=GenerateConfig)
    evaluate: EvaluateConfig = doc("What is scored.", factory=EvaluateConfig)
    improve: ImproveConfig = doc("How `improve` repeats attempts and training.", factory=ImproveConfig)
    ablate: AblateConfig = doc("Which settings `ablate` compares.", factory=AblateConfig)
    sandbox: SandboxConfig = doc("Limits of the programs that are run.", factory=SandboxConfig)
    export: ExportConfig = doc("In which other forms the trained model is written.", factory=ExportConfig)
