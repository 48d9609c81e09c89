"""A model of sequences: embedding, stack of blocks, linear output."""

import torch
from torch import Tensor, nn

from srwm.nn import Stack, StackConfig
from srwm.sequences.batch import Batch
from srwm.sequences.tasks import AutomatonTask, LanguageTask, Task
from srwm.vision import Conv4

_SIDE = 28
"""Height and width of drawings."""


class SequenceModel(nn.Module):
    """Answers at every step of a sequence. There are no positions and no final norm.

    Args:
        task: what the steps are.
        stack: the recurrent part.

    Raises:
        ValueError: sizes or options of the stack do not fit.
    """

    def __init__(self, task: Task, stack: StackConfig) -> None:
        super().__init__()
        self.embedding = _embedding(task, stack.d_model)
        self.stack = Stack(stack)
        self.out = nn.Linear(stack.d_model, len(task.classes))

    def forward(self, batch: Batch) -> Tensor:
        """The answers to whole sequences.

        Args:
            batch: B sequences of T steps.

        Returns:
            logits (B, T, classes).
        """
        y, _ = self.stack(self.embedding(batch))
        logits: Tensor = self.out(y)
        return logits


class Symbols(nn.Module):
    """A vector for each symbol of an alphabet.

    Args:
        size: number of symbols.
        width: width of a vector.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(size, width)

    def forward(self, batch: Batch) -> Tensor:
        """The vectors of the tokens (B, T, width).

        Args:
            batch: the sequences.

        Returns:
            The vectors.
        """
        vectors: Tensor = self.symbols(batch.tokens)
        return vectors


class LabeledItems(nn.Module):
    """The features of vectors or drawings plus a vector for the element that is shown with them.

    Args:
        stem: from items (I, ...) to features (I, F).
        num_features: F.
        size: number of elements.
        width: width of the sum.
    """

    def __init__(self, stem: nn.Module, num_features: int, size: int, width: int) -> None:
        super().__init__()
        self.stem = stem
        self.features = nn.Linear(num_features, width)
        self.labels = nn.Embedding(size + 1, width)

    def forward(self, batch: Batch) -> Tensor:
        """The sums for each step (B, T, width).

        Args:
            batch: the sequences.

        Returns:
            The sums.
        """
        features: Tensor = self.features(self.describe(batch))
        both: Tensor = features[batch.tokens] + self.labels(batch.labels)
        return both

    def describe(self, batch: Batch) -> Tensor:
        """The features of the items.

        Args:
            batch: the sequences.

        Returns:
            (I, F).
        """
        assert batch.items is not None
        items = batch.items.float().div(255) if batch.items.dtype is torch.uint8 else batch.items
        features: Tensor = self.stem(items)
        return features


def _embedding(task: Task, width: int) -> nn.Module:
    if isinstance(task, LanguageTask):
        return Symbols(len(task.language.alphabet), width)
    assert isinstance(task, AutomatonTask)
    options, size = task.options, len(task.classes)
    if options.symbols == "vectors":
        return LabeledItems(nn.Identity(), options.width, size, width)
    stem = Conv4(options.channels)
    return LabeledItems(stem, stem.num_features(_SIDE, _SIDE), size, width)
