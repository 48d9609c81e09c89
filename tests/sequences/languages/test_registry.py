"""Every string is in its language, and every target is what the definition says, computed in the plainest way."""

import re
from collections.abc import Callable

import pytest
import torch

from srwm.data.draws import Draws
from srwm.sequences.batch import NO_TARGET, Bin
from srwm.sequences.groups import load_group
from srwm.sequences.languages import LANGUAGES, draw_strings


def depth(prefix: str, pair: str = "()") -> int:
    return prefix.count(pair[0]) - prefix.count(pair[1])


def is_balanced(string: str, pair: str = "()") -> bool:
    own = [symbol for symbol in string if symbol in pair]
    return depth(string, pair) == 0 and all(depth("".join(own[:n]), pair) >= 0 for n in range(len(own)))


def follows_blocks(prefix: str, blocks: str) -> str:
    number, symbol = prefix.count("a"), prefix[-1]
    if symbol == "a":
        return "a or b"
    if prefix.count(symbol) < number:
        return symbol
    return "end" if symbol == blocks[-1] else blocks[blocks.index(symbol) + 1]


def product(prefix: list[str], group: str) -> str:
    names, table = load_group(group).names, load_group(group).table
    state = 0
    for name in prefix:
        state = int(table[state, names.index(name)])
    return names[state]


TARGETS: dict[str, Callable[[str], str]] = {
    "parity": lambda p: "even" if p.count("1") % 2 == 0 else "odd",
    "aa-star": lambda p: "in the language" if re.fullmatch("(aa)*", p) else "not in the language",
    "abab-star": lambda p: "in the language" if re.fullmatch("(abab)*", p) else "not in the language",
    "anbn": lambda p: follows_blocks(p, "ab"),
    "anbncn": lambda p: follows_blocks(p, "abc"),
    "dyck1": lambda p: "open" if depth(p) else "closed",
    "shuffle2": lambda p: {
        (0, 0): "closed",
        (1, 0): "( open",
        (0, 1): "[ open",
        (1, 1): "both open",
    }[min(depth(p), 1), min(depth(p, "[]"), 1)],
    "reset-dyck": lambda p: "open" if depth(p.rpartition("1")[2]) else "closed",
}
MEMBERS: dict[str, Callable[[str], bool]] = {
    "parity": lambda s: s.count("1") % 2 == 0,
    "aa-star": lambda s: re.fullmatch("(aa)+", s) is not None,
    "abab-star": lambda s: re.fullmatch("(abab)+", s) is not None,
    "anbn": lambda s: s == "a" * (len(s) // 2) + "b" * (len(s) // 2),
    "anbncn": lambda s: s == "".join(symbol * (len(s) // 3) for symbol in "abc"),
    "dyck1": is_balanced,
    "shuffle2": lambda s: is_balanced(s) and is_balanced(s, "[]"),
    "reset-dyck": lambda s: (
        s.count("1") == 1 and is_balanced(s.partition("1")[2]) and all(depth(s[:n]) >= 0 for n in range(s.index("1") + 1))
    ),
}


@pytest.mark.parametrize("name", TARGETS)
def test_strings_and_targets_are_those_of_the_definition(name: str) -> None:
    language = LANGUAGES[name]
    batch = draw_strings(language, "train", (3,), 60, Bin(1, 30), 45)
    lengths = set()
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        length = sum(target != NO_TARGET for target in targets)
        string = "".join(language.alphabet[token] for token in tokens[:length])
        lengths.add(length)
        assert MEMBERS[name](string), string
        assert targets[length:] == [NO_TARGET] * (len(targets) - length)
        assert [language.classes[target] for target in targets[:length]] == [
            TARGETS[name](string[: n + 1]) for n in range(length)
        ]
    assert all(length % language.unit == 0 for length in lengths)
    assert len(lengths) > 2
    assert max(lengths) > 15


@pytest.mark.parametrize("name", ["s3", "a5"])
def test_targets_of_words_are_products(name: str) -> None:
    language = LANGUAGES[name]
    batch = draw_strings(language, "test", (0,), 4, Bin(12, 12), 20)
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        word = [language.alphabet[token] for token in tokens]
        assert [language.classes[target] for target in targets] == [product(word[: n + 1], name) for n in range(12)]


@pytest.mark.parametrize("name", LANGUAGES)
def test_targets_depend_on_the_past_alone(name: str) -> None:
    language = LANGUAGES[name]
    lengths = torch.full((8,), 24)
    strings = language.draw(Draws(1), lengths)
    assert torch.equal(language.label(strings)[:, :11], language.label(strings[:, :11]))


@pytest.mark.parametrize("name", ["shuffle2", "reset-dyck", "dyck1", "parity"])
def test_strings_differ_and_every_class_occurs(name: str) -> None:
    batch = draw_strings(LANGUAGES[name], "train", (0,), 200, Bin(2, 40), 60)
    assert len(set(map(tuple, batch.tokens.tolist()))) > 100
    assert set(batch.targets.flatten().tolist()) == {NO_TARGET, *range(len(LANGUAGES[name].classes))}
