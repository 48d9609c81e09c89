"""Accuracy on sequences that training never draws."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from srwm.sequences.batch import NO_TARGET, Batch, Bin, Purpose
from srwm.sequences.model import SequenceModel
from srwm.sequences.tasks import Task
from srwm.training.modes import evaluation_mode

_TOKENS = 2**16
"""Steps per batch."""
SOLVED = 0.95
"""Token accuracy above which a length counts as reached."""
Answer = Callable[[Batch], Tensor]
"""Answers to a batch: (B, T) int64."""


@dataclass(frozen=True)
class Score:
    """Accuracy on the sequences of a bin."""

    sequences: float
    """share of the sequences with every answer right"""
    tokens: float
    """share of right answers"""
    by_position: tuple[float, ...]
    """share of right answers at each position that has a target"""

    @property
    def reached(self) -> int:
        """The largest number of positions whose mean accuracy is above 95 %; 0 if there is none."""
        total, reached = 0.0, 0
        for number, accuracy in enumerate(self.by_position, 1):
            total += accuracy
            if total > SOLVED * number:
                reached = number
        return reached

    def __str__(self) -> str:
        return f"{100 * self.sequences:.1f} % of the sequences, {100 * self.tokens:.2f} % of the answers"


@torch.no_grad()
def score(task: Task, answer: Answer, purpose: Purpose, lengths: Bin, sequences: int, key: int = 0) -> Score:
    """Measure answers on sequences, the same at each call.

    Args:
        task: the task.
        answer: what is measured.
        purpose: "val" or "test".
        lengths: the range of lengths.
        sequences: number of sequences.
        key: seed of the sequences.

    Returns:
        The accuracy.
    """
    right = torch.zeros(2, 0, dtype=torch.float64, device="cpu")
    solved = 0
    for batch in batches(task, purpose, lengths, sequences, key):
        has_target = batch.targets != NO_TARGET
        is_right = (answer(batch).cpu() == batch.targets) & has_target
        solved += int((is_right == has_target).all(1).sum())
        counts = torch.stack([is_right.sum(0), has_target.sum(0)]).double()
        width = max(right.shape[1], counts.shape[1])
        right, counts = (torch.nn.functional.pad(each, (0, width - each.shape[1])) for each in (right, counts))
        right = right + counts
    hits, answers = right[:, right[1] > 0]
    return Score(solved / sequences, (hits.sum() / answers.sum()).item(), tuple((hits / answers).tolist()))


def batches(task: Task, purpose: Purpose, lengths: Bin, sequences: int, key: int = 0) -> Iterator[Batch]:
    """Sequences in batches, the same at each call.

    Args:
        task: the task.
        purpose: what they are for.
        lengths: the range of lengths.
        sequences: number of sequences.
        key: seed.

    Returns:
        The batches.
    """
    size = max(1, _TOKENS // lengths.longest)
    for number, start in enumerate(range(0, sequences, size)):
        seeds = (key, lengths.shortest, lengths.longest, number)
        yield task.draw(purpose, seeds, min(size, sequences - start), lengths)


def answers_of(model: SequenceModel) -> Answer:
    """The answers of a model.

    Args:
        model: the model.

    Returns:
        A function that computes them in evaluation mode.
    """
    device = next(model.parameters()).device

    def answer(batch: Batch) -> Tensor:
        moved = Batch(*(None if part is None else part.to(device) for part in batch))  # type: ignore[arg-type]
        with evaluation_mode(model), torch.no_grad():
            logits: Tensor = model(moved)
        return logits.argmax(2)

    return answer
