import errno
import json
import os

import pytest
import safetensors
import torch
from torch import nn

from srwm.errors import UserError
from srwm.training.checkpoint import Checkpoints
from srwm.training.weights import load_weights, save_weights


def model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).to(memory_format=torch.channels_last)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


STATE = {"step": 3, "list": [1.5, "x"], "tensor": torch.arange(3), "nested": {"none": None}}


def test_the_newest_pair_comes_back(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new")
    checkpoints.save(3, model(1), STATE)
    checkpoints.save(20, model(2), {"step": 20})
    other = model(0)
    assert checkpoints.load(other) == {"step": 20}
    assert same(other, model(2))
    assert sorted(os.listdir(tmp_path / "new")) == ["step-20.safetensors", "step-20.state.pt"]


def test_equal_weights_make_equal_files(tmp_path):
    metadata = {"step": 3, "validation": "97.12 ± 0.08 %", "more": 1}
    for number in range(8):
        save_weights(tmp_path / str(number), model(1), metadata)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(8)}) == 1
    with safetensors.safe_open(tmp_path / "0", "pt") as file:
        assert json.loads(file.metadata()["srwm"]) == metadata


def test_states_come_back_as_they_were(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load(model()) is None
    checkpoints.save(3, model(), STATE)
    loaded = checkpoints.load(model())
    assert torch.equal(loaded.pop("tensor"), STATE["tensor"])
    assert loaded == {name: value for name, value in STATE.items() if name != "tensor"}


def test_a_pair_that_makes_way_for_a_newer_one_while_it_is_read_is_let_go(tmp_path, monkeypatch):
    checkpoints, other = Checkpoints(tmp_path), model(0)
    checkpoints.save(3, model(1), {"step": 3})
    load = torch.load

    def late(*arguments, **options):
        monkeypatch.undo()
        checkpoints.save(4, model(2), {"step": 4})
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", late)
    assert checkpoints.load(other) == {"step": 4}
    assert same(other, model(2))


@pytest.mark.parametrize("files_that_fit", [0, 1])
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, files_that_fit):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, model(1), {"step": 3})
    synced = []
    fsync = os.fsync

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) > 2 * files_that_fit:  # each file is followed by its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot save .*step-4\..*: No space left on device; what was saved before is intact"):
        checkpoints.save(4, model(2), {"step": 4})
    other = model(0)
    assert checkpoints.load(other) == {"step": 3}
    assert same(other, model(1))
    monkeypatch.undo()
    checkpoints.save(5, model(2), {"step": 5})
    assert sorted(os.listdir(tmp_path)) == ["step-5.safetensors", "step-5.state.pt"]


@pytest.mark.parametrize("suffix", ["safetensors", "state.pt"])
@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"\x00garbage" * 50])
def test_a_corrupt_file_is_named(tmp_path, suffix, damage):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, model(1), STATE)
    path = tmp_path / f"step-3.{suffix}"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=rf"step-3\.{suffix}: not a readable checkpoint \([A-Za-z]"):
        checkpoints.load(model())


def test_weights_that_do_not_fit_are_told(tmp_path):
    save_weights(tmp_path / "weights.safetensors", nn.Linear(2, 3), {})
    with pytest.raises(UserError, match=r"weights\.safetensors: the weights do not fit this model .*weight"):
        load_weights(tmp_path / "weights.safetensors", nn.Linear(3, 3))
    with pytest.raises(UserError, match="no such checkpoint"):
        load_weights(tmp_path / "other.safetensors", nn.Linear(3, 3))


def test_a_byte_that_has_changed_is_no_traceback(tmp_path):
    """Loaded or told: whatever the damaged instructions in the file do."""
    checkpoints, told = Checkpoints(tmp_path), 0
    checkpoints.save(3, model(1), STATE)
    path = tmp_path / "step-3.state.pt"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x21]) + whole[place + 1 :])
        try:
            checkpoints.load(model())
        except UserError:
            told += 1
    assert told
