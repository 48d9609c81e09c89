"""`srwm learn` and `srwm predict`: a few-shot learner on image files."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from srwm.cli.options import parse, refuse, set_threads
from srwm.errors import UserError, printable
from srwm.files import check_writable, write_atomically
from srwm.learner.answers import Answer, answers, without_ink
from srwm.learner.few_shot_learner import FewShotLearner
from srwm.learner.image_files import labeled_files, named_files
from srwm.ranges import AtLeast, Seed


@dataclass(frozen=True)
class LearnOptions:
    """Learn a few labeled images and save what was learned. The name of an image's folder is its label."""

    images: Annotated[tuple[str, ...], tyro.conf.Positional]
    """folders of class folders, class folders, files or glob patterns"""
    save: Path
    """file to write what was learned to, such as letters.safetensors"""
    add_to: Path | None = None
    """file that `srwm learn` saved: learn in addition to what is in it"""
    model: str = "characters"
    """bundled checkpoint, run folder or folder with a checkpoint"""
    head: Literal["auto", "prototypes", "memory", "residual"] = "auto"
    """what answers: class means, the memory, or both; auto: class means where the model has them"""
    tta_passes: Annotated[int, AtLeast(1)] = 1
    """number of test-time-augmented passes to average"""
    random_state: Seed = 0
    """random seed of the orders of these passes"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""


@dataclass(frozen=True)
class PredictOptions:
    """Classify images by what `srwm learn` saved."""

    memory: Annotated[Path, tyro.conf.Positional]
    """file that `srwm learn` saved"""
    images: Annotated[tuple[str, ...], tyro.conf.Positional]
    """files, folders or glob patterns"""
    csv: Path | None = None
    """CSV file to write the predictions to: image, label (empty: unknown), probability of the answer, of being unknown, and of
    each class"""
    model: str = "characters"
    """the model that learned"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""


def learn(arguments: Sequence[str]) -> None:
    """Learn labeled images and save what was learned.

    Args:
        arguments: the words of the command line after `srwm learn`.

    Raises:
        UserError: a file cannot be read or written, or the images do not fit the model.
        SystemExit: wrong usage, or help was printed.
    """
    options = parse(LearnOptions, "srwm learn", arguments)
    if not options.images:
        refuse("no images given; see srwm learn --help")
    check_writable(options.save)
    set_threads(options.threads)
    files, labels = labeled_files(list(options.images))
    try:
        learner = FewShotLearner.from_pretrained(
            options.model, tta_passes=options.tta_passes, random_state=options.random_state, head=options.head
        )
    except ValueError as error:
        raise UserError(error) from error
    if options.add_to is not None:
        learner.load(options.add_to)
    if (blank := without_ink(learner, files)).any():
        raise UserError(f"{files[int(blank.argmax())]}: no ink was found, so there is nothing to learn")
    try:
        learner.learn(files, labels)
    except ValueError as error:
        raise UserError(error) from error
    learner.save(options.save)
    counts = Counter(labels)
    print(
        f"learned {len(files):,} images of {len(counts)} classes: {', '.join(f'{k} ({n})' for k, n in sorted(counts.items()))}"
    )
    print(f"saved: {options.save}, {len(learner.classes_)} classes")


def predict(arguments: Sequence[str]) -> None:
    """Classify images, print the labels, and write them to a CSV file.

    Args:
        arguments: the words of the command line after `srwm predict`.

    Raises:
        UserError: a file cannot be read or written.
        SystemExit: wrong usage, or help was printed.
    """
    options = parse(PredictOptions, "srwm predict", arguments)
    if not options.images:
        refuse("no images given; see srwm predict --help")
    if options.csv is not None:
        check_writable(options.csv)
        if options.csv.exists() and options.memory.exists() and options.csv.samefile(options.memory):
            raise UserError(f"{options.csv}: this is the file to read, and would be replaced")
    set_threads(options.threads)
    files = named_files(list(options.images)) or []
    learner = FewShotLearner.from_pretrained(options.model).load(options.memory)
    try:
        found = answers(learner, files)
    except ValueError as error:
        raise UserError(error) from error
    _show(files, found)
    if options.csv is not None:
        write_atomically(options.csv, _table(files, found).encode(errors="surrogateescape"))
        print(f"predictions: {options.csv}")


def _show(files: Sequence[str], found: Sequence[Answer]) -> None:
    names = list(map(printable, files))
    width = max(map(len, names))
    for name, answer in zip(names, found, strict=True):
        label = f"unknown ({answer.reason})" if answer.label is None else printable(str(answer.label))
        print(f"{name:<{width}}  {label}  {100 * answer.probability:.1f} %")


def _table(files: Sequence[str], found: Sequence[Answer]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "label", "probability", "unknown", *(f"p({label})" for label in found[0].probabilities)])
    for file, answer in zip(files, found, strict=True):
        label = "" if answer.label is None else answer.label
        numbers = (answer.probability, answer.unknown, *answer.probabilities.values())
        table.writerow([file, label, *(f"{number:.6f}" for number in numbers)])
    return text.getvalue()
