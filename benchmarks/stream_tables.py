"""Tables of online learners over streams, in Markdown."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srwm.streams.baselines import BASELINES
from srwm.streams.recovery import AFTER, BEFORE, SHARE, WINDOW, around_drifts, recovery
from stream_records import PREFIXES, Key, correct_of

_WIDTH = 128


class Table:
    """The answers of learners, of those streams and seeds that all of them have answered."""

    def __init__(
        self, lines: Mapping[Key, dict[str, Any]], titles: Mapping[str, str], streams: Sequence[str], seeds: Sequence[int]
    ) -> None:
        self.titles = titles
        wanted = [(stream, seed) for stream in streams for seed in seeds]
        self.cells = [cell for cell in wanted if all(Key(name, *cell) in lines for name in titles)]
        self.wanted = len(wanted)
        self.streams = list(dict.fromkeys(stream for stream, _ in self.cells))
        self.lines = {(name, *cell): lines[Key(name, *cell)] for name in titles for cell in self.cells}
        self.correct = {key: correct_of(line) for key, line in self.lines.items()}

    def accuracies(self, first: int) -> NDArray[np.float64]:
        """(learners, streams and seeds): accuracy in percent over the first samples, or over all of a shorter stream."""
        return 100 * np.array(
            [[self.correct[name, *cell][:first].mean() for cell in self.cells] for name in self.titles], dtype=np.float64
        )

    def mean(self, name: str, stream: str, values: Mapping[tuple[str, str, int], float]) -> float:
        """A mean over the seeds of a stream."""
        return fmean(values[name, *cell] for cell in self.cells if cell[0] == stream)

    def around_drifts(self, stream: str | None = None) -> dict[str, NDArray[np.bool_]]:
        """The answers around the abrupt drifts of one or all streams, (N, 1200), by title; empty where nothing drifts."""
        found = {}
        for name, title in self.titles.items():
            parts = [
                around_drifts(self.correct[name, *cell], self.lines[name, *cell]["drifts"])
                for cell in self.cells
                if stream in (None, cell[0]) and self.lines[name, *cell]["drifts"]
            ]
            if parts:
                found[title] = np.concatenate(parts)
        return found


def section(table: Table) -> str:
    """All tables as a section of the documentation."""
    if not table.cells:
        return "## All streams\n\nNo stream has been answered by all learners yet.\n"
    parts = [_summary(table), _per_stream(table), _kappa(table), _recovery(table), _about(table)]
    return "## All streams\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(learners, cells): the rank of each learner, 1 for the highest value; equal values share the mean of their ranks."""
    higher = (values[None] > values[:, None]).sum(1)
    equal = (values[None] == values[:, None]).sum(1)
    ranks: NDArray[np.float64] = higher + (equal + 1) / 2
    return ranks


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(
        [
            f"| {' | '.join(head)} |",
            f"|{'---|' * len(head)}",
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
    )


def _text(*sentences: str) -> str:
    return fill(" ".join(sentences), _WIDTH)


def _summary(table: Table) -> str:
    accuracies = {first: table.accuracies(first) for first in PREFIXES}
    ranks = {first: _ranks(values).mean(1) for first, values in accuracies.items()}
    seconds = [fmean(table.lines[name, *cell]["seconds_per_sample"] for cell in table.cells) for name in table.titles]
    head = ["learner", *(f"rank, {first:,}" for first in PREFIXES), *(f"accuracy, {first:,}, %" for first in PREFIXES), "ms"]
    rows = [
        [
            title,
            *(f"{ranks[first][i]:.2f}" for first in PREFIXES),
            *(f"{accuracies[first][i].mean():.1f}" for first in PREFIXES),
            f"{1e3 * seconds[i]:.2f}",
        ]
        for i, title in enumerate(table.titles.values())
    ]
    name = next(iter(table.titles))
    short = sorted({cell[0] for cell in table.cells if len(table.correct[name, *cell]) < PREFIXES[-1]})
    about = _text(
        f"Mean rank (1 is best) and mean prequential accuracy over {len(table.cells)} streams, {len(table.streams)} kinds with",
        "their seeds, over the first 200, 500, 1,000 and 5,000 samples.",
        f"Streams with fewer samples count with all that they have ({', '.join(short)})." if short else "",
        "No answer counts as a wrong one. ms: CPU time of one thread to predict and to learn a sample, a mean over streams.",
        "" if len(table.cells) == table.wanted else f"Incomplete: {table.wanted - len(table.cells)} streams lack a learner.",
    )
    return f"{about}\n\n{_markdown(head, rows)}"


def _per_stream(table: Table) -> str:
    parts = []
    for first in (1_000, PREFIXES[-1]):
        accuracy = {key: 100 * float(correct[:first].mean()) for key, correct in table.correct.items()}
        values = {stream: [table.mean(name, stream, accuracy) for name in table.titles] for stream in table.streams}
        rows = [[stream, *(f"{value:.1f}" for value in found)] for stream, found in values.items()]
        head = _text(f"Accuracy over the first {first:,} samples (or all, if there are fewer), %, mean over seeds.")
        parts.append(f"{head}\n\n{_markdown(['stream', *table.titles.values()], rows)}")
    return "\n\n".join(parts)


def _kappa(table: Table) -> str:
    rows = [
        [
            title,
            *(f"{fmean(table.lines[name, *cell]['kappa'][str(first)] for cell in table.cells):.3f}" for first in PREFIXES),
        ]
        for name, title in table.titles.items()
    ]
    return f"Cohen's kappa, mean over the same streams.\n\n{_markdown(['learner', *(f'{n:,}' for n in PREFIXES)], rows)}"


def _recovery(table: Table) -> str:
    found = {stream: around for stream in table.streams if (around := table.around_drifts(stream))}
    if not found:
        return ""
    drifts = len(next(iter(next(iter(found.values())).values())))
    titles = list(table.titles.values())
    each = {stream: [recovery(around[title]) for title in titles] for stream, around in found.items()}
    rows = [[stream, *(_samples(one.samples) for one in row)] for stream, row in each.items()]
    columns = list(zip(*each.values(), strict=True))
    rows.append(["mean", *(f"{fmean(one.samples or AFTER for one in column):.0f}" for column in columns)])
    for side, field in (("before", "level"), ("after", "after")):
        means = (fmean(getattr(one, field) for one in column) for column in columns)
        rows.append([f"accuracy, {BEFORE} samples {side}, %", *(f"{100 * mean:.1f}" for mean in means)])
    about = _text(
        f"Samples after an abrupt drift until the accuracy over the last {WINDOW} is back at {100 * SHARE:.0f} % of the",
        f"learner's own level, its accuracy over the {BEFORE} samples before the drift. Accuracies are means over the drifts",
        f"and seeds of a stream, {drifts} drifts each. The least is {WINDOW}; more than {AFTER:,} counts as {AFTER:,} in the",
        "mean. A learner whose level is low recovers soon, so the last rows give the levels.",
    )
    return f"{about}\n\n{_markdown(['stream', *titles], rows)}"


def _samples(samples: int | None) -> str:
    return f"> {AFTER:,}" if samples is None else f"{samples}"


def _about(table: Table) -> str:
    first = next(iter(table.lines.values()))
    settings = "; ".join(f"{BASELINES[name].title}: {BASELINES[name].about}" for name in table.titles if name in BASELINES)
    processors = " and ".join(sorted({line["cpu"] for line in table.lines.values()}))
    return _text(
        f"River {first['river']}, one thread of {processors}. {settings}. All other settings are River's defaults.",
        "TabPFN is not in the table: its package installs, but its weights are a download that this comparison could not make.",
    )
