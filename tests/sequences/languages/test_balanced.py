"""Balanced strings have the probabilities of the grammar."""

from collections import Counter
from functools import cache

import torch

from srwm.data.draws import Draws
from srwm.sequences.languages.balanced import draw_balanced


@cache
def derived(turns: int) -> dict[str, float]:
    """Probabilities of strings of three pairs or less that S yields in so many turns, straight from the grammar."""
    if turns == 0:
        return {}
    before, found = derived(turns - 1), Counter({"": 0.25})
    for string, p in before.items():
        found[f"({string})"] += 0.5 * p
        for other, q in before.items():
            found[string + other] += 0.25 * p * q
    return {string: p for string, p in found.items() if len(string) <= 6}


def test_the_distribution_is_that_of_the_grammar() -> None:
    number = 20_000
    drawn = draw_balanced(Draws(0), torch.full((number,), 3))
    counts = Counter("".join("()"[bracket] for bracket in string) for string in drawn.tolist())
    wanted = {string: p for string, p in derived(60).items() if len(string) == 6}
    assert counts.keys() == wanted.keys()
    for string, p in wanted.items():
        share = p / sum(wanted.values())
        assert abs(counts[string] / number - share) < 4 * (share * (1 - share) / number) ** 0.5


def test_lengths_may_differ_within_a_batch() -> None:
    pairs = torch.tensor([0, 1, 40, 7])
    strings = draw_balanced(Draws(2), pairs)
    assert strings.shape == (4, 80)
    for string, number in zip(strings.tolist(), pairs.tolist(), strict=True):
        depth = 0
        for bracket in string[: 2 * number]:
            depth += 1 - 2 * bracket
            assert depth >= 0
        assert depth == 0
        assert string[2 * number :] == [0] * (80 - 2 * number)


def test_no_pairs_and_no_strings_are_empty() -> None:
    assert draw_balanced(Draws(0), torch.zeros(3, dtype=torch.long)).shape == (3, 0)
    assert draw_balanced(Draws(0), torch.zeros(0, dtype=torch.long)).shape == (0, 0)
