"""Work that is not done, counted: floating-point operations beside the original formulation, waiting of ranks, memory of logits."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.steps.contest import Contender, Contest, Workload
from benchmarks.steps.losses import original_loss
from reflectioncoder.method.balance import balance
from reflectioncoder.train.head import weighted_loss
from tests.tiers import examples


@pytest.mark.long
def test_a_run_takes_fewer_operations_than_the_original_by_these_factors():
    """A Llama with SmolLM2-135M's ratio of output layer to trunk, and the typical sample at a quarter of its length."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=5440, hidden_size=192, intermediate_size=512, num_hidden_layers=10, num_attention_heads=3, num_key_value_heads=1
    )
    model = LlamaForCausalLM(config)
    ratios = {}
    for rate in (0.1, 0.3, 0.5, 0.7, 0.9):
        contest = Contest(model, Workload(1, scale=0.25, rate=rate), {"original": Contender(original_loss), "ours": Contender()})
        ratios[rate] = contest.flops("original") / contest.flops("ours")
    assert sum(ratios.values()) / len(ratios) >= 1.4, ratios
    assert ratios[0.9] >= 1.6, ratios


def idle_share(costs, assignment):
    """Share of the ranks' time that is spent waiting for the busiest one, if time is tokens."""
    loads = [sum(costs[i] for items in forwards for i in items) for forwards in assignment]
    return 1 - sum(loads) / (len(loads) * max(loads))


def test_ranks_wait_less_than_a_hundredth_of_the_time():
    rng = random.Random(1)
    for num_ranks in (2, 8, 16):
        for budget in (0, 8192, 16384):
            costs = [min(4096, round(rng.lognormvariate(7.2, 0.5))) for _ in range(512)]
            assert idle_share(costs, balance(costs, num_ranks, budget)) < 0.01


@settings(deadline=None, max_examples=examples(200))
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=60), st.integers(1, 9), st.sampled_from([0, 1, 700, 8192]))
def test_every_visit_is_computed_once_and_all_ranks_meet_equally_often(costs, num_ranks, budget):
    assigned = balance(costs, num_ranks, budget)
    assert sorted(index for rank in assigned for items in rank for index in items) == list(range(len(costs)))
    assert len(assigned) == num_ranks
    assert len({len(rank) for rank in assigned}) == 1
    for rank in assigned:
        for items in rank:
            assert len(items) <= 1 or (budget and sum(costs[i] for i in items) <= budget)
    assert assigned == balance(costs, num_ranks, budget)


def test_logits_never_exist_beyond_a_chunk():
    """The largest tensor that the output layer makes, its gradients apart, is a chunk of logits."""
    rows, hidden, vocab, chunk = 600, 16, 3000, 64
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, (list, tuple)) else (result,):
                if isinstance(tensor, torch.Tensor) and tensor.dim() == 2 and tensor.shape[1] == vocab:
                    largest = max(largest, tensor.shape[0])
            return result

    state = torch.randn(rows, hidden, requires_grad=True)
    weight = torch.randn(vocab, hidden, requires_grad=True)
    with Watch():
        loss, _ = weighted_loss(state, weight, None, torch.arange(rows), torch.ones(rows), torch.ones(200), chunk)
        loss.backward()
    assert 0 < largest <= chunk
