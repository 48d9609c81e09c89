"""What a run came to: its test accuracy and its learning curve."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from srwm.data import ImageClasses
from srwm.fewshot.baselines import evaluate_baselines
from srwm.fewshot.checkpoint import load_weights
from srwm.fewshot.episodes import EpisodeShape
from srwm.fewshot.evaluate import Accuracy, evaluate
from srwm.fewshot.learner import build_model, validation_shape
from srwm.fewshot.model import EpisodeModel
from srwm.fewshot.runs import BEST, read_config, read_metrics, write_json


def load_best(folder: Path) -> EpisodeModel:
    """The model of a run with the weights of its best validation, in evaluation mode.

    Raises UserError where the folder is not a run or the weights are missing, corrupt or do not fit.
    """
    model = build_model(read_config(folder).model)
    load_weights(folder / BEST, model)
    return model.eval()


def score_run(folder: Path, data: ImageClasses, episodes: int = 10_000, queries: int | None = None, seed: int = 1) -> Accuracy:
    """Accuracy of a run's best weights on `data`, also written to `test.json` in the run folder.

    Episodes are of the run's shape, with `queries` queries or as many as in its validations. Raises UserError as `load_best`.
    """
    shape = episode_shape(folder, queries)
    accuracy = evaluate(load_best(folder), data, shape, episodes, seed)
    result = {"data": data.name, **dataclasses.asdict(shape), **dataclasses.asdict(accuracy), "seed": seed}
    write_json(folder / "test.json", result)
    return accuracy


def score_baselines(
    folder: Path, data: ImageClasses, episodes: int = 10_000, queries: int | None = None, seed: int = 1
) -> Mapping[str, Accuracy]:
    """Accuracy of the baselines on the episodes of `score_run`, by name, also written to `baselines.json` in the run folder."""
    shape = episode_shape(folder, queries)
    found = evaluate_baselines(load_best(folder), data, shape, episodes, seed)
    result = {name: dataclasses.asdict(accuracy) for name, accuracy in found.items()}
    write_json(folder / "baselines.json", {"data": data.name, **dataclasses.asdict(shape), **result, "seed": seed})
    return found


def episode_shape(folder: Path, queries: int | None = None) -> EpisodeShape:
    """Test episodes of a run: those of its validations, or with another number of queries."""
    shape = validation_shape(read_config(folder))
    return shape if queries is None else dataclasses.replace(shape, queries=queries)


def draw_learning_curve(folder: Path) -> Path:
    """Draw accuracy and loss over minutes and steps from the run's metrics into `learning_curve.png`; returns its path."""
    from matplotlib.figure import Figure

    rows = read_metrics(folder)
    validated = [row for row in rows if "val_accuracy" in row]
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, over in zip(figure.subplots(1, 2), ("minutes", "step"), strict=True):
        axes.plot([r[over] for r in rows], [100 * r["train_accuracy"] for r in rows], color="tab:blue", lw=1, label="training")
        axes.errorbar(
            [r[over] for r in validated],
            [100 * r["val_accuracy"] for r in validated],
            [100 * r["val_interval"] for r in validated],
            color="tab:orange",
            marker=".",
            label="validation, 95 % interval",
        )
        axes.set(xlabel={"minutes": "minutes of training", "step": "steps"}[over], ylabel="accuracy, %")
        axes.grid(alpha=0.3)
        loss = axes.twinx()
        loss.plot([r[over] for r in rows], [r["train_loss"] for r in rows], color="tab:gray", lw=0.8, alpha=0.7)
        loss.set_ylabel("training loss (grey)")
        axes.legend(loc="center right")
    path = folder / "learning_curve.png"
    figure.savefig(path, dpi=150)
    return path
