"""The compiled kernels of the loss, on a CPU: the same numbers as the plain ones, which other tests hold to the method."""

import shutil
from typing import Any

import pytest
import torch

from reflectioncoder.data.render import IGNORE_INDEX
from reflectioncoder.train import head
from reflectioncoder.train.head import weighted_loss

pytestmark = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler")


def rows(num_pairs, num_others, vocab_size, seed, bias):
    generator = torch.Generator().manual_seed(seed)
    num_rows = 2 * num_pairs + num_others

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float32)

    targets_R = torch.randint(vocab_size, (num_rows,), generator=generator)
    targets_R[::4] = IGNORE_INDEX
    weights = torch.rand(num_rows, generator=generator), torch.rand(num_pairs, generator=generator)
    return normal(num_rows, 24), 2 * normal(vocab_size, 24), normal(vocab_size) if bias else None, targets_R, *weights


def loss_and_gradients(hidden_RH, weight_VH, bias_V, targets_R, ce_weights_R, kl_weights_P, **settings):
    leaves: list[Any] = [t.clone().requires_grad_() if t is not None else None for t in (hidden_RH, weight_VH, bias_V)]
    loss, statistics = weighted_loss(leaves[0], leaves[1], leaves[2], targets_R, ce_weights_R, kl_weights_P, **settings)
    (loss * 1.5).backward()
    return [loss.detach(), statistics, *(leaf.grad for leaf in leaves if leaf is not None)]


@pytest.fixture(scope="module")
def compilations(tmp_path_factory):
    """Counts what was really compiled, into a cache of its own: a killed run may have left half a library in the shared one."""
    torch._dynamo.reset()
    head._compiled.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield torch._dynamo.utils.counters
    head._compiled.cache_clear()


@pytest.mark.long
@pytest.mark.parametrize(
    ("num_pairs", "num_others", "vocab_size", "bias"),
    [(5, 9, 101, False), (6, 3, 101, True), (12, 0, 64, False), (0, 17, 257, True), (1, 1, 33, False)],
)
def test_the_compiled_kernels_give_the_same_loss_and_gradients(compilations, num_pairs, num_others, vocab_size, bias):
    given = rows(num_pairs, num_others, vocab_size, num_pairs, bias)
    plain = loss_and_gradients(*given, chunk_rows=8)
    compiled = loss_and_gradients(*given, chunk_rows=8, compiled=True)
    for expected, found in zip(plain, compiled, strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-6)
    assert compilations["stats"]["unique_graphs"] > 0
