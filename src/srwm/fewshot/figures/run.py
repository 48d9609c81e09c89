"""All figures of a run."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from srwm.data import ImageClasses
from srwm.errors import UserError
from srwm.fewshot.build import validation_shape
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import EpisodeShape, draw_episodes
from srwm.fewshot.evaluation.baselines import predictors
from srwm.fewshot.evaluation.evaluate import embed_all
from srwm.fewshot.figures.config import FiguresConfig
from srwm.fewshot.figures.curves import draw_learning_curves
from srwm.fewshot.figures.rates import draw_learning_rates, mean_learning_rates
from srwm.fewshot.figures.shift import animate_shift, draw_shift
from srwm.fewshot.figures.shots import accuracy_per_shot, draw_accuracy_per_shot
from srwm.fewshot.figures.trace import check_place, trace_episode
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.protocols.registry import protocol_of, read_config
from srwm.fewshot.report import load_best

MATRIX_FIGURES = ("weight_shift.png", "weight_shift.gif", "learning_rates.png")
"""The figures that need a self-referential matrix."""

_QUERIES = 5
_EPISODES_OF_RATES = 200
_DEFAULT = FiguresConfig()


def draw_figures(folder: Path, data: ImageClasses, chosen: FiguresConfig = _DEFAULT) -> Iterator[Path]:
    """Draw the figures of a run's best weights into its folder `figures`.

    They are `learning_curves.png`, `accuracy_per_shot.png`, and `MATRIX_FIGURES` for a model with self-referential matrices.
    For a run on streams only the first is drawn.

    Args:
        folder: the run folder.
        data: the data set from which the episodes are drawn.
        chosen: the options of the figures.

    Yields:
        The path of each figure after it has been written.

    Raises:
        UserError: the folder is not a run, its weights do not fit, the data is too small, or there is no such layer or head.
    """
    config = read_config(folder)
    check_place(config.model, chosen.layer, chosen.head)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    path = figures / "learning_curves.png"
    draw_learning_curves([folder], path)
    yield path
    if not protocol_of(config).has_queries:
        return
    model, shape = load_best(folder), _shape(config, data, chosen.shots)
    with torch.inference_mode():
        features = embed_all(model, data)
    path = figures / "accuracy_per_shot.png"
    lines = {
        name: accuracy_per_shot(predict, data, shape, chosen.episodes, chosen.seed)
        for name, predict in predictors(model, features).items()
    }
    draw_accuracy_per_shot(lines, shape.n_way, (config.k_shot, _max_shots(config)), folder.resolve().name, path)
    yield path
    yield from _draw_matrices(figures, config, model, data, features, shape, chosen)


def _draw_matrices(
    figures: Path,
    config: TrainConfig,
    model: EpisodeModel,
    data: ImageClasses,
    features: Tensor,
    shape: EpisodeShape,
    chosen: FiguresConfig,
) -> Iterator[Path]:
    """Draw `MATRIX_FIGURES`; nothing for a model without a self-referential matrix."""
    generator = torch.Generator().manual_seed(chosen.seed)
    offsets = torch.from_numpy(data.offsets)
    one = replace(shape, k_shot=config.k_shot, queries=min(_QUERIES, shape.queries))
    trace = trace_episode(model, data, draw_episodes(offsets, one, 1, generator), chosen.layer, chosen.head)
    if trace is None:
        return
    still, moving, rates = (figures / name for name in MATRIX_FIGURES)
    draw_shift(trace, still)
    yield still
    animate_shift(trace, moving)
    yield moving
    drawn = draw_episodes(offsets, shape, _EPISODES_OF_RATES, generator)
    support = config.model.n_way * _max_shots(config)
    draw_learning_rates(mean_learning_rates(model, features, drawn), _EPISODES_OF_RATES, support, rates)
    yield rates


def _max_shots(config: TrainConfig) -> int:
    return config.max_shots or config.k_shot


def _shape(config: TrainConfig, data: ImageClasses, shots: int | None) -> EpisodeShape:
    tested = validation_shape(config)
    room = int(data.counts.min()) - (tested.images_per_class - tested.k_shot)
    if shots is not None and shots > room:
        raise UserError(f"shots: expected at most {room}, so that {data.name} has images left for queries, got {shots}")
    return replace(tested, k_shot=shots or max(1, min(room, max(5, 2 * config.k_shot))))
