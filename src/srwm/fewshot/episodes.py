"""Episodes: few-shot tasks as index tensors over images, and two samplers of them with one interface."""

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

    The classes are labeled 0 ... n_way - 1, or with different ones of `slots` labels where the model has more than n_way.
    """

    n_way: int
    k_shot: int
    queries: int
    slots: int | None = None

    @property
    def support(self) -> int:
        """Labeled examples in an episode."""
        return self.n_way * self.k_shot

    @property
    def images_per_class(self) -> int:
        """Images of a class that an episode may need: the queries are spread over the classes as evenly as possible."""
        return self.k_shot + -(-self.queries // self.n_way)


@dataclass(frozen=True)
class PoolConfig:
    """The pool of a step; each image in it is embedded once and serves many episodes."""

    RENAMED: ClassVar = {"turned": "rotated"}

    classes: Annotated[int, AtLeast(1)] = 60
    """classes in the pool"""
    images_per_class: Annotated[int, AtLeast(1)] = 6
    """images of each class in the pool"""
    rotated: Annotated[float, Between(0, 1)] = 0.0
    """share of the classes of a pool that are rotated by 90, 180 or 270 degrees and count as new classes; not for data whose
    rotations are classes already, such as Omniglot"""

    def count(self, classes: int) -> int:
        """How many classes come out of so many of a data set."""
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
        """With the examples of all episodes read in another order, (N * K,)."""
        return self._replace(support=self.support[:, order], support_labels=self.support_labels[:, order])


Drawn = TypeVar("Drawn", covariant=True)


class Step(NamedTuple, Generic[Drawn]):
    """What one step of training sees: images (P, C, H, W) uint8, each to be embedded once, and the episodes over them.

    classes (P,) int64 are the images' classes among all training classes; normalization (P, 2, C), if there is one, has the
    mean and deviation of each channel in the data set that an image is from.
    """

    images: Tensor
    classes: Tensor
    episodes: Drawn
    normalization: Tensor | None = None


class Sampler(Protocol[Drawn]):
    """Draws one step after the other; `generator` is all of its state."""

    generator: torch.Generator

    def sample(self) -> Step[Drawn]:
        """The next step."""


def draw_episodes(offsets: Tensor, shape: EpisodeShape, episodes: int, generator: torch.Generator | None = None) -> Episodes:
    """Draw episodes from classes that own positions offsets[c] ... offsets[c + 1] - 1, offsets (classes + 1,) int64.

    No class and no position occurs twice in an episode; the same generator state gives the same episodes.
    Raises UserError where there are too few classes or a class has too few images.
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
    """The episodes with the first `shots` labeled examples of each class alone, in the order that they have.

    Every class has the same number of examples, at least `shots`.
    """
    ways = int(episodes.support_labels.max()) + 1
    seen = torch.nn.functional.one_hot(episodes.support_labels, ways).cumsum(1)
    kept = seen.gather(2, episodes.support_labels[..., None])[..., 0] <= shots
    support, labels = (part[kept].view(len(part), -1) for part in episodes[:2])
    return episodes._replace(support=support, support_labels=labels)


class EpisodeSampler:
    """Every episode with images of its own, as in the paper: P = episodes * (N * K + Q) images a step."""

    def __init__(self, data: ImageClasses, shape: EpisodeShape, episodes: int, generator: torch.Generator) -> None:
        self.data, self.images = data, torch.from_numpy(data.images)
        self.offsets = torch.from_numpy(data.offsets)
        self.shape, self.episodes, self.generator = shape, episodes, generator

    def sample(self) -> Step[Episodes]:
        """The next step."""
        drawn = draw_episodes(self.offsets, self.shape, self.episodes, self.generator)
        index = torch.cat([drawn.support, drawn.query], dim=1)
        position = torch.arange(index.numel(), device="cpu").view_as(index)
        images = index.flatten()
        moved = drawn._replace(support=position[:, : self.shape.support], query=position[:, self.shape.support :])
        return Step(self.images[images], _class_of(images, self.offsets), moved, _normalization_of(self.data, len(images)))


class PooledSampler:
    """Many episodes over a few images: a pool of classes and of images per class is drawn first, the episodes from it.

    P = classes * images_per_class images a step, embedded once, serve any number of episodes. With `min_ways` and
    `max_shots` each step draws its numbers of classes (min_ways to n_way) and of examples per class (k_shot to max_shots).
    A share `rotated` of a pool's classes, drawn at random, is rotated by 90, 180 or 270 degrees; rotated by so many quarters,
    class c counts as class c + quarters * (classes of the data).
    Raises UserError for a pool that is too small for an episode, or to be rotated though images are not square.
    Nothing finds out whether a rotated class is another of the data.
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
        """The next step."""
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
        """By how many quarters each class of a pool is rotated, (classes,)."""
        chosen = uniform(self.pool.n_way, generator=self.generator) < self.rotated
        return torch.randint(1, 4, chosen.shape, generator=self.generator, device="cpu") * chosen

    def _draw(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator, device="cpu"))


def _class_of(index: Tensor, offsets: Tensor) -> Tensor:
    return torch.bucketize(index, offsets, right=True) - 1


def _normalization_of(data: ImageClasses, images: int) -> Tensor | None:
    return None if data.normalization is None else torch.from_numpy(data.normalization).expand(images, -1, -1)
