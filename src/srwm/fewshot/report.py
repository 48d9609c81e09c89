"""What a run came to: its test accuracy and its learning curve."""

import dataclasses
from pathlib import Path

from srwm.data import ImageClasses, UserError
from srwm.fewshot.adaptation import write_adaptations
from srwm.fewshot.checkpoint import load_weights
from srwm.fewshot.evaluate import Accuracy
from srwm.fewshot.learner import build_model
from srwm.fewshot.model import FewShotModel
from srwm.fewshot.protocols import PROTOCOLS
from srwm.fewshot.runs import BEST, read_config, read_metrics, write_json


def load_best(folder: Path) -> FewShotModel:
    """The model of a run with the weights of its best validation, in evaluation mode.

    Raises UserError where the folder is not a run or the weights are missing, corrupt or do not fit.
    """
    model = build_model(read_config(folder).model)
    load_weights(folder / BEST, model)
    return model.eval()


def score_run(
    folder: Path,
    data: ImageClasses,
    episodes: int = 10_000,
    queries: int | None = None,
    seed: int = 1,
    second: ImageClasses | None = None,
) -> Accuracy:
    """Accuracy of a run's best weights on `data` (and `second`), also written to `test.json` in the run folder.

    Episodes are of the run's shape, with `queries` queries or as many as in its validations. A run on streams also leaves the
    accuracy at every step in `adaptation.json` and `adaptation.csv`. Raises UserError as `load_best`.
    """
    config = read_config(folder)
    if queries is not None:
        config = dataclasses.replace(config, validation_queries=queries)
    protocol = PROTOCOLS[config.protocol]
    sets = (data,) if second is None else (data, second)
    if len(sets) != protocol.num_sets:
        raise UserError(f"second: expected a data set exactly if the protocol has two, it is {config.protocol!r}")
    accuracy, adaptations = protocol.evaluate(config, load_best(folder), sets, episodes, seed)
    shape = dataclasses.asdict(protocol.test_shape(config))
    names = ", ".join(part.name for part in sets)
    write_json(folder / "test.json", {"data": names, **shape, **dataclasses.asdict(accuracy), "seed": seed})
    if adaptations:
        write_adaptations(folder, adaptations)
    return accuracy


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
