"""`srwm fewshot train`, `evaluate`, `adaptation`, `curves` and `figures`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import tyro

from srwm.cli.options import check_known, check_runs, end_stopped, parse, refuse, set_threads
from srwm.cli.stack_flags import with_all_options, without_default_options
from srwm.data.images import ImageClasses, Split
from srwm.data.normalize import normalized
from srwm.data.resize import resized
from srwm.data.splits import load_splits
from srwm.fewshot.build import fit_to_data, validation_shape
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.evaluation.config import EvaluationConfig
from srwm.fewshot.figures.config import FiguresConfig
from srwm.fewshot.presets import PRESETS
from srwm.fewshot.protocols.base import Evaluation
from srwm.fewshot.protocols.registry import PROTOCOLS, check_config, protocol_of, read_config, with_second
from srwm.fewshot.report import check_evaluation, score_baselines, score_run
from srwm.fewshot.training.loop import train as train_run
from srwm.fewshot.training.run_data import check_fingerprint
from srwm.nn import StackConfig
from srwm.ranges import AtLeast
from srwm.training.configuration import check_values
from srwm.training.distributed import is_rank_zero, shutdown

_ACCURACY: dict[Split, str] = {
    "train": "accuracy on the classes for training",
    "val": "accuracy on the classes for validation",
    "test": "test accuracy",
}


@dataclass(frozen=True)
class TrainOptions:
    """Train a few-shot learner from a preset, then test it; options override the fields of the preset."""

    run: Path
    """run folder to create: configuration, metrics, checkpoints, test accuracy and learning curve"""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """the configuration"""
    resume: bool = False
    """continue from the last checkpoint of the run folder"""
    data_dir: Path | None = None
    """folder of the data sets; None: the environment variable SRWM_DATA, else the cache, into which data sets are downloaded"""
    test_episodes: Annotated[int, AtLeast(2)] = 10_000
    """number of test episodes after training"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""
    accelerator: str = "auto"
    """device to train on, as Lightning Fabric names it: cpu, cuda, mps or auto"""


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate a run's best weights: accuracy with its 95 % confidence interval, by default on the test classes."""

    run: Annotated[Path, tyro.conf.Positional]
    """run folder of `srwm fewshot train`"""
    evaluation: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = field(default_factory=EvaluationConfig)
    """the evaluation"""
    baselines: bool = True
    """also evaluate nearest neighbors and prototypes on the same episodes"""
    data_dir: Path | None = None
    """folder of the data sets; None: the environment variable SRWM_DATA, else the cache, into which data sets are downloaded"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""


@dataclass(frozen=True)
class FiguresOptions:
    """Draw figures of a run: learning curves, accuracy per shot, and how its self-referential matrices change."""

    run: Annotated[Path, tyro.conf.Positional]
    """run folder of `srwm fewshot train`; the figures go into its folder `figures`"""
    figures: Annotated[FiguresConfig, tyro.conf.arg(name="")] = field(default_factory=FiguresConfig)
    """what the figures show"""
    data_dir: Path | None = None
    """folder of the data set; None: the environment variable SRWM_DATA, else the cache, into which data sets are downloaded"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""


@dataclass(frozen=True)
class AdaptationOptions:
    """Draw the accuracy at each position of the test streams, for runs with delayed labels."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run folders, trained on the same data and tested by `srwm fewshot train` or `srwm fewshot evaluate`"""
    figure: Path = Path("adaptation.png")
    """file to write the figure to"""


@dataclass(frozen=True)
class CurvesOptions:
    """Draw accuracy and loss of one or more runs over minutes of training."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run folders of `srwm fewshot train`; the legend has their names"""
    figure: Path = Path("learning-curves.png")
    """file to write the figure to"""


def train(arguments: Sequence[str]) -> None:
    """Train from a preset, then test.

    Args:
        arguments: the words of the command line after `srwm fewshot train`.

    Raises:
        UserError: as `srwm.fewshot.training.loop.train`.
        SystemExit: wrong usage, or help was printed.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: srwm fewshot train PRESET [options]; srwm fewshot train PRESET --help lists them\n\npresets:")
        print("\n".join(f"  {name}: {about}" for name, (about, _) in PRESETS.items()))
        print("\nprotocols (--protocol):")
        print("\n".join(f"  {name}: {protocol.about}" for name, protocol in PROTOCOLS.items()))
        return
    preset, *rest = arguments
    check_known("preset", preset, PRESETS)
    config = _with_protocol(PRESETS[preset][1], rest)
    config = _with_stack(config, with_all_options(config.model.stack, rest, "--model.stack.core"))
    options = parse(TrainOptions, f"srwm fewshot train {preset}", rest, TrainOptions(Path("runs") / preset, config))
    options = replace(options, config=_with_stack(options.config, without_default_options(options.config.model.stack)))
    set_threads(options.threads)
    size_named = any(word.replace("_", "-").startswith("--model.image-shape") for word in rest)
    config, sets = _fit(options.config, options.data_dir, size_named=size_named)
    splits, second = sets[0], sets[1] if len(sets) > 1 else None
    check_config(config, with_second(splits, second))
    if config.pool != options.config.pool and config.sampler == "pooled":
        pool = f"{config.pool.classes} classes of {config.pool.images_per_class} images"
        print(f"srwm: the pool of a step is reduced to {pool}; the data has no more", file=sys.stderr)
    ended = train_run(config, splits, options.run, second_splits=second, resume=options.resume, accelerator=options.accelerator)
    shutdown()
    if not ended:
        end_stopped(options.run)
    if not is_rank_zero():
        return
    _test(options.run, sets, EvaluationConfig(options.test_episodes))
    from srwm.fewshot.figures.curves import draw_learning_curve

    print(f"learning curve: {draw_learning_curve(options.run)}")


def _with_stack(config: TrainConfig, stack: StackConfig) -> TrainConfig:
    return replace(config, model=replace(config.model, stack=stack))


def evaluate(arguments: Sequence[str]) -> None:
    """Test a trained run.

    Args:
        arguments: the words of the command line after `srwm fewshot evaluate`.

    Raises:
        UserError: an option is out of its range, or a run folder is unusable.
        SystemExit: wrong usage, or help was printed.
    """
    options = parse(EvaluateOptions, "srwm fewshot evaluate", arguments)
    check_values(options.evaluation)
    set_threads(options.threads)
    config, evaluation = read_config(options.run), options.evaluation
    check_evaluation(config, evaluation)
    sets = _load(replace(config, data=evaluation.data or config.data), options.data_dir)
    tested = _test(options.run, sets, evaluation)
    if not options.baselines or not protocol_of(config).has_queries:
        return
    shape = validation_shape(config)
    print(f"on the same episodes, {shape.n_way}-way {shape.k_shot}-shot, with features from the run's stem:")
    print(f"  {'chance':<42}{100 / shape.n_way:5.2f} %")
    baselines = score_baselines(options.run, sets[0][evaluation.split], evaluation, tested.features)
    for name, found in baselines.items():
        print(f"  {name:<42}{found}")


def figures(arguments: Sequence[str]) -> None:
    """Draw a trained run.

    Args:
        arguments: the words of the command line after `srwm fewshot figures`.

    Raises:
        UserError: an option is out of its range, or a run folder is unusable.
        SystemExit: wrong usage, or help was printed.
    """
    from srwm.fewshot.figures.run import MATRIX_FIGURES, draw_figures

    options = parse(FiguresOptions, "srwm fewshot figures", arguments)
    check_values(options.figures)
    set_threads(options.threads)
    config = read_config(options.run)
    sets = tuple(splits["test"] for splits in _load(config, options.data_dir))
    check_fingerprint(options.run, {"test": sets})
    drawn = []
    for path in draw_figures(options.run, sets[0], options.figures):
        print(path, flush=True)
        drawn.append(path.name)
    if not protocol_of(config).has_queries:
        print(f"left out, since streams have no queries: all others; srwm fewshot adaptation {options.run} draws adaptation")
    elif not set(MATRIX_FIGURES) & set(drawn):
        kind = f"core {config.model.stack.core!r}" if config.model.head == "memory" else f"head {config.model.head!r}"
        print(f"left out, since a model with {kind} has no self-referential matrix: {', '.join(MATRIX_FIGURES)}")


def adaptation(arguments: Sequence[str]) -> None:
    """Draw the accuracy over the positions of streams.

    Args:
        arguments: the words of the command line after `srwm fewshot adaptation`.

    Raises:
        UserError: an option is out of its range, or a run folder is unusable.
        SystemExit: wrong usage, or help was printed.
    """
    from srwm.fewshot.figures.adaptation import draw_adaptation

    options = parse(AdaptationOptions, "srwm fewshot adaptation", arguments)
    check_runs(options.runs, "srwm fewshot adaptation")
    draw_adaptation(options.runs, options.figure)
    print(f"accuracy over positions: {options.figure}")


def curves(arguments: Sequence[str]) -> None:
    """Draw the learning curves of several runs.

    Args:
        arguments: the words of the command line after `srwm fewshot curves`.

    Raises:
        UserError: an option is out of its range, or a run folder is unusable.
        SystemExit: wrong usage, or help was printed.
    """
    from srwm.fewshot.figures.curves import draw_learning_curves

    options = parse(CurvesOptions, "srwm fewshot curves", arguments)
    check_runs(options.runs, "srwm fewshot curves")
    draw_learning_curves(options.runs, options.figure)
    print(f"accuracy and loss over minutes: {options.figure}")


def _with_protocol(config: TrainConfig, words: Sequence[str]) -> TrainConfig:
    """The configuration with the protocol that the command line names, so that its options become flags."""
    named = [word.removeprefix("--protocol=") for word in words if word.startswith("--protocol=")]
    named += [after for word, after in pairwise(words) if word == "--protocol"]
    if not named or named[-1] == config.protocol:
        return config
    if named[-1] not in PROTOCOLS:
        refuse(f"protocol: expected {' or '.join(PROTOCOLS)}, got {named[-1]!r}")
    kind = PROTOCOLS[named[-1]].Options
    kept = {each.name: getattr(config.protocol_options, each.name, None) for each in fields(kind)}
    options = kind(**{name: value for name, value in kept.items() if value is not None})
    return replace(config, protocol=named[-1], protocol_options=options)


def _test(run: Path, sets: list[dict[Split, ImageClasses]], evaluation: EvaluationConfig) -> Evaluation:
    """Evaluate a run and print its accuracy; `sets` has one data set, or the two of a protocol with two tasks."""
    chosen = [splits[evaluation.split] for splits in sets]
    found = score_run(run, chosen, evaluation)
    names = ", ".join(part.name for part in chosen)
    passes = f", {evaluation.tta_passes} passes each" if evaluation.tta_passes > 1 else ""
    accuracy = found.accuracy
    print(f"{_ACCURACY[evaluation.split]} {accuracy} (95 % interval, {accuracy.episodes} episodes{passes}, {names})")
    return found


def _load(config: TrainConfig, data_dir: Path | None, *, own_size: bool = False) -> list[dict[Split, ImageClasses]]:
    """The configuration's data sets, resized to the model's images or at their original size."""
    names = [config.data] if config.second_data is None else [config.data, config.second_data]
    sets = [load_splits(name, data_dir) for name in names]
    if not own_size:
        sets = [resized(splits, config.model.image_shape) for splits in sets]
    return [normalized(splits) for splits in sets] if config.normalize else sets


def _fit(
    config: TrainConfig, data_dir: Path | None, *, size_named: bool
) -> tuple[TrainConfig, list[dict[Split, ImageClasses]]]:
    """The configuration and its data, made consistent: a single data set keeps its size unless the user gave another one."""
    sets = _load(config, data_dir, own_size=config.second_data is None and not size_named)
    return fit_to_data(config, *(splits["train"] for splits in sets)), sets
