"""What can be chosen by name, for command line, configuration and code alike.

Whose rules decide about HumanEval(+) and MBPP(+), whose rule cuts completions of MultiPL-E, who writes reflection sequences, what runs
a model, how a server is asked, what training hides from the student and when.
"""

from typing import Literal, get_args

Rules = Literal["strict", "evalplus-head", "evalplus-0.3.1"]
RULES: tuple[Rules, ...] = get_args(Rules)  # the first is the default

CutRule = Literal["multipl-e", "reflectioncoder"]
CUT_RULES: tuple[CutRule, ...] = get_args(CutRule)

AuthorName = Literal["mutation", "openai", "local", "vllm", "attempts"]

Backend = Literal["transformers", "openai", "local", "vllm"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

Api = Literal["chat", "completion"]
APIS: tuple[Api, ...] = get_args(Api)

AssistantPrefix = Literal["none", "vllm", "llama.cpp", "deepseek"]
ASSISTANT_PREFIXES: tuple[AssistantPrefix, ...] = get_args(AssistantPrefix)

MaskStrategy = Literal["none", "all", "random_token", "sequential_token", "random_block", "sequential_block", "block_type"]
MASK_STRATEGIES: tuple[MaskStrategy, ...] = get_args(MaskStrategy)

MaskSchedule = Literal["linear", "cosine", "step", "constant"]
MASK_SCHEDULES: tuple[MaskSchedule, ...] = get_args(MaskSchedule)

StudentPositions = Literal["gap", "dense"]
STUDENT_POSITIONS: tuple[StudentPositions, ...] = get_args(StudentPositions)

Rendering = Literal["token", "chat"]
RENDERINGS: tuple[Rendering, ...] = get_args(Rendering)

Omittable = Literal["seed", "temperature", "top_p", "stop"]
OMITTABLE: tuple[Omittable, ...] = get_args(Omittable)

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
MAX_TOKENS_FIELDS: tuple[MaxTokensField, ...] = get_args(MaxTokensField)
