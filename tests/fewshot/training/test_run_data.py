"""A run is resumed with the data that it was begun with, and tested on them."""

import dataclasses
import json

import pytest

from srwm.errors import UserError
from srwm.fewshot.evaluation.config import EvaluationConfig
from srwm.fewshot.report import score_run
from srwm.fewshot.training.loop import train

from ..conftest import blobs


@pytest.fixture
def run(tmp_path, config, splits):
    assert train(config, splits, tmp_path / "run", accelerator="cpu")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("split", "other"),
    [("train", blobs("train", 201, 6, 0)), ("val", blobs("val", 8, 7, 1)), ("test", blobs("other", 8, 6, 2))],
)
def test_a_run_is_not_resumed_with_other_data(run, config, splits, split, other):
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(UserError, match=rf"begun with other data: the {split} split was {split} \(\d+ classes, .*, and is"):
        train(config, {**splits, split: other}, run, resume=True, accelerator="cpu")
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert train(config, splits, run, resume=True, accelerator="cpu")


def test_a_run_is_not_tested_on_other_data_as_on_its_own(run, splits):
    changed = dataclasses.replace(splits["test"], class_names=("new", *splits["test"].class_names[1:]))
    with pytest.raises(UserError, match="the test split was test"):
        score_run(run, [changed], EvaluationConfig(20))
    score_run(run, [splits["test"]], EvaluationConfig(20))
    score_run(run, [changed], EvaluationConfig(20, data="omniglot"))
    assert {path.name for path in run.glob("test*.json")} == {"test.json", "test-omniglot.json"}


def test_a_run_of_before_is_trusted_and_a_damaged_file_is_reported(run, config, splits):
    (run / "data.json").unlink()
    score_run(run, [blobs("other", 8, 6, 2)], EvaluationConfig(20))
    for content in ("{", json.dumps({"train": 3}), json.dumps({"train": [{"digest": "x"}], "val": []})):
        (run / "data.json").write_text(content)
        with pytest.raises(UserError, match=r"data\.json: not readable"):
            train(config, splits, run, resume=True, accelerator="cpu")
