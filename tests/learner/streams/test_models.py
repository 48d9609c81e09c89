"""Models of streams in folders."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from srwm import FewShotLearner, StreamClassifier, load_model, save_model
from srwm.errors import UserError
from srwm.fewshot.models.config import ModelConfig as FewShotConfig
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.pretrained import load_stream_model
from srwm.nn import StackConfig
from srwm.streams.config import ModelConfig
from srwm.streams.metadata import StreamMetadata
from srwm.streams.model import StreamModel
from srwm.training.runs import BEST
from srwm.training.weights import save_weights

STACK = StackConfig(core="deltanet", d_model=16, num_heads=2, num_layers=1)


@pytest.fixture(scope="module")
def untrained() -> StreamModel:
    torch.manual_seed(0)
    model = StreamModel(ModelConfig(num_features=4, num_classes=3, stack=STACK))
    model.metadata = StreamMetadata("nothing", {"a test": "50 %"})
    return model.eval()


@pytest.fixture
def folder(untrained, tmp_path) -> Path:
    save_model(untrained, tmp_path / "model")
    return tmp_path / "model"


def answers(classifier: StreamClassifier) -> list[float]:
    for i in range(6):
        classifier.learn_one({"a": float(i), "b": "xy"[i % 2]}, i % 2)
    return list(classifier.predict_proba_one({"a": 1.0, "b": "x"}).values())


def test_a_saved_model_answers_alike(untrained, folder) -> None:
    loaded = load_stream_model(folder)
    assert (loaded.config, loaded.metadata, loaded.training) == (untrained.config, untrained.metadata, False)
    expected = answers(StreamClassifier(untrained))
    assert answers(StreamClassifier(folder)) == expected
    assert answers(StreamClassifier(str(folder))) == expected
    assert answers(StreamClassifier.from_pretrained(folder)) == expected
    card = (folder / "README.md").read_text()
    assert "- At most 4 features directly, more by projection; at most 3 classes" in card
    assert "- a test: 50 %" in card


def test_a_run_folder_is_loaded_by_its_best_weights(untrained, tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model": asdict(untrained.config), "seed": 0}))
    save_weights(tmp_path / BEST, untrained, {})
    assert answers(StreamClassifier(tmp_path)) == answers(StreamClassifier(untrained))


def test_kinds_are_not_mixed_up(folder, tmp_path) -> None:
    with pytest.raises(UserError, match="expected a few-shot model, got a model of streams"):
        load_model(folder)
    with pytest.raises(UserError, match="expected a few-shot model, got a model of streams"):
        FewShotLearner(folder).learn([[0.0]], ["a"])
    save_model(FewShotModel(FewShotConfig(image_shape=(4,), stem="none", n_way=3, stack=STACK)), tmp_path / "few")
    for name in (tmp_path / "few", "characters"):
        with pytest.raises(UserError, match="expected a model of streams, got a few-shot model"):
            StreamClassifier(name).learn_one({"a": 1.0}, 0)
    with pytest.raises(TypeError, match="model: expected a few-shot model or a model of streams, got Linear"):
        save_model(torch.nn.Linear(1, 1), tmp_path / "other")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "sounds"}, "expected a model of streams, got 'sounds'"),
        ({"model": {"image_shape": [1]}}, "not a configuration of a model of streams of this version"),
        ({"model": {"num_features": 5, "num_classes": 3, "stack": asdict(STACK)}}, "weights and configuration do not fit"),
        ({"metadata": {"trained_on": 1}}, "not a configuration of a model of streams of this version"),
    ],
)
def test_a_folder_that_cannot_be_is_refused(folder, change, message) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        load_stream_model(folder)
