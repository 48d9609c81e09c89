"""`srwm fewshot train`, `evaluate`, `adaptation`, `curves` and `figures`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from srwm.cli.options import check_least, check_runs, refuse, set_threads
from srwm.cli.stack_flags import with_all_options, without_default_options
from srwm.data.images import ImageClasses, Split
from srwm.data.normalize import normalized
from srwm.data.resize import resized
from srwm.data.splits import DatasetName, load_splits
from srwm.fewshot.build import fit_to_data
from srwm.fewshot.config import TrainConfig, read_config
from srwm.fewshot.evaluation.adaptation import draw_adaptation
from srwm.fewshot.presets import PRESETS
from srwm.fewshot.protocols.base import Evaluation
from srwm.fewshot.protocols.registry import STREAMS, check_config, with_second
from srwm.fewshot.report import check_other, draw_learning_curve, episode_shape, score_baselines, score_run
from srwm.fewshot.training.loop import train as train_run
from srwm.fewshot.training.run_data import check_fingerprint
from srwm.nn import StackConfig
from srwm.training.configuration import check_seed
from srwm.training.distributed import is_rank_zero, leave

_ACCURACY: dict[Split, str] = {
    "train": "accuracy on the classes for training",
    "val": "accuracy on the classes for validation",
    "test": "test accuracy",
}


@dataclass(frozen=True)
class TrainOptions:
    """Train a few-shot learner; every field of the preset can be given another value."""

    run: Path
    """run folder, made by this command: configuration, metrics, checkpoints, test accuracy and learning curve"""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """the configuration"""
    resume: bool = False
    """go on from the last checkpoint of the run folder"""
    data_dir: Path | None = None
    """folder of the data sets; else SRWM_DATA, else the cache, into which they are downloaded"""
    test_episodes: int = 10_000
    """episodes of the test at the end"""
    threads: int | None = None
    """threads of PyTorch; None: its own choice"""
    accelerator: str = "auto"
    """device, as Lightning Fabric names it: cpu, cuda, mps, auto"""


@dataclass(frozen=True)
class EvaluateOptions:
    """Accuracy of a run's best weights, by default on test classes, with its 95 % interval over episodes."""

    run: Annotated[Path, tyro.conf.Positional]
    """run folder of `srwm fewshot train`"""
    episodes: int = 10_000
    """number of episodes"""
    queries: int | None = None
    """queries per episode; None: as in the run's validations"""
    seed: int = 1
    """seed of the episodes"""
    tta_passes: int = 1
    """how often the examples of an episode are read, each time in another order and through another view of the images; the
    answers are averaged"""
    baselines: bool = True
    """whether nearest neighbors and prototypes answer the same episodes too"""
    data: DatasetName | None = None
    """data set whose classes are asked for, brought to the size of the model's images; None: the run's own"""
    split: Split = "test"
    """which of its classes are asked for; of the run's own, those for training trained the weights, those for validation chose
    them"""
    data_dir: Path | None = None
    """folder of the data set; else SRWM_DATA, else the cache, into which it is downloaded"""
    threads: int | None = None
    """threads of PyTorch; None: its own choice"""


@dataclass(frozen=True)
class FiguresOptions:
    """Draw a run: learning curves, accuracy per shot, and what its self-referential matrices do over an episode."""

    run: Annotated[Path, tyro.conf.Positional]
    """run folder of `srwm fewshot train`; the figures go into its folder `figures`"""
    shots: int | None = None
    """largest number of examples per class; None: 5, or twice that of training, as far as the data goes"""
    layer: int | None = None
    """block whose matrix is drawn, counted from 1; None: where it changes most"""
    head: int | None = None
    """head whose matrix is drawn, counted from 1; None: where it changes most"""
    episodes: int = 1000
    """episodes behind the accuracies"""
    seed: int = 1
    """seed of the episodes"""
    data_dir: Path | None = None
    """folder of the data set; else SRWM_DATA, else the cache, into which it is downloaded"""
    threads: int | None = None
    """threads of PyTorch; None: its own choice"""


@dataclass(frozen=True)
class AdaptationOptions:
    """One figure of several runs with delayed labels: accuracy over the positions of their test streams."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run folders, trained on the same data and tested: `srwm fewshot train` or `srwm fewshot evaluate`"""
    figure: Path = Path("adaptation.png")
    """where the figure goes"""


@dataclass(frozen=True)
class CurvesOptions:
    """One figure of several runs: accuracy and loss over minutes of training."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run folders of `srwm fewshot train`, of which the configuration and the metrics are read; their names are the labels"""
    figure: Path = Path("learning-curves.png")
    """where the figure goes"""


def train(arguments: Sequence[str]) -> None:
    """Train from a preset, then test."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: srwm fewshot train PRESET [options]; srwm fewshot train PRESET --help lists them\n\npresets:")
        print("\n".join(f"  {name}: {about}" for name, (about, _) in PRESETS.items()))
        return
    preset, *rest = arguments
    if preset not in PRESETS:
        refuse(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    config = PRESETS[preset][1]
    config = _with_stack(config, with_all_options(config.model.stack, rest, "--model.stack.core"))
    options = tyro.cli(
        TrainOptions,
        prog=f"srwm fewshot train {preset}",
        args=rest,
        default=TrainOptions(Path("runs") / preset, config),
        config=(tyro.conf.AvoidSubcommands,),
    )
    options = replace(options, config=_with_stack(options.config, without_default_options(options.config.model.stack)))
    check_least(2, test_episodes=options.test_episodes)
    set_threads(options.threads)
    size_named = any(word.replace("_", "-").startswith("--model.image-shape") for word in rest)
    config, sets = _fit(options.config, options.data_dir, size_named=size_named)
    splits, second = sets[0], sets[1] if len(sets) > 1 else None
    check_config(config, with_second(splits, second))
    if config.pool != options.config.pool and config.sampler == "pooled":
        pool = f"{config.pool.classes} classes of {config.pool.images_per_class} images"
        print(f"srwm: the pool of a step is {pool}; the data has no more", file=sys.stderr)
    ended = train_run(config, splits, options.run, second_splits=second, resume=options.resume, accelerator=options.accelerator)
    leave()
    if not ended:
        print(f"srwm: stopped; the same command with --resume goes on from the checkpoint in {options.run}", file=sys.stderr)
        raise SystemExit(130)
    if not is_rank_zero():
        return
    _test(options.run, sets, options.test_episodes)
    print(f"learning curve: {draw_learning_curve(options.run)}")


def _with_stack(config: TrainConfig, stack: StackConfig) -> TrainConfig:
    return replace(config, model=replace(config.model, stack=stack))


def evaluate(arguments: Sequence[str]) -> None:
    """Test a trained run."""
    options = tyro.cli(EvaluateOptions, prog="srwm fewshot evaluate", args=list(arguments))
    check_least(1, queries=options.queries, tta_passes=options.tta_passes)
    check_least(2, episodes=options.episodes)
    check_seed(options.seed)
    set_threads(options.threads)
    config = read_config(options.run)
    other = None if options.data == config.data else options.data
    check_other(config, other)
    sets = _load(replace(config, data=other or config.data), options.data_dir)
    chosen = (options.episodes, options.queries, options.seed)
    asked = _test(options.run, sets, *chosen, other=other, split=options.split, tta_passes=options.tta_passes)
    if not options.baselines or config.protocol in STREAMS:
        return
    shape = episode_shape(options.run, options.queries)
    print(f"on the same episodes, {shape.n_way}-way {shape.k_shot}-shot, features of the run's own stem:")
    print(f"  {'chance':<42}{100 / shape.n_way:5.2f} %")
    data = sets[0][options.split]
    baselines = score_baselines(
        options.run, data, *chosen, asked.features, other=other, split=options.split, tta_passes=options.tta_passes
    )
    for name, found in baselines.items():
        print(f"  {name:<42}{found}")


def figures(arguments: Sequence[str]) -> None:
    """Draw a trained run."""
    from srwm.fewshot.figures.run import MATRIX_FIGURES, draw_figures

    options = tyro.cli(FiguresOptions, prog="srwm fewshot figures", args=list(arguments))
    check_least(1, shots=options.shots)
    check_least(2, episodes=options.episodes)
    check_seed(options.seed)
    set_threads(options.threads)
    config = read_config(options.run)
    sets = tuple(splits["test"] for splits in _load(config, options.data_dir))
    check_fingerprint(options.run, {"test": sets})
    drawn = []
    for path in draw_figures(
        options.run,
        sets[0],
        shots=options.shots,
        layer=options.layer,
        head=options.head,
        episodes=options.episodes,
        seed=options.seed,
    ):
        print(path, flush=True)
        drawn.append(path.name)
    if config.protocol in STREAMS:
        print(f"left out, since a stream has no queries: all others; srwm fewshot adaptation {options.run} draws adaptation")
    elif not set(MATRIX_FIGURES) & set(drawn):
        kind = f"core {config.model.stack.core!r}" if config.model.head == "memory" else f"head {config.model.head!r}"
        print(f"left out, since a model with {kind} has no self-referential matrix: {', '.join(MATRIX_FIGURES)}")


def adaptation(arguments: Sequence[str]) -> None:
    """Draw what the tests of several runs on streams left."""
    options = tyro.cli(AdaptationOptions, prog="srwm fewshot adaptation", args=list(arguments))
    check_runs(options.runs, "srwm fewshot adaptation")
    draw_adaptation(options.runs, options.figure)
    print(f"accuracy over positions: {options.figure}")


def curves(arguments: Sequence[str]) -> None:
    """Draw how several runs learned."""
    from srwm.fewshot.figures.curves import draw_learning_curves

    options = tyro.cli(CurvesOptions, prog="srwm fewshot curves", args=list(arguments))
    check_runs(options.runs, "srwm fewshot curves")
    draw_learning_curves(options.runs, options.figure)
    print(f"accuracy and loss over minutes: {options.figure}")


def _test(
    run: Path,
    sets: list[dict[Split, ImageClasses]],
    episodes: int,
    queries: int | None = None,
    seed: int = 1,
    other: DatasetName | None = None,
    split: Split = "test",
    tta_passes: int = 1,
) -> Evaluation:
    """Test and tell; `sets` are the run's data set and its second one, if it has one, or `other` names what they are."""
    data, *second = [splits[split] for splits in sets]
    found = score_run(run, data, episodes, queries, seed, *second, other=other, split=split, tta_passes=tta_passes)
    names = ", ".join(part.name for part in (data, *second))
    read = f", each read {tta_passes} times" if tta_passes > 1 else ""
    print(f"{_ACCURACY[split]} {found.accuracy} (95 % interval, {found.accuracy.episodes} episodes{read}, {names})")
    return found


def _load(config: TrainConfig, data_dir: Path | None, *, own_size: bool = False) -> list[dict[Split, ImageClasses]]:
    """The configuration's data set, and its second one, at the size of the model's images or at their own."""
    names = [config.data] if config.second_data is None else [config.data, config.second_data]
    sets = [load_splits(name, data_dir) for name in names]
    if not own_size:
        sets = [resized(splits, config.model.image_shape) for splits in sets]
    return [normalized(splits) for splits in sets] if config.normalize else sets


def _fit(
    config: TrainConfig, data_dir: Path | None, *, size_named: bool
) -> tuple[TrainConfig, list[dict[Split, ImageClasses]]]:
    """The configuration and its data, made to fit: one data set keeps its size unless the user named another one."""
    sets = _load(config, data_dir, own_size=config.second_data is None and not size_named)
    return fit_to_data(config, *(splits["train"] for splits in sets)), sets
