"""Declares the named choices shared by command line, configuration and code, with a sentence about each value.

A choice is a `Literal` and the tuple of its values. Its `*_HELP` table says what each value does; `--help`, `recipes keys`, the JSON
Schema and `docs/recipes.md` show these sentences.
"""

from __future__ import annotations

from typing import Literal, get_args

Rules = Literal["strict", "evalplus-head", "evalplus-0.3.1"]
RULES: tuple[Rules, ...] = get_args(Rules)  # the first is the default
RULES_HELP: dict[Rules, str] = {
    "strict": "EvalPlus's verdict, where numpy's numbers must also be right at full precision",
    "evalplus-head": "EvalPlus's main branch, with at least 4 s for each input and HumanEval/32 judged by its oracle",
    "evalplus-0.3.1": "EvalPlus 0.3.1, with at least 1 s for each input; every solution of HumanEval/32 fails",
}

FailedAttempts = Literal["train", "context"]
FAILED_ATTEMPTS: tuple[FailedAttempts, ...] = get_args(FailedAttempts)
FAILED_ATTEMPTS_HELP: dict[FailedAttempts, str] = {
    "train": "their code is a target like all code (the paper)",
    "context": "their code is seen and not learnt: the model is not taught to write what fails",
}

TeacherTargets = Literal["dialogue", "answer"]
TEACHER_TARGETS: tuple[TeacherTargets, ...] = get_args(TeacherTargets)
TEACHER_TARGETS_HELP: dict[TeacherTargets, str] = {
    "dialogue": "all text and code of the assistant (the paper)",
    "answer": "the one-off answer alone: the reflection sequence is seen and not learnt",
}

Measure = Literal["pass_rate", "reference_loss"]
MEASURES_HELP: dict[Measure, str] = {
    "pass_rate": "completions are generated and judged by the tests",
    "reference_loss": "the loss of the canonical programs as one-off answers, nats per token; nothing is generated",
}

CutRule = Literal["multipl-e", "reflectioncoder"]
CUT_RULES: tuple[CutRule, ...] = get_args(CutRule)
CUT_RULES_HELP: dict[CutRule, str] = {
    "multipl-e": "cut at the first stop token, as MultiPL-E and bigcode-evaluation-harness do",
    "reflectioncoder": "cut at the last occurrence of each stop token, as the authors' script does",
}

ResultFormat = Literal["evalplus", "eee", "inspect"]
RESULT_FORMATS: tuple[ResultFormat, ...] = get_args(ResultFormat)
RESULT_FORMATS_HELP: dict[ResultFormat, str] = {
    "evalplus": "EvalPlus's result file, for HumanEval(+) and MBPP(+)",
    "eee": "the Every Eval Ever schema, with a line for each sample in a second file",
    "inspect": "an Inspect log",
}

Backend = Literal["transformers", "openai", "local", "vllm"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
BACKENDS_HELP: dict[Backend, str] = {
    "transformers": "load the model in this process",
    "openai": "ask an OpenAI-compatible server",
    "local": "serve a GGUF model on this CPU with llama.cpp",
    "vllm": "serve a hub model on these GPUs with vLLM",
}

RunBackend = Literal["transformers", "local", "vllm"]
RUN_BACKENDS_HELP: dict[RunBackend, str] = {
    "transformers": "load the model in this process",
    "local": "serve the model on this CPU with llama.cpp, in 16 bits",
    "vllm": "serve the model on these GPUs with vLLM, the fastest; without vLLM or without a GPU transformers is used",
}

GgufDtype = Literal["f16", "q8_0"]
GGUF_DTYPES: tuple[GgufDtype, ...] = get_args(GgufDtype)
GGUF_DTYPES_HELP: dict[GgufDtype, str] = {
    "f16": "16-bit weights; its answers are those of the model in float32, but for ties",
    "q8_0": "8-bit weights; half the size, faster on a CPU, and slightly different answers",
}

GgufChoice = Literal["none", "f16", "q8_0"]
GGUF_CHOICES_HELP: dict[GgufChoice, str] = {"none": "no GGUF file", **GGUF_DTYPES_HELP}

Api = Literal["chat", "completion"]
APIS: tuple[Api, ...] = get_args(Api)
APIS_HELP: dict[Api, str] = {
    "chat": "send chat messages to /chat/completions",
    "completion": "send plain text to /completions, for base models",
}

AssistantPrefix = Literal["none", "vllm", "llama.cpp", "deepseek"]
ASSISTANT_PREFIXES: tuple[AssistantPrefix, ...] = get_args(AssistantPrefix)
ASSISTANT_PREFIXES_HELP: dict[AssistantPrefix, str] = {
    "none": "never continue an assistant message: the model writes its whole answer",
    "vllm": "the parameters `continue_final_message` and `add_generation_prompt` of vLLM",
    "llama.cpp": "a last message with the role assistant, which llama.cpp's server continues",
    "deepseek": "the message field `prefix` of DeepSeek's API (base URL with /beta)",
}

MaskStrategy = Literal["none", "all", "random_token", "sequential_token", "random_block", "sequential_block", "block_type"]
MASK_STRATEGIES: tuple[MaskStrategy, ...] = get_args(MaskStrategy)
MASK_STRATEGIES_HELP: dict[MaskStrategy, str] = {
    "none": "hide nothing of the reflection sequence",
    "all": "hide the whole reflection sequence at every mask rate (distillation without a dynamic mask)",
    "random_token": "hide a share of its tokens equal to the mask rate, drawn at random",
    "sequential_token": "hide a share of its tokens equal to the mask rate, from the beginning",
    "random_block": "hide a share of its blocks equal to the mask rate, drawn at random",
    "sequential_block": "hide a share of its blocks equal to the mask rate, from the beginning",
    "block_type": "hide all blocks of the first type in mask_block_order always, of the second from mask rate 0.33, of the third from "
    "0.67 (the paper's main setting)",
}

MaskSchedule = Literal["linear", "cosine", "step", "constant"]
MASK_SCHEDULES: tuple[MaskSchedule, ...] = get_args(MaskSchedule)
MASK_SCHEDULES_HELP: dict[MaskSchedule, str] = {
    "linear": "in equal steps up to 1 in the last step (the paper's)",
    "cosine": "from 0 to 1 along half a cosine wave: slow at both ends, fast in the middle",
    "step": "the linear rate rounded down to 0, 0.25, 0.5 or 0.75; 1 in the last step",
    "constant": "mask_constant_rate in every step",
}

StudentPositions = Literal["gap", "dense"]
STUDENT_POSITIONS: tuple[StudentPositions, ...] = get_args(StudentPositions)
STUDENT_POSITIONS_HELP: dict[StudentPositions, str] = {
    "gap": "the student's tokens keep the positions that they have in the whole sample, and BOS is hidden (the paper's)",
    "dense": "the student sees BOS, and its tokens are renumbered without gaps, as at inference",
}

Rendering = Literal["token", "chat"]
RENDERINGS: tuple[Rendering, ...] = get_args(Rendering)
RENDERINGS_HELP: dict[Rendering, str] = {
    "token": "seven added tokens mark roles and blocks (the paper's), for base models and long trainings",
    "chat": "the model's own chat template, without new tokens, for instruct models and small fine-tunes",
}

Omittable = Literal["seed", "temperature", "top_p", "stop"]
OMITTABLE: tuple[Omittable, ...] = get_args(Omittable)
OMITTABLE_HELP: dict[Omittable, str] = {
    "seed": "the seed of the sampling; without it a request that is repeated may get another answer",
    "temperature": "the sampling temperature; the server takes its own default",
    "top_p": "the nucleus of the sampling; the server takes its own default",
    "stop": "the stop strings; the builder then takes the first code block of an answer",
}

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
MAX_TOKENS_FIELDS: tuple[MaxTokensField, ...] = get_args(MaxTokensField)
MAX_TOKENS_FIELDS_HELP: dict[MaxTokensField, str] = {
    "max_tokens": "what most servers understand",
    "max_completion_tokens": "what OpenAI's newer models ask for",
}

AuthorName = Literal["mutation", "openai", "local", "vllm", "attempts"]
AUTHORS_HELP: dict[AuthorName, str] = {
    "mutation": "slips are injected into reference solutions, diagnosed and repaired; offline, without a model",
    "openai": "a model behind an OpenAI-compatible server (endpoint)",
    "local": "a model served on this CPU; endpoint.model names a GGUF file or a packaged model",
    "vllm": "a model served on these GPUs; endpoint.model names a hub id or a folder",
    "attempts": "completions in a file (attempts); the reference solutions repair those that fail",
}

Critic = Literal["none", "openai", "local", "vllm"]
CRITICS_HELP: dict[Critic, str] = {
    "none": "nobody: the diagnoses stay as the author wrote them",
    "openai": "a model behind an OpenAI-compatible server (endpoint)",
    "local": "a model served on this CPU; endpoint.model names a GGUF file or a packaged model",
    "vllm": "a model served on these GPUs; endpoint.model names a hub id or a folder",
}

Diagnoses = Literal["templates", "traced"]
DIAGNOSES_HELP: dict[Diagnoses, str] = {
    "templates": "one text from fixed sentences, which names the failing assertion and the slip",
    "traced": "after a cell that prints the values at the place where the run goes wrong (in JavaScript, by mutation: the value of "
    "the failing call); a text states only what was seen",
}

TestsChoice = Literal["problem", "crafted"]
TESTS_HELP: dict[TestsChoice, str] = {
    "problem": "assertions of the problem, drawn at random",
    "crafted": "a few of the problem's and of crafted ones that together notice most slips, each with the case that it covers as a "
    "comment; expectations come from the reference (Python only: problems in other languages keep their own)",
}

RoundKind = Literal["look", "hypothesis", "partial", "expectation", "hidden", "direct"]
ROUND_KINDS: tuple[RoundKind, ...] = get_args(RoundKind)
ROUND_KINDS_HELP: dict[RoundKind, str] = {
    "look": "a cell prints the values at the place where the attempt goes wrong",
    "hypothesis": "another cause is suspected first, tried in a run and refuted by it",
    "partial": "the first repair makes the failing test pass and lets a later one fail",
    "expectation": "a test expects a wrong value, which is corrected by reading the problem",
    "hidden": "an exception hides a second fault, which shows once the first is repaired",
    "direct": "nothing is looked at between a failing attempt and its correction",
}

Dtype = Literal["auto", "mixed", "float32", "bfloat16", "float64"]
DTYPES_HELP: dict[Dtype, str] = {
    "auto": "float32; on a GPU bfloat16 for generation, float32 weights with bfloat16 autocast for training",
    "mixed": "as auto, but a CPU with AMX multiplies in bfloat16 too in training, which is about twice as fast",
    "float32": "32-bit weights and arithmetic everywhere",
    "bfloat16": "16-bit weights; half the memory, and less exact updates in training",
    "float64": "64-bit weights, for comparing two runs exactly on a CPU",
}

Quantization = Literal["none", "nf4"]
QUANTIZATIONS_HELP: dict[Quantization, str] = {
    "none": "in model.dtype",
    "nf4": "in 4 bits each (QLoRA); when the base model does not fit on the GPU",
}

Normalization = Literal["global", "per_sample"]
NORMALIZATIONS_HELP: dict[Normalization, str] = {
    "global": "sum over all tokens of the step, divided once by their number: every token weighs the same",
    "per_sample": "mean of the samples' own means, as in the authors' script: every sample weighs the same",
}

TextNormalization = Literal["none", "reflectioncoder"]
TEXT_NORMALIZATIONS_HELP: dict[TextNormalization, str] = {
    "none": "train on them as they are",
    "reflectioncoder": "replace HTML entities by their characters, CRLF by LF and tabs by four spaces, as the authors' script does",
}

LrScheduler = Literal["cosine", "linear", "constant_with_warmup"]
LR_SCHEDULERS_HELP: dict[LrScheduler, str] = {
    "cosine": "falls to 0 along half a cosine wave (the paper's)",
    "linear": "falls to 0 in equal steps",
    "constant_with_warmup": "stays at the peak",
}

Checkpointing = Literal["auto", "always", "never"]
CHECKPOINTINGS_HELP: dict[Checkpointing, str] = {
    "auto": "only if the memory forecast does not fit otherwise",
    "always": "recompute them",
    "never": "keep them",
}

Sharding = Literal["none", "fsdp2", "zero1", "zero3"]
SHARDINGS_HELP: dict[Sharding, str] = {
    "none": "replicated: every process holds everything",
    "fsdp2": "parameters, gradients and optimizer state are split, by torch",
    "zero1": "only the optimizer state is split, by DeepSpeed",
    "zero3": "parameters, gradients and optimizer state are split, by DeepSpeed",
}
