import re

import pytest

import srwm
from srwm.cli import main
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.factory import build_model
from srwm.nn import StackConfig


@pytest.fixture
def save_model(tmp_path):
    def save(**changes):
        stack = StackConfig(d_model=16, num_heads=2, num_layers=1, ff_factor=1)
        config = ModelConfig(**{"n_way": 7, "stem_channels": 8, "stack": stack, **changes})
        srwm.save_model(build_model(config), tmp_path / "model")
        return str(tmp_path / "model")

    return save


def test_the_demo_tests_beside_baselines_and_draws(tmp_path, save_model, capsys):
    picture = tmp_path / "picture.png"
    assert main(["demo", "--model", save_model(), "--figure", str(picture), "--episodes", "20"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("FewShotLearner: learned ayb, ben, da, ech, gim from one drawing each.\n")
    assert re.search(r"\nOf 10 other drawings of them, it names \d+ correctly\.\n", shown)
    for line in (
        "chance",
        "nearest pixels",
        "nearest features",
        "prototypes (Euclidean)",
        "prototypes (Euclidean after",
        "the memory",
        "block 1",
    ):
        assert sum(row.strip().startswith(line) for row in shown.splitlines()) == 1
    assert "Armenian and Georgian" in shown
    assert "trained on data that the checkpoint does not name" in shown
    assert "a self-referential weight matrix" in shown
    assert "% in the query and key columns q and k" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_model_without_a_matrix_is_tested_all_the_same(tmp_path, save_model, capsys):
    picture, lstm = tmp_path / "picture.png", StackConfig("lstm", d_model=16, num_layers=1, ff_factor=0)
    assert main(["demo", "--model", save_model(stack=lstm), "--figure", str(picture), "--episodes", "20"]) == 0
    shown = capsys.readouterr().out
    assert "No picture: this model has no self-referential matrix" in shown
    assert "W_0" not in shown
    assert not picture.exists()


def test_mistakes_are_reported_before_anything_is_drawn(tmp_path, save_model, capsys):
    assert main(["demo", "--figure", str(tmp_path / "nowhere" / "picture.png")]) == 1
    assert "nowhere: there is no such folder" in capsys.readouterr().err
    assert main(["demo", "--figure", str(tmp_path / "picture.xyz")]) == 1
    assert "expected a name that ends in .png" in capsys.readouterr().err
    assert main(["demo", "--seed", "-1"]) == 1
    assert "seed: expected a number from 0" in capsys.readouterr().err
    assert main(["demo", "--threads", "0"]) == 1
    assert "threads: expected 1 or more, got 0" in capsys.readouterr().err
    assert main(["demo", "--episodes", "1"]) == 1
    assert "episodes: expected 2 or more, got 1" in capsys.readouterr().err
    assert main(["demo", "--model", save_model(n_way=3), "--figure", str(tmp_path / "picture.png")]) == 1
    assert "expected a model of 5 ways or more" in capsys.readouterr().err
    assert main(["demo", "--model", str(tmp_path / "nothing"), "--figure", str(tmp_path / "picture.png")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
