"""Learning and predictions of the learner, and that each call takes effect as a whole or not at all."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from srwm import FewShotLearner
from srwm.fewshot.episodes import Episodes
from srwm.fewshot.evaluation.evaluate import episode_logits
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.sequence import FewShotModel
from srwm.nn import StackConfig

from .conftest import LABELS, WAYS, WIDTH, letter, points


def test_it_learns(trained) -> None:
    scores = []
    for seed in range(20):
        x, y = points(WAYS, 12, seed)
        names = np.array(["owl", "bee", "cat", "dog"])[y]
        shown = np.isin(np.arange(len(y)), [np.flatnonzero(y == c)[:2] for c in range(WAYS)])
        scores.append(FewShotLearner(trained).fit(x[shown], names[shown]).score(x[~shown], names[~shown]))
    assert np.mean(scores) > 0.7


def test_it_answers_as_the_evaluation_does(trained) -> None:
    x, y = points(WAYS, 6, 3)
    support_labels = np.unique(y[:12], return_inverse=True)[1]
    support_labels = np.argsort(np.argsort([list(y).index(label) for label in np.unique(y[:12])]))[support_labels]
    episode = Episodes(
        torch.arange(12)[None], torch.from_numpy(support_labels)[None], torch.arange(12, 24)[None], torch.zeros(1, 12)
    )
    expected = episode_logits(trained, torch.from_numpy(x).float(), episode)[0].double().softmax(-1)
    learner = FewShotLearner(trained).fit(x[:12], y[:12])
    in_order = list(dict.fromkeys(y[:12].tolist()))
    got = learner.predict_proba(x[12:])[:, np.searchsorted(learner.classes_, in_order)]
    np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_one_by_one_and_later_is_as_all_at_once(trained) -> None:
    x, y = points(3, 4, 0)
    whole = FewShotLearner(trained).learn(x, y)
    pieces = FewShotLearner(trained)
    for row, label in zip(x[:5], y[:5], strict=True):
        pieces.learn(row, label)
    pieces.learn(x[5:], y[5:])
    np.testing.assert_allclose(pieces.predict_proba(x), whole.predict_proba(x), rtol=1e-4, atol=1e-6)


def test_what_was_not_learned_has_probability_zero(trained) -> None:
    x, y = points(3, 4, 0)
    learner = FewShotLearner(trained).partial_fit(x[y < 2], y[y < 2], classes=[2, 0, 1, 7])
    assert learner.classes_.tolist() == [0, 1, 2, 7]
    probabilities = learner.predict_proba(x)
    assert (probabilities[:, 2:] == 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-12)
    learner.partial_fit(x[y == 2], y[y == 2])
    assert (learner.predict_proba(x)[:, :3] > 0).all()
    assert (learner.predict_proba(x)[:, 3] == 0).all()


@pytest.mark.parametrize("size", [1e300, 3e38])
def test_numbers_too_large_for_the_memory_leave_it_as_it_was(trained, size) -> None:
    """Beyond float32, and within it but beyond what the model computes with them."""
    x, y = points(WAYS, 2, 0)
    learner = FewShotLearner(trained).fit(x, y)
    before = learner.predict_proba(x)
    alternating = size * (-1.0) ** np.arange(WIDTH)[None]
    for call in (lambda: learner.learn(alternating, [0]), lambda: learner.predict(alternating)):
        with pytest.raises(ValueError, match="images: expected numbers"):
            call()
    np.testing.assert_array_equal(learner.predict_proba(x), before)


def test_forgetting(trained) -> None:
    x, y = points(3, 4, 0)
    learner = FewShotLearner(trained).learn(x, y).forget().learn(x[:4], y[:4])
    assert np.array_equal(learner.predict_proba(x), FewShotLearner(trained).fit(x[:4], y[:4]).predict_proba(x))
    with pytest.raises(ValueError, match="not fitted"):
        learner.forget().predict(x)


def test_fit_forgets_and_takes_new_settings(trained, drawn, images) -> None:
    x, y = points(3, 4, 0)
    learner = FewShotLearner(trained).learn(x[::-1], y[::-1])
    assert np.array_equal(learner.fit(x, y).predict_proba(x), FewShotLearner(trained).fit(x, y).predict_proba(x))
    assert learner.set_params(model=drawn).fit(images, LABELS).classes_.tolist() == ["a", "b", "c"]


def test_an_ensemble_averages_over_orders(trained) -> None:
    x, y = points(WAYS, 5, 0)
    given, one, many, again, other = (
        FewShotLearner(trained, tta_passes=orders, random_state=seed).fit(x, y).predict_proba(x)
        for orders, seed in ((1, 0), (1, 5), (9, 0), (9, 0), (9, 1))
    )
    assert np.array_equal(given, one)
    assert np.array_equal(many, again)
    assert not np.allclose(many, other, atol=1e-6)
    np.testing.assert_allclose(many.sum(1), 1, rtol=1e-12)


@torch.no_grad()
def test_an_ensemble_is_the_mean_of_its_orders(trained) -> None:
    x, y = points(WAYS, 5, 0)
    learner = FewShotLearner(trained, tta_passes=3).fit(x, y)
    queries = torch.from_numpy(x).float()[None]
    each = [trained.query(queries, tuple(part[i : i + 1] for part in learner.state_))[0] for i in range(3)]
    slots = list(dict.fromkeys(y.tolist()))
    mean = torch.stack([logits.double().softmax(-1) for logits in each]).mean(0)
    np.testing.assert_allclose(learner.predict_proba(x)[:, slots], mean, rtol=1e-4, atol=1e-6)
    alone = FewShotLearner(trained).fit(x, y)
    torch.testing.assert_close(learner.state_[0][:1], alone.state_[0], rtol=1e-4, atol=1e-5)


def test_readings_of_images_are_through_other_views(drawn, images) -> None:
    learner = FewShotLearner(drawn, preprocess="none", tta_passes=10).fit(images[:3], LABELS[:3])
    generator = torch.Generator().manual_seed(0)
    orders = [torch.arange(3), *(torch.randperm(3, generator=generator) for _ in range(9))]
    pixels = torch.from_numpy(images)[:, None].float() / 255
    each = []
    for reading, order in enumerate(orders):
        rotated = (pixels.flip(3) if reading % 8 > 3 else pixels).rot90(reading % 4, (2, 3))
        features = drawn.embed(rotated).detach()
        state = drawn.learn_features(features[order][None], order[None])
        each.append(drawn.query_features(features[None], state)[0, :, :3].detach().double().softmax(-1))
    mean = torch.stack(each).mean(0)[:, [1, 0, 2]]  # of the labels a, b, c; b was shown first
    np.testing.assert_allclose(learner.predict_proba(images), mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(learner.predict_proba(images[4]), mean[4:5], rtol=1e-4, atol=1e-6)
    one_view = drawn.query_features(drawn.embed(pixels).detach()[None].expand(10, -1, -1), learner.state_)
    assert (one_view[:, :, :3].detach().double().softmax(-1).mean(0)[:, [1, 0, 2]] - mean).abs().max() > 1e-3, "views differ"


@pytest.mark.parametrize("core", ["none", "lstm", "deltanet", "sr_delta"])
def test_any_core_serves(core, tmp_path) -> None:
    stack = StackConfig(core=core, d_model=16, num_heads=2, num_layers=2, ff_factor=1)
    model = FewShotModel(ModelConfig(image_shape=(WIDTH,), stem="none", n_way=WAYS, stack=stack))
    x, y = points(3, 4, 0)
    learner = FewShotLearner(model, tta_passes=3).fit(x, y)
    learner.save(tmp_path / "state")
    assert np.array_equal(FewShotLearner(model).load(tmp_path / "state").predict_proba(x), learner.predict_proba(x))


def test_the_given_model_stays_as_it_was(trained) -> None:
    model = trained.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x, y = points(3, 4, 0)
    FewShotLearner(model).fit(x, y).predict(x)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_predictions_in_many_threads_are_those_of_one(drawn, images) -> None:
    learner = FewShotLearner(drawn, tta_passes=2).fit(images, LABELS)
    parts = [np.stack([letter(28, 28, seed + shift) for shift in range(3)]) for seed in range(12)]
    expected = [learner.predict_proba(part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(pool.map(learner.predict_proba, parts), expected, strict=True):
            assert np.array_equal(one, other)


def test_predictions_see_all_of_a_lesson_or_nothing(trained) -> None:
    x, y = points(3, 4, 0)
    pieces = [(x[start : start + 4], y[start : start + 4]) for start in (0, 4, 8)]
    learner = FewShotLearner(trained).fit(*pieces[0])
    allowed = [learner.predict_proba(x), *(learner.learn(*piece).predict_proba(x) for piece in pieces[1:])]
    ended = threading.Event()

    def teach() -> None:
        for _ in range(10):
            learner.fit(*pieces[0])
            for piece in pieces[1:]:
                learner.learn(*piece)
        ended.set()

    def ask(_: int) -> list[np.ndarray]:
        answers = []
        while not ended.is_set():
            answers.append(learner.predict_proba(x))
        return answers

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask, i) for i in range(2)]
        pool.submit(teach).result()
        answers = [answer for future in asked for answer in future.result()]
    assert answers
    assert all(any(np.array_equal(answer, one) for one in allowed) for answer in answers)


def test_lessons_in_many_threads_are_all_heard(trained) -> None:
    x, _ = points(WAYS, 5, 0)
    learner = FewShotLearner(trained)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: learner.learn(x[i], i % WAYS), range(20)))
    assert learner._learned().count == 20
    assert learner.classes_.tolist() == list(range(WAYS))
