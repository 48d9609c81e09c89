"""The languages by name."""

from functools import partial

import torch
from torch import Tensor

from srwm.data.draws import Draws, count_to
from srwm.sequences.groups import load_group, running_products
from srwm.sequences.languages.balanced import draw_balanced
from srwm.sequences.languages.language import Language

RESET = 2
"""The symbol of `reset-dyck` that is no bracket."""


def _places(lengths: Tensor) -> Tensor:
    return count_to(int(lengths.max()) if len(lengths) else 0)[None].expand(len(lengths), -1)


def _draw_even(draws: Draws, lengths: Tensor) -> Tensor:
    """Bits with an even number of ones, each string of a length with the same probability."""
    places = _places(lengths)
    bits = draws.integers(*places.shape, high=2) * (places < lengths[:, None] - 1)
    last = lengths[:, None] - 1
    return bits.scatter(1, last, bits.sum(1, keepdim=True) % 2)


def _draw_period(draws: Draws, lengths: Tensor, *, period: int) -> Tensor:
    return _places(lengths) % period


def _draw_blocks(draws: Draws, lengths: Tensor, *, blocks: int) -> Tensor:
    """The first symbol n times, then the next n times, and so on."""
    return (_places(lengths) * blocks // lengths[:, None]).clamp(max=blocks - 1)


def _draw_dyck(draws: Draws, lengths: Tensor) -> Tensor:
    return draw_balanced(draws, lengths // 2)


def _draw_shuffle(draws: Draws, lengths: Tensor) -> Tensor:
    """Two balanced strings of different brackets, one inside the other at random places."""
    pairs = lengths // 2
    first = draws.below(pairs + 1)
    width = int(lengths.max()) if len(lengths) else 0
    is_first = draws.subset(len(lengths), 2 * first, lengths, width)
    one, other = draw_balanced(draws, first), draw_balanced(draws, pairs - first) + 2
    return torch.where(is_first, _pick(one, is_first.cumsum(1) - 1), _pick(other, (~is_first).cumsum(1) - 1))


def _draw_reset(draws: Draws, lengths: Tensor) -> Tensor:
    """The beginning of a balanced string, a reset, a balanced string."""
    pairs = draws.below((lengths - 1) // 2 + 1)
    before = lengths - 1 - 2 * pairs
    prefix, string = draw_balanced(draws, before), draw_balanced(draws, pairs)
    places, reset = _places(lengths), before[:, None]
    start = _pick(prefix, places)
    rest = _pick(string, places - reset - 1)
    return torch.where(places < reset, start, torch.where(places == reset, RESET, rest))


def _pick(strings: Tensor, places: Tensor) -> Tensor:
    if not strings.shape[1]:
        return torch.zeros_like(places)
    return strings.gather(1, places.clamp(min=0, max=strings.shape[1] - 1))


def _draw_word(draws: Draws, lengths: Tensor, *, size: int) -> Tensor:
    return draws.integers(*_places(lengths).shape, high=size)


def _label_parity(strings: Tensor) -> Tensor:
    return 1 - strings.cumsum(1) % 2


def _label_period(strings: Tensor, *, period: int) -> Tensor:
    return ((count_to(strings.shape[1]) + 1) % period == 0).long().expand_as(strings)


def _label_blocks(strings: Tensor, *, blocks: int) -> Tensor:
    """Which symbols may follow: the same one until it stands as often as the first, then the next."""
    number = ((strings != 0).cumsum(1) == 0).sum(1, keepdim=True)  # padding is 0, too
    follows = torch.zeros_like(strings)
    for symbol in range(1, blocks):
        is_last = (strings == symbol).cumsum(1) == number
        follows = torch.where(strings == symbol, symbol + is_last.long(), follows)
    return follows


def _depth(strings: Tensor, pair: int = 0) -> Tensor:
    return ((strings == 2 * pair).long() - (strings == 2 * pair + 1).long()).cumsum(1)


def _label_dyck(strings: Tensor) -> Tensor:
    return (_depth(strings) > 0).long()


def _label_shuffle(strings: Tensor) -> Tensor:
    return (_depth(strings) > 0).long() + 2 * (_depth(strings, 1) > 0).long()


def _label_reset(strings: Tensor) -> Tensor:
    depth = _depth(strings)
    at = torch.where(strings == RESET, count_to(strings.shape[1]), -1).cummax(1).values
    before = torch.where(at >= 0, depth.gather(1, at.clamp(min=0)), 0)
    return (depth - before > 0).long()


def _period(symbols: str, period: int) -> Language:
    is_in = ("not in the language", "in the language")
    draw = partial(_draw_period, period=len(symbols))
    return Language(tuple(symbols), is_in, draw, partial(_label_period, period=period), unit=period, is_unique=True)


def _blocks(symbols: str) -> Language:
    classes = (f"{symbols[0]} or {symbols[1]}", *symbols[1:], "end")
    count = len(symbols)
    draw, label = partial(_draw_blocks, blocks=count), partial(_label_blocks, blocks=count)
    return Language(tuple(symbols), classes, draw, label, unit=count, is_unique=True)


def _words(name: str) -> Language:
    group = load_group(name)
    draw = partial(_draw_word, size=group.size)
    return Language(group.names, group.names, draw, partial(running_products, group.table), is_word=True)


_DEPTH = ("closed", "open")
LANGUAGES = {
    "parity": Language(("0", "1"), ("odd", "even"), _draw_even, _label_parity),
    "aa-star": _period("a", 2),
    "abab-star": _period("ab", 4),
    "anbn": _blocks("ab"),
    "anbncn": _blocks("abc"),
    "dyck1": Language(("(", ")"), _DEPTH, _draw_dyck, _label_dyck, unit=2),
    "shuffle2": Language(
        ("(", ")", "[", "]"), ("closed", "( open", "[ open", "both open"), _draw_shuffle, _label_shuffle, unit=2
    ),
    "reset-dyck": Language(("(", ")", "1"), _DEPTH, _draw_reset, _label_reset),
    "s3": _words("s3"),
    "a5": _words("a5"),
}
"""The languages. Those of brackets are of the grammar in `balanced`; words have the product so far as their target."""
