"""Online learners side by side on streams with drift: prequential accuracy, kappa, time, recovery after a drift.

    python benchmarks/streams.py --runs FOLDER --checkpoint CHECKPOINT --markdown streams.md

Every learner answers every stream of `srwm.streams.datasets.TEST_STREAMS` with every seed, one thread each, `--jobs` of them
side by side, the fast ones first. What the folder holds is not run again, so `--only`, `--streams` and `--seeds` share the work
out; the whole command then prints the whole table. `--checkpoint` adds `srwm.StreamClassifier` with that model: its answers are
computed for many streams side by side, its time is that of `predict_one` and `learn_one` over the first samples of each, whose
answers must be the same.

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
from dataclasses import dataclass, replace
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
from srwm.streams.datasets import TEST_STREAMS, VALIDATION_STREAMS, load_stream
from srwm.streams.extra import import_optional
from srwm.streams.figures import draw_drift
from srwm.streams.prequential import prequential
from srwm.training.configuration import check_values
from stream_records import Key

TITLE = "# Online learners on streams with drift\n"
_BATCH = 16
"""Streams that the model answers side by side."""
_ALONE = 200
"""Samples of each stream that the model also answers one at a time."""
_MOST_DIFFERENT = 0.01
"""Share of these whose answers may differ: where two classes are equally probable, rounding decides."""


@dataclass(frozen=True)
class Options:
    """Compare online learners on streams."""

    runs: Path
    """folder of the answers, one JSON line for each learner, stream and seed"""
    only: tuple[str, ...] = tuple(BASELINES)
    """learners of River to run and show"""
    streams: tuple[str, ...] = tuple(TEST_STREAMS)
    """streams to run and show, of the test or of validation (`diabetes`, `solar-flare`)"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """seeds of the streams and of the learners"""
    checkpoint: tuple[Path, ...] = ()
    """folders of models of streams, to run and show as well"""
    name: tuple[str, ...] = ("srwm",)
    """names of these models in the answers; another model needs another one"""
    jobs: Annotated[int, AtLeast(1)] = 1
    """processes side by side"""
    markdown: Path | None = None
    """page whose section on all streams is rewritten, with a figure beside it, besides the terminal"""


def main(options: Options) -> None:
    """Run what is missing, then print the tables."""
    check(options)
    weights = {name: weights_of(path) for name, path in models(options).items()}
    origin = {"cpu": machine.cpu_model(), "river": version_of_river()}
    options.runs.mkdir(parents=True, exist_ok=True)
    done = stream_records.read(options.runs)
    for key, line in done.items():
        if key.learner in weights and line.get("weights") != weights[key.learner]:
            raise SystemExit(f"--name: {key.learner} in {options.runs} has other weights; give another name")
    missing = [key for key in keys(options) if key not in done]
    for key, line in run(missing, options):
        own = {"weights": weights[key.learner]} if key.learner in weights else {}
        stream_records.append(options.runs, [line | origin | own])
        print(f"{key.learner}, {key.stream}, seed {key.seed}: {100 * stream_records.correct_of(line).mean():.2f} %", flush=True)
    show(options)


def check(options: Options) -> None:
    """Raise SystemExit where an option names what there is not."""
    every_stream = [*TEST_STREAMS, *VALIDATION_STREAMS]
    for given, known, option in ((options.only, BASELINES, "only"), (options.streams, every_stream, "streams")):
        for each in given:
            if each not in known:
                raise SystemExit(f"--{option}: expected some of {', '.join(known)}, got {each}")
    if taken := set(options.name) & set(BASELINES):
        raise SystemExit(f"--name: {', '.join(sorted(taken))} is a learner of River; give another name")
    if options.checkpoint and len(set(options.name)) != len(options.checkpoint):
        raise SystemExit(f"--name: expected as many as of --checkpoint, {len(options.checkpoint)}, all different")
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


def models(options: Options) -> dict[str, Path]:
    """The folders of the models by their names."""
    return dict(zip(options.name, options.checkpoint, strict=True)) if options.checkpoint else {}


def learners(options: Options) -> list[str]:
    """The learners to show: the models, then River's in the order of `BASELINES`."""
    return [*models(options), *(name for name in BASELINES if name in options.only)]


def keys(options: Options) -> list[Key]:
    """All that is to be run: fast learners first, then by seed."""
    return [Key(name, stream, seed) for name in learners(options) for seed in options.seeds for stream in options.streams]


def run(missing: list[Key], options: Options) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Answer streams: those of the model in batches, others in processes of their own where there are several jobs."""
    for name, checkpoint in models(options).items():
        own = [key for key in missing if key.learner == name]
        for start in range(0, len(own), _BATCH):
            yield from answer_own(own[start : start + _BATCH], checkpoint)
    others = [key for key in missing if key.learner in BASELINES]
    if options.jobs == 1:
        yield from ((key, answer(key)) for key in others)
        return
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(answer, key): key for key in others}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def answer(key: Key) -> dict[str, Any]:
    """A learner of River along one stream."""
    stream = load_stream(key.stream, key.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # River's: divisions by zero at the first samples
        result = prequential(BASELINES[key.learner].make(key.seed), zip(stream.rows, stream.labels, strict=True))
    return stream_records.record(key, result, {"drifts": list(stream.drifts)})


def answer_own(keys: list[Key], checkpoint: Path) -> Iterator[tuple[Key, dict[str, Any]]]:
    """The model along several streams. Raises SystemExit where its answers differ from those to one sample at a time."""
    import torch

    from srwm.learner.pretrained import load_stream_model
    from srwm.learner.streams import StreamClassifier
    from stream_batches import answer_together

    torch.set_num_threads(1)
    model = load_stream_model(checkpoint)
    streams = [load_stream(key.stream, key.seed) for key in keys]
    for key, stream, together in zip(keys, streams, answer_together(model, streams), strict=True):
        samples = list(zip(stream.rows[:_ALONE], stream.labels[:_ALONE], strict=True))
        alone = prequential(StreamClassifier.from_pretrained(checkpoint), samples)
        different = sum(one != other for one, other in zip(alone.predictions, together.predictions, strict=False))
        if different > _MOST_DIFFERENT * len(samples):
            raise SystemExit(f"{key.stream}, seed {key.seed}: {different} of {len(samples)} answers differ from predict_one's")
        result = replace(together, seconds_per_sample=alone.seconds_per_sample)
        yield key, stream_records.record(key, result, {"drifts": list(stream.drifts), "different": different})


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
