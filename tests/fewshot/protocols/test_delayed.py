import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from srwm.data import ImageClasses
from srwm.fewshot.config import DelayedConfig
from srwm.fewshot.episodes import Step
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.protocols.delayed import Delayed, Streams, answer_stream

from .recall import Recall


def constant_classes(name, classes, instances, first=0):
    """All images of a class are equal: 16x16 pixels of the class's number."""
    images = np.arange(first, first + classes, dtype=np.uint8).repeat(instances)[:, None, None, None]
    images = np.broadcast_to(images, (classes * instances, 1, 16, 16)).copy()
    return ImageClasses(name, images, np.arange(0, classes * instances + 1, instances), tuple(map(str, range(classes))))


@pytest.fixture
def config(config):
    return dataclasses.replace(config, protocol="delayed", k_shot=4, augment=False, pool=dataclasses.replace(config.pool))


@pytest.fixture
def protocol(config):
    torch.manual_seed(0)
    return Delayed(config, num_classes=10)


def test_each_image_comes_with_the_label_of_the_one_before(protocol):
    protocol.model = Recall(3)
    images = torch.tensor([10.0, 20.0, 30.0])[:, None, None, None]
    streams = Streams(torch.tensor([[2, 0, 1, 0], [1, 1, 0, 2]]), torch.tensor([[2, 0, 1, 0], [0, 0, 2, 1]]), None)
    found = protocol(Step(images, torch.arange(3), streams))
    ((features, labels, mask),) = protocol.model.seen
    assert features[..., 0].tolist() == [[30, 10, 20, 10], [20, 20, 10, 30]]
    assert labels.tolist() == [[-1, 2, 0, 1], [-1, 0, 0, 2]]
    assert mask is None
    assert found.accuracy == 2 / 8, "10 and 20 come twice; all others are met for the first time"
    chance, right = (-F.log_softmax(torch.eye(4)[row], 0)[0] for row in (3, 0))
    assert found.loss.item() == pytest.approx(((6 * chance + 2 * right) / 8).item(), rel=1e-5)


def test_a_label_reaches_later_answers_alone(config):
    torch.manual_seed(0)
    model = build_model(config.model).eval()
    features, labels = torch.randn(1, 7, model.num_features), torch.tensor([[0, 1, 2, 0, 1, 2, 0]])
    other = labels.clone()
    other[0, 3] = 2
    with torch.no_grad():
        one, changed = (answer_stream(model, features, given) for given in (labels, other))
    assert torch.equal(one[:, :4], changed[:, :4])
    assert not torch.allclose(one[:, 4], changed[:, 4])


def test_the_loss_is_the_mean_over_real_steps(protocol):
    protocol.eval()
    torch.manual_seed(1)
    images, classes = torch.rand(8, 1, 16, 16), torch.zeros(8).long()
    shown, labels = torch.randint(8, (2, 6)), torch.randint(3, (2, 6))
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    both = protocol(Step(images, classes, Streams(shown, labels, mask)))
    whole = protocol(Step(images, classes, Streams(shown[:1], labels[:1], None)))
    short = protocol(Step(images, classes, Streams(shown[1:, :4], labels[1:, :4], None)))
    assert both.loss.item() == pytest.approx((6 * whole.loss.item() + 4 * short.loss.item()) / 10, rel=1e-5)
    assert both.accuracy.item() == pytest.approx((6 * whole.accuracy.item() + 4 * short.accuracy.item()) / 10, rel=1e-5)


@pytest.mark.parametrize("sampler", ["pooled", "per-episode"])
def test_a_stream_holds_every_class_equally_often_in_random_order(config, sampler):
    data = constant_classes("train", 12, 6)
    config = dataclasses.replace(config, sampler=sampler)
    images, classes, (shown, labels, mask), _ = Delayed.sampler(config, (data,), torch.Generator().manual_seed(0)).sample()
    assert mask is None
    assert shown.shape == labels.shape == (16, 12)
    assert len({tuple(row) for row in labels.tolist()}) == 16
    for row, truth in zip(shown, labels, strict=True):
        assert truth.bincount().tolist() == [4, 4, 4]
        assert len(row.unique()) == 12
        pairs = set(zip(images[row, 0, 0, 0].tolist(), truth.tolist(), strict=True))
        assert len(pairs) == len({c for c, _ in pairs}) == 3
        assert classes[row].tolist() == images[row, 0, 0, 0].tolist()


def test_evaluation_counts_what_a_model_of_known_answers_gets_right(config):
    model = Recall(3)
    accuracy, (found,) = (Delayed.evaluate(config, model, (constant_classes("test", 5, 4),), 50, 0))[:2]
    (task,) = found.tasks
    assert [shot.mean for shot in task.shots] == [0, 1, 1, 1]
    assert accuracy.mean == found.total.mean == pytest.approx(3 / 4)
    assert task.positions[0].mean == 0
    assert task.positions[-1].mean == 1
    assert model.training


def test_a_hint_is_the_image_whose_label_comes_and_training_streams_alone_have_it(config):
    config = dataclasses.replace(config, delayed=DelayedConfig(hint=0.5))
    torch.manual_seed(0)
    protocol = Delayed(config, num_classes=10).eval()
    seen = []
    protocol.hint.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    images = torch.rand(5, *config.model.image_shape)
    streams = Streams(torch.tensor([[3, 0, 1], [4, 1, 2], [2, 2, 0], [0, 1, 3]]), torch.tensor([[0, 1, 2]] * 4), None)
    found = protocol(Step(images, torch.arange(5), streams))
    features = F.layer_norm(protocol.model.embed(images), (protocol.model.num_features,))
    (hints,) = seen
    assert hints.shape == (2, 3, protocol.model.num_features), "half of the streams"
    assert not hints[:, 0].any()
    assert torch.allclose(hints[:, 1:], features[streams.images[:2, :2]], atol=1e-5)
    weights = [protocol.hint.weight, *protocol.model.parameters()]
    assert all(g is None or g.any() for g in torch.autograd.grad(found.loss, weights, allow_unused=True))
    Delayed.evaluate(config, protocol.model, (constant_classes("val", 4, 20),), 8, seed=0)
    assert len(seen) == 1


def test_accuracy_in_training_is_that_of_streams_without_hints(config):
    torch.manual_seed(0)
    plain, hinted = (Delayed(dataclasses.replace(config, delayed=DelayedConfig(share)), 10).eval() for share in (0.0, 0.5))
    plain.model = hinted.model
    images = torch.rand(6, *config.model.image_shape)
    drawn = torch.randint(6, (4, 7)), torch.randint(3, (4, 7)), torch.rand(4, 7) < 0.7
    found = hinted(Step(images, torch.arange(6), Streams(*drawn)))
    alone = plain(Step(images, torch.arange(6), Streams(*(part[2:] for part in drawn))))
    assert found.accuracy == alone.accuracy
    assert found.loss != alone.loss
