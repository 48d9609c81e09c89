"""Fingerprints of models: equal if two models compute the same, also if configuration fields were renamed in between."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from srwm.fewshot.models.sequence import FewShotModel
from srwm.nn import CORES
from srwm.streams.model import StreamModel

_OPTIONS = ("input_softmax", "eps")
_LATER_OPTIONS = {
    "feature_map": "elu",
    "beta_max": 1.0,
    "num_factors": 2,
    "decay_init": 4.0,
    "rate_init": -1.0,
    "decay": True,
    "chunk_size": 1,
    "normalize_values": True,
    "static_keys": False,
    "static_values": False,
    "static_rates": False,
    "static_decays": False,
    "context": 1024,
}
"""Options that are digested where they differ from these values, the only ones when the first files were saved."""
_FORMER_STYLES = {"norm": "fewshot", "input": "rl", "none": "plain"}
_FORMER_OPTIONS = {"input_softmax": False, "beta_init": 0.0, "query_init_std": 1.0}


def digest(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """A SHA-256 digest.

    Args:
        content: Content that JSON can represent.
        tensors: Tensors by name.

    Returns:
        64 hexadecimal digits, over the content and the names, dtypes, shapes and values of the tensors.
    """
    found = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def fingerprint(model: FewShotModel) -> str:
    """The fingerprint of a model: a digest of its weights and of the settings that change what it computes.

    Dropout, the backend and options of initialization are left out.

    Args:
        model: The model.

    Returns:
        64 hexadecimal digits.
    """
    config, stack = model.config, model.config.stack
    cores: list[Any] = [block.core for block in model.stack.blocks]
    computed = {
        "image_shape": list(config.image_shape),
        "n_way": config.n_way,
        "stem": config.stem,
        "input": config.input,
        "core": stack.core,
        "num_heads": stack.num_heads,
        "residual": stack.residual,
        "options": [_deciding(vars(core)) for core in cores],
        "carry": stack.carry,
        "unroll_length": stack.unroll_length,
    }
    return digest(computed, model.state_dict())


def stream_fingerprint(model: StreamModel) -> str:
    """The fingerprint of a model of streams: a digest of its weights and of the settings that change what it computes.

    Dropout, the backend and options of initialization are left out.

    Args:
        model: The model.

    Returns:
        64 hexadecimal digits.
    """
    config, stack = model.config, model.config.stack
    core = CORES[stack.core]
    computed = {
        "num_features": config.num_features,
        "num_classes": config.num_classes,
        "steps": config.steps,
        "bound_every": config.bound_every,
        "max_count": config.max_count,
        "experts": config.experts,
        "window": config.window if config.experts else None,
        "core": stack.core,
        "num_heads": stack.num_heads,
        "residual": stack.residual,
        "options": _deciding(core.default_options() | stack.core_options),
        "carry": stack.carry,
        "unroll_length": stack.unroll_length,
    }
    return digest(computed, model.state_dict())


def _deciding(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a core that change what it computes from the same weights."""
    found = {name: options[name] for name in _OPTIONS if name in options}
    return found | {name: options[name] for name, usual in _LATER_OPTIONS.items() if options.get(name, usual) != usual}


def former_fingerprint(model: FewShotModel) -> str:
    """The fingerprint in files of format 2: a digest of the weights and of all fields under the names of that time.

    It differs from the one in such a file where the configuration had options that its core does not have.

    Args:
        model: The model.

    Returns:
        64 hexadecimal digits.
    """
    config, stack = model.config, model.config.stack
    options = dict(stack.core_options)
    style = "rl" if options.pop("eps", 0.0) else _FORMER_STYLES[stack.residual]
    former_stack = {
        **{name: getattr(stack, name) for name in ("core", "d_model", "num_heads", "num_layers", "ff_factor", "dropout")},
        **{name: getattr(stack, name) for name in ("carry", "unroll_length", "d_input")},
        **(_FORMER_OPTIONS | options),
        "style": style,
        "backend": "auto",
    }
    former = {
        **{name: getattr(config, name) for name in ("image_shape", "n_way", "stem", "stem_channels", "stem_dropout")},
        **{name: getattr(config, name) for name in ("stem_dropout_type", "input", "input_projection", "head")},
        "stack": former_stack,
    }
    return digest(former, model.state_dict())
