"""Accuracy on random streams that training never draws."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from srwm.streams.model import StreamModel
from srwm.streams.prior import PriorConfig, draw_streams
from srwm.training.modes import evaluation_mode

VALIDATION = 2**62
TEST = VALIDATION + 2**60
"""First seeds of the random streams that choose the best weights, and of those that measure them. Training uses neither."""
_BATCH = 32


@dataclass(frozen=True)
class Validation:
    """Prequential results over all samples whose class was shown before, as means over streams."""

    accuracy: float
    """share of right answers"""
    interval: float
    """half the width of its 95 % interval over streams"""
    loss: float
    """cross-entropy in nats"""
    by_time: tuple[float, ...]
    """accuracy in each tenth of the streams' length"""

    def __str__(self) -> str:
        return f"{100 * self.accuracy:.2f} ± {100 * self.interval:.2f} %"


def is_known(logits: Tensor, labels: Tensor) -> Tensor:
    """Where an answer could be right: the class of the sample was shown before.

    Args:
        logits: the answers of a model (B, T, C).
        labels: the classes (B, T).

    Returns:
        (B, T) bool.
    """
    return logits.gather(2, labels[..., None])[..., 0].isfinite() & (logits != 0).any(2)


@torch.no_grad()
def validate(model: StreamModel, prior: PriorConfig, streams: int, length: int, *, seed: int = VALIDATION) -> Validation:
    """Measure a model on held-out random streams, the same at each call.

    Args:
        model: the model.
        prior: the distribution of the streams.
        streams: their number.
        length: their length in samples.
        seed: the first seed of the streams, VALIDATION or TEST.

    Returns:
        The results.
    """
    device = next(model.parameters()).device
    right, weights, losses = [], [], []
    with evaluation_mode(model):
        for i, start in enumerate(range(0, streams, _BATCH)):
            drawn = draw_streams(prior, seed + i, min(_BATCH, streams - start), length)
            drawn = type(drawn)(*(part.to(device) for part in drawn))
            logits, _ = model(drawn.x, drawn.present, drawn.labels, delay=drawn.delay)
            known = is_known(logits, drawn.labels)
            right.append(((logits.argmax(2) == drawn.labels) & known).double())
            weights.append(known.double())
            losses.append(F.cross_entropy(logits[known], drawn.labels[known], reduction="sum").double())
    hits, known = torch.cat(right), torch.cat(weights)
    each = hits.sum(1) / known.sum(1).clamp(min=1)
    tenths = [(h.sum() / k.sum()).item() for h, k in zip(hits.chunk(10, 1), known.chunk(10, 1), strict=True)]
    interval = 1.96 * each.std().item() / len(each) ** 0.5 if len(each) > 1 else float("nan")
    return Validation(each.mean().item(), interval, (sum(losses) / known.sum()).item(), tuple(tenths))
