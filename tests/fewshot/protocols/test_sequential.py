import dataclasses
from itertools import pairwise

import pytest
import torch

from srwm.errors import UserError
from srwm.fewshot.episodes import Step
from srwm.fewshot.evaluation.config import EvaluationConfig
from srwm.fewshot.protocols.delayed import Streams
from srwm.fewshot.protocols.registry import check_config, with_second
from srwm.fewshot.protocols.sequential import Sequential, SequentialConfig, join

from .recall import Recall
from .test_delayed import constant_classes

LETTERS, DIGITS = constant_classes("letters", 12, 6), constant_classes("digits", 11, 5, first=100)


@pytest.fixture
def config(config):
    return dataclasses.replace(
        config,
        protocol="sequential",
        second_data="omniglot",
        protocol_options=SequentialConfig(trim=7),
        k_shot=4,
        augment=False,
    )


def pictures(*values):
    return torch.tensor(values, dtype=torch.uint8)[:, None, None, None]


def test_a_hand_made_pair_of_tasks():
    first = Step(
        pictures(10, 20, 30),
        torch.tensor([0, 1, 2]),
        Streams(torch.tensor([[0, 1, 0], [1, 0, 2]]), torch.tensor([[0, 1, 0], [1, 2, 0]]), None),
    )
    second = Step(
        pictures(40, 50, 60),
        torch.tensor([7, 8, 9]),
        Streams(torch.tensor([[0, 1, 2], [1, 0, 1]]), torch.tensor([[1, 2, 0], [0, 2, 0]]), None),
    )
    images, classes, (shown, labels, mask) = (join(first, second, torch.tensor([3, 1]), torch.tensor([1, 2])))[:3]
    assert images.flatten().tolist() == [10, 20, 40, 50], "30 and 60 were cut off"
    assert classes.tolist() == [0, 1, 7, 8]
    assert labels.tolist() == [[0, 1, 0, 1], [1, 0, 2, 0]]
    assert mask.tolist() == [[True] * 4, [True] * 3 + [False]]
    values = images.flatten()[shown].masked_fill(~mask, 0)
    assert values.tolist() == [[10, 20, 10, 40], [20, 50, 40, 0]]


def test_the_last_label_of_a_task_reaches_the_first_image_of_the_next(config):
    protocol = Sequential(config, num_classes=23)
    protocol.model = Recall(3)
    step = Sequential.sampler(config, (LETTERS, DIGITS), torch.Generator().manual_seed(0)).sample()
    _, truth, mask = step.episodes
    protocol(step._replace(images=step.images.float()))
    ((features, given, _),) = protocol.model.seen
    task = features[..., 0] >= 100
    for b, length in enumerate(mask.sum(1).tolist()):
        assert given[b, :length].tolist() == [-1, *truth[b, : length - 1].tolist()]
        switches = [t for t, (one, other) in enumerate(pairwise(task[b, :length].tolist())) if one != other]
        assert len(switches) == 1, "one task, then the other"


def test_tasks_are_cut_short_uniformly_and_come_in_both_orders(config):
    sampler = Sequential.sampler(config, (LETTERS, DIGITS), torch.Generator().manual_seed(0))
    letters_first, cut = [], []
    for _ in range(60):
        images, classes, (shown, labels, mask) = sampler.sample()[:3]
        numbers = images[:, 0, 0, 0].long()
        assert torch.equal(classes, numbers - (100 - len(LETTERS)) * (numbers >= 100))
        values = numbers[shown]
        letters_first.append(bool(values[0, 0] < 100))
        assert ((values[:, 0] < 100) == letters_first[-1]).all(), "one order for a batch"
        for row, truth, real in zip(values, labels, mask, strict=True):
            for task in (row < 100, row >= 100):
                cut.append(12 - int((task & real).sum()))
                pairs = set(zip(row[task & real].tolist(), truth[task & real].tolist(), strict=True))
                assert len(pairs) == len({number for number, _ in pairs}) == len({label for _, label in pairs}) <= 3
    assert 15 < sum(letters_first) < 45
    counts = torch.tensor(cut).bincount()
    assert len(counts) == 8, "0 to 7 steps are cut off"
    assert (counts - len(cut) / 8).abs().max() < 5 * (len(cut) / 8) ** 0.5


def test_the_generator_is_all_of_the_state(config):
    one, other = (Sequential.sampler(config, (LETTERS, DIGITS), torch.Generator().manual_seed(seed)) for seed in (0, 1))
    one.sample()
    other.generator.set_state(one.generator.get_state())
    for _ in range(3):
        (images, classes, streams), (same_images, same_classes, same_streams) = one.sample()[:3], other.sample()[:3]
        assert torch.equal(images, same_images)
        assert torch.equal(classes, same_classes)
        assert all(map(torch.equal, streams, same_streams))


def test_evaluation_runs_over_whole_tasks_in_both_orders(config):
    accuracy, found = (Sequential.evaluate(config, Recall(3), (LETTERS, DIGITS), EvaluationConfig(30, seed=0)))[:2]
    assert [order.name for order in found] == ["letters, digits", "digits, letters"]
    for order in found:
        for task in order.tasks:
            assert len(task.positions) == 12
            assert [shot.mean for shot in task.shots] == [0, 1, 1, 1], "the first label of a class comes with the next step"
    assert accuracy.mean == pytest.approx(3 / 4)
    assert accuracy.episodes == 30


def test_the_same_data_set_twice_gives_two_different_tasks(config):
    model = Recall(3)
    Sequential.evaluate(config, model, (LETTERS, LETTERS), EvaluationConfig(10, seed=0))
    features, _, _ = model.seen[0]
    first, second = features[..., 0].chunk(2, dim=1)
    assert (first.sort().values != second.sort().values).any(1).sum() > 5


@pytest.mark.parametrize(
    ("changes", "second", "message"),
    [
        ({"trim": 12}, DIGITS, "trim: expected 0 to 11, a task has 12 steps, got 12"),
        ({"trim": 12}, None, "second_data: expected the name of a second data set with protocol 'sequential'"),
    ],
)
def test_what_does_not_fit_is_reported(config, changes, second, message):
    config = dataclasses.replace(config, protocol_options=dataclasses.replace(config.protocol_options, **changes))
    splits = (dict.fromkeys(("train", "val", "test"), data) if data else None for data in (LETTERS, second))
    with pytest.raises(UserError, match=message):
        check_config(config, with_second(*splits))


def test_one_data_set_does_not_take_a_second(config):
    config = dataclasses.replace(config, protocol="delayed")
    splits = dict.fromkeys(("train", "val", "test"), LETTERS)
    with pytest.raises(UserError, match="second_data: expected None with protocol 'delayed', got omniglot"):
        check_config(config, with_second(splits, splits))
