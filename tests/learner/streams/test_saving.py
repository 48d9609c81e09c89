"""What stream classifiers learned, in files."""

import json
import math

import numpy as np
import pytest
import safetensors.torch
import torch

from srwm import FewShotLearner, StreamClassifier
from srwm.errors import UserError
from srwm.learner.fingerprint import digest
from srwm.nn import StackConfig
from srwm.streams.config import ModelConfig
from srwm.streams.model import StreamModel

from .conftest import NearestMeans, points


def table(columns: int = 4) -> tuple[list[dict], list[str]]:
    x, y = points(40, columns=columns)
    rows = [
        {f"f{i}": v for i, v in enumerate(row)} | {"kind": "ab"[k % 2], 3: None} for row, k in zip(x.tolist(), y, strict=True)
    ]
    return rows, ["owl" if k else "bee" for k in y]


@pytest.mark.parametrize("columns", [4, 31, 60])
def test_a_loaded_classifier_continues_where_it_was(model, tmp_path, columns) -> None:
    rows, labels = table(columns)
    classifier = StreamClassifier(model).partial_fit(rows[:20], labels[:20], classes=["owl", "bee", "cat"])
    classifier.partial_fit([{"late": 1.0, **row} for row in rows[:5]], labels[:5])
    classifier.save(tmp_path / "state")
    loaded = StreamClassifier(model).load(tmp_path / "state")
    assert loaded.classes_.tolist() == ["bee", "cat", "owl"]
    for row, label in zip(rows[20:], labels[20:], strict=True):
        assert loaded.predict_proba_one(row) == classifier.predict_proba_one(row)
        loaded.learn_one(row, label)
        classifier.learn_one(row, label)
    classifier.save(tmp_path / "one")
    loaded.save(tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_tables_keep_their_columns(classifier, model, tmp_path) -> None:
    classifier.fit(*points(20)).save(tmp_path / "state")
    assert StreamClassifier(model).load(tmp_path / "state").n_features_in_ == 4


def test_nothing_learned_and_labels_of_other_types_are_not_saved(classifier, tmp_path) -> None:
    with pytest.raises(ValueError, match="not fitted"):
        classifier.save(tmp_path / "state")
    classifier.partial_fit([[1.0]], np.array(["2020-01-01"], "datetime64[D]"))
    with pytest.raises(ValueError, match="labels: expected texts, numbers or bools"):
        classifier.save(tmp_path / "state")
    with pytest.raises(UserError, match="cannot save"):
        classifier.fit([[1.0]], [1]).save(tmp_path)
    assert not (tmp_path / "state").exists()


def test_a_file_of_another_model_or_class_is_refused(classifier, model, tmp_path) -> None:
    classifier.fit(*points(20)).save(tmp_path / "state")
    other = NearestMeans()
    torch.nn.init.constant_(other.scale, 5.0)
    for each in (other, NearestMeans(num_features=8)):
        with pytest.raises(UserError, match="learned by another model"):
            StreamClassifier(each).load(tmp_path / "state")
    with pytest.raises(UserError, match="not saved by a FewShotLearner of this version"):
        FewShotLearner().load(tmp_path / "state")
    with pytest.raises(UserError, match="no such file"):
        StreamClassifier(model).load(tmp_path / "nowhere")


def changed(path, change, resign: bool = True) -> None:
    """Change the metadata or tensors of a file, with a digest that fits."""
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["srwm"])
    change(metadata, tensors)
    if resign:
        metadata.pop("digest")
        metadata["digest"] = digest(metadata, tensors)
    safetensors.torch.save_file(tensors, path, {"srwm": json.dumps(metadata)})


def put(name, value):
    return lambda metadata, tensors: metadata.update({name: value})


def tensor(name, change):
    return lambda metadata, tensors: tensors.update({name: change(tensors[name])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format", 3), "not saved by a StreamClassifier"),
        (put("count", -1), "count, columns"),
        (put("count", "x"), "not a state of this model"),
        (put("columns", 0), "count, columns"),
        (put("labels", ["a", "a"]), "labels: expected 1 to 16 different ones"),
        (put("labels", [1, 2]), "labels: expected"),
        (put("labels", [chr(65 + i) for i in range(17)]), "labels: expected 1 to 16"),
        (put("dtype", "O"), "dtype"),
        (put("feature_names", [1]), "feature_names"),
        (put("feature_names", ["a", "b"]), "feature_names: expected None, got 2"),
        (put("num_direct", 5), "num_direct: expected 0 or 32"),
        (put("num_direct", True), "num_direct"),
        (put("features", [["a", None]] * 2), "features: expected different ones"),
        (put("features", [["a", f"v{i}"] for i in range(61)]), "features: expected different ones, and 16 values"),
        (put("features", [["a"]]), "features: expected pairs"),
        (put("features", [[1, None]]), "features: expected texts"),
        (put("features", "abc"), "features: expected a list"),
        (put("features", [["a", None]]), "encoder.statistics"),
        (tensor("encoder.statistics", lambda x: x.float()), "encoder.statistics: expected float64"),
        (tensor("encoder.statistics", lambda x: -1 - x), "variance is out of its range"),
        (tensor("encoder.statistics", lambda x: x * math.nan), "mean is out of its range"),
        (tensor("state.0", lambda x: x[:, :3].contiguous()), "state.0: expected torch.float32"),
        (tensor("state.0", lambda x: x * math.inf), "state.0: expected finite numbers"),
        (lambda metadata, tensors: tensors.pop("state.2"), "state: expected 6 tensors, got 5"),
        (lambda metadata, tensors: tensors.update(more=torch.zeros(1)), "state: expected 6 tensors, got 7"),
    ],
)
def test_a_file_that_cannot_be_is_refused_and_loses_nothing(model, tmp_path, change, message) -> None:
    rows, labels = table(60)
    StreamClassifier(model).fit(rows, labels).save(tmp_path / "state")
    changed(tmp_path / "state", change)
    classifier = StreamClassifier(model).fit([[1.0]], ["a"])
    before = classifier._state
    with pytest.raises(UserError, match=message):
        classifier.load(tmp_path / "state")
    assert classifier._state is before


def test_a_changed_file_is_damaged(classifier, tmp_path) -> None:
    classifier.fit(*points(20)).save(tmp_path / "state")
    changed(tmp_path / "state", put("count", 7), resign=False)
    with pytest.raises(UserError, match="damaged"):
        classifier.load(tmp_path / "state")
    classifier.save(tmp_path / "state")
    changed(tmp_path / "state", lambda metadata, tensors: metadata.pop("digest"), resign=False)
    with pytest.raises(UserError, match="damaged"):
        classifier.load(tmp_path / "state")
    (tmp_path / "state").write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="not readable as a saved learner"):
        classifier.load(tmp_path / "state")


@pytest.mark.parametrize(("number", "label"), [(-5, 0), (5, 16), (5, -1)])
def test_a_state_whose_numbers_are_no_places_is_refused(tmp_path, number, label) -> None:
    rows, labels = points(20)
    model = StreamModel(ModelConfig(stack=StackConfig("deltanet", d_model=8, num_heads=2, num_layers=1)))
    classifier = StreamClassifier(model).fit(rows, labels)
    classifier.save(tmp_path / "state")
    state = classifier._state.model_state
    wrong = {torch.int64: state.number * 0 + number, torch.int32: torch.full_like(state.experts.labels, label)}

    def change(metadata, tensors) -> None:
        for name, part in tensors.items():
            if part.dtype in wrong:
                tensors[name] = wrong[part.dtype]

    changed(tmp_path / "state", change)
    with pytest.raises(UserError, match="not a state of this model"):
        StreamClassifier(model).load(tmp_path / "state")
