"""Learning curves of one or several runs."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from srwm.streams.config import TrainConfig
from srwm.training.figure_style import COLORS, GREY, figure_style, legend_below
from srwm.training.figures import check_figure
from srwm.training.metrics import check_columns, read_metrics
from srwm.training.runs import read_config_of, short_names


def draw_learning_curves(folders: Sequence[Path], path: Path) -> None:
    """Draw accuracy and loss over CPU minutes of training, with a color for each run.

    Thin lines are training streams, points are validations on held-out random streams.

    Args:
        folders: the run folders; one that is given twice is drawn once.
        path: the file of the figure.

    Raises:
        UserError: a folder is not a run, its metrics lack a column, or as `check_figure`.
    """
    check_figure(path)
    folders = list({folder.resolve(): folder for folder in folders}.values())
    for folder in folders:
        read_config_of(folder, TrainConfig)
    with figure_style():
        figure = Figure(figsize=(12, 5.2 + 0.15 * len(folders)), layout="constrained")
        panels = figure.subplots(1, 2)
        lines = {}
        for folder, name, color in zip(folders, short_names(folders), COLORS * len(folders), strict=False):
            rows = read_metrics(folder)
            check_columns(folder, rows, "cpu_minutes", "train_accuracy", "train_loss")
            validated = [row for row in rows if "val_accuracy" in row]
            check_columns(folder, validated, "val_loss")
            for some, kind, look in ((rows, "train", {"lw": 1, "alpha": 0.6}), (validated, "val", {"lw": 2, "marker": "o"})):
                minutes = [row["cpu_minutes"] for row in some]
                panels[0].plot(minutes, [100 * row[f"{kind}_accuracy"] for row in some], color=color, **look)
                panels[1].plot(minutes, [row[f"{kind}_loss"] for row in some], color=color, **look)
            lines[f"{name}, {rows[-1]['step'] if rows else 0:,.0f} steps"] = Line2D([], [], color=color, lw=3)
        labels = ("accuracy, %", "cross-entropy, nats")
        titles = ("Answers to samples of new streams", "What training minimizes")
        for axes, label, title in zip(panels, labels, titles, strict=True):
            axes.set(xlabel="CPU minutes of training", ylabel=label, xlim=(0, None))
            axes.set_title(title, loc="left")
            axes.grid(alpha=0.3)
        lines["thin: training streams"] = Line2D([], [], color=GREY, lw=1)
        lines["points: held-out streams"] = Line2D([], [], color=GREY, lw=2, marker="o")
        legend_below(figure, lines)
        figure.savefig(path)


def draw_learning_curve(folder: Path) -> Path:
    """Draw the learning curves of one run into its folder.

    Args:
        folder: the run folder.

    Returns:
        The path of the figure, `learning_curve.png`.

    Raises:
        UserError: as `draw_learning_curves`.
    """
    path = folder / "learning_curve.png"
    draw_learning_curves([folder], path)
    return path
