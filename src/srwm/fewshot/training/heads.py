"""Training of a model's heads on features of its stem, which are computed once; the stem stays as it is."""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from srwm.data import ImageClasses, Split
from srwm.errors import UserError
from srwm.fewshot.episodes import EpisodeShape, draw_episodes
from srwm.fewshot.evaluation.evaluate import embed_all
from srwm.fewshot.evaluation.heads import head_losses
from srwm.fewshot.models.config import HeadName
from srwm.fewshot.models.factory import with_all_heads
from srwm.fewshot.models.prototypes import PrototypicalNetwork
from srwm.fewshot.models.residual import ResidualModel
from srwm.fewshot.models.sequence import FewShotModel
from srwm.ranges import AtLeast, Seed
from srwm.training.optimizer import OptimizerConfig, build_optimizer, check_loss, clip_gradient

_PARTS: dict[HeadName, tuple[str, ...]] = {
    "prototypes": ("class_means.",),
    "memory": ("input.", "stack.", "out_layer."),
    "residual": ("memory_scale",),
}


@dataclass(frozen=True)
class HeadsConfig:
    """Training of heads on features of a fixed stem."""

    heads: tuple[HeadName, ...] = ("prototypes", "memory", "residual")
    """heads that are trained; the others keep their weights"""
    classes: Annotated[int, AtLeast(2)] | None = None
    """number of training classes, at equal distances among all; None: all"""
    steps: Annotated[int, AtLeast(1)] = 8000
    """optimizer steps"""
    episodes: Annotated[int, AtLeast(1)] = 24
    """episodes per step"""
    min_ways: Annotated[int, AtLeast(2)] = 2
    """smallest number of classes in an episode; each step draws a number from here to the model's n_way"""
    max_shots: Annotated[int, AtLeast(1)] = 10
    """largest number of labeled examples per class; each step draws a number from 1 up, small ones more often (log-uniform)"""
    queries: Annotated[int, AtLeast(1)] = 20
    """queries per episode"""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=5e-3, weight_decay=0.01))
    """the optimizer; its learning rate falls to 0 by a half cosine"""
    validate_every: Annotated[int, AtLeast(1)] = 500
    """steps between two validations, which choose the weights"""
    validation_episodes: Annotated[int, AtLeast(2)] = 500
    """episodes of each test of a validation, the same each time"""
    seed: Seed = 0
    """random seed of the episodes"""


def train_heads(
    model: FewShotModel | PrototypicalNetwork,
    splits: Mapping[Split, ImageClasses],
    config: HeadsConfig,
    tell: Callable[[str], object] = lambda text: None,
) -> ResidualModel:
    """Train the heads of a model. Class means begin untrained, a memory with the weights that it has, if the model has one.

    Of all validations, the first included, the one with the least loss has the weights.

    Args:
        model: the model, which stays as it is.
        splits: the data set, of which the parts for training and validation are used.
        config: the configuration.
        tell: is called with a line of text after each validation.

    Returns:
        A model with all heads and the same stem.

    Raises:
        UserError: the data is too small, or the loss is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        made = with_all_heads(model)
    features = {split: _embedded(made, data) for split, data in _parts(splits, config).items()}
    trained = _trained(made, config.heads)
    optimizer = build_optimizer(trained, config.optimizer)
    generator = torch.Generator().manual_seed(config.seed)
    best, kept = math.inf, deepcopy(made.state_dict())
    for step in range(config.steps + 1):
        if step % config.validate_every == 0 or step == config.steps:
            found, text = _validation(made, *features["val"], config)
            tell(f"step {step}: {text}")
            if found < best:
                best, kept = found, deepcopy(made.state_dict())
        if step == config.steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = config.optimizer.lr * (1 + math.cos(math.pi * step / config.steps)) / 2
        vectors, offsets = features["train"]
        drawn = draw_episodes(offsets, _shape(made, config, offsets, generator), config.episodes, generator)
        loss = torch.stack([loss for loss, _ in head_losses(made, vectors, drawn, config.heads).values()]).sum()
        optimizer.zero_grad()
        check_loss(loss, step + 1)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradient(trained, config.optimizer.clip_norm, step + 1)
        optimizer.step()
    made.load_state_dict(kept)
    return made.requires_grad_(True).eval()


def _parts(splits: Mapping[Split, ImageClasses], config: HeadsConfig) -> dict[Split, ImageClasses]:
    """The training classes that are wanted, and the validation classes."""
    train, val = splits["train"], splits["val"]
    if config.classes is not None and config.classes < len(train):
        train = train.select(np.linspace(0, len(train) - 1, config.classes).round().astype(int).tolist(), train.name)
    return {"train": train, "val": val}


def _embedded(model: ResidualModel, data: ImageClasses) -> tuple[Tensor, Tensor]:
    """Features (I, F) and offsets of the classes."""
    return embed_all(model, data), torch.from_numpy(data.offsets)


def _trained(model: ResidualModel, heads: tuple[HeadName, ...]) -> ResidualModel:
    """The model, of which only the weights of these heads have gradients; those of class means begin anew."""
    if "prototypes" in heads:
        model.class_means.reset_parameters()
    if "residual" in heads:
        nn.init.zeros_(model.memory_scale)
    starts = tuple(start for head in heads for start in _PARTS[head])
    if not starts:
        raise UserError("heads: expected one or more, got none")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(starts))
    return model


def _shape(model: ResidualModel, config: HeadsConfig, offsets: Tensor, generator: torch.Generator) -> EpisodeShape:
    """Numbers of classes and examples of a step; a class keeps one image or more for queries."""
    n_way = model.config.n_way
    ways = int(torch.randint(min(config.min_ways, n_way), n_way + 1, (), generator=generator, device="cpu"))
    per_query = -(-config.queries // ways)
    most = max(1, min(config.max_shots, int(offsets.diff().min()) - per_query))
    shots = int((most + 1) ** torch.rand((), generator=generator, dtype=torch.float64, device="cpu").item())
    return EpisodeShape(ways, shots, config.queries, slots=n_way)


def _validation(model: ResidualModel, vectors: Tensor, offsets: Tensor, config: HeadsConfig) -> tuple[float, str]:
    """The sum of the losses of the trained heads, and a text: few and all ways, one and up to five examples."""
    total, texts = 0.0, []
    n_way = model.config.n_way
    for ways, shots in ((min(5, n_way), 1), (n_way, 1), (n_way, min(5, config.max_shots))):
        generator = torch.Generator().manual_seed(0)
        losses: dict[HeadName, float] = dict.fromkeys(config.heads, 0.0)
        right = dict.fromkeys(config.heads, 0.0)
        for start in range(0, config.validation_episodes, config.episodes):
            count = min(config.episodes, config.validation_episodes - start)
            drawn = draw_episodes(offsets, EpisodeShape(ways, shots, config.queries, slots=n_way), count, generator)
            with torch.no_grad():
                found = head_losses(model, vectors, drawn, config.heads)
            for head, (loss, logits) in found.items():
                losses[head] += count * loss.item() / config.validation_episodes
                right[head] += (logits.argmax(-1) == drawn.query_labels).double().mean(1).sum().item()
        total += sum(losses.values())
        texts += [f"{head} {100 * right[head] / config.validation_episodes:.2f} %" for head in config.heads]
        texts[-len(config.heads)] = f"{ways}-way {shots}-shot " + texts[-len(config.heads)]
    return total, f"loss {total:.4f}; " + ", ".join(texts)
