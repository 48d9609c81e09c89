import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srwm.data import ImageClasses
from srwm.errors import UserError
from srwm.fewshot.episodes import EpisodeSampler, EpisodeShape, PoolConfig, PooledSampler, draw_episodes, first_shots

SHAPE = EpisodeShape(n_way=4, k_shot=2, queries=6)


def numbered(counts) -> ImageClasses:
    """Each image's two pixels are its class and its position among all images."""
    classes = np.repeat(np.arange(len(counts)), counts)
    images = np.stack([classes, np.arange(len(classes))], axis=1).astype(np.uint8).reshape(-1, 1, 1, 2)
    return ImageClasses("numbered", images, np.cumsum([0, *counts]), tuple(map(str, range(len(counts)))))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def both_samplers(data, shape, episodes, seed=0):
    yield EpisodeSampler(data, shape, episodes, generator(seed))
    yield PooledSampler(data, shape, episodes, generator(seed), PoolConfig(6, 5))


@settings(max_examples=40, deadline=None)
@given(
    n_way=st.integers(1, 5),
    k_shot=st.integers(1, 3),
    queries=st.integers(0, 11),
    extra=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_nothing_is_repeated_and_labels_fit(n_way, k_shot, queries, extra, seed):
    shape = EpisodeShape(n_way, k_shot, queries)
    counts = [shape.images_per_class + (c % 4) for c in range(n_way + extra)]
    data = numbered(counts)
    drawn = draw_episodes(torch.from_numpy(data.offsets), shape, 7, generator(seed))
    class_of = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
    for support, labels, query, truth in zip(*drawn, strict=True):
        everything = torch.cat([support, query])
        assert len(everything.unique()) == n_way * k_shot + queries
        assert labels.bincount(minlength=n_way).tolist() == [k_shot] * n_way
        class_of_label = {int(label): int(class_of[image]) for image, label in zip(support, labels, strict=True)}
        assert len(set(class_of_label.values())) == n_way
        for image, label in [*zip(support, labels, strict=True), *zip(query, truth, strict=True)]:
            assert class_of_label[int(label)] == int(class_of[image])
        asked = truth.bincount(minlength=n_way)
        assert asked.max() - asked.min() <= 1


def test_fewer_classes_than_labels_take_labels_at_random():
    data = numbered([6] * 9)
    shape = EpisodeShape(n_way=3, k_shot=2, queries=3, slots=7)
    drawn = draw_episodes(torch.from_numpy(data.offsets), shape, 7000, generator())
    class_of = torch.arange(9).repeat_interleave(6)
    for support, labels, query, truth in list(zip(*drawn, strict=True))[:100]:
        class_of_label = dict(zip(labels.tolist(), class_of[support].tolist(), strict=True))
        assert len(class_of_label) == len(set(class_of_label.values())) == 3
        assert [class_of_label[label] for label in truth.tolist()] == class_of[query].tolist()
    used = drawn.support_labels.flatten().bincount()
    assert len(used) == 7
    assert (used - 6000).abs().max() < 5 * 6000**0.5


def test_steps_draw_their_numbers_of_classes_and_examples():
    shape = EpisodeShape(n_way=5, k_shot=1, queries=5)
    data = numbered([8] * 9)
    sampler = PooledSampler(data, shape, 4, generator(), PoolConfig(6, 8), min_ways=2, max_shots=3)
    seen = set()
    for _ in range(200):
        images, _, episodes = sampler.sample()[:3]
        ways = {len(labels.unique()) for labels in episodes.support_labels}
        assert len(ways) == 1
        assert len(images) == 48
        seen.add((ways.pop(), episodes.support.shape[1]))
    assert seen == {(ways, ways * shots) for ways in (2, 3, 4, 5) for shots in (1, 2, 3)}


def test_draws_are_uniform():
    offsets = torch.arange(0, 61, 6)
    drawn = draw_episodes(offsets, EpisodeShape(5, 1, 1), 20_000, generator())
    for positions, total in ((drawn.support, 100_000), (drawn.query, 20_000)):
        counts = positions.flatten().bincount(minlength=60)
        assert (counts - total / 60).abs().max() < 5 * (total / 60) ** 0.5
    labels_of_first_place = drawn.support_labels[:, 0].bincount(minlength=5)
    assert (labels_of_first_place - 4000).abs().max() < 5 * 4000**0.5
    label_of_class_zero = drawn.support_labels[drawn.support < 6].bincount(minlength=5)
    assert (label_of_class_zero - 2000).abs().max() < 5 * 2000**0.5


@pytest.mark.parametrize("which", [0, 1])
def test_a_step_holds_the_images_that_its_labels_tell(which):
    data = numbered([5, 6, 7, 5, 8, 5, 9])
    sampler = list(both_samplers(data, SHAPE, 10))[which]
    images, classes, episodes = sampler.sample()[:3]
    assert images.dtype == torch.uint8
    assert len(images) == (10 * (8 + 6), 6 * 5)[which]
    assert classes.tolist() == images.flatten(1)[:, 0].tolist()
    for support, labels, query, truth in zip(*episodes, strict=True):
        shown = images[torch.cat([support, query])].flatten(1)
        assert len(shown[:, 1].unique()) == 14
        pairs = set(zip(shown[:, 0].tolist(), torch.cat([labels, truth]).tolist(), strict=True))
        assert len(pairs) == len({c for c, _ in pairs}) == len({label for _, label in pairs}) == 4


def test_the_pool_holds_distinct_images_of_its_classes():
    _, pooled = both_samplers(numbered([5, 6, 7, 5, 8, 5, 9]), SHAPE, 10)
    for _ in range(20):
        shown = pooled.sample().images.flatten(1)
        assert len(shown[:, 1].unique()) == 30
        assert shown[:, 0].view(6, 5).unique(dim=1).shape == (6, 1)


@pytest.mark.parametrize("which", [0, 1])
def test_the_generator_is_all_of_the_state(which):
    data = numbered([6] * 8)
    one, other = (list(both_samplers(data, SHAPE, 3, seed))[which] for seed in (0, 1))
    one.sample()
    other.generator.set_state(one.generator.get_state())
    for _ in range(3):
        (images, classes, episodes), (same_images, same_classes, same_episodes) = one.sample()[:3], other.sample()[:3]
        assert torch.equal(classes, same_classes)
        assert torch.equal(images, same_images)
        assert all(map(torch.equal, episodes, same_episodes))
    assert not torch.equal(one.sample().images, one.sample().images)


@pytest.mark.parametrize("counts", [[9, 9, 9], [9, 9, 9, 3], []])
def test_too_little_data_is_reported(counts):
    offsets = torch.tensor([0, *np.cumsum(counts)], dtype=torch.long)
    with pytest.raises(UserError, match=r"4-way 2-shot episodes with 6 queries need 4 classes of 4 images"):
        draw_episodes(offsets, SHAPE, 1)


def test_first_shots_keep_the_order_and_the_queries():
    data = numbered([9] * 6)
    drawn = draw_episodes(torch.from_numpy(data.offsets), EpisodeShape(4, 3, 6), 30, generator())
    for shots in (1, 2, 3):
        fewer = first_shots(drawn, shots)
        assert torch.equal(fewer.query, drawn.query)
        for b in range(30):
            assert fewer.support_labels[b].bincount().tolist() == [shots] * 4
            whole, seen = list(zip(drawn.support[b].tolist(), drawn.support_labels[b].tolist(), strict=True)), [0] * 4
            expected = []
            for position, label in whole:
                seen[label] += 1
                if seen[label] <= shots:
                    expected.append((position, label))
            assert list(zip(fewer.support[b].tolist(), fewer.support_labels[b].tolist(), strict=True)) == expected


def test_turned_classes_are_classes_of_their_own():
    """Every image is a gradient of brightness from left to right, so that its turn can be read from it."""
    ramp = np.broadcast_to(np.arange(0, 80, 10, dtype=np.uint8), (60, 1, 8, 8))
    data = ImageClasses("ramps", np.ascontiguousarray(ramp), np.arange(0, 61, 10), tuple("abcdef"))
    shape = EpisodeShape(3, 1, queries=3)
    sampler = PooledSampler(data, shape, 4, generator(), PoolConfig(4, 5, rotated=0.5))
    counts = torch.zeros(4)
    for _ in range(100):
        step = sampler.sample()
        quarters = step.classes // len(data)
        for image, quarter in zip(step.images, quarters.tolist(), strict=True):
            assert torch.equal(image.rot90(-quarter, (1, 2)), torch.from_numpy(ramp[0].copy()))
        of_classes = quarters.view(4, 5)
        assert (of_classes == of_classes[:, :1]).all(), "a class is rotated as a whole"
        assert len((step.classes % len(data)).unique()) == 4
        counts += torch.bincount(of_classes[:, 0], minlength=4)
    assert 0.4 < counts[0] / 400 < 0.6
    assert counts[1:].min() > 40
    assert (data.images == ramp).all(), "the data stay as they are"


def test_images_that_are_not_square_are_not_rotated():
    data = ImageClasses("plain", np.zeros((60, 1, 8, 6), np.uint8), np.arange(0, 61, 10), tuple("abcdef"))
    with pytest.raises(UserError, match=r"pool\.rotated: expected square images"):
        PooledSampler(data, EpisodeShape(3, 1, 3), 4, generator(), PoolConfig(4, 5, rotated=0.5))
