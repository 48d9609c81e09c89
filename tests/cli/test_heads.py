"""`srwm fewshot heads`."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from srwm import load_model
from srwm.cli import main
from srwm.data import ImageClasses
from srwm.data.sets.folder import load_folder
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import PoolConfig
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.residual import ResidualModel
from srwm.fewshot.report import load_best
from srwm.fewshot.training.loop import train
from srwm.nn import StackConfig

image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of one picture each with noise."""
    root = tmp_path_factory.mktemp("data")
    torch.manual_seed(0)
    for split in ("train", "val", "test"):
        for name in range(6):
            (root / split / f"{split}{name}").mkdir(parents=True)
            picture = 150 * torch.rand(16, 16)
            for i in range(6):
                pixels = (picture + 20 * torch.rand(16, 16)).byte().numpy()
                image.fromarray(pixels).save(root / split / f"{split}{name}" / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of class means, whose configuration names a memory."""
    splits = load_folder(folder)
    stack = StackConfig(d_model=16, num_heads=2, num_layers=1, ff_factor=1)
    model = ModelConfig((1, 28, 28), 3, stem_channels=(2, 3, 4, 5), stack=stack, head="prototypes", class_means="learned")
    config = TrainConfig(
        data=f"folder:{folder}",
        model=replace(model, input="codes"),
        episodes=4,
        queries=3,
        pool=PoolConfig(classes=5, images_per_class=5),
        steps=3,
        validate_every=3,
        validation_episodes=10,
        validation_queries=3,
    )
    place = tmp_path_factory.mktemp("runs") / "run"
    assert train(config, splits, place)
    assert isinstance(splits["train"], ImageClasses)
    return place


def test_class_means_of_a_run_get_a_memory(run, folder, tmp_path, capsys) -> None:
    words = ["--heads", "memory", "residual", "--steps", "3", "--episodes", "2", "--queries", "3"]
    words += ["--validate-every", "3", "--validation-episodes", "4", "--max-shots", "2", "--data", f"folder:{folder}"]
    assert main(["fewshot", "heads", str(run), "--to", str(tmp_path / "made"), *words]) == 0
    shown = capsys.readouterr().out
    assert "step 3: loss" in shown
    made, before = load_model(tmp_path / "made"), load_best(run)
    assert isinstance(made, ResidualModel)
    assert made.config.input == "codes"
    for name, value in before.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(made.state_dict()[name], value.half().float(), rtol=1e-3, atol=1e-4)
    assert made.metadata.trained_on.startswith(f"folder:{folder}; then `srwm fewshot heads")
    assert main(["fewshot", "heads", str(run), "--to", str(tmp_path / "made"), *words]) == 1
    assert "exists; name a new folder" in capsys.readouterr().err
