"""Declares a recipe's section `build`, and the endpoint of a server, which generation uses too (see `declarations`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reflectioncoder.choices import (
    APIS_HELP,
    ASSISTANT_PREFIXES_HELP,
    AUTHORS_HELP,
    CRITICS_HELP,
    DIAGNOSES_HELP,
    MAX_TOKENS_FIELDS,
    MAX_TOKENS_FIELDS_HELP,
    OMITTABLE_HELP,
    ROUND_KINDS,
    ROUND_KINDS_HELP,
    TESTS_HELP,
    Api,
    AssistantPrefix,
    AuthorName,
    Critic,
    Diagnoses,
    MaxTokensField,
    Omittable,
    TestsChoice,
)
from reflectioncoder.config.checks import MAX_AT_ONCE, MAX_RETRIES, MAX_SAMPLES, MAX_SECONDS, shares_of
from reflectioncoder.config.settings import Settings, doc

NOT_OF_A_REQUEST = ("base_url", "api_key_env", "timeout_s", "retries", "max_in_flight", "input_usd", "output_usd")
"""The fields of `EndpointConfig` that do not affect answers: how the server is reached, the concurrency, and the prices."""


@dataclass(frozen=True)
class EndpointConfig(Settings):
    base_url: str = doc(
        "Address of an OpenAI-compatible server, http or https. User, password and query in it are sent, but never shown or stored.",
        "http://127.0.0.1:8080/v1",
    )
    model: str = doc(
        "Model name at the server. For build.author local: a GGUF file or a packaged model; vllm: a hub id or folder; attempts: the "
        "model that wrote the completions.",
        "",
    )
    revision: str = doc(
        "Version tag of the served model. Part of the cache key: change it when the server's weights change, so that logged answers of "
        "the old weights are not reused.",
        "",
    )
    api_key_env: str = doc("Name of the environment variable that holds the API key; empty sends no key.", "")
    api: Api = doc("Which interface of the server is asked.", "chat", values=APIS_HELP)
    assistant_prefix: AssistantPrefix = doc(
        "How the server is told to continue an unfinished assistant message (api: chat). The whole reflection dialogue is then one "
        "assistant turn that includes the interpreter's output; with none, the output is sent back as a user turn.",
        "none",
        values=ASSISTANT_PREFIXES_HELP,
    )
    temperature: float = doc("Sampling temperature; 0 is greedy. Raise it for more varied dialogues.", 0.7, low=0.0)
    top_p: float = doc(
        "Nucleus sampling: only the most likely tokens whose probabilities add up to this share are drawn.", 0.95, low=0.0, high=1.0
    )
    max_tokens: int = doc(
        "Length limit of an answer, tokens. Raise it if many candidates are rejected as answer_cut_off.", 1024, low=16
    )
    timeout_s: float = doc(
        "Time limit from sending a request to the end of its answer, seconds; raise it for slow servers and long answers.",
        600.0,
        low=1.0,
        high=MAX_SECONDS,
    )
    retries: int = doc("How often a failed request is sent again; raise it for unreliable servers.", 6, low=0, high=MAX_RETRIES)
    input_usd: float = doc("Price of a million input tokens, USD; needed for build.budget_usd and for the reported cost.", 0.0, low=0.0)
    output_usd: float = doc(
        "Price of a million output tokens, USD; needed for build.budget_usd and for the reported cost.", 0.0, low=0.0
    )
    max_in_flight: int = doc(
        "Maximum number of simultaneous requests; fewer are sent while the server complains of too many.", 16, low=1, high=MAX_AT_ONCE
    )
    extra_body: dict[str, Any] = doc(
        "Further parameters to send with every request, such as {reasoning_effort: low}. They are logged: put no key there.",
        factory=dict,
    )
    omit: tuple[Omittable, ...] = doc(
        "Parameters to leave out of requests; list those that the server refuses.", (), values=OMITTABLE_HELP
    )
    max_tokens_field: MaxTokensField = doc(
        "Name of the request parameter that limits the length of an answer.", MAX_TOKENS_FIELDS[0], values=MAX_TOKENS_FIELDS_HELP
    )


@dataclass(frozen=True)
class BuildConfig(Settings):
    author: AuthorName = doc("Who writes the reflection sequences.", "mutation", values=AUTHORS_HELP)
    endpoint: EndpointConfig = doc(
        "The server to ask, or the model to serve here; with author: attempts the name of the model that wrote them.",
        factory=EndpointConfig,
    )
    hybrid: bool = doc(
        "Take one attempt from the model and the repair from the reference solution (authors openai, local, vllm). Turn it on for "
        "models too weak to repair their own programs.",
        False,
    )
    attempts: str = doc("Path of the completions for author: attempts (JSON Lines of `generate`, or EvalPlus samples).", "")
    rollouts: int = doc(
        "Dialogues per problem that a model writes; with author: attempts the maximum number of completions used per problem.",
        1,
        low=1,
        high=MAX_SAMPLES,
    )
    max_executions: int = doc("Maximum number of attempts in a dialogue that a model writes.", 5, low=1)
    keep_first_try: bool = doc("Keep dialogues whose first attempt passes, although they contain no reflection.", False)
    min_killed_mutants: float = doc(
        "Share of slips, injected into a model's final program, that the dialogue's own tests must detect (0 to 1). Raise it to demand "
        "stronger tests.",
        0.5,
        low=0.0,
        high=1.0,
    )
    budget_tokens: int | None = doc(
        "Maximum number of tokens, input and output together, that the build may use; null sets no limit.", None, low=1
    )
    budget_usd: float | None = doc("Maximum cost of the build at the endpoint's prices, USD; null sets no limit.", None, low=0.0)
    prompts: str = doc(
        "Prompt templates for the dialogue: a packaged version (v1), or a folder with reflect, feedback and answer.jinja (with a "
        "critic also critic.jinja).",
        "v1",
    )
    problems: tuple[str, ...] = doc(
        "Problems to write about: files made by `problems`, or bundled:SPLIT. With [] nothing is built, and train.reflection_data and "
        "train.generation_data are all that is trained on.",
        ("bundled:train",),
    )
    samples_per_problem: int | None = doc(
        "Maximum number of samples kept per problem; null means 4 for author: mutation and no limit for the others.", None, low=1
    )
    two_slip_share: float = doc(
        "Probability that a sequence of author: mutation contains two corrections, if its slips allow it.", 0.25, low=0.0, high=1.0
    )
    interacting_slips: bool = doc(
        "Prefer slips that interact where a sequence of author: mutation has two corrections: one hides the other, both cancel out in "
        "a test, or together they fail otherwise than either alone. Turn it on for diagnoses that need two steps; each such sequence "
        "costs one more run.",
        False,
    )
    misreading_share: float = doc(
        "Share of sequences of author: mutation whose first attempt misreads the task and differs in several lines from the reference, "
        "where a problem has such attempts; the others begin with a slip in one place. Raise it for mistakes of understanding.",
        0.0,
        low=0.0,
        high=1.0,
    )
    max_operator_share: float = doc(
        "Maximum share of one kind of slip or misreading among all of author: mutation; 1 sets no limit. Lower it for more varied "
        "mistakes.",
        0.15,
        low=0.05,
        high=1.0,
    )
    max_chars: int = doc("Length limit of a sample, characters; a token of code has about three.", 16_000, low=100)
    max_tokens: int | None = doc(
        "Length limit of a sample, tokens of build.tokenizer; null sets no limit. Of author: mutation with diagnoses: traced longer "
        "samples are written anew in shorter forms first. Lower it for models with a short context.",
        None,
        low=64,
    )
    tokenizer: str | None = doc(
        "Tokenizer that build.max_tokens counts with: a tokenizer.json, a folder with one, or a hub id; null takes that of model.name.",
        None,
    )
    near_duplicates: float = doc(
        "Leave out samples whose similarity to an earlier one (Jaccard index of five-word shingles) reaches this; 1 keeps all. "
        "With author: mutation only samples of different problems are compared.",
        0.85,
        low=0.1,
        high=1.0,
    )
    diagnoses: Diagnoses = doc("How a failing attempt is explained (mutation, hybrid, attempts).", "templates", values=DIAGNOSES_HELP)
    tests: TestsChoice = doc("Which tests an attempt's code block shows (mutation, hybrid, attempts).", "problem", values=TESTS_HELP)
    critic: Critic = doc(
        "Model that rewrites the diagnoses of mutation, hybrid and attempts in its own words; a rewrite that drops or adds a fact is "
        "discarded. Choose one for more varied texts if you have a model that follows instructions well; a diagnosis costs a request.",
        "none",
        values=CRITICS_HELP,
    )
    round_kinds: dict[str, Any] = doc(
        "Shares of the kinds of stories among the samples (mutation with diagnoses: traced), by name; they add up to 1. "
        "Where the slips of a problem do not allow a kind, another one is drawn.",
        factory=lambda: {"look": 0.35, "hypothesis": 0.2, "partial": 0.15, "expectation": 0.15, "hidden": 0.15},
        check=shares_of(ROUND_KINDS),
        values=ROUND_KINDS_HELP,
    )
    max_rounds: int = doc(
        "Maximum number of programs that are run in a sample before the one that passes (mutation with diagnoses: traced).",
        5,
        low=1,
        high=5,
    )
    shown_tests: int = doc("Maximum number of assertions in an attempt's code block (mutation, hybrid, attempts).", 3, low=1)
    cell_timeout_s: float = doc(
        "Time limit of one attempt, or of a program with all its tests, while building, seconds.", 3.0, low=0.1, high=MAX_SECONDS
    )
    min_samples: int = doc("Fail if fewer samples than this are accepted.", 1, low=0)
