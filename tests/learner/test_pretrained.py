"""Checkpoints for others: they come back as they were, from wherever they are named, and nothing corrupt or hostile gets in."""

import dataclasses
import json
import os
import pickle
import resource
import shutil
import socket
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from srwm import load_model, push_model, save_model
from srwm.errors import UserError
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.metadata import ModelMetadata
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner import pretrained
from srwm.learner.card import few_shot_card
from srwm.nn import StackConfig
from srwm.training.runs import create_run
from srwm.training.weights import save_weights

CONFIG = ModelConfig(
    n_way=4, stem_channels=4, stack=StackConfig(d_model=16, num_heads=2, num_layers=1, ff_factor=1, unroll_length=None)
)
METADATA = ModelMetadata("letters", "ink", {"test, 5-way 1-shot": "90.00 ± 0.10 %"})


@pytest.fixture
def model() -> FewShotModel:
    torch.manual_seed(0)
    model = FewShotModel(CONFIG)
    model(torch.rand(2, 5, 1, 28, 28), torch.zeros(2, 5, dtype=torch.long))  # batch statistics that are not the initial ones
    model.metadata = METADATA
    return model.eval()


@pytest.fixture
def folder(model: FewShotModel, tmp_path: Path) -> Path:
    save_model(model, tmp_path / "saved")
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


def drop_digest(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    del content["digest"]
    (folder / "config.json").write_text(json.dumps(content))


def test_a_model_comes_back_as_it_was(model: FewShotModel, folder: Path) -> None:
    loaded = load_model(folder)
    assert same(model, loaded)
    assert (loaded.config, loaded.metadata, loaded.training) == (CONFIG, METADATA, False)
    assert sorted(os.listdir(folder)) == ["README.md", "config.json", "model.safetensors"]
    card = (folder / "README.md").read_text()
    assert "Trained on: letters" in card
    assert "90.00 ± 0.10 %" in card


def test_the_random_numbers_of_the_user_stay(folder: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(folder)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_half_precision_halves_the_file_and_rounds_the_parameters(model, folder, tmp_path, dtype, tolerance) -> None:
    save_model(model, tmp_path / "half", dtype=dtype)
    sizes = [(path / "model.safetensors").stat().st_size for path in (tmp_path / "half", folder)]
    parameters = sum(p.numel() for p in model.parameters())
    assert sizes[1] - sizes[0] == pytest.approx(2 * parameters, rel=0.02)
    loaded = load_model(tmp_path / "half")
    for (_, old), (_, new) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert new.dtype == torch.float32
        torch.testing.assert_close(new, old, rtol=tolerance, atol=1e-7)
    for old, new in zip(model.buffers(), loaded.buffers(), strict=True):
        assert torch.equal(old, new)


def test_weights_too_large_for_half_precision_are_refused(model: FewShotModel, tmp_path: Path) -> None:
    with torch.no_grad():
        model.out_layer.bias[0] = 1e6
    with pytest.raises(ValueError, match=r"dtype: out_layer\.bias is out of the range of torch\.float16"):
        save_model(model, tmp_path / "half", dtype="float16")


def test_a_run_folder_is_taken(model: FewShotModel, tmp_path: Path) -> None:
    for data in ("glyphs", "omniglot-centered"):
        create_run(tmp_path / data, TrainConfig(data=data, model=CONFIG, steps=1))
        save_weights(tmp_path / data / "best.safetensors", model, {"step": 1})
        loaded = load_model(tmp_path / data)
        assert same(model, loaded)
        assert loaded.metadata == ModelMetadata(data, "ink")
    create_run(tmp_path / "photographs", TrainConfig(data="mini-imagenet", model=CONFIG, steps=1))
    save_weights(tmp_path / "photographs" / "best.safetensors", model, {"step": 1})
    assert load_model(tmp_path / "photographs").metadata.preprocess == "none"


@pytest.mark.parametrize("content", [None, '{"hidden_size": 768}', "{"])
def test_the_configuration_of_a_run_or_of_another_program_is_not_replaced(model, tmp_path, content) -> None:
    create_run(tmp_path / "run", TrainConfig(model=CONFIG, steps=1))
    path = tmp_path / "run" / "config.json"
    if content is not None:
        path.write_text(content)
    before = path.read_text()
    with pytest.raises(UserError, match=r"run: holds the config\.json of a run or of another program|not readable"):
        save_model(model, tmp_path / "run")
    assert (path.read_text(), (tmp_path / "run" / "model.safetensors").exists()) == (before, False)


def test_a_checkpoint_is_replaced_by_another(model, folder) -> None:
    model.metadata = ModelMetadata("other letters")
    save_model(model, folder, overwrite_card=True)
    assert load_model(folder).metadata == ModelMetadata("other letters")
    assert "Trained on: other letters" in (folder / "README.md").read_text()


def test_the_card_of_the_package_is_that_of_its_checkpoint() -> None:
    place = pretrained.packaged()["characters"]
    assert (place / "README.md").read_text() == few_shot_card(load_model("characters"))


@pytest.mark.parametrize("beside", [False, True])
def test_a_page_that_is_there_stays(model, folder, tmp_path, beside) -> None:
    """The user's own in a folder without a model, or a card with the user's changes."""
    place = folder if beside else tmp_path
    (place / "README.md").write_text("# My project\n" + ((folder / "README.md").read_text() if beside else ""))
    with pytest.warns(UserWarning, match=r"README\.md exists and is kept; overwrite_card=True replaces it"):
        save_model(model, place)
    assert (place / "README.md").read_text().startswith("# My project\n")
    assert same(load_model(place), model)
    save_model(model, place, overwrite_card=True)
    assert (place / "README.md").read_text() == few_shot_card(model)


def test_a_card_that_says_the_same_stays_without_a_warning(model, folder, recwarn) -> None:
    save_model(model, folder)
    assert not recwarn


@pytest.mark.parametrize("dtype", ["int8", "float8", torch.float16])
def test_an_unknown_precision_is_refused_before_anything_is_written(model, tmp_path, dtype) -> None:
    for call in (
        lambda: save_model(model, tmp_path / "new", dtype=dtype),
        lambda: push_model(model, "user/new", dtype=dtype),
    ):
        with pytest.raises(ValueError, match=r"dtype: expected float32, float16, bfloat16, got"):
            call()
    assert not (tmp_path / "new").exists()


def test_options_that_reading_does_not_have_are_refused(no_network) -> None:
    with pytest.raises(TypeError, match="foo, revisoin: expected options of the Hub, revision, token, cache_dir"):
        load_model("characters", revisoin="x", foo=3)
    with pytest.raises(TypeError, match="name: expected the name of a checkpoint or a folder, got None"):
        load_model(None)


def test_names_of_the_package_s_checkpoints(model, folder, tmp_path, monkeypatch, no_network) -> None:
    monkeypatch.setattr(pretrained, "files", lambda package: tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^characters: no such folder or bundled checkpoint \(bundled: none"):
        load_model()
    shutil.copytree(folder, tmp_path / "checkpoints" / "characters")
    assert pretrained.packaged() == {"characters": tmp_path / "checkpoints" / "characters"}
    assert same(load_model(), model)
    with pytest.raises(UserError, match=r"^letters: .*bundled: characters\)"):
        load_model("letters")


@pytest.mark.parametrize("content", ["nothing", "another model"])
def test_a_folder_of_the_same_name_does_not_hide_a_checkpoint_of_the_package(model, tmp_path, monkeypatch, content) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = load_model()
    (tmp_path / "characters").mkdir()
    if content == "another model":
        save_model(model, "characters")
    assert same(load_model(), packaged)
    for name in ("./characters", Path("characters"), tmp_path / "characters"):
        if content == "another model":
            assert same(load_model(name), model)
        else:
            with pytest.raises(UserError, match=r"characters: holds no config\.json"):
                load_model(name)


@pytest.mark.parametrize(
    "name", ["nothing", "./nothing/here", "a/b/c", "../up", "~/home", "/nothing", Path("user/name"), "", "a/"]
)
def test_names_that_can_only_be_local_need_no_hub(name, monkeypatch, tmp_path, no_network) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no such folder|holds no config\.json"):
        load_model(name)


def test_local_folders_need_no_hub(folder, model, monkeypatch, no_network) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(folder.parent.parent)
    assert same(load_model(f"{folder.parent.name}/{folder.name}"), model)


def test_the_missing_extra_is_named(model, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: load_model("user/name"), lambda: push_model(model, "user/name")):
        with pytest.raises(UserError, match=r"pip install 'srwm\[hub\]'"):
            call()


def test_the_hub_s_own_cache_is_read(folder, model, tmp_path, no_network) -> None:
    pytest.importorskip("huggingface_hub")
    commit = "0" * 40
    repository = tmp_path / "cache" / "models--user--letters"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    loaded = load_model("user/letters", cache_dir=tmp_path / "cache", local_files_only=True)
    assert same(loaded, model)
    with pytest.raises(UserError, match=r"^user/other: no such folder, and the Hugging Face Hub does not provide it"):
        load_model("user/other", cache_dir=tmp_path / "cache", local_files_only=True)


def test_what_is_pushed_is_what_is_saved(model, tmp_path, monkeypatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

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

    monkeypatch.setattr(hub, "HfApi", Api)
    assert push_model(model, "user/letters", dtype="float16", private=True, token="secret") == "https://hub/user/letters/commit"
    save_model(model, tmp_path / "saved", dtype="float16")
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "uploaded" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()
    assert len(os.listdir(tmp_path / "uploaded")) == 3


@pytest.mark.parametrize(
    "error",
    [
        OSError("no route"),
        KeyError("etag"),
        TypeError("None"),
        json.JSONDecodeError("x", "y", 0),
        EOFError(),
        Exception("odd\nx"),
    ],
    ids=repr,
)
def test_odd_replies_of_the_hub_are_reported_in_one_line(model, monkeypatch, error) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(hub, "hf_hub_download", fail)
    monkeypatch.setattr(hub.HfApi, "create_repo", fail)
    with pytest.raises(UserError, match=r"^user/letters: no such folder, and the Hugging Face Hub does not provide it \(.+\)$"):
        load_model("user/letters")
    with pytest.raises(UserError, match=r"^user/letters: the upload to the Hugging Face Hub failed \(.+\)$"):
        push_model(model, "user/letters")


def test_a_name_that_the_hub_does_not_take_is_reported(model, no_network) -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.raises(UserError, match="bad name: the upload to the Hugging Face Hub failed"):
        push_model(model, "bad name")


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"\xff" * 200])
def test_corrupt_weights_are_refused(folder, damage) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"model\.safetensors: not a readable checkpoint"):
        load_model(folder)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def test_a_pickle_is_refused_and_not_executed(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"model\.pt: expected a folder with config\.json and model\.safetensors, got a file"):
        load_model("model.pt")
    shutil.copy(tmp_path / "model.pt", folder / "model.safetensors")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load_model(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"model\.safetensors: no such file"):
        load_model(folder)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, r"config\.json: expected format 1, got 2; another version"),
        ({"format": None}, "expected format 1, got None"),
        ({"model": 3}, "not a configuration of a few-shot model"),
        ({"model": {"flavour": "sweet"}}, "not a configuration of a few-shot model of this version .unknown field flavour"),
        ({"model": {"stack": {"depth": 3}}}, "of a few-shot model of this version .stack: unknown field depth"),
        ({"model": {"n_way": "many"}}, "n_way: expected int, got 'many'"),
        ({"model": {"image_shape": 5}}, "image_shape: expected tuple, got 5"),
        ({"model": {"n_way": 2**60}}, "weights and configuration do not fit"),
        ({"model": {"n_way": -1}}, "weights and configuration do not fit"),
        ({"model": {"stem": "../conv"}}, "stem: expected conv4 or resnet12 or none, got '../conv'"),
        ({"model": dataclasses.asdict(dataclasses.replace(CONFIG, n_way=5))}, r"weights and configuration .*out_layer"),
        ({"metadata": {"preprocess": "magic"}}, "preprocess: expected ink or none, got 'magic'"),
        ({"metadata": {"trained_on": 3}}, "not a configuration of a few-shot model of this version"),
        ({"metadata": []}, "not a configuration of this version"),
    ],
)
def test_a_configuration_that_does_not_fit_is_reported(folder, changes, message) -> None:
    edit(folder, **changes)
    with pytest.raises(UserError, match=message):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "null", "[1]", "{", "[" * 100_000, "\udcff"])
def test_a_configuration_that_is_none_is_reported(folder, text) -> None:
    (folder / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"config\.json: not (readable|a configuration)"):
        load_model(folder)


@pytest.mark.parametrize(
    "stack",
    [{"num_layers": 10**6}, {"num_layers": 10**18}, {"d_model": 24_000}, {"d_model": 2**40}, {"ff_factor": 10**9}],
    ids=str,
)
def test_a_configuration_of_a_huge_model_is_refused_at_once(folder, stack) -> None:
    """Before any tensor is made or any weight is drawn."""
    model = dataclasses.asdict(CONFIG)
    edit(folder, model=model | {"stack": model["stack"] | stack})
    began, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="weights and configuration do not fit"):
        load_model(folder)
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000  # KiB


@pytest.mark.parametrize(
    "dtype",
    [torch.bool, torch.int8, torch.uint8, torch.int64, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2],
    ids=str,
)
def test_weights_that_are_no_floating_numbers_are_refused(folder, dtype) -> None:
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["out_layer.bias"] = torch.zeros(4).to(dtype)
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(UserError, match=r"do not fit \(out_layer\.bias: expected F16 or BF16 or F32 or F64, got "):
        load_model(folder)
    tensors["out_layer.bias"] = torch.zeros(4)
    tensors[next(name for name in tensors if name.endswith("num_batches_tracked"))] = torch.tensor(1.0)
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(UserError, match=r"num_batches_tracked: expected I64, got F32"):
        load_model(folder)


def test_double_weights_are_read_as_float32(model, folder) -> None:
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file({n: t.double() if t.is_floating_point() else t for n, t in tensors.items()}, path)
    drop_digest(folder)
    assert same(load_model(folder), model)


@pytest.mark.parametrize("changes", [{"digest": 3}, {"digest": "0" * 64}, {"digest": [""]}])
def test_a_digest_that_does_not_fit_is_reported(folder, changes) -> None:
    edit(folder, **changes)
    with pytest.raises(UserError, match=r"damaged|digest: expected text"):
        load_model(folder)


@pytest.mark.parametrize("place", [-1, -400, -4_000])
def test_one_flipped_bit_in_the_weights_is_noticed(folder, place) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"saved: damaged, config\.json and model\.safetensors have changed since they were saved"
    ):
        load_model(folder)
    drop_digest(folder)
    load_model(folder)  # as files of earlier versions are read


def test_one_flipped_bit_in_the_packaged_checkpoint_is_noticed(tmp_path) -> None:
    shutil.copytree(pretrained.packaged()["characters"], tmp_path / "copy")
    path = tmp_path / "copy" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        load_model(tmp_path / "copy")


def test_a_setting_that_changes_what_is_computed_is_noticed(folder) -> None:
    stack = dataclasses.asdict(CONFIG)["stack"]
    edit(folder, model=dataclasses.asdict(CONFIG) | {"stack": stack | {"core_options": {"input_softmax": True}}})
    with pytest.raises(UserError, match="damaged"):
        load_model(folder)
    drop_digest(folder)
    assert load_model(folder).config.stack.core_options == {"input_softmax": True}


def test_metadata_may_be_edited(folder) -> None:
    edit(folder, metadata={"trained_on": "more letters"})
    assert load_model(folder).metadata == ModelMetadata("more letters")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_or_a_folder_instead_of_a_file_is_reported(folder, name) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(UserError, match=rf"{name}: expected a file"):
        load_model(folder)
    (folder / name).rmdir()
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match=rf"{name}: expected a file"):
        load_model(folder)


def test_names_that_are_not_utf_8(model, tmp_path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    save_model(model, folder)
    assert same(load_model(folder), model)
    assert same(load_model(str(folder)), model)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no such file"):
        load_model(folder)


def test_weights_that_are_no_numbers_are_reported(model, tmp_path) -> None:
    with torch.no_grad():
        model.out_layer.weight[0, 0] = torch.nan
    save_model(model, tmp_path / "saved")
    with pytest.raises(UserError, match=r"model\.safetensors: out_layer\.weight holds NaN"):
        load_model(tmp_path / "saved")


def test_a_folder_that_cannot_be_written_is_reported(model, tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot save"):
        save_model(model, tmp_path / "file")
