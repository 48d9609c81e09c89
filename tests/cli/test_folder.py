import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from srwm.cli import main
from srwm.data import ImageClasses
from srwm.data.drawings.glyphs import load_glyphs
from srwm.data.splits import DATA_SETS, load_splits
from srwm.fewshot.build import validation_shape
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.evaluation.evaluate import evaluate as evaluate_model
from srwm.fewshot.protocols.registry import read_config
from srwm.fewshot.report import load_best
from srwm.training.runs import create_run

QUICK = {
    "steps": 2,
    "model.n-way": 3,
    "model.stem-channels": 8,
    "model.stack.d-model": 16,
    "model.stack.num-heads": 2,
    "queries": 3,
    "episodes": 4,
    "validation-episodes": 4,
    "validation-queries": 3,
    "test-episodes": 4,
}


def fill(root, classes):
    """Classes of four color images."""
    generator = np.random.default_rng(0)
    for c in range(classes):
        (root / f"{c:02d}").mkdir(parents=True)
        for i in range(4):
            pixels = generator.integers(0, 255, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"{c:02d}" / f"{i}.png")
    return root


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "photos", 20)


def test_a_folder_of_user_images_takes_one_argument(folder, tmp_path, capsys):
    run = tmp_path / "run"
    quick = [f"--{name}={value}" for name, value in QUICK.items()]
    assert main(["fewshot", "train", "cpu-omniglot-1shot", "--run", str(run), *quick, "--data", f"folder:{folder}"]) == 0
    shown = capsys.readouterr()
    assert f"(95 % interval, 4 episodes, {folder}-test)" in shown.out
    assert "srwm: the pool of a step is reduced to 12 classes of 4 images; the data has no more\n" in shown.err
    assert read_config(run).model.image_shape == (3, 84, 84)
    small = ["--data", f"folder:{folder}", "--model.image-shape", "1", "28", "28"]
    assert main(["fewshot", "train", "cpu-omniglot-1shot", "--run", str(tmp_path / "small"), *quick, *small]) == 0
    assert read_config(tmp_path / "small").model.image_shape == (1, 28, 28)
    assert main(["fewshot", "evaluate", str(run), "--episodes", "4"]) == 0


def test_a_folder_that_is_too_small_is_reported_in_one_line(tmp_path, capsys):
    quick = [f"--{name}={value}" for name, value in QUICK.items()]
    given = ["--run", str(tmp_path / "run"), "--data", f"folder:{fill(tmp_path / 'photos', 3)}"]
    assert main(["fewshot", "train", "cpu-omniglot-1shot", *quick, *given]) == 1
    error = capsys.readouterr().err
    assert "need a pool of 3 classes" in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_run_is_tested_on_another_data_set_beside_its_own(folder, tmp_path, capsys):
    run, other, twin = tmp_path / "run", fill(tmp_path / "my drawings", 15), fill(tmp_path / "other" / "my drawings", 15)
    quick = [f"--{name}={value}" for name, value in QUICK.items()]
    train = ["--data", f"folder:{folder}", "--model.image-shape", "1", "16", "16"]
    assert main(["fewshot", "train", "cpu-omniglot-1shot", "--run", str(run), *quick, *train]) == 0
    own = (run / "test.json").read_text()
    capsys.readouterr()
    for name, tested in {"glyphs": "glyphs", f"folder:{other}": str(other), f"folder:{twin}": str(twin)}.items():
        before = set(run.iterdir())
        assert main(["fewshot", "evaluate", str(run), "--episodes", "4", "--data", name]) == 0
        assert f"(95 % interval, 4 episodes, {tested}-test)" in capsys.readouterr().out
        made = sorted(set(run.iterdir()) - before)
        assert [path.name.split("-")[0] for path in made] == ["baselines", "test"]
        assert all(json.loads(path.read_text())["data"] == f"{tested}-test" for path in made)
    assert (run / "test-glyphs.json").exists()
    assert (run / "test.json").read_text() == own
    assert not (run / "baselines.json").exists()
    assert main(["fewshot", "evaluate", str(run), "--episodes", "5", "--data", f"folder:{folder}"]) == 0
    assert json.loads((run / "test.json").read_text())["episodes"] == 5, "its own data set by its name"
    kept = {name: (run / name).read_text() for name in ("test.json", "baselines.json")}
    with pytest.warns(UserWarning, match=r"not saved: .*json has a result over 5 episodes, this one is over 3") as warned:
        assert main(["fewshot", "evaluate", str(run), "--episodes", "3"]) == 0
    assert len(warned) == 2
    assert kept == {name: (run / name).read_text() for name in kept}
    assert main(["fewshot", "evaluate", str(run), "--data", "imagenet"]) == 1
    assert "expected omniglot, " in capsys.readouterr().err


@pytest.fixture
def few_glyphs(monkeypatch):
    """The first 20 classes of each split of glyphs."""

    def load(data_dir):
        whole = load_glyphs(instances=8)
        return {
            split: ImageClasses(data.name, data.images[: data.offsets[20]], data.offsets[:21], data.class_names[:20])
            for split, data in whole.items()
        }

    monkeypatch.setitem(DATA_SETS, "glyphs", DATA_SETS["glyphs"]._replace(load=load))


@pytest.mark.usefixtures("few_glyphs")
def test_a_run_is_evaluated_on_the_classes_that_trained_it_or_chose_its_weights(folder, tmp_path, capsys):
    run = tmp_path / "run"
    quick = [f"--{name}={value}" for name, value in QUICK.items()]
    train = ["--data", f"folder:{folder}", "--model.image-shape", "1", "16", "16"]
    assert main(["fewshot", "train", "cpu-omniglot-1shot", "--run", str(run), *quick, *train]) == 0
    tested = (run / "test.json").read_text()
    capsys.readouterr()
    for split, classes in {"val": "validation", "train": "training"}.items():
        for data, name, suffix in (([], str(folder), ""), (["--data", "glyphs"], "glyphs", "-glyphs")):
            assert main(["fewshot", "evaluate", str(run), "--episodes", "4", "--split", split, *data]) == 0
            shown = capsys.readouterr().out
            assert f"accuracy on the classes for {classes} " in shown
            assert f"4 episodes, {name}-{split})" in shown
            for result in (f"{split}{suffix}.json", f"{split}-baselines{suffix}.json"):
                assert json.loads((run / result).read_text())["data"] == f"{name}-{split}"
    assert (run / "test.json").read_text() == tested
    assert not (run / "baselines.json").exists()


def test_the_result_with_augmentation_does_not_replace_that_without(folder, tmp_path, capsys):
    run = tmp_path / "run"
    quick = [f"--{name}={value}" for name, value in QUICK.items()]
    assert main(["fewshot", "train", "cpu-omniglot-1shot", "--run", str(run), *quick, "--data", f"folder:{folder}"]) == 0
    tested = (run / "test.json").read_text()
    evaluate = ["fewshot", "evaluate", str(run), "--episodes", "90", "--queries", "2"]
    assert main([*evaluate, "--split", "val"]) == 0
    for name in ("val.json", "val-baselines.json"):
        shutil.copy(run / name, tmp_path / name)
    assert "passes" not in capsys.readouterr().out
    assert main([*evaluate, "--split", "val", "--tta-passes", "9"]) == 0
    assert "90 episodes, 9 passes each, " in capsys.readouterr().out
    assert main([*evaluate, "--tta-passes", "2", "--no-baselines"]) == 0
    assert (run / "test.json").read_text() == tested
    assert json.loads((run / "test-tta-2.json").read_text())["data"] == f"{folder}-test"
    for name in ("val", "val-baselines"):
        assert (run / f"{name}.json").read_bytes() == (tmp_path / f"{name}.json").read_bytes()
        one, many = (json.loads((run / f"{name}{suffix}.json").read_text()) for suffix in ("", "-tta-9"))
        assert one.keys() == many.keys()
    assert one != many
    data = load_splits(f"folder:{folder}")["val"]
    expected = evaluate_model(load_best(run), data, replace(validation_shape(read_config(run)), queries=2), 90, 1, tta_passes=9)
    assert json.loads((run / "val-tta-9.json").read_text())["mean"] == expected.mean
    assert one["nearest pixels (Euclidean)"] == many["nearest pixels (Euclidean)"]
    assert main([*evaluate, "--tta-passes", "0"]) == 1
    assert "tta_passes: expected 1 or more, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TrainConfig(protocol="delayed"), "runs on streams are tested on their own data set, and the protocol is 'delayed'"),
        (TrainConfig(normalize=True), "runs on normalized images are tested on their own data set"),
    ],
)
def test_a_run_that_knows_its_own_data_alone_is_not_tested_on_another(tmp_path, capsys, config, message):
    create_run(tmp_path / "run", config)
    assert main(["fewshot", "evaluate", str(tmp_path / "run"), "--data", "glyphs"]) == 1
    assert f"data: {message}" in capsys.readouterr().err


def test_two_folders_share_the_smaller_pool_and_keep_their_names(folder, tmp_path, capsys):
    run, other = tmp_path / "run", fill(tmp_path / "drawings" / "photos", 15)
    quick = [f"--{name}={value}" for name, value in QUICK.items() if name != "queries"]
    quick += ["--k-shot=2", "--protocol-options.trim=2", "--model.image-shape", "3", "32", "32", "--pool.images-per-class=4"]
    sets = ["--data", f"folder:{folder}", "--second-data", f"folder:{other}"]
    preset = "cpu-sequential-omniglot-mini-imagenet"
    assert main(["fewshot", "train", preset, "--run", str(run), "--normalize", *quick, *sets]) == 0
    assert "srwm: the pool of a step is reduced to 9 classes of 4 images; the data has no more\n" in capsys.readouterr().err
    assert json.loads((run / "test.json").read_text())["data"] == f"{folder}-test, {other}-test"


def test_an_unknown_data_set_is_reported(tmp_path, capsys):
    assert main(["fewshot", "train", "cpu-omniglot-1shot", "--run", str(tmp_path / "run"), "--data", "imagenet"]) == 1
    assert "expected omniglot, " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
