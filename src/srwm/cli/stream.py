"""`srwm stream`: an online classifier along the rows of a CSV file, each predicted before its label is shown."""

import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from srwm.cli.options import parse, set_threads
from srwm.errors import UserError, one_line
from srwm.files import write_blocks_atomically
from srwm.ranges import AtLeast, Seed
from srwm.streams.answer_log import AnswerLog
from srwm.streams.baselines import BASELINES
from srwm.streams.csv_file import MISSING, read_samples
from srwm.streams.prequential import Answer, Label, OnlineClassifier, Row, answers
from srwm.training.figures import check_figure

_PREFIXES = (200, 500, 1_000, 5_000)
_OWN = "srwm"
_LINES_OF_A_BLOCK = 1_000
_REFRESH = 100
"""Samples between updates of the accuracy in the progress line."""


@dataclass(frozen=True)
class StreamOptions:
    """Learn the rows of a CSV file one by one; each is predicted before its label is shown (prequential evaluation)."""

    file: Annotated[Path, tyro.conf.Positional]
    """CSV file in UTF-8 with the names of the columns in its first row; cells are numbers, categories, or missing"""
    target: str
    """column of the labels; a row without a label is predicted, and not learned"""
    missing: tuple[str, ...] = MISSING
    """texts of missing values, in lower or upper case, beside empty cells and nan"""
    model: str = "streams"
    """bundled checkpoint, or folder with a checkpoint"""
    predictions: Path | None = None
    """CSV file to write the predictions to"""
    figure: Path | None = None
    """file to draw the rolling accuracy to"""
    window: Annotated[int, AtLeast(1)] = 200
    """number of samples of the rolling accuracy"""
    compare: bool = False
    """also run online classifiers of River beside it (takes far longer)"""
    seed: Seed = 0
    """random seed of the classifiers of River"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""


def stream(arguments: Sequence[str]) -> None:
    """Run a classifier along a file, then print its accuracy, draw it and write its predictions.

    Args:
        arguments: the words of the command line after `srwm stream`.

    Raises:
        UserError: the file cannot be read, an output cannot be written, a package is missing, or the classifier refuses a
            sample. The answers before it are reported and written first, where there are labels among them.
        SystemExit: wrong usage, or help was printed.
    """
    options = parse(StreamOptions, "srwm stream", arguments)
    _check_outputs(options)
    set_threads(options.threads)
    learners = {_OWN: load_classifier(options.model)}
    if options.compare:
        learners |= {name: baseline.make(options.seed) for name, baseline in BASELINES.items()}
    given, stopped = _run(learners, options)
    _show(given)
    if options.predictions is not None:
        write_blocks_atomically(options.predictions, _lines(given))
        print(f"predictions: {options.predictions}")
    if options.figure is not None:
        _draw(given, options.figure, options)
        print(f"rolling accuracy: {options.figure}")
    if stopped is not None:
        raise UserError(f"{stopped}; the results are those of the {len(given):,} samples before") from stopped


def load_classifier(model: str) -> OnlineClassifier:
    """The classifier of this package, with its model loaded.

    Args:
        model: name of a bundled checkpoint, or folder with a checkpoint.

    Returns:
        A fresh classifier.

    Raises:
        UserError: the model cannot be loaded.
    """
    classifier: OnlineClassifier = import_module("srwm.learner.streams").StreamClassifier.from_pretrained(model)
    return classifier


def _check_outputs(options: StreamOptions) -> None:
    if options.figure is not None:
        check_figure(options.figure)
        import_module("srwm.streams.figures")  # a missing Matplotlib is reported before the file is read
    outputs = [path for path in (options.predictions, options.figure) if path is not None]
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise UserError(f"{options.figure}: expected different files for predictions and figure")
    for path in outputs:
        folder = path.absolute().parent
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder")
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UserError(f"{path}: expected the name of a file to write, got a link, folder or device")
        if path.exists() and options.file.exists() and path.samefile(options.file):
            raise UserError(f"{path}: this is the file to read, and would be replaced")
        if not os.access(folder, os.W_OK):
            raise UserError(f"{folder}: expected a folder that can be written to")


def _run(learners: dict[str, OnlineClassifier], options: StreamOptions) -> tuple[AnswerLog, UserError | None]:
    """The answers of every learner to every row, up to one that cannot be read or learned; one pass over the file."""
    given, stopped = AnswerLog(learners), None
    right = scored = 0
    samples = read_samples(options.file, options.target, options.missing)
    with tqdm(samples, desc=options.file.name, unit=" samples", disable=None) as progress:
        try:
            for number, (row, label) in enumerate(progress, 1):
                where = f"{options.file}, sample {number}"
                answered = _answered(learners, given, row, label, where)
                given.add(label, answered)
                scored += label is not None
                right += label is not None and answered[_OWN].prediction == label
                if number % _REFRESH == 0 and scored:
                    progress.set_postfix_str(f"accuracy {100 * right / scored:.2f} %", refresh=False)
        except UserError as error:
            stopped = error
    if not scored:
        raise stopped or UserError(f"{options.file}: expected labels in the column {options.target!r}, got empty cells")
    return given, stopped


def _answered(
    learners: dict[str, OnlineClassifier], given: AnswerLog, row: Row, label: Label | None, where: str
) -> dict[str, Answer]:
    """The answers to a sample. A learner of River that raises is reported, and left out from then on."""
    found: dict[str, Answer] = {}
    for name, learner in list(learners.items()):
        try:
            (found[name],) = answers(learner, [(row, label)])
        except Exception as error:
            if name != _OWN:
                _leave_out(name, learners, given, where, error)
            elif isinstance(error, ValueError):
                raise UserError(f"{where}: {error}") from error
            else:
                raise
    return found


def _leave_out(name: str, learners: dict[str, OnlineClassifier], given: AnswerLog, where: str, error: Exception) -> None:
    tqdm.write(f"srwm: {where}: {name} is left out, it raised {type(error).__name__}: {one_line(error)}", file=sys.stderr)
    del learners[name]
    given.drop(name)


def _show(given: AnswerLog) -> None:
    """Print accuracies, kappa and time of each learner."""
    results = {name: given.result(name) for name in given.learners}
    count = len(results[_OWN].labels)
    prefixes = [first for first in _PREFIXES if first < count]
    head = [*(f"first {first:,}" for first in prefixes), f"all {count:,}", "kappa", "ms a sample"]
    width = max(map(len, results))
    print(f"Accuracy in %, each of {count:,} labels predicted before it was shown:")
    print(f"  {'':<{width}}" + "".join(f"{name:>13}" for name in head))
    for name, result in results.items():
        accuracies = "".join(f"{100 * result.accuracy(first):13.2f}" for first in [*prefixes, None])
        print(f"  {name:<{width}}{accuracies}{result.kappa():13.3f}{1e3 * result.seconds_per_sample:13.3f}")


def _lines(given: AnswerLog) -> Iterator[bytes]:
    """The predictions as CSV: number of the sample, label, and the prediction of each learner."""
    yield _csv([["sample", "label", *given.learners]])
    numbered = ([number, label, *predictions] for number, (label, predictions) in enumerate(given.rows(), 1))
    while block := list(islice(numbered, _LINES_OF_A_BLOCK)):
        yield _csv(block)


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _draw(given: AnswerLog, path: Path, options: StreamOptions) -> None:
    from srwm.streams.figures import draw_rolling

    curves = {name: given.result(name).rolling_accuracy(options.window) for name in given.learners}
    draw_rolling(curves, options.window, path, f"{options.file.name}: accuracy on labels not yet shown")
