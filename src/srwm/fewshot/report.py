"""The results of a run: accuracies of its best weights and of baselines, saved in its folder."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from srwm.data import ImageClasses
from srwm.data.splits import FOLDER, DatasetName
from srwm.errors import UserError
from srwm.fewshot.build import validation_shape
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.evaluation.adaptation import write_adaptations
from srwm.fewshot.evaluation.baselines import evaluate_baselines
from srwm.fewshot.evaluation.config import EvaluationConfig
from srwm.fewshot.evaluation.evaluate import Accuracy
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.protocols.base import Evaluation, Sets
from srwm.fewshot.protocols.registry import protocol_of, read_config
from srwm.fewshot.training.run_data import check_fingerprint
from srwm.files import check_writable_folder
from srwm.training.configuration import check_values
from srwm.training.runs import BEST, keep_result
from srwm.training.weights import check_shapes, load_weights

_DEFAULT = EvaluationConfig()


def load_best(folder: Path) -> EpisodeModel:
    """Load the model of a run with the weights of its best validation, in evaluation mode.

    Args:
        folder: the run folder.

    Returns:
        The model.

    Raises:
        UserError: the folder is not a run, or the weights are missing, corrupt or do not fit.
    """
    config = read_config(folder)
    if not (folder / BEST).exists():
        raise UserError(f"{folder}: not validated yet, so there are no best weights; continue training with --resume")
    check_shapes(folder / BEST, config.model.stack.num_layers, lambda: build_model(config.model, "meta"))
    model = build_model(config.model)
    load_weights(folder / BEST, model)
    return model.eval()


def score_run(folder: Path, sets: Sets, evaluation: EvaluationConfig = _DEFAULT) -> Evaluation:
    """Evaluate a run's best weights, and save the accuracy in its folder.

    The file is `test.json` for the run's own test classes; other evaluations add their options to the name: `val.json`,
    `test-tta-4.json`, `test-glyphs.json`. A saved result of the same weights over more episodes is kept, with a warning. For a
    run on streams, the accuracy at every step is saved in `adaptation.json` and `adaptation.csv`.

    Args:
        folder: the run folder.
        sets: the data set of the split to evaluate on, or the two data sets of a protocol with two tasks.
        evaluation: the evaluation; episodes have the shape of the run's validations.

    Returns:
        The accuracy, with the features of the images, or for streams the accuracy at every step.

    Raises:
        UserError: as `load_best` and `check_evaluation`; the protocol needs another number of data sets; or the run's own data
            has changed (`check_fingerprint`); or the folder cannot be written to.
    """
    config = read_config(folder)
    check_evaluation(config, evaluation)
    protocol = protocol_of(config)
    if len(sets) != protocol.num_sets:
        raise UserError(f"sets: expected {protocol.num_sets} with protocol {config.protocol!r}, got {len(sets)}")
    check_writable_folder(folder)
    if _other(config, evaluation) is None:
        check_fingerprint(folder, {evaluation.split: sets})
    config = _with_queries(config, evaluation)
    found = protocol.evaluate(config, load_best(folder), sets, evaluation)
    result = {
        "data": ", ".join(part.name for part in sets),
        **dataclasses.asdict(protocol.test_shape(config)),
        **dataclasses.asdict(found.accuracy),
        "seed": evaluation.seed,
    }
    path = _result(folder, evaluation.split, config, evaluation)
    if keep_result(path, result, folder / BEST) and found.adaptations and evaluation.split == "test":
        write_adaptations(folder, found.adaptations)
    return found


def score_baselines(
    folder: Path, data: ImageClasses, evaluation: EvaluationConfig = _DEFAULT, features: Sequence[Tensor] | None = None
) -> Mapping[str, Accuracy]:
    """Evaluate the baselines on the episodes of `score_run`, and save their accuracies in the run folder.

    The file is `baselines.json`; other evaluations add their options to the name: `val-baselines.json`, `baselines-tta-4.json`.

    Args:
        folder: the run folder.
        data: the data set of the split to evaluate on.
        evaluation: as in `score_run`.
        features: the features that `score_run` returned for this data; None: they are computed.

    Returns:
        The accuracy of each baseline, by name.

    Raises:
        UserError: as `score_run`.
    """
    config = read_config(folder)
    check_evaluation(config, evaluation)
    check_writable_folder(folder)
    shape = validation_shape(_with_queries(config, evaluation))
    found = evaluate_baselines(
        load_best(folder), data, shape, evaluation.episodes, evaluation.seed, features, evaluation.tta_passes
    )
    accuracies = {name: dataclasses.asdict(accuracy) for name, accuracy in found.items()}
    result = {"data": data.name, **dataclasses.asdict(shape), **accuracies, "seed": evaluation.seed}
    kind = "baselines" if evaluation.split == "test" else f"{evaluation.split}-baselines"
    keep_result(_result(folder, kind, config, evaluation), result, folder / BEST)
    return found


def check_evaluation(config: TrainConfig, evaluation: EvaluationConfig) -> None:
    """Check that a run supports an evaluation.

    Args:
        config: the configuration of the run.
        evaluation: the evaluation.

    Raises:
        UserError: a value is out of its range; the protocol has no queries, and `queries`, `tta_passes` or `data` is given; or
            `data` is given, and the run's images are normalized.
    """
    check_values(evaluation)
    other = _other(config, evaluation)
    if not protocol_of(config).has_queries:
        on_streams = f"the protocol is {config.protocol!r}"
        if other is not None:
            raise UserError(f"data: runs on streams are tested on their own data set, and {on_streams}")
        if evaluation.queries is not None:
            raise UserError(f"queries: streams have none, and {on_streams}")
        if evaluation.tta_passes != 1:
            raise UserError(f"tta_passes: expected 1, since streams are read once, and {on_streams}")
    if other is not None and config.normalize:
        raise UserError("data: runs on normalized images are tested on their own data set, whose mean and deviation they use")


def _other(config: TrainConfig, evaluation: EvaluationConfig) -> DatasetName | None:
    """The data set, if it is not the run's own."""
    return None if evaluation.data == config.data else evaluation.data


def _with_queries(config: TrainConfig, evaluation: EvaluationConfig) -> TrainConfig:
    queries = evaluation.queries
    return config if queries is None else dataclasses.replace(config, validation_queries=queries)


def _result(folder: Path, kind: str, config: TrainConfig, evaluation: EvaluationConfig) -> Path:
    """The file of a result: test.json, test-tta-4.json, test-glyphs.json, test-FOLDER-HASH.json."""
    other = _other(config, evaluation)
    kind = kind if evaluation.tta_passes == 1 else f"{kind}-tta-{evaluation.tta_passes}"
    if other is None:
        return folder / f"{kind}.json"
    if not other.startswith(FOLDER):
        return folder / f"{kind}-{other}.json"
    path = Path(other.removeprefix(FOLDER)).expanduser().resolve()
    digest = hashlib.blake2b(str(path).encode(errors="surrogateescape"), digest_size=4).hexdigest()
    return folder / f"{kind}-{re.sub(r'[^A-Za-z0-9.+-]', '-', path.name)[:64]}-{digest}.json"
