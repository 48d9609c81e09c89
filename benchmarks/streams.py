"""Online learners side by side on streams with drift: prequential accuracy, kappa, time, recovery after a drift.

    python benchmarks/streams.py --runs FOLDER --checkpoint CHECKPOINT --markdown streams.md

Every learner answers every stream of `srwm.streams.datasets.TEST_STREAMS` with every seed, one thread each, `--jobs` of them
side by side, the fast ones first. What the folder holds is not run again, so `--only`, `--streams` and `--seeds` share the work
out; the whole command then prints the whole table. `--checkpoint` adds `srwm.StreamClassifier` with that model.

The River that the project's constraints pin is slower than later ones, which need numpy 2. Compare with a later one:

    python -m pip install --target build/river --no-deps 'river==0.26.1' 'numpy==2.4.6'
    PYTHONPATH=build/river python benchmarks/streams.py ...
"""

import hashlib
import importlib.metadata
import multiprocessing
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import machine
import stream_records
import stream_tables
from pages import write_section
from srwm.errors import UserError
from srwm.ranges import AtLeast
from srwm.streams.baselines import BASELINES
from srwm.streams.datasets import TEST_STREAMS, load_stream
from srwm.streams.extra import import_optional
from srwm.streams.figures import draw_drift
from srwm.streams.prequential import OnlineClassifier, prequential
from srwm.training.configuration import check_values
from stream_records import Key

TITLE = "# Online learners on streams with drift\n"


@dataclass(frozen=True)
class Options:
    """Compare online learners on streams."""

    runs: Path
    """folder of the answers, one JSON line for each learner, stream and seed"""
    only: tuple[str, ...] = tuple(BASELINES)
    """learners of River to run and show"""
    streams: tuple[str, ...] = tuple(TEST_STREAMS)
    """streams to run and show"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """seeds of the streams and of the learners"""
    checkpoint: Path | None = None
    """folder of a model of streams, to run and show as well"""
    name: str = "srwm"
    """name of that model in the answers; another model needs another one"""
    jobs: Annotated[int, AtLeast(1)] = 1
    """processes side by side"""
    markdown: Path | None = None
    """page whose section on all streams is rewritten, with a figure beside it, besides the terminal"""


def main(options: Options) -> None:
    """Run what is missing, then print the tables."""
    check(options)
    weights = None if options.checkpoint is None else weights_of(options.checkpoint)
    origin = {"cpu": machine.cpu_model(), "river": version_of_river()}
    options.runs.mkdir(parents=True, exist_ok=True)
    done = stream_records.read(options.runs)
    for key, line in done.items():
        if weights and key.learner == options.name and line.get("weights") != weights:
            raise SystemExit(f"--name: {options.name} in {options.runs} has other weights; give another name")
    missing = [key for key in keys(options) if key not in done]
    for key, line in run(missing, options):
        own = {"weights": weights} if key.learner == options.name and weights else {}
        stream_records.append(options.runs, [line | origin | own])
        print(f"{key.learner}, {key.stream}, seed {key.seed}: {100 * stream_records.correct_of(line).mean():.2f} %", flush=True)
    show(options)


def check(options: Options) -> None:
    """Raise SystemExit where an option names what there is not."""
    for given, known, option in ((options.only, BASELINES, "only"), (options.streams, TEST_STREAMS, "streams")):
        for each in given:
            if each not in known:
                raise SystemExit(f"--{option}: expected some of {', '.join(known)}, got {each}")
    if options.name in BASELINES:
        raise SystemExit(f"--name: {options.name} is a learner of River; give another name")
    try:
        check_values(options)
    except (UserError, ValueError) as error:
        raise SystemExit(f"--{error}") from error


def version_of_river() -> str:
    """The installed version. Raises SystemExit where there is none."""
    try:
        import_optional("river")
    except UserError as error:
        raise SystemExit(str(error)) from error
    return importlib.metadata.version("river")


def learners(options: Options) -> list[str]:
    """The learners to show: the model, then River's in the order of `BASELINES`."""
    return [*([options.name] if options.checkpoint else []), *(name for name in BASELINES if name in options.only)]


def keys(options: Options) -> list[Key]:
    """All that is to be run: fast learners first, then by seed."""
    return [Key(name, stream, seed) for name in learners(options) for seed in options.seeds for stream in options.streams]


def run(missing: list[Key], options: Options) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Answer streams, in processes of their own where there are several jobs."""
    if options.jobs == 1:
        yield from ((key, answer(key, options)) for key in missing)
        return
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(answer, key, options): key for key in missing}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def answer(key: Key, options: Options) -> dict[str, Any]:
    """One learner along one stream."""
    stream = load_stream(key.stream, key.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # River's: divisions by zero at the first samples
        result = prequential(make(key, options), zip(stream.rows, stream.labels, strict=True))
    return stream_records.record(key, result, {"drifts": list(stream.drifts)})


def make(key: Key, options: Options) -> OnlineClassifier:
    """A fresh learner."""
    if key.learner in BASELINES:
        return BASELINES[key.learner].make(key.seed)
    import torch

    from srwm import StreamClassifier

    torch.set_num_threads(1)
    return StreamClassifier.from_pretrained(options.checkpoint)


def weights_of(checkpoint: Path) -> str:
    """A digest of a model's weights."""
    path = checkpoint / "model.safetensors"
    if not path.is_file():
        raise SystemExit(f"--checkpoint: {path} is no file")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def show(options: Options) -> None:
    """Print the tables; with a page, rewrite its section and draw the figure."""
    lines = stream_records.read(options.runs)
    names = learners(options)
    titles = {name: BASELINES[name].title if name in BASELINES else name for name in names}
    table = stream_tables.Table(lines, titles, options.streams, options.seeds)
    text = stream_tables.section(table)
    around = table.around_drifts()
    if options.markdown is not None and around:
        figure = options.markdown.with_name(f"{options.markdown.stem}-drift.png")
        draw_drift(around, figure, f"Accuracy around an abrupt drift, mean over {len(next(iter(around.values())))} drifts")
        text += f"\n![Accuracy around a drift]({figure.name})\n"
    if options.markdown is not None:
        write_section(options.markdown, TITLE, text)
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Options))
