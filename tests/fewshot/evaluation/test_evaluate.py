import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from srwm.data import ImageClasses
from srwm.errors import UserError
from srwm.fewshot.episodes import EpisodeShape, draw_episodes
from srwm.fewshot.evaluation.baselines import nearest_neighbor
from srwm.fewshot.evaluation.evaluate import Accuracy, embed_all, embed_views, episode_logits, evaluate, score
from srwm.fewshot.images import to_float
from srwm.fewshot.models.factory import build_model

SHAPE = EpisodeShape(3, 1, 4)


def test_interval_is_that_of_the_mean():
    accuracy = Accuracy.of(torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64))
    assert accuracy.mean == 0.75
    assert accuracy.interval == pytest.approx(1.96 * 0.5 / math.sqrt(4))
    assert str(accuracy) == "75.00 ± 49.00 %"


def test_score_of_truth_and_of_one_fixed_guess(splits):
    assert score(lambda drawn: drawn.query_labels, splits["test"], SHAPE, 300, 0) == Accuracy(1.0, 0.0, 300)
    guess = score(lambda drawn: torch.zeros_like(drawn.query_labels), splits["test"], SHAPE, 3000, 0)
    assert abs(guess.mean - 1 / 3) < 2 * guess.interval


def test_nearest_neighbor_solves_what_pixels_tell(splits):
    assert nearest_neighbor(splits["test"], SHAPE, 100).mean == 1.0
    noise = np.random.default_rng(0).integers(0, 256, (6000, 1, 4, 4)).astype(np.uint8)
    data = ImageClasses("noise", noise, np.arange(0, 6001, 6), tuple(map(str, range(1000))))
    chance = nearest_neighbor(data, SHAPE, 2000)
    assert abs(chance.mean - 1 / 3) < 2 * chance.interval


def test_evaluation_equals_reading_the_episode_image_by_image(config, splits):
    torch.manual_seed(0)
    model = build_model(config.model).eval()
    data = splits["test"]
    drawn = draw_episodes(torch.from_numpy(data.offsets), SHAPE, 5, torch.Generator().manual_seed(3))
    images = to_float(torch.from_numpy(data.images))
    with torch.no_grad():
        logits = episode_logits(model, embed_all(model, data), drawn)
        for b in range(5):
            sequence = torch.cat([drawn.support[b].expand(4, -1), drawn.query[b, :, None]], dim=1)
            labels = torch.cat([drawn.support_labels[b].expand(4, -1), torch.full((4, 1), -1)], dim=1)
            one_by_one, _ = model(images[sequence], labels)
            assert torch.allclose(logits[b], one_by_one[:, -1], atol=1e-5)


def test_augmentation_averages_passes_with_other_orders_and_views(config, splits):
    torch.manual_seed(0)
    model = build_model(config.model).eval()
    for parameter in (*model.input.parameters(), *model.stack.parameters(), *model.out_layer.parameters()):
        torch.nn.init.normal_(parameter)  # so that predictions differ
    data, shape, passes = splits["test"], EpisodeShape(3, 2, 2, slots=3), 5
    drawn = draw_episodes(torch.from_numpy(data.offsets), shape, 200, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    orders = [torch.arange(6), *(torch.randperm(6, generator=generator) for _ in range(passes - 1))]
    features = list(torch.randn(3, len(data.images), model.num_features))
    with torch.no_grad():
        total = torch.zeros(())
        for reading, order in enumerate(orders):
            view, support, labels = features[reading % 3], drawn.support[:, order], drawn.support_labels[:, order]
            state = model.learn_features(view[support], labels)
            total = total + model.query_features(view[drawn.query], state).double().softmax(-1)
        one = score(lambda drawn: episode_logits(model, features[0], drawn).argmax(-1), data, shape, 200, 5)
    expected = Accuracy.of((total.argmax(-1) == drawn.query_labels).double().mean(1))
    assert evaluate(model, data, shape, 200, 5, features, passes) == expected
    assert evaluate(model, data, shape, 200, 5, features) == one
    assert len({expected, one, evaluate(model, data, shape, 200, 5, features[:1], passes)}) == 3, "views and orders count"
    assert evaluate(model, data, shape, 9, tta_passes=3) == evaluate(model, data, shape, 9, 0, embed_views(model, data, 3), 3)
    with pytest.raises(ValueError, match="tta_passes: expected 1 or more, got 0"):
        evaluate(model, data, shape, 200, tta_passes=0)


def test_augmentation_corrects_errors_of_single_passes(config, splits):
    """A model whose memory is its stem's features, with noise in each view: the mean of the views is right more often."""
    generator = torch.Generator().manual_seed(0)
    model = build_model(replace(config.model, head="prototypes")).eval()
    data = splits["test"]
    clean = torch.eye(8).repeat_interleave(6, 0)
    features = [clean + 0.8 * torch.randn(48, 8, generator=generator) for _ in range(8)]
    model.num_features = 8
    one, all_views = (evaluate(model, data, SHAPE, 500, 0, features[:n], n) for n in (1, 8))
    assert all_views.mean > one.mean + 0.1


def test_labels_without_an_example_are_never_predicted(config, splits):
    model = build_model(config.model).eval()
    drawn = draw_episodes(torch.from_numpy(splits["test"].offsets), EpisodeShape(2, 1, 3, slots=3), 20)
    with torch.no_grad():
        logits = episode_logits(model, embed_all(model, splits["test"]), drawn)
    for support_labels, of_episode in zip(drawn.support_labels, logits, strict=True):
        possible = of_episode > -torch.inf
        assert possible.all(0).nonzero().flatten().tolist() == sorted(support_labels.tolist())
        assert torch.equal(possible.any(0), possible.all(0))


def test_evaluation_leaves_the_model_as_it_was(config, splits):
    model = build_model(config.model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one, same = (evaluate(model, splits["test"], SHAPE, 50, seed=1) for _ in range(2))
    assert one == same
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_too_few_images_for_the_queries_are_reported(config, splits):
    with pytest.raises(UserError, match="with 30 queries need 3 classes of 11 images, got 8 classes of at least 6"):
        evaluate(build_model(config.model), splits["test"], EpisodeShape(3, 1, 30))
