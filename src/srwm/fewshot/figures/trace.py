"""Traces of one episode: images, changes of a matrix and predictions at each step."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srwm.data import ImageClasses
from srwm.errors import UserError
from srwm.fewshot.episodes import Episodes
from srwm.fewshot.images import to_input
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.sequence import FewShotModel
from srwm.nn import CORES, NoMemory, SelfReferential, learning_rates, shifts_over_time
from srwm.training.modes import evaluation_mode


class CoreInput(NamedTuple):
    """The inputs of one self-referential core of a model: its block, counted from 1, x (B, T, d_model) and resets."""

    layer: int
    core: SelfReferential
    x: Tensor
    resets: Tensor | None

    def rates(self) -> Tensor:
        """Learning rates (B, T, H, 4).

        Returns:
            The rates, after the sigmoid.
        """
        return learning_rates(self.core, self.x, resets=self.resets)

    def shifts(self) -> Tensor:
        """Shifts (B, T + 1, H, E, M).

        Returns:
            The shift before the first step and after each step.
        """
        return shifts_over_time(self.core, self.x, resets=self.resets)


@dataclass(frozen=True)
class EpisodeTrace:
    """S labeled images, then Q queries, and one head of one block; S + Q = I.

    images are (I, C, H, W) uint8, labels (I,) the true labels, weight is W_0 (E, M). shifts (S + 1, E, M) are W - W_0 before
    the first image and after each. probabilities (I, N) are those of an example right after it was learned, and of a query
    after all examples; 0 for labels that are not in the episode.
    """

    images: NDArray[np.uint8]
    labels: list[int]
    weight: NDArray[np.float32]
    shifts: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    layer: int
    head: int

    @property
    def support(self) -> int:
        """Number of labeled images S."""
        return len(self.shifts) - 1

    def norm(self, step: int) -> float:
        """Frobenius norm of the shift after a number of images.

        Args:
            step: number of images.

        Returns:
            The norm.
        """
        return float(np.linalg.norm(self.shifts[step]))


@torch.inference_mode()
def core_inputs(model: EpisodeModel, features: Tensor, labels: Tensor) -> list[CoreInput]:
    """The inputs of every self-referential core of a model over a sequence.

    Args:
        model: the model.
        features: (B, T, F).
        labels: (B, T) int64.

    Returns:
        One entry per core, in the order of the blocks; empty if there is none.
    """
    read: list[CoreInput] = []
    if not isinstance(model, FewShotModel):
        return read

    def hook(layer: int) -> Any:
        def keep(core: SelfReferential, arguments: tuple[Any, ...]) -> None:
            read.append(CoreInput(layer, core, arguments[0], arguments[2]))

        return keep

    blocks = [getattr(block, "core", None) for block in model.stack.blocks]
    handles = [
        core.register_forward_pre_hook(hook(number))
        for number, core in enumerate(blocks, 1)
        if isinstance(core, SelfReferential)
    ]
    try:
        model.forward_features(features, labels)
    finally:
        for handle in handles:
            handle.remove()
    return read


def check_place(config: ModelConfig, layer: int | None, head: int | None) -> None:
    """Check that a model has a self-referential matrix at a layer and head, counted from 1.

    Args:
        config: the model.
        layer: the block, or None.
        head: the head, or None.

    Raises:
        UserError: it has none there.
    """
    referential = config.head == "memory" and issubclass(CORES.get(config.stack.core, NoMemory), SelfReferential)
    for name, chosen, count in (("layer", layer, config.stack.num_layers), ("head", head, config.stack.num_heads)):
        if chosen is not None and not referential:
            raise UserError(f"{name}: expected none for a model without a self-referential matrix, got {chosen}")
        if chosen is not None and not 1 <= chosen <= count:
            raise UserError(f"{name}: expected 1 to {count}, got {chosen}")


@torch.inference_mode()
def trace_episode(
    model: EpisodeModel, data: ImageClasses, episode: Episodes, layer: int | None = None, head: int | None = None
) -> EpisodeTrace | None:
    """Trace an episode.

    Args:
        model: the model; it is in evaluation mode during the call.
        data: the data set.
        episode: episodes over its images, of which the first is traced.
        layer: the block, from 1; None: the one that changes most over the support, relative to W_0.
        head: the head, from 1; None: the one that changes most over the support, relative to W_0.

    Returns:
        The trace; None if the model has no self-referential matrix.

    Raises:
        UserError: the model has no such layer or head.
    """
    check_place(model.config, layer, head)
    with evaluation_mode(model):
        return _trace(model, data, episode, layer, head)


def _trace(
    model: EpisodeModel, data: ImageClasses, episode: Episodes, layer: int | None, head: int | None
) -> EpisodeTrace | None:
    support, labels, query, truth = (part[:1] for part in episode)
    images = data.images[torch.cat([support, query], dim=1)[0].numpy()]
    device = next(model.parameters()).device
    features = model.embed(to_input(torch.from_numpy(images).to(device), data))[None]
    known, labels = features[:, : support.shape[1]], labels.to(device)
    read = core_inputs(model, known, labels)
    if not read:
        return None
    changes = {
        (found.layer, number): float(shift[-1].norm() / weight.norm())
        for found in read
        for number, (shift, weight) in enumerate(zip(found.shifts()[0].transpose(0, 1), found.core.weight, strict=True), 1)
        if layer in (None, found.layer) and head in (None, number)
    }
    chosen = max(changes, key=lambda place: changes[place])
    matrices = next(found for found in read if found.layer == chosen[0])
    shifts = matrices.shifts()[0, :, chosen[1] - 1]

    logits_of_steps, state = [], None
    for step in range(support.shape[1]):
        shown = slice(step, step + 1)
        state = model.learn_features(known[:, shown], labels[:, shown], state)
        logits_of_steps.append(model.query_features(known[:, shown], state)[0])
    logits_of_steps.append(model.query_features(features[:, support.shape[1] :], state)[0])
    logits = torch.cat(logits_of_steps).float()
    absent = torch.ones(logits.shape[1], dtype=torch.bool, device=device).index_fill_(0, labels[0], False)
    return EpisodeTrace(
        images=images,
        labels=torch.cat([labels.cpu(), truth], dim=1)[0].tolist(),
        weight=matrices.core.weight[chosen[1] - 1].float().cpu().numpy(),
        shifts=shifts.float().cpu().numpy(),
        probabilities=logits.masked_fill(absent, -torch.inf).softmax(-1).cpu().numpy(),
        layer=chosen[0],
        head=chosen[1],
    )
