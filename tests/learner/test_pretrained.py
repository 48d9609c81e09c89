"""Checkpoints for others: they come back as they were, from wherever they are named, and nothing corrupt or hostile gets in."""

import dataclasses
import json
import os
import pickle
import shutil
import socket
import sys
from pathlib import Path

import pytest
import torch

from srwm.errors import UserError
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.models.metadata import ModelMetadata
from srwm.fewshot.models.sequence import FewShotModel, ModelConfig
from srwm.learner import pretrained
from srwm.nn import StackConfig
from srwm.training.runs import create_run
from srwm.training.weights import save_weights

CONFIG = ModelConfig(
    n_way=4, stem_channels=4, stack=StackConfig(d_model=16, num_heads=2, num_layers=1, ff_factor=1, unroll_length=None)
)
FACTS = ModelMetadata("letters", "ink", {"test, 5-way 1-shot": "90.00 ± 0.10 %"})


@pytest.fixture
def model() -> FewShotModel:
    torch.manual_seed(0)
    model = FewShotModel(CONFIG)
    model(torch.rand(2, 5, 1, 28, 28), torch.zeros(2, 5, dtype=torch.long))  # batch statistics that are not the initial ones
    model.metadata = FACTS
    return model.eval()


@pytest.fixture
def folder(model: FewShotModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def same(one: FewShotModel, other: FewShotModel) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def edit(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | changes))


def test_a_model_comes_back_as_it_was(model: FewShotModel, folder: Path) -> None:
    loaded = FewShotModel.from_pretrained(folder)
    assert same(model, loaded)
    assert (loaded.config, loaded.metadata, loaded.training) == (CONFIG, FACTS, False)
    assert sorted(os.listdir(folder)) == ["README.md", "config.json", "model.safetensors"]
    card = (folder / "README.md").read_text()
    assert "Trained on: letters" in card
    assert "90.00 ± 0.10 %" in card


def test_the_random_numbers_of_the_user_stay(folder: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    FewShotModel.from_pretrained(folder)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_half_precision_halves_the_file_and_rounds_the_parameters(model, folder, tmp_path, dtype, tolerance) -> None:
    model.save_pretrained(tmp_path / "half", dtype=dtype)
    sizes = [(path / "model.safetensors").stat().st_size for path in (tmp_path / "half", folder)]
    parameters = sum(p.numel() for p in model.parameters())
    assert sizes[1] - sizes[0] == pytest.approx(2 * parameters, rel=0.02)
    loaded = FewShotModel.from_pretrained(tmp_path / "half")
    for (_, old), (_, new) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert new.dtype == torch.float32
        torch.testing.assert_close(new, old, rtol=tolerance, atol=1e-7)
    for old, new in zip(model.buffers(), loaded.buffers(), strict=True):
        assert torch.equal(old, new)


def test_weights_too_large_for_half_precision_are_refused(model: FewShotModel, tmp_path: Path) -> None:
    with torch.no_grad():
        model.out_layer.bias[0] = 1e6
    with pytest.raises(ValueError, match=r"dtype: out_layer\.bias is out of the range of torch\.float16"):
        model.save_pretrained(tmp_path / "half", dtype="float16")


def test_a_run_folder_is_taken(model: FewShotModel, tmp_path: Path) -> None:
    for data in ("glyphs", "omniglot-centered"):
        create_run(tmp_path / data, TrainConfig(data=data, model=CONFIG, steps=1))
        save_weights(tmp_path / data / "best.safetensors", model, {"step": 1})
        loaded = FewShotModel.from_pretrained(tmp_path / data)
        assert same(model, loaded)
        assert loaded.metadata == ModelMetadata(data, "ink")
    create_run(tmp_path / "photographs", TrainConfig(data="mini-imagenet", model=CONFIG, steps=1))
    save_weights(tmp_path / "photographs" / "best.safetensors", model, {"step": 1})
    assert FewShotModel.from_pretrained(tmp_path / "photographs").metadata.preprocess == "none"


@pytest.mark.parametrize("content", [None, '{"hidden_size": 768}', "{"])
def test_the_configuration_of_a_run_or_of_another_program_is_not_replaced(model, tmp_path, content) -> None:
    create_run(tmp_path / "run", TrainConfig(model=CONFIG, steps=1))
    path = tmp_path / "run" / "config.json"
    if content is not None:
        path.write_text(content)
    before = path.read_text()
    with pytest.raises(UserError, match=r"run: holds the config\.json of a run or of another program|not readable"):
        model.save_pretrained(tmp_path / "run")
    assert (path.read_text(), (tmp_path / "run" / "model.safetensors").exists()) == (before, False)


def test_a_checkpoint_is_replaced_by_another(model, folder) -> None:
    model.metadata = ModelMetadata("other letters")
    model.save_pretrained(folder)
    assert FewShotModel.from_pretrained(folder).metadata == ModelMetadata("other letters")
    assert "Trained on: other letters" in (folder / "README.md").read_text()


def test_a_card_that_was_written_when_the_configuration_was_not_is_replaced(model, folder, monkeypatch) -> None:
    """And so is one of a version with other words."""
    model.metadata = ModelMetadata("letters of another time")
    monkeypatch.setattr(pretrained, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        model.save_pretrained(folder)
    monkeypatch.undo()
    (folder / "README.md").write_text(pretrained._sealed("A card of an older version\n"))
    model.save_pretrained(folder)
    assert "letters of another time" in (folder / "README.md").read_text()


def test_the_card_of_the_package_is_that_of_its_checkpoint() -> None:
    place = pretrained.packaged()["characters"]
    assert (place / "README.md").read_text() == pretrained._card(FewShotModel.from_pretrained("characters"))


@pytest.mark.parametrize("beside", [False, True])
def test_a_page_that_is_no_card_or_that_was_changed_stays(model, folder, tmp_path, beside) -> None:
    """The user's own in a folder without a model, or a card with the user's changes."""
    place = folder if beside else tmp_path
    (place / "README.md").write_text("# My project\n" + ((folder / "README.md").read_text() if beside else ""))
    with pytest.warns(UserWarning, match=r"README\.md stays as it is"):
        model.save_pretrained(place)
    assert (place / "README.md").read_text().startswith("# My project\n")
    assert same(FewShotModel.from_pretrained(place), model)


@pytest.mark.parametrize("dtype", ["int8", "float8", torch.float16])
def test_an_unknown_precision_is_refused_before_anything_is_written(model, tmp_path, dtype) -> None:
    for call in (
        lambda: model.save_pretrained(tmp_path / "new", dtype=dtype),
        lambda: model.push_to_hub("user/new", dtype=dtype),
    ):
        with pytest.raises(ValueError, match=r"dtype: expected float32, float16, bfloat16, got"):
            call()
    assert not (tmp_path / "new").exists()


def test_options_that_reading_does_not_have_are_refused(no_network) -> None:
    with pytest.raises(TypeError, match="foo, revisoin: expected options of the Hub, revision, token, cache_dir"):
        FewShotModel.from_pretrained("characters", revisoin="x", foo=3)
    with pytest.raises(TypeError, match="name: expected the name of a checkpoint or a folder, got None"):
        FewShotModel.from_pretrained(None)


def test_names_of_the_package_s_checkpoints(model, folder, tmp_path, monkeypatch, no_network) -> None:
    monkeypatch.setattr(pretrained, "files", lambda package: tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^characters: no such folder, and no checkpoint of the package \(there are: none"):
        FewShotModel.from_pretrained()
    shutil.copytree(folder, tmp_path / "checkpoints" / "characters")
    assert pretrained.packaged() == {"characters": tmp_path / "checkpoints" / "characters"}
    assert same(FewShotModel.from_pretrained(), model)
    with pytest.raises(UserError, match=r"^letters: .*there are: characters\)"):
        FewShotModel.from_pretrained("letters")


@pytest.mark.parametrize("content", ["nothing", "another model"])
def test_a_folder_of_the_same_name_does_not_hide_a_checkpoint_of_the_package(model, tmp_path, monkeypatch, content) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = FewShotModel.from_pretrained()
    (tmp_path / "characters").mkdir()
    if content == "another model":
        model.save_pretrained("characters")
    assert same(FewShotModel.from_pretrained(), packaged)
    for name in ("./characters", Path("characters"), tmp_path / "characters"):
        if content == "another model":
            assert same(FewShotModel.from_pretrained(name), model)
        else:
            with pytest.raises(UserError, match=r"characters: holds no config\.json"):
                FewShotModel.from_pretrained(name)


@pytest.mark.parametrize(
    "name", ["nothing", "./nothing/here", "a/b/c", "../up", "~/home", "/nothing", Path("user/name"), "", "a/"]
)
def test_names_that_can_only_be_local_need_no_hub(name, monkeypatch, tmp_path, no_network) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no such folder|holds no config\.json"):
        FewShotModel.from_pretrained(name)


def test_local_folders_need_no_hub(folder, model, monkeypatch, no_network) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(folder.parent.parent)
    assert same(FewShotModel.from_pretrained(f"{folder.parent.name}/{folder.name}"), model)


def test_the_missing_extra_is_named(model, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "srwm.learner.hub", raising=False)
    for call in (lambda: FewShotModel.from_pretrained("user/name"), lambda: model.push_to_hub("user/name")):
        with pytest.raises(UserError, match=r"pip install 'srwm\[hub\]'"):
            call()


def test_the_hub_s_own_cache_is_read(folder, model, tmp_path, no_network) -> None:
    pytest.importorskip("huggingface_hub")
    commit = "0" * 40
    repository = tmp_path / "cache" / "models--user--letters"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    loaded = FewShotModel.from_pretrained("user/letters", cache_dir=tmp_path / "cache", local_files_only=True)
    assert same(loaded, model)
    with pytest.raises(UserError, match=r"^user/other: no such folder, and not to be had from the Hugging Face Hub"):
        FewShotModel.from_pretrained("user/other", cache_dir=tmp_path / "cache", local_files_only=True)


def test_what_is_pushed_is_what_is_saved(model, tmp_path, monkeypatch) -> None:
    hub_mixin = pytest.importorskip("huggingface_hub.hub_mixin")

    class Api:
        def __init__(self, token: str) -> None:
            assert token == "secret"

        def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> "Api":
            assert (private, exist_ok) == (True, True)
            self.repo_id = repo_id
            return self

        def upload_folder(self, repo_id: str, folder_path: Path, **options: object) -> str:
            shutil.copytree(folder_path, tmp_path / "uploaded")
            return f"https://hub/{repo_id}/commit"

    monkeypatch.setattr(hub_mixin, "HfApi", Api)
    assert model.push_to_hub("user/letters", dtype="float16", private=True, token="secret") == "https://hub/user/letters/commit"
    model.save_pretrained(tmp_path / "saved", dtype="float16")
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "uploaded" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()
    assert len(os.listdir(tmp_path / "uploaded")) == 3


def test_a_name_that_the_hub_does_not_take_is_told(model, no_network) -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.raises(UserError, match="bad name: the Hugging Face Hub does not take it"):
        model.push_to_hub("bad name")


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"\xff" * 200])
def test_corrupt_weights_are_refused(folder, damage) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"model\.safetensors: not a readable checkpoint"):
        FewShotModel.from_pretrained(folder)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def test_a_pickle_is_refused_and_not_executed(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"model\.pt: expected a folder with config\.json and model\.safetensors, got a file"):
        FewShotModel.from_pretrained("model.pt")
    shutil.copy(tmp_path / "model.pt", folder / "model.safetensors")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        FewShotModel.from_pretrained(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"model\.safetensors: no such checkpoint"):
        FewShotModel.from_pretrained(folder)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, r"config\.json: expected format 1, got 2; another version"),
        ({"format": None}, "expected format 1, got None"),
        ({"model": 3}, "not a configuration of a few-shot model"),
        ({"model": {"flavour": "sweet"}}, "not a configuration of this version .unknown field flavour"),
        ({"model": {"stack": {"depth": 3}}}, "not a configuration of this version .stack: unknown field depth"),
        ({"model": {"n_way": "many"}}, "n_way: expected int, got 'many'"),
        ({"model": {"image_shape": 5}}, "image_shape: expected tuple, got 5"),
        ({"model": {"n_way": 2**60}}, "weights and configuration do not fit"),
        ({"model": {"n_way": -1}}, "weights and configuration do not fit"),
        ({"model": {"stem": "../conv"}}, "stem: expected conv4 or resnet12 or none, got '../conv'"),
        ({"model": dataclasses.asdict(dataclasses.replace(CONFIG, n_way=5))}, r"weights and configuration .*out_layer"),
        ({"metadata": {"preprocess": "magic"}}, "preprocess: expected ink or none, got 'magic'"),
        ({"metadata": {"trained_on": 3}}, "not a configuration of this version"),
        ({"metadata": []}, "not a configuration of this version"),
    ],
)
def test_a_configuration_that_does_not_fit_is_told(folder, changes, message) -> None:
    edit(folder, **changes)
    with pytest.raises(UserError, match=message):
        FewShotModel.from_pretrained(folder)


@pytest.mark.parametrize("text", ["", "null", "[1]", "{", "[" * 100_000, "\udcff"])
def test_a_configuration_that_is_none_is_told(folder, text) -> None:
    (folder / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"config\.json: not (readable|a configuration)"):
        FewShotModel.from_pretrained(folder)


def test_weights_that_are_no_numbers_are_told(model, tmp_path) -> None:
    with torch.no_grad():
        model.out_layer.weight[0, 0] = torch.nan
    model.save_pretrained(tmp_path / "saved")
    with pytest.raises(UserError, match=r"model\.safetensors: out_layer\.weight holds NaN"):
        FewShotModel.from_pretrained(tmp_path / "saved")


def test_a_folder_that_cannot_be_written_is_told(model, tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot save"):
        model.save_pretrained(tmp_path / "file")
