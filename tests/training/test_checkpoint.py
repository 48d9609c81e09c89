import errno
import os

import pytest
import safetensors.torch
import torch
from torch import nn

from srwm.errors import UserError
from srwm.training.checkpoint import Checkpoints, reading_state


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
    with pytest.raises(UserError, match=r"cannot save .*step-4\..*: No space left on device; the previous file is intact"):
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


@pytest.mark.parametrize("suffix", ["safetensors", "state.pt"])
def test_a_flipped_bit_is_noticed_wherever_it_changes_anything(tmp_path, suffix):
    """A flip in the archive's own padding or dates changes nothing; elsewhere the pair is refused."""
    checkpoints, other = Checkpoints(tmp_path), model(0)
    checkpoints.save(3, model(1), STATE)
    path = tmp_path / f"step-3.{suffix}"
    whole = path.read_bytes()
    refused, flips = 0, range(0, 8 * len(whole), 97)
    for bit in flips:
        path.write_bytes(whole[: bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1 :])
        try:
            state = checkpoints.load(other)
        except UserError:
            refused += 1
        else:
            assert state is not None
            assert torch.equal(state.pop("tensor"), STATE["tensor"])
            assert state == {name: value for name, value in STATE.items() if name != "tensor"}
            assert same(other, model(1))
    assert refused >= 0.95 * len(flips)


def test_a_damaged_state_says_so_and_equal_weights_make_equal_files_beside_other_states(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    files = []
    for minutes in (1.0, 2.0):
        checkpoints.save(3, model(1), {"minutes": minutes})
        files.append([(tmp_path / f"step-3.{suffix}").read_bytes() for suffix in ("safetensors", "state.pt")])
    (weights, first), (same_weights, second) = files
    assert weights == same_weights
    assert first != second
    (tmp_path / "step-3.state.pt").write_bytes(second[:-9] + b"\0" + second[-8:])
    with pytest.raises(UserError, match=r"step-3\.state\.pt: not a readable checkpoint \(ValueError: damaged: .*changed since"):
        checkpoints.load(model())


def test_a_pair_of_an_earlier_version_has_no_digests_and_is_read(tmp_path):
    checkpoints, other = Checkpoints(tmp_path), model(0)
    tensors = {name: tensor.contiguous() for name, tensor in model(1).state_dict().items()}
    safetensors.torch.save_file(tensors, tmp_path / "step-3.safetensors", {"srwm": '{"step": 3}'})
    torch.save({"step": 3}, tmp_path / "step-3.state.pt")
    assert checkpoints.load(other) == {"step": 3}
    assert same(other, model(1))


def test_what_a_kill_left_beside_the_newest_pair_is_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.remove_older()
    for step in (1, 3, 12):
        Checkpoints(tmp_path / str(step)).save(step, model(), {})
    for name in ("1/step-1.safetensors", "1/step-1.state.pt", "3/step-3.safetensors", "3/step-3.state.pt"):
        os.rename(tmp_path / name, tmp_path / os.path.basename(name))
    os.rename(tmp_path / "12" / "step-12.safetensors", tmp_path / "step-12.safetensors")  # killed before the state
    (tmp_path / "step-of-mine.txt").touch()
    checkpoints.remove_older()
    files = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert files == ["step-3.safetensors", "step-3.state.pt", "step-of-mine.txt"]


@pytest.mark.parametrize("suffix", ["safetensors", "state.pt"])
def test_a_pipe_in_place_of_a_file_is_refused(tmp_path, suffix):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, model(), {})
    (tmp_path / f"step-3.{suffix}").unlink()
    os.mkfifo(tmp_path / f"step-3.{suffix}")
    with pytest.raises(UserError, match=rf"step-3\.{suffix}: expected a file"):
        checkpoints.load(model())


def test_errors_of_a_state_are_distinguished_from_others(tmp_path):
    with pytest.raises(UserError, match="not the state of such a run \\(IndexError: too"), reading_state(tmp_path):
        raise IndexError("too many indices")
    with pytest.raises(OverflowError), reading_state(tmp_path, OverflowError):
        raise OverflowError


def test_a_byte_that_has_changed_is_no_traceback(tmp_path):
    """Loaded or refused: whatever the damaged instructions in the file do."""
    checkpoints, refused = Checkpoints(tmp_path), 0
    checkpoints.save(3, model(1), STATE)
    path = tmp_path / "step-3.state.pt"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x21]) + whole[place + 1 :])
        try:
            checkpoints.load(model())
        except UserError:
            refused += 1
    assert refused
