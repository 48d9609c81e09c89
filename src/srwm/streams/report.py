"""Evaluation of training runs."""

import dataclasses
from pathlib import Path

import torch

from srwm.errors import UserError
from srwm.streams.config import TrainConfig
from srwm.streams.model import StreamModel
from srwm.streams.validation import TEST, Validation, validate
from srwm.training.runs import BEST, read_config_of, write_json
from srwm.training.weights import check_shapes, load_weights


def load_best(folder: Path) -> StreamModel:
    """Load the model of a run with the weights of its best validation, in evaluation mode.

    Args:
        folder: the run folder.

    Returns:
        The model.

    Raises:
        UserError: the folder is not a run, or the weights are missing, corrupt or do not fit.
    """
    config = read_config_of(folder, TrainConfig).model
    if not (folder / BEST).exists():
        raise UserError(f"{folder}: not validated yet, so there are no best weights; continue training with --resume")

    def empty() -> StreamModel:
        with torch.device("meta"):
            return StreamModel(config)

    check_shapes(folder / BEST, config.stack.num_layers, empty)
    model = StreamModel(config)
    load_weights(folder / BEST, model)
    return model.eval()


def score_run(folder: Path, streams: int, length: int) -> Validation:
    """Measure a run's best weights on random streams that neither training nor validation used.

    The result is saved as `test.json` in the run folder.

    Args:
        folder: the run folder.
        streams: number of streams.
        length: their length in samples.

    Returns:
        The results.

    Raises:
        UserError: as `load_best`.
    """
    found = validate(load_best(folder), read_config_of(folder, TrainConfig).prior, streams, length, seed=TEST)
    write_json(folder / "test.json", {"streams": streams, "length": length, **dataclasses.asdict(found)})
    return found
