"""The learner to hold in hand: what it learns, the forms that images and labels come in, scikit-learn's conventions."""

import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from srwm import FewShotLearner
from srwm.data import UserError
from srwm.data.ink import normalise_ink
from srwm.fewshot.episodes import Episodes
from srwm.fewshot.evaluate import answer
from srwm.fewshot.facts import Facts
from srwm.fewshot.model import FewShotModel, ModelConfig
from srwm.nn import StackConfig

STACK = StackConfig(d_model=32, num_heads=2, num_layers=1, ff_factor=2, query_init_std=0.01)
WIDTH, WAYS = 16, 4


def points(classes: int, instances: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows around one centre per class, in random order, and the classes' numbers."""
    generator = np.random.default_rng(seed)
    y = generator.permutation(np.arange(classes).repeat(instances))
    return generator.normal(size=(classes, WIDTH))[y] + 0.3 * generator.normal(size=(len(y), WIDTH)), y


@pytest.fixture(scope="module")
def trained() -> FewShotModel:
    """A model of vectors that has learned to learn, for a second or two."""
    torch.manual_seed(0)
    model = FewShotModel(ModelConfig(image_shape=(WIDTH,), stem="none", n_way=WAYS, stack=STACK))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    query_labels = torch.arange(WAYS).expand(48, -1)
    for _ in range(300):
        centres = torch.randn(48, WAYS, WIDTH)
        labels = torch.rand(48, 2 * WAYS).argsort() % WAYS
        shown = centres.gather(1, labels[..., None].expand(-1, -1, WIDTH))
        _, state = model(shown + 0.3 * torch.randn(shown.shape), labels)
        logits = model.query(centres + 0.3 * torch.randn(centres.shape), state)
        optimizer.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), query_labels.flatten()).backward()
        optimizer.step()
    return model


@pytest.fixture(scope="module")
def drawn() -> FewShotModel:
    """A model of drawings that nobody trained."""
    torch.manual_seed(1)
    model = FewShotModel(ModelConfig(n_way=5, stem_channels=4, stack=STACK)).eval()
    model.facts = Facts("nothing", "ink")
    return model


def letter(height: int, width: int, seed: int) -> np.ndarray:
    """Three bars, bright on black."""
    generator = np.random.default_rng(seed)
    drawing = np.zeros((height, width), np.uint8)
    for _ in range(3):
        row, column = generator.integers(1, height - 8), generator.integers(1, width - 11)
        drawing[row : row + 3, column : column + 10] = 255
        drawing[row : row + 7, column : column + 3] = 255
    return drawing


@pytest.fixture
def images() -> np.ndarray:
    return np.stack([letter(28, 28, seed) for seed in range(6)])


LABELS = ["b", "a", "c", "a", "b", "c"]


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
    expected = answer(trained, torch.from_numpy(x).float(), episode)[0].double().softmax(-1)
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
        FewShotLearner(trained, ensemble=orders, random_state=seed).fit(x, y).predict_proba(x)
        for orders, seed in ((1, 0), (1, 5), (9, 0), (9, 0), (9, 1))
    )
    assert np.array_equal(given, one)
    assert np.array_equal(many, again)
    assert not np.allclose(many, other, atol=1e-6)
    np.testing.assert_allclose(many.sum(1), 1, rtol=1e-12)


@torch.no_grad()
def test_an_ensemble_is_the_mean_of_its_orders(trained) -> None:
    x, y = points(WAYS, 5, 0)
    learner = FewShotLearner(trained, ensemble=3).fit(x, y)
    queries = torch.from_numpy(x).float()[None]
    each = [trained.query(queries, tuple(part[i : i + 1] for part in learner.state_))[0] for i in range(3)]
    slots = list(dict.fromkeys(y.tolist()))
    mean = torch.stack([logits.double().softmax(-1) for logits in each]).mean(0)
    np.testing.assert_allclose(learner.predict_proba(x)[:, slots], mean, rtol=1e-4, atol=1e-6)
    alone = FewShotLearner(trained).fit(x, y)
    torch.testing.assert_close(learner.state_[0][:1], alone.state_[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("core", ["none", "lstm", "deltanet", "sr_delta"])
def test_any_core_serves(core, tmp_path) -> None:
    stack = StackConfig(core=core, d_model=16, num_heads=2, num_layers=2, ff_factor=1)
    model = FewShotModel(ModelConfig(image_shape=(WIDTH,), stem="none", n_way=WAYS, stack=stack))
    x, y = points(3, 4, 0)
    learner = FewShotLearner(model, ensemble=3).fit(x, y)
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


# Images


@pytest.mark.parametrize("preprocess", ["ink", "none"])
def test_every_form_of_the_same_images(drawn, images, preprocess) -> None:
    image = pytest.importorskip("PIL.Image")
    learner = FewShotLearner(drawn, preprocess).fit(images, LABELS)
    expected = learner.predict_proba(images)
    assert len(np.unique(expected[:, 0])) == len(images)
    forms = {
        "channels": images[:, None],
        "rows": images.reshape(6, -1),
        "floats": images / 255,
        "float32": (images / np.float32(255)),
        "tensor": torch.from_numpy(images),
        "bfloat16": torch.from_numpy(images / 255).bfloat16(),
        "list": list(images),
        "list with channels": [part[None] for part in images],
        "list of tensors": list(torch.from_numpy(images)),
        "list of rows": list(images.reshape(6, -1)),
        "lists of numbers": (images / 255).tolist(),
        "tuple": tuple(images),
        "pictures": [image.fromarray(part) for part in images],
        "colour pictures": [image.fromarray(part).convert("RGB") for part in images],
        "objects": np.array([image.fromarray(part) for part in images] + [None], dtype=object)[:6],
    }
    for form, given in forms.items():
        np.testing.assert_allclose(learner.predict_proba(given), expected, atol=2e-3, err_msg=form)
    single = [images[2], images[2:3], images[2:3, None], image.fromarray(images[2]), [images[2]], torch.from_numpy(images[2])]
    for given in single:
        np.testing.assert_allclose(learner.predict_proba(given), expected[2:3], atol=2e-3)
        assert len(FewShotLearner(drawn, preprocess).learn(given, "a").predict(given)) == 1
    black = images > 128
    np.testing.assert_allclose(learner.predict_proba(black), learner.predict_proba(black * np.uint8(255)), atol=1e-6)


def test_ink_makes_one_form_of_all_sizes_and_colours(drawn, images) -> None:
    image = pytest.importorskip("PIL.Image")
    letters = [letter(*size, seed) for seed, size in enumerate([(40, 30), (28, 28), (100, 200)])]
    learner = FewShotLearner(drawn).fit(images, LABELS)
    normal = np.stack([normalise_ink(drawing) for drawing in letters])
    expected = (
        FewShotLearner(drawn, "none").fit(np.stack([normalise_ink(part) for part in images]), LABELS).predict_proba(normal)
    )
    dark = [255 - drawing for drawing in letters]
    colours = [np.stack([drawing] * 3, axis=-1) for drawing in letters]
    pictures = [image.fromarray(drawing) for drawing in letters]
    for given in (letters, dark, colours, pictures, [letters[0], torch.from_numpy(dark[1]), pictures[2]]):
        np.testing.assert_allclose(learner.predict_proba(given), expected, atol=1e-5)
    np.testing.assert_allclose(learner.predict_proba(colours[0]), expected[:1], atol=1e-5)
    np.testing.assert_allclose(learner.predict_proba(np.stack([colours[1]] * 2)), expected[[1, 1]], atol=1e-5)
    assert FewShotLearner(drawn, "auto").fit(images, LABELS).predict_proba(letters)[0] == pytest.approx(expected[0], abs=1e-5)


def test_without_ink_images_of_other_sizes_are_resized(drawn, images) -> None:
    learner = FewShotLearner(drawn, "none").fit(images, LABELS)
    large = images.repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_allclose(learner.predict_proba(large), learner.predict_proba(images), atol=0.05)
    mixed = learner.predict_proba([images[0], large[1]])
    np.testing.assert_allclose(
        mixed, np.concatenate([learner.predict_proba(images[:1]), learner.predict_proba(large[1:2])]), atol=1e-5
    )


def test_colour_models_read_colour() -> None:
    image = pytest.importorskip("PIL.Image")
    model = FewShotModel(ModelConfig(image_shape=(3, 32, 32), n_way=3, stem_channels=4, stack=STACK))
    colours = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    learner = FewShotLearner(model).fit(colours, [1, 2, 1, 2])
    expected = learner.predict_proba(colours)
    pictures = [image.fromarray(part.transpose(1, 2, 0)) for part in colours]
    for given in (pictures, list(colours), colours.reshape(4, -1)):
        np.testing.assert_allclose(learner.predict_proba(given), expected, atol=1e-6)
    np.testing.assert_allclose(learner.predict_proba(colours[0]), expected[:1], atol=1e-6)
    with pytest.raises(ValueError, match=r"images: expected \(3, H, W\) or \(n, 3, H, W\), got \(4, 32, 32\)"):
        learner.predict(colours[:, 0])
    with pytest.raises(ValueError, match="preprocess: ink makes images"):
        FewShotLearner(model, "ink").fit(colours, [1, 2, 1, 2])


@pytest.mark.parametrize("preprocess", ["ink", "none"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.full((2, 28, 28), 300), r"got int64"),
        (np.full((2, 28, 28), 1.5), r"1\.5"),
        (np.full((2, 28, 28), -0.5), r"-0\.5"),
        (np.full((2, 28, 28), np.nan), "float64|NaN"),
        (np.zeros((2, 2, 28, 28)), r"got \(2, 2, 28, 28\)"),
        (np.zeros((1, 2, 1, 28, 28)), r"got \(1, 2, 1, 28, 28\)"),
        (np.zeros(3), r"got \(3,\)"),
        (np.zeros((2, 0, 28)), r"pixel"),
        (np.zeros((2, 28, 28), complex), "complex128"),
        (["a.png", "b.png"], "got names of files; open them first"),
        ([Path("a.png"), Path("b.png")], "got names of files; open them first"),
        ([[1, 2], [3]], "images: "),
        (None, "images: expected"),
    ],
)
def test_what_is_no_image_is_told(drawn, images, preprocess, given, message) -> None:
    learner = FewShotLearner(drawn, preprocess).fit(images, LABELS)
    before = learner.predict_proba(images)
    for call in (lambda: learner.predict(given), lambda: learner.learn(given, ["a", "b"])):
        with pytest.raises(ValueError, match=message):
            call()
    assert np.array_equal(learner.predict_proba(images), before)


def test_no_images_have_no_labels(trained, drawn, images) -> None:
    learner = FewShotLearner(drawn).fit(images, LABELS)
    for none in (images[:0], images[:0].reshape(0, 784)):
        assert learner.predict(none).shape == (0,)
        assert learner.predict(none).dtype == learner.classes_.dtype
        assert learner.predict_proba(none).shape == (0, 3)
        with pytest.raises(ValueError, match="images: expected one or more, got none"):
            learner.learn(none, [])


# Labels


@pytest.mark.parametrize(
    "labels",
    [
        ["ж", "long name", "a"],
        [3, -7, 10**12],
        [True, False, True],
        [0.5, 2.5, 0.5],
        np.array(["b", "a", "b"]),
        np.array(["b", "a", "b"], dtype=object),
        np.array([1, 2, 1], dtype=np.uint8),
        np.array(["2020-01-01", "2021-01-01", "2020-01-01"], dtype="datetime64[D]"),
        torch.tensor([5, 3, 5]),
        (b"x", b"y", b"x"),
    ],
    ids=str,
)
def test_labels_come_back_as_they_were(trained, labels) -> None:
    x, _ = points(3, 1, 0)
    learner = FewShotLearner(trained).learn(x, labels)
    known = np.asarray(labels).tolist()
    assert learner.classes_.tolist() == sorted(set(known))
    assert learner.predict(x).dtype == learner.classes_.dtype
    assert set(learner.predict(x).tolist()) <= set(known)
    assert learner.predict_proba(x).shape == (3, len(set(known)))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", 1, "b"], r"labels: expected texts alone or numbers alone, got \['int', 'str'\]"),
        (["a", None, "b"], "NoneType"),
        ([1.0, np.nan, 2.0], "got NaN"),
        ([[1], [2], [3]], r"expected one label per image, \(n,\), got \(3, 1\)"),
        ([1, 2], "labels: expected one per image, 3, got 2"),
        ("a", "labels: expected one per image, 3, got 1"),
        ([b"a", "b", "c"], "bytes"),
        ({1, 2, 3}, "set"),
        ([[1, 2], [3]], "labels: expected one label per image"),
    ],
    ids=str,
)
def test_labels_that_are_none_are_told(trained, labels, message) -> None:
    x, _ = points(3, 1, 0)
    with pytest.raises(ValueError, match=message):
        FewShotLearner(trained).learn(x, labels)


def test_more_classes_than_ways_are_refused_and_nothing_is_lost(trained) -> None:
    x, y = points(WAYS + 1, 2, 0)
    for call in (
        lambda learner: learner.fit(x, y),
        lambda learner: learner.partial_fit(x[y < 2], y[y < 2], classes=range(WAYS + 1)),
        lambda learner: learner.learn(x[y < 3], y[y < 3]).learn(x[y > 2], y[y > 2]),
    ):
        with pytest.raises(ValueError, match=r"labels: expected 4 classes or fewer, as many as the model has ways, got 5"):
            call(FewShotLearner(trained))
    learner = FewShotLearner(trained).fit(x[y < 4], y[y < 4])
    before = learner.predict_proba(x)
    with pytest.raises(ValueError, match="4 classes or fewer"):
        learner.learn(x, y)
    assert np.array_equal(learner.predict_proba(x), before)


def test_labels_of_another_kind_or_undeclared_are_refused(trained) -> None:
    x, y = points(3, 2, 0)
    learner = FewShotLearner(trained).learn(x, y)
    with pytest.raises(ValueError, match="labels: expected numbers, as before, got texts"):
        learner.learn(x[0], "a")
    with pytest.raises(ValueError, match="labels: expected numbers, as before, got texts"):
        learner.score(x, y.astype(str))
    with pytest.raises(ValueError, match=r"classes: expected \[0, 1, 2\], as before, got \[0, 1\]"):
        learner.partial_fit(x[:1], y[:1], classes=[0, 1])
    learner.partial_fit(x[:1], y[:1], classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"labels: expected those declared, \[0, 1, 2\], got \[3\]"):
        learner.learn(x[0], 3)
    with pytest.raises(ValueError, match=r"classes: expected \[0, 1, 2\], as before, got \[0, 1, 2, 3\]"):
        learner.partial_fit(x[:1], y[:1], classes=[0, 1, 2, 3])


@pytest.mark.parametrize("setting", [{"ensemble": 0}, {"ensemble": 1.5}, {"ensemble": True}, {"preprocess": "magic"}], ids=str)
def test_wrong_settings_are_told_when_they_are_used(trained, setting) -> None:
    x, y = points(3, 2, 0)
    learner = FewShotLearner(trained, **setting)
    with pytest.raises(ValueError, match=f"^{next(iter(setting))}: expected"):
        learner.fit(x, y)


# Saved states


def test_a_saved_state_goes_on_where_it_was(trained, tmp_path) -> None:
    x, y = points(WAYS, 6, 0)
    names = np.array(["ä", "b", "c", "d"])[y]
    learner = FewShotLearner(trained, ensemble=3).partial_fit(x[:9], names[:9], classes=["ä", "b", "c", "d"])
    learner.save(tmp_path / "state")
    loaded = FewShotLearner(trained).load(tmp_path / "state")
    assert np.array_equal(loaded.predict_proba(x), learner.predict_proba(x))
    assert (loaded.classes_.tolist(), loaded.n_features_in_) == (learner.classes_.tolist(), WIDTH)
    for one in (loaded, learner):
        one.learn(x[9:], names[9:])
    assert np.array_equal(loaded.predict_proba(x), learner.predict_proba(x))
    assert loaded.load(tmp_path / "state").state_[0].shape == (3, 2, 16, 52)


@pytest.mark.parametrize(
    "labels", [["a", "b"], ["\udc80", "\n"], [1, 2], [True, False], np.array([0.5, 1.5], np.float32)], ids=str
)
def test_labels_keep_their_type_in_a_file(trained, tmp_path, labels) -> None:
    learner = FewShotLearner(trained).learn(points(2, 1, 0)[0], labels)
    learner.save(tmp_path / "state")
    loaded = FewShotLearner(trained).load(tmp_path / "state")
    assert loaded.classes_.dtype == learner.classes_.dtype
    assert np.array_equal(loaded.classes_, learner.classes_)


def test_labels_that_become_equal_in_a_common_type_are_refused(trained) -> None:
    x = points(3, 1, 0)[0]
    learner = FewShotLearner(trained).learn(x[:2], [2**53, 2**53 + 1])
    with pytest.raises(ValueError, match="labels: some are equal when int64 and float64 become float64"):
        learner.learn(x[2:], [0.5])
    assert learner.classes_.tolist() == [2**53, 2**53 + 1]


@pytest.mark.parametrize("seed", [None, -1, 2**70, np.random.RandomState(0)], ids=["None", "negative", "huge", "RandomState"])
def test_a_random_state_that_is_no_seed_is_named(trained, seed) -> None:
    with pytest.raises(ValueError, match="random_state: expected a whole number from 0"):
        FewShotLearner(trained, ensemble=2, random_state=seed).fit(*points(2, 1, 0))


def test_labels_that_json_does_not_hold_are_not_saved(trained, tmp_path) -> None:
    learner = FewShotLearner(trained).learn(points(1, 1, 0)[0], np.array(["2020-01-01"], "datetime64[D]"))
    with pytest.raises(ValueError, match="labels: expected texts, numbers or bools"):
        learner.save(tmp_path / "state")
    with pytest.raises(ValueError, match="not fitted"):
        FewShotLearner(trained).save(tmp_path / "state")
    with pytest.raises(UserError, match="cannot save"):
        FewShotLearner(trained).learn(points(1, 1, 0)[0], ["a"]).save(tmp_path)


def test_a_state_of_another_model_is_refused(trained, drawn, images, tmp_path) -> None:
    x, y = points(3, 2, 0)
    FewShotLearner(trained).fit(x, y).save(tmp_path / "state")
    other = FewShotModel(trained.config)
    for model in (other, drawn):
        with pytest.raises(UserError, match="learned by another model, or with another preprocessing"):
            FewShotLearner(model).load(tmp_path / "state")
    FewShotLearner(drawn, "none").fit(images, LABELS).save(tmp_path / "plain")
    with pytest.raises(UserError, match="another preprocessing than 'ink'"):
        FewShotLearner(drawn).load(tmp_path / "plain")


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not readable"),
        (b"\xff" * 300, "not readable"),
        (pickle.dumps(Bomb()), "not readable"),
        (safetensors.torch.save({"a": torch.zeros(2)}), "not what a learner"),
        (safetensors.torch.save({"a": torch.zeros(2)}, {"srwm": "[1]"}), "not what a learner"),
        (safetensors.torch.save({"a": torch.zeros(2)}, {"srwm": "{"}), "not readable"),
        (safetensors.torch.save({"a": torch.zeros(2)}, {"srwm": '{"format": 2}'}), "not what a learner"),
    ],
    ids=range(7),
)
def test_a_corrupt_state_is_refused(trained, tmp_path, monkeypatch, content, message) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(UserError, match=f"state: {message}"):
        FewShotLearner(trained).load(tmp_path / "state")
    with pytest.raises(UserError, match="no such file"):
        FewShotLearner(trained).load(tmp_path / "nothing")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"labels": ["a", "b"]', '"labels": ["a", "a"]'),
        ('"labels": ["a", "b"]', '"labels": ["a", 2.0]'),
        ('"labels": ["a", "b"]', '"labels": [      ]'),
        ('"labels": ["a", "b"]', '"labels": {"a": "b"}'),
        ('"labels": ["a", "b"]', '"labels": "a, b, c,"'),
        ('"declared": null', '"declared": ["a"]'.ljust(16)),
        ('"dtype": "<U1"', '"dtype": "|O8"'),
        ('"dtype": "<U1"', '"dtype": "<i8"'),
        ('"dtype": "<U1"', '"dtype": "<V1"'),
        ('"orders": 1', '"orders": 2'),
        ('"count": 2', '"count": []'),
        ('"count": 2', '"count": -1'),
        ('"seed": 0', '"sead": 0'),
        ('"seed": 0', '"seed": 1e30'),
    ],
)
def test_a_state_that_was_tampered_with_is_refused(trained, tmp_path, old, new) -> None:
    FewShotLearner(trained).learn(points(2, 1, 0)[0], ["a", "b"]).save(tmp_path / "state")
    with safetensors.safe_open(tmp_path / "state", "pt") as file:
        facts, tensors = file.metadata()["srwm"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert facts.count(old) == 1
    safetensors.torch.save_file(tensors, tmp_path / "state", {"srwm": facts.replace(old, new)})
    learner = FewShotLearner(trained)
    with pytest.raises(UserError, match="not a state of this model"):
        learner.load(tmp_path / "state")
    good = tensors["state.0"]
    bad = [{"state.0": good[:, :1]}, {"state.0": good * torch.nan}, {"state.0": good.double()}, {"x": torch.zeros(1)}]
    for wrong in ({}, tensors | {"state.1": torch.zeros(1)}, *bad):
        safetensors.torch.save_file(wrong, tmp_path / "state", {"srwm": facts})
        with pytest.raises(UserError, match="not a state of this model"):
            learner.load(tmp_path / "state")


# From checkpoints


def test_from_pretrained(drawn, images, tmp_path) -> None:
    drawn.save_pretrained(tmp_path / "letters", dtype="float16")
    learner = FewShotLearner.from_pretrained(tmp_path / "letters")
    assert learner.get_params()["model"] == tmp_path / "letters"
    learner.learn(images, LABELS)
    assert learner.model_.facts == Facts("nothing", "ink")
    by_name = FewShotLearner(str(tmp_path / "letters")).fit(images, LABELS)
    assert np.array_equal(by_name.predict_proba(images), learner.predict_proba(images))
    np.testing.assert_allclose(
        FewShotLearner(drawn).fit(images, LABELS).predict_proba(images), learner.predict_proba(images), atol=2e-2
    )
    with pytest.raises(UserError, match="nothing: no such folder"):
        FewShotLearner.from_pretrained("nothing")
    with pytest.raises(UserError, match="nothing: no such folder"):
        FewShotLearner("nothing").learn(images, LABELS)


# Threads


def test_predictions_in_many_threads_are_those_of_one(drawn, images) -> None:
    learner = FewShotLearner(drawn, ensemble=2).fit(images, LABELS)
    parts = [np.random.default_rng(seed).random((3, 28, 28)) for seed in range(12)]
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


# The conventions of scikit-learn


def test_parameters_are_kept_as_they_are(trained) -> None:
    learner = FewShotLearner(trained, "none", 2, random_state=7)
    params = {"model": trained, "preprocess": "none", "ensemble": 2, "random_state": 7}
    assert vars(learner) == params
    learner.fit(*points(3, 2, 0))
    assert learner.get_params() == params
    assert learner.get_params()["model"] is trained
    assert learner.set_params(ensemble=5, preprocess="auto") is learner
    assert (learner.ensemble, learner.preprocess) == (5, "auto")
    with pytest.raises(ValueError, match=r"Invalid parameter 'depth' for estimator FewShotLearner\(.*'random_state'\]"):
        learner.set_params(ensemble=1, depth=3)
    assert learner.ensemble == 5
    assert repr(FewShotLearner()) == "FewShotLearner()"
    assert repr(learner) == "FewShotLearner(model=<FewShotModel>, ensemble=5, random_state=7)"


def test_methods_that_learn_return_the_learner(trained, tmp_path) -> None:
    x, y = points(3, 2, 0)
    learner = FewShotLearner(trained)
    assert learner.fit(x, y) is learner
    assert learner.partial_fit(x, y) is learner
    assert learner.learn(x, y) is learner
    learner.save(tmp_path / "state")
    assert learner.load(tmp_path / "state") is learner
    assert learner.forget() is learner


def test_before_it_learned_nothing_is_there(trained) -> None:
    exceptions = pytest.importorskip("sklearn.exceptions")
    learner = FewShotLearner(trained)
    x, y = points(3, 2, 0)
    for call in (
        lambda: learner.predict(x),
        lambda: learner.predict_proba(x),
        lambda: learner.score(x, y),
        lambda: learner.state_,
    ):
        with pytest.raises(exceptions.NotFittedError, match="This FewShotLearner instance is not fitted yet"):
            call()
    assert not hasattr(learner, "classes_")
    assert not hasattr(learner, "n_features_in_")


def test_columns_of_tables_are_counted(trained, drawn, images) -> None:
    x, y = points(3, 2, 0)
    learner = FewShotLearner(trained).fit(x, y)
    assert learner.n_features_in_ == WIDTH
    with pytest.raises(ValueError, match="X has 15 features, but FewShotLearner is expecting 16 features as input"):
        learner.predict(x[:, 1:])
    learner = FewShotLearner(drawn).fit(images.reshape(6, -1), LABELS)
    with pytest.raises(ValueError, match="X has 64 features, but FewShotLearner is expecting 784 features as input"):
        learner.predict(np.zeros((5, 64)))
    assert not hasattr(FewShotLearner(drawn).fit(images, LABELS), "n_features_in_")


def test_the_score_is_the_share_of_right_answers(trained) -> None:
    x, y = points(3, 4, 0)
    learner = FewShotLearner(trained).fit(x, y)
    right = learner.predict(x) == y
    assert learner.score(x, y) == right.mean()
    weights = np.arange(len(y))
    weighted = learner.score(x, (y + 1) % 3, weights)
    assert weighted == pytest.approx((weights * (learner.predict(x) == (y + 1) % 3)).sum() / weights.sum())
    with pytest.raises(ValueError, match="labels: expected one per image, 12, got 3"):
        learner.score(x, y[:3])


def test_pickling(trained, drawn, images) -> None:
    learner = FewShotLearner(drawn, ensemble=2).fit(images, LABELS)
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        copy = pickle.loads(pickle.dumps(learner, protocol))
        assert np.array_equal(copy.predict_proba(images), learner.predict_proba(images))
        copy.learn(images[0], "d")
    assert learner.classes_.tolist() == ["a", "b", "c"]
    assert pickle.loads(pickle.dumps(FewShotLearner("somewhere"))).get_params()["model"] == "somewhere"


def test_clones_have_the_settings_alone(trained) -> None:
    base = pytest.importorskip("sklearn.base")
    x, y = points(3, 4, 0)
    learner = FewShotLearner(trained, ensemble=2).fit(x, y)
    clone = base.clone(learner)
    assert not hasattr(clone, "classes_")
    assert clone.ensemble == 2
    assert np.array_equal(clone.fit(x, y).predict_proba(x), learner.predict_proba(x))
    assert base.clone(FewShotLearner("name")).model == "name"


def test_scikit_learn_sees_a_classifier(trained) -> None:
    base = pytest.importorskip("sklearn.base")
    from sklearn.exceptions import NotFittedError
    from sklearn.utils import get_tags
    from sklearn.utils.validation import check_is_fitted

    learner = FewShotLearner(trained)
    assert base.is_classifier(learner)
    tags = get_tags(learner)
    assert (tags.estimator_type, tags.target_tags.required, tags.classifier_tags.multi_class) == ("classifier", True, True)
    with pytest.raises(NotFittedError):
        check_is_fitted(learner)
    check_is_fitted(learner.fit(*points(3, 2, 0)))


def test_model_selection_and_pipelines(trained) -> None:
    pytest.importorskip("sklearn")
    from sklearn.ensemble import VotingClassifier
    from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    x, y = points(WAYS, 12, 2)
    y = np.array(["owl", "bee", "cat", "dog"])[y]
    scores = cross_val_score(FewShotLearner(trained), x, y, cv=4)
    assert scores.mean() > 0.5
    pipeline = make_pipeline(FunctionTransformer(lambda x: 2 * x), FewShotLearner(trained)).fit(x / 2, y)
    assert np.array_equal(pipeline.predict_proba(x / 2), FewShotLearner(trained).fit(x, y).predict_proba(x))
    assert pipeline.classes_.tolist() == ["bee", "cat", "dog", "owl"]
    assert "FewShotLearner" in repr(pipeline)
    search = GridSearchCV(make_pipeline(StandardScaler(), FewShotLearner(trained)), {"fewshotlearner__ensemble": [1, 3]}, cv=3)
    assert search.fit(x, y).best_params_["fewshotlearner__ensemble"] in (1, 3)
    assert cross_val_predict(FewShotLearner(trained), x, y, cv=3, method="predict_proba").shape == (48, 4)
    assert (
        VotingClassifier([("a", FewShotLearner(trained)), ("b", FewShotLearner(trained))], voting="soft").fit(x, y).score(x, y)
    )


def test_lists_of_images_go_through_model_selection(drawn, images) -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    image = pytest.importorskip("PIL.Image")
    pictures = [image.fromarray(part).resize((20 + i, 30)) for i, part in enumerate(images)]
    assert len(selection.cross_val_score(FewShotLearner(drawn), pictures, LABELS, cv=2)) == 2


def test_it_needs_torch_numpy_and_safetensors_alone() -> None:
    program = """
import sys
for name in ("PIL", "sklearn", "huggingface_hub", "matplotlib", "lightning_fabric", "tensorboard", "pooch", "scipy"):
    sys.modules[name] = None
import srwm
assert "torch" not in sys.modules
import numpy as np
from srwm import FewShotLearner
from srwm.fewshot.estimator import NotFittedError
from srwm.fewshot.model import FewShotModel, ModelConfig
from srwm.nn import StackConfig
model = FewShotModel(ModelConfig(stem_channels=4, stack=StackConfig(d_model=16, num_heads=2)))
learner = FewShotLearner(model, "ink")
try:
    learner.predict(np.zeros((1, 28, 28)))
except NotFittedError as error:
    assert isinstance(error, ValueError) and isinstance(error, AttributeError)
else:
    raise SystemExit("predicted")
print(learner.learn(np.eye(40), "a").predict([np.eye(30)])[0])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("a\n", "")
