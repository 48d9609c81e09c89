"""Episodes: few-shot tasks as index tensors over images, and two samplers of episodes with one interface."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from srwm.data import ImageClasses
from srwm.data.draws import uniform
from srwm.errors import UserError
from srwm.ranges import AtLeast, Between


@dataclass(frozen=True)
class EpisodeShape:
    """`n_way` classes with `k_shot` labeled examples each, in random order, then `queries` queries.

    The labels are 0 ... n_way - 1, or `n_way` different ones of 0 ... slots - 1 if the model has more labels.
    """

    n_way: int
    k_shot: int
    queries: int
    slots: int | None = None

    @property
    def support(self) -> int:
        """Number of labeled examples in an episode."""
        return self.n_way * self.k_shot

    @property
    def images_per_class(self) -> int:
        """Images of a class that an episode may need. Queries are spread over the classes as evenly as possible."""
        return self.k_shot + -(-self.queries // self.n_way)


@dataclass(frozen=True)
class PoolConfig:
    """The pool of a step: classes and images that all its episodes share, each image embedded once."""

    RENAMED: ClassVar = {"turned": "rotated"}

    classes: Annotated[int, AtLeast(1)] = 60
    """classes in the pool"""
    images_per_class: Annotated[int, AtLeast(1)] = 6
    """images of each class in the pool"""
    rotated: Annotated[float, Between(0, 1)] = 0.0
    """fraction of classes rotated by 90, 180 or 270 degrees, as new classes; not for data with rotated classes (Omniglot)"""

    def count(self, classes: int) -> int:
        """Number of training classes with rotations, for a number of classes in the data set.

        Args:
            classes: number of classes in the data set.

        Returns:
            The number.
        """
        return 4 * classes if self.rotated else classes


class Episodes(NamedTuple):
    """B episodes over some images. Shapes: support and its labels (B, N * K), query and its labels (B, Q), all int64.

    support and query are positions among the images; labels are 0 ... N - 1 (or 0 ... slots - 1), assigned at random.
    """

    support: Tensor
    support_labels: Tensor
    query: Tensor
    query_labels: Tensor

    def reordered(self, order: Tensor) -> "Episodes":
        """The episodes with their labeled examples in another order.

        Args:
            order: a permutation (N * K,).

        Returns:
            The episodes.
        """
        return self._replace(support=self.support[:, order], support_labels=self.support_labels[:, order])


Drawn = TypeVar("Drawn", covariant=True)


class Step(NamedTuple, Generic[Drawn]):
    """The data of one training step: images (P, C, H, W) uint8, each embedded once, and the episodes over them.

    classes (P,) int64 are the images' classes among all training classes. normalization (P, 2, C), or None, is the mean and
    standard deviation of each channel in the data set of each image.
    """

    images: Tensor
    classes: Tensor
    episodes: Drawn
    normalization: Tensor | None = None


class Sampler(Protocol[Drawn]):
    """Draws the data of training steps; `generator` is its only state."""

    generator: torch.Generator

    def sample(self) -> Step[Drawn]:
        """The next step.

        Returns:
            Its images, and its episodes as positions among them.
        """


def draw_episodes(offsets: Tensor, shape: EpisodeShape, episodes: int, generator: torch.Generator | None = None) -> Episodes:
    """Draw random episodes. No class and no image occurs twice in an episode.

    Args:
        offsets: (classes + 1,) int64; class c has the positions offsets[c] ... offsets[c + 1] - 1.
        shape: the shape of an episode.
        episodes: number of episodes B.
        generator: source of the random numbers; None: PyTorch's default generator.

    Returns:
        The episodes.

    Raises:
        UserError: there are too few classes, or a class has too few images.
    """
    n_way, need = shape.n_way, shape.images_per_class
    counts = offsets.diff()
    if len(counts) < n_way or int(counts.min()) < need:
        raise UserError(
            f"{n_way}-way {shape.k_shot}-shot episodes with {shape.queries} queries need {n_way} classes of {need} images, "
            f"got {len(counts)} classes of at least {int(counts.min()) if len(counts) else 0}"
        )
    classes = uniform(episodes, len(counts), generator=generator).topk(n_way).indices
    keys = uniform(episodes, n_way, int(counts.max()), generator=generator)
    absent = torch.arange(keys.shape[2], device="cpu") >= counts[classes][..., None]
    instances = keys.masked_fill_(absent, -1).topk(need).indices
    positions = offsets[classes][..., None] + instances  # (B, N, need)
    order = uniform(episodes, shape.support, generator=generator).argsort()
    labels = torch.arange(n_way, device="cpu").repeat_interleave(shape.k_shot).expand(episodes, -1)
    turns = [uniform(episodes, n_way, generator=generator).argsort() for _ in range(need - shape.k_shot)]
    query_classes = torch.cat(turns, dim=1)[:, : shape.queries] if turns else labels[:, :0]
    turn = torch.arange(shape.queries, device="cpu") // n_way + shape.k_shot
    support_labels, query_labels = labels.gather(1, order), query_classes
    if shape.slots is not None:
        slots = uniform(episodes, shape.slots, generator=generator).topk(n_way).indices
        support_labels, query_labels = (slots.gather(1, each) for each in (support_labels, query_labels))
    return Episodes(
        support=positions[..., : shape.k_shot].flatten(1).gather(1, order),
        support_labels=support_labels,
        query=positions[torch.arange(episodes, device="cpu")[:, None], query_classes, turn],
        query_labels=query_labels,
    )


def first_shots(episodes: Episodes, shots: int) -> Episodes:
    """The episodes with only the first labeled examples of each class, in unchanged order.

    Args:
        episodes: episodes with equally many examples of each class, at least `shots`.
        shots: number of examples per class that remain.

    Returns:
        The episodes.
    """
    ways = int(episodes.support_labels.max()) + 1
    seen = torch.nn.functional.one_hot(episodes.support_labels, ways).cumsum(1)
    kept = seen.gather(2, episodes.support_labels[..., None])[..., 0] <= shots
    support, labels = (part[kept].view(len(part), -1) for part in episodes[:2])
    return episodes._replace(support=support, support_labels=labels)


class EpisodeSampler:
    """Draws separate images for every episode, as in the paper: P = episodes * (N * K + Q) images per step.

    Args:
        data: the training classes.
        shape: the shape of an episode.
        episodes: number of episodes per step.
        generator: source of the random numbers.
    """

    def __init__(self, data: ImageClasses, shape: EpisodeShape, episodes: int, generator: torch.Generator) -> None:
        self.data, self.images = data, torch.from_numpy(data.images)
        self.offsets = torch.from_numpy(data.offsets)
        self.shape, self.episodes, self.generator = shape, episodes, generator

    def sample(self) -> Step[Episodes]:
        """The next step.

        Returns:
            Its images, and its episodes as positions among them.
        """
        drawn = draw_episodes(self.offsets, self.shape, self.episodes, self.generator)
        index = torch.cat([drawn.support, drawn.query], dim=1)
        position = torch.arange(index.numel(), device="cpu").view_as(index)
        images = index.flatten()
        moved = drawn._replace(support=position[:, : self.shape.support], query=position[:, self.shape.support :])
        return Step(self.images[images], _class_of(images, self.offsets), moved, _normalization_of(self.data, len(images)))


class PooledSampler:
    """Draws a pool of classes and images per step, then many episodes from it.

    The P = classes * images_per_class images of a step are embedded once and shared by all its episodes. With `min_ways` and
    `max_shots` each step draws its number of classes (min_ways to n_way) and of examples per class (k_shot to max_shots).

    A random fraction `pool.rotated` of the pool's classes is rotated by 90, 180 or 270 degrees. Class c rotated by q quarter
    turns counts as class c + q * (classes of the data). Whether a rotated class equals another class of the data is not
    checked.

    Args:
        data: the training classes.
        shape: the shape of an episode.
        episodes: number of episodes per step.
        generator: source of the random numbers.
        pool: the pool.
        min_ways: smallest number of classes; None: always n_way.
        max_shots: largest number of examples per class; None: always k_shot.

    Raises:
        UserError: the pool is too small for an episode, or would be rotated though images are not square.
    """

    def __init__(
        self,
        data: ImageClasses,
        shape: EpisodeShape,
        episodes: int,
        generator: torch.Generator,
        pool: PoolConfig,
        *,
        min_ways: int | None = None,
        max_shots: int | None = None,
    ) -> None:
        self.data, self.images = data, torch.from_numpy(data.images)
        self.offsets = torch.from_numpy(data.offsets)
        self.shape, self.episodes, self.generator = shape, episodes, generator
        self.pool = EpisodeShape(pool.classes, pool.images_per_class, queries=0)
        self.min_ways, self.max_shots, self.rotated = min_ways, max_shots, pool.rotated
        if pool.classes < shape.n_way or pool.images_per_class < shape.images_per_class:
            raise UserError(
                f"pool: {shape.n_way}-way {shape.k_shot}-shot episodes with {shape.queries} queries need a pool of "
                f"{shape.n_way} classes of {shape.images_per_class} images, "
                f"got {pool.classes} classes of {pool.images_per_class}"
            )
        if pool.rotated and data.image_shape[1] != data.image_shape[2]:
            raise UserError(f"pool.rotated: expected square images, those of {data.name} are {data.image_shape}")

    def sample(self) -> Step[Episodes]:
        """The next step.

        Returns:
            Its images, and its episodes as positions among them.
        """
        index = draw_episodes(self.offsets, self.pool, 1, self.generator)
        by_class = index.support[0, index.support_labels[0].argsort()]
        offsets = torch.arange(self.pool.n_way + 1, device="cpu") * self.pool.k_shot
        episodes = draw_episodes(offsets, self._shape_of_step(), self.episodes, self.generator)
        classes, normalization = _class_of(by_class, self.offsets), _normalization_of(self.data, len(by_class))
        images = self.images[by_class]
        if self.rotated:
            quarters = self._draw_quarters().repeat_interleave(self.pool.k_shot)
            classes = classes + quarters * len(self.data)
            for quarter in (1, 2, 3):
                chosen = quarters == quarter
                images[chosen] = images[chosen].rot90(quarter, (2, 3))
        return Step(images, classes, episodes, normalization)

    def _shape_of_step(self) -> EpisodeShape:
        shape = self.shape
        if self.min_ways is not None:
            shape = replace(shape, n_way=self._draw(self.min_ways, shape.n_way), slots=shape.n_way)
        if self.max_shots is not None:
            shape = replace(shape, k_shot=self._draw(shape.k_shot, self.max_shots))
        return shape

    def _draw_quarters(self) -> Tensor:
        """Number of quarter turns of each class of a pool, (classes,)."""
        chosen = uniform(self.pool.n_way, generator=self.generator) < self.rotated
        return torch.randint(1, 4, chosen.shape, generator=self.generator, device="cpu") * chosen

    def _draw(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator, device="cpu"))


def _class_of(index: Tensor, offsets: Tensor) -> Tensor:
    return torch.bucketize(index, offsets, right=True) - 1


def _normalization_of(data: ImageClasses, images: int) -> Tensor | None:
    return None if data.normalization is None else torch.from_numpy(data.normalization).expand(images, -1, -1)
