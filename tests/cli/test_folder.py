import json

import numpy as np
import pytest
from PIL import Image

from srwm.cli import main
from srwm.fewshot.config import read_config

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
    """Classes of four colour images."""
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


def test_a_folder_of_ones_own_takes_one_argument(folder, tmp_path, capsys):
    run = tmp_path / "run"
    quick = [f"--{name}={value}" for name, value in QUICK.items()]
    assert main(["fewshot", "train", "cpu-omniglot-1shot", "--run", str(run), *quick, "--data", f"folder:{folder}"]) == 0
    shown = capsys.readouterr()
    assert f"(95 % interval, 4 episodes, {folder}-test)" in shown.out
    assert "srwm: the pool of a step is 12 classes of 4 images; the data has no more\n" in shown.err
    assert read_config(run).model.image_shape == (3, 84, 84)
    assert main(["fewshot", "evaluate", str(run), "--episodes", "4"]) == 0


def test_two_folders_share_the_smaller_pool_and_keep_their_names(folder, tmp_path, capsys):
    run, other = tmp_path / "run", fill(tmp_path / "drawings" / "photos", 15)
    quick = [f"--{name}={value}" for name, value in QUICK.items() if name != "queries"]
    quick += ["--k-shot=2", "--sequential.trim=2", "--model.image-shape", "3", "32", "32", "--pool.images-per-class=4"]
    sets = ["--data", f"folder:{folder}", "--second-data", f"folder:{other}"]
    preset = "cpu-sequential-omniglot-mini-imagenet"
    assert main(["fewshot", "train", preset, "--run", str(run), "--normalise", *quick, *sets]) == 0
    assert "srwm: the pool of a step is 9 classes of 4 images; the data has no more\n" in capsys.readouterr().err
    assert json.loads((run / "test.json").read_text())["data"] == f"{folder}-test, {other}-test"


def test_an_unknown_data_set_is_told(tmp_path, capsys):
    assert main(["fewshot", "train", "cpu-omniglot-1shot", "--run", str(tmp_path / "run"), "--data", "imagenet"]) == 1
    assert "expected omniglot, " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
