"""The memory that is forecast is the memory that a real step takes, within 20 %."""

import json
import subprocess
import sys

import pytest

MEASURE = """
import json, sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from reflectioncoder.data.render import IGNORE_INDEX
from reflectioncoder.train.engine import Engine
from reflectioncoder.train.forecast import forecast_memory
from reflectioncoder.method.packing import pack
from reflectioncoder.method.views import View, WeightedViews

def status(field):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(field + ":"))

checkpointing, frozen, tokens = json.loads(sys.argv[1])
torch.set_num_threads(1)
config = LlamaConfig(vocab_size=16_000, hidden_size=384, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=6,
                     num_key_value_heads=2, tie_word_embeddings=True)
ids = tuple(range(3, 3 + tokens))
labels = tuple(i if n > 200 else IGNORE_INDEX for n, i in enumerate(ids))
answer = tuple(range(tokens - 300, tokens - 1))
half = tokens // 2
student = View(ids[half:], tuple(range(half, tokens)), (IGNORE_INDEX,) * (half - 300) + ids[-300:], tuple(r - half for r in answer))
batch = pack([WeightedViews(View(ids, tuple(range(tokens)), labels, answer), student, 1e-3, 1e-3)])

def prepared():
    model = LlamaForCausalLM(config)
    if frozen:
        model.get_decoder().requires_grad_(False)
        for layer in model.get_decoder().layers[3:]:
            layer.requires_grad_(True)
    return model

with torch.device("meta"):
    meta = prepared()
forecast = forecast_memory(meta, batch, checkpointing=checkpointing)
Engine(LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1))).close()  # imports
before = status("VmRSS")
model = prepared().train()
if checkpointing:
    model.gradient_checkpointing_enable({"use_reentrant": False})
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
engine = Engine(model)
for _ in range(2):
    for _ in range(2):
        engine.loss(model, batch, torch.device("cpu")).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print(json.dumps({**forecast.to_json(), "measured": status("VmHWM") - before}))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [[False, False, 1000], *(pytest.param(more, marks=pytest.mark.slow) for more in ([True, False, 1000], [False, True, 1000]))],
    ids=str,
)
def test_the_forecast_is_within_a_fifth_of_a_real_step(settings):
    argv = [sys.executable, "-c", MEASURE, json.dumps(settings)]
    # Freed memory goes back to the system at once, so that the peak is that of what is in use.
    env = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["total"] == pytest.approx(found["measured"], rel=0.2), found
