"""Weights come back as they were written, or not at all."""

import json
import os

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from srwm.errors import UserError
from srwm.training.weights import check_shapes, load_weights, read_metadata, read_weights, save_weights


def model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).to(memory_format=torch.channels_last)


def test_equal_weights_make_equal_files(tmp_path):
    metadata = {"step": 3, "validation": "97.12 ± 0.08 %", "more": 1}
    for number in range(8):
        save_weights(tmp_path / str(number), model(1), metadata)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(8)}) == 1
    with safetensors.safe_open(tmp_path / "0", "pt") as file:
        kept = json.loads(file.metadata()["srwm"])
        assert len(kept.pop("digest")) == 32
        assert kept == metadata


def test_weights_that_do_not_fit_are_reported(tmp_path):
    save_weights(tmp_path / "weights.safetensors", nn.Linear(2, 3), {})
    with pytest.raises(UserError, match=r"weights\.safetensors: the weights do not fit this model .*weight"):
        load_weights(tmp_path / "weights.safetensors", nn.Linear(3, 3))
    with pytest.raises(UserError, match="no such checkpoint"):
        load_weights(tmp_path / "other.safetensors", nn.Linear(3, 3))


@pytest.mark.parametrize("dtype", ["bool", "int8", "int32", "uint8", "complex64", "float8_e4m3fn", "float8_e5m2"])
def test_weights_that_are_no_floats_are_refused(tmp_path, dtype):
    path = tmp_path / "weights.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in model().state_dict().items()}
    name = next(iter(tensors))
    safetensors.torch.save_file(tensors | {name: torch.ones(tensors[name].shape).to(getattr(torch, dtype))}, path)
    for read in (read_weights, lambda path: load_weights(path, model())):
        with pytest.raises(UserError, match=rf"weights\.safetensors: .*{dtype}") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_whole_numbers_do_not_stand_in_for_weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in model().state_dict().items()}
    safetensors.torch.save_file(tensors | {"0.bias": torch.ones(3, dtype=torch.int64)}, path)
    with pytest.raises(UserError, match=r"do not fit this model \(0\.bias: expected torch\.float32, got torch\.int64"):
        load_weights(path, model())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_read(tmp_path, dtype):
    other = model(1)
    save_weights(tmp_path / "weights", model(0), {}, dtype)
    load_weights(tmp_path / "weights", other)
    torch.testing.assert_close(other.state_dict(), model(0).state_dict(), rtol=1e-2, atol=1e-2)


def test_a_flipped_bit_of_the_weights_is_noticed(tmp_path):
    path = tmp_path / "weights"
    save_weights(path, model(), {"step": 3, "validation": "97.12 ± 0.08 %"})
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in range(header, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(UserError, match="damaged: its content has changed since it was written"):
            read_weights(path)
    path.write_bytes(whole.replace(b"97.12", b"98.12"))
    with pytest.raises(UserError, match="damaged"):
        read_weights(path)
    path.write_bytes(whole)
    assert read_metadata(path)["step"] == 3


@pytest.mark.parametrize("digest", ["null", "3", "[]", '{"a": 1}'])
def test_a_digest_that_is_none_is_not_trusted_to_be_text(tmp_path, digest):
    tensors = {name: tensor.contiguous() for name, tensor in model().state_dict().items()}
    safetensors.torch.save_file(tensors, tmp_path / "weights", {"srwm": f'{{"digest": {digest}}}'})
    if digest == "null":
        read_weights(tmp_path / "weights")
    else:
        with pytest.raises(UserError, match="damaged"):
            read_weights(tmp_path / "weights")


def test_a_pipe_in_place_of_weights_is_refused(tmp_path):
    os.mkfifo(tmp_path / "weights")
    with pytest.raises(UserError, match="expected a file"):
        read_weights(tmp_path / "weights")


def test_shapes_are_compared_before_a_model_is_made(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, model(), {})
    check_shapes(path, 1, model)
    check_shapes(tmp_path / "missing", 1, model)
    for num_layers, other in [(1, nn.Conv2d(2, 4, 3)), (1, nn.Sequential(model(), nn.Linear(1, 1))), (10**9, None)]:
        with pytest.raises(UserError, match=r"weights\.safetensors: the weights do not fit this model") as caught:
            check_shapes(path, num_layers, lambda made=other: made)
        assert "\n" not in str(caught.value)


def test_the_dtypes_in_a_header_are_compared_with_those_of_the_model(tmp_path):
    counts = {name: tensor.long().contiguous() for name, tensor in model().state_dict().items()}
    safetensors.torch.save_file(counts, tmp_path / "weights")
    with pytest.raises(UserError, match=r"do not fit this model .* expected F16 or BF16 or F32 or F64, got I64"):
        check_shapes(tmp_path / "weights", 1, model)
    half = {name: tensor.contiguous() for name, tensor in model().half().state_dict().items()}
    safetensors.torch.save_file(half, tmp_path / "weights")
    check_shapes(tmp_path / "weights", 1, model)
