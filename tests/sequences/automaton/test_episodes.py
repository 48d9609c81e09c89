"""Episodes bind new symbols to elements, then ask for the product of a word of these symbols."""

import numpy as np
import pytest
import torch

from srwm.data import ImageClasses
from srwm.errors import UserError
from srwm.sequences.automaton import symbols as symbols_module
from srwm.sequences.automaton.config import AutomatonConfig
from srwm.sequences.automaton.episodes import draw_episodes, elements_of, track_by_class_means
from srwm.sequences.automaton.symbols import build_symbols
from srwm.sequences.batch import NO_TARGET, Batch, Bin
from srwm.sequences.groups import load_group

VECTORS = AutomatonConfig(shots=2, width=5)
DRAWINGS = AutomatonConfig(symbols="drawings", pool=8)
WORDS = Bin(9, 9)


@pytest.fixture
def _drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten characters a split of four drawings; each pixel tells the split, the character and the drawing."""

    def load(purpose: str) -> ImageClasses:
        first = {"train": 0, "val": 50, "test": 100}[purpose]
        groups = [np.full((4, 1, 28, 28), first + 4 * c, np.uint8) for c in range(10)]
        for group in groups:
            group += np.arange(4, dtype=np.uint8)[:, None, None, None]
        return ImageClasses.from_groups(purpose, groups, [f"{purpose} {c}" for c in range(10)])

    monkeypatch.setattr(symbols_module, "load_drawings", load)


def draw(config: AutomatonConfig, purpose: str = "train", lengths: Bin = WORDS, count: int = 40) -> Batch:
    return draw_episodes(config, build_symbols(config, 6), purpose, (0,), count, lengths)


def test_an_episode_is_what_a_reader_would_compute() -> None:
    batch = draw(VECTORS)
    elements = elements_of(VECTORS)
    assert elements.classes[:3] == ("z2 12", "z2 21", "z3 123")
    groups = set()
    for tokens, targets, labels in zip(batch.tokens, batch.targets, batch.labels, strict=True):
        bound = {}
        for token, label in zip(tokens[:12].tolist(), labels[:12].tolist(), strict=True):
            assert bound.setdefault(token, label) == label
        number = next(n for n, start in reversed(list(enumerate(elements.starts))) if labels[0] >= start)
        group, start = elements.groups[number], elements.starts[number]
        groups.add(elements.names[number])
        assert sorted(bound.values()) == list(range(start, start + group.size))
        state = 0
        for token, target in zip(tokens[12:].tolist(), targets[12:].tolist(), strict=True):
            state = int(group.table[state, bound[token] - start])
            assert target == start + state
        assert (targets[:12] == NO_TARGET).all()
        assert (labels[12:] == len(elements.classes)).all()
    assert groups == {"z2", "z3", "s3"}


def test_vectors_are_new_in_every_episode() -> None:
    batch = draw(VECTORS)
    assert batch.items.shape == (40 * 6, 5)
    assert len({tuple(item) for item in batch.items.tolist()}) == 240
    assert all(set(tokens) <= set(range(6 * row, 6 * row + 6)) for row, tokens in enumerate(batch.tokens.tolist()))


def test_the_group_and_the_length_can_be_chosen() -> None:
    batch = draw(VECTORS, lengths=Bin(3, 5, "z3"))
    assert batch.tokens.shape[1] in (15, 16, 17)
    assert ((batch.labels[:, :12] >= 2) & (batch.labels[:, :12] < 5)).all()


@pytest.mark.usefixtures("_drawings")
@pytest.mark.parametrize(("purpose", "first"), [("train", 0), ("val", 50), ("test", 100)])
def test_drawings_are_of_characters_of_the_split_and_differ_between_uses(purpose: str, first: int) -> None:
    batch = draw(DRAWINGS, purpose, Bin(30, 30, "s3"))
    pixels = batch.items[batch.tokens][:, :, 0, 0, 0].long()
    assert ((pixels >= first) & (pixels < first + 40)).all()
    character, drawing = (pixels - first) // 4, (pixels - first) % 4
    assert (character[:, :6].sort(1).values.diff(dim=1) > 0).all()
    assert len(character.unique()) <= 8
    is_same = character[:, :6, None] == character[:, None, 6:]
    assert (is_same.sum(1) == 1).all()
    drawn_again = is_same & (drawing[:, :6, None] == drawing[:, None, 6:])
    assert drawn_again.sum() / is_same.sum() == pytest.approx(0.25, abs=0.05)


def test_a_pool_that_is_too_small_is_refused() -> None:
    with pytest.raises(UserError, match=r"task\.automaton\.pool: expected 6 or more"):
        build_symbols(AutomatonConfig(symbols="drawings", pool=5), 6)


def test_class_means_track_vectors_without_a_mistake() -> None:
    batch = draw(VECTORS)
    answers = track_by_class_means(elements_of(VECTORS), batch, batch.items)
    assert torch.equal(answers, batch.targets)


def test_a_wrong_classification_stays_in_the_state() -> None:
    config = AutomatonConfig(groups=("z2",), width=2)
    order = torch.tensor([[0, 1, 2, 3, 2]])
    batch = Batch(
        order, torch.tensor([[-1, -1, 0, 1, 1]]), torch.tensor([[0.0, 0], [1, 1], [0.1, 0], [0, 0.2]]), torch.zeros(1, 5)
    )
    batch = batch._replace(labels=torch.tensor([[0, 1, 2, 2, 2]]))
    answers = track_by_class_means(elements_of(config), batch, batch.items)
    assert answers.tolist() == [[-1, -1, 0, 0, 0]]
    assert load_group("z2").table[0, 1] == 1
