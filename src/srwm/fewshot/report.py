"""What a run came to: its accuracy and its learning curve."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from srwm.data import ImageClasses, Split
from srwm.data.splits import FOLDER, DatasetName
from srwm.errors import UserError
from srwm.fewshot.build import validation_shape
from srwm.fewshot.config import TrainConfig, read_config
from srwm.fewshot.episodes import EpisodeShape
from srwm.fewshot.evaluation.adaptation import write_adaptations
from srwm.fewshot.evaluation.baselines import evaluate_baselines
from srwm.fewshot.evaluation.evaluate import Accuracy
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.protocols.base import Evaluation
from srwm.fewshot.protocols.registry import PROTOCOLS, STREAMS
from srwm.fewshot.training.run_data import check_fingerprint
from srwm.training.checkpoint import load_weights
from srwm.training.runs import BEST, keep_result


def load_best(folder: Path) -> EpisodeModel:
    """The model of a run with the weights of its best validation, in evaluation mode.

    Raises UserError where the folder is not a run or the weights are missing, corrupt or do not fit.
    """
    config = read_config(folder)
    if not (folder / BEST).exists():
        raise UserError(f"{folder}: not validated yet, so there are no best weights; go on training with --resume")
    model = build_model(config.model)
    load_weights(folder / BEST, model)
    return model.eval()


def score_run(
    folder: Path,
    data: ImageClasses,
    episodes: int = 10_000,
    queries: int | None = None,
    seed: int = 1,
    second: ImageClasses | None = None,
    *,
    other: DatasetName | None = None,
    split: Split = "test",
    tta_passes: int = 1,
) -> Evaluation:
    """Test of a run's best weights on `data` (and `second`); its accuracy is also written to `test.json` in the run folder.

    Episodes are of the run's shape, with `queries` queries or as many as in its validations. A run on streams also leaves the
    accuracy at every step in `adaptation.json` and `adaptation.csv`. Results over more episodes of the same weights stay, and a
    warning tells so. `other` names the data set where it is not the run's own: its result lies beside the run's, in
    `test-NAME.json`. `split` tells of which classes `data` are; the result of others than those for the test goes into
    `val.json` or `train.json`, and the accuracy at every step nowhere. `tta_passes` is how often the examples are read, as in
    `srwm.fewshot.evaluation.evaluate.evaluate`; the result of more than one reading goes into `test-tta-N.json`. Raises
    UserError as `load_best`, `check_other` and, for the run's own data, `check_fingerprint`, where there are more or fewer data
    sets than the protocol has, or queries or test-time augmentation for streams.
    """
    config = read_config(folder)
    check_other(config, other)
    path = _result(folder, split, other, tta_passes)
    if queries is not None:
        if config.protocol in STREAMS:
            raise UserError(f"queries: streams have none, and the protocol is {config.protocol!r}")
        config = dataclasses.replace(config, validation_queries=queries)
    protocol = PROTOCOLS[config.protocol]
    sets = (data,) if second is None else (data, second)
    if len(sets) != protocol.num_sets:
        raise UserError(f"second: expected a data set exactly if the protocol has two, it is {config.protocol!r}")
    if other is None:
        check_fingerprint(folder, {split: sets})
    found = protocol.evaluate(config, load_best(folder), sets, episodes, seed, tta_passes)
    shape = dataclasses.asdict(protocol.test_shape(config))
    names = ", ".join(part.name for part in sets)
    result = {"data": names, **shape, **dataclasses.asdict(found.accuracy), "seed": seed}
    if keep_result(path, result, folder / BEST) and found.adaptations and split == "test":
        write_adaptations(folder, found.adaptations)
    return found


def score_baselines(
    folder: Path,
    data: ImageClasses,
    episodes: int = 10_000,
    queries: int | None = None,
    seed: int = 1,
    features: Sequence[Tensor] | None = None,
    *,
    other: DatasetName | None = None,
    split: Split = "test",
    tta_passes: int = 1,
) -> Mapping[str, Accuracy]:
    """Accuracy of the baselines on the episodes of `score_run`, by name, also written to `baselines.json`, as its result is.

    `features` are those of `score_run`, where it has been called. With `other` it is `baselines-NAME.json`, with another
    `split` `val-baselines.json`, with an `tta_passes` `baselines-tta-N.json`, with all `val-baselines-tta-N-NAME.json`.
    """
    path = _result(folder, "baselines" if split == "test" else f"{split}-baselines", other, tta_passes)
    shape = episode_shape(folder, queries)
    found = evaluate_baselines(load_best(folder), data, shape, episodes, seed, features, tta_passes)
    result = {name: dataclasses.asdict(accuracy) for name, accuracy in found.items()}
    keep_result(path, {"data": data.name, **dataclasses.asdict(shape), **result, "seed": seed}, folder / BEST)
    return found


def check_other(config: TrainConfig, other: DatasetName | None) -> None:
    """Raise UserError where a run of this configuration is not tested on any data set but its own."""
    if other is not None and config.protocol in STREAMS:
        raise UserError(f"data: runs on streams are tested on their own data, and the protocol is {config.protocol!r}")
    if other is not None and config.normalize:
        raise UserError("data: runs on normalized images are tested on their own data, whose statistics their models know")


def _result(folder: Path, kind: str, other: DatasetName | None, tta_passes: int) -> Path:
    """Where a result goes: test.json, test-tta-4.json, test-glyphs.json, test-FOLDER-HASH.json."""
    kind = kind if tta_passes == 1 else f"{kind}-tta-{tta_passes}"
    if other is None:
        return folder / f"{kind}.json"
    if not other.startswith(FOLDER):
        return folder / f"{kind}-{other}.json"
    path = Path(other.removeprefix(FOLDER)).expanduser().resolve()
    digest = hashlib.blake2b(str(path).encode(errors="surrogateescape"), digest_size=4).hexdigest()
    return folder / f"{kind}-{re.sub(r'[^A-Za-z0-9.+-]', '-', path.name)[:64]}-{digest}.json"


def episode_shape(folder: Path, queries: int | None = None) -> EpisodeShape:
    """Test episodes of a run: those of its validations, or with another number of queries."""
    shape = validation_shape(read_config(folder))
    return shape if queries is None else dataclasses.replace(shape, queries=queries)


def draw_learning_curve(folder: Path) -> Path:
    """Draw accuracy and loss of the run's metrics into `learning_curve.png`; returns its path."""
    from srwm.fewshot.figures.curves import draw_learning_curves

    path = folder / "learning_curve.png"
    draw_learning_curves([folder], path)
    return path
