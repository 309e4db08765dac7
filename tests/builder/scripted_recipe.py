"""The problems, the endpoint and the recipe of builds from a server that follows a script."""

from dataclasses import replace

from reflectioncoder.config.building import BuildConfig, EndpointConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
from reflectioncoder.data.problems import load_problems

PROBLEMS = load_problems(("bundled:train",))
ENDPOINT = EndpointConfig(model="scripted", max_in_flight=4, timeout_s=1.0, retries=6)


def make_recipe(url, **build):
    settings = {"author": "openai", "endpoint": replace(ENDPOINT, base_url=url) if url else ENDPOINT, "min_samples": 0, **build}
    if settings["author"] != "attempts" and not settings.get("hybrid"):
        settings.setdefault("min_killed_mutants", 0.0)
    return Recipe("r", ModelConfig("none"), build=BuildConfig(**settings), sandbox=SandboxConfig(workers=2))


def payload(content="x"):
    return {"model": "m", "messages": [{"role": "user", "content": PROBLEMS[0].prompt + content}], "max_tokens": 100, "seed": 1}
