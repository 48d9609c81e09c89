"""States in files, and learners from checkpoints."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from srwm import FewShotLearner, load_model, save_model
from srwm.errors import UserError
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.metadata import ModelMetadata
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.fingerprint import digest, fingerprint, former_fingerprint

from .conftest import LABELS, STACK, WAYS, WIDTH, points


def test_a_saved_state_continues_where_it_was(trained, tmp_path) -> None:
    x, y = points(WAYS, 6, 0)
    names = np.array(["ä", "b", "c", "d"])[y]
    learner = FewShotLearner(trained, tta_passes=3).partial_fit(x[:9], names[:9], classes=["ä", "b", "c", "d"])
    learner.save(tmp_path / "state")
    loaded = FewShotLearner(trained).load(tmp_path / "state")
    assert np.array_equal(loaded.predict_proba(x), learner.predict_proba(x))
    assert (loaded.classes_.tolist(), loaded.n_features_in_) == (learner.classes_.tolist(), WIDTH)
    for one in (loaded, learner):
        one.learn(x[9:], names[9:])
    assert np.array_equal(loaded.predict_proba(x), learner.predict_proba(x))
    assert loaded.load(tmp_path / "state").state_[0].shape == (3, 2, 16, 52)


@pytest.mark.parametrize(("channels", "tta_passes"), [(1, 9), (3, 7)])
def test_an_ensemble_on_images_continues_where_it_was(tmp_path, channels, tta_passes) -> None:
    torch.manual_seed(2)
    config = ModelConfig(image_shape=(channels, 16, 20), n_way=3, stem_channels=4, stack=STACK)
    model = FewShotModel(config)
    x = np.random.default_rng(0).random((6, channels, 16, 20), dtype=np.float32)
    learner = FewShotLearner(model, tta_passes=tta_passes, random_state=3).learn(x[:4], list("abca"))
    learner.save(tmp_path / "state")
    loaded = FewShotLearner(model).load(tmp_path / "state")
    before = learner.predict_proba(x)
    assert np.array_equal(loaded.predict_proba(x), before)
    for one in (loaded, learner):
        one.learn(x[4:], ["b", "c"])
    assert np.array_equal(loaded.predict_proba(x), learner.predict_proba(x))
    assert not np.allclose(learner.predict_proba(x), before)
    assert learner.forget().learn(x[:4], list("abca")).predict_proba(x) == pytest.approx(before)


@pytest.mark.parametrize(
    "labels", [["a", "b"], ["\udc80", "\n"], [1, 2], [True, False], np.array([0.5, 1.5], np.float32)], ids=str
)
def test_labels_keep_their_type_in_a_file(trained, tmp_path, labels) -> None:
    learner = FewShotLearner(trained).learn(points(2, 1, 0)[0], labels)
    learner.save(tmp_path / "state")
    loaded = FewShotLearner(trained).load(tmp_path / "state")
    assert loaded.classes_.dtype == learner.classes_.dtype
    assert np.array_equal(loaded.classes_, learner.classes_)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.uint8([0, 1]), [0, 1, 1000]),
        ([0, 1], [0.0, 0.5, 1.0]),
        ([False, True], [0, 1, 2, 3]),
        (np.float32([0.5, 1.5]), [0.1, 0.5, 1.5]),
        (["a", "b"], ["a", "b", "long"]),
    ],
    ids=["small", "whole", "bool", "float32", "text"],
)
def test_declared_labels_keep_a_type_of_their_own_in_a_file(trained, tmp_path, labels, classes) -> None:
    learner = FewShotLearner(trained).partial_fit(points(2, 1, 0)[0], labels, classes=classes)
    learner.save(tmp_path / "state")
    loaded = FewShotLearner(trained).load(tmp_path / "state")
    assert loaded.classes_.tolist() == classes
    assert loaded.classes_.dtype == learner.classes_.dtype
    x = points(2, 3, 1)[0]
    assert np.array_equal(loaded.predict_proba(x), learner.predict_proba(x))


def test_labels_that_json_does_not_hold_are_not_saved(trained, tmp_path) -> None:
    learner = FewShotLearner(trained).learn(points(1, 1, 0)[0], np.array(["2020-01-01"], "datetime64[D]"))
    with pytest.raises(ValueError, match="labels: expected texts, numbers or bools"):
        learner.save(tmp_path / "state")
    with pytest.raises(ValueError, match="not fitted"):
        FewShotLearner(trained).save(tmp_path / "state")
    for folder in (tmp_path, "."):
        with pytest.raises(UserError, match="cannot save"):
            FewShotLearner(trained).learn(points(1, 1, 0)[0], ["a"]).save(folder)


def test_a_state_of_another_model_is_refused(trained, drawn, images, tmp_path) -> None:
    x, y = points(3, 2, 0)
    FewShotLearner(trained).fit(x, y).save(tmp_path / "state")
    other = FewShotModel(trained.config)
    for model in (other, drawn):
        with pytest.raises(UserError, match=r"learned by another model, .*learn the examples again"):
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
        (safetensors.torch.save({"a": torch.zeros(2)}), "not saved by a FewShotLearner"),
        (safetensors.torch.save({"a": torch.zeros(2)}, {"srwm": "[1]"}), "not saved by a FewShotLearner"),
        (safetensors.torch.save({"a": torch.zeros(2)}, {"srwm": "{"}), "not readable"),
        (safetensors.torch.save({"a": torch.zeros(2)}, {"srwm": '{"format": 1}'}), "not saved by a FewShotLearner"),
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
        ('"declared": null', '"declared": [["a"], "b"]'),
        ('"dtype": "<U1"', '"dtype": "|O8"'),
        ('"dtype": "<U1"', '"dtype": "<i8"'),
        ('"dtype": "<U1"', '"dtype": "<V1"'),
        ('"dtype": "<U1"', '"dtype": "(1,"'),
        ('"dtype": "<U1"', '"dtype": 3'),
        ('"feature_names": null', '"feature_names": "abc"'),
        ('"feature_names": null', '"feature_names": [3]'),
        ('"tta_passes": 1', '"readings": 2'),
        ('"tta_passes": 1', '"readings": 0'),
        ('"count": 2', '"count": []'),
        ('"count": 2', '"count": -1'),
        ('"seed": 0', '"sead": 0'),
        ('"seed": 0', '"seed": 1e30'),
    ],
)
def test_a_state_that_was_tampered_with_is_refused(trained, tmp_path, old, new) -> None:
    FewShotLearner(trained).learn(points(2, 1, 0)[0], ["a", "b"]).save(tmp_path / "state")
    with safetensors.safe_open(tmp_path / "state", "pt") as file:
        metadata, tensors = json.loads(file.metadata()["srwm"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del metadata["digest"]
    metadata = json.dumps(metadata)
    assert metadata.count(old) == 1
    safetensors.torch.save_file(tensors, tmp_path / "state", {"srwm": metadata.replace(old, new)})
    learner = FewShotLearner(trained)
    with pytest.raises(UserError, match="not a state of this model"):
        learner.load(tmp_path / "state")
    good = tensors["state.0"]
    bad = [{"state.0": good[:, :1]}, {"state.0": good * torch.nan}, {"state.0": good.double()}, {"x": torch.zeros(1)}]
    for wrong in ({}, tensors | {"state.1": torch.zeros(1)}, *bad):
        safetensors.torch.save_file(wrong, tmp_path / "state", {"srwm": metadata})
        with pytest.raises(UserError, match="not a state of this model"):
            learner.load(tmp_path / "state")


@pytest.mark.parametrize("place", [-40, -1, 2000])
def test_a_damaged_file_is_refused(trained, tmp_path, place) -> None:
    learner = FewShotLearner(trained).learn(points(2, 1, 0)[0], ["a", "b"])
    learner.save(tmp_path / "state")
    content = bytearray((tmp_path / "state").read_bytes())
    content[place] ^= 1
    (tmp_path / "state").write_bytes(content)
    before = learner.predict_proba(points(2, 1, 0)[0])
    with pytest.raises(UserError, match="state: damaged"):
        learner.load(tmp_path / "state")
    assert np.array_equal(learner.predict_proba(points(2, 1, 0)[0]), before)


def of_format_2(path: Path, model: FewShotModel) -> None:
    """Make of a file what the version before this one wrote."""
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["srwm"])
    del metadata["digest"], metadata["feature_names"]
    metadata |= {"format": 2, "readings": metadata.pop("tta_passes"), "model": former_fingerprint(model)}
    metadata["digest"] = digest(metadata, tensors)
    safetensors.torch.save_file(tensors, path, {"srwm": json.dumps(metadata)})


def test_a_file_of_the_version_before_is_read(trained, tmp_path) -> None:
    x, y = points(3, 2, 0)
    learner = FewShotLearner(trained, tta_passes=3).fit(x, y)
    learner.save(tmp_path / "state")
    of_format_2(tmp_path / "state", trained)
    loaded = FewShotLearner(trained).load(tmp_path / "state")
    assert np.array_equal(loaded.predict_proba(x), learner.predict_proba(x))
    with pytest.raises(UserError, match=r"learned by another model, .*learn the examples again"):
        FewShotLearner(FewShotModel(trained.config)).load(tmp_path / "state")


def test_fingerprints_of_the_packaged_checkpoint_stay() -> None:
    """Files of learners name their model by these; the former one is that of files of format 2."""
    model = load_model()
    assert former_fingerprint(model) == "1f9c4ebe5ad261d45cd990c5a69624dee39bf1b30c16e045f5e6e745c93b12cd"
    assert fingerprint(model) == "4b34994f1b6dbfa20fb4170960250b66de2a6a3ea3762d268c38d06449e6ab9c"


def test_fingerprints_tell_apart_what_is_computed(trained) -> None:
    def of(**changes: object) -> str:
        model = FewShotModel(replace(trained.config, stack=replace(STACK, **changes)))
        model.load_state_dict(trained.state_dict())
        return fingerprint(model)

    assert of() == fingerprint(trained)
    assert of(dropout=0.5) == of(backend="reference") == of(core_options={"query_init_std": 0.5}) == of()
    others = [of(carry="never"), of(core_options={"input_softmax": True})]
    others += [
        of(carry="unroll", unroll_length=5),
        of(carry="unroll", unroll_length=6),
        fingerprint(FewShotModel(trained.config)),
    ]
    assert len({of(), *others}) == 1 + len(others)


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "device"])
def test_what_is_no_file_is_neither_replaced_nor_read(trained, tmp_path, kind) -> None:
    learner, path = FewShotLearner(trained).learn(points(1, 1, 0)[0], ["a"]), tmp_path / "state"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/null")
    else:
        path.symlink_to(tmp_path / "target")
        if kind == "link":
            (tmp_path / "target").write_text("kept")
    with pytest.raises(UserError, match=r"cannot save .*: expected the name of a file"):
        learner.save(path)
    assert path.is_symlink() == ("link" in kind)
    assert kind != "link" or (tmp_path / "target").read_text() == "kept"
    if kind in ("pipe", "device"):
        with pytest.raises(UserError, match="expected a file"):
            learner.load(path)


def test_names_that_are_not_utf_8(trained, tmp_path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    x, y = points(3, 2, 0)
    learner = FewShotLearner(trained).fit(x, y)
    learner.save(path)
    assert np.array_equal(FewShotLearner(trained).load(path).predict_proba(x), learner.predict_proba(x))
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not readable"):
        learner.load(path)


def test_from_pretrained(drawn, images, tmp_path) -> None:
    save_model(drawn, tmp_path / "letters", dtype="float16")
    learner = FewShotLearner.from_pretrained(tmp_path / "letters")
    assert learner.get_params()["model"] == tmp_path / "letters"
    learner.learn(images, LABELS)
    assert learner.model_.metadata == ModelMetadata("nothing", "ink")
    settings = {"preprocess": "none", "tta_passes": 4, "random_state": 7, "head": "memory"}
    chosen = FewShotLearner.from_pretrained(tmp_path / "letters", **settings)
    assert chosen.get_params() == {"model": tmp_path / "letters", **settings}
    assert chosen.learn(images, LABELS).state_[0].shape[0] == 4
    by_name = FewShotLearner(str(tmp_path / "letters")).fit(images, LABELS)
    assert np.array_equal(by_name.predict_proba(images), learner.predict_proba(images))
    np.testing.assert_allclose(
        FewShotLearner(drawn).fit(images, LABELS).predict_proba(images), learner.predict_proba(images), atol=2e-2
    )
    with pytest.raises(UserError, match="nothing: no such folder"):
        FewShotLearner.from_pretrained("nothing")
    with pytest.raises(UserError, match="nothing: no such folder"):
        FewShotLearner("nothing").learn(images, LABELS)
