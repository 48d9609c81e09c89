"""No string of a test or a validation is in training, and no string of a test is in validation."""

from itertools import product

import pytest
import torch

from srwm.sequences.batch import PURPOSES, Batch, Bin
from srwm.sequences.config import TaskConfig
from srwm.sequences.languages import LANGUAGES, draw_strings
from srwm.sequences.languages.sample import is_for
from srwm.sequences.tasks import build_task


def strings_of(batch: Batch) -> set[tuple[int, ...]]:
    lengths = (batch.targets >= 0).sum(1).tolist()
    return {tuple(string[:length]) for string, length in zip(batch.tokens.tolist(), lengths, strict=True)}


def test_each_short_string_has_one_purpose() -> None:
    language = LANGUAGES["parity"]
    for length in range(1, 9):
        strings = torch.tensor(list(product(range(2), repeat=length)))
        ends = torch.full((len(strings),), length)
        chosen = torch.stack([is_for(language, purpose, strings, ends, 8) for purpose in PURPOSES])
        assert (chosen.sum(0) == 1).all()
        padded = torch.nn.functional.pad(strings, (0, 5))
        assert torch.equal(chosen[0], is_for(language, "train", padded, ends, 8))
    assert chosen.float().mean(1).tolist() == pytest.approx([0.5, 0.25, 0.25], abs=0.1)


@pytest.mark.parametrize("name", ["parity", "aa-star", "abab-star", "anbn", "dyck1", "shuffle2", "reset-dyck", "s3"])
def test_purposes_share_no_string(name: str) -> None:
    task = build_task(TaskConfig(name, 2, 12))
    drawn: dict[str, set[tuple[int, ...]]] = {"train": set(), "val": set(), "test": set()}
    for step in range(20):
        drawn["train"] |= strings_of(task.draw("train", (0, step), 64, task.training))
    drawn["val"] = strings_of(task.draw("val", (0,), 300, task.validation))
    for lengths in task.tests.values():
        drawn["test"] |= strings_of(task.draw("test", (0,), 300, lengths))
    assert all(drawn.values())
    assert not drawn["train"] & drawn["val"]
    assert not drawn["train"] & drawn["test"]
    assert not drawn["val"] & drawn["test"]


def test_strings_follow_the_seed_and_the_purpose() -> None:
    language, lengths = LANGUAGES["parity"], Bin(40, 40)
    one, again, other = (draw_strings(language, "train", (seed,), 8, lengths, 60).tokens for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_lengths_are_those_of_the_bin() -> None:
    batch = draw_strings(LANGUAGES["dyck1"], "test", (0,), 400, Bin(51, 100), 75)
    lengths = (batch.targets >= 0).sum(1)
    assert set(lengths.tolist()) == set(range(52, 101, 2))
    assert batch.tokens.shape == (400, 100)


@pytest.mark.parametrize(("name", "lengths"), [("abab-star", Bin(5, 7)), ("aa-star", Bin(2, 2)), ("anbncn", Bin(1, 2))])
def test_a_range_without_strings_is_refused(name: str, lengths: Bin) -> None:
    with pytest.raises(ValueError, match="lengths: expected a range with strings for test"):
        draw_strings(LANGUAGES[name], "test", (0,), 4, lengths, 50)


def test_no_strings_are_no_strings() -> None:
    assert draw_strings(LANGUAGES["parity"], "test", (0,), 0, Bin(2, 5), 5).tokens.shape == (0, 0)
