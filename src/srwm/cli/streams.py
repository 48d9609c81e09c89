"""`srwm streams train`, `srwm streams evaluate`, `srwm streams curves` and `srwm streams prior`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from srwm.cli.options import check_known, check_runs, end_stopped, parse, set_threads, split_core
from srwm.cli.stack_flags import with_all_options, without_default_options
from srwm.nn import StackConfig
from srwm.ranges import AtLeast, Seed
from srwm.streams.config import TrainConfig
from srwm.streams.presets import CORES, PRESETS, with_core
from srwm.streams.prior import PriorConfig
from srwm.streams.report import score_run
from srwm.streams.training.loop import check_config
from srwm.streams.training.loop import train as train_run
from srwm.training.distributed import is_rank_zero, shutdown


@dataclass(frozen=True)
class TrainOptions:
    """Train a learner of streams from a preset; options override the fields of the preset."""

    run: Path
    """run folder to create: configuration, metrics, checkpoints, weights and learning curve"""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """the configuration"""
    resume: bool = False
    """continue from the last checkpoint of the run folder"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""
    accelerator: str = "auto"
    """device to train on: cpu, cuda or auto"""


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a run's best weights on held-out random streams."""

    run: Annotated[Path, tyro.conf.Positional]
    """run folder of `srwm streams train`"""
    streams: Annotated[int, AtLeast(2)] = 256
    """number of streams"""
    length: Annotated[int, AtLeast(2)] = 2000
    """samples per stream"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""


@dataclass(frozen=True)
class CurvesOptions:
    """Draw accuracy and loss of one or more runs over minutes of training."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run folders of `srwm streams train`; the legend has their names"""
    figure: Path = Path("stream-curves.png")
    """file to write the figure to"""


@dataclass(frozen=True)
class PriorOptions:
    """Draw random streams as training sees them, with two features each."""

    figure: Path = Path("random-streams.png")
    """file to write the figure to"""
    seed: Seed = 0
    """random seed of the streams"""


def train(arguments: Sequence[str]) -> None:
    """Train from a preset.

    Args:
        arguments: the words of the command line after `srwm streams train`.

    Raises:
        UserError: as `srwm.streams.training.loop.train`.
        SystemExit: wrong usage, or help was printed.
    """
    core, words = split_core(arguments)
    if not words or words[0] in ("-h", "--help"):
        print(
            "usage: srwm streams train PRESET [--core CORE] [options]; srwm streams train PRESET --help lists them\n\npresets:"
        )
        print("\n".join(f"  {name}: {about}" for name, (about, _) in PRESETS.items()))
        print("\ncores (--core), instead of the preset's:\n" + "\n".join(f"  {name}: {about}" for name, about in CORES.items()))
        return
    preset, *words = words
    check_known("preset", preset, PRESETS)
    if {"-h", "--help"} & set(words):
        print(f"--core CORE replaces the preset's core by another one: {', '.join(CORES)}\n")
    config, run = PRESETS[preset][1], preset
    if core is not None:
        check_known("core", core, CORES)
        config, run = with_core(config, core), f"{preset}-{core}"
    config = _with_stack(config, with_all_options(config.model.stack, words, "--model.stack.core"))
    options = parse(TrainOptions, f"srwm streams train {preset}", words, TrainOptions(Path("runs") / run, config))
    options = replace(options, config=_with_stack(options.config, without_default_options(options.config.model.stack)))
    set_threads(options.threads)
    check_config(options.config)
    ended = train_run(options.config, options.run, resume=options.resume, accelerator=options.accelerator)
    shutdown()
    if not ended:
        end_stopped(options.run)
    if is_rank_zero():
        from srwm.streams.curves import draw_learning_curve

        print(f"learning curve: {draw_learning_curve(options.run)}")


def evaluate(arguments: Sequence[str]) -> None:
    """Measure a run's best weights on held-out random streams.

    Args:
        arguments: the words of the command line after `srwm streams evaluate`.

    Raises:
        UserError: the folder is not a run, or its weights are missing or corrupt.
    """
    options = parse(EvaluateOptions, "srwm streams evaluate", arguments)
    set_threads(options.threads)
    found = score_run(options.run, options.streams, options.length)
    print(f"accuracy {found} (95 % interval, {options.streams} held-out random streams of {options.length} samples)")
    print(f"cross-entropy {found.loss:.4f} nats")
    tenths = " ".join(f"{100 * accuracy:.1f}" for accuracy in found.by_time)
    print(f"accuracy in each tenth of the streams, %: {tenths}")


def curves(arguments: Sequence[str]) -> None:
    """Draw the learning curves of several runs.

    Args:
        arguments: the words of the command line after `srwm streams curves`.

    Raises:
        UserError: a folder is not a run, or the figure cannot be written.
        SystemExit: no run was given.
    """
    from srwm.streams.curves import draw_learning_curves

    options = parse(CurvesOptions, "srwm streams curves", arguments)
    check_runs(options.runs, "srwm streams curves")
    draw_learning_curves(options.runs, options.figure)
    print(f"accuracy and loss over minutes: {options.figure}")


def prior(arguments: Sequence[str]) -> None:
    """Draw random streams.

    Args:
        arguments: the words of the command line after `srwm streams prior`.

    Raises:
        UserError: the figure cannot be written.
    """
    from srwm.streams.prior.figure import draw_prior

    options = parse(PriorOptions, "srwm streams prior", arguments)
    draw_prior(PriorConfig(), options.figure, options.seed)
    print(f"random streams: {options.figure}")


def _with_stack(config: TrainConfig, stack: StackConfig) -> TrainConfig:
    return replace(config, model=replace(config.model, stack=stack))
