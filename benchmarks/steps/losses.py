"""Computes the loss as others do: the original doubled batch, and the nearest assembly of TRL's parts."""

import torch
import torch.nn.functional as F  # noqa: N812

from reflectioncoder.data.render import IGNORE_INDEX
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.method.views import student_kept


def original_loss(model, plan: RunPlan, visits, device):
    """The doubled batch of the visits: 2B rows, padded to the longest; a mean over all labels and one over all rows of the KL."""
    samples = [plan.samples[visit.index] for visit in visits]
    size = max(len(sample.input_ids) for sample in samples)
    ids, labels, visible = [], [], []
    for view in ("teacher", "student"):
        for visit, sample in zip(visits, samples, strict=True):
            pad = size - len(sample.input_ids)
            kept = set(student_kept(sample, plan.hidden(visit), "gap")) if view == "student" else set(range(size))
            ids.append([*sample.input_ids, *[0] * pad])
            labels.append([*getattr(sample, f"{view}_labels"), *[IGNORE_INDEX] * pad])
            visible.append([int(p in kept and p < size - pad) for p in range(size)])
    ids, labels, visible = (torch.tensor(rows, device=device) for rows in (ids, labels, visible))
    # A hidden token may look at itself: nobody sees it, and a row without keys would be NaN.
    allowed = torch.ones(size, size, dtype=torch.bool, device=device).tril() & (
        visible[:, None, :].bool() | torch.eye(size, dtype=torch.bool, device=device)
    )
    positions = torch.arange(size, device=device).expand(len(ids), -1)
    logits = model(input_ids=ids, attention_mask=allowed[:, None], position_ids=positions, use_cache=False).logits.float()
    ce = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE_INDEX)
    at = labels[len(visits) :] != IGNORE_INDEX
    teacher, student = logits[: len(visits)][at].detach(), logits[len(visits) :][at]
    kl = F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="sum", log_target=True)
    return ce + kl / at.sum()


def trl_loss(model, plan: RunPlan, visits, device):
    """The nearest assembly of TRL's parts: rows padded on the right, its fused output layers for cross-entropy and for divergence.

    It gets hidden tokens dropped and positions with gaps as ours does, which none of its data collators would give it.
    """
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    pairs = [plan.views(visit) for visit in visits]
    views = [teacher for teacher, _ in pairs] + [student for _, student in pairs if student is not None]  # all are reflections
    size = max(len(view.input_ids) for view in views)

    def padded(field, filler):
        return torch.tensor([[*getattr(v, field), *[filler] * (size - len(getattr(v, field)))] for v in views], device=device)

    lengths = torch.tensor([len(view.input_ids) for view in views], device=device)
    trunk, head = model.model, model.get_output_embeddings()
    hidden = trunk(
        input_ids=padded("input_ids", 0),
        attention_mask=(torch.arange(size, device=device) < lengths[:, None]).long(),
        position_ids=padded("position_ids", 0),
        use_cache=False,
    ).last_hidden_state
    labels = padded("labels", IGNORE_INDEX)[:, 1:]
    has_label = labels != IGNORE_INDEX
    width = 8192  # TRL's own default, of the vocabulary
    log_p = ChunkedLogProbFunction.apply(hidden[:, :-1][has_label], head.weight, None, labels[has_label], 1.0, width, None, 1.0, ())[0]
    rows = [torch.tensor(view.kl_rows, device=device) for view in views]
    states = [hidden[number, own] for number, own in enumerate(rows)]
    teacher, student = torch.cat(states[: len(visits)]).detach(), torch.cat(states[len(visits) :])
    kl = ChunkedDivergenceFunction.apply(student, head.weight, None, teacher, head.weight.detach(), None, 0.0)[0]
    return kl.mean() - log_p.mean()
