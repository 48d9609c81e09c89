"""`srwm rl train`, `srwm rl evaluate`, `srwm rl watch` and `srwm rl curves`."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from srwm.cli.options import check_known, check_runs, end_stopped, parse, set_threads
from srwm.cli.stack_flags import with_all_options, without_default_options
from srwm.errors import UserError
from srwm.nn import StackConfig
from srwm.ranges import AtLeast, Seed
from srwm.rl.chance import measure_chance
from srwm.rl.config import TrainConfig
from srwm.rl.curves import draw_comparison, draw_learning_curve
from srwm.rl.envs import EnvCrashError, build_env
from srwm.rl.evaluate import level_sets
from srwm.rl.presets import CORES, PRESETS, with_core
from srwm.rl.record import record, video_writer, write_video
from srwm.rl.report import load_agent, score_run
from srwm.rl.seeds import evaluation_seed, process_seed
from srwm.rl.train import check_config
from srwm.rl.train import train as train_run
from srwm.training.checkpoint import Checkpoints
from srwm.training.distributed import is_rank_zero, shutdown
from srwm.training.runs import read_config_of, short_names


@dataclass(frozen=True)
class TrainOptions:
    """Train an agent from a preset; options override the fields of the preset."""

    run: Path
    """run folder to create: configuration, metrics, checkpoints, weights and learning curve"""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """the configuration"""
    resume: bool = False
    """continue from the last checkpoint of the run folder"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""
    accelerator: str = "auto"
    """device to train on, as Lightning Fabric names it: cpu, cuda, mps or auto"""


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure the mean returns of a run's agent, with 95 % intervals; for ProcGen on training levels and on test levels."""

    run: Annotated[Path, tyro.conf.Positional]
    """run folder of `srwm rl train`"""
    episodes: Annotated[int, AtLeast(2)] = 200
    """episodes per task and level set; results over fewer episodes than saved ones are printed, but not saved"""
    greedy: bool = True
    """take the most probable action; --no-greedy: sample actions from the policy"""
    chance: bool = False
    """play random actions (uniform) instead of the agent's, for comparison"""
    seed: Seed = 1
    """random seed of environments and actions; training never uses the same random numbers, whatever its seed"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""


@dataclass(frozen=True)
class WatchOptions:
    """Write a video of one episode: observations, actions, correct actions where known, rewards, values and the size of ΔW."""

    run: Annotated[Path, tyro.conf.Positional]
    """run folder of `srwm rl train`"""
    video: Path = Path("srwm-episode.gif")
    """file to write the video to: .gif, or .mp4 where ffmpeg is installed"""
    task: str | None = None
    """one of the run's tasks; None: the first"""
    levels: str | None = None
    """one of the level sets of `srwm rl evaluate`, such as `test from 1000`; None: the first"""
    greedy: bool = True
    """take the most probable action; --no-greedy: sample actions from the policy"""
    max_frames: Annotated[int, AtLeast(1)] = 1000
    """largest number of frames in the video"""
    seed: Seed = 1
    """random seed of environment and actions; training never uses the same random numbers, whatever its seed"""


@dataclass(frozen=True)
class CurvesOptions:
    """Draw the returns of one or more runs over frames and over minutes; for several ProcGen games, normalized scores."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run folders of `srwm rl train`; the legend has their names"""
    figure: Path = Path("srwm-curves.png")
    """file to write the figure to"""


def train(arguments: Sequence[str]) -> None:
    """Train from a preset.

    Args:
        arguments: the words of the command line after `srwm rl train`.

    Raises:
        UserError: as `srwm.rl.train.train`, or an environment fails.
        SystemExit: wrong usage, or help was printed.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", nargs="?")
    parser.add_argument("--core", default="srwm")
    chosen, words = parser.parse_known_args(arguments)
    words = [chosen.preset, *words] if chosen.preset else words
    if not words or words[0] in ("-h", "--help"):
        print("usage: srwm rl train PRESET [--core CORE] [options]; srwm rl train PRESET --help lists the options\n\npresets:")
        print("\n".join(f"  {name}: {about}" for name, (about, _) in PRESETS.items()))
        print("\ncores (--core), instead of the preset's:\n" + "\n".join(f"  {name}: {about}" for name, about in CORES.items()))
        return
    preset, *words = words
    check_known("preset", preset, PRESETS)
    check_known("core", chosen.core, CORES)
    if {"-h", "--help"} & set(words):
        print(f"--core CORE replaces the preset's core by another one: {', '.join(CORES)}\n")
    run = preset if chosen.core == "srwm" else f"{preset}-{chosen.core}"
    config = with_core(PRESETS[preset][1], chosen.core)
    config = _with_stack(config, with_all_options(config.agent.stack, words, "--agent.stack.core"))
    options = parse(TrainOptions, f"srwm rl train {preset}", words, TrainOptions(Path("runs") / run, config))
    options = replace(options, config=_with_stack(options.config, without_default_options(options.config.agent.stack)))
    set_threads(options.threads)
    _find_own_modules()
    check_config(options.config)
    checkpoints = Checkpoints(options.run / "checkpoints")
    seed = process_seed(options.config.seed, int(os.environ.get("RANK", "0")))
    resumed_at = checkpoints.newest() if options.resume else None

    def how_to_continue() -> str:
        last = checkpoints.newest()
        return "; there was no checkpoint yet" if last is None else f"; --resume continues from update {last} in {options.run}"

    with _report_crash(how_to_continue), build_env(options.config.env, seed, resumed_at or 0) as env:
        ended = train_run(
            options.config,
            env,
            options.run,
            resume=options.resume,
            accelerator=options.accelerator,
            measure_chance=partial(measure_chance, options.config.env, options.config.seed),
        )
    shutdown()
    if not ended:
        end_stopped(options.run)
    if is_rank_zero():
        print(f"learning curve: {draw_learning_curve(options.run)}")


def _with_stack(config: TrainConfig, stack: StackConfig) -> TrainConfig:
    return replace(config, agent=replace(config.agent, stack=stack))


def evaluate(arguments: Sequence[str]) -> None:
    """Measure the returns of a trained run.

    Args:
        arguments: the words of the command line after `srwm rl evaluate`.

    Raises:
        UserError: an option is out of its range, or a run folder is unusable.
        SystemExit: wrong usage, or help was printed.
    """
    options = parse(EvaluateOptions, "srwm rl evaluate", arguments)
    set_threads(options.threads)
    _find_own_modules()
    with _report_crash():
        result = score_run(options.run, options.episodes, greedy=options.greedy, chance=options.chance, seed=options.seed)
    for name, scores in result["sets"].items():
        print(f"{name}, {options.episodes} episodes per task:")
        for task, numbers in scores["returns"].items():
            normalized = scores.get("normalized", {}).get(task)
            beside = "" if normalized is None else f"   normalized {_format_estimate(normalized, 100)}"
            print(f"  {task:<12} {_format_estimate(numbers)}{beside}")
        for statistic in ("normalized mean", "normalized interquartile mean"):
            if statistic in scores:
                print(f"  {statistic}, x100: {_format_estimate(scores[statistic], 100)}")


def watch(arguments: Sequence[str]) -> None:
    """Write a video of one episode.

    Args:
        arguments: the words of the command line after `srwm rl watch`.

    Raises:
        UserError: there is no such task or level set, or the video cannot be written.
    """
    options = parse(WatchOptions, "srwm rl watch", arguments)
    video_writer(options.video)
    _find_own_modules()
    sets = level_sets(read_config_of(options.run, TrainConfig).env, episodes=1)
    levels = options.levels or next(iter(sets))
    if levels not in sets:
        raise UserError(f"levels: expected one of {', '.join(sets)}, got {levels!r}")
    config = sets[levels]
    task = options.task or config.names[0]
    if task not in config.names:
        raise UserError(f"task: expected one of {', '.join(config.names)}, got {task!r}")
    seed = evaluation_seed(options.seed)
    with _report_crash(), build_env(replace(config, names=(task,), num_envs=1, workers=0), seed) as env:
        agent = load_agent(options.run, env.spec)
        recording = record(agent, env, greedy=options.greedy, seed=seed, max_frames=options.max_frames)
    write_video(recording, options.video, task if len(sets) == 1 else f"{task}, {levels}")
    print(f"{options.video}: {len(recording.values)} steps, {recording.outcome}")


def curves(arguments: Sequence[str]) -> None:
    """Draw the returns of runs.

    Args:
        arguments: the words of the command line after `srwm rl curves`.

    Raises:
        UserError: an option is out of its range, or a run folder is unusable.
        SystemExit: wrong usage, or help was printed.
    """
    options = parse(CurvesOptions, "srwm rl curves", arguments)
    check_runs(options.runs, "srwm rl curves")
    names = short_names(options.runs)
    draw_comparison({name: (run,) for name, run in zip(names, options.runs, strict=True)}, options.figure)
    print(f"training episodes over frames and minutes: {options.figure}")


def _find_own_modules() -> None:
    """Let `module:id` find modules in the working folder, as `python -m` does. Processes of environments inherit the path."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


@contextmanager
def _report_crash(how_to_continue: Callable[[], str] = str) -> Iterator[None]:
    """Print the traceback of an environment that fails, and raise a UserError that explains how to continue."""
    try:
        yield
    except EnvCrashError as error:
        print(error, file=sys.stderr)
        raise UserError(f"an environment failed{how_to_continue()}") from error


def _format_estimate(numbers: dict[str, Any], factor: float = 1.0) -> str:
    return f"{factor * numbers['value']:.2f} [{factor * numbers['low']:.2f}, {factor * numbers['high']:.2f}]"
