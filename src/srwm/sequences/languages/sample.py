"""Strings of a language for training, validation and test, none of which are the same."""

import numpy as np
import torch
from torch import Tensor

from srwm.data.draws import Draws, count_to
from srwm.sequences.batch import NO_TARGET, Batch, Bin, Purpose
from srwm.sequences.languages.language import Language

_ROUNDS = 100
_PARTS: dict[Purpose, tuple[int, ...]] = {"train": (1, 3), "val": (0,), "test": (2,)}
"""Of four parts of all strings, those for each purpose."""
_FACTOR, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


def draw_strings(language: Language, purpose: Purpose, key: tuple[int, ...], count: int, lengths: Bin, shared: int) -> Batch:
    """Draw strings and their targets.

    Every length of the language in the range has the same probability. Strings up to the length `shared` are divided by a hash
    of the symbols, or by their length where there is one string of each: half of them are for training, a quarter each for
    validation and test. Longer ones are only tested, so all of them may be.

    Args:
        language: the language.
        purpose: what the strings are for.
        key: seeds of the generator.
        count: number of strings B.
        lengths: the range of their lengths.
        shared: length of the longest string for training or validation.

    Returns:
        B strings, padded to the longest.

    Raises:
        ValueError: the language has no string of such a length for this purpose.
    """
    draws = Draws(*key)
    first = -(-lengths.shortest // language.unit)
    choices = lengths.longest // language.unit - first + 1
    strings = torch.zeros(count, lengths.longest, dtype=torch.long, device="cpu")
    ends = torch.zeros(count, dtype=torch.long, device="cpu")
    missing = count_to(count)
    for _ in range(_ROUNDS if choices > 0 and first > 0 else 0):
        drawn_ends = language.unit * (first + draws.integers(2 * len(missing) + 8, high=choices))
        drawn = _padded(language.draw(draws, drawn_ends), drawn_ends, lengths.longest)
        kept = is_for(language, purpose, drawn, drawn_ends, shared).nonzero()[: len(missing), 0]
        filled, missing = missing[: len(kept)], missing[len(kept) :]
        strings[filled], ends[filled] = drawn[kept], drawn_ends[kept]
        if not len(missing):
            longest = int(ends.max()) if count else 0
            return _with_targets(language, strings[:, :longest], ends)
    raise ValueError(
        f"lengths: expected a range with strings for {purpose}, whose lengths are multiples of {language.unit}, "
        f"got {lengths.shortest} to {lengths.longest}"
    )


def is_for(language: Language, purpose: Purpose, strings: Tensor, ends: Tensor, shared: int) -> Tensor:
    """Whether strings may be used for a purpose.

    Args:
        language: the language.
        purpose: the purpose.
        strings: symbols (B, T), 0 behind the end.
        ends: lengths (B,).
        shared: length of the longest string for training or validation.

    Returns:
        (B,) bool. A string up to the length `shared` is for one purpose; a longer one is for tests.
    """
    part = ends // language.unit % 4 if language.is_unique else _hash(strings, ends) % 4
    chosen = torch.isin(part, torch.tensor(_PARTS[purpose], dtype=torch.long, device="cpu"))
    return torch.where(ends > shared, purpose == "test", chosen)


def _hash(strings: Tensor, ends: Tensor) -> Tensor:
    """A whole number from 0 below 2**31 for each string, whatever the width of its padding."""
    symbols = (strings + 1).numpy().astype(np.uint64) * (np.arange(strings.shape[1]) < ends.numpy()[:, None])
    with np.errstate(over="ignore"):
        powers = np.multiply.accumulate(np.full(strings.shape[1], _FACTOR))
        value = (symbols * powers).sum(1, dtype=np.uint64)
        for _ in range(2):
            value = (value ^ (value >> np.uint64(31))) * _MIX
    return torch.from_numpy((value >> np.uint64(33)).astype(np.int64))


def _padded(strings: Tensor, ends: Tensor, width: int) -> Tensor:
    strings = torch.nn.functional.pad(strings, (0, width - strings.shape[1]))
    return strings * (count_to(width) < ends[:, None])


def _with_targets(language: Language, strings: Tensor, ends: Tensor) -> Batch:
    is_padding = count_to(strings.shape[1]) >= ends[:, None]
    return Batch(strings, language.label(strings).masked_fill(is_padding, NO_TARGET))
