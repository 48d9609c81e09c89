"""Answers about what was never learned, and about nothing."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from srwm import FewShotLearner, load_model, save_model
from srwm.errors import UserError
from srwm.fewshot.models.metadata import ModelMetadata, Rejection
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.saved import read_saved, write_saved
from srwm.learner.unknown import ClassExamples, acceptance, distances, unknown_mass

from .conditions import render
from .conftest import LABELS, letter

KNOWN = 5
BLANK = np.full((50, 60), 200, np.uint8)


@pytest.fixture(scope="module")
def pages() -> np.ndarray:
    """Drawings of 20 letters, three of each."""
    return render("same pen", 3, 0)


def calibrated(model: FewShotModel) -> FewShotModel:
    """The same model with a calibration."""
    copy = deepcopy(model)
    copy.metadata = replace(model.metadata, rejection=Rejection(20, 5))
    return copy


@pytest.fixture(scope="module")
def learner(pages) -> FewShotLearner:
    return FewShotLearner().learn(pages[:KNOWN, 0], list("abcde"))


def test_letters_of_other_classes_are_unknown_and_those_learned_are_not(learner, pages) -> None:
    known = learner.predict(pages[:KNOWN, 1:].reshape(-1, *pages.shape[2:]), unknown="?")
    assert known.dtype.kind == "U"
    assert np.mean(known == np.repeat(list("abcde"), 2)) >= 0.9
    others = learner.predict(pages[KNOWN:, 1], unknown="?")
    assert np.mean(others == "?") >= 0.8


def test_pages_without_letters_are_unknown(learner) -> None:
    generator = np.random.default_rng(0)
    noise = [
        generator.random((60, 60)),
        np.kron(generator.random((12, 12)) > 0.7, np.ones((5, 5))),
        generator.random((90, 90)) < 0.1,
    ]
    assert learner.predict([BLANK, *noise], unknown="nothing").tolist() == ["nothing"] * 4
    assert learner.predict_proba([BLANK], unknown=True).tolist() == [[0] * KNOWN + [1]]
    assert (learner.decision_function([BLANK, noise[-1]]) < 0).all()
    assert learner.predict_proba([noise[-1]], unknown=True)[0, -1] == 1, "so many strokes are no character"


def test_without_the_option_an_image_without_ink_has_even_probabilities_and_a_warning(learner, pages) -> None:
    with pytest.warns(UserWarning, match="images: no ink on image 1 of 3: all learned classes are equally probable"):
        probabilities = learner.predict_proba([pages[0, 1], BLANK, pages[1, 1]])
    assert probabilities[1].tolist() == [1 / KNOWN] * KNOWN
    np.testing.assert_array_equal(probabilities[[0, 2]], learner.predict_proba(pages[:2, 1]))


@pytest.mark.parametrize("blank", [BLANK, np.random.default_rng(0).normal(0.5, 0.05, (40, 40))])
def test_nothing_is_learned_from_an_image_without_ink(pages, blank) -> None:
    learner = FewShotLearner().learn(pages[:2, 0], ["a", "b"])
    before = learner.predict_proba(pages[:2, 1], unknown=True)
    with pytest.raises(ValueError, match=r"images: expected ink on each, found none on image 1 of 2$"):
        learner.learn([pages[2, 0], blank], ["c", "d"])
    assert np.array_equal(learner.predict_proba(pages[:2, 1], unknown=True), before)


def test_probabilities_and_decisions_agree_with_the_answers(learner, pages) -> None:
    asked = pages[:, 2]
    plain, whole = learner.predict_proba(asked), learner.predict_proba(asked, unknown=True)
    decisions, answers = learner.decision_function(asked), learner.predict(asked, unknown="?")
    assert whole.shape == (20, KNOWN + 1)
    assert decisions.shape == (20, KNOWN)
    np.testing.assert_allclose(whole.sum(1), 1)
    np.testing.assert_allclose(whole[:, :-1], plain * (1 - whole[:, -1:]))
    assert np.array_equal(whole[:, -1] >= 0.5, answers == "?")
    assert np.array_equal((decisions <= 0).all(1), answers == "?")
    assert np.array_equal(learner.predict(asked)[answers != "?"], answers[answers != "?"])


def test_the_answer_is_of_the_labels_kind_where_it_can_be(pages) -> None:
    learner = FewShotLearner().learn(pages[:2, 0], [3, 8])
    asked = [pages[0, 1], BLANK]
    assert learner.predict(asked, unknown=-1).tolist() == [3, -1]
    assert learner.predict(asked, unknown=-1).dtype.kind == "i"
    assert learner.predict(asked, unknown="none").tolist() == [3, "none"]
    assert learner.predict(asked, unknown=False).tolist() == [3, False]
    for wrong, message in ((8, "a label that was not learned, got 8"), (["a", "b"], "one label, got 2")):
        with pytest.raises(ValueError, match=f"unknown: expected {message}"):
            learner.predict(asked, unknown=wrong)


def test_without_ink_the_distance_alone_decides(drawn, images) -> None:
    learner = FewShotLearner(calibrated(drawn), "none").fit(images, LABELS)
    assert learner.predict(images, unknown="?").shape == (6,)
    assert learner.decision_function(np.zeros((2, 28, 28))).shape == (2, 3)
    assert learner.predict_proba(images[:0], unknown=True).shape == (0, 4)
    assert learner.decision_function(images[:0]).shape == (0, 3)


def test_declared_classes_take_no_image(pages) -> None:
    learner = FewShotLearner().partial_fit(pages[:2, 0], ["b", "d"], classes=list("abcd"))
    whole, decisions = learner.predict_proba(pages[:2, 1], unknown=True), learner.decision_function(pages[:2, 1])
    assert (whole[:, [0, 2]] == 0).all()
    assert (decisions[:, [0, 2]] < 0).all()
    assert (decisions[[0, 1], [1, 3]] > 0).all()


def test_passes_and_single_examples_do_not_change_what_is_known(pages) -> None:
    together = FewShotLearner().learn(pages[:3, 0], [0, 1, 2])
    apart = FewShotLearner()
    for i in range(3):
        apart.learn(pages[i, 0], i)
    np.testing.assert_allclose(together.decision_function(pages[:, 1]), apart.decision_function(pages[:, 1]), atol=1e-5)
    turned = FewShotLearner(tta_passes=3).learn(pages[:3, 0], [0, 1, 2])
    assert (turned.predict(pages[:3, 1], unknown=-1) == [0, 1, 2]).all()


def test_what_is_known_is_saved(learner, pages, tmp_path) -> None:
    learner.save(tmp_path / "letters")
    loaded = FewShotLearner().load(tmp_path / "letters")
    for asked in (pages[:, 1], BLANK):
        np.testing.assert_array_equal(loaded.predict_proba(asked, unknown=True), learner.predict_proba(asked, unknown=True))
    loaded.learn(pages[5, 0], "f")
    assert loaded.predict(pages[5, 1], unknown="?") == ["f"]


def test_a_model_without_calibration_has_no_such_answer(drawn, images) -> None:
    learner = FewShotLearner(drawn).fit(images, LABELS)
    assert not hasattr(learner, "decision_function")
    for ask in (lambda: learner.predict(images, unknown="?"), lambda: learner.predict_proba(images, unknown=True)):
        with pytest.raises(ValueError, match="unknown: expected a model whose metadata say what it rejects"):
            ask()


def test_what_was_learned_without_distances_has_no_such_answer(drawn, images, tmp_path) -> None:
    earlier = FewShotLearner(drawn).fit(images, LABELS)
    earlier._state = replace(earlier._learned(), examples=None)
    earlier.save(tmp_path / "state")
    model = calibrated(drawn)
    learner = FewShotLearner(model).load(tmp_path / "state")
    learner.learn(letter(28, 28, 9), "a")
    with pytest.raises(ValueError, match="unknown: an earlier version of srwm saved what was learned"):
        learner.predict(images, unknown="?")
    assert FewShotLearner(model).fit(images, LABELS).predict_proba(images, unknown=True).shape == (6, 4)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("examples.sums", torch.zeros(1, 5, 3)),
        ("examples.counts", torch.zeros(4)),
        ("examples.counts", -torch.ones(3)),
        ("examples.counts", torch.full((3,), torch.nan)),
    ],
)
def test_wrong_examples_in_a_file_are_refused(drawn, images, tmp_path, name, wrong) -> None:
    path = tmp_path / "state"
    learner = FewShotLearner(calibrated(drawn)).fit(images, LABELS)
    learner.save(path)
    metadata, tensors = read_saved(path, "FewShotLearner", (3,))
    write_saved(path, metadata, tensors | {name: wrong})
    before = learner.predict_proba(images, unknown=True)
    with pytest.raises(UserError, match=r"not a state of this model \(examples: expected "):
        learner.load(path)
    assert np.array_equal(learner.predict_proba(images, unknown=True), before)


def test_the_calibration_is_part_of_a_checkpoint(drawn, tmp_path) -> None:
    save_model(calibrated(drawn), tmp_path / "model")
    assert load_model(tmp_path / "model").metadata.rejection == Rejection(20, 5)
    with pytest.raises(ValueError, match="threshold, slope: expected positive numbers, got 0 and 5"):
        Rejection(0, 5)
    assert ModelMetadata().rejection is None


def test_photographs_in_color_and_pairs_of_letters_are_warned_of(learner, pages) -> None:
    photograph = np.kron(np.random.default_rng(0).random((6, 6, 3)), np.ones((10, 10, 1)))
    with pytest.warns(UserWarning, match="images: image 0 of 2 looks like a photograph in color"):
        learner.predict([photograph, pages[0, 1]], unknown="?")
    pair = np.concatenate([pages[0, 1], pages[1, 1]], axis=1)
    with pytest.warns(UserWarning, match="images: image 0 of 1 seems to hold two symbols"):
        learner.predict([pair], unknown="?")


def test_distances_are_squared_between_means_and_alike_for_any_number_of_examples() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 6, 8, generator=generator)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    examples = ClassExamples.none(1, features).after(features[:, :4], labels[:4], 3).after(features[:, 4:], labels[4:], 3)
    query = torch.randn(1, 2, 8, generator=generator)
    normal = F.layer_norm(features, (8,))[0]
    means = torch.stack([normal[::2].mean(0), normal[1::2].mean(0)])
    expected = (F.layer_norm(query, (8,))[0][:, None] - means).square().sum(-1) / (1 + 1 / 3)
    found = distances(query, examples)
    torch.testing.assert_close(found[:, :2], expected)
    assert found[:, 2].tolist() == [32, 32], "no two features are farther apart"
    spread = torch.randn(4000, 11, 8, generator=generator)
    for count in (1, 2, 10):
        many = ClassExamples.none(4000, spread).after(spread[:, :count], torch.zeros(count, dtype=torch.long), 1)
        assert float(distances(spread[:, 10:], many)) == pytest.approx(8, rel=0.03)


def test_the_threshold_is_where_known_and_unknown_are_equally_probable() -> None:
    rejection = Rejection(threshold=10, slope=4)
    near = torch.tensor([[10.0, 30.0], [5.0, 9.0], [20.0, 40.0]])
    mass = unknown_mass(near, rejection)
    assert mass[0] == 0.5
    torch.testing.assert_close(mass[1:], torch.sigmoid(torch.tensor([-2.0, 4.0], dtype=torch.float64)))
    assert acceptance(near, rejection).tolist() == [[0, -2], [0.5, pytest.approx(0.1)], [-1, -3]]
