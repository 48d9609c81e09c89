"""Evaluation of training runs."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from srwm.errors import UserError
from srwm.files import check_regular
from srwm.sequences.automaton.episodes import track_by_class_means
from srwm.sequences.batch import Batch
from srwm.sequences.config import TrainConfig
from srwm.sequences.model import LabeledItems, SequenceModel
from srwm.sequences.scoring import Answer, Score, answers_of, score
from srwm.sequences.tasks import AutomatonTask, Task, build_task
from srwm.training.modes import evaluation_mode
from srwm.training.runs import BEST, read_config_of, write_json
from srwm.training.weights import check_shapes, load_weights

TEST = "test.json"
CLASS_MEANS = "class means, "
"""Begins the names of the bins that class means answered."""


def load_best(folder: Path) -> tuple[Task, SequenceModel]:
    """Load the model of a run with the weights of its best validation, in evaluation mode.

    Args:
        folder: the run folder.

    Returns:
        The task and the model.

    Raises:
        UserError: the folder is not a run, or the weights are missing, corrupt or do not fit.
    """
    config = read_config_of(folder, TrainConfig)
    if not (folder / BEST).exists():
        raise UserError(f"{folder}: not validated yet, so there are no best weights; continue training with --resume")
    task = build_task(config.task)

    def empty() -> SequenceModel:
        with torch.device("meta"):
            return SequenceModel(task, config.stack)

    check_shapes(folder / BEST, config.stack.num_layers, empty)
    model = SequenceModel(task, config.stack)
    load_weights(folder / BEST, model)
    return task, model.eval()


def score_run(folder: Path, sequences: int) -> dict[str, Score]:
    """Measure a run's best weights on sequences that neither training nor validation used.

    The result is saved as `test.json` in the run folder. With the automaton, class means of the same stem, with a tracker by
    hand behind them (`track_by_class_means`), answer as well.

    Args:
        folder: the run folder.
        sequences: number of sequences of each bin.

    Returns:
        The scores by the names of the task's bins; those of class means have "class means, " before.

    Raises:
        UserError: as `load_best`.
    """
    task, model = load_best(folder)
    found = {name: score(task, answers_of(model), "test", lengths, sequences) for name, lengths in task.tests.items()}
    if isinstance(task, AutomatonTask):
        by_means = class_means_of(task, model)
        found |= {
            f"{CLASS_MEANS}{name}": score(task, by_means, "test", lengths, sequences) for name, lengths in task.tests.items()
        }
    bins = {name: {**dataclasses.asdict(each), "reached": each.reached} for name, each in found.items()}
    write_json(folder / TEST, {"sequences": sequences, "by_token": task.by_token, "bins": bins})
    return found


def class_means_of(task: AutomatonTask, model: SequenceModel) -> Answer:
    """The answers of class means of a model's stem with a perfect tracker behind them.

    Args:
        task: the automaton.
        model: its model.

    Returns:
        A function that computes them.
    """
    embedding = model.embedding
    assert isinstance(embedding, LabeledItems)

    def answer(batch: Batch) -> torch.Tensor:
        with evaluation_mode(model), torch.no_grad():
            return track_by_class_means(task.elements, batch, embedding.describe(batch))

    return answer


def read_test(folder: Path) -> dict[str, Any]:
    """Read what `score_run` saved.

    Args:
        folder: the run folder.

    Returns:
        `sequences`, `by_token`, and `bins` by name.

    Raises:
        UserError: there is none, or it is not readable.
    """
    path = folder / TEST
    check_regular(path)
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        parts = [content["bins"], *content["bins"].values(), content["by_token"]]
        if not parts[1:-1] or not all(isinstance(part, dict) for part in parts[:-1]):
            raise ValueError("no bins")
    except FileNotFoundError as error:
        raise UserError(f"{folder}: not measured yet; run srwm sequences evaluate {folder}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the result of srwm sequences evaluate ({error})") from error
    return content


def longest_bin(test: dict[str, Any]) -> dict[str, Any]:
    """The bin of a test with the longest sequences, of the last group if there are several.

    Args:
        test: what `read_test` returned.

    Returns:
        Its scores.
    """
    longest: dict[str, Any] = [each for name, each in test["bins"].items() if not name.startswith(CLASS_MEANS)][-1]
    return longest
