"""Learning curves of one or several runs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from srwm.errors import UserError
from srwm.rl.config import TrainConfig
from srwm.rl.envs import EnvConfig
from srwm.rl.evaluate import normalize
from srwm.training.figures import check_figure
from srwm.training.metrics import check_columns, read_metrics
from srwm.training.runs import read_config_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = 3
"""Panels in a row."""
_POINTS = 25
"""Largest number of points of a run."""
_POINTS_OF_SEVERAL = 10
"""Largest number of points of a run with several tasks."""
_LABELS = {"frames": "frames", "minutes": "minutes", "cpu_minutes": "minutes of CPU time"}
"""Labels of the axes by column of the metrics."""


def draw_learning_curve(folder: Path) -> Path:
    """Draw the return of each task over frames and over minutes (of CPU time if the run has a budget in CPU time).

    Args:
        folder: Run folder.

    Returns:
        The path of the figure, `learning_curve.png` in the run folder.
    """
    from matplotlib.figure import Figure

    rows = read_metrics(folder)
    tasks = _tasks(rows)
    figure = Figure(figsize=(10, 4), layout="constrained")
    minutes = "cpu_minutes" if read_config_of(folder, TrainConfig).cpu_minutes else "minutes"
    check_columns(folder, rows, "frames", minutes)
    for axes, over in zip(figure.subplots(1, 2, sharey=True), ("frames", minutes), strict=True):
        for task in tasks:
            known = [row for row in rows if task in row]
            axes.plot([row[over] for row in known], [row[task] for row in known], lw=1, label=task.removeprefix("return_"))
        axes.set(xlabel=_LABELS[over], ylabel="mean return of training episodes")
        axes.grid(alpha=0.3)
    if tasks:
        figure.axes[0].legend(loc="best", fontsize="small")
    path = folder / "learning_curve.png"
    figure.savefig(path, dpi=150)
    return path


def draw_comparison(groups: Mapping[str, Sequence[Path]], path: Path, *, processor_time: bool = False) -> None:
    """Draw the mean return over the tasks of runs, over frames and over minutes, with a color for each group.

    A run has at most 25 points. Each is the mean over equally many rows of its metrics, drawn at the last of them. With several
    tasks a run has at most 10 points, of the normalized score if all tasks have one, and each task also has its own panel.

    Args:
        groups: run folders by the label of their group.
        path: the file of the figure.
        processor_time: minutes are of CPU time, which is also the case if every run has a budget in CPU time; otherwise of
            wall-clock time.

    Raises:
        UserError: a folder is not a run, no episode has ended in it, or as `check_figure`.
    """
    from matplotlib.figure import Figure

    check_figure(path)
    configs = {folder: read_config_of(folder, TrainConfig) for folders in groups.values() for folder in folders}
    processor_time = processor_time or all(config.cpu_minutes for config in configs.values())
    minutes = "cpu_minutes" if processor_time else "minutes"
    logs = {folder: [row for row in read_metrics(folder) if "return" in row] for folder in configs}
    figure = Figure(layout="constrained")
    tasks = _tasks(row for rows in logs.values() for row in rows)
    over_frames, over_minutes, panels = _axes_of_comparison(figure, tasks, list(groups))
    scores = {folder: _normalized(rows, configs[folder].env) for folder, rows in logs.items()}
    normalized = bool(panels) and all(found.size for found in scores.values())
    for number, (name, folders) in enumerate(groups.items()):
        for folder in folders:
            rows = logs[folder]
            if not rows:
                raise UserError(f"{folder}: no row of its metrics has an episode of every task yet")
            own = [task for task in panels if task in rows[0]]
            check_columns(folder, rows, "episodes", "frames", minutes, *own)
            values = scores[folder] if normalized else np.array([row["return"] for row in rows])
            weights = np.array([row["episodes"] for row in rows])
            parts = np.array_split(np.arange(len(rows)), min(len(rows), _POINTS_OF_SEVERAL if panels else _POINTS))
            ends = [rows[part[-1]] for part in parts]
            points = [np.average(values[part], weights=weights[part]) for part in parts]
            label = name if folder == folders[0] else None
            for one, over in ((over_frames, "frames"), (over_minutes, minutes)):
                one.plot([row[over] for row in ends], points, f"C{number % 10}", label=label)
            for task in own:
                means = [fmean(rows[row][task] for row in part) for part in parts]
                panels[task].plot([row["frames"] for row in ends], means, f"C{number % 10}", lw=1)
    over_frames.set(ylabel=f"{'normalized score' if normalized else 'mean return'} of training episodes")
    over_minutes.set(xlabel=_LABELS[minutes])
    lines, labels = over_frames.get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper center", ncols=_columns(labels), fontsize="small")
    figure.savefig(path, dpi=150)


def _axes_of_comparison(
    figure: "Figure", tasks: Sequence[str], labels: Sequence[str]
) -> tuple["Axes", "Axes", dict[str, "Axes"]]:
    """Axes over frames and over minutes, and below them axes for each task if there are several."""
    single = tasks if len(tasks) > 1 else []
    panel_rows = -(-len(single) // _PANELS)
    figure.set_size_inches(10, 4 + 2.5 * panel_rows + 0.2 * (len(labels) // _columns(labels)))
    grid = figure.add_gridspec(1 + panel_rows, 2 * _PANELS, height_ratios=[4, *panel_rows * [2.5]])
    over_frames = figure.add_subplot(grid[0, :_PANELS], xlabel="frames")
    over_minutes = figure.add_subplot(grid[0, _PANELS:], sharey=over_frames)
    over_minutes.tick_params(labelleft=False)
    panels = {}
    for number, task in enumerate(single):
        panel_row, column = divmod(number, _PANELS)
        title = task.removeprefix("return_")
        panels[task] = figure.add_subplot(grid[1 + panel_row, 2 * column : 2 * column + 2], title=title, xlabel="frames")
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    return over_frames, over_minutes, panels


def _tasks(rows: Iterable[dict[str, float]]) -> list[str]:
    """The columns of the returns of single tasks."""
    return sorted({name for row in rows for name in row if name.startswith("return_")})


def _columns(labels: Sequence[str]) -> int:
    """Number of columns of a legend that fits the width of the figure."""
    return max(1, min(6, 120 // (8 + max(map(len, labels), default=0))))


def _normalized(rows: list[dict[str, float]], config: EnvConfig) -> NDArray[np.float64]:
    """The normalized score of each row, averaged over the tasks; empty if a task has no range or no row."""
    if any(f"return_{task}" not in row for row in rows for task in config.names):
        return np.empty(0)
    found = normalize({task: np.array([row[f"return_{task}"] for row in rows]) for task in config.names}, config)
    return np.empty(0) if found is None else np.mean(list(found.values()), axis=0)
