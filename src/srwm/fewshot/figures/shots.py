"""Accuracy as a function of the number of labeled examples."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from srwm.data import ImageClasses
from srwm.fewshot.episodes import EpisodeShape, first_shots
from srwm.fewshot.evaluation.baselines import NEAREST_FEATURES, PROTOTYPES, PROTOTYPES_NORMALIZED, Predict
from srwm.fewshot.evaluation.evaluate import Accuracy, score
from srwm.training.figure_style import BLUE, GREEN, GREY, PURPLE, VERMILLION, figure_style, legend_below, mark_chance

_LINES = {
    "model": (BLUE, "o", "-"),
    NEAREST_FEATURES: (VERMILLION, "s", "--"),
    PROTOTYPES: (GREEN, "^", ":"),
    PROTOTYPES_NORMALIZED: (PURPLE, "d", "-."),
}
_MARGIN = 6
"""Room below the lowest curve and chance, for a line of text, in percent."""


def accuracy_per_shot(
    predict: Predict, data: ImageClasses, shape: EpisodeShape, episodes: int, seed: int = 0
) -> list[Accuracy]:
    """Accuracy after 1, 2 ... `shape.k_shot` examples per class, on the same episodes with the same queries.

    Episodes are drawn with `k_shot` examples per class. For fewer, the later examples of each class are removed, so the rest
    is in random order too.

    Args:
        predict: the predictor.
        data: the data set.
        shape: the shape of an episode.
        episodes: number of episodes.
        seed: seed of the episodes.

    Returns:
        The accuracy for each number of examples, from 1.

    Raises:
        UserError: the data has too few classes or images.
    """

    def knowing(shots: int) -> Predict:
        return lambda drawn: predict(first_shots(drawn, shots))

    return [score(knowing(shots), data, shape, episodes, seed) for shots in range(1, shape.k_shot + 1)]


def draw_accuracy_per_shot(
    lines: Mapping[str, Sequence[Accuracy]], n_way: int, trained_shots: tuple[int, int], name: str, path: Path
) -> None:
    """Draw lines of `accuracy_per_shot` with their 95 % intervals.

    Args:
        lines: the accuracies by name of the predictor; "model" is shown as `name`.
        n_way: number of classes of an episode.
        trained_shots: smallest and largest number of examples per class in training.
        name: the name of the model.
        path: the file of the figure.
    """
    with figure_style():
        figure = Figure(figsize=(9, 5.6), layout="constrained")
        axes = figure.subplots()
        drawn: dict[str, Line2D] = {}
        for key, accuracies in lines.items():
            color, marker, dashes = _LINES[key]
            shots = np.arange(1, len(accuracies) + 1)
            means = np.array([100 * accuracy.mean for accuracy in accuracies])
            spread = np.array([100 * accuracy.interval for accuracy in accuracies])
            label = f"{name if key == 'model' else f'{key} of its stem'}: {means[0]:.1f} → {means[-1]:.1f} %"
            (drawn[label],) = axes.plot(shots, means, color=color, marker=marker, linestyle=dashes, lw=2)
            axes.fill_between(shots, means - spread, means + spread, color=color, alpha=0.25, lw=0)
        fewest, most = trained_shots
        for trained in {fewest, most}:
            axes.axvline(trained, color=GREY, lw=1, linestyle=":")
        axes.set(xlabel="labeled examples of each class", ylabel="accuracy, %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        end = max(most, *map(len, lines.values())) + 0.5
        axes.set_xlim(0.5, end)
        lowest = min(accuracy.mean - accuracy.interval for line in lines.values() for accuracy in line)
        axes.set_ylim(100 * min(lowest, 1 / n_way) - _MARGIN, 101)
        mark_chance(axes, 100 / n_way, f"chance, {100 / n_way:.0f} %")
        on_left = fewest > end / 2
        axes.annotate(
            "trained with this many" if fewest == most else f"trained with {fewest} to {most}",
            (fewest, 0),  # in the margin, which no curve reaches
            xycoords=("data", "axes fraction"),
            xytext=(-5 if on_left else 5, 3),
            textcoords="offset points",
            ha="right" if on_left else "left",
            color=GREY,
        )
        axes.grid(alpha=0.3)
        legend_below(figure, drawn, title="accuracy with the fewest → with the most examples")
        axes.set_title(f"What another example is worth ({n_way} new classes, same queries, 95 % intervals)", loc="left")
        figure.savefig(path)
