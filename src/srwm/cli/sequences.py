"""`srwm sequences train`, `srwm sequences evaluate` and `srwm sequences curves`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import Annotated

import tyro

from srwm.cli.options import check_known, check_runs, end_stopped, parse, set_threads, split_core
from srwm.cli.stack_flags import check_option_names, with_all_options, without_default_options
from srwm.ranges import AtLeast
from srwm.sequences.config import TrainConfig
from srwm.sequences.presets import CORES, PRESETS, with_core
from srwm.sequences.report import score_run
from srwm.sequences.scoring import Score
from srwm.sequences.training.loop import check_config
from srwm.sequences.training.loop import train as train_run
from srwm.training.distributed import is_rank_zero, shutdown


@dataclass(frozen=True)
class TrainOptions:
    """Train on a task from a preset, then test; options override the fields of the preset."""

    run: Path
    """run folder to create: configuration, metrics, checkpoints, weights, test and figures"""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """the configuration"""
    test_sequences: Annotated[int, AtLeast(1)] = 200
    """sequences of each bin of the test that training ends with"""
    resume: bool = False
    """continue from the last checkpoint of the run folder"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""
    accelerator: str = "auto"
    """device to train on: cpu, cuda, mps or auto"""


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a run's best weights on test sequences, up to 16 times as long as in training."""

    run: Annotated[Path, tyro.conf.Positional]
    """run folder of `srwm sequences train`"""
    sequences: Annotated[int, AtLeast(1)] = 2000
    """number of sequences of each bin"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""


@dataclass(frozen=True)
class CurvesOptions:
    """Draw validation over minutes and accuracy over positions of one or more runs, and one sequence that all of them read."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run folders of `srwm sequences train`; the legend has their names"""
    figure: Path = Path("sequence-curves.png")
    """file to write the curves to"""
    episode: Path | None = None
    """file to write the sequence to; the runs must be of one task"""


def train(arguments: Sequence[str]) -> None:
    """Train from a preset, then test.

    Args:
        arguments: the words of the command line after `srwm sequences train`.

    Raises:
        UserError: as `srwm.sequences.training.loop.train`.
        SystemExit: wrong usage, or help was printed.
    """
    core, words = split_core(arguments)
    if not words or words[0] in ("-h", "--help"):
        print("usage: srwm sequences train PRESET [--core CORE] [options]; srwm sequences train PRESET --help lists them")
        print("\npresets:\n" + _listed({name: about for name, (about, _) in PRESETS.items()}))
        print("\ncores (--core), instead of srwm:\n" + _listed(CORES))
        return
    preset, *words = words
    check_known("preset", preset, PRESETS)
    about, config = PRESETS[preset]
    if {"-h", "--help"} & set(words):
        print(f"{preset}: {about}.\n--core CORE replaces the preset's core by another one: {', '.join(CORES)}\n")
    run = preset
    if core is not None:
        check_known("core", core, CORES)
        config, run = with_core(config, core), f"{preset}-{core}"
    config = replace(config, stack=with_all_options(config.stack, words, "--stack.core"))
    check_option_names(config.stack, words, "--stack.core-options.")
    options = parse(TrainOptions, f"srwm sequences train {preset}", words, TrainOptions(Path("runs") / run, config))
    options = replace(options, config=replace(options.config, stack=without_default_options(options.config.stack)))
    set_threads(options.threads)
    check_config(options.config)
    ended = train_run(options.config, options.run, resume=options.resume, accelerator=options.accelerator)
    shutdown()
    if not ended:
        end_stopped(options.run)
    if is_rank_zero():
        from srwm.sequences.curves import draw_curves
        from srwm.sequences.episode_figure import draw_episode

        _print_scores(score_run(options.run, options.test_sequences), options.test_sequences)
        curves, episode = options.run / "curves.png", options.run / "episode.png"
        draw_curves([options.run], curves)
        draw_episode([options.run], episode)
        print(f"curves: {curves}\none sequence: {episode}")


def evaluate(arguments: Sequence[str]) -> None:
    """Measure a run's best weights on test sequences.

    Args:
        arguments: the words of the command line after `srwm sequences evaluate`.

    Raises:
        UserError: the folder is not a run, or its weights are missing or corrupt.
    """
    options = parse(EvaluateOptions, "srwm sequences evaluate", arguments)
    set_threads(options.threads)
    _print_scores(score_run(options.run, options.sequences), options.sequences)


def curves(arguments: Sequence[str]) -> None:
    """Draw the curves of several runs, and one sequence.

    Args:
        arguments: the words of the command line after `srwm sequences curves`.

    Raises:
        UserError: a folder is not a run, or a figure cannot be written.
        SystemExit: no run was given.
    """
    from srwm.sequences.curves import draw_curves
    from srwm.sequences.episode_figure import draw_episode

    options = parse(CurvesOptions, "srwm sequences curves", arguments)
    check_runs(options.runs, "srwm sequences curves")
    draw_curves(options.runs, options.figure)
    print(f"answers over minutes and positions: {options.figure}")
    if options.episode is not None:
        draw_episode(options.runs, options.episode)
        print(f"one sequence: {options.episode}")


def _listed(texts: dict[str, str]) -> str:
    width = max(map(len, texts)) + 4
    return "\n".join(
        fill(about, 118, initial_indent=f"  {name}".ljust(width), subsequent_indent=width * " ")
        for name, about in texts.items()
    )


def _print_scores(found: dict[str, Score], sequences: int) -> None:
    width = max(map(len, found))
    print(f"test, {sequences} sequences each:")
    for name, score in found.items():
        print(f"  {name:<{width}}  whole sequences {100 * score.sequences:5.1f} %, answers {100 * score.tokens:6.2f} %")
    print(f"more than 95 % of the answers right up to position {list(found.values())[-1].reached}")
