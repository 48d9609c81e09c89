"""All figures of a run."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from srwm.data import ImageClasses
from srwm.errors import UserError
from srwm.fewshot.build import validation_shape
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import EpisodeShape, draw_episodes
from srwm.fewshot.evaluation.baselines import predictors
from srwm.fewshot.evaluation.evaluate import embed_all
from srwm.fewshot.figures.curves import draw_learning_curves
from srwm.fewshot.figures.rates import draw_learning_rates, mean_learning_rates
from srwm.fewshot.figures.shift import animate_shift, draw_shift
from srwm.fewshot.figures.shots import accuracy_per_shot, draw_accuracy_per_shot
from srwm.fewshot.figures.trace import check_place, trace_episode
from srwm.fewshot.protocols.registry import protocol_of, read_config
from srwm.fewshot.report import load_best

MATRIX_FIGURES = ("weight_shift.png", "weight_shift.gif", "learning_rates.png")
"""Those that a model without a self-referential matrix does not have."""

_QUERIES = 5
_EPISODES_OF_RATES = 200


def draw_figures(
    folder: Path,
    data: ImageClasses,
    *,
    shots: int | None = None,
    layer: int | None = None,
    head: int | None = None,
    episodes: int = 1000,
    seed: int = 1,
) -> Iterator[Path]:
    """Draw the figures of a run's best weights on `data` into its folder `figures`; yields each path when it is there.

    `learning_curves.png`; `accuracy_per_shot.png`, up to `shots` examples per class over `episodes` episodes; and
    `MATRIX_FIGURES`, of `layer` and `head` (from 1) or where most changes. Raises UserError where the folder is not a run, its
    weights do not fit, the data is too small, or, before anything is drawn, there is no such layer or head.
    """
    config = read_config(folder)
    check_place(config.model, layer, head)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.from_numpy(data.offsets)

    path = figures / "learning_curves.png"
    draw_learning_curves([folder], path)
    yield path
    if not protocol_of(config).has_queries:
        return

    model = load_best(folder)
    with torch.inference_mode():
        features = embed_all(model, data)
    shape, max_shots = _shape(config, data, shots), config.max_shots or config.k_shot
    path = figures / "accuracy_per_shot.png"
    lines = {
        name: accuracy_per_shot(predict, data, shape, episodes, seed) for name, predict in predictors(model, features).items()
    }
    draw_accuracy_per_shot(lines, shape.n_way, (config.k_shot, max_shots), folder.resolve().name, path)
    yield path

    one = replace(shape, k_shot=config.k_shot, queries=min(_QUERIES, shape.queries))
    shown = draw_episodes(offsets, one, 1, generator)
    trace = trace_episode(model, data, shown, layer, head)
    if trace is None:
        return
    still, moving, rates = (figures / name for name in MATRIX_FIGURES)
    draw_shift(trace, still)
    yield still
    animate_shift(trace, moving)
    yield moving
    drawn = draw_episodes(offsets, shape, _EPISODES_OF_RATES, generator)
    support = config.model.n_way * max_shots
    draw_learning_rates(mean_learning_rates(model, features, drawn), _EPISODES_OF_RATES, support, rates)
    yield rates


def _shape(config: TrainConfig, data: ImageClasses, shots: int | None) -> EpisodeShape:
    tested = validation_shape(config)
    room = int(data.counts.min()) - (tested.images_per_class - tested.k_shot)
    if shots is not None and shots > room:
        raise UserError(f"shots: expected at most {room}, so that {data.name} has images left for queries, got {shots}")
    return replace(tested, k_shot=shots or max(1, min(room, max(5, 2 * config.k_shot))))
