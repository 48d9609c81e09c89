"""Simple online learners whose answers a model of streams reads beside the sample: naive Bayes, least squares, neighbors."""

import struct
from typing import NamedTuple

import torch
from torch import Tensor

from srwm.ops.cpu import library
from srwm.streams.experts_reference import follow

EXPERTS = (
    "naive Bayes, 500",
    "naive Bayes, 40",
    "least squares, 1,000",
    "least squares, 100",
    "neighbors",
    "neighbors, relevant features",
    "neighbors, relevant features, latest 120",
)
"""The experts, and over how many samples the first four remember (the inverse of their rate of forgetting)."""

_PROBLEM = struct.Struct("@3q")


class ExpertState(NamedTuple):
    """What the experts know of B streams; batch axis first. Together it is what api.h of the library calls their state."""

    sums: Tensor
    """sums of naive Bayes and of least squares, recent losses (B, S) float64"""
    window: Tensor
    """features of the latest W examples, in a ring (B, F, W) float32"""
    labels: Tensor
    """their classes (B, W) int32"""


class Advice(NamedTuple):
    """The experts' answers to B x T samples, each from the examples before it."""

    answers: Tensor
    """log-probabilities of the classes, at least -8, which also those have that were not shown (B, T, E, C)"""
    answers_given: Tensor
    """the same for the features of the examples that are learned at the same time (B, T, E, C)"""
    losses: Tensor
    """the cross-entropy of each expert in nats, as exponential moving averages at the rates 0.05 and 0.005 (B, T, E, 2)"""


def initial_experts(batch_size: int, num_features: int, num_classes: int, window: int, device: torch.device) -> ExpertState:
    """The state of experts that have seen nothing.

    Args:
        batch_size: number of streams B.
        num_features: number of features F.
        num_classes: number of classes C.
        window: number of examples W that the neighbors are among.
        device: where to make it.

    Returns:
        The state.
    """
    side = num_features + 1
    before, losses = 2 * num_classes * (1 + 2 * num_features), 2 * len(EXPERTS)
    sums = torch.zeros(batch_size, before + 2 * side * (side + num_classes) + losses, dtype=torch.float64, device=device)
    sums[:, before : before + 2 * side * side].view(batch_size, 2, side, side).diagonal(dim1=2, dim2=3).fill_(1)
    sums[:, -losses:] = 1
    ring = torch.zeros(batch_size, num_features, window, dtype=torch.float32, device=device)
    return ExpertState(sums, ring, torch.zeros(batch_size, window, dtype=torch.int32, device=device))


@torch.no_grad()
def advise(
    asked: Tensor, given: Tensor, labels: Tensor, number: Tensor, seen: Tensor, state: ExpertState
) -> tuple[Advice, ExpertState]:
    """The experts' answers to a sequence of samples, each before the example of the same step is learned. No gradient flows.

    It runs on the CPU where the library is compiled, else in PyTorch, step by step.

    Args:
        asked: standardized features of the samples (B, T, F) float32, 0 where there is none.
        given: those of the examples; may be the same tensor.
        labels: classes of the examples (B, T) int64; below 0: nothing is learned.
        number: number of examples learned before (B,) int64.
        seen: classes that were shown before (B, C) bool.
        state: the state before the first sample.

    Returns:
        The answers, and the state after the last example.
    """
    if library.LIBRARY is None:
        answers, answers_given, losses, *after = follow(asked, given, labels, number, seen, *state)
        return Advice(answers, answers_given, losses), ExpertState(*after)
    alike = given is asked
    inputs = [part.detach().to("cpu", torch.float32).contiguous() for part in ((asked,) if alike else (asked, given))]
    batch, steps, num_features = asked.shape
    num_classes, num_experts = seen.shape[1], len(EXPERTS)
    copies = [part.detach().cpu().clone().contiguous() for part in (*state, number, seen)]
    outputs = [inputs[0].new_empty(batch, steps, num_experts, num_classes) for _ in inputs]
    recent = inputs[0].new_empty(batch, steps, num_experts, 2)
    cpu_labels = labels.cpu().contiguous()
    library.compiled().call(
        "srwm_stream_experts",
        _PROBLEM.pack(num_features, num_classes, state.window.shape[2]),
        batch,
        steps,
        *(library.pointer(part) for part in (inputs[0], inputs[-1], cpu_labels, *copies, outputs[0])),
        0 if alike else library.pointer(outputs[1]),
        library.pointer(recent),
    )
    advice = [part.to(asked.device) for part in (outputs[0], outputs[-1], recent)]
    return Advice(*advice), ExpertState(*(part.to(asked.device) for part in copies[:3]))
