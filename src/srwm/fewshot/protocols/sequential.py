"""Sequential adaptation: a stream of one data set that continues with another data set, with delayed labels."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from srwm.data import Split
from srwm.errors import UserError
from srwm.fewshot.build import build_sampler
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import Sampler, Step
from srwm.fewshot.protocols.base import Sets
from srwm.fewshot.protocols.delayed import Delayed, DelayedConfig, Streams, StreamSampler
from srwm.ranges import AtLeast


@dataclass(frozen=True)
class SequentialConfig(DelayedConfig):
    """Two tasks in one sequence."""

    FORMER_FIELDS: ClassVar[tuple[str, ...]] = (*DelayedConfig.FORMER_FIELDS, "sequential")

    trim: Annotated[int, AtLeast(0)] = 60
    """in training, a random number of steps from 0 to `trim` is cut off the end of each task; tests use whole tasks"""


class Sequential(Delayed):
    """Delayed labels through two tasks: no input marks where the second begins.

    In training the order of the data sets is random per batch, and each task of each stream is cut short at random.
    """

    name = "sequential"
    about = "two streams with delayed labels, of two data sets, in one sequence"
    Options = SequentialConfig
    num_sets = 2

    @classmethod
    def check(cls, config: TrainConfig, data: dict[Split, Sets]) -> None:
        """Check that the configuration fits the protocol and the data.

        Args:
            config: the configuration of the run.
            data: two data sets by split.

        Raises:
            UserError: it does not.
        """
        steps = cls.test_shape(config).support
        trim = config.options(SequentialConfig).trim
        if trim >= steps:
            raise UserError(f"protocol_options.trim: expected 0 to {steps - 1}, a task has {steps} steps, got {trim}")
        super().check(config, data)

    @classmethod
    def sampler(cls, config: TrainConfig, data: Sets, generator: torch.Generator) -> Sampler[Streams]:
        """The sampler of training streams through both data sets.

        Args:
            config: the configuration of the run.
            data: the training classes of two data sets.
            generator: source of the random numbers, and the state of the sampler.

        Returns:
            The sampler.
        """
        first, second = (StreamSampler(build_sampler(config, cls.test_shape(config), part, generator)) for part in data)
        return TwoTaskSampler(first, second, config.pool.count(len(data[0])), config.options(SequentialConfig).trim)


class TwoTaskSampler:
    """Streams that continue with the streams of a second sampler. Its classes are numbered after those of the first.

    Args:
        first: the sampler of the first task.
        second: the sampler of the second task.
        first_classes: number of classes of the first data set.
        trim: largest number of steps that are cut off the end of each task.
    """

    def __init__(self, first: StreamSampler, second: StreamSampler, first_classes: int, trim: int) -> None:
        self.first, self.second, self.first_classes, self.trim = first, second, first_classes, trim
        self.generator = first.generator

    def sample(self) -> Step[Streams]:
        """The next step.

        Returns:
            Its images, and its episodes as positions among them.
        """
        first, second = self.first.sample(), self.second.sample()
        second = second._replace(classes=second.classes + self.first_classes)
        swapped = bool(torch.randint(2, (), generator=self.generator, device="cpu"))
        tasks = (second, first) if swapped else (first, second)
        lengths = []
        for task in tasks:
            streams, steps = task.episodes.labels.shape
            lengths.append(steps - torch.randint(self.trim + 1, (streams,), generator=self.generator, device="cpu"))
        return join(*tasks, *lengths)


def join(first: Step[Streams], second: Step[Streams], first_steps: Tensor, second_steps: Tensor) -> Step[Streams]:
    """Streams of two tasks in one sequence, without a gap.

    Steps after the end of a stream are masked, and images that no stream uses are dropped.

    Args:
        first: streams of the first task.
        second: streams of the second task.
        first_steps: (B,), number of steps taken from each stream of the first task.
        second_steps: (B,), the same for the second task.

    Returns:
        The joined streams.
    """
    (a, a_labels, _), (b, b_labels, _) = first.episodes, second.episodes
    lengths = (a.shape[1], first_steps), (b.shape[1], second_steps)
    real = torch.cat([torch.arange(steps, device="cpu") < kept[:, None] for steps, kept in lengths], dim=1)
    kept = (~real).byte().argsort(dim=1, stable=True)[:, : int(real.sum(1).max())]
    images = torch.cat([a, b + len(first.images)], dim=1).gather(1, kept)
    labels = torch.cat([a_labels, b_labels], dim=1).gather(1, kept)
    mask = real.gather(1, kept)
    used = torch.unique(images[mask])
    normalization = None
    if first.normalization is not None and second.normalization is not None:
        normalization = torch.cat([first.normalization, second.normalization])[used]
    return Step(
        torch.cat([first.images, second.images])[used],
        torch.cat([first.classes, second.classes])[used],
        Streams(
            torch.searchsorted(used, images).clamp(max=len(used) - 1).masked_fill(~mask, 0),
            labels.masked_fill(~mask, 0),
            None if mask.all() else mask,
        ),
        normalization,
    )
