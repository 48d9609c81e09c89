"""One sequence: its symbols, the true state, and what runs believe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from srwm.errors import UserError
from srwm.sequences.batch import NO_TARGET, Batch, Bin
from srwm.sequences.model import SequenceModel
from srwm.sequences.report import load_best
from srwm.sequences.tasks import AutomatonTask, LanguageTask, Task
from srwm.training.figure_style import GREY, figure_style
from srwm.training.figures import check_figure
from srwm.training.runs import short_names

_STEPS = 48
"""Steps that are shown, half of them beyond the length of training."""
_MOST_STEPS = 80
"""Steps up to which a sequence of the automaton is shown from its beginning."""
_KEY = 1


def draw_episode(folders: Sequence[Path], path: Path) -> None:
    """Draw one test sequence of twice the training length, around the step at which training sequences end.

    A row has the symbols, a row the true states by color, and for each run a row has the states that it holds most probable,
    pale where it is unsure, crossed out where it is wrong.

    Args:
        folders: run folders of one task.
        path: the file of the figure.

    Raises:
        UserError: a folder is not a trained run, tasks differ, or as `check_figure`.
    """
    check_figure(path)
    folders = list({folder.resolve(): folder for folder in folders}.values())
    runs = [load_best(folder) for folder in folders]
    task = runs[0][0]
    for folder, (other, _) in zip(folders, runs, strict=True):
        if other.config != task.config:
            raise UserError(f"{folder}: expected the task of {folders[0]}, since one sequence is drawn for all runs")
    batch = task.draw("test", (_KEY,), 1, _lengths(task))
    shown = _window(task, batch)
    beliefs = [_belief(model, batch)[shown] for _, model in runs]
    truth = batch.targets[0, shown].numpy()
    states = truth if batch.labels is None else np.where(truth == NO_TARGET, batch.labels[0, shown].numpy(), truth)
    with figure_style():
        figure = Figure(figsize=(13, 1.6 + 0.42 * len(runs)), layout="constrained")
        axes = figure.subplots()
        _write_symbols(axes, task, batch, shown, row=0)
        colors = _colors(task)
        _paint(axes, 1, states, np.ones(len(truth)), colors)
        for row, belief in enumerate(beliefs, 2):
            best = belief.argmax(1)
            _paint(axes, row, np.where(truth == NO_TARGET, NO_TARGET, best), belief.max(1), colors)
            for column in np.flatnonzero((best != truth) & (truth != NO_TARGET)):
                axes.text(column, row, "x", ha="center", va="center", fontsize=11)
        _finish(axes, ["symbol", "true state", *short_names(folders)], task, shown, len(truth))
        figure.savefig(path)


def _lengths(task: Task) -> Bin:
    longest = 2 * task.config.max_length
    if isinstance(task, AutomatonTask):
        return Bin(longest, longest, task.options.groups[-1])
    assert isinstance(task, LanguageTask)
    return Bin(longest - task.language.unit + 1, longest)


def _bound_steps(batch: Batch) -> int:
    """Steps before the first target."""
    return int((batch.targets[0] != NO_TARGET).long().argmax())


def _window(task: Task, batch: Batch) -> slice:
    """The steps to show, which end beyond the length of training; of the automaton, also those before them."""
    bound = _bound_steps(batch)
    end = min(batch.targets.shape[1], bound + task.config.max_length + _STEPS // 2)
    return slice(0 if bound and end <= _MOST_STEPS else max(0, end - _STEPS), end)


def _belief(model: SequenceModel, batch: Batch) -> NDArray[Any]:
    with torch.no_grad():
        probabilities: NDArray[Any] = model(batch)[0].softmax(1).numpy()
    return probabilities


def _write_symbols(axes: Axes, task: Task, batch: Batch, shown: slice, *, row: int) -> None:
    tokens = batch.tokens[0, shown]
    if isinstance(task, LanguageTask):
        alphabet = task.language.alphabet
        size = 10 if max(map(len, alphabet)) == 1 else 6
        for column, token in enumerate(tokens.tolist()):
            axes.text(column, row, alphabet[token], ha="center", va="center", fontsize=size)
        return
    assert isinstance(task, AutomatonTask)
    assert batch.items is not None
    items = batch.items[tokens]
    for column, item in enumerate(items):
        extent = (column - 0.45, column + 0.45, row + 0.45, row - 0.45)
        axes.imshow(_picture(item), extent=extent, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")


def _picture(item: Tensor) -> NDArray[Any]:
    """A drawing, or the first numbers of a vector as a pattern of gray fields; in [0, 1]."""
    if item.dim() == 3:
        drawing: NDArray[Any] = item[0].numpy() / 255
        return drawing
    side = max(1, min(4, int(len(item) ** 0.5)))
    pattern: NDArray[Any] = (0.5 + item[: side * side].view(side, side) / 4).clamp(0, 1).numpy()
    return pattern


def _colors(task: Task) -> NDArray[Any]:
    """A color for each class (classes, 4); those of groups that are not shown are gray."""
    size = task.elements.sizes[-1] if isinstance(task, AutomatonTask) else len(task.classes)
    colors = np.tile(matplotlib.colors.to_rgba(GREY), (len(task.classes), 1))
    colors[-size:] = matplotlib.colormaps["turbo"](np.linspace(0.08, 0.92, size))
    return colors


def _paint(axes: Axes, row: int, states: NDArray[Any], sure: NDArray[Any], colors: NDArray[Any]) -> None:
    for column in np.flatnonzero(states != NO_TARGET):
        alpha = 0.15 + 0.75 * sure[column]
        axes.add_patch(Rectangle((column - 0.5, row - 0.4), 1, 0.8, color=colors[states[column]], alpha=alpha, lw=0))


def _finish(axes: Axes, names: list[str], task: Task, shown: slice, width: int) -> None:
    steps = len(names)
    bound = 0
    if isinstance(task, AutomatonTask):
        bound = max(task.elements.sizes) * task.options.shots
    border = bound + task.config.max_length - shown.start - 0.5
    axes.axvline(border, color=GREY, linestyle="--", linewidth=1.2)
    title = f"Left of the dashed line: as long as in training ({task.config.max_length} steps)"
    if bound and bound > shown.start:
        axes.axvline(bound - shown.start - 0.5, color=GREY, linewidth=1.2)
        title = f"First {bound} steps: symbols with their elements. {title}"
    axes.set(xlim=(-0.5, width - 0.5), ylim=(steps - 0.4, -0.6), yticks=range(steps), xticks=[], aspect="auto")
    axes.set_yticklabels(names)
    axes.set_title(f"{title}; x is a wrong answer", loc="left", fontsize=11)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
