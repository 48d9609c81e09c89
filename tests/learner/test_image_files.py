"""Images that are named by paths, and integers of any type."""

from pathlib import Path

import numpy as np
import pytest
import torch

from srwm import FewShotLearner
from srwm.errors import UserError
from srwm.learner.image_files import labeled_files, named_files

from .conftest import LABELS, letter, points

image = pytest.importorskip("PIL.Image")
pandas = pytest.importorskip("pandas")


@pytest.fixture
def folder(tmp_path, images) -> Path:
    """Class folders: a with two images, b and c likewise, in the order of LABELS."""
    for i, (pixels, label) in enumerate(zip(images, LABELS, strict=True)):
        (tmp_path / label).mkdir(exist_ok=True)
        image.fromarray(pixels).save(tmp_path / label / f"{i}.png")
    return tmp_path


def test_every_form_of_paths(drawn, images, folder, monkeypatch) -> None:
    learner = FewShotLearner(drawn).fit(images, LABELS)
    files = [str(folder / label / f"{i}.png") for i, label in enumerate(LABELS)]
    expected = learner.predict_proba(images)
    ordered = [expected[files.index(file)] for file in sorted(files)]
    for given in (files, tuple(map(Path, files)), np.array(files), np.array(files, dtype=object), pandas.Series(files)):
        np.testing.assert_allclose(learner.predict_proba(given), expected, atol=1e-6)
    monkeypatch.chdir(folder)
    for given in (folder, str(folder), folder / "*/*.png", "*/?.png", [folder / "a", folder / "b", "c"], "*", "**", "**/*.png"):
        np.testing.assert_allclose(learner.predict_proba(given), ordered, atol=1e-6)
    np.testing.assert_allclose(learner.predict_proba(files[2]), expected[2:3], atol=1e-6)
    np.testing.assert_allclose(FewShotLearner(drawn).fit(files, LABELS).predict_proba(images), expected, atol=1e-6)
    assert learner.score(files, LABELS) == learner.score(images, LABELS)


def test_folders_name_the_classes_and_are_read_in_turn(drawn, images, folder) -> None:
    files, labels = labeled_files(folder)
    assert labels == ["a", "b", "c", "a", "b", "c"]
    assert [Path(file).name for file in files] == ["1.png", "0.png", "2.png", "3.png", "4.png", "5.png"]
    learner = FewShotLearner(drawn).learn(folder)
    expected = FewShotLearner(drawn).learn(images[[1, 0, 2, 3, 4, 5]], labels)
    np.testing.assert_allclose(learner.predict_proba(images), expected.predict_proba(images), atol=1e-6)
    assert labeled_files([folder / "c" / "*", folder / "a"])[1] == ["c", "a", "c", "a"]


def test_a_path_that_is_there_is_no_pattern(folder) -> None:
    (folder / "a").rename(folder / "[a]*")
    assert [Path(file).parent.name for file in named_files(folder / "[a]*")] == ["[a]*", "[a]*"]


def test_other_files_are_skipped_with_a_warning_and_hidden_ones_without(folder) -> None:
    (folder / "a" / "notes.txt").write_text("x")
    (folder / "a" / ".hidden.png").write_text("x")
    with pytest.warns(UserWarning, match=r"skipped files that are not images: .*notes\.txt$"):
        assert len(named_files(folder / "a")) == 2
    with pytest.warns(UserWarning, match=r"notes\.txt$"):
        assert len(named_files(folder / "a" / "*")) == 2
    assert named_files(folder / "a" / "notes.txt") == [str(folder / "a" / "notes.txt")]


def test_paths_without_images_are_reported_and_nothing_is_lost(drawn, images, folder) -> None:
    learner = FewShotLearner(drawn).learn(folder)
    before = learner.predict_proba(images)
    (folder / "empty").mkdir()
    (folder / "a" / "broken.png").write_bytes((folder / "a" / "1.png").read_bytes()[:60])
    for given, message in (
        ("nowhere.png", "nowhere.png: there is no such file or folder"),
        (folder / "x*", r"x\*: no image matches this pattern"),
        (folder / "empty", "empty: expected images or class folders, found none"),
        (folder, "empty: no images in this class"),
        (folder / "a", "broken.png: not a readable image"),
    ):
        for call in (learner.predict, learner.learn):
            with pytest.raises(UserError, match=message):
                call(given)
    (folder / "stray.png").write_bytes((folder / "a" / "1.png").read_bytes())
    with pytest.raises(UserError, match=r"expected images or class folders, got both, such as .*stray\.png and .*a"):
        learner.learn(folder)
    with pytest.raises(ValueError, match="images: expected images alone or paths alone, got 1 paths among 2"):
        learner.predict([folder / "stray.png", images[0]])
    with pytest.raises(ValueError, match="labels: expected one per sample, got None"):
        learner.learn(images)
    assert np.array_equal(learner.predict_proba(images), before)


@pytest.mark.parametrize("preprocess", ["ink", "none"])
@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32", "int64", "uint64"])
def test_integers_of_any_type_are_read_as_bytes(drawn, images, preprocess, dtype) -> None:
    few = (images // 3).astype(dtype)
    learner = FewShotLearner(drawn, preprocess).fit(images // 3, LABELS)
    expected = learner.predict_proba(images // 3)
    for given in (few, list(few), few.tolist(), few.reshape(6, -1), list(few[:, None])):
        np.testing.assert_array_equal(learner.predict_proba(given), expected)
    if dtype in ("int16", "int64"):
        np.testing.assert_array_equal(learner.predict_proba(torch.from_numpy(few)), expected)
    table = pandas.DataFrame(few.reshape(6, -1), columns=[f"p{i}" for i in range(784)])
    learner = FewShotLearner(drawn, preprocess).fit(table, LABELS)
    np.testing.assert_array_equal(learner.predict_proba(table), expected)
    assert learner.feature_names_in_.tolist() == list(table.columns)


@pytest.mark.parametrize("preprocess", ["ink", "none"])
@pytest.mark.parametrize(
    ("scale", "message"),
    [(257, "got int64 from 0 to 257"), (-1, "got int64 from -1 to 0"), (1, "got int64 of 0 and 1 alone; pass them as bool")],
)
def test_integers_that_are_no_bytes_are_refused(drawn, images, preprocess, scale, message) -> None:
    learner = FewShotLearner(drawn, preprocess).fit(images, LABELS)
    wrong = (images > 0).astype(np.int64) * scale
    for given in (wrong, list(wrong), [wrong[0], letter(30, 40, 0)]):
        with pytest.raises(ValueError, match=f"images: expected integers from 0 to 255, {message}"):
            learner.predict(given)


def test_models_of_vectors_take_integers_as_they_are(trained) -> None:
    x, y = points(3, 2, 0)
    numbers = (1000 * x).astype(np.int64)
    learner = FewShotLearner(trained).fit(numbers, y)
    np.testing.assert_array_equal(learner.predict_proba(numbers), learner.predict_proba(numbers.astype(np.float64)))
