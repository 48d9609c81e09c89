"""Checkpoints of the paper's official few-shot code (github.com/IDSIA/modern-srwm)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.sequence import FewShotModel
from srwm.nn import LSTM, SRWM, Block, DeltaNet, FeedForward, StackConfig
from srwm.training.modes import float32_defaults

Weights = Mapping[str, Tensor]

IMAGE_SIZES = {1: 28, 2: 32, 5: 84}
"""The image size of a data set, in pixels, by the side of the feature map that Conv-4 computes from it."""


def load_few_shot(source: str | Path | Mapping[str, Any], *, use_input_softmax: bool = False) -> FewShotModel:
    """Load a checkpoint of the official few-shot code into a model of this project.

    Stem, core, sizes and heads follow from the shapes of the weights.

    Args:
        source: a checkpoint file or a state dict, bare or under "model_state_dict", of a Conv-4 or ResNet-12 model with SRWM
            (names of the bootstrapping code included), DeltaNet or LSTM.
        use_input_softmax: whether the SRWM was trained with a softmax on its input, which the shapes do not show.

    Returns:
        The model in evaluation mode, float32, on the CPU.

    Raises:
        ValueError: the file is no checkpoint, or weights are missing, unexpected or of another shape.
    """
    weights = _read(source)
    bootstrapped = any(name.startswith("fw_layers.") for name in weights)
    with float32_defaults():
        model = FewShotModel(_infer(weights, bootstrapped, use_input_softmax))
    places = dict(_places(model, bootstrapped))
    _check(weights, places)
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(weights[name])
    return model.eval()


def _read(source: str | Path | Mapping[str, Any]) -> Weights:
    content: Any = source
    if isinstance(source, str | Path):
        try:
            content = torch.load(source, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(f"source: expected a PyTorch checkpoint, got {source} ({reason})") from error
    if isinstance(content, Mapping):
        content = content.get("model_state_dict", content)
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"source: expected a state dict, got {type(content).__name__}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"source: expected names and tensors, got {name!r}: {type(value).__name__}")
    return content


def _infer(weights: Weights, bootstrapped: bool, use_input_softmax: bool) -> ModelConfig:
    n_way, d_model = _shape(weights, "out_layer.weight", 2)
    if "rnn.weight_hh_l0" in weights:
        width = _shape(weights, "rnn.weight_ih_l0", 2)[1]
        num_layers = _count(weights, r"rnn\.weight_hh_l(\d+)$")
        stack = StackConfig(core="lstm", d_model=d_model, num_layers=num_layers, ff_factor=0, residual="none")
    else:
        width = _shape(weights, "input_proj.weight", 2)[1]
        stack = _infer_stack(weights, d_model, bootstrapped, use_input_softmax)
    if use_input_softmax and stack.core != "srwm":
        raise ValueError(f"use_input_softmax: expected False for core {stack.core!r}, got True")
    channels, image_shape = _infer_stem(weights, width - n_way)
    return ModelConfig(
        image_shape=image_shape,
        n_way=n_way,
        stem="conv4" if isinstance(channels, int) else "resnet12",
        stem_channels=channels,
        input="paper",
        input_projection=stack.core != "lstm",
        stack=stack,
    )


def _infer_stack(weights: Weights, d_model: int, bootstrapped: bool, use_input_softmax: bool) -> StackConfig:
    core, feed_forward = _sublayers(0, bootstrapped)
    described: dict[str, Any]
    if f"{core}.W_y" in weights:
        num_heads = _shape(weights, f"{core}.W_y", 4)[1]
        normed = f"{core}.layer_norm.weight" in weights
        options = {"input_softmax": True} if use_input_softmax else {}
        described = {"core": "srwm", "residual": "norm" if normed else "input", "core_options": options}
    elif f"{core}.slow_net.weight" in weights:
        num_heads = _shape(weights, f"{core}.slow_net.weight", 2)[0] - 3 * d_model
        described = {"core": "deltanet"}
    else:
        raise ValueError(f"source: expected {core}.W_y, {core}.slow_net.weight or rnn.weight_hh_l0, found none of them")
    width = _shape(weights, f"{feed_forward}.ff_layers.0.weight", 2)[0]
    if width % d_model:
        raise ValueError(f"{feed_forward}.ff_layers.0.weight: expected a multiple of {d_model} rows, got {width}")
    return StackConfig(
        d_model=d_model,
        num_heads=num_heads,
        num_layers=_count(weights, r"fw_layers\.(\d+)\.") if bootstrapped else (_count(weights, r"layers\.(\d+)\.") + 1) // 2,
        ff_factor=width // d_model,
        **described,
    )


def _infer_stem(weights: Weights, num_features: int) -> tuple[int | tuple[int, int, int, int], tuple[int, int, int]]:
    if "conv_layers.0.0.weight" in weights:
        channels, in_channels, *_ = _shape(weights, "conv_layers.0.0.weight", 4)
        side = isqrt(max(num_features, 0) // channels)
        if side == 0 or channels * side**2 != num_features:
            raise ValueError(f"source: expected {channels} x s x s features of conv_layers.3, got {num_features} as input")
        size = IMAGE_SIZES.get(side, 16 * side)
        return channels, (in_channels, size, size)
    if "stem_resnet12.layer1.conv1.weight" not in weights:
        raise ValueError("source: expected conv_layers.0.0.weight or stem_resnet12.layer1.conv1.weight, found neither")
    one, two, three, four = (_shape(weights, f"stem_resnet12.layer{i}.conv1.weight", 4) for i in range(1, 5))
    return (one[0], two[0], three[0], four[0]), (one[1], 84, 84)


def _sublayers(i: int, bootstrapped: bool) -> tuple[str, str]:
    """The official names of the core and of the feed-forward sub-layer of block i."""
    return (f"fw_layers.{i}", f"ff_layers.{i}") if bootstrapped else (f"layers.{2 * i}", f"layers.{2 * i + 1}")


def _count(weights: Weights, pattern: str) -> int:
    return len({found.group(1) for name in weights if (found := re.match(pattern, name))})


def _shape(weights: Weights, name: str, axes: int) -> torch.Size:
    if name not in weights:
        raise ValueError(f"source: expected {name}, which is missing")
    if weights[name].dim() != axes or 0 in weights[name].shape:
        raise ValueError(f"{name}: expected {axes} axes, none of them empty, got {tuple(weights[name].shape)}")
    return weights[name].shape


def _places(model: FewShotModel, bootstrapped: bool) -> Iterator[tuple[str, Tensor]]:
    """Every official name with the view of the model's memory where its weights belong."""
    assert not isinstance(model.stem, nn.Flatten)
    for i, stage in enumerate(model.stem.layers):
        yield from _named(f"conv_layers.{i}" if model.config.stem == "conv4" else f"stem_resnet12.layer{i + 1}", stage)
    if model.config.input_projection:
        yield from _named("input_proj", model.input.project)
    for i, block in enumerate(model.stack.blocks):
        assert isinstance(block, Block)
        yield from _block_places(block, i, *_sublayers(i, bootstrapped))
    yield from _named("out_layer", model.out_layer)


def _block_places(block: Block, i: int, core_name: str, feed_forward_name: str) -> Iterator[tuple[str, Tensor]]:
    core, feed_forward = block.core, block.feed_forward
    if isinstance(core, LSTM):
        yield from ((f"rnn.{name.replace('_l0', f'_l{i}')}", place) for name, place in _named("", core.lstm))
        return
    assert isinstance(core, SRWM | DeltaNet)
    assert isinstance(feed_forward, FeedForward)
    if isinstance(core, SRWM):
        e = core.head_dim
        parts = core.weight.detach()[None].split_with_sizes([e, e, e, 4], dim=-1)
        yield from zip((f"{core_name}.{part}" for part in ("W_y", "W_q", "W_k", "w_b")), parts, strict=True)
    else:
        yield from _named(f"{core_name}.slow_net", core.slow_net)
    yield from _named(f"{core_name}.out_linear", core.out_linear)
    yield from _named(f"{core_name}.layer_norm", block.norm)
    yield from _named(f"{feed_forward_name}.layer_norm", feed_forward.norm)
    yield from _named(f"{feed_forward_name}.ff_layers.0", feed_forward.linear_in)
    yield from _named(f"{feed_forward_name}.ff_layers.3", feed_forward.linear_out)


def _named(prefix: str, module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, place in module.state_dict().items():
        yield f"{prefix}.{name}" if prefix else name, place


def _check(weights: Weights, places: Weights) -> None:
    both = [name for name in places if name in weights]
    problems = {
        "missing": [name for name in places if name not in weights],
        "unexpected": [name for name in weights if name not in places],
        "of another shape": [
            f"{name} (expected {tuple(places[name].shape)}, got {tuple(weights[name].shape)})"
            for name in both
            if weights[name].shape != places[name].shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{kind}: {_listed(names)}" for kind, names in problems.items() if names)
        raise ValueError(f"source: expected the weights of an official few-shot model; {found}")


def _listed(names: Iterable[str], limit: int = 8) -> str:
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
